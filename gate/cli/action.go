package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/gate/action"
)

func (a *app) actionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "action",
		Short: "The steps of the GitHub Action",
		Long: `The steps of the GitHub Action, as action.yml runs them one after the other:
plan reads the event, the inputs, the base branch's spec and the baselines; run
runs the engines, in a container or on the host, without any token; report
publishes what results.json says and runs no engine; conclude exits as the gate
found. They read the runner's environment and the Action's inputs, and take no
flags.`,
		Example: `  paritygate action image .
  docker build --build-arg BASE=my/cuda:13 --tag "$(paritygate action image .)" .`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown step %q%s", args[0], suggest(cmd, args[0]))
			}
			return usagef("missing step: want plan, run, report, conclude or image")
		},
	}
	step := func(name, short, long string, do func(context.Context, *action.Step) (int, error)) {
		cmd.AddCommand(&cobra.Command{
			Use: name, Short: short, Long: long, Example: "  paritygate action " + name, Args: exactArgs(),
			RunE: func(cmd *cobra.Command, _ []string) error {
				code, err := do(cmd.Context(), a.actionStep())
				a.code = code
				if err != nil {
					return &codeError{code, err}
				}
				return nil
			},
		})
	}
	step("plan", "Read the event, the inputs and the base branch's spec",
		`Reads GITHUB_EVENT_PATH and the Action's inputs, refuses what must not be run, and
writes plan.json, the base branch's spec and the baselines that the run may be
held against into a private folder below RUNNER_TEMP. It sees the token, to ask
GitHub for them, and runs nothing of the change. Exits 2 with every mistake in
the inputs.`,
		func(ctx context.Context, s *action.Step) (int, error) { return s.Plan(ctx) })
	step("run", "Run the engines, without any token",
		`Runs the engines of the plan in a container or on the host, and writes
results.json into the plan's folder, whatever happens: a crash, a missing Docker
and a cancelled workflow are incomplete. Starts itself again first without the
variables of the job that are named like secrets.`,
		func(ctx context.Context, s *action.Step) (int, error) { return s.Run(ctx) })
	step("report", "Draw and publish the reports",
		`Reads results.json, draws the reports into a folder that no engine saw, and
writes comment, status, check run, summary, annotations and outputs. What cannot
be published is said and changes neither the outcome nor the exit code. In mode
refresh a run that passes is kept as the baseline of its commit; where it cannot
be kept, the exit code is 3. In mode approve it stores what a comment or label of
a pull request approves, says so, and writes no report; what is refused is 3.`,
		func(ctx context.Context, s *action.Step) (int, error) { return s.Report(ctx) })
	step("conclude", "Exit as the gate found",
		`Exits 0, 1, 2 or 3 as the gate found, as far as the input fail-on lets it, and
prints one line why.`,
		func(_ context.Context, s *action.Step) (int, error) { return s.Conclude() })
	cmd.AddCommand(a.imageCommand())
	return cmd
}

func (a *app) imageCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "image SOURCE",
		Short: "Print the name of the image that the Action builds of its source",
		Long: `Prints the name of the image that the Action looks for before it builds its own
Dockerfile in the folder SOURCE. Whoever prepares runners builds it ahead of time
under this name, from another base if need be.`,
		Example: "  paritygate action image .",
		Args:    exactArgs("SOURCE"),
		RunE: func(_ *cobra.Command, args []string) error {
			tag, err := action.ImageTag(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.Stdout, tag)
			return writeError(err)
		},
	}
}

// actionStep is the process as the Action's steps see it.
func (a *app) actionStep() *action.Step {
	return &action.Step{Stdout: a.Stdout, Stderr: a.Stderr, Getenv: a.Getenv, Version: currentVersion()}
}
