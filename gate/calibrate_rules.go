package gate

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/paritygate/paritygate/gate/metric"
)

// calibrated are the metrics that calibration writes limits for; a limit of each
// is an upper bound. worst_channel is what a mistake in one channel shows in.
var calibrated = []string{"rel_l2", "worst_channel", "worst_position", "added", "scale", "kl.mean"}

// standsOut is how many times the next largest noise a layer's own must be to
// get a rule of its own.
const standsOut = 3

// NoiseSeen is the largest value of a metric that sound runs showed, and where.
type NoiseSeen struct {
	Value      Value  `json:"value"`      // 0: bit-identical as far as this metric tells
	Checkpoint string `json:"checkpoint"` // canonical name, "" where Value is 0
	Prompt     string `json:"prompt"`
	Variant    string `json:"variant"`
}

// CalibratedLimit is one limit of one rule.
type CalibratedLimit struct {
	Rule   string    `json:"checkpoint"` // the rule's glob
	Metric string    `json:"metric"`     // registry name
	Limit  Value     `json:"limit"`      // inclusive
	Noise  NoiseSeen `json:"noise"`
	// Bug names the bug that the limit was tightened for, "" for none.
	Bug string `json:"bug"`
}

// observation is one measured value.
type observation struct {
	variant, prompt, checkpoint, metric string
	value                               float64
}

// observe lists the calibrated metrics of a result.
func observe(variant string, r *Result) []observation {
	var out []observation
	for _, c := range r.Checkpoints {
		for _, name := range calibrated {
			if v, ok := c.Metrics[name]; ok {
				out = append(out, observation{variant, c.Prompt, c.Name, name, float64(v)})
			}
		}
	}
	return out
}

var layerNumber = regexp.MustCompile(`^layer_\d+_`)

// classOf is the glob of the class that a checkpoint belongs to: all layers
// together, anything else alone.
func classOf(checkpoint string) string {
	if rest := layerNumber.ReplaceAllString(checkpoint, ""); rest != checkpoint {
		return "layer_*_" + literal(rest)
	}
	return literal(checkpoint)
}

var globSigns = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// literal is the glob that matches name alone.
func literal(name string) string { return globSigns.Replace(name) }

// place is where a metric is limited.
type place struct{ rule, metric string }

// limits are the limits of a calibration while it is made.
type limits struct {
	list []CalibratedLimit
	at   map[place]int    // into list
	own  map[place]string // the class that a layer's own limit stands beside
}

// limitsFromNoise makes a limit for every class and metric: margin × the largest
// noise, rounded up to two digits, and at least floor (floor² for kl.mean, which
// grows with the square of an error). A layer whose noise stands out gets a rule
// of its own, so that it does not loosen the others'. Metrics that somewhere
// came out as no number or as infinite get no limit: they are returned.
func limitsFromNoise(seen []observation, margin, floor float64) (l *limits, left []place) {
	largest, order := largestNoise(seen)
	l = &limits{at: map[place]int{}, own: map[place]string{}}
	members := map[place][]place{} // class and metric → checkpoints and metric
	var classes []place
	for _, p := range order {
		class := place{classOf(p.rule), p.metric}
		if members[class] == nil {
			classes = append(classes, class)
		}
		members[class] = append(members[class], p)
	}
	for _, class := range classes {
		if slices.ContainsFunc(members[class], func(p place) bool { v := float64(largest[p].Value); return math.IsNaN(v) || math.IsInf(v, 0) }) {
			left = append(left, class)
			continue
		}
		own, rest := outstanding(members[class], largest)
		l.add(class, worstOf(rest, largest), margin, floor)
		for _, p := range own {
			at := place{literal(p.rule), p.metric}
			l.own[at] = class.rule
			l.add(at, largest[p], margin, floor)
		}
	}
	l.sort()
	return l, left
}

// largestNoise is the largest value of each checkpoint and metric, and both in
// the order of their first measurement. NaN is larger than anything.
func largestNoise(seen []observation) (largest map[place]NoiseSeen, order []place) {
	largest = map[place]NoiseSeen{}
	for _, o := range seen {
		p := place{o.checkpoint, o.metric}
		before, known := largest[p]
		if !known {
			order = append(order, p)
			largest[p] = NoiseSeen{}
		}
		if o.value > float64(before.Value) || math.IsNaN(o.value) {
			largest[p] = NoiseSeen{Value(o.value), o.checkpoint, o.prompt, o.variant}
		}
	}
	return largest, order
}

