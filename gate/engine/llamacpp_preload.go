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

// llamaPreload captures from a program of the user's that was not built for it:
// the shim is preloaded and stands between libllama and libggml.
type llamaPreload struct {
	program *execEngine // expands the command and its environment
	cfg     spec.Engine
	o       Options
	open    trace.Options
}

func newPreload(cfg spec.Engine, o Options, open trace.Options) (Engine, error) {
	if len(cfg.Command) == 0 || cfg.Command[0] == "" {
		return nil, errors.New("llamacpp: mode preload needs command, the program that runs llama.cpp: a list, the program first")
	}
	every := map[string]string{"model": "", "tokens": "", "trace": "", "prompt": "", "out": ""}
	for i, arg := range cfg.Command {
		if _, err := spec.Expand(arg, every); err != nil {
			return nil, fmt.Errorf("llamacpp: command: argument %d: %w", i, err)
		}
	}
	if _, err := Environment(nil, cfg, every); err != nil {
		return nil, fmt.Errorf("llamacpp: %w", err)
	}
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("llamacpp: mode preload works on Linux only, not on %s: use mode probe", runtime.GOOS)
	}
	return &llamaPreload{program: &execEngine{cfg: cfg, o: o, open: open}, cfg: cfg, o: o, open: open}, nil
}

// UsesGPU is true unless the spec says otherwise: what a program does is not known.
func (p *llamaPreload) UsesGPU() bool { return p.program.UsesGPU() }

func (p *llamaPreload) Describe() string { return "llamacpp preloaded into " + p.program.name() }

func (p *llamaPreload) fail(in Input, kind FailureKind, format string, args ...any) *Error {
	return p.program.fail(in, kind, format, args...)
}

// Run runs the program with the shim and turns what it captured into a trace. A
// crash or a time-out is tried again up to retries times.
func (p *llamaPreload) Run(ctx context.Context, in Input) (*Recording, error) {
	if in.Generate > 0 {
		return nil, p.fail(in, NotStarted, "generate: %d wants an engine that continues a prompt, which preloading cannot ask for; "+
			"let a llamacpp reference in mode probe generate, or give the continuation as tokens", in.Generate)
	}
	j, err := p.program.prepare(in)
	if err != nil {
		return nil, err
	}
	shim, err := buildShim(ctx, p.cfg, p.o)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("llamacpp: stopped: %w", ctx.Err())
		}
		fault := p.fail(in, NotStarted, "%v", err)
		var b *buildError
		if errors.As(err, &b) {
			fault.Output = b.output
		}
		return nil, fault
	}
	sum := ""
	if fi, err := os.Stat(j.in.Model); err == nil && fi.Mode().IsRegular() {
		if sum, err = weightsSHA256(ctx, j.in.Model, p.o); err != nil {
			return nil, p.fail(in, NotStarted, "cannot read the model: %v", err)
		}
	}
	return withRetries(p.cfg.Retries, func() (*Recording, error) { return p.attempt(ctx, j, shim, sum) })
}

// environment is the program's, with the shim before what it preloads itself.
func (p *llamaPreload) environment(j *execJob, shim, raw string) []string {
	env := append([]string{}, j.env...)
	preload := shim
	if own, ok := envLookup(env, "LD_PRELOAD"); ok && own != "" {
		preload += ":" + own
	}
	sub := "0"
	if p.cfg.Sublayers {
		sub = "1"
	}
	return append(env, "LD_PRELOAD="+preload, "PARITYGATE_SHIM_DIR="+raw, "PARITYGATE_SHIM_SUBLAYERS="+sub)
}

func (p *llamaPreload) attempt(ctx context.Context, j *execJob, shim, sum string) (*Recording, error) {
	raw := filepath.Join(j.in.Dir, "raw")
	if err := j.clean(); err != nil {
		return nil, p.fail(j.in, NotStarted, "cannot prepare the run's folder: %v", err)
	}
	if err := errors.Join(os.RemoveAll(raw), os.Mkdir(raw, 0o755)); err != nil {
		return nil, p.fail(j.in, NotStarted, "cannot prepare the run's folder: %v", err)
	}
	defer os.RemoveAll(raw) // as large as the trace
	run := Process{Args: j.args, Dir: p.cfg.Dir, Env: p.environment(j, shim, raw), Timeout: p.cfg.Timeout, Grace: p.o.Grace, MaxOutput: p.cfg.MaxOutput,
		Watch: func() error {
			if n := sizeOf(raw); n > p.cfg.MaxTrace {
				return fmt.Errorf("what it computed grew over max_trace, %d bytes; killed at %d", p.cfg.MaxTrace, n)
			}
			return nil
		}}
	p.o.progress("running %s on %s", p.program.name(), Sanitize(j.in.Name))
	r, err := run.Run(ctx)
	p.o.progress("")
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s: stopped: %w", p.program.name(), ctx.Err())
	}
	if err != nil {
		return nil, p.fail(j.in, NotStarted, "%v", err)
	}
	rec, fault := p.collect(j, r, raw, sum)
	if fault != nil {
		if fault.Output = r.Stderr.Last(outputLines); fault.Output == "" {
			fault.Output = r.Stdout.Last(outputLines)
		}
		return nil, fault
	}
	return rec, nil
}

