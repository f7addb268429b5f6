// Package ledger keeps the baselines of a repository's commits in a store, and
// finds the one that a run is held against.
//
// A store holds one document a key and commit, and the documents that somebody
// approved:
//
//	v1/KEY/COMMIT.json
//	v1/KEY/approved/PULL-NUMBERS.json
//
// KEY is half of the key's digest, PULL the number of the pull request that was
// approved (0 without one), NUMBERS half of the digest that was approved. A
// document of a commit is written when its run was accepted on the branch; an
// approved one counts for its pull request at once, and for the branch from the
// commit on that merged it, however it was merged.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/paritygate/paritygate/baseline"
	"github.com/paritygate/paritygate/baseline/store"
	"github.com/paritygate/paritygate/gate"
)

// Ledger is the baselines of one store.
type Ledger struct{ Store store.Store }

const root = "v1"

// Entry is one document's place in a store.
type Entry struct {
	Path string
	// Key is the half of the key's digest that names its folder.
	Key string
	// Commit is the accepted commit, "" for an approved document.
	Commit string
	// Numbers is the half of the approved digest, Pull the pull request's number;
	// "" and 0 for a commit's document.
	Numbers string
	Pull    int
}

var (
	ofCommit   = regexp.MustCompile(`^v1/([0-9a-f]{32})/([0-9a-f]{40}(?:[0-9a-f]{24})?)\.json$`)
	ofApproval = regexp.MustCompile(`^v1/([0-9a-f]{32})/approved/([0-9]{1,12})-([0-9a-f]{32})\.json$`)
)

// parse reads a path, false for one that no ledger wrote.
func parse(p string) (Entry, bool) {
	if m := ofCommit.FindStringSubmatch(p); m != nil {
		return Entry{Path: p, Key: m[1], Commit: m[2]}, true
	}
	if m := ofApproval.FindStringSubmatch(p); m != nil {
		n, err := strconv.Atoi(m[2])
		return Entry{Path: p, Key: m[1], Pull: n, Numbers: m[3]}, err == nil
	}
	return Entry{}, false
}

func keyFolder(k baseline.Key) string { return strings.TrimSuffix(k.FileName(), ".json") }

func commitPath(k baseline.Key, commit string) string {
	return path.Join(root, keyFolder(k), commit+".json")
}

func approvedPath(k baseline.Key, pull int, numbers string) string {
	return path.Join(root, keyFolder(k), "approved", fmt.Sprintf("%d-%s.json", pull, numbers[:32]))
}

// Entries lists all documents of a view, and what else lies among them.
func Entries(ctx context.Context, v store.View) (entries []Entry, strange []string, err error) {
	list, err := v.List(ctx, root)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range list {
		if e, ok := parse(p); ok {
			entries = append(entries, e)
		} else {
			strange = append(strange, p)
		}
	}
	return entries, strange, nil
}

// Read reads one document and checks that it is what its place says.
func Read(ctx context.Context, v store.View, e Entry) (*baseline.Document, error) {
	data, err := v.Read(ctx, e.Path)
	if err != nil {
		return nil, err
	}
	d, err := baseline.Parse(data, e.Path)
	if err != nil {
		return nil, err
	}
	switch {
	case keyFolder(d.Key) != e.Key:
		return nil, fmt.Errorf("%s: it holds a document of the key %s", e.Path, keyFolder(d.Key))
	case e.Commit != "" && d.Provenance.Commit != e.Commit:
		return nil, fmt.Errorf("%s: it holds the document of commit %s", e.Path, d.Provenance.Commit)
	case e.Numbers != "" && !strings.HasPrefix(d.Numbers(), e.Numbers):
		return nil, fmt.Errorf("%s: it holds the numbers %s", e.Path, d.Numbers()[:32])
	}
	return d, nil
}

// Accept writes the document that an accepted run of a commit becomes. previous
// finds what it follows, in the store as it is now; an error of it ends the
// update. A commit that has a document already gets the new one.
func (l *Ledger) Accept(ctx context.Context, message string, make func(store.View) (*baseline.Document, error)) (*baseline.Document, error) {
	var doc *baseline.Document
	_, err := l.Store.Update(ctx, message, func(v store.View) ([]store.Write, error) {
		var err error
		if doc, err = make(v); err != nil {
			return nil, err
		}
		if !isCommit(doc.Provenance.Commit) {
			return nil, fmt.Errorf("commit %q: a baseline belongs to a commit, by its full hash", doc.Provenance.Commit)
		}
		data, err := doc.Encode()
		if err != nil {
			return nil, err
		}
		return []store.Write{{Path: commitPath(doc.Key, doc.Provenance.Commit), Data: data}}, nil
	})
	return doc, err
}

var commitName = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

