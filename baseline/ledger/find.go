package ledger

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/paritygate/paritygate/baseline"
	"github.com/paritygate/paritygate/baseline/lineage"
	"github.com/paritygate/paritygate/baseline/store"
)

// Question is what a baseline is looked for.
type Question struct {
	Key     baseline.Key
	Numbers string // digest of the run's own numbers, "" when there are none
	// Head, Tree and Pull are the change itself: an approval may be of it.
	Head, Tree string
	Pull       int
	Lineage    *lineage.Lineage
	// Damaged is told of approvals that cannot be read and might have been it; nil
	// tells nobody.
	Damaged func(*Damaged)
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
// An approval is of the change by its pull request; or by its commit, its files
// or its very numbers, until the branch has taken it in: from then on the branch's
// own baseline counts, so that nothing goes back to what was approved before.
//
// An error is of a document that would have been it and is damaged: another one in
// its place would hide that. Or the store cannot be read.
func Find(ctx context.Context, v store.View, q Question) (*Found, error) {
	entries, _, err := Entries(ctx, v)
	if err != nil {
		return nil, err
	}
	own := keyFolder(q.Key)
	same := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return e.Key != own })
	s, err := newSearch(ctx, v, q, same)
	if err != nil {
		return nil, err
	}
	if f, err := s.find(ctx); f != nil || err != nil {
		return f, err
	}
	others := slices.DeleteFunc(entries, func(e Entry) bool { return e.Key == own })
	return nearestOther(ctx, v, q, others)
}

// search is the entries of one key, with the approved documents read.
type search struct {
	q        Question
	view     store.View
	byCommit map[string]Entry
	approved []Found
	damaged  []damagedEntry
}

type damagedEntry struct {
	Entry
	err *Damaged
}

func newSearch(ctx context.Context, v store.View, q Question, entries []Entry) (*search, error) {
	s := &search{q: q, view: v, byCommit: map[string]Entry{}}
	var approved []Entry
	for _, e := range entries {
		if e.Commit != "" {
			s.byCommit[e.Commit] = e
		} else {
			approved = append(approved, e)
		}
	}
	return s, ReadAll(ctx, v, approved, func(e Entry, d *baseline.Document, err error) error {
		var bad *Damaged
		switch {
		case err == nil:
			s.approved = append(s.approved, Found{Entry: e, Document: d})
		case errors.As(err, &bad):
			s.damaged = append(s.damaged, damagedEntry{e, bad})
		case !errors.Is(err, fs.ErrNotExist): // else it was removed since
			return err
		}
		return nil
	})
}

// find looks among the entries of the run's own key.
func (s *search) find(ctx context.Context) (*Found, error) {
	q := s.q
	byPull := func(e Entry) bool { return q.Pull != 0 && e.Pull == q.Pull }
	byNumbers := func(e Entry) bool { return strings.HasPrefix(q.Numbers, e.Numbers) }
	// What a damaged one says cannot be trusted, its name can.
	for _, e := range s.damaged {
		if byPull(e.Entry) || byNumbers(e.Entry) {
			return nil, e.err
		}
	}
	if own := s.newest(-1, func(f *Found) bool { return byPull(f.Entry) }); own != nil {
		return own, nil
	}
	own := s.newest(-1, func(f *Found) bool {
		p := f.Document.Provenance
		return byNumbers(f.Entry) || q.Head != "" && p.Commit == q.Head || q.Tree != "" && p.Tree == q.Tree
	})
	nearest, err := s.nearest(ctx)
	if err != nil {
		return nil, err
	}
	if q.Damaged != nil {
		for _, e := range s.damaged {
			q.Damaged(e.err)
		}
	}
	if own == nil || nearest != nil && nearest.follows(own) {
		return nearest, nil
	}
	return own, nil
}

// follows reports whether f came after an approval: it has its anchor, or one that
// was approved since.
func (f *Found) follows(approval *Found) bool {
	a := f.Document.Anchor
	return a == approval.Document.Anchor || a.ApprovedBy != "" && approvedAt(f).After(approvedAt(approval))
}

