package metric

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// encode stores values as little-endian values of the dtype, rounding.
func encode(dtype DType, v []float64) []byte {
	out := make([]byte, 0, len(v)*dtype.Size())
	for _, x := range v {
		switch dtype {
		case F64:
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(x))
		case F16:
			out = binary.LittleEndian.AppendUint16(out, toHalf(float32(x)))
		case BF16:
			out = binary.LittleEndian.AppendUint16(out, toBFloat(float32(x)))
		default:
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(x)))
		}
	}
	return out
}

// toHalf truncates to a half; toBFloat to a bfloat16. Tests need no rounding mode.
func toHalf(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	switch e := int(b>>23&255) - 112; {
	case b&0x7f800000 == 0x7f800000:
		h := sign | 0x7c00 | uint16(b>>13&1023)
		if b&0x7fffff != 0 {
			h |= 1
		}
		return h
	case e >= 31:
		return sign | 0x7bff
	case e <= 0:
		if e < -10 {
			return sign
		}
		return sign | uint16((b&0x7fffff|0x800000)>>(14-e))
	default:
		return sign | uint16(e)<<10 | uint16(b>>13&1023)
	}
}

func toBFloat(f float32) uint16 {
	b := math.Float32bits(f)
	if f != f {
		return uint16(b>>16) | 0x40
	}
	return uint16(b >> 16)
}

func blockOf(dtype DType, v ...float64) Block { return Block{dtype, encode(dtype, v)} }

// values decodes a block.
func (b Block) values() []float64 {
	out := make([]float64, len(b.Data)/b.DType.Size())
	decode64(out, b.DType, b.Data)
	return out
}

// scalarTile measures a tile with the scalar reference alone.
func scalarTile(t testing.TB, cfg Config, tile Tile) *Partial {
	t.Helper()
	k := NewKernel(cfg)
	p := new(Partial)
	if err := tile.check(); err != nil {
		t.Fatal(err)
	}
	p.reset(tile.Rows, tile.Width, !cfg.NoChannels)
	k.tile, k.p, k.unit = tile, p, coarser(tile.Ref.DType, tile.Cand.DType)
	k.streams = [streamCount]Block{tile.Ref, tile.Cand, tile.PrevRef, tile.PrevCand}
	wide := false
	for _, b := range k.streams {
		wide = wide || len(b.Data) > 0 && b.DType == F64
	}
	for row := range tile.Rows {
		info := k.inspect(row)
		if wide {
			scalarRow[float64](k, &info)
		} else {
			scalarRow[float32](k, &info)
		}
		p.flush()
	}
	return p
}

func scalarRow[T float32 | float64](k *Kernel, info *rowInfo) {
	var v [streamCount][]T
	for s := range k.streams {
		if len(k.streams[s].Data) == 0 {
			continue
		}
		for _, x := range (Block{k.streams[s].DType, k.rowBytes(s, info.row, 0, k.tile.Width)}).values() {
			v[s] = append(v[s], T(x))
		}
	}
	ref := scalar[T]{cfg: &k.cfg, above: k.cfg.above(), unit: k.unit, p: k.p}
	ref.segment(info, segment[T]{r: v[0], c: v[1], pr: v[2], pc: v[3], channels: k.p.planes(0, k.tile.Width)})
}

// measure runs a kernel and gathers its one tile.
func measure(t testing.TB, cfg Config, tile Tile) *Measures {
	t.Helper()
	var p Partial
	if err := NewKernel(cfg).Tile(tile, &p); err != nil {
		t.Fatal(err)
	}
	a := NewAccumulator(tile.Width, cfg)
	a.Merge(&p)
	return a.Result()
}

func near(a, b, tol float64) bool {
	if a == b || math.IsNaN(a) && math.IsNaN(b) {
		return true
	}
	return math.Abs(a-b) <= tol*max(math.Abs(a), math.Abs(b))
}

