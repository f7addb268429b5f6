package baseline

import (
	"math"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/metric"
)

// Merge makes one document of repeated runs of the same commit, as Record gives
// them: each value is the mean, with the standard deviation of the runs (n−1) as
// its spread. Where the candidate's bits differ between the runs a checkpoint has
// no fingerprint, and the sketches of the first run. Provenance is the first's.
//
// A metric that is infinite in any run is so in the mean, and has no spread. Runs that did not measure
// the same are refused.
func Merge(runs ...*Document) (*Document, error) {
	if len(runs) == 0 {
		return nil, refuse("no run to merge")
	}
	out := *runs[0]
	out.Measurements = make([]Measurement, len(runs[0].Measurements))
	for i, first := range runs[0].Measurements {
		m := first
		m.Metrics = map[string]Metric{}
		sums := map[string]*welford{}
		for n, r := range runs {
			switch {
			case r.Key != out.Key:
				return nil, refuse("run %d is of another key: %s", n+1, differ(out.Key.Differences(r.Key)))
			case len(r.Measurements) != len(out.Measurements) || !first.sameAs(&r.Measurements[i]):
				return nil, refuse("run %d did not measure what the first did, at %s/%s", n+1, first.Prompt, first.Checkpoint)
			}
			if o := r.Measurements[i].Mark; o.Fingerprint != m.Mark.Fingerprint {
				m.Mark.Fingerprint = ""
			}
			for name, v := range r.Measurements[i].Metrics {
				if sums[name] == nil {
					sums[name] = &welford{}
				}
				sums[name].add(float64(v.Value))
			}
		}
		for name, s := range sums {
			m.Metrics[name] = s.metric()
		}
		out.Measurements[i] = m
	}
	out.Anchor.Digest = out.Numbers()
	return &out, out.check()
}

// sameAs reports whether both are measurements of the same.
func (m *Measurement) sameAs(o *Measurement) bool {
	if m.Prompt != o.Prompt || m.Checkpoint != o.Checkpoint || m.Rows != o.Rows || m.Width != o.Width || len(m.Metrics) != len(o.Metrics) {
		return false
	}
	for name := range m.Metrics {
		if _, ok := o.Metrics[name]; !ok {
			return false
		}
	}
	return true
}

// welford is a running mean and variance (Welford, 1962); infinite once a value is.
type welford struct {
	n        int
	mean, m2 float64
}

func (w *welford) add(x float64) {
	w.n++
	if math.IsInf(x, 0) || math.IsInf(w.mean, 0) {
		if math.IsInf(x, 0) {
			w.mean = x
		}
		w.m2 = math.Inf(1)
		return
	}
	d := x - w.mean
	w.mean += d / float64(w.n)
	w.m2 += float64(d * (x - w.mean))
}

func (w *welford) metric() Metric {
	v := gate.Value(w.mean)
	out := Metric{Value: v, Spread: gate.Value(math.NaN()), Runs: 1, Anchor: v, History: []gate.Value{v}}
	if s := math.Sqrt(w.m2 / float64(w.n-1)); w.n > 1 && s-s == 0 {
		out.Spread, out.Runs = gate.Value(s), w.n
	}
	return out
}

// better reports whether a is better than b, as the metric counts.
func better(name string, a, b gate.Value) bool {
	if info, _ := metric.Lookup(name); info.Direction == metric.HigherIsBetter {
		return a > b
	}
	return a < b
}
