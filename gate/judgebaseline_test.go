package gate

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/spec"
)

// accepted is a result that passes, with one layer and logits of a hundred rows.
func accepted() *Result {
	r := newResult(Options{})
	r.Prompts = []PromptInfo{{Name: "p"}}
	r.Engines.Candidate.Precision, r.Engines.Reference.Precision = "f16", "f32"
	r.Checkpoints = []Checkpoint{
		{Prompt: "p", Name: "layer_0_output", Order: 1, Rows: 100, Width: 64, Compared: 64, CandDType: "F16", Where: Where{WorstPosition: 7},
			Growth:  &Growth{Stride: 10},
			Metrics: map[string]Value{"rel_l2": 1e-3, "position_rms": 1e-3, "max_abs": 0.5, "added": 6e-3, "rmse": 0.02, "worst_channel": 1e-3}},
		{Prompt: "p", Name: "logits", Order: 2, Rows: 100, Width: 512, Compared: 512, CandDType: "F16",
			Logits:  &LogitsInfo{FlipsTotal: 3, FlipsInNoise: 2, Flips: []Flip{{Position: 40, Gap: 9}, {Position: 3, InNoise: true}, {Position: 2, InNoise: true}}},
			Metrics: map[string]Value{"rel_l2": 2e-3, "rmse": 0.01, "kl.mean": 1e-5, "top1_agreement": 0.97}},
	}
	return r
}

// quiet takes every other limit away.
const quiet = "tolerances: {preset: f16, rules: [{checkpoint: \"*\", rel_l2: off, added: off, scale: off, worst_channel: off, worst_position: off, position_rms: off, warn: {rel_l2: off}}," +
	" {checkpoint: logits, top1_agreement: off, kl: {mean: off}}]}\n"

// held judges a delta of a metric whose value is head now, was base, and anchor
// when it was approved.
func held(t testing.TB, yaml, checkpoint, metric string, base, head, anchor, spread float64) (*Result, *BaselineDelta) {
	t.Helper()
	r := accepted()
	for i := range r.Checkpoints {
		c := &r.Checkpoints[i]
		if c.Name != checkpoint {
			continue
		}
		if metric == "top1_agreement" {
			c.Logits.FlipsTotal, c.Logits.FlipsInNoise = int(math.Round(100*(1-head)))+2, 2
			c.Metrics[metric] = Value(head - 0.02)
		} else {
			c.Metrics[metric] = Value(head)
		}
	}
	r.Baseline = &Baseline{State: BaselineCompared, Deltas: []BaselineDelta{{Prompt: "p", Checkpoint: checkpoint, Metric: metric,
		Base: Value(base), Head: Value(head), Spread: Value(spread), Anchor: Value(anchor), Moved: 0.1, History: []Value{Value(base)}}}}
	Judge(r, parsed(t, quiet+yaml))
	return r, &r.Baseline.Deltas[0]
}

