package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// newLlamaCpp returns the adapter of llama.cpp: in mode probe a small program
// compiled against the user's headers and libraries evaluates the prompt; in
// mode preload an unmodified program of the user's does.
func newLlamaCpp(cfg spec.Engine, o Options) (Engine, error) {
	open, err := TraceOptions(cfg)
	if err != nil {
		return nil, fmt.Errorf("llamacpp: %w", err)
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = spec.DefaultTimeout
	}
	if cfg.MaxTrace <= 0 {
		cfg.MaxTrace = spec.DefaultMaxTrace
	}
	switch cfg.Mode {
	case "", "probe":
		return newProbe(cfg, o, open)
	case "preload":
		return newPreload(cfg, o, open)
	}
	return nil, fmt.Errorf("llamacpp: unknown mode %q: want probe or preload", cfg.Mode)
}

// llamaProbe runs llama.cpp through the embedded probe.
type llamaProbe struct {
	cfg  spec.Engine
	o    Options
	open trace.Options
	llamaLibs
	headers []string // include folders
	backend string   // path of the one backend library, or ""
}

func newProbe(cfg spec.Engine, o Options, open trace.Options) (Engine, error) {
	if cfg.Library == "" || cfg.Headers == "" {
		return nil, errors.New("llamacpp: mode probe needs library, the folder of libllama and libggml, and headers, the folder of llama.h and ggml.h of the same version")
	}
	if _, err := Environment(nil, cfg, nil); err != nil {
		return nil, fmt.Errorf("llamacpp: %w", err)
	}
	return &llamaProbe{cfg: cfg, o: o, open: open}, nil
}

// UsesGPU is true unless the spec says otherwise or keeps all layers on the CPU.
func (p *llamaProbe) UsesGPU() bool {
	if p.cfg.GPU != nil {
		return *p.cfg.GPU
	}
	return p.cfg.GPULayers == nil || *p.cfg.GPULayers != 0
}

func (p *llamaProbe) Describe() string {
	s := "llamacpp"
	if libs, err := findLlamaLibs(p.cfg.Library); err == nil && libs.release != "" {
		s += " " + libs.release
	}
	if p.cfg.GPULayers != nil {
		s += fmt.Sprintf(", %d GPU layers", *p.cfg.GPULayers)
	}
	return Sanitize(s)
}

// strict says whether the engine is the reference, whose defaults leave out
// what makes runs differ; the candidate's are the library's own.
func (p *llamaProbe) strict() bool { return p.o.Role == Reference }

func (p *llamaProbe) fail(in Input, kind FailureKind, format string, args ...any) *Error {
	return llamaError(in, kind, format, args...)
}

func llamaError(in Input, kind FailureKind, format string, args ...any) *Error {
	return &Error{Kind: kind, Engine: "llamacpp", Prompt: in.Name, Detail: fmt.Sprintf(format, args...)}
}

// Run evaluates the prompt and leaves the trace. A crash or a time-out is tried
// again up to retries times.
func (e *llamaProbe) Run(ctx context.Context, in Input) (*Recording, error) {
	run := *e // prompts may run side by side
	p := &run
	if p.cfg.Model != "" {
		in.Model = p.cfg.Model
	}
	switch {
	case in.Model == "":
		return nil, p.fail(in, NotStarted, "no model is named: set model: {path: …}")
	case len(in.Tokens) == 0 && in.Text == "":
		return nil, p.fail(in, NotStarted, "the prompt is empty: give it as text or as tokens")
	}
	if _, err := os.Stat(in.Model); err != nil {
		return nil, p.fail(in, NotStarted, "model %s: %v", in.Model, bare(err))
	}
	in.Model = absolute(in.Model)
	dir, err := filepath.Abs(in.Dir)
	if err != nil {
		return nil, p.fail(in, NotStarted, "%v", err)
	}
	in.Dir = dir
	program, err := p.build(ctx, in)
	if err != nil {
		return nil, err
	}
	sum, err := weightsSHA256(ctx, in.Model, p.o)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("llamacpp: stopped: %w", ctx.Err())
		}
		return nil, p.fail(in, NotStarted, "cannot read the model: %v", err)
	}
	return withRetries(p.cfg.Retries, func() (*Recording, error) { return p.attempt(ctx, in, program, sum) })
}

// withRetries calls attempt until it succeeds or failed for good: only crashes
// and time-outs are tried again, and a time-out not twice in a row.
func withRetries(retries int, attempt func() (*Recording, error)) (*Recording, error) {
	var warnings []string
	var last *Error
	for n := 1; ; n++ {
		rec, err := attempt()
		if err == nil {
			rec.Attempts = n
			rec.Warnings = append(warnings, rec.Warnings...)
			return rec, nil
		}
		var fault *Error
		if !errors.As(err, &fault) {
			return nil, err
		}
		again := fault.Kind == Crashed || fault.Kind == TimedOut && (last == nil || last.Kind != TimedOut)
		if n > retries || !again {
			if n > 1 {
				fault.Detail += fmt.Sprintf(" (attempt %d)", n)
			}
			return nil, fault
		}
		warnings = append(warnings, fmt.Sprintf("attempt %d %s: %s", n, fault.Kind, fault.Detail))
		last = fault
	}
}

// build finds the user's headers and libraries and compiles the probe against
// them, or finds it compiled.
func (p *llamaProbe) build(ctx context.Context, in Input) (string, error) {
	var err error
	if p.llamaLibs, err = findLlamaLibs(p.cfg.Library); err != nil {
		return "", p.fail(in, NotStarted, "library: %v", err)
	}
	if p.headers, err = findHeaders(p.cfg.Headers); err != nil {
		return "", p.fail(in, NotStarted, "headers: %v", err)
	}
	if p.backend, err = p.findBackend(); err != nil {
		return "", p.fail(in, NotStarted, "backend: %v", err)
	}
	program, err := buildProbe(ctx, p.cfg, p.o, p.llamaLibs, p.headers)
	if err == nil {
		return program, nil
	}
	if ctx.Err() != nil {
		return "", fmt.Errorf("llamacpp: stopped: %w", ctx.Err())
	}
	fault := p.fail(in, NotStarted, "%v", err)
	var b *buildError
	if errors.As(err, &b) {
		fault.Output = b.output
	}
	return "", fault
}

// findBackend is the path of the backend library that the spec names.
func (p *llamaProbe) findBackend() (string, error) {
	name := p.cfg.Backend
	if name == "" {
		return "", nil
	}
	if !strings.ContainsRune(name, filepath.Separator) {
		name = filepath.Join(p.dir, name)
	}
	if _, err := os.Stat(name); err != nil {
		have, _ := filepath.Glob(filepath.Join(p.dir, "libggml-*"))
		for i := range have {
			have[i] = filepath.Base(have[i])
		}
		return "", fmt.Errorf("%s: %w; the folder has %s", name, bare(err), strings.Join(have, ", "))
	}
	return filepath.Abs(name)
}

// threads is the fixed number for a reference, 0 for the library's default.
func (p *llamaProbe) threads() int {
	if p.cfg.Threads == 0 && p.strict() {
		return min(4, runtime.NumCPU())
	}
	return p.cfg.Threads
}
