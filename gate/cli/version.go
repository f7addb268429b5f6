package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker (-X); a program that go install built knows its
// version by itself.
var version string

// currentVersion is the program's version, as "v0.1.0" or "devel+1a2b3c4d5e6f".
func currentVersion() string {
	info, ok := debug.ReadBuildInfo()
	return resolveVersion(version, info, ok)
}

func resolveVersion(linked string, info *debug.BuildInfo, ok bool) string {
	if linked != "" {
		return linked
	}
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	out := "devel"
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			out += "+" + s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			out += "+changes"
		}
	}
	return out
}

func versionLine() string {
	return fmt.Sprintf("paritygate %s %s %s/%s", currentVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    "Prints the program's version, the Go version it was built with and the platform, on one line.",
		Example: "  paritygate version",
		Args:    exactArgs(),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.Stdout, versionLine())
			return writeError(err)
		},
	}
}
