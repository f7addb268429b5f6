package gguf

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkDequantize is one core's rate: bytes are those of the results.
func BenchmarkDequantize(b *testing.B) {
	const n = 1 << 18
	r := rand.New(rand.NewPCG(7, 8))
	for _, kind := range decodable {
		elems, size := kind.Block()
		blocks := randomBytes(r, n/elems*size)
		if kind == F16 || kind == F32 || kind == BF16 { // random bytes would be no weights
			w := make([]float32, n)
			for i := range w {
				w[i] = float32(r.NormFloat64() * 0.02)
			}
			if err := Quantize(kind, blocks, w); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(kind.String()+"/float64", func(b *testing.B) { benchmark(b, kind, make([]float64, n), blocks, 8) })
		b.Run(kind.String()+"/float32", func(b *testing.B) { benchmark(b, kind, make([]float32, n), blocks, 4) })
	}
}

func benchmark[T number](b *testing.B, kind Type, dst []T, blocks []byte, width int) {
	b.SetBytes(int64(len(dst) * width))
	for b.Loop() {
		if err := Dequantize(kind, dst, blocks); err != nil {
			b.Fatal(err)
		}
	}
}
