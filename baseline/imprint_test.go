package baseline

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/trace"
)

// TestFingerprint: equal exactly when dtype, width, positions and bits are.
func TestFingerprint(t *testing.T) {
	g := seeded(1)
	rows := [][]float64{kinds[0].row(g, 40), kinds[0].row(g, 40), kinds[0].row(g, 40)}
	base := rowsOf(metric.F32, "c", 40, rows...)
	want := markOf(t, base).Fingerprint
	if len(want) != 32 {
		t.Fatalf("fingerprint %q", want)
	}
	if got := markOf(t, rowsOf(metric.F32, "another", 40, rows...)).Fingerprint; got != want {
		t.Error("the checkpoint's name is part of the fingerprint")
	}
	for i := range base.Rows.Data {
		o := base
		o.Rows.Data = slices.Clone(base.Rows.Data)
		o.Rows.Data[i] ^= 1 << (i % 8)
		if markOf(t, o).Fingerprint == want {
			t.Errorf("bit %d of byte %d does not matter", i%8, i)
		}
	}
	others := map[string]gate.Observed{}
	o := base
	o.Rows.DType = metric.F16
	o.Width *= 2
	others["dtype"] = o
	o = base
	o.Width, o.Positions = 60, []int{0, 1}
	others["shape"] = o
	o = base
	o.Positions = []int{0, 1, 3}
	others["positions"] = o
	o = rowsOf(metric.F32, "c", 40, rows[1], rows[0], rows[2])
	others["order"] = o
	for name, o := range others {
		if markOf(t, o).Fingerprint == want {
			t.Errorf("%s does not matter", name)
		}
	}
	zero := func(v float64) string { return markOf(t, rowsOf(metric.F32, "c", 1, []float64{v})).Fingerprint }
	if zero(0) == zero(math.Copysign(0, -1)) || zero(math.NaN()) == zero(math.Inf(1)) {
		t.Error("zeros of both signs, NaN and infinity have bits of their own")
	}
}

// TestImprintInPieces: however the rows come, the mark is the same.
func TestImprintInPieces(t *testing.T) {
	g := seeded(2)
	var rows [][]float64
	for range 37 {
		rows = append(rows, kinds[1].row(g, 50))
	}
	o := rowsOf(metric.BF16, "c", 50, rows...)
	want := markOf(t, o)
	if len(want.Positions) != OwnSketches || want.Positions[0] != 0 || want.Positions[15] != 36 || len(want.Sketches) != 17 {
		t.Fatalf("%v, %d sketches", want.Positions, len(want.Sketches))
	}
	for _, step := range []int{1, 3, 36} {
		im := NewImprint()
		for at := 0; at < 37; at += step {
			part := o
			part.First = at
			part.Rows.Data = o.Rows.Data[at*100 : min(at+step, 37)*100]
			if _, done := im.Mark("p", "c"); done {
				t.Fatal("complete before the last row")
			}
			if err := im.Observe(part); err != nil {
				t.Fatal(err)
			}
		}
		if got, done := im.Mark("p", "c"); !done || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("in steps of %d: another mark", step)
		}
	}
	// The last sketch is the sum of the rows that have none of their own.
	var rest rowSum
	for i, r := range rows {
		if !slices.Contains(want.Positions, i) {
			var wide rowSum
			wide.add(rowsOf(metric.BF16, "c", 50, r).Rows, mix(begin(o).seed+uint64(i)*golden))
			rest.norm2 += wide.norm2
			for b, v := range wide.buckets {
				rest.buckets[b] += v
			}
		}
	}
	if got := rest.sketch(); got != want.Sketches[16] {
		t.Errorf("the rest is %v, want %v", want.Sketches[16].Norm2, got.Norm2)
	}
}

