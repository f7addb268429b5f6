package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/fatih/color"
	"github.com/paritygate/paritygate/gate"
)

// TextOptions are the options of the report for a terminal.
type TextOptions struct {
	// Color writes ANSI colours; the caller knows whether there is a terminal.
	Color bool
	// Width in columns; 0 is 100, less than 60 counts as 60.
	Width int
	// Verbose shows every checkpoint, reason, flip and garbage entry.
	Verbose bool
}

// Rows of the first prompt's table and of the others' when not verbose.
const (
	firstTable = 40
	otherTable = 16
)

// Text writes the report for people in a terminal: the verdict with the worst
// checkpoint in the first line, then why, where it begins, what it looks like,
// how much was compared, the checkpoints in forward order, and how to get the
// same again.
func Text(w io.Writer, r *gate.Result, o TextOptions) error {
	if o.Width == 0 {
		o.Width = textWidth
	}
	t := &text{v: newView(r), o: o, width: max(60, o.Width), paint: newPaint(o.Color)}
	t.verdict()
	t.compared()
	for i, p := range t.v.prompts {
		t.prompt(p, i)
	}
	t.lines("Garbage", t.v.garbageLines(plain, t.most(6)))
	t.lines("Last output", t.v.outputs(plain))
	t.lines("Missing", t.v.missing(plain, t.most(6)))
	t.lines("Warnings", t.proseList(r.Warnings))
	t.lines("To do", t.v.advice(plain))
	t.lines("Reproduce", reproduce(r))
	t.timing()
	_, err := w.Write(t.b.Bytes())
	return err
}

// text is a report being written.
type text struct {
	v     *view
	o     TextOptions
	width int
	paint paint
	b     bytes.Buffer
}

// most is how many entries of a list are shown.
func (t *text) most(n int) int {
	if t.o.Verbose {
		return 1 << 30
	}
	return n
}

func (t *text) proseList(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, plain.prose(s))
	}
	return atMost(out, t.most(6))
}

// verdict writes the first screen's head: outcome, place, cause.
func (t *text) verdict() {
	r := t.v.r
	word := map[gate.Outcome]string{gate.Pass: "PASS", gate.Fail: "FAIL"}[r.Outcome]
	if word == "" {
		word = "INCOMPLETE"
	}
	head := t.v.headline(plain)
	if len(t.v.rows) > 0 && r.Outcome == gate.Fail && t.v.rows[0].check == nil && t.v.rows[0].limit != nil {
		head += " (" + origin(plain, t.v.rows[0].limit) + ")"
	}
	t.b.WriteString(t.paint.outcome(r.Outcome, word) + "  " + t.wrap(head, len(word)+2) + "\n")
	if r.Outcome == gate.Pass {
		t.b.WriteString("      " + t.wrap(orElse(t.v.nearest(plain), t.v.statusCounts()), 6) + "\n")
	} else {
		t.b.WriteString(strings.Repeat(" ", len(word)+2) + t.wrap(t.v.statusCounts(), len(word)+2) + "\n")
	}
	t.specLines()
	t.lines("Why", t.v.reasons(plain, t.most(6)))
	if s := t.v.firstDivergence(plain); s != "" {
		t.lines("First divergence", []string{s})
	}
	var causes []string
	for _, d := range r.Diagnosis {
		causes = append(causes, t.v.looksLike(plain, d)+": "+plain.prose(d.Evidence))
	}
	t.lines("Looks like", atMost(causes, t.most(3)))
}

// compared says what was held against what.
func (t *text) compared() {
	r := t.v.r
	list := []string{
		"reference  " + engineLine(plain, r.Engines.Reference),
		"candidate  " + engineLine(plain, r.Engines.Candidate),
	}
	for _, e := range r.Engines.Witnesses {
		list = append(list, "witness    "+witnessLine(plain, e))
	}
	if s := oracleLine(plain, r); s != "" {
		list = append(list, "oracle     "+s)
	}
	list = append(list, "spec       "+specLine(plain, r.Spec), "coverage   "+coverage(r.Coverage))
	if s := t.v.baselineLine(plain); s != "" {
		if age := t.v.baselineAge(plain); age != "no baseline" {
			s = strings.TrimPrefix(age, "baseline ") + ": " + s
		}
		list = append(list, "baseline   "+s)
	}
	t.lines("Compared", list)
}

