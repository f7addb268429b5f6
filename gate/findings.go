package gate

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/spec"
)

// broken is the finding of a limit that does not hold.
func broken(c *Checkpoint, a spec.Applied, l AppliedLimit) Finding {
	at := positionOf(c, a, l)
	a.Value = float64(l.Limit)
	f := Finding{Rule: a.Condition(), Level: a.Level, Prompt: c.Prompt, Checkpoint: c.Name, Position: at,
		Metric: a.Metric, Value: l.Value, Limit: l.Limit, Source: a.Source, Line: a.Line}
	switch {
	case math.IsNaN(float64(l.Value)):
		f.Message = fmt.Sprintf("%s %s is not a number", c.Name, a.Metric)
	case math.IsNaN(float64(l.Use)) || math.IsInf(float64(l.Use), 0):
		f.Message = fmt.Sprintf("%s %s is %s; its limit is %s", c.Name, a.Metric, number(a.Metric, l.Value), number(a.Metric, l.Limit))
	default:
		f.Message = fmt.Sprintf("%s %s is %s, %.3g × its limit %s", c.Name, a.Metric, number(a.Metric, l.Value), float64(l.Use), number(a.Metric, l.Limit))
	}
	if l.Explained > 0 {
		f.Message += fmt.Sprintf(" (%.3g × what %s rounding explains here)", float64(l.Explained), strings.TrimPrefix(a.Source, "preset "))
	}
	return f
}

// number prints a value as its metric is written.
func number(name string, v Value) string {
	info, _ := metric.Lookup(name)
	switch {
	case info.Percent:
		return strconv.FormatFloat(float64(v)*100, 'g', 3, 64) + " %"
	case info.Unit != "":
		return strconv.FormatFloat(float64(v), 'g', 3, 64) + " " + info.Unit
	}
	return strconv.FormatFloat(float64(v), 'g', 4, 64)
}

// positionOf is the first position that breaks the limit itself, or else the
// one that contributes most; −1 when the rows are not known.
func positionOf(c *Checkpoint, a spec.Applied, l AppliedLimit) int {
	figure := func(p ProfilePoint) Value { return p.RelL2 }
	limit := func(ProfilePoint) Value { return l.Limit }
	switch l.Metric {
	case "max_abs":
		figure = func(p ProfilePoint) Value { return p.MaxAbs }
	case "added":
		figure = func(p ProfilePoint) Value { return p.Added }
	case "top1_agreement":
		return firstRealFlip(c)
	case "worst_position":
		if a.Unit > 0 { // each row has its own
			limit = func(p ProfilePoint) Value { return Value(round9(a.Value * rowUnit(a.Unit, p.Position))) }
		}
	case "rel_l2", "position_rms":
	default:
		return c.Where.WorstPosition
	}
	for _, p := range c.Profile {
		if !(figure(p) <= limit(p)) {
			return p.Position
		}
	}
	return c.Where.WorstPosition
}

func firstRealFlip(c *Checkpoint) int {
	first := -1
	if c.Logits != nil {
		for _, f := range c.Logits.Flips {
			if !f.InNoise && earlier(f.Position, first) {
				first = f.Position
			}
		}
	}
	return first
}

func unmeasured(c *Checkpoint, a spec.Applied) Finding {
	why := "it was not measured at this checkpoint"
	if c.Compared < c.Width {
		why = fmt.Sprintf("only %d of %d values a row are known", c.Compared, c.Width)
	} else if c.Rows == 0 {
		why = "no position is shared"
	} else if c.Growth == nil && a.Metric == "added" {
		why = "the checkpoint before it is not known on both sides"
	}
	return Finding{Rule: a.Condition(), Level: LevelIncomplete, Prompt: c.Prompt, Checkpoint: c.Name, Position: -1, Metric: a.Metric,
		Value: Value(math.NaN()), Limit: Value(a.Value), Source: a.Source, Line: a.Line,
		Message: fmt.Sprintf("%s %s could not be judged: %s", c.Name, a.Metric, why)}
}

func nonFinite(c *Checkpoint) Finding {
	return Finding{Rule: "non-finite values agree", Level: LevelFail, Prompt: c.Prompt, Checkpoint: c.Name, Position: c.Where.WorstPosition,
		Metric: "max_abs", Value: Value(math.Inf(1)), Limit: 0, Source: "built in",
		Message: fmt.Sprintf("%s has %s where one side is not finite and the other differs", c.Name, plural(int(c.NonFinite), "value"))}
}

