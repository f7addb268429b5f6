package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// wideLoops emits the loops for AVX-512 (F, BW, DQ and CD).
func wideLoops() {
	for _, added := range []bool{false, true} {
		for _, ulp := range []bool{false, true} {
			pass(added, ulp)
		}
	}
	for _, rows := range []int{1, 4} {
		for _, set := range []bool{false, true} {
			wideChannels(rows, set)
		}
	}
	widePeaks()
	over()
	wideKL()
}

// one is a single 32-bit word, to be broadcast.
func one(name string, v uint32) Mem {
	if m, ok := constants[v]; ok {
		return m
	}
	g := GLOBL(name, RODATA|NOPTR)
	DATA(0, U32(v))
	constants[v] = g
	return g
}

func oneF(name string, v float64) Mem { return one(name, math.Float32bits(float32(v))) }

// wideZero is a load: the assembler takes an exclusive-or for a use of what was
// there before, and keeps a register for it from the function's start.
func wideZero() VecVirtual { return wideAll(one("none", 0)) }

func wideZeros(n int) []VecVirtual {
	out := make([]VecVirtual, n)
	for i := range out {
		out[i] = wideZero()
	}
	return out
}

// wideAll is a register of equal 32-bit words.
func wideAll(m Mem) VecVirtual {
	v := ZMM()
	VPBROADCASTD(m, v)
	return v
}

// wideReducePD stores the sum of the vector's eight float64.
func wideReducePD(v VecVirtual, to Mem) {
	t := YMM()
	VEXTRACTF64X4(U8(1), v, t)
	VADDPD(t, v.AsY(), v.AsY())
	reducePD(v.AsY().(VecVirtual), to)
}

// wideReduceD folds the sixteen 32-bit words of a vector into to.
func wideReduceD(v VecVirtual, to Op, op func(a, b, dst Op)) {
	t := YMM()
	VEXTRACTI64X4(U8(1), v, t)
	op(t, v.AsY(), t)
	reduceD(t, to, op)
}

// ulpZeros are the most leading zeros of a distance above each bin but the last.
var ulpZeros = []int{31, 30, 29, 27, 25, 23, 21, 19, 17, 15, 11, 7}

// bytes64 is a vector of 64 equal bytes.
func bytes64(v int) Mem {
	g := GLOBL(fmt.Sprintf("zeros%d", v), RODATA|NOPTR)
	for i := range 8 {
		DATA(8*i, U64(uint64(v)*0x0101010101010101))
	}
	return g
}

// passState is what the loop of pass keeps in registers.
type passState struct {
	added, ulp bool
	p          []Register
	sum        []VecVirtual // the fields of blockSums
	max        []VecVirtual // maxAbs, maxRel, maxBits
	count      []VecVirtual // over1, over10, far
	mag, mag64 VecVirtual
	minus1     VecVirtual
	flips      Register
}

// pass emits one loop that yields all that is said of a run: the fields of
// blockSums and blockCounts (the pairs that are not within a magnitude in the
// place of those that are), and with ulp the distances and sign flips. Each
// part alone would wait for its divisions, or its loads; together they do not.
func pass(added, ulp bool) {
	name, sig := "pass", "func(r, c"
	if added {
		name, sig = name+"Added", sig+", pr, pc"
	}
	sig += " *float32, n int, o *float64, k *float32"
	if ulp {
		name, sig = name+"Ulp", sig+", codes, mask *byte, above *int64"
	}
	name += "AVX512"
	doc := name + " writes the fields of a blockSums and a blockCounts for n pairs (a multiple of 64, 0 < n <= 4096);\n" +
		"magnitude is the pairs that are not within one."
	if ulp {
		doc += " codes has room for n bytes, mask gets a bit a pair whose\nsign bits differ, above how many pairs lie above each bin but the last."
	}
	function(name, sig+")", doc)
	s := passState{added: added, ulp: ulp, max: wideZeros(3), count: wideZeros(3), sum: wideZeros(5), mag: ZMM(), mag64: ZMM(), minus1: ZMM()}
	params := []string{"r", "c"}
	if added {
		params, s.sum = append(params, "pr", "pc"), append(s.sum, wideZeros(2)...)
	}
	for _, q := range params {
		s.p = append(s.p, Load(Param(q), GP64()))
	}
	n := Load(Param("n"), GP64())
	VPBROADCASTD(one("allBits", 1<<32-1), s.minus1)
	VPSRLD(U8(1), s.minus1, s.mag)
	VPSRLQ(U8(1), s.minus1, s.mag64)
	var end Register
	if ulp {
		s.flips = Load(Param("mask"), GP64())
		end = Load(Param("codes"), GP64())
	}
	count("loop", n, 64, func(i GPVirtual) {
		var z [4]VecVirtual
		for q := range 4 {
			z[q] = s.step(i, 16*q)
			if ulp && q&1 != 0 {
				VPACKUSDW(z[q], z[q-1], z[q-1])
			}
		}
		if ulp {
			VPACKUSWB(z[2], z[0], z[0])
			VMOVDQU64(z[0], Mem{Base: end})
			ADDQ(U8(64), end)
			ADDQ(U8(8), s.flips)
		}
	})
	s.finish(n)
}

