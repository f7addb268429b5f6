package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/metric"
)

// What a limit's source is called that the baseline sets.
const (
	baselineSource = "the baseline"
	anchorSource   = "the anchor"
)

// ofBaseline says whether the baseline or the anchor set a limit.
func ofBaseline(l *gate.AppliedLimit) bool {
	return l.Source == baselineSource || l.Source == anchorSource
}

func deltasByPlace(r *gate.Result) map[[2]string][]*gate.BaselineDelta {
	out := map[[2]string][]*gate.BaselineDelta{}
	if r.Baseline != nil {
		for i := range r.Baseline.Deltas {
			d := &r.Baseline.Deltas[i]
			out[[2]string{d.Prompt, d.Checkpoint}] = append(out[[2]string{d.Prompt, d.Checkpoint}], d)
		}
	}
	return out
}

// baselineLimits are the limits that the baseline set and that do not hold, as
// limits like any other.
func baselineLimits(c *gate.Checkpoint, deltas []*gate.BaselineDelta) []gate.AppliedLimit {
	var out []gate.AppliedLimit
	for _, d := range deltas {
		if d.Within {
			continue
		}
		l := gate.AppliedLimit{Metric: d.Metric, Value: d.Head, Limit: d.Allowed, Use: useOfDelta(d), Level: gate.LevelFail, Source: baselineSource}
		if d.Against == "anchor" {
			l.Source = anchorSource
		}
		for _, f := range c.Findings {
			if f.Metric == d.Metric && strings.HasPrefix(f.Rule, "baseline") {
				l.Line = f.Line
			}
		}
		out = append(out, l)
	}
	return out
}

// useOfDelta is how much of what is allowed a value takes, as the use of a limit.
func useOfDelta(d *gate.BaselineDelta) gate.Value {
	if info, _ := metric.Lookup(d.Metric); info.Direction == metric.HigherIsBetter {
		return (1 - d.Head) / (1 - d.Allowed)
	}
	return d.Head / d.Allowed
}

// delta is what the baseline says of a row's metric, or nil.
func (w row) delta(name string) *gate.BaselineDelta {
	for _, d := range w.deltas {
		if d.Metric == name {
			return d
		}
	}
	return nil
}

// change is a delta for a table: "+12 %", or the difference where a share means
// nothing.
func change(d *gate.BaselineDelta) string {
	share := float64(d.Share)
	switch {
	case d.Delta == 0:
		return "0"
	case math.IsNaN(float64(d.Delta)):
		return "–"
	case math.IsNaN(share) || math.IsInf(share, 0) || math.Abs(share) >= 100:
		return signed(amount(d.Metric, d.Delta), float64(d.Delta))
	}
	return signed(digits(share*100, 2)+" %", share)
}

func signed(s string, v float64) string {
	if v > 0 {
		return "+" + s
	}
	return s
}

// baselineAge says in a few words which baseline there is.
func (v *view) baselineAge(say voice) string {
	b := v.r.Baseline
	if b == nil || b.State != gate.BaselineCompared {
		return "no baseline"
	}
	s := "baseline " + say.name(prefix(b.Commit, 12))
	if age := float64(b.AgeS); age >= 0 {
		s += ", " + ago(time.Duration(min(age, 1e9)*float64(time.Second))) + " old"
	}
	return s
}

// baselineLine says how the run stands beside the baseline, "" where nobody
// asked for one.
func (v *view) baselineLine(say voice) string {
	b := v.r.Baseline
	switch {
	case b == nil:
		return ""
	case b.State == gate.BaselineNone:
		return "none: " + say.prose(prefixRunes(b.Why, 300))
	case b.State == gate.BaselineInvalid:
		return "cannot be read: " + say.prose(prefixRunes(b.Why, 300))
	case b.State == gate.BaselineIncomparable:
		return "not comparable: " + say.prose(prefixRunes(b.Why, 300))
	case b.Why != "":
		return v.movedLine(say) + " (" + say.prose(prefixRunes(b.Why, 300)) + ")"
	}
	return v.movedLine(say)
}

// baseline is baselineLine as a sentence without its stop.
func (c *comment) baseline() string { return trimStop(c.v.baselineLine(markdown)) }

// movedLine says what moved since the baseline, worst first.
func (v *view) movedLine(say voice) string {
	b := v.r.Baseline
	same := fmt.Sprintf("%s of %s checkpoints", count(b.BitIdentical.Same), count(b.BitIdentical.Of))
	if b.BitIdentical.Of > 0 && b.BitIdentical.Same == b.BitIdentical.Of {
		return "bit-identical to the baseline (" + same + ")"
	}
	parts := []string{same + " are bit-identical"}
	switch b.BitIdentical.Same {
	case 0:
		parts = []string{"no checkpoint is bit-identical"}
	case 1:
		parts = []string{same + " is bit-identical"}
	}
	worst, best := v.extremes()
	if worst != nil {
		parts = append(parts, "worsened most: "+v.moved(say, worst))
	}
	if best != nil {
		parts = append(parts, "improved most: "+v.moved(say, best))
	}
	return strings.Join(parts, "; ")
}

