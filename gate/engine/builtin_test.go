package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// builtinRun runs the builtin engine, with a cache of its own.
func builtinRun(t *testing.T, ctx context.Context, cfg spec.Engine, in engine.Input) (*engine.Recording, error) {
	t.Helper()
	cfg.Adapter, in.Dir = "builtin", t.TempDir()
	if in.Name == "" {
		in.Name = "p"
	}
	e, err := engine.New(cfg, engine.Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if e.UsesGPU() {
		t.Error("it says that it uses the GPU")
	}
	return e.Run(ctx, in)
}

func openTrace(t *testing.T, path string) *trace.Trace {
	t.Helper()
	tr, err := trace.Open(path, trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// TestBuiltin holds the trace to the oracle's own values, bit by bit.
func TestBuiltin(t *testing.T) {
	model := enginetest.Zoo(t, "llama")
	tokens := []int32{256, 100, 101, 102}
	for _, c := range []struct {
		precision *spec.Precision
		version   string
		dtype     trace.DType
		says      string
		sublayers bool
	}{
		{nil, "f64", trace.F64, "f64", false},
		{&spec.Precision{Profile: "f32"}, "f32", trace.F32, "f32", true},
		{&spec.Precision{Profile: "bf16"}, "bf16", trace.F32, "bf16", false},
		{&spec.Precision{Profile: "llamacpp-cpu"}, "llamacpp-cpu", trace.F32, "f16", false},
		{&spec.Precision{Profile: "llamacpp-q8_0"}, "llamacpp-q8_0", trace.F32, "q8_0", false},
		{&spec.Precision{Profile: "f32", Fields: map[string]string{"kv": "f16", "gelu": "erf"}}, "f32,gelu=erf,kv=f16", trace.F32, "f16", false},
	} {
		t.Run(c.version, func(t *testing.T) {
			cfg := spec.Engine{Precision: c.precision, Sublayers: c.sublayers}
			rec, err := builtinRun(t, context.Background(), cfg, engine.Input{Tokens: tokens, Model: model})
			if err != nil {
				t.Fatal(err)
			}
			tr := openTrace(t, rec.TracePath)
			m := tr.Meta
			if m.Engine != engine.BuiltinName || m.EngineVersion != c.version || m.ComputeDType != c.says || m.Device != "CPU" || m.Model != filepath.Base(model) ||
				len(m.WeightsSHA256) != 64 || m.Prompt != "p" || !slices.Equal(m.Tokens, tokens) {
				t.Errorf("metadata %+v", m)
			}
			if rec.Version != c.version || rec.ComputeDType != c.says || !slices.Equal(rec.Tokens, tokens) || rec.Attempts != 1 || rec.Elapsed <= 0 {
				t.Errorf("recording %+v", rec)
			}
			want, names := forward(t, model, tokens, c.precision, c.sublayers)
			if len(tr.Checkpoints) != len(names) {
				t.Errorf("%d checkpoints, want %d", len(tr.Checkpoints), len(names))
			}
			for _, name := range names {
				compareRows(t, tr.Lookup(name), name, c.dtype, want[name])
			}
		})
	}
}

// forward is the oracle itself.
func forward(t *testing.T, model string, tokens []int32, p *spec.Precision, sublayers bool) (map[string][]float64, []string) {
	t.Helper()
	m, err := oracle.Load(model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	profile, err := engine.Profile(p)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]float64{}
	var names []string
	err = m.Run(context.Background(), tokens, oracle.Options{Profile: profile, Sublayers: sublayers}, func(name string, _ int, v []float64) error {
		values[name], names = v, append(names, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return values, names
}

func compareRows(t *testing.T, c *trace.Checkpoint, name string, d trace.DType, want []float64) {
	t.Helper()
	if c == nil || c.DType != d || c.Width*len(c.Positions) != len(want) {
		t.Fatalf("%s: got %+v, want %d values in %s", name, c, len(want), d)
	}
	b := make([]byte, len(want)*d.Size())
	if err := c.NewReader().ReadRows(0, len(c.Positions), b); err != nil {
		t.Fatal(err)
	}
	for i, w := range want {
		got := 0.0
		if d == trace.F64 {
			got = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
		} else {
			got = float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
		}
		if got != w {
			t.Fatalf("%s[%d] is %g, want %g", name, i, got, w)
		}
	}
}

// TestBuiltinGenerates: every generated token is the largest logit of the row
// before it, and the trace holds their rows, too.
func TestBuiltinGenerates(t *testing.T) {
	model := enginetest.Zoo(t, "llama")
	prompt := []int32{256, 'd', 'e', 'f', ' '}
	rec, err := builtinRun(t, context.Background(), spec.Engine{}, engine.Input{Tokens: prompt, Generate: 3, Model: model})
	if err != nil {
		t.Fatal(err)
	}
	if len(rec.Tokens) != 8 || !slices.Equal(rec.Tokens[:5], prompt) {
		t.Fatalf("tokens %v", rec.Tokens)
	}
	values, _ := forward(t, model, rec.Tokens, nil, false)
	width := len(values["logits"]) / 8
	for at := 5; at < 8; at++ {
		row := values["logits"][(at-1)*width : at*width]
		if most := slices.Max(row); int(rec.Tokens[at]) != slices.Index(row, most) {
			t.Errorf("token %d is %d, its logits say %d", at, rec.Tokens[at], slices.Index(row, most))
		}
	}
	if c := openTrace(t, rec.TracePath).Lookup("logits"); len(c.Positions) != 8 {
		t.Errorf("%d rows of logits, want 8", len(c.Positions))
	}
}

// TestBuiltinWithoutCache: a place that keeps nothing is no reason not to run.
func TestBuiltinWithoutCache(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(spec.Engine{Adapter: "builtin"}, engine.Options{CacheDir: file})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := e.Run(context.Background(), engine.Input{Name: "p", Tokens: []int32{256}, Model: enginetest.Zoo(t, "llama"), Dir: t.TempDir()})
	if err != nil || len(openTrace(t, rec.TracePath).Meta.WeightsSHA256) != 64 {
		t.Errorf("got %+v, %v", rec, err)
	}
}

func TestBuiltinFails(t *testing.T) {
	model := enginetest.Zoo(t, "llama")
	broken := filepath.Join(t.TempDir(), "broken.gguf")
	if err := os.WriteFile(broken, []byte("GGUF"), 0o644); err != nil {
		t.Fatal(err)
	}
	one := []int32{256}
	for _, c := range []struct {
		name string
		cfg  spec.Engine
		in   engine.Input
		kind engine.FailureKind
		want string
	}{
		{"text", spec.Engine{}, engine.Input{Text: "def ", Model: model}, engine.NotStarted, "no tokenizer: give the prompt as tokens, or a reference that tells the tokens it ran"},
		{"empty", spec.Engine{}, engine.Input{Model: model}, engine.NotStarted, "the prompt is empty"},
		{"no model", spec.Engine{}, engine.Input{Tokens: one}, engine.NotStarted, "no model is named"},
		{"missing model", spec.Engine{Model: "/nowhere/m.gguf"}, engine.Input{Tokens: one, Model: model}, engine.NotStarted, "/nowhere/m.gguf: no such file"},
		{"broken model", spec.Engine{}, engine.Input{Tokens: one, Model: broken}, engine.NotStarted, broken},
		{"token", spec.Engine{}, engine.Input{Tokens: []int32{256, 100000}, Model: model}, engine.NotStarted, "token 100000 at position 1"},
		{"blocks", spec.Engine{Precision: &spec.Precision{Profile: "f32", Fields: map[string]string{"inputs": "q8_k"}}}, engine.Input{Tokens: one, Model: model},
			engine.NotStarted, "no multiple of q8_k's blocks of 256"},
		{"timeout", spec.Engine{Timeout: time.Nanosecond}, engine.Input{Tokens: one, Model: model}, engine.TimedOut, "no end after 1ns"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := builtinRun(t, context.Background(), c.cfg, c.in)
			var fault *engine.Error
			if !errors.As(err, &fault) || fault.Kind != c.kind || fault.Prompt != "p" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s: %s", err, c.kind, c.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := builtinRun(t, ctx, spec.Engine{}, engine.Input{Tokens: one, Model: model})
	var fault *engine.Error
	if !errors.Is(err, context.Canceled) || errors.As(err, &fault) {
		t.Errorf("stopped: %v", err)
	}
}

// TestPrecisionOfAnEngine: a profile that does not exist is refused before
// anything runs, whatever the adapter.
func TestPrecisionOfAnEngine(t *testing.T) {
	for _, c := range []struct {
		precision spec.Precision
		want      string
	}{
		{spec.Precision{Profile: "f8"}, `precision: unknown precision profile "f8": want one of f64, f32`},
		{spec.Precision{Profile: "f16", Fields: map[string]string{"cache": "f16"}}, `precision: unknown field "cache" of a precision profile: want one of single`},
		{spec.Precision{Profile: "f16", Fields: map[string]string{"kv": "f8"}}, `precision: kv: unknown format "f8": want one of exact`},
		{spec.Precision{Profile: "f16", Fields: map[string]string{"activations": "q8_0"}}, "activations cannot be q8_0"},
	} {
		for _, cfg := range []spec.Engine{{Adapter: "builtin"}, {Adapter: "trace", Path: "t"}, {Adapter: "exec", Command: []string{"w", "{{trace}}"}}} {
			cfg.Precision = &c.precision
			if _, err := engine.New(cfg, engine.Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %v, want %s", cfg.Adapter, err, c.want)
			}
		}
	}
}

func TestParsePrecision(t *testing.T) {
	p, err := engine.ParsePrecision("llamacpp-fa-f16,kv=bf16,flash=false")
	if err != nil || p.Profile != "llamacpp-fa-f16" || len(p.Fields) != 2 || p.Fields["kv"] != "bf16" {
		t.Errorf("got %+v, %v", p, err)
	}
	// What a trace says of its version names the profile again.
	profile, err := engine.Profile(p)
	if err != nil {
		t.Fatal(err)
	}
	again, err := engine.ParsePrecision(profile.Name)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := engine.Profile(again); err != nil || second != profile {
		t.Errorf("%q became %+v, %v", profile.Name, second, err)
	}
	for _, text := range []string{"f16,", "f16,kv", "f16,kv=", "f16,=f16", "f16,kv=f16,kv=f16"} {
		if _, err := engine.ParsePrecision(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
