package github

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
)

// maxOutput bounds the outputs of one step; GitHub takes 1 MB for a whole job.
const maxOutput = 1 << 20

// Outputs are what later steps of a workflow can ask for.
type Outputs struct {
	Outcome  gate.Outcome
	ExitCode int
	// FirstDivergence is a sentence as "layer_0_output at position 2 of haiku",
	// WorstCheckpoint a name; "" where there is none.
	FirstDivergence, WorstCheckpoint string
	Results                          string // path of results.json
	Report                           string // path of the folder with all reports
	CommentURL                       string
}

// OutputsOf gathers the outputs of a run.
func OutputsOf(r *gate.Result, p Published, results, reports string) Outputs {
	return Outputs{Outcome: r.Outcome, ExitCode: r.Outcome.ExitCode(), FirstDivergence: report.First(r), WorstCheckpoint: report.Worst(r),
		Results: results, Report: reports, CommentURL: p.CommentURL}
}

// Write appends the outputs to the file that GITHUB_OUTPUT names. "" is no
// file, and no error. Each value is one line: no name of a checkpoint can begin
// an output of its own.
func (o Outputs) Write(file string) error {
	if file == "" {
		return nil
	}
	var b strings.Builder
	for _, v := range []struct{ name, value string }{
		{"outcome", o.Outcome.String()},
		{"exit-code", fmt.Sprint(o.ExitCode)},
		{"first-divergence", o.FirstDivergence},
		{"worst-checkpoint", o.WorstCheckpoint},
		{"results", o.Results},
		{"report", o.Report},
		{"comment-url", o.CommentURL},
	} {
		b.WriteString(v.name + "=" + outputValue(v.value) + "\n")
	}
	return appendTo(file, b.String(), maxOutput)
}

// outputValue takes control characters and line separators out.
func outputValue(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}
