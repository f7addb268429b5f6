package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/baseline/ledger"
	"github.com/paritygate/paritygate/baseline/lineage"
)

// show runs baseline show, in this test's folder, of the spec's store.
func (s *saved) show(args ...string) (code int, printed, said string) {
	var out, err bytes.Buffer
	code = Main(context.Background(), append([]string{"baseline", "show", "--spec", s.spec()}, args...),
		Process{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &err, Getenv: os.Getenv})
	return code, out.String(), err.String()
}

// TestShowNames: a name that is of one document finds it, and one that is of
// several says so.
func TestShowNames(t *testing.T) {
	s := newSaved(t)
	for _, head := range []string{"11111111" + strings.Repeat("a", 32), "11111111" + strings.Repeat("b", 32)} {
		standing := ledger.Standing{Head: head, Lineage: &lineage.Lineage{MergeBase: head, Ancestors: []lineage.Ancestor{{Commit: head}}}}
		file := filepath.Join(t.TempDir(), "standing.json")
		if err := standing.Write(file); err != nil {
			t.Fatal(err)
		}
		if code, said := s.run("baseline", "update", s.spec(), "--standing", file); code != 0 {
			t.Fatalf("exit code %d, %s", code, said)
		}
	}
	if code, said := s.run("baseline", "update", s.spec()); code != 0 {
		t.Fatalf("exit code %d, %s", code, said)
	}
	run, err := readRun(s.out)
	if err != nil {
		t.Fatal(err)
	}
	digest := run.doc.Numbers()
	for _, pull := range []string{"3", "4"} {
		if code, said := s.run("baseline", "approve", digest, "--from", s.out, "--spec", s.spec(), "--by", "ada", "--reason", "why", "--pull", pull); code != 0 {
			t.Fatalf("exit code %d, %s", code, said)
		}
	}
	for _, tt := range []struct {
		args []string
		code int
		want string // in what is printed, or said
	}{
		{[]string{"11111111a"}, 0, `"commit": "11111111aaaa`},
		{[]string{"11111111bbbb"}, 0, `"commit": "11111111bbbb`},
		{[]string{"11111111"}, 2, "11111111 begins the names of 2 commits: 11111111" + strings.Repeat("a", 32) + ", 11111111" + strings.Repeat("b", 32)},
		{[]string{"111111"}, 2, "holds no baseline of 111111;"}, // too short to be one
		{[]string{"HEAD"}, 0, `"commit": "` + s.commits[1]},     // of the spec's repository, wherever this runs
		{[]string{"HEAD~1"}, 2, "holds no baseline of HEAD~1 (" + s.commits[0][:12] + "); paritygate baseline show lists what it holds"},
		{[]string{digest}, 0, `"approved_by": "ada"`},
		{[]string{digest[:16]}, 0, `"approved_by": "ada"`},
		{[]string{filepath.Join(s.out, baselineFile)}, 0, `"commit": "` + s.commits[1]},
		{[]string{"HEAD", "--key", "zz"}, 2, "holds no baseline of HEAD"},
		{[]string{"--key", "zz"}, 3, "holds no baseline of a key that begins with zz"},
	} {
		code, printed, said := s.show(tt.args...)
		if code != tt.code || !strings.Contains(printed+said, tt.want) {
			t.Errorf("show %v: exit code %d, want %d and %q\n%.300s%s", tt.args, code, tt.code, tt.want, printed, said)
		}
	}
	// What is approved and damaged hides nothing; a commit's own that is says so.
	approved := filepath.Join(s.repo, "store", "v1", run.doc.Key.Digest()[:32], "approved", "3-"+digest[:32]+".json")
	s.write(approved, []byte("damaged"))
	if code, printed, said := s.show(digest); code != 0 || !strings.Contains(printed, `"approved_by": "ada"`) {
		t.Errorf("beside a damaged approval: exit code %d, %s", code, said)
	}
	s.write(filepath.Join(s.repo, "store", "v1", run.doc.Key.Digest()[:32], s.commits[1]+".json"), nil)
	if code, _, said := s.show("HEAD"); code != 2 || !strings.HasSuffix(said, s.commits[1]+".json: line 1: the file is empty\n") {
		t.Errorf("a damaged one: exit code %d, %s", code, said)
	}
	if err := os.RemoveAll(filepath.Join(s.repo, "store")); err != nil {
		t.Fatal(err)
	}
	// Of two keys, --key chooses.
	spec, err := os.ReadFile(s.spec())
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.spec(), bytes.Replace(spec, []byte("haiku"), []byte("sonnet"), 1))
	git(t, s.repo, "commit", "-q", "-a", "-m", "sonnet")
	for range 2 {
		if code, said := s.run("baseline", "update", s.spec()); code != 0 {
			t.Fatalf("exit code %d, %s", code, said)
		}
		s.write(s.spec(), spec)
		git(t, s.repo, "update-index", "--assume-unchanged", "parity.yaml")
	}
	code, _, said := s.show("HEAD")
	_, keys, ok := strings.Cut(strings.TrimSpace(said), "HEAD has baselines of 2 keys: choose one with --key: ")
	if code != 2 || !ok {
		t.Fatalf("two keys: exit code %d, %s", code, said)
	}
	for _, key := range strings.Split(keys, ", ") {
		if code, printed, said := s.show("HEAD", "--key", key[:8]); code != 0 || !strings.Contains(printed, `"commit": "`+git(t, s.repo, "rev-parse", "HEAD")) {
			t.Errorf("key %s: exit code %d, %s", key, code, said)
		}
	}
}
