package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/baseline/ledger"
)

func (a *app) baselineVerify() *cobra.Command {
	var f storeFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read every baseline of a store and say what is damaged",
		Long: `Reads every document of a store: its version, its digest, and whether it lies where
it belongs. Exits 1 when one is damaged, with its name and what is wrong, and 3
when the store holds none or cannot be read.`,
		Example: `  paritygate baseline verify`,
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := f.open()
			if err != nil {
				return err
			}
			right, damaged, err := (&ledger.Ledger{Store: st}).Verify(cmd.Context())
			if err != nil {
				return incomplete("%w", err)
			}
			switch all := right + len(damaged); {
			case len(damaged) > 0:
				var errs []error
				for _, d := range damaged {
					errs = append(errs, d)
				}
				return &codeError{exitFail, fmt.Errorf("%d of %d files of %s are damaged:\n%w", len(damaged), all, st, errors.Join(errs...))}
			case all == 0:
				return incomplete("%s holds no baseline: nothing was verified", st)
			}
			return a.write(fmt.Appendf(nil, "%s in %s, all of them right\n", plural(right, "baseline"), st))
		},
	}
	f.add(cmd, false)
	return cmd
}

func (a *app) baselineGC() *cobra.Command {
	var f storeFlags
	keep, dry := 100, false
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove baselines that are old",
		Long: `Removes all but the newest baselines of each key, and approvals that are older than
those. What cannot be read stays: verify names it. On a branch the history of the
branch keeps what was removed.`,
		Example: `  paritygate baseline gc --keep 50 --dry-run`,
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if keep < 1 {
				return usagef("--keep %d: want 1 at least", keep)
			}
			st, err := f.open()
			if err != nil {
				return err
			}
			removed, err := (&ledger.Ledger{Store: st}).Collect(cmd.Context(), keep, dry)
			if err != nil {
				return incomplete("%w", err)
			}
			what := "removed"
			if dry {
				what = "would remove"
			}
			return a.write(fmt.Appendf(nil, "%s %s\n%s", what, plural(len(removed), "baseline"), strings.Join(append(removed, ""), "\n")))
		},
	}
	f.add(cmd, false)
	cmd.Flags().IntVar(&keep, "keep", keep, "how `MANY` of each key stay")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be removed")
	return cmd
}
