package cli

import (
	"context"
	"errors"
	"fmt"
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
document as it is stored, or else what was approved of it; a digest that was
approved names its document, too.`,
		Example: `  paritygate baseline show
  paritygate baseline show main --key 3f2a`,
		Args: rangeArgs(0, "COMMIT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			st, v, err := f.view(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.listKeys(cmd.Context(), st, v, f.key)
			}
			d, err := f.find(cmd.Context(), st, v, args[0])
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
func (a *app) listKeys(ctx context.Context, st store.Store, v store.View, prefix string) error {
	newest, entries, err := newestOf(ctx, st, v, prefix)
	if err != nil {
		return err
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
		d := newest[key]
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t%d\t%s\n", key[:12], commits[key], approved[key], prefixOf(d.Provenance.Commit), d.Provenance.Date,
			len(d.Measurements), plainWords(d.Key.Engines.Candidate, d.Key.Precision.Candidate, d.Key.Device.Candidate))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return a.write([]byte(b.String()))
}

// newestOf are the newest documents of the keys that begin with prefix: one at
// least.
func newestOf(ctx context.Context, st store.Store, v store.View, prefix string) (map[string]*baseline.Document, []ledger.Entry, error) {
	newest, entries, err := ledger.Newest(ctx, v, prefix)
	switch {
	case err != nil:
		return nil, nil, incomplete("%w", err)
	case len(newest) > 0:
		return newest, entries, nil
	case len(entries) > 0:
		return nil, nil, incomplete("%s holds no baseline that can be read: paritygate baseline verify says why", st)
	case prefix != "":
		return nil, nil, incomplete("%s holds no baseline of a key that begins with %s", st, prefix)
	}
	return nil, nil, incomplete("%s holds no baseline", st)
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

// find is the document of a commit, of an approved digest, or of a file.
func (f *storeFlags) find(ctx context.Context, st store.Store, v store.View, name string) (*baseline.Document, error) {
	if st, err := os.Stat(name); err == nil && st.Mode().IsRegular() {
		return readDocument(name)
	}
	commit := name
	cmd := exec.CommandContext(ctx, "git", "rev-parse", "--verify", "--quiet", "--end-of-options", name+"^{commit}")
	cmd.Dir = folderOf(f.spec)
	if out, err := cmd.Output(); err == nil {
		commit = strings.TrimSpace(string(out))
	}
	docs, err := f.documents(ctx, v, commit)
	if err != nil {
		return nil, err
	}
	keys, commits := map[string]bool{}, map[string]bool{}
	for _, d := range docs {
		keys[d.Key.Digest()[:32]], commits[d.Provenance.Commit] = true, true
	}
	switch {
	case len(docs) == 0:
		what := name
		if commit != name {
			what = fmt.Sprintf("%s (%s)", name, prefixOf(commit))
		}
		return nil, fmt.Errorf("%s holds no baseline of %s; paritygate baseline show lists what it holds", st, what)
	case len(keys) > 1:
		return nil, fmt.Errorf("%s has baselines of %d keys: choose one with --key: %s", name, len(keys), strings.Join(slices.Sorted(maps.Keys(keys)), ", "))
	case len(commits) > 1:
		return nil, fmt.Errorf("%s begins the names of %d commits: %s", name, len(commits), strings.Join(slices.Sorted(maps.Keys(commits)), ", "))
	}
	return slices.MaxFunc(docs, func(a, b *baseline.Document) int { return strings.Compare(a.Anchor.Date, b.Anchor.Date) }), nil
}

// documents are those of a commit; where it has none, those that were approved of
// it, or by a digest of that name. Either may be cut short.
func (f *storeFlags) documents(ctx context.Context, v store.View, name string) ([]*baseline.Document, error) {
	entries, _, err := ledger.Entries(ctx, v)
	if err != nil {
		return nil, incomplete("%w", err)
	}
	const least = 7 // digits
	entries = slices.DeleteFunc(entries, func(e ledger.Entry) bool {
		return !strings.HasPrefix(e.Key, f.key) || len(name) < least || e.Commit != "" && !strings.HasPrefix(e.Commit, name)
	})
	var own, approved []*baseline.Document
	err = ledger.ReadAll(ctx, v, entries, func(e ledger.Entry, d *baseline.Document, err error) error {
		var damaged *ledger.Damaged
		switch {
		case errors.As(err, &damaged) && e.Commit == "": // of who knows what
		case errors.As(err, &damaged):
			return err
		case err != nil:
			return incomplete("%w", err)
		case e.Commit != "":
			own = append(own, d)
		case strings.HasPrefix(d.Provenance.Commit, name) || strings.HasPrefix(d.Numbers(), name):
			approved = append(approved, d)
		}
		return nil
	})
	if len(own) > 0 {
		return own, err
	}
	return approved, err
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
			st, v, err := f.view(cmd.Context())
			if err != nil {
				return err
			}
			var docs [2]*baseline.Document
			for i, name := range args {
				if docs[i], err = f.find(cmd.Context(), st, v, name); err != nil {
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
			newest, _, err := newestOf(cmd.Context(), st, v, f.key)
			if err != nil {
				return err
			}
			log, err := st.Log(cmd.Context(), "", 20)
			if err != nil {
				return incomplete("%w", err)
			}
			var b strings.Builder
			for _, key := range slices.Sorted(maps.Keys(newest)) {
				historyOf(&b, key, newest[key], metric.value)
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
	fmt.Fprintf(b, "key %s: %s, from %s (%s) to %s (%s)\n", key[:12], plural(len(d.History), "accepted run"),
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
