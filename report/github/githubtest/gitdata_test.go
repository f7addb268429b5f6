package githubtest

import (
	"testing"

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
