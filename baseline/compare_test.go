package baseline

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/spec"
)

// open takes every limit away but the baseline's.
const open = "tolerances: {preset: f16, rules: [{checkpoint: \"*\", rel_l2: off, added: off, scale: off, worst_channel: off, worst_position: off, position_rms: off, warn: {rel_l2: off}}]}\n" +
	"baseline: {store: \"branch:b\"}\n"

func TestCompare(t *testing.T) {
	r := passing(3, 1)
	im := imprinted(t, r, 1)
	then := ok[*Document](t)(Record(r, im, here("c1")))
	now := here("c2")
	now.Date = "2026-11-20T02:02:03Z"
	b := Compare(then, r, im, now)
	if b.State != gate.BaselineCompared || b.Commit != "c1" || b.Digest != then.Digest() || b.Key != then.Key.Digest() || b.AgeS != 3600 || b.Distance != -1 ||
		b.BitIdentical != (gate.BitIdentical{Same: 3, Of: 3}) || len(b.Missing) != 0 || len(b.Differences) != 0 || b.Proposed != then.Numbers() || b.Anchor.Commit != "c1" {
		t.Errorf("%+v", b)
	}
	if len(b.Deltas) != 3*5 {
		t.Fatalf("%d deltas", len(b.Deltas))
	}
	var order []string
	for _, d := range b.Deltas {
		if d.Delta != 0 || d.Share != 0 || d.Moved != 0 || d.Base != d.Head || d.Anchor != d.Base || !math.IsNaN(float64(d.Spread)) || !math.IsNaN(float64(d.Allowed)) || !d.Within {
			t.Errorf("%+v", d)
		}
		order = append(order, d.Checkpoint+" "+d.Metric)
	}
	if !slices.Equal(order[:6], []string{"layer_0_output rel_l2", "layer_0_output max_abs", "layer_0_output worst_channel", "layer_0_output position_rms", "layer_0_output added", "layer_1_output rel_l2"}) {
		t.Errorf("%v", order)
	}
}

func TestCompareFindsWhatMoved(t *testing.T) {
	r := passing(3, 1)
	then := ok[*Document](t)(Record(r, imprinted(t, r, 1), here("c1")))
	next := passing(4, 1.5) // one more layer
	next.Checkpoints[0].Metrics["max_abs"] = gate.Value(math.Inf(1))
	delete(next.Checkpoints[1].Metrics, "added")
	next.Checkpoints[2].Rows = 23
	p := here("c2")
	p.Weights = strings.Repeat("2", 64)
	b := Compare(then, next, imprinted(t, next, 2), p)
	has(t, b.Why, "the candidate's weights were 1111111111111111 and are 2222222222222222")
	if !slices.Equal(b.Missing, []string{"haiku/layer_2_output (23 rows of 64 elements, was 24 of 64)"}) || b.BitIdentical != (gate.BitIdentical{Same: 0, Of: 2}) {
		t.Errorf("%v %+v", b.Missing, b.BitIdentical)
	}
	at := func(checkpoint, metric string) gate.BaselineDelta {
		i := slices.IndexFunc(b.Deltas, func(d gate.BaselineDelta) bool { return d.Checkpoint == checkpoint && d.Metric == metric })
		return b.Deltas[i]
	}
	if d := at("layer_0_output", "rel_l2"); d.Base != 1e-3 || d.Head != 1.5e-3 || math.Abs(float64(d.Delta)-5e-4) > 1e-12 || math.Abs(float64(d.Share)-0.5) > 1e-9 || !(d.Moved > 1 && d.Moved < 2) || !slices.Equal(d.History, []gate.Value{1e-3}) {
		t.Errorf("%+v", d)
	}
	if d := at("layer_0_output", "max_abs"); !math.IsInf(float64(d.Head), 1) || !math.IsInf(float64(d.Share), 1) {
		t.Errorf("%+v", d)
	}
	if d := at("layer_1_output", "added"); !math.IsNaN(float64(d.Head)) || !math.IsNaN(float64(d.Delta)) {
		t.Errorf("%+v", d)
	}
	for _, c := range []struct{ base, head, share float64 }{{0, 1, math.Inf(1)}, {0, 0, 0}, {math.Inf(1), 1, math.NaN()}, {2, 1, -0.5}} {
		m := &Measurement{Metrics: map[string]Metric{"rel_l2": {History: []gate.Value{gate.Value(c.head)}}}}
		if d := delta(m, "rel_l2", Metric{Value: gate.Value(c.base)}, 0); float64(d.Share) != c.share && (d.Share == d.Share || c.share == c.share) {
			t.Errorf("%+v: share %v", c, d.Share)
		}
	}
}

