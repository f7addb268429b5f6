package gate

import (
	"fmt"
	"math"
	"testing"
)

// judgedRows is a signature of rows with these relative errors, of which those
// up to within count as right.
func judgedRows(within float64, rel ...float64) *signature {
	g := &signature{rel: rel, last: true}
	for i, r := range rel {
		g.positions = append(g.positions, i)
		g.exact = append(g.exact, r <= within)
	}
	g.median = append([]float64{}, rel...)[len(rel)/2]
	return g
}

// Which reading a made signature gets, at the edges between two of them.
func TestReadAtTheEdges(t *testing.T) {
	rows := func(n int, f func(i int) float64) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = f(i)
		}
		return out
	}
	from := func(k int, wrong float64) func(int) float64 {
		return func(i int) float64 {
			if i < k {
				return 0
			}
			return wrong
		}
	}
	tail := judgedRows(0.01, rows(16, from(14, 0.5))...)
	close := judgedRows(0.01, rows(16, func(i int) float64 { return map[bool]float64{true: 0.02, false: 0.009}[i == 7] })...)
	first := judgedRows(0.15, rows(16, func(i int) float64 { return map[bool]float64{true: 0.1, false: 0.2}[i == 0] })...)
	notFirst := judgedRows(0.01, rows(16, from(1, 0.5))...)
	for i := range notFirst.positions {
		notFirst.positions[i] += 5
	}
	notLast := judgedRows(0.01, rows(16, func(i int) float64 { return map[bool]float64{true: 0, false: 0.5}[i == 15] })...)
	notLast.last = false
	ramp := judgedRows(0.01, rows(40, func(i int) float64 { return max(0, float64(i-4)) / 40 })...)
	for _, c := range []struct {
		name  string
		g     *signature
		added bool
		want  string
	}{
		{"two wrong rows at the end are a window", tail, true, "window"},
		{"one wrong row at the end is a row", judgedRows(0.01, rows(16, from(15, 0.5))...), true, "positions"},
		{"a quarter of the rows", judgedRows(0.01, rows(16, func(i int) float64 { return map[bool]float64{true: 0.5, false: 0}[i%4 == 1] })...), true, "positions"},
		{"more than a quarter", judgedRows(0.01, rows(16, func(i int) float64 { return map[bool]float64{true: 0.5, false: 0}[i%3 == 1] })...), true, "attention_scores"},
		{"a wrong row that does not stand apart", close, true, "layer"},
		{"a first row that is hardly better", first, true, "layer"},
		{"the first row alone is right", judgedRows(0.01, rows(16, from(1, 0.5))...), true, "attention_scores"},
		{"the first row of a later position", notFirst, true, "layer"},
		{"the first row, where nothing is added", judgedRows(0.01, rows(16, from(1, 0.5))...), false, ""},
		{"three rows of sixteen", judgedRows(0.01, rows(16, from(3, 0.5))...), true, "window"},
		{"five rows and a ramp", ramp, true, "rope_or_mask"},
		{"the last of a sample that ends earlier", notLast, true, "layer"},
		{"few rows tell little", judgedRows(0.01, 0, 0.5, 0.5), true, "layer"},
	} {
		got := ""
		if ds := c.g.read("layer_1_output", c.added); len(ds) > 0 {
			got = ds[0].Kind
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestThresholdsOfKinds(t *testing.T) {
	plain := func(change func(g *signature)) *signature {
		g := judgedRows(0.01, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5)
		change(g)
		return g
	}
	for _, c := range []struct {
		name   string
		change func(g *signature)
		want   string
	}{
		{"gain", func(g *signature) { g.gainShare = 0.9 }, "multiplier"},
		{"less gain", func(g *signature) { g.gainShare = 0.89 }, "layer"},
		{"channel", func(g *signature) { g.channelShare = 0.5 }, "channel"},
		{"less channel", func(g *signature) { g.channelShare = 0.49 }, "layer"},
		{"direction", func(g *signature) { g.oneDirection = 0.9 }, "channel"},
		{"less direction", func(g *signature) { g.oneDirection = 0.89 }, "layer"},
		{"order", func(g *signature) { g.resemblance, g.ownMatch, g.resembles = 0.31, 0.2, "layer_2_output" }, "layer_order"},
		{"as much its own", func(g *signature) { g.resemblance, g.ownMatch = 0.9, 0.7 }, "layer"},
		{"little order", func(g *signature) { g.resemblance, g.ownMatch = 0.29, -1 }, "layer"},
		{"epsilon", func(g *signature) { g.normCorrelation, g.normSteepness = 0.8, 1.6 }, "norm_epsilon"},
		{"steep", func(g *signature) { g.normCorrelation, g.normSteepness = 0.99, 1.61 }, "layer"},
		{"shallow", func(g *signature) { g.normCorrelation, g.normSteepness = 0.99, 0.49 }, "layer"},
		{"loose", func(g *signature) { g.normCorrelation, g.normSteepness = 0.79, 1 }, "layer"},
		{"the skipped layer before the multiplier", func(g *signature) { g.nothingAdded, g.gainShare = true, 1 }, "layer_skipped"},
		{"the shift before everything", func(g *signature) { g.nothingAdded, g.shift = true, -1 }, "shifted_positions"},
	} {
		if ds := plain(c.change).read("layer_1_output", true); len(ds) != 1 || ds[0].Kind != c.want || ds[0].Checkpoint != "layer_1_output" {
			t.Errorf("%s: %+v, want %s", c.name, ds, c.want)
		}
	}
	if ds := plain(func(*signature) {}).read("layer_1_attn_output", false); ds != nil {
		t.Errorf("a checkpoint of which nothing is known: %+v", ds)
	}
}

func TestExactWithin(t *testing.T) {
	for _, c := range []struct{ limit, median, worst, want float64 }{
		{0.001, 0.5, 1, 0.01},    // far beyond the limit: 2 % of the median
		{0.01, 0.5, 1, 0.04},     // four times the limit
		{0.1, 0.2, 0.4, 0.06},    // the fault is hardly larger than the limit: 15 % of the worst
		{0, 0.5, 1, 0.01},        // no limit known
		{0.001, 0, 1e-3, 150e-6}, // most rows are exact
	} {
		if got := exactWithin(c.limit, c.median, c.worst); !near(got, c.want, 1e-12) {
			t.Errorf("limit %v, median %v, worst %v: %v, want %v", c.limit, c.median, c.worst, got, c.want)
		}
	}
}

func TestAllowedOf(t *testing.T) {
	r := resultOf(measuredAt("layer_0_output", nil), measuredAt("layer_1_output", nil))
	r.Checkpoints[0].Limits = []AppliedLimit{{Metric: "rel_l2", Limit: 1e-9}}
	r.Checkpoints[1].Limits = []AppliedLimit{{Metric: "max_abs", Limit: 1e-9}, {Metric: "rel_l2", Limit: 0.1}, {Metric: "added", Limit: 0.02}, {Metric: "worst_position", Limit: 0.5}}
	if got := allowedOf(r, "layer_1_output"); got != 0.02 {
		t.Errorf("allowed %v, want the smallest of the relative limits", got)
	}
	if got := allowedOf(r, "logits"); got != 0 {
		t.Errorf("allowed %v at a checkpoint without limits", got)
	}
}

func TestRankOneShare(t *testing.T) {
	u, v := []float64{3, 0, 4, 0}, []float64{0, 1, 0, 0}
	outer := func(size ...float64) [][]float64 {
		return matrix(len(size), 4, func(i, j int) float64 { return size[i] * u[j] })
	}
	two := plus(outer(1, 1, -1, -1), matrix(4, 4, func(i, j int) float64 { return map[bool]float64{true: 1, false: -1}[i%2 == 0] * v[j] }))
	for _, c := range []struct {
		e    [][]float64
		want float64
	}{{outer(1, -2, 5), 1}, {outer(0, 0), 0}, {outer(1), 0}, {two, 100.0 / 104}} {
		if got := rankOneShare(c.e); !near(got, c.want, 1e-9) {
			t.Errorf("%v: %v, want %v", c.e, got, c.want)
		}
	}
}

// A layer's error is what it adds to the error of its input, held against what
// it should add.
func TestSignatureOfLayer(t *testing.T) {
	at := func(ref, cand []float64) *sample {
		s := &sample{width: len(ref)}
		for p := range 4 {
			s.positions, s.ref, s.cand = append(s.positions, p), append(s.ref, ref), append(s.cand, cand)
		}
		return s
	}
	before := at([]float64{1, 2, 3}, []float64{1, 2, 4}) // inherits an error of 1 in element 2
	for _, c := range []struct {
		name                string
		now                 *sample
		rel, gain, share    float64
		channel             int
		channelShare        float64
		nothingAdded, right bool
	}{
		{"as it should be", at([]float64{3, 2, 5}, []float64{3, 2, 6}), 0, 0, 0, 0, 0, false, true},
		{"a quarter more", at([]float64{3, 2, 5}, []float64{3.5, 2, 6.5}), 0.25, 0.25, 1, 0, 0.5, false, false},
		{"nothing", at([]float64{3, 2, 5}, []float64{1, 2, 4}), 1, -1, 1, 0, 0.5, true, false},
		{"something else of the same size", at([]float64{3, 2, 3}, []float64{1, 4, 4}), math.Sqrt2, -1, 0.5, 0, 0.5, false, false},
		{"one element", at([]float64{3, 2, 5}, []float64{3, 4, 6}), math.Sqrt(0.5), 0, 0, 1, 1, false, false},
	} {
		g := signatureOf(c.now, before, 1e-3)
		if !near(g.median, c.rel, 1e-9) || !near(g.gain, c.gain, 1e-9) || !near(g.gainShare, c.share, 1e-9) || g.channel != c.channel || !near(g.channelShare, c.channelShare, 1e-9) ||
			g.nothingAdded != c.nothingAdded || (g.exactRows() == 4) != c.right {
			t.Errorf("%s: %+v", c.name, g)
		}
	}
	// Without an input the whole row is the checkpoint's own.
	if g := signatureOf(before, nil, 1e-3); !near(g.median, math.Sqrt(1.0/14), 1e-9) || g.channel != 2 || g.channelShare != 1 || g.nothingAdded {
		t.Errorf("without an input: %+v", g)
	}
}

func TestRowShift(t *testing.T) {
	rows := noisy(seeded(4), 30, 8, 1)
	shifted := func(k, from int) *sample {
		s := &sample{width: 8, ref: rows}
		for i := range rows {
			s.positions = append(s.positions, i)
			if j := i + k; i >= from && j >= 0 && j < len(rows) {
				s.cand = append(s.cand, rows[j])
			} else {
				s.cand = append(s.cand, rows[i])
			}
		}
		return s
	}
	for _, c := range []struct{ k, from, want int }{{1, 0, 1}, {-1, 0, -1}, {2, 0, 0}, {0, 0, 0}, {1, 20, 1}, {1, 28, 0}} {
		if got := rowShift(shifted(c.k, c.from)); got != c.want {
			t.Errorf("shifted by %d from row %d on: %d, want %d", c.k, c.from, got, c.want)
		}
	}
	gaps := shifted(1, 0)
	for i := range gaps.positions {
		gaps.positions[i] = 2 * i // the sample holds every second position
	}
	if got := rowShift(gaps); got != 0 {
		t.Errorf("rows that are no neighbours: shift %d", got)
	}
}

func TestRise(t *testing.T) {
	for _, c := range []struct {
		n    int
		want float64
	}{{40, 34.5 / 2}, {12, 10.0 / 1.5}, {11, 1}} {
		g := &signature{}
		for i := range c.n {
			g.rel = append(g.rel, float64(i))
		}
		if got := g.rise(); !near(got, c.want, 1e-12) {
			t.Errorf("%d rows: %v, want %v", c.n, got, c.want)
		}
	}
	if got := judgedRows(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1).rise(); !math.IsInf(got, 1) {
		t.Errorf("out of nothing the error rises %v times", got)
	}
}

func TestNormCorrelation(t *testing.T) {
	var rel []float64
	var x [][]float64
	for i := range 20 {
		size := math.Exp(float64(i%7) / 3)
		x = append(x, []float64{size, -size})
		rel = append(rel, 0.5*math.Pow(size*size, -0.75))
	}
	if c, s := normCorrelation(rel, x); !near(c, 1, 1e-9) || !near(s, 0.75, 1e-9) {
		t.Errorf("correlation %v, steepness %v; want 1 and 0.75", c, s)
	}
	if c, s := normCorrelation(rel[:7], x[:7]); c != 0 || s != 0 {
		t.Errorf("seven rows: %v, %v", c, s)
	}
	rel[3], x[4] = 0, []float64{0, 0} // rows without a logarithm are left out
	if c, _ := normCorrelation(rel, x); !near(c, 1, 1e-9) {
		t.Errorf("with zeros: %v", c)
	}
}

// trended is a result of layers with these rel_l2, each growing from the one before.
func trended(prompts int, rel ...float64) *Result {
	r := resultOf()
	r.Spec.Preset = "f32"
	for p := range prompts {
		for i, v := range rel {
			c := measuredAt(fmt.Sprintf("layer_%d_output", i), map[string]Value{"rel_l2": Value(v)})
			c.Prompt = fmt.Sprint(p)
			if i > 0 {
				c.Growth = &Growth{Inherited: Value(rel[i-1])}
			}
			r.Checkpoints = append(r.Checkpoints, c)
		}
	}
	return r
}

func TestTrend(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		rel       []float64
		direction string
		growth    float64
		jump      string
		factor    float64
	}{
		{[]float64{1e-4, 2e-4, 4e-4, 8e-4}, "increasing", 2, "", 0},
		{[]float64{1e-4, 1e-4, 1e-4}, "stable", 1, "", 0},
		{[]float64{1e-4, 1.04e-4, 1.04 * 1.04e-4}, "stable", 1.04, "", 0},
		{[]float64{1e-4, 1.06e-4, 1.06 * 1.06e-4}, "increasing", 1.06, "", 0},
		{[]float64{8e-4, 4e-4, 2e-4}, "decreasing", 0.5, "", 0},
		{[]float64{1e-4, 1e-4}, "", nan, "", 0},
		{[]float64{0, 1e-4, 2e-4, 4e-4}, "increasing", 2, "layer_1_output", 1e-4 / 0x1p-22 / 2}, // growth out of nothing: over the unit
		{[]float64{1e-4, 1e-4, 1e-2, 1e-2, 1e-2}, "increasing", math.Exp(math.Log(100) * 3 / 10 * 1), "layer_2_output", 100},
		{[]float64{1e-4, 1e-4, 2.9e-4, 2.9e-4}, "increasing", 0, "", 0},
		{[]float64{1e-4, nan, inf, 1e-4, 1e-4}, "stable", 1, "layer_2_output", 0},
	} {
		for _, prompts := range []int{1, 3} {
			got := trendOf(trended(prompts, c.rel...))
			if got.Direction != c.direction || c.growth != 0 && !near(float64(got.GrowthPerLayer), c.growth, 1e-8) {
				t.Errorf("%v: %s, %v; want %s, %v", c.rel, got.Direction, got.GrowthPerLayer, c.direction, c.growth)
			}
			switch {
			case (got.Jump != nil) != (c.jump != "") && c.factor != 0, c.jump == "" && got.Jump != nil:
				t.Errorf("%v: jump %+v, want %q", c.rel, got.Jump, c.jump)
			case got.Jump != nil && c.factor != 0 && (got.Jump.Checkpoint != c.jump || !near(float64(got.Jump.Factor), c.factor, 1e-8)):
				t.Errorf("%v: jump %+v, want %s, %v", c.rel, got.Jump, c.jump, c.factor)
			}
		}
	}
	for name, want := range map[string]int{"layer_0_output": 0, "layer_12_output": 12, "layer_x_output": -1, "layer_3_attn_output": -1, "logits": -1, "layer_3": -1} {
		if n, ok := layerOutput(name); ok != (want >= 0) || ok && n != want {
			t.Errorf("%s is layer %d, %v", name, n, ok)
		}
	}
}
