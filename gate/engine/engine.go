// Package engine runs one engine on one prompt and leaves a trace on disk.
// One file an adapter.
package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/paritygate/paritygate/gate/spec"
)

// Role is what an engine is in a run.
type Role string

const (
	Reference Role = "reference"
	Candidate Role = "candidate"
	Witness   Role = "witness"
)

// Input is what an engine is given. Text is set for text prompts; Tokens when
// the ids are known (given in the spec, or already told by the reference).
type Input struct {
	// Name is the prompt's name in the spec.
	Name     string
	Text     string
	Tokens   []int32
	Generate int // greedy tokens to append; 0 once Tokens holds the continuation
	// Model is the path of the weights, "" where the engine needs none.
	Model string
	// Dir is an empty folder of this run alone; the trace is written below it.
	Dir string
}

// Recording is what a run left behind.
type Recording struct {
	// TracePath is the file or folder of the trace.
	TracePath string
	// Tokens are the ids the engine really ran, when it said so.
	Tokens []int32
	// Version, Device and ComputeDType say what ran, when known.
	Version, Device, ComputeDType string
	// Capture says whether capturing was shown to change nothing.
	Capture CaptureProof
	// Stdout and Stderr are the bounded ends of the engine's output.
	Stdout, Stderr string
	Elapsed        time.Duration
	// Attempts is 1 plus the retries after crashes.
	Attempts int
	// Warnings are things the user should know that are no failure.
	Warnings []string
}

// CaptureProof is the result of running once with and once without capture.
type CaptureProof string

const (
	CaptureUnchecked CaptureProof = ""
	// CaptureExact: the final logits are bit-equal with and without capture.
	CaptureExact CaptureProof = "exact"
	// CaptureDisturbs: they are not; what was captured is not what runs in production.
	CaptureDisturbs CaptureProof = "disturbs"
)

// Engine runs one engine.
type Engine interface {
	// Run runs the engine once on in. Errors are *Error where the engine is at
	// fault; the context's cancellation kills the engine's process group.
	Run(ctx context.Context, in Input) (*Recording, error)
	// UsesGPU says whether the engine must not run beside another that does.
	UsesGPU() bool
	// Describe is one line for people: "llamacpp b7698, 99 GPU layers".
	Describe() string
}

// FailureKind says how an engine failed to measure.
type FailureKind string

const (
	Crashed    FailureKind = "crashed"     // exited by signal or with a non-zero code
	TimedOut   FailureKind = "timed out"   // killed after its timeout
	NoTrace    FailureKind = "no trace"    // ended well, wrote none
	BadTrace   FailureKind = "bad trace"   // wrote one that is not valid
	NotStarted FailureKind = "not started" // missing program, compiler, library or header
	TooMuch    FailureKind = "too much"    // trace over its bound
)

// Error is an engine's failure: the run is incomplete, never a divergence.
type Error struct {
	Kind   FailureKind
	Engine string // adapter or command
	Prompt string
	Detail string // what happened, in words a user can act on
	Output string // the end of the engine's stderr
	Err    error
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %s", e.Engine, e.Kind)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Options are what an adapter needs to know of the run around it.
type Options struct {
	Role Role
	// CacheDir holds compiled probes; "" is the user's cache folder.
	CacheDir string
	// Getenv reads the caller's environment (never given to an engine whole).
	Getenv func(string) string
	// Environ is the caller's environment, of which an engine gets the scrubbed
	// part. Nil is os.Environ.
	Environ func() []string
	// Grace is the time between SIGTERM and SIGKILL; 0 means 2 s.
	Grace time.Duration
	// Progress is told what a long step does, "" when it is over. May be nil.
	Progress func(string)
}

// New returns the engine that cfg describes. An engine that uses the GPU waits
// in Run until no other one does, see LockGPU. Errors say which key of cfg is
// wrong; nothing is run yet.
func New(cfg spec.Engine, o Options) (Engine, error) {
	var e Engine
	var err error
	if _, err := Profile(cfg.Precision); err != nil {
		return nil, err
	}
	switch cfg.Adapter {
	case "exec":
		e, err = newExec(cfg, o)
	case "llamacpp":
		e, err = newLlamaCpp(cfg, o)
	case "builtin":
		e, err = newBuiltin(cfg, o)
	case "transformers":
		e, err = newTransformers(cfg, o)
	case "trace":
		e, err = newTrace(cfg, o)
	case "":
		return nil, fmt.Errorf("no adapter: want one of %s", strings.Join(spec.Adapters(), ", "))
	default:
		return nil, fmt.Errorf("unknown adapter %q: want one of %s", cfg.Adapter, strings.Join(spec.Adapters(), ", "))
	}
	if err != nil {
		return nil, err
	}
	if e.UsesGPU() {
		return &queued{Engine: e, options: o}, nil
	}
	return e, nil
}

// environ is the caller's environment.
func (o Options) environ() []string {
	if o.Environ != nil {
		return o.Environ()
	}
	return os.Environ()
}

// progress tells what a long step does; "" when it is over.
func (o Options) progress(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}

// cacheDir is the folder for what outlives a run, made if missing.
func (o Options) cacheDir() (string, error) {
	dir := o.CacheDir
	if dir == "" {
		base := ""
		if o.Getenv != nil {
			base = o.Getenv("XDG_CACHE_HOME")
		}
		if !filepath.IsAbs(base) {
			var err error
			if base, err = os.UserCacheDir(); err != nil {
				return "", fmt.Errorf("no cache folder: %w", err)
			}
		}
		dir = filepath.Join(base, "paritygate")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	return dir, nil
}
