package oracle

import "math"

// eachRow calls f for every position, on all cores.
func (c *pass[T]) eachRow(f func(worker, row int)) {
	const run = 8
	_ = parallel((c.n+run-1)/run, func(worker, i int) error {
		for row := i * run; row < min((i+1)*run, c.n); row++ {
			f(worker, row)
		}
		return nil
	})
}

// roundRows rounds n rows of that width in place.
func (c *pass[T]) roundRows(f Format, x []T, width int) {
	if f != Exact {
		c.eachRow(func(_, row int) { round(f, x[row*width:(row+1)*width]) })
	}
}

// norm normalises rows of x, each of parts of the norm's width, into y, which may
// be x.
func (c *pass[T]) norm(n norm, x, y []T, layerNorm bool) error {
	width := n.weight.Width()
	weight, err := c.vector(n.weight, 0, width)
	if err != nil {
		return err
	}
	bias, err := c.vector(n.bias, 0, width)
	if err != nil {
		return err
	}
	total := len(x) / c.n
	c.eachRow(func(_, row int) {
		for at := row * total; at < (row+1)*total; at += width {
			c.normRow(x[at:at+width], weight, bias, layerNorm, y[at:at+width])
		}
	})
	return nil
}

// normRow is (x − mean)/√(variance + ε)·w + b, or x/√(mean square + ε)·w.
func (c *pass[T]) normRow(x, weight, bias []T, layerNorm bool, y []T) {
	var mean T
	if layerNorm {
		var sum float64
		for _, v := range x {
			sum += float64(v)
		}
		mean = T(sum / float64(len(x)))
	}
	var squares float64
	for i, v := range x {
		d := v - mean
		y[i] = d
		squares += float64(d * d)
	}
	scale := T(1) / T(math.Sqrt(float64(T(squares/float64(len(x)))+T(c.m.p.epsilon))))
	for i := range y {
		y[i] *= scale
	}
	if c.p.NormTwice && !layerNorm {
		round(c.p.Activations, y)
	}
	for i, w := range weight {
		y[i] *= w
	}
	for i, b := range bias {
		y[i] += b
	}
	round(c.p.Activations, y)
}

// add is x + scale·y into out.
func (c *pass[T]) add(x, y, out []T) {
	width, scale := c.m.p.width, T(c.m.p.residualScale)
	c.eachRow(func(worker, row int) {
		a, b, o := x[row*width:(row+1)*width], y[row*width:(row+1)*width], out[row*width:(row+1)*width]
		if scale == 1 {
			for i, v := range b {
				o[i] = a[i] + v
			}
		} else {
			scaled := sized(&c.scratch[worker].b, width)
			for i, v := range b {
				scaled[i] = v * scale
			}
			round(c.p.Activations, scaled)
			for i, v := range scaled {
				o[i] = a[i] + v
			}
		}
		round(c.p.Residual, o)
	})
}

// gated is silu(gate)·up into gate; silu is x/(1+e^−x).
func (c *pass[T]) gated(gate, up []T, width int) {
	c.eachRow(func(_, row int) {
		g, u := gate[row*width:(row+1)*width], up[row*width:(row+1)*width]
		for i, v := range g {
			g[i] = v / (1 + T(math.Exp(float64(-v))))
		}
		round(c.p.Activations, g)
		for i, v := range u {
			g[i] *= v
		}
		round(c.p.Activations, g)
	})
}

// gelu is the profile's form of GELU, in place.
func (c *pass[T]) gelu(x []T, width int) {
	c.eachRow(func(_, row int) {
		r := x[row*width : (row+1)*width]
		switch c.p.GELU {
		case "erf":
			for i, v := range r {
				r[i] = v * T(0.5*(1+math.Erf(float64(v)/math.Sqrt2)))
			}
		case "table":
			geluTable(r)
		default:
			for i, v := range r {
				r[i] = geluTanh(v)
			}
		}
		round(c.p.Activations, r)
	})
}

// geluTanh is ½x(1 + tanh(√(2/π)·x(1 + 0.044715x²))).
func geluTanh[T float](x T) T {
	const a, b = 0.044715, 0.79788456080286535587989211986876
	return T(0.5) * x * (1 + T(math.Tanh(float64(T(b)*x*(1+T(a)*x*x)))))
}

// geluTable is ggml's: argument and result in f16, and neither beyond ±10.
func geluTable[T float](r []T) {
	for i, v := range r {
		switch {
		case v <= -10:
			r[i] = 0
		case v < 10:
			r[i] = T(half32(geluTanh(half32(float32(v)))))
		}
	}
}
