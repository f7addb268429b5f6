package gate

import (
	"fmt"
	"math"
	"slices"

	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/spec"
)

// shownGarbage is how many positions and elements a Garbage names.
const shownGarbage = 16

// garbageLog remembers the first places of each kind of garbage on each side.
type garbageLog struct {
	places map[garbageKey]*garbagePlaces
}

type garbageKey struct {
	side metric.Side
	kind metric.GarbageKind
}

type garbagePlaces struct{ positions, elements []int }

func newGarbageLog() *garbageLog { return &garbageLog{places: map[garbageKey]*garbagePlaces{}} }

// add notes where a tile's garbage lies; positions are those of the tile's rows.
// Every row counts its own, but only the tile's first elements are named.
func (g *garbageLog) add(positions []int, p *metric.Partial) {
	for r := range p.Rows {
		for side, kinds := range p.Rows[r].Garbage {
			for kind, n := range kinds {
				if n > 0 {
					at := g.at(metric.Side(side), metric.GarbageKind(kind))
					at.positions = insertDistinct(at.positions, positions[r])
				}
			}
		}
	}
	for _, f := range p.Found {
		at := g.at(f.Side, f.Kind)
		at.elements = insertDistinct(at.elements, f.Element)
	}
}

func (g *garbageLog) at(side metric.Side, kind metric.GarbageKind) *garbagePlaces {
	k := garbageKey{side, kind}
	if g.places[k] == nil {
		g.places[k] = &garbagePlaces{}
	}
	return g.places[k]
}

// insertDistinct adds v to a sorted list of at most shownGarbage numbers.
func insertDistinct(list []int, v int) []int {
	i, found := slices.BinarySearch(list, v)
	if found || len(list) == shownGarbage && i == len(list) {
		return list
	}
	list = slices.Insert(list, i, v)
	return list[:min(len(list), shownGarbage)]
}

// garbageKinds are the kinds by their name in results.json.
var garbageKinds = map[metric.GarbageKind]string{
	metric.NonFinite: "non_finite", metric.Huge: "huge", metric.HeapPointer: "heap_pointer",
}

// garbageOf lists the garbage of one checkpoint.
func garbageOf(prompt string, m *measured, s *metric.Measures) []Garbage {
	var out []Garbage
	for side, engine := range map[metric.Side]string{metric.RefSide: "reference", metric.CandSide: "candidate"} {
		for _, kind := range metric.GarbageKinds() {
			n := s.Garbage[side][kind]
			if n == 0 {
				continue
			}
			g := Garbage{Engine: engine, Prompt: prompt, Checkpoint: m.name, Kind: garbageKinds[kind], Count: n, Positions: []int{}, Elements: []int{}}
			if at := m.garbage.places[garbageKey{side, kind}]; at != nil {
				g.Positions, g.Elements = at.positions, at.elements
			}
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b Garbage) int {
		switch ka, kb := a.Engine+a.Kind, b.Engine+b.Kind; {
		case ka > kb: // the reference first
			return -1
		case ka < kb:
			return 1
		}
		return 0
	})
	return out
}

// namePolicies writes into each garbage what the spec does with it.
func namePolicies(r *Result, s *spec.Spec) {
	for i := range r.Garbage {
		g := &r.Garbage[i]
		g.Policy = s.Garbage.Reference
		if g.Engine == "candidate" {
			g.Policy = s.Garbage.Candidate
		}
	}
}

// garbageFindings are the failures that garbage at one checkpoint means.
func garbageFindings(r *Result, s *spec.Spec, c *Checkpoint) []Finding {
	var out []Finding
	for _, g := range r.Garbage {
		if g.Policy != "fail" || g.Prompt != c.Prompt || g.Checkpoint != c.Name {
			continue
		}
		position := -1
		if len(g.Positions) > 0 {
			position = g.Positions[0]
		}
		out = append(out, Finding{Rule: "garbage." + g.Engine + ": fail", Level: LevelFail, Prompt: g.Prompt, Checkpoint: g.Checkpoint,
			Position: position, Metric: "max_abs", Value: Value(math.Inf(1)), Limit: Value(s.Garbage.Above), Source: s.Path,
			Message: fmt.Sprintf("%s: %s of the %s %s", g.Checkpoint, plural(int(g.Count), "value"), g.Engine, garbageWords(g.Kind, g.Count, s.Garbage.Above))})
	}
	return out
}

// garbageWords says what n values of a kind of garbage are.
func garbageWords(kind string, n int64, above float64) string {
	are, read := "are", "read"
	if n == 1 {
		are, read = "is", "reads"
	}
	switch kind {
	case "non_finite":
		return are + " NaN or infinite where the other side is not"
	case "heap_pointer":
		return read + " like heap pointers: the buffer was freed or never written"
	}
	return fmt.Sprintf("%s larger than %.3g", are, above)
}
