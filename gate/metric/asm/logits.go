package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// peaks emits the largest value of each run of 64.
func peaks() {
	function("peaksAVX2", "func(dst, v *float32, runs int)", "peaksAVX2 writes the largest value of each of runs (above 0) runs of 64.")
	dst, v, runs := Load(Param("dst"), GP64()), Load(Param("v"), GP64()), Load(Param("runs"), GP64())
	Label("loop")
	a, b := YMM(), YMM()
	VMOVUPS(Mem{Base: v}, a)
	VMOVUPS(Mem{Base: v, Disp: 32}, b)
	for k := 2; k < 8; k += 2 {
		VMAXPS(Mem{Base: v, Disp: 32 * k}, a, a)
		VMAXPS(Mem{Base: v, Disp: 32 * (k + 1)}, b, b)
	}
	VMAXPS(b, a, a)
	t := XMM()
	VEXTRACTF128(U8(1), a, t)
	VMAXPS(a.AsX(), t, t)
	VPERMILPS(U8(0x4e), t, a.AsX())
	VMAXPS(a.AsX(), t, t)
	VPERMILPS(U8(0xb1), t, a.AsX())
	VMAXPS(a.AsX(), t, t)
	VMOVSS(t, Mem{Base: dst})
	ADDQ(U32(256), v)
	ADDQ(U8(4), dst)
	DECQ(runs)
	JNE(LabelRef("loop"))
	finish()
}

func f32(name string, v float64) Mem { return all(name, math.Float32bits(float32(v))) }

// expPS emits exp(x) for −86 <= x <= 60, to about two units in the last place;
// lower values count as −86. x is overwritten.
func expPS(x, out VecVirtual) {
	n := YMM()
	VMAXPS(f32("expLow", -86), x, x)
	VMULPS(f32("log2e", math.Log2E), x, n)
	VROUNDPS(U8(0), n, n)
	// x − n·ln 2 in two steps; the first factor has room for exact products.
	VFNMADD231PS(f32("ln2High", 0.693359375), n, x)
	VFNMADD231PS(f32("ln2Low", math.Ln2-0.693359375), n, x)
	VMOVUPS(f32("exp6", 1./720), out)
	VFMADD213PS(f32("exp5", 1./120), x, out)
	VFMADD213PS(f32("exp4", 1./24), x, out)
	VFMADD213PS(f32("exp3", 1./6), x, out)
	VFMADD213PS(f32("exp2", 1./2), x, out)
	VFMADD213PS(f32("exp1", 1), x, out)
	VFMADD213PS(f32("exp1", 1), x, out)
	VCVTPS2DQ(n, n)
	VPSLLD(U8(23), n, n)
	VPADDD(n, out, out)
}

// kl emits Σw, Σw·g and Σw·d, w = exp(r − rTop), d = (r−c) − (rTop−cTop),
// g = d + expm1(−d). Up to 64 terms are added in float32, the rest in float64.
func kl() {
	function("klAVX2", "func(r, c *float32, n int, rTop, cTop float32, o *float64)",
		"klAVX2 writes Σw, Σw·g and Σw·d of n pairs (a multiple of 8, above 0).")
	r, c, n := Load(Param("r"), GP64()), Load(Param("c"), GP64()), Load(Param("n"), GP64())
	rTop, cTop, shift := broadcast("rTop"), broadcast("cTop"), YMM()
	VSUBPS(cTop, rTop, shift)
	total := zeros(3)
	i, left, run := GP64(), GP64(), GP64()
	XORQ(i, i)
	MOVQ(n, left)
	Label("run")
	MOVQ(U32(64), run)
	CMPQ(left, run)
	CMOVQLT(left, run)
	SUBQ(run, left)
	part := zeros(3)
	Label("loop")
	klStep(r, c, i, rTop, cTop, shift, part)
	ADDQ(U8(8), i)
	SUBQ(U8(8), run)
	JNE(LabelRef("loop"))
	for k, p := range part {
		t := YMM()
		VCVTPS2PD(p.AsX(), t)
		VADDPD(t, total[k], total[k])
		VEXTRACTF128(U8(1), p, p.AsX())
		VCVTPS2PD(p.AsX(), t)
		VADDPD(t, total[k], total[k])
	}
	TESTQ(left, left)
	JNE(LabelRef("run"))
	o := Load(Param("o"), GP64())
	for k, t := range total {
		reducePD(t, Mem{Base: o, Disp: 8 * k})
	}
	finish()
}

func broadcast(param string) VecVirtual {
	v := YMM()
	p, err := Param(param).Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(p.Addr, v)
	return v
}

func klStep(r, c, i Register, rTop, cTop, shift VecVirtual, part []VecVirtual) {
	x, d, w, g := YMM(), YMM(), YMM(), YMM()
	VMOVUPS(at(r, i, 4, 0), x)
	VSUBPS(at(c, i, 4, 0), x, d)
	VSUBPS(shift, d, d)
	VSUBPS(rTop, x, x)
	expPS(x, w)
	VADDPS(w, part[0], part[0])
	VFMADD231PS(w, d, part[2])
	// d²·(1/2 − d/6 + d²/24 …), good to 3e-8 for |d| < 1/2
	VMOVUPS(f32("g8", 1./40320), g)
	VFMADD213PS(f32("g7", -1./5040), d, g)
	VFMADD213PS(f32("g6", 1./720), d, g)
	VFMADD213PS(f32("g5", -1./120), d, g)
	VFMADD213PS(f32("g4", 1./24), d, g)
	VFMADD213PS(f32("g3", -1./6), d, g)
	VFMADD213PS(f32("g2", 1./2), d, g)
	VMULPS(d, g, g)
	VMULPS(d, g, g)
	VMULPS(w, g, g)
	far, m := YMM(), GP32()
	VANDPS(absMask(), d, far)
	VCMPPS(U8(0x1d), f32("half", 0.5), far, far)
	VMOVMSKPS(far, m)
	TESTL(m, m)
	JE(LabelRef("near"))
	// w·d + exp(c − cTop) − w for the far ones
	y, e := YMM(), YMM()
	VMOVUPS(at(c, i, 4, 0), y)
	VSUBPS(cTop, y, y)
	expPS(y, e)
	VSUBPS(w, e, e)
	VFMADD231PS(w, d, e)
	VBLENDVPS(far, e, g, g)
	Label("near")
	VADDPS(g, part[1], part[1])
}
