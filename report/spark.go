package report

import (
	"math"
	"strings"

	"github.com/paritygate/paritygate/gate"
)

// blocks are the heights of a sparkline.
var blocks = []rune("▁▂▃▄▅▆▇█")

// sparkline draws rel_l2 over depth, one block a checkpoint, on a log scale from
// the smallest to the largest. The scale spans a decade at least, so that noise
// looks flat. "·" is exactly zero, "×" not a number or infinite, "?" not
// measured. Over width, each block is the largest of its neighbours.
func sparkline(rows []row, width int) string {
	values := make([]float64, len(rows))
	for i, r := range rows {
		v, ok := r.cp.Metrics["rel_l2"]
		if values[i] = float64(v); !ok {
			values[i] = -1
		}
	}
	return Sparkline(values, width)
}

// Sparkline draws numbers of at least zero as sparkline does; what is below zero
// was not measured.
func Sparkline(values []float64, width int) string {
	values = squeeze(values, width)
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if v > 0 && !math.IsInf(v, 0) {
			low, high = min(low, math.Log10(v)), max(high, math.Log10(v))
		}
	}
	span := max(high-low, 1)
	var b strings.Builder
	for _, v := range values {
		switch {
		case math.IsNaN(v) || math.IsInf(v, 0):
			b.WriteRune('×')
		case v < 0:
			b.WriteRune('?')
		case v == 0:
			b.WriteRune('·')
		default:
			b.WriteRune(blocks[min(len(blocks)-1, int((math.Log10(v)-low)/span*float64(len(blocks))))])
		}
	}
	return b.String()
}

// squeeze reduces values to at most width, keeping the worst of each bucket.
func squeeze(values []float64, width int) []float64 {
	if len(values) <= width {
		return values
	}
	out := make([]float64, width)
	for i := range out {
		from, to := i*len(values)/width, (i+1)*len(values)/width
		out[i] = values[from]
		for _, v := range values[from:to] {
			if math.IsNaN(v) || v > out[i] {
				out[i] = v
			}
		}
	}
	return out
}

// span says from where to where the divergence runs, and where it is largest.
func span(rows []row) string {
	var first, last, peak *gate.Checkpoint
	for _, r := range rows {
		v, ok := r.cp.Metrics["rel_l2"]
		if !ok || math.IsNaN(float64(v)) {
			continue
		}
		if first == nil {
			first = r.cp
		}
		if last = r.cp; peak == nil || v > peak.Metrics["rel_l2"] {
			peak = r.cp
		}
	}
	if first == nil {
		return ""
	}
	of := func(c *gate.Checkpoint) string { return amount("rel_l2", c.Metrics["rel_l2"]) }
	s := of(first) + " → " + of(last)
	if peak != last {
		s += ", peak " + of(peak) + " at " + plain.name(peak.Name)
	}
	return s
}
