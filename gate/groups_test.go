package gate

import (
	"bytes"
	"context"
	"testing"

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
