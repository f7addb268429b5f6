package cli

import (
	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/gate"
)

func (a *app) judgeCommand() *cobra.Command {
	var out output
	var specPath string
	var by judgeBy
	cmd := &cobra.Command{
		Use:   "judge RESULTS.json --spec SPEC",
		Short: "Judge a saved run under another spec",
		Long: `Judges the measurements of a saved results.json under another spec, without
running or measuring anything: limits, findings and outcome are replaced.

Only the spec's tolerances and requirements apply. What it skips or masks
decides what is measured, so changing that needs a new run or compare.

With --judge-by the spec of the base branch judges where SPEC differs from it, as
in paritygate run.`,
		Example: `  paritygate judge out/results.json --spec strict.yaml
  paritygate judge out/results.json --spec strict.yaml --format json --out judged
  paritygate judge out/results.json --spec parity.yaml --judge-by base.yaml`,
		Args:              exactArgs("RESULTS.json"),
		ValidArgsFunction: completeFiles("json"),
		RunE: func(_ *cobra.Command, args []string) error {
			if specPath == "" {
				return usagef("missing --spec: the spec to judge under")
			}
			s, err := loadSpec(specPath)
			if err != nil {
				return err
			}
			r, err := readResult(args[0])
			if err != nil {
				return err
			}
			two, err := by.load(s)
			if err != nil {
				return err
			}
			gate.JudgeBy(r, s, two.base, two.approved)
			two.note(r)
			return a.emit(r, &out)
		},
	}
	addSpecFlag(cmd, &specPath, "the spec `FILE` to judge under")
	by.add(cmd)
	out.add(cmd, true)
	return cmd
}
