package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// ulpCodes are the codes (1 + floor(log2 distance), 0 for equal values) that
// end each bin but the last of the histogram.
var ulpCodes = []uint8{0, 1, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24}

// ulp emits the histogram of distances and the mask of sign flips. The first
// loop writes a byte a pair: the exponent of the distance as a float32, which
// is exact below 2²⁴. The second counts the bytes above each bin's end.
//
// Where two dtypes are mixed, values are first scaled, and distances counted
// in units of 2^shift, rounded up.
func ulp(name, kind string, mixed bool) {
	more := ""
	if mixed {
		more = ", scale float32, shift uint64"
	}
	function(name, "func(r, c *"+kind+", n int, codes, mask *byte, above *int64"+more+")",
		name+" writes how many of n pairs (a multiple of 8, 0 < n <= 4096) lie above each bin but the last,\n"+
			"and a bit a pair whose signs differ. codes has room for n+96 bytes.")
	r, c, n := Load(Param("r"), GP64()), Load(Param("c"), GP64()), Load(Param("n"), GP64())
	codes, flips := Load(Param("codes"), GP64()), Load(Param("mask"), GP64())
	end := GP64()
	MOVQ(codes, end)
	mag, one, none, bias, top := YMM(), YMM(), zero(), YMM(), YMM()
	size := 4
	if kind == "uint16" {
		size = 2
		VMOVDQU(all("absMask16", 0x7fff), mag)
	} else {
		VMOVDQU(absMask(), mag)
	}
	VMOVDQU(all("one", 1), one)
	VMOVDQU(all("bias", 126*0x01010101), bias)
	VMOVDQU(all("top", 127*0x01010101), top)

	var scale, up, shift VecVirtual
	if mixed {
		scale, up, shift = broadcast("scale"), YMM(), XMM()
		bits := Load(Param("shift"), GP64())
		VMOVQ(bits, shift)
		VPCMPEQD(up, up, up)
		VPSLLD(shift, up, up) // −2^shift
		VPXOR(all("allBits", 1<<32-1), up, up)
	}

	exponent := func(i Register, k int) VecVirtual {
		x, y, z, t := YMM(), YMM(), YMM(), YMM()
		if size == 2 {
			VPMOVSXWD(at(r, i, 2, 8*k), x)
			VPMOVSXWD(at(c, i, 2, 8*k), y)
		} else {
			VMOVDQU(at(r, i, 4, 8*k), x)
			VMOVDQU(at(c, i, 4, 8*k), y)
		}
		VPXOR(x, y, z)
		VPAND(mag, x, x)
		VPAND(mag, y, y)
		VPMINUD(x, y, t)
		VPCMPGTD(none, t, t) // neither is zero
		VPAND(z, t, t)
		m := GP32()
		VMOVMSKPS(t, m)
		MOVB(m.As8(), Mem{Base: flips, Disp: k})
		if mixed { // after the flips: scaling may leave nothing
			VMULPS(scale, x, x)
			VMULPS(scale, y, y)
		}
		VPOR(one, z, z)
		VPSIGND(z, y, y)
		VPSUBD(y, x, x)
		VPABSD(x, x)
		if mixed {
			VPADDD(up, x, x)
			VPSRLD(shift, x, x)
		}
		VCVTDQ2PS(x, x)
		VPSRLD(U8(23), x, x)
		return x
	}
	store := func(v VecVirtual) {
		VPSUBUSB(bias, v, v)
		VPMINUB(top, v, v)
		VMOVDQU(v, Mem{Base: end})
		ADDQ(U8(32), end)
	}

	i, left := GP64(), GP64()
	XORQ(i, i)
	MOVQ(n, left)
	Label("four")
	CMPQ(left, U8(32))
	JLT(LabelRef("one"))
	a := exponent(i, 0)
	b := exponent(i, 1)
	VPACKUSDW(b, a, a)
	b2 := exponent(i, 2)
	c2 := exponent(i, 3)
	VPACKUSDW(c2, b2, b2)
	VPACKUSWB(b2, a, a)
	store(a)
	ADDQ(U8(32), i)
	ADDQ(U8(4), flips)
	SUBQ(U8(32), left)
	JMP(LabelRef("four"))
	Label("one")
	TESTQ(left, left)
	JE(LabelRef("count"))
	d := exponent(i, 0)
	VPACKUSDW(none, d, d)
	VPACKUSWB(none, d, d)
	store(d)
	ADDQ(U8(8), i)
	INCQ(flips)
	SUBQ(U8(8), left)
	JMP(LabelRef("one"))

	Label("count")
	acc := zeros(len(ulpCodes))
	Label("bytes")
	v := YMM()
	VMOVDQU(Mem{Base: codes}, v)
	for k, code := range ulpCodes {
		t := YMM()
		VPCMPGTB(all("code"+string(rune('a'+k)), uint32(code)*0x01010101), v, t)
		VPSUBB(t, acc[k], acc[k])
	}
	ADDQ(U8(32), codes)
	CMPQ(codes, end)
	JLT(LabelRef("bytes"))
	above := Load(Param("above"), GP64())
	for k, s := range acc {
		t := YMM()
		VPXOR(t, t, t)
		VPSADBW(t, s, s)
		VEXTRACTI128(U8(1), s, t.AsX())
		VPADDQ(s.AsX(), t.AsX(), t.AsX())
		VPSHUFD(U8(0x4e), t.AsX(), s.AsX())
		VPADDQ(s.AsX(), t.AsX(), t.AsX())
		VMOVQ(t.AsX(), Mem{Base: above, Disp: 8 * k})
	}
	finish()
}
