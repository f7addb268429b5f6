package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/paritygate/paritygate/gate/spec"
)

//go:embed probe/*.cpp probe/*.hpp probe/*.c
var probeSources embed.FS

const (
	buildTimeout = 5 * time.Minute
	checkTimeout = 30 * time.Second
	exitABI      = 21 // as in probe/common.hpp
)

// buildError is a failed build with the end of what the compiler said.
type buildError struct {
	problem string
	output  string
}

func (e *buildError) Error() string { return e.problem }

// buildMutex keeps goroutines from building the same program side by side;
// processes may, each aside, and the first to rename wins.
var buildMutex sync.Mutex

// build is one program to compile.
type build struct {
	name     string   // of the file that comes out
	compiler []string // program and its own arguments
	args     []string // after -o FILE
	inputs   []string // files whose bytes count
	stamps   []string // files whose path, size and time count
	check    func(ctx context.Context, program string) error
}

// buildProbe compiles the probe for the user's headers and libraries.
func buildProbe(ctx context.Context, cfg spec.Engine, o Options, libs llamaLibs, headers []string) (string, error) {
	compiler, err := findCompiler(cfg.Compiler, o, "CXX", "c++", "g++", "clang++")
	if err != nil {
		return "", err
	}
	b := build{name: "probe", compiler: compiler, stamps: libs.link}
	b.args = []string{"-std=c++20", "-O2", "-w", "probe.cpp", "-I."}
	for _, dir := range headers {
		b.args = append(b.args, "-isystem", dir)
		found, _ := filepath.Glob(filepath.Join(dir, "*.h"))
		b.inputs = append(b.inputs, found...)
	}
	b.args = append(b.args, libs.link...)
	b.args = append(b.args, "-ldl", "-pthread")
	if runtime.GOOS == "linux" {
		// RPATH, not RUNPATH: it also holds for what the libraries themselves
		// need. Backends bring libraries of their own that need not be here.
		b.args = append(b.args, "-Wl,--disable-new-dtags", "-Wl,--allow-shlib-undefined")
	}
	for _, dir := range libs.dirs {
		b.args = append(b.args, "-Xlinker", "-rpath", "-Xlinker", dir)
		if runtime.GOOS == "linux" {
			b.args = append(b.args, "-Xlinker", "-rpath-link", "-Xlinker", dir)
		}
	}
	b.check = func(ctx context.Context, program string) error { return checkABI(ctx, o, program) }
	return b.run(ctx, o)
}

// buildShim compiles the library that is preloaded into an unmodified program.
// It is C; where no C compiler is and none is asked for, a C++ one will do.
func buildShim(ctx context.Context, cfg spec.Engine, o Options) (string, error) {
	language := []string{"-x", "c"}
	compiler, err := findCompiler(cfg.Compiler, o, "CC", "cc", "gcc", "clang")
	if err != nil && cfg.Compiler == "" && (o.Getenv == nil || o.Getenv("CC") == "") {
		if lenient, none := findCompiler("", o, "", "g++"); none == nil {
			language, compiler, err = []string{"-x", "c++", "-fpermissive"}, lenient, nil
		}
	}
	if err != nil {
		return "", err
	}
	args := append([]string{"-shared", "-fPIC", "-O2", "-w"}, language...)
	b := build{name: "shim.so", compiler: compiler, args: append(args, "shim.c", "-ldl", "-pthread")}
	return b.run(ctx, o)
}

// checkABI runs the probe's own check in a process, where a wrong pair of
// headers and library may crash as it likes.
func checkABI(ctx context.Context, o Options, program string) error {
	env, err := Environment(o.environ(), spec.Engine{}, nil)
	if err != nil {
		return err
	}
	r, err := Process{Args: []string{program, "--check"}, Env: env, Timeout: checkTimeout}.Run(ctx)
	if err != nil {
		return &buildError{problem: fmt.Sprintf("the probe cannot be started: %v", err)}
	}
	said := probeMessage(r.Stderr.Last(outputLines))
	switch {
	case r.OK():
		return nil
	case r.ExitCode == exitABI && said != "":
		return &buildError{problem: said}
	case r.Signal != 0:
		return &buildError{"the headers are of another version than the library: the check of one against the other was " + describeExit(r), r.Stderr.Last(outputLines)}
	}
	return &buildError{"the probe does not run with the library: " + lastLine(r.Stderr.Last(outputLines), describeExit(r)), r.Stderr.Last(outputLines)}
}

