package enginetest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/paritygate/paritygate/gate/oracle/gguf"
)

// Random is a llama of that many layers with random f16 weights and no
// tokenizer: 8192 token ids, heads of 64. It computes nothing of use, but takes
// the time of a model of its size.
func Random(width, layers int) *GGUF {
	const vocab = 8192
	r := rand.New(rand.NewPCG(1, 2))
	ffn := (width*8/3 + 255) / 256 * 256
	heads := width / 64
	g := &GGUF{KV: []gguf.KeyValue{
		{Key: "general.architecture", Value: "llama"}, {Key: "llama.context_length", Value: uint32(4096)}, {Key: "llama.embedding_length", Value: uint32(width)},
		{Key: "llama.block_count", Value: uint32(layers)}, {Key: "llama.feed_forward_length", Value: uint32(ffn)}, {Key: "llama.attention.head_count", Value: uint32(heads)},
		{Key: "llama.attention.head_count_kv", Value: uint32(max(1, heads/4))}, {Key: "llama.attention.layer_norm_rms_epsilon", Value: float32(1e-5)},
		{Key: "llama.rope.dimension_count", Value: uint32(64)}, {Key: "llama.rope.freq_base", Value: float32(10000)}, {Key: "llama.vocab_size", Value: uint32(vocab)},
		{Key: "tokenizer.ggml.model", Value: "no_vocab"},
	}}
	matrix := func(name string, rows, columns int, scale float64) {
		g.Tensors = append(g.Tensors, &Tensor{name, []int{columns, rows}, F16, noise(r, rows*columns, scale/math.Sqrt(float64(columns)))})
	}
	norm := func(name string) {
		data := make([]byte, 0, 4*width)
		for range width {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(1))
		}
		g.Tensors = append(g.Tensors, &Tensor{name, []int{width}, F32, data})
	}
	matrix("token_embd.weight", vocab, width, math.Sqrt(float64(width)))
	for i := range layers {
		b := fmt.Sprintf("blk.%d.", i)
		norm(b + "attn_norm.weight")
		matrix(b+"attn_q.weight", width, width, 1)
		matrix(b+"attn_k.weight", max(1, heads/4)*64, width, 1)
		matrix(b+"attn_v.weight", max(1, heads/4)*64, width, 1)
		matrix(b+"attn_output.weight", width, width, .5)
		norm(b + "ffn_norm.weight")
		matrix(b+"ffn_gate.weight", ffn, width, 1)
		matrix(b+"ffn_up.weight", ffn, width, 1)
		matrix(b+"ffn_down.weight", width, ffn, .5)
	}
	norm("output_norm.weight")
	matrix("output.weight", vocab, width, 1)
	return g
}

// noise is n f16 values of that deviation, drawn from a table: a generator's
// full care would take longer than the model's run.
func noise(r *rand.Rand, n int, deviation float64) []byte {
	var values [4096]float32
	for i := range values {
		values[i] = float32(r.NormFloat64() * deviation)
	}
	table := make([]byte, 2*len(values))
	if err := gguf.Quantize(F16, table, values[:]); err != nil {
		panic(err) // the sizes fit
	}
	out := make([]byte, 2*n)
	for i := 0; i < n; i += 4 {
		bits := r.Uint64()
		for k := i; k < min(n, i+4); k++ {
			copy(out[2*k:2*k+2], table[2*(bits&4095):])
			bits >>= 16
		}
	}
	return out
}
