package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/paritygate/paritygate/baseline"
	"github.com/paritygate/paritygate/baseline/store"
)

// Verify reads every document and says what is damaged. The number is of those
// that are right. A store that cannot be read is an error: it says nothing of
// the documents.
func (l *Ledger) Verify(ctx context.Context) (right int, damaged []*Damaged, err error) {
	v, err := l.Store.Snapshot(ctx)
	if err != nil {
		return 0, nil, err
	}
	entries, strange, err := Entries(ctx, v)
	if err != nil {
		return 0, nil, err
	}
	for _, p := range strange {
		damaged = append(damaged, &Damaged{p, errors.New("this is no baseline's place")})
	}
	err = ReadAll(ctx, v, entries, func(_ Entry, _ *baseline.Document, err error) error {
		var bad *Damaged
		switch {
		case err == nil:
			right++
		case errors.As(err, &bad):
			damaged = append(damaged, bad)
		case !errors.Is(err, fs.ErrNotExist): // else it was removed since
			return err
		}
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	slices.SortFunc(damaged, func(a, b *Damaged) int { return strings.Compare(a.Path, b.Path) })
	return right, damaged, nil
}

// Collect removes documents that nobody needs any more: of each key all but the
// newest keep of commits, and approved ones older than the oldest of those. What
// cannot be read stays, for Verify to name. It returns what it removed, or, dry,
// would remove.
func (l *Ledger) Collect(ctx context.Context, keep int, dry bool) ([]string, error) {
	if dry {
		v, err := l.Store.Snapshot(ctx)
		if err != nil {
			return nil, err
		}
		return surplusOf(ctx, v, keep)
	}
	var removed []string
	_, err := l.Store.Update(ctx, fmt.Sprintf("Collect: keep %d a key", keep), func(v store.View) ([]store.Write, error) {
		var err error
		if removed, err = surplusOf(ctx, v, keep); err != nil {
			return nil, err
		}
		var writes []store.Write
		for _, p := range removed {
			writes = append(writes, store.Write{Path: p})
		}
		return writes, nil
	})
	return removed, err
}

// readable reads what is neither damaged nor was removed since.
func readable(ctx context.Context, v store.View, entries []Entry, each func(Entry, *baseline.Document)) error {
	return ReadAll(ctx, v, entries, func(e Entry, d *baseline.Document, err error) error {
		switch {
		case err == nil:
			each(e, d)
		case !isDamaged(err) && !errors.Is(err, fs.ErrNotExist):
			return err
		}
		return nil
	})
}

// dated is an entry with the time of its measurement or approval.
type dated struct {
	Entry
	at time.Time
}

// surplusOf are the paths of what Collect removes, sorted.
func surplusOf(ctx context.Context, v store.View, keep int) ([]string, error) {
	entries, _, err := Entries(ctx, v)
	if err != nil {
		return nil, err
	}
	commits, approved := map[string][]dated{}, map[string][]dated{}
	if err := readable(ctx, v, entries, func(e Entry, d *baseline.Document) {
		if e.Commit != "" {
			commits[e.Key] = append(commits[e.Key], dated{e, d.Measured()})
			return
		}
		at, err := time.Parse(time.RFC3339, d.Anchor.Date)
		if err != nil {
			at = d.Measured()
		}
		approved[e.Key] = append(approved[e.Key], dated{e, at})
	}); err != nil {
		return nil, err
	}
	var out []string
	for key, list := range commits {
		slices.SortStableFunc(list, func(a, b dated) int { return b.at.Compare(a.at) })
		if len(list) <= keep {
			continue
		}
		oldest := list[keep-1].at
		for _, d := range list[keep:] {
			out = append(out, d.Path)
		}
		for _, d := range approved[key] {
			if d.at.Before(oldest) {
				out = append(out, d.Path)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// Newest returns the newest document of every key, by key, of a commit where the
// key has one and else of an approval, and the entries of all. Only keys that
// begin with prefix are read. What is damaged is passed over: Verify names it.
func Newest(ctx context.Context, v store.View, prefix string) (map[string]*baseline.Document, []Entry, error) {
	entries, _, err := Entries(ctx, v)
	if err != nil {
		return nil, nil, err
	}
	entries = slices.DeleteFunc(entries, func(e Entry) bool { return !strings.HasPrefix(e.Key, prefix) })
	newest := map[string]*baseline.Document{}
	take := func(e Entry, d *baseline.Document) {
		if old := newest[e.Key]; old == nil || later(d, old) {
			newest[e.Key] = d
		}
	}
	if err := readable(ctx, v, slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return e.Commit == "" }), take); err != nil {
		return nil, nil, err
	}
	approved := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return e.Commit != "" || newest[e.Key] != nil })
	return newest, entries, readable(ctx, v, approved, take)
}

// later says which of two documents of a key is the newer. Within one second the
// one that has seen more runs is.
func later(a, b *baseline.Document) bool {
	if c := a.Measured().Compare(b.Measured()); c != 0 {
		return c > 0
	}
	return len(a.History) > len(b.History)
}
