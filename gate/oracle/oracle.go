// Package oracle computes the forward pass of a language model from its GGUF
// weights, with every checkpoint: in float64, where rounding does not count,
// and with the rounding of a real engine emulated, which says what that
// engine's precision costs on this model, prompt and checkpoint.
//
// Weights stay in the file; a few rows at a time are dequantised, to ggml's own
// values, by each of the workers. The whole prompt is one pass.
//
// An architecture is a description in a file of its own (arch_llama.go), a
// profile a set of roundings (profiles.go). The forward pass knows neither.
package oracle

import (
	"fmt"
	"slices"

	"github.com/paritygate/paritygate/gate/oracle/gguf"
)

// Model is a model whose weights are open. Its methods may be called by many
// goroutines; it holds no activations between calls.
type Model struct {
	file   *gguf.File
	arch   *architecture
	p      params
	layers []layer
	// embedding has a row a token; positions, nil without learned ones, a row a position.
	embedding, positions *gguf.Tensor
	finalNorm            norm
	head                 matrix
	// ropeFactors divide the angles' frequencies, one a pair; nil is all ones.
	ropeFactors []float64
}

// Load opens the weights at path. The errors are those of gguf.Open; an
// architecture that is not known here, with those that are; a metadata key that
// is missing, of another type or not possible; a tensor that is missing, left
// over, or of another shape than the metadata says.
func Load(path string) (*Model, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	m, err := bind(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return m, nil
}

// Close releases the file.
func (m *Model) Close() error { return m.file.Close() }

// Layers is the number of layers.
func (m *Model) Layers() int { return len(m.layers) }

// Width is the length of a row of the hidden state.
func (m *Model) Width() int { return m.p.width }

// Vocabulary is the number of token ids, the length of a row of logits.
func (m *Model) Vocabulary() int { return m.p.vocabulary }

// Context is the context length of the metadata, 0 when it names none.
func (m *Model) Context() int { return m.p.context }

// Architecture is the model's architecture: "llama".
func (m *Model) Architecture() string { return m.arch.name }

// Path is the path that the model was loaded from.
func (m *Model) Path() string { return m.file.Path() }

// Describe is one line for people: "llama, 4 layers of 128, 4 heads of 32 (2 for
// keys and values), feed-forward 384, 264 token ids, weights in F16".
func (m *Model) Describe() string {
	p := &m.p
	s := fmt.Sprintf("%s, %d layers of %d, %d heads of %d", m.arch.name, len(m.layers), p.width, p.heads, p.headWidth)
	if p.kvHeads != p.heads {
		s += fmt.Sprintf(" (%d for keys and values)", p.kvHeads)
	}
	return s + fmt.Sprintf(", feed-forward %d, %d token ids, weights in %s", p.ffn, p.vocabulary, m.storage())
}

// storage is the type that most of the weights' bytes have.
func (m *Model) storage() gguf.Type {
	bytes := map[gguf.Type]int64{}
	for _, t := range m.file.Tensors() {
		bytes[t.Type] += t.Size()
	}
	var most gguf.Type
	for t, n := range bytes {
		if n > bytes[most] || n == bytes[most] && t < most {
			most = t
		}
	}
	return most
}

// Architectures are the names of the architectures that Load knows, sorted.
func Architectures() []string {
	names := make([]string, 0, len(architectures))
	for name := range architectures {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
