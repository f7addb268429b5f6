package gate

import (
	"fmt"
	"math"
	"slices"

	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/spec"
)

// Judge judges r's measurements under s, in place: limits, findings, statuses,
// reasons and outcome are replaced; measurements and diagnosis stay. What left
// elements out when they were measured (skip, garbage: keep) cannot be changed
// afterwards. What was said of another spec is forgotten: who judged instead of it,
// its changes and their approval.
func Judge(r *Result, s *spec.Spec) {
	before := r.Spec
	r.Spec = specInfo(r.Engines, s)
	r.Spec.Flags = append([]string{}, before.Flags...)
	if before.JudgedBy == "" && s.Digest != "" && before.Digest == s.Digest {
		r.Spec.Changes, r.Spec.Approved = append(r.Spec.Changes, before.Changes...), before.Approved
	}
	v := &Verdict{}
	judgeEngines(v, r)
	judgeCoverage(v, r, s)
	judgeBaseline(v, r, s)
	namePolicies(r, s)
	r.Findings = slices.Clone(v.Findings)
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	widen, deltas := bothRound(r.Spec.Preset, r.Engines), deltasOf(r)
	for i := range r.Checkpoints {
		c := &r.Checkpoints[i]
		judgeCheckpoint(c, limitsFor(r, s, c.Name), widen, garbageFindings(r, s, c))
		judgeDeltas(c, deltas[c.Prompt+"\x00"+c.Name], r, s)
		v.Findings = append(v.Findings, c.Findings...)
		v.Compared += int64(c.Rows) * int64(c.Compared)
	}
	r.FirstDivergence = firstDivergence(r)
	r.Trend = trendOf(r)
	r.Outcome = v.Outcome()
	r.ExitCode = r.Outcome.ExitCode()
	r.Reasons = reasons(r, v)
}

// specInfo says what judges: the spec, and the preset it names or that the
// engines' precision chooses.
func specInfo(e EngineSet, s *spec.Spec) SpecInfo {
	in := SpecInfo{Changes: []SpecChange{}, Path: s.Path, Digest: s.Digest, Preset: s.Tolerances.Preset, PresetFrom: "spec"}
	if in.Preset == "" {
		in.Preset, in.PresetFrom = choosePreset(e)
	}
	return in
}

// judgeCheckpoint holds every limit of the spec against the measurements.
// Findings of its garbage come first.
func judgeCheckpoint(c *Checkpoint, limits []spec.Applied, widen float64, garbage []Finding) {
	c.Limits, c.Findings, c.Status = []AppliedLimit{}, append([]Finding{}, garbage...), Passed
	if c.NonFinite > 0 {
		c.Findings = append(c.Findings, nonFinite(c))
	}
	for _, a := range limits {
		if a.Line == 0 && a.Source != oracleSource {
			var says bool
			if a, says = fewRows(widened(a, widen), c); !says {
				continue
			}
		}
		l, ok := apply(c, a)
		if !ok {
			if a.Line > 0 {
				c.Findings = append(c.Findings, unmeasured(c, a))
			}
			continue
		}
		c.Limits = append(c.Limits, l)
		if f, under := underFloor(c, l, a); under {
			c.Findings = append(c.Findings, f)
			continue
		}
		if !l.Within {
			c.Findings = append(c.Findings, broken(c, a, l))
		} else if a.Metric == "top1_agreement" && c.Logits != nil && c.Logits.FlipsInNoise > 0 {
			c.Findings = append(c.Findings, flipsInNoise(c, a, l))
		}
	}
	for _, f := range c.Findings {
		c.Status = worse(c.Status, f.Level)
	}
	if c.Rows == 0 {
		c.Status = Unmeasured
	}
}

