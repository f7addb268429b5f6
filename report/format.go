// Package report draws the reports of a run: text for people, results.json,
// the pull request comment in Markdown, and JUnit XML.
//
// Every report is a function of results.json alone, so that it can be drawn
// again later with the same bytes. Names in a result come from traces and
// specs that are not trusted: each report escapes them for its own format.
package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/paritygate/paritygate/gate"
)

// Options are the options of all formats; each reads its own.
type Options struct {
	Text     TextOptions
	Markdown MarkdownOptions
}

// Renderer writes one report of r to w. Errors are those of w, or say which
// option is not valid.
type Renderer func(w io.Writer, r *gate.Result, o Options) error

// formats in the order that help and errors list them.
var formats = []struct {
	name   string
	render Renderer
}{
	{"text", func(w io.Writer, r *gate.Result, o Options) error { return Text(w, r, o.Text) }},
	{"json", func(w io.Writer, r *gate.Result, _ Options) error { return JSON(w, r) }},
	{"markdown", func(w io.Writer, r *gate.Result, o Options) error { return Markdown(w, r, o.Markdown) }},
	{"junit", func(w io.Writer, r *gate.Result, _ Options) error { return JUnit(w, r) }},
}

// Formats lists the names that Format knows.
func Formats() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

// Format returns the renderer of that name. The error names the valid ones.
func Format(name string) (Renderer, error) {
	for _, f := range formats {
		if f.name == name {
			return f.render, nil
		}
	}
	return nil, fmt.Errorf("format %q: want one of %s", name, strings.Join(Formats(), ", "))
}
