// Command asm writes the AVX2 and AVX-512 loops of package metric.
//
// It is a module of its own so that its assembler is no dependency of the
// program: run `go generate` in the folder above.
package main

import (
	"flag"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	wide := flag.Bool("avx512", false, "write the loops for AVX-512")
	flag.Parse()
	ConstraintExpr("amd64,!purego")
	if *wide {
		wideLoops()
		Generate()
		return
	}
	cpuFeatures()
	maxBits()
	sums(false)
	sums(true)
	counts()
	find("findAbsAVX2", false)
	find("findRelAVX2", true)
	ulp("ulp32AVX2", "float32", false)
	ulp("ulp16AVX2", "uint16", false)
	ulp("ulpMixedAVX2", "float32", true)
	channels(1)
	channels(4)
	decode("decodeF16AVX2", func(src Mem, v VecVirtual) { VCVTPH2PS(src, v) })
	decode("decodeBF16AVX2", func(src Mem, v VecVirtual) { VPMOVZXWD(src, v); VPSLLD(U8(16), v, v) })
	addF64()
	peaks()
	kl()
	Generate()
}

// function starts a function that keeps no pointer.
func function(name, signature, doc string) {
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(strings.Split(doc, "\n")...)
}

var constants = map[uint32]Mem{}

// all is a vector constant of eight equal 32-bit words.
func all(name string, v uint32) Mem {
	if m, ok := constants[v]; ok {
		return m
	}
	g := GLOBL(name, RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(v))
	}
	constants[v] = g
	return g
}

var absMask64 *Mem

// abs64 is the mask that clears the sign of four float64.
func abs64() Mem {
	if absMask64 == nil {
		g := GLOBL("absMask64", RODATA|NOPTR)
		for i := range 4 {
			DATA(8*i, U64(1<<63-1))
		}
		absMask64 = &g
	}
	return *absMask64
}

func absMask() Mem { return all("absMask", 1<<31-1) }

// at is the i-th value of size bytes behind p, n values further.
func at(p Register, i Register, size, n int) Mem {
	return Mem{Base: p, Index: i, Scale: uint8(size), Disp: size * n}
}

func zero() VecVirtual {
	v := YMM()
	VPXOR(v, v, v)
	return v
}

func zeros(n int) []VecVirtual {
	out := make([]VecVirtual, n)
	for i := range out {
		out[i] = zero()
	}
	return out
}

// count emits a loop over i = 0, 8, … below n, which must be above zero.
func count(label string, n Register, step int, body func(i GPVirtual)) {
	i := GP64()
	XORQ(i, i)
	Label(label)
	body(i)
	ADDQ(U8(step), i)
	CMPQ(i, n)
	JLT(LabelRef(label))
}

// reducePD stores the sum of the vector's four float64.
func reducePD(v VecVirtual, to Mem) {
	t := XMM()
	VEXTRACTF128(U8(1), v, t)
	VADDPD(v.AsX(), t, t)
	VPERMILPD(U8(1), t, v.AsX())
	VADDSD(v.AsX(), t, t)
	VMOVSD(t, to)
}

// reduceD folds the eight 32-bit words of a vector into to.
func reduceD(v VecVirtual, to Op, op func(a, b, dst Op)) {
	t := XMM()
	VEXTRACTI128(U8(1), v, t)
	op(v.AsX(), t, t)
	VPSHUFD(U8(0x4e), t, v.AsX())
	op(v.AsX(), t, t)
	VPSHUFD(U8(0xb1), t, v.AsX())
	op(v.AsX(), t, t)
	VMOVD(t, to)
}

func addD(a, b, dst Op)  { VPADDD(a, b, dst) }
func maxUD(a, b, dst Op) { VPMAXUD(a, b, dst) }

func finish() {
	VZEROUPPER()
	RET()
}

func cpuFeatures() {
	TEXT("cpuid", NOSPLIT, "func(leaf, sub uint32) (a, b, c, d uint32)")
	Doc("cpuid asks the processor what it is.")
	Load(Param("leaf"), EAX)
	Load(Param("sub"), ECX)
	CPUID()
	Store(EAX, ReturnIndex(0))
	Store(EBX, ReturnIndex(1))
	Store(ECX, ReturnIndex(2))
	Store(EDX, ReturnIndex(3))
	RET()

	TEXT("xgetbv", NOSPLIT, "func() uint32")
	Doc("xgetbv is the low half of the register that says what the system saves.")
	XORL(ECX, ECX)
	XGETBV()
	Store(EAX, ReturnIndex(0))
	RET()
}

func maxBits() {
	function("maxBitsAVX2", "func(a, b *float32, n int) uint32",
		"maxBitsAVX2 is the largest pattern without its sign among n values (a multiple of 8, above 0) each.")
	a, b, n := Load(Param("a"), GP64()), Load(Param("b"), GP64()), Load(Param("n"), GP64())
	acc := zeros(2)
	mask := YMM()
	VMOVDQU(absMask(), mask)
	count("loop", n, 8, func(i GPVirtual) {
		for k, p := range []Register{a, b} {
			t := YMM()
			VPAND(at(p, i, 4, 0), mask, t)
			VPMAXUD(t, acc[k], acc[k])
		}
	})
	VPMAXUD(acc[1], acc[0], acc[0])
	m := GP32()
	reduceD(acc[0], m, maxUD)
	Store(m, ReturnIndex(0))
	finish()
}

func decode(name string, widen func(src Mem, v VecVirtual)) {
	function(name, "func(dst *float32, src *uint16, n int)", name+" widens n values (a multiple of 8, above 0).")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	count("loop", n, 8, func(i GPVirtual) {
		v := YMM()
		widen(at(src, i, 2, 0), v)
		VMOVUPS(v, at(dst, i, 4, 0))
	})
	finish()
}

func addF64() {
	function("addAVX2", "func(dst, src *float64, n int)", "addAVX2 adds n values (a multiple of 8, above 0) of src to dst.")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	count("loop", n, 8, func(i GPVirtual) {
		for h := range 2 {
			v := YMM()
			VMOVUPD(at(dst, i, 8, 4*h), v)
			VADDPD(at(src, i, 8, 4*h), v, v)
			VMOVUPD(v, at(dst, i, 8, 4*h))
		}
	})
	finish()
}
