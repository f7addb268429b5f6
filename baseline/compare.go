package baseline

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/spec"
)

// Compare holds a run against a stored document: what both measured, side by side.
// then is nil where none was found. im is the run's imprint, or nil; p its
// provenance. Nothing is judged here: gate.Judge does that, with the result of
// Compare in r.Baseline.
//
// A document of another key, GPU driver or GPU is incomparable: the differences
// are listed, and no number is held against another. Store, Distance and, where
// the search has more to say, Why are the caller's to fill in.
//
// Deltas are of the metrics that the baseline has, at every checkpoint that both
// have with the same rows; a metric that this run did not measure is NaN there.
func Compare(then *Document, r *gate.Result, im *Imprint, p Provenance) *gate.Baseline {
	now := measured(r, im, p)
	b := &gate.Baseline{State: gate.BaselineNone, Key: now.Key.Digest(), Distance: -1, AgeS: gate.Value(math.NaN()),
		Differences: []gate.BaselineDifference{}, Deltas: []gate.BaselineDelta{}, Missing: []string{}}
	if recordable(r, now) == nil {
		b.Proposed = now.Numbers()
	}
	if then == nil {
		b.Why = "no baseline is stored for this key"
		return b
	}
	b.Commit, b.Digest = then.Provenance.Commit, then.Digest()
	b.Anchor = &gate.BaselineAnchor{Commit: then.Anchor.Commit, Date: then.Anchor.Date, ApprovedBy: then.Anchor.ApprovedBy, Reason: then.Anchor.Reason}
	if at, err := time.Parse(time.RFC3339, p.Date); err == nil && !then.Measured().IsZero() {
		b.AgeS = gate.Value(at.Sub(then.Measured()).Seconds())
	}
	if b.Differences = differences(then, now); len(b.Differences) > 0 {
		b.State, b.Why = gate.BaselineIncomparable, "it was measured under other conditions: "+differ(b.Differences)
		return b
	}
	b.State = gate.BaselineCompared
	if was, is := then.Provenance.Weights, now.Provenance.Weights; was != is {
		b.Why = fmt.Sprintf("the candidate's weights were %s and are %s", told(short(was)), told(short(is)))
	}
	b.Deltas, b.Missing, b.BitIdentical = Deltas(then, now)
	return b
}

// differences are what makes two documents incomparable. GPU and driver matter
// where an engine ran on a GPU.
func differences(then, now *Document) []gate.BaselineDifference {
	out := then.Key.Differences(now.Key)
	onCPU := func(s Sides) bool {
		return strings.HasPrefix(s.Reference, "CPU") && strings.HasPrefix(s.Candidate, "CPU")
	}
	if onCPU(then.Key.Device) && onCPU(now.Key.Device) {
		return out
	}
	add := func(what, was, is string) {
		if was != is {
			out = append(out, gate.BaselineDifference{What: what, Baseline: told(was), Here: told(is)})
		}
	}
	if then.Key.Device == now.Key.Device { // else it is said
		add("GPU", then.Provenance.GPU, now.Provenance.GPU)
	}
	add("driver", then.Provenance.Driver, now.Provenance.Driver)
	return out
}

// Deltas lists what two documents of one key measured, side by side; what of then
// is missing in now, as "prompt/checkpoint" with the reason; and how many
// checkpoints have the same bits. Nothing is judged: Allowed is NaN.
func Deltas(then, now *Document) ([]gate.BaselineDelta, []string, gate.BitIdentical) {
	deltas, missing, same := []gate.BaselineDelta{}, []string{}, gate.BitIdentical{}
	here := now.byPlace()
	for i := range then.Measurements {
		old := &then.Measurements[i]
		m := here[place{old.Prompt, old.Checkpoint}]
		if m == nil || m.Rows != old.Rows || m.Width != old.Width {
			why := ""
			if m != nil {
				why = fmt.Sprintf(" (%d rows of %d elements, was %d of %d)", m.Rows, m.Width, old.Rows, old.Width)
			}
			missing = append(missing, old.Prompt+"/"+old.Checkpoint+why)
			continue
		}
		moved := Moved(m.Mark, old.Mark)
		same.Of++
		if moved == 0 {
			same.Same++
		}
		for _, name := range spec.BaselineMetrics() {
			if was, ok := old.Metrics[name]; ok {
				deltas = append(deltas, delta(m, name, was, moved))
			}
		}
	}
	return deltas, missing, same
}

func delta(m *Measurement, name string, was Metric, moved float64) gate.BaselineDelta {
	nan := gate.Value(math.NaN())
	d := gate.BaselineDelta{Prompt: m.Prompt, Checkpoint: m.Checkpoint, Metric: name, Base: was.Value, Head: nan,
		Spread: was.Spread, Anchor: was.Anchor, Allowed: nan, Within: true, Moved: gate.Value(moved), History: slices.Clone(was.History)}
	if now, ok := m.Metrics[name]; ok {
		d.Head = now.own()
	}
	d.Delta = d.Head - d.Base
	if d.Share = d.Delta / d.Base; d.Base == 0 && d.Head == 0 {
		d.Share = 0
	}
	return d
}
