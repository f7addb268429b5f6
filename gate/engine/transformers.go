package engine

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// captureScript runs one prompt through a Hugging Face model.
//
//go:embed transformers/capture.py
var captureScript []byte

// transformersEngine runs Hugging Face transformers on PyTorch in the user's
// Python.
type transformersEngine struct {
	cfg  spec.Engine
	o    Options
	open trace.Options
}

// The words that the keys dtype and attention take.
var (
	torchDTypes    = spec.DTypes()
	torchAttention = spec.Attentions()
	torchDevice    = regexp.MustCompile(spec.DevicePattern)
)

func newTransformers(cfg spec.Engine, o Options) (Engine, error) {
	open, err := TraceOptions(cfg)
	if err != nil {
		return nil, fmt.Errorf("transformers: %w", err)
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = spec.DefaultTimeout
	}
	if cfg.MaxTrace <= 0 {
		cfg.MaxTrace = spec.DefaultMaxTrace
	}
	defaults := []struct {
		to    *string
		value string
	}{{&cfg.Python, "python3"}, {&cfg.Device, "cpu"}, {&cfg.Attention, "eager"}}
	for _, d := range defaults {
		if *d.to == "" {
			*d.to = d.value
		}
	}
	switch {
	case cfg.DType != "" && !slices.Contains(torchDTypes, cfg.DType):
		return nil, fmt.Errorf("transformers: unknown dtype %q: want one of %s", cfg.DType, strings.Join(torchDTypes, ", "))
	case !slices.Contains(torchAttention, cfg.Attention):
		return nil, fmt.Errorf("transformers: unknown attention %q: want one of %s", cfg.Attention, strings.Join(torchAttention, ", "))
	case !torchDevice.MatchString(cfg.Device):
		return nil, fmt.Errorf("transformers: %q is no device: want cpu, cuda, cuda:0 or another of PyTorch's", cfg.Device)
	}
	if _, err := Environment(nil, cfg, transformersVariables(Input{})); err != nil {
		return nil, fmt.Errorf("transformers: %w", err)
	}
	return &transformersEngine{cfg: cfg, o: o, open: open}, nil
}

// UsesGPU is true unless the device is the CPU or the spec says otherwise.
func (e *transformersEngine) UsesGPU() bool {
	if e.cfg.GPU != nil {
		return *e.cfg.GPU
	}
	return e.cfg.Device != "cpu"
}

func (e *transformersEngine) Describe() string {
	s := "transformers on " + e.cfg.Device
	if e.cfg.DType != "" {
		s += ", " + e.cfg.DType
	}
	return Sanitize(s)
}

func (e *transformersEngine) fail(in Input, kind FailureKind, format string, args ...any) *Error {
	return &Error{Kind: kind, Engine: "transformers", Prompt: in.Name, Detail: fmt.Sprintf(format, args...)}
}

// Run evaluates the prompt and leaves the trace, a folder with one file a
// checkpoint. A crash or a time-out is tried again up to retries times.
func (e *transformersEngine) Run(ctx context.Context, in Input) (*Recording, error) {
	if e.cfg.Model != "" {
		in.Model = e.cfg.Model
	}
	switch {
	case in.Model == "":
		return nil, e.fail(in, NotStarted, "no model is named: set model, the folder of config.json and *.safetensors")
	case len(in.Tokens) == 0 && in.Text == "":
		return nil, e.fail(in, NotStarted, "the prompt is empty: give it as text or as tokens")
	}
	in.Model = absolute(in.Model)
	var err error
	if in.Dir, err = filepath.Abs(in.Dir); err != nil {
		return nil, e.fail(in, NotStarted, "%v", err)
	}
	files, err := huggingFaceWeights(in.Model)
	if err != nil {
		return nil, e.fail(in, NotStarted, "%v", err)
	}
	sum, err := filesSHA256(ctx, in.Model, files, e.o)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("transformers: stopped: %w", ctx.Err())
		}
		return nil, e.fail(in, NotStarted, "cannot read the model: %v", err)
	}
	return withRetries(e.cfg.Retries, func() (*Recording, error) { return e.attempt(ctx, in, sum) })
}