// approvedAt is when a document's anchor was set.
func approvedAt(f *Found) time.Time {
	at, err := time.Parse(time.RFC3339, f.Document.Anchor.Date)
	if err != nil {
		return time.Time{}
	}
	return at
}

// newest is the approved document that fits and was approved last.
func (s *search) newest(distance int, fits func(*Found) bool) *Found {
	var best *Found
	for i := range s.approved {
		f := s.approved[i]
		if fits(&f) && (best == nil || approvedAt(&f).After(approvedAt(best))) {
			f.Distance, best = distance, &f
		}
	}
	return best
}

// nearest is the baseline of the first commit of the lineage that has one.
func (s *search) nearest(ctx context.Context) (*Found, error) {
	if s.q.Lineage == nil {
		return nil, nil
	}
	return s.first(ctx, s.q.Lineage.Ancestors)
}

func (s *search) first(ctx context.Context, ancestors []lineage.Ancestor) (*Found, error) {
	for i, a := range ancestors {
		f, err := s.at(ctx, a)
		if err != nil {
			return nil, err
		}
		if f == nil {
			if f = s.sameFiles(a); f == nil {
				continue
			}
			// A commit that goes back to files that were approved once does not bring
			// the approval back.
			next, err := s.first(ctx, ancestors[i+1:])
			if err != nil || next != nil && next.follows(f) {
				return next, err
			}
		}
		return f, nil
	}
	return nil, nil
}

// at is the baseline of one commit of the lineage: its own document, or what was
// approved of the commit or of the pull request that it merged.
func (s *search) at(ctx context.Context, a lineage.Ancestor) (*Found, error) {
	if e, ok := s.byCommit[a.Commit]; ok {
		d, err := Read(ctx, s.view, e)
		if err == nil {
			return &Found{e, d, a.Distance}, nil
		}
		if !errors.Is(err, fs.ErrNotExist) { // else it was removed since
			return nil, err
		}
	}
	merged := func(e Entry) bool { return e.Pull != 0 && slices.Contains(a.Pulls, e.Pull) }
	for _, e := range s.damaged {
		if merged(e.Entry) {
			return nil, e.err
		}
	}
	return s.newest(s.distance(a), func(f *Found) bool { return merged(f.Entry) || f.Document.Provenance.Commit == a.Commit }), nil
}

// sameFiles is what was approved of the files of a commit, as a squash or a rebase
// leaves them.
func (s *search) sameFiles(a lineage.Ancestor) *Found {
	return s.newest(s.distance(a), func(f *Found) bool { return a.Tree != "" && f.Document.Provenance.Tree == a.Tree })
}

// distance is that of an approval: the change itself has none.
func (s *search) distance(a lineage.Ancestor) int {
	if a.Commit == s.q.Head {
		return -1
	}
	return a.Distance
}

// nearestOther is the nearest document of another key, to say what differs: of the
// same engines, weights and prompts if there is one, else of the fewest
// differences. One that is damaged is no help and no harm.
func nearestOther(ctx context.Context, v store.View, q Question, entries []Entry) (*Found, error) {
	if q.Lineage == nil {
		return nil, nil
	}
	byCommit := map[string][]Entry{}
	for _, e := range entries {
		byCommit[e.Commit] = append(byCommit[e.Commit], e)
	}
	var other *Found
	least := 0
	seen := map[string]bool{} // a key differs at one commit as it does at another
	for _, a := range q.Lineage.Ancestors {
		for _, e := range byCommit[a.Commit] {
			if seen[e.Key] {
				continue
			}
			d, err := Read(ctx, v, e)
			if isDamaged(err) || errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			seen[e.Key] = true
			f := &Found{e, d, a.Distance}
			if d.Key.SameSubject(q.Key) {
				return f, nil
			}
			if n := len(d.Key.Differences(q.Key)); other == nil || n < least {
				other, least = f, n
			}
		}
	}
	return other, nil
}
