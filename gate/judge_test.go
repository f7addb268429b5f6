package gate

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/spec"
)

// measuredAt is a checkpoint with these metrics, measured and not judged yet.
func measuredAt(name string, metrics map[string]Value) Checkpoint {
	return Checkpoint{Prompt: "p", Name: name, Rows: 10, Width: 4, Compared: 4, Metrics: metrics,
		Where: Where{MaxAbsPosition: 1, MaxAbsElement: 2, WorstChannel: 3, WorstPosition: 6}}
}

// resultOf is a result of these checkpoints in forward order, both engines f32.
func resultOf(cs ...Checkpoint) *Result {
	r := newResult(Options{})
	for i := range cs {
		cs[i].Order = i
	}
	r.Checkpoints = cs
	r.Engines.Reference.Precision, r.Engines.Candidate.Precision = "f32", "f32"
	r.Prompts = []PromptInfo{{Name: "p"}}
	return r
}

// levels are "metric level" of the findings of a checkpoint.
func levels(c Checkpoint) string {
	var out []string
	for _, f := range c.Findings {
		out = append(out, f.Metric+" "+f.Level)
	}
	return strings.Join(out, ", ")
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name, rules string
		metrics     map[string]Value
		want        string // findings
		status      Status
		outcome     Outcome
	}{
		{"at the limit", `{checkpoint: "*", rel_l2: 0.1}`, map[string]Value{"rel_l2": 0.1}, "", Passed, Pass},
		{"over it", `{checkpoint: "*", rel_l2: 0.1}`, map[string]Value{"rel_l2": 0.100000001}, "rel_l2 fail", Failed, Fail},
		{"NaN never passes", `{checkpoint: "*", rel_l2: 0.1}`, map[string]Value{"rel_l2": Value(math.NaN())}, "rel_l2 fail", Failed, Fail},
		{"nor does infinity", `{checkpoint: "*", max_rel: 1e300}`, map[string]Value{"max_rel": Value(math.Inf(1))}, "max_rel fail", Failed, Fail},
		{"higher is better, at the limit", `{checkpoint: "*", cosine: 0.99}`, map[string]Value{"cosine": 0.99}, "", Passed, Pass},
		{"higher is better, below", `{checkpoint: "*", cosine: 0.99}`, map[string]Value{"cosine": 0.98}, "cosine fail", Failed, Fail},
		{"higher is better, NaN", `{checkpoint: "*", cosine: 0.99}`, map[string]Value{"cosine": Value(math.NaN())}, "cosine fail", Failed, Fail},
		{"a later rule loosens", `{checkpoint: "*", rel_l2: 0.1}, {checkpoint: "layer_*", rel_l2: 0.5}`, map[string]Value{"rel_l2": 0.3}, "", Passed, Pass},
		{"a later rule tightens", `{checkpoint: "layer_*", rel_l2: 0.5}, {checkpoint: "*", rel_l2: 0.1}`, map[string]Value{"rel_l2": 0.3}, "rel_l2 fail", Failed, Fail},
		{"a later rule elsewhere", `{checkpoint: "*", rel_l2: 0.1}, {checkpoint: logits, rel_l2: 0.5}`, map[string]Value{"rel_l2": 0.3}, "rel_l2 fail", Failed, Fail},
		{"off", `{checkpoint: "*", rel_l2: 0.1}, {checkpoint: "layer_*", rel_l2: off}`, map[string]Value{"rel_l2": 0.3}, "", Passed, Pass},
		{"only a warning", `{checkpoint: "*", rel_l2: 0.5, warn: {rel_l2: 0.1}}`, map[string]Value{"rel_l2": 0.3}, "rel_l2 warn", Warned, Pass},
		{"failure and warning", `{checkpoint: "*", rel_l2: 0.5, warn: {rel_l2: 0.1}}`, map[string]Value{"rel_l2": 0.6}, "rel_l2 fail, rel_l2 warn", Failed, Fail},
		{"a failure stands beside what is not measured", `{checkpoint: "*", rel_l2: 0.1, cosine: 0.9}`, map[string]Value{"rel_l2": 0.3}, "rel_l2 fail, cosine incomplete", Failed, Fail},
		{"a rule on what is not measured", `{checkpoint: "*", rel_l2: 0.1, added: 0.9}`, map[string]Value{"rel_l2": 0.01}, "added incomplete", Unmeasured, Incomplete},
		{"a warning on what is not measured", `{checkpoint: "*", warn: {added: 0.9}}`, map[string]Value{"rel_l2": 0.01}, "added incomplete", Unmeasured, Incomplete},
		{"a metric of logits alone", `{checkpoint: "*", top1_agreement: 1, rel_l2: 0.1}`, map[string]Value{"rel_l2": 0.01}, "", Passed, Pass},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A preset that sets no limit on what is tested here: its metrics are absent.
			r := resultOf(measuredAt("layer_0_attn_output", c.metrics))
			s := parsed(t, "tolerances: {preset: reasonable, rules: [{checkpoint: \"*\", rel_l2: off, warn: {rel_l2: off}}, "+c.rules+"]}\n")
			Judge(r, s)
			cp := r.Checkpoints[0]
			if got := levels(cp); got != c.want || cp.Status != c.status || r.Outcome != c.outcome || r.ExitCode != c.outcome.ExitCode() {
				t.Errorf("findings %q, %s, %v; want %q, %s, %v", got, cp.Status, r.Outcome, c.want, c.status, c.outcome)
			}
			for _, f := range cp.Findings {
				if f.Source != "parity.yaml" || f.Line == 0 || f.Prompt != "p" || f.Checkpoint != cp.Name || f.Message == "" {
					t.Errorf("finding %+v does not say where it is from", f)
				}
			}
			if want := c.outcome == Fail; (r.FirstDivergence != nil) != want {
				t.Errorf("first divergence is %+v", r.FirstDivergence)
			}
		})
	}
}