func TestImprintRefusesRowsOutOfOrder(t *testing.T) {
	o := rowsOf(metric.F32, "c", 4, make([]float64, 4), make([]float64, 4), make([]float64, 4))
	second := o
	second.First, second.Rows.Data = 1, o.Rows.Data[16:32]
	third := o
	third.First, third.Rows.Data = 2, o.Rows.Data[32:]
	first := o
	first.Rows.Data = o.Rows.Data[:16]
	bad := map[string][]gate.Observed{
		"no first row": {second}, "a row left out": {first, third}, "a row twice": {first, second, second},
		"more rows than positions": {first, second, {Prompt: "p", Checkpoint: "c", Positions: o.Positions, First: 2, Width: 4, Rows: o.Rows}},
	}
	half := first
	half.Rows.Data = first.Rows.Data[:10]
	bad["half a row"] = []gate.Observed{half}
	none := first
	none.Width = 0
	bad["no width"] = []gate.Observed{none}
	for name, calls := range bad {
		im := NewImprint()
		var err error
		for _, c := range calls {
			if err = im.Observe(c); err != nil {
				break
			}
		}
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// A comparison that starts again replaces what was there.
	im := NewImprint()
	for _, c := range []gate.Observed{first, second, first, second, third} {
		if err := im.Observe(c); err != nil {
			t.Fatal(err)
		}
	}
	if m, done := im.Mark("p", "c"); !done || m.Fingerprint != markOf(t, o).Fingerprint {
		t.Error("the second time counts")
	}
	var nobody *Imprint
	if _, done := nobody.Mark("p", "c"); done {
		t.Error("nobody saw anything")
	}
}

// TestSpaced: the first and the last row have a sketch of their own, and those
// between are evenly spaced.
func TestSpaced(t *testing.T) {
	for n := range 500 {
		s := spaced(n)
		if len(s) != min(n, OwnSketches) {
			t.Fatalf("%d rows: %v", n, s)
		}
		for i := 1; i < len(s); i++ {
			if d := s[i] - s[i-1]; d < (n-1)/15 || d > (n-1)/15+1 {
				t.Fatalf("%d rows: %v", n, s)
			}
		}
		if n > 1 && (s[0] != 0 || s[len(s)-1] != n-1) {
			t.Fatalf("%d rows: %v", n, s)
		}
	}
}

// TestGarbage: a row that holds garbage has no sketch and is left out of the
// estimate; its bits are in the fingerprint all the same.
func TestGarbage(t *testing.T) {
	g := seeded(5)
	for _, d := range []metric.DType{metric.F32, metric.F16, metric.BF16, metric.F64} {
		for _, bad := range []float64{math.NaN(), math.Inf(-1), 2e10} {
			if d == metric.F16 && bad == 2e10 {
				continue // f16 ends at 65504
			}
			rows := [][]float64{kinds[0].row(g, 20), kinds[0].row(g, 20), kinds[0].row(g, 20)}
			sound := markOf(t, rowsOf(d, "c", 20, rows...))
			rows[1] = slices.Clone(rows[1])
			rows[1][13] = bad
			m := markOf(t, rowsOf(d, "c", 20, rows...))
			if m.Sketches[1].Valid() || !m.Sketches[0].Valid() || !m.Sketches[2].Valid() || m.Fingerprint == sound.Fingerprint {
				t.Errorf("dtype %d, %v: %v", d, bad, m.Sketches[1].Norm2)
			}
			if got := Moved(m, sound); got != leastMoved {
				t.Errorf("dtype %d, %v: the other rows are the same, moved %v", d, bad, got)
			}
		}
	}
	// Among the rows without a sketch of their own, one spoils their sum.
	var rows [][]float64
	for range 40 {
		rows = append(rows, kinds[0].row(g, 20))
	}
	for _, bad := range []float64{math.NaN(), 2e10} {
		rows[1][0] = bad // has none of its own: 0, 3, 5, …
		m := markOf(t, rowsOf(metric.F32, "c", 20, rows...))
		if m.Sketches[16].Valid() || !m.Sketches[15].Valid() {
			t.Errorf("positions %v: rest %v", m.Positions, m.Sketches[16].Norm2)
		}
	}
}

func TestMoved(t *testing.T) {
	row := func(v ...float64) Mark { return markOf(t, rowsOf(metric.F32, "c", len(v), v)) }
	nan := math.NaN()
	for _, c := range []struct {
		name      string
		now, then Mark
		want      float64
	}{
		{"the same", row(1, 2, 3), row(1, 2, 3), 0},
		{"one element", row(3, 4, 1), row(3, 4, 0), 0.2}, // alone in its bucket: no error
		{"a negative zero", row(0, 1), row(math.Copysign(0, -1), 1), leastMoved},
		{"below what float32 resolves", row(1, math.Float64frombits(0x3ff0000020000000)), row(1, 1), leastMoved},
		{"from nothing", row(1, 0), row(0, 0), math.Inf(1)},
		{"nothing both", row(0, 0), row(0, math.Copysign(0, -1)), leastMoved},
		{"garbage before", row(1, 2), row(nan, 2), nan},
		{"other positions", row(1, 2), markOf(t, rowsOf(metric.F32, "c", 2, []float64{1, 2}, []float64{1, 2})), nan},
		{"nothing known", Mark{}, Mark{}, nan},
		{"nothing known before", row(1, 2), Mark{}, nan},
	} {
		if got := Moved(c.now, c.then); !(math.Abs(got-c.want) < 1e-7) && got != c.want && (got == got || c.want == c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestMovedOnRealTraces: estimated and true distance at every checkpoint of the
// project's example traces, each within five standard deviations.
func TestMovedOnRealTraces(t *testing.T) {
	_, then := compared(t, "reference", "reference")
	for _, name := range []string{"sound", "rope-bug"} {
		r, now := compared(t, "reference", name)
		n, sum, most := 0., 0., 0.
		for _, c := range r.Checkpoints {
			truth, sd := distance(t, example(t, "reference").Lookup(c.Name), example(t, name).Lookup(c.Name))
			m, _ := now.Mark(c.Prompt, c.Name)
			o, _ := then.Mark(c.Prompt, c.Name)
			got := Moved(m, o)
			if truth == 0 {
				if got != 0 {
					t.Errorf("%s %s: the bits are the same, moved %v", name, c.Name, got)
				}
				continue
			}
			off := got*got/(truth*truth) - 1
			t.Logf("%-9s %-15s %3d rows of %4d: true %.4e, estimated %.4e, squares off by %+6.2f %%, standard deviation at most %5.2f %%", name, c.Name, c.Rows, c.Width, truth, got, 100*off, 100*sd)
			if math.Abs(off) > 5*sd {
				t.Errorf("%s %s: off by %.3g standard deviations", name, c.Name, off/sd)
			}
			n, sum, most = n+1, sum+(off/sd)*(off/sd), max(most, math.Abs(off))
		}
		t.Logf("%s: %.0f checkpoints, rms error %.2f of the stated standard deviation, largest error of the square %.1f %%", name, n, math.Sqrt(sum/n), 100*most)
		if n < 3 || math.Sqrt(sum/n) > 1.6 {
			t.Errorf("%s: rms error %.2f of the stated standard deviation over %.0f checkpoints", name, math.Sqrt(sum/n), n)
		}
	}
}

// distance is ‖b−a‖/‖a‖ over all rows of two checkpoints, and the stated relative
// standard deviation of the estimate of its square.
func distance(t *testing.T, a, b *trace.Checkpoint) (float64, float64) {
	t.Helper()
	read := func(c *trace.Checkpoint) []byte {
		out := make([]byte, len(c.Positions)*c.Stored*c.DType.Size())
		if err := c.NewReader().ReadRows(0, len(c.Positions), out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	x, y := read(a), read(b)
	own := spaced(len(a.Positions))
	var d2, n2, rest, fourth float64
	for p := range a.Positions {
		var row float64
		for i := p * a.Width; i < (p+1)*a.Width; i++ {
			u, v := valueOf(a.DType, x, i), valueOf(b.DType, y, i)
			row += (v - u) * (v - u)
			n2 += u * u
		}
		d2 += row
		if slices.Contains(own, p) {
			fourth += row * row
		} else {
			rest += row
		}
	}
	fourth += rest * rest
	return math.Sqrt(d2 / n2), math.Sqrt(2./Buckets*fourth) / d2
}

func valueOf(d trace.DType, b []byte, i int) float64 {
	var w [4 * runLen]byte
	switch d {
	case trace.F32:
		copy(w[:], b[4*i:4*i+4])
	default:
		var raw [2 * runLen]byte
		copy(raw[:], b[2*i:2*i+2])
		widen(&w, metric.DType(d), &raw)
	}
	return float64(math.Float32frombits(uint32(w[0]) | uint32(w[1])<<8 | uint32(w[2])<<16 | uint32(w[3])<<24))
}
