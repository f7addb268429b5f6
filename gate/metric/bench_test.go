package metric

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

var dtypeNames = map[DType]string{F32: "f32", F16: "f16", BF16: "bf16", F64: "f64"}

// BenchmarkTile measures tiles of 16 × 4096 hidden states with everything:
// added, channel sums, and the merge into the checkpoint. Bytes are those of
// the pair, without the previous rows.
func BenchmarkTile(b *testing.B) {
	for _, portable := range []bool{false, true} {
		cfg := Config{Portable: portable}
		for _, d := range allDTypes {
			for _, prev := range []bool{true, false} {
				what := map[bool]string{true: "added", false: "plain"}[prev]
				b.Run(fmt.Sprintf("%s/%s/%s", NewKernel(cfg).Name(), dtypeNames[d], what), func(b *testing.B) {
					benchTile(b, cfg, d, 16, 4096, prev)
				})
			}
		}
	}
}

// BenchmarkLogitsSums is the fused kernel on logits rows, without channel sums:
// what the metrics of logits are held against.
func BenchmarkLogitsSums(b *testing.B) {
	for _, d := range allDTypes {
		b.Run(dtypeNames[d], func(b *testing.B) { benchTile(b, Config{NoChannels: true}, d, 1, 128256, false) })
	}
}

func benchTile(b *testing.B, cfg Config, d DType, rows, width int, prev bool) {
	rng := rand.New(rand.NewPCG(1, 1))
	r, c := ordinary(rng, rows*width, 1e-3)
	t := Tile{Rows: rows, Width: width, Ref: Block{d, encode(d, r)}, Cand: Block{d, encode(d, c)}}
	if prev {
		r, c = ordinary(rng, rows*width, 1e-3)
		t.PrevRef, t.PrevCand = Block{d, encode(d, r)}, Block{d, encode(d, c)}
	}
	k, a, p := NewKernel(cfg), NewAccumulator(width, cfg), new(Partial)
	b.SetBytes(int64(2 * len(t.Ref.Data)))
	for b.Loop() {
		if err := k.Tile(t, p); err != nil {
			b.Fatal(err)
		}
		a.Merge(p)
	}
	if v := a.Result().RelL2(); !(v < 1) {
		b.Fatal(v)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows*width), "ns/elem")
}

// BenchmarkLogits measures KL, tops and rank correlation of rows of 128,256.
func BenchmarkLogits(b *testing.B) {
	rng := rand.New(rand.NewPCG(2, 2))
	r, c := make([]float64, 128256), make([]float64, 128256)
	for i := range r {
		r[i] = 3 * rng.NormFloat64()
		c[i] = r[i] + 1e-2*rng.NormFloat64()
	}
	for _, portable := range []bool{false, true} {
		k := NewLogitsKernel(Config{Portable: portable})
		for _, d := range allDTypes {
			b.Run(k.Name()+"/"+dtypeNames[d], func(b *testing.B) {
				rb, cb := Block{d, encode(d, r)}, Block{d, encode(d, c)}
				b.SetBytes(int64(2 * len(rb.Data)))
				for b.Loop() {
					row, err := k.Row(rb, cb)
					if err != nil || math.IsNaN(row.KL) {
						b.Fatal(row, err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(r)), "ns/elem")
			})
		}
	}
}
