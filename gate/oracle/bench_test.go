package oracle

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/paritygate/paritygate/gate/engine/enginetest"
)

// BenchmarkTile is one core's rate in billions of operations a second.
func BenchmarkTile(b *testing.B) {
	for _, k := range kernels[float64]() {
		b.Run("float64/"+k.name, func(b *testing.B) { benchmarkTile(b, k) })
	}
	for _, k := range kernels[float32]() {
		b.Run("float32/"+k.name, func(b *testing.B) { benchmarkTile(b, k) })
	}
}

func benchmarkTile[T float](b *testing.B, k *kernel[T]) {
	lanes := k.vectors * k.lanes
	x, w, c := make([]T, k.depth*lanes), make([]T, k.rows*k.depth), make([]T, k.rows*lanes)
	for i := range x {
		x[i] = T(rand.Float64())
	}
	for b.Loop() {
		k.tile(k.vectors, k.depth, x, w, k.depth, c, lanes)
	}
	operations := 2 * float64(b.N) * float64(k.depth*lanes*k.rows)
	b.ReportMetric(operations/b.Elapsed().Seconds()/1e9, "Gop/s")
}

// BenchmarkPrefill is 64 tokens of a random llama of 125 million parameters.
func BenchmarkPrefill(b *testing.B) {
	path := filepath.Join(b.TempDir(), "random.gguf")
	if err := enginetest.Random(1024, 10).Write(path); err != nil {
		b.Fatal(err)
	}
	m, err := Load(path)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	tokens := make([]int32, 64)
	for i := range tokens {
		tokens[i] = int32(rand.IntN(m.Vocabulary()))
	}
	parameters := 0
	for _, t := range m.file.Tensors() {
		parameters += t.Width() * t.Height()
	}
	for _, p := range []string{"f64", "f32", "bf16", "llamacpp-cpu-f16", "llamacpp-q8_0"} {
		b.Run(p, func(b *testing.B) {
			o := Options{}
			if o.Profile, err = ProfileByName(p); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := m.Run(context.Background(), tokens, o, func(string, int, []float64) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(2*float64(b.N)*float64(len(tokens)*parameters)/b.Elapsed().Seconds()/1e9, "Gop/s")
		})
	}
}
