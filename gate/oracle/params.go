package oracle

import (
	"fmt"
	"math"
	"strings"

	"github.com/paritygate/paritygate/gate/oracle/gguf"
)

// maxSize bounds each size of the metadata, far above any model's, so that
// products of two of them do not overflow. Shapes then tie them to the file.
const maxSize = 1 << 28

// params are the sizes and scalars of the metadata. Scalars are the float32
// values of the file, which are what engines compute with, not the decimal
// numbers that they were rounded from.
type params struct {
	layers, width, heads, kvHeads, headWidth, ffn, vocabulary, context int

	epsilon float64
	// ropeWidth is how many elements of a head are rotated, from the first on.
	ropeWidth int
	ropeBase  float64
	ropeScale float64 // multiplies positions

	window int // of attention, in positions; 0: all
	// lookahead is how many later positions a position sees: 0, but for a planted bug.
	lookahead int

	embeddingScale, residualScale, attentionScale, logitsDivisor float64
}

// fields reads metadata and keeps the first error.
type fields struct {
	file *gguf.File
	arch string
	err  error
}

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// refuse fails when it holds.
func (f *fields) refuse(holds bool, format string, args ...any) {
	if holds {
		f.fail(fmt.Errorf("%s: %s", f.file.Path(), fmt.Sprintf(format, args...)))
	}
}

func (f *fields) key(name string) string { return f.arch + "." + name }

// size is a count that must be there and above zero.
func (f *fields) size(name string) int { return f.bounded(name, 1) }

// optional is a count that may be missing.
func (f *fields) optional(name string, missing int) int { return f.bounded(name, 0, uint64(missing)) }

func (f *fields) bounded(name string, least uint64, missing ...uint64) int {
	v, err := f.file.Uint(f.key(name), missing...)
	if err != nil {
		f.fail(err)
		return 0
	}
	f.refuse(v < least || v > maxSize, "%s is %d: want %d to %d", f.key(name), v, least, maxSize)
	if v > maxSize {
		return 0
	}
	return int(v)
}

// scale is a factor, 1 where the key is missing; it must be finite and not 0.
func (f *fields) scale(name string, missing ...float64) float64 {
	if len(missing) == 0 {
		missing = []float64{1}
	}
	v, err := f.file.Float(f.key(name), missing...)
	if err != nil {
		f.fail(err)
		return 1
	}
	f.refuse(!(math.Abs(v) > 0) || math.IsInf(v, 0), "%s is %v: want a finite number other than 0", f.key(name), v)
	return v
}

func (f *fields) refuseExperts() {
	n := f.optional("expert_count", 0)
	f.refuse(n > 0, "%s is %d: mixtures of experts are not computed", f.key("expert_count"), n)
}

// describe finds the file's architecture and reads its parameters.
func describe(file *gguf.File) (*architecture, params, error) {
	name, err := file.Architecture()
	if err != nil {
		return nil, params{}, err
	}
	a := architectures[name]
	if a == nil {
		return nil, params{}, fmt.Errorf("%s: architecture %q is not known: want one of %s", file.Path(), name, strings.Join(Architectures(), ", "))
	}
	f := &fields{file: file, arch: name}
	p := a.params(f)
	return a, p, f.err
}

func (a *architecture) params(f *fields) params {
	p := params{
		layers: f.size("block_count"), width: f.size("embedding_length"), ffn: f.size("feed_forward_length"),
		heads: f.size("attention.head_count"), context: f.optional("context_length", 0),
		embeddingScale: 1, residualScale: 1, logitsDivisor: 1,
	}
	tensors := len(f.file.Tensors())
	f.refuse(p.layers > tensors, "%s is %d, but the file has only %d tensors", f.key("block_count"), p.layers, tensors)
	p.kvHeads = f.bounded("attention.head_count_kv", 1, uint64(max(p.heads, 1)))
	if f.err != nil {
		return p
	}
	f.refuse(p.heads%p.kvHeads != 0, "%s %d is no multiple of %s %d", f.key("attention.head_count"), p.heads, f.key("attention.head_count_kv"), p.kvHeads)
	p.headWidth = f.bounded("attention.key_length", 1, uint64(max(p.width/p.heads, 1)))
	value := f.bounded("attention.value_length", 1, uint64(max(p.headWidth, 1)))
	f.refuse(value != p.headWidth, "%s %d is not the keys' %d", f.key("attention.value_length"), value, p.headWidth)
	f.refuse(!f.file.Has(f.key("attention.key_length")) && p.width%p.heads != 0,
		"%s %d is no multiple of %s %d", f.key("embedding_length"), p.width, f.key("attention.head_count"), p.heads)
	if f.err != nil {
		return p
	}
	p.attentionScale = 1 / math.Sqrt(float64(p.headWidth))
	eps, err := f.file.Float(f.key(a.epsilonKey))
	if err != nil {
		f.fail(err)
	}
	f.refuse(err == nil && !(eps >= 0 && eps < 1), "%s is %v: want 0 to 1", f.key(a.epsilonKey), eps)
	p.epsilon = eps
	causal, err := f.file.Bool(f.key("attention.causal"), true)
	if err != nil {
		f.fail(err)
	}
	f.refuse(err == nil && !causal, "%s is false: only causal attention is computed", f.key("attention.causal"))
	if a.rope != ropeNone {
		f.rope(&p)
	}
	if a.configure != nil {
		a.configure(f, &p)
	}
	return p
}

func (f *fields) rope(p *params) {
	p.ropeWidth = f.bounded("rope.dimension_count", 1, uint64(p.headWidth))
	f.refuse(p.ropeWidth%2 != 0 || p.ropeWidth > p.headWidth, "%s is %d: want an even number up to the head's %d", f.key("rope.dimension_count"), p.ropeWidth, p.headWidth)
	p.ropeBase, p.ropeScale = f.scale("rope.freq_base", 10000), 1
	f.refuse(p.ropeBase < 1, "%s is %v: want at least 1", f.key("rope.freq_base"), p.ropeBase)
	kind, err := f.file.String(f.key("rope.scaling.type"), "none")
	if err != nil {
		f.fail(err)
	}
	switch kind {
	case "none":
	case "linear":
		p.ropeScale = 1 / f.scale("rope.scaling.factor")
	default:
		f.refuse(err == nil, "%s is %q: want none or linear", f.key("rope.scaling.type"), kind)
	}
	if f.err == nil && !f.file.Has(f.key("rope.scaling.type")) && f.file.Has(f.key("rope.scale_linear")) {
		p.ropeScale = 1 / f.scale("rope.scale_linear")
	}
}
