package gate

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/trace"
)

// types are a pair's dtypes.
type types struct{ ref, cand trace.DType }

func (d types) String() string { return d.ref.String() + "-" + d.cand.String() }

// forward is a made forward pass with errors of about 5 %, in the given types.
func forward(seed uint64, d types, rows, width, vocabulary int) (ref, cand []point) {
	g := seeded(seed)
	stream := noisy(g, rows, width, 1)
	wrong := plus(stream, noisy(g, rows, width, 0.02))
	add := func(name string, r, c [][]float64) {
		ref, cand = append(ref, point{name, d.ref, r}), append(cand, point{name, d.cand, c})
	}
	add("embedding", stream, wrong)
	for layer := range 3 {
		step := noisy(g, rows, width, 0.5)
		stream, wrong = plus(stream, step), plus(wrong, step, noisy(g, rows, width, 0.03))
		add(fmt.Sprintf("layer_%d_output", layer), stream, wrong)
	}
	add("final_norm", stream, plus(stream, noisy(g, rows, width, 0.05)))
	logits := noisy(g, rows, vocabulary, 3)
	add("logits", logits, plus(logits, noisy(g, rows, vocabulary, 0.3)))
	return ref, cand
}

// asStored is the matrix as a trace of that type holds it.
func asStored(p point) [][]float64 {
	return matrix(len(p.rows), len(p.rows[0]), func(i, j int) float64 { return storedAs(p.dtype, p.rows[i][j]) })
}

// Every metric of the registry equals a plain computation from its definition.
func TestMetricsAgreeWithDefinitions(t *testing.T) {
	pairs := []types{{trace.F32, trace.F32}, {trace.F16, trace.F16}, {trace.BF16, trace.BF16}, {trace.F64, trace.F64},
		{trace.F32, trace.F16}, {trace.BF16, trace.F32}, {trace.F64, trace.F32}, {trace.F16, trace.BF16}, {trace.F16, trace.F64}}
	for i, d := range pairs {
		for _, portable := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s portable %v", d, portable), func(t *testing.T) {
				ref, cand := forward(uint64(10+i), d, 37, 133, 311)
				r := compared(t, parsed(t, "tolerances: {preset: reasonable}\n"), Options{Portable: portable}, pairOf(t, ref, cand))
				if len(r.Checkpoints) != len(ref) {
					t.Fatalf("%d checkpoints, want %d", len(r.Checkpoints), len(ref))
				}
				for k := range ref {
					n := naive{ref: asStored(ref[k]), cand: asStored(cand[k]), refType: d.ref, candType: d.cand, logits: ref[k].name == "logits"}
					if k > 0 && k < 4 {
						n.refPrev, n.candPrev = asStored(ref[k-1]), asStored(cand[k-1])
					}
					wantMetrics(t, &r.Checkpoints[k], n.metrics())
					wantGrowth(t, r.Checkpoints[:k+1], n)
				}
			})
		}
	}
}

func wantMetrics(t *testing.T, c *Checkpoint, want map[string]float64) {
	t.Helper()
	if got, names := slices.Sorted(maps.Keys(c.Metrics)), slices.Sorted(maps.Keys(want)); !slices.Equal(got, names) {
		t.Errorf("%s has metrics %v, want %v", c.Name, got, names)
	}
	for name, w := range want {
		if got := float64(c.Metrics[name]); !near(got, w, 2e-7) {
			t.Errorf("%s %s is %.12g, want %.12g", c.Name, name, got, w)
		}
	}
}

// wantGrowth holds the growth of the last checkpoint against the one before.
func wantGrowth(t *testing.T, cs []Checkpoint, n naive) {
	t.Helper()
	c := cs[len(cs)-1]
	if len(cs) == 1 {
		if c.Growth != nil {
			t.Errorf("%s: growth %+v of nothing", c.Name, c.Growth)
		}
		return
	}
	before, stride := cs[len(cs)-2].Metrics, 0.0
	if n.refPrev != nil {
		step := minus(n.ref, n.refPrev)
		stride = math.Sqrt(inner(n.ref, n.ref) / inner(step, step))
	}
	g := c.Growth
	if g == nil || g.Inherited != before["rel_l2"] || g.InheritedRMS != before["position_rms"] || !near(float64(g.Stride), stride, 2e-7) ||
		!near(float64(g.Factor), float64(c.Metrics["rel_l2"]/before["rel_l2"]), 1e-8) {
		t.Errorf("%s: growth %+v, want a stride of %v after %v", c.Name, g, stride, before)
	}
}

