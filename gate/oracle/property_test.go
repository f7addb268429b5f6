package oracle_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/oracle/gguf"
	"github.com/paritygate/paritygate/gate/oracle/gguf/ggufgen"
	"github.com/paritygate/paritygate/gate/trace"
)

// models are one of each architecture.
func models(t *testing.T) map[string]*oracle.Model {
	t.Helper()
	all := map[string]*oracle.Model{}
	for _, arch := range enginetest.Architectures {
		all[arch] = load(t, enginetest.Zoo(t, arch))
	}
	all["qwen3"] = load(t, random(t, "qwen3", ggufgen.Config{Width: 128, Heads: 4, KVHeads: 2, Vocab: 264}))
	return all
}

// A token changes nothing that comes before it, and everything from it on.
func TestCausality(t *testing.T) {
	tokens := enginetest.Prompt(code)[:40]
	const at = 23
	changed := slices.Clone(tokens)
	changed[at] = '~'
	for arch, m := range models(t) {
		for _, name := range []string{"f64", "llamacpp-fa-f16", "llamacpp-q8_0"} {
			o := oracle.Options{Sublayers: true, Profile: profile(t, name)}
			a, b := compute(t, m, tokens, o), compute(t, m, changed, o)
			for _, c := range a.names {
				cut := at * a.width[c]
				if !slices.Equal(a.values[c][:cut], b.values[c][:cut]) {
					t.Errorf("%s, %s: %s changes before the token", arch, name, c)
				}
				if slices.Equal(a.values[c][cut:cut+a.width[c]], b.values[c][cut:cut+a.width[c]]) {
					t.Errorf("%s, %s: %s does not change at the token", arch, name, c)
				}
			}
		}
	}
}

// Layers, their second halves and the head run alone give the whole run's bits.
func TestLayerByLayer(t *testing.T) {
	tokens, ctx := enginetest.Prompt(code), context.Background()
	for arch, m := range models(t) {
		for _, p := range oracle.Profiles() {
			whole := compute(t, m, tokens, oracle.Options{Sublayers: true, Profile: p})
			x := whole.values["embedding"]
			same := func(name string, got []float64) {
				if !slices.Equal(got, whole.values[name]) {
					t.Errorf("%s, %s: %s alone is another: rel_l2 %g", arch, p.Name, name, relL2(got, whole.values[name]))
				}
			}
			for i := range m.Layers() {
				l, err := m.Layer(ctx, i, x, p)
				if err != nil {
					t.Fatal(err)
				}
				f, err := m.FeedForward(ctx, i, l.FFNInput, p)
				if err != nil {
					t.Fatal(err)
				}
				prefix := "layer_" + string(rune('0'+i)) + "_"
				for name, got := range map[string][]float64{
					"attn_norm": l.AttnNorm, "attn_output": l.AttnOutput, "ffn_input": l.FFNInput,
					"ffn_norm": l.FFNNorm, "ffn_output": l.FFNOutput, "output": l.Output,
				} {
					same(prefix+name, got)
				}
				same(prefix+"ffn_norm", f.FFNNorm)
				same(prefix+"output", f.Output)
				x = l.Output
			}
			final, logits, err := m.Head(ctx, x, p)
			if err != nil {
				t.Fatal(err)
			}
			same("final_norm", final)
			same("logits", logits)
		}
	}
}

// Checkpoints come in forward order under canonical names, with the rows they claim.
func TestOrder(t *testing.T) {
	tokens := enginetest.Prompt("x = 1")
	for arch, m := range models(t) {
		for _, sub := range []bool{false, true} {
			c := compute(t, m, tokens, oracle.Options{Sublayers: sub})
			if !slices.IsSortedFunc(c.names, func(a, b string) int {
				if trace.Less(a, b) {
					return -1
				}
				return 1
			}) {
				t.Errorf("%s: %v", arch, c.names)
			}
			want := m.Layers() + 3
			if sub {
				want += 5 * m.Layers()
			}
			if len(c.names) != want {
				t.Errorf("%s: %d checkpoints, want %d", arch, len(c.names), want)
			}
			for _, name := range c.names {
				if len(c.values[name]) != len(tokens)*c.width[name] || trace.Canonical(name) != name {
					t.Errorf("%s: %s has %d values in rows of %d", arch, name, len(c.values[name]), c.width[name])
				}
			}
			if c.width["logits"] != m.Vocabulary() || c.width["embedding"] != m.Width() {
				t.Errorf("%s: widths %v", arch, c.width)
			}
		}
	}
}

