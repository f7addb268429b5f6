package report

import (
	"fmt"
	"strings"

	"github.com/paritygate/paritygate/gate"
)

// logitsRows are the rows with whole logits, by prompt.
func (p promptView) logits() []row {
	var out []row
	for _, r := range p.rows {
		if r.cp.Logits != nil {
			out = append(out, r)
		}
	}
	return out
}

// logitsLine says how far the choice of tokens agrees: "the top token agrees at
// 96.9 % of 64 positions; 2 flips, 1 within the noise; KL mean 1.2e-4, max 0.003".
func logitsLine(say voice, c *gate.Checkpoint) string {
	l := c.Logits
	var parts []string
	if v, ok := c.Metrics["top1_agreement"]; ok {
		parts = append(parts, fmt.Sprintf("the top token agrees at %s of %s", amount("top1_agreement", v), plural(c.Rows, "position")))
	}
	switch l.FlipsTotal {
	case 0:
		parts = append(parts, "no flips")
	default:
		parts = append(parts, fmt.Sprintf("%s, %s within the measured noise", plural(l.FlipsTotal, "flip"), count(l.FlipsInNoise)))
	}
	var kl []string
	for _, stat := range []string{"mean", "p99", "max"} {
		if v, ok := c.Metrics["kl."+stat]; ok {
			kl = append(kl, stat+" "+amount("kl."+stat, v))
		}
	}
	if kl != nil {
		parts = append(parts, "KL "+strings.Join(kl, ", ")+" nats")
	}
	return say.name(c.Name) + ": " + strings.Join(parts, "; ")
}

// flipLines lists flips, those beyond the noise first as they are stored.
func flipLines(l *gate.LogitsInfo, limit int) []string {
	var out []string
	for _, f := range l.Flips[:min(limit, len(l.Flips))] {
		s := fmt.Sprintf("position %s: token %s became %s, gap %s", count(f.Position),
			count(f.Reference), count(f.Candidate), digits(float64(f.Gap), significant))
		if f.InNoise {
			s += ", within the noise"
		}
		out = append(out, s)
	}
	if more := l.FlipsTotal - len(out); more > 0 {
		out = append(out, count(more)+" more")
	}
	return out
}

// noiseLine says what flips were held against.
func noiseLine(l *gate.LogitsInfo) string {
	return fmt.Sprintf("a logits row typically differs by %s (rmse); the reference's first and second token are %s apart at the median",
		digits(float64(l.Noise), significant), digits(float64(l.MarginP50), significant))
}
