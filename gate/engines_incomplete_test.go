package gate_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/spec"
)

// An engine whose tokeniser adds no BOS did not get the same input: its trace is
// not held against the reference, however far or near it is.
func TestEnginesWithoutBOS(t *testing.T) {
	in := enginetest.LlamaCpp(t)
	none := 0
	for _, arch := range enginetest.Architectures {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			cfg := spec.Engine{Adapter: "llamacpp", Library: in.Library, Headers: in.Headers, GPULayers: &none, Threads: 1}
			recorded := filepath.Join(t.TempDir(), "candidate.safetensors")
			input := engine.Input{Name: "text", Text: code, Model: edited(t, arch, "no-bos", enginetest.SetKV("tokenizer.ggml.add_bos_token", false))}
			if _, err := gate.Capture(context.Background(), cfg, input, recorded, gate.RunOptions{Getenv: os.Getenv}); err != nil {
				t.Fatal(err)
			}
			r := runSpec(t, fmt.Sprintf("version: 1\nmodel: {path: %q}\nprompts:\n  - {name: text, text: %q}\nengines:\n  reference: {%s}\n  candidate: {adapter: trace, path: %q}\n",
				weights(t, arch, "f16"), code, llamaKeys(t, "", ""), recorded))
			if r.Outcome != gate.Incomplete || r.ExitCode != 3 || r.FirstDivergence != nil || len(r.Checkpoints) != 0 {
				t.Errorf("%v (exit %d), first divergence %+v, %d checkpoints", r.Outcome, r.ExitCode, r.FirstDivergence, len(r.Checkpoints))
			}
			why := strings.Join(r.Reasons, "; ")
			for _, want := range []string{"the engines did not get the same input", "lacks the first token (256; a missing BOS looks like this)"} {
				if !strings.Contains(why, want) {
					t.Errorf("reasons %q do not say %q", why, want)
				}
			}
		})
	}
}

// A run whose engine fails is incomplete, and the first reason says which engine
// failed and why.
func TestEnginesThatFail(t *testing.T) {
	data, err := os.ReadFile(enginetest.Zoo(t, "llama"))
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(t.TempDir(), "half.gguf")
	if err := os.WriteFile(half, data[:len(data)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	layers := edited(t, "llama", "5-layers", enginetest.SetKV("block_count", uint32(5)))
	zoo := enginetest.Zoo(t, "llama")
	for name, c := range map[string]struct {
		run  realRun
		want []string
	}{
		"half a model":          {realRun{model: zoo, candidateModel: half}, []string{"the candidate measured nothing", "half.gguf"}},
		"a layer is missing":    {realRun{model: zoo, candidateModel: layers}, []string{"the candidate measured nothing", "5-layers.gguf"}},
		"the reference fails":   {realRun{model: half, candidateModel: zoo}, []string{"the reference measured nothing", "half.gguf"}},
		"no such backend":       {realRun{model: zoo, candidate: "backend: libggml-cpu-none.so"}, []string{"the candidate measured nothing", "libggml-cpu-none.so", "libggml-cpu-haswell.so"}},
		"no such token":         {realRun{model: zoo, prompts: "  - {name: odd, tokens: [256, 100000]}\n"}, []string{"the reference measured nothing", "on prompt odd", "100000"}},
		"a trace over its size": {realRun{model: zoo, candidate: "max_trace: 1kB"}, []string{"the candidate measured nothing", "over the bound of 1000"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := c.run.run(t)
			if r.Outcome != gate.Incomplete || r.ExitCode != 3 || r.FirstDivergence != nil {
				t.Fatalf("%v (exit %d), first divergence %+v", r.Outcome, r.ExitCode, r.FirstDivergence)
			}
			t.Log(r.Reasons[0])
			for _, want := range c.want {
				if !strings.Contains(r.Reasons[0], want) {
					t.Errorf("the first reason does not say %q", want)
				}
			}
		})
	}
}

// A witness is measured beside the candidate and judges nothing: not when it is
// far off, and not when it fails.
func TestEnginesWitness(t *testing.T) {
	zoo := enginetest.Zoo(t, "qwen2")
	keys := func(model string) string { return llamaKeys(t, "", fmt.Sprintf("model: %q", model)) }
	yaml := realRun{model: zoo}.yaml(t)
	yaml = strings.Replace(yaml, "require:", fmt.Sprintf("  witnesses:\n    quantised: {%s}\n    swapped: {%s}\n    missing: {%s}\nrequire:",
		keys(weights(t, "qwen2", "q8_0")), keys(edited(t, "qwen2", "swapped", enginetest.SwapLayers(1, 2))), keys("/no/such/model.gguf")), 1)
	r := runSpec(t, yaml)
	wholly(t, r)
	if r.Outcome != gate.Pass || r.FirstDivergence != nil || r.Spec.Preset != "f16" {
		t.Errorf("%v under preset %s: %s", r.Outcome, r.Spec.Preset, strings.Join(r.Reasons, "; "))
	}
	var said []string
	for _, w := range r.Engines.Witnesses {
		said = append(said, fmt.Sprintf("%s %s %t", w.Name, w.Precision, w.Failure != ""))
	}
	if got, want := strings.Join(said, ", "), "missing  true, quantised q8_0 false, swapped f16 false"; got != want {
		t.Errorf("witnesses %s, want %s", got, want)
	}
	for _, c := range r.Checkpoints {
		own, far := c.Witnesses["quantised"]["rel_l2"], c.Witnesses["swapped"]["rel_l2"]
		if after := c.Name != "embedding" && c.Name != "layer_0_output"; after && !(far > 0.1) || !after && far > 1e-3 {
			t.Errorf("%s: rel_l2 of the swapped witness is %g", c.Name, far)
		}
		if !(own > 1e-3 && own < 0.1) || len(c.Witnesses) != 2 {
			t.Errorf("%s: witnesses %v", c.Name, c.Witnesses)
		}
	}
}
