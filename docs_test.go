package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"gopkg.in/yaml.v3"
)

// TestDocs runs the examples of README.md and docs: every code block marked
// console, where "$ paritygate …" (or "$ go run . …") is a command, "$ echo $?"
// its exit code (0 where no line asks), and the lines below what a terminal
// would show. "..." stands for any text, and a command with no lines below may
// print anything. The blocks of one file run one after the other in a folder
// that holds reference.safetensors, candidate.safetensors (layer 1 is off by
// 10 %), same.safetensors (as the reference, but for noise), testdata and examples.
func TestDocs(t *testing.T) {
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	for _, file := range append(files, "README.md") {
		blocks += runDoc(t, root, file)
	}
	if blocks == 0 {
		t.Error("no console block in README.md and docs")
	}
}

// consoleBlock matches a fenced block marked console.
var consoleBlock = regexp.MustCompile("(?ms)^```console\n(.*?)^```$")

// example is a command of a console block, and what it shows.
type example struct {
	block, line int
	command     string
	output      string // "" is anything
}

// examplesOf splits a console block.
func examplesOf(block int, text string) []example {
	var out []example
	for i, l := range strings.SplitAfter(text, "\n") {
		if command, ok := strings.CutPrefix(l, "$ "); ok {
			out = append(out, example{block: block, line: i, command: strings.TrimSpace(command)})
		} else if len(out) > 0 {
			out[len(out)-1].output += l
		}
	}
	return out
}

// runDoc runs the examples of one file and returns how many blocks it has.
func runDoc(t *testing.T, root, file string) int {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	blocks := consoleBlock.FindAllSubmatch(text, -1)
	if len(blocks) == 0 {
		return 0
	}
	var examples []example
	for i, b := range blocks {
		examples = append(examples, examplesOf(i, string(b[1]))...)
	}
	dir := t.TempDir()
	name := strings.TrimSuffix(filepath.Base(file), ".md")
	script := filepath.Join(dir, name+".txtar")
	if err := os.WriteFile(script, []byte("examples\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Files: []string{script},
		Setup: func(e *testscript.Env) error { return docFolder(root, e.WorkDir) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"examples": func(ts *testscript.TestScript, _ bool, _ []string) { runExamples(ts, file, examples) },
		},
	})
	return len(blocks)
}

// docFolder makes the files that examples use.
func docFolder(root, dir string) error {
	return errors.Join(
		os.Symlink(filepath.Join(root, "testdata"), filepath.Join(dir, "testdata")),
		os.Symlink(filepath.Join(root, "examples"), filepath.Join(dir, "examples")),
		makeTrace(filepath.Join(dir, "reference.safetensors"), []string{"engine=reference"}),
		makeTrace(filepath.Join(dir, "same.safetensors"), []string{"engine=worker", "noise=1e-7"}),
		makeTrace(filepath.Join(dir, "candidate.safetensors"), []string{"engine=worker", "noise=1e-7", "scale=layer_1_output:1.1"}),
	)
}

func runExamples(ts *testscript.TestScript, file string, examples []example) {
	for i := 0; i < len(examples); i++ {
		x := examples[i]
		at := fmt.Sprintf("%s, console block %d, line %d: $ %s", file, x.block+1, x.line+1, x.command)
		args, err := splitCommand(x.command)
		if err != nil {
			ts.Fatalf("%s: %v", at, err)
		}
		want := 0
		if i+1 < len(examples) && examples[i+1].command == "echo $?" {
			i++
			want, err = strconv.Atoi(strings.TrimSpace(examples[i].output))
			ts.Check(err)
		}
		code := exitCode(ts, args)
		got := ts.ReadFile("stdout") + ts.ReadFile("stderr")
		if code != want {
			ts.Fatalf("%s\nexit code %d, want %d; it printed\n%s", at, code, want, got)
		}
		if strings.TrimSpace(x.output) != "" && !pattern(x.output).MatchString(got) {
			ts.Fatalf("%s\nprinted\n%s\nthe docs say\n%s", at, got, x.output)
		}
	}
}

