package ggufgen

import (
	"fmt"
	"math"

	"github.com/paritygate/paritygate/gate/oracle/gguf"
)

var architectures = map[string]architecture{
	"llama":   {build: llama, anyHead: true},
	"qwen2":   {build: qwen2, tied: true},
	"qwen3":   {build: qwen3, tied: true, anyHead: true},
	"phi3":    {build: phi3},
	"granite": {build: granite},
	"gpt2":    {build: gpt2, tied: true, noGrouped: true, noRope: true},
}

// Standard deviations that give activations and logits of the size that trained
// models have: a matrix of gain g maps a vector of unit RMS to one of RMS g.
const (
	gainQK     = 1.5 // attention scores of about 2
	gainV      = 1.0
	gainOut    = 2.0 // attention averages, which takes away about half
	gainGate   = 1.0
	gainDown   = 3.0 // of a SiLU's or GELU's output times a gate's
	gainLogits = 3.0
	tiedScale  = 2.0 // of tied embeddings, times 1/√Width: logits of about 2
	normSpread = 0.1
	biasSpread = 0.2
)

// granite's four multipliers.
const (
	embeddingScale = 12
	residualScale  = 0.22
	logitScale     = 8 // logits are divided by it
)

// builder collects a model's metadata and tensors.
type builder struct {
	Config
	arch string
	seed uint64
	out  *gguf.Description

	stream   float64 // RMS of the embedding as it enters the first layer
	residual float64 // gain of what a block adds to it
	logits   float64 // gain of the output matrix
}

func newBuilder(arch string, c Config, seed uint64) *builder {
	b := &builder{Config: c, arch: arch, seed: seed, out: &gguf.Description{}, stream: 1, logits: gainLogits}
	if c.Output == OutputTied {
		b.stream = tiedScale / math.Sqrt(float64(c.Width))
	}
	b.residual = b.stream / math.Sqrt(2*float64(c.Layers))
	return b
}

func (b *builder) set(key string, value any) { b.out.Set(key, value) }

// own sets a key of the architecture.
func (b *builder) own(key string, value any) { b.set(b.arch+"."+key, value) }

func (b *builder) count(key string, n int) { b.own(key, uint32(n)) }

// common sets the metadata that all architectures have. The name must not hold
// an architecture's: llama.cpp looks for "phi3" in it.
func (b *builder) common(a architecture) {
	b.set("general.architecture", b.arch)
	b.set("general.name", fmt.Sprintf("random, seed %d", b.seed))
	b.count("context_length", b.Context)
	b.count("embedding_length", b.Width)
	b.count("block_count", b.Layers)
	b.count("feed_forward_length", b.FeedForward)
	b.count("attention.head_count", b.Heads)
	b.count("attention.head_count_kv", b.KVHeads)
	b.count("vocab_size", b.Vocab)
	if b.HeadDim*b.Heads != b.Width || b.arch == "qwen3" {
		b.count("attention.key_length", b.HeadDim)
		b.count("attention.value_length", b.HeadDim)
	}
	if a.noRope {
		b.own("attention.layer_norm_epsilon", float32(b.Epsilon))
	} else {
		b.own("attention.layer_norm_rms_epsilon", float32(b.Epsilon))
		b.count("rope.dimension_count", b.HeadDim)
		b.own("rope.freq_base", float32(b.RopeBase))
	}
	b.set("tokenizer.ggml.model", "no_vocab")
}

func (b *builder) tensor(name string, t gguf.Type, mean, deviation float64, shape ...int) {
	b.out.Tensors = append(b.out.Tensors, random(b.seed, name, t, mean, deviation, shape...))
}

// matrix maps in elements to out, with the given gain.
func (b *builder) matrix(name string, in, out int, gain float64) {
	b.tensor(name+".weight", b.Type, 0, gain/math.Sqrt(float64(in)), in, out)
}

func (b *builder) norm(name string, width int) {
	b.tensor(name+".weight", gguf.F32, 1, normSpread, width)
}

func (b *builder) bias(name string, width int) {
	b.tensor(name+".bias", gguf.F32, 0, biasSpread, width)
}

// embedding adds the token embedding; scale is what the model multiplies it by.
func (b *builder) embedding(scale float64) {
	b.tensor("token_embd.weight", b.Type, 0, b.stream/scale, b.Width, b.Vocab)
}

// head adds the last norm and the output matrix.
func (b *builder) head() {
	b.norm("output_norm", b.Width)
	if b.Output == OutputSeparate {
		b.matrix("output", b.Width, b.Vocab, b.logits)
	}
}

// attention adds separate projections; each is told of each of q, k and v.
func (b *builder) attention(blk string, gain float64, each func(name string, width int)) {
	for _, p := range []struct {
		name  string
		heads int
		gain  float64
	}{{"q", b.Heads, gain}, {"k", b.KVHeads, gain}, {"v", b.KVHeads, gainV}} {
		b.matrix(blk+"attn_"+p.name, b.Width, p.heads*b.HeadDim, p.gain)
		if each != nil {
			each(blk+"attn_"+p.name, p.heads*b.HeadDim)
		}
	}
	b.matrix(blk+"attn_output", b.Heads*b.HeadDim, b.Width, gainOut*b.residual)
}

