package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/paritygate/paritygate/gate"
)

// mutations turn the sample fail-rope into something that is no result.
var mutations = []struct {
	old, new, want string
	readOnly       bool // a contradiction that a schema cannot say
}{
	{`"version": 1`, `"version": 2`, "results version 2: this program reads version 1", false},
	{`"version": 1,`, ``, `key "version" is missing`, false},
	{`"version": 1`, `"version": "1"`, `version: "1": want a whole number`, false},
	{`"outcome": "fail"`, `"outcome": "ok"`, `outcome: "ok": want one of ["pass" "fail" "incomplete"]`, false},
	{`"outcome": "fail"`, `"outcome": null`, `outcome: null: want a string`, false},
	{`"outcome": "fail"`, `"Outcome": "fail"`, `key "Outcome": want "outcome"`, false},
	{`"outcome": "fail"`, `"outcome": "fail", "outcome": "pass"`, `outcome: the key stands twice`, true},
	{`"exit_code": 1`, `"exit_code": 0`, "exit_code 0: outcome fail has 1", true},
	{`"exit_code": 1`, `"exit_code": 1.5`, "exit_code: 1.5: want a whole number", false},
	{`"outcome": "fail",
  "exit_code": 1`, `"outcome": "pass",
  "exit_code": 0`, "outcome pass, but checkpoints[3] (layer_2_output) failed", true},
	{`"status": "pass"`, `"status": "good"`, `checkpoints[0].status: "good": want one of`, false},
	{`"status": "pass"`, `"state": "pass"`, `checkpoints[0]: key "status" is missing`, false},
	{`"rel_l2": 0.`, `"rel_l2": "big", "x": 0.`, `checkpoints[1].metrics.rel_l2: "big": want a number, "NaN", "+Inf" or "-Inf"`, false},
	{`"use": 0`, `"use": null`, `checkpoints[0].limits[0].use: null: want a number`, false},
	{`"level": "fail"`, `"level": "fatal"`, `limits[0].level: "fatal": want one of ["fail" "warn"]`, false},
	{`"direction": "increasing"`, `"direction": "up"`, `trend.direction: "up"`, false},
	{`"confidence": "high"`, `"confidence": "sure"`, `diagnosis[0].confidence: "sure"`, false},
	{`"within": true`, `"within": 1`, `limits[0].within: 1: want true or false`, false},
	{`"findings": []`, `"findings": {}`, `findings: an object: want a list`, false},
	{`"engines": {`, `"engines": [], "x": {`, `engines: a list: want an object`, false},
	{`"prompt": "haiku"`, `"prompt": 7`, `prompt: 7: want a string`, false},
	{`"checkpoints": [
    {`, `"checkpoints": [
    [], {`, `checkpoints[0]: a list: want an object`, false},
	{`"timing": {`, `"timing": {,`, `not valid JSON`, true},
	{`"max_abs": 0.`, `"max_abs": 1e999, "x": 0.`, `max_abs: 1e999: want a number`, true},
}

func TestReadRefuses(t *testing.T) {
	data := string(render(t, rope(), JSON))
	for _, c := range mutations {
		bad := strings.Replace(data, c.old, c.new, 1)
		_, err := Read(strings.NewReader(bad))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q instead of %q: error %v, want %q in it", c.new, c.old, err, c.want)
		}
	}
}

// An error says where, in the file's own name.
func TestReadSaysWhere(t *testing.T) {
	data := bytes.Replace(render(t, rope(), JSON), []byte(`"status": "pass"`), []byte(`"status": "good"`), 1)
	at := bytes.Index(data, []byte(`"good"`)) + len(`"good"`)
	path := filepath.Join(t.TempDir(), "results.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = Read(f)
	line := bytes.Count(data[:at], []byte("\n")) + 1
	column := at - bytes.LastIndexByte(data[:at], '\n')
	want := path + ":" + count(line) + ":" + count(column) + " (byte " + plainInt(at) + "): checkpoints[0].status"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want it to begin with %q", err, want)
	}
}

func plainInt(n int) string { return strings.ReplaceAll(count(n), ",", "") }

