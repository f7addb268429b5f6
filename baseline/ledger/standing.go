package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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
// be held against: of every key the documents of the nearest commits, and the
// approved ones. A run that may see neither token nor git reads them there.
func Export(ctx context.Context, from store.Store, s *Standing, folder string) error {
	v, err := from.Snapshot(ctx)
	if err != nil {
		return err
	}
	entries, _, err := Entries(ctx, v)
	if err != nil {
		return err
	}
	byCommit := map[string][]Entry{}
	approved := map[string]int{}
	var take []Entry
	for _, e := range entries {
		if e.Commit != "" {
			byCommit[e.Commit] = append(byCommit[e.Commit], e)
		} else if approved[e.Key]++; approved[e.Key] <= maxApproved {
			take = append(take, e)
		}
	}
	seen := map[string]bool{}
	if s.Lineage != nil {
		for _, a := range s.Lineage.Ancestors {
			for _, e := range byCommit[a.Commit] {
				if !seen[e.Key] {
					seen[e.Key] = true
					take = append(take, e)
				}
			}
		}
	}
	for _, e := range take {
		data, err := v.Read(ctx, e.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		to := filepath.Join(folder, filepath.FromSlash(e.Path))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			return err
		}
	}
	return os.MkdirAll(folder, 0o755)
}

// LocalStanding is the standing of a git checkout that is to be merged into
// base, a commit or branch; "" where it is on the branch itself.
func LocalStanding(ctx context.Context, g *lineage.Git, base string) (*Standing, error) {
	head, dirty, err := g.Head(ctx)
	if err != nil {
		return nil, err
	}
	s := &Standing{Version: StandingVersion}
	if dirty {
		s.Note = "tracked files differ from the commit that is checked out"
	} else {
		s.Head = head
		if s.Tree, err = g.Tree(ctx, head); err != nil {
			return nil, err
		}
	}
	s.Lineage, err = lineage.Of(ctx, g, base, head)
	return s, err
}
