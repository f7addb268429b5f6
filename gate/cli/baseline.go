package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/baseline"
	"github.com/paritygate/paritygate/baseline/ledger"
	"github.com/paritygate/paritygate/baseline/lineage"
	"github.com/paritygate/paritygate/baseline/store"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/spec"
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

// updateFlags are the flags of baseline update.
type updateFlags struct {
	held heldFlags
	runs int
	from string
	out  output
	jobs jobs
}

func (a *app) baselineUpdate() *cobra.Command {
	var f updateFlags
	cmd := &cobra.Command{
		Use:   "update [SPEC]",
		Short: "Run the gate, and keep what it measured as the baseline of this commit",
		Long: `Runs the gate of a spec on the commit that is checked out and, if it passes, keeps
what it measured as that commit's baseline. With --runs the gate runs several
times, and the spread of each measurement is kept, too. With --from nothing is
run: a run of before, whose folder --out it names, is kept.

A run that fails or is incomplete is refused, and the store stays as it is; the
exit code is the run's. Any number of updates may write to a store at once.`,
		Example: `  paritygate baseline update
  paritygate baseline update --runs 5
  paritygate run --out out && paritygate baseline update --from out`,
		Args:              rangeArgs(0, "SPEC"),
		ValidArgsFunction: completeFiles("yaml", "yml"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.runs < 1 || f.runs > 100 {
				return usagef("--runs %d: want 1 to 100", f.runs)
			}
			if f.from != "" && f.runs != 1 {
				return usagef("--from and --runs exclude each other: what is kept has been run")
			}
			s, err := loadSpec(specArg(args))
			if err != nil {
				return err
			}
			return a.updateBaseline(cmd.Context(), s, &f)
		},
	}
	f.held.add(cmd)
	for _, name := range []string{"no-baseline"} {
		if err := cmd.Flags().MarkHidden(name); err != nil {
			panic(err)
		}
	}
	cmd.Flags().IntVar(&f.runs, "runs", 1, "how `OFTEN` to run, for the spread of each measurement")
	cmd.Flags().StringVar(&f.from, "from", "", "keep the run whose reports lie in the folder `DIR`")
	completeDirs(cmd, "from")
	f.out.add(cmd, true)
	f.jobs.add(cmd)
	return cmd
}

func (a *app) updateBaseline(ctx context.Context, s *spec.Spec, f *updateFlags) error {
	st, err := f.held.open(s, folderOf(s.Path))
	if err != nil {
		return err
	}
	var docs []*baseline.Document
	var stands *ledger.Standing
	var r *gate.Result
	for range f.runs {
		doc, result, where, err := a.measureForUpdate(ctx, s, f)
		if err != nil {
			return err
		}
		if doc == nil {
			return a.emit(result, &f.out) // it does not pass; its reports say why
		}
		docs, r, stands = append(docs, doc), result, where
	}
	merged, err := baseline.Merge(docs...)
	if err != nil {
		return incomplete("%w", err)
	}
	if err := a.emit(r, &f.out); err != nil {
		return err
	}
	if stands.Head == "" {
		return incomplete("a baseline belongs to a commit: %s", stands.Note)
	}
	kept, err := a.accept(ctx, st, s, merged, stands)
	if err != nil {
		return incomplete("%w", err)
	}
	fmt.Fprintf(a.Stderr, "kept the baseline of %s in %s: %d checkpoints, digest %s\n", kept.Provenance.Commit[:12], st, len(kept.Measurements), kept.Digest()[:16])
	return nil
}