// TestIncomparable: nothing is held against numbers of another machine or
// precision, and what differs is said.
func TestIncomparable(t *testing.T) {
	r := passing(2, 1)
	then := ok[*Document](t)(Record(r, nil, here("c1")))
	for _, c := range []struct {
		name   string
		change func(*gate.Result, *Provenance)
		want   []gate.BaselineDifference
	}{
		{"driver", func(_ *gate.Result, p *Provenance) { p.Driver = "581.2" }, []gate.BaselineDifference{{What: "driver", Baseline: "580.1", Here: "581.2"}}},
		{"unknown driver", func(_ *gate.Result, p *Provenance) { p.Driver = "" }, []gate.BaselineDifference{{What: "driver", Baseline: "580.1", Here: "unknown"}}},
		{"precision", func(r *gate.Result, _ *Provenance) { r.Engines.Candidate.Precision = "bf16" }, []gate.BaselineDifference{{What: "candidate's precision", Baseline: "f16", Here: "bf16"}}},
		{"GPU", func(r *gate.Result, p *Provenance) { r.Engines.Candidate.Device, p.GPU = "NVIDIA H200", "NVIDIA H200" },
			[]gate.BaselineDifference{{What: "candidate's device", Baseline: "NVIDIA H100", Here: "NVIDIA H200"}}},
		{"the machine's GPU alone", func(_ *gate.Result, p *Provenance) { p.GPU = "NVIDIA H200" }, []gate.BaselineDifference{{What: "GPU", Baseline: "NVIDIA H100", Here: "NVIDIA H200"}}},
	} {
		r, p := passing(2, 9), here("c2")
		c.change(r, &p)
		b := Compare(then, r, nil, p)
		if b.State != gate.BaselineIncomparable || !slices.Equal(b.Differences, c.want) || len(b.Deltas) != 0 || b.BitIdentical.Of != 0 || b.Commit != "c1" {
			t.Errorf("%s: %+v", c.name, b)
		}
		has(t, b.Why, c.want[0].What, c.want[0].Here)
		r.Baseline = b
		if gate.Judge(r, parsed(t, open)); r.Outcome != gate.Pass {
			t.Errorf("%s: %v %v", c.name, r.Outcome, r.Reasons)
		}
	}
	// On CPUs alone the GPU in the machine says nothing.
	cpu := func() *gate.Result {
		r := passing(2, 1)
		r.Engines.Candidate.Device = "CPU"
		return r
	}
	p := here("c2")
	p.GPU, p.Driver = "", ""
	if b := Compare(ok[*Document](t)(Record(cpu(), nil, here("c1"))), cpu(), nil, p); b.State != gate.BaselineCompared {
		t.Errorf("%+v", b.Differences)
	}
}

func TestCompareWithoutABaseline(t *testing.T) {
	r := passing(2, 1)
	b := Compare(nil, r, nil, here("c1"))
	if b.State != gate.BaselineNone || b.Why == "" || b.Proposed == "" || b.Anchor != nil || b.Digest != "" || b.Deltas == nil || b.Missing == nil || b.Differences == nil {
		t.Errorf("%+v", b)
	}
	if b := Compare(nil, finding(r, gate.LevelIncomplete, "x", true), nil, here("c1")); b.Proposed != "" {
		t.Error("what cannot be approved has no digest")
	}
	none := here("c1")
	none.Date = ""
	if b := Compare(ok[*Document](t)(Record(passing(2, 1), nil, here("c0"))), passing(2, 1), nil, none); !math.IsNaN(float64(b.AgeS)) {
		t.Errorf("age %v", b.AgeS)
	}
}

