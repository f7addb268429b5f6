package engine_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

func torchSpec(t *testing.T, dtype string) spec.Engine {
	t.Helper()
	return spec.Engine{Adapter: "transformers", Python: enginetest.Torch(t), DType: dtype, Threads: 1}
}

// wide are the checkpoint's values as float64.
func wide(t *testing.T, tr *trace.Trace, name string) []float64 {
	t.Helper()
	b, c := values(t, tr, name), tr.Lookup(name)
	out := make([]float64, 0, len(b)/c.DType.Size())
	for i := 0; i < len(b); i += c.DType.Size() {
		switch c.DType {
		case trace.F64:
			out = append(out, math.Float64frombits(binary.LittleEndian.Uint64(b[i:])))
		case trace.F32:
			out = append(out, float64(math.Float32frombits(binary.LittleEndian.Uint32(b[i:]))))
		case trace.BF16:
			out = append(out, float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[i:]))<<16)))
		default:
			t.Fatalf("%s is %v", name, c.DType)
		}
	}
	return out
}

// worst is the largest rel_l2 of the checkpoints of r in c.
func worst(t *testing.T, r, c *trace.Trace) (at string, most float64) {
	t.Helper()
	for _, name := range names(r) {
		x, y := wide(t, r, name), wide(t, c, name)
		if len(x) != len(y) || len(x) == 0 {
			t.Fatalf("%s: %d and %d values", name, len(x), len(y))
		}
		var diff, norm float64
		for i := range x {
			diff += (y[i] - x[i]) * (y[i] - x[i])
			norm += x[i] * x[i]
		}
		if rel := math.Sqrt(diff / norm); !(rel <= most) { // NaN is the worst
			at, most = name, rel
		}
	}
	return at, most
}

// numpyForward runs the zoo's own forward pass in float64.
const numpyForward = `
import sys, json
sys.path.insert(0, sys.argv[1])
import numpy, forward
out = forward.Forward(forward.load(sys.argv[2])).run(json.loads(sys.argv[3]))
numpy.savez(sys.argv[4], **out)
`

