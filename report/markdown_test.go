package report

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/paritygate/paritygate/gate"
	"github.com/yuin/goldmark/ast"
	extast "github.com/yuin/goldmark/extension/ast"
	mdtext "github.com/yuin/goldmark/text"
)

// checkStructure parses a comment as Markdown and fails on anything that the
// report does not write itself.
func checkStructure(t *testing.T, source string) {
	t.Helper()
	data := []byte(source)
	doc := gfm.Parser().Parse(mdtext.NewReader(data))
	headings, first := 0, true
	err := ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			if headings++; headings == 1 && n.Level != 2 || headings == 2 && n.Level != 3 || headings > 2 {
				t.Errorf("heading %d of level %d", headings, n.Level)
			}
		case *ast.HTMLBlock:
			checkHTML(t, string(n.Lines().Value(data)), first)
			first = false
		case *ast.Text:
			checkText(t, string(n.Segment.Value(data)))
		case *ast.CodeSpan, *ast.FencedCodeBlock:
			return ast.WalkSkipChildren, nil
		case *ast.Emphasis:
			if n.Level != 2 {
				t.Error("a name became emphasis")
			}
		case *ast.Link, *ast.AutoLink, *ast.Image, *ast.RawHTML, *ast.Blockquote, *ast.CodeBlock, *ast.ThematicBreak,
			*extast.TaskCheckBox, *extast.Strikethrough, *extast.FootnoteLink:
			t.Errorf("a name became %s", n.Kind())
		case *extast.TableRow:
			// Every row has as many cells as its table's head: the comment's has 7, the
			// baseline's 8.
			if cells, head := n.ChildCount(), n.Parent().FirstChild().ChildCount(); cells != head || head != 7 && head != 8 {
				t.Errorf("a row has %d cells, its head %d", cells, head)
			}
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if opened, closed := strings.Count(source, "\n<details>"), strings.Count(source, "\n</details>\n"); opened != closed {
		t.Errorf("%d details opened, %d closed", opened, closed)
	}
}

// checkHTML allows the marker and the folds, nothing else.
func checkHTML(t *testing.T, s string, first bool) {
	t.Helper()
	s = strings.TrimSpace(s)
	switch {
	case first && strings.HasPrefix(s, "<!-- paritygate"):
	case s == "</details>", strings.HasPrefix(s, "<details><summary>") && strings.HasSuffix(s, "</summary>") && strings.Count(s, "<") == 3:
	default:
		t.Errorf("HTML %q", s)
	}
}

