package baseline

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/paritygate/paritygate/gate"
)

func TestRecord(t *testing.T) {
	r := passing(2, 1)
	r.Checkpoints = append(r.Checkpoints, gate.Checkpoint{Prompt: "haiku", Name: "logits", Order: 2, Rows: 50, Width: 900, Compared: 900,
		Metrics: map[string]gate.Value{"rel_l2": 1e-3, "kl.mean": gate.Value(math.NaN()), "kl.max": gate.Value(math.Inf(1)), "top1_agreement": 0.9},
		Logits:  &gate.LogitsInfo{FlipsTotal: 5, FlipsInNoise: 4}},
		gate.Checkpoint{Prompt: "haiku", Name: "empty", Metrics: map[string]gate.Value{}},
		gate.Checkpoint{Prompt: "a", Name: "embedding", Rows: 1, Width: 10, Compared: 4, Metrics: map[string]gate.Value{"rel_l2": 0}})
	im := imprinted(t, passing(2, 1), 1)
	d := ok[*Document](t)(Record(r, im, here("c1")))
	var names []string
	for _, m := range d.Measurements {
		names = append(names, m.Prompt+"/"+m.Checkpoint)
	}
	if want := []string{"a/embedding", "haiku/layer_0_output", "haiku/layer_1_output", "haiku/logits"}; !slices.Equal(names, want) {
		t.Fatalf("measurements %v, want %v", names, want)
	}
	if m := d.Lookup("a", "embedding"); m.Width != 4 || m.Rows != 1 || m.Mark.Fingerprint != "" {
		t.Errorf("%+v", m)
	}
	m := d.Lookup("haiku", "layer_1_output")
	if mark, _ := im.Mark("haiku", "layer_1_output"); !reflect.DeepEqual(m.Mark, mark) || mark.Fingerprint == "" {
		t.Error("not the imprint's mark")
	}
	v := m.Metrics["rel_l2"]
	if v.Value != 0.0015 || v.Anchor != v.Value || v.Runs != 1 || !math.IsNaN(float64(v.Spread)) || !slices.Equal(v.History, []gate.Value{v.Value}) {
		t.Errorf("%+v", v)
	}
	if _, stored := m.Metrics["cosine"]; stored {
		t.Error("cosine is no metric of a baseline")
	}
	logits := d.Lookup("haiku", "logits").Metrics
	if logits["top1_agreement"].Value != 0.98 {
		t.Errorf("agreement %v: flips within the noise count", logits["top1_agreement"].Value)
	}
	if _, stored := logits["kl.mean"]; stored || !math.IsInf(float64(logits["kl.max"].Value), 1) {
		t.Errorf("%+v", logits)
	}
	if d.Lookup("haiku", "nowhere") != nil || d.Anchor.Commit != "c1" || d.Anchor.Digest != d.Numbers() || !slices.Equal(d.History, []Accepted{{"c1", here("").Date}}) {
		t.Errorf("%+v %+v", d.Anchor, d.History)
	}
}

// finding adds a finding to a result.
func finding(r *gate.Result, level, rule string, ofRun bool) *gate.Result {
	f := gate.Finding{Rule: rule, Level: level, Message: "because " + rule}
	if ofRun {
		r.Findings = append(r.Findings, f)
	} else {
		r.Checkpoints[1].Findings = append(r.Checkpoints[1].Findings, f)
	}
	return r
}

