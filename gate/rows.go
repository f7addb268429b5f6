package gate

import (
	"math"
	"slices"

	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/spec"
)

const logitsName = spec.Logits

// maxBuckets bounds a profile: with more positions, neighbours share a bucket.
const maxBuckets = 2048

// profile is the divergence by position, at a bounded size.
type profile struct {
	buckets []bucket
	rows    int // rows a full bucket holds, a power of two
	held    int // rows in the last bucket
}

// bucket sums some consecutive rows and knows the worst of them.
type bucket struct {
	first                int     // position of its first row
	worst                int     // position of the row with the largest rel_l2
	relL2, maxAbs, added float64 // the largest of a row
	sumRel2, counted     float64 // Σ rel_l2² over its rows, and their number
}

func newProfile() *profile { return &profile{rows: 1} }

// add appends the next row's statistics; rows come in ascending position.
func (p *profile) add(position int, s *metric.Stats) {
	if len(p.buckets) == 0 || p.held == p.rows {
		if len(p.buckets) == maxBuckets {
			p.halve()
		}
		if len(p.buckets) == 0 || p.held == p.rows {
			p.buckets = append(p.buckets, bucket{first: position, worst: position, relL2: math.Inf(-1), maxAbs: math.Inf(-1)})
			p.held = 0
		}
	}
	p.held++
	b := &p.buckets[len(p.buckets)-1]
	if s.N == 0 && s.Mismatch == 0 {
		return
	}
	one := bucket{worst: position, relL2: s.RelL2(), maxAbs: s.MaxAbs, added: s.Added(), counted: 1}
	if s.Mismatch > 0 {
		// Where it parts, not an average.
		one.relL2, one.maxAbs = math.Inf(1), math.Inf(1)
	}
	if math.IsNaN(one.added) {
		one.added = 0
	}
	one.sumRel2 = sq(one.relL2)
	b.merge(one)
}

// merge adds a later bucket.
func (b *bucket) merge(o bucket) {
	if o.relL2 > b.relL2 {
		b.relL2, b.worst = o.relL2, o.worst
	}
	b.maxAbs = max(b.maxAbs, o.maxAbs)
	b.added = max(b.added, o.added)
	b.sumRel2 += o.sumRel2
	b.counted += o.counted
}

// halve joins neighbouring buckets.
func (p *profile) halve() {
	half := p.buckets[:0]
	for i := 0; i < len(p.buckets); i += 2 {
		b := p.buckets[i]
		if i+1 < len(p.buckets) {
			b.merge(p.buckets[i+1])
		}
		half = append(half, b)
	}
	p.buckets = half
	p.rows *= 2
	p.held = p.rows // maxBuckets is even: every bucket is full
}

// shrink ends a profile: only the buckets that records and worst name stay, the
// first, and one sum of what the others hold for rms.
func (p *profile) shrink() {
	if len(p.buckets) == 0 {
		return
	}
	named := map[int]bool{p.worst().worst: true}
	for _, r := range p.records() {
		named[r.Position] = true
	}
	kept := []bucket{p.buckets[0]}
	for _, b := range p.buckets[1:] {
		if named[b.worst] {
			kept = append(kept, b)
			continue
		}
		last := &kept[len(kept)-1]
		last.sumRel2 += b.sumRel2
		last.counted += b.counted
	}
	p.buckets = slices.Clone(kept)
}

// logitsRows keeps what is judged of each logits row.
type logitsRows struct {
	kl, noise, margins []float64 // by row
	flipNoise          []float64 // noise of the rows of flips
	overlap, rank      float64
	flips              []Flip
	same               int
}

func (l *logitsRows) add(position int, r metric.LogitsRow, s *metric.Stats) {
	l.kl = append(l.kl, r.KL)
	l.noise = append(l.noise, s.RMSE())
	l.margins = append(l.margins, r.Margin)
	l.overlap += r.TopKOverlap
	l.rank += r.RankCorrelation
	if r.Agrees() {
		l.same++
		return
	}
	l.flipNoise = append(l.flipNoise, s.RMSE())
	l.flips = append(l.flips, Flip{Position: position, Reference: r.RefTop, Candidate: r.CandTop, Gap: Value(r.Gap)})
}

// noiseReach is how many times the typical error of a logit a gap between two
// tokens may measure and still be closed by noise: both logits err, each
// normally distributed, and one in a thousand rows may reach this far.
const noiseReach = 4.5

// info sorts the flips into those that the logits' own noise explains and the
// real ones. The noise is the row's rmse, and at least the median row's: that
// the rows are as close as they should be is judged by other limits, and a flip
// that follows from an accepted distance says nothing more.
func (l *logitsRows) info() *LogitsInfo {
	in := &LogitsInfo{FlipsTotal: len(l.flips), Flips: []Flip{}}
	noise := metric.Percentile(slices.Clone(l.noise), 0.5)
	in.Noise = Value(noise)
	in.MarginP50 = Value(metric.Percentile(slices.Clone(l.margins), 0.5))
	for i, f := range l.flips {
		f.InNoise = float64(f.Gap) <= noiseReach*max(noise, l.flipNoise[i])
		if f.InNoise {
			in.FlipsInNoise++
		}
		in.Flips = append(in.Flips, f)
	}
	slices.SortStableFunc(in.Flips, func(a, b Flip) int {
		switch {
		case a.Gap > b.Gap:
			return -1
		case a.Gap < b.Gap:
			return 1
		}
		return a.Position - b.Position
	})
	in.Flips = in.Flips[:min(len(in.Flips), 20)]
	return in
}
