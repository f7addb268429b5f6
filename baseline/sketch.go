package baseline

import (
	"encoding/binary"
	"math"

	"github.com/paritygate/paritygate/gate/metric"
)

// Sketch is a random projection of one row, or of the sum of several, to a few
// dozen numbers: enough to estimate how far the row is from another of which
// only the sketch is left.
//
// It is a CountSketch (Charikar, Chen and Farach-Colton, Finding frequent items
// in data streams, 2002): each element x_i is added, with a random sign s_i, to
// one of k = [Buckets] buckets h(i),
//
//	S_b = Σ_{h(i)=b} s_i·x_i
//
// so that S is linear in x, and the sketch of a difference is the difference of
// the sketches. The squared norm of that is the estimate (Thorup and Zhang,
// Tabulation based 4-universal hashing with applications to second moment
// estimation, 2004, after Alon, Matias and Szegedy, 1996):
//
//	E[Σ_b (S_b−T_b)²] = ‖x−y‖²      Var ≤ (2/k)·‖x−y‖⁴
//
// It is unbiased, with a relative standard deviation of at most √(2/k) = 25 % for
// the square of one row's distance, and of about half of that for the distance.
// Rows have independent hashes: over rows with distances d_p the relative
// variance of Σd_p² is (2/k)·Σd_p⁴/(Σd_p²)², so that it falls as one over their
// number. For the sum of several rows, each of which has its own hash, the bound
// is that of one row.
//
// Signs and buckets come from a hash of checkpoint, position and element, and are
// the same in every run on every machine. Elements are hashed in runs of 32: a run
// has 32 sign bits, and 5 bits that are added to the element's place in it
// without carry. Two elements of one run never share a bucket and two of
// different runs do with probability 1/k, which is what the bound needs.
//
// Sums are float64 and stored as float32: distances below 2⁻²³ of the row's norm
// are lost in that.
type Sketch struct {
	// Norm2 is the squared norm: of one row, or the sum of those of several. NaN
	// says that there is no sketch: a row holds a value that is not finite, or is
	// longer than 1e10 (garbage).
	Norm2   float32
	Buckets [Buckets]float32
}

// Valid reports whether there is a sketch at all.
func (s *Sketch) Valid() bool { return s.Norm2 == s.Norm2 }

// noSketch stands where a row holds garbage.
var noSketch = Sketch{Norm2: float32(math.NaN())}

// maxNorm2 is the square of the longest row that is sketched.
const maxNorm2 = 1e20

// runLen is how many elements share one hash.
const runLen = 32

// rowSum is a row's projection while it is summed.
type rowSum struct {
	norm2   float64
	buckets [Buckets]float64
}

// add projects a row. Rows that hold garbage give a norm beyond maxNorm2, or NaN.
func (s *rowSum) add(b metric.Block, key uint64) {
	size := runLen * b.DType.Size()
	data, run := b.Data, uint64(0)
	for ; len(data) >= size; run++ {
		s.run(b.DType, data[:size], mix(key+run*golden))
		data = data[size:]
	}
	if len(data) > 0 {
		var last [runLen * 8]byte // zeros add nothing
		copy(last[:], data)
		s.run(b.DType, last[:size], mix(key+run*golden))
	}
}

// run adds 32 elements under one hash.
func (s *rowSum) run(d metric.DType, data []byte, h uint64) {
	switch d {
	case metric.F64:
		s.run64(data, h)
	case metric.F32:
		s.run32((*[4 * runLen]byte)(data), h)
	default:
		var wide [4 * runLen]byte
		widen(&wide, d, (*[2 * runLen]byte)(data))
		s.run32(&wide, h)
	}
}

// run32 is the inner loop. The sign is turned in the element's bits, and the
// products are exact, so that no machine rounds them differently.
func (s *rowSum) run32(d *[4 * runLen]byte, h uint64) {
	const sign = 1 << 31
	signs, shift := uint32(h), int(h>>59)
	acc := &s.buckets
	var n0, n1, n2, n3 float64
	for i := 0; i < runLen; i += 4 {
		x0 := float64(math.Float32frombits(binary.LittleEndian.Uint32(d[4*i:]) ^ signs<<31))
		x1 := float64(math.Float32frombits(binary.LittleEndian.Uint32(d[4*i+4:]) ^ signs<<30&sign))
		x2 := float64(math.Float32frombits(binary.LittleEndian.Uint32(d[4*i+8:]) ^ signs<<29&sign))
		x3 := float64(math.Float32frombits(binary.LittleEndian.Uint32(d[4*i+12:]) ^ signs<<28&sign))
		acc[(i^shift)&(Buckets-1)] += x0
		acc[((i+1)^shift)&(Buckets-1)] += x1
		acc[((i+2)^shift)&(Buckets-1)] += x2
		acc[((i+3)^shift)&(Buckets-1)] += x3
		n0 += x0 * x0
		n1 += x1 * x1
		n2 += x2 * x2
		n3 += x3 * x3
		signs >>= 4
	}
	s.norm2 += (n0 + n1) + (n2 + n3)
}

func (s *rowSum) run64(data []byte, h uint64) {
	shift := int(h >> 59)
	var n float64
	for i := range runLen {
		x := math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:]) ^ h>>i<<63)
		s.buckets[(i^shift)&(Buckets-1)] += x
		n += float64(x * x) // rounded by itself: a fused product would differ by machine
	}
	s.norm2 += n
}

// widen turns 32 values of 16 bits into those of 32 bits, exactly.
func widen(to *[4 * runLen]byte, d metric.DType, data *[2 * runLen]byte) {
	if d == metric.BF16 {
		for i := range runLen {
			binary.LittleEndian.PutUint32(to[4*i:], uint32(binary.LittleEndian.Uint16(data[2*i:]))<<16)
		}
		return
	}
	for i := range runLen {
		// Shift into the place of a float32 and rescale.
		h := uint32(binary.LittleEndian.Uint16(data[2*i:]))
		u := math.Float32bits(math.Float32frombits(h&0x7fff<<13) * 0x1p112)
		if h&0x7c00 == 0x7c00 { // not finite, and so no number that is sketched
			u |= 0x7f800000
		}
		binary.LittleEndian.PutUint32(to[4*i:], u|h&0x8000<<16)
	}
}

// sketch is a row's sketch, or none where it holds garbage.
func (s *rowSum) sketch() Sketch {
	if !(s.norm2 <= maxNorm2) {
		return noSketch
	}
	return s.rounded()
}

// rounded are the sums as they are stored.
func (s *rowSum) rounded() Sketch {
	out := Sketch{Norm2: float32(s.norm2)}
	for i, v := range s.buckets {
		out.Buckets[i] = float32(v)
	}
	return out
}

// golden is 2⁶⁴ over the golden ratio, the step of the hash's counter.
const golden = 0x9e3779b97f4a7c15

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(z uint64) uint64 {
	z += golden
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
