package gate

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/spec"
)

// Rules of the spec's baseline by which a run is incomplete.
const (
	// RuleBaselineRequired: there is a baseline to hold the run against.
	RuleBaselineRequired = "baseline.required"
	// RuleBaselineCovered: what the baseline has is measured.
	RuleBaselineCovered = "baseline.covered"
)

// AboutBaseline reports whether a finding says that the run could not be held
// against a baseline: whatever else was measured stands.
func AboutBaseline(f Finding) bool {
	return f.Rule == RuleBaselineRequired || f.Rule == RuleBaselineCovered
}

// LacksBaseline reports whether a finding says no more than that there is no
// baseline yet for runs like this one.
func LacksBaseline(r *Result, f Finding) bool {
	return f.Rule == RuleBaselineRequired && r.Baseline != nil && (r.Baseline.State == BaselineNone || r.Baseline.State == BaselineIncomparable)
}

// Measured is a metric's value as it is judged: the top token's agreement without
// the flips that the logits' own noise explains. False where it was not measured.
func (c *Checkpoint) Measured(name string) (Value, bool) {
	v, ok := c.Metrics[name]
	if ok && name == "top1_agreement" && c.Logits != nil && c.Rows > 0 {
		v = Value(1 - float64(c.Logits.FlipsTotal-c.Logits.FlipsInNoise)/float64(c.Rows))
	}
	return v, ok
}

// lackingMessage says what a run lacks that requires a baseline. Why there is none
// is long, and stands beside it in every report.
func lackingMessage(b *Baseline) string {
	switch b.State {
	case BaselineIncomparable:
		return "a baseline is required and the nearest cannot be compared with: " + b.Why
	case BaselineInvalid:
		return "a baseline is required and cannot be read: " + b.Why
	}
	return "a baseline is required and none was found in " + b.Store
}

// judgeBaseline says what the run as a whole lacks of a baseline.
func judgeBaseline(v *Verdict, r *Result, s *spec.Spec) {
	b := r.Baseline
	required := s.Baseline != nil && s.Baseline.Required
	add := func(rule, level, checkpoint, message string) {
		line := 0
		if s.Baseline != nil {
			line = s.Baseline.Line
		}
		v.Findings = append(v.Findings, Finding{Rule: rule, Level: level, Checkpoint: checkpoint, Position: -1,
			Value: Value(math.NaN()), Limit: Value(math.NaN()), Source: s.Path, Line: line, Message: message})
	}
	switch {
	case b == nil && required:
		add(RuleBaselineRequired, LevelIncomplete, "", "a baseline is required and none was looked for")
	case b == nil:
	case b.State != BaselineCompared && required:
		add(RuleBaselineRequired, LevelIncomplete, "", lackingMessage(b))
	case b.State == BaselineInvalid:
		add(RuleBaselineRequired, LevelWarn, "", "the baseline cannot be read: "+b.Why)
	case b.State == BaselineCompared:
		if missing := uncovered(r, s); len(missing) > 0 {
			shown := strings.Join(missing[:min(len(missing), 5)], ", ")
			if more := len(missing) - 5; more > 0 {
				shown += fmt.Sprintf(" and %d more", more)
			}
			add(RuleBaselineCovered, LevelIncomplete, missing[0], "the baseline has what this run did not measure: "+shown)
		}
	}
}

// uncovered lists what the baseline has and this run lacks, without what is not
// held against it.
func uncovered(r *Result, s *spec.Spec) []string {
	var out []string
	for _, m := range r.Baseline.Missing {
		name := m
		for _, p := range r.Prompts {
			if rest, ok := strings.CutPrefix(m, p.Name+"/"); ok {
				name, _, _ = strings.Cut(rest, " (")
			}
		}
		if s.BaselineFor(name).Judged {
			out = append(out, m)
		}
	}
	deltas := deltasOf(r)
	for i := range r.Checkpoints {
		c := &r.Checkpoints[i]
		judged := s.BaselineFor(c.Name).Judged
		for _, d := range deltas[c.Prompt+"\x00"+c.Name] {
			if _, ok := c.Measured(d.Metric); !ok && judged && s.BaselineJudges(d.Metric) {
				out = append(out, fmt.Sprintf("%s/%s (%s)", d.Prompt, d.Checkpoint, d.Metric))
			}
		}
	}
	return out
}

// deltasOf are the baseline's deltas by checkpoint, as "prompt\x00name".
func deltasOf(r *Result) map[string][]*BaselineDelta {
	out := map[string][]*BaselineDelta{}
	if r.Baseline != nil && r.Baseline.State == BaselineCompared {
		for i := range r.Baseline.Deltas {
			d := &r.Baseline.Deltas[i]
			key := d.Prompt + "\x00" + d.Checkpoint
			out[key] = append(out[key], d)
		}
	}
	return out
}

// judgeDeltas holds a checkpoint's measurements against the baseline's, and adds
// what broke to its findings.
func judgeDeltas(c *Checkpoint, deltas []*BaselineDelta, r *Result, s *spec.Spec) {
	limit := s.BaselineFor(c.Name)
	for _, d := range deltas {
		nan := Value(math.NaN())
		d.Allowed, d.Against, d.Within = nan, "", true
		if _, measured := c.Measured(d.Metric); !measured || !limit.Judged || !s.BaselineJudges(d.Metric) {
			continue
		}
		d.judge(limit, roundingOf(c, d.Metric, unitOf(r, c)))
		if !d.Within {
			c.Findings = append(c.Findings, d.finding(c, r, limit))
			c.Status = worse(c.Status, LevelFail)
		}
	}
}

