package metric

import (
	"math"
	"math/bits"
)

// ulpEdges are the first distances of the bins 1 … 12 of the ULP histogram;
// bin 0 holds equal values. All are powers of two.
var ulpEdges = [ulpBins - 1]uint32{1, 2, 4, 16, 64, 256, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 20, 1 << 24}

const ulpBins = 13

// ulpBinOfLen maps the bit length of a distance to its bin.
var ulpBinOfLen = func() (t [65]uint8) {
	for l := range t {
		for b, e := range ulpEdges {
			if l >= bits.Len32(e) {
				t[l] = uint8(b + 1)
			}
		}
	}
	return t
}()

// UlpHistogram counts pairs by their distance in units in the last place (ULP)
// of the coarser of the two dtypes: the number of representable values from
// one to the other, 0 and −0 being one. Where the finer side's value lies between two of them,
// the distance is rounded up. Bins begin at 0, 1, 2, 4, 16, 64, 256, 2¹⁰,
// 2¹², 2¹⁴, 2¹⁶, 2²⁰ and 2²⁴.
type UlpHistogram [ulpBins]int64

// Percentile is the upper edge of the bin that holds the p-quantile (0 < p ≤ 1):
// the value of rank ⌈p·n⌉ is at most that far. +Inf beyond 2²⁴−1, NaN when the
// histogram is empty.
func (h *UlpHistogram) Percentile(p float64) float64 {
	var n int64
	for _, v := range h {
		n += v
	}
	if n == 0 {
		return math.NaN()
	}
	rank := int64(math.Ceil(p * float64(n)))
	var below int64
	for b, v := range h[:ulpBins-1] {
		if below += v; below >= rank {
			return float64(ulpEdges[b] - 1)
		}
	}
	return math.Inf(1)
}

// ulpUnit is the grid on which distances are counted.
type ulpUnit uint8

const (
	ulpF32 ulpUnit = iota
	ulpF16
	ulpBF16
	ulpF64
)

// coarser is the grid of the coarser of two dtypes. BF16 counts as coarser
// than F16: it has fewer bits of precision.
func coarser(a, b DType) ulpUnit {
	switch {
	case a == BF16 || b == BF16:
		return ulpBF16
	case a == F16 || b == F16:
		return ulpF16
	case a == F64 && b == F64:
		return ulpF64
	}
	return ulpF32
}

// ulpBin is the bin of the distance between two finite values.
func ulpBin(r, c float64, u ulpUnit) uint8 {
	if u == ulpF64 {
		return ulpBinOfLen[bits.Len64(ulpDistance64(r, c))]
	}
	return ulpBin32(float32(r), float32(c), u)
}

func ulpBin32(r, c float32, u ulpUnit) uint8 {
	scale, shift := u.grid()
	d := ulpDistance32(math.Float32bits(r*scale), math.Float32bits(c*scale))
	return ulpBinOfLen[bits.Len64((d+1<<shift-1)>>shift)]
}

// grid says how float32 values are to be scaled, and by how many bits their
// distance shifted, to count in units of a 16-bit type. Scaled by 2⁻¹¹², the
// float32 pattern of a half is its own pattern shifted by 13 bits, subnormals too.
func (u ulpUnit) grid() (scale float32, shift uint) {
	switch u {
	case ulpBF16:
		return 1, 16
	case ulpF16:
		return 0x1p-112, 13
	}
	return 1, 0
}

// ulpDistance32 is the number of float32 steps between two patterns.
func ulpDistance32(r, c uint32) uint64 {
	a, b := uint64(r&^(1<<31)), uint64(c&^(1<<31))
	if (r^c)>>31 != 0 {
		return a + b
	}
	return max(a, b) - min(a, b)
}

func ulpDistance64(r, c float64) uint64 {
	x, y := math.Float64bits(r), math.Float64bits(c)
	a, b := x&^(1<<63), y&^(1<<63)
	if (x^y)>>63 != 0 {
		return a + b
	}
	return max(a, b) - min(a, b)
}