func isCommit(s string) bool { return commitName.MatchString(s) }

// Approval is somebody's acceptance of a run as it is.
type Approval struct {
	Digest     string // of the numbers, as the comment shows it; at least 16 digits
	By, Reason string
	Pull       int // number of the pull request, 0 without one
	At         time.Time
}

// Approve keeps a run's document as approved. It follows previous, which may be
// nil, in its history and nothing else: the anchor is the approved run.
func (l *Ledger) Approve(ctx context.Context, doc, previous *baseline.Document, a Approval) (*baseline.Document, error) {
	approved, err := doc.Approve(previous, a.Digest, a.By, a.Reason, a.At)
	if err != nil {
		return nil, err
	}
	data, err := approved.Encode()
	if err != nil {
		return nil, err
	}
	message := fmt.Sprintf("Approve %s\n\nBy %s: %s", approved.Numbers()[:16], a.By, a.Reason)
	_, err = l.Store.Update(ctx, message, func(store.View) ([]store.Write, error) {
		return []store.Write{{Path: approvedPath(approved.Key, a.Pull, approved.Numbers()), Data: data}}, nil
	})
	return approved, err
}

// Problem is a file of a store that is not what it should be.
type Problem struct {
	Path string
	Err  error
}

// Verify reads every document and says what is wrong. The number is of those
// that are right.
func (l *Ledger) Verify(ctx context.Context) (right int, problems []Problem, err error) {
	v, err := l.Store.Snapshot(ctx)
	if err != nil {
		return 0, nil, err
	}
	entries, strange, err := Entries(ctx, v)
	if err != nil {
		return 0, nil, err
	}
	for _, p := range strange {
		problems = append(problems, Problem{p, errors.New("this is no baseline's place")})
	}
	for _, e := range entries {
		if _, err := Read(ctx, v, e); err != nil {
			problems = append(problems, Problem{e.Path, err})
			continue
		}
		right++
	}
	slices.SortFunc(problems, func(a, b Problem) int { return strings.Compare(a.Path, b.Path) })
	return right, problems, nil
}

// Collect removes documents that nobody needs any more: of each key all but the
// newest keep of commits, and approved ones older than the oldest of those. What
// cannot be read stays, for Verify to name. It returns what it removed, or, dry,
// would remove.
func (l *Ledger) Collect(ctx context.Context, keep int, dry bool) ([]string, error) {
	var removed []string
	_, err := l.Store.Update(ctx, fmt.Sprintf("Collect: keep %d a key", keep), func(v store.View) ([]store.Write, error) {
		entries, _, err := Entries(ctx, v)
		if err != nil {
			return nil, err
		}
		if removed, err = surplus(ctx, v, entries, keep); err != nil || dry {
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

// dated is an entry with the time of its measurement or approval.
type dated struct {
	Entry
	at time.Time
}

func surplus(ctx context.Context, v store.View, entries []Entry, keep int) ([]string, error) {
	commits, approved := map[string][]dated{}, map[string][]dated{}
	for _, e := range entries {
		d, err := Read(ctx, v, e)
		if errors.Is(err, fs.ErrNotExist) || err != nil && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return nil, err
		}
		if e.Commit != "" {
			commits[e.Key] = append(commits[e.Key], dated{e, d.Measured()})
			continue
		}
		at, err := time.Parse(time.RFC3339, d.Anchor.Date)
		if err != nil {
			at = d.Measured()
		}
		approved[e.Key] = append(approved[e.Key], dated{e, at})
	}
	var out []string
	for key, list := range commits {
		slices.SortFunc(list, func(a, b dated) int { return b.at.Compare(a.at) })
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

// Newest returns the newest document of every key, by key, and the entries of
// all. What cannot be read is skipped: Verify names it.
func Newest(ctx context.Context, v store.View) (map[string]*baseline.Document, []Entry, error) {
	entries, _, err := Entries(ctx, v)
	if err != nil {
		return nil, nil, err
	}
	out := map[string]*baseline.Document{}
	for _, e := range entries {
		d, err := Read(ctx, v, e)
		if err != nil {
			if ctx.Err() != nil {
				return nil, nil, context.Cause(ctx)
			}
			continue
		}
		if old := out[e.Key]; e.Commit != "" && (old == nil || d.Measured().After(old.Measured())) {
			out[e.Key] = d
		}
	}
	return out, entries, nil
}

// invalid is what a run is told of a store that cannot be read.
func invalid(name string, err error) *gate.Baseline {
	return &gate.Baseline{State: gate.BaselineInvalid, Store: name, Why: err.Error(), Distance: -1, AgeS: nan,
		Differences: []gate.BaselineDifference{}, Deltas: []gate.BaselineDelta{}, Missing: []string{}}
}
