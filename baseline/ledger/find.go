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

// Question is what a baseline is looked for.
type Question struct {
	Key     baseline.Key
	Numbers string // digest of the run's own numbers, "" when there are none
	// Head, Tree and Pull are the change itself: an approval may be of it.
	Head, Tree string
	Pull       int
	Lineage    *lineage.Lineage
}

// Found is the baseline that a run is held against.
type Found struct {
	Entry    Entry
	Document *baseline.Document
	// Distance is how many commits it lies before the merge base, −1 for an
	// approval of the change itself.
	Distance int
}

// Find returns the baseline that a run is held against: an approval of the
// change itself, else the document of the nearest commit that the change stands
// on, or an approval that this commit brought in. Without one of the same key,
// the nearest of any other tells what differs. Nil where there is none at all.
//
// An error is of a document that would have been it and cannot be read: another
// one in its place would hide that.
func Find(ctx context.Context, v store.View, q Question) (*Found, error) {
	entries, _, err := Entries(ctx, v)
	if err != nil {
		return nil, err
	}
	own := keyFolder(q.Key)
	same := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return e.Key != own })
	if f, err := find(ctx, v, q, same); f != nil || err != nil {
		return f, err
	}
	others := slices.DeleteFunc(entries, func(e Entry) bool { return e.Key == own || e.Commit == "" })
	return nearestOther(ctx, v, q, others)
}

// find looks among the entries of the run's own key.
func find(ctx context.Context, v store.View, q Question, entries []Entry) (*Found, error) {
	s, err := newSearch(ctx, v, entries)
	if err != nil {
		return nil, err
	}
	if q.Numbers != "" || q.Head != "" || q.Pull != 0 {
		if f, err := s.approved(func(e Entry, d *baseline.Document) bool {
			return q.Pull != 0 && e.Pull == q.Pull || q.Numbers != "" && strings.HasPrefix(q.Numbers, e.Numbers) ||
				q.Head != "" && d.Provenance.Commit == q.Head || q.Tree != "" && d.Provenance.Tree == q.Tree
		}, -1); f != nil || err != nil {
			return f, err
		}
	}
	if q.Lineage == nil {
		return nil, nil
	}
	for _, a := range q.Lineage.Ancestors {
		if f, err := s.at(ctx, v, a); f != nil || err != nil {
			return f, err
		}
	}
	return nil, nil
}

// search is the entries of one key, with the approved documents read.
type search struct {
	byCommit map[string]Entry
	entries  []Entry // approved
	docs     []*baseline.Document
	errs     []error
}

func newSearch(ctx context.Context, v store.View, entries []Entry) (*search, error) {
	s := &search{byCommit: map[string]Entry{}}
	for _, e := range entries {
		if e.Commit != "" {
			s.byCommit[e.Commit] = e
			continue
		}
		d, err := Read(ctx, v, e)
		if err != nil && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		s.entries, s.docs, s.errs = append(s.entries, e), append(s.docs, d), append(s.errs, err)
	}
	return s, nil
}

// approved is the newest approved document that fits.
func (s *search) approved(fits func(Entry, *baseline.Document) bool, distance int) (*Found, error) {
	var best *Found
	for i, e := range s.entries {
		d := s.docs[i]
		if s.errs[i] != nil {
			// What it says cannot be trusted, its name can.
			if fits(e, &baseline.Document{}) {
				return nil, s.errs[i]
			}
			continue
		}
		if fits(e, d) && (best == nil || d.Anchor.Date > best.Document.Anchor.Date) {
			best = &Found{e, d, distance}
		}
	}
	return best, nil
}

// at is the baseline of one commit of the lineage.
func (s *search) at(ctx context.Context, v store.View, a lineage.Ancestor) (*Found, error) {
	if e, ok := s.byCommit[a.Commit]; ok {
		d, err := Read(ctx, v, e)
		if err != nil {
			return nil, err
		}
		return &Found{e, d, a.Distance}, nil
	}
	return s.approved(func(e Entry, d *baseline.Document) bool {
		return d.Provenance.Commit == a.Commit || a.Tree != "" && d.Provenance.Tree == a.Tree || e.Pull != 0 && slices.Contains(a.Pulls, e.Pull)
	}, a.Distance)
}