// measureForUpdate is one run, or the one of before. The document is nil where
// the run cannot become a baseline.
func (a *app) measureForUpdate(ctx context.Context, s *spec.Spec, f *updateFlags) (*baseline.Document, *gate.Result, *ledger.Standing, error) {
	if f.from != "" {
		doc, r, err := savedRun(f.from)
		if err != nil {
			return nil, nil, nil, err
		}
		g := &lineage.Git{Dir: folderOf(s.Path)}
		defer g.Close()
		stands, err := f.held.stand(ctx, g)
		if err != nil {
			return nil, nil, nil, err
		}
		stands.Head, stands.Tree = doc.Provenance.Commit, doc.Provenance.Tree
		if !acceptable(r) {
			doc = nil
		}
		return doc, r, stands, nil
	}
	h, err := f.held.hold(ctx, s, folderOf(s.Path))
	if err != nil {
		return nil, nil, nil, err
	}
	if h == nil {
		return nil, nil, nil, usagef("no store: give --baseline, or write baseline: {store: …} into the spec")
	}
	r, err := a.runEngines(ctx, s, twoSpecs{}, h, &runFlags{jobs: f.jobs})
	if err := errors.Join(err, h.end(r)); err != nil {
		return nil, nil, nil, err
	}
	doc, err := baseline.Propose(r, h.imprint, h.provenance(r), nil, false)
	if errors.Is(err, baseline.ErrRefused) {
		if r.Outcome == gate.Pass {
			return nil, nil, nil, incomplete("%w", err)
		}
		return nil, r, h.stands, nil
	}
	return doc, r, h.stands, err
}

// acceptable says whether a saved run may become a baseline.
func acceptable(r *gate.Result) bool {
	for _, f := range r.Findings {
		if f.Level == gate.LevelIncomplete && !gate.LacksBaseline(r, f) {
			return false
		}
	}
	return r.Outcome == gate.Pass || r.Outcome == gate.Incomplete && len(r.Checkpoints) > 0
}

// savedRun reads a run of before from its folder.
func savedRun(dir string) (*baseline.Document, *gate.Result, error) {
	r, err := readResult(filepath.Join(dir, "results.json"))
	if err != nil {
		return nil, nil, err
	}
	path := filepath.Join(dir, baselineFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s has no %s: the run was held against no store (--baseline, or baseline in the spec), or measured too little", dir, baselineFile)
	}
	if err != nil {
		return nil, nil, err
	}
	doc, err := baseline.Parse(data, path)
	if err != nil {
		return nil, nil, err
	}
	if r.Baseline == nil || r.Baseline.Proposed != doc.Numbers() {
		return nil, nil, fmt.Errorf("%s: it is of another run than results.json beside it", path)
	}
	return doc, r, nil
}

// accept writes a commit's document, after the one that it follows.
func (a *app) accept(ctx context.Context, st store.Store, s *spec.Spec, doc *baseline.Document, stands *ledger.Standing) (*baseline.Document, error) {
	l := &ledger.Ledger{Store: st}
	message := fmt.Sprintf("Accept %s\n\nKey %s, numbers %s", doc.Provenance.Commit[:12], doc.Key.Digest()[:32], doc.Numbers()[:32])
	return l.Accept(ctx, message, func(v store.View) (*baseline.Document, error) {
		f, err := ledger.Find(ctx, v, ledger.Question{Key: doc.Key, Numbers: doc.Numbers(), Head: stands.Head, Tree: stands.Tree, Pull: stands.Pull, Lineage: stands.Lineage})
		if err != nil {
			return nil, err
		}
		if f == nil || f.Document.Key != doc.Key {
			return doc, nil
		}
		return doc.Follow(f.Document, s.Baseline != nil && s.Baseline.Ratchet)
	})
}

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
	doc, _, err := savedRun(from)
	if err != nil {
		return err
	}
	if ap.By == "" {
		ap.By = gitUser(ctx)
	}
	if ap.Pull < 0 {
		return usagef("--pull %d: want the number of a pull request", ap.Pull)
	}
	v, err := st.Snapshot(ctx)
	if err != nil {
		return incomplete("%w", err)
	}
	// Its past is that of the newest baseline of its key: an approval carries on
	// history and spread, and nothing that judges.
	newest, _, err := ledger.Newest(ctx, v)
	if err != nil {
		return incomplete("%w", err)
	}
	l := &ledger.Ledger{Store: st}
	approved, err := l.Approve(ctx, doc, newest[doc.Key.Digest()[:32]], ap)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return incomplete("%w", err)
		}
		return err
	}
	fmt.Fprintf(a.Stderr, "approved %s in %s, by %s: %s\n", approved.Numbers()[:16], st, ap.By, ap.Reason)
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
