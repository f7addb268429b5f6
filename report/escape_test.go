package report

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	mdtext "github.com/yuin/goldmark/text"
)

var gfm = goldmark.New(goldmark.WithExtensions(extension.GFM, extension.Footnote))

// Mentions and references as GitHub finds them in the text that Markdown leaves,
// outside code.
var (
	mention   = regexp.MustCompile(`@[0-9A-Za-z]`)
	reference = regexp.MustCompile(`(?i)(#[0-9]|\bgh-[0-9])`)
	maths     = regexp.MustCompile(`(^|[\s(])\$\S`)
)

// inert fails the test if Markdown makes anything of names in source: only
// text, code spans and the structure that allowed names.
func inert(t *testing.T, source string, allowed map[ast.NodeKind]bool) {
	t.Helper()
	data := []byte(source)
	doc := gfm.Parser().Parse(mdtext.NewReader(data))
	err := ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n.Kind() {
		case ast.KindDocument, ast.KindParagraph, ast.KindString, ast.KindTextBlock:
		case ast.KindCodeSpan:
			return ast.WalkSkipChildren, nil
		case ast.KindText:
			checkText(t, string(n.(*ast.Text).Segment.Value(data)))
		default:
			if !allowed[n.Kind()] {
				t.Errorf("a name became %s in %q", n.Kind(), source)
			}
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checkText looks for what GitHub's filters would find after Markdown.
func checkText(t *testing.T, s string) {
	t.Helper()
	plain := strings.ReplaceAll(s, `\`, "")
	for what, pattern := range map[string]*regexp.Regexp{"mention": mention, "reference": reference, "mathematics": maths} {
		if m := pattern.FindString(plain); m != "" {
			t.Errorf("a %s %q is left in %q", what, m, s)
		}
	}
	for _, r := range s {
		if r != '\u200b' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			t.Errorf("an invisible %U is left in %q", r, s)
		}
	}
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"layer_2_output":               `layer\_2\_output`,
		"rel_l2 3.1 % > 0.5 %":         `rel\_l2 3.1 % &gt; 0.5 %`,
		"<img src=x onerror=alert(1)>": `&lt;img src=x onerror=alert\(1\)&gt;`,
		"@everyone":                    "\u200b\\@\u200beveryone",
		"a#1":                          "a\u200b\\#\u200b1",
		"](javascript:x)":              `\]\(javascript:x\)`,
		"a\nb\r\n\tc":                  "a b c",
		"https://x":                    "https:\u200b//x",
		"1. x":                         "\u200b1. x",
		"- x":                          "\u200b- x",
		"0.1.0":                        "0.1.0",
		"a\u202eb":                     `a\\u202eb`,
		"&#64;x":                       "&amp;\u200b\\#\u200b64;x",
	} {
		if got := escape(in); got != want {
			t.Errorf("escape(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCode(t *testing.T) {
	for in, want := range map[string]string{
		"layer_2_output": "`layer_2_output`",
		"a`b":            "``a`b``",
		"`a`":            "`` `a` ``",
		"a``b`c":         "```a``b`c```",
		"a|b":            "`a|b`",
		"":               "(no name)",
		" ":              "(no name)",
		"a\nb":           "`a\\nb`",
		"::x":            "`\\::x`",
		"ggml::norm":     "`ggml::norm`",
		"##[x":           "`##\\[x`",
	} {
		if got := code(in); got != want {
			t.Errorf("code(%q) = %q, want %q", in, got, want)
		}
	}
	if got := cell("a|b"); got != "`a\\|b`" {
		t.Errorf("cell = %q", got)
	}
	if got := cell(`a\|b`); got != "`a\\¦b`" {
		t.Errorf("cell = %q", got)
	}
}

// A code span shows the name that it was given.
func TestCodeShowsName(t *testing.T) {
	for _, a := range attacks {
		source := []byte("x " + code(a))
		doc := gfm.Parser().Parse(mdtext.NewReader(source))
		span, ok := doc.FirstChild().LastChild().(*ast.CodeSpan)
		if !ok {
			if strings.TrimSpace(a) != "" {
				t.Errorf("code(%q) is no code span", a)
			}
			continue
		}
		var b bytes.Buffer
		for n := span.FirstChild(); n != nil; n = n.NextSibling() {
			b.Write(n.(*ast.Text).Segment.Value(source))
		}
		if got := b.String(); got != clean(a, maxName) {
			t.Errorf("code(%q) shows %q", a, got)
		}
	}
}

func TestNamesAreCut(t *testing.T) {
	long := strings.Repeat("é", 10<<20)
	for what, got := range map[string]string{"clean": clean(long, maxName), "code": strings.Trim(code(long), "`")} {
		if n := utf8.RuneCountInString(got); n != maxName+1 || !strings.HasSuffix(got, "…") {
			t.Errorf("%s of 10 MB has %d runes", what, n)
		}
	}
	if n := utf8.RuneCountInString(escape(long)); n != maxProse+1 {
		t.Errorf("escape of 10 MB has %d runes", n)
	}
}

func TestAttacksAreInert(t *testing.T) {
	table := map[ast.NodeKind]bool{extast.KindTable: true, extast.KindTableHeader: true, extast.KindTableRow: true, extast.KindTableCell: true}
	for _, a := range attacks {
		inert(t, escape(a), nil)
		inert(t, code(a)+" "+escape(a)+code(a), nil)
		source := "| a | b |\n|---|---|\n| " + cell(a) + " | " + escape(a) + " |\n"
		inert(t, source, table)
		checkCells(t, source, 2)
	}
}

// checkCells fails if a row of a table has not n cells.
func checkCells(t *testing.T, source string, n int) {
	t.Helper()
	doc := gfm.Parser().Parse(mdtext.NewReader([]byte(source)))
	rows := 0
	_ = ast.Walk(doc, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering && node.Kind() == extast.KindTableRow {
			rows++
			// goldmark drops what is over, GitHub too: count the bars instead.
			line := strings.Split(source, "\n")[2]
			if bars := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"); bars != n+1 {
				t.Errorf("%q has %d bars", line, bars)
			}
			if node.ChildCount() != n {
				t.Errorf("%q has %d cells", source, node.ChildCount())
			}
		}
		return ast.WalkContinue, nil
	})
	if rows != 1 {
		t.Errorf("%q has %d rows", source, rows)
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{
		"parity.yaml": "parity.yaml",
		"a b":         "'a b'",
		"$(rm -rf ~)": "'$(rm -rf ~)'",
		"it's":        `'it'\''s'`,
		"":            "''",
		"-rf;x":       "'-rf;x'",
		"a\nb":        `'a\nb'`,
	} {
		if got := shellWord(in); got != want {
			t.Errorf("shellWord(%q) = %s, want %s", in, got, want)
		}
	}
}

func FuzzMarkdownEscape(f *testing.F) {
	for _, a := range attacks {
		f.Add(a)
	}
	f.Fuzz(func(t *testing.T, name string) {
		inert(t, "x: "+escape(name), nil)
		inert(t, escape(name), nil)
		inert(t, "x "+code(name)+" y "+code(name), nil)
		source := "| a | b |\n|---|---|\n| " + cell(name) + " | " + escape(name) + " |\n"
		inert(t, source, map[ast.NodeKind]bool{extast.KindTable: true, extast.KindTableHeader: true, extast.KindTableRow: true, extast.KindTableCell: true})
		checkCells(t, source, 2)
		if s := clean(name, maxName); strings.ContainsAny(s, "\n\r\x1b") || strings.Contains(s, "##[") || strings.HasPrefix(strings.TrimSpace(s), "::") {
			t.Errorf("clean leaves %q", s)
		}
	})
}
