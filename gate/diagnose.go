package gate

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/paritygate/paritygate/gate/spec"
)

// Confidences of a diagnosis.
const (
	High   = "high"
	Medium = "medium"
	Low    = "low"
)

// diagnose looks at the first diverging checkpoint once more, at a sample of its
// rows, and says what kind of mistake its error looks like.
func diagnose(ctx context.Context, r *Result, pairs []Pair, s *spec.Spec) error {
	d := r.FirstDivergence
	if d == nil {
		return nil
	}
	out := garbageDiagnosis(r)
	for _, p := range pairs {
		if p.Prompt != d.Prompt || ctx.Err() != nil {
			continue
		}
		al := align(p.Reference, p.Candidate, s.Skip.Positions)
		at := slices.IndexFunc(al.checkpoints, func(a *aligned) bool { return a.name == d.Checkpoint })
		if at < 0 || al.checkpoints[at].partial() {
			break
		}
		found, err := diagnoseCheckpoint(r, al, al.checkpoints[at])
		if err != nil {
			return err
		}
		out = append(out, found...)
	}
	for _, a := range attribute(r) {
		// A layer without a pattern is said better by what it errs on its own.
		out = slices.DeleteFunc(out, func(o Diagnosis) bool { return o.Kind == "layer" && o.Checkpoint == a.Checkpoint })
		out = append(out, a)
	}
	for _, t := range trendDiagnosis(r) {
		// A jump where something more exact is known says nothing new.
		if !slices.ContainsFunc(out, func(o Diagnosis) bool { return t.Kind == "layer" && o.Checkpoint == t.Checkpoint }) {
			out = append(out, t)
		}
	}
	slices.SortStableFunc(out, func(a, b Diagnosis) int { return rankOf(a) - rankOf(b) })
	r.Diagnosis = append([]Diagnosis{}, out...)
	return ctx.Err()
}

// rankOf orders diagnoses: the most confident first. Where a pattern is known as
// well, that a layer errs comes behind it.
func rankOf(d Diagnosis) int {
	switch d.Kind {
	case "local_error":
		return 1
	case "reference_drifted", "oracle_differs":
		return -1 // patterns are told of the candidate
	}
	return map[string]int{High: 0, Medium: 1, Low: 2}[d.Confidence]
}

func diagnoseCheckpoint(r *Result, al *alignment, a *aligned) ([]Diagnosis, error) {
	now, err := newSample(a)
	if err != nil {
		return nil, err
	}
	var before *sample
	if a.previous != nil {
		if before, err = newSample(a.previous); err != nil {
			return nil, err
		}
	}
	if before != nil && len(before.positions) == len(now.positions) {
		keepFiniteTogether(now, before)
	} else {
		before = nil
		now.finite()
	}
	if len(now.positions) == 0 {
		return nil, nil
	}
	g := signatureOf(now, before, allowedOf(r, a.name))
	if before != nil && !g.nothingAdded {
		if err := g.compareLayers(al, a, now, before); err != nil {
			return nil, err
		}
	}
	return g.read(a.name, before != nil), nil
}

// keepFiniteTogether drops the rows that one of two samples of the same
// positions cannot use.
func keepFiniteTogether(a, b *sample) {
	var kept []int
	for i := range a.positions {
		if sound(a.ref[i]) && sound(a.cand[i]) && sound(b.ref[i]) && sound(b.cand[i]) {
			kept = append(kept, i)
		}
	}
	for _, s := range []*sample{a, b} {
		s.positions, s.ref, s.cand = pick(s.positions, kept), pick(s.ref, kept), pick(s.cand, kept)
	}
}

// allowedOf is the relative error that the limits let a row of a checkpoint have.
func allowedOf(r *Result, name string) float64 {
	allowed := 0.0
	for _, c := range r.Checkpoints {
		if c.Name != name {
			continue
		}
		for _, l := range c.Limits {
			switch l.Metric {
			case "added", "position_rms", "rel_l2", "worst_position":
				if allowed == 0 || float64(l.Limit) < allowed {
					allowed = float64(l.Limit)
				}
			}
		}
	}
	return allowed
}