// outstanding parts the members whose noise is more than standsOut times that of
// all others: at most a quarter of them, and only where there are three or more.
func outstanding(members []place, largest map[place]NoiseSeen) (own, rest []place) {
	sorted := slices.Clone(members)
	slices.SortStableFunc(sorted, func(a, b place) int {
		switch x, y := largest[a].Value, largest[b].Value; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	for k := 1; len(sorted) >= 3 && k <= max(1, len(sorted)/4); k++ {
		if largest[sorted[k-1]].Value > standsOut*largest[sorted[k]].Value {
			return sorted[:k], sorted[k:]
		}
	}
	return nil, members
}

func worstOf(members []place, largest map[place]NoiseSeen) NoiseSeen {
	var worst NoiseSeen
	for _, p := range members {
		if largest[p].Value > worst.Value {
			worst = largest[p]
		}
	}
	return worst
}

func (l *limits) add(at place, noise NoiseSeen, margin, floor float64) {
	if at.metric == "kl.mean" {
		floor *= floor
	}
	limit := max(roundUp(margin*float64(noise.Value)), floor)
	l.list = append(l.list, CalibratedLimit{Rule: at.rule, Metric: at.metric, Limit: Value(limit), Noise: noise})
}

// sort puts a class's limits together, its layers' own behind it, and each
// rule's metrics in the registry's order.
func (l *limits) sort() {
	first := map[string]int{}
	for i, c := range l.list {
		if _, ok := first[c.Rule]; !ok {
			first[c.Rule] = i
		}
	}
	group := func(c CalibratedLimit) int {
		if class, ok := l.own[place{c.Rule, c.Metric}]; ok {
			return first[class]
		}
		return first[c.Rule]
	}
	slices.SortStableFunc(l.list, func(a, b CalibratedLimit) int {
		if d := group(a) - group(b); d != 0 {
			return d
		}
		if d := first[a.Rule] - first[b.Rule]; d != 0 {
			return d
		}
		return metricOrder(a.Metric) - metricOrder(b.Metric)
	})
	for i, c := range l.list {
		l.at[place{c.Rule, c.Metric}] = i
	}
}

func metricOrder(name string) int {
	return slices.IndexFunc(metric.All(), func(i metric.Info) bool { return i.Name == name })
}

// holding is the limit that holds for a checkpoint and metric, nil without one.
func (l *limits) holding(checkpoint, metric string) *CalibratedLimit {
	for _, rule := range []string{literal(checkpoint), classOf(checkpoint)} {
		if i, ok := l.at[place{rule, metric}]; ok {
			return &l.list[i]
		}
	}
	return nil
}

// effect is how far a bug moved a metric, beside the limit that holds there.
type effect struct {
	observation
	limit *CalibratedLimit
}

// times is how many times the noise it is; infinite where there is none. kl.mean
// grows with the square of an error, and is brought to the others' measure.
func (e effect) times() float64 {
	if e.value == 0 {
		return 0
	}
	t := e.value / float64(e.limit.Noise.Value)
	if e.metric == "kl.mean" {
		t = math.Sqrt(t)
	}
	return t
}

// fails says that the limit fails the bug. NaN keeps to no limit.
func (e effect) fails() bool { return !(e.value <= float64(e.limit.Limit)) }

// clearest is the effect that stands out most from the noise; among equals the
// largest, then the first. False without effects.
func (l *limits) clearest(seen []observation) (best effect, ok bool) {
	for _, o := range seen {
		e := effect{o, l.holding(o.checkpoint, o.metric)}
		if e.limit == nil {
			continue
		}
		if math.IsNaN(e.value) {
			e.value = math.Inf(1)
		}
		if !ok || e.times() > best.times() || e.times() == best.times() && e.value > best.value {
			best, ok = e, true
		}
	}
	return best, ok
}

// tighten makes sure that a bug that stands out from the noise anywhere fails a
// limit: if none does, the limit at which it stands out most comes to lie
// between noise and bug. It reports the clearest effect, and whether the bug
// fails now; if not, it is below the noise everywhere.
func (l *limits) tighten(bug string, seen []observation, margin float64) (best effect, fails bool) {
	best, ok := l.clearest(seen)
	if !ok {
		return best, false
	}
	for _, o := range seen {
		if limit := l.holding(o.checkpoint, o.metric); limit != nil && (effect{o, limit}).fails() {
			return best, true
		}
	}
	if best.value <= float64(best.limit.Noise.Value) {
		return best, false
	}
	best.limit.Limit = Value(between(float64(best.limit.Noise.Value), best.value, margin))
	best.limit.Bug = bug
	return best, true
}

// between is a limit from noise on and below bug: their geometric mean, or
// bug/margin where there is no noise, with as few digits, from two on, as fit.
func between(noise, bug, margin float64) float64 {
	middle := math.Sqrt(noise) * math.Sqrt(bug)
	if noise == 0 {
		middle = bug / max(margin, 2)
	}
	for digits := 1; digits < 17; digits++ {
		v, err := strconv.ParseFloat(strconv.FormatFloat(middle, 'e', digits, 64), 64)
		if err == nil && v >= noise && v < bug {
			return v
		}
	}
	return noise
}

// roundUp is the smallest number of two digits that is not below v.
func roundUp(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return v
	}
	text := strconv.FormatFloat(v, 'e', 1, 64)
	if r, _ := strconv.ParseFloat(text, 64); r >= v { // what was just formatted
		return r
	}
	digits, exponent, _ := strings.Cut(text, "e")
	n, _ := strconv.Atoi(strings.Replace(digits, ".", "", 1))
	e, _ := strconv.Atoi(exponent)
	up, _ := strconv.ParseFloat(strconv.Itoa(n+1)+"e"+strconv.Itoa(e-1), 64)
	return up
}
