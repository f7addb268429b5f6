package metric

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
)

func logitsConfigs() []Config {
	all := []Config{{Portable: true}}
	for _, o := range nativeRows() {
		all = append(all, Config{only: o.name})
	}
	return all
}

func rowOfLogits(t testing.TB, cfg Config, d DType, r, c []float64) LogitsRow {
	t.Helper()
	row, err := NewLogitsKernel(cfg).Row(blockOf(d, r...), blockOf(d, c...))
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// bigKL is the textbook form with 200 bits, exp by its series.
func bigKL(r, c []float64) float64 {
	const prec = 200
	bf := func(x float64) *big.Float { return new(big.Float).SetPrec(prec).SetFloat64(x) }
	exp := func(x float64) *big.Float { // exp(x/2^k)^(2^k)
		const halvings = 16
		y := new(big.Float).SetPrec(prec).SetMantExp(bf(x), -halvings)
		sum, term := bf(1), bf(1)
		for i := 1; i < 30; i++ {
			term.Mul(term, y).Quo(term, bf(float64(i)))
			sum.Add(sum, term)
		}
		for range halvings {
			sum.Mul(sum, sum)
		}
		return sum
	}
	sr, sc := bf(0), bf(0)
	er := make([]*big.Float, len(r))
	for i := range r {
		er[i] = exp(r[i])
		sr.Add(sr, er[i])
		sc.Add(sc, exp(c[i]))
	}
	// Σp(r−c) + log(sc/sr), the log by its series about the ratio's excess.
	lin := bf(0)
	for i := range r {
		d := new(big.Float).Sub(bf(r[i]), bf(c[i]))
		lin.Add(lin, d.Mul(d, er[i]))
	}
	lin.Quo(lin, sr)
	ratio := new(big.Float).Quo(sc, sr)
	guess, _ := ratio.Float64()
	l := math.Log(guess)
	rest := new(big.Float).Sub(new(big.Float).Quo(ratio, exp(l)), bf(1)) // tiny
	log := new(big.Float).Sub(rest, new(big.Float).Quo(new(big.Float).Mul(rest, rest), bf(2)))
	log.Add(log, bf(l))
	out, _ := lin.Add(lin, log).Float64()
	return out
}

func TestKLAgainstExactArithmetic(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	const n = 1100
	for _, d := range []DType{F32, F64} {
		for _, noise := range []float64{3, 1, 0.3, 1e-2, 1e-4, 1e-6} {
			for _, spread := range []float64{0.1, 1, 4} {
				for _, shift := range []float64{0, 500} {
					r, c := make([]float64, n), make([]float64, n)
					for i := range r {
						r[i] = rng.NormFloat64() * spread
						c[i] = r[i] + rng.NormFloat64()*noise + shift
					}
					rb, cb := blockOf(d, r...), blockOf(d, c...)
					want := bigKL(rb.values(), cb.values())
					for _, cfg := range logitsConfigs() {
						row := rowOfLogits(t, cfg, d, r, c)
						if !near(row.KL, want, 1e-5) {
							t.Errorf("dtype %d, noise %g, spread %g, shift %g, portable %v: KL %g, want %g (%.1e off)",
								d, noise, spread, shift, cfg.Portable, row.KL, want, row.KL/want-1)
						}
					}
				}
			}
		}
	}
}

// One logit alone moved: the terms cancel all but the top's tiny share.
func TestKLWhereOnlyTheTopMoved(t *testing.T) {
	r, c := make([]float64, 2000), make([]float64, 2000)
	for i := range r {
		r[i] = float64(i%7) / 64
		c[i] = r[i]
	}
	r[5], c[5] = 1, 1+0x1p-12
	want := bigKL(r, c)
	for _, cfg := range logitsConfigs() {
		if row := rowOfLogits(t, cfg, F32, r, c); !near(row.KL, want, 1e-5) {
			t.Errorf("KL %g, want %g", row.KL, want)
		}
	}
}

func TestLogitsRules(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	keep := Config{Ref: KeepGarbage, Cand: KeepGarbage}
	for _, tc := range []struct {
		name        string
		cfg         Config
		r, c        []float64
		ref, cand   int
		kl, margin  float64
		gap, overlp float64
		rank        float64
	}{
		{"equal", keep, []float64{1, 3, 2}, []float64{1, 3, 2}, 1, 1, 0, 1, 0, 1, 1},
		{"shifted", keep, []float64{1, 3, 2}, []float64{2, 4, 3}, 1, 1, 0, 1, 0, 1, 1},
		{"ties: the lowest wins", keep, []float64{3, 3, 1}, []float64{1, 3, 3}, 0, 1, bigKL([]float64{3, 3, 1}, []float64{1, 3, 3}), 0, 0, 1, -0.5},
		{"masked by −Inf on both", keep, []float64{1, -inf, 1}, []float64{1, -inf, 1}, 0, 0, 0, 0, 0, 1, 1},
		{"p is zero", keep, []float64{0, -inf}, []float64{0, 0}, 0, 0, math.Ln2, inf, 0, 1, 0},
		{"q is zero", keep, []float64{0, 0}, []float64{0, -inf}, 0, 0, inf, 0, 0, 1, 0},
		{"q is zero at the top", keep, []float64{1, 0}, []float64{-inf, 0}, 0, 1, inf, 1, 1, 1, -1},
		{"one", keep, []float64{7}, []float64{9}, 0, 0, 0, inf, 0, 1, 1},
		{"candidate NaN kept", keep, []float64{1, 2}, []float64{nan, 2}, 1, -1, nan, nan, nan, nan, nan},
		{"reference NaN kept", keep, []float64{nan, 2}, []float64{1, 2}, -1, 1, nan, nan, nan, nan, nan},
		{"+Inf kept", keep, []float64{1, 2}, []float64{1, inf}, 1, 1, nan, 1, 0, 1, 1},
		{"garbage masked", Config{Cand: KeepGarbage}, []float64{1e18, 2, nan, 1}, []float64{1, 2, 3, 1}, 1, 1, 0, 1, 0, 1, 1},
		{"skipped", Config{SkipElements: []int{0}}, []float64{9, 2, 1}, []float64{1, 2, 1}, 1, 1, 0, 1, 0, 1, 1},
		{"far apart", keep, []float64{0, 1e6}, []float64{1e6, 0}, 1, 0, 2e6 - 1e6, 1e6, 1e6, 1, -1},
		{"all −Inf", keep, []float64{-inf, -inf}, []float64{-inf, -inf}, 0, 0, nan, 0, 0, 1, 1},
		{"nothing left", Config{}, []float64{nan}, []float64{1}, -1, -1, nan, nan, nan, nan, nan},
	} {
		for _, d := range []DType{F32, F64} {
			row := rowOfLogits(t, tc.cfg, d, tc.r, tc.c)
			if row.RefTop != tc.ref || row.CandTop != tc.cand || !near(row.KL, tc.kl, 1e-12) || !near(row.Margin, tc.margin, 0) ||
				!near(row.Gap, tc.gap, 0) || !near(row.TopKOverlap, tc.overlp, 0) || !near(row.RankCorrelation, tc.rank, 1e-12) {
				t.Errorf("%s, dtype %d: %+v", tc.name, d, row)
			}
		}
	}
	if _, err := NewLogitsKernel(keep).Row(blockOf(F32, 1, 2), blockOf(F32, 1)); err == nil {
		t.Error("rows of different lengths are compared")
	}
	if row, err := NewLogitsKernel(keep).Row(Block{DType: F32}, Block{DType: F32}); err != nil || row.Agrees() {
		t.Errorf("an empty row: %+v, %v", row, err)
	}
}

// TestTopsAgainstSorting compares the selection with sorting everything, on
// values with many ties.
func TestTopsAgainstSorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 10))
	for _, n := range []int{3, 10, 99, 1024, 7000, 20011} {
		for _, levels := range []int{1, 3, 50, 1 << 20} {
			r, c := make([]float64, n), make([]float64, n)
			for i := range r {
				r[i] = float64(rng.IntN(levels)) / 1024
				c[i] = float64(rng.IntN(levels)) / 1024
			}
			ro, co := order(r), order(c)
			k := min(10, n)
			both := 0
			for _, i := range ro[:k] {
				if slices.Contains(co[:k], i) {
					both++
				}
			}
			depth := min(100, n)
			x, y := make([]float64, depth), make([]float64, depth)
			for j, i := range ro[:depth] {
				x[j], y[j] = r[i], c[i]
			}
			rank := naivePearson(naiveRanks(x), naiveRanks(y))
			for _, cfg := range logitsConfigs() {
				row := rowOfLogits(t, cfg, F32, r, c)
				if row.RefTop != ro[0] || row.CandTop != co[0] || row.TopKOverlap != float64(both)/float64(k) ||
					row.Margin != r[ro[0]]-r[ro[1]] || row.Gap != r[ro[0]]-r[co[0]] || math.Abs(row.RankCorrelation-rank) > 1e-9 {
					t.Errorf("n %d, %d levels, portable %v: %+v; want tops %d %d, overlap %d, rank %g", n, levels, cfg.Portable, row, ro[0], co[0], both, rank)
				}
			}
		}
	}
}

