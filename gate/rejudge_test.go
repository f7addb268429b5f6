package gate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
	"github.com/paritygate/paritygate/report"
)

// recorded compares the recorded logs of trace's tests, or the reference with itself.
func recorded(t *testing.T, s *spec.Spec, candidate string) *gate.Result {
	t.Helper()
	p := gate.Pair{Prompt: "haiku"}
	for _, side := range []struct {
		to   **trace.Trace
		file string
	}{{&p.Reference, "llama_hidden_states.jsonl"}, {&p.Candidate, candidate}} {
		tr, err := trace.Open(filepath.Join("trace", "testdata", "orch-logs", side.file), trace.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		*side.to = tr
	}
	r, err := gate.Compare(context.Background(), s, []gate.Pair{p}, gate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// saved is the result as it comes back from results.json.
func saved(t *testing.T, r *gate.Result) *gate.Result {
	t.Helper()
	var b bytes.Buffer
	if err := report.JSON(&b, r); err != nil {
		t.Fatal(err)
	}
	back, err := report.Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	return back
}

func yamlSpec(t *testing.T, text string) *spec.Spec {
	t.Helper()
	s, err := spec.Parse([]byte("version: 1\n"+text), "parity.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A saved result, judged again under the same spec, says the same to the byte.
func TestJudgeSavedResult(t *testing.T) {
	for _, c := range []struct {
		name, yaml, candidate string
		outcome               gate.Outcome
	}{
		{"fails", "", "our_hidden_states.jsonl", gate.Fail},
		{"passes", "garbage: {candidate: mask}\n", "llama_hidden_states.jsonl", gate.Pass},
		{"garbage fails", "", "llama_hidden_states.jsonl", gate.Fail},
		{"incomplete", "require: {checkpoints: [embedding]}\ngarbage: {candidate: mask}\n", "llama_hidden_states.jsonl", gate.Incomplete},
		{"kept garbage", "garbage: {reference: keep}\n", "our_hidden_states.jsonl", gate.Fail},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := yamlSpec(t, c.yaml)
			r := recorded(t, s, c.candidate)
			if r.Outcome != c.outcome {
				t.Fatalf("%v, want %v: %v", r.Outcome, c.outcome, r.Reasons)
			}
			want, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			again := saved(t, r)
			gate.Judge(again, s)
			got, err := json.Marshal(again)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("judged again:\n%s\nbefore:\n%s", got, want)
			}
		})
	}
}

// Another spec gives the verdict that comparing under it gives.
func TestJudgeUnderAnotherSpec(t *testing.T) {
	first := recorded(t, yamlSpec(t, ""), "our_hidden_states.jsonl")
	for _, yaml := range []string{
		"tolerances: {rules: [{checkpoint: logits, rel_l2: 1000%, sign_flips: 100%, magnitude: 0%, warn: {rel_l2: 1%}}]}\n",
		"tolerances: {preset: bf16}\n",
		"require: {min_positions: 15}\ntolerances: {rules: [{checkpoint: logits, rel_l2: 1000%, sign_flips: 100%, magnitude: 0%}]}\n",
		"garbage: {reference: fail}\n",
	} {
		s := yamlSpec(t, yaml)
		want := recorded(t, s, "our_hidden_states.jsonl")
		got := saved(t, first)
		gate.Judge(got, s)
		if got.Outcome != want.Outcome || got.ExitCode != want.ExitCode || !reflect.DeepEqual(got.Reasons, want.Reasons) ||
			!reflect.DeepEqual(got.Spec, want.Spec) || !reflect.DeepEqual(got.Garbage, want.Garbage) || !reflect.DeepEqual(got.FirstDivergence, want.FirstDivergence) ||
			!reflect.DeepEqual(got.Checkpoints[0].Limits, want.Checkpoints[0].Limits) || !reflect.DeepEqual(got.Checkpoints[0].Findings, want.Checkpoints[0].Findings) {
			t.Errorf("%q: judged again %v %q, compared %v %q", yaml, got.Outcome, got.Reasons, want.Outcome, want.Reasons)
		}
	}
}
