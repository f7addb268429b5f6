// Package bisect walks through the commits between a good and a bad one, in a
// worktree of its own, until one is found that made the difference. Git chooses
// the commits; what was measured is kept, so that a walk that was interrupted
// goes on where it was.
package bisect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Verdict is what is said of one commit.
type Verdict string

const (
	Good Verdict = "good"
	Bad  Verdict = "bad"
	// Skip is a commit of which nothing can be said, as one that does not build.
	Skip Verdict = "skip"
)

// Step is one commit that was looked at.
type Step struct {
	Commit  string  `json:"commit"`
	Verdict Verdict `json:"verdict"`
	Value   string  `json:"value"` // that was measured, for people
	Why     string  `json:"why"`   // of a skip
}

// state is what a walk keeps on disk.
type state struct {
	Version int    `json:"version"`
	Good    string `json:"good"`
	Bad     string `json:"bad"`
	// Question is what is asked of each commit; another question is another walk.
	Question string `json:"question"`
	Steps    []Step `json:"steps"`
}

// Walk is a walk under way.
type Walk struct {
	repo string
	// Dir is the worktree, at the commit that is looked at.
	Dir   string
	file  string
	state state
}

// Start begins a walk, or goes on with the one that was interrupted if it asked
// the same question of the same commits. repo is a folder of the repository.
func Start(ctx context.Context, repo, good, bad, question string) (*Walk, error) {
	w := &Walk{repo: repo}
	var err error
	for _, c := range []struct {
		to   *string
		name string
	}{{&w.state.Good, good}, {&w.state.Bad, bad}} {
		if *c.to, err = git(ctx, repo, "rev-parse", "--verify", "--quiet", "--end-of-options", c.name+"^{commit}"); err != nil {
			return nil, fmt.Errorf("%q is no commit of this repository", c.name)
		}
	}
	if _, err := git(ctx, repo, "merge-base", "--is-ancestor", w.state.Good, w.state.Bad); err != nil || w.state.Good == w.state.Bad {
		return nil, fmt.Errorf("%s is no ancestor of %s: bisect walks from a good commit to a later bad one", good, bad)
	}
	common, err := git(ctx, repo, "rev-parse", "--path-format=absolute", "--git-common-dir")
	if err != nil {
		return nil, err
	}
	home := filepath.Join(common, "paritygate-bisect")
	w.Dir, w.file = filepath.Join(home, "worktree"), filepath.Join(home, "state.json")
	w.state.Version, w.state.Question = 1, question
	if w.resume() {
		return w, w.checkWorktree(ctx)
	}
	if err := w.Close(ctx); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		return nil, err
	}
	return w, w.checkWorktree(ctx)
}

// resume takes over what an interrupted walk of the same question knows.
func (w *Walk) resume() bool {
	data, err := os.ReadFile(w.file)
	if err != nil {
		return false
	}
	var old state
	if json.Unmarshal(data, &old) != nil || old.Version != w.state.Version || old.Good != w.state.Good || old.Bad != w.state.Bad || old.Question != w.state.Question {
		return false
	}
	w.state.Steps = old.Steps
	return true
}

