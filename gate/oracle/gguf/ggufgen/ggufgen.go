// Package ggufgen makes seeded random models of every architecture that the
// oracle knows, as GGUF files that llama.cpp loads. They have no vocabulary:
// prompts are token ids. Values depend on seed, tensor name and row alone, so a
// model of any size is written row by row, without being held in memory.
package ggufgen

import (
	"fmt"
	"sort"
	"strings"

	"github.com/paritygate/paritygate/gate/oracle/gguf"
)

// Output says whether a model has an output matrix of its own.
type Output int

const (
	OutputUsual    Output = iota // as most models of the architecture
	OutputTied                   // logits come from the token embedding
	OutputSeparate               // output.weight
)

// Config is the size and form of a model. Zero fields take Small's values, or
// what follows from the other fields.
type Config struct {
	Layers, Width, Heads int
	KVHeads              int // below Heads: grouped-query attention; gpt2 has none
	HeadDim              int // Width/Heads; llama and qwen3 may differ
	FeedForward          int
	Vocab, Context       int
	Type                 gguf.Type // of matrices; vectors are F32
	RopeBase             float64
	Epsilon              float64 // of the norms
	Output               Output
	// RopeFactors adds llama's rope_freqs.weight, the factors of Llama 3.
	RopeFactors bool
}

// Small is a model of 64 × 2 layers that loads in milliseconds, in F32.
func Small() Config {
	return Config{Layers: 2, Width: 64, Heads: 4, KVHeads: 2, FeedForward: 192, Vocab: 320, Context: 256, RopeBase: 10000, Epsilon: 1e-5}
}

// Large is a model of about 0.7 G parameters (llama), in F16.
func Large() Config {
	return Config{Layers: 24, Width: 1536, Heads: 12, KVHeads: 4, FeedForward: 4096, Vocab: 32000, Context: 2048, Type: gguf.F16, RopeBase: 10000, Epsilon: 1e-5}
}

// architecture is how one architecture differs.
type architecture struct {
	build     func(b *builder)
	tied      bool // usually
	anyHead   bool // HeadDim may differ from Width/Heads
	noGrouped bool // KVHeads is Heads
	noRope    bool
}

// Architectures are the names that RandomModel knows, sorted.
func Architectures() []string {
	var names []string
	for name := range architectures {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// RandomModel describes a random model, to be written by gguf.Write. Errors say
// which field of the configuration does not fit which.
func RandomModel(arch string, c Config, seed uint64) (*gguf.Description, error) {
	a, ok := architectures[arch]
	if !ok {
		return nil, fmt.Errorf("unknown architecture %q: want one of %s", arch, strings.Join(Architectures(), ", "))
	}
	c.fill(a)
	if err := c.check(arch, a); err != nil {
		return nil, err
	}
	b := newBuilder(arch, c, seed)
	b.common(a)
	a.build(b)
	return b.out, nil
}

// Parameters is the number of elements of all tensors.
func Parameters(d *gguf.Description) int64 {
	sum := int64(0)
	for _, t := range d.Tensors {
		n := int64(1)
		for _, s := range t.Shape {
			n *= int64(s)
		}
		sum += n
	}
	return sum
}

// fill sets what is left zero.
func (c *Config) fill(a architecture) {
	s := Small()
	or := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	or(&c.Layers, s.Layers)
	or(&c.Width, s.Width)
	or(&c.Heads, s.Heads)
	if a.noGrouped || c.KVHeads == 0 {
		c.KVHeads = c.Heads
	}
	or(&c.HeadDim, c.Width/max(c.Heads, 1))
	or(&c.FeedForward, 3*c.Width)
	or(&c.Vocab, s.Vocab)
	or(&c.Context, s.Context)
	if c.RopeBase == 0 {
		c.RopeBase = s.RopeBase
	}
	if c.Epsilon == 0 {
		c.Epsilon = s.Epsilon
	}
	if c.Output == OutputUsual {
		c.Output = OutputSeparate
		if a.tied {
			c.Output = OutputTied
		}
	}
}

// check says which sizes cannot be.
func (c *Config) check(arch string, a architecture) error {
	for _, f := range []struct {
		name string
		n    int
	}{{"Layers", c.Layers}, {"Width", c.Width}, {"Heads", c.Heads}, {"KVHeads", c.KVHeads}, {"HeadDim", c.HeadDim},
		{"FeedForward", c.FeedForward}, {"Vocab", c.Vocab}, {"Context", c.Context}} {
		if f.n < 1 || f.n > 1<<24 {
			return fmt.Errorf("%s is %d: want 1 to %d", f.name, f.n, 1<<24)
		}
	}
	elements, _ := c.Type.Block()
	switch {
	case c.Heads%c.KVHeads != 0:
		return fmt.Errorf("%d Heads are no multiple of %d KVHeads", c.Heads, c.KVHeads)
	case !a.anyHead && c.HeadDim*c.Heads != c.Width:
		return fmt.Errorf("HeadDim is %d with Heads %d and Width %d: %s wants Width/Heads", c.HeadDim, c.Heads, c.Width, arch)
	case c.HeadDim%2 != 0 && !a.noRope:
		return fmt.Errorf("HeadDim is %d: RoPE wants an even number", c.HeadDim)
	case c.RopeFactors && arch != "llama":
		return fmt.Errorf("RopeFactors is set: only llama has rope_freqs.weight, %s does not", arch)
	case elements == 0 || c.Width%elements != 0 || c.FeedForward%elements != 0 || c.HeadDim*c.Heads%elements != 0:
		return fmt.Errorf("rows of %d, %d and %d elements (Width, FeedForward, Heads·HeadDim) are not whole %s blocks of %d", c.Width, c.FeedForward, c.HeadDim*c.Heads, c.Type, elements)
	}
	return nil
}
