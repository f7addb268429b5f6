package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jstemmer/go-junit-report/v2/junit"
	"github.com/paritygate/paritygate/gate"
)

func TestFormat(t *testing.T) {
	r := passing()
	for _, name := range Formats() {
		f, err := Format(name)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := f(&b, r, Options{Text: TextOptions{Width: 80}}); err != nil || b.Len() == 0 {
			t.Errorf("%s: %d bytes, error %v", name, b.Len(), err)
		}
		if err := f(failing{}, r, Options{}); !errors.Is(err, errDisk) {
			t.Errorf("%s: error %v of a writer that fails", name, err)
		}
	}
	if _, err := Format("html"); err == nil || err.Error() != `format "html": want one of text, json, markdown, junit` {
		t.Errorf("error %v", err)
	}
}

var errDisk = errors.New("disk full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errDisk }

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	r := rope()
	if err := Write(dir, r); err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{"results.json": render(t, r, JSON), "junit.xml": render(t, r, JUnit),
		"comment.md": render(t, r, drawn[1].f), "report.txt": render(t, r, drawn[0].f)}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(want) {
		t.Fatalf("%d files, error %v", len(entries), err)
	}
	for name, data := range want {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s differs, error %v", name, err)
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%s has mode %v, error %v", name, info.Mode(), err)
		}
	}
	// A result that cannot be written leaves the files of before and nothing else.
	bad := passing()
	bad.Version = 7
	if err := Write(dir, bad); err == nil {
		t.Error("a result of version 7 was written")
	}
	if again, _ := os.ReadFile(filepath.Join(dir, "results.json")); !bytes.Equal(again, want["results.json"]) {
		t.Error("a failed write changed results.json")
	}
	if entries, _ = os.ReadDir(dir); len(entries) != len(want) {
		t.Errorf("a failed write left %d files", len(entries))
	}
}

func TestWriteRefusesFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, passing()); err == nil {
		t.Error("a file was taken for a folder")
	}
}

// checkXML reads JUnit XML back.
func checkXML(t *testing.T, data []byte) junit.Testsuites {
	t.Helper()
	var s junit.Testsuites
	if err := xml.Unmarshal(data, &s); err != nil {
		t.Fatalf("not valid XML: %v", err)
	}
	for _, r := range string(data) {
		if r != '\t' && r != '\n' && r != '\r' && (r < 0x20 || r > 0xFFFD && r < 0x10000) {
			t.Fatalf("%U is no character of XML 1.0", r)
		}
	}
	return s
}

func TestJUnitSaysTheOutcome(t *testing.T) {
	for _, sample := range samples {
		r := sample.make()
		s := checkXML(t, render(t, r, JUnit))
		switch r.Outcome {
		case gate.Pass:
			if s.Failures+s.Errors != 0 {
				t.Errorf("%s passes with %d failures, %d errors", sample.name, s.Failures, s.Errors)
			}
		case gate.Fail:
			if s.Failures == 0 || s.Errors != 0 {
				t.Errorf("%s fails with %d failures, %d errors", sample.name, s.Failures, s.Errors)
			}
		default:
			if s.Errors == 0 {
				t.Errorf("%s is incomplete without an error", sample.name)
			}
		}
		if want := 1 + len(r.Prompts); len(s.Suites) != want {
			t.Errorf("%s: %d suites, want %d", sample.name, len(s.Suites), want)
		}
	}
}

// A failure that belongs to no checkpoint still is one.
func TestJUnitFailureWithoutCheckpoint(t *testing.T) {
	r := finish(base(), gate.Fail, "a check of the whole run")
	if s := checkXML(t, render(t, r, JUnit)); s.Failures != 1 || s.Suites[0].Testcases[0].Failure.Message != "a check of the whole run" {
		t.Errorf("%d failures", s.Failures)
	}
}

