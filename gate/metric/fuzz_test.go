package metric

import (
	"encoding/binary"
	"math"
	"testing"
)

// FuzzKernelsAgree holds every kernel to the scalar reference on any bits: a
// byte each for the dtypes, the policies and the shape, then the values, the
// last of them repeated until the tile is full.
func FuzzKernelsAgree(f *testing.F) {
	seed := func(mode, shape byte, v ...float64) {
		f.Add(append([]byte{mode, shape}, encode(F32, v)...))
	}
	seed(0, 70, 1, 2, 3, 4, 5, 6, 7, 8, -1, -2, 1e-45, 1e10, 0, 0.1)
	seed(0x15, 200, math.NaN(), math.Inf(1), 3e38, 1e-8, 5)
	seed(0x82, 9, -46583.378906, 4.59e-41, 3, 1, 2, 1, 2, 1, 2)
	seed(0xc0, 129, odd...)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 3 || len(data) > 1<<14 {
			return
		}
		mode, width, raw := data[0], 1+int(data[1])*5, data[2:]
		rd, cd := allDTypes[mode&3], allDTypes[mode>>2&3]
		cfg := Config{Ref: GarbagePolicy(mode >> 4 & 1), Cand: GarbagePolicy(mode >> 5 & 1)}
		if mode>>7 != 0 {
			cfg.SkipElements = []int{1, width / 2}
		}
		rows := 1 + int(raw[0]&7)
		at := 0
		fill := func(d DType) Block {
			b := Block{d, make([]byte, rows*width*d.Size())}
			for i := range b.Data {
				b.Data[i] = raw[at%len(raw)]
				at++
			}
			at += 3 // another phase for the next block
			return b
		}
		tile := Tile{Rows: rows, Width: width, Ref: fill(rd), Cand: fill(cd)}
		if mode>>6&1 != 0 {
			tile.PrevRef, tile.PrevCand = fill(rd), fill(cd)
		}
		// Pairs close to each other take other paths than unrelated ones.
		if rd == cd && raw[0]&8 != 0 {
			copy(tile.Cand.Data, tile.Ref.Data)
			for i := 0; i < len(tile.Cand.Data); i += 7 {
				tile.Cand.Data[i] ^= raw[i%len(raw)] & 1
			}
		}
		want := scalarTile(t, cfg, tile)
		for name, base := range kernelConfigs() {
			c := cfg
			c.Portable, c.only = base.Portable, base.only
			var p Partial
			if err := NewKernel(c).Tile(tile, &p); err != nil {
				t.Fatal(err)
			}
			if err := samePartial(&p, want); err != nil {
				t.Fatalf("%s, %d × %d, dtypes %d %d: %v", name, rows, width, rd, cd, err)
			}
		}
	})
}

// FuzzKL holds the fast KL to the float64 one, tops to each other, and both to
// what always holds: KL is never negative, and 0 for a row against itself.
func FuzzKL(f *testing.F) {
	f.Add(encode(F32, []float64{1, 2, 3, 4, 5, 6, 7, 8}), float32(1), float32(1e-3), false)
	f.Add(encode(F32, odd), float32(3), float32(0), true)
	f.Add(encode(F32, []float64{10, -10, 30, 2, 2, 2, -80, 0}), float32(100), float32(2), false)
	f.Fuzz(func(t *testing.T, raw []byte, scale, noise float32, keep bool) {
		if len(raw) < 8 || len(raw) > 1<<12 {
			return
		}
		const n = 1500
		r, c := make([]byte, 0, 4*n), make([]byte, 0, 4*n)
		for i := range n {
			x := math.Float32frombits(binary.LittleEndian.Uint32(raw[i%(len(raw)-3):]))
			if scale != 0 { // tame values: bounded, and spread
				x = scale * float32(math.Sin(float64(x)+float64(i)))
			}
			y := x + noise*float32(math.Cos(float64(raw[i%len(raw)])*float64(i)))
			r = binary.LittleEndian.AppendUint32(r, math.Float32bits(x))
			c = binary.LittleEndian.AppendUint32(c, math.Float32bits(y))
		}
		cfg := Config{}
		if keep {
			cfg.Ref, cfg.Cand = KeepGarbage, KeepGarbage
		}
		wide := exactRow(cfg, r, c)
		for _, kernel := range logitsConfigs() {
			kernel.Ref, kernel.Cand = cfg.Ref, cfg.Cand
			row := mustRow(t, kernel, r, c)
			if !near(row.KL, wide.KL, 1e-5) && !(row.KL < 1e-25 && wide.KL < 1e-25) {
				t.Errorf("KL %g, in float64 %g", row.KL, wide.KL)
			}
			if row.KL < 0 {
				t.Errorf("KL %g", row.KL)
			}
			row.KL = wide.KL
			if row != wide && !math.IsNaN(wide.KL) {
				t.Errorf("%+v, in float64 %+v", row, wide)
			}
		}
		if self := mustRow(t, cfg, r, r); self.KL != 0 && !math.IsNaN(self.KL) {
			t.Errorf("KL of a row against itself is %g", self.KL)
		}
	})
}

func mustRow(t *testing.T, cfg Config, r, c []byte) LogitsRow {
	t.Helper()
	row, err := NewLogitsKernel(cfg).Row(Block{F32, r}, Block{F32, c})
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// exactRow measures without the fast loops.
func exactRow(cfg Config, r, c []byte) LogitsRow {
	k := NewLogitsKernel(cfg)
	rv, cv := Block{F32, r}.values(), Block{F32, c}.values()
	r32, c32 := make([]float32, len(rv)), make([]float32, len(cv))
	decode32(r32, F32, r)
	decode32(c32, F32, c)
	heap := [2]uint8{heapPointers(r32, cfg.above()), heapPointers(c32, cfg.above())}
	x, y := compact(k, &k.row32, r32, c32, heap)
	row := measureLogits(&k.row32, x, y)
	k.place(&row)
	return row
}
