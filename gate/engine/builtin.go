package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// BuiltinName is what traces of the builtin engine say of their engine.
const BuiltinName = "paritygate builtin"

// builtin computes the forward pass in this process, under a precision profile.
type builtin struct {
	cfg     spec.Engine
	o       Options
	profile oracle.Profile
}

func newBuiltin(cfg spec.Engine, o Options) (Engine, error) {
	p, err := Profile(cfg.Precision)
	if err != nil {
		return nil, err
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = spec.DefaultTimeout
	}
	return &builtin{cfg: cfg, o: o, profile: p}, nil
}

// UsesGPU is false: it runs on the CPU.
func (e *builtin) UsesGPU() bool { return false }

func (e *builtin) Describe() string { return "builtin " + e.profile.Name }

func (e *builtin) fail(in Input, kind FailureKind, format string, args ...any) *Error {
	return &Error{Kind: kind, Engine: "builtin", Prompt: in.Name, Detail: fmt.Sprintf(format, args...)}
}

// Run computes every checkpoint of the prompt's tokens and leaves the trace.
func (e *builtin) Run(ctx context.Context, in Input) (*Recording, error) {
	start := time.Now()
	if e.cfg.Model != "" {
		in.Model = e.cfg.Model
	}
	switch {
	case in.Model == "":
		return nil, e.fail(in, NotStarted, "no model is named: set model: {path: …}")
	case len(in.Tokens) == 0 && in.Text == "":
		return nil, e.fail(in, NotStarted, "the prompt is empty: give it as tokens")
	case len(in.Tokens) == 0:
		return nil, e.fail(in, NotStarted, "the builtin engine has no tokenizer: give the prompt as tokens, or a reference that tells the tokens it ran")
	}
	limited, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	defer cancel()
	e.o.progress("computing %s in %s", Sanitize(in.Name), e.profile.Name)
	defer e.o.progress("")
	rec, err := e.compute(limited, in)
	var fault *Error
	switch {
	case err == nil:
		rec.Elapsed, rec.Attempts = time.Since(start), 1
		return rec, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("builtin: stopped: %w", ctx.Err())
	case limited.Err() != nil:
		return nil, e.fail(in, TimedOut, "no end after %s", e.cfg.Timeout)
	case errors.As(err, &fault):
		return nil, fault
	}
	return nil, e.fail(in, NotStarted, "%v", err)
}

// compute loads the model, continues the prompt greedily where that is asked
// for, and writes the trace of all tokens.
func (e *builtin) compute(ctx context.Context, in Input) (*Recording, error) {
	m, err := oracle.Load(in.Model)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	defer m.Close() // only read
	sum, err := weightsSHA256(ctx, absolute(in.Model), e.o)
	if err != nil {
		return nil, fmt.Errorf("cannot read the model: %w", err)
	}
	tokens := slices.Clone(in.Tokens)
	for range in.Generate {
		next, err := nextToken(ctx, m, tokens, e.profile)
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, next)
	}
	meta := trace.Meta{Model: filepath.Base(in.Model), WeightsSHA256: sum, Prompt: in.Name}
	path := filepath.Join(in.Dir, "trace.safetensors")
	if err := WriteForward(ctx, m, tokens, oracle.Options{Profile: e.profile, Sublayers: e.cfg.Sublayers}, meta, path); err != nil {
		return nil, err
	}
	rec := &Recording{TracePath: path, Tokens: tokens, Version: e.profile.Name, Device: builtinDevice, ComputeDType: m.Coarsest(e.profile)}
	if n := m.Context(); n > 0 && len(tokens) > n {
		rec.Warnings = append(rec.Warnings, fmt.Sprintf("%d tokens are more than the model's context of %d", len(tokens), n))
	}
	return rec, nil
}

const builtinDevice = "CPU"

// nextToken is the greedy continuation: the lowest id among those with the
// largest last logit. NaN is never the largest.
func nextToken(ctx context.Context, m *oracle.Model, tokens []int32, p oracle.Profile) (int32, error) {
	best := -1
	err := m.Run(ctx, tokens, oracle.Options{Profile: p}, func(name string, width int, values []float64) error {
		if name != "logits" {
			return nil
		}
		last := values[len(values)-width:]
		for id, v := range last {
			if !math.IsNaN(v) && (best < 0 || v > last[best]) {
				best = id
			}
		}
		return nil
	})
	if err == nil && best < 0 {
		err = fmt.Errorf("no token can follow token %d: its logits are NaN", len(tokens)-1)
	}
	return int32(best), err
}

// WriteForward runs m on tokens and writes every checkpoint to a safetensors
// trace at path: F64 where the profile computes in float64, else F32. Engine,
// its version (the profile's name), compute_dtype, device and tokens are added
// to meta. Errors are Model.Run's and those of writing; no file is then left.
func WriteForward(ctx context.Context, m *oracle.Model, tokens []int32, o oracle.Options, meta trace.Meta, path string) error {
	dtype := trace.F64
	if o.Profile.Single {
		dtype = trace.F32
	}
	meta.Engine, meta.EngineVersion, meta.Tokens = BuiltinName, o.Profile.Name, tokens
	meta.ComputeDType, meta.Device = m.Coarsest(o.Profile), builtinDevice
	var specs []trace.TensorSpec
	for _, c := range m.Checkpoints(o.Sublayers) {
		specs = append(specs, trace.TensorSpec{Name: c.Name, DType: dtype, Rows: len(tokens), Width: c.Width})
	}
	if len(tokens) == 0 {
		return fmt.Errorf("%s: no tokens to compute", m.Path())
	}
	w, err := trace.Create(path, meta, specs)
	if err != nil {
		return err
	}
	row := []byte{}
	err = m.Run(ctx, tokens, o, func(name string, width int, values []float64) error {
		for ; len(values) > 0; values = values[width:] {
			row = appendValues(row[:0], dtype, values[:width])
			if err := w.Append(name, row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.Abort()
		return err
	}
	return w.Close()
}

// appendValues adds values, little-endian.
func appendValues(b []byte, d trace.DType, values []float64) []byte {
	for _, v := range values {
		if d == trace.F64 {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		} else {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v)))
		}
	}
	return b
}

// CheckBuiltin says in one line which model the builtin engine or the oracle
// would compute, "" where the file is not there; the error says why it cannot.
func CheckBuiltin(path string) (string, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	m, err := oracle.Load(path)
	if err != nil {
		return "", err
	}
	defer m.Close() // only read
	return m.Describe(), nil
}
