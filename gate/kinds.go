package gate

import (
	"fmt"
	"math"
)

// read turns the signature of one checkpoint into diagnoses, the most specific
// first. added says that the error is what a residual layer added.
func (g *signature) read(name string, added bool) []Diagnosis {
	for _, rule := range []func(string, bool) (Diagnosis, bool){
		g.shiftedRows, g.skippedLayer, g.fewRows, g.constantRatio, g.oneChannel, g.laterTokens, g.oneWeight, g.attention, g.window,
		g.layerOrder, g.epsilon, g.embedding, g.output, g.layerOnly,
	} {
		if d, ok := rule(name, added); ok {
			d.Checkpoint = name
			return []Diagnosis{d}
		}
	}
	return nil
}

// shiftedRows: the candidate's rows are the reference's of the next or previous position.
func (g *signature) shiftedRows(name string, _ bool) (Diagnosis, bool) {
	if g.shift == 0 {
		return Diagnosis{}, false
	}
	return Diagnosis{Kind: "shifted_positions", Title: "rows belong to other positions", Confidence: High,
		Evidence: fmt.Sprintf("row p of the candidate is row p%+d of the reference", g.shift)}, true
}

// skippedLayer: the layer's output is its input.
func (g *signature) skippedLayer(name string, _ bool) (Diagnosis, bool) {
	if !g.nothingAdded {
		return Diagnosis{}, false
	}
	return Diagnosis{Kind: "layer_skipped", Title: layerName(name) + " does nothing", Confidence: High,
		Evidence: "its output is its input in the candidate, and is not in the reference"}, true
}

// fewRows: most rows are right, some are not.
func (g *signature) fewRows(name string, _ bool) (Diagnosis, bool) {
	n := len(g.rel)
	wrong := n - g.exactRows()
	if n < 8 || wrong == 0 || wrong > n/4 || g.exactPrefix() == n-wrong && wrong > 1 || !g.apart() {
		return Diagnosis{}, false
	}
	var at []int
	for i, ok := range g.exact {
		if !ok {
			at = append(at, g.positions[i])
		}
	}
	d := Diagnosis{Kind: "positions", Title: "some positions: a stale or unwritten row", Confidence: Medium,
		Evidence: fmt.Sprintf("%d of %d positions differ (%s); the others agree to rounding", wrong, n, list(at))}
	if name == "embedding" {
		d.Kind, d.Title = "embedding", "embedding: rows of some tokens"
	}
	return d, true
}

// constantRatio: the candidate is a multiple of the reference.
func (g *signature) constantRatio(name string, added bool) (Diagnosis, bool) {
	if g.gainShare < 0.9 {
		return Diagnosis{}, false
	}
	d := Diagnosis{Kind: "multiplier", Title: "a multiplier", Confidence: High,
		Evidence: fmt.Sprintf("the candidate is %.5g × the reference; that explains %.3g %% of the error", 1+g.gain, 100*g.gainShare)}
	switch {
	case added:
		d.Title = "a multiplier in " + layerName(name) + ": a norm's weight or a scale"
		d.Evidence = fmt.Sprintf("what the layer adds is %.5g × the reference's; that explains %.3g %% of the error", 1+g.gain, 100*g.gainShare)
	case name == "embedding":
		d.Kind, d.Title = "embedding", "embedding: a scale"
	}
	return d, true
}

// oneChannel: one element of the rows holds the error.
func (g *signature) oneChannel(name string, _ bool) (Diagnosis, bool) {
	if g.channelShare < 0.5 {
		return Diagnosis{}, false
	}
	d := Diagnosis{Kind: "channel", Title: "one channel: a weight row, or an element of a norm or bias", Confidence: High,
		Evidence: fmt.Sprintf("channel %d holds %.3g %% of the error", g.channel, 100*g.channelShare)}
	if name == logitsName {
		d.Title = "one row of the output matrix"
		d.Evidence = fmt.Sprintf("token %d holds %.3g %% of the error", g.channel, 100*g.channelShare)
	}
	return d, true
}

// laterTokens: only the last position is right: the mask lets a token see the next.
func (g *signature) laterTokens(name string, added bool) (Diagnosis, bool) {
	n := len(g.exact)
	if !added || n < 8 || !g.last || !g.exact[n-1] || g.exactRows() > 1+n/8 || g.exact[0] {
		return Diagnosis{}, false
	}
	return Diagnosis{Kind: "rope_or_mask", Title: "attention mask: tokens see later ones", Confidence: High,
		Evidence: "the last position agrees and the others do not: only it has no later token to see"}, true
}

