package baseline

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/metric"
)

// kinds are rows as engines make them, and harder.
var kinds = []struct {
	name string
	row  func(g *rand.Rand, width int) []float64
}{
	{"normal", func(g *rand.Rand, n int) []float64 {
		return filled(n, func(int) float64 { return g.NormFloat64() })
	}},
	{"heavy tails", func(g *rand.Rand, n int) []float64 {
		return filled(n, func(int) float64 { return g.NormFloat64() / math.Max(math.Abs(g.NormFloat64()), 1e-3) })
	}},
	{"one massive channel", func(g *rand.Rand, n int) []float64 {
		return filled(n, func(i int) float64 {
			if i == 7 {
				return 1000 * g.NormFloat64()
			}
			return g.NormFloat64()
		})
	}},
	{"every 32nd element", func(g *rand.Rand, n int) []float64 {
		return filled(n, func(i int) float64 {
			if i%32 == 5 {
				return 10
			}
			return 0
		})
	}},
}

func filled(n int, f func(int) float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = f(i)
	}
	return out
}

func minus(a, b []float64) []float64 {
	return filled(len(a), func(i int) float64 { return a[i] - b[i] })
}

func plus(a, b []float64) []float64 {
	return filled(len(a), func(i int) float64 { return a[i] + b[i] })
}

func norm2(a []float64) float64 {
	var s float64
	for _, v := range a {
		s += v * v
	}
	return s
}

// sketched is the sketch of one row of float64 at a position.
func sketched(checkpoint string, position int, row []float64) rowSum {
	o := rowsOf(metric.F64, checkpoint, len(row), row)
	o.Positions[0] = position
	var s rowSum
	s.add(o.Rows, mix(begin(o).seed+uint64(position)*golden))
	return s
}

// estimate is Σ_b (a_b − b_b)².
func estimate(a, b rowSum) float64 {
	var s float64
	for i := range a.buckets {
		d := a.buckets[i] - b.buckets[i]
		s += d * d
	}
	return s
}

// TestSketchOfOneRow: over many hashes the estimate of the squared distance is
// unbiased, with the relative standard deviation that is stated, whatever the rows.
func TestSketchOfOneRow(t *testing.T) {
	const trials = 2500
	bound := math.Sqrt(2. / Buckets)
	for _, k := range kinds {
		for _, width := range []int{31, 64, 1000} {
			g := seeded(uint64(width))
			then := k.row(g, width)
			now := plus(then, k.row(g, width))
			if width == 31 && k.name == "every 32nd element" {
				now[1]++ // a difference of one element has no error at all
			}
			truth := norm2(minus(now, then))
			var sum, sum2 float64
			for i := range trials {
				c := fmt.Sprint("c", i)
				e := estimate(sketched(c, i, now), sketched(c, i, then)) / truth
				sum += e
				sum2 += e * e
			}
			mean := sum / trials
			sd := math.Sqrt(sum2/trials - mean*mean)
			t.Logf("%-20s %4d elements: mean %.4f, standard deviation %.4f, bound %.4f", k.name, width, mean, sd, bound)
			if math.Abs(mean-1) > 4.5*bound/math.Sqrt(trials) {
				t.Errorf("%s of %d: biased: %v", k.name, width, mean)
			}
			if sd > bound*1.15 { // itself known to about 5 %
				t.Errorf("%s of %d: standard deviation %v, bound %v", k.name, width, sd, bound)
			}
		}
	}
}

// TestSketchOfManyRows: the error falls with the number of rows that have a sketch
// of their own, and is that of one row for a sum of rows.
func TestSketchOfManyRows(t *testing.T) {
	const trials, width = 400, 96
	for _, c := range []struct {
		rows  int
		bound float64
	}{{1, 0.25}, {4, 0.125}, {16, 0.0625}, {200, 0.25}} {
		g := seeded(uint64(c.rows))
		var sum, sum2 float64
		for i := range trials {
			then, now := make([][]float64, c.rows), make([][]float64, c.rows)
			var d, n float64
			for p := range then {
				then[p] = kinds[0].row(g, width)
				now[p] = plus(then[p], filled(width, func(int) float64 { return 1e-2 * g.NormFloat64() }))
				d += norm2(minus(now[p], then[p]))
				n += norm2(then[p])
			}
			name := fmt.Sprint("c", i)
			moved := Moved(markOf(t, rowsOf(metric.F64, name, width, now...)), markOf(t, rowsOf(metric.F64, name, width, then...)))
			e := moved * moved / (d / n)
			sum += e
			sum2 += e * e
		}
		mean := sum / trials
		sd := math.Sqrt(sum2/trials - mean*mean)
		t.Logf("%3d rows: mean %.4f, standard deviation %.4f, bound %.4f", c.rows, mean, sd, c.bound)
		if math.Abs(mean-1) > 4.5*c.bound/math.Sqrt(trials) || sd > 1.2*c.bound {
			t.Errorf("%d rows: mean %v, standard deviation %v, want at most %v", c.rows, mean, sd, c.bound)
		}
		if c.rows <= OwnSketches && sd < 0.7*c.bound {
			t.Errorf("%d rows: standard deviation %v is less than %v: what is measured?", c.rows, sd, c.bound)
		}
	}
}

