package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/spec"
)

// Headers of one version with the library of another are refused: no crash, no trace.
func TestLlamaWrongHeaders(t *testing.T) {
	releases := append([]string{enginetest.Release}, enginetest.Older...)
	for _, headers := range releases {
		for _, library := range releases {
			if headers == library {
				continue
			}
			t.Run(headers+" headers for "+library, func(t *testing.T) {
				cfg := llamaSpec(enginetest.LlamaCpp(t, library))
				cfg.Headers = enginetest.LlamaCpp(t, headers).Headers
				in := engine.Input{Model: enginetest.Zoo(t, "llama"), Tokens: enginetest.Prompt(code), Dir: t.TempDir()}
				_, err := record(t, cfg, engine.Reference, in)
				wantFault(t, err, engine.NotStarted, "the headers are of another version than the library")
				if left, _ := os.ReadDir(in.Dir); len(left) > 0 {
					t.Errorf("%s was left behind", left[0].Name())
				}
			})
		}
	}
}

func wantFault(t *testing.T, err error, kind engine.FailureKind, words ...string) {
	t.Helper()
	var e *engine.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("error %v, want one of kind %s", err, kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q lacks %q", err, w)
		}
	}
}

func TestLlamaFaults(t *testing.T) {
	install := enginetest.LlamaCpp(t)
	empty := t.TempDir()
	notModel := filepath.Join(empty, "not.gguf")
	if err := os.WriteFile(notModel, []byte("GGUF but no model"), 0o644); err != nil {
		t.Fatal(err)
	}
	good, all := enginetest.Prompt(code), 99
	for name, c := range map[string]struct {
		change func(*spec.Engine)
		tokens []int32
		model  string
		kind   engine.FailureKind
		words  []string
	}{
		"no library":       {change: func(c *spec.Engine) { c.Library = empty }, kind: engine.NotStarted, words: []string{"no libllama.so", "BUILD_SHARED_LIBS"}},
		"missing library":  {change: func(c *spec.Engine) { c.Library = empty + "/none" }, kind: engine.NotStarted, words: []string{"library:", "no such file"}},
		"no headers":       {change: func(c *spec.Engine) { c.Headers = empty }, kind: engine.NotStarted, words: []string{"no llama.h"}},
		"no compiler":      {change: func(c *spec.Engine) { c.Compiler = "no-such-compiler" }, kind: engine.NotStarted, words: []string{"compiler no-such-compiler"}},
		"no C++ compiler":  {change: func(c *spec.Engine) { c.Compiler = "false" }, kind: engine.NotStarted, words: []string{"false cannot compile"}},
		"no backend":       {change: func(c *spec.Engine) { c.Backend = "libggml-none.so" }, kind: engine.NotStarted, words: []string{"libggml-none.so", "libggml-cpu-"}},
		"no GPU":           {change: func(c *spec.Engine) { c.GPULayers = &all }, kind: engine.NotStarted, words: []string{"gpu_layers 99: the library found no GPU, only CPU", "libggml-cuda.so"}},
		"no backend in it": {change: func(c *spec.Engine) { c.Backend = "libggml-base.so" }, kind: engine.NotStarted, words: []string{"libggml-base.so"}},
		"missing model":    {model: filepath.Join(empty, "none.gguf"), kind: engine.NotStarted, words: []string{"no such file"}},
		"no model":         {model: notModel, kind: engine.NotStarted, words: []string{"cannot load the model"}},
		"foreign token":    {tokens: []int32{256, 264}, kind: engine.NotStarted, words: []string{"token 264 at position 1", "vocabulary of 264"}},
		"negative token":   {tokens: []int32{-1}, kind: engine.NotStarted, words: []string{"token -1 at position 0"}},
		"over its bound":   {change: func(c *spec.Engine) { c.MaxTrace = 1000 }, kind: engine.TooMuch, words: []string{"over the bound of 1000"}},
		"no time":          {change: func(c *spec.Engine) { c.Timeout = 1 }, kind: engine.TimedOut},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := llamaSpec(install)
			if c.change != nil {
				c.change(&cfg)
			}
			in := engine.Input{Model: c.model, Tokens: c.tokens}
			if in.Model == "" {
				in.Model = enginetest.Zoo(t, "llama")
			}
			if in.Tokens == nil {
				in.Tokens = good
			}
			_, err := record(t, cfg, engine.Candidate, in)
			wantFault(t, err, c.kind, c.words...)
		})
	}
}

// A compiled probe is found again, also by another process's cache of the same folder.
func TestLlamaProbeIsCached(t *testing.T) {
	cache := t.TempDir()
	in := engine.Input{Name: "code", Model: enginetest.Zoo(t, "llama"), Tokens: enginetest.Prompt(code)}
	compiled := 0
	for range 2 {
		e, err := engine.New(llamaSpec(enginetest.LlamaCpp(t)), engine.Options{Role: engine.Reference, CacheDir: cache, Getenv: os.Getenv,
			Progress: func(s string) {
				if strings.HasPrefix(s, "compiling") {
					compiled++
				}
			}})
		if err != nil {
			t.Fatal(err)
		}
		in.Dir = t.TempDir()
		if _, err := e.Run(context.Background(), in); err != nil {
			t.Fatal(err)
		}
	}
	if compiled != 1 {
		t.Errorf("compiled %d times, want once", compiled)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "probes", ".build-*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}
