package gate_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
)

// floorKind is a sound real engine, and the profile that it is told to have.
type floorKind struct {
	name    string
	weights string // of llama.cpp; "" is transformers
	keys    string
	profile string
}

var floorKinds = []floorKind{
	{"llama.cpp f32", "f32", strict, "llamacpp-cpu"},
	{"llama.cpp f16", "f16", strict, "llamacpp-cpu"},
	{"llama.cpp f16, KV f16, flash", "f16", "flash_attention: on, kv_type: f16", "llamacpp-cpu,kv=f16,queries=f16,flash=true,flash_sum=f16,flash_tile=64"},
	{"llama.cpp f16, KV f16", "f16", "flash_attention: off, kv_type: f16", "llamacpp-cpu,kv=f16,queries=f16,probabilities=f16"},
	{"llama.cpp f16, KV f32, flash", "f16", "flash_attention: on, kv_type: f32", "llamacpp-cpu,kv=f16,queries=f16,flash=true,flash_sum=f16,flash_tile=64"},
	{"llama.cpp f16, KV bf16, flash", "f16", "flash_attention: on, kv_type: bf16", "llamacpp-cpu,kv=bf16,queries=bf16,flash=true"},
	{"llama.cpp f16, KV q8_0, flash", "f16", "flash_attention: on, kv_type: q8_0", "llamacpp-cpu,kv=q8_0,flash=true"},
	{"llama.cpp bf16", "bf16", strict, "llamacpp-cpu"},
	{"llama.cpp q8_0", "q8_0", strict, "llamacpp-cpu"},
	{"llama.cpp q8_0, default settings", "q8_0", "", "llamacpp-cpu,kv=f16,queries=f16,flash=true,flash_sum=f16,flash_tile=64"},
	{"transformers f32", "", "dtype: f32", "transformers-f32"},
	{"transformers bf16", "", "dtype: bf16", "transformers-bf16"},
	{"transformers f16", "", "dtype: f16", "transformers-f16"},
}

// span are the least and the largest of some ratios, and where.
type span struct {
	least, most     float64
	leastAt, mostAt string
}

func (s *span) add(v float64, at string) {
	if s.leastAt == "" || v < s.least {
		s.least, s.leastAt = v, at
	}
	if s.mostAt == "" || v > s.most {
		s.most, s.mostAt = v, at
	}
}

func (s *span) String() string {
	return fmt.Sprintf("%.2f to %.2f", s.least, s.most)
}

// What the oracle says that precision costs is what sound engines measure: whole
// and local errors, at every checkpoint and in every architecture, are about as
// large as the emulated engine's, whose profile is told from the trace alone.
func TestEnginesFloors(t *testing.T) {
	rows := make([]string, len(floorKinds))
	t.Run("engines", func(t *testing.T) {
		for i, k := range floorKinds {
			t.Run(k.name, func(t *testing.T) {
				t.Parallel()
				var whole, local span
				same, checkpoints := 0, 0
				for _, arch := range enginetest.Architectures {
					equal, of := k.add(t, arch, &whole, &local)
					same, checkpoints = same+equal, checkpoints+of
				}
				rows[i] = fmt.Sprintf("%s\t%s\t%s\t%d of %d", k.name, &whole, &local, same, checkpoints)
			})
		}
	})
	t.Log(&table{head: "engine\twhole error / floor\tlocal error / floor\tbit-equal", rows: rows})
}

// add runs the engine on one architecture, and returns how many of its
// checkpoints rounding does not touch.
func (k floorKind) add(t *testing.T, arch string, whole, local *span) (same, checkpoints int) {
	r := k.run(t, arch)
	if f := r.Engines.Candidate.Failure; f != "" {
		t.Fatalf("%s\n%s", f, r.Engines.Candidate.Output)
	}
	if r.Outcome != gate.Pass {
		t.Errorf("%s: %v: %s", arch, r.Outcome, strings.Join(r.Reasons, "; "))
	}
	if p := r.Engines.Candidate.Profile; p != k.profile {
		t.Errorf("%s: profile %s, want %s", arch, p, k.profile)
	}
	if len(r.Checkpoints) < 7 {
		t.Fatalf("%d checkpoints", len(r.Checkpoints))
	}
	for _, c := range r.Checkpoints {
		if c.Oracle == nil {
			t.Fatalf("%s: nothing known of %s", arch, c.Name)
		}
		e, at := c.Oracle.Candidate, arch+" "+c.Name
		if e.Error == 0 && e.Floor == 0 {
			same++
			continue
		}
		for _, f := range []struct {
			what string
			of   *span
			v    float64
		}{{"whole", whole, float64(e.Explained)}, {"local", local, float64(e.LocalRatio)}} {
			if math.IsNaN(f.v) && f.what == "local" && strings.Contains(c.Name, "_") && !strings.HasSuffix(c.Name, "_output") {
				continue // parts of a layer
			}
			f.of.add(f.v, at)
			least := 0.33
			if k.weights == "f32" {
				least = 0.25 // SIMD sums err less than sums of one value after the other
			}
			if !(f.v >= least && f.v <= 3) {
				t.Errorf("%s: %s error %.3g × its floor (error %.3g, floor %.3g, local %.3g, floor %.3g)", at, f.what, f.v, float64(e.Error), float64(e.Floor), float64(e.Local), float64(e.LocalFloor))
			}
		}
	}
	return same, len(r.Checkpoints)
}

func (k floorKind) run(t *testing.T, arch string) *gate.Result {
	if k.weights != "" {
		model := weights(t, arch, k.weights)
		return runSpec(t, besideOracle(t, model, model, strings.TrimPrefix(k.keys+", prove_capture: false", ", ")))
	}
	sound := enginetest.Zoo(t, arch)
	return runSpec(t, fmt.Sprintf("version: 1\nmodel: {path: %q}\nprompts:\n%sengines:\n  reference: {adapter: builtin, precision: f64}\n"+
		"  candidate: {adapter: transformers, python: %q, model: %q, threads: 1, prove_capture: false, %s}\noracle: {}\n",
		sound, ids("code", code), enginetest.Torch(t), enginetest.ZooHF(t, arch), k.keys))
}
