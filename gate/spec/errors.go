package spec

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Error is one mistake in a spec.
type Error struct {
	Path         string // as the user named it
	Line, Column int    // from 1; columns count characters
	Width        int    // characters to underline, at least 1
	Msg          string
	Choices      []string // what would have been valid, when that is a list
	Source       string   // the offending line, "" where there is none
}

// Error is the message with its place, the choices and the marked source line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: %s", e.Path, e.Line, e.Column, e.Msg)
	if len(e.Choices) > 0 {
		fmt.Fprintf(&b, " (valid: %s)", strings.Join(e.Choices, ", "))
	}
	if e.Source != "" {
		e.writeSource(&b)
	}
	return b.String()
}

// sourceWidth bounds how much of a long line is printed.
const sourceWidth = 120

func (e *Error) writeSource(b *strings.Builder) {
	line := []rune(e.Source)
	at := min(max(e.Column-1, 0), len(line))
	if at > sourceWidth*2/3 {
		cut := at - sourceWidth/3
		line, at = append([]rune("…"), line[cut:]...), at-cut+1
	}
	if len(line) > sourceWidth {
		line = append(slices.Clone(line[:sourceWidth-1]), '…')
	}
	pad := make([]rune, at)
	for i := range line {
		if i < at {
			pad[i] = ' '
			if line[i] == '\t' {
				pad[i] = '\t'
			}
		}
		// A spec may come from a stranger: nothing in it may steer the terminal.
		if line[i] != '\t' && !unicode.IsPrint(line[i]) {
			line[i] = utf8.RuneError
		}
	}
	gutter := fmt.Sprintf("%d", e.Line)
	blank := strings.Repeat(" ", len(gutter))
	marks := min(max(e.Width, 1), max(len(line)-at, 1))
	fmt.Fprintf(b, "\n%s |\n%s | %s\n%s | %s^%s", blank, gutter, string(line),
		blank, string(pad), strings.Repeat("~", marks-1))
}

// Errors are all mistakes of one spec, by line and column. It is never empty.
type Errors []*Error

// printedErrors bounds what Errors.Error prints; the rest is counted.
const printedErrors = 50

func (es Errors) Error() string {
	var b strings.Builder
	for i, e := range es {
		if i > 0 {
			b.WriteString("\n")
		}
		if i == printedErrors {
			fmt.Fprintf(&b, "%s: %d more errors", e.Path, len(es)-i)
			break
		}
		b.WriteString(e.Error())
	}
	return b.String()
}

// Unwrap gives errors.As each mistake.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

func (es Errors) sort() {
	slices.SortStableFunc(es, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
}

// errorAt adds a mistake at a place of the file.
func (d *decoder) errorAt(line, column, width int, format string, args ...any) *Error {
	e := &Error{Path: d.name, Line: max(line, 1), Column: max(column, 1), Width: width, Msg: fmt.Sprintf(format, args...)}
	if line >= 1 && line <= len(d.lines) {
		e.Source = d.lines[line-1]
	}
	d.errs = append(d.errs, e)
	return e
}

// errorf adds a mistake at a node.
func (d *decoder) errorf(n *yaml.Node, format string, args ...any) *Error {
	width := 1
	if n.Kind == yaml.ScalarNode && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		width = utf8.RuneCountInString(n.Value)
		if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
			width += 2
		}
	}
	return d.errorAt(n.Line, n.Column, width, format, args...)
}

// choose adds a mistake at a node that has a list of valid choices, and the
// nearest of them.
func (d *decoder) choose(n *yaml.Node, choices []string, format string, args ...any) {
	e := d.errorf(n, format, args...)
	e.Choices = choices
	if near := nearest(n.Value, choices); near != "" {
		e.Msg += fmt.Sprintf(", did you mean %s?", near)
	}
}

// nearest is the choice that a slip of the hand may have meant, or "".
func nearest(got string, choices []string) string {
	if got == "" || len(got) > 64 {
		return ""
	}
	fold := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }
	best, at := "", max(1, len(got)/3)+1
	for _, c := range choices {
		if dist := distance(fold(got), fold(c)); dist < at {
			best, at = c, dist
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour to make b of a.
func distance(a, b string) int {
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
