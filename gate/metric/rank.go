package metric

import (
	"math"
	"slices"
)

// ranked is a value and where it stands.
type ranked[T float32 | float64] struct {
	v  T
	at int32
}

// byRank orders larger values first, and lower indices among equals.
func byRank[T float32 | float64](a, b ranked[T]) int {
	switch {
	case a.v > b.v:
		return -1
	case a.v < b.v:
		return 1
	}
	return int(a.at) - int(b.at)
}

// largest returns the min(k, n) largest values in order, in dst's memory. The
// values hold no NaN.
func largest[T float32 | float64](dst []ranked[T], v []T, k int) []ranked[T] {
	dst = dst[:0]
	limit := T(math.Inf(-1))
	for i, x := range v {
		// Values at the limit that come later lose to those that are there.
		if x <= limit && len(dst) >= k {
			continue
		}
		dst = append(dst, ranked[T]{x, int32(i)})
		if len(dst) >= 4*k {
			dst, limit = trim(dst, k)
		}
	}
	dst, _ = trim(dst, k)
	return dst
}

// trim sorts and keeps the first k; the limit is the last value kept.
func trim[T float32 | float64](d []ranked[T], k int) ([]ranked[T], T) {
	slices.SortFunc(d, byRank[T])
	if len(d) > k {
		d = d[:k]
	}
	if len(d) < k {
		return d, T(math.Inf(-1))
	}
	return d, d[len(d)-1].v
}

// spearman is the rank correlation of the reference's largest values with the
// candidate's values there.
func (w *rowOf[T]) spearman(c []T) float64 {
	n := len(w.ref)
	w.x, w.y = w.x[:0], w.y[:0] // x is in order already
	for i, a := range w.ref {
		w.x = append(w.x, ranked[T]{a.v, int32(i)})
		w.y = append(w.y, ranked[T]{c[a.at], int32(i)})
	}
	for s, d := range [2][]ranked[T]{w.x, w.y} {
		if cap(w.ranks[s]) < n {
			w.ranks[s] = make([]float64, rankDepth)
		}
		w.ranks[s] = w.ranks[s][:n]
		if s == 1 {
			w.sort(d)
		}
		for i := 0; i < n; {
			j := i
			for j < n && d[j].v == d[i].v {
				j++
			}
			mean := float64(i+j-1) / 2
			for ; i < j; i++ {
				w.ranks[s][d[i].at] = mean
			}
		}
	}
	return correlation(w.ranks[0], w.ranks[1])
}

// sort orders by rank.
func (w *rowOf[T]) sort(d []ranked[T]) {
	if _, narrow := any(d).([]ranked[float32]); !narrow {
		slices.SortFunc(d, byRank[T])
		return
	}
	// Numbers are sorted several times as fast.
	w.keys = w.keys[:0]
	for _, e := range d {
		w.keys = append(w.keys, rankKey(float32(e.v), int(e.at)))
	}
	slices.Sort(w.keys)
	for i, k := range w.keys {
		d[i] = ranked[T]{T(keyValue(^uint32(k >> 32))), int32(uint32(k))}
	}
}

// correlation is Pearson's, of ranks 0 … n−1. Two constant sides, or single
// values, agree: 1. A constant side against another says nothing: 0.
func correlation(x, y []float64) float64 {
	mean := float64(len(x)-1) / 2 // shared ranks keep it
	var xx, yy, xy float64
	for i := range x {
		a, b := x[i]-mean, y[i]-mean
		xx += a * a
		yy += b * b
		xy += a * b
	}
	switch {
	case xx == 0 && yy == 0:
		return 1
	case xx == 0 || yy == 0:
		return 0
	}
	return max(-1, min(1, xy/math.Sqrt(xx*yy)))
}
