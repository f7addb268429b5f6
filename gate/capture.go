package gate

import (
	"context"
	"fmt"
	"os"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// Capture runs one engine alone on one input and writes its trace, with
// canonical checkpoint names, to the file out (safetensors). Errors are
// *engine.Error where the engine is at fault.
func Capture(ctx context.Context, cfg spec.Engine, in engine.Input, out string, o RunOptions) (*engine.Recording, error) {
	role := o.Role
	if role == "" {
		role = engine.Candidate
	}
	e, err := newEngine(cfg, role, o)
	if err != nil {
		return nil, err
	}
	opt, err := engine.TraceOptions(cfg)
	if err != nil {
		return nil, err
	}
	dir := o.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "paritygate-"); err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
	}
	in.Dir = dir
	rec, err := e.Run(ctx, in)
	if err != nil {
		return nil, err
	}
	t, err := trace.Open(rec.TracePath, opt)
	if err != nil {
		return nil, &engine.Error{Kind: engine.BadTrace, Engine: e.Describe(), Prompt: in.Name, Err: err}
	}
	defer t.Close() // only read
	if t.Meta.Tokens == nil {
		t.Meta.Tokens = rec.Tokens
	}
	if err := Rewrite(t, out); err != nil {
		return nil, err
	}
	rec.TracePath = out
	return rec, nil
}

// Rewrite writes a trace again as one safetensors file with canonical names.
// Checkpoints that hold other positions than the first one cannot stand in one
// file beside it, because safetensors traces name positions once.
func Rewrite(t *trace.Trace, out string) error {
	specs := make([]trace.TensorSpec, len(t.Checkpoints))
	for i, c := range t.Checkpoints {
		if c.Stored < c.Width {
			return fmt.Errorf("%s: %s holds the first %d of %d values a row; a safetensors trace holds whole rows", t.Path, c.Name, c.Stored, c.Width)
		}
		specs[i] = trace.TensorSpec{Name: c.Name, DType: c.DType, Rows: len(c.Positions), Width: c.Width}
		if i > 0 && !samePositions(c.Positions, t.Checkpoints[0].Positions) {
			return fmt.Errorf("%s: %s and %s hold other positions; they cannot be written to one safetensors file", t.Path, c.Name, t.Checkpoints[0].Name)
		}
	}
	meta := t.Meta
	if meta.Positions == nil && len(t.Checkpoints) > 0 && !fromZero(t.Checkpoints[0].Positions) {
		meta.Positions = t.Checkpoints[0].Positions
	}
	w, err := trace.Create(out, meta, specs)
	if err != nil {
		return err
	}
	for _, c := range t.Checkpoints {
		if err := copyRows(w, c); err != nil {
			w.Abort()
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return w.Close()
}

// copyRows streams one checkpoint, a buffer at a time.
func copyRows(w *trace.Writer, c *trace.Checkpoint) error {
	rd := c.NewReader()
	step := max(1, bufferBytes/rowBytes(c))
	buf := make([]byte, step*rowBytes(c))
	for first := 0; first < len(c.Positions); first += step {
		n := min(step, len(c.Positions)-first)
		part := buf[:n*rowBytes(c)]
		if err := rd.ReadRows(first, n, part); err != nil {
			return err
		}
		if err := w.Append(c.Name, part); err != nil {
			return err
		}
	}
	return nil
}

func samePositions(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func fromZero(p []int) bool {
	for i, v := range p {
		if v != i {
			return false
		}
	}
	return true
}
