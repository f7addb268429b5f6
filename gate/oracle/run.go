package oracle

import (
	"context"
	"fmt"
)

// Options say how a run computes and what it gives.
type Options struct {
	// Profile is the precision; its zero value is the oracle's float64.
	Profile Profile
	// Sublayers adds attn_norm, attn_output, ffn_input, ffn_norm and ffn_output of
	// every layer. attn_output and ffn_output are what the layer's two halves add
	// to the residual stream, before a residual multiplier.
	Sublayers bool
}

// Emit takes one checkpoint: rows of width values, row i of position i. values
// is the receiver's to keep or change. An error ends the run.
type Emit func(name string, width int, values []float64) error

// Run computes the model over tokens from position 0 on and gives every
// checkpoint, in forward order and by its canonical name, to emit: embedding,
// layer_0_output …, final_norm, logits. Memory is a layer's activations, a block
// of weights for each core, and the mapped file.
//
// Errors: no tokens, or one that the vocabulary does not have; more positions
// than the model has learned, or than its attention window; a profile that does
// not fit the model; weights that cannot be read; emit's; the context's.
func (m *Model) Run(ctx context.Context, tokens []int32, o Options, emit Emit) error {
	if err := m.check(len(tokens), &o.Profile); err != nil {
		return err
	}
	for i, id := range tokens {
		if id < 0 || int(id) >= m.p.vocabulary {
			return fmt.Errorf("%s: token %d at position %d: want 0 to %d", m.Path(), id, i, m.p.vocabulary-1)
		}
	}
	if o.Profile.Single {
		return run(ctx, newPass[float32](m, &o.Profile, len(tokens)), tokens, o, emit)
	}
	return run(ctx, newPass[float64](m, &o.Profile, len(tokens)), tokens, o, emit)
}

// check reports what keeps n positions from being computed.
func (m *Model) check(n int, p *Profile) error {
	switch {
	case n == 0:
		return fmt.Errorf("%s: no positions to compute", m.Path())
	case m.positions != nil && n > m.positions.Height():
		return fmt.Errorf("%s: %d positions: the model has learned %d", m.Path(), n, m.positions.Height())
	case m.p.window > 0 && n > m.p.window:
		return fmt.Errorf("%s: %d positions: beyond the attention window of %d, which is not computed", m.Path(), n, m.p.window)
	}
	if err := p.check(); err != nil {
		return err
	}
	return p.fits(m)
}

func run[T float](ctx context.Context, c *pass[T], tokens []int32, o Options, emit Emit) error {
	give := func(name string, width int, v []T) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return emit(name, width, wide(v))
	}
	width := c.m.p.width
	x, err := c.embed(tokens)
	if err != nil {
		return err
	}
	if err := give("embedding", width, x); err != nil {
		return err
	}
	r := c.rotation()
	for i := range c.m.layers {
		var s *parts[T]
		if x, s, err = c.layer(i, x, r); err != nil {
			return err
		}
		prefix := fmt.Sprintf("layer_%d_", i)
		for _, g := range []struct {
			name string
			v    []T
		}{
			{"attn_norm", s.attnNorm}, {"attn_output", s.attnOutput}, {"ffn_input", s.ffnInput},
			{"ffn_norm", s.ffnNorm}, {"ffn_output", s.ffnOutput}, {"output", x},
		} {
			if g.name != "output" && !o.Sublayers {
				continue
			}
			if err := give(prefix+g.name, width, g.v); err != nil {
				return err
			}
		}
	}
	final, logits, err := c.head(x)
	if err != nil {
		return err
	}
	if err := give("final_norm", width, final); err != nil {
		return err
	}
	return give("logits", c.m.p.vocabulary, logits)
}

// wide is v in float64, a copy when it already is: the pass goes on with v.
func wide[T float](v []T) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

func narrow[T float](v []float64) []T {
	out := make([]T, len(v))
	for i, x := range v {
		out[i] = T(x)
	}
	return out
}

// LayerOutput is what one layer makes of its input, in rows of Model.Width.
type LayerOutput struct {
	AttnNorm, AttnOutput, FFNInput, FFNNorm, FFNOutput, Output []float64
}

// Layer runs layer i alone on input, the rows of positions 0, 1, 2 … that enter
// it: an engine's own ones, to see what this layer adds to their error. All
// positions up to the last one wanted must be there, as attention reads them.
// Errors as Run's, and no such layer or no whole rows.
func (m *Model) Layer(ctx context.Context, i int, input []float64, p Profile) (*LayerOutput, error) {
	return m.part(ctx, i, input, p, true)
}

// FeedForward runs the second half of layer i on input, rows of its ffn_input of
// any positions. AttnNorm and AttnOutput of the result are nil.
func (m *Model) FeedForward(ctx context.Context, i int, input []float64, p Profile) (*LayerOutput, error) {
	return m.part(ctx, i, input, p, false)
}

func (m *Model) part(ctx context.Context, i int, input []float64, p Profile, attention bool) (*LayerOutput, error) {
	if i < 0 || i >= len(m.layers) {
		return nil, fmt.Errorf("%s: no layer %d: want 0 to %d", m.Path(), i, len(m.layers)-1)
	}
	n, err := m.rows(ctx, input, &p)
	if err != nil {
		return nil, err
	}
	if p.Single {
		return part(newPass[float32](m, &p, n), i, input, attention)
	}
	return part(newPass[float64](m, &p, n), i, input, attention)
}

// rows is how many rows of the hidden state input has.
func (m *Model) rows(ctx context.Context, input []float64, p *Profile) (int, error) {
	if len(input)%m.p.width != 0 {
		return 0, fmt.Errorf("%s: %d values are no whole rows of %d", m.Path(), len(input), m.p.width)
	}
	n := len(input) / m.p.width
	if err := m.check(n, p); err != nil {
		return 0, err
	}
	return n, ctx.Err()
}

func part[T float](c *pass[T], i int, input []float64, attention bool) (*LayerOutput, error) {
	x, l, s := narrow[T](input), &c.m.layers[i], &parts[T]{}
	out := &LayerOutput{FFNInput: input}
	if attention {
		if err := c.attentionPart(l, x, c.rotation(), s); err != nil {
			return nil, err
		}
		x = s.ffnInput
		out.AttnNorm, out.AttnOutput, out.FFNInput = wide(s.attnNorm), wide(s.attnOutput), wide(x)
	}
	y, err := c.ffnPart(l, x, s)
	if err != nil {
		return nil, err
	}
	out.FFNNorm, out.FFNOutput, out.Output = wide(s.ffnNorm), wide(s.ffnOutput), wide(y)
	return out, nil
}

// Head is the final norm and the logits of input, rows of the last layer's
// output of any positions. Errors as Layer's.
func (m *Model) Head(ctx context.Context, input []float64, p Profile) (finalNorm, logits []float64, err error) {
	n, err := m.rows(ctx, input, &p)
	if err != nil {
		return nil, nil, err
	}
	if p.Single {
		return head(newPass[float32](m, &p, n), input)
	}
	return head(newPass[float64](m, &p, n), input)
}

func head[T float](c *pass[T], input []float64) (finalNorm, logits []float64, err error) {
	final, l, err := c.head(narrow[T](input))
	if err != nil {
		return nil, nil, err
	}
	return wide(final), wide(l), nil
}
