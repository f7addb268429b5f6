package gate

import (
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/trace"
)

// kindsOf are the diagnoses that the oracle makes.
func kindsOf(r *Result) (out []string) {
	for _, d := range r.Diagnosis {
		if slices.Contains([]string{"local_error", "unexplained_error", "reference_drifted", "oracle_differs"}, d.Kind) {
			out = append(out, d.Kind+" "+d.Checkpoint)
		}
	}
	return out
}

func TestAttribution(t *testing.T) {
	const told = "llamacpp-fa-f16"
	engine := func(bug string) modelRun { return modelRun{profile: told, meta: spoken(told), bug: bug} }
	logitsOnly := func(m modelRun) modelRun {
		m.only = func(n string) bool { return n == logitsName }
		return m
	}
	unknown := func(m modelRun) modelRun {
		m.meta = trace.Meta{Engine: "worker"}
		return m
	}
	for name, c := range map[string]struct {
		ref, cand modelRun
		outcome   Outcome
		kinds     []string
		first     string // words of the first diagnosis
	}{
		"both sound":              {engine(""), engine(""), Pass, nil, ""},
		"against the oracle":      {exactly, engine(""), Pass, nil, ""},
		"the candidate errs":      {engine(""), engine("heads"), Fail, []string{"local_error layer_1_output"}, ""},
		"the reference errs":      {engine("heads"), engine(""), Fail, []string{"reference_drifted layer_1_output"}, "the reference is wrong, the candidate is right"},
		"both, in other places":   {engine("norm"), engine("channel"), Fail, []string{"local_error layer_1_output", "local_error final_norm"}, ""},
		"both alike":              {engine("swap"), engine("swap"), Fail, []string{"oracle_differs layer_1_output"}, "agree with each other, not with the oracle"},
		"logits, candidate errs":  {logitsOnly(engine("")), logitsOnly(engine("heads")), Fail, []string{"unexplained_error logits"}, ""},
		"logits, reference errs":  {logitsOnly(engine("heads")), logitsOnly(engine("")), Fail, []string{"reference_drifted logits"}, "was not captured"},
		"the candidate's unknown": {engine("heads"), unknown(engine("")), Fail, []string{"local_error layer_1_output"}, ""},
		"the reference's unknown": {unknown(engine("heads")), engine(""), Fail, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := besides(t, c.ref, c.cand, "")
			if r.Outcome != c.outcome {
				t.Errorf("%v, want %v: %v", r.Outcome, c.outcome, r.Reasons)
			}
			if got := kindsOf(r); !slices.Equal(got, c.kinds) {
				t.Errorf("%q, want %q", got, c.kinds)
			}
			if c.first != "" && (len(r.Diagnosis) == 0 || !strings.Contains(r.Diagnosis[0].Title+": "+r.Diagnosis[0].Evidence, c.first)) {
				t.Errorf("diagnosis %+v, want %q first", r.Diagnosis, c.first)
			}
		})
	}
}

// The figures of the evidence are those of the checkpoint.
func TestAttributionEvidence(t *testing.T) {
	const told = "llamacpp-fa-f16"
	r := besides(t, exactly, modelRun{profile: told, meta: spoken(told), bug: "swap", sublayers: true}, "")
	i := slices.IndexFunc(r.Diagnosis, func(d Diagnosis) bool { return d.Kind == "local_error" })
	if i < 0 {
		t.Fatalf("diagnosis %+v", r.Diagnosis)
	}
	e, d := checkpointOf(t, r, "layer_1_output").Oracle.Candidate, r.Diagnosis[i]
	if d.Title != "layer 1, "+e.Part+" of the candidate" || e.Part == "" || d.Confidence != High {
		t.Errorf("%+v of part %q", d, e.Part)
	}
	has(t, d.Evidence, "on its own input it errs by ", " × what llamacpp-fa-f16 rounding costs there (")
}
