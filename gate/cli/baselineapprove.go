package cli

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/baseline/ledger"
	"github.com/paritygate/paritygate/baseline/store"
)

func (a *app) baselineApprove() *cobra.Command {
	var held heldFlags
	var from, by, reason, specPath string
	var pull int
	cmd := &cobra.Command{
		Use:   "approve DIGEST --from DIR --reason WHY",
		Short: "Accept a run as it is, and hold later ones against it",
		Long: `Accepts a run that changed its numbers on purpose. DIGEST is what the report of the
run shows; --from is the folder of its reports, as run --out or the Action's
artifact has it. Who approves and why is kept with it.

The approval counts for the change at once, by its commit, its files, its pull
request or its very numbers; for the branch from the commit on that merges it,
squashed or not. Later runs are held against the approved numbers, and slow
creep from there on, too.`,
		Example: `  paritygate baseline approve 3f2a91c07b5d88e1 --from out --reason "fused attention"
  paritygate baseline approve 3f2a91c07b5d88e1 --from artifact --pull 12 --by octocat --reason "bf16 logits"`,
		Args: exactArgs("DIGEST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if from == "" {
				return usagef("missing --from: the folder of the run's reports")
			}
			if pull < 0 {
				return usagef("--pull %d: want the number of a pull request", pull)
			}
			if strings.TrimSpace(reason) == "" {
				return usagef("missing --reason: why the numbers may change")
			}
			if by = cmp.Or(strings.TrimSpace(by), gitUser(cmd.Context())); by == "" {
				return usagef("missing --by: who approves; git config user.email does not say")
			}
			f := storeFlags{held: held, spec: specPath}
			st, err := f.open()
			if err != nil {
				return err
			}
			return a.approve(cmd.Context(), st, from, ledger.Approval{Digest: args[0], By: by, Reason: reason, Pull: pull, At: time.Now()})
		},
	}
	held.addStore(cmd)
	addSpecFlag(cmd, &specPath, "the spec `FILE` that names the store")
	cmd.Flags().Lookup("spec").DefValue = defaultSpec
	specPath = defaultSpec
	flags := cmd.Flags()
	flags.StringVar(&from, "from", "", "the folder `DIR` of the run's reports")
	completeDirs(cmd, "from")
	flags.StringVar(&reason, "reason", "", "`WHY` the numbers may change")
	flags.StringVar(&by, "by", "", "`WHO` approves (default git's user)")
	flags.IntVar(&pull, "pull", 0, "`NUMBER` of the pull request")
	return cmd
}

func (a *app) approve(ctx context.Context, st store.Store, from string, ap ledger.Approval) error {
	run, err := readRun(from)
	if err != nil {
		return err
	}
	if err := ap.Check(run.doc); err != nil {
		return err
	}
	v, err := st.Snapshot(ctx)
	if err != nil {
		return incomplete("%w", err)
	}
	// Its past is that of the newest baseline of its key; the run brings none.
	key := run.doc.Key.Digest()[:32]
	newest, _, err := ledger.Newest(ctx, v, key)
	if err != nil {
		return incomplete("%w", err)
	}
	l := &ledger.Ledger{Store: st}
	approved, err := l.Approve(ctx, run.doc, newest[key], ap)
	if err != nil {
		return incomplete("%w", err)
	}
	of := ""
	if ap.Pull > 0 {
		of = fmt.Sprintf(" for pull request %d", ap.Pull)
	}
	fmt.Fprintf(a.Stderr, "approved %s%s in %s, by %s: %s\n", approved.Numbers()[:16], of, st, plainWords(ap.By), plainWords(ap.Reason))
	return nil
}

// gitUser is who git says is working, "" where it does not know.
func gitUser(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "config", "user.email").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
