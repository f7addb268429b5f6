//go:build unix

package gate

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// onBranch is a spec as the base branch has it, in a file elsewhere.
func onBranch(t testing.TB, yaml string) *spec.Spec {
	t.Helper()
	s, err := spec.Parse([]byte("version: 1\n"+yaml), "elsewhere/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// off is a result of one checkpoint that is off by 5 %, and garbage of the candidate.
func off(garbage bool) *Result {
	r := resultOf(measuredAt("layer_0_output", map[string]Value{"rel_l2": 0.05}))
	r.Coverage.Missing = []Missing{{Prompt: "p", Checkpoint: "logits", Side: "candidate", Reason: "gone"}}
	if garbage {
		r.Garbage = []Garbage{{Engine: "candidate", Prompt: "p", Checkpoint: "layer_0_output", Kind: "huge", Count: 1, Positions: []int{3}}}
	}
	return r
}

func TestJudgeBy(t *testing.T) {
	limit := func(l string) string {
		return "tolerances: {preset: q4, rules: [{checkpoint: \"*\", rel_l2: " + l + "}]}\n"
	}
	const wider = "judged by the base branch's spec; by the change's own the outcome would be "
	const unapproved = "this change loosens or changes 1 rule of the spec, and nobody approved that; by the base branch's spec it passes"
	const stricter = "judged by the change's own spec, which is stricter here; by the base branch's the outcome would be "
	for _, c := range []struct {
		name, base, own string
		garbage         bool
		outcome         Outcome
		approved        Outcome // of the own spec alone
		why             string  // the second of the reasons, or the only one
		changes         string
	}{
		{"nothing differs", limit("1%"), "# a comment\n" + limit("0.01"), false, Fail, Fail, "layer_0_output rel_l2 is 5 %, 5 × its limit 1 %", ""},
		{"a wider limit", limit("1%"), limit("10%"), false, Fail, Pass, wider + "pass", "loosened"},
		{"a wider limit, not wide enough", limit("1%"), limit("2%"), false, Fail, Fail, wider + "fail", "loosened"},
		{"a narrower limit", limit("10%"), limit("1%"), false, Fail, Fail, stricter + "pass", "tightened"},
		{"both pass", limit("10%"), limit("20%"), false, Incomplete, Pass, unapproved, "loosened"},
		{"a requirement gone", limit("10%") + "require: {checkpoints: [logits]}\n", limit("10%"), false, Incomplete, Pass, wider + "pass", "loosened"},
		{"a requirement more", limit("10%"), limit("10%") + "require: {checkpoints: [logits]}\n", false, Incomplete, Incomplete, stricter + "pass", "tightened"},
		{"a failure is graver than what is missing", limit("1%"), limit("1%") + "require: {checkpoints: [logits]}\n", false, Fail, Fail, wider + "fail", "tightened"},
		{"what is missing is less than a failure", limit("10%") + "require: {checkpoints: [logits]}\n", limit("1%"), false, Fail, Fail, stricter + "incomplete", "loosened tightened"},
		{"garbage masked", limit("10%"), limit("10%") + "garbage: {candidate: mask}\n", true, Fail, Pass, wider + "pass", "loosened"},
		{"garbage fails", limit("10%") + "garbage: {candidate: mask}\n", limit("10%"), true, Fail, Fail, stricter + "pass", "tightened"},
		{"a position skipped and a narrower limit", limit("10%"), limit("1%") + "skip: {positions: [3]}\n", false, Incomplete, Fail, unapproved, "loosened tightened"},
		{"a position skipped", limit("1%"), limit("1%") + "skip: {positions: [3]}\n", false, Fail, Fail, "judged by the base branch's spec; the change's own measures otherwise", "loosened"},
		{"an oracle more, with limits of its own", limit("10%"), "oracle: {model: m}\ntolerances: {preset: q4, rules: [{checkpoint: \"*\", rel_l2: 10%, local: 2}]}\n", false, Pass, Incomplete, "", "tightened tightened"},
		{"a prompt more, and more positions", limit("10%") + "prompts: [{name: p, tokens: [1]}]\n", limit("10%") + "require: {min_positions: 20}\nprompts: [{name: p, tokens: [1]}, {name: q, tokens: [1]}]\n",
			false, Pass, Incomplete, "", "tightened tightened"},
		{"a baseline, required", limit("10%"), limit("10%") + "baseline: {store: 'branch:b', required: true}\n", false, Pass, Incomplete, "", "tightened"},
		{"a baseline no longer required", limit("10%") + "baseline: {store: 'branch:b', required: true}\n", limit("10%") + "baseline: {store: 'branch:b'}\n", false, Incomplete, Pass, wider + "pass", "loosened"},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, own := onBranch(t, c.base), parsed(t, c.own)
			differ := c.changes != ""
			r := off(c.garbage)
			stands := JudgeBy(r, own, base, false)
			why := ""
			if n := len(r.Reasons); n > 0 {
				why = r.Reasons[min(1, n-1)]
			}
			var effects []string
			for _, d := range r.Spec.Changes {
				effects = append(effects, d.Effect)
			}
			if r.Outcome != c.outcome || r.ExitCode != c.outcome.ExitCode() || why != c.why || strings.Join(effects, " ") != c.changes {
				t.Errorf("%v, %q, %v; want %v, %q, %v", r.Outcome, r.Reasons, r.Spec.Changes, c.outcome, c.why, c.changes)
			}
			if r.Spec.Path != "parity.yaml" || r.Spec.Digest != own.Digest || r.Spec.Approved || (r.Spec.JudgedBy == base.Digest) != differ {
				t.Errorf("spec %+v", r.Spec)
			}
			if byBase := stands.Path == "base parity.yaml"; byBase != (differ && !strings.HasPrefix(c.why, stricter)) {
				t.Errorf("the verdict of %q stands", stands.Path)
			}
			for _, f := range slices.Concat(r.Findings, r.Checkpoints[0].Findings) {
				if f.Source != stands.Path {
					t.Errorf("a finding of %q", f.Source)
				}
			}

			alone := off(c.garbage)
			Judge(alone, stands)
			if !reflect.DeepEqual(alone.Garbage, r.Garbage) || !reflect.DeepEqual(alone.Coverage, r.Coverage) || alone.Checkpoints[0].Status != r.Checkpoints[0].Status {
				t.Errorf("something of the other verdict stays: %+v, %+v, %v", r.Garbage, r.Coverage, r.Checkpoints[0].Status)
			}

			r = off(c.garbage)
			if stands := JudgeBy(r, own, base, true); stands != own || r.Outcome != c.approved {
				t.Errorf("approved: %v, %q", r.Outcome, r.Reasons)
			}
			if r.Spec.JudgedBy != "" || r.Spec.Approved != differ || len(r.Spec.Changes) != len(effects) {
				t.Errorf("approved: %+v", r.Spec)
			}
			r = off(c.garbage)
			if stands := JudgeBy(r, own, nil, false); stands != own || r.Outcome != c.approved || r.Spec.JudgedBy != "" || len(r.Spec.Changes) != 0 {
				t.Errorf("without a base: %v, %+v", r.Outcome, r.Spec)
			}
		})
	}
}