func order(v []float64) []int {
	o := make([]int, len(v))
	for i := range o {
		o[i] = i
	}
	sort.SliceStable(o, func(a, b int) bool { return v[o[a]] > v[o[b]] })
	return o
}

func naiveRanks(v []float64) []float64 {
	out := make([]float64, len(v))
	for i, a := range v {
		for j, b := range v {
			if b > a {
				out[i]++
			} else if b == a && i != j {
				out[i] += 0.5
			}
		}
	}
	return out
}

func naivePearson(x, y []float64) float64 {
	mx, my := 0.0, 0.0
	for i := range x {
		mx, my = mx+x[i]/float64(len(x)), my+y[i]/float64(len(x))
	}
	var a, b, ab float64
	for i := range x {
		a, b, ab = a+(x[i]-mx)*(x[i]-mx), b+(y[i]-my)*(y[i]-my), ab+(x[i]-mx)*(y[i]-my)
	}
	if a < 1e-18 || b < 1e-18 {
		return one(a < 1e-18 && b < 1e-18)
	}
	return ab / math.Sqrt(a*b)
}

func TestLogitsRowDoesNotAllocate(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 11))
	r, c := ordinary(rng, 5000, 1e-3)
	for _, d := range allDTypes {
		k := NewLogitsKernel(Config{})
		rb, cb := blockOf(d, r...), blockOf(d, c...)
		if n := testing.AllocsPerRun(3, func() {
			if _, err := k.Row(rb, cb); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("dtype %d: %g allocations a row", d, n)
		}
	}
}
