package spec

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// The effects of a change.
const (
	// Loosened: something passes that did not, or is no longer looked at.
	Loosened = "loosened"
	// Changed: which of both is stricter cannot be said, so it may be weaker.
	Changed = "changed"
	// Tightened: something fails, or is incomplete, that was not.
	Tightened = "tightened"
)

// Change is one difference between two specs that can move a verdict.
type Change struct {
	Effect string // Loosened, Changed or Tightened
	// What names the rule, as "layer_*_output: rel_l2" or "require.checkpoints".
	What string
	From string // in the base, as it is written there; "" when new
	To   string // in the own; "" when removed
	Line int    // of the own spec, 0 where it has none
	// Measures says that it decides what is measured: what was measured under one
	// spec cannot be judged by the other.
	Measures bool
}

// Changes lists how own differs from base in what it judges, by effect: loosened
// first, then changed, then tightened. preset says which preset applies under
// a spec that may name none; checkpoints are the names that were measured.
//
// Limits are compared as they hold for each measured checkpoint, for the names
// that engines usually give, and for names made from the globs of the rules that
// differ; a rule that differs and decides none of these is listed as changed.
// Checkpoints between which the same two rules decide share one line.
//
// Not listed, because it cannot make a verdict better: how the candidate is
// started (see Under), witnesses, and the reference's timeout, retries, gpu,
// threads, max_output and max_trace.
func Changes(base, own *Spec, preset func(*Spec) string, checkpoints []string) []Change {
	d := &differ{base: base, own: own, dir: folderOf(own)}
	d.presets(preset(base), preset(own))
	d.limits(preset(base), preset(own), checkpoints)
	d.require()
	d.skip()
	d.garbage()
	d.oracle()
	d.prompts()
	d.engines()
	d.baseline(checkpoints)
	d.rest(compared)
	slices.SortStableFunc(d.out, func(a, b Change) int { return cmp.Compare(grave(a.Effect), grave(b.Effect)) })
	return d.out
}

func grave(effect string) int { return slices.Index([]string{Loosened, Changed, Tightened}, effect) }

// differ collects the changes between two specs.
type differ struct {
	base, own *Spec
	dir       string // absolute folder of both
	out       []Change
}

// maxShown bounds what a change shows of a value, in runes.
const maxShown = 160

// add lists a change; key is where own has it, "" for no line.
func (d *differ) add(effect, what, from, to, key string, measures bool) {
	d.addAt(effect, what, from, to, d.own.Lines[key], measures)
}

func (d *differ) addAt(effect, what, from, to string, line int, measures bool) {
	d.out = append(d.out, Change{Effect: effect, What: clip(what), From: clip(from), To: clip(to), Line: line, Measures: measures})
}

func clip(s string) string {
	if r := []rune(s); len(r) > maxShown {
		return string(r[:maxShown-1]) + "…"
	}
	return s
}

// presets compares the presets. One that the traces choose is compared by what
// they chose now, and never counts as stricter than one that is named: the
// candidate's own words may choose another next time.
func (d *differ) presets(appliedBase, appliedOwn string) {
	b, o := d.base.Tolerances.Preset, d.own.Tolerances.Preset
	if b == o {
		return
	}
	from, to, effect := Unit(appliedBase), Unit(appliedOwn), Changed
	switch {
	case from == 0 || to == 0: // reasonable, which cannot be ordered
	case to > from:
		effect = Loosened
	case to < from && o != "":
		effect = Tightened
	}
	text := func(written, applied string) string {
		if written != "" {
			return written
		}
		return "by the traces' precision, here " + applied
	}
	d.add(effect, "tolerances.preset", text(b, appliedBase), text(o, appliedOwn), "tolerances.preset", false)
}

// require compares what must have been compared.
func (d *differ) require() {
	b, o := d.base.Require, d.own.Require
	for _, g := range missingFrom(b.Checkpoints, o.Checkpoints) {
		d.addAt(Loosened, "require.checkpoints", g, "", 0, false)
	}
	for _, g := range missingFrom(o.Checkpoints, b.Checkpoints) {
		d.add(Tightened, "require.checkpoints", "", g, "require.checkpoints", false)
	}
	// Without names the number is required of every checkpoint.
	all := func(r Require) string {
		switch {
		case r.MinPositions == 0:
			return ""
		case len(r.Checkpoints) == 0:
			return fmt.Sprintf("%d at every checkpoint", r.MinPositions)
		}
		return fmt.Sprintf("%d at required checkpoints", r.MinPositions)
	}
	from, to := all(b), all(o)
	switch {
	case from == to:
	case o.MinPositions < b.MinPositions || len(b.Checkpoints) == 0 && len(o.Checkpoints) > 0 && b.MinPositions > 0:
		d.add(Loosened, "require.min_positions", from, to, "require.min_positions", false)
	default:
		d.add(Tightened, "require.min_positions", from, to, "require.min_positions", false)
	}
}