func flipsInNoise(c *Checkpoint, a spec.Applied, l AppliedLimit) Finding {
	return Finding{Rule: a.Condition(), Level: LevelWarn, Prompt: c.Prompt, Checkpoint: c.Name, Position: c.Logits.Flips[len(c.Logits.Flips)-1].Position,
		Metric: a.Metric, Value: c.Metrics["top1_agreement"], Limit: l.Limit, Source: a.Source, Line: a.Line,
		Message: fmt.Sprintf("%s of the top token within the logits' own noise (rmse %.3g): the reference's two best tokens were as close", plural(c.Logits.FlipsInNoise, "flip"), float64(c.Logits.Noise))}
}

// judgeEngines turns what kept an engine from measuring into findings.
func judgeEngines(v *Verdict, r *Result) {
	incomplete := func(rule, prompt, message string) {
		v.Findings = append(v.Findings, Finding{Rule: rule, Level: LevelIncomplete, Prompt: prompt, Position: -1,
			Value: Value(math.NaN()), Limit: Value(math.NaN()), Source: "built in", Message: message})
	}
	for _, e := range []struct {
		role string
		EngineInfo
	}{{"reference", r.Engines.Reference}, {"candidate", r.Engines.Candidate}} {
		if e.Failure != "" {
			incomplete("the engine measures", "", fmt.Sprintf("the %s measured nothing: %s", e.role, e.Failure))
		}
		if e.Capture == "disturbs" {
			incomplete("capture changes nothing", "", fmt.Sprintf("capturing changes the %s's own logits: what was measured is not what runs in production", e.role))
		}
	}
	for _, p := range r.Prompts {
		if p.InputsDiffer != "" {
			v.InputsDiffer = true
			incomplete("the engines get the same input", p.Name, "the engines did not get the same input: "+p.InputsDiffer)
		}
	}
}

// judgeCoverage holds the spec's requirements against what was compared.
func judgeCoverage(v *Verdict, r *Result, s *spec.Spec) {
	add := func(rule, prompt, checkpoint, message string) {
		v.Findings = append(v.Findings, Finding{Rule: rule, Level: LevelIncomplete, Prompt: prompt, Checkpoint: checkpoint, Position: -1,
			Value: Value(math.NaN()), Limit: Value(math.NaN()), Source: s.Path, Message: message})
	}
	for i := range r.Coverage.Missing {
		m := &r.Coverage.Missing[i]
		m.Required = slices.ContainsFunc(s.Require.Checkpoints, func(g string) bool { return spec.Match(g, m.Checkpoint) })
		if m.Required {
			add("require.checkpoints", m.Prompt, m.Checkpoint, fmt.Sprintf("%s is required and could not be compared: %s", m.Checkpoint, m.Reason))
		}
	}
	compared := map[string]int{} // positions over all prompts
	for _, c := range r.Checkpoints {
		compared[c.Name] += c.Rows
	}
	for _, g := range s.Require.Checkpoints {
		if !matchesAny(g, compared) {
			add("require.checkpoints", "", g, fmt.Sprintf("%s is required and no compared checkpoint matches", g))
		}
	}
	if s.Require.MinPositions > 0 {
		for _, name := range fewPositions(compared, s.Require) {
			add("require.min_positions", "", name, fmt.Sprintf("%s was compared at %s; %d are required", name, plural(compared[name], "position"), s.Require.MinPositions))
		}
	}
	if len(compared) == 0 && len(v.Findings) == 0 {
		// Whatever else is wrong has been said; this is the reason when nothing is.
		add("something is compared", "", "", "the two traces have nothing in common: no checkpoint and position is in both")
	}
}

func matchesAny(glob string, names map[string]int) bool {
	for n, positions := range names {
		if positions > 0 && spec.Match(glob, n) {
			return true
		}
	}
	return false
}

// fewPositions lists the required checkpoints (or all, when none is required by
// name) that were compared at fewer positions than required.
func fewPositions(compared map[string]int, q spec.Require) []string {
	var out []string
	for name, n := range compared {
		required := len(q.Checkpoints) == 0 || slices.ContainsFunc(q.Checkpoints, func(g string) bool { return spec.Match(g, name) })
		if required && n < q.MinPositions {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
