package gate

import (
	"context"
	"fmt"
	"slices"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/spec"
)

// conclude derives the rules and tries them.
func (k *calibrator) conclude(ctx context.Context) (*Calibration, error) {
	c := k.c
	if err := k.tellEngine(); err != nil {
		return nil, err
	}
	k.summarise()
	var seen []observation
	for _, o := range k.outcomes {
		seen = append(seen, observe(o.variant, o.result)...)
	}
	l, left := limitsFromNoise(seen, k.o.Margin, k.o.Floor)
	for _, p := range left {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%s of %s came out as no number or infinite, so it has no limit here", p.metric, p.rule))
	}
	if len(l.list) == 0 {
		return nil, k.failure(firstRun, "nothing was measured that a limit could hold", "")
	}
	if err := k.tryBugs(ctx, l); err != nil {
		return nil, err
	}
	c.Limits = l.list
	c.Warnings = append(c.Warnings, k.ses.warnings...)
	if k.ses.spec.Oracle != nil {
		c.Warnings = append(c.Warnings, "where a spec turns the oracle on, a limit of rel_l2 below what rounding costs there makes a run incomplete")
	}
	k.try()
	return c, nil
}

// tellEngine says what ran.
func (k *calibrator) tellEngine() error {
	c := k.c
	c.Engine = k.first.info
	if c.Engine.Capture == string(engine.CaptureDisturbs) {
		c.Warnings = append(c.Warnings, "capturing changes the engine's own logits: what was measured is not what runs in production")
	}
	r := k.outcomes[0].result
	side := r.Engines.Reference // the first run, unless the reference stands there
	if k.o.AgainstReference {
		side = r.Engines.Candidate
		k.reference.info.Precision = r.Engines.Reference.Precision
		c.Against = "the reference, " + k.reference.info.Name
	}
	c.Engine.Precision, c.Engine.PrecisionFrom = side.Precision, side.PrecisionFrom
	return nil
}

// summarise says of each variant how far it was off.
func (k *calibrator) summarise() {
	at := map[string]int{}
	prompts := map[string]bool{}
	for _, o := range k.outcomes {
		p := o.result.Prompts[0]
		if !prompts[p.Name] {
			prompts[p.Name] = true
			k.c.Prompts = append(k.c.Prompts, p)
		}
		i, known := at[o.variant]
		if !known {
			i = len(k.c.Variants)
			at[o.variant] = i
			runs := 1
			if o.variant == runAgain {
				runs = k.o.Runs - 1
			}
			k.c.Variants = append(k.c.Variants, CalibratedVariant{Name: o.variant, Runs: runs, Identical: true})
		}
		v := &k.c.Variants[i]
		for _, c := range o.result.Checkpoints {
			v.Identical = v.Identical && c.Metrics["max_abs"] == 0
			if rel := c.Metrics["rel_l2"]; rel > v.Largest.Value {
				v.Largest = NoiseSeen{rel, c.Name, c.Prompt, o.variant}
			}
		}
	}
}

// try judges every sound run under the rules: what a preset still fails is said.
func (k *calibrator) try() {
	s := *k.ses.spec
	s.Oracle, s.Require = nil, spec.Require{}
	s.Tolerances = spec.Tolerances{Preset: s.Tolerances.Preset, Rules: k.c.rules()}
	for _, o := range k.outcomes {
		Judge(o.result, &s)
		for _, c := range o.result.Checkpoints {
			for _, f := range c.Findings {
				w := fmt.Sprintf("the sound engine breaks a limit that no rule here replaces: %s (%s): %s", f.Rule, f.Source, f.Message)
				if f.Level == LevelFail && !slices.Contains(k.c.Warnings, w) {
					k.c.Warnings = append(k.c.Warnings, w)
				}
			}
		}
	}
}

// rules are the limits as a spec holds them.
func (c *Calibration) rules() []spec.Rule {
	var out []spec.Rule
	for _, l := range c.Limits {
		if len(out) == 0 || out[len(out)-1].Checkpoint != l.Rule {
			out = append(out, spec.Rule{Checkpoint: l.Rule, Source: "calibration"})
		}
		r := &out[len(out)-1]
		r.Limits = append(r.Limits, spec.Limit{Metric: l.Metric, Value: float64(l.Limit)})
	}
	return out
}
