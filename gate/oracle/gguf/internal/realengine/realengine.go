// Package realengine compiles small C programs against the installed llama.cpp
// libraries, for tests that compare with the real thing.
package realengine

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const release = "llamacpp-v0.5.0"

// Dir is the folder of the installed llama.cpp. The test fails without it.
func Dir(tb testing.TB) string {
	tb.Helper()
	root := os.Getenv("PARITYGATE_ENGINES")
	if root == "" {
		cache := os.Getenv("XDG_CACHE_HOME")
		if cache == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				tb.Fatal(err)
			}
			cache = filepath.Join(home, ".cache")
		}
		root = filepath.Join(cache, "paritygate", "engines")
	}
	dir := filepath.Join(root, release)
	if _, err := os.Stat(filepath.Join(dir, "lib")); err != nil {
		tb.Fatalf("no llama.cpp to compare with (%v): run `bash testdata/engines/install.sh` in the repository's root", err)
	}
	return dir
}

// Compile compiles the C file source and returns the program's path.
func Compile(tb testing.TB, source string) string {
	tb.Helper()
	dir := Dir(tb)
	libs, err := filepath.Glob(filepath.Join(dir, "lib", "lib*.so"))
	if err != nil {
		tb.Fatal(err)
	}
	program := filepath.Join(tb.TempDir(), "program")
	args := []string{"-O1", "-std=c11", "-Wall", "-Werror", "-I" + filepath.Join(dir, "include"), source, "-o", program, "-Wl,-rpath," + filepath.Join(dir, "lib")}
	for _, lib := range libs {
		switch name := filepath.Base(lib); {
		case match("libggml-base*", name), match("libggml.*", name), match("libllama.*", name):
			args = append(args, lib)
		}
	}
	out, err := exec.Command("cc", append(args, "-lm")...).CombinedOutput()
	if err != nil {
		tb.Fatalf("cc %s: %v (a C compiler is needed)\n%s", source, err, out)
	}
	return program
}

func match(pattern, name string) bool {
	ok, err := filepath.Match(pattern, name)
	return ok && err == nil
}

// Run runs a compiled program on stdin and returns what it wrote.
func Run(tb testing.TB, stdin []byte, program string, args ...string) []byte {
	tb.Helper()
	cmd := exec.Command(program, args...)
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &complaints
	if err := cmd.Run(); err != nil {
		tb.Fatalf("%s %q: %v\n%s", filepath.Base(program), args, err, complaints.Bytes())
	}
	return out.Bytes()
}
