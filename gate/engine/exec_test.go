//go:build unix

package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// fixture is an exec engine that runs misbehave in a folder of its own.
type fixture struct {
	cfg spec.Engine
	o   Options
	in  Input
	exe string
}

func newFixture(t *testing.T, mode string, args ...string) *fixture {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	no := false
	return &fixture{
		cfg: spec.Engine{Adapter: "exec", Command: append([]string{exe, "misbehave", mode, "{{trace}}"}, args...), GPU: &no, Timeout: 20 * time.Second},
		o:   Options{Role: Candidate, CacheDir: t.TempDir(), Environ: func() []string { return nil }, Grace: 50 * time.Millisecond},
		in:  Input{Name: "haiku", Text: "GPU haiku", Tokens: ids, Dir: t.TempDir()},
		exe: exe,
	}
}

func (f *fixture) run(t *testing.T) (*Recording, error) {
	t.Helper()
	e, err := New(f.cfg, f.o)
	if err != nil {
		t.Fatal(err)
	}
	return e.Run(context.Background(), f.in)
}

// shown is text with the run's own paths replaced by words.
func (f *fixture) shown(s string) string {
	return strings.NewReplacer(f.exe, "ENGINE", f.in.Dir, "DIR").Replace(s)
}

func (f *fixture) wantError(t *testing.T, kind FailureKind, text, output string) {
	t.Helper()
	rec, err := f.run(t)
	var fault *Error
	if !errors.As(err, &fault) {
		t.Fatalf("got %+v, %v; want a %s error", rec, err, kind)
	}
	if fault.Kind != kind || fault.Prompt != f.in.Name {
		t.Errorf("kind %q, prompt %q; want %q, %q", fault.Kind, fault.Prompt, kind, f.in.Name)
	}
	if got := f.shown(fault.Error()); got != "ENGINE: "+string(kind)+": "+text {
		t.Errorf("error\n got %s\nwant %s", got, "ENGINE: "+string(kind)+": "+text)
	}
	if fault.Output != output {
		t.Errorf("output %q, want %q", fault.Output, output)
	}
}

func TestExecRecords(t *testing.T) {
	for _, c := range []struct {
		mode   string
		format trace.Format
		tokens []int32
		names  []string
	}{
		{"good", trace.Safetensors, ids, []string{"layer_0_output"}},
		{"shards", trace.Safetensors, ids, []string{"layer_0_output"}},
		{"nan", trace.Safetensors, ids, []string{"layer_0_output"}},
		{"jsonl", trace.OrchJSONL, nil, []string{"logits"}},
	} {
		t.Run(c.mode, func(t *testing.T) {
			f := newFixture(t, c.mode)
			f.cfg.Names = []spec.NameRule{{Pattern: `out\.(\d+)`, Replacement: "layer_${1}_output"}}
			rec, err := f.run(t)
			if err != nil {
				t.Fatal(err)
			}
			if rec.TracePath != filepath.Join(f.in.Dir, "trace") || !reflect.DeepEqual(rec.Tokens, c.tokens) || rec.Attempts != 1 || len(rec.Warnings) > 0 || rec.Elapsed <= 0 {
				t.Errorf("got %+v", rec)
			}
			if c.tokens != nil && (rec.Version != "9.1" || rec.Device != "cpu" || rec.ComputeDType != "f32") {
				t.Errorf("what the trace says of itself: %+v", rec)
			}
			opt, err := TraceOptions(f.cfg)
			if err != nil {
				t.Fatal(err)
			}
			tr, err := trace.Open(rec.TracePath, opt)
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			var names []string
			for _, cp := range tr.Checkpoints {
				names = append(names, cp.Name)
			}
			if tr.Format != c.format || !reflect.DeepEqual(names, c.names) {
				t.Errorf("trace is %s with %q", tr.Format, names)
			}
		})
	}
}

func TestExecOutputIsSanitised(t *testing.T) {
	rec, err := newFixture(t, "good").run(t)
	if err != nil {
		t.Fatal(err)
	}
	if rec.Stdout != "ran 3 tokens\n" || rec.Stderr != ": :error::not an error\n" {
		t.Errorf("stdout %q, stderr %q", rec.Stdout, rec.Stderr)
	}
}

