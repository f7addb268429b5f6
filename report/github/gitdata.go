package github

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	gh "github.com/google/go-github/v62/github"

	"github.com/paritygate/paritygate/baseline/store"
)

var _ store.GitHub = (*Client)(nil)

// objectTries bounds how often an object is sent whose answer was lost. Sending
// it twice is harmless: its name is the hash of what it holds.
const objectTries = 4

// BranchHead is a branch's newest commit. The error wraps fs.ErrNotExist where
// there is no such branch.
func (c *Client) BranchHead(ctx context.Context, branch string) (string, error) {
	ref, _, err := c.api.Git.GetRef(ctx, c.ev.Owner, c.ev.Repo, "heads/"+branch)
	if failureOf(err) == failNotFound {
		return "", fmt.Errorf("branch %s: %w", branch, fs.ErrNotExist)
	}
	if err != nil {
		return "", c.toldf("branch %s", branch, err)
	}
	return ref.GetObject().GetSHA(), nil
}

// toldf is an error of the API in words.
func (c *Client) toldf(format, what string, err error) error {
	return fmt.Errorf(format+": %s", what, c.explain(err))
}

// Files lists all files of a commit by path, with the names of their blobs.
func (c *Client) Files(ctx context.Context, commit string) (map[string]string, error) {
	tree, _, err := c.api.Git.GetTree(ctx, c.ev.Owner, c.ev.Repo, commit, true)
	if err != nil {
		return nil, c.toldf("files of %s", commit, err)
	}
	if tree.GetTruncated() {
		return nil, fmt.Errorf("files of %s: GitHub lists only some of them, there are too many: run paritygate baseline gc", commit)
	}
	files := map[string]string{}
	for _, e := range tree.Entries {
		if e.GetType() == "blob" && e.GetMode() == "100644" {
			files[e.GetPath()] = e.GetSHA()
		}
	}
	return files, nil
}

// Blob is a file's content.
func (c *Client) Blob(ctx context.Context, sha string) ([]byte, error) {
	b, _, err := c.api.Git.GetBlob(ctx, c.ev.Owner, c.ev.Repo, sha)
	if err != nil {
		return nil, c.toldf("blob %s", sha, err)
	}
	if b.GetEncoding() != "base64" {
		return nil, fmt.Errorf("blob %s: GitHub sent it as %q, not base64", sha, b.GetEncoding())
	}
	data, err := base64.StdEncoding.DecodeString(withoutLines(b.GetContent()))
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", sha, err)
	}
	return data, nil
}

// withoutLines takes out the line breaks that GitHub puts into base64.
func withoutLines(s string) string {
	return string(slices.DeleteFunc([]byte(s), func(b byte) bool { return b == '\n' || b == '\r' }))
}

// Commit makes a commit of parent's files with writes applied, on no branch yet.
func (c *Client) Commit(ctx context.Context, parent, message string, writes []store.Write) (string, error) {
	entries := make([]*gh.TreeEntry, len(writes))
	for i, w := range writes {
		e := &gh.TreeEntry{Path: gh.String(w.Path), Mode: gh.String("100644"), Type: gh.String("blob")}
		if w.Data != nil {
			blob, err := object(func() (*gh.Blob, *gh.Response, error) {
				return c.api.Git.CreateBlob(ctx, c.ev.Owner, c.ev.Repo, &gh.Blob{
					Content: gh.String(base64.StdEncoding.EncodeToString(w.Data)), Encoding: gh.String("base64")})
			})
			if err != nil {
				return "", c.toldf("blob of %s", w.Path, err)
			}
			e.SHA = blob.SHA
		}
		entries[i] = e
	}
	base, parents, err := c.baseTree(ctx, parent)
	if err != nil {
		return "", err
	}
	tree, err := object(func() (*gh.Tree, *gh.Response, error) {
		return c.api.Git.CreateTree(ctx, c.ev.Owner, c.ev.Repo, base, entries)
	})
	if err != nil {
		return "", c.toldf("tree on %s", parent, err)
	}
	commit, err := object(func() (*gh.Commit, *gh.Response, error) {
		return c.api.Git.CreateCommit(ctx, c.ev.Owner, c.ev.Repo, &gh.Commit{Message: gh.String(message), Tree: tree, Parents: parents}, nil)
	})
	if err != nil {
		return "", c.toldf("commit on %s", parent, err)
	}
	return commit.GetSHA(), nil
}

