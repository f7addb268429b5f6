package metric

import (
	"math"
	"math/bits"
	"unsafe"
)

const (
	// closeUlps steps of float32 are less than a relative error of 1 %, and an
	// order of magnitude, from smallBits on: below it steps are larger.
	closeUlps = 80000
	smallBits = 1 << 24
)

// patterns are the bits of the values.
func patterns(v []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(v))), len(v))
}

// passGo looks at the patterns first: moving values between integer and float
// registers costs more than what is done with them.
func passGo(r, c, pr, pc []float32, s *blockSums, n *blockCounts, w *ulpWork) {
	*n = blockCounts{}
	patternsGo(r, c, n, w)
	if len(pr) > 0 {
		n.maxBits = max(n.maxBits, maxBitsGo(pr, pc))
	}
	if n.maxBits > maxFastBits {
		return
	}
	sumsMaxGo(r, c, s, n)
	if len(pr) > 0 {
		stepsGo(r, c, pr, pc, s)
	}
}

// patternsGo fills in the counts, maxBits and, where there is a w, distances
// and sign flips. Eight pairs that are close to each other, as nearly always,
// are counted without looking at their values.
func patternsGo(r, c []float32, n *blockCounts, w *ulpWork) {
	var lens [4][64]uint32 // four, so that equal distances do not wait for each other
	var most uint32
	x, y := patterns(r), patterns(c[:len(r)])
	for i := 0; i+8 <= len(x) && i+8 <= len(y); i += 8 {
		a, b := (*[8]uint32)(x[i:]), (*[8]uint32)(y[i:])
		m, close := closeGo(a, b, &lens)
		most = max(most, m)
		var flips byte
		if close {
			n.magnitude += 8
		} else {
			flips = distancesGo(a, b, &lens)
			var few blockCounts
			countsGo(r[i:i+8], c[i:i+8], &few)
			n.merge(&few)
		}
		if w != nil {
			w.mask[i/8] = flips
		}
	}
	n.maxBits = most
	if w == nil {
		return
	}
	var h UlpHistogram
	addLens(&h, &lens)
	above := int64(len(r))
	for b := range w.above {
		above -= h[b]
		w.above[b] = above
	}
}

// closeGo returns the largest pattern without its sign of eight pairs, and
// whether they are close; then their distances are counted. It is a function of
// its own so that what it needs stays in registers.
//
//go:noinline
func closeGo(x, y *[8]uint32, lens *[4][64]uint32) (most uint32, close bool) {
	var far uint32 // its top bit: one of the pairs is not close
	for j := range 8 {
		p, q := x[j], y[j]
		d := int32(p - q)
		t := d >> 31
		far |= p ^ q | (closeUlps - uint32(d^t-t)) | (p&^signBit - smallBits)
		most = max(most, p&^signBit, q&^signBit)
	}
	if far>>31 != 0 {
		return most, false
	}
	for j := 0; j < 8; j += 4 {
		lens[0][bits.Len32(steps(x[j], y[j]))&63]++
		lens[1][bits.Len32(steps(x[j+1], y[j+1]))&63]++
		lens[2][bits.Len32(steps(x[j+2], y[j+2]))&63]++
		lens[3][bits.Len32(steps(x[j+3], y[j+3]))&63]++
	}
	return most, true
}

// steps is the distance between patterns of one sign.
func steps(p, q uint32) uint32 {
	d := int32(p - q)
	t := d >> 31
	return uint32(d ^ t - t)
}

// raise takes a pair whose error may be the largest so far, and returns bounds
// on the squares of errors that need not be looked at: a little low, because
// the squares are not rounded as the errors are.
//
// It is rarely called, and not inlined: a converted value that the loop holds
// as float32, too, makes each conversion wait for the turn before.
//
//go:noinline
func (n *blockCounts) raise(r, c []float32, i int) (abs2, rel2 float64) {
	d := math.Float32frombits(math.Float32bits(c[i]-r[i]) &^ signBit)
	scale := max(math.Float32frombits(math.Float32bits(r[i])&^signBit), relFloor)
	n.maxAbs, n.maxRel = max(n.maxAbs, d), max(n.maxRel, d/scale)
	const low = 1 - 1e-6
	return low * float64(n.maxAbs) * float64(n.maxAbs), low * float64(n.maxRel) * float64(n.maxRel)
}

// sumsMaxGo is sumsGo, and the maxima.
func sumsMaxGo(r, c []float32, o *blockSums, n *blockCounts) {
	c = c[:len(r)]
	var abs, sq, ref2, cand2, cross, abs2, rel2 float64
	for i := range r {
		rv, cv := float64(r[i]), float64(c[i])
		d := cv - rv
		dd, rr := d*d, rv*rv
		abs += math.Abs(d)
		sq += dd
		ref2 += rr
		cand2 += cv * cv
		cross += rv * cv
		if dd > abs2 || dd > rel2*rr {
			abs2, rel2 = n.raise(r, c, i)
		}
	}
	*o = blockSums{abs: abs, sq: sq, ref2: ref2, cand2: cand2, cross: cross}
}

// stepsGo adds what the layer added. It is a loop of its own because one for
// all sums has too few registers.
func stepsGo(r, c, pr, pc []float32, o *blockSums) {
	c, pr, pc = c[:len(r)], pr[:len(r)], pc[:len(r)]
	var addedSq, step2 float64
	for i := range r {
		rv, prv := float64(r[i]), float64(pr[i])
		step := rv - prv
		a := (float64(c[i]) - rv) - (float64(pc[i]) - prv)
		addedSq += a * a
		step2 += step * step
	}
	o.addedSq, o.step2 = addedSq, step2
}

// channels4Go is channelsGo for four rows, which share one load and store of
// the sums.
func channels4Go(r, c *[groupRows][]float32, sums []float64, stride int, set bool) {
	n := len(r[0])
	diff2, ref2 := sums[planeDiff2*stride:][:n], sums[planeRef2*stride:][:n]
	diff, cross := sums[planeDiff*stride:][:n], sums[planeCross*stride:][:n]
	r0, r1, r2, r3 := r[0][:n], r[1][:n], r[2][:n], r[3][:n]
	c0, c1, c2, c3 := c[0][:n], c[1][:n], c[2][:n], c[3][:n]
	for i := range r0 {
		v0, v1, v2, v3 := float64(r0[i]), float64(r1[i]), float64(r2[i]), float64(r3[i])
		d0, d1, d2, d3 := float64(c0[i])-v0, float64(c1[i])-v1, float64(c2[i])-v2, float64(c3[i])-v3
		dd, vv := d0*d0+d1*d1+(d2*d2+d3*d3), v0*v0+v1*v1+(v2*v2+v3*v3)
		d, dv := d0+d1+(d2+d3), d0*v0+d1*v1+(d2*v2+d3*v3)
		if set {
			diff2[i], ref2[i], diff[i], cross[i] = dd, vv, d, dv
			continue
		}
		diff2[i] += dd
		ref2[i] += vv
		diff[i] += d
		cross[i] += dv
	}
}