func comments(t *testing.T, r *gate.Result, o MarkdownOptions) string {
	t.Helper()
	var b bytes.Buffer
	if err := Markdown(&b, r, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestMarkdownStructure(t *testing.T) {
	for _, s := range samples {
		t.Run(s.name, func(t *testing.T) {
			c := comments(t, s.make(), MarkdownOptions{})
			if !strings.HasPrefix(c, Marker+"\n## ") {
				t.Errorf("the comment begins with %.40q", c)
			}
			if strings.Count(c, Marker+"\n") != 1 {
				t.Error("the marker stands more than once on its own line")
			}
			checkStructure(t, c)
		})
	}
}

// The headline names the table's first row: the worst one.
func TestMarkdownHeadlineIsTableTop(t *testing.T) {
	for _, s := range samples {
		r := s.make()
		if r.Outcome != gate.Fail {
			continue
		}
		c := comments(t, r, MarkdownOptions{})
		headline := strings.Split(c, "\n")[1]
		_, table, ok := strings.Cut(c, "|---|---|--:|--:|--:|--:|--:|\n")
		if !ok {
			t.Fatalf("%s: no table", s.name)
		}
		name := strings.Split(strings.TrimPrefix(strings.Split(table, "\n")[0], "| ✗ "), "`")[1]
		if !strings.Contains(headline, "`"+name+"`") {
			t.Errorf("%s: the headline %q does not name %q", s.name, headline, name)
		}
	}
}

// Over the budget the folded parts go first, then rows, and what is left out is
// counted.
func TestMarkdownBudget(t *testing.T) {
	r := large()
	for i := range r.Checkpoints {
		r.Checkpoints[i].Name = strings.Repeat("界", 75) + r.Checkpoints[i].Name
	}
	for i := range 9 {
		r.Reasons = append(r.Reasons, fmt.Sprint(i, strings.Repeat(" &", 190)))
		r.Warnings = append(r.Warnings, fmt.Sprint(i, strings.Repeat(" @", 190)))
	}
	r.FirstDivergence = nil
	full := comments(t, r, MarkdownOptions{})
	if n := utf8.RuneCountInString(full); n > defaultBudget || len(full) >= maxBytes {
		t.Errorf("%d characters, %d bytes", n, len(full))
	}
	seen := map[string]bool{}
	// Below minBudget nothing is promised, but this result still fits.
	for budget := defaultBudget; budget >= 4_000; budget -= 500 {
		c, err := (&comment{newView(r), MarkdownOptions{Marker: Marker, Budget: budget}}).fit()
		if err != nil {
			t.Fatal(err)
		}
		if n := utf8.RuneCountInString(c); n > budget {
			t.Fatalf("%d characters, the budget is %d", n, budget)
		}
		checkStructure(t, c)
		rows, folds := strings.Count(c, "\n| ✗ "), strings.Count(c, "<details>")
		if want := fmt.Sprintf("… %d more that do not pass", 51-rows); !strings.Contains(c, want) {
			t.Errorf("budget %d: %d rows and no %q", budget, rows, want)
		}
		if folds > 0 && rows < tableRows {
			t.Errorf("budget %d: %d rows beside %d folded parts", budget, rows, folds)
		}
		if left := 4 - folds; left > 0 && !strings.Contains(c, plural(left, "more part")+" left out") {
			t.Errorf("budget %d: %d parts are left out without a word", budget, left)
		}
		seen[fmt.Sprintf("folds %t rows %t", folds == 4, rows == tableRows)] = true
	}
	if len(seen) != 3 {
		t.Errorf("the budgets gave %v, want all, some and no folds, and fewer rows", seen)
	}
}

// However long every text is, a comment within the smallest budget comes out.
func TestMarkdownSmallestBudget(t *testing.T) {
	r := hostile()
	for i, long := range []string{strings.Repeat("&", 5000), strings.Repeat("@", 5000), strings.Repeat("🦀", 5000), strings.Repeat("`|", 5000)} {
		fillStrings(reflect.ValueOf(r).Elem(), long)
		for _, r.Outcome = range []gate.Outcome{gate.Fail, gate.Incomplete, gate.Pass} {
			c := comments(t, r, MarkdownOptions{Budget: minBudget, GPU: long, Head: long})
			if n := utf8.RuneCountInString(c); n > minBudget || len(c) >= maxBytes {
				t.Errorf("text %d, %s: %d characters, %d bytes", i, r.Outcome, n, len(c))
			}
		}
	}
}

// fillStrings sets every string of v.
func fillStrings(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() {
			v.SetString(s)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fillStrings(v.Field(i), s)
		}
	case reflect.Slice:
		for i := range v.Len() {
			fillStrings(v.Index(i), s)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			fillStrings(v.Elem(), s)
		}
	}
}

func TestMarkdownManyFailures(t *testing.T) {
	r := base()
	for i := range 20_000 {
		r.Checkpoints = append(r.Checkpoints, hidden("haiku", fmt.Sprintf("layer_%d_output", i), i, 0.1, 0.1, 0.005))
	}
	c := comments(t, finish(r, gate.Fail, "all of them"), MarkdownOptions{})
	if n := utf8.RuneCountInString(c); n > defaultBudget {
		t.Errorf("%d characters", n)
	}
	if !strings.Contains(c, "… 19,980 more that do not pass") {
		t.Error("the rows that are left out are not counted")
	}
}

func TestMarkdownOptions(t *testing.T) {
	r := rope()
	for want, o := range map[string]MarkdownOptions{
		"marker":       {Marker: "<!-- a --> @x"},
		"an HTML":      {Marker: "<!-- a -- b -->"},
		"20000 at":     {Budget: 100},
		"http or http": {SpecURL: "javascript:alert(1)"},
		"spec address": {SpecURL: "parity.yaml"},
	} {
		if err := Markdown(&bytes.Buffer{}, r, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %q in it", o, err, want)
		}
	}
	c := comments(t, r, MarkdownOptions{Head: "@everyone", GPU: "![x](y)",
		SpecURL: "https://example.com/a)_b_(c|d#frag"})
	if !strings.Contains(c, "([L14](https://example.com/a%29%5Fb%5F%28c%7Cd#L14))") {
		t.Error("the spec's lines are not linked")
	}
	unlinked := strings.NewReplacer("([L14](https://example.com/a%29%5Fb%5F%28c%7Cd#L14))", "", "[`parity.yaml`](https://example.com/a%29%5Fb%5F%28c%7Cd)", "").Replace(c)
	checkStructure(t, unlinked)
}

func TestPassIsShort(t *testing.T) {
	head, _, _ := strings.Cut(comments(t, passing(), MarkdownOptions{}), "<details>")
	if n := strings.Count(head, "\n"); n > 10 {
		t.Errorf("a pass has %d lines above the folds", n)
	}
}