func (c *Client) baseTree(ctx context.Context, parent string) (string, []*gh.Commit, error) {
	if parent == "" {
		return "", nil, nil
	}
	p, _, err := c.api.Git.GetCommit(ctx, c.ev.Owner, c.ev.Repo, parent)
	if err != nil {
		return "", nil, c.toldf("commit %s", parent, err)
	}
	return p.GetTree().GetSHA(), []*gh.Commit{{SHA: gh.String(parent)}}, nil
}

// object sends an object again when the answer was lost.
func object[T any](send func() (T, *gh.Response, error)) (T, error) {
	for n := 1; ; n++ {
		v, _, err := send()
		if err == nil || failureOf(err) != failUnknown || n == objectTries {
			return v, err
		}
	}
}

// MoveBranch moves a branch from a commit on to another; from "" makes it. The
// error is store.ErrRaced where the branch is elsewhere by now. GitHub refuses
// whatever would rewrite history.
func (c *Client) MoveBranch(ctx context.Context, branch, from, to string) error {
	ref := &gh.Reference{Ref: gh.String("refs/heads/" + branch), Object: &gh.GitObject{SHA: gh.String(to)}}
	var err error
	if from == "" {
		_, _, err = c.api.Git.CreateRef(ctx, c.ev.Owner, c.ev.Repo, ref)
	} else {
		_, _, err = c.api.Git.UpdateRef(ctx, c.ev.Owner, c.ev.Repo, ref, false)
	}
	switch failureOf(err) {
	case failInvalid, failConflict:
		// "Update is not a fast forward" and "Reference already exists": the caller
		// looks where the branch is, so any other refusal shows there.
		if now, e := c.BranchHead(ctx, branch); e == nil && now != from {
			return store.ErrRaced
		}
	case failNotFound:
		// The branch was there when it was read.
		if _, e := c.BranchHead(ctx, branch); errors.Is(e, fs.ErrNotExist) && from != "" {
			return store.ErrRaced
		}
	}
	if err != nil {
		return c.toldf("branch %s", branch, err)
	}
	return nil
}

// Contains says whether ancestor is an ancestor of commit, or commit itself.
func (c *Client) Contains(ctx context.Context, commit, ancestor string) (bool, error) {
	if commit == ancestor {
		return true, nil
	}
	cmp, _, err := c.api.Repositories.CompareCommits(ctx, c.ev.Owner, c.ev.Repo, ancestor, commit, &gh.ListOptions{PerPage: 1})
	if failureOf(err) == failNotFound {
		return false, nil // no common history, or an object that no branch has
	}
	if err != nil {
		return false, c.toldf("comparison with %s", commit, err)
	}
	return cmp.GetStatus() == "ahead" || cmp.GetStatus() == "identical", nil
}

// Log lists the commits of a branch that changed a path, newest first.
func (c *Client) Log(ctx context.Context, branch, path string, most int) ([]store.Revision, error) {
	var out []store.Revision
	o := &gh.CommitsListOptions{SHA: branch, Path: path, ListOptions: gh.ListOptions{PerPage: min(most, pageSize)}}
	for len(out) < most {
		list, resp, err := c.api.Repositories.ListCommits(ctx, c.ev.Owner, c.ev.Repo, o)
		if failureOf(err) == failNotFound {
			return nil, fmt.Errorf("branch %s: %w", branch, fs.ErrNotExist)
		}
		if err != nil {
			return nil, c.toldf("history of %s", branch, err)
		}
		for _, r := range list {
			message, _, _ := strings.Cut(r.GetCommit().GetMessage(), "\n")
			out = append(out, store.Revision{ID: r.GetSHA(), Date: r.GetCommit().GetCommitter().GetDate().Time,
				Author: r.GetCommit().GetAuthor().GetName(), Message: message})
		}
		if resp.NextPage == 0 || len(list) == 0 {
			break
		}
		o.Page = resp.NextPage
	}
	return out[:min(len(out), most)], nil
}