// What the own spec allows against the baseline does not stay where the base's verdict does.
func TestJudgeByLeavesTheBaseline(t *testing.T) {
	held := func(share string) string {
		return "tolerances: {preset: f16, rules: [{checkpoint: \"*\", rel_l2: off}]}\nbaseline: {store: 'branch:b', max_increase: " + share + "}\n"
	}
	base, own := onBranch(t, held("25%")), parsed(t, held("900%"))
	r := off(false)
	r.Baseline = &Baseline{State: BaselineCompared, Deltas: []BaselineDelta{{Prompt: "p", Checkpoint: "layer_0_output", Metric: "rel_l2", Base: 0.01, Head: 0.05,
		Spread: Value(math.NaN()), Anchor: Value(math.NaN())}}}
	JudgeBy(r, own, base, false)
	if d := r.Baseline.Deltas[0]; r.Outcome != Fail || d.Within || !(d.Allowed < 0.05) || !slices.ContainsFunc(r.Checkpoints[0].Findings, func(f Finding) bool { return f.Level == LevelFail && f.Source == "base parity.yaml" }) {
		t.Errorf("%v %q: %+v", r.Outcome, r.Reasons, d)
	}
	JudgeBy(r, own, base, true)
	if d := r.Baseline.Deltas[0]; r.Outcome != Pass || !d.Within {
		t.Errorf("approved: %v %q: %+v", r.Outcome, r.Reasons, d)
	}
}

// What was said of one spec does not stay when another judges.
func TestJudgeForgets(t *testing.T) {
	base, own := onBranch(t, "require: {min_positions: 3}\n"), parsed(t, "require: {min_positions: 2}\n")
	approved, unapproved := off(false), off(false)
	JudgeBy(approved, own, base, true)
	JudgeBy(unapproved, own, base, false)
	Judge(approved, own)
	if !approved.Spec.Approved || len(approved.Spec.Changes) != 1 {
		t.Errorf("the spec that was approved: %+v", approved.Spec)
	}
	Judge(approved, base)
	if approved.Spec.Approved || len(approved.Spec.Changes) != 0 {
		t.Errorf("another spec: %+v", approved.Spec)
	}
	Judge(unapproved, own)
	if unapproved.Spec.JudgedBy != "" || len(unapproved.Spec.Changes) != 0 {
		t.Errorf("the own spec alone: %+v", unapproved.Spec)
	}
}

