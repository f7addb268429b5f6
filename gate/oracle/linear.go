package oracle

import (
	"runtime"

	"github.com/paritygate/paritygate/gate/oracle/gguf"
)

// blockElements is about how many weights a worker dequantises at a time: they
// stay in the second-level cache for all positions.
const blockElements = 64 << 10

// partialTerms is after how many terms Profile.Accumulation rounds.
const partialTerms = 16

// pass is one run of the model over n positions.
type pass[T float] struct {
	m       *Model
	p       *Profile
	n       int
	kern    *kernel[T]
	panels  []panel
	padded  int // positions of all panels
	scratch []workspace[T]
	buffers map[string][]T
}

// panel is positions first … first+lanes−1, of which those from n on are zero.
type panel struct{ first, lanes, vectors int }

// workspace is one worker's memory.
type workspace[T float] struct {
	w, c, a, b []T
	raw        []byte
}

// sized is a buffer of n elements in the place of buf.
func sized[T float32 | float64 | byte](buf *[]T, n int) []T {
	if cap(*buf) < n {
		*buf = make([]T, n)
	}
	return (*buf)[:n]
}

func newPass[T float](m *Model, p *Profile, n int) *pass[T] {
	if p.FlashTile > 0 && n >= p.FlashTile {
		tiled := *p
		tiled.Queries, tiled.FlashSum = Exact, Exact
		p = &tiled
	}
	c := &pass[T]{m: m, p: p, n: n, kern: bestKernel[T](),
		scratch: make([]workspace[T], runtime.GOMAXPROCS(0)), buffers: map[string][]T{}}
	// Panels of nearly the same size: a lone vector would leave units idle.
	vectors := (n + c.kern.lanes - 1) / c.kern.lanes
	for left := (vectors + c.kern.vectors - 1) / c.kern.vectors; left > 0; left-- {
		v := vectors / left
		c.panels = append(c.panels, panel{c.padded, v * c.kern.lanes, v})
		c.padded += v * c.kern.lanes
		vectors -= v
	}
	return c
}

// buffer is the pass's memory of that name, n elements whose content is left
// from its last use.
func (c *pass[T]) buffer(name string, n int) []T {
	b := c.buffers[name]
	v := sized(&b, n)
	c.buffers[name] = b
	return v
}

// input is n rows that matrices multiply, packed for the kernel in each format
// that one of them wants. The next input takes its memory.
type input[T float] struct {
	x      []T // n × width
	width  int
	packed map[Format][]T
}

func (c *pass[T]) input(x []T, width int) *input[T] {
	return &input[T]{x: x, width: width, packed: map[Format][]T{}}
}

// pack is x in that format: for each panel width × lanes elements.
func (c *pass[T]) pack(in *input[T], f Format) []T {
	if p := in.packed[f]; p != nil {
		return p
	}
	out := c.buffer("packed "+f.String(), c.padded*in.width)
	_ = parallel(len(c.panels), func(worker, i int) error {
		p := c.panels[i]
		dst := out[p.first*in.width : (p.first+p.lanes)*in.width]
		row := sized(&c.scratch[worker].a, in.width)
		for k := range p.lanes {
			if p.first+k < c.n {
				copy(row, in.x[(p.first+k)*in.width:])
				round(f, row)
			} else {
				clear(row)
			}
			for e, v := range row {
				dst[e*p.lanes+k] = v
			}
		}
		return nil
	})
	in.packed[f] = out
	return out
}

// linear is x·Wᵀ + b into y, n × w.height.
func (c *pass[T]) linear(in *input[T], w matrix, y []T) error {
	bias, err := c.bias(w)
	if err != nil {
		return err
	}
	x := c.pack(in, c.p.Inputs.forWeight(w.weight.Type))
	rows := max(blockElements/in.width, 1)
	rows = (rows + c.kern.rows - 1) / c.kern.rows * c.kern.rows
	// Enough blocks for all cores, however small the matrix.
	if most := (w.height/(2*len(c.scratch)) + c.kern.rows) / c.kern.rows * c.kern.rows; rows > most {
		rows = max(most, c.kern.rows)
	}
	return parallel((w.height+rows-1)/rows, func(worker, i int) error {
		first := i * rows
		count := min(rows, w.height-first)
		sums, err := c.block(&c.scratch[worker], x, w, first, count)
		if err != nil {
			return err
		}
		for m := range c.n {
			out := y[m*w.height+first : m*w.height+first+count]
			for r := range out {
				out[r] = sums[r*c.padded+m]
			}
			round(c.p.Products, out)
			if bias != nil {
				for r, b := range bias[first : first+count] {
					out[r] += b
				}
			}
			round(c.p.Activations, out)
		}
		return nil
	})
}

// block is rows first … first+count−1 of the product, a row of c.padded
// positions each.
func (c *pass[T]) block(ws *workspace[T], x []T, w matrix, first, count int) ([]T, error) {
	width, step := w.weight.Width(), c.kern.rows
	up := (count + step - 1) / step * step
	weights, sums := sized(&ws.w, up*width), sized(&ws.c, up*c.padded)
	clear(sums)
	clear(weights[count*width:])
	if err := rows(ws, w.weight, w.first+first, count, weights[:count*width]); err != nil {
		return nil, err
	}
	if f := c.p.Weights; !f.holds(w.weight.Type) {
		round(f, weights[:count*width])
	}
	depth := c.kern.depth
	if c.p.Accumulation != Exact {
		depth = partialTerms
	}
	for k := 0; k < width; k += depth {
		terms := min(depth, width-k)
		for _, p := range c.panels {
			panel := x[p.first*width+k*p.lanes:]
			for r := 0; r < up; r += step {
				c.kern.tile(p.vectors, terms, panel, weights[r*width+k:], width, sums[r*c.padded+p.first:], c.padded)
			}
		}
		round(c.p.Accumulation, sums)
	}
	return sums, nil
}

// rows dequantises rows of a tensor.
func rows[T float](ws *workspace[T], t *gguf.Tensor, first, n int, dst []T) error {
	if t.Type == gguf.F16 {
		raw := sized(&ws.raw, 2*len(dst))
		if err := t.Bytes(first, n, raw); err != nil {
			return err
		}
		if widen(dst, raw) {
			return nil
		}
		return gguf.Dequantize(t.Type, dst, raw)
	}
	switch dst := any(dst).(type) {
	case []float32:
		return t.Rows32(first, n, dst)
	case []float64:
		return t.Rows(first, n, dst)
	}
	return nil
}

// vector is a one-dimensional tensor in the profile's format; nil for nil.
func (c *pass[T]) vector(t *gguf.Tensor, first, n int) ([]T, error) {
	if t == nil {
		return nil, nil
	}
	all := make([]T, t.Width())
	if err := rows(&c.scratch[0], t, 0, 1, all); err != nil {
		return nil, err
	}
	v := all[first : first+n]
	round(c.p.Vectors, v)
	return v, nil
}

func (c *pass[T]) bias(w matrix) ([]T, error) { return c.vector(w.bias, w.first, w.height) }
