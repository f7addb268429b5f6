// Command asm writes the vector loops of package oracle.
//
// It is a module of its own so that its assembler is no dependency of the
// program: run `go generate` in the folder above.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// machine is a set of vector instructions for one element type.
type machine struct {
	name                                     string // AVX512F64
	bytes                                    int    // of a vector
	element                                  int    // bytes of an element
	rows                                     int    // of weights in a tile
	vector                                   func() VecVirtual
	load, store, broadcast, multiplyAdd, add func(...Op)
}

func main() {
	ConstraintExpr("amd64,!purego")
	cpuFeatures()
	for _, m := range []machine{
		{"F64AVX2", 32, 8, 4, YMM, VMOVUPD, VMOVUPD, VBROADCASTSD, VFMADD231PD, VADDPD},
		{"F32AVX2", 32, 4, 4, YMM, VMOVUPS, VMOVUPS, VBROADCASTSS, VFMADD231PS, VADDPS},
		{"F64AVX512", 64, 8, 8, ZMM, VMOVUPD, VMOVUPD, VBROADCASTSD, VFMADD231PD, VADDPD},
		{"F32AVX512", 64, 4, 8, ZMM, VMOVUPS, VMOVUPS, VBROADCASTSS, VFMADD231PS, VADDPS},
	} {
		for vectors := 1; vectors <= 3; vectors++ {
			m.tile(vectors)
		}
	}
	widen("widenF64", "float64", func(src Mem, i Register) {
		single, out := YMM(), []VecVirtual{YMM(), YMM()}
		VCVTPH2PS(src, single)
		high := XMM()
		VEXTRACTF128(U8(1), single, high)
		VCVTPS2PD(single.AsX(), out[0])
		VCVTPS2PD(high, out[1])
		for k, v := range out {
			VMOVUPD(v, Mem{Base: dst, Index: i, Scale: 8, Disp: 32 * k})
		}
	})
	widen("widenF32", "float32", func(src Mem, i Register) {
		single := YMM()
		VCVTPH2PS(src, single)
		VMOVUPS(single, Mem{Base: dst, Index: i, Scale: 4})
	})
	Generate()
}

// dst is where the function being emitted writes.
var dst Register

// widen emits a loop over eight halves at a time.
func widen(name, kind string, eight func(src Mem, i Register)) {
	TEXT(name, NOSPLIT, fmt.Sprintf("func(dst *%s, src *byte, n int)", kind))
	Pragma("noescape")
	Doc(name + " widens n halves (a multiple of 8, above 0).")
	dst = Load(Param("dst"), GP64())
	src, n, i := Load(Param("src"), GP64()), Load(Param("n"), GP64()), GP64()
	XORQ(i, i)
	Label("loop")
	eight(Mem{Base: src, Index: i, Scale: 2}, i)
	ADDQ(U8(8), i)
	CMPQ(i, n)
	JLT(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// tile emits a tile of that many vectors of positions by m.rows rows of
// weights. All sums stay in registers; a row's weight is broadcast.
func (m machine) tile(vectors int) {
	name := fmt.Sprintf("tile%dx%s", vectors, m.name)
	kind := map[int]string{4: "float32", 8: "float64"}[m.element]
	TEXT(name, NOSPLIT, fmt.Sprintf("func(k int, x, w *%s, wStride int, c *%s, stride int)", kind, kind))
	Pragma("noescape")
	Doc(fmt.Sprintf("%s adds %d × %d sums of k (above 0) products to c; strides are in bytes.", name, vectors, m.rows))
	k, x := Load(Param("k"), GP64()), Load(Param("x"), GP64())
	w, s := m.rowPointers("w", "wStride")
	sums := make([][]VecVirtual, m.rows)
	for r := range sums {
		for range vectors {
			v := m.vector()
			m.zero(v)
			sums[r] = append(sums[r], v)
		}
	}
	Label("loop")
	xs := make([]VecVirtual, vectors)
	for i := range xs {
		xs[i] = m.vector()
		m.load(Mem{Base: x, Disp: i * m.bytes}, xs[i])
	}
	for r, row := range sums {
		one := m.vector()
		m.broadcast(at(w, s, r), one)
		for i, sum := range row {
			m.multiplyAdd(xs[i], one, sum)
		}
	}
	ADDQ(Imm(uint64(vectors*m.bytes)), x)
	for _, p := range w {
		ADDQ(Imm(uint64(m.element)), p)
	}
	DECQ(k)
	JNE(LabelRef("loop"))
	c, cs := m.rowPointers("c", "stride")
	for r, row := range sums {
		for i, sum := range row {
			to := at(c, cs, r)
			to.Disp = i * m.bytes
			m.add(to, sum, sum)
			m.store(sum, to)
		}
	}
	VZEROUPPER()
	RET()
}

func (m machine) zero(v VecVirtual) {
	if m.bytes == 64 {
		VPXORQ(v, v, v)
		return
	}
	VPXOR(v, v, v)
}

// rowPointers points at every fourth row; strides once and three times.
func (m machine) rowPointers(base, stride string) (every []Register, strides [2]Register) {
	p := Load(Param(base), GP64())
	s := Load(Param(stride), GP64())
	thrice := GP64()
	LEAQ(Mem{Base: s, Index: s, Scale: 2}, thrice)
	every = []Register{p}
	if m.rows > 4 {
		q := GP64()
		LEAQ(Mem{Base: p, Index: s, Scale: 4}, q)
		every = append(every, q)
	}
	return every, [2]Register{s, thrice}
}

// at is row r behind the pointers.
func at(every []Register, strides [2]Register, r int) Mem {
	p := every[r/4]
	switch r % 4 {
	case 0:
		return Mem{Base: p}
	case 3:
		return Mem{Base: p, Index: strides[1], Scale: 1}
	}
	return Mem{Base: p, Index: strides[0], Scale: uint8(r % 4)}
}

func cpuFeatures() {
	TEXT("cpuid", NOSPLIT, "func(leaf, sub uint32) (a, b, c, d uint32)")
	Doc("cpuid asks the processor what it is.")
	Load(Param("leaf"), EAX)
	Load(Param("sub"), ECX)
	CPUID()
	for i, r := range []Register{EAX, EBX, ECX, EDX} {
		Store(r, ReturnIndex(i))
	}
	RET()

	TEXT("xgetbv", NOSPLIT, "func() uint32")
	Doc("xgetbv is the low half of the register that says what the system saves.")
	XORL(ECX, ECX)
	XGETBV()
	Store(EAX, ReturnIndex(0))
	RET()
}