// splitCommand reads a command line of the docs: words, quoted by ' where they
// hold spaces. Only paritygate is run; other commands belong into sh blocks.
func splitCommand(line string) ([]string, error) {
	if rest, ok := strings.CutPrefix(line, "go run . "); ok {
		line = "paritygate " + rest
	}
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	if len(words) == 0 || words[0] != "paritygate" {
		return nil, errors.New("only paritygate runs in a console block; mark others sh")
	}
	if i := strings.IndexAny(line, "|><&;`"); i >= 0 && !strings.Contains(line, "'") {
		return nil, fmt.Errorf("%q: no shell runs examples", line[i])
	}
	return words, nil
}

// pattern is an expected output in which "..." is any text.
func pattern(s string) *regexp.Regexp {
	parts := strings.Split(strings.TrimRight(s, "\n"), "...")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`(?s)\A` + strings.Join(parts, ".*") + `\s*\z`)
}

// TestDocPatterns: an example that says something else must not pass.
func TestDocPatterns(t *testing.T) {
	tests := []struct {
		want, got string
		match     bool
	}{
		{"a b\n", "a b\n", true},
		{"a b\n", "a b\nc\n", false},
		{"a ...\n", "a b\nc\n", true},
		{"a (x) 1.0...\nz\n", "a (x) 1.05\nz\n", true},
		{"a.c\n", "abc\n", false},
		{"...\nz\n", "y\n", false},
	}
	for _, tt := range tests {
		if got := pattern(tt.want).MatchString(tt.got); got != tt.match {
			t.Errorf("%q against %q: %v", tt.want, tt.got, got)
		}
	}
	for _, line := range []string{"make test", "paritygate report x | less", ""} {
		if _, err := splitCommand(line); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
	x := examplesOf(0, "$ paritygate a\nout\n$ echo $?\n1\n")
	if len(x) != 2 || x[0].output != "out\n" || x[1].output != "1\n" {
		t.Errorf("examples %+v", x)
	}
	if !bytes.Contains(consoleBlock.Find([]byte("x\n```console\n$ a\n```\n")), []byte("$ a")) {
		t.Error("no block found")
	}
}

// yamlBlock matches a fenced block marked yaml.
var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

// workflow is what TestDocWorkflows looks at of a workflow to paste.
type workflow struct {
	On          any            `yaml:"on"`
	Permissions map[string]any `yaml:"permissions"`
	Jobs        map[string]struct {
		Permissions map[string]string `yaml:"permissions"`
		Steps       []struct {
			Uses string         `yaml:"uses"`
			With map[string]any `yaml:"with"`
		} `yaml:"steps"`
	} `yaml:"jobs"`
}

// TestDocWorkflows holds the workflows of README.md and docs to actionlint, to the
// inputs of action.yml and to what the docs say of credentials and pins.
func TestDocWorkflows(t *testing.T) {
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	inputs := actionInputs(t)
	dir, modes := t.TempDir(), []string{}
	var lint []string
	for _, file := range append(files, "README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range yamlBlock.FindAllSubmatch(text, -1) {
			var w workflow
			if err := yaml.Unmarshal(block[1], &w); err != nil || w.Jobs == nil {
				continue // a spec, or a part of one
			}
			at := fmt.Sprintf("%s, yaml block %d", file, i+1)
			mode, err := w.check(inputs)
			if err != nil {
				t.Errorf("%s: %v", at, err)
			}
			modes = append(modes, mode)
			name := filepath.Join(dir, strings.NewReplacer("/", "-", ".md", "").Replace(file)+fmt.Sprintf("-%d.yml", i+1))
			if err := os.WriteFile(name, block[1], 0o644); err != nil {
				t.Fatal(err)
			}
			lint = append(lint, name)
		}
	}
	for _, mode := range []string{"gate", "refresh", "report", "approve"} {
		if !slices.Contains(modes, mode) {
			t.Errorf("no workflow shows mode %s", mode)
		}
	}
	actionlint(t, dir, lint)
}