func TestBaselineAllows(t *testing.T) {
	const spec25 = "baseline: {store: \"branch:b\"}\n"
	nan, inf := math.NaN(), math.Inf(1)
	above := func(x float64) float64 { return x * (1 + 1e-8) }
	for _, c := range []struct {
		name, yaml, checkpoint, metric string
		base, head, anchor, spread     float64
		allowed                        float64
		against                        string
		within                         bool
	}{
		{"the same", spec25, "layer_0_output", "rel_l2", 0.01, 0.01, 0.01, nan, 0.0125, "baseline", true},
		{"better", spec25, "layer_0_output", "rel_l2", 0.01, 0.001, 0.01, nan, 0.0125, "baseline", true},
		{"at the limit", spec25, "layer_0_output", "rel_l2", 0.01, 0.0125, 0.01, nan, 0.0125, "baseline", true},
		{"just above", spec25, "layer_0_output", "rel_l2", 0.01, above(0.0125), 0.01, nan, 0.0125, "baseline", false},
		{"another share", "baseline: {store: \"branch:b\", max_increase: 5%}\n", "layer_0_output", "rel_l2", 0.01, 0.0106, 0.01, nan, 0.0105, "baseline", false},
		{"a share of nothing", "baseline: {store: \"branch:b\", max_increase: 0}\n", "layer_0_output", "rel_l2", 0.01, 0.01, 0.01, nan, 0.01, "baseline", true},
		{"without a spec's baseline", "", "layer_0_output", "rel_l2", 0.01, 0.0126, 0.01, nan, 0.0125, "baseline", false},
		{"not a number", spec25, "layer_0_output", "rel_l2", 0.01, nan, 0.01, nan, 0.0125, "baseline", false},
		{"infinite", spec25, "layer_0_output", "rel_l2", 0.01, inf, 0.01, nan, 0.0125, "baseline", false},
		// Spread widens what is allowed and never narrows it.
		{"noise", spec25, "layer_0_output", "rel_l2", 0.01, 0.019, 0.01, 0.003, 0.019, "baseline", true},
		{"above the noise", spec25, "layer_0_output", "rel_l2", 0.01, above(0.019), 0.01, 0.003, 0.019, "baseline", false},
		{"little noise", spec25, "layer_0_output", "rel_l2", 0.01, 0.0125, 0.01, 1e-6, 0.0125, "baseline", true},
		{"no spread at all", spec25, "layer_0_output", "rel_l2", 0.01, 0.0125, 0.01, 0, 0.0125, "baseline", true},
		{"noise 10", "baseline: {store: \"branch:b\", noise: 10}\n", "layer_0_output", "rel_l2", 0.01, 0.041, 0.01, 0.003, 0.04, "baseline", false},
		{"noise 0", "baseline: {store: \"branch:b\", noise: 0}\n", "layer_0_output", "rel_l2", 0.01, 0.013, 0.01, 0.003, 0.0125, "baseline", false},
		// The anchor.
		{"crept", spec25, "layer_0_output", "rel_l2", 0.012, 0.0126, 0.01, nan, 0.0125, "anchor", false},
		{"at the anchor's limit", spec25, "layer_0_output", "rel_l2", 0.012, 0.0125, 0.01, nan, 0.0125, "anchor", true},
		{"the anchor is above", spec25, "layer_0_output", "rel_l2", 0.008, 0.0101, 0.01, nan, 0.01, "baseline", false},
		{"the anchor's own share", "baseline: {store: \"branch:b\", anchor: 100%}\n", "layer_0_output", "rel_l2", 0.018, 0.0201, 0.01, nan, 0.02, "anchor", false},
		{"noise of the anchor", spec25, "layer_0_output", "rel_l2", 0.018, 0.019, 0.01, 0.003, 0.019, "anchor", true},
		{"no anchor", spec25, "layer_0_output", "rel_l2", 0.012, 0.015, nan, nan, 0.015, "baseline", true},
		// What was not finite holds nothing against this run.
		{"an infinite baseline", spec25, "layer_0_output", "rel_l2", inf, 1, nan, nan, nan, "", true},
		{"an infinite baseline and an anchor", spec25, "layer_0_output", "rel_l2", inf, 1, 0.01, nan, 0.0125, "anchor", false},
		// One rounding of f16 (u = 2⁻¹¹) is u/2 of the stream.
		{"zero before, a rounding now", spec25, "layer_0_output", "rel_l2", 0, 0x1p-12, 0, nan, 0.000244140625, "baseline", true},
		{"zero before, more than a rounding", spec25, "layer_0_output", "rel_l2", 0, above(0x1p-12), 0, nan, 0.000244140625, "baseline", false},
		{"ten times next to nothing", spec25, "layer_0_output", "position_rms", 1e-5, 1e-4, 1e-5, nan, 0.000244140625, "baseline", true},
		{"what a rounding adds", spec25, "layer_0_output", "added", 0, 0.00248, 0, nan, 0.0024896, "baseline", true},
		{"more than it adds", spec25, "layer_0_output", "added", 0, 0.0025, 0, nan, 0.0024896, "baseline", false},
		{"KL of a rounding", spec25, "logits", "kl.mean", 0, 7e-7, 0, nan, 7.45e-7, "baseline", true},
		{"more KL", spec25, "logits", "kl.mean", 0, 8e-7, 0, nan, 7.45e-7, "baseline", false},
		// Better when higher: the loss is what grows.
		{"agreement at the limit", spec25, "logits", "top1_agreement", 0.96, 0.95, 0.96, nan, 0.95, "baseline", true},
		{"agreement below", spec25, "logits", "top1_agreement", 0.96, 0.94, 0.96, nan, 0.95, "baseline", false},
		{"agreement above", spec25, "logits", "top1_agreement", 0.96, 1, 0.96, nan, 0.95, "baseline", true},
		{"one real flip more than none", spec25, "logits", "top1_agreement", 1, 0.99, 1, nan, 0.999, "baseline", false},
		{"agreement crept", spec25, "logits", "top1_agreement", 0.95, 0.94, 0.96, nan, 0.95, "anchor", false},
		{"agreement's noise", spec25, "logits", "top1_agreement", 0.96, 0.93, 0.96, 0.01, 0.93, "baseline", true},
		// What is not judged.
		{"not in the list", spec25, "layer_0_output", "max_abs", 1, 100, 1, nan, nan, "", true},
		{"in the spec's list", "baseline: {store: \"branch:b\", metrics: [max_abs]}\n", "layer_0_output", "max_abs", 1, 100, 1, nan, 24.4140625, "baseline", false},
		{"out of the spec's list", "baseline: {store: \"branch:b\", metrics: [max_abs]}\n", "layer_0_output", "rel_l2", 1, 100, 1, nan, nan, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, d := held(t, c.yaml, c.checkpoint, c.metric, c.base, c.head, c.anchor, c.spread)
			if !near(float64(d.Allowed), c.allowed, 1e-4) {
				t.Errorf("allowed %v, want %v", d.Allowed, c.allowed)
			}
			if d.Against != c.against || d.Within != c.within {
				t.Errorf("against %q, within %v; want %q, %v", d.Against, d.Within, c.against, c.within)
			}
			want := map[bool]Outcome{true: Pass, false: Fail}[c.within]
			if r.Outcome != want {
				t.Errorf("outcome %v, want %v: %v", r.Outcome, want, r.Reasons)
			}
		})
	}
}