// samePartial compares two partial results: counts, maxima and indices to the
// bit, sums to 1e-12.
func samePartial(a, b *Partial) error {
	if len(a.Rows) != len(b.Rows) {
		return fmt.Errorf("%d rows, %d", len(a.Rows), len(b.Rows))
	}
	for i := range a.Rows {
		if err := sameStats(&a.Rows[i], &b.Rows[i]); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
	}
	if a.ulp != b.ulp {
		return fmt.Errorf("ULP histogram %v, %v", a.ulp, b.ulp)
	}
	if fmt.Sprint(a.Found) != fmt.Sprint(b.Found) {
		return fmt.Errorf("garbage %v, %v", a.Found, b.Found)
	}
	if fa, fb := flipCounts(a), flipCounts(b); fmt.Sprint(fa) != fmt.Sprint(fb) {
		return fmt.Errorf("sign flips %v, %v", fa, fb)
	}
	if len(a.channels) != len(b.channels) {
		return fmt.Errorf("%d channel sums, %d", len(a.channels), len(b.channels))
	}
	w := max(a.width, 1)
	for i := range a.channels {
		tol := 1e-12 * math.Abs(b.channels[i])
		switch d2, r2 := b.channels[i%w], b.channels[w+i%w]; i / w {
		case planeDiff: // signed terms: relative to what was added
			tol = max(tol, 1e-12*math.Sqrt(d2*float64(len(a.Rows))))
		case planeCross:
			tol = max(tol, 1e-12*math.Sqrt(d2)*math.Sqrt(r2))
		}
		if math.Abs(a.channels[i]-b.channels[i]) > tol {
			return fmt.Errorf("channel sum %d: %g, %g", i, a.channels[i], b.channels[i])
		}
	}
	return nil
}

func flipCounts(p *Partial) map[uint16]int {
	m := map[uint16]int{}
	for _, f := range p.flips {
		m[f]++
	}
	return m
}

func sameStats(a, b *Stats) error {
	x, y := *a, *b
	// Signed terms: relative to what was added, or to the sum where squares vanish.
	cross := max(math.Sqrt(a.SumRef2)*math.Sqrt(a.SumCand2), math.Abs(b.SumCross))
	if math.Abs(a.SumCross-b.SumCross) > 1e-12*cross {
		return fmt.Errorf("Σrc %g, %g", a.SumCross, b.SumCross)
	}
	for _, s := range []struct {
		name string
		a, b *float64
	}{
		{"Σ|d|", &x.SumAbs, &y.SumAbs}, {"Σd²", &x.SumSq, &y.SumSq}, {"Σr²", &x.SumRef2, &y.SumRef2},
		{"Σc²", &x.SumCand2, &y.SumCand2}, {"Σadded²", &x.SumAddedSq, &y.SumAddedSq}, {"Σstep²", &x.SumStep2, &y.SumStep2},
	} {
		if !near(*s.a, *s.b, 1e-12) {
			return fmt.Errorf("%s: %g, %g", s.name, *s.a, *s.b)
		}
		*s.a, *s.b = 0, 0
	}
	x.SumCross, y.SumCross = 0, 0
	if x != y {
		return fmt.Errorf("counts, maxima or indices:\n%+v\n%+v", x, y)
	}
	return nil
}

// ordinary makes n values like hidden states, and a copy with relative noise.
func ordinary(rng *rand.Rand, n int, noise float64) (r, c []float64) {
	r, c = make([]float64, n), make([]float64, n)
	for i := range r {
		r[i] = rng.NormFloat64() * math.Exp2(float64(rng.IntN(6)))
		c[i] = r[i] * (1 + noise*rng.NormFloat64())
	}
	return r, c
}

// odd are values that kernels get wrong.
var odd = []float64{0, math.Copysign(0, -1), 1e-45, -1e-45, 1.1754942e-38, 1.17549435e-38, 3e-8, -1e-8, 1e-8, 5.9604645e-8, 6.1e-5,
	1, -1, 0.1, 10, 100, 101, 65504, 1e9, 1e10, 1.0000001e10, -1e10, 2.9e14, 1e18, 3e38, -3.4028234e38,
	math.Inf(1), math.Inf(-1), math.NaN()}
