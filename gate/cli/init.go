package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/gate/spec"
)

func (a *app) initCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "init [PATH]",
		Short: "Write a commented starting spec",
		Long: `Writes a starting spec with every key explained, to parity.yaml if no path is
given. It refuses to replace a file unless --force is given.`,
		Example: `  paritygate init
  paritygate init ci/parity.yaml --force`,
		Args:              rangeArgs(0, "PATH"),
		ValidArgsFunction: completeFiles("yaml", "yml"),
		RunE: func(_ *cobra.Command, args []string) error {
			path := specArg(args)
			if err := writeNew(path, spec.Template(), force); err != nil {
				return err
			}
			return a.write([]byte("wrote " + path + "; next: fill it in, then paritygate check" + checkArg(path) + "\n"))
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace the file if it exists")
	return cmd
}

// checkArg is what check needs to find the spec.
func checkArg(path string) string {
	if path == defaultSpec {
		return ""
	}
	return " " + path
}

// writeNew writes a file that must not exist yet, unless force.
func writeNew(path string, data []byte, force bool) error {
	mode := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if !force {
		mode |= os.O_EXCL
	}
	f, err := os.OpenFile(path, mode, 0o644)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists; --force replaces it", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return incomplete("%s: %w", path, err)
	}
	return nil
}
