package cli

import (
	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/report"
)

func (a *app) schemaCommand() *cobra.Command {
	schemas := map[string]func() ([]byte, error){"spec": spec.Schema, "results": report.Schema}
	return &cobra.Command{
		Use:   "schema [spec|results]",
		Short: "Print the JSON schema of the spec or of results.json",
		Long: `Prints the JSON schema of parity.yaml, for editors that complete and check YAML by
a schema, or with "results" that of results.json, for programs that read it.`,
		Example: `  paritygate schema > parity.schema.json
  paritygate schema results > results.schema.json`,
		Args:      rangeArgs(0, "spec or results"),
		ValidArgs: []string{"spec", "results"},
		RunE: func(_ *cobra.Command, args []string) error {
			name := "spec"
			if len(args) > 0 {
				name = args[0]
			}
			schema, ok := schemas[name]
			if !ok {
				return usagef("no schema %q: want spec or results", name)
			}
			b, err := schema()
			if err != nil {
				return err
			}
			return a.write(b)
		},
	}
}
