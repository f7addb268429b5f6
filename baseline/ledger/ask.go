package ledger

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/paritygate/paritygate/baseline"
	"github.com/paritygate/paritygate/baseline/lineage"
	"github.com/paritygate/paritygate/baseline/store"
	"github.com/paritygate/paritygate/gate"
)

var nan = gate.Value(math.NaN())

// Asker answers gate.Options.Baseline: it finds the baseline of a run, and holds
// the run against it.
type Asker struct {
	Ledger     *Ledger
	Lineage    *lineage.Lineage // nil where it is not known
	Tree       string
	Pull       int
	Imprint    *baseline.Imprint
	Provenance func(*gate.Result) baseline.Provenance
}

// Ask implements gate.Options.Baseline.
func (a *Asker) Ask(ctx context.Context, r *gate.Result) *gate.Baseline {
	p := a.Provenance(r)
	none := baseline.Compare(nil, r, a.Imprint, p)
	none.Store = a.Ledger.Store.String()
	b, err := a.ask(ctx, r, p, none)
	if err != nil {
		none.State, none.Why = gate.BaselineInvalid, err.Error()
		return none
	}
	return b
}

// ask is Ask, with none filled in for a run without a baseline.
func (a *Asker) ask(ctx context.Context, r *gate.Result, p baseline.Provenance, none *gate.Baseline) (*gate.Baseline, error) {
	v, err := a.Ledger.Store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	key, unread := baseline.KeyOf(r, p), ""
	f, err := Find(ctx, v, Question{Key: key, Numbers: none.Proposed, Head: p.Commit, Tree: a.Tree, Pull: a.Pull, Lineage: a.Lineage,
		Damaged: func(d *Damaged) { unread = "an approval that might have counted is damaged: " + d.Error() }})
	switch {
	case err != nil:
		return nil, err
	case f == nil:
		why, err := a.whyNone(ctx, v)
		none.Why = sentences(why, unread)
		return none, err
	case !f.Document.Key.SameSubject(key) && !slices.ContainsFunc(r.Checkpoints, func(c gate.Checkpoint) bool { return c.Rows > 0 }):
		// What tells its baseline comes from the traces, too: nothing differs, it is not known.
		none.Why = sentences("this run measured nothing that could be held against a baseline", unread)
		return none, nil
	case !f.Document.Key.SameSubject(key):
		none.Why = sentences(fmt.Sprintf("no baseline is stored for what this run measured: the nearest, of %s, is of another: %s",
			short(f.Document.Provenance.Commit), differences(f.Document.Key.Differences(key))), unread)
		return none, nil
	}
	b := baseline.Compare(f.Document, r, a.Imprint, p)
	b.Store, b.Distance = none.Store, f.Distance
	if b.State == gate.BaselineCompared {
		b.Why = sentences(where(f, a.Lineage), b.Why, unread)
	}
	return b, nil
}

// sentences joins those that are not empty.
func sentences(s ...string) string {
	return strings.Join(slices.DeleteFunc(s, func(s string) bool { return s == "" }), "; ")
}

// whyNone says why there is no baseline at all.
func (a *Asker) whyNone(ctx context.Context, v store.View) (string, error) {
	entries, _, err := Entries(ctx, v)
	switch {
	case err != nil:
		return "", err
	case len(entries) == 0:
		return a.Ledger.Store.String() + " holds no baseline yet: paritygate baseline update makes the first on the branch", nil
	case a.Lineage == nil:
		return "it is not known what this change stands on", nil
	case len(a.Lineage.Ancestors) == 0:
		return sentences("this change stands on no commit with a baseline", a.Lineage.Note), nil
	case len(a.Lineage.Ancestors) == 1:
		return sentences("the only commit that this change stands on, "+short(a.Lineage.MergeBase)+", has none", a.Lineage.Note), nil
	}
	return sentences(fmt.Sprintf("none of the %d commits that this change stands on has one, from %s on back", len(a.Lineage.Ancestors), short(a.Lineage.MergeBase)), a.Lineage.Note), nil
}

// where says how far back a baseline lies, "" where nothing is to be said.
func where(f *Found, l *lineage.Lineage) string {
	if f.Distance < 0 {
		return "approved for this change"
	}
	back, base := fmt.Sprintf("%d commits before", f.Distance), short(l.MergeBase)
	if f.Distance == 1 {
		back = "one commit before"
	}
	switch approved := f.Entry.Commit == ""; {
	case approved && f.Distance == 0:
		return "approved, and merged by " + base
	case approved:
		return fmt.Sprintf("approved, and merged %s %s", back, base)
	case f.Distance == 0:
		return ""
	case f.Distance == 1:
		return fmt.Sprintf("%s %s, which has none of its own", back, base)
	}
	return fmt.Sprintf("%s %s: those between have none", back, base)
}

func differences(list []gate.BaselineDifference) string {
	var out []string
	for _, d := range list {
		out = append(out, fmt.Sprintf("%s %s, here %s", d.What, short(d.Baseline), short(d.Here)))
	}
	return strings.Join(out, "; ")
}

func short(s string) string {
	if isCommit(s) {
		return s[:12]
	}
	return s
}
