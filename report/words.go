package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/metric"
)

// voice is how a format writes untrusted words.
type voice struct {
	name  func(string) string // one name
	prose func(string) string // a sentence
	word  func(string) string // a few words in a sentence
}

var plain = voice{
	name:  func(s string) string { return clean(s, maxName) },
	prose: sentence,
	word:  func(s string) string { return sentenceOf(s, maxName) },
}

var markdown = voice{
	name:  code,
	prose: escape,
	word:  func(s string) string { return escapeOf(s, maxName) },
}

// place names a checkpoint, with its prompt where there are several.
func (v *view) place(say voice, prompt, checkpoint string) string {
	if !v.several() || prompt == "" {
		return say.name(checkpoint)
	}
	return say.name(checkpoint) + " of prompt " + say.name(prompt)
}

// headline is the verdict in one sentence: the worst checkpoint and how far
// over its limit it is, or why nothing could be judged.
func (v *view) headline(say voice) string {
	switch v.r.Outcome {
	case gate.Pass:
		n := len(v.r.Checkpoints)
		if n == 1 {
			return "the only checkpoint compared is within tolerance"
		}
		s := fmt.Sprintf("all %s checkpoints are within tolerance", count(n))
		if warned := v.counts[gate.Warned]; warned > 0 {
			s += fmt.Sprintf(", %s with warnings", count(warned))
		}
		return s
	case gate.Fail:
		if len(v.rows) > 0 && v.rows[0].severity == severity(gate.Failed) {
			return v.verdict(say, v.rows[0])
		}
		return v.firstReason(say, "out of tolerance")
	}
	return v.firstReason(say, "nothing could be judged")
}

func (v *view) firstReason(say voice, otherwise string) string {
	if len(v.r.Reasons) > 0 {
		return say.prose(v.r.Reasons[0])
	}
	return otherwise
}

// verdict says what stands worst about one checkpoint.
func (v *view) verdict(say voice, w row) string {
	place := v.place(say, w.cp.Prompt, w.cp.Name)
	switch {
	case w.beyondLimits():
		return place + ": " + say.prose(w.check.Message)
	case w.limit != nil && !w.limit.Within:
		if v.several() {
			place += ","
		}
		return place + " " + breach(say, w.limit)
	}
	return place + " is " + statusWord(w.cp.Status)
}

// breach says how far over its limit a value is: "rel_l2 3.1 % is 6.2 × its
// limit 0.5 %".
func breach(say voice, l *gate.AppliedLimit) string {
	value, limit := apart(l.Metric, l.Value, l.Limit)
	name := say.name(l.Metric)
	info, _ := metric.Lookup(l.Metric)
	use := float64(l.Use)
	its := "its limit "
	if ofBaseline(l) {
		its = "what " + l.Source + " allows, "
	}
	switch {
	case math.IsNaN(float64(l.Value)):
		return name + " is not a number, its limit is " + limit
	case info.Direction == metric.HigherIsBetter:
		return fmt.Sprintf("%s %s is below %s%s", name, value, its, limit)
	case math.IsNaN(use), math.IsInf(use, 0), use < 1.05:
		return fmt.Sprintf("%s %s is over %s%s", name, value, its, limit)
	}
	return fmt.Sprintf("%s %s is %s %s%s", name, value, used(l), its, limit)
}

// source says where a limit stands: "parity.yaml:14" or "preset f16".
func source(say voice, name string, line int) string {
	switch {
	case name == "":
		return "built in"
	case line > 0:
		return say.name(fmt.Sprintf("%s:%d", name, line))
	}
	return say.word(name)
}

// origin is source with what a computed limit rests on.
func origin(say voice, l *gate.AppliedLimit) string {
	if ofBaseline(l) {
		return fmt.Sprintf("line %d of the spec", l.Line)
	}
	s := source(say, l.Source, l.Line)
	if l.Explained > 0 {
		s += fmt.Sprintf(", %s × what rounding explains", digits(float64(l.Explained), 2))
	}
	return s
}

// nearest says which checkpoint takes most of a failing limit in a run that
// passes.
func (v *view) nearest(say voice) string {
	var most *gate.AppliedLimit
	var at *gate.Checkpoint
	for _, w := range v.rows {
		for i := range w.cp.Limits {
			l := &w.cp.Limits[i]
			if u := useOf(l); !l.Within || l.Level == "warn" || !(u > 0) || math.IsInf(u, 0) {
				continue
			}
			if most == nil || l.Use > most.Use {
				most, at = l, w.cp
			}
		}
	}
	if most == nil {
		return ""
	}
	value, limit := apart(most.Metric, most.Value, most.Limit)
	return fmt.Sprintf("closest to its limit: %s, %s %s, limit %s (%s used)",
		v.place(say, at.Prompt, at.Name), say.name(most.Metric), value, limit, used(most))
}

