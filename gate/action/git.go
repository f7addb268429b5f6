package action

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/paritygate/paritygate/gate/engine"
)

// git reads the workspace's repository. What lies there may be hostile: steps
// of the change may have run before. So git is started with nothing of its
// surroundings, no hook, no monitor, no fetch of what is missing, no replaced
// objects, and only with commands that run no filter.
type git struct {
	dir    string // the workspace
	config string // stands for the user's configuration: only that this folder is safe
	path   string // PATH
}

const gitTimeout = time.Minute

func newGit(workspace, private, path string) (*git, error) {
	config := filepath.Join(private, "gitconfig")
	// Quoted as git's configuration wants it; the runner's own folder has no quote in it.
	text := fmt.Sprintf("[safe]\n\tdirectory = %q\n", workspace)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return &git{dir: workspace, config: config, path: path}, nil
}

func (g *git) run(ctx context.Context, max int64, args ...string) ([]byte, error) {
	p := engine.Process{
		Args: append([]string{"git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never",
			"-c", "core.pager=cat", "-C", g.dir, "--no-optional-locks"}, args...),
		Env: []string{"PATH=" + g.path, "HOME=" + filepath.Dir(g.config), "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + g.config,
			"GIT_ALLOW_PROTOCOL=none", "GIT_NO_LAZY_FETCH=1", "GIT_NO_REPLACE_OBJECTS=1", "GIT_TERMINAL_PROMPT=0"},
		Timeout:   gitTimeout,
		MaxOutput: 2*max + 2,
	}
	r, err := p.Run(ctx)
	switch {
	case err != nil:
		return nil, fmt.Errorf("git: %w", err)
	case r.TimedOut:
		return nil, fmt.Errorf("git %s took more than %s", args[0], gitTimeout)
	case !r.OK():
		return nil, fmt.Errorf("git %s: %s", args[0], oneLine(r.Stderr.Last(3)))
	case r.Stdout.Len() > max:
		return nil, fmt.Errorf("git %s: more than %d bytes", args[0], max)
	}
	return append(r.Stdout.Head, r.Stdout.Tail...), nil
}

var commitPattern = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// head is the commit that is checked out.
func (g *git) head(ctx context.Context) (string, error) {
	out, err := g.run(ctx, 1000, "rev-parse", "--verify", "HEAD^{commit}")
	if err != nil {
		return "", err
	}
	sha := strings.TrimSpace(string(out))
	if !commitPattern.MatchString(sha) {
		return "", errors.New("git rev-parse printed no commit")
	}
	return sha, nil
}

// file is the content of a file in a commit. The error wraps fs.ErrNotExist
// only where the commit is there and has no such file.
func (g *git) file(ctx context.Context, commit, path string, max int64) ([]byte, error) {
	if _, err := g.run(ctx, 1000, "rev-parse", "--verify", "--quiet", commit+"^{commit}"); err != nil {
		return nil, fmt.Errorf("commit %s is not in this checkout: fetch it, as with fetch-depth: 0, or give the Action a token", commit)
	}
	// ls-tree takes a path as it is, not as a pattern, with --literal-pathspecs.
	out, err := g.run(ctx, 1<<16, "--literal-pathspecs", "ls-tree", "-z", commit, "--", path)
	if err != nil {
		return nil, err
	}
	entry, _, _ := strings.Cut(string(out), "\t")
	f := strings.Fields(entry)
	switch {
	case len(out) == 0:
		return nil, fmt.Errorf("%s in commit %s: %w", path, commit, fs.ErrNotExist)
	case len(f) != 3 || f[1] != "blob" || f[0] == "120000":
		return nil, fmt.Errorf("%s in commit %s is no regular file", path, commit)
	}
	return g.run(ctx, max, "cat-file", "blob", f[2])
}
