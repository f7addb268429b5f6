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
	"cmp"
	"context"
	"errors"
	"fmt"
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

// Damaged is a document that was read and is not what its place says: damaged,
// changed by hand, of another version, or lying where another belongs. Any other
// error of Read is of the store itself.
type Damaged struct {
	Path string
	Err  error // what is wrong, without the path
}

func (e *Damaged) Error() string { return e.Path + ": " + e.Err.Error() }
func (e *Damaged) Unwrap() error { return e.Err }

// isDamaged tells a damaged document from a store that cannot be read.
func isDamaged(err error) bool {
	var d *Damaged
	return errors.As(err, &d)
}

// Read reads one document and checks that it is what its place says: what is not
// comes back as *Damaged.
func Read(ctx context.Context, v store.View, e Entry) (*baseline.Document, error) {
	data, err := v.Read(ctx, e.Path)
	if err != nil {
		return nil, err
	}
	return e.document(data)
}

// ReadAll reads many documents, in the order of entries, and tells each of every
// one, or why it cannot be read, as Read does. Where each returns an error reading
// ends with that.
func ReadAll(ctx context.Context, v store.View, entries []Entry, each func(Entry, *baseline.Document, error) error) error {
	paths := make([]string, len(entries))
	for i, e := range entries {
		paths[i] = e.Path
	}
	i := -1
	return store.ReadAll(ctx, v, paths, func(_ string, data []byte, err error) error {
		i++
		if err != nil {
			return each(entries[i], nil, err)
		}
		d, err := entries[i].document(data)
		return each(entries[i], d, err)
	})
}

// document reads what lies at an entry's place.
func (e Entry) document(data []byte) (*baseline.Document, error) {
	d, err := baseline.Parse(data, e.Path)
	if err != nil {
		return nil, &Damaged{e.Path, withoutName(err)}
	}
	if err := e.holds(d); err != nil {
		return nil, &Damaged{e.Path, err}
	}
	return d, nil
}

// withoutName is an error of a document's bytes, for where its file is named anyway.
func withoutName(err error) error {
	var e *baseline.Error
	switch {
	case !errors.As(err, &e):
		return err
	case e.Line > 0:
		return fmt.Errorf("line %d: %s", e.Line, e.Msg)
	}
	return errors.New(e.Msg)
}

// holds says why a document does not belong to its place.
func (e Entry) holds(d *baseline.Document) error {
	switch {
	case keyFolder(d.Key) != e.Key:
		return fmt.Errorf("it holds a document of the key %s", keyFolder(d.Key))
	case e.Commit != "" && d.Provenance.Commit != e.Commit:
		return fmt.Errorf("it holds the document of %s", cmp.Or(d.Provenance.Commit, "no commit"))
	case e.Commit == "" && !strings.HasPrefix(d.Numbers(), e.Numbers):
		return fmt.Errorf("it holds the numbers %s", d.Numbers()[:32])
	case e.Commit == "" && (d.Anchor.ApprovedBy == "" || d.Anchor.Digest != d.Numbers()):
		return errors.New("it holds a document that nobody approved")
	}
	return nil
}

// Accept writes the document of a commit whose run was accepted, after the one
// that it follows in the store as it is then: previous, nil where it begins a
// history of its own and is its own anchor. A commit that has a document already
// gets the new one in its place. q is the commit's standing; all else of it comes
// from doc.
//
// It is an error where it is not known what the commit stands on, and the store
// holds its key: beginning anew would move the anchor. Nothing is written then.
func (l *Ledger) Accept(ctx context.Context, doc *baseline.Document, q Question, ratchet bool) (kept, previous *baseline.Document, err error) {
	commit, numbers := doc.Provenance.Commit, doc.Numbers()
	if !isCommit(commit) {
		return nil, nil, fmt.Errorf("commit %q: a baseline belongs to a commit, by its full hash", commit)
	}
	q.Key, q.Numbers, q.Head, q.Tree = doc.Key, numbers, commit, doc.Provenance.Tree
	message := fmt.Sprintf("Accept %s\n\nKey %s, numbers %s", short(commit), keyFolder(doc.Key), numbers[:32])
	_, err = l.Store.Update(ctx, message, func(v store.View) ([]store.Write, error) {
		var err error
		if kept, previous, err = accepted(ctx, v, doc, q, ratchet); err != nil {
			return nil, err
		}
		data, err := kept.Encode()
		if err != nil {
			return nil, err
		}
		return []store.Write{{Path: commitPath(kept.Key, commit), Data: data}}, nil
	})
	if err != nil {
		return nil, nil, err
	}
	return kept, previous, nil
}