// compareLayers looks for another layer of the reference whose contribution the
// candidate's resembles more than that of its own.
func (g *signature) compareLayers(al *alignment, a *aligned, now, before *sample) error {
	step := minus(now.cand, before.cand)
	g.ownMatch = cosineOf(step, minus(now.ref, before.ref))
	for _, other := range al.checkpoints {
		if other == a || other.previous == nil {
			continue
		}
		o, err := newSample(other)
		if err != nil {
			return err
		}
		p, err := newSample(other.previous)
		if err != nil {
			return err
		}
		if !slices.Equal(o.positions, now.positions) || o.width != now.width || !slices.Equal(p.positions, now.positions) {
			continue
		}
		if c := cosineOf(step, minus(o.ref, p.ref)); c > g.resemblance {
			g.resemblance, g.resembles = c, other.name
		}
	}
	return nil
}

func cosineOf(a, b [][]float64) float64 {
	return ratioOf(inner(a, b), math.Sqrt(inner(a, a)*inner(b, b)))
}

// garbageDiagnosis names garbage of the candidate, or kept garbage of either.
func garbageDiagnosis(r *Result) []Diagnosis {
	var out []Diagnosis
	for _, g := range r.Garbage {
		if g.Engine == "reference" && g.Policy == "mask" && g.Kind != "heap_pointer" {
			continue
		}
		where := fmt.Sprintf("%s of the %s: %s in elements %s, at positions %s", g.Checkpoint, g.Engine, plural(int(g.Count), "value"), list(g.Elements), list(g.Positions))
		d := Diagnosis{Kind: g.Kind, Checkpoint: g.Checkpoint, Confidence: Medium, Evidence: where}
		switch g.Kind {
		case "heap_pointer":
			d.Title, d.Confidence = "heap pointers: the buffer was freed or never written", High
			d.Evidence += "; each is a large low half followed by a zero or denormal high half"
		case "non_finite":
			d.Title = "NaN or infinity"
		default:
			d.Title = "uninitialised memory or overflow"
		}
		if g.Engine == "reference" {
			d.Title = "reference: " + d.Title
		}
		out = append(out, d)
	}
	return out
}

// list prints the first few numbers of a list.
func list(v []int) string {
	const shown = 8
	var words []string
	for _, x := range v[:min(len(v), shown)] {
		words = append(words, fmt.Sprint(x))
	}
	if len(v) > shown {
		words = append(words, "…")
	}
	return strings.Join(words, ", ")
}

// trendDiagnosis reads the drift over depth.
func trendDiagnosis(r *Result) []Diagnosis {
	var out []Diagnosis
	if j := r.Trend.Jump; j != nil {
		out = append(out, Diagnosis{Kind: "layer", Title: "one layer: " + layerName(j.Checkpoint), Checkpoint: j.Checkpoint, Confidence: Medium,
			Evidence: fmt.Sprintf("the divergence grows there %.3g × as much as at the typical layer", float64(j.Factor))})
	}
	// A jump early on, whose share the growing stream dilutes, looks like that, too.
	if r.Trend.Direction == "decreasing" && r.Trend.Jump == nil {
		out = append(out, Diagnosis{Kind: "decreasing_drift", Title: "drift shrinks with depth: check what is logged", Confidence: Low,
			Evidence: fmt.Sprintf("rel_l2 changes by a factor of %.3g a layer; errors add up in a residual stream, they do not leave it", float64(r.Trend.GrowthPerLayer))})
	}
	return out
}

// layerName is "layer 3" for layer_3_output, else the name itself.
func layerName(checkpoint string) string {
	if n, ok := layerOutput(checkpoint); ok {
		return fmt.Sprintf("layer %d", n)
	}
	return checkpoint
}