// check holds a workflow to the Action, and returns the mode that it uses.
func (w *workflow) check(inputs map[string]bool) (mode string, err error) {
	if w.Permissions == nil || len(w.Permissions) > 0 {
		err = errors.New("want permissions: {} for the workflow, and more for each job")
	}
	for job, j := range w.Jobs {
		if len(j.Permissions) == 0 {
			err = errors.Join(err, fmt.Errorf("job %s has no permissions", job))
		}
		for _, s := range j.Steps {
			switch name, ref, _ := strings.Cut(s.Uses, "@"); {
			case name == "paritygate/paritygate":
				mode = "gate"
				if m, ok := s.With["mode"]; ok {
					mode = fmt.Sprint(m)
				}
				for input := range s.With {
					if !inputs[input] {
						err = errors.Join(err, fmt.Errorf("action.yml has no input %s", input))
					}
				}
			case s.Uses != "" && !regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(ref):
				err = errors.Join(err, fmt.Errorf("%s is not pinned to a commit", s.Uses))
			case name == "actions/checkout" && s.With["persist-credentials"] != false:
				err = errors.Join(err, errors.New("the checkout keeps its token where engines see it"))
			}
		}
	}
	if mode == "" {
		err = errors.Join(err, errors.New("no step uses the Action"))
	}
	return mode, err
}

// actionInputs are the names of action.yml's inputs.
func actionInputs(t *testing.T) map[string]bool {
	t.Helper()
	data, err := os.ReadFile("action.yml")
	if err != nil {
		t.Fatal(err)
	}
	var a struct {
		Inputs map[string]any `yaml:"inputs"`
	}
	if err := yaml.Unmarshal(data, &a); err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for name := range a.Inputs {
		out[name] = true
	}
	return out
}

// actionlint runs the linter that the Makefile names.
func actionlint(t *testing.T, dir string, files []string) {
	t.Helper()
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^ACTIONLINT := (\S+)$`).FindSubmatch(makefile)
	if m == nil {
		t.Fatal("Makefile names no ACTIONLINT")
	}
	config := filepath.Join(dir, "actionlint.yaml")
	if err := os.WriteFile(config, []byte("self-hosted-runner: {labels: [gpu]}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", append([]string{"run", string(m[1]), "-no-color", "-config-file", config}, files...)...).CombinedOutput()
	if err != nil {
		t.Errorf("actionlint: %v\n%s", err, out)
	}
}

// TestDocWorkflowChecks: a workflow that would not work, or not be safe, must not
// pass.
func TestDocWorkflowChecks(t *testing.T) {
	good := "permissions: {}\njobs: {j: {permissions: {contents: read}, steps: [{uses: 'actions/checkout@" + strings.Repeat("a", 40) +
		"', with: {persist-credentials: false}}, {uses: paritygate/paritygate@v1, with: {mode: refresh}}]}}"
	for _, tt := range []struct{ old, new, want string }{
		{"", "", ""},
		{"mode:", "mood:", "no input mood"},
		{"permissions: {}", "permissions: {contents: write}", "want permissions: {}"},
		{"permissions: {}\n", "", "want permissions: {}"},
		{"permissions: {contents: read}, ", "", "job j has no permissions"},
		{strings.Repeat("a", 40), "v7", "not pinned"},
		{"persist-credentials: false", "depth: 0", "keeps its token"},
		{"paritygate/paritygate@v1", "acme/other@" + strings.Repeat("a", 40), "no step uses"},
	} {
		var w workflow
		if err := yaml.Unmarshal([]byte(strings.Replace(good, tt.old, tt.new, 1)), &w); err != nil {
			t.Fatal(err)
		}
		mode, err := w.check(map[string]bool{"mode": true})
		if tt.want == "" && (err != nil || mode != "refresh") || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%q for %q: mode %q, error %v, want %q", tt.new, tt.old, mode, err, tt.want)
		}
	}
}

// TestDocsNameWhatIsThere: links and pictures lead to files of the repository, and
// the tests that docs/security.md names exist.
func TestDocsNameWhatIsThere(t *testing.T) {
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	links, tests := regexp.MustCompile(`\]\(([^)#:\s]+)[)#]|(?:src|href)="([^"#:]+)"`), regexp.MustCompile("`([a-z0-9_/]+_test\\.go)`")
	for _, file := range append(files, "README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range links.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1]+m[2])); err != nil {
				t.Errorf("%s links to %s: %v", file, m[1]+m[2], err)
			}
		}
		for _, m := range tests.FindAllStringSubmatch(string(text), -1) {
			if code, err := os.ReadFile(m[1]); err != nil || !regexp.MustCompile(`(?m)^func (Test|Fuzz)`).Match(code) {
				t.Errorf("%s names %s, which has no test: %v", file, m[1], err)
			}
		}
	}
}
