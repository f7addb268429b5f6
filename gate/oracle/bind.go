package oracle

import (
	"fmt"
	"slices"

	"github.com/paritygate/paritygate/gate/oracle/gguf"
)

// matrix maps rows of width elements to rows of height: height rows of a tensor
// from the first-th on, and the same part of its bias, if it has one.
type matrix struct {
	weight        *gguf.Tensor
	bias          *gguf.Tensor
	first, height int
}

// norm is the weight of a norm, and its bias where it has one.
type norm struct{ weight, bias *gguf.Tensor }

// layer is one layer's weights.
type layer struct {
	attnNorm, ffnNorm norm
	qNorm, kNorm      norm // of each head; nil weights without them
	q, k, v, output   matrix
	gate, up, down    matrix // gate has no weight where there is none

}

// binder looks tensors up, notes which were used and keeps the first error.
type binder struct {
	file *gguf.File
	arch *architecture
	used map[string]bool
	err  error
}

// bind ties the file's tensors to the architecture's parts.
func bind(file *gguf.File) (*Model, error) {
	a, p, err := describe(file)
	if err != nil {
		return nil, err
	}
	b := &binder{file: file, arch: a, used: map[string]bool{}}
	m := &Model{file: file, arch: a, p: p}
	if m.embedding, err = file.Tensor("token_embd.weight"); err != nil {
		return nil, err
	}
	m.p.vocabulary = m.embedding.Height()
	if m.p.vocabulary < 1 || m.p.vocabulary > maxSize {
		return nil, fmt.Errorf("%s: tensor token_embd.weight has %d rows: want 1 to %d", file.Path(), m.p.vocabulary, maxSize)
	}
	b.tensor("token_embd.weight", p.width, m.p.vocabulary)
	if a.learnedPositions {
		f := &fields{file: file, arch: a.name}
		m.positions = b.tensor("position_embd.weight", p.width, f.size("context_length"))
		if f.err != nil {
			return nil, f.err
		}
	}
	for i := 0; i < p.layers && b.err == nil; i++ {
		m.layers = append(m.layers, b.layer(fmt.Sprintf("blk.%d.", i), &p))
	}
	m.finalNorm = b.norm("output_norm", p.width, a.layerNorm)
	m.head = matrix{weight: m.embedding, height: m.p.vocabulary}
	if file.HasTensor("output.weight") {
		m.head = b.matrix("", "output", p.width, m.p.vocabulary)
	}
	if p.ropeWidth > 0 && file.HasTensor("rope_freqs.weight") {
		m.ropeFactors = b.vector("rope_freqs.weight", p.ropeWidth/2)
	}
	b.leftOver()
	return m, b.err
}

func (b *binder) layer(prefix string, p *params) layer {
	a, q, kv := b.arch, p.heads*p.headWidth, p.kvHeads*p.headWidth
	l := layer{
		attnNorm: b.norm(prefix+"attn_norm", p.width, a.layerNorm),
		ffnNorm:  b.norm(prefix+"ffn_norm", p.width, a.layerNorm),
		output:   b.matrix(prefix, "attn_output", q, p.width),
		down:     b.matrix(prefix, "ffn_down", p.ffn, p.width),
	}
	if a.fusedQKV {
		l.q = b.matrix(prefix, "attn_qkv", p.width, q+2*kv)
		l.k, l.v = l.q, l.q
		l.q.height = q
		l.k.first, l.k.height = q, kv
		l.v.first, l.v.height = q+kv, kv
	} else {
		l.q = b.matrix(prefix, "attn_q", p.width, q)
		l.k = b.matrix(prefix, "attn_k", p.width, kv)
		l.v = b.matrix(prefix, "attn_v", p.width, kv)
	}
	if a.headNorms {
		l.qNorm = b.norm(prefix+"attn_q_norm", p.headWidth, false)
		l.kNorm = b.norm(prefix+"attn_k_norm", p.headWidth, false)
	}
	switch a.ffn {
	case ffnGated:
		l.gate = b.matrix(prefix, "ffn_gate", p.width, p.ffn)
		l.up = b.matrix(prefix, "ffn_up", p.width, p.ffn)
	case ffnGatedFused:
		l.up = b.matrix(prefix, "ffn_up", p.width, 2*p.ffn)
		l.gate = l.up
		l.gate.height, l.up.height, l.up.first = p.ffn, p.ffn, p.ffn
	case ffnGELU:
		l.up = b.matrix(prefix, "ffn_up", p.width, p.ffn)
	}
	return l
}

// tensor is the tensor of that name and shape; nil after an error.
func (b *binder) tensor(name string, shape ...int) *gguf.Tensor {
	if b.err != nil {
		return nil
	}
	t, err := b.file.Tensor(name)
	if err == nil {
		err = t.Require(shape...)
	}
	if err != nil {
		b.err = err
		return nil
	}
	b.used[name] = true
	return t
}

func (b *binder) norm(name string, width int, biased bool) norm {
	n := norm{weight: b.tensor(name+".weight", width)}
	if biased {
		n.bias = b.tensor(name+".bias", width)
	}
	return n
}

func (b *binder) matrix(prefix, name string, width, height int) matrix {
	m := matrix{weight: b.tensor(prefix+name+".weight", width, height), height: height}
	bias := prefix + name + ".bias"
	if slices.Contains(b.arch.biases, name) || slices.Contains(b.arch.optionalBiases, name) && b.file.HasTensor(bias) {
		m.bias = b.tensor(bias, height)
	}
	return m
}

// vector is the content of a one-dimensional tensor.
func (b *binder) vector(name string, n int) []float64 {
	t := b.tensor(name, n)
	if t == nil {
		return nil
	}
	v := make([]float64, n)
	if err := t.Rows(0, 1, v); err != nil {
		b.err = err
	}
	return v
}

// leftOver refuses a file with a tensor that the architecture does not use: what
// it computes would not be what the file's engine computes.
func (b *binder) leftOver() {
	for _, t := range b.file.Tensors() {
		if b.err == nil && !b.used[t.Name] {
			b.err = fmt.Errorf("%s: tensor %q is no part of %s as it is computed here", b.file.Path(), t.Name, b.arch.name)
		}
	}
}
