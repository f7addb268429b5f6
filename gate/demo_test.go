package gate_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/oracle/demo"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// demoTrace runs the demonstration's model under a profile, with a bug planted
// unless it is "".
func demoTrace(t *testing.T, model, profile, bug string) *trace.Trace {
	t.Helper()
	m, err := oracle.Load(model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if bug != "" {
		if err := oracle.Plant(m, bug); err != nil {
			t.Fatal(err)
		}
	}
	p, err := oracle.ProfileByName(profile)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "trace.safetensors")
	if err := engine.WriteForward(context.Background(), m, demo.Tokens(), oracle.Options{Profile: p}, trace.Meta{Model: demo.Name}, path); err != nil {
		t.Fatal(err)
	}
	tr, err := trace.Open(path, trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// TestDemo: every planted bug is found where it was planted and named rightly,
// under rounding to f16, with the oracle's rules and without; the sound engine passes.
func TestDemo(t *testing.T) {
	model := filepath.Join(t.TempDir(), demo.Name)
	if err := os.WriteFile(model, demo.Model(), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, withOracle := range []bool{false, true} {
		for _, bug := range append([]oracle.Bug{{}}, oracle.Bugs()...) {
			name := bug.Name
			if withOracle {
				name += " with the oracle"
			}
			t.Run(name, func(t *testing.T) {
				s := spec.Default()
				if withOracle {
					s.Oracle = &spec.Oracle{Model: model}
				}
				pair := gate.Pair{Prompt: "demo", Reference: demoTrace(t, model, "f64", ""), Candidate: demoTrace(t, model, demo.Profile, bug.Name)}
				r, err := gate.Compare(context.Background(), s, []gate.Pair{pair}, gate.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if bug.Name == "" {
					if r.Outcome != gate.Pass {
						t.Errorf("the sound engine: %s, %v", r.Outcome, r.Findings)
					}
					return
				}
				if r.Outcome != gate.Fail || r.FirstDivergence == nil || r.FirstDivergence.Checkpoint != bug.Checkpoint {
					t.Fatalf("%s: outcome %s, first %+v, want %s", bug.Doc, r.Outcome, r.FirstDivergence, bug.Checkpoint)
				}
				named := slices.ContainsFunc(r.Diagnosis, func(d gate.Diagnosis) bool {
					// With the oracle, a layer and nothing more is said as its local error.
					return slices.Contains(bug.Kinds, d.Kind) || d.Kind == "local_error" && slices.Contains(bug.Kinds, "layer")
				})
				if !named || r.Diagnosis[0].Checkpoint != bug.Checkpoint {
					t.Errorf("%s: diagnosis %+v, want one of %v", bug.Doc, r.Diagnosis, bug.Kinds)
				}
			})
		}
	}
}