func (v *view) moved(say voice, d *gate.BaselineDelta) string {
	return fmt.Sprintf("%s %s %s → %s (%s)", v.place(say, d.Prompt, d.Checkpoint), say.name(d.Metric), amount(d.Metric, d.Base), amount(d.Metric, d.Head), change(d))
}

// extremes are the judged measurements that moved most, for the worse and for
// the better; nil where none did. What broke its limit comes first, by its use of
// that limit, as in the table.
func (v *view) extremes() (worst, best *gate.BaselineDelta) {
	worsened := func(d *gate.BaselineDelta) float64 {
		if info, _ := metric.Lookup(d.Metric); info.Direction == metric.HigherIsBetter {
			return -float64(d.Share)
		}
		return float64(d.Share)
	}
	for i := range v.r.Baseline.Deltas {
		d := &v.r.Baseline.Deltas[i]
		x := worsened(d)
		switch {
		case d.Against == "" || d.Delta == 0:
		case !d.Within:
			if worst == nil || worst.Within || useOfDelta(d) > useOfDelta(worst) {
				worst = d
			}
		case x > 0 && (worst == nil || worst.Within && x > worsened(worst)):
			worst = d
		case x < 0 && (best == nil || x < worsened(best)):
			best = d
		}
	}
	return worst, best
}

// anchorLine says what slow creep is held against, "" without an anchor.
func (v *view) anchorLine(say voice) string {
	b := v.r.Baseline
	if b == nil || b.Anchor == nil {
		return ""
	}
	a := b.Anchor
	s := "Anchor: " + say.name(prefix(a.Commit, 12)) + ", " + say.word(a.Date)
	if a.ApprovedBy != "" {
		s += ", approved by " + say.name(a.ApprovedBy) + ": " + say.prose(prefixRunes(a.Reason, 300))
	}
	return s
}

// historyRows bounds the rows of the folded table.
const historyRows = 60

// besideBaseline is the table of all checkpoints beside the baseline, with the
// history of each; one metric a checkpoint, that which moved most.
func (c *comment) besideBaseline() string {
	b := c.v.r.Baseline
	if b == nil {
		return ""
	}
	var out strings.Builder
	out.WriteString(bullets(c.differences()))
	if b.State == gate.BaselineCompared {
		if s := c.v.anchorLine(markdown); s != "" {
			out.WriteString(s + ".\n\n")
		}
		rows := c.historyTable()
		shown := rows[:min(historyRows, len(rows))]
		if len(shown) > 0 {
			out.WriteString("| Layer | Metric | Anchor | Base | Head | Delta | Moved | Accepted runs |\n|---|---|--:|--:|--:|--:|--:|---|\n" + strings.Join(shown, ""))
		}
		if more := len(rows) - len(shown); more > 0 {
			out.WriteString("\n… " + count(more) + " more.\n")
		}
	}
	if b.Proposed != "" {
		out.WriteString("\nThis run's numbers: " + code(prefix(b.Proposed, 16)) + ", key " + code(prefix(b.Key, 12)) + ".\n")
	}
	return out.String()
}

func (c *comment) differences() []string {
	var list []string
	for _, d := range c.v.r.Baseline.Differences {
		list = append(list, "the "+escape(d.What)+" was "+code(d.Baseline)+" and is "+code(d.Here))
	}
	return atMost(list, 10)
}

func (c *comment) historyTable() []string {
	var out []string
	for _, p := range c.v.prompts {
		for _, w := range p.rows {
			d := w.farthest()
			if d == nil {
				continue
			}
			name := cell(w.cp.Name)
			if c.v.several() {
				name += " · " + cell(w.cp.Prompt)
			}
			moved := "–"
			switch m := float64(d.Moved); {
			case m == 0:
				moved = "same bits"
			case !math.IsNaN(m):
				moved = "≈ " + digits(m*100, 2) + " %"
			}
			values := make([]float64, len(d.History))
			for i, h := range d.History {
				values[i] = float64(h)
			}
			out = append(out, fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s |\n", name, cell(d.Metric), amount(d.Metric, d.Anchor),
				amount(d.Metric, d.Base), amount(d.Metric, d.Head), change(d), moved, Sparkline(values, 30)))
		}
	}
	return out
}

// farthest is the row's delta that a reader wants to see: one that broke its
// limit, or the judged one that moved most.
func (w row) farthest() *gate.BaselineDelta {
	if len(w.deltas) == 0 {
		return nil
	}
	return slices.MaxFunc(w.deltas, func(a, b *gate.BaselineDelta) int {
		rank := func(d *gate.BaselineDelta) float64 {
			switch s := math.Abs(float64(d.Share)); {
			case !d.Within:
				return math.Inf(1)
			case d.Against == "" || math.IsNaN(s):
				return -1
			default:
				return s
			}
		}
		switch x, y := rank(a), rank(b); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
}

// acceptance is the command that accepts a run which is worse than its baseline.
func (v *view) acceptance(say voice) string {
	b := v.r.Baseline
	if b == nil || b.Proposed == "" {
		return ""
	}
	return say.name("paritygate baseline approve "+prefix(b.Proposed, 16)+" --from DIR --reason WHY") + " with the folder of this run's reports"
}
