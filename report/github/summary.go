package github

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
)

const (
	// maxSummary is GitHub's limit of a step's summary in bytes. Above it the
	// whole summary is dropped.
	maxSummary = 1 << 20
	// maxNotes is how many sentences about publishing the summary shows.
	maxNotes = 20
)

// Summary writes the report for the job's summary, with what could and could
// not be published below it: it is written after Publish. It is smaller than
// 400 kB whatever r holds. The error is w's: options that the report refuses
// are left out, because a summary without a link is better than none.
func Summary(w io.Writer, r *gate.Result, p Published, o report.MarkdownOptions) error {
	_, err := io.WriteString(w, summary(r, p, o))
	return err
}

func summary(r *gate.Result, p Published, o report.MarkdownOptions) string {
	var b strings.Builder
	if report.Markdown(&b, r, o) != nil {
		b.Reset()
		if err := report.Markdown(&b, r, report.MarkdownOptions{}); err != nil {
			b.Reset()
			fmt.Fprintf(&b, "## Parity %s: %s\n", outcomeWord(r.Outcome), report.EscapeMarkdown(report.Headline(r)))
		}
	}
	writeNotes(&b, "Not published", p.Failed)
	writeNotes(&b, "Published", p.Did)
	return b.String()
}

// writeNotes writes a titled list of sentences, or nothing.
func writeNotes(b *strings.Builder, title string, notes []string) {
	if len(notes) == 0 {
		return
	}
	fmt.Fprintf(b, "\n### %s\n\n", title)
	for _, n := range notes[:min(maxNotes, len(notes))] {
		b.WriteString("- " + report.EscapeMarkdown(n) + "\n")
	}
	if more := len(notes) - maxNotes; more > 0 {
		fmt.Fprintf(b, "- %d more\n", more)
	}
}

// WriteSummary appends Summary to the file that GITHUB_STEP_SUMMARY names. ""
// is no file, and no error. It writes nothing where the file has no room left,
// because GitHub drops a summary that is too long as a whole.
func WriteSummary(file string, r *gate.Result, p Published, o report.MarkdownOptions) error {
	if file == "" {
		return nil
	}
	return appendTo(file, summary(r, p, o), maxSummary)
}

// WriteNote appends a text of its own in Markdown to the file that
// GITHUB_STEP_SUMMARY names, with what could and could not be published. "" is no
// file, and no error.
func WriteNote(file, text string, p Published) error {
	if file == "" {
		return nil
	}
	var b strings.Builder
	b.WriteString(text)
	writeNotes(&b, "Not published", p.Failed)
	writeNotes(&b, "Published", p.Did)
	return appendTo(file, b.String(), maxSummary)
}

// appendTo appends to a file that the runner made, in one write. The file may
// be a link to no other folder, and must be a regular one: what stands there
// may not be what the runner put there.
func appendTo(file, text string, most int64) (err error) {
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	name := filepath.Base(file)
	st, err := root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist): // the runner makes it, other programs need not
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file: nothing was written", file)
	case st.Size()+int64(len(text)) > most:
		return fmt.Errorf("%s holds %d bytes, another %d are over the limit of %d: nothing was written", file, st.Size(), len(text), most)
	}
	f, err := root.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
