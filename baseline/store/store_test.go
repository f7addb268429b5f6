package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// git runs git in dir.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// checkout is a repository with one commit.
func checkout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	git(t, dir, "init", "-q", "-b", "main")
	git(t, dir, "commit", "-q", "--allow-empty", "-m", "code")
	return dir
}

// server is a bare repository behind git's own HTTP backend.
func server(t *testing.T) (bare, url string) {
	t.Helper()
	root := t.TempDir()
	bare = filepath.Join(root, "repo.git")
	git(t, root, "init", "-q", "--bare", bare)
	git(t, bare, "config", "http.receivepack", "true")
	core := git(t, root, "--exec-path")
	s := httptest.NewServer(&cgi.Handler{Path: filepath.Join(core, "git-http-backend"), Dir: root,
		Env:    []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"},
		Stderr: os.Stderr})
	t.Cleanup(s.Close)
	return bare, s.URL + "/repo.git"
}

// clone is a repository whose origin is url.
func clone(t *testing.T, url string) string {
	t.Helper()
	dir := checkout(t)
	git(t, dir, "remote", "add", "origin", url)
	return dir
}

// kinds are stores of every kind; again opens another view of the same place.
var kinds = []struct {
	name    string
	history bool
	open    func(t *testing.T) (again func() Store)
}{
	{"dir", false, func(t *testing.T) func() Store {
		root := filepath.Join(t.TempDir(), "new")
		return func() Store { return open(t, "dir:"+root, Options{}) }
	}},
	{"local branch", true, func(t *testing.T) func() Store {
		dir := checkout(t)
		return func() Store { return open(t, "branch:parity", Options{Repository: dir}) }
	}},
	{"branch over HTTP", true, func(t *testing.T) func() Store {
		_, url := server(t)
		return func() Store { return open(t, "branch:parity", Options{Repository: clone(t, url)}) }
	}},
}

func open(t *testing.T, name string, o Options) Store {
	t.Helper()
	s, err := Open(name, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(writes ...Write) func(View) ([]Write, error) {
	return func(View) ([]Write, error) { return writes, nil }
}

func update(t *testing.T, s Store, writes ...Write) string {
	t.Helper()
	rev, err := s.Update(context.Background(), "a change\n\nin two lines", put(writes...))
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func contents(t *testing.T, s Store) map[string]string {
	t.Helper()
	v, err := s.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	list, err := v.List(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, p := range list {
		b, err := v.Read(context.Background(), p)
		if err != nil {
			t.Fatal(err)
		}
		out[p] = string(b)
	}
	return out
}

func TestStores(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			again := kind.open(t)
			s := again()
			ctx := context.Background()
			if got := contents(t, s); len(got) != 0 {
				t.Errorf("a new store holds %v", got)
			}
			v, err := s.Snapshot(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Read(ctx, "a/x.json"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a file of an empty store: %v", err)
			}
			update(t, s, Write{"a/x.json", []byte("1\n")}, Write{"a/b/y.json", []byte{}}, Write{"z", []byte("z")})
			update(t, s, Write{"a/x.json", []byte("2\n")}, Write{"z", nil}, Write{"never", nil})
			want := map[string]string{"a/x.json": "2\n", "a/b/y.json": ""}
			if got := contents(t, again()); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("another reader sees %v, want %v", got, want)
			}
			v, err = again().Snapshot(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if list, err := v.List(ctx, "a/b"); err != nil || !slices.Equal(list, []string{"a/b/y.json"}) {
				t.Errorf("a/b holds %v, %v", list, err)
			}
			if list, err := v.List(ctx, "a/none"); err != nil || len(list) != 0 {
				t.Errorf("a/none holds %v, %v", list, err)
			}
			if _, err := v.Read(ctx, "a/b"); err == nil {
				t.Error("a folder was read as a file")
			}
			log, err := s.Log(ctx, "a/x.json", 10)
			if err != nil {
				t.Fatal(err)
			}
			if kind.history && (len(log) != 2 || log[0].Message != "a change" || log[0].Date.IsZero()) {
				t.Errorf("the log is %v", log)
			}
			if log, err := s.Log(ctx, "a/b/y.json", 10); err != nil || kind.history && len(log) != 1 {
				t.Errorf("the log of a file that was written once is %v, %v", log, err)
			}
		})
	}
}

// An update that changes nothing makes no revision, and one that fails writes nothing.
func TestUpdateNothing(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			s := kind.open(t)()
			first := update(t, s, Write{"x", []byte("1")})
			if rev := update(t, s, Write{"x", []byte("1")}); rev != first {
				t.Errorf("the same bytes made revision %s after %s", rev, first)
			}
			if rev := update(t, s); rev != first {
				t.Errorf("no writes made revision %s after %s", rev, first)
			}
			no := errors.New("no")
			if _, err := s.Update(context.Background(), "m", func(View) ([]Write, error) { return []Write{{"y", []byte("1")}}, no }); !errors.Is(err, no) {
				t.Errorf("the error was %v", err)
			}
			for _, bad := range []string{"", "/x", "../x", "a/../x", ".git/x", "a/.x", "a\nb", "x.lock", `a\b`, "a//b", "a/"} {
				if _, err := s.Update(context.Background(), "m", put(Write{"y", []byte("1")}, Write{bad, []byte("1")})); err == nil {
					t.Errorf("path %q was written", bad)
				}
			}
			if _, err := s.Update(context.Background(), "m", put(Write{"y", []byte("1")}, Write{"y", []byte("2")})); err == nil {
				t.Error("a file was written twice")
			}
			if got := contents(t, s); fmt.Sprint(got) != "map[x:1]" {
				t.Errorf("the store holds %v", got)
			}
		})
	}
}

