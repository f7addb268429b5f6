package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/paritygate/paritygate/baseline"
	"github.com/paritygate/paritygate/gate"
)

// saved is a repository of two commits and a run of the second.
type saved struct {
	*testing.T
	repo, out string
	commits   [2]string
}

func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func newSaved(t *testing.T) *saved {
	t.Helper()
	s := &saved{T: t, repo: t.TempDir(), out: filepath.Join(t.TempDir(), "out")}
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	spec := "version: 1\nprompts: [{name: haiku, tokens: [1, 2, 3]}]\nengines:\n  reference: {adapter: trace, path: " + examples + "/reference.safetensors}\n" +
		"  candidate: {adapter: trace, path: " + examples + "/sound.safetensors}\nbaseline: {store: \"dir:store\"}\n"
	git(t, s.repo, "init", "-q", "-b", "main")
	for i := range s.commits {
		s.write(filepath.Join(s.repo, "parity.yaml"), []byte(spec))
		s.write(filepath.Join(s.repo, "file"), []byte{byte('a' + i)})
		git(t, s.repo, "add", "parity.yaml", "file")
		git(t, s.repo, "commit", "-q", "-m", "code")
		s.commits[i] = git(t, s.repo, "rev-parse", "HEAD")
	}
	if code, said := s.run("run", s.spec(), "--out", s.out); code != 0 {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	return s
}

func (s *saved) spec() string { return filepath.Join(s.repo, "parity.yaml") }

func (s *saved) run(args ...string) (code int, said string) {
	var out bytes.Buffer
	code = Main(context.Background(), args, Process{Stdin: strings.NewReader(""), Stdout: &bytes.Buffer{}, Stderr: &out, Getenv: os.Getenv})
	return code, out.String()
}

func (s *saved) write(file string, data []byte) {
	s.Helper()
	if err := os.WriteFile(file, data, 0o644); err != nil {
		s.Fatal(err)
	}
}

// forge changes the document beside the results, and gives it the digest that
// belongs to it.
func (s *saved) forge(change func(*baseline.Document)) {
	s.Helper()
	file := filepath.Join(s.out, baselineFile)
	d, err := readDocument(file)
	if err != nil {
		s.Fatal(err)
	}
	change(d)
	data, err := d.Encode()
	if err != nil {
		s.Fatal(err)
	}
	s.write(file, data)
}

// source says in the results which commit they are of.
func (s *saved) source(head string) {
	s.Helper()
	file := filepath.Join(s.out, "results.json")
	data, err := os.ReadFile(file)
	if err != nil {
		s.Fatal(err)
	}
	var r gate.Result
	if err := json.Unmarshal(data, &r); err != nil {
		s.Fatal(err)
	}
	r.Source = &gate.Source{Repository: "a/b", Event: "push", Head: head}
	if data, err = json.Marshal(&r); err != nil {
		s.Fatal(err)
	}
	s.write(file, data)
}

// kept is the document that the store has of the second commit, "" without one.
func (s *saved) kept() string {
	s.Helper()
	files, err := filepath.Glob(filepath.Join(s.repo, "store", "v1", "*", s.commits[1]+".json"))
	if err != nil {
		s.Fatal(err)
	}
	if len(files) == 0 {
		return ""
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		s.Fatal(err)
	}
	return string(data)
}

// The folder of a run may come from anywhere: what it claims beside its numbers
// does not count, and what contradicts itself is refused.
func TestSavedRunForged(t *testing.T) {
	honest := newSaved(t)
	if code, said := honest.run("baseline", "update", honest.spec(), "--from", honest.out); code != 0 {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	want := honest.kept()
	first := func(d *baseline.Document) map[string]baseline.Metric { return d.Measurements[1].Metrics }
	every := func(d *baseline.Document, change func(*baseline.Metric)) {
		for _, m := range d.Measurements {
			for name, v := range m.Metrics {
				change(&v)
				m.Metrics[name] = v
			}
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*baseline.Document)
		want   string // "" is kept as the honest one
	}{
		{"a spread", func(d *baseline.Document) { every(d, func(v *baseline.Metric) { v.Spread, v.Runs = 1, 100 }) }, ""},
		{"an anchor", func(d *baseline.Document) {
			d.Anchor.ApprovedBy, d.Anchor.Reason, d.Anchor.Commit = "nobody", "forged", honest.commits[0]
			every(d, func(v *baseline.Metric) { v.Anchor = 1 })
		}, ""},
		{"a baseline", func(d *baseline.Document) { every(d, func(v *baseline.Metric) { v.Value = 1 }) }, ""},
		{"a history", func(d *baseline.Document) {
			d.History = []baseline.Accepted{{Commit: honest.commits[0], Date: d.Provenance.Date}, d.History[0]}
			every(d, func(v *baseline.Metric) { v.History = []gate.Value{1, v.History[0]} })
		}, ""},
		{"who approved it", func(d *baseline.Document) { d.Provenance.ApprovedBy, d.Provenance.Reason = "nobody", "forged" }, ""},
		{"an outcome", func(d *baseline.Document) { d.Provenance.Outcome, d.Provenance.Spec = "fail", "forged" }, ""},

		{"a number", func(d *baseline.Document) {
			v := first(d)["rel_l2"]
			v.History = []gate.Value{1e-9}
			first(d)["rel_l2"] = v
		}, "baseline.json: it is of another run than results.json beside it"},
		{"a metric less", func(d *baseline.Document) { delete(first(d), "rel_l2") }, "it is of another run than results.json"},
		{"a checkpoint less", func(d *baseline.Document) { d.Measurements = d.Measurements[1:] }, "it is of another run than results.json"},
		{"a fingerprint", func(d *baseline.Document) { d.Measurements[1].Mark.Fingerprint = strings.Repeat("0", 32) }, "it is of another run than results.json"},
		{"another key", func(d *baseline.Document) { d.Key.Precision.Candidate = "bf16" }, "it is of another run than results.json"},
		{"a GPU", func(d *baseline.Document) { d.Provenance.GPU = "NVIDIA H100" }, ""}, // engines that say their device are not on it
		{"a date to come", func(d *baseline.Document) {
			d.Provenance.Date = time.Now().Add(2 * time.Hour).UTC().Format(time.RFC3339)
		}, "which is yet to come"},
		{"another commit", func(d *baseline.Document) { d.Provenance.Commit = honest.commits[0] }, "says that the files of commit "},
		{"an unknown commit", func(d *baseline.Document) { d.Provenance.Commit = strings.Repeat("1", 40) }, "which is not known here"},
		{"other files", func(d *baseline.Document) { d.Provenance.Tree = strings.Repeat("1", 40) }, "says that the files of commit "},
		{"no files", func(d *baseline.Document) { d.Provenance.Tree = "" }, "are unknown; they are "},
		{"no commit", func(d *baseline.Document) { d.Provenance.Commit, d.Provenance.Tree = "", "" }, "tracked files differed from the commit that was checked out when "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &saved{T: t, repo: honest.repo, out: filepath.Join(t.TempDir(), "out"), commits: honest.commits}
			for _, dir := range []string{filepath.Join(s.repo, "store")} {
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.CopyFS(s.out, os.DirFS(honest.out)); err != nil {
				t.Fatal(err)
			}
			s.forge(tt.change)
			code, said := s.run("baseline", "update", s.spec(), "--from", s.out)
			got := s.kept()
			if tt.name == "a GPU" { // it is of the machine, and told
				got = strings.Replace(got, `"gpu": "NVIDIA H100"`, `"gpu": ""`, 1)
				got, want := withoutDigest(got), withoutDigest(want)
				if code != 0 || got != want {
					t.Errorf("exit code %d: %s", code, said)
				}
				return
			}
			switch {
			case tt.want == "" && (code != 0 || got != want):
				t.Errorf("exit code %d, %s\nkept is\n%.1500s", code, said, got)
			case tt.want != "" && (code == 0 || got != "" || !strings.Contains(said, tt.want)):
				t.Errorf("exit code %d, %s\nwant %q", code, said, tt.want)
			}
		})
	}
}

func withoutDigest(doc string) string {
	before, rest, _ := strings.Cut(doc, `"digest": "`)
	_, after, _ := strings.Cut(rest, `"`)
	return before + after
}

// Results that say which commit they are of, and a document that says another.
func TestSavedRunSource(t *testing.T) {
	s := newSaved(t)
	s.source(s.commits[0])
	if code, said := s.run("baseline", "update", s.spec(), "--from", s.out); code != 2 || !strings.HasSuffix(said, "baseline.json: it is of commit "+s.commits[1][:12]+", results.json of "+s.commits[0][:12]+"\n") {
		t.Errorf("exit code %d, %s", code, said)
	}
	s.source(s.commits[1])
	if code, said := s.run("baseline", "update", s.spec(), "--from", s.out); code != 0 {
		t.Errorf("exit code %d, %s", code, said)
	}
}

// An approval of a forged folder becomes what one of the honest folder does.
func TestSavedRunApproved(t *testing.T) {
	s := newSaved(t)
	run, err := readRun(s.out)
	if err != nil {
		t.Fatal(err)
	}
	digest := run.doc.Numbers()
	approve := func() *baseline.Document {
		code, said := s.run("baseline", "approve", digest, "--from", s.out, "--spec", s.spec(), "--by", "ada", "--reason", "why", "--pull", "3")
		if code != 0 {
			t.Fatalf("exit code %d, %s", code, said)
		}
		d, err := readDocument(filepath.Join(s.repo, "store", "v1", run.doc.Key.Digest()[:32], "approved", "3-"+digest[:32]+".json"))
		if err != nil {
			t.Fatal(err)
		}
		d.Anchor.Date = "" // when it was approved
		return d
	}
	want := approve()
	s.forge(func(d *baseline.Document) {
		d.Provenance.ApprovedBy = "nobody"
		for _, m := range d.Measurements {
			for name, v := range m.Metrics {
				m.Metrics[name] = baseline.Metric{Value: v.Value * 9, Spread: 1, Runs: 9, Anchor: 9, History: v.History}
			}
		}
	})
	if got := approve(); got.Digest() != want.Digest() {
		t.Errorf("approved is\n%+v\nwant\n%+v", got, want)
	}
	if v := want.Measurements[1].Metrics["rel_l2"]; v.Runs != 1 || !math.IsNaN(float64(v.Spread)) || v.Anchor != v.Value {
		t.Errorf("%+v", v)
	}
}

// A pipe or a link is no document.
func TestReadDocument(t *testing.T) {
	dir := t.TempDir()
	if err := exec.Command("mkfifo", filepath.Join(dir, "pipe")).Run(); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pipe", "link", "."} {
		if d, err := readDocument(filepath.Join(dir, name)); d != nil || err == nil || !strings.HasSuffix(err.Error(), " is no regular file") {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
}
