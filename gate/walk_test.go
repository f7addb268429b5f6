package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// large is a pair whose checkpoints are many chunks long, with holes on either side.
func large(t *testing.T, d types, precision string) Pair {
	t.Helper()
	const rows, width, vocabulary = 200, 2000, 4000
	ref, cand := forward(77, d, rows, width, vocabulary)
	refAt, candAt := make([]int, rows), make([]int, rows)
	for i := range rows {
		refAt[i], candAt[i] = i+i/90, i+2*(i/50)
	}
	ref[2].rows[60][5] = math.Inf(1) // garbage, somewhere
	cand[5].rows[150][9] = 60000
	return Pair{"p", made(t, trace.Meta{Positions: refAt, ComputeDType: precision}, ref...), made(t, trace.Meta{Positions: candAt, ComputeDType: precision}, cand...)}
}

// bytesOf is the result as JSON, without what differs from run to run.
func bytesOf(t *testing.T, r *Result) []byte {
	t.Helper()
	clone := *r
	clone.Timing = Timing{}
	for _, e := range []*EngineInfo{&clone.Engines.Reference, &clone.Engines.Candidate} {
		e.Trace = ""
	}
	b, err := json.Marshal(clone)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWorkersDoNotMatter(t *testing.T) {
	for _, d := range []types{{trace.F32, trace.F32}, {trace.BF16, trace.F16}} {
		t.Run(d.String(), func(t *testing.T) {
			p, s := large(t, d, ""), parsed(t, "garbage: {above: 1e4, candidate: mask}\n")
			want := bytesOf(t, compared(t, s, Options{Workers: 1}, p))
			if !bytes.Contains(want, []byte(`"kind":"huge"`)) {
				t.Error("the planted garbage was not found")
			}
			for _, workers := range []int{2, 5, 64} {
				if got := bytesOf(t, compared(t, s, Options{Workers: workers}, p)); !bytes.Equal(got, want) {
					t.Errorf("%d workers find something else than one", workers)
				}
			}
		})
	}
}

// However rows are cut into chunks, the figures are the same to nine digits.
func TestChunksDoNotMatter(t *testing.T) {
	p := large(t, types{trace.F32, trace.BF16}, "")
	var want []byte
	for _, rows := range []int{32, 1, 3, 7, 1000} {
		m := newMeasurer(spec.Default(), Options{Workers: 3})
		al := align(p.Reference, p.Candidate, nil)
		r := newResult(Options{})
		var ms []*measured
		var groups []*group
		for _, a := range al.checkpoints {
			out := &measured{aligned: a, profile: newProfile(), garbage: newGarbageLog()}
			ms, groups = append(ms, out), m.place(groups, out)
		}
		if len(groups) != 2 {
			t.Fatalf("%d groups, want the hidden states in one and the logits in another", len(groups))
		}
		for _, g := range groups {
			g.chunks = split(g.members[0].out.segments, rows)
			if err := m.walk(context.Background(), g); err != nil {
				t.Fatal(err)
			}
			for _, c := range g.members {
				c.out.measures = c.acc.Result()
			}
		}
		addCheckpoints(r, "p", ms)
		if got := bytesOf(t, r); want == nil {
			want = got
		} else if !bytes.Equal(got, want) {
			t.Errorf("chunks of %d rows give other figures", rows)
		}
	}
}

func TestSplit(t *testing.T) {
	segs := []segment{{0, 5, 4}, {10, 20, 1}, {11, 30, 6}}
	want := []chunk{{segment{0, 5, 3}, 0}, {segment{3, 8, 1}, 3}, {segment{10, 20, 1}, 4}, {segment{11, 30, 3}, 5}, {segment{14, 33, 3}, 8}}
	if got := split(segs, 3); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Progress counts every byte once and ends at the total.
func TestProgress(t *testing.T) {
	p := large(t, types{trace.F32, trace.F16}, "")
	var last, total int64
	r := compared(t, parsed(t, ""), Options{Workers: 4, Progress: func(done, of int64) {
		if done > of {
			t.Errorf("%d of %d bytes", done, of)
		}
		last, total = max(last, done), of
	}}, p)
	rows := int64(0)
	for _, c := range r.Checkpoints {
		rows += int64(c.Rows) * int64(c.Width) * 6
	}
	if last != total || total != rows || r.Timing.Bytes != rows {
		t.Errorf("progress ended at %d of %d; %d bytes were compared, the result says %d", last, total, rows, r.Timing.Bytes)
	}
}

// bounded fails the test when f does not return: a deadlock.
func bounded(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("still running after 20 s")
	}
}

func TestCancelledCompare(t *testing.T) {
	p := large(t, types{trace.F32, trace.F32}, "f32")
	why := errors.New("enough")
	for _, after := range []int{0, 1, 3} {
		t.Run(fmt.Sprint("after ", after), func(t *testing.T) {
			bounded(t, func() {
				ctx, cancel := context.WithCancelCause(context.Background())
				defer cancel(nil)
				calls := 0
				if after == 0 {
					cancel(why)
				}
				r, err := Compare(ctx, parsed(t, ""), []Pair{p}, Options{Workers: 5, Progress: func(done, total int64) {
					if calls++; calls == after {
						cancel(why)
					}
				}})
				if r != nil || !errors.Is(err, why) {
					t.Errorf("got %v, %v; want no result and the cause", r, err)
				}
				if calls > after+5 {
					t.Errorf("%d chunks were compared after the end", calls-after)
				}
			})
		})
	}
}

// A file that is cut while it is read stops every worker, and the error says
// which side, which checkpoint and which byte.
func TestCutFile(t *testing.T) {
	for _, c := range []struct{ side, precision string }{{"reference", ""}, {"candidate", ""}, {"reference", "f32"}, {"candidate", "f32"}} {
		side := c.side // without a precision of its own, a trace is looked at before it is compared
		t.Run(side+c.precision, func(t *testing.T) {
			p := large(t, types{trace.F32, trace.F32}, c.precision)
			path := map[string]string{"reference": p.Reference.Path, "candidate": p.Candidate.Path}[side]
			fi, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, fi.Size()*3/10); err != nil {
				t.Fatal(err)
			}
			for _, workers := range []int{1, 5} {
				bounded(t, func() {
					r, err := Compare(context.Background(), parsed(t, ""), []Pair{p}, Options{Workers: workers})
					if r != nil || err == nil {
						t.Fatalf("got %v, %v; want an error", r, err)
					}
					has(t, err.Error(), "prompt p: "+side+": layer_", path, "file ended", "byte")
				})
			}
			if _, err := Positions(parsed(t, ""), p, "logits"); err == nil || !strings.Contains(err.Error(), side+": logits") {
				t.Errorf("position by position: %v", err)
			}
		})
	}
}

