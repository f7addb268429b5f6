package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
)

// output says where a result's reports go.
type output struct {
	format  choice
	dir     string
	verbose bool
}

// add declares --format, and --out where the verb measures or judges.
func (o *output) add(cmd *cobra.Command, files bool) {
	o.format = choice{value: "text", of: report.Formats()}
	cmd.Flags().VarP(&o.format, "format", "f", "the report on standard output")
	completeChoice(cmd, "format", o.format.of)
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "text: show every checkpoint, reason and garbage entry")
	if files {
		cmd.Flags().StringVarP(&o.dir, "out", "o", "", "also write results.json, comment.md, report.txt and junit.xml into the folder `DIR`")
		completeDirs(cmd, "out")
	}
}

func completeDirs(cmd *cobra.Command, flag string) {
	if err := cmd.MarkFlagDirname(flag); err != nil {
		panic(err)
	}
}

// emit writes the reports of r and takes its exit code. A report that cannot
// be written turns a pass into incomplete, because nobody can rely on it; it
// never hides a fail.
func (a *app) emit(r *gate.Result, o *output) error {
	a.conclude(r)
	var errs []error
	if o.dir != "" {
		if err := report.Write(o.dir, r); err != nil {
			errs = append(errs, fmt.Errorf("cannot write the reports into %s: %w", o.dir, err))
		}
	}
	if err := a.print(r, o); err != nil {
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil
	}
	code := a.code
	if code == exitPass {
		code = exitIncomplete
	}
	return &codeError{code, fmt.Errorf("outcome %s, but: %w", r.Outcome, errors.Join(errs...))}
}

// print draws one report on standard output.
func (a *app) print(r *gate.Result, out *output) error {
	render, err := report.Format(out.format.value)
	if err != nil {
		return err
	}
	var o report.Options
	o.Text.Color, o.Text.Verbose = a.colored(), out.verbose
	if width, ok := a.Terminal(a.Stdout); ok {
		o.Text.Width = width
	}
	var b bytes.Buffer
	if err := render(&b, r, o); err != nil {
		return fmt.Errorf("cannot draw the %s report: %w", out.format.value, err)
	}
	return a.write(b.Bytes())
}

// write puts b on standard output.
func (a *app) write(b []byte) error {
	n, err := a.Stdout.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return writeError(err)
}

// writeError marks a failure to write to standard output.
func writeError(err error) error {
	if err == nil {
		return nil
	}
	return incomplete("cannot write to standard output: %w", err)
}