// TestCreep: 2 % a run passes each rolling check and is accepted, until the anchor
// stops it at the first step beyond 25 % in all; approved, it may go on from there.
func TestCreep(t *testing.T) {
	s := parsed(t, open)
	doc := ok[*Document](t)(Propose(passing(3, 1), nil, here("c0"), nil, false))
	f, stops := 1., []int{}
	for step := 1; step <= 30; step++ {
		f *= 1.02
		r := passing(3, f)
		p := here(fmt.Sprint("c", step))
		r.Baseline = Compare(doc, r, nil, p)
		gate.Judge(r, s)
		if r.Outcome == gate.Pass {
			doc = ok[*Document](t)(Propose(r, nil, p, doc, false))
			continue
		}
		stops = append(stops, step)
		for _, d := range r.Baseline.Deltas {
			if !d.Within && d.Against != "anchor" {
				t.Errorf("step %d: %s %s is stopped by the %s", step, d.Checkpoint, d.Metric, d.Against)
			}
		}
		if _, err := Propose(r, nil, p, doc, false); err == nil {
			t.Fatal("a failing run became a baseline")
		}
		d := ok[*Document](t)(Record(r, nil, p))
		doc = ok[*Document](t)(d.Approve(doc, r.Baseline.Proposed, "ada", "meant", time.Unix(0, 0)))
	}
	if !slices.Equal(stops, []int{12, 24}) { // 1.02¹¹ < 1.25 < 1.02¹²
		t.Errorf("stopped at %v", stops)
	}
}

// TestRunAgainstItsBaseline: a real comparison with the imprint taken on the way,
// asked for its baseline before it is judged.
func TestRunAgainstItsBaseline(t *testing.T) {
	first, im := compared(t, "reference", "sound")
	doc := ok[*Document](t)(Propose(first, im, here("c1"), nil, false))
	doc = ok[*Document](t)(Parse(ok[[]byte](t)(doc.Encode()), "doc"))
	run := func(name string) *gate.Result {
		im := NewImprint()
		pair := gate.Pair{Prompt: "python", Reference: example(t, "reference"), Candidate: example(t, name)}
		return ok[*gate.Result](t)(gate.Compare(context.Background(), spec.Default(), []gate.Pair{pair}, gate.Options{Observer: im,
			Baseline: func(_ context.Context, r *gate.Result) *gate.Baseline { return Compare(doc, r, im, here("c2")) }}))
	}
	same := run("sound")
	if n := len(same.Checkpoints); same.Outcome != gate.Pass || same.Baseline.BitIdentical != (gate.BitIdentical{Same: n, Of: n}) || same.Baseline.Proposed != doc.Numbers() || n < 6 {
		t.Errorf("%v %+v", same.Outcome, same.Baseline.BitIdentical)
	}
	broken := run("rope-bug")
	if broken.Outcome != gate.Fail || broken.Baseline.BitIdentical.Same == broken.Baseline.BitIdentical.Of {
		t.Errorf("%v %+v %s", broken.Outcome, broken.Baseline.BitIdentical, broken.Baseline.Why)
	}
	worse := 0
	for _, d := range broken.Baseline.Deltas {
		if !d.Within {
			worse++
		}
	}
	if worse < 5 {
		t.Errorf("%d measurements are worse than the baseline allows", worse)
	}
}

// sizes are numbers of checkpoints to show that time and size are in proportion.
var sizes = []int{10, 100, 1000, 10000}

func BenchmarkCompare(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := passing(n, 1)
			im := imprinted(b, r, 1)
			then := ok[*Document](b)(Record(r, im, here("c1")))
			next := imprinted(b, r, 2)
			for b.Loop() {
				if got := Compare(then, r, next, here("c2")); got.BitIdentical.Of != n {
					b.Fatal(got.BitIdentical)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/checkpoint")
		})
	}
}

func BenchmarkPropose(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := passing(n, 1)
			im := imprinted(b, r, 1)
			previous := ok[*Document](b)(Record(r, im, here("c1")))
			for i := range MaxHistory {
				next := passing(n, 1+float64(i)/1e3)
				for _, c := range next.Checkpoints {
					for name, v := range c.Metrics { // nine digits, as in a result
						c.Metrics[name] = gate.Value(ok[float64](b)(strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', 9, 64), 64)))
					}
				}
				previous = ok[*Document](b)(Propose(next, im, here("c1"), previous, false))
			}
			size := 0
			for b.Loop() {
				d, err := Propose(r, im, here("c2"), previous, false)
				if err != nil {
					b.Fatal(err)
				}
				data, err := d.Encode()
				if err != nil {
					b.Fatal(err)
				}
				size = len(data)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/checkpoint")
			b.ReportMetric(float64(size), "bytes")
			b.ReportMetric(float64(size)/float64(n), "bytes/checkpoint")
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := passing(n, 1)
			data := ok[[]byte](b)(ok[*Document](b)(Record(r, imprinted(b, r, 1), here("c1"))).Encode())
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := Parse(data, "b"); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/checkpoint")
		})
	}
}
