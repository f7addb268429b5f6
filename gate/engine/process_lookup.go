package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// lookup finds the program: in the PATH it will itself see, since the
// caller's may differ, or relative to its working directory.
func (p *Process) lookup() (string, error) {
	if len(p.Args) == 0 || p.Args[0] == "" {
		return "", errors.New("the command is empty")
	}
	for i, a := range p.Args {
		if strings.IndexByte(a, 0) >= 0 {
			return "", fmt.Errorf("argument %d holds a zero byte", i)
		}
	}
	if p.Dir != "" {
		if fi, err := os.Stat(p.Dir); err != nil {
			return "", fmt.Errorf("working directory %s: %w", p.Dir, bare(err))
		} else if !fi.IsDir() {
			return "", fmt.Errorf("working directory %s: is a file", p.Dir)
		}
	}
	name := p.Args[0]
	if strings.ContainsRune(name, '/') || strings.ContainsRune(name, filepath.Separator) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(p.Dir, name)
		}
		abs, err := filepath.Abs(name)
		if err != nil {
			return "", err
		}
		return abs, runnable(abs)
	}
	return p.inPath(name)
}

func (p *Process) inPath(name string) (string, error) {
	path, _ := envLookup(p.Env, "PATH")
	names := []string{name}
	if runtime.GOOS == "windows" {
		names = append(names, name+".exe")
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue // a relative entry would run whatever lies in the working directory
		}
		for _, n := range names {
			if full := filepath.Join(dir, n); runnable(full) == nil {
				return full, nil
			}
		}
	}
	hint := ""
	if _, err := os.Stat(filepath.Join(p.Dir, name)); err == nil {
		hint = fmt.Sprintf("; to run the file in the working directory, write ./%s", name)
	}
	return "", fmt.Errorf("program %q is not in PATH (%s)%s", name, path, hint)
}

// runnable says why a path cannot be run, or nil.
func runnable(path string) error {
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("program %s: %w", path, bare(err))
	case fi.IsDir():
		return fmt.Errorf("program %s: is a folder", path)
	case runtime.GOOS != "windows" && fi.Mode()&0o111 == 0:
		return fmt.Errorf("program %s: is not executable (chmod +x)", path)
	}
	return nil
}

// startError says what a failed start means.
func startError(path, dir string, err error) error {
	switch {
	case errors.Is(err, syscall.E2BIG):
		return errTooLong
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("program %s: cannot be run here: a script without a #! line, or built for another machine", path)
	case errors.Is(err, syscall.ENOENT): // the file itself was there a moment ago
		return fmt.Errorf("program %s: its interpreter is missing (the #! line of a script, or the dynamic loader of a binary)", path)
	}
	return fmt.Errorf("program %s: %w", path, bare(err))
}

// errTooLong: Linux takes 128 KiB an argument and a quarter of the stack limit in all.
var errTooLong = errors.New("the command line is longer than the system takes")

// bare takes the operation and path off an error whose text names them already.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