// collect turns the raw files into a trace.
func (p *llamaPreload) collect(j *execJob, r *ProcessResult, raw, sum string) (*Recording, *Error) {
	if fault := p.program.ended(j.in, r); fault != nil {
		return nil, fault
	}
	runs, fault := p.readAll(j.in, raw)
	if fault != nil {
		return nil, fault
	}
	best, evals, tokens := choose(runs, j.in.Tokens)
	if best == nil {
		return nil, p.notFound(j.in, runs)
	}
	list, err := checkpoints(evals, len(tokens))
	if err != nil {
		return nil, p.fail(j.in, BadTrace, "%v", err)
	}
	if len(list) == 0 {
		return nil, p.fail(j.in, NoTrace, "the program evaluated the prompt, but its graph has no node with a name that is known (l_out-N, result_output …)")
	}
	meta := trace.Meta{Engine: "llama.cpp", EngineVersion: best.version(), Model: strings.ToValidUTF8(filepath.Base(j.in.Model), "\uFFFD"),
		WeightsSHA256: sum, Prompt: strings.ToValidUTF8(j.in.Name, "\uFFFD"), Tokens: tokens, Extra: map[string]string{"mode": "preload"}}
	if err := writeRaw(best, list, meta, j.trace); err != nil {
		return nil, p.fail(j.in, BadTrace, "cannot write the trace: %v", err)
	}
	t, err := trace.Open(j.trace, p.open)
	if err != nil {
		fault := p.fail(j.in, BadTrace, "")
		fault.Err = err
		return nil, fault
	}
	defer t.Close()
	return &Recording{TracePath: j.trace, Tokens: tokens, Version: meta.EngineVersion, Stdout: Sanitize(r.Stdout.String()), Stderr: Sanitize(r.Stderr.String()),
		Elapsed: r.Elapsed, Warnings: append(warnings(best, evals), r.Warnings()...)}, nil
}

// readAll reads what each process of the program captured, or says why nothing was.
func (p *llamaPreload) readAll(in Input, raw string) ([]*rawRun, *Error) {
	files, _ := filepath.Glob(filepath.Join(raw, "*.raw"))
	var runs []*rawRun
	for _, f := range files {
		run, err := readRaw(f)
		if err != nil {
			return nil, p.fail(in, BadTrace, "what the shim wrote: %v", err)
		}
		runs = append(runs, run)
	}
	if len(runs) > 0 {
		return runs, nil
	}
	if _, err := os.Stat(filepath.Join(raw, "loaded")); err != nil {
		return nil, p.fail(in, NoTrace, "the shim was not loaded: the program is statically linked or setuid, or starts another one without LD_PRELOAD; use mode probe or exec")
	}
	return nil, p.fail(in, NoTrace, "the shim was loaded, but no call of libggml went through it: libggml is linked statically into the program or into a plugin of it "+
		"(a monolithic build), or was loaded with RTLD_DEEPBIND, or the program never loaded a model; use a build with shared libraries (BUILD_SHARED_LIBS=ON), mode probe or exec")
}

// choose finds the process and the ubatches that evaluated the tokens.
func choose(runs []*rawRun, want []int32) (best *rawRun, evals []*rawEval, tokens []int32) {
	for _, run := range runs {
		if e, t := run.find(want); len(e) > 0 && len(t) >= len(tokens) {
			best, evals, tokens = run, e, t
		}
	}
	return best, evals, tokens
}

// notFound says what the program evaluated instead of the tokens.
func (p *llamaPreload) notFound(in Input, runs []*rawRun) *Error {
	var evaluated, problems []string
	for _, run := range runs {
		if s := run.describe(); s != "" {
			evaluated = append(evaluated, s)
		}
		problems = append(problems, run.problems...)
	}
	switch {
	case len(problems) > 0:
		return p.fail(in, BadTrace, "%s", Sanitize(problems[0]))
	case len(evaluated) == 0:
		return p.fail(in, NoTrace, "the program uses libggml, but it gathered no token embedding: it evaluated no prompt")
	}
	return p.fail(in, BadTrace, "the program did not evaluate the prompt's tokens from position 0 on; it evaluated %s", strings.Join(evaluated, "; "))
}

// warnings are what is not quite known of a capture.
func warnings(run *rawRun, evals []*rawEval) []string {
	var w []string
	if len(evals[0].positions) == 0 && run.evals[0] != evals[0] {
		w = append(w, "this version of llama.cpp does not tell positions, and the prompt was not the first thing that was evaluated: its first token is taken to be at position 0")
	}
	for i, problem := range run.problems {
		if i == 3 {
			w = append(w, fmt.Sprintf("and %d more", len(run.problems)-i))
			break
		}
		w = append(w, "not captured: "+Sanitize(problem))
	}
	return w
}

// version is the release in libllama's name and ggml's version.
func (run *rawRun) version() string {
	v := ""
	if run.library != "" {
		v = releaseOf(run.library)
	}
	switch {
	case run.ggml == "":
		return v
	case v == "":
		return "ggml " + run.ggml
	}
	return v + " (ggml " + run.ggml + ")"
}
