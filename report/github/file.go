package github

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	gh "github.com/google/go-github/v62/github"
)

// maxFile bounds what File reads, in bytes: it is for specs.
const maxFile = 1 << 20

// File is a file of the repository at a commit, at most 1 MiB. path is relative
// with slashes; commit is a whole SHA, because a branch moves while it is read.
//
// A file that is not there is an error that wraps fs.ErrNotExist, only if the
// commit itself can be seen: GitHub says 404 too where the token may not read.
// Folders, submodules and links out of the repository are errors. A link within
// it is followed, by GitHub.
func (c *Client) File(ctx context.Context, path, commit string) ([]byte, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	if !fs.ValidPath(path) || path == "." || strings.Contains(path, "..") {
		return nil, fmt.Errorf("%q: want a file's path in the repository, relative, with slashes, without .. anywhere", path)
	}
	if !shaPattern.MatchString(commit) {
		return nil, fmt.Errorf("%s: commit %q: want its whole SHA, 40 or 64 hexadecimal digits", path, commit)
	}
	data, err := c.file(ctx, path, commit)
	if err != nil {
		return nil, fmt.Errorf("%s at commit %s: %w", path, commit[:12], err)
	}
	return data, nil
}

func (c *Client) file(ctx context.Context, path, commit string) ([]byte, error) {
	f, folder, _, err := c.api.Repositories.GetContents(ctx, c.ev.Owner, c.ev.Repo, path, &gh.RepositoryContentGetOptions{Ref: commit})
	switch {
	case err != nil && failureOf(err) == failNotFound:
		return nil, c.absent(ctx, commit)
	case err != nil:
		return nil, errors.New(c.explain(err))
	case folder != nil || f.GetType() == "dir":
		return nil, errors.New("is a folder, not a file")
	case f.GetType() == "submodule" || f.GetSubmoduleGitURL() != "":
		return nil, errors.New("is a submodule, not a file")
	case f.GetType() == "symlink":
		return nil, fmt.Errorf("is a link to %q, which is no file of the repository", f.GetTarget())
	case f.GetType() != "file":
		return nil, fmt.Errorf("is a %q, not a file", f.GetType())
	case f.GetSize() > maxFile:
		return nil, fmt.Errorf("is %d bytes long, more than %d", f.GetSize(), maxFile)
	}
	encoding, content := f.GetEncoding(), ""
	if f.Content != nil {
		content = *f.Content
	}
	if encoding != "base64" && f.GetSize() > 0 {
		// Above a megabyte GitHub leaves the content out.
		blob, _, err := c.api.Git.GetBlob(ctx, c.ev.Owner, c.ev.Repo, f.GetSHA())
		if err != nil {
			return nil, errors.New(c.explain(err))
		}
		encoding, content = blob.GetEncoding(), blob.GetContent()
		if encoding != "base64" {
			return nil, fmt.Errorf("GitHub sends its content as %q: want base64", encoding)
		}
	}
	return decode(content, f.GetSize())
}

// absent is fs.ErrNotExist if the commit can be seen.
func (c *Client) absent(ctx context.Context, commit string) error {
	_, _, err := c.api.Git.GetCommit(ctx, c.ev.Owner, c.ev.Repo, commit)
	switch {
	case err == nil:
		return fs.ErrNotExist
	case failureOf(err) == failNotFound:
		return errors.New("the commit is not in the repository, or the token may not read it (permissions: contents: read)")
	}
	return errors.New(c.explain(err))
}

// decode reads base64 with its line breaks and checks that all is there.
func decode(content string, size int) ([]byte, error) {
	data, err := base64.StdEncoding.DecodeString(content) // it skips line breaks
	if err != nil {
		return nil, fmt.Errorf("GitHub's answer: %w", err)
	}
	if len(data) != size || len(data) > maxFile {
		return nil, fmt.Errorf("GitHub sends %d bytes of a file of %d", len(data), size)
	}
	return data, nil
}