func TestReadBroken(t *testing.T) {
	data := render(t, passing(), JSON)
	for name, c := range map[string]struct{ data, want string }{
		"empty":     {"", "ends in the middle"},
		"truncated": {string(data[:len(data)/2]), "ends in the middle"},
		"two":       {string(data) + string(data), "more data after the result"},
		"a list":    {"[]", "a list: want an object"},
		"null":      {"null", "null: want an object"},
		"text":      {"PASS", "not valid JSON"},
		"version 0": {`{"version": 0}`, "results version 0"},
		"deep":      {`{"version": 1, "x": ` + strings.Repeat("[", 100_000), "ends in the middle"},
	} {
		if _, err := Read(strings.NewReader(c.data)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
	broken := errors.New("the disk is gone")
	if _, err := Read(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("error %v, want the reader's", err)
	}
}

// endless is a file that never ends.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	e.read += len(b)
	return len(b), nil
}

func TestReadIsBounded(t *testing.T) {
	e := new(endless)
	if _, err := readAtMost(e, 2<<20); err == nil || !strings.Contains(err.Error(), "larger than 2 MB") {
		t.Errorf("error %v, want the bound", err)
	}
	if e.read > 3<<20 {
		t.Errorf("read %d bytes", e.read)
	}
}

// A pass that measured nothing, or not what was required, is none.
func TestReadRefusesEmptyPass(t *testing.T) {
	for want, change := range map[string]func(*gate.Result){
		"no checkpoint was measured":               func(r *gate.Result) { r.Checkpoints = nil },
		"coverage.missing[0] (logits) is required": func(r *gate.Result) { r.Coverage.Missing[0].Required = true },
	} {
		r := warned()
		change(r)
		if _, err := Read(bytes.NewReader(render(t, r, JSON))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}

// Keys that a later program adds are skipped, whatever they hold.
func TestReadSkipsUnknown(t *testing.T) {
	data := bytes.Replace(render(t, passing(), JSON), []byte(`"outcome"`), []byte(`"later": {"a": [1, {"b": null}]}, "outcome"`), 1)
	r, err := Read(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(render(t, r, JSON), render(t, passing(), JSON)) {
		t.Error("an unknown key changed the result")
	}
}

func TestJSONRefusesVersion(t *testing.T) {
	r := passing()
	r.Version = 0
	if err := JSON(&bytes.Buffer{}, r); err == nil {
		t.Error("a result without its version was written")
	}
}

// No list and no object of a written result is null but those that may be.
func TestJSONHasNoNullLists(t *testing.T) {
	r := &gate.Result{Version: Version, ExitCode: 3, Checkpoints: []gate.Checkpoint{{Status: gate.Unmeasured, Logits: &gate.LogitsInfo{}}}}
	data := string(render(t, r, JSON))
	for _, key := range []string{"reasons", "witnesses", "prompts", "missing", "metrics", "profile", "flips", "limits", "findings", "garbage", "warnings"} {
		if strings.Contains(data, `"`+key+`": null`) || !strings.Contains(data, `"`+key+`": `) {
			t.Errorf("%s is null or missing", key)
		}
	}
	if r.Checkpoints[0].Metrics != nil {
		t.Error("writing changed the result")
	}
}

func FuzzRead(f *testing.F) {
	// Seeds are small: one of each kind is enough to mutate.
	for _, s := range []func() *gate.Result{crashed, partialLogs, nan} {
		r := s()
		r.Checkpoints = r.Checkpoints[:min(1, len(r.Checkpoints))]
		var b, compact bytes.Buffer
		if err := errors.Join(JSON(&b, r), json.Compact(&compact, b.Bytes())); err != nil {
			f.Fatal(err)
		}
		f.Add(compact.Bytes())
	}
	f.Add([]byte(`{"version":1,"outcome":"incomplete","exit_code":3,"engines":{"reference":{"name":""},"candidate":{"name":""}},"prompts":[],` +
		`"coverage":{"checkpoints":{"compared":0,"reference":0,"candidate":0},"positions":{"compared":0,"reference":0,"candidate":0},"missing":[]},` +
		`"first_divergence":null,"checkpoints":[],"trend":{},"diagnosis":[],"garbage":[],"baseline":null,"timing":{},"environment":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		once := render(t, r, JSON)
		again, err := Read(bytes.NewReader(once))
		if err != nil {
			t.Fatalf("cannot read what was written: %v", err)
		}
		if !bytes.Equal(once, render(t, again, JSON)) {
			t.Fatal("results.json changes when it is read and written")
		}
		for _, d := range drawn {
			if !bytes.Equal(render(t, r, d.f), render(t, again, d.f)) {
				t.Fatalf("%s differs when drawn again", d.name)
			}
		}
		checkXML(t, render(t, r, JUnit))
		checkStructure(t, string(render(t, r, drawn[1].f)))
	})
}
