//go:build amd64 && !purego

package metric

// hasAVX512 says that the processor and the system have AVX2 and AVX-512's
// F, DQ, BW, VL and CD.
var hasAVX512 = func() bool {
	const f, dq, cd, bw, vl = 1 << 16, 1 << 17, 1 << 28, 1 << 30, 1 << 31
	const zmmState = 0xe6 // the masks, and both halves of the wide registers, besides AVX's
	const need = f | dq | cd | bw | vl
	if !hasAVX2 || xgetbv()&zmmState != zmmState {
		return false
	}
	_, b, _, _ := cpuid(7, 0)
	return b&need == need
}()

// avx512Ops take AVX2's loops where time is not spent.
var avx512Ops = func() blockOps {
	o := avx2Ops
	o.name, o.pass, o.channels = "avx512", passWide, channelsWide
	return o
}()

var avx512Logits = func() logitsOps {
	o := avx2Logits
	o.name, o.peaks, o.over, o.kl = "avx512", peaksWide, overWide, klWide
	return o
}()

// passLen is how many pairs a turn of the assembly takes.
const passLen = 64

// passWide does what is not a multiple of passLen in a run filled up with
// zeros, which count nowhere.
func passWide(r, c, pr, pc []float32, s *blockSums, n *blockCounts, w *ulpWork) {
	c = c[:len(r)]
	whole := len(r) &^ (passLen - 1)
	if whole > 0 {
		pass512(r[:whole], c[:whole], pr, pc, s, n, w, 0)
	}
	if whole == len(r) {
		n.magnitude = int32(len(r)) - n.magnitude
		return
	}
	var rest [streamCount][passLen]float32
	for i, v := range [streamCount][]float32{r, c, pr, pc} {
		if len(v) > 0 {
			copy(rest[i][:], v[whole:len(r)])
		}
	}
	prev := [2][]float32{}
	if len(pr) > 0 {
		prev = [2][]float32{rest[streamPrevRef][:], rest[streamPrevCand][:]}
	}
	if whole == 0 {
		pass512(rest[0][:], rest[1][:], prev[0], prev[1], s, n, w, 0)
		n.magnitude = int32(len(r)) - n.magnitude
		return
	}
	var sum blockSums
	var counts blockCounts
	var above [ulpBins - 1]int64
	if w != nil {
		above = w.above
	}
	pass512(rest[0][:], rest[1][:], prev[0], prev[1], &sum, &counts, w, whole)
	s.add(&sum)
	n.merge(&counts)
	n.magnitude = int32(len(r)) - n.magnitude
	if w != nil {
		for b, v := range above {
			w.above[b] += v
		}
	}
}

// pass512 runs the assembly; the pairs' signs go to the mask from at on.
func pass512(r, c, pr, pc []float32, s *blockSums, n *blockCounts, w *ulpWork, at int) {
	size := len(r)
	if w != nil {
		_, _ = w.codes[size-1], w.mask[(at+size)/8-1]
	}
	s.addedSq, s.step2 = 0, 0
	switch {
	case len(pr) > 0 && w != nil:
		pr, pc = pr[:size], pc[:size]
		passAddedUlpAVX512(&r[0], &c[0], &pr[0], &pc[0], size, &s.abs, &n.maxAbs, &w.codes[0], &w.mask[at/8], &w.above[0])
	case len(pr) > 0:
		pr, pc = pr[:size], pc[:size]
		passAddedAVX512(&r[0], &c[0], &pr[0], &pc[0], size, &s.abs, &n.maxAbs)
	case w != nil:
		passUlpAVX512(&r[0], &c[0], size, &s.abs, &n.maxAbs, &w.codes[0], &w.mask[at/8], &w.above[0])
	default:
		passAVX512(&r[0], &c[0], size, &s.abs, &n.maxAbs)
	}
}

func channelsWide(r, c *[groupRows][]float32, rows int, sums []float64, stride int, set bool) {
	n := len(r[0])
	_ = sums[(channelPlanes-1)*stride+n-1]
	if rows == groupRows {
		if set {
			setChannels4AVX512(&r[0], &c[0], n, &sums[0], 8*stride)
		} else {
			channels4AVX512(&r[0], &c[0], n, &sums[0], 8*stride)
		}
		return
	}
	for i := range rows {
		if set && i == 0 {
			setChannels1AVX512(&r[i], &c[i], n, &sums[0], 8*stride)
		} else {
			channels1AVX512(&r[i], &c[i], n, &sums[0], 8*stride)
		}
	}
}

func peaksWide(dst, v []float32) uint32 {
	if len(dst) == 0 {
		return 0
	}
	_ = v[len(dst)*peakLen-1]
	return peaksAVX512(&dst[0], &v[0], len(dst))
}

func overWide(v []float32, limit float32) uint64 {
	return overAVX512(&(*[peakLen]float32)(v)[0], limit)
}

func klWide(r, c []float32, rTop, cTop float32, o *klSums) {
	c = c[:len(r)]
	var s [3]float64
	n := len(r) &^ 15
	if n > 0 {
		klAVX512(&r[0], &c[0], n, rTop, cTop, &s[0])
	}
	if n < len(r) {
		klNative(r[n:], c[n:], rTop, cTop, o)
	} else {
		*o = klSums{}
	}
	o.w += s[0]
	o.g += s[1]
	o.e += s[1] - s[2]
	o.d += s[2]
}
