//go:build unix

package gate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

func TestCapture(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	out := filepath.Join(t.TempDir(), "captured.safetensors")
	cfg := tiny(t, "named")
	cfg.Names = []spec.NameRule{{Pattern: "embd_(.*)", Replacement: "embedding"}}
	in := engine.Input{Name: "p", Tokens: []int32{4, 5, 6}}
	rec, err := Capture(context.Background(), cfg, in, out, RunOptions{Getenv: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	nothingIn(t, os.TempDir())
	if rec.TracePath != out || rec.Version != "1.2" || rec.Device != "abacus" {
		t.Errorf("recording %+v", rec)
	}
	tr := opened(t, out)
	var names []string
	for _, c := range tr.Checkpoints {
		names = append(names, c.Name, c.Source)
	}
	if !slices.Equal(names, []string{"embedding", "embedding", "logits", "logits"}) || !slices.Equal(tr.Meta.Tokens, []int32{4, 5, 6}) || tr.Meta.Engine != "tiny" {
		t.Errorf("wrote %v of %+v", names, tr.Meta)
	}
	// What was captured compares as what is run.
	s := running(t, spec.Engine{Adapter: "trace", Path: out}, tiny(t, "good"), promptOf("p", 4, 5, 6))
	if r, err := Run(context.Background(), s, RunOptions{Getenv: os.Getenv}); err != nil || r.Outcome != Pass {
		t.Errorf("%v, %v", r, err)
	}
}

func nothingIn(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in %s: %v, %v", dir, left, err)
	}
}

func TestCaptureKeepsTheFolder(t *testing.T) {
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "x.safetensors")
	if _, err := Capture(context.Background(), tiny(t, "good"), engine.Input{Name: "p", Tokens: []int32{1}}, out, RunOptions{Getenv: os.Getenv, Dir: dir, Role: engine.Reference}); err != nil {
		t.Fatal(err)
	}
	opened(t, filepath.Join(dir, "trace"))
}