// Rows of which a log holds the first values are compared as far as both go,
// and nothing that needs a whole row is said of them.
func TestPartialRows(t *testing.T) {
	line := func(name string, at int, values string) string {
		return fmt.Sprintf(`{"checkpoint":%q,"team":"x","token_idx":%d,"dtype":"f32","shape":"[8]","values":[%s]}`, name, at, values)
	}
	ref := opened(t, jsonl(t, line("embedding", 3, "1,2,3,4,5,6,7,8"), line("layer_0_output", 3, "2,2,2,2"), line("logits", 3, "1,2,3,4"), line("logits", 4, "1,1,1,1")))
	cand := opened(t, jsonl(t, line("embedding", 3, "1,2,3,4,5"), line("layer_0_output", 3, "2,2,2,2"), line("logits", 3, "1,2,3.5"), line("logits", 5, "1,1,1")))
	r := compared(t, parsed(t, "tolerances: {preset: f32, rules: [{checkpoint: logits, kl: {mean: 1}}]}\n"), Options{}, Pair{"p", ref, cand})
	c := checkpointOf(t, r, "logits")
	if c.Rows != 1 || c.Compared != 3 || c.Width != 8 || c.Logits != nil || c.Metrics["max_abs"] != 0.5 {
		t.Errorf("logits: %+v", c)
	}
	for _, name := range []string{"top1_agreement", "kl.mean", "rank_correlation", "worst_channel"} {
		if v, ok := c.Metrics[name]; ok {
			t.Errorf("%s of a part of the logits is %v; it must not exist", name, v)
		}
	}
	if _, ok := checkpointOf(t, r, "layer_0_output").Metrics["added"]; ok {
		t.Error("added was measured on partial rows")
	}
	if want := (Count{3, 8, 8}); r.Coverage.Elements != want {
		t.Errorf("elements %+v, want %+v", r.Coverage.Elements, want)
	}
	if want := (Count{1, 2, 2}); r.Coverage.Positions != want {
		t.Errorf("positions %+v, want %+v", r.Coverage.Positions, want)
	}
	i := slices.IndexFunc(c.Findings, func(f Finding) bool { return f.Metric == "kl.mean" })
	if i < 0 || c.Findings[i].Level != LevelIncomplete {
		t.Fatalf("the rule on kl is not judged incomplete: %+v", c.Findings)
	}
	has(t, c.Findings[i].Message, "logits kl.mean could not be judged: only 3 of 8 values a row are known")
}