// TestSketchIsLinear: the sketch of a sum is the sum of the sketches, in every dtype
// and with a last run that is not whole.
func TestSketchIsLinear(t *testing.T) {
	g := seeded(3)
	a, b := filled(77, func(int) float64 { return float64(g.IntN(64)) }), filled(77, func(int) float64 { return float64(g.IntN(64)) })
	for _, d := range []metric.DType{metric.F32, metric.F16, metric.BF16, metric.F64} {
		of := func(row []float64) rowSum {
			var s rowSum
			s.add(rowsOf(d, "c", len(row), row).Rows, 99)
			return s
		}
		sa, sb, sum := of(a), of(b), of(plus(a, b))
		for i := range sum.buckets {
			if sum.buckets[i] != sa.buckets[i]+sb.buckets[i] {
				t.Fatalf("dtype %d, bucket %d: %v, want %v", d, i, sum.buckets[i], sa.buckets[i]+sb.buckets[i])
			}
		}
		if sa.norm2 != norm2(a) {
			t.Errorf("dtype %d: norm² %v, want %v", d, sa.norm2, norm2(a))
		}
	}
}

// TestSketchHashes: signs are fair and buckets even, two elements of a run never
// meet and two of different runs do as often as chance says.
func TestSketchHashes(t *testing.T) {
	const rows, width = 4000, 64
	one := func(position, element int) (bucket int, sign float64) {
		row := make([]float64, width)
		row[element] = 1
		s := sketched("c", position, row)
		for b, v := range s.buckets {
			if v != 0 {
				return b, v
			}
		}
		t.Fatal("no bucket")
		return 0, 0
	}
	var counts [Buckets]int
	var signs, product float64
	near, far := 0, 0
	for p := range rows {
		b0, s0 := one(p, 3)
		b1, s1 := one(p, 17)
		b2, s2 := one(p, 40)
		counts[b0]++
		signs += s0
		product += s0 * s1
		product += s0 * s2
		if b0 == b1 {
			near++
		}
		if b0 == b2 {
			far++
		}
	}
	if near != 0 {
		t.Errorf("elements of one run met %d times", near)
	}
	if want := rows / Buckets; math.Abs(float64(far-want)) > 5*math.Sqrt(float64(want)) {
		t.Errorf("elements of two runs met %d times, want about %d", far, want)
	}
	if math.Abs(signs) > 5*math.Sqrt(rows) || math.Abs(product) > 5*math.Sqrt(2*rows) {
		t.Errorf("signs %v, products %v of %d", signs, product, rows)
	}
	for b, n := range counts {
		if want := rows / Buckets; math.Abs(float64(n-want)) > 5*math.Sqrt(float64(want)) {
			t.Errorf("bucket %d has %d of %d", b, n, rows)
		}
	}
}

// TestSketchNeverChanges: stored sketches are held against new ones, so that the
// hash and the order of the sums may not change without a new version.
func TestSketchNeverChanges(t *testing.T) {
	row := filled(70, func(i int) float64 { return float64(i*i%23) - 11 })
	m := markOf(t, rowsOf(metric.F16, "layer_3_output", 70, row, row))
	const wantPrint = "790e6727f7d90f135ebfa9f92358dbd7"
	if m.Fingerprint != wantPrint {
		t.Errorf("fingerprint %s, was %s", m.Fingerprint, wantPrint)
	}
	want := [2]string{"AGA4RQAAMMEAAIBAAACgwAAAgEAAAKDAAAAAAAAAgMEAAIA/AAAQwQAAgD8AAIA/AABAQAAAYEEAAKjBAACgQAAAgL8AAKDAAAAAQAAAAMAAAIA/AACgwAAAYMEAAADAAAAwwQAAQMAAAIA/AABQwQAA4EAAAADAAADgQAAAUMEAAEDA", "AGA4RQAAgEEAABDBAAAAQQAAAMEAAOBAAAAAwAAA4MAAACDBAADAQAAAAMAAAFBBAABAwQAAAMEAAIhBAABwwQAAQMAAACDBAABAwAAAcEEAAIBAAABgwQAAgMAAAAAAAACAPwAAoEAAAAAAAAAQQQAAAEEAAADAAADgQAAAAMAAAFBB"}
	for i := range m.Sketches {
		if got := strings.Trim(string(m.Sketches[i].append(nil)), `"`); got != want[i] {
			t.Errorf("sketch %d is\n%s, was\n%s", i, got, want[i])
		}
	}
}

func BenchmarkImprint(b *testing.B) {
	for _, d := range []struct {
		name string
		d    metric.DType
	}{{"f32", metric.F32}, {"f16", metric.F16}, {"bf16", metric.BF16}, {"f64", metric.F64}} {
		g := seeded(1)
		var rows [][]float64
		for range 16 {
			rows = append(rows, kinds[0].row(g, 4096))
		}
		o := rowsOf(d.d, "c", 4096, rows...)
		elements := float64(16 * 4096)
		b.Run(d.name+"/fingerprint and sketches", func(b *testing.B) {
			im := NewImprint()
			b.SetBytes(int64(len(o.Rows.Data)))
			for b.Loop() {
				if err := im.Observe(o); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/elements, "ns/elem")
		})
		b.Run(d.name+"/sketches", func(b *testing.B) {
			b.SetBytes(int64(len(o.Rows.Data)))
			var s rowSum
			for b.Loop() {
				s.add(o.Rows, 1)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/elements, "ns/elem")
		})
		b.Run(d.name+"/compare kernel", func(b *testing.B) {
			k, p, a := metric.NewKernel(metric.Config{}), new(metric.Partial), metric.NewAccumulator(4096, metric.Config{})
			b.SetBytes(int64(len(o.Rows.Data)))
			for b.Loop() {
				if err := k.Tile(metric.Tile{Rows: 16, Width: 4096, Ref: o.Rows, Cand: o.Rows}, p); err != nil {
					b.Fatal(err)
				}
				a.Merge(p)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/elements, "ns/elem")
		})
	}
}
