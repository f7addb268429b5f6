// Package enginetest gives tests the real engines and the small models that
// they run: where testdata/engines/install.sh put the libraries, and GGUF files
// edited so that an engine computes something else. Only tests import it.
package enginetest

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Release is the llama.cpp that tests use unless they need another one.
const Release = "v0.5.0"

// Older are further releases, whose structs differ from Release's and from one another's.
var Older = []string{"b7698", "b5640"}

// Architectures are the models of the zoo.
var Architectures = []string{"llama", "qwen2", "phi3", "granite", "gpt2"}

// Install is one installed llama.cpp.
type Install struct {
	Release string
	Library string // folder of libllama and its backends
	Headers string // folder of llama.h, ggml.h and the rest
	// Node is the folder with node_modules of the npm package's own program, only there for Release.
	Node string
}

// LlamaCpp is the installed llama.cpp of that release; without one, of Release.
// A missing one fails the test: tests of engines are never skipped.
func LlamaCpp(t testing.TB, release ...string) Install {
	t.Helper()
	name := Release
	if len(release) > 0 {
		name = release[0]
	}
	dir := filepath.Join(root(t), "llamacpp-"+name)
	in := Install{Release: name, Library: filepath.Join(dir, "lib"), Headers: filepath.Join(dir, "include")}
	for _, p := range []string{in.Library, filepath.Join(in.Headers, "llama.h")} {
		if _, err := os.Stat(p); err != nil {
			t.Fatalf("llama.cpp %s is not installed (%v); run: bash testdata/engines/install.sh", name, err)
		}
	}
	if name == Release {
		in.Node = filepath.Join(dir, "node")
	}
	return in
}

// root is where install.sh installs.
func root(t testing.TB) string {
	if dir := os.Getenv("PARITYGATE_ENGINES"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "paritygate", "engines")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(home, ".cache", "paritygate", "engines")
}

// Zoo is the path of the small model of that architecture, its weights in f16.
func Zoo(t testing.TB, architecture string) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(file), "..", "..", "..", "testdata", "zoo", architecture+"-f16.gguf")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no model of architecture %q in the zoo: %v", architecture, err)
	}
	return filepath.Clean(path)
}

// Prompt is text as the zoo's token ids: BOS, then its bytes.
func Prompt(text string) []int32 {
	ids := []int32{256}
	for _, b := range []byte(text) {
		ids = append(ids, int32(b))
	}
	return ids
}