// Of several partial rows in one chunk each is cut by itself.
func TestPartialRowsOfOneChunk(t *testing.T) {
	line := func(at int, values string) string {
		return fmt.Sprintf(`{"checkpoint":"logits","team":"x","token_idx":%d,"dtype":"f32","shape":"[8]","values":[%s]}`, at, values)
	}
	ref := opened(t, jsonl(t, line(0, "1,2,3,100"), line(1, "4,5,6,100"), line(2, "7,8,9,100")))
	cand := opened(t, jsonl(t, line(0, "1,2,3"), line(1, "4,5.5,6"), line(2, "7,8,9.25")))
	c := checkpointOf(t, compared(t, parsed(t, ""), Options{}, Pair{"p", ref, cand}), "logits")
	if c.Metrics["max_abs"] != 0.5 || c.Where.MaxAbsPosition != 1 || c.Where.MaxAbsElement != 1 || !near(float64(c.Metrics["mean_abs"]), 0.75/9, 1e-8) {
		t.Errorf("%v at %+v", c.Metrics, c.Where)
	}
}

// What a layer added is told though parts of the layer lie between it and its input.
func TestAddedAcrossSublayers(t *testing.T) {
	g := seeded(21)
	e, step, part := noisy(g, 9, 16, 1), noisy(g, 9, 16, 1), noisy(g, 9, 16, 1)
	wrong := plus(step, noisy(g, 9, 16, 0.125))
	points := func(step, part [][]float64) []point {
		return []point{{name: "embedding", rows: e}, {name: "layer_0_attn_output", rows: part}, {name: "layer_0_output", rows: plus(e, step)}}
	}
	r := compared(t, parsed(t, ""), Options{}, pairOf(t, points(step, part), points(wrong, plus(part, part))))
	want := math.Sqrt(inner(minus(wrong, step), minus(wrong, step)) / inner(step, step))
	if got := checkpointOf(t, r, "layer_0_output").Metrics["added"]; !near(float64(got), want, 1e-5) {
		t.Errorf("added %v, want %v", got, want)
	}
	if g := checkpointOf(t, r, "layer_0_output").Growth; g == nil || g.Inherited != 0 {
		t.Errorf("the layer inherits the embedding's error, not its part's: %+v", g)
	}
	if g := checkpointOf(t, r, "layer_0_attn_output").Growth; g == nil || g.Stride != 0 {
		t.Errorf("growth of a part %+v", g)
	}
}

// Workers that wait for their turn wake up when the one before them cannot read.
func TestFailureWakesWaitingWorkers(t *testing.T) {
	rows := noisy(seeded(1), 64, 4000, 1)
	tr := made(t, trace.Meta{}, point{name: "embedding", rows: rows})
	for range 20 {
		m := newMeasurer(spec.Default(), Options{Workers: 4})
		out := &measured{aligned: align(tr, tr, nil).checkpoints[0], profile: newProfile(), garbage: newGarbageLog()}
		g := m.place(nil, out)[0]
		// The first chunk reads a megabyte of one side, and then rows that the other
		// lacks; meanwhile the others are done and wait for it.
		g.chunks = append([]chunk{{segment{0, 1, 64}, 0}}, split(out.segments, 1)...)
		bounded(t, func() {
			if err := m.walk(context.Background(), g); err == nil || !strings.Contains(err.Error(), "candidate: embedding: ") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Skipped positions and elements take no part in any figure.
func TestSkip(t *testing.T) {
	rows := noisy(seeded(5), 12, 20, 1)
	wrong := copied(rows, func(b [][]float64) {
		b[2][7], b[11][0] = 50, 50 // position 22, element 7; position 31, element 0
		b[5][19], b[6][3] = b[5][19]+0.25, b[6][3]+0.125
	})
	at := make([]int, 12)
	for i := range at {
		at[i] = 20 + i
	}
	meta := trace.Meta{Positions: at}
	p := Pair{"p", made(t, meta, point{name: "embedding", rows: rows}), made(t, meta, point{name: "embedding", rows: wrong})}
	for _, c := range []struct {
		yaml     string
		rows     int
		maxAbs   float64
		position int
		element  int
	}{
		{"", 12, 50 - min(rows[2][7], rows[11][0]), 0, 0},
		{"skip: {positions: [31, 22, 22, 99]}\n", 10, 0.25, 25, 19},
		{"skip: {elements: [19, 0, 7, 7]}\n", 12, 0.125, 26, 3},
		{"skip: {positions: [22], elements: [0, 19]}\n", 11, 0.125, 26, 3},
	} {
		s := parsed(t, c.yaml)
		slices.Reverse(s.Skip.Elements) // in any order, from whoever made the spec
		e := checkpointOf(t, compared(t, s, Options{}, p), "embedding")
		if e.Rows != c.rows || !near(float64(e.Metrics["max_abs"]), c.maxAbs, 1e-6) {
			t.Errorf("%q: %d rows, max_abs %v; want %d and %v", c.yaml, e.Rows, e.Metrics["max_abs"], c.rows, c.maxAbs)
		}
		if c.position > 0 && (e.Where.MaxAbsPosition != c.position || e.Where.MaxAbsElement != c.element) {
			t.Errorf("%q: largest at %+v, want position %d, element %d", c.yaml, e.Where, c.position, c.element)
		}
	}
}
