package action

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
)

// outcomeFile is a results.json of that outcome.
func outcomeFile(t *testing.T, o gate.Outcome) []byte {
	t.Helper()
	r := planForResults().incomplete("a reason")
	r.Outcome, r.ExitCode = o, o.ExitCode()
	if o == gate.Pass {
		r.Reasons = nil
		r.Checkpoints = []gate.Checkpoint{{Name: "logits", Status: gate.Passed}}
	}
	var b bytes.Buffer
	if err := report.JSON(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func planForResults() *Plan {
	return &Plan{SpecPath: "parity.yaml", Paritygate: "v1", Source: gate.Source{Repository: "o/r", Head: strings.Repeat("a", 40)}}
}

// What the engines' side leaves counts only if it holds together; everything
// else is incomplete and says why.
func TestJudgeOfResults(t *testing.T) {
	pass, fail := outcomeFile(t, gate.Pass), outcomeFile(t, gate.Fail)
	tests := []struct {
		name    string
		make    func(t *testing.T, out string)
		ended   ended
		outcome gate.Outcome
		code    int
		reason  string
	}{
		{"pass", put(pass), ended{code: 0}, gate.Pass, 0, ""},
		{"fail", put(fail), ended{code: 1}, gate.Fail, 1, "a reason"},
		{"incomplete", put(outcomeFile(t, gate.Incomplete)), ended{code: 3}, gate.Incomplete, 3, "a reason"},
		{"pass with exit 1", put(pass), ended{code: 1}, gate.Incomplete, 3, "ended with exit code 1, and its results.json says pass (exit code 0)"},
		{"fail with exit 0", put(fail), ended{code: 0}, gate.Incomplete, 3, "exit code 0, and its results.json says fail"},
		{"pass, but killed", put(pass), ended{code: -1, reason: "the gate was ended by signal 9 (killed)"}, gate.Incomplete, 3, "signal 9"},
		{"pass, exit 2", put(pass), ended{code: 2}, gate.Incomplete, 3, "exit code 2, and its results.json says pass"},
		{"nothing", nil, ended{code: 0}, gate.Incomplete, 3, "exit code 0, and no results.json was written"},
		{"nothing, with output", nil, ended{code: 139, stderr: "Segmentation fault"}, gate.Incomplete, 3, "no results.json was written: Segmentation fault"},
		{"not valid", nil, ended{code: 2, stderr: "parity.yaml:4:3: unknown key"}, gate.Incomplete, 2, "is not valid: parity.yaml:4:3: unknown key"},
		{"no JSON", put([]byte("pass")), ended{code: 0}, gate.Incomplete, 3, "not valid JSON"},
		{"half", put(pass[:len(pass)/2]), ended{code: 0}, gate.Incomplete, 3, "ends in the middle"},
		{"a link", func(t *testing.T, out string) { link(t, "/etc/passwd", filepath.Join(out, resultsFile)) }, ended{}, gate.Incomplete, 3, "results.json is a link"},
		{"a link to a result", func(t *testing.T, out string) {
			put(pass)(t, filepath.Dir(out))
			link(t, filepath.Join(filepath.Dir(out), resultsFile), filepath.Join(out, resultsFile))
		}, ended{}, gate.Incomplete, 3, "results.json is a link"},
		{"a folder", func(t *testing.T, out string) { mkdir(t, filepath.Join(out, resultsFile)) }, ended{}, gate.Incomplete, 3, "results.json is a folder"},
		{"its folder a link", func(t *testing.T, out string) {
			other := t.TempDir()
			put(pass)(t, other)
			if err := os.Remove(out); err != nil {
				t.Fatal(err)
			}
			link(t, other, out)
		}, ended{}, gate.Incomplete, 3, "out is a link"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			out := filepath.Join(dir, outFolder)
			mkdir(t, out)
			if tt.make != nil {
				tt.make(t, out)
			}
			r, code := planForResults().judge(dir, tt.ended)
			if r.Outcome != tt.outcome || code != tt.code || !strings.Contains(strings.Join(r.Reasons, "\n"), tt.reason) {
				t.Errorf("outcome %s, code %d, reasons %q; want %s, %d, %q", r.Outcome, code, r.Reasons, tt.outcome, tt.code, tt.reason)
			}
			if _, err := keepResults(dir, r); err != nil {
				t.Error(err)
			}
			if _, err := readResults(dir, resultsFile); err != nil {
				t.Error(err)
			}
		})
	}
}

func put(data []byte) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, resultsFile), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func store(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, at string) {
	t.Helper()
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

// A result of our own can be drawn by every report.
func TestIncompleteIsDrawn(t *testing.T) {
	dir := t.TempDir()
	if err := report.Write(dir, planForResults().incomplete("the image cannot be pulled: @everyone <b>")); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "comment.md"))
	if err != nil || !bytes.Contains(b, []byte("the image cannot be pulled")) || bytes.Contains(b, []byte("<b>")) {
		t.Errorf("%v\n%s", err, b)
	}
}

