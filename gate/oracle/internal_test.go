package oracle

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/paritygate/paritygate/gate/oracle/gguf"
)

// Every kernel of this machine sums what a plain loop sums.
func TestKernels(t *testing.T) {
	for _, k := range kernels[float64]() {
		testKernel(t, k, 1e-14)
	}
	for _, k := range kernels[float32]() {
		testKernel(t, k, 1e-5)
	}
}

func testKernel[T float](t *testing.T, k *kernel[T], most float64) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	values := func(n int) []T {
		v := make([]T, n)
		for i := range v {
			v[i] = T(r.NormFloat64())
		}
		return v
	}
	for vectors := 1; vectors <= k.vectors; vectors++ {
		for _, terms := range []int{1, 2, 15, k.depth} {
			lanes, wStride, stride := vectors*k.lanes, terms+3, vectors*k.lanes+5
			x, w, c := values(terms*lanes), values(k.rows*wStride), values(k.rows*stride)
			before := append([]T{}, c...)
			k.tile(vectors, terms, x, w, wStride, c, stride)
			for row := range k.rows {
				for at := range stride {
					want := float64(before[row*stride+at])
					for i := 0; i < terms && at < lanes; i++ {
						want += float64(x[i*lanes+at]) * float64(w[row*wStride+i])
					}
					if got := float64(c[row*stride+at]); math.Abs(got-want) > most*math.Sqrt(float64(terms))*10 || at >= lanes && got != want {
						t.Fatalf("%s %T: %d vectors, %d terms: row %d at %d is %g, want %g", k.name, x[0], vectors, terms, row, at, got, want)
					}
				}
			}
		}
	}
}

// Hardware widens every half as ggml does.
func TestWiden(t *testing.T) {
	const n = 1 << 16
	raw := make([]byte, 2*n)
	for h := range n {
		binary.LittleEndian.PutUint16(raw[2*h:], uint16(h))
	}
	single, want, double := make([]float32, n), make([]float32, n), make([]float64, n)
	if err := gguf.Dequantize(gguf.F16, want, raw); err != nil {
		t.Fatal(err)
	}
	if !widen(single, raw) || !widen(double, raw) {
		t.Log("this machine has nothing faster")
		return
	}
	for h := range n {
		if nan := want[h] != want[h]; nan != (single[h] != single[h]) || nan != (double[h] != double[h]) {
			t.Fatalf("%#04x is %v and %v, want %v", h, single[h], double[h], want[h])
		} else if !nan && (math.Float32bits(single[h]) != math.Float32bits(want[h]) || math.Float64bits(double[h]) != math.Float64bits(float64(want[h]))) {
			t.Fatalf("%#04x is %v and %v, want %v", h, single[h], double[h], want[h])
		}
	}
}

// Rounding is what ggml stores, for float32 and for float64 that are one.
func TestRound(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	plain, special := make([]float32, 1<<14), make([]float32, 1<<14)
	for i := range special {
		special[i] = float32(r.NormFloat64() * math.Exp(r.NormFloat64()*6))
	}
	copy(special, []float32{0, float32(math.Copysign(0, -1)), 65504, 65519, 65520, -70000, 0x1p-24, 0x1p-25, 0x1.8p-24, 6e-8, 0x1p-14, 1 + 0x1p-11, 1 + 0x3p-11, math.MaxFloat32})
	for format, kind := range map[Format]gguf.Type{F16: gguf.F16, BF16: gguf.BF16, Q8_0: gguf.Q8_0} {
		v := special
		if format == Q8_0 { // whose scale those overflow
			for i := range plain {
				plain[i] = float32(r.NormFloat64())
			}
			v = plain
		}
		elems, size := kind.Block()
		stored, want := make([]byte, len(v)/elems*size), make([]float32, len(v))
		if err := gguf.Quantize(kind, stored, v); err != nil {
			t.Fatal(err)
		}
		if err := gguf.Dequantize(kind, want, stored); err != nil {
			t.Fatal(err)
		}
		single, double := append([]float32{}, v...), make([]float64, len(v))
		for i, x := range v {
			double[i] = float64(x)
		}
		round(format, single)
		round(format, double)
		for i := range v {
			if single[i] != want[i] || float64(single[i]) != double[i] {
				t.Fatalf("%v: %g is %g and %g, want %g", format, v[i], single[i], double[i], want[i])
			}
		}
		again := append([]float32{}, single...)
		round(format, again)
		for i := range again {
			if again[i] != single[i] {
				t.Fatalf("%v: %g rounds again to %g", format, single[i], again[i])
			}
		}
	}
}

// A float64 is rounded once, not by way of float32.
func TestRoundOnce(t *testing.T) {
	tie := 1 + 0x1p-11 + 0x1p-40 // just above the middle of two halves, on it in float32
	if got := half64(tie); got != 1+0x1p-10 {
		t.Errorf("half of 1 + 2^-11 + 2^-40 is %v", got)
	}
	if got := brain64(1 + 0x1p-8 + 0x1p-40); got != 1+0x1p-7 {
		t.Errorf("bfloat16 of 1 + 2^-8 + 2^-40 is %v", got)
	}
	if got := tensor64(tie); got != 1+0x1p-10 {
		t.Errorf("TF32 of 1 + 2^-11 + 2^-40 is %v", got)
	}
	for x, want := range map[float64]float64{1 + 0x1p-11: 1, 1 + 3*0x1p-11: 1 + 0x1p-9, 1e6 + 1: 999936, 0x1p-127: 0x1p-127, 1e39: math.Inf(1), math.Inf(-1): math.Inf(-1)} {
		if got, narrow := tensor64(x), tensor32(float32(x)); got != want || float64(narrow) != want {
			t.Errorf("TF32 of %v is %v, of its float32 %v; want %v", x, got, narrow, want)
		}
	}
	for _, x := range []float64{math.Inf(1), math.Inf(-1), 65520, -1e9} {
		if got := half64(x); !math.IsInf(got, int(math.Copysign(1, x))) {
			t.Errorf("half of %v is %v", x, got)
		}
	}
	if !math.IsNaN(half64(math.NaN())) || !math.IsNaN(brain64(math.NaN())) || !math.IsNaN(tensor64(math.NaN())) || !math.IsNaN(float64(half32(float32(math.NaN())))) {
		t.Error("a NaN does not stay one")
	}
}
