package oracle

import "fmt"

// architecture describes what one general.architecture computes: every layer is
//
//	x = x + residualScale · Wo·attention(norm(x))
//	x = x + residualScale · Wdown·feedForward(norm(x))
//
// and the fields say what stands for norm, attention and feedForward. A new
// architecture is a file with one more of these.
type architecture struct {
	name string
	// layerNorm: (x−mean)/deviation·w + b instead of x/rms·w.
	layerNorm bool
	// epsilonKey is the metadata key, without the architecture, of the norm's epsilon.
	epsilonKey string
	rope       ropeStyle
	// learnedPositions: position_embd.weight is added to the embedding.
	learnedPositions bool
	// fusedQKV: one attn_qkv tensor holds the rows of q, k and v.
	fusedQKV bool
	// headNorms: q and k of each head pass an RMS norm before they are rotated.
	headNorms bool
	ffn       ffnStyle
	// biases are the tensors, as in blk.N.NAME.weight, that must have a bias.
	biases []string
	// optionalBiases are those that may have one.
	optionalBiases []string
	// configure reads and checks what no other architecture has; may be nil.
	configure func(f *fields, p *params)
}

// ropeStyle says which elements of a head are rotated together.
type ropeStyle uint8

const (
	// ropeNone rotates nothing.
	ropeNone ropeStyle = iota
	// ropePairs rotates elements 2i and 2i+1: ggml's "norm", for which Q and K of
	// llama and granite are permuted when they are converted.
	ropePairs
	// ropeHalves rotates elements i and i+d/2: ggml's "neox".
	ropeHalves
)

// ffnStyle is the form of the feed-forward part.
type ffnStyle uint8

const (
	// ffnGated is Wdown·(silu(Wgate·x) ∘ Wup·x).
	ffnGated ffnStyle = iota
	// ffnGatedFused is the same; ffn_up holds the rows of gate, then those of up.
	ffnGatedFused
	// ffnGELU is Wdown·gelu(Wup·x).
	ffnGELU
)

var architectures = map[string]*architecture{}

// register adds an architecture; its value lets a file's variable call it.
func register(a architecture) *architecture {
	if architectures[a.name] != nil {
		panic(fmt.Sprintf("architecture %s is described twice", a.name))
	}
	architectures[a.name] = &a
	return &a
}