func TestExecFailures(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret.safetensors")
	if err := os.WriteFile(outside, safetensors(1, 2, 3), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, mode, arg string
		kind            FailureKind
		text, output    string
		change          func(*spec.Engine)
	}{
		{"exit", "exit", "7", Crashed, "exit code 7", "loading\ncannot allocate the KV cache", nil},
		{"exit 127", "exit", "127", Crashed, "exit code 127, a shell's word for a command that it did not find", "loading\ncannot allocate the KV cache", nil},
		{"only stdout", "stdout-only", "", Crashed, "exit code 1", "assertion failed", nil},
		{"segv", "signal", "SEGV", Crashed, "killed by SIGSEGV", "", nil},
		{"kill", "signal", "KILL", Crashed, "killed by SIGKILL from outside; the kernel does so when memory runs out", "", nil},
		{"hang", "hang", "", TimedOut, "no end after 300ms, killed with its process group", "hanging",
			func(cfg *spec.Engine) { cfg.Timeout = 300 * time.Millisecond }},
		{"none", "none", "", NoTrace, "it ended well but wrote nothing to {{trace}}, DIR/trace; nothing else was written there either", "", nil},
		{"folder", "folder", "", NoTrace, "it ended well but left {{trace}}, DIR/trace, an empty folder; nothing else was written there either", "", nil},
		{"elsewhere", "elsewhere", "", NoTrace, "it ended well but wrote nothing to {{trace}}, DIR/trace; the run's folder holds " +
			"out/log0 (1 bytes), out/log1 (1 bytes), out/log2 (1 bytes), out/log3 (1 bytes), out/log4 (1 bytes), out/log5 (1 bytes), " +
			"out/log6 (1 bytes), out/log7 (1 bytes) and 2 more", "", nil},
		{"symlink", "symlink", outside, BadTrace, "DIR/trace is a symbolic link: write a regular file", "", nil},
		{"dangling symlink", "symlink", "/none", BadTrace, "DIR/trace is a symbolic link: write a regular file", "", nil},
		{"symlink to folder", "symlink", filepath.Dir(outside), BadTrace, "DIR/trace is a symbolic link: write a regular file", "", nil},
		{"symlink shard", "symlink-shard", outside, BadTrace, "DIR/trace/a.safetensors is a symbolic link: write a regular file", "", nil},
		{"fifo", "fifo", "", BadTrace, "DIR/trace is a named pipe: write a regular file", "", nil},
		{"large", "large", "", TooMuch, "its trace has 5000 bytes, over max_trace, 4000", "", func(cfg *spec.Engine) { cfg.MaxTrace = 4000 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, c.mode, c.arg)
			if c.change != nil {
				c.change(&f.cfg)
			}
			f.wantError(t, c.kind, c.text, c.output)
		})
	}
}

func TestTypeName(t *testing.T) {
	for mode, want := range map[fs.FileMode]string{fs.ModeSymlink: "a symbolic link", fs.ModeNamedPipe: "a named pipe", fs.ModeSocket: "a socket",
		fs.ModeDevice | fs.ModeCharDevice: "a device", fs.ModeIrregular: "no file"} {
		if got := typeName(mode | 0o644); got != want {
			t.Errorf("%s is %q, want %q", mode, got, want)
		}
	}
}

