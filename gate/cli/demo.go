package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/oracle/demo"
	"github.com/paritygate/paritygate/gate/trace"
)

// demoFlags are the flags of demo.
type demoFlags struct {
	out  output
	bug  choice
	list bool
}

// The files of a demonstration, beside the reports.
const (
	demoSpec  = "demo.yaml"
	demoTrace = "candidate.safetensors"
)

func (a *app) demoCommand() *cobra.Command {
	f := demoFlags{out: output{dir: "paritygate-demo"}}
	for _, b := range oracle.Bugs() {
		f.bug.of = append(f.bug.of, b.Name)
	}
	cmd := &cobra.Command{
		Use:   "demo [--bug NAME]",
		Short: "Compare two engines that are built in, with a bug in one of them if you like",
		Long: `Runs a small trained model that is part of this program, twice: in float64, as the
reference, and with the rounding of llama.cpp in f16, as the candidate. Then it
compares, judges and explains. Nothing else needs to be installed.

With --bug the candidate has a mistake, as a real engine might have it; --list
says which there are. The folder of --out gets the reports, and a spec with
which paritygate run does the same again.

Exits as run does: 0 for the sound candidate, 1 for one with a bug.`,
		Example: `  paritygate demo
  paritygate demo --bug rope
  paritygate demo --bug swap --format markdown
  paritygate demo --list`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unexpected argument %q: a bug is named with --bug", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.list {
				return a.write(bugList())
			}
			return a.demo(cmd.Context(), &f)
		},
	}
	f.out.add(cmd, true)
	out := cmd.Flags().Lookup("out")
	out.DefValue = "paritygate-demo"
	out.Usage = "write results.json, comment.md, report.txt, junit.xml and the demonstration's files into the folder `DIR`"
	f.out.dir = out.DefValue
	cmd.Flags().Var(&f.bug, "bug", "plant this bug in the candidate")
	completeChoice(cmd, "bug", f.bug.of)
	cmd.Flags().BoolVar(&f.list, "list", false, "list the bugs and stop")
	return cmd
}

// bugList is a line for each bug.
func bugList() []byte {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, bug := range oracle.Bugs() {
		fmt.Fprintf(w, "%s\t%s\n", bug.Name, bug.Doc)
	}
	w.Flush() // a bytes.Buffer takes everything
	return b.Bytes()
}

func (a *app) demo(ctx context.Context, f *demoFlags) error {
	dir := f.out.dir
	if dir == "" {
		return usagef("--out is empty: name a folder")
	}
	if err := makeDemo(ctx, dir, f.bug.value); err != nil {
		return demoError(ctx, err)
	}
	r, err := a.runDemo(ctx, filepath.Join(dir, demoSpec))
	if err != nil {
		return demoError(ctx, err)
	}
	if f.out.format.value == "text" {
		if err := a.write([]byte(demoIntro(f.bug.value))); err != nil {
			return err
		}
	}
	if err := a.emit(r, &f.out); err != nil {
		return err
	}
	fmt.Fprintf(a.Stderr, "wrote %s: results.json, comment.md, report.txt, junit.xml, and %s to run again\n", dir, demoSpec)
	return nil
}

// demoError is err as something that went wrong here, not in the command line.
func demoError(ctx context.Context, err error) error {
	var marked *codeError
	if ctx.Err() != nil || errors.As(err, &marked) {
		return err
	}
	return incomplete("%w", err)
}

// demoIntro says what the report below is about.
func demoIntro(bug string) string {
	s := "The reference is a small trained llama, computed in float64. The candidate computes it as llama.cpp does\n" +
		"in f16 with flash attention, "
	i := slices.IndexFunc(oracle.Bugs(), func(b oracle.Bug) bool { return b.Name == bug })
	if i < 0 {
		return s + "and nothing is wrong with it. To plant a bug: --bug NAME, of those that --list names.\n\n"
	}
	return s + "with a bug planted: " + oracle.Bugs()[i].Doc + ".\n\n"
}

// makeDemo writes the model, the candidate's trace and the spec into dir.
func makeDemo(ctx context.Context, dir, bug string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(dir, demo.Name)
	if err := os.WriteFile(path, demo.Model(), 0o644); err != nil {
		return err
	}
	m, err := oracle.Load(path)
	if err != nil {
		return err
	}
	defer m.Close() // only read
	if bug != "" {
		if err := oracle.Plant(m, bug); err != nil {
			return err
		}
	}
	profile, err := oracle.ProfileByName(demo.Profile)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(demo.Model())
	meta := trace.Meta{Model: demo.Name, WeightsSHA256: hex.EncodeToString(sum[:]), Prompt: "python"}
	if err := engine.WriteForward(ctx, m, demo.Tokens(), oracle.Options{Profile: profile}, meta, filepath.Join(dir, demoTrace)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, demoSpec), demoSpecText(), 0o644)
}

// demoSpecText is the spec that judges the demonstration.
func demoSpecText() []byte {
	tokens, _ := json.Marshal(demo.Tokens()) // integers always marshal
	return fmt.Appendf(nil, `# The demonstration of paritygate. The candidate's trace stands for what your engine records.
version: 1
model: {path: %s}
prompts:
  - {name: python, tokens: %s}
engines:
  reference: {adapter: builtin, precision: f64}
  candidate: {adapter: trace, path: %s, precision: %s}
oracle: {}
require: {checkpoints: [embedding, layer_*_output, final_norm, logits]}
`, demo.Name, tokens, demoTrace, demo.Profile)
}

// runDemo runs the spec. What the cache would hold is not worth keeping.
func (a *app) runDemo(ctx context.Context, path string) (*gate.Result, error) {
	s, err := loadSpec(path)
	if err != nil {
		return nil, err
	}
	cache, err := os.MkdirTemp("", "paritygate-demo-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(cache)
	return gate.Run(ctx, s, gate.RunOptions{Options: gate.Options{Version: currentVersion()}, CacheDir: cache, Getenv: a.Getenv})
}
