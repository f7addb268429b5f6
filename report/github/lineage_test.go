package github

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/paritygate/paritygate/baseline/lineage"
	"github.com/paritygate/paritygate/report/github/githubtest"
)

// The API tells the same lineage as git does.
func TestLineage(t *testing.T) {
	srv := githubtest.New(t)
	repo := srv.AddRepo("acme/engine")
	var main []string
	for _, n := range []string{"a", "b"} {
		main = append(main, repo.Commit("main", n, map[string]string{n: n}))
	}
	repo.SetRef("heads/feature", main[1])
	y := repo.Commit("feature", "y", map[string]string{"y": "y"})
	d := repo.Commit("main", "d", map[string]string{"d": "d"})
	c, err := New(&Event{Owner: "acme", Repo: "engine", APIURL: srv.URL()}, Settings{Token: githubtest.ActionsToken, Sleep: func(time.Duration) {}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := lineage.Of(context.Background(), c, d, y)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range l.Ancestors {
		got = append(got, a.Commit)
		if a.Tree == "" {
			t.Errorf("%s has no tree", a.Commit)
		}
	}
	if l.MergeBase != main[1] || !slices.Equal(got, []string{main[1], main[0]}) || l.Ancestors[1].Distance != 1 {
		t.Errorf("merge base %s, ancestors %v, want %v", l.MergeBase, l.Ancestors, main)
	}
	if _, err := lineage.Of(context.Background(), c, "", "0123456789012345678901234567890123456789"); err == nil {
		t.Error("a commit that is not there has ancestors")
	}
}
