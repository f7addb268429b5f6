package ledger_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/paritygate/paritygate/baseline"
	"github.com/paritygate/paritygate/baseline/ledger"
	"github.com/paritygate/paritygate/baseline/store"
)

// TestConcurrentUpdates: twenty processes update twenty commits at once, half of
// them in worktrees of one clone, and four approve, all on one branch of one server
// over HTTP. Every document that was acknowledged is there, and the branch never
// went back.
func TestConcurrentUpdates(t *testing.T) {
	const commits, approvals = 20, 4
	root, work := t.TempDir(), t.TempDir()
	bare := filepath.Join(root, "repo.git")
	git(t, root, "init", "-q", "--bare", "-b", "main", bare)
	git(t, bare, "config", "http.receivepack", "true")
	git(t, bare, "config", "core.logAllRefUpdates", "true")
	url := serve(t, root) + "/repo.git"
	writeTrace(t, filepath.Join(work, "ref.safetensors"), "llama.cpp", 0)
	writeTrace(t, filepath.Join(work, "cand.safetensors"), "worker", 3e-4)
	clone := filepath.Join(work, "clone")
	git(t, work, "clone", "-q", url, clone)
	spec := "version: 1\nprompts: [{name: haiku, tokens: [1, 2, 3]}]\nengines:\n  reference: {adapter: trace, path: ../ref.safetensors}\n" +
		"  candidate: {adapter: trace, path: ../cand.safetensors}\nbaseline: {store: \"branch:parity\", required: true}\n"
	if err := os.WriteFile(filepath.Join(clone, "parity.yaml"), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	git(t, clone, "checkout", "-q", "-B", "main")
	git(t, clone, "add", ".")
	var hashes, dirs []string
	for i := range commits {
		git(t, clone, "commit", "-q", "--allow-empty", "-m", fmt.Sprint("commit ", i))
		hashes = append(hashes, git(t, clone, "rev-parse", "HEAD"))
	}
	git(t, clone, "push", "-q", "origin", "main")
	for i, sha := range hashes {
		dir := filepath.Join(work, fmt.Sprint("checkout-", i))
		if i%2 == 0 {
			git(t, clone, "worktree", "add", "-q", "--detach", dir, sha)
		} else {
			git(t, work, "clone", "-q", url, dir)
			git(t, dir, "checkout", "-q", "--detach", sha)
		}
		dirs = append(dirs, dir)
	}
	out := filepath.Join(work, "out")
	if code, said := here("run", filepath.Join(dirs[0], "parity.yaml"), "--out", out); code != 3 {
		t.Fatalf("the first run: exit code %d\n%s", code, said)
	}
	doc, err := os.ReadFile(filepath.Join(out, "baseline.json"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := baseline.Parse(doc, "baseline.json")
	if err != nil {
		t.Fatal(err)
	}

	said := make([]string, commits+approvals)
	var wg sync.WaitGroup
	for i := range said {
		wg.Go(func() {
			cmd := program(dirs[i%commits], nil, "baseline", "update")
			if i >= commits {
				cmd = program(dirs[i%commits], nil, "baseline", "approve", d.Numbers()[:16], "--from", out, "--by", "ada", "--reason", "new kernels", "--pull", fmt.Sprint(i))
			}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Run(); err != nil {
				t.Errorf("process %d: %v\n%s", i, err, &stderr)
			}
			said[i] = stderr.String()
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}

	for i, digest := range documentsOf(t, clone, hashes) {
		if m := digestSaid.FindStringSubmatch(said[i]); m == nil || !strings.HasPrefix(digest, m[1]) {
			t.Errorf("the store has the digest %q for commit %d; its update said %s", digest, i, said[i])
		}
	}
	if code, said := here("baseline", "verify", "--spec", filepath.Join(clone, "parity.yaml")); code != 0 || !strings.HasPrefix(said, "24 baselines in branch:parity, all of them right") {
		t.Errorf("verify: exit code %d, %s", code, said)
	}
	// Each moved the branch once, by one commit with one file, from where it was.
	log := strings.Fields(git(t, bare, "reflog", "show", "--format=%H", "refs/heads/parity"))
	slices.Reverse(log)
	if line := strings.Fields(git(t, bare, "rev-list", "--reverse", "parity")); len(log) != commits+approvals || !slices.Equal(line, log) {
		t.Errorf("the branch moved %d times; its history has %d commits", len(log), len(line))
	}
	for _, sha := range log {
		if files := strings.Fields(git(t, bare, "diff-tree", "--root", "--no-commit-id", "--name-status", "-r", sha)); len(files) != 2 || files[0] != "A" {
			t.Errorf("%s changes %v", sha, files)
		}
	}
}

// documentsOf are the digests of commits' documents. Each has a history that its
// commit stands on, in order.
func documentsOf(t *testing.T, dir string, hashes []string) []string {
	t.Helper()
	ctx := context.Background()
	s, err := store.Open("branch:parity", store.Options{Repository: dir})
	if err != nil {
		t.Fatal(err)
	}
	view, err := s.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	entries, _, err := ledger.Entries(ctx, view)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]string, len(hashes))
	if err := ledger.ReadAll(ctx, view, entries, func(e ledger.Entry, d *baseline.Document, err error) error {
		if err != nil || e.Commit == "" {
			return err
		}
		n := slices.Index(hashes, e.Commit)
		out[n] = d.Digest()
		last := -1
		for _, a := range d.History {
			at := slices.Index(hashes, a.Commit)
			if at < last || at > n {
				t.Errorf("commit %d follows commit %d behind %d", n, at, last)
			}
			last = at
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}
