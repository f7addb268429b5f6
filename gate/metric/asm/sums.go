package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// sums emits the float64 sums of blockSums. All but the cheapest have an
// accumulator for either half of eight values, so that none waits for the one
// before; there are registers for no more.
func sums(added bool) {
	name, sig, params := "sumsAVX2", "func(r, c *float32, n int, o *float64)", []string{"r", "c"}
	if added {
		name, sig, params = "addedAVX2", "func(r, c, pr, pc *float32, n int, o *float64)", []string{"r", "c", "pr", "pc"}
	}
	function(name, sig, name+" sums n pairs (a multiple of 8, above 0) into the fields of a blockSums.")
	var p []Register
	for _, s := range params {
		p = append(p, Load(Param(s), GP64()))
	}
	n, o := Load(Param("n"), GP64()), Load(Param("o"), GP64())
	fields := []int{8, 16, 24, 32} // sq, ref2, cand2, cross; then added and step
	if added {
		fields = append(fields, 40, 48)
	}
	acc := zeros(2 * len(fields))
	abs := zero()
	mask := abs64()
	count("loop", n, 8, func(i GPVirtual) {
		for h := range 2 {
			sum := func(k int) VecVirtual { return acc[2*k+h] }
			r, d, t := YMM(), YMM(), YMM()
			VCVTPS2PD(at(p[0], i, 4, 4*h), r)
			VCVTPS2PD(at(p[1], i, 4, 4*h), d)
			VFMADD231PD(d, d, sum(2))
			VFMADD231PD(r, d, sum(3))
			VFMADD231PD(r, r, sum(1))
			VSUBPD(r, d, d)
			VFMADD231PD(d, d, sum(0))
			VANDPD(mask, d, t)
			VADDPD(t, abs, abs)
			if !added {
				continue
			}
			VCVTPS2PD(at(p[2], i, 4, 4*h), t)
			VSUBPD(t, r, r) // step
			VFMADD231PD(r, r, sum(5))
			VCVTPS2PD(at(p[3], i, 4, 4*h), r)
			VSUBPD(t, r, r) // previous difference
			VSUBPD(r, d, d)
			VFMADD231PD(d, d, sum(4))
		}
	})
	for k, field := range fields {
		VADDPD(acc[2*k+1], acc[2*k], acc[2*k])
		reducePD(acc[2*k], Mem{Base: o, Disp: field})
	}
	reducePD(abs, Mem{Base: o})
	finish()
}

// counts emits the float32 maxima and counts of blockCounts.
func counts() {
	function("countsAVX2", "func(r, c *float32, n int, o *float32)",
		"countsAVX2 writes the fields of a blockCounts for n pairs (a multiple of 8, above 0).")
	r, c, n, o := Load(Param("r"), GP64()), Load(Param("c"), GP64()), Load(Param("n"), GP64()), Load(Param("o"), GP64())
	acc := zeros(6) // maxAbs, maxRel, over1, over10, magnitude, maxBits
	mask, floor, one, ten := YMM(), YMM(), YMM(), YMM()
	VMOVDQU(absMask(), mask)
	VMOVDQU(all("relFloorBits", math.Float32bits(1e-8)), floor)
	VMOVDQU(all("hundredth", math.Float32bits(0.01)), one)
	VMOVDQU(all("tenth", math.Float32bits(0.1)), ten)
	tenfold := YMM()
	VMOVDQU(all("ten", math.Float32bits(10)), tenfold)
	const gt, ge = U8(0x1e), U8(0x1d)
	count("loop", n, 8, func(i GPVirtual) {
		x, y, d, t, u := YMM(), YMM(), YMM(), YMM(), YMM()
		VMOVUPS(at(r, i, 4, 0), x)
		VMOVUPS(at(c, i, 4, 0), y)
		VSUBPS(x, y, d)
		VANDPS(mask, d, d)
		VANDPS(mask, x, x)
		VANDPS(mask, y, y)
		VPMAXUD(x, acc[5], acc[5])
		VPMAXUD(y, acc[5], acc[5])
		VMAXPS(d, acc[0], acc[0])
		VMULPS(tenfold, x, t)
		VCMPPS(ge, y, t, t)
		VMULPS(tenfold, y, u)
		VCMPPS(ge, x, u, u)
		VANDPS(u, t, t)
		VPSUBD(t, acc[4], acc[4])
		VMAXPS(floor, x, x)
		VDIVPS(x, d, d)
		VMAXPS(d, acc[1], acc[1])
		VCMPPS(gt, one, d, t)
		VPSUBD(t, acc[2], acc[2])
		VCMPPS(gt, ten, d, t)
		VPSUBD(t, acc[3], acc[3])
	})
	for k, v := range acc {
		op := addD
		if k < 2 || k == 5 {
			op = maxUD // non-negative floats order like their patterns
		}
		reduceD(v, Mem{Base: o, Disp: 4 * k}, op)
	}
	finish()
}

