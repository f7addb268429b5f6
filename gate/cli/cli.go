// Package cli is paritygate's command line, one file a verb. Besides main it is
// the only package that may import everything.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/gate"
)

// Exit codes are API: scripts and CI decide by them.
const (
	exitPass       = 0
	exitFail       = 1
	exitInvalid    = 2 // the command line, the spec or a trace is not valid
	exitIncomplete = 3 // could not measure, was interrupted, or could not write a report
)

// Process is what the command line knows of the process around it.
type Process struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	// Terminal tells the width of the terminal that w writes to, or that it is
	// none. Nil asks the operating system.
	Terminal func(w io.Writer) (width int, ok bool)
}

// Main runs the command line args and returns the exit code. It never panics:
// a bug of the program's own is reported and exits 3, because the runtime's own
// code for a panic, 2, would blame the input.
func Main(ctx context.Context, args []string, p Process) (code int) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(p.Stderr, "paritygate: internal error: %v\n%s", r, debug.Stack())
			code = exitIncomplete
		}
	}()
	if p.Terminal == nil {
		p.Terminal = osTerminal
	}
	a := &app{Process: p, color: choice{value: "auto", of: []string{"auto", "always", "never"}}}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return a.code
	}
	return a.fail(ctx, cmd, err)
}

// app is one run of the program.
type app struct {
	Process
	color choice
	code  int // what the verb decided, when it returned no error
}

// codeError is an error that does not exit 2.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string { return e.err.Error() }
func (e *codeError) Unwrap() error { return e.err }

// usageError is an error of the command line itself.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// incomplete marks an error after which nothing can be said about parity.
func incomplete(format string, args ...any) error {
	return &codeError{exitIncomplete, fmt.Errorf(format, args...)}
}

// fail prints err and returns its exit code. Whatever no one marked otherwise
// is invalid input.
func (a *app) fail(ctx context.Context, cmd *cobra.Command, err error) int {
	var c *codeError
	marked := errors.As(err, &c)
	if ctx.Err() != nil && !marked {
		// Whatever failed, it failed because the run was interrupted.
		fmt.Fprintln(a.Stderr, "paritygate: interrupted; nothing was judged")
		return exitIncomplete
	}
	fmt.Fprintf(a.Stderr, "paritygate: %s\n", strings.TrimRight(err.Error(), "\n"))
	var u *usageError
	if errors.As(err, &u) {
		fmt.Fprintf(a.Stderr, "Run '%s --help' for its flags and examples.\n", cmd.CommandPath())
	}
	if marked {
		return c.code
	}
	return exitInvalid
}

// root is the command tree.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "paritygate",
		Short: "Say whether an inference engine still computes what a reference computes",
		Long: `Paritygate compares what two inference engines compute for the same tokens,
checkpoint by checkpoint, and judges the differences by the tolerances of a
spec, parity.yaml. Where they diverge it says from which layer on, by how much,
and what kind of mistake it looks like.

Exit codes:
  0  pass        everything required was measured and is within tolerance
  1  fail        measured, and out of tolerance
  2              the command line, the spec or a trace is not valid; nothing was run
  3  incomplete  could not measure: an engine crashed, hung or wrote no trace, the
                 inputs differ, something required is missing, the run was
                 interrupted, or a report could not be written`,
		Example: `  paritygate init && paritygate check && paritygate run
  paritygate compare reference.safetensors candidate.safetensors`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q%s", args[0], suggest(cmd, args[0]))
			}
			return nil
		},
		// A script whose verb went missing must not pass.
		RunE:          func(*cobra.Command, []string) error { return usagef("no command given") },
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       versionLine(),
	}
	root.SetVersionTemplate("{{.Version}}\n")
	// Cobra's own has the shorthand -v, which means verbose elsewhere.
	root.Flags().Bool("version", false, "print the version")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usagef("%v", err) })
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveDefault)
	flags := root.PersistentFlags()
	flags.Var(&a.color, "color", "colour the text report; auto: on a terminal unless NO_COLOR is set")
	completeChoice(root, "color", a.color.of)

	root.AddGroup(
		&cobra.Group{ID: "measure", Title: "Measure:"},
		&cobra.Group{ID: "spec", Title: "Write a spec:"},
		&cobra.Group{ID: "saved", Title: "Look at what was saved:"},
		&cobra.Group{ID: "history", Title: "Over time:"},
		&cobra.Group{ID: "actions", Title: "In GitHub Actions:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("measure", a.runCommand(), a.compareCommand(), a.captureCommand(), a.demoCommand())
	add("spec", a.initCommand(), a.checkCommand(), a.calibrateCommand(), a.schemaCommand())
	add("saved", a.reportCommand(), a.judgeCommand(), a.inspectCommand(), a.positionsCommand())
	add("history", a.baselineCommand(), a.bisectCommand())
	add("actions", a.actionCommand())
	root.AddCommand(a.versionCommand())
	root.SetHelpCommand(helpCommand())
	return root
}

// helpCommand is cobra's, but an unknown topic is an error.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Help about any command",
		Long:    "Prints the help of a command, like the command's --help.",
		Example: `  paritygate help compare`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			var names []string
			if len(args) == 0 {
				for _, c := range cmd.Root().Commands() {
					if c.IsAvailableCommand() && strings.HasPrefix(c.Name(), prefix) {
						names = append(names, c.Name())
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("no help for %q: it is no command", strings.Join(args, " "))
			}
			topic.InitDefaultHelpFlag()
			return topic.Help()
		},
	}
}

// suggest names commands that resemble what was typed.
func suggest(cmd *cobra.Command, typed string) string {
	cmd.SuggestionsMinimumDistance = 2
	if s := cmd.SuggestionsFor(typed); len(s) > 0 {
		return fmt.Sprintf("; did you mean %s?", strings.Join(s, " or "))
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return "; the commands are " + strings.Join(names, ", ")
}

// exactArgs refuses any other number of arguments and names the wanted ones.
func exactArgs(names ...string) cobra.PositionalArgs {
	return rangeArgs(len(names), names...)
}

// rangeArgs wants at least min of the named arguments.
func rangeArgs(min int, names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) >= min && len(args) <= len(names) {
			return nil
		}
		want := strings.Join(names, " and ")
		if len(args) > len(names) {
			return usagef("unexpected argument %q: want only %s", args[len(names)], want)
		}
		return usagef("missing argument: want %s", want)
	}
}

// conclude takes the exit code from a result.
func (a *app) conclude(r *gate.Result) { a.code = r.Outcome.ExitCode() }
