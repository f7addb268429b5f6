package gate

import (
	"sort"

	"github.com/paritygate/paritygate/gate/trace"
)

// segment is a run of rows that are consecutive on both sides: rows ref…ref+n−1
// of the reference are the same positions as cand…cand+n−1 of the candidate.
type segment struct{ ref, cand, n int }

// aligned is one checkpoint that both sides have.
type aligned struct {
	name      string
	ref, cand *trace.Checkpoint
	segments  []segment
	positions []int // compared, ascending
	elements  int   // compared of a row: what both sides hold
	// previous is the aligned checkpoint that the layer started from, or nil.
	previous *aligned
}

// partial reports whether only the first elements of each row are compared.
func (a *aligned) partial() bool { return a.elements < a.ref.Width }

// alignment is what two traces of one prompt have in common.
type alignment struct {
	checkpoints []*aligned // in forward order
	refOnly     []string
	candOnly    []string
	// mismatched are checkpoints that both have with another row width.
	mismatched []shapeMismatch
}

type shapeMismatch struct {
	name      string
	ref, cand int
}

// align pairs checkpoints by name and rows by position. Positions in skip are
// left out.
func align(ref, cand *trace.Trace, skip []int) *alignment {
	out := &alignment{}
	skipped := make(map[int]bool, len(skip))
	for _, p := range skip {
		skipped[p] = true
	}
	for _, name := range forwardOrder(ref, cand) {
		r, c := ref.Lookup(name), cand.Lookup(name)
		switch {
		case c == nil:
			out.refOnly = append(out.refOnly, name)
		case r == nil:
			out.candOnly = append(out.candOnly, name)
		case r.Width != c.Width:
			out.mismatched = append(out.mismatched, shapeMismatch{name, r.Width, c.Width})
		default:
			a := &aligned{name: name, ref: r, cand: c, elements: min(r.Stored, c.Stored)}
			a.segments, a.positions = intersect(r.Positions, c.Positions, skipped)
			out.checkpoints = append(out.checkpoints, a)
		}
	}
	linkResiduals(out.checkpoints)
	return out
}

// linkResiduals finds for each residual checkpoint the one before, where both
// have the same rows and whole rows of the same width.
func linkResiduals(cs []*aligned) {
	byName := make(map[string]*aligned, len(cs))
	for _, c := range cs {
		byName[c.name] = c
	}
	for _, c := range cs {
		name, ok := trace.PreviousResidual(c.name)
		if !ok {
			continue
		}
		p := byName[name]
		if p != nil && sameRows(p, c) {
			c.previous = p
		}
	}
}

// sameRows reports whether two checkpoints can be walked in step: the same
// positions lie in the same segments of rows of the same width and dtype.
func sameRows(a, b *aligned) bool {
	if a.elements != b.elements || a.partial() || b.partial() || a.ref.Width != b.ref.Width ||
		a.ref.DType != b.ref.DType || a.cand.DType != b.cand.DType || len(a.segments) != len(b.segments) {
		return false
	}
	for i, s := range a.segments {
		if s != b.segments[i] || a.positions[0] != b.positions[0] {
			return false
		}
	}
	for i, p := range a.positions {
		if p != b.positions[i] {
			return false
		}
	}
	return true
}

// intersect returns the rows both sides have, as segments, and their positions.
func intersect(ref, cand []int, skip map[int]bool) ([]segment, []int) {
	var segs []segment
	var positions []int
	for i, j := 0, 0; i < len(ref) && j < len(cand); {
		switch {
		case ref[i] < cand[j]:
			i++
		case ref[i] > cand[j]:
			j++
		default:
			if !skip[ref[i]] {
				positions = append(positions, ref[i])
				if k := len(segs) - 1; k >= 0 && segs[k].ref+segs[k].n == i && segs[k].cand+segs[k].n == j {
					segs[k].n++
				} else {
					segs = append(segs, segment{i, j, 1})
				}
			}
			i++
			j++
		}
	}
	return segs, positions
}

// forwardOrder lists the checkpoint names of both traces in the order of the
// forward pass. Names that no map knows stand where their own trace has them:
// behind the known name that precedes them there.
func forwardOrder(traces ...*trace.Trace) []string {
	type placed struct {
		name  string
		place trace.Place
		after int // 0 for known names; 1, 2, … for unknown ones behind place
	}
	var all []placed
	seen := map[string]bool{}
	for _, t := range traces {
		var last trace.Place
		behind := 0
		for _, c := range t.Checkpoints {
			p, known := trace.PlaceOf(c.Name)
			if known {
				last, behind = p, 0
			} else {
				behind++
				p = last
			}
			if !seen[c.Name] {
				seen[c.Name] = true
				all = append(all, placed{c.Name, p, behind})
			}
		}
	}
	sort.SliceStable(all, func(i, j int) bool {
		a, b := all[i], all[j]
		if a.place != b.place {
			return a.place.Less(b.place)
		}
		if a.after != b.after {
			return a.after < b.after
		}
		return a.name < b.name
	})
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.name
	}
	return names
}
