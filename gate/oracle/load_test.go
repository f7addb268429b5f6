package oracle_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/oracle/gguf"
	"github.com/paritygate/paritygate/gate/oracle/gguf/ggufgen"
)

// edited is a random model of the architecture, changed before it is written.
func edited(t *testing.T, arch string, change func(d *gguf.Description)) error {
	t.Helper()
	d, err := ggufgen.RandomModel(arch, ggufgen.Config{Width: 64, Heads: 4, KVHeads: 4, Layers: 2}, 1)
	if err != nil {
		t.Fatal(err)
	}
	change(d)
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := gguf.Write(path, d); err != nil {
		t.Fatal(err)
	}
	m, err := oracle.Load(path)
	if err == nil {
		m.Close()
	}
	return err
}

func set(key string, value any) func(*gguf.Description) {
	return func(d *gguf.Description) { d.Set(key, value) }
}

func without(key string) func(*gguf.Description) {
	return func(d *gguf.Description) {
		d.Metadata = slices.DeleteFunc(d.Metadata, func(kv gguf.KeyValue) bool { return kv.Key == key })
	}
}

func withoutTensor(name string) func(*gguf.Description) {
	return func(d *gguf.Description) {
		d.Tensors = slices.DeleteFunc(d.Tensors, func(t gguf.TensorData) bool { return t.Name == name })
	}
}

func extra(name string, shape ...int) func(*gguf.Description) {
	return func(d *gguf.Description) {
		d.Tensors = append(d.Tensors, gguf.TensorData{Name: name, Type: gguf.F32, Shape: shape, Rows: func(_, _ int, dst []float32) error { return nil }})
	}
}

// Metadata and tensors that do not fit give one error that names the culprit.
func TestLoadErrors(t *testing.T) {
	for _, c := range []struct {
		name, arch string
		change     func(*gguf.Description)
		want       string
	}{
		{"another architecture", "llama", set("general.architecture", "mamba"), `architecture "mamba" is not known: want one of gpt2, granite, llama, phi3, qwen2, qwen3`},
		{"no architecture", "llama", without("general.architecture"), "general.architecture"},
		{"no layers key", "llama", without("llama.block_count"), "llama.block_count"},
		{"no layers", "llama", set("llama.block_count", uint32(0)), "llama.block_count is 0: want 1 to"},
		{"layers beyond tensors", "llama", set("llama.block_count", uint32(4e9)), "llama.block_count is 4000000000"},
		{"more layers than tensors", "llama", set("llama.block_count", uint32(1000)), "llama.block_count is 1000, but the file has only"},
		{"one layer too many", "llama", set("llama.block_count", uint32(3)), "blk.2."},
		{"one layer too few", "llama", set("llama.block_count", uint32(1)), `tensor "blk.1.`},
		{"layers as text", "llama", set("llama.block_count", "two"), "llama.block_count"},
		{"no width", "llama", set("llama.embedding_length", uint32(0)), "llama.embedding_length is 0"},
		{"another width", "llama", set("llama.embedding_length", uint32(128)), "token_embd.weight"},
		{"no heads", "llama", set("llama.attention.head_count", uint32(0)), "llama.attention.head_count is 0"},
		{"absurd heads", "llama", set("llama.attention.head_count", uint32(1<<28)), "llama.attention.head_count"},
		{"heads of each layer", "llama", set("llama.attention.head_count", []uint32{4, 4}), "llama.attention.head_count"},
		{"keys' heads", "llama", set("llama.attention.head_count_kv", uint32(3)), "llama.attention.head_count 4 is no multiple of llama.attention.head_count_kv 3"},
		{"no keys' heads", "llama", set("llama.attention.head_count_kv", uint32(0)), "llama.attention.head_count_kv is 0"},
		{"negative heads", "llama", set("llama.attention.head_count", int32(-4)), "llama.attention.head_count"},
		{"absurd head width", "qwen3", set("qwen3.attention.key_length", uint64(math.MaxUint64)), "qwen3.attention.key_length is 18446744073709551615"},
		{"wide heads", "qwen3", func(d *gguf.Description) {
			d.Set("qwen3.attention.key_length", uint32(1<<28))
			d.Set("qwen3.attention.value_length", uint32(1<<28))
		}, "blk.0."},
		{"other values", "qwen3", set("qwen3.attention.value_length", uint32(8)), "qwen3.attention.value_length 8"},
		{"no epsilon", "llama", without("llama.attention.layer_norm_rms_epsilon"), "llama.attention.layer_norm_rms_epsilon"},
		{"epsilon NaN", "llama", set("llama.attention.layer_norm_rms_epsilon", float32(math.NaN())), "llama.attention.layer_norm_rms_epsilon is NaN: want 0 to 1"},
		{"odd rotation", "llama", set("llama.rope.dimension_count", uint32(7)), "llama.rope.dimension_count is 7: want an even number up to the head's 16"},
		{"wide rotation", "llama", set("llama.rope.dimension_count", uint32(32)), "llama.rope.dimension_count is 32"},
		{"base of nothing", "llama", set("llama.rope.freq_base", float32(0)), "llama.rope.freq_base is 0"},
		{"yarn", "llama", set("llama.rope.scaling.type", "yarn"), `llama.rope.scaling.type is "yarn": want none or linear`},
		{"linear by 0", "llama", func(d *gguf.Description) {
			d.Set("llama.rope.scaling.type", "linear")
			d.Set("llama.rope.scaling.factor", float32(0))
		}, "llama.rope.scaling.factor is 0"},
		{"all see all", "llama", set("llama.attention.causal", false), "llama.attention.causal is false"},
		{"experts", "llama", set("llama.expert_count", uint32(8)), "llama.expert_count is 8: mixtures of experts"},
		{"long RoPE", "phi3", extra("rope_factors_long.weight", 8), "rope_factors_long.weight: long RoPE"},
		{"other RoPE factors", "llama", extra("rope_freqs.weight", 9), "rope_freqs.weight"},
		{"no logit scale", "granite", set("granite.logit_scale", float32(0)), "granite.logit_scale is 0: want a finite number other than 0"},
		{"infinite scale", "granite", set("granite.embedding_scale", float32(math.Inf(1))), "granite.embedding_scale is +Inf"},
		{"no positions", "gpt2", withoutTensor("position_embd.weight"), "position_embd.weight"},
		{"other positions", "gpt2", set("gpt2.context_length", uint32(9)), "position_embd.weight"},
		{"no embedding", "llama", withoutTensor("token_embd.weight"), "token_embd.weight"},
		{"a missing matrix", "llama", withoutTensor("blk.1.ffn_up.weight"), "blk.1.ffn_up.weight"},
		{"a missing bias", "qwen2", withoutTensor("blk.0.attn_k.bias"), "blk.0.attn_k.bias"},
		{"a missing norm", "qwen3", withoutTensor("blk.1.attn_q_norm.weight"), "blk.1.attn_q_norm.weight"},
		{"a bias too many", "qwen3", extra("blk.0.attn_q.bias", 64), `tensor "blk.0.attn_q.bias" is no part of qwen3`},
		{"sinks", "llama", extra("blk.0.attn_sinks.weight", 4), `tensor "blk.0.attn_sinks.weight" is no part of llama`},
		{"another shape", "llama", func(d *gguf.Description) { d.Tensor("blk.0.attn_q.weight").Shape = []int{32, 128} }, "blk.0.attn_q.weight"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := edited(t, c.arch, c.change)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("%v, want %q in it", err, c.want)
			}
			if err != nil && !strings.Contains(err.Error(), "m.gguf") {
				t.Errorf("%v: which file?", err)
			}
		})
	}
}