// numpyTrace is the prompt's trace as NumPy computes it, independent of torch.
func numpyTrace(t *testing.T, architecture string, tokens []int32) *trace.Trace {
	t.Helper()
	path := filepath.Join(t.TempDir(), "numpy.npz")
	zoo := filepath.Dir(enginetest.Zoo(t, architecture))
	ids := strings.ReplaceAll(fmt.Sprint(tokens), " ", ",")
	cmd := exec.Command(enginetest.Torch(t), "-B", "-c", numpyForward, zoo, architecture, ids, path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	tr, err := trace.Open(path, trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// Every architecture in f64 is what NumPy computes in float64, but for the
// angles, norms and softmax that transformers takes through f32; f32 and bf16
// are as far from it as their rounding; a decode is the prefill.
func TestTransformersNumPy(t *testing.T) {
	in := engine.Input{Tokens: enginetest.Prompt(strings.Repeat(code, 3))}
	want := []string{"embedding", "layer_0_output", "layer_1_output", "layer_2_output", "layer_3_output", "final_norm", "logits"}
	for _, arch := range enginetest.Architectures {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			in := in
			in.Model = enginetest.ZooHF(t, arch)
			exact := numpyTrace(t, arch, in.Tokens)
			runs := map[string]*trace.Trace{}
			for _, c := range []struct {
				name, dtype string
				stored      trace.DType
				decode      bool
				most        float64
			}{{"f64", "f64", trace.F64, false, 1e-6}, {"f32", "f32", trace.F32, false, 1e-5}, {"f32 decode", "f32", trace.F32, true, 1e-5}, {"bf16", "bf16", trace.BF16, false, 0.15}} {
				cfg := torchSpec(t, c.dtype)
				cfg.Decode = c.decode
				rec, tr := mustRecord(t, cfg, engine.Reference, in)
				runs[c.name] = tr
				if !slices.Equal(names(tr), want) {
					t.Fatalf("%s: checkpoints %v, want %v", c.name, names(tr), want)
				}
				for _, p := range tr.Checkpoints {
					width := 128
					if p.Name == "logits" {
						width = 264
					}
					if p.Width != width || len(p.Positions) != len(in.Tokens) || p.DType != c.stored {
						t.Errorf("%s: %s has %d rows of %d in %v", c.name, p.Name, len(p.Positions), p.Width, p.DType)
					}
				}
				at, most := worst(t, exact, tr)
				t.Logf("%s: rel_l2 %.1e at %s", c.name, most, at)
				if !(most <= c.most) || c.dtype == "bf16" && most < 1e-3 {
					t.Errorf("%s: rel_l2 %g at %s against NumPy", c.name, most, at)
				}
				checkTorchMeta(t, rec, tr, arch, c.dtype, in.Tokens)
			}
			if at, most := worst(t, runs["f32"], runs["f32 decode"]); !(most <= 3e-6) {
				t.Errorf("decode: rel_l2 %g at %s against prefill", most, at)
			}
		})
	}
}

func checkTorchMeta(t *testing.T, rec *engine.Recording, tr *trace.Trace, model, dtype string, tokens []int32) {
	t.Helper()
	m := tr.Meta
	if rec.Capture != engine.CaptureExact {
		t.Errorf("capture %q, want exact", rec.Capture)
	}
	if !slices.Equal(rec.Tokens, tokens) || !slices.Equal(m.Tokens, tokens) {
		t.Errorf("tokens %v and %v, want %v", rec.Tokens, m.Tokens, tokens)
	}
	if m.Engine != "transformers" || m.EngineVersion != rec.Version || !strings.Contains(m.EngineVersion, "torch 2.13.0") ||
		m.Model != model || len(m.WeightsSHA256) != 64 || m.ComputeDType != dtype || !strings.HasPrefix(m.Device, "CPU (") || m.Prompt != "code" {
		t.Errorf("metadata %+v", m)
	}
	if len(rec.Warnings) > 0 {
		t.Errorf("warnings %q", rec.Warnings)
	}
}

// The parts of a layer are there under the names that llama.cpp's have, and
// what a part adds is what the stream gains.
func TestTransformersSublayers(t *testing.T) {
	for _, arch := range []string{"qwen2", "phi3", "gpt2"} {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			cfg := torchSpec(t, "f64")
			cfg.Sublayers = true
			_, tr := mustRecord(t, cfg, engine.Candidate, engine.Input{Model: enginetest.ZooHF(t, arch), Tokens: enginetest.Prompt(code)})
			if n := len(tr.Checkpoints); n != 3+4*6 {
				t.Fatalf("%d checkpoints: %v", n, names(tr))
			}
			stream := wide(t, tr, "embedding")
			for layer := range 4 {
				for _, part := range []struct{ added, sum string }{{"attn_output", "ffn_input"}, {"ffn_output", "output"}} {
					add := wide(t, tr, fmt.Sprintf("layer_%d_%s", layer, part.added))
					sum := wide(t, tr, fmt.Sprintf("layer_%d_%s", layer, part.sum))
					for i := range sum {
						if math.Abs(stream[i]+add[i]-sum[i]) > 1e-12*(1+math.Abs(sum[i])) {
							t.Fatalf("layer %d: %s[%d] is %g, not %g + %g", layer, part.sum, i, sum[i], stream[i], add[i])
						}
					}
					stream = sum
				}
			}
		})
	}
}

// The model's own tokenizer turns text into ids; a greedy continuation is its
// own argmax, by token and at once; the config's dtype holds without dtype.
func TestTransformersTextAndGenerate(t *testing.T) {
	cfg := torchSpec(t, "")
	in := engine.Input{Model: enginetest.ZooHF(t, "llama"), Text: code, Generate: 6}
	rec, tr := mustRecord(t, cfg, engine.Reference, in)
	prompt := enginetest.Prompt(code)
	if len(rec.Tokens) != len(prompt)+6 || !slices.Equal(rec.Tokens[:len(prompt)], prompt) {
		t.Fatalf("tokens %v, want %v and 6 more", rec.Tokens, prompt)
	}
	if rec.ComputeDType != "f16" || tr.Lookup("logits").DType != trace.F16 {
		t.Errorf("computed in %s and stored in %v, the config says float16", rec.ComputeDType, tr.Lookup("logits").DType)
	}
	cfg = torchSpec(t, "f32")
	rec, tr = mustRecord(t, cfg, engine.Reference, in)
	logits, width := wide(t, tr, "logits"), tr.Lookup("logits").Width
	for p := len(prompt) - 1; p+1 < len(rec.Tokens); p++ {
		row := logits[p*width : (p+1)*width]
		if best := slices.Index(row, slices.Max(row)); int32(best) != rec.Tokens[p+1] {
			t.Errorf("position %d: the largest logit is token %d, continued with %d", p, best, rec.Tokens[p+1])
		}
	}
}

