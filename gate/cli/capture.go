package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/spec"
)

// captureFlags are the flags of capture.
type captureFlags struct {
	out string

	// An engine and a prompt of a spec …
	spec, engineName, promptName string
	// … or of the command line.
	adapter  choice
	role     choice
	tokens   tokenList
	prompt   string
	generate int
	engine   engineFlags
}

func (a *app) captureCommand() *cobra.Command {
	f := captureFlags{
		adapter: choice{of: spec.Adapters()},
		role:    choice{value: string(engine.Candidate), of: []string{string(engine.Reference), string(engine.Candidate)}},
	}
	cmd := &cobra.Command{
		Use:   "capture --out TRACE (--adapter A … | --spec SPEC --engine NAME) [-- COMMAND…]",
		Short: "Run one engine alone and write its trace",
		Long: `Runs one engine on one prompt and writes its trace as safetensors, with canonical
checkpoint names. Nothing is compared.

The engine and the prompt come from the command line, or from a spec. An exec
engine's command stands behind --; {{model}} {{tokens}} {{trace}} {{prompt}}
{{out}} are replaced in it, and no shell reads it. With --adapter trace, a
recorded trace in any format is written again as safetensors. With --adapter
builtin, paritygate's own forward pass computes the model in float64, or as an
engine of the precision --precision rounds.

Exits 3 if the engine crashed, hung or wrote no valid trace.`,
		Example: `  paritygate capture --adapter llamacpp --model m.gguf --tokens 256,100 --out ref.safetensors
  paritygate capture --adapter exec --tokens 256,100 --out cand.safetensors -- ./worker --tokens '{{tokens}}' --trace '{{trace}}'
  paritygate capture --spec parity.yaml --engine candidate --prompt-name haiku --out cand.safetensors
  paritygate capture --adapter builtin --model m.gguf --tokens 256,100 --precision f64 --out exact.safetensors
  paritygate capture --adapter trace --path worker.jsonl --out worker.safetensors`,
		Args: func(cmd *cobra.Command, args []string) error {
			if at := cmd.ArgsLenAtDash(); len(args) > 0 && at != 0 {
				return usagef("unexpected argument %q: an exec engine's command stands behind --", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			f.engine.cfg.Command = args
			job, err := f.what(cmd, a.Getenv)
			if err != nil {
				return err
			}
			return a.capture(cmd.Context(), job, f.out)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.out, "out", "o", "", "the safetensors `FILE` to write")
	addSpecFlag(cmd, &f.spec, "take the engine and the prompt from this spec `FILE`")
	flags.StringVar(&f.engineName, "engine", "", "`NAME` of the spec's engine: reference, candidate or a witness's")
	flags.StringVar(&f.promptName, "prompt-name", "", "`NAME` of the spec's prompt (default its first)")
	flags.Var(&f.adapter, "adapter", "how to run the engine")
	completeChoice(cmd, "adapter", f.adapter.of)
	flags.Var(&f.role, "role", "whose defaults the engine takes; the reference's are strict")
	completeChoice(cmd, "role", f.role.of)
	flags.Var(&f.tokens, "tokens", "the prompt as token ids")
	flags.StringVar(&f.prompt, "prompt", "", "the prompt as `TEXT`, for engines that have a tokenizer")
	flags.IntVar(&f.generate, "generate", 0, "`N` greedy tokens to append to the prompt and capture, too")
	f.engine.add(cmd)
	return cmd
}

// captureJob is an engine to run, its role and its input.
type captureJob struct {
	engine spec.Engine
	role   engine.Role
	input  engine.Input
}

// what is the engine to run and its input.
func (f *captureFlags) what(cmd *cobra.Command, getenv func(string) string) (job captureJob, err error) {
	if f.out == "" {
		return job, usagef("missing --out: the trace to write")
	}
	if f.spec == "" {
		for _, name := range []string{"engine", "prompt-name"} {
			if cmd.Flags().Changed(name) {
				return job, usagef("--%s needs --spec", name)
			}
		}
		return f.fromFlags(cmd, getenv)
	}
	for _, name := range append(engineFlagNames(cmd), "adapter", "role", "tokens", "prompt", "generate") {
		if cmd.Flags().Changed(name) {
			return job, usagef("--%s and --spec exclude each other: the spec says it", name)
		}
	}
	if len(f.engine.cfg.Command) > 0 {
		return job, usagef("a command and --spec exclude each other: the spec says it")
	}
	return f.fromSpec()
}

func (f *captureFlags) fromSpec() (job captureJob, err error) {
	if f.engineName == "" {
		return job, usagef("missing --engine: reference, candidate or a witness's name")
	}
	s, err := loadSpec(f.spec)
	if err != nil {
		return job, err
	}
	if job.engine, job.role, err = findEngine(s, f.engineName); err != nil {
		return job, err
	}
	if len(s.Prompts) == 0 {
		return job, fmt.Errorf("%s has no prompts", s.Path)
	}
	p := s.Prompts[0]
	if f.promptName != "" {
		if p, err = findPrompt(s, f.promptName); err != nil {
			return job, err
		}
	}
	job.input = engine.Input{Name: p.Name, Text: p.Text, Tokens: p.Tokens, Generate: p.Generate,
		Model: firstOf(job.engine.Model, s.Model.Path)}
	return job, nil
}

func (f *captureFlags) fromFlags(cmd *cobra.Command, getenv func(string) string) (job captureJob, err error) {
	if job.engine, err = f.engine.config(cmd, f.adapter.value); err != nil {
		return job, err
	}
	job.role = engine.Role(f.role.value)
	job.input = engine.Input{Name: "prompt", Text: f.prompt, Tokens: f.tokens, Generate: f.generate, Model: job.engine.Model}
	switch {
	case f.adapter.value == "":
		return job, usagef("missing --adapter (%s) or --spec", orList(f.adapter.of))
	case f.generate < 0:
		return job, usagef("--generate %d: want 0 or more", f.generate)
	case len(f.tokens) > 0 && f.prompt != "":
		return job, usagef("--tokens and --prompt exclude each other")
	case len(f.tokens) == 0 && f.prompt == "" && f.adapter.value != "trace":
		return job, usagef("missing --tokens or --prompt")
	}
	if c := &job.engine; c.Adapter == "llamacpp" && c.Mode != "preload" && c.Library == "" && c.Headers == "" {
		if c.Library, c.Headers, err = engine.FindLlamaCpp(getenv); err != nil {
			return job, err
		}
	}
	return job, nil
}

func (a *app) capture(ctx context.Context, job captureJob, out string) error {
	p := a.newProgress()
	p.start()
	began := time.Now()
	rec, err := gate.Capture(ctx, job.engine, job.input, out, gate.RunOptions{
		Options: gate.Options{Version: currentVersion(), Progress: p.Bytes},
		Getenv:  a.Getenv, Status: p.Step, Role: job.role,
	})
	p.end()
	var failed *engine.Error
	if errors.As(err, &failed) {
		return incomplete("%w%s", err, outputOf(failed))
	}
	if err != nil {
		return err
	}
	for _, w := range rec.Warnings {
		fmt.Fprintln(a.Stderr, "paritygate: warning:", w)
	}
	if rec.Capture == engine.CaptureDisturbs {
		fmt.Fprintln(a.Stderr, "paritygate: warning: capturing changed the final logits; this is not what runs without it")
	}
	st, err := os.Stat(out)
	if err != nil {
		return incomplete("%w", err)
	}
	return a.write(fmt.Appendf(nil, "wrote %s: %s, %d tokens, %s\n", out, siBytes(st.Size()),
		len(rec.Tokens), time.Since(began).Round(time.Millisecond)))
}

// outputOf is the end of the engine's stderr, set off.
func outputOf(e *engine.Error) string { return endOf(e.Output) }

// endOf is the end of an engine's output, set off.
func endOf(output string) string {
	if output == "" {
		return ""
	}
	lines := strings.Split(strings.TrimRight(output, "\n"), "\n")
	const shown = 20
	if len(lines) > shown {
		lines = lines[len(lines)-shown:]
	}
	return "\nthe end of its output:\n  " + engine.Sanitize(strings.Join(lines, "\n  "))
}

// findEngine is the engine of that role, or the witness of that name.
func findEngine(s *spec.Spec, name string) (spec.Engine, engine.Role, error) {
	e, role := s.Engines.Witnesses[name], engine.Witness
	switch name {
	case "reference":
		e, role = s.Engines.Reference, engine.Reference
	case "candidate":
		e, role = s.Engines.Candidate, engine.Candidate
	}
	if e.Adapter != "" {
		return e, role, nil
	}
	var names []string
	if s.Engines.Reference.Adapter != "" {
		names = append(names, "reference")
	}
	if s.Engines.Candidate.Adapter != "" {
		names = append(names, "candidate")
	}
	names = append(names, slices.Sorted(maps.Keys(s.Engines.Witnesses))...)
	if len(names) == 0 {
		return e, role, fmt.Errorf("%s has no engines", s.Path)
	}
	return e, role, fmt.Errorf("%s has no engine %q: it has %s", s.Path, name, orList(names))
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
