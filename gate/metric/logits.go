package metric

import (
	"fmt"
	"math"
)

// topK is how many largest logits topk_overlap compares; rankDepth is how many
// of the reference's largest rank_correlation looks at.
const (
	topK      = 10
	rankDepth = 100
)

// LogitsRow are the metrics of one whole row of logits. Elements that are
// skipped, or garbage of a masked side, are absent from both sides.
type LogitsRow struct {
	// RefTop and CandTop are the elements of the largest logits, the lowest
	// element of equal ones; −1 where the side holds a NaN or nothing is left.
	RefTop, CandTop int
	// TopKOverlap is the share of the reference's min(10, width) largest logits
	// that are among the candidate's as many largest, lower elements first among
	// equals.
	TopKOverlap float64
	// KL is KL(reference‖candidate) of the two softmaxes, in nats: exactly 0 for
	// equal rows, +Inf where the candidate gives no probability to what the
	// reference may choose. A logit of −Inf has probability 0.
	KL float64
	// RankCorrelation is Spearman's correlation, equal values sharing their mean
	// rank, over the reference's min(100, width) largest logits and the
	// candidate's values there. 1 where all are equal on both sides or only one
	// is left, 0 where all are equal on one side.
	RankCorrelation float64
	// Margin is the reference's largest logit less its second, +Inf where there
	// is no second.
	Margin float64
	// Gap is the reference's largest logit less its logit of the candidate's
	// choice: 0 when the two agree.
	Gap float64
	// N is the number of elements that took part.
	N int
}

// noLogits is the row of which nothing can be said: every figure is NaN.
func noLogits(n int) LogitsRow {
	nan := math.NaN()
	return LogitsRow{RefTop: -1, CandTop: -1, TopKOverlap: nan, KL: nan, RankCorrelation: nan, Margin: nan, Gap: nan, N: n}
}

// Agrees reports whether both sides choose the same element.
func (l *LogitsRow) Agrees() bool { return l.RefTop >= 0 && l.RefTop == l.CandTop }

// LogitsKernel measures rows of logits. It holds buffers: use one a goroutine.
type LogitsKernel struct {
	cfg    Config
	ops    *logitsOps
	row32  rowOf[float32]
	row64  rowOf[float64]
	index  []int32 // element of each value that takes part, nil when all do
	chosen [2]chosen
	klSums klSums
}

// NewLogitsKernel returns a kernel for that configuration.
func NewLogitsKernel(cfg Config) *LogitsKernel {
	return &LogitsKernel{cfg: cfg, ops: logitsFor(cfg)}
}

// Name is the kind of kernel that runs: "avx512", "avx2" or "portable".
func (k *LogitsKernel) Name() string { return k.ops.name }

// Row measures one whole row. It returns an error when the blocks do not hold
// the same number of values.
func (k *LogitsKernel) Row(ref, cand Block) (LogitsRow, error) {
	if ref.DType < F32 || ref.DType > F64 || cand.DType < F32 || cand.DType > F64 {
		return noLogits(0), fmt.Errorf("logits: unknown dtype %d or %d", ref.DType, cand.DType)
	}
	n := len(ref.Data) / ref.DType.Size()
	t := Tile{Rows: 1, Width: n, Ref: ref, Cand: cand}
	if err := t.check(); err != nil {
		return noLogits(0), fmt.Errorf("logits: %w", err)
	}
	if n == 0 {
		return noLogits(0), nil
	}
	if ref.DType == F64 || cand.DType == F64 {
		return k.wide(ref, cand, n), nil
	}
	r, c := k.values(0, ref, n), k.values(1, cand, n)
	k.index = k.index[:0]
	bits := k.peaks(r, c)
	heap := [2]uint8{}
	if ref.DType == F32 {
		heap[0] = heapPointers(r, k.cfg.above())
	}
	if cand.DType == F32 {
		heap[1] = heapPointers(c, k.cfg.above())
	}
	if bits > floorBits(k.cfg.above()) || heap != [2]uint8{} || len(k.cfg.SkipElements) > 0 {
		r, c = compact(k, &k.row32, r, c, heap)
		bits = k.peaks(r, c)
	}
	var row LogitsRow
	if bits <= maxFastBits && len(r) >= fastLogitsMin {
		row = k.narrow(r, c)
	} else {
		row = measureLogits(&k.row32, r, c)
	}
	k.place(&row)
	return row, nil
}

// wide measures a row that holds F64 values.
func (k *LogitsKernel) wide(ref, cand Block, n int) LogitsRow {
	k.row64.size(n)
	r, c := k.row64.vals[0][:n], k.row64.vals[1][:n]
	decode64(r, ref.DType, ref.Data)
	decode64(c, cand.DType, cand.Data)
	r, c = compact(k, &k.row64, r, c, [2]uint8{})
	row := measureLogits(&k.row64, r, c)
	k.place(&row)
	return row
}