// find emits the search for the first pair that has a given error.
func find(name string, relative bool) {
	function(name, "func(r, c *float32, n int, v float32) int",
		name+" is the first of n pairs (a multiple of 8, above 0) whose error is v, or n.")
	r, c, n := Load(Param("r"), GP64()), Load(Param("c"), GP64()), Load(Param("n"), GP64())
	v, mask := YMM(), YMM()
	want, err := Param("v").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(want.Addr, v)
	VMOVDQU(absMask(), mask)
	i, m := GP64(), GP32()
	XORQ(i, i)
	Label("loop")
	x, d := YMM(), YMM()
	VMOVUPS(at(r, i, 4, 0), x)
	VMOVUPS(at(c, i, 4, 0), d)
	VSUBPS(x, d, d)
	VANDPS(mask, d, d)
	if relative {
		VANDPS(mask, x, x)
		VMAXPS(all("relFloorBits", math.Float32bits(1e-8)), x, x)
		VDIVPS(x, d, d)
	}
	VCMPPS(U8(0), v, d, d)
	VMOVMSKPS(d, m)
	TESTL(m, m)
	JNE(LabelRef("found"))
	ADDQ(U8(8), i)
	CMPQ(i, n)
	JLT(LabelRef("loop"))
	Store(n, ReturnIndex(0))
	finish()
	Label("found")
	BSFL(m, m)
	ADDQ(m.As64(), i)
	Store(i, ReturnIndex(0))
	finish()
}

// channels emits the per-channel sums of rows at a time. The rows come as
// Go slices; the planes of sums lie stride bytes apart.
func channels(rows int) {
	name := map[int]string{1: "channels1AVX2", 4: "channels4AVX2"}[rows]
	function(name, "func(r, c *[]float32, n int, sums *float64, stride int)",
		name+" adds n channels (a multiple of 4, above 0) of the first rows of r and c to four planes of sums.")
	rs, cs := Load(Param("r"), GP64()), Load(Param("c"), GP64())
	var r, c []Register
	for k := range rows {
		x, y := GP64(), GP64()
		MOVQ(Mem{Base: rs, Disp: 24 * k}, x)
		MOVQ(Mem{Base: cs, Disp: 24 * k}, y)
		r, c = append(r, x), append(c, y)
	}
	n, p, stride := Load(Param("n"), GP64()), Load(Param("sums"), GP64()), Load(Param("stride"), GP64())
	triple := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, triple)
	planes := []Mem{{Base: p}, {Base: p, Index: stride, Scale: 1}, {Base: p, Index: stride, Scale: 2}, {Base: p, Index: triple, Scale: 1}}
	count("loop", n, 4, func(i GPVirtual) {
		acc := []VecVirtual{YMM(), YMM(), YMM(), YMM()}
		for k, m := range planes {
			VMOVUPD(m, acc[k])
		}
		for k := range rows {
			v, d := YMM(), YMM()
			VCVTPS2PD(at(r[k], i, 4, 0), v)
			VCVTPS2PD(at(c[k], i, 4, 0), d)
			VSUBPD(v, d, d)
			VFMADD231PD(d, d, acc[0])
			VFMADD231PD(v, v, acc[1])
			VADDPD(d, acc[2], acc[2])
			VFMADD231PD(d, v, acc[3])
		}
		for k, m := range planes {
			VMOVUPD(acc[k], m)
		}
		ADDQ(U8(32), p)
	})
	finish()
}
