package metric

import (
	"math"
	"slices"
)

// Partial is what a kernel found in one tile. It is reused from tile to tile;
// its slices are valid until the next.
type Partial struct {
	// Rows holds one Stats a row of the tile.
	Rows []Stats
	// Found names the first garbage elements, at most 16 of each side and kind.
	Found []GarbageElement

	ulp UlpHistogram
	// flips holds |r| of every pair with opposite signs: the top 16 bits of its
	// float32 pattern.
	flips []uint16
	// channels holds the tile's sums over rows, channelPlanes planes of width.
	channels []float64
	width    int

	// found counts what Found names. Rows of a group are measured together:
	// pending keeps what each found until all rows before it are done.
	found   garbageCounts
	pending [groupRows]struct {
		list  []GarbageElement
		count garbageCounts
	}
}

type garbageCounts [2][garbageKinds]int64

// The planes of channel sums.
const (
	planeDiff2 = iota // Σ(c−r)²
	planeRef2         // Σr²
	planeDiff         // Σ(c−r)
	planeCross        // Σ(c−r)·r
	channelPlanes
)

func (p *Partial) reset(rows, width int, channels bool) {
	if cap(p.Rows) < rows {
		p.Rows = make([]Stats, rows)
	}
	p.Rows = p.Rows[:rows]
	clear(p.Rows)
	p.Found = p.Found[:0]
	p.ulp = UlpHistogram{}
	p.flips = p.flips[:0]
	p.found = garbageCounts{}
	p.width = width
	n := 0
	if channels {
		n = channelPlanes * width
	}
	if cap(p.channels) < n {
		p.channels = make([]float64, n)
	}
	p.channels = p.channels[:n] // what they hold is up to the kernel
}

// report notes a garbage element of a row of the group in work.
func (p *Partial) report(row, element int, side Side, kind GarbageKind) {
	w := &p.pending[row%groupRows]
	if w.count[side][kind] < reportedGarbage {
		w.count[side][kind]++
		w.list = append(w.list, GarbageElement{Row: row, Element: element, Kind: kind, Side: side})
	}
}

// flush moves what the group's rows found to Found, row by row.
func (p *Partial) flush() {
	for i := range p.pending {
		w := &p.pending[i]
		for _, g := range w.list {
			if p.found[g.Side][g.Kind] < reportedGarbage {
				p.found[g.Side][g.Kind]++
				p.Found = append(p.Found, g)
			}
		}
		w.list, w.count = w.list[:0], garbageCounts{}
	}
}

// flip notes a pair whose signs differ.
func (p *Partial) flip(r float32) {
	p.flips = append(p.flips, uint16(math.Float32bits(r)>>16&0x7fff))
}

// plane is one plane of the tile's channel sums, nil without channels.
func plane(sums []float64, width, which int) []float64 {
	if len(sums) == 0 {
		return nil
	}
	return sums[which*width : (which+1)*width]
}

// Accumulator gathers one checkpoint from the partial results of its tiles.
// Merging in tile order makes the result independent of who measured them.
type Accumulator struct {
	stats                Stats
	rows                 int
	maxAbsRow, maxRelRow int
	ulp                  UlpHistogram
	flips                []int64
	channels             []float64
	width                int
	add                  func(dst, src []float64)
}

// NewAccumulator returns an empty accumulator for rows of that width.
func NewAccumulator(width int, cfg Config) *Accumulator {
	a := &Accumulator{width: width, maxAbsRow: -1, maxRelRow: -1, flips: make([]int64, 1<<15), add: opsFor(cfg).add}
	if !cfg.NoChannels {
		a.channels = make([]float64, channelPlanes*width)
	}
	return a
}

// Merge adds a tile's partial result. Tiles must come in order, and from
// kernels of the same width and configuration.
func (a *Accumulator) Merge(p *Partial) {
	for i := range p.Rows {
		s := &p.Rows[i]
		if s.seen() {
			if !a.stats.seen() || s.MaxAbs > a.stats.MaxAbs {
				a.maxAbsRow = a.rows + i
			}
			if !a.stats.seen() || s.MaxRel > a.stats.MaxRel {
				a.maxRelRow = a.rows + i
			}
		}
		a.stats.Merge(s)
	}
	a.rows += len(p.Rows)
	for b, n := range p.ulp {
		a.ulp[b] += n
	}
	for _, f := range p.flips {
		a.flips[f&0x7fff]++
	}
	if len(a.channels) == len(p.channels) {
		a.add(a.channels, p.channels)
	}
}