// step emits sixteen pairs, and returns the leading zeros of their distances.
func (s *passState) step(i Register, at0 int) (zeros VecVirtual) {
	x, y, d, t := ZMM(), ZMM(), ZMM(), ZMM()
	differ, k := K(), K()
	VMOVDQU32(at(s.p[0], i, 4, at0), x)
	VMOVDQU32(at(s.p[1], i, 4, at0), y)
	if s.ulp {
		VPXORD(x, y, t)
		VPMOVD2M(t, differ)
		KMOVW(differ, Mem{Base: s.flips, Disp: at0 / 8})
	}
	VSUBPS(x, y, d)
	VPANDD(s.mag, d, d)
	VPANDD(s.mag, x, x)
	VPANDD(s.mag, y, y)
	VMAXPS(d, s.max[0], s.max[0])
	high, low := ZMM(), y
	VPMAXUD(x, y, high)
	VPMINUD(x, y, low)
	VPMAXUD(high, s.max[2], s.max[2])
	VMULPS_BCST(oneF("ten", 10), low, t)
	VCMPPS(U8(0x11), high, t, k)
	VPSUBD(s.minus1, s.count[2], k, s.count[2])
	VMAXPS_BCST(oneF("relFloorBits", 1e-8), x, x)
	VDIVPS(x, d, d)
	VMAXPS(d, s.max[1], s.max[1])
	VCMPPS_BCST(U8(0x1e), oneF("hundredth", 0.01), d, k)
	VPSUBD(s.minus1, s.count[0], k, s.count[0])
	VCMPPS_BCST(U8(0x1e), oneF("tenth", 0.1), d, k)
	VPSUBD(s.minus1, s.count[1], k, s.count[1])
	if s.ulp {
		zeros = ZMM()
		VPSUBD(low, high, zeros)
		VPADDD(low, high, differ, zeros)
		VPLZCNTD(zeros, zeros)
	}
	if s.added {
		for _, p := range s.p[2:] {
			v := ZMM()
			VPANDD(at(p, i, 4, at0), s.mag, v)
			VPMAXUD(v, s.max[2], s.max[2])
		}
	}
	for h := range 2 {
		s.sums(i, at0+8*h)
	}
	return zeros
}

// sums emits the float64 sums of eight pairs.
func (s *passState) sums(i Register, from int) {
	r, d, t := ZMM(), ZMM(), ZMM()
	VCVTPS2PD(at(s.p[0], i, 4, from), r)
	VCVTPS2PD(at(s.p[1], i, 4, from), d)
	VFMADD231PD(d, d, s.sum[3])
	VFMADD231PD(r, d, s.sum[4])
	VFMADD231PD(r, r, s.sum[2])
	VSUBPD(r, d, d)
	VFMADD231PD(d, d, s.sum[1])
	VPANDQ(s.mag64, d, t)
	VADDPD(t, s.sum[0], s.sum[0])
	if !s.added {
		return
	}
	VCVTPS2PD(at(s.p[2], i, 4, from), t)
	VSUBPD(t, r, r) // step
	VFMADD231PD(r, r, s.sum[6])
	VCVTPS2PD(at(s.p[3], i, 4, from), r)
	VSUBPD(t, r, r) // previous difference
	VSUBPD(r, d, d)
	VFMADD231PD(d, d, s.sum[5])
}

