package metric

import (
	"math"
	"math/bits"
	"slices"
)

// orderKey is a number that orders like the value; both zeros have the same.
func orderKey(x float32) uint32 {
	b := math.Float32bits(x + 0)
	return b ^ (uint32(int32(b)>>31) | 1<<31)
}

// rankKey orders larger values first, and lower indices among equals.
func rankKey(x float32, at int) uint64 { return uint64(^orderKey(x))<<32 | uint64(uint32(at)) }

// chosen finds the largest of a row's values from the peaks of its runs.
type chosen struct {
	peaks   []float32
	keys    []uint32
	buckets [1 << bucketBits]uint32
	found   []uint64 // rank keys
}

const bucketBits = 10

// size makes room for the peaks of n values.
func (s *chosen) size(n int) {
	if runs := n / peakLen; cap(s.peaks) < runs {
		s.peaks, s.keys = make([]float32, runs), make([]uint32, runs)
	} else {
		s.peaks = s.peaks[:runs]
	}
}

// bound is a key that at least n of the peaks reach, and few more: the peaks
// are sorted into buckets, those of the one that holds the n-th into finer
// ones, until that makes little difference.
func (s *chosen) bound(n int) uint32 {
	keys := s.keys[:len(s.peaks)]
	low, high := uint32(math.MaxUint32), uint32(0)
	for i, p := range s.peaks {
		k := orderKey(p)
		keys[i] = k
		low, high = min(low, k), max(high, k)
	}
	for {
		shift := max(0, bits.Len32(high-low)-bucketBits)
		clear(s.buckets[:])
		for _, k := range keys {
			if d := k - low; d <= high-low {
				s.buckets[d>>shift&(1<<bucketBits-1)]++
			}
		}
		b, above := int((high-low)>>shift), 0
		for above+int(s.buckets[b]) < n {
			above += int(s.buckets[b])
			b--
		}
		from := low + uint32(b)<<shift
		if shift == 0 || int(s.buckets[b]) <= 1+n/2 {
			return from
		}
		n -= above
		low, high = from, min(high, from+(1<<shift-1))
	}
}

// largest is like the function of that name, for values whose peaks are known.
func (s *chosen) largest(dst []ranked[float32], v []float32, n int, over func(v []float32, limit float32) uint64) []ranked[float32] {
	bound := s.bound(n)
	limit := keyValue(bound)
	found := s.found[:0]
	for run, k := range s.keys[:len(s.peaks)] {
		if k < bound {
			continue
		}
		at := run * peakLen
		for m := over(v[at:at+peakLen], limit); m != 0; m &= m - 1 {
			i := at + bits.TrailingZeros64(m)
			found = append(found, rankKey(v[i], i))
		}
		if len(found) >= 16*n { // many equal values
			slices.Sort(found)
			found = found[:n]
		}
	}
	for i := len(s.peaks) * peakLen; i < len(v); i++ {
		if v[i] >= limit {
			found = append(found, rankKey(v[i], i))
		}
	}
	slices.Sort(found)
	s.found = found
	dst = dst[:0]
	for _, k := range found[:n] {
		at := int32(uint32(k))
		dst = append(dst, ranked[float32]{v[at], at})
	}
	return dst
}

// keyValue is the value of a key.
func keyValue(k uint32) float32 {
	return math.Float32frombits(k ^ (uint32(int32(^k)>>31) | 1<<31))
}

// overGo has a bit for each of peakLen values that is not below limit.
func overGo(v []float32, limit float32) (m uint64) {
	for i, x := range (*[peakLen]float32)(v) {
		if x >= limit {
			m |= 1 << i
		}
	}
	return m
}