func TestExecHalfATrace(t *testing.T) {
	f := newFixture(t, "half")
	_, err := f.run(t)
	var fault *Error
	var broken *trace.Error
	if !errors.As(err, &fault) || fault.Kind != BadTrace || !errors.As(err, &broken) {
		t.Fatalf("got %v", err)
	}
	if broken.Path != filepath.Join(f.in.Dir, "trace") {
		t.Errorf("the error is about %s", broken.Path)
	}
	if got, want := f.shown(err.Error()), "ENGINE: bad trace: "+f.shown(broken.Error()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestExecEndlessTrace(t *testing.T) {
	f := newFixture(t, "endless")
	f.cfg.MaxTrace = 1 << 20
	start := time.Now()
	_, err := f.run(t)
	var fault *Error
	if !errors.As(err, &fault) || fault.Kind != TooMuch {
		t.Fatalf("got %v", err)
	}
	size := sizeOf(filepath.Join(f.in.Dir, "trace"))
	if size <= f.cfg.MaxTrace || size > 200<<20 || time.Since(start) > 10*time.Second {
		t.Errorf("stopped at %d bytes after %s", size, time.Since(start))
	}
	if !strings.HasPrefix(fault.Detail, "its trace has ") || !strings.HasSuffix(fault.Detail, " bytes, over max_trace, 1048576") {
		t.Errorf("detail %q", fault.Detail)
	}
}

func TestExecRetries(t *testing.T) {
	for _, c := range []struct {
		mode     string
		retries  int
		attempts int
		text     string // "" is success
	}{
		{"second", 1, 2, ""},
		{"second", 5, 2, ""},
		{"second", 0, 1, "ENGINE: crashed: exit code 7"},
		{"count-exit", 2, 3, "ENGINE: crashed: exit code 7 (attempt 3)"},
		{"count-hang", 0, 1, "ENGINE: timed out: no end after 200ms, killed with its process group"},
		{"count-hang", 5, 2, "ENGINE: timed out: no end after 200ms, killed with its process group (attempt 2)"},
		{"count-bad", 5, 1, `ENGINE: bad trace: DIR/trace: byte 0: format not recognised from "no trace at all": want safetensors, orch JSONL, npy or npz`},
	} {
		t.Run(c.mode+strconv.Itoa(c.retries), func(t *testing.T) {
			counter := filepath.Join(t.TempDir(), "count")
			f := newFixture(t, c.mode, counter)
			f.cfg.Retries = c.retries
			if c.mode == "count-hang" {
				f.cfg.Timeout = 200 * time.Millisecond
			}
			rec, err := f.run(t)
			if got := attempts(counter); got != c.attempts {
				t.Errorf("%d attempts, want %d", got, c.attempts)
			}
			if c.text != "" {
				if err == nil || f.shown(err.Error()) != c.text {
					t.Errorf("got %v, want %s", err, c.text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := []string{"attempt 1 crashed: exit code 7"}; rec.Attempts != 2 || !reflect.DeepEqual(rec.Warnings, want) {
				t.Errorf("attempts %d, warnings %q", rec.Attempts, rec.Warnings)
			}
		})
	}
}

func TestExecChildren(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	rec, err := newFixture(t, "fork", pidFile).run(t)
	if err != nil {
		t.Fatal(err)
	}
	if pid := pidIn(t, pidFile); running(pid) {
		syscall.Kill(pid, syscall.SIGKILL)
		t.Errorf("child %d outlived the engine", pid)
	}
	if len(rec.Warnings) != 1 || !strings.HasPrefix(rec.Warnings[0], "left 1 child running, killed: ") {
		t.Errorf("warnings %q", rec.Warnings)
	}
}

func TestExecCancelled(t *testing.T) {
	f := newFixture(t, "hang")
	f.cfg.Retries = 5
	e, err := New(f.cfg, f.o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = e.Run(ctx, f.in)
	var fault *Error
	if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &fault) || time.Since(start) > 5*time.Second {
		t.Errorf("after %s: %v; the caller's own deadline is no fault of the engine", time.Since(start), err)
	}
}

func TestExecSeesNoSecret(t *testing.T) {
	f := newFixture(t, "environment")
	secrets := []string{"GITHUB_TOKEN=s3cr3t", "ACTIONS_RUNTIME_TOKEN=s3cr3t", "HF_TOKEN=s3cr3t", "NVIDIA_API_KEY=s3cr3t", "AWS_ACCESS_KEY_ID=s3cr3t",
		"INPUT_X=s3cr3t", "RUNNER_TEMP=s3cr3t", "UNHEARD_OF=s3cr3t", "github_token=s3cr3t"}
	f.o.Environ = func() []string { return append(secrets, "HOME=/home/u", "CUDA_VISIBLE_DEVICES=1", "MINE=passed") }
	f.cfg.PassEnv = []string{"MINE", "ABSENT"}
	f.cfg.Env = map[string]string{"ORCH_LOG_FILE": "{{trace}}", "IDS": "{{ tokens }}"}
	rec, err := f.run(t)
	if err != nil {
		t.Fatal(err)
	}
	want := "CUDA_VISIBLE_DEVICES=1\nHOME=/home/u\nIDS=256,100,101\nMINE=passed\nORCH_LOG_FILE=DIR/trace\n"
	if got := f.shown(rec.Stdout); got != want {
		t.Errorf("the engine saw\n%swant\n%s", got, want)
	}
}

func TestExecVariables(t *testing.T) {
	f := newFixture(t, "arguments", "{{model}}|{{tokens}}|{{trace}}|{{prompt}}|{{out}}|$HOME;`id`")
	f.in.Model = "org/model"
	f.in.Text = "a {{model}} \"b\" $(c)"
	rec, err := f.run(t)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.shown(rec.Stdout), "org/model|256,100,101|DIR/trace|a {{model}} \"b\" $(c)|DIR/out|$HOME;`id`\n"; got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	for name, want := range map[string]string{"tokens.json": "[256,100,101]", "prompt.txt": f.in.Text} {
		if b, err := os.ReadFile(filepath.Join(f.in.Dir, "out", name)); err != nil || string(b) != want {
			t.Errorf("%s holds %q, %v; want %q", name, b, err, want)
		}
	}
}

func TestExecModel(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("m.gguf", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for model, want := range map[string]string{"m.gguf": filepath.Join(dir, "m.gguf"), "org/none": "org/none", "/m": "/m"} {
		f := newFixture(t, "arguments", "{{model}}")
		f.in.Model, f.cfg.Model, f.cfg.Dir = "other", model, "/"
		rec, err := f.run(t)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Stdout != want+"\n" {
			t.Errorf("model %q became %q, want %q", model, rec.Stdout, want)
		}
	}
}

func TestExecNotStarted(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*fixture)
		want   string
	}{
		{"absent", func(f *fixture) { f.cfg.Command[0] = "/none/worker" }, "/none/worker: not started: program /none/worker: no such file or directory"},
		{"tokens", func(f *fixture) { f.in.Tokens = nil; f.cfg.Command = append(f.cfg.Command, "{{tokens}}") },
			`ENGINE: not started: the command uses {{tokens}}, but the ids of prompt "haiku" are not known: give them as tokens: in the prompt, ` +
				"run a reference that tells them (llamacpp, or a trace with tokens), or use {{prompt}}"},
		{"prompt", func(f *fixture) { f.in.Text = ""; f.cfg.Env = map[string]string{"P": "{{ prompt }}"} },
			`ENGINE: not started: the command uses {{prompt}}, but prompt "haiku" has no text: use {{tokens}}`},
		{"model", func(f *fixture) { f.cfg.Command = append(f.cfg.Command, "{{model}}") },
			"ENGINE: not started: the command uses {{model}}, but no model is named: set model: {path: …}"},
		{"generate", func(f *fixture) { f.in.Generate = 32 },
			"ENGINE: not started: generate: 32 wants an engine that continues a prompt, which exec cannot ask for; " +
				"let a llamacpp reference generate, or give the continuation as tokens"},
		{"long argument", func(f *fixture) {
			f.in.Tokens = make([]int32, 65536)
			f.cfg.Command = append(f.cfg.Command, "--t={{tokens}}")
		},
			"ENGINE: not started: argument 4 is 131075 bytes long, Linux takes 131071: " +
				"let the engine read {{out}}/tokens.json or {{out}}/prompt.txt instead of {{tokens}} or {{prompt}}"},
		{"long variable", func(f *fixture) {
			f.in.Tokens = make([]int32, 65536)
			f.cfg.Env = map[string]string{"IDS": "{{tokens}}"}
		},
			"ENGINE: not started: variable IDS is 131075 bytes long, Linux takes 131071: " +
				"let the engine read {{out}}/tokens.json or {{out}}/prompt.txt instead of {{tokens}} or {{prompt}}"},
		{"long command", func(f *fixture) {
			f.in.Text = strings.Repeat("x", 130000)
			for range 100 {
				f.cfg.Command = append(f.cfg.Command, "{{prompt}}")
			}
		}, "ENGINE: not started: the command line is longer than the system takes: " +
			"let the engine read {{out}}/tokens.json or {{out}}/prompt.txt instead of {{tokens}} or {{prompt}}"},
		{"dir", func(f *fixture) { f.cfg.Dir = "/none" }, "ENGINE: not started: working directory /none: no such file or directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, "good")
			c.change(f)
			_, err := f.run(t)
			var fault *Error
			if !errors.As(err, &fault) || fault.Kind != NotStarted {
				t.Fatalf("got %v", err)
			}
			if got := f.shown(err.Error()); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestExecLargestArgument(t *testing.T) {
	f := newFixture(t, "arguments", "{{prompt}}")
	f.in.Text = strings.Repeat("x", maxArgument)
	rec, err := f.run(t)
	if err != nil {
		t.Fatal(err)
	}
	if len(rec.Stdout) != maxArgument+1 {
		t.Errorf("the engine got %d bytes", len(rec.Stdout)-1)
	}
}
