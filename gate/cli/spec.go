package cli

import (
	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// defaultSpec is the spec's name where none is given.
const defaultSpec = "parity.yaml"

func loadSpec(path string) (*spec.Spec, error) { return spec.Load(path) }

// addSpecFlag declares --spec.
func addSpecFlag(cmd *cobra.Command, path *string, usage string) {
	cmd.Flags().StringVarP(path, "spec", "s", "", usage)
	if err := cmd.MarkFlagFilename("spec", "yaml", "yml"); err != nil {
		panic(err)
	}
}

// specArg is the optional argument [SPEC].
func specArg(args []string) string {
	if len(args) == 0 {
		return defaultSpec
	}
	return args[0]
}

// openTrace opens one trace under the names that the spec gives its engine.
func openTrace(path string, e spec.Engine) (*trace.Trace, error) {
	o, err := engine.TraceOptions(e)
	if err != nil {
		return nil, err
	}
	return trace.Open(path, o)
}
