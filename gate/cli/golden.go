package cli

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/baseline/golden"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

func (a *app) goldenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "golden COMMAND",
		Short: "Keep what the reference recorded in a registry, to gate without running it",
		Long: `Golden traces are what a reference recorded, kept in an OCI registry and addressed
by their content. A spec whose reference is

  reference: {adapter: trace, path: "oci:REGISTRY/REPOSITORY@sha256:DIGEST"}

needs no reference engine to run. They are pulled once and kept in the cache
folder. Credentials are those of docker login.`,
		Example: `  paritygate baseline golden push oci:ghcr.io/acme/golden:v1 golden/*.safetensors
  paritygate baseline golden pull oci:ghcr.io/acme/golden:v1`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q%s", "baseline golden "+args[0], suggest(cmd, args[0]))
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error { return usagef("no command given") },
	}
	cmd.AddCommand(a.goldenPush(), a.goldenPull())
	return cmd
}

func (a *app) goldenPush() *cobra.Command {
	return &cobra.Command{
		Use:   "push NAME TRACE...",
		Short: "Send traces to a registry and print their name by digest",
		Long: `Sends traces, one a prompt and called PROMPT.safetensors, to a registry under a
tag, and prints their name by digest, for the spec: the same traces have the same
name. Each trace is read and checked first.`,
		Example: `  paritygate capture --spec parity.yaml --engine reference --prompt-name haiku --out golden/haiku.safetensors
  paritygate baseline golden push oci:ghcr.io/acme/golden:v1 golden/*.safetensors`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("missing argument: want NAME and one TRACE at least")
			}
			annotations, err := describe(args[1])
			if err != nil {
				return err
			}
			for _, f := range args[2:] {
				if _, err := describe(f); err != nil {
					return err
				}
			}
			name, err := golden.Push(cmd.Context(), args[0], args[1:], annotations)
			if err != nil {
				return incomplete("%w", err)
			}
			return a.write([]byte(name + "\n"))
		},
	}
}

// describe reads a trace and says what it is of.
func describe(file string) (map[string]string, error) {
	t, err := trace.Open(file, trace.Options{})
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for k, v := range map[string]string{"engine": t.Meta.Engine, "engine_version": t.Meta.EngineVersion, "model": t.Meta.Model,
		"weights_sha256": t.Meta.WeightsSHA256, "compute_dtype": t.Meta.ComputeDType} {
		if v != "" {
			out[k] = v
		}
	}
	return out, t.Close()
}

func (a *app) goldenPull() *cobra.Command {
	return &cobra.Command{
		Use:     "pull NAME",
		Short:   "Bring golden traces into the cache and print where they are",
		Long:    `Brings golden traces into the cache folder, checks them, and prints their folder.`,
		Example: `  paritygate baseline golden pull oci:ghcr.io/acme/golden:v1`,
		Args:    exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.pullGolden(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.write(fmt.Appendf(nil, "%s\n%s\n", p.Name, p.Dir))
		},
	}
}

func (a *app) pullGolden(ctx context.Context, name string) (*golden.Pulled, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, incomplete("no folder for golden traces: %w", err)
	}
	p, err := golden.Pull(ctx, name, filepath.Join(cache, "paritygate", "golden"))
	if err != nil {
		return nil, incomplete("%w", err)
	}
	return p, nil
}

// withGoldens replaces the golden traces of a spec by those of this machine.
func (a *app) withGoldens(ctx context.Context, s *spec.Spec) error {
	place := func(e *spec.Engine) error {
		if e.Adapter != "trace" || !golden.IsName(e.Path) {
			return nil
		}
		p, err := a.pullGolden(ctx, e.Path)
		if err != nil {
			return err
		}
		e.Path, err = p.Path()
		return err
	}
	if err := place(&s.Engines.Reference); err != nil {
		return err
	}
	if err := place(&s.Engines.Candidate); err != nil {
		return err
	}
	witnesses := maps.Clone(s.Engines.Witnesses)
	for name, w := range witnesses {
		if err := place(&w); err != nil {
			return err
		}
		witnesses[name] = w
	}
	s.Engines.Witnesses = witnesses
	return nil
}