// TestConcurrent: twenty writers append to one file and add one each; nothing is lost.
func TestConcurrent(t *testing.T) {
	const writers = 20
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			again := kind.open(t)
			update(t, again(), Write{"shared", []byte("start\n")})
			var wg sync.WaitGroup
			for i := range writers {
				s := again()
				wg.Go(func() {
					_, err := s.Update(context.Background(), fmt.Sprint("writer ", i), func(v View) ([]Write, error) {
						b, err := v.Read(context.Background(), "shared")
						if err != nil {
							return nil, err
						}
						return []Write{{"shared", fmt.Appendf(b, "%d\n", i)}, {fmt.Sprintf("one/%d", i), []byte("x")}}, nil
					})
					if err != nil {
						t.Errorf("writer %d: %v", i, err)
					}
				})
			}
			wg.Wait()
			got := contents(t, again())
			lines := strings.Fields(got["shared"])
			if len(lines) != writers+1 || lines[0] != "start" || len(got) != writers+1 {
				t.Fatalf("%d lines, %d files:\n%s", len(lines), len(got), got["shared"])
			}
			slices.Sort(lines)
			if len(slices.Compact(lines)) != writers+1 {
				t.Errorf("an update is there twice:\n%s", got["shared"])
			}
			if log, err := again().Log(context.Background(), "", 100); err != nil || kind.history && len(log) != writers+1 {
				t.Errorf("the history has %d revisions, want %d (%v)", len(log), writers+1, err)
			}
		})
	}
}

// A branch store leaves the checkout, its index and its branches alone.
func TestBranchLeavesCheckout(t *testing.T) {
	bare, url := server(t)
	dir := clone(t, url)
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	git(t, dir, "add", "file")
	hook := filepath.Join(dir, ".git", "hooks", "pre-push")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\ntouch \"$PWD/hooked\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		return git(t, dir, "status", "--porcelain", "--branch") + "\n" + git(t, dir, "for-each-ref", "refs/heads", "refs/tags")
	}
	before := state()
	s := open(t, "branch:parity", Options{Repository: dir})
	rev := update(t, s, Write{"x", []byte("1")})
	contents(t, s)
	if after := state(); after != before {
		t.Errorf("the checkout was\n%s\nand is\n%s", before, after)
	}
	if _, err := os.Stat(filepath.Join(dir, "hooked")); err == nil {
		t.Error("a hook of the checkout was run")
	}
	if got := git(t, bare, "rev-parse", "refs/heads/parity"); got != rev {
		t.Errorf("the server's branch is at %s, want %s", got, rev)
	}
	if n := git(t, bare, "rev-list", "--count", "parity"); n != "1" {
		t.Errorf("the branch has %s commits: it shares the code's history", n)
	}
	if got := contents(t, open(t, "branch:parity@", Options{Repository: dir})); len(got) != 0 {
		t.Errorf("the local branch holds %v", got)
	}
}

