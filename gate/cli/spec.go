package cli

import (
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

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
	rules := make([]trace.NameRule, len(e.Names))
	for i, n := range e.Names {
		re, err := regexp.Compile("^(?:" + n.Pattern + ")$")
		if err != nil {
			return nil, fmt.Errorf("names: %q: %w", n.Pattern, err)
		}
		rules[i] = trace.NameRule{Pattern: re, Replacement: n.Replacement}
	}
	return trace.Open(path, trace.Options{Names: rules})
}
