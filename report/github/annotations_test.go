package github

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/paritygate/paritygate/gate"
	"github.com/sethvargo/go-githubactions"
)

func annotated(t *testing.T, r *gate.Result, path string) []string {
	t.Helper()
	var b bytes.Buffer
	if err := Annotations(githubactions.New(githubactions.WithWriter(&b)), r, path); err != nil {
		t.Fatal(err)
	}
	if b.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func TestAnnotations(t *testing.T) {
	many := failsAt(0)
	many.Checkpoints = nil
	for i := range 40 {
		many.Checkpoints = append(many.Checkpoints, checkpoint(fmt.Sprintf("layer_%d_output", i), i, 1.5+float64(i), 10+i))
	}
	warned := passes()
	warned.Checkpoints[1].Findings = []gate.Finding{{Rule: "r", Level: "warn", Checkpoint: "layer_0_output", Message: "near", Source: "parity.yaml", Line: 15, Metric: "rel_l2", Value: 1, Limit: 2}}
	preset := failsAt(4)
	for i := range preset.Checkpoints {
		for j := range preset.Checkpoints[i].Findings {
			preset.Checkpoints[i].Findings[j].Source, preset.Checkpoints[i].Findings[j].Line = "preset f16", 0
		}
	}
	base := failsAt(4)
	base.Spec.JudgedBy = strings.Repeat("ab", 32)
	base.Spec.Changes = []gate.SpecChange{{Effect: "loosened", What: "*: rel_l2", From: "0.005", To: "0.5", Line: 7}, {Effect: "tightened", What: "x", Line: 8}}
	nan := failsAt(2)
	nan.Checkpoints[3].Findings[0].Value = gate.Value(math.NaN())

	for _, tt := range []struct {
		name, path string
		r          *gate.Result
		want       []string
	}{
		{"pass", "ci/parity.yaml", passes(), nil},
		{"one line, worst and how many more", "ci/parity.yaml", failsAt(2), []string{
			"::error title=Parity fails::layer_5_output rel_l2 5.6 %25 is 11 × its limit 0.5 %25; first divergence: layer_2_output at position 3 of haiku",
			"::error file=ci/parity.yaml,line=14,title=Parity%3A layer_5_output::layer_5_output: rel_l2 0.056 is over 0.005 (layer_*_output: rel_l2 <= 0.005); 3 more",
		}},
		{"NaN is worst", "ci/parity.yaml", nan, []string{"::error title=Parity fails::", "::error file=ci/parity.yaml,line=14,title=Parity%3A layer_3_output::"}},
		{"no place in the repository", "", failsAt(4), []string{"::error title=Parity fails::layer_5_output…; 2 findings without a line of the spec"}},
		{"outside of the repository", "../x", failsAt(4), []string{"::error title=Parity fails::layer_5_output…; 2 findings without a line of the spec"}},
		{"a preset's limits", "p.yaml", preset, []string{"::error title=Parity fails::…2 findings without a line of the spec"}},
		{"crash", "p.yaml", crashes(), []string{"::error title=Parity incomplete::the candidate measured nothing on prompt haiku: crashed: exit status 139 after 1.2 s"}},
		{"warning", "p.yaml", warned, []string{"::warning file=p.yaml,line=15,title=Parity%3A layer_0_output::layer_0_output: near (r)"}},
		{"the base branch's spec judged", "p.yaml", base, []string{
			"::error title=Parity fails::…2 findings without a line of the spec",
			"::warning file=p.yaml,line=7,title=Parity%3A loosened rule::*: rel_l2: from 0.005 to 0.5; the base branch's spec judged instead",
		}},
		{"many", "p.yaml", many, []string{"::error title=Parity fails::", "::error file=p.yaml,line=49,", "line=48", "line=47", "line=46", "line=45", "line=44", "line=43", "line=42",
			"line=41,…; 31 more lines of the spec are not annotated"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := annotated(t, tt.r, tt.path)
			if len(got) != len(tt.want) {
				t.Fatalf("%d annotations, want %d:\n%s", len(got), len(tt.want), strings.Join(got, "\n"))
			}
			for i, want := range tt.want {
				before, after, _ := strings.Cut(want, "…")
				if !strings.Contains(got[i], before) || !strings.HasSuffix(got[i], after) {
					t.Errorf("annotation %d:\n%s\nwant\n%s", i, got[i], want)
				}
			}
		})
	}
}

// However hostile the names are, each annotation stays one command of GitHub's
// limits, and no other.
func TestAnnotationsHostile(t *testing.T) {
	long := strings.Repeat("A", 10<<20)
	for _, a := range append([]string{long, strings.Repeat("%", 6000)}, attacks...) {
		r := hostile(a)
		count := map[string]int{}
		for _, line := range annotated(t, r, "parity.yaml") {
			command, rest, ok := strings.Cut(strings.TrimPrefix(line, "::"), " ")
			count[command]++
			fields, message, ok2 := strings.Cut(rest, "::")
			if !ok || !ok2 || command != "error" && command != "warning" {
				t.Fatalf("%.20q: the line %.100q", a, line)
			}
			if n := utf8.RuneCountInString(strings.ReplaceAll(message, "%25", "%")); n > maxMessage {
				t.Errorf("%.20q: a message of %d characters", a, n)
			}
			for _, f := range strings.Split(fields, ",") {
				name, _, ok := strings.Cut(f, "=")
				if !ok || !slices.Contains([]string{"file", "line", "title"}, name) {
					t.Errorf("%.20q: property %q", a, f)
				}
			}
			if strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
				t.Errorf("%.20q: the line %.100q is not plain", a, line)
			}
		}
		if count["error"] > maxAnnotations || count["warning"] > maxAnnotations || count["error"] == 0 {
			t.Errorf("%.20q: %v annotations", a, count)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("the pipe is closed") }

func TestAnnotationsWithoutOutput(t *testing.T) {
	err := Annotations(githubactions.New(githubactions.WithWriter(broken{})), failsAt(2), "")
	if err == nil || !strings.Contains(err.Error(), "the pipe is closed") {
		t.Errorf("error %v", err)
	}
}
