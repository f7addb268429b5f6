package gate_test

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/spec"
)

// torchYAML is a spec with llama.cpp, strict, as the reference and transformers
// as the candidate; each has the weights in its own format.
func torchYAML(t testing.TB, model, folder, candidate, prompts string) string {
	return fmt.Sprintf("version: 1\nmodel: {path: %q}\nprompts:\n%sengines:\n  reference: {%s}\n"+
		"  candidate: {adapter: transformers, python: %q, model: %q, threads: 1, %s}\n"+
		"require: {checkpoints: [embedding, layer_*_output, final_norm, logits]}\n",
		model, prompts, llamaKeys(t, "", ""), enginetest.Torch(t), folder, candidate)
}

// largest is the largest rel_l2 of all checkpoints.
func largest(r *gate.Result) (at string, most float64) {
	for _, c := range r.Checkpoints {
		if v := float64(c.Metrics["rel_l2"]); !(v <= most) {
			at, most = c.Name, v
		}
	}
	return at, most
}

// Two engines that share no code compute the same in f32: llama.cpp from
// GGUF and transformers from the weights that the GGUF was made of.
func TestTransformersLlamaCPP(t *testing.T) {
	for _, arch := range enginetest.Architectures {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			r := runSpec(t, torchYAML(t, weights(t, arch, "f32"), enginetest.ZooHF(t, arch), "dtype: f32", ids("code", code)))
			wholly(t, r)
			at, most := largest(r)
			t.Logf("rel_l2 at most %.1e at %s, preset %s", most, at, r.Spec.Preset)
			limit := 1e-5
			if arch == "gpt2" {
				limit = 1e-3 // ggml's GELU is a table in f16
			}
			if !(most <= limit) {
				t.Errorf("rel_l2 %g at %s", most, at)
			}
			if r.Outcome != gate.Pass {
				t.Errorf("outcome %s: %s", r.Outcome, strings.Join(r.Reasons, "; "))
			}
		})
	}
}

// Far into a prompt the engines' angles, which each computes in f32 in its own
// way, are off by 60 times f32's unit. That is no bug: the pairs pass, with room,
// although some row errs by more than it might at position 0.
func TestTransformersFarIntoAPrompt(t *testing.T) {
	var l sync.Mutex
	most := 0.0 // times what a row at position 0 may err
	t.Run("pairs", func(t *testing.T) {
		for _, arch := range rotating {
			t.Run(arch, func(t *testing.T) {
				t.Parallel()
				r := runSpec(t, torchYAML(t, weights(t, arch, "f32"), enginetest.ZooHF(t, arch), "dtype: f32", ids("listing", listing)))
				wholly(t, r)
				if r.Outcome != gate.Pass || r.Spec.Preset != "f32" {
					t.Errorf("outcome %s under %s: %s", r.Outcome, r.Spec.Preset, strings.Join(r.Reasons, "; "))
				}
				l.Lock()
				defer l.Unlock()
				for _, c := range r.Checkpoints {
					for _, a := range c.Limits {
						if a.Level == "fail" && a.Metric != "top1_agreement" && float64(a.Use) > 1/room {
							t.Errorf("%s: %s is %.2g of its limit %.3g: too near for a sound pair", c.Name, a.Metric, float64(a.Use), float64(a.Limit))
						}
					}
					if c.Name != "logits" {
						most = max(most, float64(c.Metrics["worst_position"])/(30*math.Sqrt2*spec.Unit("f32")))
					}
				}
			})
		}
	})
	t.Logf("a row errs by %.2f times what f32 allows where nothing turns", most)
	if most < 1 {
		t.Errorf("no row errs by more than %.2f times that: this prompt shows nothing", most)
	}
}

// rotating are the models with rotary embeddings.
var rotating = []string{"llama", "qwen2", "phi3", "granite"}

