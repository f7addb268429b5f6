package githubtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v62/github"
)

// TestGitData: a branch is made and moved through the API alone, as a store of
// baselines does it.
func TestGitData(t *testing.T) {
	s, r, _ := seeded(t)
	gh := client(t, s, ActionsToken)
	commit := func(content string, parents ...string) string {
		t.Helper()
		blob, _, err := gh.Git.CreateBlob(ctx, "acme", "engine", &github.Blob{Content: &content, Encoding: github.String("utf-8")})
		if err != nil {
			t.Fatal(err)
		}
		var base string
		var of []*github.Commit
		if len(parents) > 0 {
			p, _, err := gh.Git.GetCommit(ctx, "acme", "engine", parents[0])
			if err != nil {
				t.Fatal(err)
			}
			base = p.GetTree().GetSHA()
			of = append(of, p)
		}
		tree, _, err := gh.Git.CreateTree(ctx, "acme", "engine", base, []*github.TreeEntry{
			{Path: github.String("keys/one.json"), Mode: github.String("100644"), Type: github.String("blob"), SHA: blob.SHA}})
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := gh.Git.CreateCommit(ctx, "acme", "engine", &github.Commit{Message: github.String("Store " + content), Tree: tree, Parents: of}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.GetSHA()
	}
	ref := func(sha string) *github.Reference {
		return &github.Reference{Ref: github.String("refs/heads/store"), Object: &github.GitObject{SHA: &sha}}
	}
	root := commit("1")
	_, _, err := gh.Git.UpdateRef(ctx, "acme", "engine", ref(root), false)
	wantError(t, err, 422, "Reference does not exist")
	if _, _, err := gh.Git.CreateRef(ctx, "acme", "engine", ref(root)); err != nil {
		t.Fatal(err)
	}
	_, _, err = gh.Git.CreateRef(ctx, "acme", "engine", ref(root))
	wantError(t, err, 422, "Reference already exists")
	left, right := commit("2", root), commit("3", root)
	if _, _, err := gh.Git.UpdateRef(ctx, "acme", "engine", ref(left), false); err != nil {
		t.Fatal(err)
	}
	_, _, err = gh.Git.UpdateRef(ctx, "acme", "engine", ref(right), false)
	wantError(t, err, 422, "Update is not a fast forward")
	if got := r.Ref("heads/store"); got != left {
		t.Errorf("the branch is at %s, want %s", got, left)
	}
	if _, _, err := gh.Git.UpdateRef(ctx, "acme", "engine", ref(right), true); err != nil {
		t.Fatal(err)
	}
	if got, _ := r.File("store", "keys/one.json"); got != "3" {
		t.Errorf("the file holds %q", got)
	}
	file, _, _, err := gh.Repositories.GetContents(ctx, "acme", "engine", "keys/one.json", &github.RepositoryContentGetOptions{Ref: root})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := file.GetContent(); got != "1" || err != nil {
		t.Errorf("at the root it holds %q, %v", got, err)
	}
	got, _, err := gh.Git.GetRef(ctx, "acme", "engine", "heads/store")
	if err != nil || got.GetObject().GetSHA() != right {
		t.Errorf("ref %v, %v", got, err)
	}
	if _, err := gh.Git.DeleteRef(ctx, "acme", "engine", "heads/store"); err != nil {
		t.Fatal(err)
	}
	_, _, err = gh.Git.GetRef(ctx, "acme", "engine", "heads/store")
	wantError(t, err, 404, "Not Found")
}

// TestTrees: a tree is made from another as GitHub makes it.
func TestTrees(t *testing.T) {
	s := New(t)
	r := s.AddRepo("acme/engine")
	sha := r.Commit("main", "Begin", map[string]string{"a": "1", "dir/b": "2", "dir/sub/c": "3"})
	gh := client(t, s, ActionsToken)
	files := func(tree string) map[string]string {
		all := map[string]string{}
		for path, e := range r.objects.files(tree) {
			all[path] = e.mode + " " + string(r.objects[e.sha].data)
		}
		return all
	}
	entry := func(path, mode, kind, content, sha string) *github.TreeEntry {
		e := &github.TreeEntry{Path: &path, Mode: &mode, Type: &kind}
		if content != "" {
			e.Content = &content
		}
		if sha != "" {
			e.SHA = &sha
		}
		return e
	}
	main, _ := r.objects.commit(sha)
	dir, _ := r.objects.find(main.tree, "dir")
	tests := []struct {
		base    string
		entries []*github.TreeEntry
		want    map[string]string
		err     string
	}{
		{"", []*github.TreeEntry{entry("x/y", "100755", "blob", "new", "")}, map[string]string{"x/y": "100755 new"}, ""},
		{main.tree, []*github.TreeEntry{entry("a", "100644", "blob", "4", "")}, map[string]string{"a": "100644 4", "dir/b": "100644 2", "dir/sub/c": "100644 3"}, ""},
		{sha, []*github.TreeEntry{entry("a", "100644", "blob", "", "")}, map[string]string{"dir/b": "100644 2", "dir/sub/c": "100644 3"}, ""},
		{main.tree, []*github.TreeEntry{entry("dir", "100644", "blob", "file", "")}, map[string]string{"a": "100644 1", "dir": "100644 file"}, ""},
		{main.tree, []*github.TreeEntry{entry("a/b", "100644", "blob", "below", "")}, map[string]string{"a/b": "100644 below", "dir/b": "100644 2", "dir/sub/c": "100644 3"}, ""},
		{"", []*github.TreeEntry{entry("copy", "040000", "tree", "", dir.sha)}, map[string]string{"copy/b": "100644 2", "copy/sub/c": "100644 3"}, ""},
		{main.tree, []*github.TreeEntry{entry("none", "100644", "blob", "", "")}, nil, "BadObjectState"},
		{"", []*github.TreeEntry{entry("x", "100644", "blob", "", sha)}, nil, "is not a valid blob"},
		{"", []*github.TreeEntry{entry("x", "040000", "tree", "", sha)}, nil, "is not a valid tree"},
		{"", []*github.TreeEntry{entry("../x", "100644", "blob", "x", "")}, nil, "malformed path"},
		{"", []*github.TreeEntry{entry("x//y", "100644", "blob", "x", "")}, nil, "malformed path"},
		{strings.Repeat("0", 40), []*github.TreeEntry{entry("x", "100644", "blob", "x", "")}, nil, "base_tree is not a valid tree oid"},
	}
	for i, tt := range tests {
		got, _, err := gh.Git.CreateTree(ctx, "acme", "engine", tt.base, tt.entries)
		if tt.err != "" {
			wantError(t, err, 422, tt.err)
		} else if err != nil {
			t.Errorf("%d: %v", i, err)
		} else if d := cmp.Diff(tt.want, files(got.GetSHA())); d != "" {
			t.Errorf("%d: -want +got\n%s", i, d)
		}
	}
	for _, tt := range []struct{ encoding, content, want, err string }{
		{"utf-8", "é\n", "é\n", ""},
		{"base64", "w6\nkK", "é\n", ""},
		{"base64", "?", "", "not valid Base64"},
		{"rot13", "x", "", "utf-8 or base64"},
	} {
		b, _, err := gh.Git.CreateBlob(ctx, "acme", "engine", &github.Blob{Content: &tt.content, Encoding: &tt.encoding})
		if tt.err != "" {
			wantError(t, err, 422, tt.err)
		} else if err != nil || string(r.objects[b.GetSHA()].data) != tt.want {
			t.Errorf("%s %q: %q, %v", tt.encoding, tt.content, r.objects[b.GetSHA()].data, err)
		}
	}
}

// TestCommitAuthors: who made a commit and when are part of its name.
func TestCommitAuthors(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s, r, pr := seeded(t, WithClock(func() time.Time { return at }))
	gh := client(t, s, ActionsToken)
	head, _ := r.objects.commit(pr.HeadSHA)
	tree := &github.Tree{SHA: &head.tree}
	other := github.Timestamp{Time: at.Add(-time.Hour)}
	c, _, err := gh.Git.CreateCommit(ctx, "acme", "engine", &github.Commit{Message: github.String("m"), Tree: tree,
		Author: &github.CommitAuthor{Name: github.String("Eve"), Email: github.String("eve@example.org"), Date: &other}}, nil)
	if err != nil || c.GetAuthor().GetName() != "Eve" || !c.GetCommitter().GetDate().Equal(other) || c.GetCommitter().GetEmail() != "eve@example.org" {
		t.Errorf("%v, %v", c, err)
	}
	d, _, err := gh.Git.CreateCommit(ctx, "acme", "engine", &github.Commit{Message: github.String("m"), Tree: tree}, nil)
	if err != nil || d.GetAuthor().GetName() != "github-actions[bot]" || !d.GetAuthor().GetDate().Equal(github.Timestamp{Time: at}) {
		t.Errorf("%v, %v", d, err)
	}
	if len(c.Parents) != 0 || c.GetSHA() == d.GetSHA() || c.GetTree().GetSHA() != head.tree {
		t.Errorf("%v and %v", c, d)
	}
	zero := strings.Repeat("0", 40)
	_, _, err = gh.Git.CreateCommit(ctx, "acme", "engine", &github.Commit{Message: github.String("m"), Tree: tree, Parents: []*github.Commit{{SHA: &zero}}}, nil)
	wantError(t, err, 422, "Parent SHA does not exist")
	_, _, err = gh.Git.GetCommit(ctx, "acme", "engine", zero)
	wantError(t, err, 404, "Not Found")
	_, _, err = gh.Git.GetTree(ctx, "acme", "engine", zero, false)
	wantError(t, err, 404, "Not Found")
	flat, _, err := gh.Git.GetTree(ctx, "acme", "engine", "feature", false)
	if err != nil || len(flat.Entries) != 3 || flat.Entries[2].GetPath() != "src" || flat.Entries[2].GetType() != "tree" {
		t.Errorf("%v, %v", flat, err)
	}
}

// TestRefNames: git's rules for names.
func TestRefNames(t *testing.T) {
	s, _, pr := seeded(t)
	gh := client(t, s, ActionsToken)
	for name, want := range map[string]string{
		"refs/heads/a/b":       "",
		"refs/x/y":             "",
		"refs/heads/bad..name": "Reference name",
		"refs/heads/bad name":  "Reference name",
		"refs/heads/bad.lock":  "Reference name",
		"refs/heads/":          "Reference name",
	} {
		_, _, err := gh.Git.CreateRef(ctx, "acme", "engine", &github.Reference{Ref: &name, Object: &github.GitObject{SHA: &pr.HeadSHA}})
		if want != "" {
			wantError(t, err, 422, want)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"refs/heads/a", "refs/heads/a/b/c"} { // beside refs/heads/a/b
		_, _, err := gh.Git.CreateRef(ctx, "acme", "engine", &github.Reference{Ref: &name, Object: &github.GitObject{SHA: &pr.HeadSHA}})
		wantError(t, err, 422, "Reference update failed")
	}
	_, err := gh.Git.DeleteRef(ctx, "acme", "engine", "heads/main")
	wantError(t, err, 422, "Cannot delete the default branch")
}

// TestConcurrentWriters: of those who move a branch at once one wins each time,
// and whoever tries again on top of it loses nothing.
func TestConcurrentWriters(t *testing.T) {
	s := New(t)
	r := s.AddRepo("acme/engine")
	r.Commit("main", "Begin", map[string]string{"0": "0"})
	const writers, each = 8, 5
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			gh := client(t, s, ActionsToken)
			for n := range each {
				for {
					done, err := appendFile(gh, fmt.Sprintf("%d-%d", w, n))
					if err != nil {
						t.Error(err)
						return
					}
					if done {
						break
					}
				}
			}
		})
	}
	wg.Wait()
	if got := len(r.Log("main")); got != writers*each+1 {
		t.Errorf("%d commits, want %d", got, writers*each+1)
	}
	for w := range writers {
		for n := range each {
			if _, ok := r.File("main", fmt.Sprintf("%d-%d", w, n)); !ok {
				t.Errorf("file %d-%d is lost", w, n)
			}
		}
	}
}

