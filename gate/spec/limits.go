package spec

import (
	"fmt"
	"strconv"

	"github.com/paritygate/paritygate/gate/metric"
)

// Logits is the canonical name of the checkpoint that logits metrics exist for.
const Logits = "logits"

// Applied is one limit that holds for one checkpoint, and where it comes from.
type Applied struct {
	Metric string
	Level  string // "fail" or "warn"
	Value  float64
	// Unit is Limit.Unit: not 0 where Value counts multiples of explained rounding.
	Unit float64
	// Line is where the limit stands in the spec; 0 in a preset.
	Line   int
	Source string // the spec's file, or "preset f16"
	Rule   string // the glob of the rule
}

// Condition is what must hold, as "layer_*_output: rel_l2 <= 0.01".
func (a Applied) Condition() string {
	op := "<="
	if i, ok := metric.Lookup(a.Metric); ok && i.Direction == metric.HigherIsBetter {
		op = ">="
	}
	return fmt.Sprintf("%s: %s %s %s", a.Rule, a.Metric, op, strconv.FormatFloat(a.Value, 'g', -1, 64))
}

// Place is where the limit stands, as "parity.yaml:24" or "preset f16".
func (a Applied) Place() string {
	if a.Line == 0 {
		return a.Source
	}
	return fmt.Sprintf("%s:%d", a.Source, a.Line)
}

// slot is what one limit of a checkpoint holds: a metric, failing or warning.
type slot struct{ metric, level string }

// decision is the last word on a slot: a limit, or a rule that turned it off.
type decision struct {
	Applied
	off    bool
	preset bool
	rule   int // its place among the preset's rules, or among the spec's
}

// decide is what the preset of that name ("" for none) and the rules in file
// order say of a checkpoint: a later one replaces or removes (off) an earlier one
// of the same metric and level.
func (s *Spec) decide(checkpoint, preset string) map[slot]decision {
	held := map[slot]decision{}
	take := func(rules []Rule, preset bool) {
		for i, r := range rules {
			if !Match(r.Checkpoint, checkpoint) {
				continue
			}
			for _, side := range []struct {
				level  string
				limits []Limit
			}{{levelFail, r.Limits}, {levelWarn, r.Warn}} {
				for _, l := range side.limits {
					held[slot{l.Metric, side.level}] = decision{off: l.Off, preset: preset, rule: i,
						Applied: Applied{Metric: l.Metric, Level: side.level, Value: l.Value, Unit: l.Unit, Line: l.Line, Source: r.Source, Rule: r.Checkpoint}}
				}
			}
		}
	}
	take(Preset(preset), true)
	take(s.Tolerances.Rules, false)
	return held
}

// The levels of a limit.
const (
	levelFail = "fail"
	levelWarn = "warn"
)

// LimitsFor returns the limits that hold for a checkpoint: those of the preset
// of that name ("" for none), then of the rules in file order, where a later
// one replaces or removes (off) an earlier one of the same metric and level.
// They come in the registry's order, fail before warn. Metrics that do not
// exist for the checkpoint are left out.
func (s *Spec) LimitsFor(checkpoint, preset string) []Applied {
	held := s.decide(checkpoint, preset)
	var out []Applied
	for _, i := range metric.All() {
		if !exists(i, checkpoint) {
			continue
		}
		for _, level := range []string{levelFail, levelWarn} {
			if d, ok := held[slot{i.Name, level}]; ok && !d.off {
				out = append(out, d.Applied)
			}
		}
	}
	return out
}

// exists says whether a metric can exist for a checkpoint of that name.
func exists(i metric.Info, checkpoint string) bool {
	switch i.Scope {
	case metric.LogitsOnly:
		return checkpoint == Logits
	case metric.HiddenOnly, metric.ResidualOnly:
		return checkpoint != Logits
	}
	return true
}
