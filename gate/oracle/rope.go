package oracle

import "math"

// rotation holds cosine and sine of every position and pair.
type rotation[T float] struct{ cos, sin []T } // n × pairs

// rotation is computed once a run: all layers rotate alike.
func (c *pass[T]) rotation() *rotation[T] {
	p := &c.m.p
	if c.m.arch.rope == ropeNone || p.ropeWidth == 0 {
		return nil
	}
	pairs := p.ropeWidth / 2
	r := &rotation[T]{make([]T, c.n*pairs), make([]T, c.n*pairs)}
	step := T(math.Pow(p.ropeBase, -2/float64(p.ropeWidth)))
	for at := range c.n {
		iterated := T(at)
		for i := range pairs {
			angle := T(at) * T(math.Pow(p.ropeBase, -2*float64(i)/float64(p.ropeWidth)))
			if c.p.RoPE == "iterative" {
				angle = iterated
				iterated *= step
			}
			angle *= T(p.ropeScale)
			if c.m.ropeFactors != nil {
				angle /= T(c.m.ropeFactors[i])
			}
			sin, cos := math.Sincos(float64(angle))
			r.cos[at*pairs+i], r.sin[at*pairs+i] = T(cos), T(sin)
		}
	}
	if c.p.RoPE == "parts" {
		round(c.p.Activations, r.cos)
		round(c.p.Activations, r.sin)
	}
	return r
}

// rotate turns the pairs of every head of x, n rows of heads.
func (c *pass[T]) rotate(r *rotation[T], x []T, heads int) {
	if r == nil {
		return
	}
	p := &c.m.p
	pairs, width := p.ropeWidth/2, heads*p.headWidth
	// First and second element of pair i are i·step and i·step + apart.
	step, apart := 2, 1
	if c.m.arch.rope == ropeHalves {
		step, apart = 1, pairs
	}
	var half func(a, b T) T
	if c.p.RoPE == "parts" {
		half = func(a, b T) T {
			v := [1]T{a * b}
			round(c.p.Activations, v[:])
			return v[0]
		}
	}
	_ = parallel(c.n, func(_, at int) error {
		cos, sin := r.cos[at*pairs:(at+1)*pairs], r.sin[at*pairs:(at+1)*pairs]
		row := x[at*width : (at+1)*width]
		for h := 0; h < width; h += p.headWidth {
			for i, co := range cos {
				a, b := h+i*step, h+i*step+apart
				u, v := row[a], row[b]
				if half != nil {
					row[a], row[b] = half(u, co)-half(v, sin[i]), half(v, co)+half(u, sin[i])
				} else {
					row[a], row[b] = u*co-v*sin[i], v*co+u*sin[i]
				}
			}
		}
		round(c.p.Activations, row)
		return nil
	})
}