// The base says what is run; of the candidate, how it is started is the change's own.
func TestRunUnderBase(t *testing.T) {
	good, bad := tiny(t, "good"), tiny(t, "off")
	base := running(t, good, tiny(t, "crash"), promptOf("one", 1, 2, 3), promptOf("two", 5, 6))
	base.Path, base.Digest = "elsewhere/base.yaml", "ba5e"
	base.Tolerances.Preset = "f32"
	change := func(edit func(*spec.Spec)) *spec.Spec {
		s := running(t, good, bad, base.Prompts...)
		s.Tolerances.Preset, s.Digest = "f32", "c4a7"
		edit(s)
		return s
	}
	for _, c := range []struct {
		name string
		own  *spec.Spec
	}{
		{"nothing", change(func(*spec.Spec) {})},
		{"a wide preset", change(func(s *spec.Spec) { s.Tolerances.Preset = "q4" })},
		{"no limits", change(func(s *spec.Spec) {
			for _, m := range metric.All() {
				s.Tolerances.Rules = append(s.Tolerances.Rules, spec.Rule{Checkpoint: "*", Limits: []spec.Limit{{Metric: m.Name, Off: true, Line: 3}}})
			}
		})},
		{"the candidate as its own reference", change(func(s *spec.Spec) { s.Engines.Reference = s.Engines.Candidate })},
		{"positions skipped", change(func(s *spec.Spec) { s.Skip.Positions = []int{0, 1, 2} })},
		{"a harmless prompt", change(func(s *spec.Spec) { s.Prompts = s.Prompts[1:] })},
		{"names that hide", change(func(s *spec.Spec) {
			s.Engines.Candidate.Names = []spec.NameRule{{Pattern: "embedding", Replacement: "x"}, {Pattern: "logits", Replacement: "y"}}
		})},
		{"a candidate that is a recording", change(func(s *spec.Spec) {
			s.Engines.Candidate = recordedEngine(t, trace.Meta{Tokens: []int32{5, 6}}, point{name: "embedding", rows: noisy(seeded(1), 2, 8, 1)})
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ran(t, c.own, RunOptions{Base: base})
			if c.name == "a candidate that is a recording" {
				// The base's own candidate runs, which crashes here.
				if r.Outcome != Incomplete || !strings.Contains(r.Engines.Candidate.Failure, "out of beads") && !strings.Contains(r.Engines.Candidate.Failure, "crashed") {
					t.Errorf("%v %+v", r.Outcome, r.Engines.Candidate)
				}
				return
			}
			if r.Outcome != Fail || len(r.Prompts) != 2 || len(r.Checkpoints) != 4 || len(r.Diagnosis) == 0 {
				t.Errorf("%v %q, %d prompts, %d checkpoints", r.Outcome, r.Reasons, len(r.Prompts), len(r.Checkpoints))
			}
			if same := c.name == "nothing"; (r.Spec.JudgedBy == "ba5e") == same || (len(r.Spec.Changes) == 0) != same || r.Spec.Digest != "c4a7" {
				t.Errorf("%+v", r.Spec)
			}
		})
	}
	hidden := change(func(s *spec.Spec) { s.Engines.Reference = s.Engines.Candidate })
	if r := ran(t, hidden, RunOptions{Base: base, Approved: true}); r.Outcome != Pass || !r.Spec.Approved || len(r.Spec.Changes) != 1 || r.Spec.JudgedBy != "" {
		t.Errorf("approved: %v %q %+v", r.Outcome, r.Reasons, r.Spec)
	}
}

func TestRunUnderBaseThatCannotRun(t *testing.T) {
	own := running(t, tiny(t, "good"), tiny(t, "good"), promptOf("one", 1))
	base := onBranch(t, "tolerances: {preset: f32}\n")
	_, err := Run(t.Context(), own, RunOptions{Base: base})
	if err == nil {
		t.Fatal("it ran")
	}
	has(t, err.Error(), "elsewhere/base.yaml: nothing can be run under the base branch's spec: it lacks prompts and engines.reference and engines.candidate", own.Digest)
	if r := ran(t, own, RunOptions{Base: base, Approved: true}); r.Outcome != Pass || !r.Spec.Approved {
		t.Errorf("approved: %v %+v", r.Outcome, r.Spec)
	}
}

// The gate widens no preset's limit by more than the comparison of specs reckons
// with, which takes those in units of what rounding explains for incomparable.
func TestPresetRoom(t *testing.T) {
	for _, name := range spec.PresetNames() {
		for _, rule := range spec.Preset(name) {
			for _, l := range rule.Limits {
				for _, rows := range []int{1, 2, 1000} {
					a := spec.Applied{Metric: l.Metric, Value: l.Value, Unit: l.Unit}
					a, says := fewRows(widened(a, math.Sqrt2), &Checkpoint{Rows: rows, LastPosition: 1 << 20})
					if room := spec.PresetRoom(l.Metric); l.Unit == 0 && says && a.Value > l.Value*room*(1+1e-12) {
						t.Errorf("preset %s, %s: %s is widened by %v, more than %v", name, rule.Checkpoint, l.Metric, a.Value/l.Value, room)
					}
				}
			}
		}
	}
}