// An answer that is lost after the server moved the branch is no failure.
func TestBranchLostAnswer(t *testing.T) {
	root := t.TempDir()
	bare := filepath.Join(root, "repo.git")
	git(t, root, "init", "-q", "--bare", bare)
	git(t, bare, "config", "http.receivepack", "true")
	h := &cgi.Handler{Path: filepath.Join(git(t, root, "--exec-path"), "git-http-backend"), Dir: root,
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"}}
	var once sync.Once
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "git-receive-pack") {
			h.ServeHTTP(w, r)
			return
		}
		lost := false
		once.Do(func() { lost = true })
		if !lost {
			h.ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}))
	defer srv.Close()
	s := open(t, "branch:parity", Options{Repository: clone(t, srv.URL+"/repo.git")})
	rev := update(t, s, Write{"x", []byte("1")})
	if got := git(t, bare, "rev-parse", "parity"); got != rev {
		t.Errorf("the branch is at %s, want %s", got, rev)
	}
}

func TestOpenErrors(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"", "want one of dir:PATH, branch:NAME"},
		{"dir:", "want one of dir:PATH"},
		{"s3:bucket", `"s3" is no kind of store: want one of dir:PATH, branch:NAME`},
		{"branch:-x", "is no name of a branch"},
		{"branch:a..b", "is no name of a branch"},
		{"branch:x.lock", "is no name of a branch"},
		{"branch:x@--upload-pack=evil", "is no name of a remote"},
	} {
		if _, err := Open(tt.name, Options{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Open(%q): %v, want %q", tt.name, err, tt.want)
		}
	}
	s := open(t, "branch:x", Options{Repository: t.TempDir()})
	if _, err := s.Snapshot(context.Background()); err == nil || !strings.Contains(err.Error(), "is no git repository") {
		t.Errorf("a branch without a repository: %v", err)
	}
	dir := clone(t, "http://user:secret@127.0.0.1:1/repo.git")
	_, err := open(t, "branch:x", Options{Repository: dir}).Snapshot(context.Background())
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("an address that does not answer: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, "dir:"+file, Options{}).Snapshot(context.Background()); err == nil || !strings.Contains(err.Error(), "no folder") {
		t.Errorf("a file as a folder: %v", err)
	}
}

// What a killed writer left is no file of the store, and the next writer removes it.
func TestDirSweeps(t *testing.T) {
	root := t.TempDir()
	left := filepath.Join(root, aside+"123")
	if err := os.WriteFile(left, bytes.Repeat([]byte("x"), 10), 0o644); err != nil {
		t.Fatal(err)
	}
	s := open(t, "dir:"+root, Options{})
	if got := contents(t, s); len(got) != 0 {
		t.Errorf("the store holds %v", got)
	}
	update(t, s, Write{"x", []byte("1")})
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the half-written file is still there: %v", err)
	}
}

// A lock that a killed git left behind is named, after some waiting, and nothing is
// written; without it the update goes on.
func TestBranchStaleLock(t *testing.T) {
	t.Parallel()
	dir := checkout(t)
	s := open(t, "branch:parity", Options{Repository: dir})
	first := update(t, s, Write{"a", []byte("1")})
	lock := filepath.Join(dir, ".git", "refs", "heads", "parity.lock")
	if err := os.WriteFile(lock, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := s.Update(context.Background(), "m", put(Write{"a", []byte("2")}))
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "refs/heads/parity.lock': File exists") {
		t.Errorf("with a lock: %v", err)
	}
	if got := git(t, dir, "rev-parse", "parity"); got != first {
		t.Errorf("the branch is at %s, want %s", got, first)
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	if rev := update(t, s, Write{"a", []byte("2")}); rev == first {
		t.Error("nothing was written")
	}
}

// A store may be a link to a folder.
func TestDirLink(t *testing.T) {
	root := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	s := open(t, "dir:"+link, Options{})
	left := filepath.Join(root, aside+"123")
	if err := os.WriteFile(left, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	update(t, s, Write{"a/x", []byte("1")})
	if got := contents(t, s); fmt.Sprint(got) != "map[a/x:1]" {
		t.Errorf("the store holds %v", got)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the half-written file is still there: %v", err)
	}
}
