package spec

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/paritygate/paritygate/gate/metric"
)

var docsFile = filepath.Join("..", "..", "docs", "spec.md")

// section is the text below a heading, up to the next of any level.
func section(t *testing.T, text, heading string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, "\n"+heading+"\n")
	if !ok {
		t.Fatalf("no heading %q in %s", heading, docsFile)
	}
	body, _, _ := strings.Cut(rest, "\n#")
	return body
}

// rows are the cells of a section's tables whose first cell is a key.
func rows(body string) map[string][]string {
	out := map[string][]string{}
	for _, line := range strings.Split(body, "\n") {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if m := keyCell.FindStringSubmatch(cells[0]); m != nil && strings.HasPrefix(line, "| ") {
			out[m[1]] = cells
		}
	}
	return out
}

var keyCell = regexp.MustCompile("^`([a-z0-9_.]+)`$")

// TestDocsKeys holds docs/spec.md to the parser's tables, both ways.
func TestDocsKeys(t *testing.T) {
	text := string(read(t, docsFile))
	headings := map[string]string{
		"Spec": "## The file", "Model": "## model", "Prompt": "## prompts", "Engines": "## engines", "Engine": "## One engine",
		"Require": "## require", "Skip": "## skip", "Garbage": "## garbage", "Tolerances": "## tolerances",
		"Oracle": "## oracle", "Baseline": "## baseline",
	}
	for name, table := range tables() {
		documented := rows(section(t, text, headings[name]))
		for _, k := range table {
			cells, ok := documented[k.key]
			if !ok {
				t.Errorf("%s: no row for %q", headings[name], k.key)
				continue
			}
			delete(documented, k.key)
			if k.need != (cells[2] == "required") {
				t.Errorf("%s: %q: required is %v, the default says %q", headings[name], k.key, k.need, cells[2])
			}
			def, ok := defaults[name+"."+k.key]
			if want := strings.ReplaceAll(fmt.Sprintf("`%v`", def), "e+", "e"); ok && cells[2] != want {
				t.Errorf("%s: %q: the default is %s, documented as %s", headings[name], k.key, want, cells[2])
			}
		}
		for key := range documented {
			t.Errorf("%s: %q is no key", headings[name], key)
		}
	}
	for _, k := range append([]string{"checkpoint", "warn"}, baselineKeys...) {
		if rows(section(t, text, "### Rules"))[k] == nil {
			t.Errorf("### Rules: no row for %q", k)
		}
	}
}

// TestDocsMetrics holds the table of metrics to the registry; -update rewrites it.
func TestDocsMetrics(t *testing.T) {
	var want strings.Builder
	for _, i := range metric.All() {
		bound, percent := "at most", "no"
		if i.Direction == metric.HigherIsBetter {
			bound = "at least"
		}
		if i.Percent {
			percent = "yes"
		}
		scope := map[metric.Scope]string{metric.AnyCheckpoint: "all", metric.HiddenOnly: "hidden states", metric.ResidualOnly: "residual layers", metric.LogitsOnly: "logits"}[i.Scope]
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s | %s |\n", i.Name, bound, percent, scope, strings.ReplaceAll(i.Doc, "|", `\|`))
	}
	text := string(read(t, docsFile))
	const head = "| key | limit | percentage | for | formula |\n|---|---|---|---|---|\n"
	before, table, ok := strings.Cut(text, head)
	if !ok {
		t.Fatalf("no table of metrics in %s", docsFile)
	}
	if *update {
		if err := os.WriteFile(docsFile, []byte(before+head+want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want.String(), table); diff != "" {
		t.Errorf("metrics (-registry +docs; -update rewrites them):\n%s", diff)
	}
}

// TestDocsAdapters holds the table of adapters to what the parser accepts.
func TestDocsAdapters(t *testing.T) {
	body := section(t, string(read(t, docsFile)), "## One engine")
	code := func(keys []string) string {
		if keys == nil {
			return "none"
		}
		return "`" + strings.Join(keys, "` `") + "`"
	}
	for _, v := range variants {
		first := "| `" + v.adapter + "`: "
		if v.mode != "" {
			first = "| `" + v.adapter + "`, `mode: " + v.mode + "`: "
		}
		i := strings.Index(body, first)
		if i < 0 {
			t.Errorf("no row that starts with %q", first)
			continue
		}
		line, _, _ := strings.Cut(body[i:], "\n")
		if want := "| " + code(v.need) + " | " + code(v.may) + " |"; !strings.HasSuffix(line, want) {
			t.Errorf("%s: got %s, want it to end in %s", v.title(), line, want)
		}
	}
}

// TestDocsExamples parses every YAML block; those without a version are parts
// of a file.
func TestDocsExamples(t *testing.T) {
	blocks := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(string(read(t, docsFile)), -1)
	if len(blocks) < 8 {
		t.Fatalf("%d YAML blocks", len(blocks))
	}
	for _, b := range blocks {
		text := b[1]
		if !slices.Contains(strings.Split(text, "\n"), "version: 1") {
			text = "version: 1\n" + text
		}
		if _, err := Parse([]byte(text), "example.yaml"); err != nil {
			t.Errorf("%v", err)
		}
	}
}
