package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write docs/cli.md instead of comparing it")

const docsPath = "../../docs/cli.md"

// TestDocs holds docs/cli.md to the commands it describes.
func TestDocs(t *testing.T) {
	a := &app{Process: (&fake{}).process(), color: choice{value: "auto", of: []string{"auto", "always", "never"}}}
	got := cliDocs(a.root())
	if *update {
		if err := os.WriteFile(docsPath, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(docsPath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("docs/cli.md does not match the commands: run make docs and read the change\n%s", firstDifference(want, got))
	}
}

// TestEveryCommandIsExplained: help with examples is part of a command.
func TestEveryCommandIsExplained(t *testing.T) {
	a := &app{Process: (&fake{}).process()}
	commands := a.root().Commands()
	for _, c := range commands {
		commands = append(commands, c.Commands()...)
	}
	for _, c := range commands {
		if c.Long == "" || c.Example == "" {
			t.Errorf("%s has no long help or no example", c.Name())
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s has no usage", c.Name(), f.Name)
			}
		})
	}
}

// session is a first look at the program; the docs test of the main package
// runs it.
const session = `$ paritygate init
wrote parity.yaml; next: fill it in, then paritygate check
$ paritygate check
parity.yaml is valid
...
$ paritygate inspect candidate.safetensors
trace        candidate.safetensors
format       safetensors
engine       worker
...
$ paritygate compare reference.safetensors missing.safetensors
paritygate: candidate: ...missing.safetensors: no such file or directory
$ echo $?
2`

func cliDocs(root *cobra.Command) []byte {
	var b bytes.Buffer
	b.WriteString("# The command line\n\n<!-- Written by `make docs` from the commands themselves; a test compares it. -->\n\n")
	b.WriteString(fenced("text", root.Long))
	b.WriteString("\n" + fenced("console", session))
	b.WriteString("\nEvery command takes:\n\n")
	flagList(&b, root.PersistentFlags())
	b.WriteString("\nShell completion: `paritygate completion --help` says how to switch it on for bash, zsh, fish and PowerShell.\n")
	for _, g := range root.Groups() {
		for _, c := range root.Commands() {
			if c.GroupID == g.ID {
				commandDocs(&b, c)
			}
		}
	}
	for _, c := range root.Commands() {
		if c.GroupID == "" && c.IsAvailableCommand() {
			commandDocs(&b, c)
		}
	}
	return b.Bytes()
}

func commandDocs(b *bytes.Buffer, c *cobra.Command) {
	fmt.Fprintf(b, "\n## %s\n\n%s.\n\n", c.CommandPath(), c.Short)
	b.WriteString(fenced("text", c.UseLine()))
	fmt.Fprintf(b, "\n%s\n", escapeProse(c.Long))
	if c.LocalNonPersistentFlags().HasAvailableFlags() {
		b.WriteString("\n")
		flagList(b, c.LocalNonPersistentFlags())
	}
	b.WriteString("\nExamples:\n\n")
	lines := strings.Split(c.Example, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, "  ")
	}
	b.WriteString(fenced("sh", strings.Join(lines, "\n")))
	for _, sub := range c.Commands() {
		commandDocs(b, sub)
	}
}

// escapeProse keeps {{…}} and <…> as they are in Markdown.
func escapeProse(s string) string {
	return strings.NewReplacer("<", `\<`, "*", `\*`).Replace(s)
}

func fenced(lang, s string) string { return "```" + lang + "\n" + s + "\n```\n" }

func flagList(b *bytes.Buffer, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		kind, usage := pflag.UnquoteUsage(f)
		if kind != "" {
			name += " " + kind
		}
		fmt.Fprintf(b, "- `%s`: %s", name, escapeProse(usage))
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "[]" && f.DefValue != "0s" {
			fmt.Fprintf(b, " (default %s)", f.DefValue)
		}
		b.WriteString("\n")
	})
}

// firstDifference shows the first line that differs.
func firstDifference(want, got []byte) string {
	w, g := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	for i := range max(len(w), len(g)) {
		var a, b string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\n  file     %q\n  commands %q", i+1, a, b)
		}
	}
	return ""
}
