package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadAll: as if each file had been read by itself, in the order asked for.
func TestReadAll(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			s := kind.open(t)()
			ctx := context.Background()
			empty, err := s.Snapshot(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := ReadAll(ctx, empty, []string{"a"}, func(p string, data []byte, err error) error {
				if p != "a" || data != nil || !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("of an empty store: %s %q %v", p, data, err)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
			big := bytes.Repeat([]byte("0123456789abcde\n"), 1<<16) // more than a pipe holds
			update(t, s, Write{"a/big", big}, Write{"empty", []byte{}}, Write{"with space", []byte("x missing\n")}, Write{"z", []byte("no line break")})
			v, err := s.Snapshot(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			paths := []string{"z", "none", "a/big", "a", "../x", "empty", "with space", "z", "a\nb"}
			if err := ReadAll(ctx, v, paths, func(p string, data []byte, err error) error {
				one, alone := v.Read(ctx, p)
				if !bytes.Equal(one, data) || fmt.Sprint(alone) != fmt.Sprint(err) {
					t.Errorf("%q: %d bytes, %v; by itself %d bytes, %v", p, len(data), err, len(one), alone)
				}
				got = append(got, fmt.Sprintf("%q %d %v", p, len(data), err == nil))
				return nil
			}); err != nil {
				t.Error(err)
			}
			want := `"z" 13 true; "none" 0 false; "a/big" 1048576 true; "a" 0 false; "../x" 0 false; "empty" 0 true; "with space" 10 true; "z" 13 true; "a\nb" 0 false`
			if strings.Join(got, "; ") != want {
				t.Errorf("read %s\nwant %s", strings.Join(got, "; "), want)
			}
			enough, calls := errors.New("enough"), 0
			if err := ReadAll(ctx, v, paths, func(string, []byte, error) error { calls++; return enough }); err != enough || calls != 1 {
				t.Errorf("stopped with %v after %d", err, calls)
			}
			gone, cancel := context.WithCancelCause(ctx)
			cancel(enough)
			if err := ReadAll(gone, v, paths, func(_ string, _ []byte, err error) error { return nil }); kind.history && !errors.Is(err, enough) {
				t.Errorf("cancelled: %v", err)
			}
			if err := ReadAll(ctx, v, nil, nil); err != nil {
				t.Errorf("no files: %v", err)
			}
		})
	}
}

// A repository that lost objects says so: it is not that the file is not there.
func TestReadAllBroken(t *testing.T) {
	dir := checkout(t)
	s := open(t, "branch:parity", Options{Repository: dir})
	update(t, s, Write{"a", []byte("1")}, Write{"b", []byte("2")})
	v, err := s.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	object := git(t, dir, "rev-parse", "parity:a")
	file := filepath.Join(dir, ".git", "objects", object[:2], object[2:])
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("no object"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Read(context.Background(), "a"); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "baseline store branch:parity: git cat-file: ") {
		t.Errorf("a broken object: %v", err)
	}
	if data, err := v.Read(context.Background(), "b"); err != nil || string(data) != "2" {
		t.Errorf("one that is whole: %q, %v", data, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Read(context.Background(), "a"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an object that is gone: %v", err)
	}
}
