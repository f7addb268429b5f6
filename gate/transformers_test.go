package gate_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
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
