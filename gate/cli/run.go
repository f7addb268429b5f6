package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/spec"
)

// runFlags are the flags of run.
type runFlags struct {
	out     output
	traces  string
	prompts []string
	jobs    jobs
	judgeBy judgeBy
	held    heldFlags
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [SPEC]",
		Short: "Run the engines of a spec on the same tokens, compare and judge",
		Long: `Runs the reference and the candidate of a spec (parity.yaml if none is given) on
every prompt, captures every checkpoint, compares, judges and explains.
Witnesses are run and measured, never judged. Engines that use the GPU run one
after the other.

An engine that crashes, hangs or writes no trace makes the run incomplete: that
is exit code 3, not a fail. An interrupt kills the engines and exits 3, too.

A change may bring a spec of its own. With --judge-by the spec of the branch that
it goes into says what is run and judges; of the change's own, how the candidate
is started, and what is stricter. The report lists what differs. --approve-spec
accepts it, for that very state of the file: then the own spec alone counts.`,
		Example: `  paritygate run
  paritygate run nightly.yaml --out out --format markdown
  paritygate run --prompt haiku --keep-traces traces
  paritygate run --baseline branch:parity-baselines --base origin/main
  git show origin/main:parity.yaml > /tmp/base.yaml && paritygate run --judge-by /tmp/base.yaml`,
		Args:              rangeArgs(0, "SPEC"),
		ValidArgsFunction: completeFiles("yaml", "yml"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := loadSpec(specArg(args))
			if err != nil {
				return err
			}
			two, err := f.judgeBy.load(s)
			if err != nil {
				return err
			}
			if err := two.selectPrompts(s, f.prompts); err != nil {
				return err
			}
			h, err := f.held.hold(cmd.Context(), two.governing(s), folderOf(s.Path))
			if err != nil {
				return err
			}
			r, err := a.runEngines(cmd.Context(), s, two, h, &f)
			if err := errors.Join(err, h.end(r)); err != nil {
				return err
			}
			two.note(r)
			return errors.Join(a.emit(r, &f.out), h.keep(f.out.dir, r))
		},
	}
	f.out.add(cmd, true)
	flags := cmd.Flags()
	flags.StringVar(&f.traces, "keep-traces", "", "keep the engines' traces in the folder `DIR`")
	completeDirs(cmd, "keep-traces")
	flags.StringArrayVar(&f.prompts, "prompt", nil, "run only the prompt `NAME`; may be given several times")
	if err := cmd.RegisterFlagCompletionFunc("prompt", completePrompts); err != nil {
		panic(err)
	}
	f.judgeBy.add(cmd)
	f.held.add(cmd)
	f.jobs.add(cmd)
	return cmd
}

func (a *app) runEngines(ctx context.Context, s *spec.Spec, two twoSpecs, h *held, f *runFlags) (*gate.Result, error) {
	for _, one := range []*spec.Spec{s, two.base} {
		if one == nil {
			continue
		}
		if err := a.withGoldens(ctx, one); err != nil {
			return nil, err
		}
	}
	p := a.newProgress()
	p.start()
	defer p.end()
	options := gate.Options{Workers: int(f.jobs), Progress: p.Bytes, Version: currentVersion()}
	h.options(&options)
	return gate.Run(ctx, s, gate.RunOptions{
		Options:  options,
		Dir:      f.traces,
		Getenv:   a.Getenv,
		Status:   p.Step,
		Base:     two.base,
		Approved: two.approved,
	})
}

// selectPrompts leaves only the named prompts in s, in its order.
func selectPrompts(s *spec.Spec, names []string) error {
	if len(names) == 0 {
		return nil
	}
	for _, name := range names {
		if _, err := findPrompt(s, name); err != nil {
			return err
		}
	}
	s.Prompts = slices.DeleteFunc(slices.Clone(s.Prompts), func(p spec.Prompt) bool {
		return !slices.Contains(names, p.Name)
	})
	return nil
}

// findPrompt is the prompt of that name.
func findPrompt(s *spec.Spec, name string) (spec.Prompt, error) {
	i := slices.IndexFunc(s.Prompts, func(p spec.Prompt) bool { return p.Name == name })
	if i >= 0 {
		return s.Prompts[i], nil
	}
	if len(s.Prompts) == 0 {
		return spec.Prompt{}, errors.New(s.Path + " has no prompts")
	}
	return spec.Prompt{}, fmt.Errorf("%s has no prompt %q: it has %s", s.Path, name, orList(promptNames(s)))
}

func promptNames(s *spec.Spec) []string {
	names := make([]string, len(s.Prompts))
	for i, p := range s.Prompts {
		names[i] = p.Name
	}
	return names
}

// completePrompts completes prompt names from the spec of the command line.
func completePrompts(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	s, err := loadSpec(specArg(args))
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return promptNames(s), cobra.ShellCompDirectiveNoFileComp
}
