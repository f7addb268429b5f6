package report

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/paritygate/paritygate/gate"
)

// textWidth is the width of report.txt: a fixed one, so that the file does not
// depend on the terminal that happened to be there.
const textWidth = 100

// files are what Write leaves in a folder.
var files = []struct {
	name   string
	render func(io.Writer, *gate.Result) error
}{
	{"results.json", JSON},
	{"comment.md", func(w io.Writer, r *gate.Result) error { return Markdown(w, r, MarkdownOptions{}) }},
	{"report.txt", func(w io.Writer, r *gate.Result) error {
		return Text(w, r, TextOptions{Width: textWidth})
	}},
	{"junit.xml", JUnit},
}

// Write writes results.json, comment.md, report.txt and junit.xml into dir,
// which it makes if need be. All four are written aside first and renamed
// after all of them are complete: a reader never sees half a report, and a
// failure to draw one leaves the files of an earlier run as they were.
func Write(dir string, r *gate.Result) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report folder: %w", err)
	}
	var temps []string
	defer func() {
		for _, t := range temps {
			if e := os.Remove(t); e != nil && !errors.Is(e, os.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}()
	for _, f := range files {
		t, err := writeAside(dir, f.name, r, f.render)
		if t != "" {
			temps = append(temps, t)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	for i, f := range files {
		if err := os.Rename(temps[i], filepath.Join(dir, f.name)); err != nil {
			return err
		}
	}
	return nil
}

// writeAside renders into a new file of dir and returns its path, also when
// it fails after making it.
func writeAside(dir, name string, r *gate.Result, render func(io.Writer, *gate.Result) error) (string, error) {
	f, err := os.CreateTemp(dir, "."+name+".*")
	if err != nil {
		return "", err
	}
	err = errors.Join(render(f, r), f.Chmod(0o644), f.Sync(), f.Close())
	return f.Name(), err
}