// Rules replace what the baseline says, checkpoint by checkpoint.
func TestBaselineRules(t *testing.T) {
	const head = "baseline: {store: \"branch:b\"}\ntolerances:\n  rules:\n"
	for yaml, want := range map[string]bool{
		head + "    - {checkpoint: \"layer_*\", max_increase: 100%}\n":                                     true,
		head + "    - {checkpoint: logits, max_increase: 100%}\n":                                          false,
		head + "    - {checkpoint: \"layer_*\", max_increase: 100%, anchor: 25%}\n":                        false,
		head + "    - {checkpoint: \"layer_*\", baseline: off}\n":                                          true,
		head + "    - {checkpoint: \"layer_*\", noise: 90}\n":                                              true,
		head + "    - {checkpoint: \"layer_*\", baseline: off, max_increase: 1%}\n":                        true,
		head + "    - {checkpoint: \"*\", baseline: off}\n    - {checkpoint: \"layer_*\", baseline: on}\n": false,
	} {
		r, d := held(t, "", "layer_0_output", "rel_l2", 0.01, 0.015, 0.01, 0.0001)
		s := parsed(t, yaml)
		s.Tolerances.Preset = "f16"
		s.Tolerances.Rules = append(parsed(t, quiet).Tolerances.Rules, s.Tolerances.Rules...)
		Judge(r, s)
		if d.Within != want || (r.Outcome == Pass) != want {
			t.Errorf("%s\nwithin %v, %v", yaml, d.Within, r.Outcome)
		}
	}
}