// captureJob is what the script is told; its names are the script's.
type captureJob struct {
	Model         string  `json:"model"`
	Tokens        []int32 `json:"tokens"`
	Text          string  `json:"text"`
	Generate      int     `json:"generate"`
	DType         string  `json:"dtype"`
	Device        string  `json:"device"`
	Attention     string  `json:"attention"`
	Threads       int     `json:"threads"`
	Strict        bool    `json:"strict"`
	Decode        bool    `json:"decode"`
	Sublayers     bool    `json:"sublayers"`
	Prove         bool    `json:"prove"`
	TrustCode     bool    `json:"trust_remote_code"`
	Trace         string  `json:"trace"`
	Result        string  `json:"result"`
	Prompt        string  `json:"prompt"`
	ModelName     string  `json:"model_name"`
	WeightsSHA256 string  `json:"weights_sha256"`
}

// captureResult is what the script says of its run: either Failure and Detail,
// or the rest.
type captureResult struct {
	Failure      FailureKind `json:"failure"`
	Detail       string      `json:"detail"`
	Version      string      `json:"version"`
	Device       string      `json:"device"`
	ComputeDType string      `json:"compute_dtype"`
	Capture      string      `json:"capture"`
	Tokens       []int32     `json:"tokens"`
	Warnings     []string    `json:"warnings"`
}

// job is the script's order for one prompt.
func (e *transformersEngine) job(in Input, sum string) captureJob {
	valid := func(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
	j := captureJob{Model: in.Model, Tokens: in.Tokens, Text: in.Text, Generate: in.Generate, DType: e.cfg.DType, Device: e.cfg.Device,
		Attention: e.cfg.Attention, Threads: e.cfg.Threads, Strict: e.o.Role == Reference, Decode: e.cfg.Decode, Sublayers: e.cfg.Sublayers,
		Prove: e.cfg.ProveCapture == nil || *e.cfg.ProveCapture, TrustCode: e.cfg.TrustRemoteCode,
		Trace: filepath.Join(in.Dir, "trace"), Result: filepath.Join(in.Dir, "result.json"),
		Prompt: valid(in.Name), ModelName: valid(filepath.Base(in.Model)), WeightsSHA256: sum}
	if j.Strict && j.Threads == 0 {
		j.Threads = min(4, runtime.NumCPU())
	}
	return j
}

// transformersVariables are those that env may hold; there is no command.
func transformersVariables(in Input) map[string]string {
	return map[string]string{"model": in.Model, "trace": filepath.Join(in.Dir, "trace")}
}

// offline are set last: what is measured is what lies on disk.
var offline = []string{"HF_HUB_OFFLINE=1", "TRANSFORMERS_OFFLINE=1", "HF_HUB_DISABLE_TELEMETRY=1", "HF_HUB_DISABLE_PROGRESS_BARS=1",
	"TOKENIZERS_PARALLELISM=false", "PYTHONIOENCODING=utf-8:backslashreplace"}

// environ is the script's environment.
func (e *transformersEngine) environ(in Input) ([]string, error) {
	env, err := Environment(e.o.environ(), e.cfg, transformersVariables(in))
	if err != nil {
		return nil, err
	}
	set := slices.Clone(offline)
	if e.o.Role == Reference {
		set = append(set, "CUBLAS_WORKSPACE_CONFIG=:4096:8") // without it, products on CUDA may differ from run to run
	}
	env = slices.DeleteFunc(env, func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.ContainsFunc(set, func(s string) bool { return strings.HasPrefix(s, name+"=") })
	})
	return append(env, set...), nil
}