// Faults that are found before or while the model is loaded; none is a divergence.
func TestTransformersFaults(t *testing.T) {
	remove := func(names ...string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			for _, n := range names {
				if err := os.Remove(filepath.Join(dir, n)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	replace := func(name, old, with string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, name)
			b, err := os.ReadFile(path)
			if err != nil || !bytes.Contains(b, []byte(old)) {
				t.Fatalf("%s holds no %s: %v", name, old, err)
			}
			if err := os.WriteFile(path, bytes.Replace(b, []byte(old), []byte(with), 1), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	cut := func(t *testing.T, dir string) {
		if err := os.Truncate(filepath.Join(dir, "model.safetensors"), 100_000); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		spoil  func(*testing.T, string)
		change func(*spec.Engine, *engine.Input)
		kind   engine.FailureKind
		want   string
	}{
		"no folder":       {change: func(_ *spec.Engine, in *engine.Input) { in.Model += "-gone" }, kind: engine.NotStarted, want: "does not exist"},
		"a file":          {change: func(_ *spec.Engine, in *engine.Input) { in.Model += "/config.json" }, kind: engine.NotStarted, want: "is a file: transformers wants a folder"},
		"no model":        {change: func(_ *spec.Engine, in *engine.Input) { in.Model = "" }, kind: engine.NotStarted, want: "no model is named"},
		"no prompt":       {change: func(_ *spec.Engine, in *engine.Input) { in.Tokens = nil }, kind: engine.NotStarted, want: "the prompt is empty"},
		"no config":       {spoil: remove("config.json"), kind: engine.NotStarted, want: "has no config.json; the folder has model.safetensors, tokenizer.json"},
		"no weights":      {spoil: remove("model.safetensors"), kind: engine.NotStarted, want: "has neither model.safetensors nor model.safetensors.index.json; the folder has config.json"},
		"bad config":      {spoil: replace("config.json", "{", "{{"), kind: engine.NotStarted, want: "cannot load"},
		"unknown model":   {spoil: replace("config.json", `"model_type": "llama"`, `"model_type": "lama"`), kind: engine.NotStarted, want: "lama"},
		"missing weight":  {spoil: replace("model.safetensors", `"model.norm.weight"`, `"model.norm.weighx"`), kind: engine.NotStarted, want: "the files lack model.norm.weight; transformers would put random numbers there"},
		"other shape":     {spoil: replace("config.json", `"intermediate_size": 384`, `"intermediate_size": 256`), kind: engine.NotStarted, want: "llama"},
		"cut weights":     {spoil: cut, kind: engine.NotStarted, want: "cannot load"},
		"no tokenizer":    {spoil: remove("tokenizer.json", "tokenizer_config.json"), change: func(_ *spec.Engine, in *engine.Input) { in.Tokens, in.Text = nil, "hello" }, kind: engine.NotStarted, want: "has no tokenizer"},
		"foreign token":   {change: func(_ *spec.Engine, in *engine.Input) { in.Tokens = []int32{1, 264} }, kind: engine.NotStarted, want: "token id 264 is outside the model's vocabulary of 264"},
		"no such device":  {change: func(e *spec.Engine, _ *engine.Input) { e.Device = "cuda:7" }, kind: engine.NotStarted, want: "device cuda:7: torch 2.13.0+cu130 cannot use it"},
		"flash attention": {change: func(e *spec.Engine, _ *engine.Input) { e.Attention = "flash_attention_2" }, kind: engine.NotStarted, want: "FlashAttention2"},
		"too much":        {change: func(e *spec.Engine, _ *engine.Input) { e.MaxTrace = 1000 }, kind: engine.TooMuch, want: "over max_trace, 1000"},
		"timeout":         {change: func(e *spec.Engine, _ *engine.Input) { e.Timeout = 300e6 }, kind: engine.TimedOut, want: "no end after 300ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, in := torchSpec(t, "f32"), engine.Input{Model: enginetest.ZooHF(t, "llama"), Tokens: enginetest.Prompt(code)}
			if c.spoil != nil {
				c.spoil(t, in.Model)
			}
			if c.change != nil {
				c.change(&cfg, &in)
			}
			_, err := record(t, cfg, engine.Candidate, in)
			wantTorchFault(t, err, c.kind, c.want)
		})
	}
}

func wantTorchFault(t *testing.T, err error, kind engine.FailureKind, want string) {
	t.Helper()
	var e *engine.Error
	if !errors.As(err, &e) || e.Kind != kind || !strings.Contains(e.Error(), want) {
		t.Errorf("got %v, want %s: …%s…", err, kind, want)
		if e != nil {
			t.Log(e.Output)
		}
	}
}

// A Python without torch, none at all, one that is killed and one whose torch
// breaks are told apart.
func TestTransformersPython(t *testing.T) {
	script := func(body string) string {
		path := filepath.Join(t.TempDir(), "python")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "torch.py"), []byte("raise RuntimeError('the driver is gone')\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	real := enginetest.Torch(t)
	for name, c := range map[string]struct {
		python string
		env    map[string]string
		kind   engine.FailureKind
		want   string
	}{
		"none":        {"/nowhere/python3", nil, engine.NotStarted, "transformers needs a Python with torch and transformers"},
		"no torch":    {script(`exec "` + real + `" -I -S "$@"`), nil, engine.NotStarted, "cannot import torch: No module named 'torch'; install both with: "},
		"killed":      {script("kill -9 $$"), nil, engine.Crashed, "killed by SIGKILL from outside"},
		"says naught": {script("exit 0"), nil, engine.NoTrace, "left no result"},
		"broken":      {real, map[string]string{"PYTHONPATH": broken}, engine.Crashed, "exit code 1: RuntimeError: the driver is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := spec.Engine{Adapter: "transformers", Python: c.python, Env: c.env}
			_, err := record(t, cfg, engine.Candidate, engine.Input{Model: enginetest.ZooHF(t, "llama"), Tokens: []int32{1, 2}})
			wantTorchFault(t, err, c.kind, c.want)
		})
	}
}

// remoteCode is a model that only its own folder knows, whose layers are no list.
const remoteCode = `
import torch
from transformers import PretrainedConfig, PreTrainedModel
class Own(PretrainedConfig):
    model_type = "own"
    num_hidden_layers = 2
class OwnForCausalLM(PreTrainedModel):
    config_class = Own
    def __init__(self, config):
        super().__init__(config)
        self.words, self.first, self.second = torch.nn.Embedding(264, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 264)
        self.post_init()
    def get_input_embeddings(self):
        return self.words
    def forward(self, input_ids, past_key_values=None, use_cache=False):
        from transformers.modeling_outputs import CausalLMOutput
        return CausalLMOutput(logits=self.second(self.first(self.words(input_ids))))
`

// Code from the model's folder runs only where the spec trusts it, and a model
// without a list of layers is refused with the names of its modules.
func TestTransformersRemoteCode(t *testing.T) {
	dir := t.TempDir()
	config := `{"model_type": "own", "num_hidden_layers": 2, "architectures": ["OwnForCausalLM"], "dtype": "float32",
		"auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.OwnForCausalLM"}}`
	for name, text := range map[string]string{"own.py": remoteCode, "config.json": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	weights := `import sys, torch; from safetensors.torch import save_file as s
s({"words.weight": torch.ones(264, 8), "first.weight": torch.eye(8), "first.bias": torch.zeros(8), "second.weight": torch.ones(264, 8), "second.bias": torch.zeros(264)}, sys.argv[1], {"format": "pt"})`
	if out, err := exec.Command(enginetest.Torch(t), "-c", weights, filepath.Join(dir, "model.safetensors")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cfg, in := torchSpec(t, ""), engine.Input{Model: dir, Tokens: []int32{1, 2}}
	cfg.Env = map[string]string{"HF_HOME": t.TempDir()}
	_, err := record(t, cfg, engine.Candidate, in)
	wantTorchFault(t, err, engine.NotStarted, "trust_remote_code")
	cfg.TrustRemoteCode = true
	_, err = record(t, cfg, engine.Candidate, in)
	wantTorchFault(t, err, engine.NotStarted, "OwnForCausalLM: no list of 2 decoder layers was found; lists of modules: none; modules: words, first, second")
}

// Cancelling ends the script and is no fault of the engine.
func TestTransformersCancelled(t *testing.T) {
	e, err := engine.New(torchSpec(t, "f32"), engine.Options{Getenv: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300e6)
	defer cancel()
	_, err = e.Run(ctx, engine.Input{Name: "code", Model: enginetest.ZooHF(t, "llama"), Tokens: []int32{1, 2}, Dir: t.TempDir()})
	var fault *engine.Error
	if err == nil || errors.As(err, &fault) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's end", err)
	}
}