func TestBaselineFinding(t *testing.T) {
	find := func(r *Result) Finding {
		t.Helper()
		for _, c := range r.Checkpoints {
			if len(c.Findings) == 1 && c.Status == Failed {
				return c.Findings[0]
			}
		}
		t.Fatalf("no finding: %v", r.Reasons)
		return Finding{}
	}
	const yaml = "baseline:\n  store: \"branch:b\"\n  anchor: 30%\n  max_increase: 10%\n"
	r, _ := held(t, yaml, "layer_0_output", "rel_l2", 0.01, 0.012, 0.01, math.NaN())
	f := find(r)
	if f.Rule != "baseline: rel_l2 <= +10%" || f.Line != 6 || f.Source != "parity.yaml" || f.Level != LevelFail || f.Position != 7 || f.Value != 0.012 || f.Limit != 0.011 {
		t.Errorf("%+v", f)
	}
	has(t, f.Message, "layer_0_output rel_l2 is 1.2 %", "+20 % over the baseline's 1 %", "at most 1.1 % is allowed")
	if d := r.FirstDivergence; d == nil || d.Checkpoint != "layer_0_output" || d.Position != 7 || d.Limit != 0.011 {
		t.Errorf("first divergence %+v", d)
	}
	has(t, strings.Join(r.Reasons, "\n"), f.Message)

	r, _ = held(t, yaml, "layer_0_output", "rel_l2", 0.0125, 0.0135, 0.01, math.NaN())
	r.Baseline.Anchor = &BaselineAnchor{ApprovedBy: "ada"}
	Judge(r, parsed(t, quiet+yaml))
	f = find(r)
	if f.Rule != "baseline anchor: rel_l2 <= +30%" || f.Line != 5 || f.Limit != 0.013 {
		t.Errorf("%+v", f)
	}
	has(t, f.Message, "+35 % over the anchor's (approved by ada) 1 %", "at most 1.3 %")

	r, _ = held(t, yaml, "logits", "top1_agreement", 1, 0.95, 1, math.NaN())
	f = find(r)
	if f.Rule != "baseline: loss of top1_agreement <= +10%" || f.Position != 40 {
		t.Errorf("%+v", f)
	}
	has(t, f.Message, "logits top1_agreement is 95 %: the baseline's 100 %; at least 99.9 % is allowed")
}

// The baseline's own bits never fail, unless what they are compared with moved.
func TestBaselineOfTheSameBits(t *testing.T) {
	const yaml = "baseline: {store: \"branch:b\"}\n"
	for _, c := range []struct {
		name        string
		moved, last float64
		within      bool
	}{
		{"same bits, same measurement", 0, 0.02, true},
		{"same bits, another reference", 0, 0.01, false},
		{"other bits, same measurement", 1e-6, 0.02, false},
		{"bits that nobody knows", math.NaN(), 0.02, false},
	} {
		// The ratchet keeps 0.01 though the run of last was accepted.
		r, d := held(t, yaml, "layer_0_output", "rel_l2", 0.01, 0.02, 0.01, math.NaN())
		d.Moved, d.History = Value(c.moved), []Value{0.01, Value(c.last)}
		Judge(r, parsed(t, quiet+yaml))
		if d.Within != c.within {
			t.Errorf("%s: within %v", c.name, d.Within)
		}
		if !c.within && c.moved == 0 {
			has(t, r.Reasons[0], "the reference moved")
		}
	}
}

// 2 % a run passes each step and is stopped by the anchor at the step at which
// it exceeds a quarter in all: 1.02¹¹ < 1.25 < 1.02¹².
func TestBaselineStopsCreep(t *testing.T) {
	base, anchor := 0.01, 0.01
	for step := 1; ; step++ {
		head := round9(base * 1.02)
		r, d := held(t, "baseline: {store: \"branch:b\"}\n", "layer_0_output", "rel_l2", base, head, anchor, math.NaN())
		if r.Outcome == Fail {
			if step != 12 || d.Against != "anchor" {
				t.Fatalf("stopped at step %d by the %s", step, d.Against)
			}
			return
		}
		base = head
	}
}