// What the angles explain hides no mistake in them: a RoPE base 0.01 % off fails,
// at the first layer.
func TestTransformersFarIntoAPromptBug(t *testing.T) {
	for _, arch := range rotating {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			wrong := edited(t, arch, "rope-10001-f32", enginetest.Widen, enginetest.SetKV("rope.freq_base", float32(10001)))
			r := runSpec(t, torchYAML(t, wrong, enginetest.ZooHF(t, arch), "dtype: f32", ids("listing", listing)))
			wholly(t, r)
			first := r.FirstDivergence
			if r.Outcome != gate.Fail || first == nil || first.Checkpoint != "layer_0_output" || first.Position == 0 {
				t.Fatalf("outcome %s, first divergence %+v", r.Outcome, first)
			}
			if use := useOf(r, "worst_position"); use < 5 {
				t.Errorf("a row takes %.2g of its limit: want at least 5 times as much as is allowed", use)
			}
			if len(r.Diagnosis) == 0 || r.Diagnosis[0].Kind != "rope_or_mask" {
				t.Errorf("diagnosis %+v", r.Diagnosis)
			}
			t.Logf("worst_position is %.0f times its limit", useOf(r, "worst_position"))
		})
	}
}

// A candidate in bf16 passes under the preset that is chosen for it, on ids and
// on a continuation that the reference made of text.
func TestTransformersPasses(t *testing.T) {
	prompts := ids("listing", listing) + fmt.Sprintf("  - {name: text, text: %q, generate: 8}\n", short)
	for _, arch := range enginetest.Architectures {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			r := runSpec(t, torchYAML(t, enginetest.Zoo(t, arch), enginetest.ZooHF(t, arch), "dtype: bf16", prompts))
			wholly(t, r)
			at, most := largest(r)
			use, of := 0.0, ""
			for _, c := range r.Checkpoints {
				for _, l := range c.Limits {
					if l.Level == "fail" && float64(l.Use) > use {
						use, of = float64(l.Use), c.Name+" "+l.Metric
					}
				}
			}
			t.Logf("rel_l2 at most %.1e at %s; %.0f %% of the limit on %s; preset %s, %s", most, at, 100*use, of, r.Spec.Preset, r.Spec.PresetFrom)
			if r.Outcome != gate.Pass || r.Spec.Preset != "bf16" {
				t.Errorf("outcome %s under %s: %s", r.Outcome, r.Spec.Preset, strings.Join(r.Reasons, "; "))
			}
			if !(most > 1e-3) {
				t.Errorf("rel_l2 %g: that is not bf16", most)
			}
		})
	}
}

// The parts of a layer are the same points in both engines.
func TestTransformersSublayers(t *testing.T) {
	for _, arch := range enginetest.Architectures {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			yaml := torchYAML(t, weights(t, arch, "f32"), enginetest.ZooHF(t, arch), "dtype: f32, sublayers: true", ids("short", short))
			r := runSpec(t, strings.Replace(yaml, "adapter: llamacpp,", "adapter: llamacpp, sublayers: true,", 1))
			at, most := largest(r)
			t.Logf("%d checkpoints, rel_l2 at most %.1e at %s", len(r.Checkpoints), most, at)
			limit := 1e-5
			if arch == "gpt2" {
				limit = 1e-3
			}
			want := 3 + 4*6
			if arch == "phi3" {
				want -= 4 // llama.cpp's graph has no name for the sum after attention
			}
			if len(r.Checkpoints) != want || !(most <= limit) {
				t.Errorf("%d checkpoints, rel_l2 %g at %s; missing %+v", len(r.Checkpoints), most, at, r.Coverage.Missing)
			}
		})
	}
}

// A config that says another RoPE base than the GGUF is found at layer 0, in the
// positions behind the first.
func TestTransformersWrongConfig(t *testing.T) {
	folder := enginetest.ZooHF(t, "llama")
	path := filepath.Join(folder, "config.json")
	config, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	config = bytes.ReplaceAll(config, []byte(`"rope_theta": 10000.0`), []byte(`"rope_theta": 11000.0`))
	if err := os.WriteFile(path, config, 0o644); err != nil {
		t.Fatal(err)
	}
	r := runSpec(t, torchYAML(t, weights(t, "llama", "f32"), folder, "dtype: f32", ids("code", code)))
	first := r.FirstDivergence
	if r.Outcome != gate.Fail || first == nil || first.Checkpoint != "layer_0_output" || first.Position == 0 {
		t.Errorf("outcome %s, first divergence %+v", r.Outcome, first)
	}
	if len(r.Diagnosis) == 0 || r.Diagnosis[0].Kind != "rope_or_mask" {
		t.Errorf("diagnosis %+v", r.Diagnosis)
	}
}