func TestConclude(t *testing.T) {
	tests := []struct {
		env  []string
		exit int
		says string
	}{
		{[]string{varReportCode, "0", varWhy, "pass"}, 0, "pass (exit code 0)"},
		{[]string{varReportCode, "1", varWhy, "fail: layer 3"}, 1, "fail: layer 3 (exit code 1)"},
		{[]string{varReportCode, "3"}, 3, "incomplete (exit code 3)"},
		{[]string{varReportCode, "2"}, 2, "not valid"},
		{[]string{varReportCode, "1", "INPUT_FAIL_ON", "fail"}, 1, ""},
		{[]string{varReportCode, "1", "INPUT_FAIL_ON", "never", varWhy, "fail: x"}, 0, "fail: x; fail-on: never lets it pass"},
		{[]string{varReportCode, "3", "INPUT_FAIL_ON", "fail"}, 0, "lets it pass"},
		{[]string{varReportCode, "3", "INPUT_FAIL_ON", "never"}, 0, "lets it pass"},
		{[]string{varReportCode, "2", "INPUT_FAIL_ON", "never"}, 2, "not valid"},
		// The report step told nothing: what the run step said is not believed.
		{[]string{varExitCode, "0"}, 3, "the report step left no result"},
		{nil, 3, "the report step left no result"},
		{[]string{varPlanOutcome, "success"}, 3, "the report step left no result"},
		{[]string{varPlanOutcome, "failure"}, 2, "the plan step says why"},
		{[]string{varReportCode, "4"}, 3, "the report step left no result"},
		{[]string{varReportCode, "-1"}, 3, "the report step left no result"},
		{[]string{varReportCode, "0x0"}, 3, "the report step left no result"},
		{[]string{varReportCode, "1", varWhy, "a\n::error::b"}, 1, "a : :error::b (exit code 1)"},
	}
	for _, tt := range tests {
		var b bytes.Buffer
		s := &Step{Stdout: &b, Stderr: &b, Getenv: env(tt.env...)}
		code, err := s.Conclude()
		if err != nil || code != tt.exit || !strings.Contains(b.String(), tt.says) {
			t.Errorf("%v: code %d, error %v, says %q; want %d, %q", tt.env, code, err, b.String(), tt.exit, tt.says)
		}
		if n := strings.Count(b.String(), "\n"); n != 1 {
			t.Errorf("%v: %d lines: %q", tt.env, n, b.String())
		}
	}
	if code, err := (&Step{Stdout: &bytes.Buffer{}, Getenv: env("INPUT_FAIL_ON", "warn")}).Conclude(); code != 2 || err == nil {
		t.Errorf("fail-on warn: code %d, error %v", code, err)
	}
}

// The plan is believed only with the digest that the runner kept.
func TestPlanDigest(t *testing.T) {
	dir := t.TempDir()
	p := planOf(t)
	p.Notes = []string{"a note"}
	sum, err := p.write(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readPlan(dir, sum)
	if err != nil || got.Inputs.Spec != "parity.yaml" || got.Notes[0] != "a note" {
		t.Fatalf("plan %+v, error %v", got, err)
	}
	path := filepath.Join(dir, planFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v, want mode 0600", info, err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	restore := func() {
		t.Helper()
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, spoil := range map[string]func(){
		"changed": func() { store(t, path, bytes.Replace(data, []byte(`"container"`), []byte(`"host"`), 1)) },
		"longer":  func() { store(t, path, append(bytes.Clone(data), ' ')) },
		"a link": func() {
			store(t, path+"2", data)
			link(t, path+"2", path)
		},
		"a folder": func() { mkdir(t, path) },
		"gone":     func() {},
	} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		spoil()
		if _, err := readPlan(dir, sum); err == nil {
			t.Errorf("%s: the plan was read", name)
		}
		restore()
	}
	for _, want := range []string{"", strings.Repeat("0", 64)} {
		if _, err := readPlan(dir, want); err == nil {
			t.Errorf("the plan was read with digest %q", want)
		}
	}
}
