package report

import (
	"github.com/paritygate/paritygate/gate"
)

// The functions here give other reporters, as a commit status or a workflow's
// outputs, the same words as the reports have. What they return is one line
// without control characters, whatever the names in r are.

// Headline is the verdict in one sentence: the worst checkpoint and how far over
// its limit it is, or why nothing could be judged.
func Headline(r *gate.Result) string { return newView(r).headline(plain) }

// Worst names the checkpoint that stands worst, with its prompt where there are
// several: the first row of every table. "" when no checkpoint was compared.
func Worst(r *gate.Result) string {
	v := newView(r)
	if len(v.rows) == 0 {
		return ""
	}
	return v.place(plain, v.rows[0].cp.Prompt, v.rows[0].cp.Name)
}

// First says where the engines part, as "layer_0_output at position 2 of haiku";
// "" where they do not.
func First(r *gate.Result) string {
	d := r.FirstDivergence
	if d == nil {
		return ""
	}
	s := plain.name(d.Checkpoint)
	if d.Position >= 0 {
		s += " at position " + count(d.Position)
	}
	if d.Prompt != "" {
		s += " of " + plain.name(d.Prompt)
	}
	return s
}

// Plain brings untrusted text to one line of at most limit runes and "…", fit
// for a log: control and other invisible characters are written as escapes.
func Plain(s string, limit int) string { return sentenceOf(s, limit) }

// EscapeMarkdown makes untrusted prose fit for a paragraph or a list item of
// GitHub's Markdown: it shows as it is written and means nothing.
func EscapeMarkdown(s string) string { return escape(s) }