// TestWhatBecomesABaseline: what passed does, what lacks only its first baseline
// does, what somebody may approve can be recorded, and all else is refused.
func TestWhatBecomesABaseline(t *testing.T) {
	state := func(r *gate.Result, s gate.BaselineState) *gate.Result {
		r.Baseline = &gate.Baseline{State: s}
		return r
	}
	for _, c := range []struct {
		name              string
		r                 *gate.Result
		recorded, propose bool
	}{
		{"passes", passing(2, 1), true, true},
		{"warns", finding(passing(2, 1), gate.LevelWarn, "x", true), true, true},
		{"fails at a checkpoint", finding(passing(2, 1), gate.LevelFail, "x", false), true, false},
		{"fails as a run", finding(passing(2, 1), gate.LevelFail, "x", true), true, false},
		{"worse than the baseline", finding(passing(2, 1), gate.LevelFail, "baseline: rel_l2 <= +25%", false), true, false},
		{"incomplete", finding(passing(2, 1), gate.LevelIncomplete, "require.checkpoints", true), false, false},
		{"incomplete at a checkpoint", finding(passing(2, 1), gate.LevelIncomplete, "x: rel_l2 <= 1", false), false, false},
		{"a glob that looks like a baseline's rule", finding(passing(2, 1), gate.LevelIncomplete, "baseline.required: rel_l2 <= 1", false), false, false},
		{"no baseline yet", state(finding(passing(2, 1), gate.LevelIncomplete, gate.RuleBaselineRequired, true), gate.BaselineNone), true, true},
		{"another GPU", state(finding(passing(2, 1), gate.LevelIncomplete, gate.RuleBaselineRequired, true), gate.BaselineIncomparable), true, true},
		{"a damaged one", state(finding(passing(2, 1), gate.LevelIncomplete, gate.RuleBaselineRequired, true), gate.BaselineInvalid), true, false},
		{"nobody looked", finding(passing(2, 1), gate.LevelIncomplete, gate.RuleBaselineRequired, true), true, false},
		{"a checkpoint less", state(finding(passing(2, 1), gate.LevelIncomplete, gate.RuleBaselineCovered, true), gate.BaselineCompared), true, false},
		{"nothing", &gate.Result{}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Record(c.r, nil, here("c1"))
			if (err == nil) != c.recorded || err != nil && !errors.Is(err, ErrRefused) {
				t.Errorf("recorded: %v", err)
			}
			for _, previous := range []*Document{nil, ok[*Document](t)(Record(passing(2, 1), nil, here("c0")))} {
				d, err := Propose(c.r, nil, here("c1"), previous, false)
				if (err == nil) != c.propose || err != nil && (!errors.Is(err, ErrRefused) || d != nil) {
					t.Errorf("proposed: %v", err)
				}
			}
		})
	}
}

func TestFollow(t *testing.T) {
	first := ok[*Document](t)(Record(passing(2, 1), nil, here("c1")))
	m := first.Measurements[0].Metrics["rel_l2"]
	m.Spread, m.Runs = 1e-5, 3
	first.Measurements[0].Metrics["rel_l2"] = m
	next := ok[*Document](t)(Record(passing(3, 1.1), nil, here("c2"))) // one layer more
	d := ok[*Document](t)(next.Follow(first, false))
	at := func(d *Document, i int) Metric { return d.Measurements[i].Metrics["rel_l2"] }
	if got := at(d, 0); got.Value != at(next, 0).Value || got.Anchor != 1e-3 || got.Spread != 1e-5 || got.Runs != 3 || !slices.Equal(got.History, []gate.Value{1e-3, at(next, 0).Value}) {
		t.Errorf("%+v", got)
	}
	if got := at(d, 2); got.Anchor != at(next, 2).Value || len(got.History) != 1 {
		t.Errorf("a new layer is its own anchor: %+v", got)
	}
	if d.Anchor != first.Anchor || d.Provenance.Commit != "c2" || !slices.Equal(d.History, []Accepted{{"c1", here("").Date}, {"c2", here("").Date}}) {
		t.Errorf("%+v %+v", d.Anchor, d.History)
	}
	if len(at(next, 0).History) != 1 || len(at(first, 0).History) != 1 {
		t.Error("the documents that it was made of have changed")
	}
	if d.Numbers() != next.Numbers() {
		t.Error("the past changes the numbers' digest")
	}
	// Its own spread wins over an older one.
	m = at(next, 0)
	m.Spread, m.Runs = 2e-5, 2
	next.Measurements[0].Metrics["rel_l2"] = m
	if got := at(ok[*Document](t)(next.Follow(first, false)), 0); got.Spread != 2e-5 || got.Runs != 2 {
		t.Errorf("%+v", got)
	}
	other := ok[*Document](t)(Record(passing(2, 1), nil, here("c3")))
	other.Key.Precision.Candidate = "bf16"
	if _, err := other.Follow(first, false); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "precision was f16 and is bf16") {
		t.Errorf("another key: %v", err)
	}
}