// values reads a block of at most 32 bits, in place where that works.
func (k *LogitsKernel) values(side int, b Block, n int) []float32 {
	if b.DType == F32 {
		if v := inPlace[float32](b.Data, n); v != nil {
			return v
		}
	}
	k.row32.size(n)
	v := k.row32.vals[side][:n]
	k.ops.decode(v, b.DType, b.Data)
	return v
}

// place turns indices into the compacted row into elements.
func (k *LogitsKernel) place(row *LogitsRow) {
	if len(k.index) == 0 {
		return
	}
	for _, top := range []*int{&row.RefTop, &row.CandTop} {
		if *top >= 0 {
			*top = int(k.index[*top])
		}
	}
}

// compact leaves out skipped elements and garbage of a masked side.
func compact[T float32 | float64](k *LogitsKernel, w *rowOf[T], r, c []T, heap [2]uint8) ([]T, []T) {
	w.size(len(r))
	k.index = k.index[:0]
	ref := scalar[T]{cfg: &k.cfg, above: k.cfg.above()}
	skip := newSkipCursor(k.cfg.SkipElements, 0)
	for i, x := range r {
		if skip.has(i) || ref.absent(heap, i, float64(x), float64(c[i])) {
			continue
		}
		// The values may stand in the same buffers: the target never runs ahead.
		n := len(k.index)
		w.vals[0][n], w.vals[1][n] = x, c[i]
		k.index = append(k.index, int32(i))
	}
	return w.vals[0][:len(k.index)], w.vals[1][:len(k.index)]
}

// absent reports whether a pair is left out as garbage of a masked side.
func (k *scalar[T]) absent(heap [2]uint8, e int, r, c float64) bool {
	if math.IsInf(r, 0) && r == c {
		return false
	}
	for side, v := range [2]float64{r, c} {
		if _, is := k.garbage(heap[side], e, v); is && k.cfg.masks(Side(side)) {
			return true
		}
	}
	return false
}

// rowOf holds the buffers of rows of one type.
type rowOf[T float32 | float64] struct {
	vals  [2][]T
	ref   []ranked[T] // the reference's largest values, largest first
	cand  []ranked[T]
	x, y  []ranked[T] // ref's values and the candidate's there
	ranks [2][]float64
	keys  []uint64
}

func (w *rowOf[T]) size(n int) {
	if cap(w.vals[0]) < n {
		w.vals = [2][]T{make([]T, n), make([]T, n)}
	}
}

// measureLogits measures rows of any values.
func measureLogits[T float32 | float64](w *rowOf[T], r, c []T) LogitsRow {
	if len(r) == 0 {
		return noLogits(0)
	}
	nanRef, nanCand := hasNaN(r), hasNaN(c)
	if nanRef || nanCand {
		row := noLogits(len(r))
		if !nanRef {
			w.ref = largest(w.ref, r, 1)
			row.RefTop = int(w.ref[0].at)
		}
		if !nanCand {
			w.cand = largest(w.cand, c, 1)
			row.CandTop = int(w.cand[0].at)
		}
		return row
	}
	w.ref = largest(w.ref, r, rankDepth)
	w.cand = largest(w.cand, c, topK)
	row := w.tops(r, c)
	row.KL = klOf(r, c, int(w.ref[0].at), int(w.cand[0].at))
	return row
}

// tops fills all but KL from the largest values of both sides.
func (w *rowOf[T]) tops(r, c []T) LogitsRow {
	row := LogitsRow{RefTop: int(w.ref[0].at), CandTop: int(w.cand[0].at), N: len(r), Margin: math.Inf(1)}
	k := min(topK, len(r))
	both := 0
	for _, a := range w.ref[:k] {
		for _, b := range w.cand[:k] {
			if a.at == b.at {
				both++
			}
		}
	}
	row.TopKOverlap = float64(both) / float64(k)
	if len(w.ref) > 1 {
		row.Margin = gap(w.ref[0].v, w.ref[1].v)
	}
	row.Gap = gap(w.ref[0].v, r[w.cand[0].at])
	row.RankCorrelation = w.spearman(c)
	return row
}

// gap is a−b, and 0 for two equal infinities.
func gap[T float32 | float64](a, b T) float64 {
	if a == b {
		return 0
	}
	return float64(a) - float64(b)
}

func hasNaN[T float32 | float64](v []T) bool {
	for _, x := range v {
		if x != x {
			return true
		}
	}
	return false
}
