package github

import (
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
)

func TestMarker(t *testing.T) {
	for name, want := range map[string]string{
		"paritygate":            "<!-- paritygate:paritygate -->",
		"llama.cpp on H200/f16": "<!-- paritygate:llama.cpp on H200/f16 -->",
		"a-b":                   "<!-- paritygate:a-b -->",
	} {
		if got := marker(name); got != want {
			t.Errorf("%q: %s", name, got)
		}
	}
	seen := map[string]string{}
	for _, name := range append([]string{"a--b", "a-", "-a", "a>", "a -->", strings.Repeat("a", 61), strings.Repeat("a", 62), "größe", "sha256=00"}, attacks...) {
		m := marker(name)
		if other, ok := seen[m]; ok {
			t.Errorf("%q and %q have the same marker", name, other)
		}
		seen[m] = name
		if !strings.HasPrefix(m, "<!-- paritygate:sha256=") && plainName.MatchString(name) != true {
			t.Errorf("%q: %s", name, m)
		}
		var b strings.Builder
		if err := report.Markdown(&b, passes(), report.MarkdownOptions{Marker: m}); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// A state comes back as it was written, whatever the names are, and stays one
// line of one HTML comment.
func TestStickyRoundTrip(t *testing.T) {
	for _, a := range append([]string{strings.Repeat("A", 10<<20), strings.Repeat("🦀-", 100)}, attacks...) {
		ev := &Event{Name: "pull_request", Head: strings.Repeat("a1", 20), RunID: 77, RunAttempt: 2}
		s := stickyOf(ev, hostile(a))
		line := s.line()
		inner := strings.TrimSuffix(strings.TrimPrefix(line, stickyOpen), stickyClose)
		if strings.ContainsAny(inner, "<>-@#\n\r\x00`") || len(inner)+len(stickyOpen)+len(stickyClose) != len(line) || len(line) > 6000 {
			t.Errorf("%.20q: the line %.200q", a, line)
		}
		for _, end := range []string{"\n", "\r\n"} {
			got, ours := parseSticky(marker("x")+end+line+end+"## text", marker("x"))
			if !ours || got != s {
				t.Errorf("%.20q: read back as %+v, want %+v", a, got, s)
			}
		}
	}
}

func TestParseSticky(t *testing.T) {
	m := marker("x")
	good := sticky{Head: "abc", Run: 3, Attempt: 1, Outcome: "pass"}
	for _, tt := range []struct {
		name, body string
		ours       bool
		want       sticky
	}{
		{"whole", m + "\n" + good.line() + "\ntext", true, good},
		{"no text", m + "\n" + good.line(), true, good},
		{"another gate's", marker("y") + "\n" + good.line(), false, sticky{}},
		{"marker later", "hello\n" + m + "\n" + good.line(), false, sticky{}},
		{"quoted", "> " + m + "\n" + good.line(), false, sticky{}},
		{"marker and more", m + " hello", false, sticky{}},
		{"no state", m + "\n## text", true, sticky{}},
		{"damaged state", m + "\n<!-- paritygate-state {\"head\": -->", true, sticky{}},
		{"wrong type", m + "\n<!-- paritygate-state {\"head\":\"a\",\"run\":\"b\"} -->", true, sticky{}},
		{"unclosed", m + "\n" + strings.TrimSuffix(good.line(), " -->"), true, sticky{}},
		{"empty", "", false, sticky{}},
	} {
		if got, ours := parseSticky(tt.body, m); ours != tt.ours || got != tt.want {
			t.Errorf("%s: %t %+v, want %t %+v", tt.name, ours, got, tt.ours, tt.want)
		}
	}
}

func TestLaterThan(t *testing.T) {
	at := func(head string, run int64, attempt int) sticky {
		return sticky{Head: head, Run: run, Attempt: attempt}
	}
	for _, tt := range []struct {
		a, b sticky
		want bool
	}{
		{at("h", 2, 1), at("h", 1, 1), true},
		{at("h", 2, 1), at("h", 1, 9), true},
		{at("h", 1, 9), at("h", 2, 1), false},
		{at("h", 2, 2), at("h", 2, 1), true},
		{at("h", 2, 1), at("h", 2, 1), false},
		{at("g", 2, 1), at("h", 1, 1), false}, // another commit's runs are not compared
		{at("", 2, 1), at("", 1, 1), false},
	} {
		if got := tt.a.laterThan(tt.b); got != tt.want {
			t.Errorf("%+v later than %+v: %t", tt.a, tt.b, got)
		}
	}
}

// What on-change takes for news.
func TestSameNews(t *testing.T) {
	ev := &Event{Name: "pull_request", Head: strings.Repeat("a", 40), RunID: 1, RunAttempt: 1}
	of := func(r *gate.Result) sticky { return stickyOf(ev, r) }
	with := func(r *gate.Result, change func(*gate.Result)) *gate.Result { change(r); return r }
	for _, tt := range []struct {
		name string
		a, b *gate.Result
		same bool
	}{
		{"the same", failsAt(2), failsAt(2), true},
		{"a pass whose nearest checkpoint is another", passes(), with(passes(), func(r *gate.Result) {
			r.Checkpoints[0], r.Checkpoints[1] = checkpoint("embedding", 0, 0.9, 14), checkpoint("layer_0_output", 1, 0.1, 14)
		}), true},
		{"figures alone", failsAt(2), with(failsAt(2), func(r *gate.Result) {
			for i := range r.Checkpoints[5].Limits {
				r.Checkpoints[5].Limits[i].Value *= 2
				r.Checkpoints[5].Limits[i].Use *= 2
			}
		}), true},
		{"outcome", failsAt(2), passes(), false},
		{"first divergence", failsAt(2), failsAt(3), false},
		{"worst checkpoint", failsAt(2), with(failsAt(2), func(r *gate.Result) { r.Checkpoints[5].Name = "logits" }), false},
		{"why it crashed", crashes(), with(crashes(), func(r *gate.Result) { r.Reasons[0] = "out of memory" }), false},
		{"when it crashed", crashes(), with(crashes(), func(r *gate.Result) {
			r.Reasons[0] = strings.Replace(r.Reasons[0], "1.2 s", "37 s", 1)
		}), true},
		{"a loosened rule", failsAt(2), with(failsAt(2), func(r *gate.Result) { r.Spec.Changes = []gate.SpecChange{{Effect: "loosened", What: "x"}} }), false},
		{"a rule's line", with(failsAt(2), func(r *gate.Result) { r.Spec.Changes = []gate.SpecChange{{What: "x", Line: 1}} }),
			with(failsAt(2), func(r *gate.Result) { r.Spec.Changes = []gate.SpecChange{{What: "x", Line: 2}} }), true},
		{"approval", failsAt(2), with(failsAt(2), func(r *gate.Result) { r.Spec.Approved = true }), false},
		{"who judged", failsAt(2), with(failsAt(2), func(r *gate.Result) { r.Spec.JudgedBy = "ab" }), false},
		{"the baseline", failsAt(2), with(failsAt(2), func(r *gate.Result) { r.Baseline = &gate.Baseline{State: gate.BaselineNone} }), false},
	} {
		if got := of(tt.a).sameNews(of(tt.b)); got != tt.same {
			t.Errorf("%s: the same news %t, want %t\n%+v\n%+v", tt.name, got, tt.same, of(tt.a), of(tt.b))
		}
	}
}
