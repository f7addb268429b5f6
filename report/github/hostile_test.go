package github

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/paritygate/paritygate/gate"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	mdtext "github.com/yuin/goldmark/text"
)

var (
	gfm = goldmark.New(goldmark.WithExtensions(extension.GFM, extension.Footnote))
	// alive is what GitHub makes something of in text that Markdown left alone.
	alive = regexp.MustCompile(`(?i)@[a-z0-9]|#[0-9]|\bGH-[0-9]|://|\bwww\.|\$[0-9a-z\\]`)
	fold  = regexp.MustCompile(`^(</details>|<details><summary>[^<]*</summary>)$`)
)

// wantInert fails on anything in a text that a name has become. Its links may
// lead to allowed alone, its HTML be the comments that begin it and folds.
func wantInert(t *testing.T, source, allowed string) {
	t.Helper()
	data := []byte(source)
	atStart := true
	err := ast.Walk(gfm.Parser().Parse(mdtext.NewReader(data)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.HTMLBlock:
			s := strings.TrimSpace(string(n.Lines().Value(data)))
			if atStart && strings.HasPrefix(s, "<!-- paritygate") && strings.HasSuffix(s, " -->") && strings.Count(s, ">") == 1 {
				return ast.WalkContinue, nil
			}
			if !fold.MatchString(s) {
				t.Errorf("HTML %.200q", s)
			}
		case *ast.Heading:
			atStart = false
		case *ast.Link:
			if allowed == "" || !strings.HasPrefix(string(n.Destination), allowed) {
				t.Errorf("a link to %.200q", n.Destination)
			}
		case *ast.CodeSpan, *ast.FencedCodeBlock:
			return ast.WalkSkipChildren, nil
		case *ast.Text:
			if s := string(n.Segment.Value(data)); alive.MatchString(s) {
				t.Errorf("the text %.200q", s)
			}
		case *ast.Image, *ast.RawHTML, *ast.AutoLink, *ast.Blockquote, *ast.CodeBlock, *ast.ThematicBreak:
			t.Errorf("a name became %s", n.Kind())
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The comment that is published, and what a flip leaves of it, stay within
// GitHub's limits and inert, whatever the names are; and it is found again.
func TestHostileComment(t *testing.T) {
	for _, a := range append([]string{strings.Repeat("A", 10<<20), strings.Repeat("🦀", 1<<20), strings.Repeat("<!-- -->", 100)}, attacks...) {
		for _, o := range []gate.Outcome{gate.Fail, gate.Incomplete} {
			w := newWorld(t)
			w.s.Status, w.s.NewOnFlip, w.s.Name = false, true, "gate <b>"
			r := hostile(a)
			r.Outcome = o
			wantNone(t, w.publish(r).Failed)
			first := w.one()
			w.push()
			wantNone(t, w.publish(r).Failed)
			body := w.one().Body
			if w.one().ID != first.ID {
				t.Errorf("%.20q: the comment was not found again", a)
			}
			if n := utf8.RuneCountInString(body); n > commentBudget || len(body) >= 200_000 {
				t.Errorf("%.20q: %d characters, %d bytes", a, n, len(body))
			}
			wantInert(t, body, "https://github.com/acme/engine/blob/"+w.ev.Head+"/parity.yaml")
			wantInert(t, summary(r, Published{Did: []string{a}, Failed: []string{a, a}}, MarkdownOptions(&w.ev, w.s, r)),
				"https://github.com/acme/engine/blob/")
			w.push()
			wantNone(t, w.publish(passes()).Failed)
			note := w.repo.Comments(w.pr.Number)[0]
			if note.ID != first.ID {
				t.Errorf("%.20q: the first comment is gone", a)
			}
			wantInert(t, note.Body, w.ev.RunURL())
		}
	}
}
