package oracle

// parts are what a layer computes on its way, n rows each, in buffers that the
// next layer writes again.
type parts[T float] struct {
	attnNorm, attnOutput, ffnInput, ffnNorm, ffnOutput []T
}

// embed is what enters layer 0.
func (c *pass[T]) embed(tokens []int32) ([]T, error) {
	width := c.m.p.width
	x := c.buffer("output", c.n*width)
	scale := T(c.m.p.embeddingScale)
	for i, id := range tokens {
		row := x[i*width : (i+1)*width]
		if err := rows(&c.scratch[0], c.m.embedding, int(id), 1, row); err != nil {
			return nil, err
		}
		if !c.p.Weights.holds(c.m.embedding.Type) {
			round(c.p.Weights, row)
		}
		if scale != 1 {
			for e := range row {
				row[e] *= scale
			}
			round(c.p.Residual, row)
		}
		if c.m.positions == nil {
			continue
		}
		at := make([]T, width)
		if err := rows(&c.scratch[0], c.m.positions, i, 1, at); err != nil {
			return nil, err
		}
		round(c.p.Vectors, at)
		for e, v := range at {
			row[e] += v
		}
		round(c.p.Residual, row)
	}
	return x, nil
}

// layer is the residual stream after layer i, and what led to it.
func (c *pass[T]) layer(i int, x []T, r *rotation[T]) ([]T, *parts[T], error) {
	out := &parts[T]{}
	if err := c.attentionPart(&c.m.layers[i], x, r, out); err != nil {
		return nil, nil, err
	}
	y, err := c.ffnPart(&c.m.layers[i], out.ffnInput, out)
	return y, out, err
}

// attentionPart fills attnNorm, attnOutput and ffnInput.
func (c *pass[T]) attentionPart(l *layer, x []T, r *rotation[T], out *parts[T]) error {
	p := &c.m.p
	n, d := c.n, p.headWidth
	out.attnNorm = c.buffer("attn_norm", n*p.width)
	if err := c.norm(l.attnNorm, x, out.attnNorm, c.m.arch.layerNorm); err != nil {
		return err
	}
	q, k, v := c.buffer("q", n*p.heads*d), c.buffer("k", n*p.kvHeads*d), c.buffer("v", n*p.kvHeads*d)
	in := c.input(out.attnNorm, p.width)
	for _, s := range []struct {
		w     matrix
		norm  norm
		y     []T
		heads int // that are rotated
	}{{l.q, l.qNorm, q, p.heads}, {l.k, l.kNorm, k, p.kvHeads}, {l.v, norm{}, v, 0}} {
		if err := c.linear(in, s.w, s.y); err != nil {
			return err
		}
		if s.norm.weight != nil {
			if err := c.norm(s.norm, s.y, s.y, false); err != nil {
				return err
			}
		}
		if s.heads > 0 {
			c.rotate(r, s.y, s.heads)
		}
	}
	mixed := c.buffer("mixed", n*p.heads*d)
	c.attention(q, k, v, mixed)
	out.attnOutput, out.ffnInput = c.buffer("attn_output", n*p.width), c.buffer("ffn_input", n*p.width)
	if err := c.linear(c.input(mixed, p.heads*d), l.output, out.attnOutput); err != nil {
		return err
	}
	c.add(x, out.attnOutput, out.ffnInput)
	return nil
}

// ffnPart fills ffnNorm and ffnOutput and is what the layer puts out.
func (c *pass[T]) ffnPart(l *layer, x []T, out *parts[T]) ([]T, error) {
	p := &c.m.p
	out.ffnNorm = c.buffer("ffn_norm", c.n*p.width)
	if err := c.norm(l.ffnNorm, x, out.ffnNorm, c.m.arch.layerNorm); err != nil {
		return nil, err
	}
	in := c.input(out.ffnNorm, p.width)
	hidden := c.buffer("hidden", c.n*p.ffn)
	if l.gate.weight == nil {
		if err := c.linear(in, l.up, hidden); err != nil {
			return nil, err
		}
		c.gelu(hidden, p.ffn)
	} else {
		up := c.buffer("up", c.n*p.ffn)
		if err := c.linear(in, l.gate, hidden); err != nil {
			return nil, err
		}
		if err := c.linear(in, l.up, up); err != nil {
			return nil, err
		}
		c.gated(hidden, up, p.ffn)
	}
	out.ffnOutput = c.buffer("ffn_output", c.n*p.width)
	if err := c.linear(c.input(hidden, p.ffn), l.down, out.ffnOutput); err != nil {
		return nil, err
	}
	y := c.buffer("output", c.n*p.width)
	c.add(x, out.ffnOutput, y)
	return y, nil
}

// head is the final norm and the logits.
func (c *pass[T]) head(x []T) (final, logits []T, err error) {
	p := &c.m.p
	final = make([]T, c.n*p.width)
	if err := c.norm(c.m.finalNorm, x, final, c.m.arch.layerNorm); err != nil {
		return nil, nil, err
	}
	logits = make([]T, c.n*p.vocabulary)
	if err := c.linear(c.input(final, p.width), c.m.head, logits); err != nil {
		return nil, nil, err
	}
	if divisor := T(p.logitsDivisor); divisor != 1 {
		for i := range logits {
			logits[i] /= divisor
		}
	}
	c.roundRows(c.p.Logits, logits, p.vocabulary)
	return final, logits, nil
}
