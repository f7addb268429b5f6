package gate

import (
	"math"
	"slices"

	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/trace"
)

// sampledRows bounds how many positions a diagnosis looks at again.
const sampledRows = 192

// sample is some rows of one checkpoint on both sides, as float64.
type sample struct {
	positions []int
	width     int
	ref, cand [][]float64 // [row][element]
	last      bool        // the sample ends with the last compared position
}

// newSample reads the first rows of a and the last one: signatures are about the start of
// a prompt, its end, and what changes in between.
func newSample(a *aligned) (*sample, error) {
	s := &sample{width: a.elements}
	rd := readers{a.ref.NewReader(), a.cand.NewReader()}
	total := len(a.positions)
	index := 0
	for _, g := range a.segments {
		for k := range g.n {
			if keep(index, total) {
				r, err := sampleRow(rd.ref, a.ref, g.ref+k, a.elements)
				if err != nil {
					return nil, readError("reference", a, err)
				}
				c, err := sampleRow(rd.cand, a.cand, g.cand+k, a.elements)
				if err != nil {
					return nil, readError("candidate", a, err)
				}
				s.positions = append(s.positions, a.positions[index])
				s.ref, s.cand = append(s.ref, r), append(s.cand, c)
				s.last = index == total-1
			}
			index++
		}
	}
	return s, nil
}

// keep chooses rows: half of them from the start, the others spread evenly
// over the rest, and the last.
func keep(i, total int) bool {
	if total <= sampledRows || i < sampledRows/2 || i == total-1 {
		return true
	}
	return (i-sampledRows/2)%(2*total/sampledRows) == 0
}

func sampleRow(r trace.RowReader, c *trace.Checkpoint, row, elements int) ([]float64, error) {
	buf, err := readRows(r, c, elements, row, 1, nil)
	if err != nil {
		return nil, err
	}
	out := make([]float64, elements)
	metric.Widen(out, metric.DType(c.DType), buf)
	return out, nil
}

// finite drops rows in which a side holds values that cannot be subtracted.
func (s *sample) finite() {
	var kept []int
	for i := range s.positions {
		if sound(s.ref[i]) && sound(s.cand[i]) {
			kept = append(kept, i)
		}
	}
	s.positions, s.ref, s.cand = pick(s.positions, kept), pick(s.ref, kept), pick(s.cand, kept)
}

func sound(row []float64) bool {
	return !slices.ContainsFunc(row, func(v float64) bool { return math.IsNaN(v) || math.Abs(v) > 1e10 })
}

func pick[T any](from []T, at []int) []T {
	out := make([]T, 0, len(at))
	for _, i := range at {
		out = append(out, from[i])
	}
	return out
}

// minus is the element-wise difference of matrices of the same shape.
func minus(a, b [][]float64) [][]float64 {
	out := make([][]float64, len(a))
	for i := range a {
		out[i] = make([]float64, len(a[i]))
		for j := range a[i] {
			out[i][j] = a[i][j] - b[i][j]
		}
	}
	return out
}

func dot(a, b []float64) float64 {
	var s float64
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

func norm(a []float64) float64 { return math.Sqrt(dot(a, a)) }

// inner is Σ over all elements of a·b.
func inner(a, b [][]float64) float64 {
	var s float64
	for i := range a {
		s += dot(a[i], b[i])
	}
	return s
}

// rankOneShare is the share of Σe² along the best single direction of element
// space: the squared largest singular value over the sum of all, by power
// iteration. 1 means that every row errs along the same vector.
func rankOneShare(e [][]float64) float64 {
	total := inner(e, e)
	if total == 0 || len(e) < 2 {
		return 0
	}
	v := slices.Clone(e[worstRow(e)])
	var top float64
	for range 30 {
		n := norm(v)
		if n == 0 {
			return 0
		}
		next := make([]float64, len(v))
		top = 0
		for _, row := range e {
			p := dot(row, v) / n
			top += p * p
			for j, x := range row {
				next[j] += p * x
			}
		}
		v = next
	}
	return top / total
}

func worstRow(e [][]float64) int {
	at := 0
	for i := range e {
		if dot(e[i], e[i]) > dot(e[at], e[at]) {
			at = i
		}
	}
	return at
}