// TestHistoryIsBounded: only the last MaxHistory runs are remembered, each with
// its value.
func TestHistoryIsBounded(t *testing.T) {
	var d *Document
	for i := range MaxHistory + 7 {
		d = ok[*Document](t)(Propose(passing(1, 1+float64(i)/100), nil, here(fmt.Sprint("c", i)), d, false))
	}
	h := d.Measurements[0].Metrics["rel_l2"].History
	if len(d.History) != MaxHistory || len(h) != MaxHistory || d.History[0].Commit != "c7" || d.History[MaxHistory-1].Commit != "c36" {
		t.Fatalf("%d runs, %d values, from %v", len(d.History), len(h), d.History[0])
	}
	if !slices.IsSorted(h) || h[0] != gate.Value(1e-3*1.07) || h[MaxHistory-1] != d.Measurements[0].Metrics["rel_l2"].Value {
		t.Errorf("%v", h)
	}
	if d.Anchor.Commit != "c0" || d.Measurements[0].Metrics["rel_l2"].Anchor != 1e-3 {
		t.Errorf("the anchor moved: %+v", d.Anchor)
	}
	if _, err := d.Encode(); err != nil {
		t.Error(err)
	}
}

// TestRatchet keeps the better of both values, metric by metric.
func TestRatchet(t *testing.T) {
	run := func(f, agreement float64) *gate.Result {
		r := passing(1, f)
		r.Checkpoints[0].Metrics["top1_agreement"] = gate.Value(agreement)
		return r
	}
	d := ok[*Document](t)(Propose(run(1, 0.9), nil, here("c1"), nil, true))
	d = ok[*Document](t)(Propose(run(0.5, 0.8), nil, here("c2"), d, true))
	d = ok[*Document](t)(Propose(run(0.6, 0.95), nil, here("c3"), d, true))
	m := d.Measurements[0].Metrics
	if m["rel_l2"].Value != 5e-4 || m["top1_agreement"].Value != 0.95 {
		t.Errorf("%v %v", m["rel_l2"].Value, m["top1_agreement"].Value)
	}
	if h := m["rel_l2"].History; !slices.Equal(h, []gate.Value{1e-3, 5e-4, 6e-4}) {
		t.Errorf("history %v: what was measured", h)
	}
	loose := ok[*Document](t)(Propose(run(0.6, 0.8), nil, here("c4"), d, false))
	if m := loose.Measurements[0].Metrics; m["rel_l2"].Value != 6e-4 || m["top1_agreement"].Value != 0.8 {
		t.Errorf("without a ratchet: %v %v", m["rel_l2"].Value, m["top1_agreement"].Value)
	}
}

