package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/baseline/lineage"
	"github.com/paritygate/paritygate/baseline/store"
)

// TestExport: from the export and the standing, every run gets the answer that the
// store itself gives.
func TestExport(t *testing.T) {
	w := newWorld(t)
	w.accept(run{commit: "a", f: 1, day: 1})
	w.accept(run{commit: "b", f: 1.1, day: 2}, "a")
	w.accept(run{commit: "c", f: 1.2, day: 3}, "b", "a")
	w.accept(run{commit: "elsewhere", f: 1.2, day: 3})
	w.accept(run{commit: "a", f: 1, day: 1, precision: "bf16"})
	w.accept(run{commit: "b", f: 1, day: 1, prompts: "sonnet"})
	w.approve(run{commit: "feature", f: 3, day: 4}, 12, 5)
	w.approve(run{commit: "fix", f: 2, day: 4}, 0, 5)
	damaged := run{commit: "b", f: 1, precision: "q8_0"}
	w.accept(damaged, "a")
	w.damage(place(t, damaged))
	pulls := map[int]*lineage.Lineage{0: line("d", "b", "a"), 12: line("b", "a"), 13: line("d#12", "b"), 14: nil}
	for pull, on := range pulls {
		s := &Standing{Head: hash("head"), Tree: tree("head"), Pull: pull, Lineage: on, Note: "a note"}
		folder := filepath.Join(t.TempDir(), "baselines")
		if err := Export(context.Background(), w.Store, s, folder); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "standing.json")
		if err := s.Write(file); err != nil {
			t.Fatal(err)
		}
		read, err := ReadStanding(file)
		if err != nil || !reflect.DeepEqual(read, s) {
			t.Errorf("the standing came back as %+v, %v", read, err)
		}
		exported, err := store.Open("dir:"+folder, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []run{
			{commit: "head", f: 1.5, day: 20}, {commit: "head", f: 2, day: 20}, {commit: "head", f: 3, day: 20}, {commit: "head", f: 1, day: 20, precision: "bf16"},
			{commit: "head", f: 1, day: 20, prompts: "sonnet"}, {commit: "head", f: 1, day: 20, prompts: "ode"}, {commit: "head", f: 1, day: 20, precision: "q8_0"},
			{commit: "head", f: 1, day: 20, precision: "q4_0"},
		} {
			want := ask(t, w.Ledger, x, pull, on)
			got := ask(t, &Ledger{exported}, x, read.Pull, read.Lineage)
			got.Store = want.Store
			if a, b := asJSON(t, got), asJSON(t, want); a != b {
				t.Errorf("pull request %d, %+v: exported gives\n%.300s\nthe store gives\n%.300s", pull, x, a, b)
			}
		}
		v, err := exported.Snapshot(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		// Two approvals, and of each key the nearest alone.
		want := map[int]int{0: 6, 12: 6, 13: 5, 14: 2}[pull]
		if list, err := v.List(context.Background(), ""); err != nil || len(list) != want {
			t.Errorf("pull request %d: %d files were exported, want %d (%v)", pull, len(list), want, err)
		}
	}
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Of many approvals, those that may count are exported.
func TestExportApprovals(t *testing.T) {
	w := newWorld(t)
	for i := range maxApproved + 20 {
		w.approve(run{commit: fmt.Sprint("feature", i), f: 3 + float64(i), day: 4}, 1+i, 5)
	}
	w.approve(run{commit: "local", f: 1, day: 4}, 0, 5)
	folder := filepath.Join(t.TempDir(), "x")
	if err := Export(context.Background(), w.Store, &Standing{Pull: 3, Lineage: line("a#5", "b")}, folder); err != nil {
		t.Fatal(err)
	}
	var pulls []int
	files, err := filepath.Glob(filepath.Join(folder, "v1", "*", "approved", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		var n int
		if _, err := fmt.Sscanf(filepath.Base(f), "%d-", &n); err != nil {
			t.Fatal(err)
		}
		pulls = append(pulls, n)
	}
	slices.Sort(pulls)
	want := []int{0, 3, 5}
	for n := 24; n <= maxApproved+20; n++ {
		want = append(want, n)
	}
	if !slices.Equal(pulls, want) {
		t.Errorf("exported are those of %v, want %v", pulls, want)
	}
}

func TestExportErrors(t *testing.T) {
	w := newWorld(t)
	w.accept(run{commit: "a", f: 1, day: 1})
	on := &Standing{Lineage: line("a")}
	if err := Export(context.Background(), unreadable{w.Store}, on, t.TempDir()); err == nil {
		t.Error("a store that cannot be read was exported")
	}
	if err := Export(context.Background(), unlisted{w.Store}, on, t.TempDir()); err == nil {
		t.Error("a store that cannot be listed was exported")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Export(context.Background(), w.Store, on, file); err == nil {
		t.Error("exported into a file")
	}
}

func TestReadStandingErrors(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct{ data, want string }{
		"version":  {`{"version": 2}`, "version 2, this program reads 1"},
		"nothing":  {``, "unexpected end of JSON input"},
		"no JSON":  {`{`, "unexpected end of JSON input"},
		"too long": {strings.Repeat(" ", maxStanding+1), "want a file of at most"},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(tt.data), 0o644); err != nil {
			t.Fatal(err)
		}
		if s, err := ReadStanding(file); s != nil || err == nil || !strings.HasPrefix(err.Error(), file+": ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	if _, err := ReadStanding(dir); err == nil || !strings.Contains(err.Error(), "want a file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := ReadStanding(filepath.Join(dir, "none")); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}

func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "protocol.file.allow=always"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestLocalStanding(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	git(t, dir, "init", "-q", "-b", "main")
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		git(t, dir, "add", ".")
		git(t, dir, "commit", "-q", "-m", name)
	}
	head, before := git(t, dir, "rev-parse", "HEAD"), git(t, dir, "rev-parse", "HEAD~1")
	tree := git(t, dir, "rev-parse", "HEAD^{tree}")
	g := &lineage.Git{Dir: dir}
	s, err := LocalStanding(ctx, g, "")
	if err != nil || s.Head != head || s.Tree != tree || s.Note != "" || s.Lineage.MergeBase != head || len(s.Lineage.Ancestors) != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = StandingOf(ctx, g, "main", before)
	if err != nil || s.Head != before || s.Tree == tree || s.Lineage.MergeBase != before || len(s.Lineage.Ancestors) != 1 {
		t.Errorf("of the commit before: %+v, %v", s, err)
	}
	if s, err := LocalStanding(ctx, g, "none"); err == nil || s == nil || s.Head != head || s.Tree != tree || s.Lineage != nil {
		t.Errorf("into an unknown branch: %+v, %v", s, err)
	}
	if s, err := StandingOf(ctx, g, "", hash("none")); err == nil || s != nil {
		t.Errorf("of an unknown commit: %+v, %v", s, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err = LocalStanding(ctx, g, "")
	if err != nil || s.Head != "" || s.Tree != "" || s.Note != "tracked files differ from the commit that is checked out" || s.Lineage.MergeBase != head {
		t.Errorf("with changes: %+v, %v", s, err)
	}
	if s, err := LocalStanding(ctx, &lineage.Git{Dir: t.TempDir()}, ""); err == nil || s != nil {
		t.Errorf("outside of a repository: %+v, %v", s, err)
	}
}
