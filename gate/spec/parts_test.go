package spec

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func parseOne(t *testing.T, text string) *Spec {
	t.Helper()
	s, err := Parse([]byte(text), "parity.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDefault(t *testing.T) {
	want := &Spec{Version: 1, Garbage: Garbage{Above: 1e10, Reference: "mask", Candidate: "fail"}}
	if diff := cmp.Diff(want, Default()); diff != "" {
		t.Error(diff)
	}
	got := parseOne(t, "version: 1\n")
	got.Path, got.Digest, got.Lines = "", "", nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a file that says nothing is not the default:\n%s", diff)
	}
}

func TestTemplate(t *testing.T) {
	s := parseOne(t, string(Template()))
	if len(s.Prompts) == 0 || s.Engines.Reference.Adapter == "" || s.Engines.Candidate.Adapter == "" {
		t.Error("the template does not show prompts and both engines")
	}
	Template()[0] = 'x'
	if Template()[0] == 'x' {
		t.Error("callers share the template's bytes")
	}
}

func TestLoadUnreadable(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("a folder was read as a spec")
	}
}

func TestDigest(t *testing.T) {
	// of printf 'version: 1\n' | sha256sum
	const want = "09bfcc6a14b83e2192b8673677725c84883ee9cd0c70e45c9ec09daa8f2b2847"
	if got := parseOne(t, "version: 1\n").Digest; got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

// TestHostile holds inputs that must cost little and come back as errors.
func TestHostile(t *testing.T) {
	head := "version: 1\n"
	tests := map[string][]byte{
		"too large":     bytes.Repeat([]byte("#"), MaxSpec+1),
		"deep flow":     []byte(head + "skip: " + strings.Repeat("[", 300_000)),
		"deep mappings": []byte(head + "skip: " + strings.Repeat("{a: ", 100_000)),
		"unknown keys":  []byte(head + strings.Repeat("? x\n", 100_000)),
		"long keys":     []byte(head + strings.Repeat("a", 500_000) + ": 1\n"),
		"open quote":    []byte(head + "model: {path: \"" + strings.Repeat("\n", 300)),
		"wide lines":    []byte(head + strings.Repeat("# "+strings.Repeat("x", 3000)+"\n", 300) + "a: ]\n"),
		"documents":     []byte(head + strings.Repeat("---\n", 200_000)),
		"huge regexp":   []byte(head + "engines: {candidate: {adapter: trace, path: a, names: {'(a{1000}){1000}': b}}}\n"),
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Parse(data, "parity.yaml")
			var all Errors
			if !errors.As(err, &all) {
				t.Fatalf("got %v, want Errors", err)
			}
			if text := err.Error(); len(text) > 64<<10 {
				t.Errorf("the message has %d bytes", len(text))
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestPromptFilesAreBounded(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int64) {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
	}
	write("large.txt", MaxPromptFile+1)
	spec := filepath.Join(dir, "parity.yaml")
	text := "version: 1\nprompts: [{name: a, file: large.txt}]\n"
	if err := os.WriteFile(spec, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(spec); err == nil || !strings.Contains(err.Error(), "larger than 16 MiB") {
		t.Errorf("got %v", err)
	}
}

func TestErrorsUnwrap(t *testing.T) {
	_, err := Parse([]byte("version: 1\nmodle: 1\nskp: 2\n"), "")
	var one *Error
	if !errors.As(err, &one) {
		t.Fatalf("no *Error in %v", err)
	}
	want := Error{Path: "spec", Line: 2, Column: 1, Width: 5, Msg: `unknown key "modle" in the spec, did you mean model?`, Choices: keys(specFields), Source: "modle: 1"}
	if diff := cmp.Diff(want, *one); diff != "" {
		t.Error(diff)
	}
}

func TestErrorsPrintABoundedNumber(t *testing.T) {
	_, err := Parse([]byte("version: 1\nskip: {positions: ["+strings.Repeat("x, ", 200)+"]}\n"), "p.yaml")
	if n := strings.Count(err.Error(), "p.yaml:2:"); n != printedErrors {
		t.Errorf("%d errors printed, want %d", n, printedErrors)
	}
	if !strings.HasSuffix(err.Error(), "p.yaml: 150 more errors") {
		t.Errorf("the rest is not counted: %q", err.Error()[len(err.Error())-40:])
	}
}

func TestNearest(t *testing.T) {
	choices := []string{"rel_l2", "max_abs", "kl", "timeout"}
	for got, want := range map[string]string{
		"rel_12": "rel_l2", "rell2": "rel_l2", "max-abs": "max_abs", "MAX_ABS": "max_abs", "time_out": "timeout",
		"lk": "kl", "tiemout": "timeout", "": "", "something": "", "xy": "", strings.Repeat("rel_l2", 20): "",
	} {
		if n := nearest(got, choices); n != want {
			t.Errorf("nearest(%q) = %q, want %q", got, n, want)
		}
	}
}

func TestPercent(t *testing.T) {
	for s, want := range map[string]float64{"1%": 0.01, "0.5 %": 0.005, "0.1%": 0.001, "100%": 1, "0%": 0, "250%": 2.5, "33.3%": 0.333, "0.0001%": 1e-6} {
		if got, ok := percent(s); !ok || got != want {
			t.Errorf("percent(%q) = %v, %v, want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "%", "1", "-1%", "1%%", ".5%", "1.%", "1e2%", "01%", "NaN%", "1 \t%", "1%\n"} {
		if got, ok := percent(s); ok {
			t.Errorf("percent(%q) = %v, want none", s, got)
		}
	}
}

func TestExpand(t *testing.T) {
	vars := map[string]string{"model": "/m.gguf", "tokens": "{{model}} $(rm) `x` %s", "trace": ""}
	tests := []struct{ in, want, err string }{
		{"", "", ""},
		{"plain }} {a}", "plain }} {a}", ""},
		{"{{model}}", "/m.gguf", ""},
		{"a{{ model }}b{{model}}c", "a/m.gguf" + "b/m.gguf" + "c", ""},
		{"{{tokens}}", "{{model}} $(rm) `x` %s", ""},
		{"<{{trace}}>", "<>", ""},
		{"{{prompt}}", "", "{{prompt}} has no value here"},
		{"{{home}}", "", `unknown variable "home" (valid: {{model}}, {{tokens}}, {{trace}}, {{prompt}}, {{out}})`},
		{"{{model", "", `"{{model" is not closed with }}`},
		{"{{model}", "", `"{{model}" is not closed with }}`},
		{"{{}}", "", `unknown variable "" (valid: {{model}}, {{tokens}}, {{trace}}, {{prompt}}, {{out}})`},
		{"{{{model}}}", "", `unknown variable "{model" (valid: {{model}}, {{tokens}}, {{trace}}, {{prompt}}, {{out}})`},
	}
	for _, tt := range tests {
		got, err := Expand(tt.in, vars)
		msg := ""
		if err != nil {
			msg = err.Error()
		}
		if got != tt.want || msg != tt.err {
			t.Errorf("Expand(%q) = %q, %q, want %q, %q", tt.in, got, msg, tt.want, tt.err)
		}
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		glob, name string
		want       bool
	}{
		{"logits", "logits", true}, {"logits", "logits2", false}, {"*", "model/h.0/out", true},
		{"layer_*_output", "layer_12_output", true}, {"layer_*_output", "layer_3_attn_output", true},
		{"layer_?_output", "layer_12_output", false}, {"layer_[0-3]_output", "layer_3_output", true},
		{"a/*", "a/b/c", true}, {`odd\[1\]`, "odd[1]", true}, {"[", "[", false},
	}
	for _, tt := range tests {
		if got := Match(tt.glob, tt.name); got != tt.want {
			t.Errorf("Match(%q, %q) = %v", tt.glob, tt.name, got)
		}
	}
}

func TestLimitsFor(t *testing.T) {
	s := parseOne(t, `version: 1
tolerances:
  rules:
    - {checkpoint: "*", max_abs: 5, kl: {mean: 0.1}, added: 7%, warn: {max_abs: 1}}
    - checkpoint: "layer_*_output"
      rel_l2: 3%
      warn: {rel_l2: 2%}
    - {checkpoint: layer_1_output, rel_l2: off, added: 9%, warn: {max_abs: off}}
`)
	limit := func(metric, level string, value float64, line int, rule string) Applied {
		return Applied{Metric: metric, Level: level, Value: value, Line: line, Source: "parity.yaml", Rule: rule}
	}
	tests := []struct {
		checkpoint string
		want       []Applied
	}{
		{"layer_0_output", []Applied{
			limit("rel_l2", "fail", 0.03, 6, "layer_*_output"), limit("rel_l2", "warn", 0.02, 7, "layer_*_output"),
			limit("max_abs", "fail", 5, 4, "*"), limit("max_abs", "warn", 1, 4, "*"), limit("added", "fail", 0.07, 4, "*")}},
		{"layer_1_output", []Applied{
			limit("rel_l2", "warn", 0.02, 7, "layer_*_output"),
			limit("max_abs", "fail", 5, 4, "*"), limit("added", "fail", 0.09, 8, "layer_1_output")}},
		{"logits", []Applied{
			limit("max_abs", "fail", 5, 4, "*"), limit("max_abs", "warn", 1, 4, "*"), limit("kl.mean", "fail", 0.1, 4, "*")}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, s.LimitsFor(tt.checkpoint, "")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.checkpoint, diff)
		}
	}
	first := s.LimitsFor("layer_0_output", "")[0]
	if got := first.Place(); got != "parity.yaml:6" {
		t.Errorf("place %q", got)
	}
	if got := first.Condition(); got != "layer_*_output: rel_l2 <= 0.03" {
		t.Errorf("condition %q", got)
	}
}

func TestLimitsForPreset(t *testing.T) {
	s := parseOne(t, "version: 1\ntolerances: {rules: [{checkpoint: logits, top1_agreement: 50%}]}\n")
	var sources []string
	for _, a := range s.LimitsFor("logits", "reasonable") {
		sources = append(sources, a.Condition()+" ("+a.Place()+")")
	}
	joined := strings.Join(sources, "\n")
	for _, want := range []string{"logits: top1_agreement >= 0.5 (parity.yaml:2)", "*: rel_l2 <= 0.1 (preset reasonable)", "*: rel_l2 <= 0.01 (preset reasonable)"} {
		if !strings.Contains(joined, want) {
			t.Errorf("no %q in\n%s", want, joined)
		}
	}
	if strings.Contains(joined, "top1_agreement >= 1") {
		t.Errorf("the preset's limit holds beside the rule's:\n%s", joined)
	}
}

// TestPresets holds what any preset must keep to, whatever its numbers.
func TestPresets(t *testing.T) {
	if Preset("") != nil || Preset("f17") != nil {
		t.Error("an unknown preset has rules")
	}
	for _, name := range PresetNames() {
		rules := Preset(name)
		if len(rules) == 0 {
			t.Errorf("%s has no rules", name)
		}
		for _, r := range rules {
			if r.Source != "preset "+name {
				t.Errorf("%s: source %q", name, r.Source)
			}
			for _, l := range append(append([]Limit{}, r.Limits...), r.Warn...) {
				if !(l.Value >= 0) || math.IsInf(l.Value, 0) || !isMetric(l.Metric) {
					t.Errorf("%s: %s: %+v", name, r.Checkpoint, l)
				}
			}
		}
		for _, c := range []string{"embedding", "layer_0_output", "final_norm", "logits", "layer_0_attn_output", "unheard/of"} {
			fails := false
			for _, a := range (&Spec{}).LimitsFor(c, name) {
				fails = fails || a.Level == "fail"
			}
			if !fails {
				t.Errorf("%s: nothing can fail at %s", name, c)
			}
		}
	}
}

func isMetric(name string) bool {
	for _, g := range groups() {
		for _, i := range g.infos {
			if i.Name == name {
				return true
			}
		}
	}
	return false
}

func TestNameRuleIsAnchored(t *testing.T) {
	re, err := NameRule{Pattern: `a|b`}.Compile()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"a": true, "b": true, "ab": false, "xb": false} {
		if re.MatchString(name) != want {
			t.Errorf("%q: matched %v", name, !want)
		}
	}
}

// FuzzParse: no input panics, every mistake has a place, and every accepted
// spec can be judged with.
func FuzzParse(f *testing.F) {
	for _, folder := range []string{"ok", "err"} {
		found, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range found {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(data, "fuzz.yaml")
		if err == nil {
			for _, c := range []string{"embedding", "layer_0_output", "logits"} {
				for _, a := range s.LimitsFor(c, s.Tolerances.Preset) {
					if !(a.Value >= 0) || math.IsInf(a.Value, 0) {
						t.Errorf("%s: limit %v", c, a)
					}
				}
			}
			again, err := Parse(data, "fuzz.yaml")
			if diff := cmp.Diff(s, again); err != nil || diff != "" {
				t.Errorf("parsed again: %v\n%s", err, diff)
			}
			return
		}
		var all Errors
		if !errors.As(err, &all) || len(all) == 0 {
			t.Fatalf("got %v, want Errors", err)
		}
		for i, e := range all {
			if e.Line < 1 || e.Column < 1 || e.Msg == "" {
				t.Errorf("no place or message: %+v", e)
			}
			if i > 0 && (all[i-1].Line > e.Line || all[i-1].Line == e.Line && all[i-1].Column > e.Column) {
				t.Errorf("not in file order: %v before %v", all[i-1], e)
			}
		}
		_ = err.Error()
	})
}