// appendFile commits a file on top of main; false when another was faster.
func appendFile(gh *github.Client, name string) (bool, error) {
	ref, _, err := gh.Git.GetRef(ctx, "acme", "engine", "heads/main")
	if err != nil {
		return false, err
	}
	parent, _, err := gh.Git.GetCommit(ctx, "acme", "engine", ref.GetObject().GetSHA())
	if err != nil {
		return false, err
	}
	tree, _, err := gh.Git.CreateTree(ctx, "acme", "engine", parent.GetTree().GetSHA(), []*github.TreeEntry{
		{Path: &name, Mode: github.String("100644"), Type: github.String("blob"), Content: &name}})
	if err != nil {
		return false, err
	}
	c, _, err := gh.Git.CreateCommit(ctx, "acme", "engine", &github.Commit{Message: &name, Tree: tree, Parents: []*github.Commit{parent}}, nil)
	if err != nil {
		return false, err
	}
	_, _, err = gh.Git.UpdateRef(ctx, "acme", "engine", &github.Reference{Ref: ref.Ref, Object: &github.GitObject{SHA: c.SHA}}, false)
	var refused *github.ErrorResponse
	if errors.As(err, &refused) && refused.Message == "Update is not a fast forward" {
		return false, nil
	}
	return true, err
}

