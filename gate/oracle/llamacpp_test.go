package oracle_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/oracle/gguf"
	"github.com/paritygate/paritygate/gate/oracle/gguf/ggufgen"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

const code = "class Reader(object):\n    def __init__(self, stream):\n        self.stream = stream\n"

// llamaRun is a way to run the real llama.cpp, and the profile that emulates it.
type llamaRun struct {
	name    string
	profile string
	strict  bool
	weights enginetest.GGUFType
	change  func(*spec.Engine)
	// positions of the prompt that are run; 0 is all.
	positions int
}

var llamaRuns = []llamaRun{
	{name: "f32", profile: "llamacpp-cpu-f32", strict: true, weights: enginetest.F32},
	{name: "f16", profile: "llamacpp-cpu-f16", weights: enginetest.F16, change: cache("f32", "off")},
	{name: "f16, KV f16", profile: "llamacpp-kv-f16", weights: enginetest.F16, change: cache("f16", "off")},
	{name: "f16, KV bf16", profile: "llamacpp-kv-bf16", weights: enginetest.F16, change: cache("bf16", "off")},
	{name: "f16, KV f16, flash", profile: "llamacpp-fa-f16", weights: enginetest.F16, change: cache("f16", "on")},
	{name: "f16, KV f16, flash, 25 positions", profile: "llamacpp-fa-f16", weights: enginetest.F16, change: cache("f16", "on"), positions: 25},
	{name: "bf16", profile: "llamacpp-cpu-bf16", weights: enginetest.BF16, change: cache("f32", "off")},
	{name: "q8_0", profile: "llamacpp-q8_0", weights: enginetest.Q8_0, change: cache("f32", "off")},
}

func cache(kv, flash string) func(*spec.Engine) {
	return func(c *spec.Engine) { c.KVType, c.FlashAttention = kv, flash }
}