// statusCounts says how many checkpoints stand how: "9 fail, 1 warns, 24 pass
// (34 checkpoints)".
func (v *view) statusCounts() string {
	var parts []string
	for _, s := range []struct {
		status    gate.Status
		one, many string
	}{
		{gate.Failed, "fails", "fail"}, {gate.Unmeasured, "not measured", "not measured"},
		{gate.Warned, "warns", "warn"}, {gate.Passed, "passes", "pass"},
	} {
		switch n := v.counts[s.status]; n {
		case 0:
		case 1:
			parts = append(parts, "1 "+s.one)
		default:
			parts = append(parts, count(n)+" "+s.many)
		}
	}
	if parts == nil {
		return "no checkpoint was compared"
	}
	return strings.Join(parts, ", ") + " (" + plural(len(v.rows), "checkpoint") + ")"
}

// firstDivergence says where the engines part, or "".
func (v *view) firstDivergence(say voice) string {
	d := v.r.FirstDivergence
	if d == nil {
		return ""
	}
	value, limit := apart(d.Metric, d.Value, d.Limit)
	s := v.place(say, d.Prompt, d.Checkpoint)
	if d.Position >= 0 {
		s += " at position " + count(d.Position)
	}
	if d.Metric == "" {
		return s
	}
	return fmt.Sprintf("%s: %s %s, limit %s", s, say.name(d.Metric), value, limit)
}

// coverage says how much was compared: "all 34 checkpoints, 14 of 108
// positions, 10 of 151,936 values of a row".
func coverage(c gate.Coverage) string {
	s := joined(", ", share(c.Checkpoints, "checkpoint", ""), share(c.Positions, "position", ""), share(c.Elements, "value", " of a row"))
	return orElse(s, "nothing")
}

// share writes one count, or nothing when neither side has any.
func share(c gate.Count, one, rest string) string {
	switch total := max(c.Reference, c.Candidate, c.Compared); {
	case total == 0:
		return ""
	case c.Compared == total && total > 1:
		return "all " + plural(total, one) + rest
	default:
		return count(c.Compared) + " of " + plural(total, one) + rest
	}
}

// missing says which checkpoints one side lacks, required ones first.
func (v *view) missing(say voice, limit int) []string {
	var out []string
	for _, required := range []bool{true, false} {
		for _, m := range v.r.Coverage.Missing {
			if m.Required != required {
				continue
			}
			who := "the " + say.word(m.Side) + " lacks"
			if m.Side == "both" {
				who = "both engines lack"
			}
			s := who + " " + v.place(say, m.Prompt, m.Checkpoint)
			if required {
				s += " (required)"
			}
			if m.Reason != "" {
				s += ": " + say.word(m.Reason)
			}
			out = append(out, s)
		}
	}
	return atMost(out, limit)
}

// atMost cuts a list and says how much is left out.
func atMost(list []string, n int) []string {
	if len(list) <= n {
		return list
	}
	return append(list[:n:n], count(len(list)-n)+" more")
}

// looksLike says what kind of mistake a diagnosis names, without its evidence.
func (v *view) looksLike(say voice, d gate.Diagnosis) string {
	title := d.Title
	if title == "" {
		title = d.Kind
	}
	s := say.word(title)
	if d.Checkpoint != "" {
		s += " at " + say.name(d.Checkpoint)
	}
	return s + " (" + say.word(d.Confidence) + " confidence)"
}

// reasons are why the outcome is not pass, without the one that is the headline
// already.
func (v *view) reasons(say voice, limit int) []string {
	var out []string
	for i, r := range v.r.Reasons {
		if s := say.prose(r); i > 0 || s != v.headline(say) {
			out = append(out, s)
		}
	}
	return atMost(out, limit)
}

// garbageLines says which values no computation meant.
func (v *view) garbageLines(say voice, limit int) []string {
	kinds := map[string][2]string{
		"non_finite":   {"non-finite value", "non-finite values"},
		"huge":         {"value above the bound", "values above the bound"},
		"heap_pointer": {"heap pointer read as floats", "heap pointers read as floats"},
	}
	policies := map[string]string{
		"mask": "left out of every metric",
		"fail": "left out, and fails the run",
		"keep": "compared like any other value",
	}
	var out []string
	for _, g := range v.r.Garbage {
		kind, ok := kinds[g.Kind]
		if !ok {
			kind = [2]string{say.word(g.Kind), say.word(g.Kind)}
		}
		what := kind[1]
		if g.Count == 1 {
			what = kind[0]
		}
		s := fmt.Sprintf("%s, %s: %s %s", say.word(g.Engine), v.place(say, g.Prompt, g.Checkpoint), count(g.Count), what)
		if len(g.Positions) > 0 {
			s += "; positions " + numbers(g.Positions)
		}
		if len(g.Elements) > 0 {
			s += "; elements " + numbers(g.Elements)
		}
		out = append(out, s+"; "+orElse(policies[g.Policy], say.word(g.Policy)))
	}
	return atMost(out, limit)
}

// numbers lists the first few of a list.
func numbers(list []int) string {
	const most = 8
	var s []string
	for _, n := range list[:min(most, len(list))] {
		s = append(s, count(n))
	}
	if len(list) > most {
		s = append(s, "…")
	}
	return strings.Join(s, ", ")
}