// accepted is the document with the past that the store has for it.
func accepted(ctx context.Context, v store.View, doc *baseline.Document, q Question, ratchet bool) (kept, previous *baseline.Document, err error) {
	if q.Lineage == nil {
		list, err := v.List(ctx, path.Join(root, keyFolder(doc.Key)))
		if err != nil {
			return nil, nil, err
		}
		if len(list) > 0 {
			return nil, nil, fmt.Errorf("it is not known what %s stands on, so that its baseline would begin a new history, and a new anchor", short(q.Head))
		}
	}
	f, err := Find(ctx, v, q)
	if err != nil {
		return nil, nil, err
	}
	if f == nil || f.Document.Key != doc.Key {
		return doc, nil, nil
	}
	previous = f.Document
	if previous.Provenance.Commit == q.Head {
		previous = before(previous)
	}
	kept, err = doc.Follow(previous, ratchet)
	return kept, f.Document, err
}

// before is a document without its own run in the history: what was measured of
// the same commit again stands in its place.
func before(d *baseline.Document) *baseline.Document {
	out := *d
	out.History = d.History[:len(d.History)-1]
	out.Measurements = slices.Clone(d.Measurements)
	for i := range out.Measurements {
		m := &out.Measurements[i]
		metrics := make(map[string]baseline.Metric, len(m.Metrics))
		for name, v := range m.Metrics {
			v.History = v.History[:len(v.History)-1]
			metrics[name] = v
		}
		m.Metrics = metrics
	}
	return &out
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

// Check says why an approval of a document would be refused.
func (a Approval) Check(doc *baseline.Document) error {
	if a.Pull < 0 || a.Pull > maxPull {
		return fmt.Errorf("%d is no number of a pull request", a.Pull)
	}
	_, err := doc.Approve(nil, a.Digest, a.By, a.Reason, a.At)
	return err
}

// maxPull is the largest number that a path has room for.
const maxPull = 999_999_999_999

// Approve keeps a run's document as approved. Of the document only what the run
// itself measured counts, whatever else it claims: its history and spread are
// those of previous, which may be nil, and the anchor is the approved run.
func (l *Ledger) Approve(ctx context.Context, doc, previous *baseline.Document, a Approval) (*baseline.Document, error) {
	if err := a.Check(doc); err != nil {
		return nil, err
	}
	if previous != nil && doc.Provenance.Commit != "" && previous.Provenance.Commit == doc.Provenance.Commit {
		previous = before(previous)
	}
	approved, err := Alone(doc).Approve(previous, a.Digest, a.By, a.Reason, a.At)
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
	if err != nil {
		return nil, err
	}
	return approved, nil
}

// Alone is a document with the run's own numbers, fingerprints, sketches and
// provenance, and no past: neither history nor spread. So it is taken from whoever
// is not trusted with those.
func Alone(d *baseline.Document) *baseline.Document {
	out := *d
	out.History = []baseline.Accepted{{Commit: d.Provenance.Commit, Date: d.Provenance.Date}}
	out.Anchor = baseline.Anchor{Commit: d.Provenance.Commit, Date: d.Provenance.Date, Digest: d.Numbers()}
	out.Measurements = slices.Clone(d.Measurements)
	for i := range out.Measurements {
		m := &out.Measurements[i]
		metrics := make(map[string]baseline.Metric, len(m.Metrics))
		for name, v := range m.Metrics {
			own := v.History[len(v.History)-1] // what the digest is of
			metrics[name] = baseline.Metric{Value: own, Spread: nan, Runs: 1, Anchor: own, History: []gate.Value{own}}
		}
		m.Metrics = metrics
	}
	return &out
}