// llama runs the real llama.cpp on model and returns its trace.
func llama(t *testing.T, r llamaRun, model string, tokens []int32) *trace.Trace {
	t.Helper()
	in, none, off := enginetest.LlamaCpp(t), 0, false
	cfg := spec.Engine{Adapter: "llamacpp", Library: in.Library, Headers: in.Headers, GPULayers: &none, Sublayers: true, ProveCapture: &off}
	role := engine.Candidate
	if r.strict {
		role = engine.Reference
	}
	if r.change != nil {
		r.change(&cfg)
	}
	e, err := engine.New(cfg, engine.Options{Role: role, Getenv: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := e.Run(context.Background(), engine.Input{Name: "code", Model: model, Tokens: tokens, Dir: t.TempDir()})
	if err != nil {
		var fault *engine.Error
		if errors.As(err, &fault) {
			t.Log(fault.Output)
		}
		t.Fatal(err)
	}
	return openTrace(t, rec.TracePath)
}

func profile(t testing.TB, name string) oracle.Profile {
	t.Helper()
	p, err := oracle.ProfileByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What the emulated profile adds to the float64 oracle's result is about what the
// real engine adds, at every checkpoint. Where both compute the same bits, the
// embedding of some, there is nothing to compare.
func TestFloors(t *testing.T) {
	for _, r := range llamaRuns {
		tokens := enginetest.Prompt(code)
		if r.positions > 0 {
			tokens = tokens[:r.positions]
		}
		table := fmt.Sprintf("%s as %s\n", r.name, r.profile)
		for _, arch := range enginetest.Architectures {
			path := enginetest.Edit(t, arch, filepath.Join(t.TempDir(), "m.gguf"), enginetest.Convert(r.weights))
			m := load(t, path)
			exact := compute(t, m, tokens, oracle.Options{Sublayers: true})
			emulated := compute(t, m, tokens, oracle.Options{Sublayers: true, Profile: profile(t, r.profile)})
			table += arch + compare(t, r.name+", "+arch, llama(t, r, path, tokens), exact, emulated)
		}
		t.Log(table)
	}
}

// compare is a line of figures about an engine's trace: where the ratio of its
// error to the emulated error is least and most, and both errors at the logits.
func compare(t *testing.T, what string, tr *trace.Trace, exact, emulated *checkpoints) string {
	t.Helper()
	least, most, same, n := math.Inf(1), 0.0, 0, 0
	var leastAt, mostAt string
	var measured, floor float64
	for _, c := range tr.Checkpoints {
		got, ok := rowsOf(t, c), exact.values[c.Name] != nil
		if !ok {
			t.Errorf("%s: %s is not computed", what, c.Name)
			continue
		}
		n++
		measured, floor = relL2(got, exact.values[c.Name]), relL2(emulated.values[c.Name], exact.values[c.Name])
		if measured == 0 && floor == 0 {
			same++
			continue
		}
		ratio := measured / floor
		if ratio < least {
			least, leastAt = ratio, c.Name
		}
		if ratio > most {
			most, mostAt = ratio, c.Name
		}
		if !(ratio >= 0.33 && ratio <= 3) {
			t.Errorf("%s: %s: measured %.2e, emulated %.2e: ratio %.2f", what, c.Name, measured, floor, ratio)
		}
	}
	// llama.cpp gives phi3's ffn_input no name.
	if n < len(exact.names)-4 {
		t.Errorf("%s: %d checkpoints, want %d or all but 4", what, n, len(exact.names))
	}
	return fmt.Sprintf("\t%d checkpoints, %d bit-equal\tratio %.2f (%s) to %.2f (%s)\tlogits: measured %.1e, emulated %.1e\n",
		n, same, least, leastAt, most, mostAt, measured, floor)
}

// The strict engine with weights in F32 computes what the oracle does; gpt2 but
// for ggml's f16 table of GELU, which the oracle can look up, too.
func TestStrict(t *testing.T) {
	tokens := enginetest.Prompt(code)
	for _, arch := range enginetest.Architectures {
		path := enginetest.Edit(t, arch, filepath.Join(t.TempDir(), "m.gguf"), enginetest.Widen)
		strict(t, arch, path, tokens)
	}
}

func strict(t *testing.T, what, path string, tokens []int32) {
	t.Helper()
	m := load(t, path)
	tr := llama(t, llamaRuns[0], path, tokens)
	plain := largest(t, tr, compute(t, m, tokens, oracle.Options{Sublayers: true}))
	if m.Architecture() != "gpt2" {
		t.Logf("%s: rel_l2 at most %.1e", what, plain)
		if !(plain <= 5e-6) {
			t.Errorf("%s: rel_l2 %g", what, plain)
		}
		return
	}
	p, err := profile(t, "f64").With("gelu", "table")
	if err != nil {
		t.Fatal(err)
	}
	table := largest(t, tr, compute(t, m, tokens, oracle.Options{Sublayers: true, Profile: p}))
	t.Logf("%s: rel_l2 at most %.1e, %.1e with the f16 table of GELU", what, plain, table)
	if !(table <= plain/3) {
		t.Errorf("%s: rel_l2 %g, with the table %g", what, plain, table)
	}
}

// largest is the largest rel_l2 of a trace's checkpoints.
func largest(t *testing.T, tr *trace.Trace, want *checkpoints) float64 {
	t.Helper()
	worst := 0.0
	for _, c := range tr.Checkpoints {
		if d := relL2(rowsOf(t, c), want.values[c.Name]); !(d <= worst) {
			worst = d
		}
	}
	return worst
}

// Random models of every architecture, in the forms that the zoo lacks: Llama 3's
// RoPE factors, heads that are not width/heads wide, output matrices of the other
// kind, one head for all keys.
func TestStrictRandom(t *testing.T) {
	tokens := make([]int32, 40)
	for i := range tokens {
		tokens[i] = int32(i*i%61 + 1)
	}
	for _, c := range []struct {
		arch   string
		config ggufgen.Config
		set    map[string]any
	}{
		{"llama", ggufgen.Config{Width: 128, Heads: 4, KVHeads: 1, HeadDim: 48, RopeFactors: true, Output: ggufgen.OutputTied}, nil},
		{"qwen2", ggufgen.Config{Width: 128, Heads: 4, KVHeads: 2, Output: ggufgen.OutputSeparate}, nil},
		{"qwen3", ggufgen.Config{Width: 128, Heads: 4, KVHeads: 2, HeadDim: 64}, nil},
		{"phi3", ggufgen.Config{Width: 128, Heads: 4, KVHeads: 2}, map[string]any{"phi3.rope.dimension_count": uint32(24)}},
		{"qwen2", ggufgen.Config{}, map[string]any{"qwen2.rope.scaling.type": "linear", "qwen2.rope.scaling.factor": float32(4)}},
		{"granite", ggufgen.Config{}, map[string]any{"granite.rope.scaling.finetuned": false}},
		{"granite", ggufgen.Config{Width: 128, Heads: 4, KVHeads: 2}, nil},
		{"gpt2", ggufgen.Config{Width: 128, Heads: 4, Output: ggufgen.OutputSeparate}, nil},
	} {
		strict(t, "random "+c.arch, random(t, c.arch, c.config, c.set), tokens)
	}
}

// random writes a random model, some of its metadata set, and returns its path.
func random(t testing.TB, arch string, c ggufgen.Config, sets ...map[string]any) string {
	t.Helper()
	d, err := ggufgen.RandomModel(arch, c, 7)
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range sets {
		for key, value := range set {
			d.Set(key, value)
		}
	}
	path := filepath.Join(t.TempDir(), arch+".gguf")
	if err := gguf.Write(path, d); err != nil {
		t.Fatal(err)
	}
	return path
}