func TestBaselineOfTheRun(t *testing.T) {
	const optional, required = "baseline: {store: \"branch:b\"}\n", "baseline: {store: \"branch:b\", required: true}\n"
	compared := func(missing ...string) *Baseline { return &Baseline{State: BaselineCompared, Missing: missing} }
	for _, c := range []struct {
		name, yaml string
		b          *Baseline
		outcome    Outcome
		rule, part string
	}{
		{"nobody looked", optional, nil, Pass, "", ""},
		{"nobody looked, required", required, nil, Incomplete, RuleBaselineRequired, "none was looked for"},
		{"none", optional, &Baseline{State: BaselineNone, Why: "gone"}, Pass, "", ""},
		{"none, required", required, &Baseline{State: BaselineNone, Store: "branch:b", Why: "gone"}, Incomplete, RuleBaselineRequired, "none was found in branch:b"},
		{"incomparable", optional, &Baseline{State: BaselineIncomparable, Why: "driver"}, Pass, "", ""},
		{"incomparable, required", required, &Baseline{State: BaselineIncomparable, Why: "driver"}, Incomplete, RuleBaselineRequired, "driver"},
		{"damaged", optional, &Baseline{State: BaselineInvalid, Why: "cut off"}, Pass, RuleBaselineRequired, "cut off"},
		{"damaged, required", required, &Baseline{State: BaselineInvalid, Why: "cut off"}, Incomplete, RuleBaselineRequired, "cut off"},
		{"compared", required, compared(), Pass, "", ""},
		{"a checkpoint less", optional, compared("p/layer_1_output"), Incomplete, RuleBaselineCovered, "p/layer_1_output"},
		{"other rows", optional, compared("p/layer_0_output (3 rows of 64 elements, was 4 of 64)"), Incomplete, RuleBaselineCovered, "3 rows"},
		{"one that nobody judges", optional + "tolerances: {rules: [{checkpoint: layer_1_output, baseline: off}]}\n", compared("p/layer_1_output (3 rows of 64 elements, was 4 of 64)"), Pass, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := accepted()
			r.Baseline = c.b
			s := parsed(t, c.yaml)
			s.Tolerances.Preset = "f16"
			s.Tolerances.Rules = append(parsed(t, quiet).Tolerances.Rules, s.Tolerances.Rules...)
			Judge(r, s)
			if r.Outcome != c.outcome {
				t.Errorf("%v, want %v: %v", r.Outcome, c.outcome, r.Reasons)
			}
			if c.rule == "" {
				if len(r.Findings) > 0 {
					t.Errorf("%+v", r.Findings)
				}
				return
			}
			if len(r.Findings) != 1 || r.Findings[0].Rule != c.rule || !AboutBaseline(r.Findings[0]) {
				t.Fatalf("%+v", r.Findings)
			}
			has(t, r.Findings[0].Message, c.part)
			lacks := c.b != nil && (c.b.State == BaselineNone || c.b.State == BaselineIncomparable)
			if LacksBaseline(r, r.Findings[0]) != lacks {
				t.Errorf("lacks a baseline: %v", !lacks)
			}
		})
	}
}

// A metric that the baseline has and this run did not measure is no pass.
func TestBaselineOfAMissingMetric(t *testing.T) {
	r, d := held(t, "", "layer_0_output", "added", 0.01, math.NaN(), 0.01, math.NaN())
	delete(r.Checkpoints[0].Metrics, "added")
	Judge(r, parsed(t, quiet))
	if r.Outcome != Incomplete || !d.Within || !math.IsNaN(float64(d.Allowed)) {
		t.Errorf("%v, %+v", r.Outcome, d)
	}
	has(t, r.Reasons[0], "p/layer_0_output (added)")
	d.Metric = "explained"
	if Judge(r, parsed(t, quiet)); r.Outcome != Pass {
		t.Errorf("%v: %v", r.Outcome, r.Reasons)
	}
}

