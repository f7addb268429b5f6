package oracle

import (
	"fmt"
	"strings"

	"github.com/paritygate/paritygate/gate/oracle/gguf"
)

// Bug is a mistake that Plant makes of a sound model: what a real engine with
// that mistake computes, to see what is made of it.
type Bug struct {
	Name string
	// Doc says in a few words what is wrong.
	Doc string
	// Checkpoint is the first that the bug changes, of a model of four layers.
	Checkpoint string
	// Kinds are the diagnoses that are right; the last may say less than the first.
	Kinds []string

	plant func(*Model) error
}

// Bugs are the bugs that Plant knows.
func Bugs() []Bug { return append([]Bug(nil), bugs...) }

// The sizes of the bugs, which a user of the demonstration reads.
const (
	plantedLayer   = 1
	plantedChannel = 29
	plantedNorm    = 7
	plantedEpsilon = 1e-3
)

var bugs = []Bug{
	{"rope", "RoPE base 10 % off", "layer_0_output", []string{"rope_or_mask", "attention_scores"}, plantRope},
	{"eps", "norms' epsilon 1e-3 instead of 1e-5", "layer_0_output", []string{"norm_epsilon", "multiplier", "layer"}, plantEpsilon},
	{"swap", "layers 1 and 2 swapped", "layer_1_output", []string{"layer_order"}, plantSwap},
	{"channel", "one feed-forward channel of layer 1 × 1.15", "layer_1_output", []string{"channel"}, plantChannel},
	{"norm", "one weight of the final norm × 1.1", "final_norm", []string{"channel"}, plantNorm},
	{"heads", "the K heads of layer 1 in the wrong order", "layer_1_output", []string{"attention_scores", "rope_or_mask"}, plantHeads},
	{"embedding", "embedding rows shifted by one token id", "embedding", []string{"embedding"}, plantEmbedding},
	{"residual", "what layer 1 computes is never added", "layer_1_output", []string{"layer_skipped"}, plantResidual},
	{"mask", "attention sees the next token", "layer_0_output", []string{"rope_or_mask"}, plantMask},
}

// Plant makes m wrong, from then on, in one well-defined way. m's file is not
// touched. Errors: no bug of that name, with those there are; a model that
// cannot have it (no RoPE, too few layers or heads, weights of a type that is
// not written).
func Plant(m *Model, name string) error {
	names := make([]string, len(bugs))
	for i, b := range bugs {
		if b.Name == name {
			if err := b.plant(m); err != nil {
				return fmt.Errorf("%s: bug %s: %w", m.Path(), name, err)
			}
			return nil
		}
		names[i] = b.Name
	}
	return fmt.Errorf("unknown bug %q: want one of %s", name, strings.Join(names, ", "))
}

func plantRope(m *Model) error {
	if m.arch.rope == ropeNone {
		return fmt.Errorf("%s has no RoPE", m.arch.name)
	}
	m.p.ropeBase *= 1.1
	return nil
}

func plantEpsilon(m *Model) error {
	m.p.epsilon = plantedEpsilon
	return nil
}

func plantSwap(m *Model) error {
	if len(m.layers) < plantedLayer+2 {
		return tooFewLayers(m)
	}
	m.layers[plantedLayer], m.layers[plantedLayer+1] = m.layers[plantedLayer+1], m.layers[plantedLayer]
	return nil
}

func plantChannel(m *Model) error {
	l, err := m.plantable()
	if err != nil {
		return err
	}
	// A row of the up matrix makes one channel of the feed-forward part.
	channel := plantedChannel % l.up.height
	return edit(&l.up.weight, func(v []float32, width int) {
		scale(v[(l.up.first+channel)*width:][:width], 1.15)
	})
}

func plantNorm(m *Model) error {
	return edit(&m.finalNorm.weight, func(v []float32, width int) { scale(v[plantedNorm%width:][:1], 1.1) })
}

func plantHeads(m *Model) error {
	l, err := m.plantable()
	if err != nil {
		return err
	}
	if m.p.kvHeads < 2 {
		return fmt.Errorf("it has one head of keys")
	}
	return edit(&l.k.weight, func(v []float32, width int) {
		// The last head comes first, the others follow.
		keys := v[l.k.first*width:][:l.k.height*width]
		rotate(keys, len(keys)/m.p.kvHeads)
	})
}

func plantEmbedding(m *Model) error {
	return edit(&m.embedding, func(v []float32, width int) { rotate(v, width) })
}

func plantResidual(m *Model) error {
	l, err := m.plantable()
	if err != nil {
		return err
	}
	for _, w := range []*matrix{&l.output, &l.down} {
		if w.bias != nil {
			if err := edit(&w.bias, func(v []float32, _ int) { clear(v) }); err != nil {
				return err
			}
		}
		if err := edit(&w.weight, func(v []float32, _ int) { clear(v) }); err != nil {
			return err
		}
	}
	return nil
}

func plantMask(m *Model) error {
	m.p.lookahead = 1
	return nil
}

// plantable is the layer that bugs of one layer stand in.
func (m *Model) plantable() (*layer, error) {
	if len(m.layers) <= plantedLayer {
		return nil, tooFewLayers(m)
	}
	return &m.layers[plantedLayer], nil
}

func tooFewLayers(m *Model) error { return fmt.Errorf("%d layers are too few", len(m.layers)) }

// edit puts an edited copy in the tensor's place; others that share the tensor
// keep the file's.
func edit(t **gguf.Tensor, change func(v []float32, width int)) error {
	e, err := (*t).Edited(func(v []float32) { change(v, (*t).Width()) })
	if err != nil {
		return err
	}
	*t = e
	return nil
}

func scale(v []float32, by float32) {
	for i := range v {
		v[i] *= by
	}
}

// rotate moves the last n elements to the front.
func rotate(v []float32, n int) {
	last := append([]float32(nil), v[len(v)-n:]...)
	copy(v[n:], v)
	copy(v, last)
}
