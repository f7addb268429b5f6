package gate

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// However many checkpoints are walked in step, the figures are the same to the
// bit: where a group begins, what it inherits is read again.
func TestGroupsDoNotMatter(t *testing.T) {
	p := large(t, types{trace.F32, trace.BF16}, "")
	al := align(p.Reference, p.Candidate, nil)
	var want []byte
	for _, most := range []int{0, 1, 2, 3} {
		m := newMeasurer(spec.Default(), Options{Workers: 3})
		m.largest = most
		ms, err := m.measure(context.Background(), al.checkpoints)
		if err != nil {
			t.Fatal(err)
		}
		r := newResult(Options{})
		addCheckpoints(r, "p", ms)
		got := bytesOf(t, r)
		if want == nil {
			want = got
		}
		if !bytes.Equal(got, want) || !bytes.Contains(got, []byte(`"added":`)) {
			t.Errorf("groups of %d checkpoints give other figures", most)
		}
		if m.done.Load() != m.total.Load() {
			t.Errorf("groups of %d checkpoints: %d bytes done of %d", most, m.done.Load(), m.total.Load())
		}
	}
}

func TestGroupSize(t *testing.T) {
	m := newMeasurer(spec.Default(), Options{})
	if n := m.groupSize(4096); n != 16 {
		t.Errorf("%d checkpoints of 4096 in step, want 16", n)
	}
	if n := m.groupSize(1 << 24); n != 1 {
		t.Errorf("%d checkpoints of 16 M in step, want one", n)
	}
}

// A profile that is shrunk says what it said, in few buckets.
func TestProfileShrinks(t *testing.T) {
	g := rand.New(rand.NewPCG(5, 6))
	for _, rows := range []int{0, 1, 2, 100, 3 * maxBuckets} {
		p := newProfile()
		for i := range rows {
			s := metric.Stats{N: 1, SumRef2: 1, SumSq: g.ExpFloat64(), MaxAbs: g.ExpFloat64()}
			if i%7 == 0 {
				s = metric.Stats{} // nothing was compared
			}
			p.add(2*i, &s)
		}
		records, worst, rms := p.records(), p.worst(), p.rms()
		p.shrink()
		if got := p.records(); !reflect.DeepEqual(got, records) {
			t.Errorf("%d rows: records %v, were %v", rows, got, records)
		}
		if got := p.worst(); got.worst != worst.worst || got.relL2 != worst.relL2 && !math.IsNaN(worst.relL2) {
			t.Errorf("%d rows: worst %v, was %v", rows, got, worst)
		}
		if got := p.rms(); !near(got, rms, 1e-12) && !math.IsNaN(rms) {
			t.Errorf("%d rows: rms %v, was %v", rows, got, rms)
		}
		if len(p.buckets) > 40 {
			t.Errorf("%d rows: %d buckets are left", rows, len(p.buckets))
		}
	}
}
