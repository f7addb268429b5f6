package github

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
)

func TestSummary(t *testing.T) {
	var b strings.Builder
	p := Published{Did: []string{"set the commit status"}, Failed: []string{"could not comment: the token may only <b>read</b>"}}
	if err := Summary(&b, failsAt(2), p, report.MarkdownOptions{Head: "abcdef"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Parity fails: `layer_5_output`", "head `abcdef`", "### Not published\n\n- could not comment: the token may only &lt;b&gt;read&lt;/b&gt;\n",
		"### Published\n\n- set the commit status\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if err := Summary(broken{}, passes(), p, report.MarkdownOptions{}); err == nil {
		t.Error("a broken writer is no error")
	}
	if s := summary(passes(), Published{}, report.MarkdownOptions{}); strings.Contains(s, "ublished") {
		t.Errorf("nothing was published:\n%s", s)
	}
}

// Options that the report refuses do not cost the summary.
func TestSummaryWithBadOptions(t *testing.T) {
	for _, o := range []report.MarkdownOptions{{SpecURL: "javascript:alert(1)"}, {Marker: "x"}, {Budget: 1}} {
		if s := summary(failsAt(2), Published{}, o); !strings.Contains(s, "Parity fails: `layer_5_output`") {
			t.Errorf("%+v: %s", o, s)
		}
	}
}

func TestSummarySize(t *testing.T) {
	var p Published
	for i := range 200 {
		p.Failed = append(p.Failed, fmt.Sprint(i, strings.Repeat(" @🦀", 10_000)))
		p.Did = append(p.Did, fmt.Sprint(i))
	}
	for _, a := range append([]string{strings.Repeat("A", 10<<20), strings.Repeat("🦀", 1<<20)}, attacks...) {
		for _, o := range []gate.Outcome{gate.Fail, gate.Pass, gate.Incomplete} {
			r := hostile(a)
			r.Outcome = o
			s := summary(r, p, report.MarkdownOptions{Head: a, GPU: a})
			if len(s) > 400_000 {
				t.Errorf("%.20q: %d bytes", a, len(s))
			}
			if !strings.Contains(s, "\n- 180 more\n") {
				t.Errorf("%.20q: the notes left out are not counted", a)
			}
		}
	}
}

func TestWriteSummary(t *testing.T) {
	file := filepath.Join(t.TempDir(), "summary")
	if err := WriteSummary("", passes(), Published{}, report.MarkdownOptions{}); err != nil {
		t.Errorf("no file: %v", err)
	}
	for range 2 {
		if err := WriteSummary(file, passes(), Published{}, report.MarkdownOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil || strings.Count(string(data), "## ✅ Parity passes") != 2 {
		t.Errorf("%v in\n%s", err, data)
	}
	if err := os.WriteFile(file, make([]byte, maxSummary-10), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteSummary(file, passes(), Published{}, report.MarkdownOptions{}); err == nil || !strings.Contains(err.Error(), "over the limit of 1048576") {
		t.Errorf("a full file: %v", err)
	}
}