// limitsFor are the spec's limits and, where there is an oracle, what it adds:
// a rule of the spec on the same metric wins, one that turns it off, too.
func limitsFor(r *Result, s *spec.Spec, checkpoint string) []spec.Applied {
	out := s.LimitsFor(checkpoint, r.Spec.Preset)
	for _, o := range oracleRules(s, r.Engines.Candidate) {
		if !slices.ContainsFunc(s.Tolerances.Rules, func(rule spec.Rule) bool {
			return spec.Match(rule.Checkpoint, checkpoint) && slices.ContainsFunc(rule.Limits, func(l spec.Limit) bool { return l.Metric == o.Metric })
		}) {
			out = append(out, o)
		}
	}
	return out
}

// worse is the graver of a status and a finding's level.
func worse(s Status, level string) Status {
	switch {
	case level == LevelFail || s == Failed:
		return Failed
	case level == LevelIncomplete || s == Unmeasured:
		return Unmeasured
	}
	return Warned
}

// widened is a preset's limit for a pair that both round. Shares and scores are
// left alone: rounding moves values, not the number of right tokens.
func widened(a spec.Applied, by float64) spec.Applied {
	info, _ := metric.Lookup(a.Metric)
	switch {
	case info.Direction == metric.HigherIsBetter || info.Share:
	case a.Unit > 0:
		a.Unit *= by
	case a.Metric == "kl.mean" || a.Metric == "nmse":
		a.Value *= by * by
	default:
		a.Value *= by
	}
	return a
}

// apply holds one limit against one checkpoint; false when the metric was not
// measured there.
func apply(c *Checkpoint, a spec.Applied) (AppliedLimit, bool) {
	value, ok := c.Measured(a.Metric)
	if !ok {
		return AppliedLimit{}, false
	}
	info, _ := metric.Lookup(a.Metric)
	l := AppliedLimit{Metric: a.Metric, Value: value, Limit: Value(a.Value), Level: a.Level, Source: a.Source, Line: a.Line}
	if a.Unit > 0 {
		at := c.LastPosition
		if a.Metric == "worst_position" {
			at, l.Value = nearestRow(c, value, a.Unit)
		}
		floor, ok := explained(c, a.Metric, a.Unit, at)
		if !ok {
			return AppliedLimit{}, false
		}
		l.Limit, l.Explained = Value(round9(a.Value*floor)), Value(a.Value)
	}
	l.Within = info.Within(float64(l.Value), float64(l.Limit))
	l.Use = Value(useOf(info, float64(l.Value), float64(l.Limit)))
	return l, true
}

// useOf is how much of its limit a value takes: 1 at the limit. For metrics that
// are better when higher it is the share of the allowed loss.
func useOf(info metric.Info, value, limit float64) float64 {
	if info.Direction == metric.HigherIsBetter {
		value, limit = 1-value, 1-limit
	}
	if limit <= 0 {
		if value <= 0 {
			return 0
		}
		return math.Inf(1)
	}
	return round9(max(0, value/limit))
}

// round9 keeps nine significant digits: what other processors' kernels may
// differ in never shows, and judging a saved result gives the same verdict.
func round9(x float64) float64 {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return x
	}
	e := math.Pow(10, 8-math.Floor(math.Log10(math.Abs(x))))
	if math.IsInf(e, 0) || e == 0 {
		return x
	}
	return math.Round(x*e) / e
}

// firstDivergence is the earliest failing checkpoint in forward order, and its
// earliest failing position.
func firstDivergence(r *Result) *Divergence {
	var best *Finding
	order := 0
	for i := range r.Checkpoints {
		c := &r.Checkpoints[i]
		for j := range c.Findings {
			f := &c.Findings[j]
			if f.Level != LevelFail {
				continue
			}
			if best == nil || c.Order < order || c.Order == order && earlier(f.Position, best.Position) {
				best, order = f, c.Order
			}
		}
	}
	if best == nil {
		return nil
	}
	return &Divergence{Prompt: best.Prompt, Checkpoint: best.Checkpoint, Position: best.Position,
		Metric: best.Metric, Value: best.Value, Limit: best.Limit}
}

// earlier orders positions; −1, no position, comes last.
func earlier(a, b int) bool { return a >= 0 && (b < 0 || a < b) }

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
