package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

const (
	// maxArgument is Linux's limit of one argument or variable, without its final zero byte.
	maxArgument = 128<<10 - 1
	// outputLines is how much of a failed engine's output its error shows.
	outputLines = 20
)

// execEngine runs a program of the user's that writes a trace.
type execEngine struct {
	cfg  spec.Engine
	o    Options
	open trace.Options
}

func newExec(cfg spec.Engine, o Options) (Engine, error) {
	if len(cfg.Command) == 0 || cfg.Command[0] == "" {
		return nil, errors.New("exec: command is empty: want a list, the program first")
	}
	open, err := TraceOptions(cfg)
	if err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	e := &execEngine{cfg: cfg, o: o, open: open}
	every := map[string]string{"model": "", "tokens": "", "trace": "", "prompt": "", "out": ""}
	for i, arg := range cfg.Command {
		if _, err := spec.Expand(arg, every); err != nil {
			return nil, fmt.Errorf("exec: command: argument %d: %w", i, err)
		}
	}
	if _, err := Environment(nil, cfg, every); err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	if !e.uses("trace") {
		return nil, errors.New("exec: neither command nor env uses {{trace}}: the engine would not know where to write")
	}
	if e.cfg.Timeout <= 0 {
		e.cfg.Timeout = spec.DefaultTimeout
	}
	if e.cfg.MaxTrace <= 0 {
		e.cfg.MaxTrace = spec.DefaultMaxTrace
	}
	return e, nil
}

// TraceOptions are the options with which an engine's trace is opened: its
// name rules, each anchored at both ends. The error names the rule that is no
// regular expression.
func TraceOptions(cfg spec.Engine) (trace.Options, error) {
	var o trace.Options
	for _, r := range cfg.Names {
		re, err := r.Compile()
		if err != nil {
			return trace.Options{}, fmt.Errorf("names: %q: %w", r.Pattern, err)
		}
		o.Names = append(o.Names, trace.NameRule{Pattern: re, Replacement: r.Replacement})
	}
	return o, nil
}

// UsesGPU is true unless the spec says otherwise: what a program does is not known.
func (e *execEngine) UsesGPU() bool { return e.cfg.GPU == nil || *e.cfg.GPU }

func (e *execEngine) Describe() string { return "exec " + e.name() }

func (e *execEngine) name() string { return Sanitize(e.cfg.Command[0]) }

// uses says whether the command or its environment holds the variable.
func (e *execEngine) uses(variable string) bool {
	find := regexp.MustCompile(`\{\{\s*` + variable + `\s*\}\}`).MatchString
	for _, arg := range e.cfg.Command {
		if find(arg) {
			return true
		}
	}
	for _, v := range e.cfg.Env {
		if find(v) {
			return true
		}
	}
	return false
}

func (e *execEngine) fail(in Input, kind FailureKind, format string, args ...any) *Error {
	return &Error{Kind: kind, Engine: e.name(), Prompt: in.Name, Detail: fmt.Sprintf(format, args...)}
}

// Run runs the command until it wrote a valid trace or failed for good. A crash
// is tried again up to Retries times; so is a time-out, but not a second one in
// a row: what hung twice hangs. What the engine computed is never tried again.
func (e *execEngine) Run(ctx context.Context, in Input) (*Recording, error) {
	j, err := e.prepare(in)
	if err != nil {
		return nil, err
	}
	var warnings []string
	var last *Error
	for attempt := 1; ; attempt++ {
		if err := j.clean(); err != nil {
			return nil, e.fail(in, NotStarted, "cannot prepare the run's folder: %v", err)
		}
		rec, err := e.attempt(ctx, j)
		if rec != nil {
			rec.Attempts = attempt
			rec.Warnings = append(warnings, rec.Warnings...)
			return rec, nil
		}
		fault, ok := err.(*Error)
		if !ok {
			return nil, err
		}
		again := attempt <= e.cfg.Retries &&
			(fault.Kind == Crashed || fault.Kind == TimedOut && (last == nil || last.Kind != TimedOut))
		if !again {
			if attempt > 1 {
				fault.Detail += fmt.Sprintf(" (attempt %d)", attempt)
			}
			return nil, fault
		}
		warnings = append(warnings, fmt.Sprintf("attempt %d %s: %s", attempt, fault.Kind, fault.Detail))
		last = fault
	}
}

