package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/baseline"
	"github.com/paritygate/paritygate/baseline/ledger"
	"github.com/paritygate/paritygate/baseline/store"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/report"
)

// storeFlags name a store to look into.
type storeFlags struct {
	held heldFlags
	spec string
	key  string
}

func (f *storeFlags) add(cmd *cobra.Command, key bool) {
	f.held.addStore(cmd)
	addSpecFlag(cmd, &f.spec, "the spec `FILE` that names the store")
	cmd.Flags().Lookup("spec").DefValue = defaultSpec
	f.spec = defaultSpec
	if key {
		cmd.Flags().StringVar(&f.key, "key", "", "only the key that begins with these `DIGITS`")
	}
}

func (f *storeFlags) open() (store.Store, error) {
	var s *spec.Spec
	if f.held.store == "" {
		var err error
		if s, err = loadSpec(f.spec); err != nil {
			return nil, err
		}
	}
	return f.held.open(s, folderOf(f.spec))
}

// view opens the store as it is now.
func (f *storeFlags) view(ctx context.Context) (store.Store, store.View, error) {
	st, err := f.open()
	if err != nil {
		return nil, nil, err
	}
	v, err := st.Snapshot(ctx)
	if err != nil {
		return nil, nil, incomplete("%w", err)
	}
	return st, v, nil
}

func (a *app) baselineShow() *cobra.Command {
	var f storeFlags
	cmd := &cobra.Command{
		Use:   "show [COMMIT]",
		Short: "List the baselines of a store, or print one",
		Long: `Without an argument, lists the keys of a store: what was measured, how many
baselines there are, and the newest. With a commit, prints that commit's
document as it is stored.`,
		Example: `  paritygate baseline show
  paritygate baseline show main --key 3f2a`,
		Args: rangeArgs(0, "COMMIT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, v, err := f.view(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.listKeys(cmd.Context(), v, f.key)
			}
			d, _, err := findDocument(cmd.Context(), v, args[0], f.key)
			if err != nil {
				return err
			}
			data, err := d.Encode()
			if err != nil {
				return err
			}
			return a.write(data)
		},
	}
	f.add(cmd, true)
	return cmd
}

// listKeys prints one line a key.
func (a *app) listKeys(ctx context.Context, v store.View, prefix string) error {
	newest, entries, err := ledger.Newest(ctx, v)
	if err != nil {
		return incomplete("%w", err)
	}
	commits, approved := map[string]int{}, map[string]int{}
	for _, e := range entries {
		if e.Commit != "" {
			commits[e.Key]++
		} else {
			approved[e.Key]++
		}
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "key\tcommits\tapproved\tnewest\tmeasured\tcheckpoints\tcandidate")
	for _, key := range slices.Sorted(maps.Keys(newest)) {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		d := newest[key]
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t%d\t%s\n", key[:12], commits[key], approved[key], prefixOf(d.Provenance.Commit), d.Provenance.Date,
			len(d.Measurements), plainWords(d.Key.Engines.Candidate, d.Key.Precision.Candidate, d.Key.Device.Candidate))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return a.write([]byte(b.String()))
}

func prefixOf(commit string) string { return commit[:min(12, len(commit))] }

// plainWords joins what a trace told, without what could act on a terminal.
func plainWords(words ...string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.Join(words, ", "))
}

// findDocument is the document of a commit or of a file.
func findDocument(ctx context.Context, v store.View, name, key string) (*baseline.Document, string, error) {
	if st, err := os.Stat(name); err == nil && st.Mode().IsRegular() {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, "", err
		}
		d, err := baseline.Parse(data, name)
		return d, name, err
	}
	commit := name
	if out, err := exec.CommandContext(ctx, "git", "rev-parse", "--verify", "--quiet", "--end-of-options", name+"^{commit}").Output(); err == nil {
		commit = strings.TrimSpace(string(out))
	}
	entries, _, err := ledger.Entries(ctx, v)
	if err != nil {
		return nil, "", incomplete("%w", err)
	}
	var fit []ledger.Entry
	keys := map[string]bool{}
	for _, e := range entries {
		ofThis := len(commit) >= 7 && strings.HasPrefix(e.Commit, commit) || len(commit) >= 16 && e.Numbers != "" && strings.HasPrefix(commit, e.Numbers[:16])
		if ofThis && strings.HasPrefix(e.Key, key) {
			fit, keys[e.Key] = append(fit, e), true
		}
	}
	switch {
	case len(fit) == 0:
		return nil, "", fmt.Errorf("no baseline of %s: %w", name, fs.ErrNotExist)
	case len(keys) > 1:
		return nil, "", fmt.Errorf("%s has baselines of %d keys: choose one with --key: %s", name, len(keys), strings.Join(slices.Sorted(maps.Keys(keys)), ", "))
	}
	d, err := ledger.Read(ctx, v, fit[0])
	return d, fit[0].Path, err
}

func (a *app) baselineDiff() *cobra.Command {
	var f storeFlags
	all := false
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Show what moved between two baselines",
		Long: `Shows every measurement that differs between two baselines: commits of the store,
or files, as the baseline.json of a run's folder.`,
		Example: `  paritygate baseline diff HEAD~10 HEAD
  paritygate baseline diff main out/baseline.json`,
		Args: exactArgs("OLD", "NEW"),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, v, err := f.view(cmd.Context())
			if err != nil {
				return err
			}
			var docs [2]*baseline.Document
			for i, name := range args {
				if docs[i], _, err = findDocument(cmd.Context(), v, name, f.key); err != nil {
					return err
				}
			}
			return a.diffBaselines(docs[0], docs[1], all)
		},
	}
	f.add(cmd, true)
	cmd.Flags().BoolVar(&all, "all", false, "show what stayed the same, too")
	return cmd
}

