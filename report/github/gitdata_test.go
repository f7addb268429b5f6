package github

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/paritygate/paritygate/baseline/store"
	"github.com/paritygate/paritygate/report/github/githubtest"
)

// branchStore is a store on a branch of a new repository, and what serves it.
func branchStore(t *testing.T) (*githubtest.Server, *githubtest.Repo, func() store.Store) {
	t.Helper()
	srv := githubtest.New(t)
	repo := srv.AddRepo("acme/engine")
	repo.Commit("main", "code", map[string]string{"a.go": "package a\n"})
	return srv, repo, func() store.Store {
		c, err := New(&Event{Owner: "acme", Repo: "engine", APIURL: srv.URL()}, Settings{Token: githubtest.ActionsToken, Sleep: func(time.Duration) {}})
		if err != nil {
			t.Fatal(err)
		}
		s, err := store.Open("branch:parity", store.Options{API: c})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func writes(w ...store.Write) func(store.View) ([]store.Write, error) {
	return func(store.View) ([]store.Write, error) { return w, nil }
}

func TestBranchStore(t *testing.T) {
	srv, repo, open := branchStore(t)
	ctx := context.Background()
	s := open()
	v, err := s.Snapshot(ctx)
	if err != nil || v.Revision() != "" {
		t.Fatalf("a new store is at %q, %v", v.Revision(), err)
	}
	if _, err := v.Read(ctx, "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file of an empty store: %v", err)
	}
	if log, err := s.Log(ctx, "", 10); err != nil || len(log) != 0 {
		t.Errorf("the history of an empty store is %v, %v", log, err)
	}
	binary := []byte{0, 0xff, '\n', 1}
	first, err := s.Update(ctx, "one\n\nmore", writes(store.Write{Path: "k/a.json", Data: []byte("1\n")}, store.Write{Path: "k/b", Data: binary}, store.Write{Path: "none", Data: nil}))
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Update(ctx, "two", writes(store.Write{Path: "k/a.json", Data: nil}, store.Write{Path: "z", Data: []byte{}}))
	if err != nil {
		t.Fatal(err)
	}
	if v, err = open().Snapshot(ctx); err != nil || v.Revision() != second || second == first {
		t.Fatalf("the store is at %s, want %s after %s (%v)", v.Revision(), second, first, err)
	}
	if list, err := v.List(ctx, ""); err != nil || !slices.Equal(list, []string{"k/b", "z"}) {
		t.Errorf("it holds %v, %v", list, err)
	}
	if b, err := v.Read(ctx, "k/b"); err != nil || string(b) != string(binary) {
		t.Errorf("k/b is %q, %v", b, err)
	}
	if log, err := s.Log(ctx, "k/a.json", 10); err != nil || len(log) != 2 || log[0].Message != "two" || log[1].Message != "one" {
		t.Errorf("the history is %v, %v", log, err)
	}
	if log, err := s.Log(ctx, "", 1); err != nil || len(log) != 1 {
		t.Errorf("one revision of the history is %v, %v", log, err)
	}
	before := srv.Writes()
	if rev, err := s.Update(ctx, "nothing", writes(store.Write{Path: "none", Data: nil})); err != nil || rev != second || srv.Writes() != before {
		t.Errorf("removing what is not there: %s, %v", rev, err)
	}
	if n := len(repo.Log("parity")); n != 2 {
		t.Errorf("the branch has %d commits: it shares the code's history", n)
	}
}

// appendLine adds a line to a file that all writers share.
func appendLine(i int) func(store.View) ([]store.Write, error) {
	return func(v store.View) ([]store.Write, error) {
		b, err := v.Read(context.Background(), "shared")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if strings.Contains("\n"+string(b), fmt.Sprintf("\n%d\n", i)) {
			return nil, nil
		}
		return []store.Write{{Path: "shared", Data: fmt.Appendf(b, "%d\n", i)}}, nil
	}
}

// lines are the shared file's lines, each once or the test fails.
func lines(t *testing.T, repo *githubtest.Repo) []string {
	t.Helper()
	text, _ := repo.File("parity", "shared")
	list := strings.Fields(text)
	slices.Sort(list)
	if n := len(list); len(slices.Compact(slices.Clone(list))) != n {
		t.Errorf("an update is there twice: %v", list)
	}
	return list
}

// Twenty writers at once: every update is there, and each commit has the one
// before it as its parent, so nothing was rewritten.
func TestBranchStoreConcurrent(t *testing.T) {
	_, repo, open := branchStore(t)
	const writers = 20
	var wg sync.WaitGroup
	for i := range writers {
		s := open()
		wg.Go(func() {
			if _, err := s.Update(context.Background(), fmt.Sprint("writer ", i), appendLine(i)); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if got := lines(t, repo); len(got) != writers {
		t.Errorf("%d of %d updates are there: %v", len(got), writers, got)
	}
	if n := len(repo.Log("parity")); n != writers {
		t.Errorf("%d commits, want %d", n, writers)
	}
}

// Whatever goes wrong with the API: an update that was acknowledged is there,
// one that was not is there once or not at all.
func TestBranchStoreFaults(t *testing.T) {
	for seed := range uint64(40) {
		srv, repo, open := branchStore(t)
		rng := rand.New(rand.NewPCG(seed, 1))
		srv.Choose(githubtest.Random(seed, 0.3, 6+rng.IntN(20), githubtest.Faults()...))
		acknowledged := map[string]bool{}
		for i := range 6 {
			if _, err := open().Update(context.Background(), fmt.Sprint("writer ", i), appendLine(i)); err == nil {
				acknowledged[fmt.Sprint(i)] = true
			}
		}
		srv.Choose(nil)
		got := lines(t, repo)
		for i := range acknowledged {
			if !slices.Contains(got, i) {
				t.Errorf("seed %d: update %s was acknowledged and is not there: %v", seed, i, got)
			}
		}
		if len(repo.Log("parity")) < len(got) {
			t.Errorf("seed %d: history was rewritten", seed)
		}
	}
}

// A branch that may not be written is an error that says so, not a race without end.
func TestBranchStoreReadOnly(t *testing.T) {
	srv := githubtest.New(t)
	srv.AddRepo("acme/engine").Commit("main", "code", map[string]string{"a": "1"})
	c, err := New(&Event{Owner: "acme", Repo: "engine", APIURL: srv.URL()}, Settings{Token: githubtest.ForkToken, Sleep: func(time.Duration) {}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open("branch:parity", store.Options{API: c})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Update(context.Background(), "m", appendLine(1))
	if err == nil || !strings.Contains(err.Error(), "the token may only read here") {
		t.Errorf("the error was %v", err)
	}
	if n := srv.Count(http.MethodPost, "/git/"); n != 1 {
		t.Errorf("%d tries to write", n)
	}
}
