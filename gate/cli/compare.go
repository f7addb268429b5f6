package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/spec"
)

// compareFlags are the flags of compare.
type compareFlags struct {
	out           output
	spec          string
	preset        choice
	skipPositions indices
	skipElements  indices
	keepGarbage   bool
	portable      bool
	jobs          jobs
	oracle        string
	// precisions are the profiles of the reference and of the candidate.
	precisions [2]string
}

func (a *app) compareCommand() *cobra.Command {
	var f compareFlags
	cmd := &cobra.Command{
		Use:   "compare REFERENCE CANDIDATE",
		Short: "Compare two recorded traces and judge the differences",
		Long: `Compares two traces of the same prompt, files or folders of shards, and judges
the differences. Formats: safetensors, orch JSONL, npy and npz, told apart by
their content; the two may differ in format and precision.

Without --spec the built-in default judges: the preset is chosen from what the
traces say of their precision, and garbage (non-finite values, values above
1e10, heap pointers read as floats) is left out and reported; the candidate's
fails. A spec for compare needs neither engines nor prompts. Where it has
engines, the names: of its reference and candidate are applied.

With --oracle both traces are held against the model itself, computed in float64:
the report says how much of each one's error its precision explains, which layer
errs by itself, and which of the two is wrong. How an engine computes is told from
its trace, or named by --reference-precision and --candidate-precision.

Exits 0 for pass, 1 for fail, 2 for a trace or spec that is not valid, 3 where
nothing, or too little, could be compared.`,
		Example: `  paritygate compare reference.safetensors candidate.safetensors
  paritygate compare llama.jsonl worker.jsonl --preset f16 --skip-position 0,1
  paritygate compare ref/ cand/ --spec parity.yaml --format markdown --out out
  paritygate compare ref.safetensors cand.safetensors --oracle model.gguf --candidate-precision llamacpp-cuda-f16`,
		Args: exactArgs("REFERENCE", "CANDIDATE"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) >= 2 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("oracle") && f.oracle == "" {
				return usagef("--oracle is empty: name the weights, a GGUF file")
			}
			r, err := a.compare(cmd.Context(), args[0], args[1], &f)
			if err != nil {
				return err
			}
			return a.emit(r, &f.out)
		},
	}
	f.out.add(cmd, true)
	flags := cmd.Flags()
	f.addSelection(cmd)
	f.preset = choice{of: spec.PresetNames()}
	flags.Var(&f.preset, "preset", "tolerances that the spec's own rules win over (default by what the traces say of their precision)")
	completeChoice(cmd, "preset", f.preset.of)
	flags.BoolVar(&f.portable, "portable", false, "use the kernel that runs on any processor; the result is the same")
	f.jobs.add(cmd)
	f.addOracle(cmd)
	return cmd
}

// addOracle adds the flags that hold both traces against the oracle.
func (f *compareFlags) addOracle(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.oracle, "oracle", "", "hold both traces against the weights that they come from, a GGUF `FILE`")
	var profiles []string
	for _, p := range oracle.Profiles() {
		profiles = append(profiles, p.Name)
	}
	for i, role := range roles {
		name := role + "-precision"
		flags.StringVar(&f.precisions[i], name, "", "precision `PROFILE` that the "+role+" computes in, or PROFILE,FIELD=VALUE (default told by its trace)")
		completeChoice(cmd, name, profiles)
	}
}

// roles are the two sides of a comparison.
var roles = [2]string{"reference", "candidate"}

// useOracle puts the oracle's flags on top of the spec.
func (f *compareFlags) useOracle(s *spec.Spec) error {
	if f.oracle != "" {
		s.Oracle = &spec.Oracle{Model: f.oracle}
	}
	for i, e := range []*spec.Engine{&s.Engines.Reference, &s.Engines.Candidate} {
		text := f.precisions[i]
		if text == "" {
			continue
		}
		if s.Oracle == nil {
			return usagef("--%s-precision needs --oracle: without one, precision explains nothing", roles[i])
		}
		p, err := engine.ParsePrecision(text)
		if err == nil {
			_, err = engine.Profile(p)
		}
		if err != nil {
			return usagef("--%s-precision: %v", roles[i], err)
		}
		e.Precision = p
	}
	return nil
}

