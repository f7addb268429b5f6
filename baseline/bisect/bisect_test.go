package bisect

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// commits makes n commits, each with its number in the file n.
func commits(t *testing.T, n int) (dir string, list []string) {
	dir = t.TempDir()
	run(t, dir, "init", "-q", "-b", "main")
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, "n"), []byte(strconv.Itoa(i)), 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, dir, "add", "n")
		run(t, dir, "commit", "-q", "-m", fmt.Sprint(i))
		list = append(list, run(t, dir, "rev-parse", "HEAD"))
	}
	return dir, list
}

// judge says that commits from the first bad one on are bad.
func judge(t *testing.T, w *Walk, firstBad int, skip func(int) bool, looked *int) func(context.Context, string) (Step, error) {
	return func(context.Context, string) (Step, error) {
		*looked++
		b, err := os.ReadFile(filepath.Join(w.Dir, "n"))
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(string(b))
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case skip != nil && skip(n):
			return Step{Verdict: Skip, Why: "does not build"}, nil
		case n >= firstBad:
			return Step{Verdict: Bad}, nil
		}
		return Step{Verdict: Good}, nil
	}
}

func start(t *testing.T, dir, good, bad string) *Walk {
	t.Helper()
	w, err := Start(context.Background(), dir, good, bad, "q")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestEveryCommitIsFound(t *testing.T) {
	const n = 12
	dir, list := commits(t, n)
	for firstBad := 1; firstBad < n; firstBad++ {
		w := start(t, dir, list[0], "main")
		looked := 0
		found, err := w.Run(context.Background(), judge(t, w, firstBad, nil, &looked))
		if err != nil || len(found.Commits) != 1 || found.Commits[0] != list[firstBad] {
			t.Fatalf("first bad %d: found %+v, %v", firstBad, found, err)
		}
		if most := int(math.Ceil(math.Log2(n))); looked > most {
			t.Errorf("first bad %d: %d commits were measured, want at most %d", firstBad, looked, most)
		}
		if err := w.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if got := run(t, dir, "worktree", "list"); strings.Contains(got, "\n") {
		t.Errorf("a worktree is left: %s", got)
	}
	if got := run(t, dir, "status", "--porcelain", "--branch"); got != "## main" {
		t.Errorf("the checkout is %q", got)
	}
}

// Commits that cannot be measured are passed over; next to the bad one they
// leave several suspects.
func TestSkipped(t *testing.T) {
	dir, list := commits(t, 9)
	looked := 0
	w := start(t, dir, list[0], list[8])
	found, err := w.Run(context.Background(), judge(t, w, 6, func(n int) bool { return n == 4 || n == 5 }, &looked))
	if err != nil || len(found.Commits) != 3 {
		t.Fatalf("found %+v, %v", found, err)
	}
	for _, want := range list[4:7] {
		if !strings.Contains(strings.Join(found.Commits, " "), want) {
			t.Errorf("%s is no suspect: %v", want, found.Commits)
		}
	}
}

// A walk that was interrupted measures no commit twice.
func TestResumed(t *testing.T) {
	dir, list := commits(t, 16)
	interrupt := errors.New("interrupted")
	looked := 0
	w := start(t, dir, list[0], list[15])
	measure := judge(t, w, 11, nil, &looked)
	_, err := w.Run(context.Background(), func(ctx context.Context, c string) (Step, error) {
		if looked == 2 {
			return Step{}, interrupt
		}
		return measure(ctx, c)
	})
	if !errors.Is(err, interrupt) {
		t.Fatal(err)
	}
	w = start(t, dir, list[0], list[15])
	if len(w.Steps()) != 2 {
		t.Fatalf("%d steps are known, want 2", len(w.Steps()))
	}
	if err := os.RemoveAll(w.Dir); err != nil { // as if somebody had cleaned up
		t.Fatal(err)
	}
	w = start(t, dir, list[0], list[15])
	found, err := w.Run(context.Background(), judge(t, w, 11, nil, &looked))
	if err != nil || found.Commits[0] != list[11] || looked > 4 {
		t.Errorf("found %+v after %d measurements, %v", found, looked, err)
	}
	other, err := Start(context.Background(), dir, list[0], list[15], "another question")
	if err != nil || len(other.Steps()) != 0 {
		t.Errorf("another question knows %d steps, %v", len(other.Steps()), err)
	}
}

func TestStartErrors(t *testing.T) {
	dir, list := commits(t, 3)
	for _, tt := range []struct{ good, bad, want string }{
		{"none", list[2], `"none" is no commit`},
		{"--help", list[2], `"--help" is no commit`},
		{list[2], list[0], "is no ancestor of"},
		{list[1], list[1], "is no ancestor of"},
	} {
		if _, err := Start(context.Background(), dir, tt.good, tt.bad, "q"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s to %s: %v, want %q", tt.good, tt.bad, err, tt.want)
		}
	}
}