// Optional keys take the values that llama.cpp gives them.
func TestDefaults(t *testing.T) {
	for _, c := range []struct {
		name, arch string
		change     func(*gguf.Description)
	}{
		{"as written", "llama", func(*gguf.Description) {}},
		{"keys have all heads", "llama", without("llama.attention.head_count_kv")},
		{"all of a head is rotated", "llama", without("llama.rope.dimension_count")},
		{"no context length", "llama", without("llama.context_length")},
		{"residual multiplier of 1", "granite", without("granite.residual_scale")},
	} {
		if err := edited(t, c.arch, c.change); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// A file cut anywhere, or of another kind, is an error.
func TestLoadTruncated(t *testing.T) {
	whole, err := os.ReadFile(random(t, "llama", ggufgen.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 3, 24, 200, len(whole) / 2, len(whole) - 40} {
		path := filepath.Join(t.TempDir(), "m.gguf")
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := oracle.Load(path); err == nil {
			m.Close()
			t.Errorf("%d of %d bytes load", n, len(whole))
		}
	}
	if _, err := oracle.Load(filepath.Join(t.TempDir(), "none.gguf")); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}

// A linear RoPE scale counts, but for a factor of 1.
func TestLinearScale(t *testing.T) {
	write := func(change func(*gguf.Description)) *oracle.Model {
		d, err := ggufgen.RandomModel("qwen2", ggufgen.Config{}, 5)
		if err != nil {
			t.Fatal(err)
		}
		change(d)
		path := filepath.Join(t.TempDir(), "m.gguf")
		if err := gguf.Write(path, d); err != nil {
			t.Fatal(err)
		}
		return load(t, path)
	}
	tokens := []int32{5, 6, 7, 8, 9}
	plain := compute(t, write(func(*gguf.Description) {}), tokens, oracle.Options{}).values["logits"]
	for factor, same := range map[float32]bool{1: true, 2: false} {
		scaled := compute(t, write(func(d *gguf.Description) {
			d.Set("qwen2.rope.scaling.type", "linear")
			d.Set("qwen2.rope.scaling.factor", factor)
		}), tokens, oracle.Options{}).values["logits"]
		if got := relL2(scaled, plain); got == 0 != same {
			t.Errorf("factor %v: rel_l2 %g", factor, got)
		}
	}
}

// Granite without a scale of its own has 1/√d.
func TestGraniteScale(t *testing.T) {
	tokens := []int32{5, 6, 7, 8, 9}
	var logits [2][]float64
	for i, change := range []func(*gguf.Description){without("granite.attention.scale"), set("granite.attention.scale", float32(0.25))} {
		d, err := ggufgen.RandomModel("granite", ggufgen.Config{Width: 64, Heads: 4}, 1)
		if err != nil {
			t.Fatal(err)
		}
		change(d)
		path := filepath.Join(t.TempDir(), "m.gguf")
		if err := gguf.Write(path, d); err != nil {
			t.Fatal(err)
		}
		logits[i] = compute(t, load(t, path), tokens, oracle.Options{}).values["logits"]
	}
	if !slices.Equal(logits[0], logits[1]) {
		t.Errorf("heads of 16: the scale is not 1/4: rel_l2 %g", relL2(logits[0], logits[1]))
	}
}

func TestDescribe(t *testing.T) {
	m := load(t, enginetest.Zoo(t, "llama"))
	const want = "llama, 4 layers of 128, 4 heads of 32 (2 for keys and values), feed-forward 384, 264 token ids, weights in F16"
	if got := m.Describe(); got != want || m.Layers() != 4 || m.Width() != 128 || m.Context() != 512 || m.Architecture() != "llama" {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := fmt.Sprint(oracle.Architectures()); got != "[gpt2 granite llama phi3 qwen2 qwen3]" {
		t.Error(got)
	}
}
