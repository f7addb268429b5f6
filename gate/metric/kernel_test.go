package metric

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

var allDTypes = []DType{F32, F16, BF16, F64}

// configs of every kernel that this machine has.
func kernelConfigs() map[string]Config {
	m := map[string]Config{"portable": {Portable: true}}
	for _, o := range nativeBlocks() {
		m[o.name] = Config{only: o.name}
	}
	return m
}

// oddTile fills a tile with ordinary values, some of them odd; density is how
// many of a thousand.
func oddTile(rng *rand.Rand, rows, width int, ref, cand DType, prev bool, density int) Tile {
	make2 := func() (Block, Block) {
		r, c := ordinary(rng, rows*width, math.Pow(10, -float64(rng.IntN(8))))
		for i := range r {
			if rng.IntN(1000) < density {
				r[i] = odd[rng.IntN(len(odd))]
			}
			if rng.IntN(1000) < density {
				c[i] = odd[rng.IntN(len(odd))]
			}
			if rng.IntN(1000) < density {
				c[i] = r[i]
			}
			if rng.IntN(1000) < density {
				c[i] = -r[i]
			}
		}
		if density > 0 && width >= 8 {
			for row := range rows {
				if rng.IntN(4) == 0 {
					at := row*width + 2*rng.IntN(2)
					r[at], r[at+1] = -46583.378906, 4.6e-41*float64(rng.IntN(2))
				}
				if rng.IntN(4) == 0 {
					at := row*width + 2*rng.IntN(2)
					c[at], c[at+1] = -1.009e18, 0
				}
			}
		}
		return Block{ref, encode(ref, r)}, Block{cand, encode(cand, c)}
	}
	t := Tile{Rows: rows, Width: width}
	t.Ref, t.Cand = make2()
	if prev {
		t.PrevRef, t.PrevCand = make2()
	}
	return t
}

func TestKernelsAgreeWithScalar(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, base := range kernelConfigs() {
		for _, rd := range allDTypes {
			for _, cd := range allDTypes {
				t.Run(fmt.Sprintf("%s/%d-%d", name, rd, cd), func(t *testing.T) {
					k := map[int]*Kernel{}
					var p Partial
					for n := range 60 {
						cfg := base
						cfg.Ref, cfg.Cand = GarbagePolicy(n&1), GarbagePolicy(n>>1&1)
						cfg.NoChannels = n%7 == 0
						if n%5 == 0 {
							cfg.SkipElements = []int{0, 3, 70, 1024, 1500}
						}
						if n%11 == 0 {
							cfg.GarbageAbove = []float64{1e300, 100, 1e-3}[n%3]
						}
						width := []int{1, 7, 8, 10, 63, 64, 100, 1024, 1031, 2500}[n%10]
						tile := oddTile(rng, 1+rng.IntN(9), width, rd, cd, n%3 > 0, []int{0, 0, 1, 20, 300}[n%5])
						k[n] = NewKernel(cfg)
						if err := k[n].Tile(tile, &p); err != nil {
							t.Fatal(err)
						}
						if err := samePartial(&p, scalarTile(t, cfg, tile)); err != nil {
							t.Fatalf("case %d, %d × %d: %v", n, tile.Rows, width, err)
						}
					}
				})
			}
		}
	}
}

func TestUnalignedBlocks(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for name, cfg := range kernelConfigs() {
		for _, d := range allDTypes {
			tile := oddTile(rng, 3, 1100, d, d, true, 2)
			want := scalarTile(t, cfg, tile)
			for _, b := range []*Block{&tile.Ref, &tile.Cand, &tile.PrevRef, &tile.PrevCand} {
				moved := make([]byte, len(b.Data)+1)
				copy(moved[1:], b.Data)
				b.Data = moved[1:]
			}
			var p Partial
			if err := NewKernel(cfg).Tile(tile, &p); err != nil {
				t.Fatal(err)
			}
			if err := samePartial(&p, want); err != nil {
				t.Errorf("%s, dtype %d: %v", name, d, err)
			}
		}
	}
}

