// Package store keeps baselines: small files that are read by path and changed
// together, in a folder or on a branch of a git repository.
//
// Every writer may be killed at any moment, and any number may write at once: a
// change that Update acknowledged is there, a change that it did not is there
// wholly or not at all, file by file in the order in which they were given.
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// MaxFile bounds the bytes of one file: a baseline has kilobytes.
const MaxFile = 64 << 20

// Store is a place for baselines.
type Store interface {
	// String is the store as a spec names it, as "branch:parity-baselines".
	String() string
	// Snapshot is the store as it is now.
	Snapshot(ctx context.Context) (View, error)
	// Update asks change for what to write, given the store as it is now, and
	// writes it. Where another writer was faster, change is asked again with what
	// that one wrote: it must derive everything from the view it is given. No
	// writes are no error. The message and the author are kept by stores that
	// have a history.
	Update(ctx context.Context, message string, change func(View) ([]Write, error)) (revision string, err error)
	// Log lists the changes of a file or folder, newest first. A store without a
	// history has none.
	Log(ctx context.Context, path string, max int) ([]Revision, error)
}

// View reads one state of a store.
type View interface {
	// Revision names the state; "" for an empty store.
	Revision() string
	// Read returns a file. The error wraps fs.ErrNotExist where there is none.
	Read(ctx context.Context, path string) ([]byte, error)
	// List returns the paths of all files below a folder, sorted; "" is all.
	List(ctx context.Context, folder string) ([]string, error)
}

// Write is one file to write; nil Data removes it.
type Write struct {
	Path string
	Data []byte
}

// Revision is one change of a store.
type Revision struct {
	ID      string // commit
	Date    time.Time
	Author  string
	Message string // its first line
}

// ErrBusy says that other writers were faster every time.
var ErrBusy = errors.New("the store is busy: other writers were faster every time")

// Options are what a store may need of its surroundings.
type Options struct {
	// Repository is a folder of the git repository, for branch stores.
	Repository string
	// API reaches the repository at GitHub without git; nil uses git.
	API GitHub
}

// Schemes lists the forms that Open knows, for help and errors.
func Schemes() []string { return []string{"dir:PATH", "branch:NAME", "branch:NAME@REMOTE"} }

// Open returns the store of that name: "dir:PATH" is a folder, "branch:NAME" a
// branch of the repository at its remote origin or, where there is no such
// remote, of the local repository; "branch:NAME@REMOTE" names the remote, and
// "branch:NAME@" is the local branch whatever remotes there are.
// Nothing is read or made before the store is used.
func Open(name string, o Options) (Store, error) {
	scheme, rest, ok := strings.Cut(name, ":")
	if !ok || rest == "" {
		return nil, fmt.Errorf("baseline store %q: want one of %s", name, strings.Join(Schemes(), ", "))
	}
	switch scheme {
	case "dir":
		return &dir{root: rest}, nil
	case "branch":
		return openBranch(name, rest, o)
	}
	return nil, fmt.Errorf("baseline store %q: %q is no kind of store: want one of %s", name, scheme, strings.Join(Schemes(), ", "))
}

// valid refuses paths that could leave the store or that git would not keep.
func valid(p string) error {
	if !fs.ValidPath(p) || p == "." || strings.ContainsAny(p, "\\\x00\n\r\t\"") {
		return fmt.Errorf("path %q: want a relative path with slashes, as \"v1/key/commit.json\"", p)
	}
	for _, part := range strings.Split(p, "/") {
		if strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return fmt.Errorf("path %q: no part may begin with a dot or end in .lock", p)
		}
	}
	return nil
}

// checked are the writes if all of them are valid.
func checked(writes []Write) ([]Write, error) {
	seen := map[string]bool{}
	for _, w := range writes {
		if err := valid(w.Path); err != nil {
			return nil, err
		}
		if seen[w.Path] {
			return nil, fmt.Errorf("path %q is written twice in one change", w.Path)
		}
		seen[w.Path] = true
		if len(w.Data) > MaxFile {
			return nil, fmt.Errorf("%s has %d bytes, more than %d", w.Path, len(w.Data), MaxFile)
		}
	}
	return writes, nil
}

// below says whether a file lies below a folder.
func below(file, folder string) bool {
	return folder == "" || strings.HasPrefix(file, folder+"/")
}

func notExist(name, p string) error {
	return fmt.Errorf("%s: %w", path.Join(name, p), fs.ErrNotExist)
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// pause waits before try n, from 0, so that writers that met once do not meet
// again: longer each time, and not equally long.
func pause(ctx context.Context, n int, jitter func() float64) error {
	d := min(20*time.Millisecond<<min(n, 7), 2*time.Second)
	d = time.Duration(float64(d) * (0.5 + jitter()))
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// tries bounds how often an update starts again.
const tries = 60