// attempt runs the command once. Errors other than *Error are the caller's
// cancellation.
func (e *execEngine) attempt(ctx context.Context, j *execJob) (*Recording, error) {
	p := Process{Args: j.args, Dir: e.cfg.Dir, Env: j.env, Timeout: e.cfg.Timeout, Grace: e.o.Grace, MaxOutput: e.cfg.MaxOutput,
		Watch: func() error {
			if n := sizeOf(j.trace); n > e.cfg.MaxTrace {
				return errors.New(tooMuch(n, e.cfg.MaxTrace))
			}
			return nil
		}}
	e.o.progress("running %s on %s", e.name(), Sanitize(j.in.Name))
	r, err := p.Run(ctx)
	e.o.progress("")
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s: stopped: %w", e.name(), ctx.Err())
	}
	if err == errTooLong {
		return nil, e.fail(j.in, NotStarted, "%v: %s", err, adviceLong)
	}
	if err != nil {
		return nil, e.fail(j.in, NotStarted, "%v", err)
	}
	rec, fault := e.collect(j, r)
	if fault != nil {
		if fault.Output = r.Stderr.Last(outputLines); fault.Output == "" {
			fault.Output = r.Stdout.Last(outputLines)
		}
		return nil, fault
	}
	return rec, nil
}

// collect judges how the program ended and what it left.
func (e *execEngine) collect(j *execJob, r *ProcessResult) (*Recording, *Error) {
	if fault := e.ended(j.in, r); fault != nil {
		return nil, fault
	}
	if kind, problem := checkTrace(j.trace, e.cfg.MaxTrace); problem != "" {
		if kind == NoTrace {
			problem += found(j.in.Dir)
		}
		return nil, e.fail(j.in, kind, "%s", problem)
	}
	t, err := trace.Open(j.trace, e.open)
	if err != nil {
		fault := e.fail(j.in, BadTrace, "")
		fault.Err = err
		return nil, fault
	}
	defer t.Close()
	return &Recording{TracePath: j.trace, Tokens: t.Meta.Tokens, Version: t.Meta.EngineVersion, Device: t.Meta.Device,
		ComputeDType: t.Meta.ComputeDType, Stdout: Sanitize(r.Stdout.String()), Stderr: Sanitize(r.Stderr.String()),
		Elapsed: r.Elapsed, Warnings: r.Warnings()}, nil
}

// ended says what went wrong with the program itself, or nil.
func (e *execEngine) ended(in Input, r *ProcessResult) *Error {
	switch {
	case r.Stuck:
		return e.fail(in, TimedOut, "it did not die of SIGKILL: it hangs inside the kernel, in a driver as a rule")
	case r.Stopped != nil:
		return e.fail(in, TooMuch, "%v", r.Stopped)
	case r.TimedOut:
		return e.fail(in, TimedOut, "no end after %s, killed with its process group", e.cfg.Timeout)
	case !r.OK():
		return e.fail(in, Crashed, "%s", describeExit(r))
	}
	return nil
}

// describeExit is the exit code or signal, with its usual cause where there is one.
func describeExit(r *ProcessResult) string {
	switch {
	case r.Signal != 0 && signalName(r.Signal) == "SIGKILL":
		return "killed by SIGKILL from outside; the kernel does so when memory runs out"
	case r.Signal != 0:
		return "killed by " + signalName(r.Signal)
	case r.ExitCode == 127:
		return "exit code 127, a shell's word for a command that it did not find"
	}
	return fmt.Sprintf("exit code %d", r.ExitCode)
}

// absolute makes the path of an existing file independent of the working
// directory; anything else (a model's name in a hub) stays as it is.
func absolute(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	if _, err := os.Stat(path); err != nil {
		return path
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	return abs
}
