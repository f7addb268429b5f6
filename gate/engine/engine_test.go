//go:build unix

package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/spec"
)

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  spec.Engine
		want string
	}{
		{"none", spec.Engine{}, "no adapter: want one of exec, llamacpp, transformers, builtin, trace"},
		{"unknown", spec.Engine{Adapter: "vllm"}, `unknown adapter "vllm": want one of exec, llamacpp, transformers, builtin, trace`},
		{"no command", spec.Engine{Adapter: "exec"}, "exec: command is empty: want a list, the program first"},
		{"no trace", spec.Engine{Adapter: "exec", Command: []string{"a", "{{out}}"}},
			"exec: neither command nor env uses {{trace}}: the engine would not know where to write"},
		{"variable", spec.Engine{Adapter: "exec", Command: []string{"a", "{{trace}}", "{{tracee}}"}},
			`exec: command: argument 2: unknown variable "tracee" (valid: {{model}}, {{tokens}}, {{trace}}, {{prompt}}, {{out}})`},
		{"env variable", spec.Engine{Adapter: "exec", Command: []string{"a"}, Env: map[string]string{"T": "{{trace"}},
			`exec: env: T: "{{trace" is not closed with }}`},
		{"pass_env", spec.Engine{Adapter: "exec", Command: []string{"a", "{{trace}}"}, PassEnv: []string{"GITHUB_TOKEN"}},
			"exec: pass_env: GITHUB_TOKEN is never given to an engine: it opens the repository or the workflow run"},
		{"names", spec.Engine{Adapter: "exec", Command: []string{"a", "{{trace}}"}, Names: []spec.NameRule{{Pattern: "a(", Replacement: "b"}}},
			"exec: names: \"a(\": error parsing regexp: missing closing ): `^(?:a()$`"},
		{"dtype", spec.Engine{Adapter: "transformers", DType: "fp16"}, `transformers: unknown dtype "fp16": want one of f64, f32, f16, bf16`},
		{"attention", spec.Engine{Adapter: "transformers", Attention: "flash"}, `transformers: unknown attention "flash": want one of eager, sdpa, flash_attention_2`},
		{"device", spec.Engine{Adapter: "transformers", Device: "gpu"}, `transformers: "gpu" is no device: want cpu, cuda, cuda:0 or another of PyTorch's`},
		{"token for transformers", spec.Engine{Adapter: "transformers", PassEnv: []string{"GITHUB_TOKEN"}},
			"transformers: pass_env: GITHUB_TOKEN is never given to an engine: it opens the repository or the workflow run"},
		{"no path", spec.Engine{Adapter: "trace"}, "trace: path is empty: want a recorded file or folder, with {{prompt}} where there is one per prompt"},
		{"path variable", spec.Engine{Adapter: "trace", Path: "{{model}}"},
			"trace: path: {{model}} has no value here: the only variable here is {{prompt}}, the prompt's name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := New(c.cfg, Options{})
			if err == nil {
				t.Fatalf("got %s", e.Describe())
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

func TestUsesGPU(t *testing.T) {
	yes, no := true, false
	command := []string{"./worker", "{{trace}}"}
	for _, c := range []struct {
		cfg      spec.Engine
		want     bool
		describe string
	}{
		{spec.Engine{Adapter: "exec", Command: command}, true, "exec ./worker"},
		{spec.Engine{Adapter: "exec", Command: command, GPU: &yes}, true, "exec ./worker"},
		{spec.Engine{Adapter: "exec", Command: command, GPU: &no}, false, "exec ./worker"},
		{spec.Engine{Adapter: "transformers"}, false, "transformers on cpu"},
		{spec.Engine{Adapter: "transformers", Device: "cuda:1", DType: "bf16"}, true, "transformers on cuda:1, bf16"},
		{spec.Engine{Adapter: "transformers", Device: "cuda", GPU: &no}, false, "transformers on cuda"},
		{spec.Engine{Adapter: "trace", Path: "t\x1b[2J"}, false, "trace t"},
	} {
		e, err := New(c.cfg, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if e.UsesGPU() != c.want || e.Describe() != c.describe {
			t.Errorf("%+v: UsesGPU %v, %q", c.cfg, e.UsesGPU(), e.Describe())
		}
	}
}

func TestCacheDir(t *testing.T) {
	dir := t.TempDir()
	o := Options{Getenv: func(name string) string {
		if name == "XDG_CACHE_HOME" {
			return filepath.Join(dir, "cache")
		}
		return ""
	}}
	got, err := o.cacheDir()
	if want := filepath.Join(dir, "cache", "paritygate"); got != want || err != nil {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	if fi, err := os.Stat(got); err != nil || !fi.IsDir() {
		t.Errorf("not made: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := (Options{CacheDir: file}).cacheDir(); err == nil || !strings.HasPrefix(err.Error(), "cache folder: ") {
		t.Errorf("a file as the cache folder: %v", err)
	}
}

func TestErrorText(t *testing.T) {
	inner := errors.New("inner")
	err := &Error{Kind: Crashed, Engine: "e", Detail: "d", Err: inner}
	if err.Error() != "e: crashed: d: inner" || !errors.Is(err, inner) {
		t.Errorf("got %q", err)
	}
	if got := (&Error{Kind: NoTrace, Engine: "e"}).Error(); got != "e: no trace" {
		t.Errorf("got %q", got)
	}
}

func TestRecordedTrace(t *testing.T) {
	dir, recorded := t.TempDir(), safetensors(1, 2, 3)
	for name, b := range map[string][]byte{"haiku.safetensors": recorded, "broken.safetensors": recorded[:len(recorded)-1]} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(path, prompt string) (*Recording, error) {
		e, err := New(spec.Engine{Adapter: "trace", Path: filepath.Join(dir, path)}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return e.Run(context.Background(), Input{Name: prompt, Generate: 4})
	}
	for _, path := range []string{"{{prompt}}.safetensors", "haiku.safetensors"} {
		rec, err := run(path, "haiku")
		if err != nil {
			t.Fatal(err)
		}
		if rec.TracePath != filepath.Join(dir, "haiku.safetensors") || len(rec.Tokens) != 3 || rec.Attempts != 1 || rec.Version != "9.1" {
			t.Errorf("got %+v", rec)
		}
	}
	for _, c := range []struct {
		path, prompt string
		kind         FailureKind
		want         string
	}{
		{"{{prompt}}.st", "none", NotStarted, "trace: not started: no recording at DIR/none.st"},
		{"{{prompt}}.st", "../etc", NotStarted, `trace: not started: the prompt's name "../etc" cannot stand for {{prompt}} in DIR/{{prompt}}.st: it is no file name`},
		{"{{prompt}}/t", "..", NotStarted, `trace: not started: the prompt's name ".." cannot stand for {{prompt}} in DIR/{{prompt}}/t: it is no file name`},
	} {
		_, err := run(c.path, c.prompt)
		var fault *Error
		if !errors.As(err, &fault) || fault.Kind != c.kind || strings.ReplaceAll(err.Error(), dir, "DIR") != c.want {
			t.Errorf("%s for %s:\n got %v\nwant %s", c.path, c.prompt, err, c.want)
		}
	}
	_, err := run("{{prompt}}.safetensors", "broken")
	var fault *Error
	if !errors.As(err, &fault) || fault.Kind != BadTrace || !strings.HasPrefix(err.Error(), "trace: bad trace: "+dir) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	e, err := New(spec.Engine{Adapter: "trace", Path: dir}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Run(ctx, Input{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
