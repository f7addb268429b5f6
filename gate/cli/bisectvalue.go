package cli

import (
	"fmt"
	"math"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/metric"
)

// valueOf is the worst value of a metric at a checkpoint over all prompts.
func valueOf(r *gate.Result, checkpoint, name string) (float64, bool) {
	info, _ := metric.Lookup(name)
	worst, found := 0.0, false
	for _, c := range r.Checkpoints {
		v, ok := c.Metrics[name]
		if c.Name != checkpoint || !ok || math.IsNaN(float64(v)) {
			continue
		}
		x := float64(v)
		if !found || info.Direction == metric.HigherIsBetter && x < worst || info.Direction != metric.HigherIsBetter && x > worst {
			worst, found = x, true
		}
	}
	return worst, found
}

// between parts two values: in the middle of their orders of magnitude where
// both have one.
func between(x, y float64) float64 {
	if x > 0 && y > 0 && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
		return math.Sqrt(x) * math.Sqrt(y)
	}
	if math.IsInf(x, 0) || math.IsInf(y, 0) {
		return math.Copysign(math.MaxFloat64, x+y)
	}
	return x + (y-x)/2
}

// mostMoved names the checkpoint whose metric differs most, to be asked for.
func mostMoved(good, bad *gate.Result, name string) string {
	best, at, text := 0.0, "", ""
	for _, c := range good.Checkpoints {
		x, okX := valueOf(good, c.Name, name)
		y, okY := valueOf(bad, c.Name, name)
		if !okX || !okY || x == y {
			continue
		}
		if d := math.Abs(math.Log((math.Abs(y) + 1e-300) / (math.Abs(x) + 1e-300))); d > best {
			best, at, text = d, c.Name, fmt.Sprintf("%.6g to %.6g", x, y)
		}
	}
	if at == "" {
		return ""
	}
	return fmt.Sprintf("; %s moved most at %s, from %s (--checkpoint %s)", name, at, text, at)
}

// firstReason is why a run was incomplete.
func firstReason(r *gate.Result) string {
	if len(r.Reasons) > 0 {
		return r.Reasons[0]
	}
	return "nothing was measured"
}