// A preset asks for what exists: what could not be measured fails nothing.
func TestPresetDoesNotAskForTheUnmeasured(t *testing.T) {
	r := resultOf(measuredAt("layer_0_output", map[string]Value{"rel_l2": 1e-7}))
	Judge(r, parsed(t, ""))
	if r.Outcome != Pass || len(r.Checkpoints[0].Findings) > 0 {
		t.Errorf("%v: %v", r.Outcome, r.Checkpoints[0].Findings)
	}
	if len(r.Checkpoints[0].Limits) != 2 { // rel_l2, fail and warn
		t.Errorf("limits %+v", r.Checkpoints[0].Limits)
	}
}

func TestExplainedLimits(t *testing.T) {
	const u = 0x1p-11
	layer := measuredAt("layer_3_output", map[string]Value{"added": 0.0012, "rel_l2": 1e-4})
	layer.Growth = &Growth{Inherited: 0.0003, Stride: 4}
	norm := measuredAt("final_norm", map[string]Value{"position_rms": 0.0005})
	norm.Growth = &Growth{Inherited: 9, InheritedRMS: 0.0004, Stride: 7}
	for _, c := range []struct {
		ref    string
		factor float64
	}{{"f32", 1}, {"f16", math.Sqrt2}} {
		r := resultOf(layer, norm)
		r.Engines.Reference.Precision, r.Engines.Candidate.Precision = c.ref, "f16"
		Judge(r, parsed(t, ""))
		at := func(cp int, name string) AppliedLimit {
			for _, l := range r.Checkpoints[cp].Limits {
				if l.Metric == name && l.Level == LevelFail {
					return l
				}
			}
			t.Fatalf("no limit on %s", name)
			return AppliedLimit{}
		}
		v := u * c.factor
		want := 2.7 * math.Sqrt(v*v+(v/2*4)*(v/2*4)+0.0003*0.0003)
		if l := at(0, "added"); !near(float64(l.Limit), want, 1e-8) || l.Explained != 2.7 || !near(float64(l.Use), 0.0012/want, 1e-8) || l.Within != (0.0012 <= want) {
			t.Errorf("added against %s: %+v, want the limit %v", c.ref, l, want)
		}
		want = 1.6 * math.Sqrt(v/2*v/2+0.0004*0.0004)
		if l := at(1, "position_rms"); !near(float64(l.Limit), want, 1e-8) || l.Explained != 1.6 {
			t.Errorf("position_rms against %s: %+v, want the limit %v", c.ref, l, want)
		}
		// Fixed limits of a preset widen alike: rel_l2 by the factor.
		if l := at(0, "rel_l2"); !near(float64(l.Limit), 2e-2*c.factor, 1e-12) || l.Explained != 0 {
			t.Errorf("rel_l2 against %s: %+v", c.ref, l)
		}
	}
	// Without the checkpoint before nothing is explained, and nothing is judged.
	for _, g := range []*Growth{nil, {Inherited: 1e-3}} {
		layer.Growth = g
		r := resultOf(layer)
		Judge(r, parsed(t, "tolerances: {preset: f16}\n"))
		if slices.ContainsFunc(r.Checkpoints[0].Limits, func(l AppliedLimit) bool { return l.Metric == "added" }) {
			t.Errorf("growth %+v: added was judged", g)
		}
	}
}

