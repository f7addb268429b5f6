package githubtest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A File is what a pull request or a commit does to one.
type File struct {
	Path                 string
	Status               string // "added", "removed" or "modified"
	SHA                  string // of the blob; the old one's of a removed file
	Additions, Deletions int
	Patch                string // "" for a binary file
}

// diff lists what differs between two trees, by path. Renames are shown as a
// file removed and one added. A tree may be "", which is empty.
func (o objectStore) diff(from, to string) []File {
	before, after := o.files(from), o.files(to)
	paths := map[string]bool{}
	for p := range before {
		paths[p] = true
	}
	for p := range after {
		paths[p] = true
	}
	var list []File
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		a, hadIt := before[p]
		b, hasIt := after[p]
		if a.sha == b.sha && a.mode == b.mode {
			continue
		}
		f := File{Path: p, Status: "modified", SHA: b.sha}
		if !hadIt {
			f.Status = "added"
		} else if !hasIt {
			f.Status, f.SHA = "removed", a.sha
		}
		f.Patch, f.Additions, f.Deletions = patch(o[a.sha].data, o[b.sha].data)
		list = append(list, f)
	}
	return list
}

// patch is a unified diff of one hunk, without the names: from the first line
// that differs to the last.
func patch(a, b []byte) (text string, additions, deletions int) {
	if bytes.IndexByte(a, 0) >= 0 || bytes.IndexByte(b, 0) >= 0 || bytes.Equal(a, b) {
		return "", 0, 0
	}
	old, new := slices.Collect(strings.Lines(string(a))), slices.Collect(strings.Lines(string(b)))
	head, tail := 0, 0
	for head < min(len(old), len(new)) && old[head] == new[head] {
		head++
	}
	for tail < min(len(old), len(new))-head && old[len(old)-1-tail] == new[len(new)-1-tail] {
		tail++
	}
	const context = 3
	before, after := min(head, context), min(tail, context)
	removed, added := old[head:len(old)-tail], new[head:len(new)-tail]
	var w strings.Builder
	line := func(mark, s string) {
		w.WriteString("\n" + mark + strings.TrimSuffix(s, "\n"))
		if !strings.HasSuffix(s, "\n") {
			w.WriteString("\n\\ No newline at end of file")
		}
	}
	fmt.Fprintf(&w, "@@ -%s +%s @@", span(head-before, before+len(removed)+after), span(head-before, before+len(added)+after))
	for _, s := range old[head-before : head] {
		line(" ", s)
	}
	for _, s := range removed {
		line("-", s)
	}
	for _, s := range added {
		line("+", s)
	}
	for _, s := range old[len(old)-tail:][:after] {
		line(" ", s)
	}
	return w.String(), len(added), len(removed)
}

// span is a hunk's range of lines. An empty one names the line before it.
func span(from, n int) string {
	if n == 0 {
		return fmt.Sprintf("%d,0", from)
	}
	if n == 1 {
		return fmt.Sprint(from + 1)
	}
	return fmt.Sprintf("%d,%d", from+1, n)
}
