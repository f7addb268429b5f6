//go:build unix

package action

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const docsPath = "../../docs/action.md"

// TestManifest holds action.yml to what this package reads: no input is missing
// or forgotten, and defaults are the same.
func TestManifest(t *testing.T) {
	m := readManifest(t)
	want := map[string]string{"binary": "", "token": "${{ github.token }}"}
	for _, i := range inputs {
		want[i.name] = i.fallback
	}
	got := map[string]string{}
	for name, in := range m.Inputs {
		got[name] = in.Default
		if in.Description == "" || !strings.HasSuffix(in.Description, ".") {
			t.Errorf("input %s: description %q, want sentences", name, in.Description)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("inputs with their defaults\n%v\nwant\n%v", got, want)
	}
	steps := map[string]manifestStep{}
	for _, s := range m.Runs.Steps {
		steps[s.ID] = s
	}
	for name := range m.Inputs {
		variable, value := "INPUT_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_")), "${{ inputs."+name+" }}"
		step := "plan"
		if name == "binary" {
			step = "install"
		}
		if got := steps[step].Env[variable]; got != value {
			t.Errorf("step %s gets %s=%q, want %q", step, variable, got, value)
		}
	}
	for name, o := range m.Outputs {
		if o.Description == "" || !strings.Contains(o.Value, "steps.report.outputs."+name) {
			t.Errorf("output %s is %q", name, o.Value)
		}
	}
}

// TestManifestTrust: who sees the token, what is part of a script, and whose
// actions are used.
func TestManifestTrust(t *testing.T) {
	m := readManifest(t)
	var ids []string
	for _, s := range m.Runs.Steps {
		ids = append(ids, s.ID)
		if strings.Contains(s.Run, "${{") {
			t.Errorf("step %s: an expression is part of the script", s.ID)
		}
		sees := false
		for k, v := range s.Env {
			sees = sees || strings.Contains(v, "inputs.token") || strings.Contains(v, "github.token") || strings.Contains(v, "secrets.") || strings.Contains(k, "TOKEN")
		}
		if want := s.ID == "plan" || s.ID == "report"; sees != want {
			t.Errorf("step %s sees the token: %v, want %v", s.ID, sees, want)
		}
		if s.Uses != "" && !regexp.MustCompile(`^actions/[a-z-]+@[0-9a-f]{40}$`).MatchString(s.Uses) {
			t.Errorf("step %s uses %s: want a commit", s.ID, s.Uses)
		}
		if s.Uses == "" && s.Shell != "bash" {
			t.Errorf("step %s has shell %q", s.ID, s.Shell)
		}
		if always := strings.HasPrefix(s.If, "always()"); always != slices.Contains([]string{"report", "upload", "conclude"}, s.ID) {
			t.Errorf("step %s: if %q", s.ID, s.If)
		}
		if strings.Contains(s.Run, "action ") && !strings.Contains(s.Run, "exec \"$PARITYGATE_BIN\" action "+s.ID) {
			t.Errorf("step %s runs\n%s\nwant its shell replaced: signals go to the step's first process alone", s.ID, s.Run)
		}
	}
	if want := []string{"install", "plan", "run", "report", "upload", "conclude"}; !slices.Equal(ids, want) {
		t.Errorf("steps %q, want %q", ids, want)
	}
}

// TestDocs holds the tables of docs/action.md to action.yml.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile(docsPath)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	m := readManifest(t)
	for name, table := range map[string]string{"inputs": inputTable(m), "outputs": outputTable(m)} {
		begin, end := "<!-- "+name+": written from action.yml -->\n", "<!-- end of "+name+" -->\n"
		before, rest, ok := strings.Cut(text, begin)
		old, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no %q", docsPath, begin)
		}
		if !*update && old != table {
			t.Errorf("the table of %s is not action.yml's: run go test ./gate/action -run TestDocs -update\n%s", name, table)
		}
		text = before + begin + table + end + after
	}
	if *update {
		if err := os.WriteFile(docsPath, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func inputTable(m *manifest) string {
	var b strings.Builder
	b.WriteString("| input | default | meaning |\n|---|---|---|\n")
	names := []string{"token", "binary"}
	for _, i := range inputs {
		names = append(names, i.name)
	}
	inOrder(names)
	for _, name := range names {
		in := m.Inputs[name]
		def := ""
		if in.Default != "" {
			def = "`" + in.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, def, cell(in.Description))
	}
	return b.String()
}

// inOrder sorts names of inputs, or of outputs, as action.yml has them.
func inOrder(names []string) {
	b, err := os.ReadFile("../../action.yml")
	if err != nil {
		return
	}
	place := func(name string) int {
		text := string(b)
		if name != "results" || slices.Contains(names, "outcome") {
			return strings.LastIndex(text, "\n  "+name+":\n")
		}
		return strings.Index(text, "\n  "+name+":\n") // the input, not the output of that name
	}
	slices.SortFunc(names, func(a, b string) int { return place(a) - place(b) })
}

func outputTable(m *manifest) string {
	var b strings.Builder
	b.WriteString("| output | meaning |\n|---|---|\n")
	names := slices.Collect(maps.Keys(m.Outputs))
	inOrder(names)
	for _, name := range names {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, cell(m.Outputs[name].Description))
	}
	return b.String()
}

func cell(s string) string { return strings.NewReplacer("|", `\|`, "<", `\<`).Replace(s) }
