package report

import (
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/paritygate/paritygate/gate"
)

// engineLine says what one engine was.
func engineLine(say voice, e gate.EngineInfo) string {
	var parts []string
	for _, s := range []string{e.Version, e.Model, e.ComputeDType, e.Device} {
		if s != "" {
			parts = append(parts, say.word(s))
		}
	}
	if e.WeightsSHA256 != "" {
		parts = append(parts, "weights "+say.name(prefix(e.WeightsSHA256, 12)))
	}
	switch e.Capture {
	case "exact":
		parts = append(parts, "capture changes nothing")
	case "disturbs":
		parts = append(parts, "capture changes the logits")
	}
	name := say.name(orElse(e.Name, orElse(e.Adapter, "not named")))
	return joined(" · ", append([]string{name}, parts...)...)
}

// witnessLine is engineLine with why it measured nothing: nothing else says so.
func witnessLine(say voice, e gate.EngineInfo) string {
	s := engineLine(say, e)
	if e.Failure != "" {
		s += " · failed: " + say.prose(e.Failure)
	}
	return s
}

// oracleLine says in one line how far both engines are from the oracle, "" without one.
func oracleLine(say voice, r *gate.Result) string {
	return joined("; ",
		farthest(say, r, "reference", r.Engines.Reference, func(o *gate.OracleInfo) gate.OracleError { return o.Reference }),
		farthest(say, r, "candidate", r.Engines.Candidate, func(o *gate.OracleInfo) gate.OracleError { return o.Candidate }))
}

// farthest says where an engine errs most by itself, in units of rounding; where
// no input of a checkpoint is known, where its whole error is largest.
func farthest(say voice, r *gate.Result, role string, e gate.EngineInfo, of func(*gate.OracleInfo) gate.OracleError) string {
	var most [2]float64
	var at [2]string
	for _, c := range r.Checkpoints {
		if c.Oracle == nil {
			continue
		}
		o := of(c.Oracle)
		for i, v := range []float64{float64(o.LocalRatio), float64(o.Explained)} {
			if v > most[i] || at[i] == "" && v >= 0 {
				most[i], at[i] = v, c.Name
			}
		}
	}
	i := 0
	if at[0] == "" {
		i = 1
	}
	switch {
	case at[i] == "":
		return ""
	case most[i] == 0:
		return "the " + role + " is exact"
	}
	s := fmt.Sprintf("the %s errs by at most %s × what %s rounding costs, at %s", role, digits(most[i], significant), say.name(e.Profile), say.name(at[i]))
	if i == 1 {
		s += ", with what it inherits"
	}
	return s
}

// prefix is the start of a digest.
func prefix(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// specLine says what judged.
func specLine(say voice, s gate.SpecInfo) string {
	path := "built-in default"
	if s.Path != "" {
		path = say.name(s.Path)
	}
	return joined(", ", path, judgedBy(say, s), presetLine(say, s))
}

// judgedBy says under whose spec it ran, where that is not the change's own alone.
func judgedBy(say voice, s gate.SpecInfo) string {
	if s.JudgedBy == "" {
		return ""
	}
	return "under the base branch's " + say.name(prefix(s.JudgedBy, 12))
}

// presetLine says which preset applied and why.
func presetLine(say voice, s gate.SpecInfo) string {
	if s.Preset == "" {
		return ""
	}
	line := "preset " + say.word(s.Preset)
	if s.PresetFrom != "" && s.PresetFrom != "spec" {
		line += " (" + say.word(s.PresetFrom) + ")"
	}
	return line
}

// driftLine draws the divergence over depth of one prompt.
func driftLine(p promptView, width int) string {
	var rows []row
	for _, w := range p.rows {
		// Logits are on another scale than the states that lead to them.
		if w.cp.Logits == nil && w.cp.Name != "logits" {
			rows = append(rows, w)
		}
	}
	if len(rows) < 3 {
		return ""
	}
	const title = "drift by depth  "
	words := span(rows)
	width -= len(title) + 2 + utf8.RuneCountInString(words)
	return joined("  ", title+sparkline(rows, max(8, min(width, 60))), words)
}

// trendLine says how the divergence moves over the layers, or "".
func trendLine(say voice, t gate.Trend) string {
	if t.Direction == "" {
		return ""
	}
	s := t.Direction
	if g := float64(t.GrowthPerLayer); !math.IsNaN(g) && !math.IsInf(g, 0) && g != 0 {
		s += fmt.Sprintf(", %s × a layer", digits(g, significant))
	}
	if t.Jump != nil {
		s += fmt.Sprintf("; %s stands out, %s × the typical growth", say.name(t.Jump.Checkpoint), digits(float64(t.Jump.Factor), significant))
	}
	return s
}

// timingLine says how long what took, or "".
func timingLine(t gate.Timing) string {
	var parts []string
	for _, p := range []struct {
		what string
		s    gate.Value
	}{{"reference", t.Reference}, {"candidate", t.Candidate}, {"comparison", t.Compare}} {
		if p.s > 0 {
			parts = append(parts, p.what+" "+seconds(p.s))
		}
	}
	if t.Bytes > 0 {
		parts = append(parts, bytesOf(t.Bytes)+" of traces read")
	}
	return joined(", ", parts...)
}

// environmentLine says where it ran.
func environmentLine(say voice, e gate.Environment) string {
	var parts []string
	for _, s := range []string{e.Paritygate, joined("/", e.OS, e.Arch), e.CPU} {
		if s != "" {
			parts = append(parts, say.word(s))
		}
	}
	if len(parts) > 0 && e.Paritygate != "" {
		parts[0] = "paritygate " + parts[0]
	}
	if e.Kernel != "" {
		parts = append(parts, say.word(e.Kernel)+" kernel")
	}
	return joined(" · ", parts...)
}
