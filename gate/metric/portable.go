package metric

import (
	"math"
	"math/bits"
)

// portableOps run anywhere. Their loops have no branch that depends on data:
// two non-negative floats compare like their patterns, so (t−v)>>31 on the
// patterns is 1 where v > t.
var portableOps = blockOps{
	name: "portable", pass: passGo, maxBits: maxBitsGo, sums: sumsGo[float32], added: addedGo[float32], counts: countsGo,
	ulp32: ulp32Go, ulp16: ulp16Go, ulpMixed: ulpMixedGo, channels: channelsGo, findAbs: findAbsGo, findRel: findRelGo,
	decode: decode32, add: addGo,
}

const signBit = 1 << 31

func maxBitsGo(a, b []float32) uint32 {
	x, y := patterns(a), patterns(b[:len(a)])
	y = y[:len(x)]
	var m0, m1 uint32
	for i, p := range x {
		m0, m1 = max(m0, p&^signBit), max(m1, y[i]&^signBit)
	}
	return max(m0, m1)
}

func sumsGo[T float32 | float64](r, c []T, o *blockSums) {
	c = c[:len(r)]
	var abs, sq, ref2, cand2, cross float64
	for i, x := range r {
		rv, cv := float64(x), float64(c[i])
		d := cv - rv
		abs += math.Abs(d)
		sq += d * d
		ref2 += rv * rv
		cand2 += cv * cv
		cross += rv * cv
	}
	*o = blockSums{abs: abs, sq: sq, ref2: ref2, cand2: cand2, cross: cross}
}

func addedGo[T float32 | float64](r, c, pr, pc []T, o *blockSums) {
	c, pr, pc = c[:len(r)], pr[:len(r)], pc[:len(r)]
	var abs, sq, ref2, cand2, cross, addedSq, step2 float64
	for i, x := range r {
		rv, cv, prv := float64(x), float64(c[i]), float64(pr[i])
		d := cv - rv
		a := d - (float64(pc[i]) - prv)
		step := rv - prv
		abs += math.Abs(d)
		sq += d * d
		ref2 += rv * rv
		cand2 += cv * cv
		cross += rv * cv
		addedSq += a * a
		step2 += step * step
	}
	*o = blockSums{abs: abs, sq: sq, ref2: ref2, cand2: cand2, cross: cross, addedSq: addedSq, step2: step2}
}

func countsGo(r, c []float32, o *blockCounts) {
	c = c[:len(r)]
	floor, one, ten := math.Float32bits(relFloor), math.Float32bits(0.01), math.Float32bits(0.1)
	var maxAbs, maxRel, over1, over10, far, refBits, candBits uint32
	for i, x := range r {
		y := c[i]
		d := math.Float32bits(y-x) &^ signBit
		ar, ac := math.Float32bits(x)&^signBit, math.Float32bits(y)&^signBit
		refBits, candBits = max(refBits, ar), max(candBits, ac)
		maxAbs = max(maxAbs, d)
		rel := math.Float32bits(math.Float32frombits(d) / math.Float32frombits(max(ar, floor)))
		maxRel = max(maxRel, rel)
		over1 += (one - rel) >> 31
		over10 += (ten - rel) >> 31
		far += ((math.Float32bits(10*y)&^signBit - ar) | (math.Float32bits(10*x)&^signBit - ac)) >> 31
	}
	*o = blockCounts{
		maxAbs: math.Float32frombits(maxAbs), maxRel: math.Float32frombits(maxRel),
		over1: int32(over1), over10: int32(over10), magnitude: int32(len(r)) - int32(far), maxBits: max(refBits, candBits),
	}
}

func ulp32Go(r, c []float32, h *UlpHistogram, w *ulpWork) {
	c = c[:len(r)]
	var lens [4][64]uint32 // four, so that equal distances do not wait for each other
	var a, b [8]uint32
	for i := 0; i+8 <= len(r); i += 8 {
		x, y := (*[8]float32)(r[i:]), (*[8]float32)(c[i:])
		for j := range 8 {
			a[j], b[j] = math.Float32bits(x[j]), math.Float32bits(y[j])
		}
		w.mask[i/8] = distancesGo(&a, &b, &lens)
	}
	addLens(h, &lens)
}