// prompt writes one prompt's drift, table and logits.
func (t *text) prompt(p promptView, i int) {
	if len(p.rows) == 0 {
		t.lines(promptTitle(plain, p.info), []string{"nothing was compared"})
		return
	}
	t.title(promptTitle(plain, p.info))
	budget := firstTable
	if i > 0 {
		budget = otherTable
	}
	for n, l := range tableLines(p.rows, t.most(budget), t.width-2) {
		s := l.text
		switch {
		case n == 0:
			s = t.paint.faint(s)
		case l.status != "":
			s = t.paint.status(l.status, s)
		}
		t.b.WriteString("  " + s + "\n")
	}
	if drift := driftLine(p, t.width-2); drift != "" {
		t.b.WriteString("\n  " + drift + "\n")
	}
	for _, c := range p.logits() {
		t.b.WriteString("  " + t.wrap(logitsLine(plain, c.cp), 4) + "\n")
		if c.cp.Logits.FlipsTotal > 0 {
			for _, f := range flipLines(c.cp.Logits, t.most(3)) {
				t.b.WriteString("    " + t.wrap(f, 6) + "\n")
			}
		}
	}
}

// timing is the last line.
func (t *text) timing() {
	if s := timingLine(t.v.r.Timing); s != "" {
		t.b.WriteString("\n" + t.paint.faint(s) + "\n")
	}
}

func (t *text) title(s string) { t.b.WriteString("\n" + t.paint.bold(s) + "\n") }

// lines writes a titled list, or nothing when it is empty.
func (t *text) lines(title string, list []string) {
	if len(list) == 0 {
		return
	}
	t.title(title)
	for _, s := range list {
		t.b.WriteString("  " + t.wrap(s, 4) + "\n")
	}
}

// wrap breaks s at spaces; the lines after the first are indented by indent. A
// word that no line holds is not cut: its rest could begin a line as a command
// to the runner.
func (t *text) wrap(s string, indent int) string {
	var b strings.Builder
	column := indent
	// Runs of spaces inside are kept: they line words up.
	for i, word := range strings.SplitAfter(s, " ") {
		n := utf8.RuneCountInString(strings.TrimRight(word, " "))
		if i > 0 && n > 0 && column+n > t.width {
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		}
		b.WriteString(word)
		column += utf8.RuneCountInString(word)
	}
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// paint colours finished text; without colour it returns it as it is.
type paint struct{ on bool }

func newPaint(on bool) paint { return paint{on} }

func (p paint) with(s string, attributes ...color.Attribute) string {
	c := color.New(attributes...)
	// The caller decided: the library's own look at the terminal must not.
	if !p.on {
		return s
	}
	c.EnableColor()
	return c.Sprint(s)
}

func (p paint) bold(s string) string  { return p.with(s, color.Bold) }
func (p paint) faint(s string) string { return p.with(s, color.Faint) }

func (p paint) outcome(o gate.Outcome, s string) string {
	return p.with(s, map[gate.Outcome]color.Attribute{gate.Pass: color.FgGreen, gate.Fail: color.FgRed,
		gate.Incomplete: color.FgYellow}[o], color.Bold)
}

func (p paint) status(st gate.Status, s string) string {
	switch st {
	case gate.Failed:
		return p.with(s, color.FgRed)
	case gate.Passed:
		return s
	}
	return p.with(s, color.FgYellow)
}

// joined joins what is not empty.
func joined(separator string, parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, separator)
}

// promptTitle names a prompt with its length.
func promptTitle(say voice, p gate.PromptInfo) string {
	s := "Checkpoints"
	if p.Name != "" {
		s = "Prompt " + say.name(p.Name)
	}
	if p.Tokens > 0 {
		s += fmt.Sprintf(", %s", plural(p.Tokens, "token"))
	}
	return s
}
