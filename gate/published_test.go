package gate

import (
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/spec"
)

// orchLogs are two real logs: llama.cpp, with garbage in it, and a worker in Rust.
func orchLogs(t *testing.T) Pair {
	t.Helper()
	dir := filepath.Join("trace", "testdata", "orch-logs")
	return Pair{"haiku", opened(t, filepath.Join(dir, "llama_hidden_states.jsonl")), opened(t, filepath.Join(dir, "our_hidden_states.jsonl"))}
}

// The figures that the logs' authors published for the tokens both have, as
// they rounded them. At 12 to 20 they said "about".
func TestPublishedFigures(t *testing.T) {
	s := parsed(t, "garbage: {reference: keep, candidate: keep}\n")
	rows, err := Positions(s, orchLogs(t), "logits")
	if err != nil {
		t.Fatal(err)
	}
	published := map[int]struct{ maxAbs, meanAbs, share float64 }{
		7: {1.01e18, 1.01e17, 0.005}, 8: {16.38, 6.28, 0.001}, 9: {46581, 4660, 0.0002}, 10: {46577, 4659, 0.0002}, 11: {1.01e18, 1.01e17, 0.005},
	}
	for p := 12; p <= 20; p++ {
		published[p] = struct{ maxAbs, meanAbs, share float64 }{46000, 4600, 0.03}
	}
	if len(rows) != len(published) {
		t.Fatalf("%d rows, want %d", len(rows), len(published))
	}
	for i, r := range rows {
		want := published[r.Position]
		if r.Position != 7+i || r.Compared != 10 || r.LeftOut != 0 {
			t.Errorf("row %d: %+v", i, r)
		}
		if !near(float64(r.MaxAbs), want.maxAbs, want.share) || !near(float64(r.MeanAbs), want.meanAbs, want.share) {
			t.Errorf("position %d: max %.6g, mean %.6g; published were %.6g and %.6g", r.Position, float64(r.MaxAbs), float64(r.MeanAbs), want.maxAbs, want.meanAbs)
		}
		element := 0
		if r.MaxAbs > 1e10 {
			element = 2
		}
		if p := r.Position; p != 8 && r.MaxAbsElement != element {
			t.Errorf("position %d: largest at element %d, want the garbage in %d", p, r.MaxAbsElement, element)
		}
	}
}

// Judged as anyone would judge them, the garbage is left out and named, what
// could not be compared is counted, and the logs still disagree.
func TestRealLogs(t *testing.T) {
	r := compared(t, spec.Default(), Options{}, orchLogs(t))
	if r.Outcome != Fail || r.ExitCode != 1 {
		t.Errorf("%v, exit %d: %v", r.Outcome, r.ExitCode, r.Reasons)
	}
	if r.Coverage.Positions != (Count{14, 14, 108}) || r.Coverage.Elements != (Count{10, 151936, 151936}) {
		t.Errorf("coverage %+v", r.Coverage)
	}
	c := checkpointOf(t, r, "logits")
	for name := range c.Metrics {
		if slices.Contains([]string{"top1_agreement", "topk_overlap", "rank_correlation"}, name) || strings.HasPrefix(name, "kl.") {
			t.Errorf("%s was measured on ten of 151936 values", name)
		}
	}
	for _, l := range c.Limits {
		if l.Metric == "top1_agreement" {
			t.Errorf("argmax is judged on a part of the logits: %+v", l)
		}
	}
	// Pointers in elements 0 and 2, each with its high half, everywhere but at 8.
	want := []Garbage{{Engine: "reference", Prompt: "haiku", Checkpoint: "logits", Kind: "heap_pointer", Policy: "mask", Count: 26,
		Positions: []int{7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, Elements: []int{0, 1, 2, 3}}}
	if !reflect.DeepEqual(r.Garbage, want) {
		t.Errorf("garbage %+v", r.Garbage)
	}
	if v := float64(c.Metrics["max_abs"]); !(v < 100) {
		t.Errorf("max_abs is %v without the garbage", v)
	}
	// Of parts of rows nothing more can be said.
	if d := r.Diagnosis; len(d) != 1 || d[0].Kind != "heap_pointer" || d[0].Confidence != High || !strings.HasPrefix(d[0].Title, "reference: heap pointers") {
		t.Errorf("diagnosis %+v", d)
	}
}

func TestPositions(t *testing.T) {
	rows := noisy(seeded(1), 3, 4, 1)
	wrong := copied(rows, func(b [][]float64) { b[1][2] += 2; b[1][0] -= 1; b[2][3] = math.NaN() })
	p := pairOf(t, []point{{name: "embedding", rows: rows}, {name: "logits", rows: rows}}, []point{{name: "embedding", rows: wrong}, {name: "final_norm", rows: rows}})
	got, err := Positions(parsed(t, "garbage: {candidate: keep}\nskip: {positions: [0]}\n"), p, "embedding")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Position != 1 || !near(float64(got[0].MaxAbs), 2, 1e-6) || got[0].MaxAbsElement != 2 || !near(float64(got[0].MeanAbs), 0.75, 1e-6) || got[0].Compared != 4 {
		t.Errorf("got %+v", got)
	}
	var r2 float64
	for _, v := range rows[1] {
		r2 += v * v
	}
	if !near(float64(got[0].RelL2), math.Sqrt(5/r2), 1e-6) {
		t.Errorf("rel_l2 %v", got[0].RelL2)
	}
	if !math.IsInf(float64(got[1].MaxAbs), 1) || got[1].MaxAbsElement != 3 || !math.IsNaN(float64(got[1].MeanAbs)) {
		t.Errorf("a NaN: %+v", got[1])
	}
	got, err = Positions(parsed(t, "garbage: {candidate: mask}\nskip: {elements: [0, 1, 2]}\n"), p, "embedding")
	if err != nil || len(got) != 3 || got[2].Compared != 0 || got[2].MaxAbsElement != -1 || got[2].LeftOut != 4 || !math.IsNaN(float64(got[2].MaxAbs)) {
		t.Errorf("nothing left: %+v, %v", got, err)
	}
	if _, err := Positions(parsed(t, ""), p, "logits"); err == nil || err.Error() != `checkpoint "logits" is not in both traces; these are: embedding` {
		t.Errorf("a checkpoint of one side: %v", err)
	}
}