func (a *app) diffBaselines(old, now *baseline.Document, all bool) error {
	var b strings.Builder
	for _, d := range old.Key.Differences(now.Key) {
		fmt.Fprintf(&b, "%s: %s, now %s\n", d.What, plainWords(d.Baseline), plainWords(d.Here))
	}
	deltas, missing, same := baseline.Deltas(old, now)
	fmt.Fprintf(&b, "%d of %d checkpoints have the same bits\n", same.Same, same.Of)
	for _, m := range missing {
		fmt.Fprintf(&b, "missing: %s\n", plainWords(m))
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	header := false
	for _, d := range deltas {
		if d.Delta == 0 && !all {
			continue
		}
		if !header {
			fmt.Fprintln(t, "\nprompt\tcheckpoint\tmetric\told\tnew\tchange")
			header = true
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%+.3g %%\n", plainWords(d.Prompt), plainWords(d.Checkpoint), d.Metric, report.Amount(d.Metric, d.Base), report.Amount(d.Metric, d.Head), float64(d.Share)*100)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return a.write([]byte(b.String()))
}

func (a *app) baselineHistory() *cobra.Command {
	var f storeFlags
	metric := choice{value: "rel_l2", of: spec.BaselineMetrics()}
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show how each checkpoint moved over the accepted runs",
		Long: `Shows, for the newest baseline of each key, one metric of every checkpoint over the
runs that were accepted: first, last, a sparkline, and the anchor that slow
creep is held against. Below stand the changes of the store itself.`,
		Example: `  paritygate baseline history
  paritygate baseline history --metric added --key 3f2a`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, v, err := f.view(cmd.Context())
			if err != nil {
				return err
			}
			newest, _, err := ledger.Newest(cmd.Context(), v)
			if err != nil {
				return incomplete("%w", err)
			}
			log, err := st.Log(cmd.Context(), "", 20)
			if err != nil {
				return incomplete("%w", err)
			}
			var b strings.Builder
			for _, key := range slices.Sorted(maps.Keys(newest)) {
				if strings.HasPrefix(key, f.key) {
					historyOf(&b, key, newest[key], metric.value)
				}
			}
			for _, r := range log {
				fmt.Fprintf(&b, "%s  %s  %s  %s\n", prefixOf(r.ID), r.Date.UTC().Format("2006-01-02 15:04"), plainWords(r.Author), plainWords(r.Message))
			}
			return a.write([]byte(b.String()))
		},
	}
	f.add(cmd, true)
	cmd.Flags().Var(&metric, "metric", "the metric to show")
	completeChoice(cmd, "metric", metric.of)
	return cmd
}

func historyOf(b *strings.Builder, key string, d *baseline.Document, metric string) {
	fmt.Fprintf(b, "key %s: %d accepted runs, from %s (%s) to %s (%s)\n", key[:12], len(d.History),
		prefixOf(d.History[0].Commit), d.History[0].Date, prefixOf(d.Provenance.Commit), d.Provenance.Date)
	fmt.Fprintf(b, "anchor %s, %s", prefixOf(d.Anchor.Commit), d.Anchor.Date)
	if d.Anchor.ApprovedBy != "" {
		fmt.Fprintf(b, ", approved by %s: %s", plainWords(d.Anchor.ApprovedBy), plainWords(d.Anchor.Reason))
	}
	b.WriteString("\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "prompt\tcheckpoint\t%s first\tlast\tanchor\thistory\n", metric)
	for _, m := range d.Measurements {
		v, ok := m.Metrics[metric]
		if !ok {
			continue
		}
		amount := func(x gate.Value) string { return report.Amount(metric, x) }
		values := make([]float64, len(v.History))
		for i, x := range v.History {
			values[i] = float64(x)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", plainWords(m.Prompt), plainWords(m.Checkpoint), amount(v.History[0]),
			amount(v.History[len(v.History)-1]), amount(v.Anchor), report.Sparkline(values, 30))
	}
	t.Flush()
	b.WriteString("\n")
}

func (a *app) baselineVerify() *cobra.Command {
	var f storeFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read every baseline of a store and say what is damaged",
		Long: `Reads every document of a store: its version, its digest, and whether it lies where
it belongs. Exits 1 when one is damaged, with its name and what is wrong.`,
		Example: `  paritygate baseline verify`,
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := f.open()
			if err != nil {
				return err
			}
			right, problems, err := (&ledger.Ledger{Store: st}).Verify(cmd.Context())
			if err != nil {
				return incomplete("%w", err)
			}
			var errs []error
			for _, p := range problems {
				errs = append(errs, fmt.Errorf("%s: %s", p.Path, strings.TrimPrefix(p.Err.Error(), p.Path+": ")))
			}
			if len(errs) > 0 {
				return &codeError{exitFail, fmt.Errorf("%d of %d files of %s are damaged:\n%w", len(problems), right+len(problems), st, errors.Join(errs...))}
			}
			return a.write(fmt.Appendf(nil, "%d baselines in %s, all of them right\n", right, st))
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
			return a.write(fmt.Appendf(nil, "%s %d\n%s", what, len(removed), strings.Join(append(removed, ""), "\n")))
		},
	}
	f.add(cmd, false)
	cmd.Flags().IntVar(&keep, "keep", keep, "how `MANY` of each key stay")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be removed")
	return cmd
}