func TestTextFirstLine(t *testing.T) {
	for name, want := range map[string]string{
		"pass":               "PASS  all 9 checkpoints are within tolerance",
		"pass-warn":          "PASS  all 8 checkpoints are within tolerance, 3 with warnings",
		"fail-rope":          "FAIL  final_norm rel_l2 4.01 % is 8 × its limit 0.5 % (parity.yaml:14)",
		"incomplete-missing": "INCOMPLETE  required checkpoint final_norm was not measured: the candidate did not write it",
	} {
		i := slices.IndexFunc(samples, func(s struct {
			name string
			make func() *gate.Result
		}) bool {
			return s.name == name
		})
		got, _, _ := strings.Cut(string(render(t, samples[i].make(), drawn[0].f)), "\n")
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

var ansi = regexp.MustCompile("\x1b\\[[0-9;]*m")

// Colour changes nothing but colour, and lines keep to the width where words do.
func TestTextColorAndWidth(t *testing.T) {
	for _, sample := range samples {
		r := sample.make()
		draw := func(o TextOptions) string {
			return string(render(t, r, func(w io.Writer, r *gate.Result) error { return Text(w, r, o) }))
		}
		black, colored := draw(TextOptions{Width: 80}), draw(TextOptions{Width: 80, Color: true})
		if strings.Contains(black, "\x1b") {
			t.Errorf("%s: colour without being asked", sample.name)
		}
		if !strings.Contains(colored, "\x1b[") || ansi.ReplaceAllString(colored, "") != black {
			t.Errorf("%s: colour changes the text", sample.name)
		}
		for _, line := range strings.Split(black, "\n") {
			if n := utf8.RuneCountInString(line); n > 80 && strings.Contains(strings.TrimSpace(line), " ") && sample.name != "hostile" {
				t.Errorf("%s: %d columns: %s", sample.name, n, line)
			}
			// GitHub's runner takes lines that begin with "::" as commands.
			if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") {
				t.Errorf("%s: a command to the runner: %s", sample.name, line)
			}
		}
	}
}

// No row that fails is ever left out.
func TestTextShowsEveryFailure(t *testing.T) {
	r := base()
	r.Checkpoints = stack("haiku", 120, 5, 61, 0.005)
	for i := range r.Checkpoints {
		if i%3 == 0 && r.Checkpoints[i].Status == gate.Failed {
			r.Checkpoints[i].Status = gate.Passed
		}
	}
	text := string(render(t, finish(r, gate.Fail), drawn[0].f))
	failed, shown := 0, 0
	for _, c := range r.Checkpoints {
		if c.Status == gate.Failed {
			failed++
		}
	}
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "  ✗ ") {
			shown++
		}
	}
	if failed != shown || failed < 60 {
		t.Errorf("%d of %d failures shown", shown, failed)
	}
}

func TestPick(t *testing.T) {
	rows := make([]row, 100)
	for i := range rows {
		rows[i].cp = &gate.Checkpoint{}
	}
	rows[60].severity, rows[70].severity, rows[80].severity = severity(gate.Failed), severity(gate.Unmeasured), severity(gate.Warned)
	show := pick(rows, 10)
	n := 0
	for _, s := range show {
		if s {
			n++
		}
	}
	if n != 10 {
		t.Errorf("%d rows of a budget of 10", n)
	}
	for _, i := range []int{0, 59, 60, 70, 80, 99} {
		if !show[i] {
			t.Errorf("row %d is left out", i)
		}
	}
}

func TestAmount(t *testing.T) {
	for _, c := range []struct {
		metric string
		v      float64
		want   string
	}{
		{"rel_l2", 0.031, "3.1 %"}, {"rel_l2", 0.005, "0.5 %"}, {"rel_l2", 0, "0 %"}, {"rel_l2", 1e-12, "1e-10 %"},
		{"rel_l2", 0.123456, "12.3 %"}, {"rel_l2", 1.34, "134 %"}, {"rel_l2", 465.81, "46,581 %"}, {"rel_l2", 4.7e15, "4.7e17 %"},
		{"rel_l2", math.NaN(), "NaN"}, {"rel_l2", math.Inf(1), "∞"}, {"rel_l2", 1e308, "1e308"},
		{"max_abs", 46581.2, "46,581"}, {"max_abs", 1.01e18, "1.01e18"}, {"max_abs", 16.38, "16.4"}, {"max_abs", 0.00123, "0.00123"},
		{"max_abs", 0.000123, "1.23e-4"}, {"max_abs", 999.96, "1,000"}, {"max_abs", -2.5, "−2.5"},
		{"top1_agreement", 0.999999, "99.9999 %"}, {"top1_agreement", 1, "100 %"}, {"cosine", 0.99999871, "0.999999"}, {"cosine", 1, "1"},
		{"over_1pct", 0.99996, "99.996 %"}, {"a|new metric", 0.5, "0.5"},
	} {
		if got := amount(c.metric, gate.Value(c.v)); got != c.want {
			t.Errorf("amount(%s, %g) = %q, want %q", c.metric, c.v, got, c.want)
		}
	}
}

