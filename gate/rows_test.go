package gate

import (
	"math"
	"slices"
	"testing"

	"github.com/paritygate/paritygate/gate/metric"
)

// statsOf are the statistics of a row with that rel_l2, max_abs and added.
func statsOf(rel, maxAbs, added float64) *metric.Stats {
	return &metric.Stats{N: 4, SumSq: rel * rel, SumRef2: 1, MaxAbs: maxAbs, SumAddedSq: added * added, SumStep2: 1, HasAdded: true}
}

// A million rows cost no more than 2048 buckets, and nothing that is read from
// them depends on how often neighbours were joined.
func TestProfileStaysSmall(t *testing.T) {
	p, g := newProfile(), seeded(1)
	worst, worstAt, sum, positions := -1.0, 0, 0.0, 0
	const rows = 1_000_000
	for i := range rows {
		position := 2*i + 1
		rel := g.Float64()
		if i == 777_777 {
			rel = 3
		}
		if rel > worst {
			worst, worstAt = rel, position
		}
		sum += rel * rel
		p.add(position, statsOf(rel, 1, 0))
		if len(p.buckets) > maxBuckets {
			t.Fatalf("%d buckets after %d rows", len(p.buckets), i+1)
		}
	}
	if cap(p.buckets) > 2*maxBuckets {
		t.Errorf("room for %d buckets", cap(p.buckets))
	}
	if w := p.worst(); w.worst != worstAt || !near(w.relL2, worst, 1e-12) {
		t.Errorf("worst is %v at %d, want %v at %d", w.relL2, w.worst, worst, worstAt)
	}
	if got, want := p.rms(), math.Sqrt(sum/rows); !near(got, want, 1e-9) {
		t.Errorf("rms %v, want %v", got, want)
	}
	for i, b := range p.buckets {
		// Every bucket but the last is full, and holds the rows in their order.
		if want := float64(p.rows); b.counted != want && i < len(p.buckets)-1 {
			t.Fatalf("bucket %d holds %v rows, want %v", i, b.counted, want)
		}
		if b.first != 2*positions+1 || b.worst < b.first || b.worst >= b.first+2*p.rows {
			t.Fatalf("bucket %d begins at %d with its worst at %d, want %d", i, b.first, b.worst, 2*positions+1)
		}
		positions += int(b.counted)
	}
	if positions != rows {
		t.Errorf("the buckets hold %d rows, want %d", positions, rows)
	}
}

// At each row around a halving the profile says the same as a plain list.
func TestProfileAroundHalving(t *testing.T) {
	p, g := newProfile(), seeded(2)
	var all []float64
	sum := 0.0
	for i := range 3*maxBuckets + 5 {
		rel := g.ExpFloat64()
		all, sum = append(all, rel), sum+rel*rel
		p.add(i, statsOf(rel, rel, rel))
		near2048 := i%maxBuckets < 3 || i%maxBuckets > maxBuckets-3
		if !near2048 {
			continue
		}
		want := slices.Index(all, slices.Max(all))
		if w := p.worst(); w.worst != want || !near(p.rms(), math.Sqrt(sum/float64(len(all))), 1e-9) {
			t.Fatalf("after %d rows: worst at %d, rms %v; want %d, %v", i+1, w.worst, p.rms(), want, math.Sqrt(sum/float64(len(all))))
		}
	}
}

func TestProfileRecords(t *testing.T) {
	p := newProfile()
	for i, v := range [][3]float64{{0.5, 1, 0}, {0.505, 1.01, 0}, {0.2, 1.03, 0}, {0.52, 1, 0}, {0.52, 1, 0.1}, {0.53, 1.04, 0.101}, {9, 9, 9}} {
		p.add(10+i, statsOf(v[0], v[1], v[2]))
	}
	want := []ProfilePoint{{10, 0.5, 1, 0}, {12, 0.2, 1.03, 0}, {13, 0.52, 1, 0}, {14, 0.52, 1, 0.1}, {16, 9, 9, 9}}
	if got := p.records(); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if got := newProfile().records(); got == nil || len(got) != 0 {
		t.Errorf("an empty profile has records %#v, want an empty list", got)
	}
}

// Rows in which everything was left out say nothing; a mismatch is the worst.
func TestProfileOddRows(t *testing.T) {
	p := newProfile()
	p.add(0, &metric.Stats{Masked: 4})
	if w := p.worst(); w.worst != -1 || !math.IsNaN(w.relL2) || !math.IsNaN(p.rms()) {
		t.Errorf("nothing compared: worst %+v, rms %v; want −1 and NaN", w, p.rms())
	}
	p.add(1, statsOf(0.5, 1, 0))
	if got := p.records(); len(got) != 1 || got[0].Position != 1 {
		t.Errorf("records %v, want the one row that was compared", got)
	}
	if got := p.rms(); got != 0.5 {
		t.Errorf("rms %v; the masked row must not count", got)
	}
	p.add(2, &metric.Stats{N: 3, Mismatch: 1, SumSq: 1, SumRef2: 1})
	if w := p.worst(); w.worst != 2 || !math.IsInf(w.relL2, 1) || !math.IsInf(w.maxAbs, 1) || w.added != 0 || !math.IsInf(p.rms(), 1) {
		t.Errorf("a mismatch: worst %+v, rms %v", w, p.rms())
	}
}

