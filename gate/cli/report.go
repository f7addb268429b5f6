package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
)

func (a *app) reportCommand() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "report RESULTS.json",
		Short: "Draw a report of a saved run again",
		Long: `Draws a report from a saved results.json, without running or judging anything.
The bytes are those that run or compare would have written; the text report
is as wide as the terminal.

It exits as the saved run did.`,
		Example: `  paritygate report out/results.json
  paritygate report out/results.json --format markdown > comment.md`,
		Args:              exactArgs("RESULTS.json"),
		ValidArgsFunction: completeFiles("json"),
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := readResult(args[0])
			if err != nil {
				return err
			}
			return a.emit(r, &out)
		},
	}
	out.add(cmd, false)
	return cmd
}

// readResult reads a saved results.json.
func readResult(path string) (*gate.Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	if st, err := f.Stat(); err == nil && st.IsDir() {
		return nil, fmt.Errorf("%s is a folder: the argument is a results.json", path)
	}
	return report.Read(f)
}

// completeFiles completes the first argument with files of these endings.
func completeFiles(endings ...string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return endings, cobra.ShellCompDirectiveFilterFileExt
	}
}
