package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// repository runs git in one repository. Nothing that the repository itself
// configures to be run is run: a checkout of a pull request may hold hooks.
type repository struct{ dir string }

// gitError is a git command that failed.
type gitError struct {
	args   []string
	code   int
	stderr string
}

func (e *gitError) Error() string {
	msg := strings.TrimSpace(e.stderr)
	if msg == "" {
		msg = fmt.Sprintf("exit code %d", e.code)
	}
	return fmt.Sprintf("git %s: %s", e.args[0], withoutPassword(msg))
}

var userInfo = regexp.MustCompile(`(https?://)[^/@\s']*@`)

// withoutPassword takes user and password out of addresses.
func withoutPassword(s string) string { return userInfo.ReplaceAllString(s, "$1") }

// run returns git's standard output.
func (r repository) run(ctx context.Context, env []string, stdin []byte, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false",
		"-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "commit.gpgSign=false"}, args...)...)
	cmd.Dir = r.dir
	cmd.Env = append(append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0"), env...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return stdout.Bytes(), nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.As(err, &exit):
		return stdout.Bytes(), &gitError{args, exit.ExitCode(), stderr.String()}
	}
	return nil, fmt.Errorf("git: %w", err)
}

// line is run for one line of output.
func (r repository) line(ctx context.Context, args ...string) (string, error) {
	out, err := r.run(ctx, nil, nil, args...)
	return strings.TrimSpace(string(out)), err
}

// exitCode is git's, −1 when it did not run.
func exitCode(err error) int {
	var g *gitError
	if errors.As(err, &g) {
		return g.code
	}
	return -1
}

// identity gives commits an author where git knows none.
func (r repository) identity(ctx context.Context) []string {
	if _, err := r.line(ctx, "var", "GIT_COMMITTER_IDENT"); err == nil {
		return nil
	}
	const name, mail = "paritygate", "paritygate@localhost"
	return []string{"GIT_AUTHOR_NAME=" + name, "GIT_AUTHOR_EMAIL=" + mail, "GIT_COMMITTER_NAME=" + name, "GIT_COMMITTER_EMAIL=" + mail}
}
