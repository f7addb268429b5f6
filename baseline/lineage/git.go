package lineage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Git is the history of a git checkout. A shallow one knows too little: then
// what is missing is fetched from its remote, commits alone, into a repository
// of its own, and the checkout stays as it is.
type Git struct {
	Dir    string // of the checkout; "" is the working directory
	Remote string // "" is origin
	graph  string // the repository of its own, "" until it is needed
}

// Close removes what was fetched.
func (g *Git) Close() error {
	if g.graph == "" {
		return nil
	}
	return os.RemoveAll(g.graph)
}

func (g *Git) git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return string(out), &gitError{verb(args), firstLine(stderr.String()), err}
	}
	return strings.TrimSpace(string(out)), nil
}

// verb is what git was told to do, behind its settings.
func verb(args []string) string {
	for len(args) > 2 && args[0] == "-c" {
		args = args[2:]
	}
	return args[0]
}

var userInfo = regexp.MustCompile(`(https?://)[^/@\s']*@`)

// firstLine is what git says that is wrong, without users and passwords of
// addresses; behind it stand hints.
func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return userInfo.ReplaceAllString(line, "$1")
}

// gitError is a git command that failed.
type gitError struct {
	verb, stderr string
	err          error
}

func (e *gitError) Error() string {
	if e.stderr == "" {
		return fmt.Sprintf("git %s: %v", e.verb, e.err)
	}
	return fmt.Sprintf("git %s: %s", e.verb, e.stderr)
}

func (e *gitError) Unwrap() error { return e.err }

// exitCode is git's, −1 when it did not run.
func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

// where is a repository that knows the whole history of the commits.
func (g *Git) where(ctx context.Context, commits ...string) (string, error) {
	shallow, err := g.git(ctx, g.Dir, "rev-parse", "--is-shallow-repository")
	if err != nil {
		return "", err
	}
	known := true
	for _, c := range commits {
		known = known && g.has(ctx, g.Dir, c)
	}
	if shallow == "false" && known {
		return g.Dir, nil
	}
	if g.graph != "" {
		return g.graph, g.fetch(ctx, commits)
	}
	dir, err := os.MkdirTemp("", "paritygate-history-*")
	if err != nil {
		return "", err
	}
	g.graph = dir
	if _, err := g.git(ctx, dir, "init", "-q", "--bare", "."); err != nil {
		return "", err
	}
	return dir, g.fetch(ctx, commits)
}

// fetch brings commits and all before them, without their files where the
// server can leave those out.
func (g *Git) fetch(ctx context.Context, commits []string) error {
	var want []string
	for _, c := range commits {
		if !g.has(ctx, g.graph, c) {
			want = append(want, c)
		}
	}
	if len(want) == 0 {
		return nil
	}
	remote := g.remote()
	url, err := g.git(ctx, g.Dir, "remote", "get-url", remote)
	if err != nil {
		return fmt.Errorf("the checkout knows too little of its history, and has no remote %s to ask: fetch more of it (actions/checkout: fetch-depth: 0)", remote)
	}
	if !strings.Contains(url, ":") && !filepath.IsAbs(url) {
		url = filepath.Join(g.Dir, url)
	}
	credentials, err := g.headers(ctx)
	if err != nil {
		return err
	}
	// After the checkout's own settings, so that no hook of it is run.
	args := append(credentials, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "fetch", "-q", "--no-tags", "--filter=tree:0", url)
	if _, err := g.git(ctx, g.graph, append(args, want...)...); err != nil {
		return fmt.Errorf("the checkout knows too little of its history, and %s does not give more: %w (actions/checkout: fetch-depth: 0)", remote, err)
	}
	return nil
}

// headers are the checkout's own credentials for HTTP, as actions/checkout
// leaves them. They go through the environment of git, not its arguments.
func (g *Git) headers(ctx context.Context) ([]string, error) {
	out, err := g.git(ctx, g.Dir, "config", "--local", "--null", "--get-regexp", `^(http\..*\.extraheader|includeif\..*\.path|credential\..*)$`)
	if exitCode(err) == 1 || out == "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	config, err := g.git(ctx, g.Dir, "rev-parse", "--path-format=absolute", "--git-path", "config")
	if err != nil {
		return nil, err
	}
	return []string{"-c", "include.path=" + config}, nil
}