func TestApprove(t *testing.T) {
	first := ok[*Document](t)(Propose(passing(2, 1), nil, here("c1"), nil, false))
	r := finding(passing(2, 3), gate.LevelFail, "x", false)
	r.Outcome = gate.Fail
	p := here("c2")
	p.Outcome = "fail"
	d := ok[*Document](t)(Record(r, nil, p))
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.FixedZone("", 3600))
	a := ok[*Document](t)(d.Approve(first, strings.ToUpper(d.Numbers()[:16]), "ada", "new kernels", at))
	want := Anchor{Commit: "c2", Date: "2026-11-23T09:00:00Z", ApprovedBy: "ada", Reason: "new kernels", Digest: d.Numbers()}
	if a.Anchor != want || a.Provenance.ApprovedBy != "ada" || a.Provenance.Reason != "new kernels" || a.Provenance.Outcome != "fail" {
		t.Errorf("%+v %+v", a.Anchor, a.Provenance)
	}
	m := a.Measurements[0].Metrics["rel_l2"]
	if m.Anchor != m.Value || m.Value != 3e-3 || !slices.Equal(m.History, []gate.Value{1e-3, 3e-3}) || len(a.History) != 2 {
		t.Errorf("%+v", m)
	}
	if a.Numbers() != d.Numbers() || d.Anchor.ApprovedBy != "" || d.Measurements[0].Metrics["rel_l2"].History[0] != 3e-3 {
		t.Error("what was approved has changed")
	}
	if _, err := a.Encode(); err != nil {
		t.Error(err)
	}
	// What follows keeps the anchor.
	if f := ok[*Document](t)(ok[*Document](t)(Record(passing(2, 3.1), nil, here("c3"))).Follow(a, false)); f.Anchor != want || f.Measurements[0].Metrics["rel_l2"].Anchor != 3e-3 || f.Provenance.ApprovedBy != "" {
		t.Errorf("%+v", f.Anchor)
	}
	// What followed already, with a ratchet, is approved as it was measured.
	better := ok[*Document](t)(ok[*Document](t)(Record(passing(2, 3), nil, here("c2"))).Follow(first, true))
	if m := ok[*Document](t)(better.Approve(first, d.Numbers(), "ada", "x", at)).Measurements[0].Metrics["rel_l2"]; m.Value != 3e-3 || m.Anchor != 3e-3 || !slices.Equal(m.History, []gate.Value{1e-3, 3e-3}) {
		t.Errorf("%+v", m)
	}
	// The first one, and one of another key, begin anew.
	first.Key.Device.Candidate = "CPU"
	for _, previous := range []*Document{nil, first} {
		if a := ok[*Document](t)(d.Approve(previous, d.Numbers(), "ada", "x", at)); len(a.History) != 1 || a.Anchor.ApprovedBy != "ada" {
			t.Errorf("%+v", a.History)
		}
	}
	for name, c := range map[string][3]string{
		"no digest": {"", "ada", "x"}, "a short digest": {d.Numbers()[:15], "ada", "x"}, "another digest": {first.Numbers(), "ada", "x"}, "a longer digest": {d.Numbers() + "0", "ada", "x"},
		"nobody": {d.Numbers(), " ", "x"}, "no reason": {d.Numbers(), "ada", "\n"},
	} {
		if a, err := d.Approve(nil, c[0], c[1], c[2], at); err == nil || a != nil {
			t.Errorf("%s: approved", name)
		}
	}
}

// TestNumbers: the digest of what was measured, and of nothing else.
func TestNumbers(t *testing.T) {
	r := passing(2, 1)
	im := imprinted(t, r, 1)
	want := ok[*Document](t)(Record(r, im, here("c1"))).Numbers()
	elsewhere := here("c9")
	elsewhere.Date, elsewhere.Paritygate, elsewhere.ApprovedBy, elsewhere.Driver = "2027-01-01T00:00:00Z", "2", "ada", "581"
	if got := ok[*Document](t)(Record(r, im, elsewhere)).Numbers(); got != want {
		t.Error("provenance is part of it")
	}
	swapped := passing(2, 1)
	swapped.Checkpoints = append(swapped.Checkpoints, gate.Checkpoint{Prompt: "b", Name: "x", Rows: 1, Width: 1, Compared: 1, Metrics: map[string]gate.Value{}})
	other := passing(2, 1)
	other.Checkpoints = append([]gate.Checkpoint{swapped.Checkpoints[2]}, other.Checkpoints...)
	if ok[*Document](t)(Record(swapped, im, here("c1"))).Numbers() != ok[*Document](t)(Record(other, im, here("c1"))).Numbers() {
		t.Error("the order of the prompts is part of it")
	}
	for name, change := range map[string]func(*gate.Result){
		"a value":      func(r *gate.Result) { r.Checkpoints[1].Metrics["max_abs"] *= 1 + 1e-8 },
		"a checkpoint": func(r *gate.Result) { r.Checkpoints = r.Checkpoints[:1] },
		"rows":         func(r *gate.Result) { r.Checkpoints[0].Compared-- },
		"the key":      func(r *gate.Result) { r.Engines.Candidate.Precision = "bf16" },
	} {
		r := passing(2, 1)
		change(r)
		if ok[*Document](t)(Record(r, im, here("c1"))).Numbers() == want {
			t.Errorf("%s is no part of it", name)
		}
	}
	if ok[*Document](t)(Record(r, imprinted(t, r, 2), here("c1"))).Numbers() == want {
		t.Error("the bits are no part of it")
	}
}