// attention: the first position is right. It attends to itself alone, so queries,
// keys, RoPE and the mask cannot change it.
func (g *signature) attention(name string, added bool) (Diagnosis, bool) {
	n, k := len(g.exact), g.exactPrefix()
	if !added || n < 4 || g.positions[0] != 0 || g.rel[0] > min(max(0.1*g.median, g.limit), 0.25*g.median) || k == 0 || k == n || k > 2 && !g.gradual(k) {
		return Diagnosis{}, false
	}
	rise := g.rise()
	d := Diagnosis{Kind: "rope_or_mask", Title: "RoPE or attention mask", Confidence: High,
		Evidence: fmt.Sprintf("position 0 agrees (%.2g) and the error rises with the position: %.3g × as large in the last quarter (%.2g) as at the start (%.2g)",
			g.rel[0], rise, mean(g.rel[n-n/4:]), mean(g.rel[1:max(3, n/10)]))}
	if rise < 1.5 {
		d.Kind, d.Title, d.Confidence = "attention_scores", "attention scores: Q, K, head order, scale or RoPE", Medium
		d.Evidence = fmt.Sprintf("position 0, which attends to itself alone, agrees (%.2g); the others differ (median %.2g), the late ones %.3g × as much as the early ones", g.rel[0], g.median, rise)
	}
	return d, true
}

// window: a longer start is right, and then nothing is.
func (g *signature) window(name string, added bool) (Diagnosis, bool) {
	n, k := len(g.exact), g.exactPrefix()
	if n < 8 || k < 3 || k == n || g.exactRows() > k+(n-k)/5 {
		return Diagnosis{}, false
	}
	title := "from one position on: window, batch boundary or KV cache"
	if !added {
		title = "from one position on: batch boundary or unwritten tail"
	}
	return Diagnosis{Kind: "window", Title: title, Confidence: Medium,
		Evidence: fmt.Sprintf("positions 0–%d agree, from %d on they differ", g.positions[k-1], g.positions[k])}, true
}

// layerOrder: the layer does what another one does in the reference.
func (g *signature) layerOrder(name string, added bool) (Diagnosis, bool) {
	if !added || g.resemblance < 0.3 || g.resemblance < 1.5*math.Max(g.ownMatch, 0.2) {
		return Diagnosis{}, false
	}
	return Diagnosis{Kind: "layer_order", Title: fmt.Sprintf("%s runs the weights of %s", layerName(name), layerName(g.resembles)), Confidence: Medium,
		Evidence: fmt.Sprintf("what it adds resembles what %s adds in the reference (cosine %.2f) more than its own (%.2f)", layerName(g.resembles), g.resemblance, g.ownMatch)}, true
}

// epsilon: rows err in proportion to 1/mean square of the layer's input.
func (g *signature) epsilon(name string, added bool) (Diagnosis, bool) {
	if !added || g.normCorrelation < 0.8 || g.normSteepness < 0.5 || g.normSteepness > 1.6 {
		return Diagnosis{}, false
	}
	return Diagnosis{Kind: "norm_epsilon", Title: "a norm's epsilon", Confidence: Medium,
		Evidence: fmt.Sprintf("rows are off in proportion to mean(x²)^−%.2f of the layer's input (correlation %.2f): the smallest suffer most", g.normSteepness, g.normCorrelation)}, true
}

// oneWeight: every row errs along the same vector.
func (g *signature) oneWeight(name string, _ bool) (Diagnosis, bool) {
	if g.oneDirection < 0.9 || len(g.rel) < 4 {
		return Diagnosis{}, false
	}
	return Diagnosis{Kind: "channel", Title: "one weight column inside the layer", Confidence: Medium,
		Evidence: fmt.Sprintf("all rows are off along one vector, which holds %.3g %% of the error", 100*g.oneDirection)}, true
}

// embedding: no pattern, but at the very start.
func (g *signature) embedding(name string, _ bool) (Diagnosis, bool) {
	if name != "embedding" {
		return Diagnosis{}, false
	}
	return Diagnosis{Kind: "embedding", Title: "embedding: lookup or position rows", Confidence: High,
		Evidence: fmt.Sprintf("the rows that enter the first layer differ already (median %.2g)", g.median)}, true
}

// output: the hidden states agree up to the end.
func (g *signature) output(name string, added bool) (Diagnosis, bool) {
	switch {
	case added:
		return Diagnosis{}, false
	case name == "final_norm":
		return Diagnosis{Kind: "final_norm", Title: "the final norm: its weight or its epsilon", Confidence: Medium,
			Evidence: "every layer's output agrees"}, true
	case name == logitsName:
		return Diagnosis{Kind: "output_head", Title: "the output matrix or what follows it", Confidence: Medium,
			Evidence: "everything before the logits agrees"}, true
	}
	return Diagnosis{}, false
}

// layerOnly: the layer, and nothing more can be said.
func (g *signature) layerOnly(name string, added bool) (Diagnosis, bool) {
	if !added {
		return Diagnosis{}, false
	}
	return Diagnosis{Kind: "layer", Title: layerName(name), Confidence: Medium,
		Evidence: fmt.Sprintf("its input agrees; what it adds is off by %.2g (median over positions), and the error has no simpler pattern", g.median)}, true
}