// TestGitItself: git accepts what the fake makes, under the same names, and the
// fake takes over what git made.
func TestGitItself(t *testing.T) {
	s := New(t)
	r := s.AddRepo("acme/engine")
	first := r.Commit("main", "Begin", map[string]string{"a": "1\n", "a.b": "2\n", "a-b/c": "3\n", "é/ü": "", "s/c": "", "s-b": "", "s.b": ""})
	r.Commit("topic", "Change", map[string]string{"a": "eins\n"})
	pr := r.AddPullRequest(PullRequest{HeadRef: "topic"})
	r.Commit("main", "Go on", map[string]string{"d": "d"})
	r.Merge(pr.Number, "merge")
	r.SetRef("tags/v1", first)
	bare := filepath.Join(t.TempDir(), "bare.git")
	if err := r.ExportGit(bare); err != nil {
		t.Fatal(err)
	}
	if out, err := runGit(bare, nil, "fsck", "--strict", "--full"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := runGit(bare, nil, "log", "--format=%s|%an|%P", "--topo-order", "main")
	if err != nil || len(strings.Split(strings.TrimSpace(string(out)), "\n")) != 4 {
		t.Errorf("log %s, %v", out, err)
	}
	// What git adds: an annotated tag, a symlink, an executable, an octopus's zone.
	work := t.TempDir()
	t.Setenv("GIT_AUTHOR_DATE", "2026-05-01T10:00:00+05:30")
	t.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(work, "no-config"))
	git := func(args ...string) string {
		t.Helper()
		out, err := runGit(work, nil, append([]string{"-c", "user.name=O'Neil <x", "-c", "user.email=o@example.org"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	git("clone", "--quiet", bare, ".")
	if err := os.WriteFile(filepath.Join(work, "run"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("run", filepath.Join(work, "link")); err != nil {
		t.Fatal(err)
	}
	git("add", ".")
	git("commit", "--quiet", "-m", "From git", "-m", "with a body")
	git("tag", "-a", "-m", "annotated", "v2")
	other := s.AddRepo("acme/taken")
	if err := other.ImportGit(work); err != nil {
		t.Fatal(err)
	}
	if got, want := other.Ref("heads/main"), git("rev-parse", "main"); got != want {
		t.Errorf("main is %s, git has %s", got, want)
	}
	if got, want := other.Ref("tags/v2"), git("rev-parse", "v2^{commit}"); got != want {
		t.Errorf("v2 is %s, git has %s", got, want)
	}
	gh := client(t, s, UserToken)
	f, _, _, err := gh.Repositories.GetContents(ctx, "acme", "taken", "link", nil)
	if err != nil || f.GetType() != "symlink" || f.GetTarget() != "run" {
		t.Errorf("%v, %v", f, err)
	}
	c, _, err := gh.Git.GetCommit(ctx, "acme", "taken", other.Ref("heads/main"))
	if err != nil || c.GetMessage() != "From git\n\nwith a body\n" || c.GetAuthor().GetName() != "O'Neil x" || c.GetAuthor().GetDate().UTC().Format("15:04") != "04:30" {
		t.Errorf("%v, %v", c, err)
	}
	// The same commit again has the same name: nothing of it was lost.
	at, _ := other.objects.commit(c.GetSHA())
	if got := other.objects.putCommit(at); got != c.GetSHA() {
		t.Errorf("commit %s is %s when it is written again", c.GetSHA(), got)
	}
	tree, _, err := gh.Git.GetTree(ctx, "acme", "taken", "main", true)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range tree.Entries {
		if e.GetType() != "tree" {
			lines = append(lines, fmt.Sprintf("%s %s %s\t%s", e.GetMode(), e.GetType(), e.GetSHA(), e.GetPath()))
		}
	}
	if d := cmp.Diff(git("-c", "core.quotePath=false", "ls-tree", "-r", "main"), strings.Join(lines, "\n")); d != "" {
		t.Error(d)
	}
	if err := other.ImportGit(t.TempDir()); err == nil {
		t.Error("a folder without a repository was taken over")
	}
}

// TestPatches: git applies each patch, and it does what it says.
func TestPatches(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	text := func() string {
		var b strings.Builder
		for range rng.IntN(9) {
			b.WriteString(string(rune('a'+rng.IntN(3))) + "\n")
		}
		if rng.IntN(3) == 0 {
			b.WriteString("end")
		}
		return b.String()
	}
	for range 60 {
		before, after := text(), text()
		if before == after || before == "" || after == "" {
			continue
		}
		p, additions, deletions := patch([]byte(before), []byte(after))
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "f"), []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := runGit(dir, []byte("--- a/f\n+++ b/f\n"+p+"\n"), "apply", "--unidiff-zero", "-"); err != nil {
			t.Fatalf("%q to %q: %v\n%s", before, after, err, p)
		}
		got, err := os.ReadFile(filepath.Join(dir, "f"))
		if err != nil || string(got) != after {
			t.Fatalf("%q to %q: the patch makes %q\n%s", before, after, got, p)
		}
		if strings.Count(p, "\n+") != additions || strings.Count(p, "\n-") != deletions {
			t.Errorf("+%d -%d of\n%s", additions, deletions, p)
		}
	}
	for _, tt := range []struct{ before, after, want string }{
		{"", "a\n", "@@ -0,0 +1 @@\n+a"},
		{"a\nb\n", "", "@@ -1,2 +0,0 @@\n-a\n-b"},
		{"a\n", "a", "@@ -1 +1 @@\n-a\n+a\n\\ No newline at end of file"},
	} {
		if got, _, _ := patch([]byte(tt.before), []byte(tt.after)); got != tt.want {
			t.Errorf("%q to %q: %q, want %q", tt.before, tt.after, got, tt.want)
		}
	}
	o := objectStore{}
	plain := o.build(map[string]treeEntry{"f": {mode: modeFile, sha: o.put("blob", []byte("x"))}})
	exec := o.build(map[string]treeEntry{"f": {mode: modeExec, sha: o.put("blob", []byte("x"))}})
	if got := o.diff(plain, exec); len(got) != 1 || got[0].Status != "modified" || got[0].Patch != "" {
		t.Errorf("another mode is %+v", got)
	}
	if p, additions, _ := patch([]byte("a\x00"), []byte("b")); p != "" || additions != 0 {
		t.Errorf("a binary file has the patch %q", p)
	}
}
