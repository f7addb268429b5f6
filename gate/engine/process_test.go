//go:build unix

package engine

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// self is a Process that runs this binary in a mode of misbehave.
func self(t *testing.T, mode string, args ...string) Process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Process{Args: append([]string{exe, "misbehave", mode}, args...), Grace: 100 * time.Millisecond}
}

func run(t *testing.T, p Process) *ProcessResult {
	t.Helper()
	r, err := p.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// scratch is a trace path and a file for whatever the mode leaves.
func scratch(t *testing.T) (trace, file string) {
	t.Helper()
	dir := t.TempDir()
	return filepath.Join(dir, "trace"), filepath.Join(dir, "file")
}

func pidIn(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// running says whether the process computes: a zombie does not.
func running(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return runtime.GOOS != "linux" && syscall.Kill(pid, 0) == nil
	}
	return !strings.Contains(string(b[bytes.LastIndexByte(b, ')'):]), ") Z")
}

func TestProcessEnds(t *testing.T) {
	trace, _ := scratch(t)
	for _, c := range []struct {
		mode, arg string
		code      int
		signal    syscall.Signal
		stderr    string
	}{
		{"good", "", 0, 0, "::error::not an error"},
		{"exit", "7", 7, 0, "cannot allocate the KV cache"},
		{"exit", "255", 255, 0, "cannot allocate the KV cache"},
		{"signal", "SEGV", -1, syscall.SIGSEGV, ""},
		{"signal", "KILL", -1, syscall.SIGKILL, ""},
		{"signal", "ABRT", -1, syscall.SIGABRT, ""},
		{"close", "", 0, 0, ""},
	} {
		t.Run(c.mode+c.arg, func(t *testing.T) {
			r := run(t, self(t, c.mode, trace, c.arg))
			if r.ExitCode != c.code || r.Signal != c.signal || r.TimedOut || r.Cancelled || len(r.Warnings()) > 0 {
				t.Errorf("got %+v", r)
			}
			if r.OK() != (c.code == 0) {
				t.Errorf("OK() = %v", r.OK())
			}
			if !strings.Contains(r.Stderr.String(), c.stderr) {
				t.Errorf("stderr %q lacks %q", r.Stderr, c.stderr)
			}
		})
	}
}

func TestProcessTimeout(t *testing.T) {
	for _, mode := range []string{"hang", "hang-child"} {
		t.Run(mode, func(t *testing.T) {
			trace, file := scratch(t)
			p := self(t, mode, trace, file)
			p.Timeout = 600 * time.Millisecond
			start := time.Now()
			r := run(t, p)
			if !r.TimedOut || r.Signal != syscall.SIGKILL || r.OK() || r.Cancelled {
				t.Errorf("got %+v", r)
			}
			if d := time.Since(start); d > 5*time.Second || d < p.Timeout+p.Grace {
				t.Errorf("took %s", d)
			}
			if !strings.Contains(r.Stdout.String(), "hanging") {
				t.Errorf("stdout %q", r.Stdout)
			}
			if mode == "hang-child" && running(pidIn(t, file)) {
				t.Error("the grandchild still runs")
			}
		})
	}
}

func TestProcessObeysSIGTERM(t *testing.T) {
	p := self(t, "obey")
	p.Grace = 20 * time.Second // the test would take that long if SIGTERM were not sent
	ctx, cancel := context.WithCancel(context.Background())
	ready := writerFunc(func(b []byte) (int, error) { cancel(); return len(b), nil })
	p.Stdout = ready
	r, err := p.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Cancelled || r.TimedOut || r.ExitCode != 0 || r.OK() {
		t.Errorf("got %+v", r)
	}
	if got, want := r.Stdout.String(), "ready\ncleaned up\n"; got != want {
		t.Errorf("stdout %q, want %q", got, want)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestProcessLeavesNoChild(t *testing.T) {
	trace, file := scratch(t)
	r := run(t, self(t, "fork", trace, file))
	pid := pidIn(t, file)
	if running(pid) {
		t.Errorf("child %d still runs", pid)
	}
	if !r.OK() {
		t.Errorf("got %+v", r)
	}
	want := "left 1 child running, killed: "
	if w := r.Warnings(); len(w) != 1 || !strings.HasPrefix(w[0], want) {
		t.Errorf("warnings %q, want %q…", w, want)
	}
	if runtime.GOOS == "linux" && !strings.Contains(r.Warnings()[0], "(pid "+strconv.Itoa(pid)+")") {
		t.Errorf("warning %q does not name pid %d", r.Warnings()[0], pid)
	}
}

func TestProcessWaitsForShortChild(t *testing.T) {
	trace, _ := scratch(t)
	p := self(t, "fork-short", trace)
	p.Env = []string{"PATH=" + os.Getenv("PATH")}
	r := run(t, p)
	if len(r.Warnings()) > 0 || r.Stdout.String() != "late\n" {
		t.Errorf("warnings %q, stdout %q", r.Warnings(), r.Stdout)
	}
}

func TestProcessDaemonDoesNotHang(t *testing.T) {
	trace, file := scratch(t)
	start := time.Now()
	r := run(t, self(t, "daemon", trace, file))
	pid := pidIn(t, file)
	defer syscall.Kill(pid, syscall.SIGKILL)
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %s", d)
	}
	if !r.OK() || len(r.Leftover) != 0 || len(r.Escaped) != 1 {
		t.Fatalf("got %+v", r)
	}
	want := "1 process left the process group and kept the output open, not killed: "
	if w := r.Warnings(); len(w) != 1 || !strings.HasPrefix(w[0], want) {
		t.Errorf("warnings %q", w)
	}
	if runtime.GOOS == "linux" && !strings.Contains(r.Escaped[0], "(pid "+strconv.Itoa(pid)+")") {
		t.Errorf("escaped %q, want pid %d", r.Escaped, pid)
	}
}

func TestProcessBoundsOutput(t *testing.T) {
	const total, most = 200_000_000, 64 << 10
	trace, _ := scratch(t)
	p := self(t, "spam", trace, strconv.Itoa(total))
	p.MaxOutput = most
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := run(t, p)
	runtime.ReadMemStats(&after)
	if !r.OK() || r.Stdout.Len() != total || int64(len(r.Stdout.Head)+len(r.Stdout.Tail)) != most {
		t.Errorf("wrote %d, kept %d and %d", r.Stdout.Len(), len(r.Stdout.Head), len(r.Stdout.Tail))
	}
	s := r.Stdout.String()
	if !strings.HasPrefix(s, "first line\n") || !strings.HasSuffix(s, "last line\n") || !strings.Contains(s, "\n… 199934464 bytes left out …\n") {
		t.Errorf("output begins %q and ends %q", s[:20], s[len(s)-20:])
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("allocated %d bytes", n)
	}
}

func TestProcessWatch(t *testing.T) {
	p := self(t, "hang")
	p.WatchEvery = 20 * time.Millisecond
	p.Grace = time.Minute // must not be waited for
	stop := errors.New("enough")
	calls := 0
	p.Watch = func() error {
		if calls++; calls == 3 {
			return stop
		}
		return nil
	}
	r := run(t, p)
	if r.Stopped != stop || r.Signal != syscall.SIGKILL || r.OK() || calls != 3 {
		t.Errorf("got %+v after %d calls", r, calls)
	}
}

func TestProcessStuck(t *testing.T) {
	p := self(t, "obey")
	var pid int
	p.signal = func(pgid int, _ syscall.Signal) { pid = pgid } // nothing gets through, as to a process inside a driver
	p.Timeout, p.killWait = 100*time.Millisecond, 100*time.Millisecond
	r := run(t, p)
	syscall.Kill(pid, syscall.SIGKILL)
	if !r.Stuck || !r.TimedOut || r.ExitCode != -1 || r.OK() {
		t.Errorf("got %+v", r)
	}
}

func TestProcessInheritsNothing(t *testing.T) {
	t.Setenv("PARITYGATE_PROBE", "inherited")
	trace, _ := scratch(t)
	p := self(t, "environment", trace)
	if got := run(t, p).Stdout.String(); got != "\n" {
		t.Errorf("a nil Env passed %q", got)
	}
	p.Env = []string{"A=b"}
	if got := run(t, p).Stdout.String(); got != "A=b\n" {
		t.Errorf("Env passed %q", got)
	}
}

func TestProcessFailingTee(t *testing.T) {
	trace, _ := scratch(t)
	p := self(t, "spam", trace, "300000")
	p.Stdout = writerFunc(func([]byte) (int, error) { return 0, errors.New("disk full") })
	if r := run(t, p); !r.OK() || r.Stdout.Len() != 300000 {
		t.Errorf("got %d bytes, %+v", r.Stdout.Len(), r.ExitCode)
	}
}

func TestProcessNotStarted(t *testing.T) {
	dir := t.TempDir()
	put := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put("plain", "#!/bin/sh\n", 0o644)
	put("no-line", "exit 0\n", 0o755)
	put("lost", "#!/no/such/interpreter\n", 0o755)
	path := []string{"PATH=relative:" + dir}
	for _, c := range []struct {
		name string
		p    Process
		want string
	}{
		{"empty", Process{}, "the command is empty"},
		{"absent", Process{Args: []string{"./none"}, Dir: dir}, "program DIR/none: no such file or directory"},
		{"not in PATH", Process{Args: []string{"none"}, Env: path}, `program "none" is not in PATH (relative:DIR)`},
		{"beside", Process{Args: []string{"no-line"}, Dir: dir, Env: []string{"PATH=/none"}},
			`program "no-line" is not in PATH (/none); to run the file in the working directory, write ./no-line`},
		{"folder", Process{Args: []string{dir}}, "program DIR: is a folder"},
		{"mode", Process{Args: []string{"./plain"}, Dir: dir}, "program DIR/plain: is not executable (chmod +x)"},
		{"format", Process{Args: []string{"no-line"}, Env: path},
			"program DIR/no-line: cannot be run here: a script without a #! line, or built for another machine"},
		{"interpreter", Process{Args: []string{"./lost"}, Dir: dir},
			"program DIR/lost: its interpreter is missing (the #! line of a script, or the dynamic loader of a binary)"},
		{"dir", Process{Args: []string{"/bin/sh"}, Dir: dir + "/none"}, "working directory DIR/none: no such file or directory"},
		{"dir is file", Process{Args: []string{"/bin/sh"}, Dir: dir + "/plain"}, "working directory DIR/plain: is a file"},
		{"zero byte", Process{Args: []string{"/bin/sh", "a\x00b"}}, "argument 1 holds a zero byte"},
		{"long", Process{Args: []string{"/bin/sh", strings.Repeat("x", 4<<20)}}, "the command line is longer than the system takes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := c.p.Run(context.Background())
			if err == nil {
				t.Fatalf("ran: %+v", r)
			}
			if got := strings.ReplaceAll(err.Error(), dir, "DIR"); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := (Process{Args: []string{"/bin/sh"}}).Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before the start: %v", err)
	}
}
