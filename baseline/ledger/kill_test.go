package ledger_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/paritygate/paritygate/baseline/ledger"
	"github.com/paritygate/paritygate/baseline/lineage"
	"github.com/paritygate/paritygate/baseline/store"
	"github.com/paritygate/paritygate/gate/cli"
	"github.com/paritygate/paritygate/gate/trace"
)

// asProgram makes this test binary be paritygate.
const asProgram = "PARITYGATE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Process{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}))
	}
	os.Exit(m.Run())
}

// here runs paritygate in this process.
func here(args ...string) (code int, said string) {
	var out bytes.Buffer
	code = cli.Main(context.Background(), args, cli.Process{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Getenv: os.Getenv})
	return code, out.String()
}

// program is paritygate as a process of its own.
func program(dir string, env []string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), asProgram+"=1"), env...)
	return cmd
}

func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// serve serves the bare repositories of a folder as git's own HTTP backend does.
func serve(t testing.TB, root string) (url string) {
	s := httptest.NewServer(&cgi.Handler{Path: filepath.Join(git(t, root, "--exec-path"), "git-http-backend"), Dir: root,
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"}})
	t.Cleanup(s.Close)
	return s.URL
}

// writeTrace writes a trace of three checkpoints whose values are off by that share.
func writeTrace(t testing.TB, file, engine string, off float64) {
	t.Helper()
	g := rand.New(rand.NewPCG(1, 2))
	var specs []trace.TensorSpec
	for _, name := range []string{"embedding", "layer_0_output", "logits"} {
		specs = append(specs, trace.TensorSpec{Name: name, DType: trace.F32, Rows: 3, Width: 16})
	}
	w, err := trace.Create(file, trace.Meta{Engine: engine, ComputeDType: "f16", Tokens: []int32{1, 2, 3}}, specs)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, s := range specs {
		var b []byte
		for i := range s.Rows * s.Width {
			v := g.NormFloat64() * (1 + off*float64(i%3-1))
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v)))
		}
		if err := w.Append(s.Name, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// victim is a folder with a spec and a store, in which paritygate is killed.
type victim struct {
	*testing.T
	dir, spec, store string
	repo             string // that holds the store's branch, "" for a folder
	branch           string // as that repository calls it
	commits          int    // standings were written for
	acknowledged     map[string]bool
	digest           string // of the run that is approved
	head             string // of the branch, that must stay in its history
	random           *rand.Rand
	took             time.Duration // the last verb
	tally            struct{ kills, acknowledged, written, locks int }
}

func newVictim(t *testing.T, name string) *victim {
	t.Helper()
	v := &victim{T: t, dir: t.TempDir(), acknowledged: map[string]bool{}, branch: "refs/heads/parity", random: rand.New(rand.NewPCG(7, uint64(len(name))))}
	writeTrace(t, filepath.Join(v.dir, "ref.safetensors"), "llama.cpp", 0)
	writeTrace(t, filepath.Join(v.dir, "cand.safetensors"), "worker", 3e-4)
	git(t, v.dir, "init", "-q", "-b", "main")
	git(t, v.dir, "commit", "-q", "--allow-empty", "-m", "code")
	switch name {
	case "dir":
		v.store = "dir:" + filepath.Join(v.dir, "store")
	case "branch":
		v.store, v.repo = "branch:parity@", v.dir
	case "branch over HTTP":
		root := t.TempDir()
		v.repo = filepath.Join(root, "repo.git")
		git(t, root, "init", "-q", "--bare", v.repo)
		git(t, v.repo, "config", "http.receivepack", "true")
		git(t, v.dir, "remote", "add", "origin", serve(t, root)+"/repo.git")
		v.store = "branch:parity@origin"
	}
	v.spec = filepath.Join(v.dir, "parity.yaml")
	text := "version: 1\nprompts: [{name: haiku, tokens: [1, 2, 3]}]\nengines:\n  reference: {adapter: trace, path: ref.safetensors}\n  candidate: {adapter: trace, path: cand.safetensors}\n"
	if err := os.WriteFile(v.spec, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(v.dir, "out")
	if code, said := here("run", v.spec, "--baseline", v.store, "--standing", v.standing(), "--out", out); code != 0 {
		t.Fatalf("run: exit code %d\n%s", code, said)
	}
	data, err := os.ReadFile(filepath.Join(out, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r struct{ Baseline struct{ Proposed string } }
	if err := json.Unmarshal(data, &r); err != nil || r.Baseline.Proposed == "" {
		t.Fatalf("the run proposes %q, %v", r.Baseline.Proposed, err)
	}
	v.digest = r.Baseline.Proposed
	return v
}

func commit(n int) string { return fmt.Sprintf("%040x", n) }

// standing is a file with the next commit, on all those before.
func (v *victim) standing() string {
	v.Helper()
	v.commits++
	s := ledger.Standing{Head: commit(v.commits), Lineage: &lineage.Lineage{MergeBase: commit(v.commits)}}
	for n := v.commits; n > 0; n-- {
		s.Lineage.Ancestors = append(s.Lineage.Ancestors, lineage.Ancestor{Commit: commit(n), Distance: v.commits - n})
	}
	file := filepath.Join(v.dir, "standing.json")
	if err := s.Write(file); err != nil {
		v.Fatal(err)
	}
	return file
}

// verb is an update or an approval, and where in the store it writes.
func (v *victim) verb(approve bool) (args []string, place string) {
	file := v.standing()
	if approve {
		return []string{"baseline", "approve", v.digest[:16], "--from", "out", "--by", "ada", "--reason", "new kernels", "--pull", fmt.Sprint(v.commits),
			"--baseline", v.store}, fmt.Sprintf("/approved/%d-", v.commits)
	}
	return []string{"baseline", "update", "--standing", file, "--baseline", v.store}, "/" + commit(v.commits) + ".json"
}

// try runs a verb, and kill in the meantime; it reports whether that was in time.
// Whatever became of it, the store is right, and holds what was acknowledged.
func (v *victim) try(approve bool, env []string, kill func(*exec.Cmd)) (killed bool) {
	v.Helper()
	args, place := v.verb(approve)
	cmd := program(v.dir, env, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said bytes.Buffer
	cmd.Stderr = &said
	start := time.Now()
	if err := cmd.Start(); err != nil {
		v.Fatal(err)
	}
	kill(cmd)
	err := cmd.Wait()
	v.took = time.Since(start)
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	killed = status.Signaled() && status.Signal() == syscall.SIGKILL
	if err != nil && !killed {
		v.Fatalf("%v: %v\n%s", args, err, &said)
	}
	v.unlock()
	documents := v.verified()
	there := ""
	for p := range documents {
		if strings.Contains(p, place) {
			there = p
		}
	}
	switch {
	case killed:
		v.tally.kills++
		if there != "" {
			v.tally.written++
		}
	case there == "":
		v.Fatalf("%v: acknowledged, and not there; it said\n%s", args, &said)
	default:
		v.tally.acknowledged++
		v.acknowledged[there] = true
		if m := digestSaid.FindStringSubmatch(said.String()); !approve && (m == nil || !strings.HasPrefix(v.digestOf(documents[there]), m[1])) {
			v.Fatalf("the store has another document than was acknowledged: %s", &said)
		}
	}
	for p := range v.acknowledged {
		if documents[p].Path == "" {
			v.Fatalf("%s was acknowledged and is gone", p)
		}
	}
	v.unrewritten()
	return killed
}

var digestSaid = regexp.MustCompile(`, digest ([0-9a-f]{16});`)

// view is the store as it is now, and all that it lists.
func (v *victim) view() (store.View, map[string]ledger.Entry) {
	v.Helper()
	s, err := store.Open(v.store, store.Options{Repository: v.dir})
	if err != nil {
		v.Fatal(err)
	}
	view, err := s.Snapshot(context.Background())
	if err != nil {
		v.Fatal(err)
	}
	entries, _, err := ledger.Entries(context.Background(), view)
	if err != nil {
		v.Fatal(err)
	}
	out := map[string]ledger.Entry{}
	for _, e := range entries {
		out[e.Path] = e
	}
	return view, out
}

// digest is that of a document.
func (v *victim) digestOf(e ledger.Entry) string {
	v.Helper()
	view, _ := v.view()
	d, err := ledger.Read(context.Background(), view, e)
	if err != nil {
		v.Fatal(err)
	}
	return d.Digest()
}

// verified are the documents of the store, all of which are right. A git that a
// killed paritygate started may still be at work: then it is read again.
func (v *victim) verified() map[string]ledger.Entry {
	v.Helper()
	for n := 0; ; n++ {
		_, before := v.view()
		code, said := here("baseline", "verify", "--baseline", v.store, "--spec", v.spec)
		_, after := v.view()
		if len(before) != len(after) && n < 20 {
			continue
		}
		want, all := 0, fmt.Sprintf("%d baselines in ", len(after))
		switch len(after) {
		case 0:
			want, all = 3, "holds no baseline: nothing was verified"
		case 1:
			all = "1 baseline in "
		}
		if code != want || !strings.Contains(said, all) {
			v.Fatalf("verify: exit code %d, want %d: %s", code, want, said)
		}
		return after
	}
}

// unrewritten holds the branch to its history: what it was once is part of it.
func (v *victim) unrewritten() {
	v.Helper()
	if v.repo == "" || v.head == "" && len(v.acknowledged) == 0 {
		return
	}
	now := git(v.T, v.repo, "rev-parse", v.branch)
	if v.head != "" {
		git(v.T, v.repo, "merge-base", "--is-ancestor", v.head, now)
	}
	v.head = now
}

// unlock takes away the lock of a git that was killed, as git itself asks its user
// to.
func (v *victim) unlock() {
	v.Helper()
	if v.repo != v.dir {
		return
	}
	lock := filepath.Join(v.dir, ".git", filepath.FromSlash(v.branch)+".lock")
	if err := os.Remove(lock); err == nil {
		v.tally.locks++
	} else if !errors.Is(err, os.ErrNotExist) {
		v.Fatal(err)
	}
}

// later kills after a random part of the time that a verb takes; every other time
// with all that it started.
func (v *victim) later(takes time.Duration) func(*exec.Cmd) {
	wait, group := time.Duration(v.random.Float64()*float64(takes)), v.random.IntN(2) == 0
	return func(cmd *exec.Cmd) {
		time.Sleep(wait)
		pid := cmd.Process.Pid
		if group {
			pid = -pid
		}
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended before
	}
}

// takes is how long a verb takes that nobody kills.
func (v *victim) takes(approve bool) time.Duration {
	v.Helper()
	var took []time.Duration
	for range 3 {
		if v.try(approve, nil, func(*exec.Cmd) {}) {
			v.Fatal("killed by nobody")
		}
		took = append(took, v.took)
	}
	slices.Sort(took)
	return took[1]
}

// randomly kills until it was in time so often.
func (v *victim) randomly(approve bool, kills int) {
	v.Helper()
	takes, done := v.takes(approve), 0
	for n := 0; done < kills; n++ {
		if n == 4*kills {
			v.Fatalf("only %d of %d were killed in time", done, n)
		}
		if v.try(approve, nil, v.later(takes)) {
			done++
		}
	}
}

// killingGit is a git that kills who called it the nth time.
const killingGit = `#!/bin/sh
n=$(($(cat "$KILL/count") + 1))
echo $n >"$KILL/count"
[ "$n-before" = "$KILL_AT" ] && kill -9 $PPID && exit 1
"$KILL_GIT" "$@"
code=$?
[ "$n-after" = "$KILL_AT" ] && kill -9 $PPID
exit $code
`

// atEveryGit kills before and after each git that a verb calls.
func (v *victim) atEveryGit(approve bool) {
	v.Helper()
	bin := v.TempDir()
	real, err := exec.LookPath("git")
	if err != nil {
		v.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "git"), []byte(killingGit), 0o755); err != nil {
		v.Fatal(err)
	}
	for n := 1; ; n++ {
		for _, when := range []string{"before", "after"} {
			if err := os.WriteFile(filepath.Join(bin, "count"), []byte("0\n"), 0o644); err != nil {
				v.Fatal(err)
			}
			env := []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "KILL=" + bin, "KILL_GIT=" + real, fmt.Sprintf("KILL_AT=%d-%s", n, when)}
			if !v.try(approve, env, func(*exec.Cmd) {}) {
				if n < 8 {
					v.Fatalf("a verb calls git %d times", n)
				}
				return // there is no nth
			}
		}
	}
}

// atFiles kills once a file is made in a folder of the store, and once it has its
// name.
func (v *victim) atFiles(approve bool, folder string, mask uint32, kills int) {
	v.Helper()
	for range kills {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			v.Fatal(err)
		}
		if _, err := unix.InotifyAddWatch(fd, folder, mask); err != nil {
			v.Fatal(err)
		}
		v.try(approve, nil, func(cmd *exec.Cmd) {
			poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if n, err := unix.Poll(poll, 20_000); err == nil && n == 1 {
				_ = syscall.Kill(cmd.Process.Pid, syscall.SIGKILL) // it may have ended before
			}
		})
		if err := unix.Close(fd); err != nil {
			v.Fatal(err)
		}
	}
}

// TestKilled kills update and approve, as processes, 200 times and more: at random
// moments, before and after every git that they call, and between the files that
// they write. The store is valid each time, what was acknowledged is there, and the
// next update goes on.
func TestKilled(t *testing.T) {
	var kills atomic.Int64
	t.Cleanup(func() {
		if n := kills.Load(); !t.Failed() && n < 200 {
			t.Errorf("only %d were killed", n)
		}
	})
	for _, name := range []string{"dir", "branch", "branch over HTTP"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVictim(t, name)
			switch name {
			case "dir":
				v.randomly(false, 30)
				v.randomly(true, 25)
				keys, err := filepath.Glob(filepath.Join(v.dir, "store", "v1", "*"))
				if err != nil || len(keys) != 1 {
					t.Fatalf("the store has the keys %v, %v", keys, err)
				}
				v.atFiles(false, keys[0], unix.IN_CREATE, 8)
				v.atFiles(false, keys[0], unix.IN_MOVED_TO, 8)
				v.atFiles(true, filepath.Join(keys[0], "approved"), unix.IN_CREATE, 4)
				v.atFiles(true, filepath.Join(keys[0], "approved"), unix.IN_MOVED_TO, 4)
			case "branch":
				v.randomly(false, 20)
				v.randomly(true, 15)
				v.atEveryGit(false)
				v.atEveryGit(true)
			default:
				v.randomly(false, 15)
				v.randomly(true, 10)
			}
			v.takes(false) // and goes on
			kills.Add(int64(v.tally.kills))
			t.Logf("%d kills, %d of them after the document was there; %d acknowledged; git left %d locks behind", v.tally.kills, v.tally.written, v.tally.acknowledged, v.tally.locks)
		})
	}
}
