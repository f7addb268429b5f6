package gate

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/trace"
)

func TestOutcome(t *testing.T) {
	fail, warn, missing := Finding{Level: LevelFail}, Finding{Level: LevelWarn}, Finding{Level: LevelIncomplete}
	for _, c := range []struct {
		name string
		v    Verdict
		want Outcome
	}{
		{"the zero value", Verdict{}, Incomplete},
		{"nothing compared, a warning", Verdict{Findings: []Finding{warn}}, Incomplete},
		{"nothing compared, a failure", Verdict{Findings: []Finding{fail}}, Fail},
		{"compared", Verdict{Compared: 1}, Pass},
		{"a warning", Verdict{Compared: 1, Findings: []Finding{warn, warn}}, Pass},
		{"an unknown level", Verdict{Compared: 1, Findings: []Finding{{Level: "note"}}}, Pass},
		{"a failure", Verdict{Compared: 1, Findings: []Finding{warn, fail}}, Fail},
		{"something unmeasured", Verdict{Compared: 1, Findings: []Finding{warn, missing}}, Incomplete},
		{"a failure after something unmeasured", Verdict{Compared: 1, Findings: []Finding{missing, fail}}, Fail},
		{"a failure before something unmeasured", Verdict{Compared: 1, Findings: []Finding{fail, missing}}, Fail},
		{"other inputs", Verdict{Compared: 1, InputsDiffer: true}, Incomplete},
		{"other inputs and a failure", Verdict{Compared: 1, InputsDiffer: true, Findings: []Finding{fail}}, Incomplete},
	} {
		if got := c.v.Outcome(); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	for o, want := range map[Outcome]int{Pass: 0, Fail: 1, Incomplete: 3, Outcome(9): 3} {
		if o.ExitCode() != want {
			t.Errorf("%v exits with %d, want %d", o, o.ExitCode(), want)
		}
	}
}

// covered is a result of one checkpoint of that many rows, and what is missing.
func covered(rows int, missing ...Missing) *Result {
	c := measuredAt("layer_0_output", map[string]Value{"rel_l2": 0})
	c.Rows = rows
	r := resultOf(c)
	r.Coverage.Missing = missing
	return r
}

func TestRequire(t *testing.T) {
	lost := Missing{Prompt: "p", Checkpoint: "layer_1_output", Side: "candidate", Reason: "the candidate did not record it"}
	for _, c := range []struct {
		name, require string
		r             *Result
		outcome       Outcome
		reasons       []string
	}{
		{"nothing", "{}", covered(3, lost), Pass, []string{}},
		{"what is there", "{checkpoints: [layer_0_output], min_positions: 3}", covered(3, lost), Pass, []string{}},
		{"what is missing", "{checkpoints: [layer_1_output]}", covered(3, lost), Incomplete, []string{
			"layer_1_output is required and could not be compared: the candidate did not record it", "layer_1_output is required and no compared checkpoint matches"}},
		{"a glob of which one is missing", `{checkpoints: ["layer_*"]}`, covered(3, lost), Incomplete, []string{
			"layer_1_output is required and could not be compared: the candidate did not record it"}},
		{"what neither side has", "{checkpoints: [logits]}", covered(3), Incomplete, []string{"logits is required and no compared checkpoint matches"}},
		{"a checkpoint without rows", "{checkpoints: [layer_0_output]}", covered(0), Incomplete, []string{"layer_0_output is required and no compared checkpoint matches"}},
		{"too few positions", "{min_positions: 4}", covered(3), Incomplete, []string{"layer_0_output was compared at 3 positions; 4 are required"}},
		{"one position", "{min_positions: 2}", covered(1), Incomplete, []string{"layer_0_output was compared at 1 position; 2 are required"}},
		{"few positions of another checkpoint", "{checkpoints: [logits], min_positions: 4}", covered(3), Incomplete, []string{"logits is required and no compared checkpoint matches"}},
		{"nothing in common", "{}", resultOf(), Incomplete, []string{"the two traces have nothing in common: no checkpoint and position is in both"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			Judge(c.r, parsed(t, "require: "+c.require+"\n"))
			if c.r.Outcome != c.outcome || !slices.Equal(c.r.Reasons, c.reasons) {
				t.Errorf("%v, %q; want %v, %q", c.r.Outcome, c.r.Reasons, c.outcome, c.reasons)
			}
			for _, m := range c.r.Coverage.Missing {
				if want := strings.Contains(c.require, "layer_1") || strings.Contains(c.require, "layer_*"); m.Required != want {
					t.Errorf("%+v: required is %v, want %v", m, m.Required, want)
				}
			}
		})
	}
}

// Positions add up over prompts.
func TestMinPositionsOverPrompts(t *testing.T) {
	a, b := measuredAt("logits", map[string]Value{"rel_l2": 0}), measuredAt("logits", map[string]Value{"rel_l2": 0})
	r := resultOf(a, b)
	r.Checkpoints[1].Prompt = "q"
	Judge(r, parsed(t, "require: {min_positions: 20}\n"))
	if r.Outcome != Pass {
		t.Errorf("10 and 10 positions: %v %v", r.Outcome, r.Reasons)
	}
	Judge(r, parsed(t, "require: {min_positions: 21}\n"))
	if r.Outcome != Incomplete {
		t.Errorf("10 and 10 positions of 21: %v", r.Outcome)
	}
}

// What one side lacks is listed, and the counts are of the least covered checkpoint.
func TestCoverage(t *testing.T) {
	rows := noisy(seeded(9), 6, 8, 1)
	ref := []point{{name: "embedding", rows: rows}, {name: "layer_0_output", rows: rows}, {name: "final_norm", rows: rows}}
	cand := []point{{name: "embedding", rows: rows[:4]}, {name: "final_norm", rows: matrix(4, 9, func(i, j int) float64 { return 1 })}, {name: "logits", rows: rows[:4]}}
	p := pairOf(t, ref, cand)
	q := pairOf(t, ref[:1], []point{{name: "embedding", rows: rows}})
	q.Prompt = "q"
	r := compared(t, parsed(t, "require: {checkpoints: [final_norm]}\n"), Options{}, p, q)
	want := Coverage{Checkpoints: Count{1, 3, 3}, Positions: Count{4, 6, 4}, Elements: Count{8, 8, 8}, Missing: []Missing{
		{"p", "layer_0_output", "candidate", false, "the candidate did not record it"},
		{"p", "logits", "reference", false, "the reference did not record it"},
		{"p", "final_norm", "both", true, "rows have 8 elements in the reference and 9 in the candidate"},
	}}
	if !reflect.DeepEqual(r.Coverage, want) {
		t.Errorf("got  %+v\nwant %+v", r.Coverage, want)
	}
	if r.Outcome != Incomplete {
		t.Errorf("%v: final_norm is required", r.Outcome)
	}
	// Checkpoints without a shared position are not compared, and say so.
	far := Pair{"p", made(t, trace.Meta{}, ref[0]), made(t, trace.Meta{Positions: []int{10, 11, 12, 13, 14, 15}}, ref[0])}
	r = compared(t, parsed(t, ""), Options{}, far)
	if r.Outcome != Incomplete || len(r.Checkpoints) != 0 || len(r.Coverage.Missing) != 1 || r.Coverage.Missing[0].Reason != "no position is in both traces" ||
		r.Coverage.Positions != (Count{0, 6, 6}) {
		t.Errorf("no shared position: %v, %+v", r.Outcome, r.Coverage)
	}
}

func TestTokensDiffer(t *testing.T) {
	for _, c := range []struct {
		ref, cand []int32
		want      string
	}{
		{[]int32{1, 2, 3}, []int32{1, 2, 3}, ""},
		{[]int32{}, []int32{}, ""},
		{[]int32{1, 2, 3}, []int32{1, 9, 3}, "token 1 is 2 in the reference and 9 in the candidate"},
		{[]int32{256, 2, 3}, []int32{2, 3}, "token 0 is 256 in the reference and 2 in the candidate: the candidate lacks the first token (256; a missing BOS looks like this)"},
		{[]int32{256, 3}, []int32{9, 256, 3}, "token 0 is 256 in the reference and 9 in the candidate: the candidate has one more token in front (9; a BOS added twice looks like this)"},
		{[]int32{256, 256, 3}, []int32{256, 3}, "token 1 is 256 in the reference and 3 in the candidate"},
		{[]int32{1, 2, 3}, []int32{1, 2}, "3 tokens in the reference and 2 in the candidate; the first 2 are the same"},
		{[]int32{}, []int32{5}, "0 tokens in the reference and 1 in the candidate; the first 0 are the same"},
	} {
		if got := tokensDiffer(c.ref, c.cand); got != c.want {
			t.Errorf("%v and %v: %q, want %q", c.ref, c.cand, got, c.want)
		}
	}
}

// Other tokens make a run incomplete, and no figure of it is shown.
func TestInputsDiffer(t *testing.T) {
	rows := noisy(seeded(9), 3, 8, 1)
	with := func(tokens ...int32) *trace.Trace {
		return made(t, trace.Meta{Tokens: tokens}, point{name: "logits", rows: rows})
	}
	silent := made(t, trace.Meta{}, point{name: "logits", rows: rows})
	r := compared(t, parsed(t, ""), Options{}, Pair{"p", with(1, 2, 3), with(1, 2, 4)})
	if r.Outcome != Incomplete || len(r.Checkpoints) != 0 || r.Coverage.Positions.Compared != 0 {
		t.Errorf("%v, %d checkpoints, %+v", r.Outcome, len(r.Checkpoints), r.Coverage)
	}
	if want := []string{"the engines did not get the same input: token 2 is 3 in the reference and 4 in the candidate"}; !slices.Equal(r.Reasons, want) {
		t.Errorf("reasons %q", r.Reasons)
	}
	for _, p := range []Pair{{"p", with(1, 2, 3), with(1, 2, 3)}, {"p", silent, with(1, 2, 3)}, {"p", with(1, 2, 3), silent}} {
		r := compared(t, parsed(t, ""), Options{}, p)
		if in := r.Prompts[0]; r.Outcome != Pass || in.InputsDiffer != "" || in.Tokens != 3 || in.SHA256 != tokensHash([]int32{1, 2, 3}) {
			t.Errorf("%v %v: %+v", r.Outcome, r.Reasons, in)
		}
	}
	// One prompt with other tokens spoils the run, whatever the next one says.
	r = compared(t, parsed(t, ""), Options{}, Pair{"p", with(1, 5, 6), with(2, 5, 6)}, Pair{"q", with(1, 2, 3), with(1, 2, 3)})
	if r.Outcome != Incomplete || len(r.Checkpoints) != 1 {
		t.Errorf("%v, %d checkpoints", r.Outcome, len(r.Checkpoints))
	}
	// Not even a failure elsewhere: the inputs are to be mended first.
	wrong := made(t, trace.Meta{Tokens: []int32{1, 2, 3}}, point{name: "logits", rows: scaled(rows, 2)})
	r = compared(t, parsed(t, ""), Options{}, Pair{"p", with(1, 5, 6), with(2, 5, 6)}, Pair{"q", with(1, 2, 3), wrong})
	if r.Outcome != Incomplete || r.Checkpoints[0].Status != Failed || len(r.Reasons) != 1 || !strings.HasPrefix(r.Reasons[0], "the engines did not get") {
		t.Errorf("%v, %s: %q", r.Outcome, r.Checkpoints[0].Status, r.Reasons)
	}
	if a, b := tokensHash([]int32{1, 2}), tokensHash([]int32{1, 2, 0}); a == b || len(a) != 64 {
		t.Errorf("hashes %s and %s", a, b)
	}
}

// An engine that failed, or that capture disturbs, makes the run incomplete;
// a measured failure stands all the same.
func TestJudgeEngines(t *testing.T) {
	for _, c := range []struct {
		change  func(r *Result)
		outcome Outcome
		reason  string
	}{
		{func(r *Result) { r.Engines.Candidate.Failure = "it crashed" }, Incomplete, "the candidate measured nothing: it crashed"},
		{func(r *Result) { r.Engines.Reference.Failure = "it hung" }, Incomplete, "the reference measured nothing: it hung"},
		{func(r *Result) { r.Engines.Candidate.Capture = "disturbs" }, Incomplete, "capturing changes the candidate's own logits"},
		{func(r *Result) {
			r.Engines.Candidate.Capture = "disturbs"
			r.Checkpoints[0].Metrics["rel_l2"] = 1
		}, Fail, "layer_0_output rel_l2 is 100 %"},
		{func(r *Result) { r.Engines.Candidate.Capture = "exact" }, Pass, ""},
	} {
		r := covered(3)
		c.change(r)
		Judge(r, parsed(t, ""))
		if r.Outcome != c.outcome || c.reason != "" && (len(r.Reasons) == 0 || !strings.HasPrefix(r.Reasons[0], c.reason)) {
			t.Errorf("%v, %q; want %v, %q", r.Outcome, r.Reasons, c.outcome, c.reason)
		}
	}
}

// Reasons come the worst first, at most eight, each once.
func TestReasons(t *testing.T) {
	var cs []Checkpoint
	for i := range 12 {
		c := measuredAt("layer_"+string(rune('a'+i))+"_x", map[string]Value{"rel_l2": Value(i + 1)})
		cs = append(cs, c)
	}
	cs[3].Metrics["rel_l2"] = Value(math.NaN())
	r := resultOf(cs...)
	Judge(r, parsed(t, "tolerances: {rules: [{checkpoint: \"*\", rel_l2: 0.5, warn: {rel_l2: off}}]}\n"))
	if len(r.Reasons) != 9 || r.Reasons[8] != "4 more" || r.Reasons[0] != "layer_d_x rel_l2 is not a number" ||
		r.Reasons[1] != "layer_l_x rel_l2 is 1.2e+03 %, 24 × its limit 50 %" || r.Reasons[2][:9] != "layer_k_x" {
		t.Errorf("reasons %q", r.Reasons)
	}
	if d := r.FirstDivergence; d == nil || d.Checkpoint != "layer_a_x" || d.Limit != 0.5 || d.Value != 1 || d.Metric != "rel_l2" {
		t.Errorf("first divergence %+v", d)
	}
}