// addSelection adds the flags that say what takes part in a comparison.
func (f *compareFlags) addSelection(cmd *cobra.Command) {
	addSpecFlag(cmd, &f.spec, "judge by this spec `FILE` (default the built-in one)")
	flags := cmd.Flags()
	flags.Var(&f.skipPositions, "skip-position", "leave these token positions out, besides the spec's")
	flags.Var(&f.skipElements, "skip-element", "leave these elements of every row out, besides the spec's")
	flags.BoolVar(&f.keepGarbage, "keep-garbage", false, "compare garbage like any other value, on both sides")
}

// compare opens both traces, compares and judges them.
func (a *app) compare(ctx context.Context, ref, cand string, f *compareFlags) (*gate.Result, error) {
	s, err := f.loadSpec()
	if err != nil {
		return nil, err
	}
	pair, err := openPair(s, ref, cand)
	if err != nil {
		return nil, err
	}
	defer closePair(pair)

	p := a.newProgress()
	p.start()
	defer p.end()
	p.Step("comparing")
	return gate.Compare(ctx, s, []gate.Pair{pair}, gate.Options{
		Workers: int(f.jobs), Portable: f.portable, Progress: p.Bytes, Version: currentVersion(), Flags: f.chosen(),
	})
}

// chosen are the flags that change what is compared or judged.
func (f *compareFlags) chosen() []string {
	var out []string
	if f.preset.value != "" {
		out = append(out, "--preset", f.preset.value)
	}
	if len(f.skipPositions) > 0 {
		out = append(out, "--skip-position", f.skipPositions.String())
	}
	if len(f.skipElements) > 0 {
		out = append(out, "--skip-element", f.skipElements.String())
	}
	if f.keepGarbage {
		out = append(out, "--keep-garbage")
	}
	if f.oracle != "" {
		out = append(out, "--oracle", f.oracle)
	}
	for i, p := range f.precisions {
		if p != "" {
			out = append(out, "--"+roles[i]+"-precision", p)
		}
	}
	return out
}

// openPair opens the two traces of one prompt; names: of the spec's engines apply.
func openPair(s *spec.Spec, ref, cand string) (gate.Pair, error) {
	r, err := openTrace(ref, s.Engines.Reference)
	if err != nil {
		return gate.Pair{}, fmt.Errorf("reference: %w", err)
	}
	c, err := openTrace(cand, s.Engines.Candidate)
	if err != nil {
		r.Close() // only read
		return gate.Pair{}, fmt.Errorf("candidate: %w", err)
	}
	return gate.Pair{Prompt: gate.PromptName(r), Reference: r, Candidate: c}, nil
}

func closePair(p gate.Pair) {
	p.Reference.Close() // only read
	p.Candidate.Close()
}

// loadSpec is the spec with the flags on top.
func (f *compareFlags) loadSpec() (*spec.Spec, error) {
	s := spec.Default()
	if f.spec != "" {
		var err error
		if s, err = loadSpec(f.spec); err != nil {
			return nil, err
		}
	}
	if f.preset.value != "" {
		s.Tolerances.Preset = f.preset.value
	}
	if f.keepGarbage {
		s.Garbage.Reference, s.Garbage.Candidate = "keep", "keep"
	}
	s.Skip.Positions = union(s.Skip.Positions, f.skipPositions)
	s.Skip.Elements = union(s.Skip.Elements, f.skipElements)
	return s, f.useOracle(s)
}

// union is the sorted set of both.
func union(a []int, b indices) []int {
	if len(b) == 0 {
		return a
	}
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}
