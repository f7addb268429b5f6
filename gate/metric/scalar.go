package metric

import (
	"math"
	"unsafe"
)

// streams of a tile, in the order in which a kernel keeps them.
const (
	streamRef = iota
	streamCand
	streamPrevRef
	streamPrevCand
	streamCount
)

// rowInfo is what is known of a row before its elements are looked at.
type rowInfo struct {
	row  int
	heap [streamCount]uint8 // heapPointers of each stream
}

// segment is a run of elements of one row, decoded.
type segment[T float32 | float64] struct {
	first    int // element index of the first value
	r, c     []T
	pr, pc   []T // previous values, or empty
	channels [channelPlanes][]float64
}

// scalar is the reference: it says what every kernel must say. It takes any
// values, and treats garbage, skipped elements and mismatches.
type scalar[T float32 | float64] struct {
	cfg   *Config
	above float64
	unit  ulpUnit
	p     *Partial
}

// segment adds a run of elements to the row's stats.
func (k *scalar[T]) segment(info *rowInfo, g segment[T]) {
	s := &k.p.Rows[info.row]
	skip := newSkipCursor(k.cfg.SkipElements, g.first)
	for i := range g.r {
		e := g.first + i
		if skip.has(e) {
			s.Skipped++
			continue
		}
		r, c := g.r[i], g.c[i]
		if !k.admit(s, info, e, float64(r), float64(c)) {
			continue
		}
		diff, scale := errorOf(r, c)
		s.addPair(e, float64(r), float64(c), diff, scale)
		k.p.ulp[ulpBin(float64(r), float64(c), k.unit)]++
		if r < 0 && c > 0 || r > 0 && c < 0 {
			k.p.flip(float32(r))
		}
		if g.channels[0] != nil {
			d := float64(c) - float64(r)
			g.channels[planeDiff2][i] += d * d
			g.channels[planeRef2][i] += float64(r) * float64(r)
			g.channels[planeDiff][i] += d
			g.channels[planeCross][i] += d * float64(r)
		}
		if len(g.pr) > 0 {
			k.added(s, info, e, [2]float64{float64(r), float64(c)}, [2]float64{float64(g.pr[i]), float64(g.pc[i])})
		}
	}
}

// admit classifies a pair and reports whether it takes part in the sums.
func (k *scalar[T]) admit(s *Stats, info *rowInfo, e int, r, c float64) bool {
	if math.IsInf(r, 0) && r == c {
		s.MatchedInf++
		return false
	}
	masked := false
	for side, v := range [2]float64{r, c} {
		if kind, is := k.garbage(info.heap[side], e, v); is {
			s.Garbage[side][kind]++
			k.p.report(info.row, e, Side(side), kind)
			masked = masked || k.cfg.masks(Side(side))
		}
	}
	switch {
	case masked:
		s.Masked++
		return false
	case !isFinite(r) || !isFinite(c):
		if s.Mismatch == 0 {
			s.MaxAbs, s.MaxAbsAt = math.Inf(1), e
			s.MaxRel, s.MaxRelAt = math.Inf(1), e
		}
		s.Mismatch++
		return false
	}
	return true
}

func (k *scalar[T]) garbage(heap uint8, e int, v float64) (GarbageKind, bool) {
	switch {
	case e < heapWindow && heap>>e&1 != 0:
		return HeapPointer, true
	case !isFinite(v):
		return NonFinite, true
	case math.Abs(v) > k.above:
		return Huge, true
	}
	return 0, false
}

// addPair adds one compared pair. diff and scale are |c−r| and |r| floored at
// 1e-8, in the precision in which maxima and counts are evaluated.
func (s *Stats) addPair(e int, r, c float64, diff, scale figure) {
	d := c - r
	s.SumAbs += math.Abs(d)
	s.SumSq += d * d
	s.SumRef2 += r * r
	s.SumCand2 += c * c
	s.SumCross += r * c
	if first := !s.seen(); first || diff.value > s.MaxAbs {
		s.MaxAbs, s.MaxAbsAt = diff.value, e
	}
	rel := diff.over(scale)
	if first := !s.seen(); first || rel > s.MaxRel {
		s.MaxRel, s.MaxRelAt = rel, e
	}
	if diff.above(rel, 0.01) {
		s.Over1++
	}
	if diff.above(rel, 0.1) {
		s.Over10++
	}
	if withinMagnitude(r, c, diff.narrow) {
		s.Magnitude++
	}
	s.N++
}

// added adds one pair to the sums of what the layer added, if both previous
// values can be used.
func (k *scalar[T]) added(s *Stats, info *rowInfo, e int, now, prev [2]float64) {
	for side, v := range prev {
		if !isFinite(v) {
			return
		}
		if _, is := k.garbage(info.heap[streamPrevRef+side], e, v); is && k.cfg.masks(Side(side)) {
			return
		}
	}
	a := (now[1] - now[0]) - (prev[1] - prev[0])
	step := now[0] - prev[0]
	s.SumAddedSq += a * a
	s.SumStep2 += step * step
	s.HasAdded = true
}

// figure is a value that is evaluated in float32 (narrow) or float64.
type figure struct {
	value  float64
	narrow bool
}

// errorOf returns |c−r| and max(|r|, 1e-8).
func errorOf[T float32 | float64](r, c T) (diff, scale figure) {
	d := math.Abs(float64(c - r))
	if unsafe.Sizeof(r) == 4 && d <= math.MaxFloat32 {
		return figure{d, true}, figure{float64(max(float32(math.Abs(float64(r))), relFloor)), true}
	}
	return figure{math.Abs(float64(c) - float64(r)), false}, figure{max(math.Abs(float64(r)), relFloor), false}
}

func (f figure) over(scale figure) float64 {
	if f.narrow {
		return float64(float32(f.value) / float32(scale.value))
	}
	return f.value / scale.value
}

// above reports whether a relative error exceeds a share.
func (f figure) above(rel, share float64) bool {
	if f.narrow {
		return float32(rel) > float32(share)
	}
	return rel > share
}

func withinMagnitude(r, c float64, narrow bool) bool {
	ar, ac := math.Abs(r), math.Abs(c)
	if narrow {
		return 10*float32(ac) >= float32(ar) && 10*float32(ar) >= float32(ac)
	}
	return 10*ac >= ar && 10*ar >= ac
}

func isFinite(v float64) bool { return math.Abs(v) <= math.MaxFloat64 }

// skipCursor walks an ascending list of elements along with a loop.
type skipCursor struct {
	rest []int
}

func newSkipCursor(list []int, first int) skipCursor {
	return skipCursor{list[lowerBound(list, first):]}
}

// has reports whether e is in the list; e must not decrease between calls.
func (s *skipCursor) has(e int) bool {
	for len(s.rest) > 0 && s.rest[0] < e {
		s.rest = s.rest[1:]
	}
	return len(s.rest) > 0 && s.rest[0] == e
}

// lowerBound is the index of the first entry that is not below v.
func lowerBound(list []int, v int) int {
	lo, hi := 0, len(list)
	for lo < hi {
		if mid := (lo + hi) / 2; list[mid] < v {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}
