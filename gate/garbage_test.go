package gate

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/paritygate/paritygate/gate/metric"
)

// planted is a pair of one checkpoint with garbage of every kind on both sides.
func planted(t *testing.T) Pair {
	rows := noisy(seeded(8), 20, 32, 1)
	ref := copied(rows, func(b [][]float64) {
		b[2][9], b[5][9] = 1e20, -2e15
		b[7][11] = math.NaN()
		b[9][0], b[9][1] = 4e5, 1e-42 // a pointer's halves
	})
	cand := copied(rows, func(b [][]float64) {
		b[3][4] = math.Inf(1)
		b[12][30] = 3e12
	})
	return pairOf(t, []point{{name: "layer_0_output", rows: ref}}, []point{{name: "layer_0_output", rows: cand}})
}

func TestGarbagePolicies(t *testing.T) {
	for _, c := range []struct {
		yaml              string
		refWant, candWant string
		nonFinite         int64
		outcome           Outcome
		maxAbs            float64
		findings          int // of garbage
	}{
		{"", "mask", "fail", 0, Fail, 0, 2},
		{"garbage: {candidate: mask}\n", "mask", "mask", 0, Pass, 0, 0},
		{"garbage: {reference: fail, candidate: mask}\n", "fail", "mask", 0, Fail, 0, 3},
		{"garbage: {reference: keep, candidate: mask}\n", "keep", "mask", 1, Fail, math.Inf(1), 0},
		{"garbage: {candidate: keep}\n", "mask", "keep", 1, Fail, math.Inf(1), 0},
		{"garbage: {above: 1e13, candidate: keep}\nskip: {positions: [3]}\n", "mask", "keep", 0, Fail, 3e12, 0},
	} {
		r := compared(t, parsed(t, "tolerances: {preset: f32}\n"+c.yaml), Options{}, planted(t))
		cp := checkpointOf(t, r, "layer_0_output")
		if r.Outcome != c.outcome || cp.NonFinite != c.nonFinite || !near(float64(cp.Metrics["max_abs"]), c.maxAbs, 1e-6) {
			t.Errorf("%q: %v, %d cannot be subtracted, max_abs %v; want %v, %d, %v", c.yaml, r.Outcome, cp.NonFinite, cp.Metrics["max_abs"], c.outcome, c.nonFinite, c.maxAbs)
		}
		n := 0
		for _, f := range cp.Findings {
			if f.Rule == "garbage.reference: fail" || f.Rule == "garbage.candidate: fail" {
				n++
			}
		}
		if n != c.findings {
			t.Errorf("%q: %d findings of garbage, want %d: %+v", c.yaml, n, c.findings, cp.Findings)
		}
		for _, g := range r.Garbage {
			if want := map[string]string{"reference": c.refWant, "candidate": c.candWant}[g.Engine]; g.Policy != want {
				t.Errorf("%q: policy of the %s is %s, want %s", c.yaml, g.Engine, g.Policy, want)
			}
		}
	}
}

// Every kind is counted and named by position and element, reference first.
func TestGarbageIsNamed(t *testing.T) {
	r := compared(t, parsed(t, ""), Options{}, planted(t))
	at := func(engine, kind string, n int64, positions, elements []int) Garbage {
		return Garbage{Engine: engine, Prompt: "p", Checkpoint: "layer_0_output", Kind: kind, Policy: map[string]string{"reference": "mask", "candidate": "fail"}[engine],
			Count: n, Positions: positions, Elements: elements}
	}
	want := []Garbage{
		at("reference", "non_finite", 1, []int{7}, []int{11}),
		at("reference", "huge", 2, []int{2, 5}, []int{9}),
		at("reference", "heap_pointer", 2, []int{9}, []int{0, 1}),
		at("candidate", "non_finite", 1, []int{3}, []int{4}),
		at("candidate", "huge", 1, []int{12}, []int{30}),
	}
	if !reflect.DeepEqual(r.Garbage, want) {
		t.Errorf("got  %+v\nwant %+v", r.Garbage, want)
	}
	var messages []string
	for _, f := range checkpointOf(t, r, "layer_0_output").Findings {
		if f.Level != LevelFail || f.Value != Value(math.Inf(1)) || f.Limit != 1e10 || f.Prompt != "p" {
			t.Errorf("finding %+v", f)
		}
		messages = append(messages, fmt.Sprint(f.Position, " ", f.Message))
	}
	if want := []string{"3 layer_0_output: 1 value of the candidate is NaN or infinite where the other side is not", "12 layer_0_output: 1 value of the candidate is larger than 1e+10"}; !slices.Equal(messages, want) {
		t.Errorf("findings %q, want %q", messages, want)
	}
}

// The log keeps the sixteen lowest positions and elements, each once.
func TestGarbageLogIsBounded(t *testing.T) {
	g := newGarbageLog()
	for tile := range 40 {
		var p metric.Partial
		p.Rows = make([]metric.Stats, 2)
		for row := range p.Rows {
			p.Rows[row].Garbage[metric.CandSide][metric.Huge] = 3
			p.Found = append(p.Found, metric.GarbageElement{Row: row, Element: 100 - tile, Kind: metric.Huge, Side: metric.CandSide})
		}
		g.add([]int{1000 - 2*tile, 1001 - 2*tile}, &p)
	}
	at := g.places[garbageKey{metric.CandSide, metric.Huge}]
	var positions, elements []int
	for i := range 16 {
		positions, elements = append(positions, 1000-78+i), append(elements, 61+i)
	}
	if len(g.places) != 1 || !slices.Equal(at.positions, positions) || !slices.Equal(at.elements, elements) {
		t.Errorf("kept %v, %v; want %v, %v", at.positions, at.elements, positions, elements)
	}
}
