package lineage

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// repo is a repository on which commits are made by name.
type repo struct {
	t       *testing.T
	dir     string
	commits map[string]string
}

func newRepo(t *testing.T) *repo {
	r := &repo{t, t.TempDir(), map[string]string{}}
	r.git("init", "-q", "-b", "main")
	r.git("config", "uploadpack.allowFilter", "true")
	r.git("config", "uploadpack.allowAnySHA1InWant", "true")
	return r
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "protocol.file.allow=always"}, args...)...)
	cmd.Dir = r.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *repo) commit(names ...string) {
	r.t.Helper()
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(r.dir, n), []byte(n), 0o644); err != nil {
			r.t.Fatal(err)
		}
		r.git("add", ".")
		r.git("commit", "-q", "-m", n)
		r.commits[n] = r.git("rev-parse", "HEAD")
	}
}

// history is main a-b-c-d, with feature x-y from b, merged as m and then e.
func history(t *testing.T) *repo {
	r := newRepo(t)
	r.commit("a", "b")
	r.git("checkout", "-q", "-b", "feature")
	r.commit("x", "y")
	r.git("checkout", "-q", "main")
	r.commit("c", "d")
	return r
}

func of(t *testing.T, g *Git, base, head string) *Lineage {
	t.Helper()
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	l, err := Of(context.Background(), g, base, head)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// names are the ancestors by the names that the test gave them.
func (r *repo) names(l *Lineage) string {
	byCommit := map[string]string{}
	for n, c := range r.commits {
		byCommit[c] = n
	}
	var out []string
	for _, a := range l.Ancestors {
		out = append(out, byCommit[a.Commit])
	}
	return strings.Join(out, " ")
}

func TestMergeBase(t *testing.T) {
	r := history(t)
	l := of(t, &Git{Dir: r.dir}, r.commits["d"], r.commits["y"])
	if l.MergeBase != r.commits["b"] || r.names(l) != "b a" || l.Note != "" {
		t.Errorf("merge base %s, ancestors %s, note %q", l.MergeBase, r.names(l), l.Note)
	}
	if l.Ancestors[0].Distance != 0 || l.Ancestors[1].Distance != 1 || l.Ancestors[0].Tree != r.git("rev-parse", r.commits["b"]+"^{tree}") {
		t.Errorf("ancestors %+v", l.Ancestors)
	}
	if l := of(t, &Git{Dir: r.dir}, "", r.commits["d"]); r.names(l) != "d c b a" {
		t.Errorf("a commit of the branch stands on %s", r.names(l))
	}
}

// The branch's own commits come before those that were merged into it.
func TestFirstParentsFirst(t *testing.T) {
	r := history(t)
	r.git("merge", "-q", "--no-ff", "-m", "m", "feature")
	r.commits["m"] = r.git("rev-parse", "HEAD")
	r.commit("e")
	if got := r.names(of(t, &Git{Dir: r.dir}, "", r.commits["e"])); got != "e m d c b a y x" {
		t.Errorf("ancestors %s", got)
	}
}

// A squash merge has the tree of the branch that it squashed.
func TestSquash(t *testing.T) {
	r := newRepo(t)
	r.commit("a")
	r.git("checkout", "-q", "-b", "feature")
	r.commit("x", "y")
	r.git("checkout", "-q", "main")
	r.git("merge", "-q", "--squash", "feature")
	r.git("commit", "-q", "-m", "squashed")
	g := &Git{Dir: r.dir}
	l := of(t, g, "", r.git("rev-parse", "main"))
	tree, err := g.Tree(context.Background(), r.commits["y"])
	if err != nil || l.Ancestors[0].Tree != tree || l.Ancestors[0].Commit == r.commits["y"] {
		t.Errorf("the squashed commit is %+v, the branch's tree %s (%v)", l.Ancestors[0], tree, err)
	}
}

func TestNothingInCommon(t *testing.T) {
	r := history(t)
	r.git("checkout", "-q", "--orphan", "other")
	r.commit("o")
	l := of(t, &Git{Dir: r.dir}, r.commits["d"], r.commits["o"])
	if len(l.Ancestors) != 0 || !strings.Contains(l.Note, "no commit in common") {
		t.Errorf("%+v", l)
	}
}

// A checkout of depth 1 asks its remote for commits, and stays as it is.
func TestShallow(t *testing.T) {
	r := history(t)
	clone := filepath.Join(t.TempDir(), "clone")
	r.git("clone", "-q", "--depth=1", "--branch=feature", "file://"+r.dir, clone)
	g := &Git{Dir: clone}
	l := of(t, g, r.commits["d"], r.commits["y"])
	if l.MergeBase != r.commits["b"] || r.names(l) != "b a" {
		t.Errorf("merge base %s, ancestors %s", l.MergeBase, r.names(l))
	}
	if got := (&repo{t: t, dir: clone}).git("rev-list", "--count", "HEAD"); got != "1" {
		t.Errorf("the checkout has %s commits now", got)
	}
	if objects := (&repo{t: t, dir: g.graph}).git("count-objects", "-v"); strings.Contains(objects, "in-pack: 0\n") {
		t.Errorf("nothing was fetched: %s", objects)
	}
	files := (&repo{t: t, dir: g.graph}).git("rev-list", "--objects", "--all", "--missing=allow-any")
	if strings.Contains(files, " a\n") {
		t.Error("files were fetched with the commits")
	}
}

func TestShallowWithoutRemote(t *testing.T) {
	r := history(t)
	clone := filepath.Join(t.TempDir(), "clone")
	r.git("clone", "-q", "--depth=1", "--branch=feature", "file://"+r.dir, clone)
	(&repo{t: t, dir: clone}).git("remote", "remove", "origin")
	g := &Git{Dir: clone}
	defer g.Close()
	_, err := Of(context.Background(), g, r.commits["d"], r.commits["y"])
	if err == nil || !strings.Contains(err.Error(), "fetch-depth: 0") {
		t.Errorf("the error was %v", err)
	}
}

func TestHead(t *testing.T) {
	r := history(t)
	g := &Git{Dir: r.dir}
	if c, dirty, err := g.Head(context.Background()); c != r.commits["d"] || dirty || err != nil {
		t.Errorf("%s, %v, %v", c, dirty, err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "a"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, dirty, err := g.Head(context.Background()); !dirty || err != nil {
		t.Errorf("a changed file: %v, %v", dirty, err)
	}
}

// A branch that the checkout does not know is looked up at the remote; a name that
// nobody knows, and a remote that does not answer, are told apart.
func TestShallowBranches(t *testing.T) {
	r := history(t)
	clone := filepath.Join(t.TempDir(), "clone")
	r.git("clone", "-q", "--depth=1", "--branch=feature", "file://"+r.dir, clone)
	for _, base := range []string{"main", "origin/main", "refs/remotes/origin/main", "refs/heads/main"} {
		if l := of(t, &Git{Dir: clone}, base, r.commits["y"]); r.names(l) != "b a" || l.Note != "" {
			t.Errorf("into %s: %s, %q", base, r.names(l), l.Note)
		}
	}
	g := &Git{Dir: clone}
	defer g.Close()
	if sha, err := g.Commit(context.Background(), "HEAD"); err != nil || sha != r.commits["y"] {
		t.Errorf("HEAD is %s, %v", sha, err)
	}
	if tree, err := g.Tree(context.Background(), r.commits["y"]); err != nil || tree != r.git("rev-parse", "feature^{tree}") || g.graph != "" {
		t.Errorf("tree %s, %v; fetched into %q", tree, err, g.graph)
	}
	if tree, err := g.Tree(context.Background(), r.commits["x"]); err != nil || tree != r.git("rev-parse", "feature~1^{tree}") {
		t.Errorf("tree of a commit that is not here %s, %v", tree, err)
	}
	_, err := Of(context.Background(), g, "nowhere", r.commits["y"])
	if !errors.Is(err, ErrUnknown) || !strings.HasSuffix(err.Error(), "nowhere is no commit or branch, neither of the checkout nor of its remote origin") {
		t.Errorf("an unknown name: %v", err)
	}
	(&repo{t: t, dir: clone}).git("remote", "set-url", "origin", "file:///nowhere")
	_, err = Of(context.Background(), g, "other", r.commits["y"])
	if err == nil || errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "its remote origin does not answer: git ls-remote: ") {
		t.Errorf("a remote that is gone: %v", err)
	}
	(&repo{t: t, dir: clone}).git("remote", "set-url", "origin", "http://user:secret@127.0.0.1:1/repo.git")
	_, err = Of(context.Background(), &Git{Dir: clone}, "", r.commits["y"])
	if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "origin does not give more: git fetch: fatal: unable to access 'http://127.0.0.1:1/repo.git/'") {
		t.Errorf("an address with a password: %v", err)
	}
	// What it once had to fetch it does not need for what is here.
	if l, err := Of(context.Background(), &Git{Dir: r.dir, graph: t.TempDir()}, "main", r.commits["y"]); err != nil || r.names(l) != "b a" {
		t.Errorf("a whole checkout: %v", err)
	}
}