// Measures are the figures of one checkpoint.
type Measures struct {
	Stats
	// Rows is the number of rows merged; MaxAbsRow and MaxRelRow are the rows of
	// the maxima, counted in the order of merging, −1 when there is none.
	Rows, MaxAbsRow, MaxRelRow int
	Ulp                        UlpHistogram
	// UlpP99 is Ulp.Percentile(0.99), NaN after a mismatch.
	UlpP99 float64
	// SignFlips is the share of pairs with opposite signs and trunc(|r|) >
	// trunc(RMS × 1e-3), RMS being √(Σr²/N) and trunc keeping the top 16 bits of
	// the float32 pattern (8 of precision). NaN after a mismatch or when nothing
	// was compared.
	SignFlips float64
	// WorstChannel is the largest √(Σ(c−r)²/Σr²) of one channel over the
	// positions and WorstChannelAt the first channel that has it. A channel that
	// is zero in the reference alone has +Inf. NaN and −1 without channel sums;
	// NaN after a mismatch or when nothing was compared.
	WorstChannel   float64
	WorstChannelAt int
	// Channels is nil where the configuration leaves channel sums out.
	Channels *ChannelSums
}

// ChannelSums are sums over the positions, one a channel.
type ChannelSums struct {
	Diff2 []float64 // Σ(c−r)²
	Ref2  []float64 // Σr²
	Diff  []float64 // Σ(c−r): divided by the rows, a constant offset
	Cross []float64 // Σ(c−r)·r: divided by Ref2, a constant gain less one
}

// Result returns the figures of all that was merged. The accumulator may go on.
func (a *Accumulator) Result() *Measures {
	m := &Measures{
		Stats: a.stats, Rows: a.rows, MaxAbsRow: a.maxAbsRow, MaxRelRow: a.maxRelRow,
		Ulp: a.ulp, UlpP99: math.NaN(), SignFlips: math.NaN(),
		WorstChannel: math.NaN(), WorstChannelAt: -1,
	}
	if len(a.channels) > 0 {
		m.Channels = &ChannelSums{
			Diff2: slices.Clone(plane(a.channels, a.width, planeDiff2)),
			Ref2:  slices.Clone(plane(a.channels, a.width, planeRef2)),
			Diff:  slices.Clone(plane(a.channels, a.width, planeDiff)),
			Cross: slices.Clone(plane(a.channels, a.width, planeCross)),
		}
		worst := -1.0
		for i, d := range m.Channels.Diff2 {
			if v := ratio(d, m.Channels.Ref2[i]); v > worst || v != v {
				worst, m.WorstChannelAt = v, i
				if v != v {
					break
				}
			}
		}
		if !a.stats.undefined() {
			m.WorstChannel = math.Sqrt(worst)
		}
	}
	if !a.stats.undefined() {
		m.UlpP99 = a.ulp.Percentile(0.99)
		m.SignFlips = a.signFlips()
	}
	return m
}

func (a *Accumulator) signFlips() float64 {
	rms := math.Sqrt(a.stats.SumRef2 / float64(a.stats.N))
	floor := min(math.Float32bits(float32(rms*1e-3))>>16, 1<<15-1)
	var n int64
	for _, v := range a.flips[floor+1:] {
		n += v
	}
	return float64(n) / float64(a.stats.N)
}

// Metric returns the value of a registry metric of one checkpoint, by its
// name; false for the metrics of logits.
func (m *Measures) Metric(name string) (float64, bool) {
	switch name {
	case "sign_flips":
		return m.SignFlips, true
	case "worst_channel":
		return m.WorstChannel, true
	case "ulp_p99":
		return m.UlpP99, true
	}
	return m.Stats.Metric(name)
}