// TestScalarFollowsTheDefinitions checks the reference itself against loops
// written from the formulas, in float64.
func TestScalarFollowsTheDefinitions(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, d := range []DType{F32, F64} {
		r, c := ordinary(rng, 3*200, 1e-2)
		pr, pc := ordinary(rng, 3*200, 1e-2)
		tile := Tile{Rows: 3, Width: 200, Ref: blockOf(d, r...), Cand: blockOf(d, c...), PrevRef: blockOf(d, pr...), PrevCand: blockOf(d, pc...)}
		r, c, pr, pc = tile.Ref.values(), tile.Cand.values(), tile.PrevRef.values(), tile.PrevCand.values()
		m := measure(t, Config{}, tile)
		n := float64(len(r))
		var abs, sq, r2, c2, rc, a2, s2, over1, over10, mag, maxAbs, maxRel, flips float64
		for i := range r {
			e := c[i] - r[i]
			rel := math.Abs(e) / max(math.Abs(r[i]), 1e-8)
			abs, sq, r2, c2, rc = abs+math.Abs(e), sq+e*e, r2+r[i]*r[i], c2+c[i]*c[i], rc+r[i]*c[i]
			a := (c[i] - pc[i]) - (r[i] - pr[i])
			a2, s2 = a2+a*a, s2+(r[i]-pr[i])*(r[i]-pr[i])
			over1, over10 = over1+one(rel > .01), over10+one(rel > .1)
			ratio := math.Abs(c[i]) / math.Abs(r[i])
			mag += one(ratio >= .1 && ratio <= 10)
			maxAbs, maxRel = max(maxAbs, math.Abs(e)), max(maxRel, rel)
		}
		for i := range r {
			flips += one(r[i]*c[i] < 0 && math.Abs(r[i]) > 1.01e-3*math.Sqrt(r2/n))
		}
		for name, want := range map[string]float64{
			"rel_l2": math.Sqrt(sq / r2), "nmse": sq / r2, "max_abs": maxAbs, "mean_abs": abs / n, "rmse": math.Sqrt(sq / n),
			"max_rel": maxRel, "over_1pct": over1 / n, "over_10pct": over10 / n, "cosine": rc / math.Sqrt(r2*c2), "sign_flips": flips / n,
			"magnitude": mag / n, "added": math.Sqrt(a2 / s2), "scale": math.Abs(rc/r2 - 1),
		} {
			tol := 1e-12
			if name == "scale" || name[:3] == "max" {
				tol = 1e-6 // scale subtracts from one; maxima are float32 figures
			}
			if got, ok := m.Metric(name); !ok || !near(got, want, tol) {
				t.Errorf("dtype %d: %s = %g, want %g", d, name, got, want)
			}
		}
		checkChannels(t, m, r, c, 200)
	}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func checkChannels(t *testing.T, m *Measures, r, c []float64, width int) {
	t.Helper()
	worst, at := -1.0, -1
	for ch := range width {
		var d2, r2, d1, x float64
		for i := ch; i < len(r); i += width {
			d := c[i] - r[i]
			d2, r2, d1, x = d2+d*d, r2+r[i]*r[i], d1+d, x+d*r[i]
		}
		if v := math.Sqrt(d2 / r2); v > worst {
			worst, at = v, ch
		}
		s := m.Channels
		if !near(s.Diff2[ch], d2, 1e-12) || !near(s.Ref2[ch], r2, 1e-12) || !near(s.Diff[ch], d1, 1e-9) || !near(s.Cross[ch], x, 1e-9) {
			t.Fatalf("channel %d: %g %g %g %g, want %g %g %g %g", ch, s.Diff2[ch], s.Ref2[ch], s.Diff[ch], s.Cross[ch], d2, r2, d1, x)
		}
	}
	if !near(m.WorstChannel, worst, 1e-12) || m.WorstChannelAt != at {
		t.Errorf("worst channel %d %g, want %d %g", m.WorstChannelAt, m.WorstChannel, at, worst)
	}
}

func TestRulesForZeroNaNAndInfinity(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	keep := Config{Ref: KeepGarbage, Cand: KeepGarbage}
	for _, tc := range []struct {
		name             string
		cfg              Config
		r, c             []float64
		rel, cos, maxAbs float64
		maxAt            int
		n, mis, inf, msk int64
	}{
		{"equal", keep, []float64{1, 2}, []float64{1, 2}, 0, 1, 0, 0, 2, 0, 0, 0},
		{"both zero", keep, []float64{0, 0}, []float64{0, math.Copysign(0, -1)}, 0, 1, 0, 0, 2, 0, 0, 0},
		{"reference zero", keep, []float64{0, 0}, []float64{0, 3}, inf, 0, 3, 1, 2, 0, 0, 0},
		{"candidate zero", keep, []float64{0, 3}, []float64{0, 0}, 1, 0, 3, 1, 2, 0, 0, 0},
		{"same infinity", keep, []float64{inf, 1}, []float64{inf, 1}, 0, 1, 0, 1, 1, 0, 1, 0},
		{"other infinity", keep, []float64{1, inf}, []float64{3, -inf}, nan, nan, inf, 1, 1, 1, 0, 0},
		{"candidate infinite", keep, []float64{1, 1}, []float64{inf, 1}, nan, nan, inf, 0, 1, 1, 0, 0},
		{"candidate NaN", keep, []float64{1, 1}, []float64{1, nan}, nan, nan, inf, 1, 1, 1, 0, 0},
		{"both NaN kept", keep, []float64{1, nan}, []float64{1, nan}, nan, nan, inf, 1, 1, 1, 0, 0},
		{"both NaN, reference masked", Config{Cand: KeepGarbage}, []float64{1, nan}, []float64{1, nan}, 0, 1, 0, 0, 1, 0, 0, 1},
		{"reference huge, masked", Config{Cand: KeepGarbage}, []float64{1, 1e18}, []float64{1, 2}, 0, 1, 0, 0, 1, 0, 0, 1},
		{"candidate huge, kept", Config{Cand: KeepGarbage}, []float64{3, 4}, []float64{3, 1e20}, 1e20 / 5, 4e20 / (5 * 1e20), 1e20, 1, 2, 0, 0, 0},
		{"everything masked", Config{}, []float64{nan, 1e18}, []float64{1, 2}, nan, nan, 0, 0, 0, 0, 0, 2},
		{"nothing", Config{}, nil, nil, nan, nan, 0, 0, 0, 0, 0, 0},
	} {
		for _, d := range []DType{F32, F64} {
			t.Run(fmt.Sprintf("%s/%d", tc.name, d), func(t *testing.T) {
				m := measure(t, tc.cfg, Tile{Rows: 1, Width: len(tc.r), Ref: blockOf(d, tc.r...), Cand: blockOf(d, tc.c...)})
				if !near(m.RelL2(), tc.rel, 1e-6) || !near(m.Cosine(), tc.cos, 1e-6) {
					t.Errorf("rel_l2 %g, cosine %g; want %g, %g", m.RelL2(), m.Cosine(), tc.rel, tc.cos)
				}
				if !near(m.MaxAbs, tc.maxAbs, 1e-6) || m.MaxAbsAt != tc.maxAt {
					t.Errorf("max_abs %g at %d, want %g at %d", m.MaxAbs, m.MaxAbsAt, tc.maxAbs, tc.maxAt)
				}
				if m.N != tc.n || m.Mismatch != tc.mis || m.MatchedInf != tc.inf || m.Masked != tc.msk {
					t.Errorf("counts %d %d %d %d, want %d %d %d %d", m.N, m.Mismatch, m.MatchedInf, m.Masked, tc.n, tc.mis, tc.inf, tc.msk)
				}
				checkUndefined(t, m)
			})
		}
	}
}

// checkUndefined: nothing passes after a mismatch, or when nothing was compared.
func checkUndefined(t *testing.T, m *Measures) {
	t.Helper()
	if m.Mismatch == 0 && m.N > 0 {
		return
	}
	for _, info := range All() {
		if v, ok := m.Metric(info.Name); ok && info.Within(v, 0.5) {
			t.Errorf("%s = %g keeps to a limit", info.Name, v)
		}
	}
}

// The logs of a real engine: its first 16 bytes are the allocator's list pointers.
func TestHeapPointers(t *testing.T) {
	rest := []float64{-4.631835, -4.414284, -4.362384, -1.629380, -2.077622, 0.543194}
	other := []float64{1.5, 2, -1, 0.5, -4, -4, -4, -1, -2, 0.5}
	for _, tc := range []struct {
		name  string
		first [4]float64
		want  []int
	}{
		{"second pointer", [4]float64{0, 0, -1009864046716911616, 0}, []int{2, 3}},
		{"first pointer", [4]float64{-46583.378906, 0, 3.250984, 0.944414}, []int{0, 1}},
		{"both, high halves denormal", [4]float64{-46583.378906, 4.59e-41, 1e18, 4.59e-41}, []int{0, 1, 2, 3}},
		{"zeros", [4]float64{0, 0, 0, 0}, nil},
		{"in scale", [4]float64{100, 0, -7, 0}, nil},
		{"high half alive", [4]float64{-46583.378906, 1, 3, 0.9}, nil},
	} {
		r := append(tc.first[:], rest...)
		for side := range 2 {
			for name, cfg := range kernelConfigs() {
				ref, cand := r, other
				if side == 1 {
					ref, cand = other, r
				}
				var p Partial
				if err := NewKernel(cfg).Tile(Tile{Rows: 1, Width: 10, Ref: blockOf(F32, ref...), Cand: blockOf(F32, cand...)}, &p); err != nil {
					t.Fatal(err)
				}
				var got []int
				for _, g := range p.Found {
					if g.Kind != HeapPointer || g.Side != Side(side) || g.Row != 0 {
						t.Errorf("%s: %+v", tc.name, g)
					}
					got = append(got, g.Element)
				}
				if fmt.Sprint(got) != fmt.Sprint(tc.want) || p.Rows[0].Masked != int64(len(tc.want)) || p.Rows[0].N != 10-int64(len(tc.want)) {
					t.Errorf("%s, %s, side %d: garbage %v, want %v (%d masked)", tc.name, name, side, got, tc.want, p.Rows[0].Masked)
				}
			}
		}
	}
	if heapPointers([]float32{1, 0, 0, 0, 0, 0, 0, 0}, 1e10) != 0 {
		t.Error("a one-hot row is taken for garbage")
	}
	if heapPointers([]float32{1, 4.59e-41, 0, 0, 0, 0, 0, 0}, 1e10) != 3 {
		t.Error("a pointer in an empty buffer is not seen")
	}
}

func TestGarbageReportIsBounded(t *testing.T) {
	v := make([]float64, 100)
	for i := range v {
		v[i] = math.NaN()
	}
	var p Partial
	if err := NewKernel(Config{}).Tile(Tile{Rows: 1, Width: 100, Ref: blockOf(F32, v...), Cand: blockOf(F32, v...)}, &p); err != nil {
		t.Fatal(err)
	}
	if len(p.Found) != 2*reportedGarbage || p.Rows[0].Garbage[RefSide][NonFinite] != 100 || p.Rows[0].Masked != 100 {
		t.Errorf("%d reported, stats %+v", len(p.Found), p.Rows[0])
	}
}

func TestAccumulatorKeepsRowsAndTies(t *testing.T) {
	k := NewKernel(Config{})
	a := NewAccumulator(2, Config{})
	var p Partial
	for _, c := range [][]float64{{1, 1, 1, 3}, {4, 1, 1, 4}, {1, 1, 1, 1}} {
		if err := k.Tile(Tile{Rows: 2, Width: 2, Ref: blockOf(F32, 1, 1, 1, 1), Cand: blockOf(F32, c...)}, &p); err != nil {
			t.Fatal(err)
		}
		a.Merge(&p)
	}
	m := a.Result()
	if m.Rows != 6 || m.MaxAbs != 3 || m.MaxAbsAt != 0 || m.MaxAbsRow != 2 || m.MaxRelRow != 2 || m.N != 12 {
		t.Errorf("%+v", m)
	}
}

func TestTileErrors(t *testing.T) {
	ok := blockOf(F32, 1, 2)
	for name, tile := range map[string]Tile{
		"short":         {Rows: 1, Width: 3, Ref: ok, Cand: ok},
		"ragged":        {Rows: 1, Width: 2, Ref: ok, Cand: Block{F32, make([]byte, 7)}},
		"no dtype":      {Rows: 1, Width: 2, Ref: ok, Cand: Block{0, make([]byte, 8)}},
		"negative":      {Rows: -1, Width: -2, Ref: ok, Cand: ok},
		"overflow":      {Rows: 1 << 62, Width: 8, Ref: Block{F32, nil}, Cand: Block{F32, nil}},
		"one-sided":     {Rows: 1, Width: 2, Ref: ok, Cand: ok, PrevRef: ok},
		"previous size": {Rows: 1, Width: 2, Ref: ok, Cand: ok, PrevRef: ok, PrevCand: blockOf(F32, 1)},
	} {
		var p Partial
		if err := NewKernel(Config{}).Tile(tile, &p); err == nil || len(p.Rows) != 0 {
			t.Errorf("%s: error %v, %d rows", name, err, len(p.Rows))
		}
	}
}

func TestPartialIsReusedWithoutAllocating(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, d := range allDTypes {
		tile := oddTile(rng, 8, 1100, d, d, true, 5)
		k, p := NewKernel(Config{}), new(Partial)
		a := NewAccumulator(1100, Config{})
		run := func() {
			if err := k.Tile(tile, p); err != nil {
				t.Fatal(err)
			}
			a.Merge(p)
		}
		run()
		if n := testing.AllocsPerRun(5, run); n != 0 {
			t.Errorf("dtype %d: %g allocations a tile", d, n)
		}
	}
}

func TestMergeOrder(t *testing.T) {
	a := Stats{N: 1, MaxAbs: 2, MaxAbsAt: 5, MaxRel: 1, MaxRelAt: 5}
	b := Stats{N: 1, MaxAbs: 2, MaxAbsAt: 3, MaxRel: 4, MaxRelAt: 3}
	var s Stats
	s.Merge(&Stats{})
	s.Merge(&a)
	s.Merge(&b)
	if s.MaxAbsAt != 5 || s.MaxRelAt != 3 || s.N != 2 {
		t.Errorf("%+v", s)
	}
}