func TestMerge(t *testing.T) {
	record := func(f float64, seed uint64) *Document {
		r := passing(2, f)
		return ok[*Document](t)(Record(r, imprinted(t, r, seed), here("c1")))
	}
	d := ok[*Document](t)(Merge(record(1, 1), record(2, 1), record(3, 1), record(6, 1)))
	m := d.Measurements[0].Metrics["rel_l2"]
	if m.Value != 3e-3 || m.Runs != 4 || math.Abs(float64(m.Spread)/(1e-3*math.Sqrt(14./3))-1) > 1e-12 || m.Anchor != m.Value {
		t.Errorf("%+v", m)
	}
	if d.Measurements[0].Mark.Fingerprint == "" || d.Anchor.Digest != d.Numbers() {
		t.Error("the runs had the same bits")
	}
	if _, err := d.Encode(); err != nil {
		t.Error(err)
	}
	same := ok[*Document](t)(Merge(record(1.1, 1), record(1.1, 1), record(1.1, 1)))
	if m := same.Measurements[0].Metrics["rel_l2"]; m.Spread != 0 || m.Value != record(1.1, 1).Measurements[0].Metrics["rel_l2"].Value {
		t.Errorf("three equal runs: %+v", m)
	}
	noisy := ok[*Document](t)(Merge(record(1, 1), record(1, 2)))
	if k := noisy.Measurements[0].Mark; k.Fingerprint != "" || len(k.Sketches) != 17 {
		t.Errorf("other bits each time: %q, %d sketches", k.Fingerprint, len(k.Sketches))
	}
	one := ok[*Document](t)(Merge(record(1, 1)))
	if m := one.Measurements[0].Metrics["rel_l2"]; m.Runs != 1 || !math.IsNaN(float64(m.Spread)) {
		t.Errorf("one run: %+v", m)
	}
	inf := record(1, 1)
	v := inf.Measurements[0].Metrics["rel_l2"]
	v.Value = gate.Value(math.Inf(1))
	inf.Measurements[0].Metrics["rel_l2"] = v
	if m := ok[*Document](t)(Merge(inf, record(1, 1))).Measurements[0].Metrics["rel_l2"]; m.Runs != 1 || !math.IsInf(float64(m.Value), 1) {
		t.Errorf("an infinite run: %+v", m)
	}
	if m := ok[*Document](t)(Merge(inf, inf)).Measurements[0].Metrics["rel_l2"]; !math.IsInf(float64(m.Value), 1) {
		t.Errorf("two infinite runs: %+v", m)
	}
	other := record(1, 1)
	other.Key.Device.Candidate = "CPU"
	less := record(1, 1)
	less.Measurements = less.Measurements[:1]
	unmeasured := record(1, 1)
	delete(unmeasured.Measurements[1].Metrics, "added")
	for name, runs := range map[string][]*Document{"none": {}, "another key": {record(1, 1), other}, "a layer less": {record(1, 1), less}, "a metric less": {record(1, 1), unmeasured}} {
		if _, err := Merge(runs...); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