// finish emits what follows the loop: the counts of distances, and the results.
func (s *passState) finish(n Register) {
	o, k := Load(Param("o"), GP64()), Load(Param("k"), GP64())
	for f, v := range s.sum {
		wideReducePD(v, Mem{Base: o, Disp: 8 * f})
	}
	for f, v := range []VecVirtual{s.max[0], s.max[1], s.count[0], s.count[1], s.count[2], s.max[2]} {
		op := addD
		if f < 2 || f == 5 {
			op = maxUD // non-negative floats order like their patterns
		}
		wideReduceD(v, Mem{Base: k, Disp: 4 * f}, op)
	}
	if s.ulp {
		codes := Load(Param("codes"), GP64())
		acc := wideZeros(len(ulpZeros))
		count("bytes", n, 64, func(i GPVirtual) {
			v := ZMM()
			VMOVDQU64(at(codes, i, 1, 0), v)
			for b, z := range ulpZeros {
				m := K()
				VPCMPUB(U8(2), byteConstant(z), v, m)
				VPSUBB(s.minus1, acc[b], m, acc[b])
			}
		})
		above, none := Load(Param("above"), GP64()), wideZero()
		for b, v := range acc {
			VPSADBW(none, v, v)
			t := YMM()
			VEXTRACTI64X4(U8(1), v, t)
			VPADDQ(t, v.AsY(), t)
			VEXTRACTI128(U8(1), t, v.AsX())
			VPADDQ(v.AsX(), t.AsX(), t.AsX())
			VPSHUFD(U8(0x4e), t.AsX(), v.AsX())
			VPADDQ(v.AsX(), t.AsX(), t.AsX())
			VMOVQ(t.AsX(), Mem{Base: above, Disp: 8 * b})
		}
	}
	finish()
}

var byteConstants = map[int]Mem{}

func byteConstant(v int) Mem {
	if _, ok := byteConstants[v]; !ok {
		byteConstants[v] = bytes64(v)
	}
	return byteConstants[v]
}

// wideChannels emits the per-channel sums of rows at a time; set writes them,
// whatever is there.
func wideChannels(rows int, set bool) {
	name, verb := fmt.Sprintf("channels%dAVX512", rows), "adds"
	if set {
		name, verb = fmt.Sprintf("setChannels%dAVX512", rows), "writes"
	}
	function(name, "func(r, c *[]float32, n int, sums *float64, stride int)",
		name+" "+verb+" n channels (a multiple of 8, above 0) of the first rows of r and c in four planes of sums.")
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
	count("loop", n, 8, func(i GPVirtual) {
		acc := []VecVirtual{ZMM(), ZMM(), ZMM(), ZMM()}
		for k, m := range planes {
			if !set {
				VMOVUPD(m, acc[k])
			}
		}
		for k := range rows {
			v, d := ZMM(), ZMM()
			VCVTPS2PD(at(r[k], i, 4, 0), v)
			VCVTPS2PD(at(c[k], i, 4, 0), d)
			VSUBPD(v, d, d)
			if set && k == 0 {
				VMULPD(d, d, acc[0])
				VMULPD(v, v, acc[1])
				VMOVAPD(d, acc[2])
				VMULPD(d, v, acc[3])
				continue
			}
			VFMADD231PD(d, d, acc[0])
			VFMADD231PD(v, v, acc[1])
			VADDPD(d, acc[2], acc[2])
			VFMADD231PD(d, v, acc[3])
		}
		for k, m := range planes {
			VMOVUPD(acc[k], m)
		}
		ADDQ(U8(64), p)
	})
	finish()
}