// judge fills in how much is allowed, and whether Head keeps to it.
//
// With x the baseline's value, s the standard deviation of repeated runs and f
// what a rounding explains, see roundingOf,
//
//	allowed = max( x·(1 + max_increase), x + noise·s, f )
//
// where s is left out if it was not measured; the same of the anchor's value with
// its own share; and the smaller of both counts. Metrics that are better when
// higher are judged by their loss, 1 − x. A value that is not finite holds nothing
// against this run. The bits of the baseline, measured as they were then, always
// keep to it; NaN never does.
func (d *BaselineDelta) judge(limit spec.BaselineLimit, rounding float64) {
	info, _ := metric.Lookup(d.Metric)
	loss := func(v float64) float64 {
		if info.Direction == metric.HigherIsBetter {
			return 1 - v
		}
		return v
	}
	allow := func(x Value, share float64) float64 {
		l := loss(float64(x))
		if math.IsNaN(l) || math.IsInf(l, 0) {
			return math.NaN()
		}
		out := max(l*(1+share), rounding)
		if spread := float64(d.Spread); spread >= 0 {
			out = max(out, l+limit.Noise*spread)
		}
		return out
	}
	base, anchor := allow(d.Base, limit.MaxIncrease), allow(d.Anchor, limit.Anchor)
	most := base
	switch {
	case math.IsNaN(base) && math.IsNaN(anchor):
		return
	case math.IsNaN(base) || anchor < base:
		most, d.Against = anchor, "anchor"
	default:
		d.Against = "baseline"
	}
	d.Allowed = Value(round9(loss(most))) // 1 − loss, and its own reverse
	last := len(d.History) - 1
	same := d.Moved == 0 && last >= 0 && d.History[last] == d.Head
	d.Within = same || info.Within(float64(d.Head), float64(d.Allowed))
}

// shareFloor is the share of rows that noise alone may flip, see noiseReach.
const shareFloor = 1e-3

// roundingOf is up to where a metric's value is explained by one rounding at the
// unit u of what stands there, so that nothing is said by how many times it grew:
//
//	rel_l2, position_rms   u/2
//	worst_channel          u
//	added                  √(u² + (u/2 · ‖r_i‖/‖r_i−r_{i−1}‖)²)
//	max_abs                what it would be at rel_l2 = u/2
//	kl.mean, kl.max        ½·(u/2 · rms of the logits)²
//	explained, local       1
//
// and a thousandth of what is better when higher.
func roundingOf(c *Checkpoint, name string, u float64) float64 {
	at := func(name string) float64 { return float64(c.Metrics[name]) }
	out := 0.0
	switch name {
	case "rel_l2", "position_rms":
		out = u / 2
	case "worst_channel":
		out = u
	case "added":
		out = u
		if c.Growth != nil {
			out = math.Hypot(u, u/2*float64(c.Growth.Stride))
		}
	case "max_abs":
		out = at("max_abs") * u / 2 / at("rel_l2")
	case "kl.mean", "kl.max":
		out = sq(u/2*at("rmse")/at("rel_l2")) / 2
	case "explained", "local":
		out = 1
	default:
		if info, _ := metric.Lookup(name); info.Direction == metric.HigherIsBetter {
			out = shareFloor
		}
	}
	if math.IsNaN(out) || math.IsInf(out, 0) {
		return 0
	}
	return out
}

// unitOf is the unit of the preset that judges, or else of the stored values.
func unitOf(r *Result, c *Checkpoint) float64 {
	for _, name := range []string{r.Spec.Preset, strings.ToLower(c.CandDType)} {
		if u := spec.Unit(name); u > 0 {
			return u
		}
	}
	return spec.Unit("f32")
}

// finding says by how much a measurement is worse than it may be.
func (d *BaselineDelta) finding(c *Checkpoint, r *Result, limit spec.BaselineLimit) Finding {
	rule, base, share, line, than := "baseline", d.Base, limit.MaxIncrease, limit.Line, "the baseline's"
	if d.Against == "anchor" {
		rule, base, share, line, than = "baseline anchor", d.Anchor, limit.Anchor, limit.AnchorLine, "the anchor's"
		if a := r.Baseline.Anchor; a != nil && a.ApprovedBy != "" {
			than = fmt.Sprintf("the anchor's (approved by %s)", a.ApprovedBy)
		}
	}
	info, _ := metric.Lookup(d.Metric)
	what, most, grown := d.Metric, "at most", ""
	if info.Direction == metric.HigherIsBetter {
		what, most = "loss of "+d.Metric, "at least"
	} else if by := float64(d.Head)/float64(base) - 1; by-by == 0 {
		grown = fmt.Sprintf("%+.3g %% over ", by*100)
	}
	f := Finding{Rule: fmt.Sprintf("%s: %s <= %s", rule, what, increase(share)), Level: LevelFail, Prompt: c.Prompt, Checkpoint: c.Name,
		Position: c.Where.WorstPosition, Metric: d.Metric, Value: d.Head, Limit: d.Allowed, Source: limit.Source, Line: line}
	if d.Metric == "top1_agreement" {
		f.Position = firstRealFlip(c)
	}
	f.Message = fmt.Sprintf("%s %s is %s: %s%s %s; %s %s is allowed", c.Name, d.Metric, number(d.Metric, d.Head), grown, than, number(d.Metric, base), most, number(d.Metric, d.Allowed))
	if d.Moved == 0 {
		f.Message += "; the candidate's bits are those of the baseline, so that the reference moved"
	}
	return f
}

// increase is a share as "+25%".
func increase(share float64) string {
	return "+" + strconv.FormatFloat(share*100, 'g', 6, 64) + "%"
}
