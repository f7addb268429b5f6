package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// traceEngine hands out traces that were recorded before. It runs nothing and
// copies nothing.
type traceEngine struct {
	path string
	open trace.Options
}

func newTrace(cfg spec.Engine, _ Options) (Engine, error) {
	if cfg.Path == "" {
		return nil, errors.New("trace: path is empty: want a recorded file or folder, with {{prompt}} where there is one per prompt")
	}
	if _, err := spec.Expand(cfg.Path, map[string]string{"prompt": "p"}); err != nil {
		return nil, fmt.Errorf("trace: path: %w: the only variable here is {{prompt}}, the prompt's name", err)
	}
	open, err := TraceOptions(cfg)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	return &traceEngine{path: cfg.Path, open: open}, nil
}

// UsesGPU is false: nothing runs.
func (e *traceEngine) UsesGPU() bool { return false }

func (e *traceEngine) Describe() string { return "trace " + Sanitize(e.path) }

// Run finds the recording of the prompt and makes sure that it is a trace.
func (e *traceEngine) Run(ctx context.Context, in Input) (*Recording, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	start := time.Now()
	fail := func(kind FailureKind, detail string, err error) error {
		return &Error{Kind: kind, Engine: "trace", Prompt: in.Name, Detail: detail, Err: err}
	}
	path, err := spec.Expand(e.path, map[string]string{"prompt": in.Name})
	if err != nil {
		return nil, fail(NotStarted, "", err)
	}
	if path != e.path && (in.Name == "" || in.Name == "." || in.Name == ".." || strings.ContainsAny(in.Name, `/\`+"\x00")) {
		return nil, fail(NotStarted, fmt.Sprintf("the prompt's name %q cannot stand for {{prompt}} in %s: it is no file name", in.Name, e.path), nil)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fail(NotStarted, fmt.Sprintf("no recording at %s", path), nil)
	} else if err != nil {
		return nil, fail(NotStarted, "", err)
	}
	t, err := trace.Open(path, e.open)
	if err != nil {
		return nil, fail(BadTrace, "", err)
	}
	defer t.Close()
	return &Recording{TracePath: path, Tokens: t.Meta.Tokens, Version: t.Meta.EngineVersion, Device: t.Meta.Device,
		ComputeDType: t.Meta.ComputeDType, Elapsed: time.Since(start), Attempts: 1}, nil
}
