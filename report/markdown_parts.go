package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/paritygate/paritygate/gate"
)

// judged are the rows that belong into the comment's table: what does not pass.
func (c *comment) judged() []row {
	for i, w := range c.v.rows {
		if w.severity == 0 {
			return c.v.rows[:i]
		}
	}
	return c.v.rows
}

// rows are the table's rows, worst first. The first divergence is among them:
// where errors pile up with depth, it is the least of what fails and says most.
func (c *comment) rows() []string {
	judged := c.judged()
	shown := judged[:min(tableRows, len(judged))]
	if first := c.first(); first != nil && !slices.ContainsFunc(shown, func(w row) bool { return w.cp == first.cp }) && len(shown) > 0 {
		shown = append(slices.Clone(shown[:len(shown)-1]), *first)
	}
	var out []string
	for _, w := range shown {
		out = append(out, c.tableRow(w))
	}
	return out
}

// first is the row of the first divergence, or nil.
func (c *comment) first() *row {
	d := c.v.r.FirstDivergence
	if d == nil {
		return nil
	}
	if w := c.v.find(d.Prompt, d.Checkpoint); w != nil && w.severity > 0 {
		return w
	}
	return nil
}

// tableRow is one checkpoint with the limit that stands worst.
func (c *comment) tableRow(w row) string {
	name := cell(w.cp.Name)
	if c.v.several() {
		name += " · " + cell(w.cp.Prompt)
	}
	if first := c.first(); first != nil && first.cp == w.cp {
		name += " (first)"
	}
	what, base, head, limit, moved, use := "–", "–", "–", "–", "–", "–"
	if w.limit != nil {
		if d := w.delta(w.limit.Metric); d != nil {
			base, moved = amount(d.Metric, d.Base), change(d)
		}
		value, bound := apart(w.limit.Metric, w.limit.Value, w.limit.Limit)
		what, head, use = cell(w.limit.Metric), value, used(w.limit)
		if w.broken > 1 {
			what += fmt.Sprintf(" and %s more", count(w.broken-1))
		}
		if limit = bound; w.limit.Level == "warn" {
			limit += " warns"
		}
		if ofBaseline(w.limit) {
			limit += " by " + w.limit.Source
		}
		limit += c.line(w.limit)
		for _, s := range []*string{&base, &head, &limit, &moved, &use} {
			*s = unbroken.Replace(*s)
		}
	}
	if w.beyondLimits() {
		what = escape(prefixRunes(w.check.Message, 120))
	}
	return fmt.Sprintf("| %s %s | %s | %s | %s | %s | %s | %s |\n", mark(w.cp.Status), name, what, base, head, limit, moved, use)
}

// unbroken keeps a number and its unit on one line of a narrow column.
var unbroken = strings.NewReplacer(" %", "\u00a0%", " ×", "\u00a0×")

// line names the spec's line of a limit, linked where that spec has an address.
func (c *comment) line(l *gate.AppliedLimit) string {
	switch {
	case l.Line <= 0:
		return ""
	case byBase(c.v.r.Spec, l):
		return " (base " + lineLink(l.Line, c.o.BaseSpecURL) + ")"
	}
	return " (" + lineLink(l.Line, c.o.SpecURL) + ")"
}

// tableNote says what the table leaves out.
func (c *comment) tableNote(shown int) string {
	if more := len(c.judged()) - shown; more > 0 {
		return "… " + count(more) + " more that do not pass."
	}
	return ""
}

// details are the folded parts.
func (c *comment) details() []detail {
	var out []detail
	add := func(title, body string) {
		if strings.TrimSpace(body) != "" {
			out = append(out, detail{title, body})
		}
	}
	if lines := c.v.outputs(markdown); len(lines) > 0 {
		add("The failed engine's last output", "- "+strings.Join(lines, "\n- "))
	}
	add("Changes of the spec", c.foldedChanges())
	add("Drift by depth", c.drift())
	add("Beside the baseline", c.besideBaseline())
	add("What the diagnosis rests on", c.evidence())
	add("Noise and flips of the top token", c.noise())
	add("Engines and environment", c.environment())
	add("How to reproduce", "```sh\n"+strings.Join(reproduce(c.v.r), "\n")+"\n```")
	return out
}

// driftRows bounds the rows of one prompt in the folded table.
const driftRows = 120

// drift is the sparkline with the numbers of every checkpoint. Inside a code
// block names have no meaning; a row never is a fence, because it begins with
// its mark.
func (c *comment) drift() string {
	var b strings.Builder
	if s := trendLine(markdown, c.v.r.Trend); s != "" {
		b.WriteString("Over depth: " + s + ".\n\n")
	}
	for _, p := range c.v.prompts {
		if len(p.rows) == 0 {
			continue
		}
		if c.v.several() {
			b.WriteString(promptTitle(markdown, p.info) + "\n\n")
		}
		b.WriteString("```text\n")
		if s := driftLine(p, 120); s != "" {
			b.WriteString(s + "\n\n")
		}
		for _, l := range tableLines(p.rows, driftRows, 120) {
			b.WriteString(l.text + "\n")
		}
		b.WriteString("```\n\n")
	}
	return b.String()
}

func (c *comment) evidence() string {
	if len(c.v.r.Diagnosis) == 1 && c.v.r.Outcome != gate.Pass {
		return "" // the head has it
	}
	var list []string
	for _, d := range c.v.r.Diagnosis {
		list = append(list, c.v.looksLike(markdown, d)+": "+escape(d.Evidence))
	}
	return bullets(atMost(list, 10))
}

func (c *comment) noise() string {
	var b strings.Builder
	for _, p := range c.v.prompts {
		for _, w := range p.logits() {
			where := ""
			if c.v.several() {
				where = promptTitle(markdown, p.info) + ", "
			}
			list := []string{where + logitsLine(markdown, w.cp), noiseLine(w.cp.Logits)}
			if w.cp.Logits.FlipsTotal > 0 {
				list = append(list, flipLines(w.cp.Logits, 20)...)
			}
			b.WriteString(bullets(list))
		}
	}
	return b.String()
}

func (c *comment) environment() string {
	r := c.v.r
	list := []string{"Reference: " + engineLine(markdown, r.Engines.Reference), "Candidate: " + engineLine(markdown, r.Engines.Candidate)}
	for _, e := range r.Engines.Witnesses {
		list = append(list, "Witness: "+witnessLine(markdown, e))
	}
	a, b := r.Engines.Reference.WeightsSHA256, r.Engines.Candidate.WeightsSHA256
	if a != "" && b != "" && a != b {
		list = append(list, "The engines ran **different weights files**.")
	}
	if s := environmentLine(markdown, r.Environment); s != "" {
		list = append(list, "Ran on "+s)
	}
	if s := timingLine(r.Timing); s != "" {
		list = append(list, "Time: "+s)
	}
	if r.Spec.Digest != "" {
		list = append(list, "Spec SHA-256 "+code(prefix(r.Spec.Digest, 12)))
	}
	if r.Spec.JudgedBy != "" {
		list = append(list, "Base branch's spec SHA-256 "+code(prefix(r.Spec.JudgedBy, 12)))
	}
	return bullets(atMost(list, 30))
}

// prefixRunes cuts a sentence at n runes.
func prefixRunes(s string, n int) string { return clean(sentence(s), n) }
