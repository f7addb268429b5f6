package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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

// command is a git that runs nothing of the repository's.
func (r repository) command(ctx context.Context, env []string, stdin []byte, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false",
		"-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "commit.gpgSign=false"}, args...)...)
	cmd.Dir = r.dir
	cmd.Env = append(append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0"), env...)
	cmd.Stdin = bytes.NewReader(stdin)
	return cmd
}

// run returns git's standard output.
func (r repository) run(ctx context.Context, env []string, stdin []byte, args ...string) ([]byte, error) {
	cmd := r.command(ctx, env, stdin, args)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := failure(ctx, cmd.Run(), args, &stderr)
	return stdout.Bytes(), err
}

// failure is what became of a git.
func failure(ctx context.Context, err error, args []string, stderr *bytes.Buffer) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &exit):
		return &gitError{args, exit.ExitCode(), stderr.String()}
	}
	return fmt.Errorf("git: %w", err)
}

// stream gives git's standard output to read. Where read ends with an error, that
// is what is returned, and git is stopped.
func (r repository) stream(ctx context.Context, stdin []byte, read func(io.Reader) error, args ...string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := r.command(ctx, nil, stdin, args)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return failure(ctx, err, args, &stderr)
	}
	if err := read(out); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		cancel()
		_ = cmd.Wait() // it was stopped
		if said := strings.TrimSpace(stderr.String()); said != "" && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
			err = fmt.Errorf("%w: %s", err, withoutPassword(said))
		}
		return err
	}
	return failure(ctx, cmd.Wait(), args, &stderr)
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