// Each profile computes, differs from the oracle, and by no more than its formats
// can explain; float32 is nearer than 16 bits.
func TestProfiles(t *testing.T) {
	tokens := enginetest.Prompt(code)
	limits := map[string][2]float64{
		"f32": {1e-8, 2e-6}, "transformers-f32": {1e-8, 2e-6}, "llamacpp-cpu-f32": {1e-8, 5e-4},
		"f16": {1e-5, 1e-2}, "llamacpp-cpu-f16": {1e-5, 2e-3}, "llamacpp-kv-f16": {1e-5, 2e-3}, "llamacpp-fa-f16": {1e-5, 2e-3},
		"llamacpp-cuda-f16": {1e-5, 5e-3}, "transformers-f16": {1e-5, 1e-2}, "llamacpp-cpu": {1e-5, 2e-3},
		"bf16": {1e-4, 5e-2}, "transformers-bf16": {1e-4, 5e-2}, "llamacpp-cpu-bf16": {1e-4, 2e-2}, "llamacpp-kv-bf16": {1e-4, 2e-2},
		"llamacpp-q8_0": {1e-3, 5e-2}, "llamacpp-cuda-f32": {1e-5, 2e-3}, "llamacpp-cuda-bf16": {1e-4, 2e-2}, "llamacpp-cuda-q8_0": {1e-3, 5e-2},
	}
	for arch, m := range models(t) {
		exact := compute(t, m, tokens, oracle.Options{}).values["layer_3_output"]
		if exact == nil {
			continue // the random one has fewer layers
		}
		for _, p := range oracle.Profiles()[1:] {
			got := relL2(compute(t, m, tokens, oracle.Options{Profile: p}).values["layer_3_output"], exact)
			if l := limits[p.Name]; !(got >= l[0] && got <= l[1]) {
				t.Errorf("%s, %s: rel_l2 %g, want %g to %g", arch, p.Name, got, l[0], l[1])
			}
		}
	}
}

func TestProfileErrors(t *testing.T) {
	if _, err := oracle.ProfileByName("fp16"); err == nil || !strings.Contains(err.Error(), "want one of f64, f32, f16") {
		t.Errorf("unknown profile: %v", err)
	}
	p := profile(t, "f16")
	for _, c := range []struct{ field, value, want string }{
		{"kvs", "f16", "want one of single, weights"},
		{"kv", "fp16", `kv: unknown format "fp16": want one of exact, f32, tf32, f16`},
		{"kv", "by-weight", "by-weight is for inputs only"},
		{"residual", "q8_0", "residual cannot be q8_0"},
		{"gelu", "quick", "want one of tanh, erf, table"},
		{"rope", "yarn", "want one of direct, iterative, parts"},
		{"flash", "yes", "want true or false"},
		{"flash_tile", "-1", "want a number"},
	} {
		if _, err := p.With(c.field, c.value); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%s: %v, want %q in it", c.field, c.value, err, c.want)
		}
	}
	q, err := p.With("kv", "bf16")
	if err != nil || q.KV != oracle.BF16 || q.Name != "f16,kv=bf16" || p.KV != oracle.F16 {
		t.Errorf("kv=bf16: %+v, %v", q, err)
	}
}

// Both forms of GELU, and the forms of RoPE, are told apart by more than rounding.
func TestForms(t *testing.T) {
	tokens := enginetest.Prompt(code)
	for _, c := range []struct {
		arch, field, value string
		least, most        float64
	}{
		{"gpt2", "gelu", "tanh", 0, 0}, {"gpt2", "gelu", "erf", 1e-5, 1e-2}, {"gpt2", "gelu", "table", 1e-6, 1e-3},
		{"llama", "gelu", "erf", 0, 0}, {"llama", "rope", "iterative", 1e-16, 1e-12}, {"llama", "rope", "direct", 0, 0},
	} {
		m := load(t, enginetest.Zoo(t, c.arch))
		p, err := profile(t, "f64").With(c.field, c.value)
		if err != nil {
			t.Fatal(err)
		}
		got := relL2(compute(t, m, tokens, oracle.Options{Profile: p}).values["logits"], compute(t, m, tokens, oracle.Options{}).values["logits"])
		if !(got >= c.least && got <= c.most) {
			t.Errorf("%s, %s=%s: rel_l2 %g, want %g to %g", c.arch, c.field, c.value, got, c.least, c.most)
		}
	}
}

