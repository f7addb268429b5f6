package cli

import (
	"github.com/spf13/cobra"
)

func (a *app) baselineCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "baseline COMMAND",
		Short: "Keep what accepted runs measured, and approve what changes on purpose",
		Long: `A baseline is what an accepted run measured: per checkpoint its metrics with their
spread, a fingerprint of the candidate's bits and sketches of its rows. Runs are
held against the one of the commit that they stand on.

Baselines lie in a store: dir:PATH is a folder, branch:NAME a branch of its own,
at the remote origin where there is one. The spec names it, or --baseline.`,
		Example: `  paritygate baseline update
  paritygate run --out out
  paritygate baseline approve 3f2a91c07b5d88e1 --from out --reason "fused attention"`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q%s", "baseline "+args[0], suggest(cmd, args[0]))
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error { return usagef("no command given") },
	}
	cmd.AddCommand(a.baselineUpdate(), a.baselineApprove(), a.baselineShow(), a.baselineDiff(), a.baselineHistory(), a.baselineVerify(), a.baselineGC(), a.goldenCommand())
	return cmd
}
