package store

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
)

// ReadAll reads many files of a view, in the order of paths, and tells each of its
// data or why it cannot be read, as View.Read does. Where each returns an error
// reading ends with that.
func ReadAll(ctx context.Context, v View, paths []string, each func(path string, data []byte, err error) error) error {
	if v, ok := v.(*commitView); ok && v.sha != "" {
		return v.readAll(ctx, paths, each)
	}
	for _, p := range paths {
		data, err := v.Read(ctx, p)
		if err := each(p, data, err); err != nil {
			return err
		}
	}
	return nil
}

// readAll asks one git for all files, which is much faster than one for each.
func (v *commitView) readAll(ctx context.Context, paths []string, each func(string, []byte, error) error) error {
	var ask bytes.Buffer
	var wrong []error
	for _, p := range paths {
		err := valid(p)
		if wrong = append(wrong, err); err == nil {
			fmt.Fprintf(&ask, "%s:%s\n", v.sha, p)
		}
	}
	return v.b.repo.stream(ctx, ask.Bytes(), func(out io.Reader) error {
		r := bufio.NewReader(out)
		for i, p := range paths {
			data, err := []byte(nil), wrong[i]
			if err == nil {
				var broken error
				if data, err, broken = v.next(ctx, r, p); broken != nil {
					return broken
				}
			}
			if err := each(p, data, err); err != nil {
				return err
			}
		}
		return nil
	}, "cat-file", "--batch")
}

// next is the next file that git answers with. broken is an error of git itself,
// behind which there are no more answers.
func (v *commitView) next(ctx context.Context, r *bufio.Reader, p string) (data []byte, err, broken error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, nil, v.b.failed(fmt.Errorf("git cat-file: no answer for %s: %w", p, err))
	}
	var object, kind string
	var size int64
	if n, _ := fmt.Sscanf(line, "%s %s %d\n", &object, &kind, &size); n != 3 {
		if strings.HasSuffix(line, " missing\n") {
			return nil, v.missing(ctx, p), nil
		}
		return nil, nil, v.b.failed(fmt.Errorf("git cat-file: %s", strings.TrimSpace(line)))
	}
	switch {
	case kind != "blob":
		err = notExist(v.b.name, p)
	case size > MaxFile:
		err = v.b.failed(fmt.Errorf("%s has %d bytes, more than %d: no baseline has", p, size, MaxFile))
	default:
		data = make([]byte, size)
		if _, broken := io.ReadFull(r, data); broken != nil {
			return nil, nil, v.b.failed(fmt.Errorf("git cat-file: %s ends early: %w", p, broken))
		}
		size = 0
	}
	if _, broken := io.CopyN(io.Discard, r, size+1); broken != nil { // and a line break
		return nil, nil, v.b.failed(fmt.Errorf("git cat-file: %s ends early: %w", p, broken))
	}
	return data, err, nil
}

// missing says why git has no such object: there is no such file, or the
// repository lost it.
func (v *commitView) missing(ctx context.Context, p string) error {
	out, err := v.b.repo.line(ctx, "ls-tree", "--name-only", v.sha, "--", ":(literal)"+p)
	switch {
	case err != nil:
		return v.b.failed(err)
	case out == "":
		return notExist(v.b.name, p)
	}
	return v.b.failed(fmt.Errorf("git cat-file: the object of %s is damaged or lost: git fsck says more", p))
}
