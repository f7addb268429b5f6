//go:build unix

package gate

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// ran runs a spec with temporary folders below one of the test's own, and
// checks that none is left behind.
func ran(t *testing.T, s *spec.Spec, o RunOptions) *Result {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	o.Getenv = os.Getenv
	r, err := Run(context.Background(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	nothingIn(t, os.TempDir())
	return r
}

func TestRunTwoPrompts(t *testing.T) {
	s := running(t, tiny(t, "good"), tiny(t, "good"), promptOf("one", 1, 2, 3), promptOf("two", 5, 6))
	var said []string
	r := ran(t, s, RunOptions{Options: Options{Version: "v9"}, Status: func(w string) { said = append(said, w) }})
	if r.Outcome != Pass || len(r.Prompts) != 2 || len(r.Checkpoints) != 4 || len(r.Warnings) != 0 || r.Environment.Paritygate != "v9" {
		t.Fatalf("%v %v: %+v", r.Outcome, r.Reasons, r.Prompts)
	}
	for i, want := range []PromptInfo{{"one", 3, tokensHash([]int32{1, 2, 3}), ""}, {"two", 2, tokensHash([]int32{5, 6}), ""}} {
		if r.Prompts[i] != want {
			t.Errorf("prompt %+v, want %+v", r.Prompts[i], want)
		}
	}
	for i, c := range r.Checkpoints {
		if want := []string{"one", "one", "two", "two"}[i]; c.Prompt != want || c.Order != i%2 {
			t.Errorf("checkpoint %d is %s of %s, %d", i, c.Name, c.Prompt, c.Order)
		}
	}
	for _, e := range []EngineInfo{r.Engines.Reference, r.Engines.Candidate} {
		if e.Name != "tiny" || e.Adapter != "exec" || e.Version != "1.2" || e.Device != "abacus" || e.ComputeDType != "f32" || e.Precision != "f32" || e.Trace != "" || e.Failure != "" {
			t.Errorf("engine %+v", e)
		}
	}
	if !(r.Timing.Reference > 0 && r.Timing.Candidate > 0 && r.Timing.Compare > 0) || r.Timing.Bytes != 2*4*8*2*5 {
		t.Errorf("timing %+v", r.Timing)
	}
	for _, w := range []string{"running the reference on one", "running the candidate on two", "comparing"} {
		if !slices.Contains(said, w) {
			t.Errorf("status never said %q: %q", w, said)
		}
	}
}

func TestRunFinds(t *testing.T) {
	s := running(t, tiny(t, "good"), tiny(t, "off"), promptOf("p", 1, 2, 3))
	r := ran(t, s, RunOptions{})
	if r.Outcome != Fail || r.FirstDivergence == nil || r.FirstDivergence.Checkpoint != "embedding" || len(r.Diagnosis) == 0 || r.Diagnosis[0].Title != "embedding: a scale" {
		t.Errorf("%v %v: %+v", r.Outcome, r.Reasons, r.Diagnosis)
	}
	s = running(t, tiny(t, "named"), tiny(t, "good"), promptOf("p", 1, 2, 3))
	s.Engines.Reference.Names = []spec.NameRule{{Pattern: "embd_(.*)", Replacement: "embedding"}}
	s.Require.Checkpoints = []string{"embedding"}
	if r := ran(t, s, RunOptions{}); r.Outcome != Pass || len(r.Checkpoints) != 2 {
		t.Errorf("with name rules: %v %v", r.Outcome, r.Reasons)
	}
}

// The candidate gets the tokens that the reference tells, not those it would make of the text.
func TestReferenceTokensReachTheCandidate(t *testing.T) {
	rows := matrix(3, 8, func(i, j int) float64 { return float64(j+1) * []float64{42, 6, 8}[i] })
	reference := recordedEngine(t, trace.Meta{Tokens: []int32{41, 5, 7}}, point{name: "embedding", rows: rows})
	r := ran(t, running(t, reference, tiny(t, "good"), spec.Prompt{Name: "text", Text: "a b c"}), RunOptions{})
	if r.Outcome != Pass || r.Prompts[0].Tokens != 3 {
		t.Errorf("%v %v: %+v", r.Outcome, r.Reasons, r.Prompts)
	}
	// Nor do those of the spec count, once the reference says that it ran others.
	r = ran(t, running(t, reference, tiny(t, "good"), promptOf("ids", 1, 2)), RunOptions{})
	if r.Outcome != Pass || r.Prompts[0].SHA256 != tokensHash([]int32{41, 5, 7}) {
		t.Errorf("%v %v: %+v", r.Outcome, r.Reasons, r.Prompts)
	}
	// A reference that does not say ran what it was given.
	r = ran(t, running(t, tiny(t, "silent"), tiny(t, "good"), promptOf("ids", 1, 2)), RunOptions{})
	if r.Outcome != Pass || r.Prompts[0].SHA256 != tokensHash([]int32{1, 2}) {
		t.Errorf("%v %v: %+v", r.Outcome, r.Reasons, r.Prompts)
	}
}

func TestRunWithOtherTokens(t *testing.T) {
	r := ran(t, running(t, tiny(t, "good"), tiny(t, "bos"), promptOf("p", 1, 2, 3)), RunOptions{})
	if r.Outcome != Incomplete || r.ExitCode != 3 || len(r.Checkpoints) != 0 {
		t.Errorf("%v, %d checkpoints", r.Outcome, len(r.Checkpoints))
	}
	has(t, strings.Join(r.Reasons, "\n"), "the engines did not get the same input", "a BOS added twice looks like this")
	r = ran(t, running(t, tiny(t, "bos"), recordedEngine(t, trace.Meta{Tokens: []int32{1, 2}}, point{name: "logits", rows: noisy(seeded(1), 2, 8, 1)}), promptOf("p", 1, 2)), RunOptions{})
	has(t, strings.Join(r.Reasons, "\n"), "the engines did not get the same input", "a missing BOS looks like this")
}

// An engine that measures nothing makes the run incomplete, with its last words.
func TestRunFailures(t *testing.T) {
	good := tiny(t, "good")
	short := tiny(t, "hang")
	short.Timeout = 200 * time.Millisecond
	missing := tiny(t, "good")
	missing.Command = slices.Clone(missing.Command)
	missing.Command[0] = "/nowhere/engine"
	for _, c := range []struct {
		name                 string
		reference, candidate spec.Engine
		role                 string
		says                 []string
		output               string
	}{
		{"the candidate crashes", good, tiny(t, "crash"), "candidate", []string{"on prompt p: ", "crashed: exit code 7"}, "loading weights\nout of beads"},
		{"the reference crashes", tiny(t, "crash"), good, "reference", []string{"crashed: exit code 7"}, "loading weights\nout of beads"},
		{"no trace", good, tiny(t, "nothing"), "candidate", []string{"no trace: it ended well but wrote nothing to {{trace}}"}, ""},
		{"no valid trace", good, tiny(t, "garbled"), "candidate", []string{"bad trace"}, ""},
		{"a hang", good, short, "candidate", []string{"timed out: no end after 200ms"}, ""},
		{"no program", good, missing, "candidate", []string{"not started"}, ""},
		{"no recording", spec.Engine{Adapter: "trace", Path: "/nowhere/{{prompt}}.safetensors"}, good, "reference", []string{"no recording at /nowhere/p.safetensors"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ran(t, running(t, c.reference, c.candidate, promptOf("p", 1, 2)), RunOptions{})
			e := map[string]EngineInfo{"reference": r.Engines.Reference, "candidate": r.Engines.Candidate}[c.role]
			if r.Outcome != Incomplete || r.ExitCode != 3 || e.Failure == "" || len(r.Reasons) == 0 || !strings.HasPrefix(r.Reasons[0], "the "+c.role+" measured nothing: ") {
				t.Fatalf("%v, %q, %+v", r.Outcome, r.Reasons, e)
			}
			has(t, e.Failure, c.says...)
			if strings.TrimSpace(e.Output) != c.output {
				t.Errorf("output %q, want %q", e.Output, c.output)
			}
		})
	}
}

// What one prompt measured stands beside the crash on the next: a failure is
// a failure, a pass is incomplete.
func TestRunCrashOnOnePrompt(t *testing.T) {
	prompts := []spec.Prompt{promptOf("one", 1, 2), promptOf("nine", 9, 2), promptOf("three", 3, 4), promptOf("again", 9, 3)}
	r := ran(t, running(t, tiny(t, "good"), tiny(t, "crash-on-9"), prompts...), RunOptions{})
	if r.Outcome != Incomplete || len(r.Checkpoints) != 4 || r.Engines.Candidate.Name != "tiny" || r.Engines.Candidate.Precision != "f32" {
		t.Errorf("%v, %d checkpoints, %+v", r.Outcome, len(r.Checkpoints), r.Engines.Candidate)
	}
	has(t, r.Engines.Candidate.Failure, "on prompt nine: ")
	has(t, r.Engines.Candidate.Output, "nine is too much")
	s := running(t, tiny(t, "good"), tiny(t, "crash-on-9"), prompts...)
	s.Tolerances.Rules = []spec.Rule{{Checkpoint: "logits", Limits: []spec.Limit{{Metric: "rank_correlation", Value: 1}, {Metric: "cosine", Value: math.Nextafter(1, 2)}}}}
	if r := ran(t, s, RunOptions{}); r.Outcome != Fail {
		t.Errorf("a measured failure beside a crash: %v", r.Outcome)
	}
}

// A witness is measured beside the candidate and judged by nobody.
func TestWitness(t *testing.T) {
	s := running(t, tiny(t, "good"), tiny(t, "good"), promptOf("one", 1, 2, 3), promptOf("two", 4, 5))
	s.Engines.Witnesses = map[string]spec.Engine{"old": tiny(t, "off"), "broken": tiny(t, "crash"), "longer": tiny(t, "bos")}
	r := ran(t, s, RunOptions{})
	if r.Outcome != Pass {
		t.Fatalf("%v: %v", r.Outcome, r.Reasons)
	}
	var names []string
	for _, w := range r.Engines.Witnesses {
		names = append(names, w.Name)
	}
	if !slices.Equal(names, []string{"broken", "longer", "old"}) {
		t.Errorf("witnesses %v", names)
	}
	if w := r.Engines.Witnesses[0]; !strings.Contains(w.Failure, "crashed") || w.Output == "" {
		t.Errorf("the witness that crashed: %+v", w)
	}
	if w := r.Engines.Witnesses[2]; w.Precision != "f32" || w.Version != "1.2" || w.Adapter != "exec" {
		t.Errorf("witness %+v", w)
	}
	for i, c := range r.Checkpoints {
		// Half of the largest value: 8 · (1 + the largest token), doubled in the logits.
		largest := Value([]float64{16, 32, 24, 48}[i])
		if w := c.Witnesses["old"]; len(c.Witnesses) != 1 || !near(float64(w["rel_l2"]), 0.5, 1e-6) || w["max_abs"] != largest || c.Metrics["rel_l2"] != 0 {
			t.Errorf("%s of %s: witnesses %v, own %v", c.Name, c.Prompt, c.Witnesses, c.Metrics["rel_l2"])
		}
	}
	if !slices.ContainsFunc(r.Warnings, func(w string) bool {
		return strings.HasPrefix(w, "witness longer did not get the same input on prompt two: ")
	}) {
		t.Errorf("warnings %q", r.Warnings)
	}
}

// Tokens that a reference generated but does not tell cannot be forced on anyone.
func TestGenerateNeedsTokens(t *testing.T) {
	rows := noisy(seeded(1), 3, 8, 1)
	silent := recordedEngine(t, trace.Meta{}, point{name: "logits", rows: rows})
	r := ran(t, running(t, silent, tiny(t, "crash"), spec.Prompt{Name: "p", Text: "x", Generate: 2}), RunOptions{})
	if r.Outcome != Incomplete || r.Engines.Candidate.Failure != "" {
		t.Errorf("%v: candidate %+v", r.Outcome, r.Engines.Candidate)
	}
	has(t, r.Engines.Reference.Failure, "on prompt p: it does not tell which tokens it generated, so they cannot be forced on the others")
	// Told, they are what the others get, who generate nothing of their own.
	told := recordedEngine(t, trace.Meta{Tokens: []int32{1, 2, 3}}, point{name: "logits", rows: matrix(3, 8, func(i, j int) float64 { return 2 * float64((j+1)*(i+2)) })})
	if r := ran(t, running(t, told, tiny(t, "good"), spec.Prompt{Name: "p", Text: "x", Generate: 2}), RunOptions{}); r.Outcome != Pass || r.Prompts[0].Tokens != 3 {
		t.Errorf("%v: %v", r.Outcome, r.Reasons)
	}
	r = ran(t, running(t, tiny(t, "good"), tiny(t, "good"), spec.Prompt{Name: "p", Tokens: []int32{1}, Generate: 2}), RunOptions{})
	has(t, r.Engines.Reference.Failure, "generate: 2 wants an engine that continues a prompt")
}

// Folders never lead elsewhere.
func TestFileName(t *testing.T) {
	for in, want := range map[string]string{"haiku-1.v2_b": "haiku-1.v2_b", "..": "_.", ".": "_", "a/b": "a_b", "a\\b\x00": "a_b_", "": "", "../../x": "_._.._x"} {
		if got := fileName(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// Kept traces lie by prompt and engine, under names that are safe.
func TestKeptTraces(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kept")
	s := running(t, tiny(t, "good"), tiny(t, "good"), promptOf("a/../b c", 1, 2), promptOf(strings.Repeat("ü", 120), 3), promptOf("a.b", 4), promptOf("a_b", 5))
	s.Engines.Witnesses = map[string]spec.Engine{"old one": tiny(t, "good")}
	stale := filepath.Join(dir, "a_.._b_c", "reference", "stale")
	for again := range 2 { // a second run replaces the first
		r := ran(t, s, RunOptions{Dir: dir})
		if r.Outcome != Pass || !strings.HasPrefix(r.Engines.Candidate.Trace, dir) {
			t.Fatalf("%v %v: %+v", r.Outcome, r.Reasons, r.Engines.Candidate)
		}
		if _, err := os.Stat(stale); err == nil {
			t.Error("what lay there before the run is still there")
		}
		if again == 0 {
			if err := os.WriteFile(stale, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	var files []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "trace" {
			rel, _ := filepath.Rel(dir, p)
			files = append(files, rel)
		}
		return err
	})
	var want []string
	for _, prompt := range []string{strings.Repeat("_", 100), "a.b", "a_.._b_c", "a_b"} {
		want = append(want, prompt+"/candidate/trace", prompt+"/old_one/trace", prompt+"/reference/trace")
	}
	if err != nil || !slices.Equal(files, want) {
		t.Errorf("kept %q, want %q, %v", files, want, err)
	}
	opened(t, filepath.Join(dir, files[0]))
	if err := freshDir(filepath.Join(dir, "a_.._b_c", "reference")); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "a_.._b_c", "reference")); err != nil || len(left) > 0 {
		t.Errorf("a fresh folder holds %v, %v", left, err)
	}
}

// Cancelled, a run ends at once, says why, and leaves nothing behind.
func TestCancelledRun(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	why := errors.New("the user had enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	time.AfterFunc(300*time.Millisecond, func() { cancel(why) })
	start := time.Now()
	bounded(t, func() {
		r, err := Run(ctx, running(t, tiny(t, "good"), tiny(t, "hang"), promptOf("p", 1), promptOf("q", 2)), RunOptions{Getenv: os.Getenv})
		if r != nil || !errors.Is(err, why) {
			t.Errorf("got %v, %v; want no result and the cause", r, err)
		}
	})
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("ended after %s", d)
	}
	nothingIn(t, os.TempDir())
}

// Specs that cannot be run are errors before anything runs.
func TestRunErrors(t *testing.T) {
	good := tiny(t, "good")
	bad := spec.Engine{Adapter: "exec", Command: []string{"x"}}
	names := tiny(t, "good")
	names.Names = []spec.NameRule{{Pattern: "(", Replacement: "x"}}
	for _, c := range []struct {
		s    *spec.Spec
		want string
	}{
		{running(t, good, good), "parity.yaml: a run needs prompts"},
		{running(t, spec.Engine{}, good, promptOf("p", 1)), "parity.yaml: engines.reference: a run needs this engine"},
		{running(t, good, spec.Engine{}, promptOf("p", 1)), "parity.yaml: engines.candidate: a run needs this engine"},
		{running(t, good, bad, promptOf("p", 1)), "parity.yaml: engines.candidate: exec: neither command nor env uses {{trace}}"},
		{running(t, names, good, promptOf("p", 1)), "parity.yaml: engines.reference: exec: names: \"(\""},
	} {
		t.Setenv("TMPDIR", t.TempDir())
		r, err := Run(context.Background(), c.s, RunOptions{Getenv: os.Getenv})
		if r != nil || err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("got %v, %v; want %q", r, err, c.want)
		}
		nothingIn(t, os.TempDir())
	}
	s := running(t, good, good, promptOf("p", 1))
	s.Engines.Witnesses = map[string]spec.Engine{"old": {Adapter: "magic"}}
	if _, err := Run(context.Background(), s, RunOptions{Getenv: os.Getenv}); err == nil || !strings.Contains(err.Error(), `engines.old: unknown adapter "magic": want one of `+strings.Join(spec.Adapters(), ", ")) {
		t.Errorf("an unknown adapter: %v", err)
	}
}
