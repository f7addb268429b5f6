package enginetest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
)

// Random is a llama of that many layers with random f16 weights and no
// tokenizer: 8192 token ids, heads of 64. It computes nothing of use, but takes
// the time of a model of its size.
func Random(width, layers int) *GGUF {
	const vocab = 8192
	r := rand.New(rand.NewPCG(1, 2))
	ffn := (width*8/3 + 255) / 256 * 256
	heads := width / 64
	g := &GGUF{Version: 3, KV: []KV{
		{"general.architecture", "llama"}, {"llama.context_length", uint32(4096)}, {"llama.embedding_length", uint32(width)},
		{"llama.block_count", uint32(layers)}, {"llama.feed_forward_length", uint32(ffn)}, {"llama.attention.head_count", uint32(heads)},
		{"llama.attention.head_count_kv", uint32(max(1, heads/4))}, {"llama.attention.layer_norm_rms_epsilon", float32(1e-5)},
		{"llama.rope.dimension_count", uint32(64)}, {"llama.rope.freq_base", float32(10000)}, {"llama.vocab_size", uint32(vocab)},
		{"tokenizer.ggml.model", "no_vocab"},
	}}
	matrix := func(name string, rows, columns int, scale float64) {
		g.Tensors = append(g.Tensors, &Tensor{name, []uint64{uint64(columns), uint64(rows)}, F16, noise(r, rows*columns, scale/math.Sqrt(float64(columns)))})
	}
	norm := func(name string) {
		data := make([]byte, 0, 4*width)
		for range width {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(1))
		}
		g.Tensors = append(g.Tensors, &Tensor{name, []uint64{uint64(width)}, F32, data})
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
	var table [4096]uint16
	for i := range table {
		table[i] = toF16(float32(r.NormFloat64() * deviation))
	}
	out := make([]byte, 2*n)
	for i := 0; i < n; i += 4 {
		bits := r.Uint64()
		for k := i; k < min(n, i+4); k++ {
			binary.LittleEndian.PutUint16(out[2*k:], table[bits&4095])
			bits >>= 16
		}
	}
	return out
}