// findCompiler is the compiler that the spec or the variable names, or the
// first of the system's usual names.
func findCompiler(chosen string, o Options, variable string, names ...string) ([]string, error) {
	path := ""
	if v, ok := envLookup(o.environ(), "PATH"); ok {
		path = v
	}
	if chosen == "" && o.Getenv != nil {
		chosen = o.Getenv(variable)
	}
	if words := strings.Fields(chosen); len(words) > 0 {
		found, err := lookPath(words[0], path)
		if err != nil {
			return nil, fmt.Errorf("compiler %s: %w", words[0], err)
		}
		return append([]string{found}, words[1:]...), nil
	}
	for _, name := range names {
		if found, err := lookPath(name, path); err == nil {
			return []string{found}, nil
		}
	}
	return nil, fmt.Errorf("no compiler found: tried %s; install one or set compiler: or $%s", strings.Join(names, ", "), variable)
}

// lookPath finds a program in the caller's PATH.
func lookPath(name, path string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		abs, err := filepath.Abs(name)
		if err != nil {
			return "", err
		}
		_, err = os.Stat(abs)
		return abs, bare(err)
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return found, nil
		}
	}
	return "", errors.New("not found in PATH")
}

// run returns the compiled program, from the cache when nothing that went into
// it has changed.
func (b *build) run(ctx context.Context, o Options) (string, error) {
	buildMutex.Lock()
	defer buildMutex.Unlock()
	cache, err := o.cacheDir()
	if err != nil {
		return "", err
	}
	key, err := b.key()
	if err != nil {
		return "", err
	}
	final := filepath.Join(cache, "probes", key)
	program := filepath.Join(final, b.name)
	if fi, err := os.Stat(program); err == nil && fi.Mode().IsRegular() {
		return program, nil
	}
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	aside, err := os.MkdirTemp(filepath.Dir(final), ".build-")
	if err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	defer os.RemoveAll(aside)
	o.progress("compiling the llama.cpp %s", strings.TrimSuffix(b.name, ".so"))
	defer o.progress("")
	if err := b.compile(ctx, o, aside); err != nil {
		return "", err
	}
	if b.check != nil {
		if err := b.check(ctx, filepath.Join(aside, b.name)); err != nil {
			return "", err
		}
	}
	if err := os.Rename(aside, final); err != nil {
		if _, there := os.Stat(program); there != nil {
			return "", fmt.Errorf("cache folder: %w", err)
		} // another process was first
	}
	return program, nil
}

func (b *build) compile(ctx context.Context, o Options, dir string) error {
	err := fs.WalkDir(probeSources, "probe", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := probeSources.ReadFile(p)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, filepath.Base(p)), data, 0o644)
	})
	if err != nil {
		return err
	}
	env, err := Environment(o.environ(), spec.Engine{}, nil)
	if err != nil {
		return err
	}
	args := append(append([]string{}, b.compiler...), "-o", b.name)
	r, err := Process{Args: append(args, b.args...), Dir: dir, Env: env, Timeout: buildTimeout}.Run(ctx)
	if err != nil {
		return fmt.Errorf("compiler: %w", err)
	}
	if r.OK() {
		return nil
	}
	output := r.Stderr.Last(outputLines)
	return &buildError{fmt.Sprintf("%s cannot compile the %s against these headers and libraries (%s): %s",
		filepath.Base(b.compiler[0]), b.name, describeExit(r), firstError(r.Stderr.String())), output}
}

// firstError is the first line that names an error.
func firstError(output string) string {
	for _, line := range strings.Split(Sanitize(output), "\n") {
		if strings.Contains(line, "error:") || strings.Contains(line, "undefined reference") || strings.Contains(line, "cannot find") {
			return strings.TrimSpace(line)
		}
	}
	return lastLine(Sanitize(output), "it says nothing")
}

func lastLine(s, otherwise string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return last
	}
	return otherwise
}

// key is the hash of all that decides on the program: sources, compiler,
// arguments, headers by their bytes, libraries by path, size and time.
func (b *build) key() (string, error) {
	h := sha256.New()
	entries, err := probeSources.ReadDir("probe")
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		data, err := probeSources.ReadFile("probe/" + e.Name())
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "source %s %d\n%s", e.Name(), len(data), data)
	}
	fmt.Fprintf(h, "%q %q %q\n", b.name, b.compiler, b.args)
	for _, f := range append([]string{b.compiler[0]}, b.stamps...) {
		fi, err := os.Stat(f)
		if err != nil {
			return "", err
		}
		real, err := filepath.EvalSymlinks(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "stamp %q %q %d %d\n", f, real, fi.Size(), fi.ModTime().UnixNano())
	}
	inputs := append([]string{}, b.inputs...)
	sort.Strings(inputs)
	for _, f := range inputs {
		data, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "input %q %d\n", f, len(data))
		_, _ = io.Copy(h, bytes.NewReader(data))
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:16]), nil
}