// checkWorktree makes the worktree if it is not there.
func (w *Walk) checkWorktree(ctx context.Context) error {
	if at, err := git(ctx, w.Dir, "rev-parse", "--path-format=absolute", "--show-toplevel"); err == nil && sameFile(at, w.Dir) {
		return nil
	}
	if err := os.RemoveAll(w.Dir); err != nil {
		return err
	}
	if _, err := git(ctx, w.repo, "worktree", "prune"); err != nil {
		return err
	}
	_, err := git(ctx, w.repo, "worktree", "add", "--quiet", "--force", "--detach", w.Dir, w.state.Bad)
	return err
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// Good and Bad are the ends of the walk.
func (w *Walk) Good() string { return w.state.Good }
func (w *Walk) Bad() string  { return w.state.Bad }

// Steps are all commits that were looked at, in that order.
func (w *Walk) Steps() []Step { return slices.Clone(w.state.Steps) }

// Known is what was measured of a commit before.
func (w *Walk) Known(commit string) (Step, bool) {
	for _, s := range w.state.Steps {
		if s.Commit == commit {
			return s, true
		}
	}
	return Step{}, false
}

// Record keeps a step, on disk before it returns.
func (w *Walk) Record(s Step) error {
	if _, ok := w.Known(s.Commit); ok {
		return nil
	}
	w.state.Steps = append(w.state.Steps, s)
	data, err := json.MarshalIndent(w.state, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(w.file), "state-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), w.file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Checkout puts a commit into the worktree. What is untracked there stays, so
// that builds need not start from nothing.
func (w *Walk) Checkout(ctx context.Context, commit string) error {
	_, err := git(ctx, w.Dir, "checkout", "--quiet", "--force", "--detach", commit)
	return err
}

// Found is where a walk ended: one commit, or several of which the skipped ones
// hide which it is.
type Found struct{ Commits []string }

var (
	first = regexp.MustCompile(`(?m)^([0-9a-f]{40,64}) is the first bad commit`)
	among = regexp.MustCompile(`(?m)^([0-9a-f]{40,64})$`)
)

// Run asks measure of one commit after the other. measure is called with the
// commit in the worktree and only for commits that are not known yet.
func (w *Walk) Run(ctx context.Context, measure func(ctx context.Context, commit string) (Step, error)) (*Found, error) {
	out, err := w.bisect(ctx, "start", "--no-checkout", w.state.Bad, w.state.Good)
	for {
		if err != nil {
			return nil, err
		}
		if found := w.found(out); found != nil {
			return found, nil
		}
		commit, e := git(ctx, w.Dir, "rev-parse", "--verify", "BISECT_HEAD")
		if e != nil {
			return nil, e
		}
		s, known := w.Known(commit)
		if !known {
			if err := w.Checkout(ctx, commit); err != nil {
				return nil, err
			}
			if s, err = measure(ctx, commit); err != nil {
				return nil, err
			}
			s.Commit = commit
			if err := w.Record(s); err != nil {
				return nil, err
			}
		}
		out, err = w.bisect(ctx, string(s.Verdict), commit)
	}
}

// bisect runs git bisect, which ends with 2 when only skipped commits are left.
func (w *Walk) bisect(ctx context.Context, args ...string) (string, error) {
	out, err := git(ctx, w.Dir, append([]string{"bisect"}, args...)...)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 2 && strings.Contains(out, "first bad commit could be any of") {
		return out, nil
	}
	return out, err
}

func (w *Walk) found(out string) *Found {
	if m := first.FindStringSubmatch(out); m != nil {
		return &Found{[]string{m[1]}}
	}
	if _, list, ok := strings.Cut(out, "first bad commit could be any of"); ok {
		var f Found
		for _, m := range among.FindAllStringSubmatch(list, -1) {
			f.Commits = append(f.Commits, m[1])
		}
		return &f
	}
	return nil
}

// Close ends a walk: worktree and state are removed.
func (w *Walk) Close(ctx context.Context) error {
	home := filepath.Dir(w.file)
	if _, err := os.Stat(home); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.RemoveAll(home); err != nil {
		return err
	}
	_, err := git(ctx, w.repo, "worktree", "prune")
	return err
}

// git runs git and returns what it wrote, with hooks off: a commit of the past
// may hold any.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false",
		"-c", "gc.auto=0", "-c", "advice.detachedHead=false"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	text := strings.TrimSpace(string(out))
	switch {
	case err == nil:
		return text, nil
	case ctx.Err() != nil:
		return text, context.Cause(ctx)
	case strings.TrimSpace(stderr.String()) != "":
		return text, fmt.Errorf("git %s: %s: %w", args[0], strings.TrimSpace(stderr.String()), err)
	}
	return text, fmt.Errorf("git %s: %w", args[0], err)
}
