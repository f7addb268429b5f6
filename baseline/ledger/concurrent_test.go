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
	// What is approved is of no commit, and of other numbers: the updates do not
	// follow it.
	writeTrace(t, filepath.Join(work, "other.safetensors"), "worker", 2e-4)
	alone := strings.NewReplacer("../ref", "ref", "../cand", "other").Replace(spec)
	if err := os.WriteFile(filepath.Join(work, "parity.yaml"), []byte(alone), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(work, "out")
	if code, said := here("run", filepath.Join(work, "parity.yaml"), "--baseline", "dir:"+filepath.Join(work, "none"), "--out", out); code != 3 {
		t.Fatalf("the run that is approved: exit code %d\n%s", code, said)
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

	if code, said := here("baseline", "verify", "--spec", filepath.Join(clone, "parity.yaml")); code != 0 || !strings.HasPrefix(said, "24 baselines in branch:parity, all of them right") {
		t.Errorf("verify: exit code %d, %s", code, said)
	}
	// Each moved the branch once, by one commit with one file, from where it was.
	log := strings.Fields(git(t, bare, "reflog", "show", "--format=%H", "refs/heads/parity"))
	slices.Reverse(log)
	if line := strings.Fields(git(t, bare, "rev-list", "--reverse", "parity")); len(log) != commits+approvals || !slices.Equal(line, log) {
		t.Errorf("the branch moved %d times; its history has %d commits", len(log), len(line))
	}
	documents := documentsOf(t, clone)
	there := map[int]bool{}
	for _, sha := range log {
		files := strings.Fields(git(t, bare, "diff-tree", "--root", "--no-commit-id", "--name-status", "-r", sha))
		if len(files) != 2 || files[0] != "A" {
			t.Errorf("%s changes %v", sha, files)
			continue
		}
		d := documents[files[1]]
		n := slices.Index(hashes, d.Provenance.Commit)
		if n < 0 {
			continue // approved
		}
		if m := digestSaid.FindStringSubmatch(said[n]); m == nil || !strings.HasPrefix(d.Digest(), m[1]) {
			t.Errorf("the store has the digest %s for commit %d; its update said %s", d.Digest(), n, said[n])
		}
		// It follows the nearest that was there.
		nearest := -1
		for m := range n {
			if there[m] {
				nearest = m
			}
		}
		follows := -1
		if len(d.History) > 1 {
			follows = slices.Index(hashes, d.History[len(d.History)-2].Commit)
		}
		if follows != nearest {
			t.Errorf("commit %d follows %d; %d was there", n, follows, nearest)
		}
		there[n] = true
	}
	if len(there) != commits {
		t.Errorf("%d of %d commits have a baseline", len(there), commits)
	}
}

// documentsOf are the documents of the store, by path.
func documentsOf(t *testing.T, dir string) map[string]*baseline.Document {
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
	out := map[string]*baseline.Document{}
	if err := ledger.ReadAll(ctx, view, entries, func(e ledger.Entry, d *baseline.Document, err error) error {
		out[e.Path] = d
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}
