package gate

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/gonum/stat"

	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/spec"
)

const (
	// steady is how far a layer's factor may be from 1 for the drift to be stable.
	steady = 0.05
	// jumpTimes is how far a layer's growth stands out to be called a jump.
	jumpTimes = 3
)

// trendOf fits log rel_l2 of the layers' outputs over depth, every prompt alike,
// and names the layer whose growth stands out most.
func trendOf(r *Result) Trend {
	depths, means := depthProfile(r)
	t := Trend{GrowthPerLayer: Value(math.NaN())}
	if len(depths) >= 3 {
		_, slope := stat.LinearRegression(depths, means, nil, false)
		g := math.Exp(slope)
		t.GrowthPerLayer = Value(round9(g))
		switch {
		case g > 1+steady:
			t.Direction = "increasing"
		case g < 1/(1+steady):
			t.Direction = "decreasing"
		default:
			t.Direction = "stable"
		}
	}
	t.Jump = jumpOf(r)
	return t
}

// depthProfile is the mean log rel_l2 of each layer that differs at all.
func depthProfile(r *Result) (depths, means []float64) {
	sums, counts := map[int]float64{}, map[int]float64{}
	for _, c := range r.Checkpoints {
		layer, ok := layerOutput(c.Name)
		rel := float64(c.Metrics["rel_l2"])
		if !ok || !(rel > 0) || math.IsInf(rel, 0) {
			continue
		}
		sums[layer] += math.Log(rel)
		counts[layer]++
	}
	for layer := range sums {
		depths = append(depths, float64(layer))
	}
	slices.Sort(depths)
	for _, d := range depths {
		means = append(means, sums[int(d)]/counts[int(d)])
	}
	return depths, means
}

// layerOutput reads layer_N_output.
func layerOutput(name string) (int, bool) {
	n, ok := strings.CutPrefix(name, "layer_")
	if !ok {
		return 0, false
	}
	if n, ok = strings.CutSuffix(n, "_output"); !ok {
		return 0, false
	}
	layer, err := strconv.Atoi(n)
	return layer, err == nil
}

// jumpOf is the layer whose growth exceeds the typical layer's most. Growth is
// measured over what was inherited or, where that is less, over the preset's
// unit roundoff: out of nothing everything is a jump.
func jumpOf(r *Result) *Jump {
	floor := max(spec.Unit(r.Spec.Preset), 1e-9)
	var names []string
	var factors []float64
	for _, c := range r.Checkpoints {
		if _, ok := layerOutput(c.Name); !ok || c.Growth == nil {
			continue
		}
		f := float64(c.Metrics["rel_l2"]) / max(float64(c.Growth.Inherited), floor)
		if !math.IsNaN(f) {
			names, factors = append(names, c.Name), append(factors, f)
		}
	}
	if len(factors) < 3 {
		return nil
	}
	typical := max(metric.Percentile(slices.Clone(factors), 0.5), 1)
	at := 0
	for i, f := range factors {
		if f > factors[at] {
			at = i
		}
	}
	if factors[at] < jumpTimes*typical {
		return nil
	}
	return &Jump{Checkpoint: names[at], Factor: Value(round9(factors[at] / typical))}
}

// reasons are the findings for people, the gravest first, at most eight.
func reasons(r *Result, v *Verdict) []string {
	out := []string{}
	want := LevelFail
	if r.Outcome == Incomplete {
		want = LevelIncomplete
	}
	if r.Outcome == Pass {
		return out
	}
	fs := slices.Clone(v.Findings)
	slices.SortStableFunc(fs, func(a, b Finding) int { return compareUse(useOfFinding(b), useOfFinding(a)) })
	for _, f := range fs {
		if f.Level == want && !slices.Contains(out, f.Message) {
			out = append(out, f.Message)
		}
	}
	if len(out) == 0 {
		out = append(out, "nothing was compared")
	}
	if more := len(out) - 8; more > 0 {
		out = append(out[:8], fmt.Sprintf("%d more", more))
	}
	return out
}

func useOfFinding(f Finding) float64 {
	info, ok := metric.Lookup(f.Metric)
	if !ok || math.IsNaN(float64(f.Value)) {
		return math.Inf(1)
	}
	return useOf(info, float64(f.Value), float64(f.Limit))
}

func compareUse(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
