package main

import (
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/paritygate/paritygate"

// importRule says what a package may import besides the standard library, in
// code that is not a test.
type importRule struct {
	// project lists packages of this module, below its root; "*" is all.
	project []string
	// others lists modules of others.
	others []string
}

// importRules has a line for every folder of Go code. A package that stands
// below one that is listed, and has no line of its own, follows that one's.
var importRules = map[string]importRule{
	".":           {project: []string{"gate/cli"}},
	"gate/trace":  {},
	"gate/metric": {others: []string{"gonum.org/v1/gonum", "golang.org/x/sys"}},
	"gate/spec": {project: []string{"gate/metric"},
		others: []string{"gopkg.in/yaml.v3", "github.com/invopop/jsonschema", "github.com/dustin/go-humanize"}},
	"gate/oracle": {project: []string{"gate/trace", "gate/oracle/gguf"}, others: []string{"gonum.org/v1/gonum", "golang.org/x/sys"}},
	"gate/engine": {project: []string{"gate/engine", "gate/trace", "gate/spec", "gate/oracle"}, others: []string{"golang.org/x/sys"}},
	"gate": {project: []string{"gate/trace", "gate/metric", "gate/spec", "gate/engine", "gate/oracle"},
		others: []string{"golang.org/x/sys", "golang.org/x/sync", "gonum.org/v1/gonum"}},
	// Models that tests edit are read and written as the oracle reads them.
	"gate/engine/enginetest": {
		project: []string{"gate/oracle/gguf"}},
	"baseline/store":   {others: []string{"golang.org/x/sys"}},
	"baseline/golden":  {others: []string{"oras.land/oras-go/v2", "github.com/opencontainers/image-spec", "github.com/opencontainers/go-digest"}},
	"baseline/lineage": {},
	"baseline/ledger":  {project: []string{"gate", "baseline", "baseline/lineage", "baseline/store"}},
	"baseline/bisect":  {},
	"baseline":         {project: []string{"gate", "gate/metric", "gate/spec", "baseline"}},
	"report": {project: []string{"gate", "gate/metric", "baseline", "report"},
		others: []string{"github.com/fatih/color", "github.com/jstemmer/go-junit-report/v2"}},
	"report/github": {project: []string{"gate", "report", "baseline/store", "baseline/lineage"},
		others: []string{"github.com/google/go-github/v62", "github.com/sethvargo/go-githubactions", "github.com/hashicorp/go-retryablehttp"}},
	"report/github/githubtest": {others: []string{"github.com/getkin/kin-openapi"}},
	// The Action's steps wire engines, reports and GitHub together, as the command line does.
	"gate/action": {project: []string{"gate", "gate/spec", "gate/engine", "report", "report/github", "baseline", "baseline/ledger", "baseline/lineage", "baseline/store"},
		others: []string{"github.com/sethvargo/go-githubactions", "golang.org/x/sys"}},
	"gate/cli": {project: []string{"*"},
		others: []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/term"}},
}

// ruleFor is the rule of a folder: its own, or its nearest parent's. The root's
// and gate's are theirs alone.
func ruleFor(dir string) (importRule, bool) {
	if r, ok := importRules[dir]; ok {
		return r, true
	}
	for p := path.Dir(dir); p != "." && p != "gate"; p = path.Dir(p) {
		if r, ok := importRules[p]; ok {
			return r, true
		}
	}
	return importRule{}, false
}

func (r importRule) allows(imported, dir string) bool {
	if !strings.Contains(strings.Split(imported, "/")[0], ".") {
		return true // the standard library
	}
	if rest, ok := strings.CutPrefix(imported, module+"/"); ok {
		// Packages below a package are its own parts.
		return slices.Contains(r.project, "*") || slices.Contains(r.project, rest) || strings.HasPrefix(rest, dir+"/") && dir != "." && dir != "gate"
	}
	for _, m := range r.others {
		if imported == m || strings.HasPrefix(imported, m+"/") {
			return true
		}
	}
	return false
}

// TestImportDirection: imports point one way, so that a stage of the pipeline
// knows only what comes before it.
func TestImportDirection(t *testing.T) {
	checked := 0
	files := tracked(t)
	for _, file := range files {
		// A module of its own, such as the generator of assembly, is no part of
		// the program.
		if !isProductCode(file) || inOtherModule(file, files) {
			continue
		}
		dir := path.Dir(file)
		rule, ok := ruleFor(dir)
		if !ok {
			t.Errorf("%s: no import rule for this package: give it a line in layout_test.go", dir)
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if !rule.allows(imported, dir) {
				t.Errorf("%s imports %s: package %s may not", file, imported, dir)
			}
			checked++
		}
	}
	if checked < 20 {
		t.Errorf("only %d imports were looked at", checked)
	}
}

// TestImportRules: the rules themselves refuse what they should.
func TestImportRules(t *testing.T) {
	tests := []struct {
		dir, imported string
		want          bool
	}{
		{"gate/trace", "encoding/json", true},
		{"gate/trace", module + "/gate/metric", false},
		{"gate/trace", "golang.org/x/sys/unix", false},
		{"gate/metric", module + "/gate/spec", false},
		{"gate/spec", module + "/gate/metric", true},
		{"gate/spec", module + "/gate/trace", false},
		{"gate/engine", module + "/gate", false},
		{"gate", module + "/gate/engine", true},
		{"gate", module + "/report", false},
		{"gate", module + "/gate/cli", false},
		{"report", module + "/gate", true},
		{"report", module + "/gate/cli", false},
		{"baseline/store", module + "/baseline", false},
		{"baseline", module + "/report", false},
		{"gate/cli", module + "/report/github", true},
		{".", module + "/gate", false},
		{".", module + "/gate/cli", true},
		{"gate/cli", "github.com/spf13/viper", false},
	}
	for _, tt := range tests {
		rule, ok := ruleFor(tt.dir)
		if !ok || rule.allows(tt.imported, tt.dir) != tt.want {
			t.Errorf("%s imports %s: allowed %v, want %v", tt.dir, tt.imported, !tt.want, tt.want)
		}
	}
	if _, ok := ruleFor("gate/new"); ok {
		t.Error("a new package below gate needs a rule of its own")
	}
}

// topLevel is what may stand at the root.
var topLevel = []string{
	".ci", ".dockerignore", ".gitattributes", ".github", ".gitignore",
	"CHANGELOG.md", "Dockerfile", "LICENSE", "Makefile", "README.md", "action.yml",
	"baseline", "docs", "examples", "gate", "report", "testdata",
	"go.mod", "go.sum", "main.go", "main_test.go", "docs_test.go", "layout_test.go",
}

func TestTopLevel(t *testing.T) {
	for _, file := range tracked(t) {
		if top, _, _ := strings.Cut(file, "/"); !slices.Contains(topLevel, top) {
			t.Errorf("%s: %s is no part of the layout", file, top)
		}
	}
}

// maxLines is how long a file of Go code may be: one idea fits.
const maxLines = 400

func TestFileLength(t *testing.T) {
	for _, file := range tracked(t) {
		if !isProductCode(file) {
			continue
		}
		b := read(t, file)
		if n := bytes.Count(b, []byte("\n")); n > maxLines && !generated.Match(b) {
			t.Errorf("%s has %d lines, more than %d: does it hold one idea?", file, n, maxLines)
		}
	}
}

var (
	generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)
	// Written in pieces, so that this file does not match itself.
	unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b|(?i)\bnot imple` + `mented\b|\bunimple` + `mented\b`)
	skipping   = regexp.MustCompile(`\b[a-z]+\.Skip(f|Now)?\(|pytest\.(mark\.)?sk` + `ip|^\s*\[!?[a-z:]+\] skip\b`)
)

// TestNothingUnfinished: what is committed is whole, and no test steps aside.
func TestNothingUnfinished(t *testing.T) {
	code := []string{".go", ".yml", ".yaml", ".md", ".py", ".c", ".h", ".cpp", ".sh", ".txtar"}
	for _, file := range tracked(t) {
		if !slices.Contains(code, path.Ext(file)) {
			continue
		}
		for i, line := range bytes.Split(read(t, file), []byte("\n")) {
			if unfinished.Match(line) {
				t.Errorf("%s:%d: unfinished: %s", file, i+1, line)
			}
			if skipping.Match(line) {
				t.Errorf("%s:%d: a test that can be skipped: %s", file, i+1, line)
			}
		}
	}
}

// isProductCode reports whether a file is Go code that is not a test's.
func isProductCode(file string) bool {
	return path.Ext(file) == ".go" && !strings.HasSuffix(file, "_test.go") && !slices.Contains(strings.Split(file, "/"), "testdata")
}

// inOtherModule reports whether a file belongs to a module below this one.
func inOtherModule(file string, files []string) bool {
	for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
		if slices.Contains(files, dir+"/go.mod") {
			return true
		}
	}
	return false
}

// tracked lists the files that git tracks and that are there.
func tracked(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("git", "ls-files", "-z").Output()
	if err != nil {
		t.Fatalf("git ls-files: %v (the layout is checked in a checkout)", err)
	}
	var files []string
	for _, f := range strings.Split(strings.TrimRight(string(out), "\x00"), "\x00") {
		if st, err := os.Lstat(filepath.FromSlash(f)); err == nil && st.Mode().IsRegular() {
			files = append(files, f)
		}
	}
	if len(files) < 10 {
		t.Fatalf("git tracks only %d files here", len(files))
	}
	return files
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash(file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
