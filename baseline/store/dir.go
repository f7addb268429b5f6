package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// dir is a store in a folder. Writers take turns through a lock that the
// operating system lets go of when its holder dies; readers need none, because
// files are written aside and renamed.
type dir struct{ root string }

const (
	lockName = ".paritygate.lock"
	// aside is how a file begins that is being written; one of a killed writer
	// stays until the next writer removes it.
	aside = ".paritygate-new-"
)

func (d *dir) String() string { return "dir:" + d.root }

func (d *dir) Snapshot(context.Context) (View, error) {
	st, err := os.Stat(d.root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("baseline store %s: %w", d, err)
	case !st.IsDir():
		return nil, fmt.Errorf("baseline store %s: it is no folder", d)
	}
	return dirView{d}, nil
}

func (d *dir) Log(context.Context, string, int) ([]Revision, error) { return nil, nil }

// Update holds the lock while it asks and writes, so change is asked once.
func (d *dir) Update(ctx context.Context, _ string, change func(View) ([]Write, error)) (string, error) {
	if err := os.MkdirAll(d.root, 0o755); err != nil {
		return "", fmt.Errorf("baseline store %s: %w", d, err)
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return "", fmt.Errorf("baseline store %s: %w", d, err)
	}
	defer unlock()
	if err := d.sweep(); err != nil {
		return "", fmt.Errorf("baseline store %s: %w", d, err)
	}
	writes, err := change(dirView{d})
	if err != nil {
		return "", err
	}
	if writes, err = checked(writes); err != nil {
		return "", err
	}
	for _, w := range writes {
		if err := d.write(w); err != nil {
			return "", fmt.Errorf("baseline store %s: %w", d, err)
		}
	}
	return "", nil
}

// lock waits for the other writers.
func (d *dir) lock(ctx context.Context) (func(), error) {
	f, err := os.OpenFile(filepath.Join(d.root, lockName), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for n := 0; ; n++ {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
		if err := pause(ctx, min(n, 3), func() float64 { return 0.5 }); err != nil {
			return nil, errors.Join(fmt.Errorf("waiting for another writer: %w", err), f.Close())
		}
	}
}

// below is a folder of the store, to be walked. The store itself may be a link.
func (d *dir) below(folder string) string {
	return filepath.Join(d.root, filepath.FromSlash(folder)) + string(filepath.Separator)
}

// sweep removes what killed writers left half-written. It runs under the lock.
func (d *dir) sweep() error {
	return filepath.WalkDir(d.below(""), func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && strings.HasPrefix(e.Name(), aside) {
			return os.Remove(p)
		}
		return err
	})
}

// write puts one file in its place; it is on the disk before it has its name,
// and its name is on the disk before Update returns.
func (d *dir) write(w Write) error {
	p := filepath.Join(d.root, filepath.FromSlash(w.Path))
	if w.Data == nil {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return syncDir(filepath.Dir(p))
	}
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(p), aside)
	if err != nil {
		return err
	}
	_, err = f.Write(w.Data)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), p)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(p))
}

func syncDir(p string) error {
	f, err := os.Open(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// dirView reads what is there now: a folder has no past.
type dirView struct{ d *dir }

func (dirView) Revision() string { return "" }

func (v dirView) Read(_ context.Context, p string) ([]byte, error) {
	if err := valid(p); err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(v.d.root, filepath.FromSlash(p)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notExist(v.d.String(), p)
	}
	if err != nil {
		return nil, fmt.Errorf("baseline store %s: %w", v.d, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("baseline store %s: %w", v.d, err)
	}
	if len(b) > MaxFile {
		return nil, fmt.Errorf("baseline store %s: %s has more than %d bytes: no baseline has", v.d, p, MaxFile)
	}
	return b, nil
}

func (v dirView) List(_ context.Context, folder string) ([]string, error) {
	if folder != "" {
		if err := valid(folder); err != nil {
			return nil, err
		}
	}
	var out []string
	err := filepath.WalkDir(v.d.below(folder), func(p string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(v.d.root, p)
		if err != nil {
			return err
		}
		if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
			out = append(out, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("baseline store %s: %w", v.d, err)
	}
	return sorted(out), nil
}