func TestRunErrors(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	m := load(t, enginetest.Zoo(t, "gpt2"))
	none := func(string, int, []float64) error { return nil }
	for _, c := range []struct {
		tokens []int32
		want   string
	}{
		{nil, "no positions"}, {[]int32{1, 264}, "token 264 at position 1: want 0 to 263"}, {[]int32{-1}, "token -1 at position 0"},
		{make([]int32, 513), "513 positions: the model has learned 512"},
	} {
		if err := m.Run(ctx, c.tokens, oracle.Options{}, none); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d tokens: %v, want %q in it", len(c.tokens), err, c.want)
		}
	}
	enough := errors.New("enough")
	if err := m.Run(ctx, []int32{1}, oracle.Options{}, func(string, int, []float64) error { return enough }); err != enough {
		t.Errorf("emit's error: %v", err)
	}
	if _, err := m.Layer(ctx, 4, make([]float64, 128), oracle.Profile{}); err == nil || !strings.Contains(err.Error(), "no layer 4: want 0 to 3") {
		t.Errorf("layer 4: %v", err)
	}
	if _, err := m.FeedForward(ctx, 0, make([]float64, 130), oracle.Profile{}); err == nil || !strings.Contains(err.Error(), "no whole rows of 128") {
		t.Errorf("130 values: %v", err)
	}
	if _, _, err := m.Head(ctx, nil, oracle.Profile{}); err == nil {
		t.Error("no rows: no error")
	}
	stop()
	if err := m.Run(ctx, []int32{1}, oracle.Options{}, none); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	odd := load(t, random(t, "llama", ggufgen.Config{Width: 72, Heads: 2, KVHeads: 2, HeadDim: 36, FeedForward: 72}))
	if err := odd.Run(context.Background(), []int32{1}, oracle.Options{Profile: profile(t, "llamacpp-q8_0")}, none); err == nil || !strings.Contains(err.Error(), "no multiple of q8_0's blocks of 32") {
		t.Errorf("rows of 72 in blocks of 32: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Run(context.Background(), []int32{1}, oracle.Options{}, none); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a closed model: %v", err)
	}
}

// A run allocates, all in all, less than one layer's weights in float64: they are
// dequantised a block at a time.
func TestMemory(t *testing.T) {
	path := random(t, "llama", ggufgen.Config{Layers: 3, Width: 512, Heads: 8, FeedForward: 2048, Vocab: 4096, Type: gguf.F16})
	m := load(t, path)
	const layer = 8 * (3*512*2048 + 4*512*512)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	compute(t, m, []int32{1, 2, 3, 4, 5, 6, 7, 8}, oracle.Options{Sublayers: true})
	runtime.ReadMemStats(&after)
	// A core more has one more block.
	most := uint64(layer/2 + 2<<20*runtime.GOMAXPROCS(0))
	if got := after.TotalAlloc - before.TotalAlloc; got > most {
		t.Errorf("%d bytes allocated, a layer in float64 has %d", got, layer)
	} else {
		t.Logf("%d bytes allocated, a layer in float64 has %d", got, layer)
	}
}

// Runs side by side do not disturb one another.
func TestConcurrentRuns(t *testing.T) {
	m := load(t, enginetest.Zoo(t, "llama"))
	tokens := enginetest.Prompt(code)
	want := compute(t, m, tokens, oracle.Options{}).values["logits"]
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			err := m.Run(context.Background(), tokens, oracle.Options{}, func(name string, _ int, v []float64) error {
				if name == "logits" && !slices.Equal(v, want) {
					return errors.New("other logits")
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
