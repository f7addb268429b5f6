package metric

import (
	"math"
	"math/bits"
)

// blockOps are the inner loops of a kernel. All but maxBits and counts take
// finite float32 values within maxFastBits only. They take slices of equal length, a multiple of eight.
type blockOps struct {
	name string
	// pass, where there is one, is counts, and with a w ulp32, and where counts
	// finds nothing above maxFastBits sums or, with previous values, added, in one
	// go. Its maxBits looks at the previous values, too.
	pass func(r, c, pr, pc []float32, s *blockSums, n *blockCounts, w *ulpWork)
	// maxBits is the largest float32 pattern without its sign in a and b; it takes
	// any values.
	maxBits func(a, b []float32) uint32
	sums    func(r, c []float32, o *blockSums)
	added   func(r, c, pr, pc []float32, o *blockSums)
	counts  func(r, c []float32, o *blockCounts)
	// ulp32 and ulp16 add to the histogram and set bit i%8 of w.mask[i/8] where
	// the signs of non-zero values differ; of zeros it may be either. ulp16 takes
	// the 16-bit patterns.
	ulp32 func(r, c []float32, h *UlpHistogram, w *ulpWork)
	ulp16 func(r, c []uint16, h *UlpHistogram, w *ulpWork)
	// ulpMixed is ulp32 in units of the coarser of two dtypes.
	ulpMixed func(r, c []float32, u ulpUnit, h *UlpHistogram, w *ulpWork)
	// channels adds the first rows of r and c to the channel sums, planes that
	// begin stride values apart; with set it overwrites them.
	channels func(r, c *[groupRows][]float32, rows int, sums []float64, stride int, set bool)
	// findAbs and findRel are the first index of a value that is there.
	findAbs, findRel func(r, c []float32, v float32) int
	// decode widens 16-bit values, and copies F32; any length.
	decode func(dst []float32, dtype DType, src []byte)
	// add adds src to dst; any length.
	add func(dst, src []float64)
}

// blockSums are the sums of one run; the layout is known to the assembly.
type blockSums struct {
	abs, sq, ref2, cand2, cross, addedSq, step2 float64
}

func (o *blockSums) addTo(s *Stats) {
	s.SumAbs += o.abs
	s.SumSq += o.sq
	s.SumRef2 += o.ref2
	s.SumCand2 += o.cand2
	s.SumCross += o.cross
	s.SumAddedSq += o.addedSq
	s.SumStep2 += o.step2
}

// add adds the sums of a further run.
func (o *blockSums) add(b *blockSums) {
	o.abs += b.abs
	o.sq += b.sq
	o.ref2 += b.ref2
	o.cand2 += b.cand2
	o.cross += b.cross
	o.addedSq += b.addedSq
	o.step2 += b.step2
}

// blockCounts are maxima and counts of one run; the layout is known to the assembly.
type blockCounts struct {
	maxAbs, maxRel           float32
	over1, over10, magnitude int32
	// maxBits is as in blockOps; above maxFastBits the other fields mean nothing.
	maxBits uint32
}

// merge adds the counts of a further run.
func (o *blockCounts) merge(b *blockCounts) {
	o.maxAbs, o.maxRel = max(o.maxAbs, b.maxAbs), max(o.maxRel, b.maxRel)
	o.over1 += b.over1
	o.over10 += b.over10
	o.magnitude += b.magnitude
	o.maxBits = max(o.maxBits, b.maxBits)
}

// opsFor are the fastest loops that the configuration and the machine allow.
func opsFor(cfg Config) *blockOps {
	if !cfg.Portable {
		for _, o := range nativeBlocks() {
			if cfg.only == "" || cfg.only == o.name {
				return o
			}
		}
	}
	return &portableOps
}

// floorBits is the pattern of the largest float32 that is not above v > 0.
func floorBits(v float64) uint32 {
	if v >= math.MaxFloat32 {
		return math.Float32bits(math.MaxFloat32)
	}
	f := float32(v)
	if float64(f) > v {
		return math.Float32bits(f) - 1
	}
	return math.Float32bits(f)
}

// noteFlips notes |r| of the elements whose bit is set, zeros apart.
func (p *Partial) noteFlips(r, c []float32, mask []byte) {
	for i, m := range mask {
		for ; m != 0; m &= m - 1 {
			if at := 8*i + bits.TrailingZeros8(m); r[at] != 0 && c[at] != 0 {
				p.flip(r[at])
			}
		}
	}
}

// ulpWork is scratch of the ULP loops.
type ulpWork struct {
	mask  [blockLen / 8]byte // from pass and the ULP loops
	codes [blockLen + 96]byte
	above [ulpBins - 1]int64 // pairs above each bin but the last
}

// addTo turns the counts of n pairs into those of bins.
func (w *ulpWork) addTo(h *UlpHistogram, n int) {
	left := int64(n)
	for b, above := range w.above {
		h[b] += left - above
		left = above
	}
	h[ulpBins-1] += left
}
