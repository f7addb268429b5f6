package engine_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

const code = "def main(argv):\n    return"

func llamaSpec(in enginetest.Install) spec.Engine {
	none := 0
	return spec.Engine{Adapter: "llamacpp", Library: in.Library, Headers: in.Headers, GPULayers: &none}
}

// record runs an engine once.
func record(t *testing.T, cfg spec.Engine, role engine.Role, in engine.Input) (*engine.Recording, error) {
	t.Helper()
	e, err := engine.New(cfg, engine.Options{Role: role, Getenv: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	if in.Name == "" {
		in.Name = "code"
	}
	if in.Dir == "" {
		in.Dir = t.TempDir()
	}
	return e.Run(context.Background(), in)
}

func mustRecord(t *testing.T, cfg spec.Engine, role engine.Role, in engine.Input) (*engine.Recording, *trace.Trace) {
	t.Helper()
	rec, err := record(t, cfg, role, in)
	if err != nil {
		var e *engine.Error
		if errors.As(err, &e) {
			t.Log(e.Output)
		}
		t.Fatal(err)
	}
	tr, err := trace.Open(rec.TracePath, trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return rec, tr
}

func values(t *testing.T, tr *trace.Trace, name string) []byte {
	t.Helper()
	c := tr.Lookup(name)
	if c == nil {
		t.Fatalf("no checkpoint %s", name)
	}
	b := make([]byte, len(c.Positions)*c.Stored*c.DType.Size())
	if err := c.NewReader().ReadRows(0, len(c.Positions), b); err != nil {
		t.Fatal(err)
	}
	return b
}

func names(tr *trace.Trace) []string {
	var out []string
	for _, c := range tr.Checkpoints {
		out = append(out, c.Name)
	}
	slices.SortFunc(out, func(a, b string) int {
		if trace.Less(a, b) {
			return -1
		}
		return 1
	})
	return out
}

// sameBits fails unless both traces hold the same checkpoints with the same bits.
func sameBits(t *testing.T, a, b *trace.Trace) {
	t.Helper()
	if !slices.Equal(names(a), names(b)) {
		t.Fatalf("checkpoints %v and %v", names(a), names(b))
	}
	for _, name := range names(a) {
		if !bytes.Equal(values(t, a, name), values(t, b, name)) {
			t.Errorf("%s differs", name)
		}
	}
}

// Every architecture, strict against itself in another process, is bit-equal;
// its checkpoints are all there and the capture is proven.
func TestLlamaStrictTwice(t *testing.T) {
	cfg := llamaSpec(enginetest.LlamaCpp(t))
	want := []string{"embedding", "layer_0_output", "layer_1_output", "layer_2_output", "layer_3_output", "final_norm", "logits"}
	for _, arch := range enginetest.Architectures {
		t.Run(arch, func(t *testing.T) {
			in := engine.Input{Model: enginetest.Zoo(t, arch), Tokens: enginetest.Prompt(code)}
			rec, a := mustRecord(t, cfg, engine.Reference, in)
			_, b := mustRecord(t, cfg, engine.Reference, in)
			if !slices.Equal(names(a), want) {
				t.Errorf("checkpoints %v, want %v", names(a), want)
			}
			sameBits(t, a, b)
			if rec.Capture != engine.CaptureExact {
				t.Errorf("capture %q, want exact", rec.Capture)
			}
			if !slices.Equal(rec.Tokens, in.Tokens) || !slices.Equal(a.Meta.Tokens, in.Tokens) {
				t.Errorf("tokens %v and %v, want %v", rec.Tokens, a.Meta.Tokens, in.Tokens)
			}
			if c := a.Lookup("logits"); c.Width != 264 || len(c.Positions) != len(in.Tokens) {
				t.Errorf("logits have %d rows of %d", len(c.Positions), c.Width)
			}
			m := a.Meta
			if m.Engine != "llama.cpp" || !strings.HasPrefix(m.EngineVersion, "v0.5.0") || m.Model != arch+"-f16.gguf" ||
				len(m.WeightsSHA256) != 64 || m.ComputeDType != "f16" || m.Device == "" || m.Prompt != "code" {
				t.Errorf("metadata %+v", m)
			}
		})
	}
}

// The embedding is what enters layer 0: without attention and feed-forward,
// whose last projections are zero, it leaves layer 0 unchanged.
func TestLlamaEmbeddingEntersLayer0(t *testing.T) {
	cfg := llamaSpec(enginetest.LlamaCpp(t))
	for _, arch := range enginetest.Architectures {
		t.Run(arch, func(t *testing.T) {
			edits := []func(*enginetest.GGUF) error{enginetest.Scale("blk.0.attn_output.weight", 0), enginetest.Scale("blk.0.ffn_down.weight", 0)}
			if arch == "gpt2" {
				edits = append(edits, enginetest.Scale("blk.0.attn_output.bias", 0), enginetest.Scale("blk.0.ffn_down.bias", 0))
			}
			model := enginetest.Edit(t, arch, filepath.Join(t.TempDir(), "m.gguf"), edits...)
			_, tr := mustRecord(t, cfg, engine.Reference, engine.Input{Model: model, Tokens: enginetest.Prompt(code)})
			if !bytes.Equal(values(t, tr, "embedding"), values(t, tr, "layer_0_output")) {
				t.Error("the embedding is not what enters layer 0")
			}
		})
	}
}

// Splitting the prompt over ubatches, batches or single tokens appends rows in
// order; on this CPU the arithmetic is the same to the last bits or nearly so.
func TestLlamaPieces(t *testing.T) {
	base := llamaSpec(enginetest.LlamaCpp(t))
	in := engine.Input{Model: enginetest.Zoo(t, "qwen2"), Tokens: enginetest.Prompt(strings.Repeat(code, 4))}
	_, whole := mustRecord(t, base, engine.Reference, in)
	for name, change := range map[string]func(*spec.Engine){
		"ubatch 16":         func(c *spec.Engine) { c.UBatch = 16 },
		"batch 32":          func(c *spec.Engine) { c.Batch = 32 },
		"batch 40 of 8":     func(c *spec.Engine) { c.Batch, c.UBatch = 40, 8 },
		"decode":            func(c *spec.Engine) { c.Decode = true },
		"one thread":        func(c *spec.Engine) { c.Threads = 1 },
		"without a proof":   func(c *spec.Engine) { no := false; c.ProveCapture = &no },
		"without repacking": func(c *spec.Engine) { c.NoRepack = true },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := base
			change(&cfg)
			rec, tr := mustRecord(t, cfg, engine.Reference, in)
			if want := engine.CaptureExact; name != "without a proof" && rec.Capture != want || name == "without a proof" && rec.Capture != "" {
				t.Errorf("capture %q", rec.Capture)
			}
			most := 1e-5
			if cfg.Decode {
				most = 1e-3 // other kernels: f16 weights meet one activation row
			}
			for _, cp := range names(whole) {
				if d := relL2(t, values(t, whole, cp), values(t, tr, cp)); d > most {
					t.Errorf("%s: rel_l2 %g", cp, d)
				}
			}
		})
	}
}

// The model's own vocabulary turns text into the ids that Prompt makes.
func TestLlamaText(t *testing.T) {
	cfg := llamaSpec(enginetest.LlamaCpp(t))
	model := enginetest.Zoo(t, "llama")
	rec, a := mustRecord(t, cfg, engine.Reference, engine.Input{Model: model, Text: code})
	if want := enginetest.Prompt(code); !slices.Equal(rec.Tokens, want) {
		t.Fatalf("tokens %v, want %v", rec.Tokens, want)
	}
	_, b := mustRecord(t, cfg, engine.Reference, engine.Input{Model: model, Tokens: rec.Tokens})
	sameBits(t, a, b)
}

// The greedy continuation, forced afterwards, is its own argmax.
func TestLlamaGenerate(t *testing.T) {
	cfg := llamaSpec(enginetest.LlamaCpp(t))
	in := engine.Input{Model: enginetest.Zoo(t, "phi3"), Text: code, Generate: 12}
	rec, a := mustRecord(t, cfg, engine.Reference, in)
	prompt := len(enginetest.Prompt(code))
	if len(rec.Tokens) != prompt+12 {
		t.Fatalf("%d tokens, want %d", len(rec.Tokens), prompt+12)
	}
	logits := floats(values(t, a, "logits"))
	for p := prompt - 1; p+1 < len(rec.Tokens); p++ {
		row := logits[p*264 : (p+1)*264]
		if best := argmax(row); int32(best) != rec.Tokens[p+1] {
			t.Errorf("position %d: argmax %d, continued with %d", p, best, rec.Tokens[p+1])
		}
	}
	_, b := mustRecord(t, cfg, engine.Reference, engine.Input{Model: in.Model, Tokens: rec.Tokens})
	sameBits(t, a, b)
}

func TestLlamaSublayers(t *testing.T) {
	for _, release := range append([]string{enginetest.Release}, enginetest.Older...) {
		cfg := llamaSpec(enginetest.LlamaCpp(t, release))
		cfg.Sublayers = true
		for _, arch := range enginetest.Architectures {
			t.Run(release+"/"+arch, func(t *testing.T) {
				_, tr := mustRecord(t, cfg, engine.Reference, engine.Input{Model: enginetest.Zoo(t, arch), Tokens: enginetest.Prompt(code)})
				// The graph of phi3 gives the sum after attention no name.
				unnamed := arch == "phi3"
				for _, sub := range []string{"attn_norm", "attn_output", "ffn_input", "ffn_norm", "ffn_output", "output"} {
					if sub == "ffn_input" && unnamed {
						continue
					}
					for _, layer := range []string{"0", "3"} {
						if tr.Lookup("layer_"+layer+"_"+sub) == nil {
							t.Errorf("no layer_%s_%s in %v", layer, sub, names(tr))
						}
					}
				}
				if arch == "granite" || unnamed {
					return // granite scales what it adds to the residual
				}
				in, attn, out := floats(values(t, tr, "layer_0_output")), floats(values(t, tr, "layer_1_attn_output")), floats(values(t, tr, "layer_1_ffn_input"))
				for i := range in {
					if in[i]+attn[i] != out[i] {
						t.Fatalf("element %d: %g + %g is not %g: attn_output is not what the residual takes", i, in[i], attn[i], out[i])
					}
				}
			})
		}
	}
}

// Defaults: the reference is strict, the candidate's are the library's, whose
// f16 cache shows in the numbers and in compute_dtype.
func TestLlamaRoles(t *testing.T) {
	cfg := llamaSpec(enginetest.LlamaCpp(t))
	model := enginetest.Edit(t, "llama", filepath.Join(t.TempDir(), "f32.gguf"), enginetest.Widen)
	in := engine.Input{Model: model, Tokens: enginetest.Prompt(code)}
	ref, a := mustRecord(t, cfg, engine.Reference, in)
	cand, b := mustRecord(t, cfg, engine.Candidate, in)
	if ref.ComputeDType != "f32" || cand.ComputeDType != "f16" {
		t.Errorf("compute dtypes %q and %q, want f32 and f16", ref.ComputeDType, cand.ComputeDType)
	}
	d := relL2(t, values(t, a, "logits"), values(t, b, "logits"))
	if d == 0 || d > 1e-2 {
		t.Errorf("rel_l2 of strict and default logits is %g", d)
	}
	if !bytes.Equal(values(t, a, "embedding"), values(t, b, "embedding")) {
		t.Error("embeddings differ")
	}
	cfg.KVType, cfg.FlashAttention = "f32", "off"
	same, c := mustRecord(t, cfg, engine.Candidate, in)
	if same.ComputeDType != "f32" {
		t.Errorf("compute dtype %q", same.ComputeDType)
	}
	sameBits(t, a, c)
	cfg.KVType, cfg.FlashAttention = "q8_0", "on"
	if q, _ := mustRecord(t, cfg, engine.Candidate, in); q.ComputeDType != "q8_0" {
		t.Errorf("compute dtype with a q8_0 cache is %q", q.ComputeDType)
	}
}

func TestLlamaComputeDType(t *testing.T) {
	cfg := llamaSpec(enginetest.LlamaCpp(t))
	for want, edits := range map[string][]func(*enginetest.GGUF) error{
		"bf16": {enginetest.Convert(enginetest.BF16)}, "q8_0": {enginetest.Convert(enginetest.Q8_0)},
	} {
		model := enginetest.Edit(t, "llama", filepath.Join(t.TempDir(), "m.gguf"), edits...)
		if rec, _ := mustRecord(t, cfg, engine.Reference, engine.Input{Model: model, Tokens: enginetest.Prompt(code)}); rec.ComputeDType != want {
			t.Errorf("compute dtype %q, want %q", rec.ComputeDType, want)
		}
	}
	// ggml computes GELU from a table of f16 values, whatever the weights are.
	model := enginetest.Edit(t, "gpt2", filepath.Join(t.TempDir(), "m.gguf"), enginetest.Widen)
	if rec, _ := mustRecord(t, cfg, engine.Reference, engine.Input{Model: model, Tokens: enginetest.Prompt(code)}); rec.ComputeDType != "f16" {
		t.Errorf("compute dtype of gpt2 in f32 is %q, want f16", rec.ComputeDType)
	}
}

// One source serves every version, and the versions agree.
func TestLlamaVersions(t *testing.T) {
	in := engine.Input{Model: enginetest.Zoo(t, "granite"), Tokens: enginetest.Prompt(code)}
	_, newest := mustRecord(t, llamaSpec(enginetest.LlamaCpp(t)), engine.Reference, in)
	for _, release := range enginetest.Older {
		rec, tr := mustRecord(t, llamaSpec(enginetest.LlamaCpp(t, release)), engine.Reference, in)
		if !strings.HasPrefix(rec.Version, release) || rec.Capture != engine.CaptureExact {
			t.Errorf("version %q, capture %q", rec.Version, rec.Capture)
		}
		for _, cp := range names(newest) {
			if d := relL2(t, values(t, newest, cp), values(t, tr, cp)); d > 1e-4 {
				t.Errorf("%s: %s: rel_l2 %g", release, cp, d)
			}
		}
	}
}

// Backends for other instruction sets are one key away.
func TestLlamaBackend(t *testing.T) {
	in := enginetest.LlamaCpp(t)
	found, _ := filepath.Glob(filepath.Join(in.Library, "libggml-cpu-sse42.so"))
	if len(found) == 0 { // arm64
		found, _ = filepath.Glob(filepath.Join(in.Library, "libggml-cpu-*.so"))
	}
	cfg := llamaSpec(in)
	cfg.Backend = filepath.Base(found[0])
	input := engine.Input{Model: enginetest.Zoo(t, "llama"), Tokens: enginetest.Prompt(code)}
	_, a := mustRecord(t, llamaSpec(in), engine.Reference, input)
	_, b := mustRecord(t, cfg, engine.Reference, input)
	if d := relL2(t, values(t, a, "logits"), values(t, b, "logits")); d > 1e-3 {
		t.Errorf("rel_l2 of the logits is %g", d)
	}
}
