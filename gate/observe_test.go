package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// watcher notes what an Observer is shown.
type watcher struct {
	mu        sync.Mutex
	rows      map[string][]byte // by prompt/checkpoint
	positions map[string][]int
	bad       []string
	err       error
}

func newWatcher() *watcher { return &watcher{rows: map[string][]byte{}, positions: map[string][]int{}} }

func (w *watcher) Observe(o Observed) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := o.Prompt + "/" + o.Checkpoint
	n := len(o.Rows.Data) / (o.Width * o.Rows.DType.Size())
	if o.First != len(w.positions[key]) || n == 0 || o.First+n > len(o.Positions) {
		w.bad = append(w.bad, fmt.Sprintf("%s: rows %d to %d of %d after %d", key, o.First, o.First+n, len(o.Positions), len(w.positions[key])))
		return nil
	}
	w.positions[key] = append(w.positions[key], o.Positions[o.First:o.First+n]...)
	w.rows[key] = append(w.rows[key], o.Rows.Data...)
	return w.err
}

// layersOf are four checkpoints of a model, with other values for each seed.
func layersOf(seed uint64, rows, width int) []point {
	g := seeded(seed)
	var out []point
	for _, name := range []string{"embedding", "layer_0_output", "layer_1_output", "logits"} {
		out = append(out, point{name: name, rows: noisy(g, rows, width, 1)})
	}
	return out
}

// asJSON is v as a report holds it, where NaN is equal to NaN.
func asJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// An observer sees the candidate's compared rows, each once and in order,
// however many workers there are and however they are grouped.
func TestObserverSeesTheCandidatesRows(t *testing.T) {
	const rows, width = 97, 1024 // several chunks, the last one short
	cand := layersOf(2, rows, width)
	pairs := []Pair{pairOf(t, layersOf(1, rows, width), cand), pairOf(t, layersOf(1, rows, width), layersOf(3, rows, width))}
	pairs[1].Prompt = "q"
	for _, workers := range []int{1, 2, 7} {
		w := newWatcher()
		compared(t, parsed(t, "skip: {positions: [0, 40]}\n"), Options{Workers: workers, Observer: w}, pairs...)
		if len(w.bad) > 0 {
			t.Fatalf("%d workers: %v", workers, w.bad)
		}
		if len(w.rows) != 8 {
			t.Errorf("%d checkpoints were seen, want 4 of each prompt", len(w.rows))
		}
		var positions []int
		for p := range rows {
			if p != 0 && p != 40 {
				positions = append(positions, p)
			}
		}
		for _, c := range cand {
			var want []byte
			for _, p := range positions {
				for _, v := range c.rows[p] {
					want = encodeAs(want, trace.F32, v)
				}
			}
			if key := "p/" + c.name; !slices.Equal(w.positions[key], positions) || !bytes.Equal(w.rows[key], want) {
				t.Errorf("%d workers: %s: other rows than the candidate's", workers, key)
			}
		}
	}
}

// Groups that hold one checkpoint each read the rows before it once more; they
// are not shown again.
func TestObserverOfSmallGroups(t *testing.T) {
	p := pairOf(t, layersOf(1, 40, 64), layersOf(2, 40, 64))
	w := newWatcher()
	m := newMeasurer(spec.Default(), Options{Observer: w})
	m.largest = 1
	if _, err := m.measure(context.Background(), align(p.Reference, p.Candidate, nil).checkpoints); err != nil {
		t.Fatal(err)
	}
	if len(w.bad) > 0 || len(w.positions) != 4 || len(w.positions["/layer_1_output"]) != 40 {
		t.Errorf("%d checkpoints, %v", len(w.positions), w.bad)
	}
}

// Who looks on changes nothing; who fails ends the comparison.
func TestObserverChangesNothing(t *testing.T) {
	p := pairOf(t, layersOf(1, 60, 512), layersOf(2, 60, 512))
	want := compared(t, spec.Default(), Options{}, p)
	got := compared(t, spec.Default(), Options{Observer: newWatcher()}, p)
	if !bytes.Equal(asJSON(t, got.Checkpoints), asJSON(t, want.Checkpoints)) {
		t.Error("the measurements differ")
	}
	for _, workers := range []int{1, 4} {
		w := newWatcher()
		w.err = errors.New("enough")
		_, err := Compare(context.Background(), spec.Default(), []Pair{p}, Options{Observer: w, Workers: workers})
		if !errors.Is(err, w.err) {
			t.Fatalf("error %v", err)
		}
		has(t, err.Error(), "prompt p: ", "embedding", "enough")
	}
}

// Witnesses and the oracle are measured beside the candidate and never shown.
func TestObserverOfTheCandidateAlone(t *testing.T) {
	p := pairOf(t, layersOf(1, 8, 64), layersOf(2, 8, 64))
	w := newWatcher()
	o := Options{Observer: w}
	r := newResult(o)
	if err := addWitness(context.Background(), r, spec.Default(), "w", EngineInfo{}, []Pair{p}, o); err != nil {
		t.Fatal(err)
	}
	if len(w.rows) > 0 {
		t.Error("the witness's rows were shown")
	}
}

// The baseline is asked for once everything is measured, and judged with it.
func TestBaselineIsAskedBeforeJudging(t *testing.T) {
	p := pairOf(t, layersOf(1, 8, 64), layersOf(1, 8, 64))
	asked := 0
	b := &Baseline{State: BaselineNone}
	r := compared(t, spec.Default(), Options{Baseline: func(_ context.Context, r *Result) *Baseline {
		asked++
		if len(r.Checkpoints) != 4 || r.Outcome != Incomplete || len(r.Checkpoints[0].Limits) > 0 {
			t.Errorf("asked with %d checkpoints, outcome %v", len(r.Checkpoints), r.Outcome)
		}
		return b
	}}, p)
	if asked != 1 || r.Baseline != b {
		t.Errorf("asked %d times", asked)
	}
}

// BenchmarkObserver shows what looking on costs: nothing without an observer,
// and a call a chunk with one that does nothing.
func BenchmarkObserver(b *testing.B) {
	p := pairOf(b, layersOf(1, 512, 2048), layersOf(2, 512, 2048))
	s := spec.Default()
	for _, c := range []struct {
		name string
		o    Observer
	}{{"nil", nil}, {"idle", idle{}}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := newResult(Options{})
				if err := measurePairs(context.Background(), r, s, []Pair{p}, Options{Workers: 1, Observer: c.o}); err != nil {
					b.Fatal(err)
				}
				b.SetBytes(r.Timing.Bytes)
			}
		})
	}
}

type idle struct{}

func (idle) Observe(Observed) error { return nil }
