package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/paritygate/paritygate/baseline/lineage"
	"github.com/paritygate/paritygate/baseline/store"
)

// Standing is a change and what it stands on: all that finding its baseline
// needs to know of the repository. It is written to a file for runs that see
// neither git nor a token.
type Standing struct {
	Version int              `json:"version"` // 1
	Head    string           `json:"head"`    // commit, "" where the checkout holds changes of no commit
	Tree    string           `json:"tree"`    // of Head
	Pull    int              `json:"pull"`    // number of the pull request, 0 without one
	Lineage *lineage.Lineage `json:"lineage"` // nil where it is not known
	// Note says why something of this is not known.
	Note string `json:"note"`
	// Store is the store's own name, where the run reads a copy of it; Unreadable
	// is why there is nothing to copy, or "".
	Store      string `json:"store,omitempty"`
	Unreadable string `json:"unreadable,omitempty"`
}

// Copied is the store that a run of this standing reads: copy, under the name of
// the store that it was copied from.
func (s *Standing) Copied(copy store.Store) store.Store {
	if s.Store == "" {
		return copy
	}
	return &copied{copy, s}
}

// copied is a copy of a store, or nothing but why there is none.
type copied struct {
	store.Store
	of *Standing
}

func (c *copied) String() string { return c.of.Store }

func (c *copied) Snapshot(ctx context.Context) (store.View, error) {
	if c.of.Unreadable != "" {
		return nil, errors.New(c.of.Unreadable)
	}
	return c.Store.Snapshot(ctx)
}

// StandingVersion is the version of the file.
const StandingVersion = 1

// maxStanding bounds the bytes of the file.
const maxStanding = 16 << 20

// ReadStanding reads a file that Standing.Write wrote.
func ReadStanding(file string) (*Standing, error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxStanding {
		return nil, fmt.Errorf("%s: want a file of at most %d bytes", file, maxStanding)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var s Standing
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if s.Version != StandingVersion {
		return nil, fmt.Errorf("%s: version %d, this program reads %d", file, s.Version, StandingVersion)
	}
	return &s, nil
}

// Write writes the file.
func (s *Standing) Write(file string) error {
	s.Version = StandingVersion
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// maxApproved bounds how many approved documents of a key are exported.
const maxApproved = 100

// Export copies into a folder, as a dir: store, what a run of this standing may
// be held against: of every key the document of the nearest commit, and the
// approved ones, those of the change and of what it stands on first, then those
// of the latest pull requests. A run that may see neither token nor git reads
// them there, with the same answer.
func Export(ctx context.Context, from store.Store, s *Standing, folder string) error {
	v, err := from.Snapshot(ctx)
	if err != nil {
		return err
	}
	entries, _, err := Entries(ctx, v)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var paths []string
	for _, e := range append(s.nearest(entries), s.approvals(entries)...) {
		paths = append(paths, e.Path)
	}
	return store.ReadAll(ctx, v, paths, func(path string, data []byte, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it was removed since
		}
		if err != nil {
			return err
		}
		to := filepath.Join(folder, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o644)
	})
}

// nearest are the entries of the nearest commit that has one, of every key.
func (s *Standing) nearest(entries []Entry) []Entry {
	if s.Lineage == nil {
		return nil
	}
	byCommit := map[string][]Entry{}
	for _, e := range entries {
		if e.Commit != "" {
			byCommit[e.Commit] = append(byCommit[e.Commit], e)
		}
	}
	seen := map[string]bool{}
	var out []Entry
	for _, a := range s.Lineage.Ancestors {
		for _, e := range byCommit[a.Commit] {
			if !seen[e.Key] {
				seen[e.Key] = true
				out = append(out, e)
			}
		}
	}
	return out
}

// approvals are the approved entries, at most maxApproved of a key: those that
// count for sure first, then those without a pull request, which only reading them
// tells of, then the latest pull requests'.
func (s *Standing) approvals(entries []Entry) []Entry {
	counts := map[int]bool{s.Pull: true}
	if s.Lineage != nil {
		for _, a := range s.Lineage.Ancestors {
			for _, n := range a.Pulls {
				counts[n] = true
			}
		}
	}
	rank := func(e Entry) int {
		switch {
		case e.Pull == 0:
			return 1
		case counts[e.Pull]:
			return 0
		}
		return 2
	}
	approved := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return e.Commit != "" })
	slices.SortStableFunc(approved, func(a, b Entry) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.Pull, a.Pull)) })
	taken := map[string]int{}
	return slices.DeleteFunc(approved, func(e Entry) bool { taken[e.Key]++; return taken[e.Key] > maxApproved })
}

// LocalStanding is the standing of a git checkout that is to be merged into
// base, a commit or branch; "" where it is on the branch itself. Where its history
// is not known the error says why, beside a standing without a lineage.
func LocalStanding(ctx context.Context, g *lineage.Git, base string) (*Standing, error) {
	head, dirty, err := g.Head(ctx)
	if err != nil {
		return nil, err
	}
	if !dirty {
		return StandingOf(ctx, g, base, head)
	}
	s := &Standing{Version: StandingVersion, Note: "tracked files differ from the commit that is checked out"}
	s.Lineage, err = lineage.Of(ctx, g, base, head)
	return s, err
}

// StandingOf is LocalStanding of a commit that need not be checked out.
func StandingOf(ctx context.Context, g *lineage.Git, base, commit string) (*Standing, error) {
	tree, err := g.Tree(ctx, commit)
	if err != nil {
		return nil, err
	}
	s := &Standing{Version: StandingVersion, Head: commit, Tree: tree}
	s.Lineage, err = lineage.Of(ctx, g, base, commit)
	return s, err
}
