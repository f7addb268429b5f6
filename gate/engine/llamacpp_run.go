package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/paritygate/paritygate/gate/trace"
)

// probeResult is what the probe says of its run, in a file of its own so that
// no library's chatter mixes with it.
type probeResult struct {
	Version      string   `json:"version"`
	Device       string   `json:"device"`
	ComputeDType string   `json:"compute_dtype"`
	Capture      string   `json:"capture"`
	PromptTokens int      `json:"prompt_tokens"`
	Tokens       []int32  `json:"tokens"`
	Warnings     []string `json:"warnings"`
}

// probeFaults maps the probe's exit codes, see probe/common.hpp.
var probeFaults = map[int]FailureKind{
	20: NotStarted, // command line
	21: NotStarted, // headers of another version
	22: NotStarted, // backend library
	23: NotStarted, // model
	24: NotStarted, // prompt
	25: Crashed,    // the library failed
	26: BadTrace,   // captured other rows than were sent
	27: TooMuch,    // over max_trace
	28: NotStarted, // the trace cannot be written
}

// attempt runs the probe once.
func (p *llamaProbe) attempt(ctx context.Context, in Input, program, sum string) (*Recording, error) {
	tracePath, resultPath := filepath.Join(in.Dir, "trace.safetensors"), filepath.Join(in.Dir, "result.json")
	args, err := p.args(in, sum, tracePath, resultPath)
	if err != nil {
		return nil, p.fail(in, NotStarted, "%v", err)
	}
	env, err := Environment(p.o.environ(), p.cfg, map[string]string{"model": in.Model, "trace": tracePath})
	if err != nil {
		return nil, p.fail(in, NotStarted, "%v", err)
	}
	for _, f := range []string{tracePath, resultPath} {
		if err := os.RemoveAll(f); err != nil {
			return nil, p.fail(in, NotStarted, "%v", err)
		}
	}
	p.o.progress("running llama.cpp on %s", Sanitize(in.Name))
	r, err := Process{Args: append([]string{program}, args...), Env: env, Timeout: p.cfg.Timeout, Grace: p.o.Grace, MaxOutput: p.cfg.MaxOutput}.Run(ctx)
	p.o.progress("")
	if ctx.Err() != nil {
		return nil, fmt.Errorf("llamacpp: stopped: %w", ctx.Err())
	}
	if err != nil {
		return nil, p.fail(in, NotStarted, "%v", err)
	}
	if fault := p.ended(in, r); fault != nil {
		fault.Output = r.Stderr.Last(outputLines)
		return nil, fault
	}
	rec, fault := p.collect(in, tracePath, resultPath)
	if fault != nil {
		fault.Output = r.Stderr.Last(outputLines)
		return nil, fault
	}
	rec.Stdout, rec.Stderr, rec.Elapsed = Sanitize(r.Stdout.String()), Sanitize(r.Stderr.String()), r.Elapsed
	rec.Warnings = append(rec.Warnings, r.Warnings()...)
	return rec, nil
}

// args are the probe's arguments; the prompt goes through a file, since it may
// be longer than a command line.
func (p *llamaProbe) args(in Input, sum, tracePath, resultPath string) ([]string, error) {
	prompt, flag, text := filepath.Join(in.Dir, "prompt.txt"), "--text-file", in.Text
	if len(in.Tokens) > 0 {
		prompt, flag, text = filepath.Join(in.Dir, "tokens.txt"), "--tokens-file", joinTokens(in.Tokens)
	}
	if err := os.WriteFile(prompt, []byte(text), 0o644); err != nil {
		return nil, err
	}
	args := []string{"--model", in.Model, "--library-dir", p.dir, flag, prompt, "--out", tracePath, "--result", resultPath,
		"--prompt", strings.ToValidUTF8(in.Name, "\uFFFD"), "--model-name", strings.ToValidUTF8(filepath.Base(in.Model), "\uFFFD"),
		"--weights-sha256", sum, "--version", p.release, "--max-bytes", strconv.FormatInt(p.cfg.MaxTrace, 10)}
	number := func(flag string, n int) {
		if n != 0 {
			args = append(args, flag, strconv.Itoa(n))
		}
	}
	number("--generate", in.Generate)
	number("--threads", p.threads())
	number("--batch", p.cfg.Batch)
	number("--ubatch", p.cfg.UBatch)
	if p.cfg.GPULayers != nil {
		args = append(args, "--gpu-layers", strconv.Itoa(*p.cfg.GPULayers))
	}
	options := []struct{ flag, value string }{{"--backend", p.backend}, {"--flash-attention", p.cfg.FlashAttention}, {"--kv-type", p.cfg.KVType}}
	for _, t := range options {
		if t.value != "" {
			args = append(args, t.flag, t.value)
		}
	}
	switches := []struct {
		flag string
		on   bool
	}{{"--strict", p.strict()}, {"--decode", p.cfg.Decode}, {"--sublayers", p.cfg.Sublayers}, {"--no-repack", p.cfg.NoRepack},
		{"--no-proof", p.cfg.ProveCapture != nil && !*p.cfg.ProveCapture}}
	for _, s := range switches {
		if s.on {
			args = append(args, s.flag)
		}
	}
	return args, nil
}

// ended says how the probe failed, or nil.
func (p *llamaProbe) ended(in Input, r *ProcessResult) *Error {
	said := probeMessage(r.Stderr.String())
	switch kind, known := probeFaults[r.ExitCode]; {
	case r.Stuck:
		return p.fail(in, TimedOut, "it did not die of SIGKILL: it hangs inside the kernel, in a driver as a rule")
	case r.TimedOut:
		return p.fail(in, TimedOut, "no end after %s", p.cfg.Timeout)
	case r.OK():
		return nil
	case r.Signal == 0 && known && said != "":
		return p.fail(in, kind, "%s", said)
	default:
		return p.fail(in, Crashed, "llama.cpp was ended: %s", describeExit(r))
	}
}

// probeMessage is the sentence with which the probe gave up.
func probeMessage(stderr string) string {
	lines := strings.Split(Sanitize(stderr), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if s, ok := strings.CutPrefix(lines[i], "probe: "); ok {
			return s
		}
	}
	return ""
}

// collect reads what the probe left and checks that the trace can be opened.
func (p *llamaProbe) collect(in Input, tracePath, resultPath string) (*Recording, *Error) {
	data, err := os.ReadFile(resultPath)
	if err != nil {
		return nil, p.fail(in, NoTrace, "the probe ended well but left no result: %v", bare(err))
	}
	var res probeResult
	if err := json.Unmarshal(data, &res); err != nil {
		return nil, p.fail(in, BadTrace, "the probe's result: %v", err)
	}
	t, err := trace.Open(tracePath, p.open)
	if err != nil {
		fault := p.fail(in, BadTrace, "")
		fault.Err = err
		return nil, fault
	}
	if err := t.Close(); err != nil {
		return nil, p.fail(in, BadTrace, "%v", err)
	}
	return &Recording{TracePath: tracePath, Tokens: res.Tokens, Version: res.Version, Device: res.Device,
		ComputeDType: res.ComputeDType, Capture: CaptureProof(res.Capture), Warnings: res.Warnings}, nil
}
