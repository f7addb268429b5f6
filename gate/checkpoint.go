package gate

import (
	"math"
	"runtime"

	"github.com/paritygate/paritygate/gate/metric"
)

// recordStep is by how much a row must diverge more than every earlier one to
// become a point of the stored profile: it bounds the profile's length, and
// the first position over a limit is exact to this share of the limit.
const recordStep = 1.02

// addCheckpoints turns a prompt's measurements into the result's checkpoints.
func addCheckpoints(r *Result, prompt string, ms []*measured) {
	before := map[string]*Checkpoint{}
	var previous *Checkpoint
	order := 0
	for _, m := range ms {
		if len(m.positions) == 0 || m.measures == nil {
			continue
		}
		c := newCheckpoint(prompt, m)
		c.Order = order
		order++
		if m.previous != nil {
			c.Growth = growthOf(&c, before[m.previous.name], m.measures)
		} else if previous != nil && m.name != "embedding" {
			c.Growth = growthOf(&c, previous, nil)
		}
		r.Garbage = append(r.Garbage, garbageOf(prompt, m, m.measures)...)
		r.Checkpoints = append(r.Checkpoints, c)
		previous = &c
		before[m.name] = &c
	}
}

func newCheckpoint(prompt string, m *measured) Checkpoint {
	c := Checkpoint{Prompt: prompt, Name: m.name, Rows: len(m.positions), LastPosition: m.positions[len(m.positions)-1],
		Width: m.ref.Width, Compared: m.elements, RefDType: m.ref.DType.String(), CandDType: m.cand.DType.String(), NonFinite: m.measures.Mismatch,
		Metrics: map[string]Value{}, Where: whereOf(m), Profile: m.profile.records(), Limits: []AppliedLimit{}, Findings: []Finding{}, Status: Unmeasured}
	for _, info := range metric.All() {
		if v, ok := metricOf(m, info); ok {
			c.Metrics[info.Name] = Value(round9(v))
		}
	}
	if m.logits != nil {
		c.Logits = m.logits.info()
	}
	return c
}

// metricOf is one metric of one checkpoint; false when it does not exist there.
// Metrics of a whole row are never taken from a part of it.
func metricOf(m *measured, info metric.Info) (float64, bool) {
	switch info.Scope {
	case metric.LogitsOnly:
		if m.logits == nil {
			return 0, false
		}
		return m.logits.metric(info.Name)
	case metric.ResidualOnly:
		if !m.measures.HasAdded {
			return 0, false
		}
	case metric.HiddenOnly:
		if m.name == logitsName {
			return 0, false
		}
	}
	switch info.Name {
	case "worst_position":
		return m.profile.worst().relL2, true
	case "position_rms":
		return m.profile.rms(), true
	}
	return m.measures.Metric(info.Name)
}

// metric is one metric of the logits.
func (l *logitsRows) metric(name string) (float64, bool) {
	n := float64(len(l.kl))
	switch name {
	case "top1_agreement":
		return float64(l.same) / n, true
	case "topk_overlap":
		return l.overlap / n, true
	case "rank_correlation":
		return l.rank / n, true
	case "kl.mean":
		var sum float64
		for _, v := range l.kl {
			sum += v
		}
		return sum / n, true
	case "kl.p99":
		return metric.Percentile(append([]float64(nil), l.kl...), 0.99), true
	case "kl.max":
		return metric.Percentile(append([]float64(nil), l.kl...), 1), true
	}
	return 0, false
}

func whereOf(m *measured) Where {
	w := Where{MaxAbsPosition: -1, MaxAbsElement: -1, WorstChannel: -1, WorstPosition: -1}
	if m.measures.N > 0 || m.measures.Mismatch > 0 {
		worst := m.profile.worst()
		w.WorstPosition = worst.worst
		w.MaxAbsElement = m.measures.MaxAbsAt
		if i := m.measures.MaxAbsRow; i >= 0 && i < len(m.positions) {
			w.MaxAbsPosition = m.positions[i]
		}
		w.WorstChannel = m.measures.WorstChannelAt
	}
	return w
}

// growthOf relates a checkpoint to the one before it. s is nil where nothing is
// added to a stream.
func growthOf(c, before *Checkpoint, s *metric.Measures) *Growth {
	if before == nil {
		return nil
	}
	g := &Growth{Inherited: before.Metrics["rel_l2"], InheritedRMS: before.Metrics["position_rms"], Added: Value(math.NaN())}
	g.Factor = Value(round9(float64(c.Metrics["rel_l2"]) / float64(g.Inherited)))
	if s != nil && s.HasAdded {
		g.Added = c.Metrics["added"]
		g.Stride = Value(round9(math.Sqrt(s.SumRef2 / s.SumStep2)))
	}
	return g
}

// worst is the bucket with the row that diverges most.
func (p *profile) worst() bucket {
	w := bucket{worst: -1, relL2: math.Inf(-1)}
	for _, b := range p.buckets {
		if b.relL2 > w.relL2 {
			w = b
		}
	}
	if math.IsInf(w.relL2, -1) {
		w.relL2 = math.NaN()
	}
	return w
}

// rms is √(mean over positions of rel_l2²).
func (p *profile) rms() float64 {
	var sum, n float64
	for _, b := range p.buckets {
		sum += b.sumRel2
		n += b.counted
	}
	return math.Sqrt(sum / n)
}

// records lists the positions that diverge more than every earlier one.
func (p *profile) records() []ProfilePoint {
	out := []ProfilePoint{}
	var rel, top, added float64
	for i, b := range p.buckets {
		if math.IsInf(b.relL2, -1) {
			continue
		}
		if i > 0 && !(b.relL2 > rel*recordStep || b.maxAbs > top*recordStep || b.added > added*recordStep) {
			continue
		}
		rel, top, added = max(rel, b.relL2), max(top, b.maxAbs), max(added, b.added)
		out = append(out, ProfilePoint{b.worst, Value(round9(b.relL2)), Value(round9(b.maxAbs)), Value(round9(b.added))})
	}
	return out
}

func environment(o Options) Environment {
	kernel := metric.NewKernel(metric.Config{Portable: o.Portable}).Name()
	return Environment{Paritygate: o.Version, OS: runtime.GOOS, Arch: runtime.GOARCH, CPU: cpuName(), Kernel: kernel}
}