// missingFrom are the elements of a that b lacks, each once.
func missingFrom[T comparable](a, b []T) []T {
	has := map[T]bool{}
	for _, v := range b {
		has[v] = true
	}
	var out []T
	for _, v := range a {
		if !has[v] {
			has[v] = true
			out = append(out, v)
		}
	}
	return out
}

// skip compares what is left out of every comparison.
func (d *differ) skip() {
	for _, s := range []struct {
		key       string
		base, own []int
	}{{"skip.positions", d.base.Skip.Positions, d.own.Skip.Positions}, {"skip.elements", d.base.Skip.Elements, d.own.Skip.Elements}} {
		switch more, less := missingFrom(s.own, s.base), missingFrom(s.base, s.own); {
		case len(more) > 0:
			d.add(Loosened, s.key, ranges(s.base), ranges(s.own), s.key, true)
		case len(less) > 0:
			d.add(Tightened, s.key, ranges(s.base), ranges(s.own), s.key, true)
		}
	}
}

// ranges writes numbers as "0, 4-7".
func ranges(numbers []int) string {
	v := slices.Compact(slices.Sorted(slices.Values(numbers)))
	var out []string
	for i := 0; i < len(v); {
		j := i
		for j+1 < len(v) && v[j+1] == v[j]+1 {
			j++
		}
		if i == j {
			out = append(out, fmt.Sprint(v[i]))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", v[i], v[j]))
		}
		i = j + 1
	}
	return strings.Join(out, ", ")
}

// garbage compares policies and the bound.
func (d *differ) garbage() {
	b, o := d.base.Garbage, d.own.Garbage
	for _, p := range []struct{ key, base, own string }{
		{"garbage.reference", b.Reference, o.Reference}, {"garbage.candidate", b.Candidate, o.Candidate},
	} {
		effect := Changed // mask and keep: one hides garbage, the other lets it hide the rest
		switch {
		case p.base == p.own:
			continue
		case p.base == "fail":
			effect = Loosened
		case p.own == "fail":
			effect = Tightened
		}
		d.add(effect, p.key, p.base, p.own, p.key, p.base == "keep" || p.own == "keep")
	}
	if b.Above == o.Above {
		return
	}
	// A higher bound fails less, a lower one leaves more out.
	effect := Tightened
	for _, policy := range []string{b.Reference, b.Candidate, o.Reference, o.Candidate} {
		if policy == "fail" && !(o.Above < b.Above) || policy == "mask" && !(o.Above > b.Above) {
			effect = Loosened
		}
	}
	d.add(effect, "garbage.above", plainNumber(b.Above), plainNumber(o.Above), "garbage.above", true)
}

func (d *differ) oracle() {
	b, o := d.base.Oracle, d.own.Oracle
	switch {
	case b == nil && o == nil:
	case o == nil:
		d.addAt(Loosened, "oracle", d.path(b.Model), "", 0, false)
	case b == nil:
		d.add(Tightened, "oracle", "", d.path(o.Model), "oracle", false)
	case b.Model != o.Model:
		d.add(Changed, "oracle.model", d.path(b.Model), d.path(o.Model), "oracle", true)
	}
	if b, o := d.base.Model.Path, d.own.Model.Path; b != o {
		d.add(Changed, "model.path", d.path(b), d.path(o), "model", true)
	}
}

// compared are the sections that have a comparison of their own.
var compared = words("Version Model Prompts Engines Require Skip Garbage Tolerances Oracle Baseline")

// rest lists sections that differ and that nothing above compared: one that is
// forgotten there may weaken the judgement, so it counts as changed.
func (d *differ) rest(compared []string) {
	b, o := reflect.ValueOf(*d.base), reflect.ValueOf(*d.own)
	for i := range b.NumField() {
		f := b.Type().Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if slices.Contains(compared, f.Name) || key == "-" {
			continue
		}
		if from, to := written(b.Field(i)), written(o.Field(i)); from != to {
			d.add(Changed, key, from, to, key, false)
		}
	}
}

// written is a section in one line, without the lines of the file that it stands on.
func written(v reflect.Value) string {
	if v.IsZero() {
		return ""
	}
	b, err := json.Marshal(v.Interface())
	if err != nil {
		return fmt.Sprintf("%+v", v.Interface())
	}
	return string(b)
}