// A value over its limit never reads like the limit.
func TestApart(t *testing.T) {
	for _, c := range []struct {
		metric    string
		v, limit  float64
		want, lim string
	}{
		{"rel_l2", 0.010001, 0.01, "1.0001 %", "1 %"},
		{"rel_l2", 0.01, 0.01, "1 %", "1 %"},
		{"rel_l2", 0.02, 0.01, "2 %", "1 %"},
		{"max_abs", math.Nextafter(0.3, 1), 0.3, "0.30000000000000004", "0.29999999999999999"},
	} {
		got, lim := apart(c.metric, gate.Value(c.v), gate.Value(c.limit))
		if got != c.want || lim != c.lim {
			t.Errorf("apart(%s, %g, %g) = %q, %q; want %q, %q", c.metric, c.v, c.limit, got, lim, c.want, c.lim)
		}
	}
}

func TestUsed(t *testing.T) {
	for _, c := range []struct {
		use    float64
		within bool
		want   string
	}{
		{0.62, true, "62 %"}, {1, true, "1 ×"}, {6.24, false, "6.2 ×"}, {1.0001, false, "1.0001 ×"}, {math.Inf(1), false, "over"},
		{math.NaN(), true, "–"}, {46581, false, "46,581 ×"},
	} {
		if got := used(&gate.AppliedLimit{Use: gate.Value(c.use), Within: c.within}); got != c.want {
			t.Errorf("used(%g, %t) = %q, want %q", c.use, c.within, got, c.want)
		}
	}
}

func TestSparkline(t *testing.T) {
	draw := func(width int, values ...float64) string {
		var rows []row
		for _, v := range values {
			rows = append(rows, row{cp: &gate.Checkpoint{Metrics: map[string]gate.Value{"rel_l2": gate.Value(v)}}})
		}
		return sparkline(append(rows, row{cp: &gate.Checkpoint{}}), width)
	}
	for _, c := range []struct {
		width  int
		values []float64
		want   string
	}{
		{60, []float64{0, 1e-6, 1e-4, 1e-2}, "·▁▅█?"},
		{60, []float64{1e-3, 1.1e-3, 1.2e-3}, "▁▁▁?"},
		{60, []float64{1e-3, math.NaN(), math.Inf(1)}, "▁××?"},
		{2, []float64{1e-6, 1e-2, 1e-4}, "█▁"},
		{60, nil, "?"},
	} {
		if got := draw(c.width, c.values...); got != c.want {
			t.Errorf("%v in %d: %q, want %q", c.values, c.width, got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	const want = "closest to its limit: final_norm, rel_l2 0.48 %, limit 0.5 % (96 % used)"
	if got := newView(warned()).nearest(plain); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := newView(crashed()).nearest(plain); got != "" {
		t.Errorf("%q without a limit", got)
	}
}

// Built-in findings, as NaN, come before matters of degree.
func TestWorstFirst(t *testing.T) {
	r := nan()
	r.Checkpoints[6] = hidden("haiku", "layer_5_output", 6, 0.4, 0.1, 0.005)
	v := newView(r)
	if v.rows[0].cp.Name != "layer_3_output" || v.rows[1].cp.Name != "layer_5_output" {
		t.Errorf("%s before %s", v.rows[0].cp.Name, v.rows[1].cp.Name)
	}
	if v.rows[0].broken != 1 || v.rows[1].limit.Line != 14 {
		t.Errorf("%d broken, line %d", v.rows[0].broken, v.rows[1].limit.Line)
	}
}

// The last command reads what the one before it writes; where no command is known,
// nothing is said to lie anywhere.
func TestReproduceReadsWhatItWrites(t *testing.T) {
	for _, sample := range samples {
		list := reproduce(sample.make())
		before, last := list[max(0, len(list)-2)], list[len(list)-1]
		_, dir, ok := strings.Cut(before, " --out ")
		if !ok || last != "paritygate report "+dir+"/results.json --format text" {
			t.Errorf("%s: %q", sample.name, list)
		}
	}
	if got := reproduce(&gate.Result{}); len(got) != 1 || strings.Contains(got[0], "/") {
		t.Errorf("without a spec and recorded traces: %q", got)
	}
}