// The worst position is named exactly, however many rows there are.
func TestWorstPositionOfLongPrompts(t *testing.T) {
	rows := noisy(seeded(4), 5001, 8, 1)
	for _, at := range []int{0, 2049, 4097, 5000} {
		wrong := copied(rows, func(b [][]float64) { b[at][3] += 100 })
		c := checkpointOf(t, compared(t, parsed(t, ""), Options{}, pairOf(t, []point{{name: "embedding", rows: rows}}, []point{{name: "embedding", rows: wrong}})), "embedding")
		if want := (Where{MaxAbsPosition: at, MaxAbsElement: 3, WorstChannel: 3, WorstPosition: at}); c.Where != want {
			t.Errorf("%+v, want %+v", c.Where, want)
		}
	}
}

// Each metric of the registry exists at some checkpoint of the pass above: none
// is listed and never measured. Two need the model's weights.
func TestEveryMetricIsMeasured(t *testing.T) {
	ref, cand := forward(3, types{trace.F32, trace.F32}, 9, 16, 120)
	r := compared(t, parsed(t, ""), Options{}, pairOf(t, ref, cand))
	seen := map[string]bool{}
	for _, c := range r.Checkpoints {
		for name := range c.Metrics {
			seen[name] = true
		}
	}
	for _, info := range metric.All() {
		if !seen[info.Name] && info.Name != "explained" && info.Name != "local" {
			t.Errorf("%s was measured nowhere", info.Name)
		}
	}
}

// Where the largest errors lie, and what a layer added, of errors planted by hand.
func TestWhereAndGrowth(t *testing.T) {
	base := matrix(4, 8, func(i, j int) float64 { return 1 })
	step := matrix(4, 8, func(i, j int) float64 { return 3 })
	ref := []point{{name: "embedding", rows: base}, {name: "layer_0_output", rows: plus(base, step)}, {name: "logits", rows: base}}
	cand := []point{
		{name: "embedding", rows: copied(base, func(b [][]float64) { b[1][2] += 0.5 })},
		// The inherited error stays; the layer itself errs by 0.25 at row 3, element 7.
		{name: "layer_0_output", rows: copied(plus(base, step), func(b [][]float64) { b[1][2] += 0.5; b[3][7] -= 0.25 })},
		{name: "logits", rows: base},
	}
	p := Pair{"p", made(t, trace.Meta{Positions: []int{3, 4, 5, 9}}, ref...), made(t, trace.Meta{Positions: []int{3, 4, 5, 9}}, cand...)}
	r := compared(t, parsed(t, ""), Options{}, p)
	e, l, o := checkpointOf(t, r, "embedding"), checkpointOf(t, r, "layer_0_output"), checkpointOf(t, r, "logits")
	if want := (Where{MaxAbsPosition: 4, MaxAbsElement: 2, WorstChannel: 2, WorstPosition: 4}); e.Where != want {
		t.Errorf("embedding: %+v, want %+v", e.Where, want)
	}
	if e.Growth != nil {
		t.Errorf("embedding has growth %+v; nothing comes before it", e.Growth)
	}
	// rel_l2 of the embedding is √(0.25/32), its position_rms √(0.25/8/4), the same; the layer adds 0.25
	// of a step of 3·√32.
	root := Value(round9(0.5 / 5.656854249492381))
	if g := l.Growth; g == nil || !near(float64(g.Inherited), float64(root), 1e-8) || !near(float64(g.InheritedRMS), float64(root), 1e-8) ||
		!near(float64(g.Added), 0.25/(3*5.656854249492381), 1e-8) || !near(float64(g.Stride), 4.0/3, 1e-8) ||
		!near(float64(g.Factor), float64(l.Metrics["rel_l2"]/root), 1e-8) || l.Metrics["added"] != g.Added {
		t.Errorf("layer: growth %+v of metrics %v", g, l.Metrics)
	}
	if g := o.Growth; g == nil || g.Stride != 0 || g.Added == g.Added || g.Inherited != l.Metrics["rel_l2"] || g.InheritedRMS != l.Metrics["position_rms"] {
		t.Errorf("logits: growth %+v; it inherits the layer's error and adds to no stream", o.Growth)
	}
	if o.Where.WorstChannel != -1 || o.Where.MaxAbsElement != 0 {
		t.Errorf("equal logits: %+v", o.Where)
	}
	for i, c := range r.Checkpoints {
		if c.Order != i || c.Prompt != "p" || c.Rows != 4 || c.Width != 8 || c.Compared != 8 || c.RefDType != "F32" || c.CandDType != "F32" {
			t.Errorf("checkpoint %d: %+v", i, c)
		}
	}
}
