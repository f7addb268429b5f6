package github

import (
	"cmp"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
	"github.com/sethvargo/go-githubactions"
)

const (
	// maxAnnotations is how many errors, and how many warnings, GitHub shows of a
	// step. The 11th is dropped without a word, so the last says how many more.
	maxAnnotations = 10
	// maxMessage is GitHub's limit of an annotation's message, in characters.
	maxMessage = 4096
	// maxTitle keeps a title in one line.
	maxTitle = 120
)

// annotation is one line of the spec with what the run found against it.
type annotation struct {
	level   string // "error" or "warning"
	file    string // of the repository; "" for the run as a whole
	line    int    // 0 without one
	title   string
	message string
}

// Annotations writes the findings as annotations on the spec's lines: each line
// once, with what stands worst there and how many more there are. specPath is
// the spec's path in the repository; without it, and for findings that belong to
// no line, the run as a whole is annotated. An error means that a's output could
// not be written.
func Annotations(a *githubactions.Action, r *gate.Result, specPath string) (err error) {
	defer recovered("annotations", &err)
	for _, n := range limited(annotationsOf(r, specPath), maxAnnotations) {
		fields := githubactions.CommandProperties{"title": n.title}
		if n.file != "" {
			fields["file"] = n.file
		}
		if n.line > 0 {
			fields["line"] = strconv.Itoa(n.line)
		}
		a.IssueCommand(&githubactions.Command{Name: n.level, Properties: fields, Message: n.message})
	}
	return nil
}

// recovered turns a panic of githubactions, which has no errors, into one.
func recovered(what string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s: %v", what, p)
	}
}

// spot is where findings are gathered.
type spot struct {
	level string
	line  int
}

// annotationsOf gathers the findings: errors first, of each level the run as a
// whole first, then the spec's lines, worst first.
func annotationsOf(r *gate.Result, specPath string) []annotation {
	file := safePath(specPath)
	at := map[spot][]gate.Finding{}
	var order []spot
	for _, f := range findings(r) {
		s := spot{level: "error"}
		if f.Level == "warn" {
			s.level = "warning"
		}
		if file != "" {
			s.line = specLine(r, f)
		}
		if at[s] == nil {
			order = append(order, s)
		}
		at[s] = append(at[s], f)
	}
	out := append(verdict(r, at), specChanges(r, file)...)
	for _, s := range order {
		if s == (spot{level: "error"}) && r.Outcome != gate.Pass {
			continue // the verdict counts them
		}
		n := annotation{level: s.level, title: "Parity: " + placeOf(at[s][0]), message: messageOf(at[s])}
		if s.line > 0 {
			n.file, n.line = file, s.line
		}
		out = append(out, n)
	}
	slices.SortStableFunc(out, func(a, b annotation) int { return strings.Compare(a.level, b.level) })
	for i := range out {
		out[i].title = report.Plain(out[i].title, maxTitle-1)
		out[i].message = report.Plain(out[i].message, maxMessage-1)
	}
	return out
}

// findings are all of a run, worst first: what fails before what warns, the
// worst checkpoint's before the others'.
func findings(r *gate.Result) []gate.Finding {
	out := slices.Clone(r.Findings)
	for _, c := range r.Checkpoints {
		out = append(out, c.Findings...)
	}
	slices.SortStableFunc(out, func(a, b gate.Finding) int {
		if a.Level != b.Level {
			return strings.Compare(a.Level, b.Level) // fail, incomplete, warn
		}
		return cmp.Compare(over(b), over(a))
	})
	return out
}

// over says how far over its limit a finding is. What is no matter of degree,
// as NaN, is farthest.
func over(f gate.Finding) float64 {
	v, l := float64(f.Value), float64(f.Limit)
	switch {
	case f.Metric == "" || math.IsNaN(v) || math.IsNaN(l) || v == 0 || l == 0:
		return math.Inf(1)
	}
	return max(v/l, l/v)
}

// specLine is the line of the spec's file at the head commit, 0 where the
// finding has none. Lines of the base branch's spec are not the head's.
func specLine(r *gate.Result, f gate.Finding) int {
	if f.Line <= 0 || r.Spec.Path == "" || f.Source != r.Spec.Path || r.Spec.JudgedBy != "" {
		return 0
	}
	return f.Line
}

// verdict annotates the run as a whole when it does not pass.
func verdict(r *gate.Result, at map[spot][]gate.Finding) []annotation {
	if r.Outcome == gate.Pass {
		return nil
	}
	n := annotation{level: "error", title: "Parity " + outcomeWord(r.Outcome), message: report.Headline(r)}
	if s := report.First(r); s != "" {
		n.message += "; first divergence: " + s
	}
	if more := len(at[spot{level: "error"}]); more > 1 {
		n.message += fmt.Sprintf("; %d findings without a line of the spec", more)
	}
	return []annotation{n}
}

// specChanges annotates the lines of the change's own spec that loosen it.
func specChanges(r *gate.Result, file string) []annotation {
	var out []annotation
	for _, c := range r.Spec.Changes {
		if c.Effect != "loosened" {
			continue
		}
		n := annotation{level: "warning", title: "Parity: loosened rule", message: fmt.Sprintf("%s: from %s to %s", c.What, orNone(c.From), orNone(c.To))}
		if !r.Spec.Approved {
			n.message += "; the base branch's spec judged instead"
		}
		if file != "" && c.Line > 0 {
			n.file, n.line = file, c.Line
		}
		out = append(out, n)
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "nothing"
	}
	return report.Plain(s, 200)
}

// placeOf names a finding's checkpoint, or its rule.
func placeOf(f gate.Finding) string {
	if f.Checkpoint != "" {
		return report.Plain(f.Checkpoint, 80)
	}
	return report.Plain(f.Rule, 80)
}

// messageOf says what stands worst in a list, and how many more.
func messageOf(list []gate.Finding) string {
	f := list[0]
	s := report.Plain(f.Message, 400)
	if f.Checkpoint != "" {
		s = report.Plain(f.Checkpoint, 80) + ": " + s
	}
	if f.Rule != "" {
		s += " (" + report.Plain(f.Rule, 200) + ")"
	}
	if more := len(list) - 1; more > 0 {
		s += fmt.Sprintf("; %d more", more)
	}
	return s
}

// limited keeps most annotations of each level, and lets the last of a level
// that has more say how many.
func limited(list []annotation, most int) []annotation {
	count := map[string]int{}
	for _, n := range list {
		count[n.level]++
	}
	var out []annotation
	seen := map[string]int{}
	for _, n := range list {
		if seen[n.level]++; seen[n.level] > most {
			continue
		}
		if more := count[n.level] - most; seen[n.level] == most && more > 0 {
			n.message = report.Plain(n.message, maxMessage-80) + fmt.Sprintf("; %d more lines of the spec are not annotated", more)
		}
		out = append(out, n)
	}
	return out
}

// safePath is a path inside the repository, "" for anything else.
func safePath(p string) string {
	p = path.Clean(strings.ReplaceAll(p, `\`, "/"))
	if p == "." || path.IsAbs(p) || p == ".." || strings.HasPrefix(p, "../") {
		return ""
	}
	return p
}
