package metric

import (
	"math"
	"slices"
)

// Percentile is the p-quantile of the values (p within 0 … 1), interpolated
// linearly at p·(n−1) of the sorted values. NaN when there are none, when one
// of them is NaN, or when p is out of its range: a bad value must not vanish
// in the sorting. values keeps its order.
func Percentile(values []float64, p float64) float64 {
	if len(values) == 0 || !(p >= 0 && p <= 1) {
		return math.NaN()
	}
	v := slices.Clone(values)
	slices.Sort(v)
	if math.IsNaN(v[0]) { // Sort puts NaN first.
		return math.NaN()
	}
	at := p * float64(len(v)-1)
	lo := int(at)
	if f := at - float64(lo); f > 0 && v[lo+1] != v[lo] {
		if math.IsInf(v[lo], -1) && math.IsInf(v[lo+1], 1) {
			return math.NaN()
		}
		if math.IsInf(v[lo], 0) || math.IsInf(v[lo+1], 0) {
			return v[lo] + v[lo+1]
		}
		return v[lo]*(1-f) + v[lo+1]*f
	}
	return v[lo]
}
