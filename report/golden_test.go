package report

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/paritygate/paritygate/gate"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s differs (-want +got); -update writes it anew:\n%s", path, cmp.Diff(string(want), string(got)))
	}
}

func render(t *testing.T, r *gate.Result, f func(io.Writer, *gate.Result) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := f(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// drawn are all reports with the options that matter.
var drawn = []struct {
	name string
	f    func(io.Writer, *gate.Result) error
}{
	{"report.txt", func(w io.Writer, r *gate.Result) error { return Text(w, r, TextOptions{}) }},
	{"comment.md", func(w io.Writer, r *gate.Result) error { return Markdown(w, r, MarkdownOptions{}) }},
	{"junit.xml", JUnit},
}

func TestGolden(t *testing.T) {
	for _, s := range samples {
		t.Run(s.name, func(t *testing.T) {
			r := s.make()
			for _, d := range drawn {
				golden(t, filepath.Join("testdata", s.name, d.name), render(t, r, d.f))
			}
			// The others hold megabytes of names or hundreds of checkpoints.
			if s.name != "hostile" && s.name != "large" {
				golden(t, filepath.Join("testdata", s.name, "results.json"), render(t, r, JSON))
			}
		})
	}
}

func TestGoldenOptions(t *testing.T) {
	r := rope()
	golden(t, "testdata/fail-rope/comment-full.md", render(t, r, func(w io.Writer, r *gate.Result) error {
		return Markdown(w, r, MarkdownOptions{Head: "4f2a9c1d8e7b6a5f", GPU: "NVIDIA H200",
			SpecURL: "https://github.com/acme/worker/blob/4f2a9c1/parity.yaml", Marker: "<!-- paritygate: nightly -->"})
	}))
	golden(t, "testdata/fail-rope/report-color.txt", render(t, r, func(w io.Writer, r *gate.Result) error {
		return Text(w, r, TextOptions{Color: true, Width: 80})
	}))
	golden(t, "testdata/large/report-verbose.txt", render(t, large(), func(w io.Writer, r *gate.Result) error {
		return Text(w, r, TextOptions{Verbose: true, Width: 120})
	}))
}

// Reports are functions of results.json alone.
func TestSameFromJSON(t *testing.T) {
	for _, s := range samples {
		t.Run(s.name, func(t *testing.T) {
			r := s.make()
			data := render(t, r, JSON)
			again, err := Read(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(data, render(t, again, JSON)) {
				t.Error("results.json changes when it is read and written")
			}
			for _, d := range drawn {
				if a, b := render(t, r, d.f), render(t, again, d.f); !bytes.Equal(a, b) {
					t.Errorf("%s differs when drawn from results.json:\n%s", d.name, cmp.Diff(string(a), string(b)))
				}
			}
		})
	}
}