// attempt runs the script once.
func (e *transformersEngine) attempt(ctx context.Context, in Input, sum string) (*Recording, error) {
	job := e.job(in, sum)
	args, env, err := e.prepare(in, job)
	if err != nil {
		return nil, e.fail(in, NotStarted, "%v", err)
	}
	e.o.progress("running transformers on %s", Sanitize(in.Name))
	r, err := Process{Args: args, Env: env, Timeout: e.cfg.Timeout, Grace: e.o.Grace, MaxOutput: e.cfg.MaxOutput,
		Watch: func() error {
			if n := sizeOf(job.Trace); n > e.cfg.MaxTrace {
				return errors.New(tooMuch(n, e.cfg.MaxTrace))
			}
			return nil
		}}.Run(ctx)
	e.o.progress("")
	if ctx.Err() != nil {
		return nil, fmt.Errorf("transformers: stopped: %w", ctx.Err())
	}
	if err != nil {
		return nil, e.fail(in, NotStarted, "python %s: %v; transformers needs a Python with torch and transformers: name it as python:", Sanitize(e.cfg.Python), err)
	}
	rec, fault := e.collect(in, job, r)
	if fault != nil {
		fault.Output = r.Stderr.Last(outputLines)
		return nil, fault
	}
	rec.Stdout, rec.Stderr, rec.Elapsed = Sanitize(r.Stdout.String()), Sanitize(r.Stderr.String()), r.Elapsed
	rec.Warnings = append(rec.Warnings, r.Warnings()...)
	return rec, nil
}

// prepare clears what an earlier attempt left and writes the script and its
// order, which may be longer than a command line.
func (e *transformersEngine) prepare(in Input, job captureJob) (args, env []string, err error) {
	if env, err = e.environ(in); err != nil {
		return nil, nil, err
	}
	for _, p := range []string{job.Trace, job.Result} {
		if err := os.RemoveAll(p); err != nil {
			return nil, nil, err
		}
	}
	order, err := json.Marshal(job)
	if err != nil {
		return nil, nil, err
	}
	script, orderPath := filepath.Join(in.Dir, "capture.py"), filepath.Join(in.Dir, "job.json")
	if err := os.WriteFile(script, captureScript, 0o644); err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(orderPath, order, 0o644); err != nil {
		return nil, nil, err
	}
	return []string{e.cfg.Python, script, orderPath}, env, nil
}

// collect judges how the script ended and what it left.
func (e *transformersEngine) collect(in Input, job captureJob, r *ProcessResult) (*Recording, *Error) {
	res, resErr := readCaptureResult(job.Result)
	switch {
	case r.Stuck:
		return nil, e.fail(in, TimedOut, "it did not die of SIGKILL: it hangs inside the kernel, in a driver as a rule")
	case r.Stopped != nil:
		return nil, e.fail(in, TooMuch, "%v", r.Stopped)
	case r.TimedOut:
		return nil, e.fail(in, TimedOut, "no end after %s, killed with its process group", e.cfg.Timeout)
	case r.ExitCode > 0 && resErr == nil && res.Failure != "":
		return nil, e.fail(in, res.Failure, "%s", Sanitize(res.Detail))
	case !r.OK():
		return nil, e.fail(in, Crashed, "Python was ended: %s%s", describeExit(r), lastException(r.Stderr.String()))
	case resErr != nil:
		return nil, e.fail(in, NoTrace, "the script ended well but left no result: %v", resErr)
	}
	if kind, problem := checkTrace(job.Trace, e.cfg.MaxTrace); problem != "" {
		return nil, e.fail(in, kind, "%s", problem)
	}
	t, err := trace.Open(job.Trace, e.open)
	if err != nil {
		fault := e.fail(in, BadTrace, "")
		fault.Err = err
		return nil, fault
	}
	if err := t.Close(); err != nil {
		return nil, e.fail(in, BadTrace, "%v", err)
	}
	return &Recording{TracePath: job.Trace, Tokens: res.Tokens, Version: res.Version, Device: res.Device,
		ComputeDType: res.ComputeDType, Capture: CaptureProof(res.Capture), Warnings: res.Warnings}, nil
}

func readCaptureResult(path string) (res captureResult, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return res, bare(err)
	}
	if err := json.Unmarshal(data, &res); err != nil {
		return res, err
	}
	kinds := []FailureKind{"", NotStarted, Crashed, BadTrace}
	if !slices.Contains(kinds, res.Failure) {
		return res, fmt.Errorf("unknown failure %q", res.Failure)
	}
	return res, nil
}

// pythonException is the last line of a traceback: torch.OutOfMemoryError: CUDA out of memory.
var pythonException = regexp.MustCompile(`^[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b`)

// lastException is the exception that ended Python, after ": ", or "".
func lastException(stderr string) string {
	lines := strings.Split(Sanitize(stderr), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if pythonException.MatchString(lines[i]) {
			return ": " + lines[i]
		}
	}
	return ""
}