// Judging again, under another spec, leaves nothing of the first judgement.
func TestBaselineIsJudgedAgain(t *testing.T) {
	r, d := held(t, "baseline: {store: \"branch:b\", max_increase: 1%}\n", "layer_0_output", "rel_l2", 0.01, 0.012, 0.01, math.NaN())
	if r.Outcome != Fail {
		t.Fatal(r.Outcome)
	}
	Judge(r, parsed(t, quiet+"baseline: {store: \"branch:b\"}\n"))
	if r.Outcome != Pass || !d.Within || d.Allowed != 0.0125 || len(r.Checkpoints[0].Findings) > 0 || r.Checkpoints[0].Status != Passed {
		t.Errorf("%v %+v", r.Outcome, d)
	}
	s := parsed(t, quiet+"baseline: {store: \"branch:b\", metrics: [kl.mean]}\n")
	if Judge(r, s); d.Against != "" || !math.IsNaN(float64(d.Allowed)) {
		t.Errorf("%+v", d)
	}
}

// Different inputs say nothing of the candidate, whatever its baseline.
func TestBaselineOfOtherInputs(t *testing.T) {
	r, _ := held(t, "", "layer_0_output", "rel_l2", 0.01, 1, 0.01, math.NaN())
	r.Prompts[0].InputsDiffer = "token 0"
	if Judge(r, parsed(t, quiet)); r.Outcome != Incomplete {
		t.Error(r.Outcome)
	}
}

func TestRoundingOf(t *testing.T) {
	c := &accepted().Checkpoints[0]
	u := spec.Unit("f16")
	for name, want := range map[string]float64{"rel_l2": u / 2, "position_rms": u / 2, "worst_channel": u, "added": math.Hypot(u, 5*u),
		"max_abs": 0.5 * u / 2 / 1e-3, "kl.mean": math.Pow(u/2*20, 2) / 2, "kl.max": math.Pow(u/2*20, 2) / 2, "explained": 1, "local": 1,
		"top1_agreement": 1e-3, "rank_correlation": 1e-3, "nmse": 0} {
		if got := roundingOf(c, name, u); !near(got, want, 1e-12) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	c.Growth = nil
	if got := roundingOf(c, "added", u); got != u {
		t.Errorf("added without a stream: %v", got)
	}
	c.Metrics["rel_l2"] = 0
	for _, name := range []string{"max_abs", "kl.mean"} {
		if got := roundingOf(c, name, u); got != 0 {
			t.Errorf("%s where all is equal: %v", name, got)
		}
	}
}

func TestUnitOf(t *testing.T) {
	for _, c := range []struct{ preset, dtype, like string }{{"bf16", "F32", "bf16"}, {"reasonable", "F16", "f16"}, {"reasonable", "F64", "f32"}, {"", "BF16", "bf16"}} {
		r := accepted()
		r.Spec.Preset, r.Checkpoints[0].CandDType = c.preset, c.dtype
		if got := unitOf(r, &r.Checkpoints[0]); got != spec.Unit(c.like) {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// BenchmarkJudgeBaseline: time is in proportion to the number of checkpoints.
func BenchmarkJudgeBaseline(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			one := accepted()
			r := accepted()
			r.Checkpoints, r.Baseline = nil, &Baseline{State: BaselineCompared}
			for i := range n {
				c := one.Checkpoints[0]
				c.Name = fmt.Sprintf("layer_%d_output", i)
				r.Checkpoints = append(r.Checkpoints, c)
				for m, v := range c.Metrics {
					r.Baseline.Deltas = append(r.Baseline.Deltas, BaselineDelta{Prompt: "p", Checkpoint: c.Name, Metric: m, Base: v, Head: v, Anchor: v, Moved: 0.1})
				}
			}
			v, s := &Verdict{}, parsed(b, quiet)
			for b.Loop() {
				judgeBaseline(v, r, s)
				deltas := deltasOf(r)
				for i := range r.Checkpoints {
					c := &r.Checkpoints[i]
					judgeDeltas(c, deltas[c.Prompt+"\x00"+c.Name], r, s)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/checkpoint")
		})
	}
}
