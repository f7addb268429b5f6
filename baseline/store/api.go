package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
)

// ErrRaced says that a branch was moved by somebody else.
var ErrRaced = errors.New("the branch was moved by somebody else")

// GitHub is what a branch store needs of GitHub's git-data API.
type GitHub interface {
	// BranchHead is a branch's newest commit; the error wraps fs.ErrNotExist
	// where there is no such branch.
	BranchHead(ctx context.Context, branch string) (commit string, err error)
	// Files lists all files of a commit by path, with the names of their blobs.
	Files(ctx context.Context, commit string) (map[string]string, error)
	// Blob is a file's content.
	Blob(ctx context.Context, sha string) ([]byte, error)
	// Commit makes a commit: parent's files with writes applied; parent "" is the
	// first of its branch.
	Commit(ctx context.Context, parent, message string, writes []Write) (commit string, err error)
	// MoveBranch moves a branch on from the commit from; "" makes it. The error is
	// ErrRaced where the branch is elsewhere by now.
	MoveBranch(ctx context.Context, branch, from, to string) error
	// Contains says whether a commit is an ancestor of another, or that itself.
	Contains(ctx context.Context, commit, ancestor string) (bool, error)
	// Log lists the commits of a branch that changed a path, newest first.
	Log(ctx context.Context, branch, path string, max int) ([]Revision, error)
}

// apiBranch is a store on a branch at GitHub, without git and without a checkout.
type apiBranch struct {
	name   string
	branch string
	api    GitHub
}

func (a *apiBranch) String() string { return a.name }

func (a *apiBranch) failed(err error) error { return fmt.Errorf("baseline store %s: %w", a.name, err) }

func (a *apiBranch) Snapshot(ctx context.Context) (View, error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, a.failed(err)
	}
	return v, nil
}

func (a *apiBranch) view(ctx context.Context) (*apiView, error) {
	head, err := a.api.BranchHead(ctx, a.branch)
	if errors.Is(err, fs.ErrNotExist) {
		return &apiView{a: a}, nil
	}
	if err != nil {
		return nil, err
	}
	files, err := a.api.Files(ctx, head)
	if err != nil {
		return nil, err
	}
	return &apiView{a, head, files}, nil
}

func (a *apiBranch) Update(ctx context.Context, message string, change func(View) ([]Write, error)) (string, error) {
	for n := range tries {
		v, err := a.view(ctx)
		if err != nil {
			return "", a.failed(err)
		}
		writes, err := change(v)
		if err != nil || len(writes) == 0 {
			return v.head, err
		}
		if writes, err = checked(writes); err != nil {
			return "", err
		}
		if writes = v.present(writes); len(writes) == 0 {
			return v.head, nil
		}
		sha, err := a.api.Commit(ctx, v.head, message, writes)
		if err != nil {
			return "", a.failed(err)
		}
		moved, err := a.move(ctx, v.head, sha)
		if moved {
			return sha, nil
		}
		if !errors.Is(err, ErrRaced) {
			return "", a.failed(err)
		}
		if err := pause(ctx, n, rand.Float64); err != nil {
			return "", a.failed(err)
		}
	}
	return "", a.failed(ErrBusy)
}

// move moves the branch. Where the answer is an error, the branch itself says
// whether it moved: an answer may be lost on its way.
func (a *apiBranch) move(ctx context.Context, from, to string) (bool, error) {
	err := a.api.MoveBranch(ctx, a.branch, from, to)
	if err == nil {
		return true, nil
	}
	now, e := a.api.BranchHead(ctx, a.branch)
	if e != nil {
		return false, err
	}
	there, e := a.api.Contains(ctx, now, to)
	switch {
	case e != nil:
		return false, err
	case there:
		return true, nil
	case now != from:
		return false, ErrRaced
	}
	return false, err
}

func (a *apiBranch) Log(ctx context.Context, path string, most int) ([]Revision, error) {
	if path != "" {
		if err := valid(path); err != nil {
			return nil, err
		}
	}
	revs, err := a.api.Log(ctx, a.branch, path, most)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, a.failed(err)
	}
	return revs, nil
}

// apiView is one commit of the branch.
type apiView struct {
	a     *apiBranch
	head  string
	files map[string]string
}

func (v *apiView) Revision() string { return v.head }

// present leaves out removals of what is not there, which GitHub refuses.
func (v *apiView) present(writes []Write) []Write {
	var out []Write
	for _, w := range writes {
		if _, ok := v.files[w.Path]; ok || w.Data != nil {
			out = append(out, w)
		}
	}
	return out
}

func (v *apiView) Read(ctx context.Context, p string) ([]byte, error) {
	if err := valid(p); err != nil {
		return nil, err
	}
	sha, ok := v.files[p]
	if !ok {
		return nil, notExist(v.a.name, p)
	}
	b, err := v.a.api.Blob(ctx, sha)
	if err != nil {
		return nil, v.a.failed(err)
	}
	if len(b) > MaxFile {
		return nil, v.a.failed(fmt.Errorf("%s has %d bytes, more than %d: no baseline has", p, len(b), MaxFile))
	}
	return b, nil
}

func (v *apiView) List(_ context.Context, folder string) ([]string, error) {
	if folder != "" {
		if err := valid(folder); err != nil {
			return nil, err
		}
	}
	var out []string
	for p := range v.files {
		if below(p, folder) {
			out = append(out, p)
		}
	}
	return sorted(out), nil
}
