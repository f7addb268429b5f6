package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// widePeaks emits the largest value of each run of 64, and the largest pattern.
func widePeaks() {
	function("peaksAVX512", "func(dst, v *float32, runs int) uint32",
		"peaksAVX512 writes the largest value of each of runs (above 0) runs of 64, and returns the largest pattern without its sign.")
	dst, v, runs := Load(Param("dst"), GP64()), Load(Param("v"), GP64()), Load(Param("runs"), GP64())
	bits, mag := wideZeros(2), wideAll(one("absMask", 1<<31-1))
	Label("loop")
	var x [4]VecVirtual
	for k := range x {
		x[k] = ZMM()
		t := ZMM()
		VMOVUPS(Mem{Base: v, Disp: 64 * k}, x[k])
		VPANDD(mag, x[k], t)
		VPMAXUD(t, bits[k&1], bits[k&1])
	}
	VMAXPS(x[1], x[0], x[0])
	VMAXPS(x[3], x[2], x[2])
	VMAXPS(x[2], x[0], x[0])
	h := YMM()
	VEXTRACTF64X4(U8(1), x[0], h)
	VMAXPS(x[0].AsY(), h, h)
	a, t := XMM(), h.AsX()
	VEXTRACTF128(U8(1), h, a)
	VMAXPS(a, t, t)
	VPERMILPS(U8(0x4e), t, a)
	VMAXPS(a, t, t)
	VPERMILPS(U8(0xb1), t, a)
	VMAXPS(a, t, t)
	VMOVSS(t, Mem{Base: dst})
	ADDQ(U32(256), v)
	ADDQ(U8(4), dst)
	DECQ(runs)
	JNE(LabelRef("loop"))
	VPMAXUD(bits[1], bits[0], bits[0])
	m := GP32()
	wideReduceD(bits[0], m, maxUD)
	Store(m, ReturnIndex(0))
	finish()
}

// over emits a bit for each of 64 values that is not below a limit.
func over() {
	function("overAVX512", "func(v *float32, limit float32) uint64", "overAVX512 has a bit for each of 64 values that is not below limit.")
	v, limit := Load(Param("v"), GP64()), wideBroadcast("limit")
	out := GP64()
	for q := 3; q >= 0; q-- {
		m, word := K(), GP64()
		VCMPPS(U8(0x12), Mem{Base: v, Disp: 64 * q}, limit, m) // limit <= v
		KMOVW(m, word.As32())
		if q == 3 {
			MOVQ(word, out)
			continue
		}
		SHLQ(U8(16), out)
		ORQ(word, out)
	}
	Store(out, ReturnIndex(0))
	finish()
}

func wideBroadcast(param string) VecVirtual {
	v := ZMM()
	p, err := Param(param).Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(p.Addr, v)
	return v
}

// wideExp is expPS for sixteen values.
func wideExp(x, out VecVirtual) {
	n := ZMM()
	VMAXPS_BCST(oneF("expLow", -86), x, x)
	VMULPS_BCST(oneF("log2e", math.Log2E), x, n)
	VRNDSCALEPS(U8(0), n, n)
	VFNMADD231PS_BCST(oneF("ln2High", 0.693359375), n, x)
	VFNMADD231PS_BCST(oneF("ln2Low", math.Ln2-0.693359375), n, x)
	VBROADCASTSS(oneF("exp6", 1./720), out)
	VFMADD213PS_BCST(oneF("exp5", 1./120), x, out)
	VFMADD213PS_BCST(oneF("exp4", 1./24), x, out)
	VFMADD213PS_BCST(oneF("exp3", 1./6), x, out)
	VFMADD213PS_BCST(oneF("exp2", 1./2), x, out)
	VFMADD213PS_BCST(oneF("exp1", 1), x, out)
	VFMADD213PS_BCST(oneF("exp1", 1), x, out)
	VSCALEFPS(n, out, out)
}

// wideKL is kl, sixteen values at a time: as many terms are added in float32.
func wideKL() {
	function("klAVX512", "func(r, c *float32, n int, rTop, cTop float32, o *float64)",
		"klAVX512 writes Σw, Σw·g and Σw·d of n pairs (a multiple of 16, above 0).")
	r, c, n := Load(Param("r"), GP64()), Load(Param("c"), GP64()), Load(Param("n"), GP64())
	rTop, cTop, shift := wideBroadcast("rTop"), wideBroadcast("cTop"), ZMM()
	VSUBPS(cTop, rTop, shift)
	mag := wideAll(one("absMask", 1<<31-1))
	total := wideZeros(3)
	i, left, run := GP64(), GP64(), GP64()
	XORQ(i, i)
	MOVQ(n, left)
	Label("run")
	MOVQ(U32(128), run)
	CMPQ(left, run)
	CMOVQLT(left, run)
	SUBQ(run, left)
	part := wideZeros(3)
	Label("loop")
	wideKLStep(r, c, i, rTop, cTop, shift, mag, part)
	ADDQ(U8(16), i)
	SUBQ(U8(16), run)
	JNE(LabelRef("loop"))
	for k, p := range part {
		t := ZMM()
		VCVTPS2PD(p.AsY(), t)
		VADDPD(t, total[k], total[k])
		VEXTRACTF64X4(U8(1), p, p.AsY())
		VCVTPS2PD(p.AsY(), t)
		VADDPD(t, total[k], total[k])
	}
	TESTQ(left, left)
	JNE(LabelRef("run"))
	o := Load(Param("o"), GP64())
	for k, t := range total {
		wideReducePD(t, Mem{Base: o, Disp: 8 * k})
	}
	finish()
}

func wideKLStep(r, c, i Register, rTop, cTop, shift, mag VecVirtual, part []VecVirtual) {
	x, d, w, g := ZMM(), ZMM(), ZMM(), ZMM()
	VMOVUPS(at(r, i, 4, 0), x)
	VSUBPS(at(c, i, 4, 0), x, d)
	VSUBPS(shift, d, d)
	VSUBPS(rTop, x, x)
	wideExp(x, w)
	VADDPS(w, part[0], part[0])
	VFMADD231PS(w, d, part[2])
	VBROADCASTSS(oneF("g8", 1./40320), g)
	VFMADD213PS_BCST(oneF("g7", -1./5040), d, g)
	VFMADD213PS_BCST(oneF("g6", 1./720), d, g)
	VFMADD213PS_BCST(oneF("g5", -1./120), d, g)
	VFMADD213PS_BCST(oneF("g4", 1./24), d, g)
	VFMADD213PS_BCST(oneF("g3", -1./6), d, g)
	VFMADD213PS_BCST(oneF("g2", 1./2), d, g)
	VMULPS(d, g, g)
	VMULPS(d, g, g)
	VMULPS(w, g, g)
	a, far := ZMM(), K()
	VPANDD(mag, d, a)
	VCMPPS_BCST(U8(0x1d), oneF("half", 0.5), a, far)
	KORTESTW(far, far)
	JE(LabelRef("near"))
	y, e := ZMM(), ZMM()
	VMOVUPS(at(c, i, 4, 0), y)
	VSUBPS(cTop, y, y)
	wideExp(y, e)
	VSUBPS(w, e, e)
	VFMADD231PS(w, d, e)
	VMOVUPS(e, far, g)
	Label("near")
	VADDPS(g, part[1], part[1])
}