// Where both engines round alike, presets give way by √2; shares, scores and
// the user's own limits do not, and what grows with the square gives way by 2.
// What gathers over the positions gives way where there are few.
func TestWidening(t *testing.T) {
	cp := measuredAt("logits", map[string]Value{"rel_l2": 0, "kl.mean": 0, "top1_agreement": 1, "worst_position": 0, "scale": 0, "max_abs": 0})
	r := resultOf(cp)
	r.Engines.Reference.Precision, r.Engines.Candidate.Precision = "bf16", "bf16"
	Judge(r, parsed(t, "tolerances: {rules: [{checkpoint: logits, max_abs: 3, warn: {scale: 0.25%}}]}\n"))
	const u = 0x1p-8
	want := map[string]float64{"rel_l2 fail": 0.1 * math.Sqrt2, "rel_l2 warn": 0.05 * math.Sqrt2, "kl.mean fail": 0.08, "top1_agreement fail": 1,
		"worst_position fail": 100 * u * math.Sqrt2, "scale fail": 0.9 * u * math.Sqrt2 * math.Sqrt(1+8/float64(cp.Rows)), "scale warn": 0.0025, "max_abs fail": 3}
	got := map[string]float64{}
	for _, l := range r.Checkpoints[0].Limits {
		got[l.Metric+" "+l.Level] = float64(l.Limit)
	}
	if !maps.EqualFunc(got, want, func(a, b float64) bool { return near(a, b, 1e-8) }) {
		t.Errorf("limits %v\nwant   %v", got, want)
	}
	if info := r.Spec; info.Preset != "bf16" || !strings.HasPrefix(info.PresetFrom, "the candidate ") {
		t.Errorf("spec info %+v", info)
	}
	// reasonable is about no engine's rounding.
	r = resultOf(measuredAt("embedding", map[string]Value{"rel_l2": 0}))
	Judge(r, parsed(t, "tolerances: {preset: reasonable}\n"))
	if l := r.Checkpoints[0].Limits[0]; l.Limit != 0.1 || r.Spec.PresetFrom != "spec" {
		t.Errorf("reasonable: limit %+v of %+v", l, r.Spec)
	}
}

