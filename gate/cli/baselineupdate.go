package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/baseline"
	"github.com/paritygate/paritygate/baseline/ledger"
	"github.com/paritygate/paritygate/baseline/lineage"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/spec"
)

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
run: an earlier run, whose reports lie in that folder, is judged once more, by
the spec and against the store as they are now, and kept for the commit that it
measured.

A run that fails or is incomplete is refused, and the store stays as it is; the
exit code is the run's. That there is no baseline yet is no reason to refuse. Any
number of updates may write to a store at once.`,
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
	f.held.addStanding(cmd)
	cmd.Flags().IntVar(&f.runs, "runs", 1, "how `OFTEN` to run, for the spread of each measurement")
	cmd.Flags().StringVar(&f.from, "from", "", "keep the run whose reports lie in the folder `DIR`")
	completeDirs(cmd, "from")
	f.out.add(cmd, true)
	f.jobs.add(cmd)
	return cmd
}

func (a *app) updateBaseline(ctx context.Context, s *spec.Spec, f *updateFlags) error {
	s = mayBeFirst(s)
	h, run, err := f.prepare(ctx, s)
	if err != nil {
		return err
	}
	defer h.git.Close()
	if h.stands.Head == "" {
		return incomplete("nothing was kept: a baseline belongs to a commit, and %s", cmp.Or(h.stands.Note, f.held.standing+" names none"))
	}
	st := h.asker.Ledger.Store
	if _, err := st.Snapshot(ctx); err != nil {
		return incomplete("%w", err)
	}
	var docs []*baseline.Document
	var r *gate.Result
	for range f.runs {
		if r, err = a.measure(ctx, s, h, run, f.jobs); err != nil {
			return err
		}
		doc, err := baseline.Propose(r, h.imprint, h.provenance(r), nil, false)
		if errors.Is(err, baseline.ErrRefused) && r.Outcome != gate.Pass {
			fmt.Fprintf(a.Stderr, "nothing was kept: %v\n", err)
			return a.emit(r, &f.out)
		}
		if err != nil {
			return incomplete("%w", err)
		}
		docs = append(docs, doc)
	}
	doc, err := baseline.Merge(docs...)
	if err != nil {
		return incomplete("%w", err)
	}
	if err := a.emit(r, &f.out); err != nil {
		return err
	}
	return a.accept(ctx, s, h, doc)
}

// mayBeFirst is the spec for an update: that there is no baseline yet is what it
// mends.
func mayBeFirst(s *spec.Spec) *spec.Spec {
	if s.Baseline == nil {
		return s
	}
	out, b := *s, *s.Baseline
	b.Required = false
	out.Baseline = &b
	return &out
}

// prepare finds the commit that is measured, and what it stands on; with --from,
// of the run of before.
func (f *updateFlags) prepare(ctx context.Context, s *spec.Spec) (*held, *savedRun, error) {
	dir := folderOf(s.Path)
	if f.from == "" {
		h, err := f.held.hold(ctx, s, dir)
		if err == nil && h == nil {
			_, err = f.held.open(s, dir)
		}
		return h, nil, err
	}
	run, err := readRun(f.from)
	if err != nil {
		return nil, nil, err
	}
	if err := run.judgedBy(s); err != nil {
		return nil, nil, err
	}
	st, err := f.held.open(s, dir)
	if err != nil {
		return nil, nil, err
	}
	g := &lineage.Git{Dir: dir}
	stands, err := f.held.standOf(ctx, g, run)
	if err != nil {
		return nil, nil, errors.Join(err, g.Close())
	}
	h := newHeld(st, g, stands, run.doc.Provenance)
	h.watch(run.imprint)
	return h, run, nil
}

// measure is one run, or the one of before as it is judged now.
func (a *app) measure(ctx context.Context, s *spec.Spec, h *held, run *savedRun, jobs jobs) (*gate.Result, error) {
	var r *gate.Result
	if run != nil {
		r = run.result
		r.Baseline = h.asker.Ask(ctx, r)
		gate.Judge(r, s)
	} else {
		var err error
		if r, err = a.runEngines(ctx, s, twoSpecs{}, h, &runFlags{jobs: jobs}); err != nil {
			return nil, err
		}
	}
	if h.stands.Note != "" {
		r.Warnings = append(r.Warnings, "baseline: "+h.stands.Note)
	}
	return r, nil
}

// accept writes a commit's document and says what it follows.
func (a *app) accept(ctx context.Context, s *spec.Spec, h *held, doc *baseline.Document) error {
	l := h.asker.Ledger
	kept, previous, err := l.Accept(ctx, doc, ledger.Question{Pull: h.stands.Pull, Lineage: h.stands.Lineage}, s.Baseline != nil && s.Baseline.Ratchet)
	switch {
	case err != nil && h.stands.Lineage == nil && h.stands.Note != "":
		return incomplete("nothing was kept: %w (%s)", err, h.stands.Note)
	case err != nil:
		return incomplete("nothing was kept: %w", err)
	}
	after := "it follows none, and is its own anchor"
	if previous != nil {
		of := cmp.Or(prefixOf(previous.Provenance.Commit), "no commit")
		switch by := previous.Provenance.ApprovedBy; {
		case by != "":
			after = fmt.Sprintf("it follows what %s approved of %s", plainWords(by), of)
		case previous.Provenance.Commit == kept.Provenance.Commit:
			after = "in the place of the one before"
		default:
			after = "it follows that of " + of
		}
	}
	fmt.Fprintf(a.Stderr, "kept the baseline of %s in %s: %d checkpoints, digest %s; %s\n", prefixOf(kept.Provenance.Commit), l.Store, len(kept.Measurements), kept.Digest()[:16], after)
	return nil
}
