package spec

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// baseline compares what the run's past is held against it by.
func (d *differ) baseline(checkpoints []string) {
	b, o := d.base.Baseline, d.own.Baseline
	switch {
	case b == nil && o == nil:
		return
	case o == nil:
		d.addAt(Loosened, "baseline", b.Store, "", 0, false)
		return
	case b == nil:
		d.add(Tightened, "baseline", "", o.Store, "baseline", false)
		return
	}
	if b.Store != o.Store || b.Dir != o.Dir {
		d.add(Changed, "baseline.store", b.Store, o.Store, "baseline.store", false)
	}
	flag := func(key string, base, own bool) {
		if base != own {
			effect := Loosened
			if own {
				effect = Tightened
			}
			d.add(effect, key, fmt.Sprint(base), fmt.Sprint(own), key, false)
		}
	}
	flag("baseline.required", b.Required, o.Required)
	flag("baseline.ratchet", b.Ratchet, o.Ratchet)
	d.baselineMetrics()
	d.baselineLimits(checkpoints)
}

// baselineMetrics compares which metrics are held against the baseline.
func (d *differ) baselineMetrics() {
	var base, own []string
	for _, m := range BaselineMetrics() {
		if d.base.BaselineJudges(m) {
			base = append(base, m)
		}
		if d.own.BaselineJudges(m) {
			own = append(own, m)
		}
	}
	effect := Tightened
	if len(missingFrom(base, own)) > 0 {
		effect = Loosened
	}
	if !slices.Equal(base, own) {
		d.add(effect, "baseline.metrics", strings.Join(base, ", "), strings.Join(own, ", "), "baseline.metrics", false)
	}
}

// baselineLimits compares by how much each checkpoint may be worse, with a line
// for each pair of what holds.
func (d *differ) baselineLimits(checkpoints []string) {
	type pair struct {
		base, own BaselineLimit
		at        string
	}
	seen := map[pair]bool{}
	globs := globsOf(d.own.Tolerances.Rules, d.base.Tolerances.Rules)
	for _, name := range probes(checkpoints, globs, globs) {
		at := d.baselineRule(name)
		p := pair{d.base.BaselineFor(name), d.own.BaselineFor(name), at}
		if seen[p] {
			continue
		}
		seen[p] = true
		switch b, o := p.base, p.own; {
		case b.Judged && !o.Judged:
			d.addAt(Loosened, at, "on", "off", d.lastBaseline(name), false)
		case !b.Judged && o.Judged:
			d.addAt(Tightened, at, "off", "on", d.lastBaseline(name), false)
		case b.Judged:
			d.baselineNumber(at, "max_increase", b.MaxIncrease, o.MaxIncrease, o.Line)
			d.baselineNumber(at, "anchor", b.Anchor, o.Anchor, o.AnchorLine)
			d.baselineNumber(at, "noise", b.Noise, o.Noise, o.Line)
		}
	}
}

// baselineRule names what says how a checkpoint is held against the baseline: the
// narrowest rule that does, or the baseline itself.
func (d *differ) baselineRule(name string) string {
	glob, found := "", false
	for _, r := range slices.Concat(d.base.Tolerances.Rules, d.own.Tolerances.Rules) {
		if r.Baseline != nil && Match(r.Checkpoint, name) && (!found || literals(r.Checkpoint) >= literals(glob)) {
			glob, found = r.Checkpoint, true
		}
	}
	if !found {
		return "baseline"
	}
	return glob + ": baseline"
}

// lastBaseline is the line of the own spec's last rule that turns a checkpoint on
// or off; 0 without one.
func (d *differ) lastBaseline(name string) int {
	line := 0
	for _, r := range d.own.Tolerances.Rules {
		if r.Baseline != nil && r.Baseline.Judged != nil && Match(r.Checkpoint, name) {
			line = r.Baseline.Line
		}
	}
	return line
}

func (d *differ) baselineNumber(at, key string, base, own float64, line int) {
	if base == own {
		return
	}
	effect := Tightened
	if !(own < base) {
		effect = Loosened
	}
	text := plainNumber
	if key != "noise" {
		text = func(v float64) string { return strconv.FormatFloat(v*100, 'g', 12, 64) + "%" }
	}
	what := at + " " + key // "layer_*: baseline noise"
	if at == "baseline" {
		what = at + "." + key
	}
	d.addAt(effect, what, text(base), text(own), line, false)
}

// sameBaseline reports whether two rules say the same of the baseline.
func sameBaseline(a, b *RuleBaseline) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	x.Line, y.Line = 0, 0
	return reflect.DeepEqual(x, y)
}
