package oracle

import "math"

// attention is softmax(q·kᵀ·scale)·v of every head, causal, into out, n × heads ·
// headWidth. q has the same shape, k and v have kvHeads heads.
func (c *pass[T]) attention(q, k, v, out []T) {
	p := &c.m.p
	d := p.headWidth
	qRow, kvRow, group := p.heads*d, p.kvHeads*d, p.heads/p.kvHeads
	c.roundRows(c.p.Queries, q, qRow)
	c.roundRows(c.p.KV, k, kvRow)
	c.roundRows(c.p.KV, v, kvRow)
	scale := T(p.attentionScale)
	// A run of rows of one head is one piece of work.
	const run = 16
	runs := (c.n + run - 1) / run
	_ = parallel(p.heads*runs, func(worker, i int) error {
		h, last := i/runs, c.n-i%runs*run // late rows, which cost most, come first
		ws := &c.scratch[worker]
		scores := sized(&ws.a, c.n)
		kv := h / group * d
		for row := max(last-run, 0); row < last; row++ {
			at := row*qRow + h*d
			c.attend(q[at:at+d], k[kv:], v[kv:], kvRow, scores[:min(row+1+p.lookahead, c.n)], scale, out[at:at+d])
		}
		return nil
	})
}

// attend is one row of one head; k and v begin at the head and have a row every
// stride elements.
func (c *pass[T]) attend(q, k, v []T, stride int, scores []T, scale T, out []T) {
	for j := range scores {
		scores[j] = dot(q, k[j*stride:j*stride+len(q)])
	}
	if !c.p.Flash {
		round(c.p.Activations, scores)
	}
	most := T(math.Inf(-1))
	for j := range scores {
		scores[j] *= scale
		most = max(most, scores[j])
	}
	if !c.p.Flash {
		round(c.p.Activations, scores)
	}
	var sum float64
	for j, s := range scores {
		e := T(math.Exp(float64(s - most)))
		scores[j] = e
		sum += float64(e)
	}
	if c.p.Flash {
		c.weigh(scores, v, stride, out)
		for e := range out {
			out[e] /= T(sum)
		}
	} else {
		for j := range scores {
			scores[j] /= T(sum)
		}
		c.weigh(scores, v, stride, out)
	}
	round(c.p.Activations, out)
}

// weigh is Σ scores[j] · v[j].
func (c *pass[T]) weigh(scores, v []T, stride int, out []T) {
	round(c.p.Probabilities, scores)
	clear(out)
	for j, s := range scores {
		row := v[j*stride : j*stride+len(out)]
		for e, x := range row {
			out[e] += s * x
		}
		round(c.p.FlashSum, out)
	}
}

// dot adds in eight lanes.
func dot[T float](a, b []T) T {
	b = b[:len(a)]
	var s [8]T
	for ; len(a) >= 8; a, b = a[8:], b[8:] {
		x, y := (*[8]T)(a), (*[8]T)(b)
		s[0] += x[0] * y[0]
		s[1] += x[1] * y[1]
		s[2] += x[2] * y[2]
		s[3] += x[3] * y[3]
		s[4] += x[4] * y[4]
		s[5] += x[5] * y[5]
		s[6] += x[6] * y[6]
		s[7] += x[7] * y[7]
	}
	for i, x := range a {
		s[i] += x * b[i]
	}
	return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]))
}