// Of any row sequence and any limit, the first position over the limit can be
// read off the stored points: it is never one that keeps to the limit, it is
// never late by more than a row that exceeds the limit by less than 2 %.
func TestFirstPositionOverLimit(t *testing.T) {
	figures := []func(ProfilePoint) Value{
		func(p ProfilePoint) Value { return p.RelL2 }, func(p ProfilePoint) Value { return p.MaxAbs }, func(p ProfilePoint) Value { return p.Added },
	}
	for seed := range uint64(300) {
		g := seeded(100 + seed)
		n := 1 + g.IntN(400)
		p := newProfile()
		values := make([][3]float64, n)
		for i := range values {
			drift := math.Exp(g.Float64() * 5 * float64(i) / float64(n))
			values[i] = [3]float64{drift * g.ExpFloat64(), drift * g.Float64(), g.ExpFloat64()}
			p.add(3*i, statsOf(values[i][0], values[i][1], values[i][2]))
		}
		points := p.records()
		for k, figure := range figures {
			limit := values[g.IntN(n)][k] * (0.5 + g.Float64())
			first, sure := -1, -1 // the first over the limit, and over it by more than the step
			for i, v := range values {
				if first < 0 && v[k] > limit*(1+1e-8) {
					first = 3 * i
				}
				if sure < 0 && v[k] > limit*recordStep*(1+1e-8) {
					sure = 3 * i
				}
			}
			got := -1
			for _, q := range points {
				if float64(figure(q)) > limit*(1+1e-8) {
					got = q.Position
					break
				}
			}
			if got >= 0 && got < first || sure >= 0 && (got < 0 || got > sure) {
				t.Fatalf("seed %d, figure %d, limit %v: read %d; the first over is %d, the first over by 2 %% is %d", seed, k, limit, got, first, sure)
			}
		}
	}
}

func flip(top, other int, gap float64) metric.LogitsRow {
	return metric.LogitsRow{RefTop: top, CandTop: other, Gap: gap, Margin: gap, KL: 1, TopKOverlap: 0.5, RankCorrelation: 0.25}
}

func rmse(v float64) *metric.Stats { return &metric.Stats{N: 1, SumSq: v * v} }

// A flip is noise where the gap is within 4.5 times the row's rmse, or the
// median row's where that is larger.
func TestFlipsInNoise(t *testing.T) {
	var l logitsRows
	for p := range 5 {
		l.add(p, flip(1, 1, 0), rmse(0.1))
	}
	l.add(10, flip(1, 2, 0.45), rmse(0.01)) // the median row's noise explains it
	l.add(11, flip(3, 4, 0.46), rmse(0.01)) // and not this one
	l.add(12, flip(5, 6, 0.9), rmse(0.2))   // its own row's noise explains it
	l.add(13, flip(7, 8, 0.91), rmse(0.2))
	in := l.info()
	want := []Flip{{13, 7, 8, 0.91, false}, {12, 5, 6, 0.9, true}, {11, 3, 4, 0.46, false}, {10, 1, 2, 0.45, true}}
	if !slices.Equal(in.Flips, want) || in.FlipsTotal != 4 || in.FlipsInNoise != 2 || in.Noise != 0.1 || in.MarginP50 != 0 {
		t.Errorf("got %+v", in)
	}
	for name, w := range map[string]float64{"top1_agreement": 5.0 / 9, "topk_overlap": 0.5, "rank_correlation": 0.25, "kl.mean": 1, "kl.p99": 1, "kl.max": 1} {
		if v, ok := l.metric(name); !ok || !near(v, w, 1e-12) {
			t.Errorf("%s is %v, want %v", name, v, w)
		}
	}
	if _, ok := l.metric("rel_l2"); ok {
		t.Error("rel_l2 is no metric of logits rows")
	}
}

// Twenty flips are named, the most decided first; all are counted.
func TestFlipsAreBounded(t *testing.T) {
	var l logitsRows
	for p := range 50 {
		l.add(p, flip(1, 2, float64(p%25)), rmse(1))
	}
	in := l.info()
	if len(in.Flips) != 20 || in.FlipsTotal != 50 || in.FlipsInNoise != 10 {
		t.Fatalf("%d named of %d, %d in noise", len(in.Flips), in.FlipsTotal, in.FlipsInNoise)
	}
	for i, f := range in.Flips {
		// Gaps 24, 24, 23, 23 …: of equal ones the earlier position first.
		if want := 24 - i/2; f.Gap != Value(want) || f.Position != want+25*(i%2) {
			t.Errorf("flip %d: %+v", i, f)
		}
	}
	if kl, _ := l.metric("kl.p99"); kl != 1 {
		t.Errorf("kl.p99 %v", kl)
	}
}