func (g *Git) remote() string {
	if g.Remote == "" {
		return "origin"
	}
	return g.Remote
}

// has reports whether a repository holds a commit.
func (g *Git) has(ctx context.Context, dir, commit string) bool {
	_, err := g.git(ctx, dir, "cat-file", "-e", commit+"^{commit}")
	return err == nil
}

// ErrUnknown is wrapped by errors of names that nobody knows.
var ErrUnknown = errors.New("no commit or branch, neither of the checkout nor")

// Commit is the full hash of a commit or branch. A branch that the checkout does
// not know, as one of depth 1, is looked up at the remote.
func (g *Git) Commit(ctx context.Context, name string) (string, error) {
	if hash.MatchString(name) {
		return name, nil
	}
	sha, err := g.git(ctx, g.Dir, "rev-parse", "--verify", "--quiet", "--end-of-options", name+"^{commit}")
	if err == nil {
		return sha, nil
	}
	if exitCode(err) != 1 {
		return "", err
	}
	remote := g.remote()
	branch := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(name, "refs/remotes/"), remote+"/"), "refs/heads/")
	out, err := g.git(ctx, g.Dir, "ls-remote", "--exit-code", "--", remote, "refs/heads/"+branch)
	sha, _, _ = strings.Cut(out, "\t")
	switch {
	case err != nil && ctx.Err() != nil:
		return "", err
	case err != nil && exitCode(err) != 2:
		return "", fmt.Errorf("%s is no commit or branch of the checkout, and its remote %s does not answer: %w", name, remote, err)
	case !hash.MatchString(sha):
		return "", fmt.Errorf("%s is %w of its remote %s", name, ErrUnknown, remote)
	}
	return sha, nil
}

// MergeBase implements History.
func (g *Git) MergeBase(ctx context.Context, a, b string) (string, error) {
	var err error
	for _, name := range []*string{&a, &b} {
		if *name, err = g.Commit(ctx, *name); err != nil {
			return "", err
		}
	}
	dir, err := g.where(ctx, a, b)
	if err != nil {
		return "", err
	}
	out, err := g.git(ctx, dir, "merge-base", a, b)
	if exitCode(err) == 1 {
		return "", nil
	}
	return out, err
}

// Ancestors implements History.
func (g *Git) Ancestors(ctx context.Context, commit string, most int) ([]Ancestor, error) {
	dir, err := g.where(ctx, commit)
	if err != nil {
		return nil, err
	}
	format := "--format=%H %T %s"
	var out []Ancestor
	seen := map[string]bool{}
	for _, order := range [][]string{{"--first-parent"}, {"--topo-order"}} {
		args := append(append([]string{"log"}, order...), format, "--max-count="+strconv.Itoa(most), commit)
		text, err := g.git(ctx, dir, args...)
		if err != nil {
			return nil, err
		}
		for i, line := range strings.Split(text, "\n") {
			sha, rest, ok := strings.Cut(line, " ")
			tree, subject, _ := strings.Cut(rest, " ")
			if ok && !seen[sha] && len(out) < most {
				seen[sha] = true
				out = append(out, Ancestor{Commit: sha, Distance: i, Tree: tree, Pulls: PullsOf(subject)})
			}
		}
	}
	return out, nil
}

// Tree is the hash of a commit's files.
func (g *Git) Tree(ctx context.Context, commit string) (string, error) {
	dir := g.Dir
	if !g.has(ctx, dir, commit) {
		var err error
		if dir, err = g.where(ctx, commit); err != nil {
			return "", err
		}
	}
	return g.git(ctx, dir, "log", "-1", "--format=%T", commit)
}

// Head is the commit of the checkout, and whether tracked files were changed
// since.
func (g *Git) Head(ctx context.Context) (commit string, dirty bool, err error) {
	if commit, err = g.git(ctx, g.Dir, "rev-parse", "--verify", "HEAD^{commit}"); err != nil {
		return "", false, err
	}
	status, err := g.git(ctx, g.Dir, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=none")
	return commit, status != "", err
}
