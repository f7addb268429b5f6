package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/gate"
)

// calibrateFlags are the flags of calibrate.
type calibrateFlags struct {
	engineName string
	against    choice
	runs       int
	margin     float64
	floor      float64
	noBugs     bool
	out        string
	force      bool
	format     choice
	prompts    []string
	jobs       jobs
}

func (a *app) calibrateCommand() *cobra.Command {
	f := calibrateFlags{against: choice{value: "self", of: []string{"self", "reference"}},
		format: choice{of: []string{"yaml", "json", "text"}}}
	cmd := &cobra.Command{
		Use:   "calibrate [SPEC]",
		Short: "Measure an engine's noise and write tolerance rules from it",
		Long: `Runs one engine of a spec (parity.yaml if none is given) several times on every
prompt, and in every way that must not change what it computes: batch widths,
thread counts, decoding instead of prefilling; flash attention and the KV
cache's type where the spec leaves them to the engine. What the runs differ by
is noise. The limits are the margin times the largest noise.

Then it plants bugs in paritygate's emulation of the engine, where the model is
a GGUF file. A limit that would let one pass that stands out from the noise is
tightened; a bug below the noise is named.

What it writes is a spec with the rules, and the evidence in comments. The rules
hold for the engine against itself: against an earlier version of it, or at
another batch width. --against reference makes rules for the spec's own run.

Exits 3 if an engine crashed, hung or wrote no valid trace.`,
		Example: `  paritygate calibrate --out tolerances.yaml
  paritygate calibrate parity.yaml --engine reference --runs 5 --margin 3
  paritygate calibrate --against reference --format text`,
		Args:              rangeArgs(0, "SPEC"),
		ValidArgsFunction: completeFiles("yaml", "yml"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.calibrate(cmd.Context(), specArg(args), &f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.engineName, "engine", "candidate", "`NAME` of the spec's engine: reference, candidate or a witness's")
	flags.Var(&f.against, "against", "what every run is compared with: self is the engine's own first run")
	completeChoice(cmd, "against", f.against.of)
	flags.IntVar(&f.runs, "runs", 3, "`N` times that the engine runs unchanged, 2 or more")
	flags.Float64Var(&f.margin, "margin", 2, "`TIMES` the noise that a limit allows, 1 or more")
	flags.Float64Var(&f.floor, "floor", 0, "the least `LIMIT`, for engines that are bit-identical today; its square for kl")
	flags.BoolVar(&f.noBugs, "no-bugs", false, "plant no bugs: ten forward passes less for each prompt")
	flags.StringVarP(&f.out, "out", "o", "", "write the rules to the YAML `FILE`, and the table to standard output")
	flags.BoolVar(&f.force, "force", false, "replace the file of --out if it exists")
	flags.VarP(&f.format, "format", "f", "what standard output gets (default yaml, with --out text)")
	completeChoice(cmd, "format", f.format.of)
	flags.StringArrayVar(&f.prompts, "prompt", nil, "run only the prompt `NAME`; may be given several times")
	if err := cmd.RegisterFlagCompletionFunc("prompt", completePrompts); err != nil {
		panic(err)
	}
	f.jobs.add(cmd)
	return cmd
}

func (a *app) calibrate(ctx context.Context, path string, f *calibrateFlags) error {
	if f.force && f.out == "" {
		return usagef("--force needs --out: there is no file to replace")
	}
	if err := replaceable(f.out, f.force); err != nil { // before minutes of work
		return err
	}
	c, err := a.measureNoise(ctx, path, f)
	var failed *gate.EngineFailure
	if errors.As(err, &failed) {
		return incomplete("%w%s", err, endOf(failed.Output))
	}
	if err != nil {
		return err
	}
	if f.out != "" {
		if err := writeAside(f.out, c.YAML(), f.force); err != nil {
			return err
		}
		fmt.Fprintf(a.Stderr, "wrote %s\n", f.out)
	}
	return a.printCalibration(c, f)
}

func (a *app) measureNoise(ctx context.Context, path string, f *calibrateFlags) (*gate.Calibration, error) {
	s, err := loadSpec(path)
	if err != nil {
		return nil, err
	}
	if err := selectPrompts(s, f.prompts); err != nil {
		return nil, err
	}
	cfg, role, err := findEngine(s, f.engineName)
	if err != nil {
		return nil, err
	}
	p := a.newProgress()
	p.start()
	defer p.end()
	return gate.Calibrate(ctx, s, gate.CalibrateOptions{
		RunOptions: gate.RunOptions{Options: gate.Options{Workers: int(f.jobs), Version: currentVersion()}, Getenv: a.Getenv, Status: p.Step, Role: role},
		Name:       f.engineName, Engine: cfg, Runs: f.runs, Margin: f.margin, Floor: f.floor,
		AgainstReference: f.against.value == "reference", NoBugs: f.noBugs,
	})
}

// printCalibration puts the format that was asked for on standard output. Who
// redirects the rules sees the table nonetheless.
func (a *app) printCalibration(c *gate.Calibration, f *calibrateFlags) error {
	format := f.format.value
	if format == "" && f.out != "" {
		format = "text"
	}
	switch format {
	case "json":
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(c); err != nil {
			return incomplete("%w", err)
		}
		return a.write(b.Bytes())
	case "text":
		return a.write(c.Text())
	}
	if err := a.write(c.YAML()); err != nil {
		return err
	}
	_, err := a.Stderr.Write(c.Text())
	return err
}

// replaceable refuses a path that cannot be written to.
func replaceable(path string, force bool) error {
	if path == "" || force {
		return nil
	}
	if _, err := os.Lstat(path); err == nil {
		return usagef("%s exists; --force replaces it", path)
	}
	return nil
}

// writeAside writes a file whole or not at all, and replaces one only with force.
func writeAside(path string, data []byte, force bool) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return incomplete("cannot write %s: %w", path, err)
	}
	defer os.Remove(f.Name()) // gone once it has its name
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Close()) // CreateTemp makes it private
	if err == nil && force {
		err = os.Rename(f.Name(), path)
	} else if err == nil {
		err = os.Link(f.Name(), path) // unlike Rename it replaces nothing
	}
	if err != nil {
		return incomplete("cannot write %s: %w", path, err)
	}
	return nil
}