func TestCaptureFailures(t *testing.T) {
	for mode, kind := range map[string]engine.FailureKind{"crash": engine.Crashed, "nothing": engine.NoTrace, "garbled": engine.BadTrace} {
		t.Setenv("TMPDIR", t.TempDir())
		folder := t.TempDir()
		rec, err := Capture(context.Background(), tiny(t, mode), engine.Input{Name: "p", Tokens: []int32{1}}, filepath.Join(folder, "x.safetensors"), RunOptions{Getenv: os.Getenv})
		var fault *engine.Error
		if rec != nil || !errors.As(err, &fault) || fault.Kind != kind || fault.Prompt != "p" {
			t.Errorf("%s: %v, %v; want %s", mode, rec, err, kind)
		}
		nothingIn(t, folder)
		nothingIn(t, os.TempDir())
	}
	if _, err := Capture(context.Background(), spec.Engine{Adapter: "magic"}, engine.Input{}, "x", RunOptions{}); err == nil {
		t.Error("an unknown adapter captured something")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Capture(ctx, tiny(t, "good"), engine.Input{Name: "p", Tokens: []int32{1}}, filepath.Join(t.TempDir(), "x"), RunOptions{Getenv: os.Getenv}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// What an engine was given is not what it ran, unless it says so.
func TestCaptureOfSilentEngine(t *testing.T) {
	out := filepath.Join(t.TempDir(), "x.safetensors")
	in := engine.Input{Name: "p", Tokens: []int32{1, 2}}
	if _, err := Capture(context.Background(), tiny(t, "silent"), in, out, RunOptions{Getenv: os.Getenv}); err != nil {
		t.Fatal(err)
	}
	if got := opened(t, out).Meta.Tokens; got != nil {
		t.Errorf("tokens %v: the engine did not say which it ran", got)
	}
}

// Rewritten, every byte of every row is the same, in every dtype, wherever the
// rows begin.
func TestRewriteKeepsEveryByte(t *testing.T) {
	g := seeded(1)
	meta := trace.Meta{Engine: "e", EngineVersion: "v", Model: "m", WeightsSHA256: strings.Repeat("a", 64), ComputeDType: "f32", Device: "d", Prompt: "p",
		Tokens: []int32{1, 2, 3, 4, 5, 6, 7, 8}, Positions: []int{2, 3, 7}, Extra: map[string]string{"note": "x"}}
	var points []point
	for i, d := range []trace.DType{trace.F32, trace.F16, trace.BF16, trace.F64} {
		points = append(points, point{fmt.Sprintf("layer_%d_output", i), d, noisy(g, 3, 5+i, 1)})
	}
	from := made(t, meta, points...)
	out := filepath.Join(t.TempDir(), "again.safetensors")
	if err := Rewrite(from, out); err != nil {
		t.Fatal(err)
	}
	to := opened(t, out)
	if !reflect.DeepEqual(to.Meta, from.Meta) {
		t.Errorf("meta %+v, want %+v", to.Meta, from.Meta)
	}
	sameValues(t, from, to)
}

func sameValues(t *testing.T, from, to *trace.Trace) {
	t.Helper()
	if len(from.Checkpoints) != len(to.Checkpoints) {
		t.Fatalf("%d checkpoints, want %d", len(to.Checkpoints), len(from.Checkpoints))
	}
	for _, c := range from.Checkpoints {
		o := to.Lookup(c.Name)
		if o == nil || o.DType != c.DType || o.Width != c.Width || o.Stored != c.Width || !slices.Equal(o.Positions, c.Positions) {
			t.Fatalf("%s became %+v", c.Name, o)
		}
		a, b := make([]byte, len(c.Positions)*rowBytes(c)), make([]byte, len(c.Positions)*rowBytes(c))
		if err := errors.Join(c.NewReader().ReadRows(0, len(c.Positions), a), o.NewReader().ReadRows(0, len(c.Positions), b)); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s has other bytes, %v", c.Name, err)
		}
	}
}

// A long trace goes through a buffer, some rows at a time.
func TestRewriteLongTrace(t *testing.T) {
	width := bufferBytes/4/3 + 7 // two rows and a bit a buffer
	from := made(t, trace.Meta{}, point{name: "logits", rows: noisy(seeded(2), 7, width, 1)})
	out := filepath.Join(t.TempDir(), "again.safetensors")
	if err := Rewrite(from, out); err != nil {
		t.Fatal(err)
	}
	to := opened(t, out)
	sameValues(t, from, to)
	if to.Meta.Positions != nil {
		t.Errorf("rows from 0 on need no list of positions: %v", to.Meta.Positions)
	}
}

// A log of whole rows becomes a trace, under canonical names and with its positions.
func TestRewriteLog(t *testing.T) {
	line := func(name string, at int, shape, values string) string {
		return fmt.Sprintf(`{"checkpoint":%q,"team":"x","token_idx":%d,"dtype":"f32","shape":%q,"values":[%s]}`, name, at, shape, values)
	}
	dir := t.TempDir()
	out := filepath.Join(dir, "x.safetensors")
	from := opened(t, jsonl(t, line("l_out-0", 5, "[2]", "1,2"), line("l_out-0", 6, "[1,2]", "3,4"), line("logits", 5, "[3]", "1,2,3"), line("logits", 6, "[3]", "4,5,6")))
	if err := Rewrite(from, out); err != nil {
		t.Fatal(err)
	}
	to := opened(t, out)
	sameValues(t, from, to)
	if to.Checkpoints[0].Name != "layer_0_output" || to.Checkpoints[0].Source != "layer_0_output" || !slices.Equal(to.Meta.Positions, []int{5, 6}) {
		t.Errorf("%+v of %+v", to.Checkpoints[0], to.Meta)
	}
	for _, c := range []struct {
		lines []string
		want  string
	}{
		{[]string{line("logits", 5, "[9]", "1,2,3")}, "logits holds the first 3 of 9 values a row; a safetensors trace holds whole rows"},
		{[]string{line("l_out-0", 5, "[1]", "1"), line("logits", 6, "[1]", "1")}, "logits and layer_0_output hold other positions; they cannot be written to one safetensors file"},
		{[]string{line("l_out-0", 5, "[1]", "1"), line("l_out-0", 6, "[1]", "1"), line("logits", 6, "[1]", "1")}, "hold other positions"},
	} {
		path := filepath.Join(dir, "refused.safetensors")
		if err := Rewrite(opened(t, jsonl(t, c.lines...)), path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.lines, err, c.want)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%q left a file", c.lines)
		}
	}
}

// A source that is cut while it is copied leaves no file.
func TestRewriteCutSource(t *testing.T) {
	from := made(t, trace.Meta{}, point{name: "logits", rows: noisy(seeded(2), 8, 1000, 1)})
	if err := os.Truncate(from.Path, 9000); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := Rewrite(from, filepath.Join(dir, "x.safetensors")); err == nil || !strings.HasPrefix(err.Error(), "logits: ") {
		t.Errorf("got %v", err)
	}
	nothingIn(t, dir)
}