func ulp16Go(r, c []uint16, h *UlpHistogram, w *ulpWork) {
	c = c[:len(r)]
	var lens [4][64]uint32
	var a, b [8]uint32
	for i := 0; i+8 <= len(r); i += 8 {
		x, y := (*[8]uint16)(r[i:]), (*[8]uint16)(c[i:])
		for j := range 8 {
			a[j] = uint32(x[j]&0x7fff) | uint32(x[j]&0x8000)<<16
			b[j] = uint32(y[j]&0x7fff) | uint32(y[j]&0x8000)<<16
		}
		w.mask[i/8] = distancesGo(&a, &b, &lens)
	}
	addLens(h, &lens)
}

// distancesGo counts the bit lengths of eight ULP distances between patterns
// with the sign in the top bit, and returns which signs differ, zeros apart.
func distancesGo(x, y *[8]uint32, lens *[4][64]uint32) byte {
	var signs uint32
	for j := range 8 {
		signs |= x[j] ^ y[j]
	}
	if signs>>31 == 0 { // nearly always
		for j := range 8 {
			d := int32(x[j] - y[j])
			s := d >> 31
			lens[j&3][bits.Len32(uint32(d^s-s))&63]++
		}
		return 0
	}
	var flips uint32
	for j := range 8 {
		a, b, z := x[j]&^signBit, y[j]&^signBit, x[j]^y[j]
		s := uint32(int32(z) >> 31)
		same := int32(a - b)
		t := same >> 31
		lens[j&3][bits.Len32(uint32(same^t-t)&^s|(a+b)&s)&63]++
		flips |= (z &^ ((a - 1) | (b - 1))) >> 31 << j
	}
	return byte(flips)
}

func ulpMixedGo(r, c []float32, u ulpUnit, h *UlpHistogram, w *ulpWork) {
	c = c[:len(r)]
	clear(w.mask[:len(r)/8])
	for i, x := range r {
		y := c[i]
		h[ulpBin32(x, y, u)]++
		if x < 0 && y > 0 || x > 0 && y < 0 {
			w.mask[i/8] |= 1 << (i % 8)
		}
	}
}

func addLens(h *UlpHistogram, lens *[4][64]uint32) {
	for l := range 33 {
		h[ulpBinOfLen[l]] += int64(lens[0][l] + lens[1][l] + lens[2][l] + lens[3][l])
	}
}

func channelsGo(r, c *[groupRows][]float32, rows int, sums []float64, stride int, set bool) {
	if rows == groupRows {
		channels4Go(r, c, sums, stride, set)
		return
	}
	n := len(r[0])
	diff2, ref2 := sums[planeDiff2*stride:][:n], sums[planeRef2*stride:][:n]
	diff, cross := sums[planeDiff*stride:][:n], sums[planeCross*stride:][:n]
	if set {
		clear(diff2)
		clear(ref2)
		clear(diff)
		clear(cross)
	}
	for row := range rows {
		rv, cv := r[row][:n], c[row][:n]
		for i, x := range rv {
			v := float64(x)
			d := float64(cv[i]) - v
			diff2[i] += d * d
			ref2[i] += v * v
			diff[i] += d
			cross[i] += d * v
		}
	}
}

func findAbsGo(r, c []float32, v float32) int {
	for i, x := range r {
		if d := c[i] - x; d == v || d == -v {
			return i
		}
	}
	return 0
}

func findRelGo(r, c []float32, v float32) int {
	for i, x := range r {
		d := math.Float32frombits(math.Float32bits(c[i]-x) &^ signBit)
		scale := max(math.Float32frombits(math.Float32bits(x)&^signBit), relFloor)
		if d/scale == v {
			return i
		}
	}
	return 0
}

func addGo(dst, src []float64) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] += src[i]
	}
}
