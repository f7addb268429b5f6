package github

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOutputs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "output")
	if err := os.WriteFile(file, []byte("earlier=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := OutputsOf(failsAt(2), Published{CommentURL: "https://github.com/o/r/pull/1#issuecomment-2"}, "/tmp/a b/results.json", "/tmp/a b")
	if err := o.Write(file); err != nil {
		t.Fatal(err)
	}
	want := `earlier=1
outcome=fail
exit-code=1
first-divergence=layer_2_output at position 3 of haiku
worst-checkpoint=layer_5_output
results=/tmp/a b/results.json
report=/tmp/a b
comment-url=https://github.com/o/r/pull/1#issuecomment-2
`
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	if err := o.Write(""); err != nil {
		t.Errorf("no file: %v", err)
	}
	crash := OutputsOf(crashes(), Published{}, "", "")
	if crash.Outcome.String() != "incomplete" || crash.ExitCode != 3 || crash.FirstDivergence != "" || crash.WorstCheckpoint != "" {
		t.Errorf("of a crash: %+v", crash)
	}
}

// The runner reads a line as name=value or name<<delimiter, whichever sign comes
// first: no value begins another output.
func TestOutputsHostile(t *testing.T) {
	for _, a := range append([]string{strings.Repeat("A", 10<<20), "a\nexit-code=0", "a\r\nexit-code=0", "a\u2028exit-code=0", "a\x85b"}, attacks...) {
		file := filepath.Join(t.TempDir(), "output")
		o := OutputsOf(hostile(a), Published{CommentURL: a}, a, a)
		if len(a) > 1000 {
			o.Results, o.Report, o.CommentURL = "", "", "" // 10 MB of path is no path
		}
		if err := o.Write(file); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		names := []string{"outcome=fail", "exit-code=1", "first-divergence=", "worst-checkpoint=", "results=", "report=", "comment-url="}
		lines := strings.FieldsFunc(strings.TrimSuffix(string(data), "\n"), func(r rune) bool { return strings.ContainsRune("\n\r\v\f\u0085\u2028\u2029", r) })
		if len(lines) != len(names) {
			t.Fatalf("%.20q: %d lines: %.500q", a, len(lines), data)
		}
		for i, n := range names {
			if !strings.HasPrefix(lines[i], n) {
				t.Errorf("%.20q: line %d is %.80q, want %s", a, i, lines[i], n)
			}
		}
	}
}

// What stands where the runner put a file may be a trap.
func TestAppendTo(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(outside, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	full := filepath.Join(dir, "full")
	if err := os.WriteFile(full, make([]byte, 90), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, file, text, want string
	}{
		{"a link", link, "x", "no regular file"},
		{"a folder", dir, "x", "no regular file"},
		{"no folder", filepath.Join(dir, "none", "x"), "x", "no such file"},
		{"full", full, "12345678901", "over the limit of 100"},
		{"just full", full, "1234567890", ""},
		{"new", filepath.Join(dir, "new"), "x", ""},
	} {
		err := appendTo(tt.file, tt.text, 100)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
	if got, err := os.ReadFile(outside); err != nil || string(got) != "kept" {
		t.Errorf("the link's target holds %q, %v", got, err)
	}
	if st, err := os.Stat(full); err != nil || st.Size() != 100 {
		t.Errorf("the full file: %v, %v", st, err)
	}
}
