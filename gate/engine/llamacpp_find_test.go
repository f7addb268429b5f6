package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindLlamaCpp(t *testing.T) {
	whole, noHeaders := t.TempDir(), t.TempDir()
	for _, f := range []string{
		filepath.Join(whole, "build/bin/libllama.so"), filepath.Join(whole, "build/bin/libggml.so"), filepath.Join(whole, "build/bin/libggml-base.so"),
		filepath.Join(whole, "include/llama.h"), filepath.Join(whole, "ggml/include/ggml.h"), filepath.Join(whole, "ggml/include/ggml-backend.h"), filepath.Join(whole, "ggml/include/gguf.h"),
		filepath.Join(noHeaders, "lib/libllama.so"), filepath.Join(noHeaders, "lib/libggml.so"), filepath.Join(noHeaders, "lib/libggml-base.so"),
	} {
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	at := func(prefix string) func(string) string {
		return func(name string) string { return map[string]string{"LLAMA_CPP": prefix}[name] }
	}
	lib, headers, err := FindLlamaCpp(at(whole))
	if err != nil || lib != filepath.Join(whole, "build/bin") || headers != whole {
		t.Errorf("a built source tree: %q, %q, %v", lib, headers, err)
	}
	for _, prefix := range []string{noHeaders, filepath.Join(whole, "none")} {
		if _, _, err := FindLlamaCpp(at(prefix)); err == nil || !strings.Contains(err.Error(), "no llama.cpp in "+prefix) {
			t.Errorf("%s: %v", prefix, err)
		}
	}
}
