package report

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/paritygate/paritygate/gate"
)

func TestBrief(t *testing.T) {
	for _, tt := range []struct {
		name                   string
		r                      *gate.Result
		headline, worst, first string
	}{
		{"pass", passing(), "all 9 checkpoints are within tolerance", "logits", ""},
		{"rope", rope(), "final_norm rel_l2 4.01 % is 8 ×", "final_norm", "layer_2_output at position 1 of haiku"},
		{"oracle", besideOracle(), "layer_2_output local 37.7 × rounding is 25", "layer_2_output", "layer_2_output at position 63 of haiku"},
		{"several", large(), "of prompt long", " of prompt long", "layer_40_output at position 1,024 of long"},
		{"tokens", differentTokens(), "the engines did not get the same input", "", ""},
		{"no position", &gate.Result{FirstDivergence: &gate.Divergence{Checkpoint: "logits", Position: -1}}, "nothing could be judged", "", "logits"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Headline(tt.r); !strings.Contains(got, tt.headline) {
				t.Errorf("headline %q, want %q in it", got, tt.headline)
			}
			if got := Worst(tt.r); got != tt.worst && (tt.worst == "" || !strings.Contains(got, tt.worst)) {
				t.Errorf("worst %q, want %q", got, tt.worst)
			}
			if got := First(tt.r); got != tt.first {
				t.Errorf("first %q, want %q", got, tt.first)
			}
		})
	}
}

// Whatever the names are, the words are one line of bounded length.
func TestBriefHostile(t *testing.T) {
	for _, a := range append([]string{strings.Repeat("A", 10<<20), strings.Repeat("🦀\n", 1<<20)}, attacks...) {
		r := hostile()
		r.Checkpoints = []gate.Checkpoint{hidden(a, a, 0, 1, 0, 0.1)}
		r.FirstDivergence = &gate.Divergence{Prompt: a, Checkpoint: a, Position: 3}
		r.Reasons = []string{a}
		for _, r.Outcome = range []gate.Outcome{gate.Fail, gate.Incomplete, gate.Pass} {
			for _, s := range []string{Headline(r), Worst(r), First(r), Plain(a, 50)} {
				if n := utf8.RuneCountInString(s); n > 2000 {
					t.Errorf("%d characters from %.20q", n, a)
				}
				if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 || strings.HasPrefix(s, "::") {
					t.Errorf("%q from %.20q", s, a)
				}
			}
		}
	}
	if got := Plain("a b", 2); got != "a …" {
		t.Errorf("cut to %q", got)
	}
	if got := EscapeMarkdown("@a <b>"); !strings.Contains(got, "&lt;b&gt;") || strings.Contains(got, "@a") && !strings.Contains(got, breaker) {
		t.Errorf("escaped to %q", got)
	}
}