// feedForward adds the gated feed-forward of llama and its relatives.
func (b *builder) feedForward(blk string) {
	b.matrix(blk+"ffn_gate", b.Width, b.FeedForward, gainGate)
	b.matrix(blk+"ffn_up", b.Width, b.FeedForward, gainGate)
	b.matrix(blk+"ffn_down", b.FeedForward, b.Width, gainDown*b.residual)
}

// layers calls layer with each block's prefix, its two norms being added.
func (b *builder) layers(layer func(blk string)) {
	for i := range b.Layers {
		blk := fmt.Sprintf("blk.%d.", i)
		b.norm(blk+"attn_norm", b.Width)
		b.norm(blk+"ffn_norm", b.Width)
		layer(blk)
	}
}

func llama(b *builder) {
	b.embedding(1)
	if b.RopeFactors {
		factors := llama3Factors(b.HeadDim, b.RopeBase, float64(b.Context))
		b.out.Tensors = append(b.out.Tensors, gguf.TensorData{Name: "rope_freqs.weight", Type: gguf.F32, Shape: []int{len(factors)},
			Rows: func(_, _ int, dst []float32) error { copy(dst, factors); return nil }})
	}
	b.layers(func(blk string) {
		b.attention(blk, gainQK, nil)
		b.feedForward(blk)
	})
	b.head()
}

// llama3Factors divide RoPE's frequencies as Llama 3.1 does: by 8 where the
// wavelength is longer than the original context, by 1 where it is shorter than
// a quarter of it, and by what lies between elsewhere.
func llama3Factors(headDim int, base, context float64) []float32 {
	const factor, low, high = 8, 1, 4
	factors := make([]float32, headDim/2)
	for i := range factors {
		wavelength := 2 * math.Pi * math.Pow(base, float64(2*i)/float64(headDim))
		switch {
		case wavelength < context/high:
			factors[i] = 1
		case wavelength > context/low:
			factors[i] = factor
		default:
			smooth := (context/wavelength - low) / (high - low)
			factors[i] = float32(1 / ((1-smooth)/factor + smooth))
		}
	}
	return factors
}

func qwen2(b *builder) {
	b.embedding(1)
	b.layers(func(blk string) {
		b.attention(blk, gainQK, b.bias)
		b.feedForward(blk)
	})
	b.head()
}

func qwen3(b *builder) {
	b.embedding(1)
	b.layers(func(blk string) {
		b.attention(blk, gainQK, nil)
		for _, n := range []string{"attn_q_norm", "attn_k_norm"} { // per head; the norm takes the gain away
			b.tensor(blk+n+".weight", gguf.F32, gainQK, normSpread, b.HeadDim)
		}
		b.feedForward(blk)
	})
	b.head()
}

func phi3(b *builder) {
	b.count("rope.scaling.original_context_length", b.Context)
	b.embedding(1)
	b.layers(func(blk string) {
		b.matrix(blk+"attn_qkv", b.Width, (b.Heads+2*b.KVHeads)*b.HeadDim, gainQK)
		b.matrix(blk+"attn_output", b.Width, b.Width, gainOut/gainQK*b.residual)
		b.matrix(blk+"ffn_up", b.Width, 2*b.FeedForward, gainGate) // gate and up in one
		b.matrix(blk+"ffn_down", b.FeedForward, b.Width, gainDown*b.residual)
	})
	b.head()
}

func granite(b *builder) {
	scale := 1 / float64(b.HeadDim)
	b.own("embedding_scale", float32(embeddingScale))
	b.own("residual_scale", float32(residualScale))
	b.own("attention.scale", float32(scale))
	b.own("logit_scale", float32(logitScale))
	b.residual /= residualScale
	if b.Output == OutputTied { // the embedding meets both multipliers
		b.stream *= embeddingScale * logitScale
		b.residual *= embeddingScale * logitScale
	}
	b.logits *= logitScale
	b.embedding(embeddingScale)
	// Scores are divided by HeadDim instead of its root: gains make up for it.
	gain := gainQK * math.Pow(float64(b.HeadDim), 0.25)
	b.layers(func(blk string) {
		b.attention(blk, gain, nil)
		b.feedForward(blk)
	})
	b.head()
}

func gpt2(b *builder) {
	b.embedding(1)
	b.tensor("position_embd.weight", gguf.F32, 0, 0.3*b.stream, b.Width, b.Context)
	b.layers(func(blk string) {
		b.bias(blk+"attn_norm", b.Width)
		b.bias(blk+"ffn_norm", b.Width)
		b.matrix(blk+"attn_qkv", b.Width, 3*b.Width, gainQK)
		b.bias(blk+"attn_qkv", 3*b.Width)
		b.matrix(blk+"attn_output", b.Width, b.Width, gainOut/gainQK*b.residual)
		b.tensor(blk+"attn_output.bias", gguf.F32, 0, biasSpread*b.residual, b.Width)
		b.matrix(blk+"ffn_up", b.Width, b.FeedForward, gainGate)
		b.bias(blk+"ffn_up", b.FeedForward)
		b.matrix(blk+"ffn_down", b.FeedForward, b.Width, gainDown*b.residual)
		b.tensor(blk+"ffn_down.bias", gguf.F32, 0, biasSpread*b.residual, b.Width)
	})
	b.head()
	b.bias("output_norm", b.Width)
}
