package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// branch is a store on a branch of its own, made without a checkout: objects
// are written, and the branch moves to them only if nobody moved it before. The
// branch shares no history with the code.
type branch struct {
	name   string // as the spec has it
	branch string
	remote string // "" for the local branch
	auto   bool   // the remote was not named: origin, if there is one
	repo   repository
}

var branchName = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._/+-]{0,200}$`)

func openBranch(name, rest string, o Options) (Store, error) {
	b, remote, named := strings.Cut(rest, "@")
	if !branchName.MatchString(b) || strings.Contains(b, "..") || strings.Contains(b, "//") || strings.HasSuffix(b, ".lock") || strings.HasSuffix(b, "/") {
		return nil, fmt.Errorf("baseline store %q: %q is no name of a branch: want one as parity-baselines", name, b)
	}
	if remote != "" && !branchName.MatchString(remote) {
		return nil, fmt.Errorf("baseline store %q: %q is no name of a remote", name, remote)
	}
	if o.API != nil && !named {
		return &apiBranch{name: name, branch: b, api: o.API}, nil
	}
	return &branch{name: name, branch: b, remote: remote, auto: !named, repo: repository{o.Repository}}, nil
}

func (b *branch) String() string { return b.name }

func (b *branch) ref() string { return "refs/heads/" + b.branch }

// resolve finds the remote where none was named.
func (b *branch) resolve(ctx context.Context) error {
	if _, err := b.repo.line(ctx, "rev-parse", "--git-dir"); err != nil {
		return b.failed(fmt.Errorf("%s is no git repository: %w", orHere(b.repo.dir), err))
	}
	if !b.auto {
		return nil
	}
	if _, err := b.repo.line(ctx, "remote", "get-url", "origin"); err == nil {
		b.remote = "origin"
	}
	b.auto = false
	return nil
}

func orHere(dir string) string {
	if dir == "" {
		return "this folder"
	}
	return dir
}

func (b *branch) failed(err error) error { return fmt.Errorf("baseline store %s: %w", b.name, err) }

// head is the branch's newest commit, with its objects here; "" without one.
func (b *branch) head(ctx context.Context) (string, error) {
	if b.remote == "" {
		sha, err := b.repo.line(ctx, "rev-parse", "--verify", "--quiet", b.ref()+"^{commit}")
		if exitCode(err) == 1 {
			return "", nil
		}
		return sha, err
	}
	out, err := b.repo.line(ctx, "ls-remote", "--exit-code", b.remote, b.ref())
	if exitCode(err) == 2 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	sha, _, _ := strings.Cut(out, "\t")
	if _, err := b.repo.line(ctx, "cat-file", "-e", sha+"^{tree}"); err == nil {
		return sha, nil
	}
	// Without a name of its own here: two processes may fetch at once, and the
	// user's references stay as they are.
	_, err = b.repo.line(ctx, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--refmap=", "--no-recurse-submodules", b.remote, b.ref())
	return sha, err
}

func (b *branch) Snapshot(ctx context.Context) (View, error) {
	if err := b.resolve(ctx); err != nil {
		return nil, err
	}
	sha, err := b.head(ctx)
	if err != nil {
		return nil, b.failed(err)
	}
	return &commitView{b, sha}, nil
}

func (b *branch) Update(ctx context.Context, message string, change func(View) ([]Write, error)) (string, error) {
	if err := b.resolve(ctx); err != nil {
		return "", err
	}
	env := b.repo.identity(ctx)
	var last error
	for n, locked := 0, 0; n < tries && locked < lockedTries; n++ {
		base, err := b.head(ctx)
		if err != nil {
			return "", b.failed(err)
		}
		writes, err := change(&commitView{b, base})
		if err != nil || len(writes) == 0 {
			return base, err
		}
		if writes, err = checked(writes); err != nil {
			return "", err
		}
		sha, err := b.commit(ctx, env, base, message, writes)
		if err != nil {
			return "", b.failed(err)
		}
		if sha == base {
			return base, nil
		}
		raced, err := b.publish(ctx, base, sha)
		if err == nil {
			return sha, nil
		}
		if !raced {
			return "", b.failed(err)
		}
		last, locked = err, locked+1
		if !strings.Contains(err.Error(), lockExists) {
			locked = 0
		}
		if err := pause(ctx, n, rand.Float64); err != nil {
			return "", b.failed(err)
		}
	}
	return "", b.failed(fmt.Errorf("%w: %w", ErrBusy, last))
}

// A git that was killed leaves its lock behind, which no other one takes away.
// Locks are held for moments: one that is there so often in a row stays, and git's
// message says which file it is.
const (
	lockExists  = ".lock': File exists"
	lockedTries = 9
)

// commit writes the objects of base with the writes applied. It returns base
// itself when they change nothing.
func (b *branch) commit(ctx context.Context, env []string, base, message string, writes []Write) (string, error) {
	tmp, err := os.MkdirTemp("", "paritygate-index-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	index := append(slices.Clone(env), "GIT_INDEX_FILE="+filepath.Join(tmp, "index"))
	if base != "" {
		if _, err := b.repo.run(ctx, index, nil, "read-tree", base); err != nil {
			return "", err
		}
	}
	var info bytes.Buffer
	for _, w := range writes {
		if w.Data == nil {
			fmt.Fprintf(&info, "0 %s\t%s\x00", strings.Repeat("0", 40), w.Path)
			continue
		}
		blob, err := b.repo.run(ctx, env, w.Data, "hash-object", "-w", "--stdin")
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&info, "100644 %s\t%s\x00", bytes.TrimSpace(blob), w.Path)
	}
	if _, err := b.repo.run(ctx, index, info.Bytes(), "update-index", "-z", "--index-info"); err != nil {
		return "", err
	}
	tree, err := b.repo.run(ctx, index, nil, "write-tree")
	if err != nil {
		return "", err
	}
	args := []string{"commit-tree", string(bytes.TrimSpace(tree)), "-F", "-"}
	if base != "" {
		if before, err := b.repo.line(ctx, "rev-parse", base+"^{tree}"); err != nil || before == args[1] {
			return base, err
		}
		args = append(args, "-p", base)
	}
	sha, err := b.repo.run(ctx, env, []byte(message), args...)
	return string(bytes.TrimSpace(sha)), err
}

// raced are the answers of git to a writer that was not the fastest.
var raced = regexp.MustCompile(`(?i)\[rejected\]|non-fast-forward|fetch first|cannot lock ref|failed to update ref|reference already exists|is at [0-9a-f]{40,64} but expected|incorrect old value`)

// publish moves the branch from base to sha, unless somebody else moved it.
func (b *branch) publish(ctx context.Context, base, sha string) (bool, error) {
	var err error
	if b.remote == "" {
		old := base
		if old == "" {
			old = strings.Repeat("0", len(sha))
		}
		_, err = b.repo.line(ctx, "update-ref", "-m", "paritygate", b.ref(), sha, old)
	} else {
		_, err = b.repo.line(ctx, "push", "--quiet", "--no-verify", b.remote, sha+":"+b.ref())
	}
	if err == nil {
		return false, nil
	}
	var g *gitError
	if errors.As(err, &g) && raced.MatchString(g.stderr) {
		return true, err
	}
	// The answer may have been lost on the way although the branch moved.
	if now, e := b.head(ctx); e == nil && now != "" {
		if _, e := b.repo.line(ctx, "merge-base", "--is-ancestor", sha, now); e == nil {
			return false, nil
		}
	}
	return false, err
}

func (b *branch) Log(ctx context.Context, p string, most int) ([]Revision, error) {
	v, err := b.Snapshot(ctx)
	if err != nil || v.Revision() == "" {
		return nil, err
	}
	args := []string{"log", fmt.Sprintf("--max-count=%d", most), "--format=%H%x1f%cI%x1f%an%x1f%s%x1e", v.Revision()}
	if p != "" {
		if err := valid(p); err != nil {
			return nil, err
		}
		args = append(args, "--", ":(literal)"+p)
	}
	out, err := b.repo.line(ctx, args...)
	if err != nil {
		return nil, b.failed(err)
	}
	var revs []Revision
	for _, rec := range strings.Split(out, "\x1e") {
		f := strings.SplitN(strings.TrimSpace(rec), "\x1f", 4)
		if len(f) != 4 {
			continue
		}
		date, err := time.Parse(time.RFC3339, f[1])
		if err != nil {
			return nil, b.failed(err)
		}
		revs = append(revs, Revision{ID: f[0], Date: date, Author: f[2], Message: f[3]})
	}
	return revs, nil
}

// commitView reads one commit of the branch.
type commitView struct {
	b   *branch
	sha string
}

func (v *commitView) Revision() string { return v.sha }

func (v *commitView) Read(ctx context.Context, p string) ([]byte, error) {
	if err := valid(p); err != nil {
		return nil, err
	}
	if v.sha == "" {
		return nil, notExist(v.b.name, p)
	}
	var data []byte
	err := v.readAll(ctx, []string{p}, func(_ string, b []byte, err error) error {
		data = b
		return err
	})
	return data, err
}

func (v *commitView) List(ctx context.Context, folder string) ([]string, error) {
	if v.sha == "" {
		return nil, nil
	}
	args := []string{"ls-tree", "-r", "-z", "--name-only", v.sha}
	if folder != "" {
		if err := valid(folder); err != nil {
			return nil, err
		}
		args = append(args, "--", folder+"/")
	}
	out, err := v.b.repo.run(ctx, nil, nil, args...)
	if err != nil {
		return nil, v.b.failed(err)
	}
	var list []string
	for _, p := range strings.Split(string(out), "\x00") {
		if fs.ValidPath(p) && below(p, folder) {
			list = append(list, p)
		}
	}
	return sorted(list), nil
}