func TestWidened(t *testing.T) {
	for _, c := range []struct{ in, want spec.Applied }{
		{spec.Applied{Metric: "rel_l2", Value: 3}, spec.Applied{Metric: "rel_l2", Value: 6}},
		{spec.Applied{Metric: "nmse", Value: 3}, spec.Applied{Metric: "nmse", Value: 12}},
		{spec.Applied{Metric: "added", Value: 3, Unit: 5}, spec.Applied{Metric: "added", Value: 3, Unit: 10}},
		{spec.Applied{Metric: "over_1pct", Value: 0.25}, spec.Applied{Metric: "over_1pct", Value: 0.25}},
		{spec.Applied{Metric: "cosine", Value: 0.25}, spec.Applied{Metric: "cosine", Value: 0.25}},
	} {
		if got := widened(c.in, 2); got != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}

func TestUseOf(t *testing.T) {
	lower, _ := metric.Lookup("rel_l2")
	higher, _ := metric.Lookup("cosine")
	for _, c := range []struct {
		info               metric.Info
		value, limit, want float64
	}{
		{lower, 0.5, 1, 0.5}, {lower, 1, 1, 1}, {lower, 0, 1, 0}, {lower, 0, 0, 0}, {lower, 1e-9, 0, math.Inf(1)}, {lower, 3, 2, 1.5},
		{lower, math.Inf(1), 1, math.Inf(1)}, {lower, math.NaN(), 1, math.NaN()},
		{higher, 0.995, 0.99, 0.5}, {higher, 0.98, 0.99, 2}, {higher, 1, 1, 0}, {higher, 0.5, 1, math.Inf(1)}, {higher, 1, 0.9, 0}, {higher, -1, 0, 2},
	} {
		if got := useOf(c.info, c.value, c.limit); !near(got, c.want, 1e-9) {
			t.Errorf("%s %v of %v: %v, want %v", c.info.Name, c.value, c.limit, got, c.want)
		}
	}
}

// A value that cannot be subtracted fails, whatever the limits say.
func TestNonFiniteFails(t *testing.T) {
	cp := measuredAt("logits", map[string]Value{"rel_l2": 0})
	cp.NonFinite = 2
	r := resultOf(cp)
	Judge(r, parsed(t, "tolerances: {preset: reasonable}\n"))
	if r.Outcome != Fail || len(r.Checkpoints[0].Findings) != 1 {
		t.Fatalf("%v: %+v", r.Outcome, r.Checkpoints[0].Findings)
	}
	if f := r.Checkpoints[0].Findings[0]; f.Position != 6 || f.Message != "logits has 2 values where one side is not finite and the other differs" {
		t.Errorf("finding %+v", f)
	}
}

// Flips that noise explains warn; the others fail, at the first position of one.
func TestFlipsAreJudged(t *testing.T) {
	cp := measuredAt("logits", map[string]Value{"top1_agreement": 0.7})
	cp.Logits = &LogitsInfo{FlipsTotal: 3, FlipsInNoise: 2, Noise: 0.5,
		Flips: []Flip{{8, 1, 2, 9, false}, {2, 3, 4, 0.2, true}, {5, 3, 4, 0.1, true}}}
	r := resultOf(cp)
	Judge(r, parsed(t, "tolerances: {preset: reasonable}\n"))
	if got := levels(r.Checkpoints[0]); got != "top1_agreement fail" || r.Checkpoints[0].Findings[0].Position != 8 {
		t.Errorf("%s: %+v", got, r.Checkpoints[0].Findings)
	}
	if l := r.Checkpoints[0].Limits[0]; !near(float64(l.Value), 0.9, 1e-12) {
		t.Errorf("limit %+v; two of three flips are noise, so nine of ten agree", l)
	}
	Judge(r, parsed(t, "tolerances: {preset: reasonable, rules: [{checkpoint: logits, top1_agreement: 90%}]}\n"))
	if got := levels(r.Checkpoints[0]); got != "top1_agreement warn" || r.Outcome != Pass || r.Checkpoints[0].Status != Warned {
		t.Errorf("%s, %v", got, r.Outcome)
	}
	has(t, r.Checkpoints[0].Findings[0].Message, "2 flips of the top token within the logits' own noise (rmse 0.5)")
}

// The position of a finding is the first that breaks the limit, else the worst.
func TestPositionOf(t *testing.T) {
	c := measuredAt("layer_0_output", nil)
	c.Profile = []ProfilePoint{{2, 0.1, 5, 0.3}, {4, 0.2, 5, 0.3}, {6, 0.4, 9, 0.8}}
	for _, w := range []struct {
		metric   string
		limit    Value
		position int
	}{
		{"rel_l2", 0.15, 4}, {"rel_l2", 0.05, 2}, {"rel_l2", 0.2, 6}, {"rel_l2", 2, 6}, {"position_rms", 0.15, 4}, {"worst_position", 0.3, 6},
		{"max_abs", 5, 6}, {"max_abs", 4, 2}, {"added", 0.3, 6}, {"added", 0.2, 2}, {"cosine", 0.9, 6}, {"top1_agreement", 1, -1},
	} {
		if got := positionOf(&c, spec.Applied{Metric: w.metric}, AppliedLimit{Metric: w.metric, Limit: w.limit}); got != w.position {
			t.Errorf("%s over %v: position %d, want %d", w.metric, w.limit, got, w.position)
		}
	}
	// A row may err as its position allows: 500 times what rounding explains is 2.4e-4 at 2 and 0.015 at 4,000.
	c.Profile = []ProfilePoint{{2, 1e-4, 5, 0}, {4000, 1e-2, 5, 0}, {6000, 0.2, 9, 0}}
	for value, position := range map[float64]int{500: 6000, 250: 4000, 200: 2} {
		if got := positionOf(&c, spec.Applied{Metric: "worst_position", Value: value, Unit: 0x1p-21}, AppliedLimit{Metric: "worst_position", Limit: 1}); got != position {
			t.Errorf("%v × what a row may err: position %d, want %d", value, got, position)
		}
	}
}

// The first divergence is the earliest in forward order, whatever failed worst,
// and of one checkpoint the earliest position; one without a position comes last.
func TestFirstDivergence(t *testing.T) {
	find := func(position int, level string) Finding {
		return Finding{Level: level, Prompt: "p", Checkpoint: "x", Position: position, Metric: "m", Value: 2, Limit: 1}
	}
	for _, c := range []struct {
		name string
		all  [][]Finding // by order
		want int
	}{
		{"none", [][]Finding{nil, {find(1, LevelWarn), find(2, LevelIncomplete)}}, math.MinInt},
		{"forward order", [][]Finding{{find(9, LevelFail)}, {find(0, LevelFail)}}, 9},
		{"earliest position", [][]Finding{nil, {find(5, LevelFail), find(3, LevelFail), find(4, LevelFail), find(1, LevelWarn)}}, 3},
		{"no position comes last", [][]Finding{{find(-1, LevelFail), find(7, LevelFail)}}, 7},
		{"no position at all", [][]Finding{{find(-1, LevelFail)}, {find(0, LevelFail)}}, -1},
	} {
		r := resultOf()
		for i, fs := range c.all {
			// Prompts follow each other, each in its own order.
			r.Checkpoints = slices.Insert(r.Checkpoints, 0, Checkpoint{Order: i, Findings: fs})
		}
		got := math.MinInt
		if d := firstDivergence(r); d != nil {
			got = d.Position
			if (*d != Divergence{Prompt: "p", Checkpoint: "x", Position: got, Metric: "m", Value: 2, Limit: 1}) {
				t.Errorf("%s: %+v", c.name, d)
			}
		}
		if got != c.want {
			t.Errorf("%s: position %d, want %d", c.name, got, c.want)
		}
	}
}

func TestRound9(t *testing.T) {
	for _, c := range []struct{ in, want float64 }{
		{0, 0}, {1, 1}, {123456789.4, 123456789}, {123456789.6, 123456790}, {-1.0000000049, -1}, {0.1234567894, 0.123456789}, {9.999999999, 10},
		{1e300, 1e300}, {math.Inf(-1), math.Inf(-1)}, {1e-300, 1e-300}, {5e-324, 5e-324}, {math.MaxFloat64, 1.79769313e308},
	} {
		if got := round9(c.in); !near(got, c.want, 1e-9) || c.in > 1e-200 && c.in < 1e200 && got != c.want {
			t.Errorf("round9(%v) = %v, want %v", c.in, got, c.want)
		}
	}
	if got := round9(math.NaN()); got == got {
		t.Errorf("NaN became %v", got)
	}
	g := seeded(1)
	for range 10000 {
		x := math.Exp(g.NormFloat64() * 30)
		y := round9(x)
		if !near(y, x, 5.01e-9) || round9(y) != y {
			t.Fatalf("round9(%v) = %v, and again %v", x, y, round9(y))
		}
		if s := fmt.Sprintf("%.8e", x); fmt.Sprintf("%.8e", y) != s {
			t.Fatalf("round9(%v) = %v, nine digits are %s", x, y, s)
		}
	}
}