// nearestOther is the nearest document of another key, to say what differs. One
// that cannot be read is no help and no harm.
func nearestOther(ctx context.Context, v store.View, q Question, entries []Entry) (*Found, error) {
	if q.Lineage == nil {
		return nil, nil
	}
	byCommit := map[string][]Entry{}
	for _, e := range entries {
		byCommit[e.Commit] = append(byCommit[e.Commit], e)
	}
	var other *Found
	for _, a := range q.Lineage.Ancestors {
		for _, e := range byCommit[a.Commit] {
			d, err := Read(ctx, v, e)
			if err != nil {
				if ctx.Err() != nil {
					return nil, context.Cause(ctx)
				}
				continue
			}
			f := &Found{e, d, a.Distance}
			if d.Key.SameSubject(q.Key) {
				return f, nil
			}
			if other == nil {
				other = f
			}
		}
	}
	return other, nil
}

// Asker answers gate.Options.Baseline: it finds the baseline of a run, and holds
// the run against it.
type Asker struct {
	Ledger     *Ledger
	Lineage    *lineage.Lineage
	Tree       string
	Pull       int
	Imprint    *baseline.Imprint
	Provenance func(*gate.Result) baseline.Provenance
	// Found is what the last Ask found, for whoever updates the store; nil without one.
	Found *Found
}

// Ask implements gate.Options.Baseline.
func (a *Asker) Ask(ctx context.Context, r *gate.Result) *gate.Baseline {
	name := a.Ledger.Store.String()
	p := a.Provenance(r)
	key := baseline.KeyOf(r, p)
	none := baseline.Compare(nil, r, a.Imprint, p)
	none.Store = name
	v, err := a.Ledger.Store.Snapshot(ctx)
	if err != nil {
		b := invalid(name, err)
		b.Key, b.Proposed = none.Key, none.Proposed
		return b
	}
	f, err := Find(ctx, v, Question{Key: key, Numbers: none.Proposed, Head: p.Commit, Tree: a.Tree, Pull: a.Pull, Lineage: a.Lineage})
	if err != nil {
		b := invalid(name, err)
		b.Key, b.Proposed = none.Key, none.Proposed
		return b
	}
	a.Found = f
	if f == nil {
		none.Why = a.whyNone(ctx, v)
		return none
	}
	if !f.Document.Key.SameSubject(key) {
		a.Found = nil
		none.Why = fmt.Sprintf("no baseline is stored for what this run measured: the nearest, of %s, is of another: %s", short(f.Document.Provenance.Commit), differences(f.Document.Key.Differences(key)))
		return none
	}
	b := baseline.Compare(f.Document, r, a.Imprint, p)
	b.Store, b.Distance = name, f.Distance
	if b.State == gate.BaselineCompared {
		b.Why = where(f, a.Lineage)
	}
	if b.State == gate.BaselineIncomparable {
		a.Found = nil
	}
	return b
}

// whyNone says why there is no baseline at all.
func (a *Asker) whyNone(ctx context.Context, v store.View) string {
	entries, _, err := Entries(ctx, v)
	switch {
	case err == nil && len(entries) == 0:
		return a.Ledger.Store.String() + " holds no baseline yet: paritygate baseline update makes the first on the branch"
	case a.Lineage == nil:
		return "it is not known what this change stands on"
	case len(a.Lineage.Ancestors) == 0:
		return "this change stands on no commit with a baseline: " + a.Lineage.Note
	}
	why := fmt.Sprintf("none of the %d commits that this change stands on has one, from %s on", len(a.Lineage.Ancestors), short(a.Lineage.MergeBase))
	if a.Lineage.Note != "" {
		why += "; " + a.Lineage.Note
	}
	return why
}

// where says how far back a baseline lies.
func where(f *Found, l *lineage.Lineage) string {
	switch {
	case f.Distance < 0:
		return "approved for this change"
	case f.Entry.Commit == "":
		return "approved, and merged since"
	case f.Distance == 0:
		return ""
	case f.Distance == 1:
		return fmt.Sprintf("one commit before %s, which has none of its own", short(l.MergeBase))
	}
	return fmt.Sprintf("%d commits before %s: those between have none", f.Distance, short(l.MergeBase))
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
