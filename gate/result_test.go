package gate

import (
	"encoding/json"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

func TestValueJSON(t *testing.T) {
	for _, c := range []struct {
		v    float64
		text string
	}{{0, "0"}, {1.5, "1.5"}, {-1e-300, "-1e-300"}, {math.NaN(), `"NaN"`}, {math.Inf(1), `"+Inf"`}, {math.Inf(-1), `"-Inf"`}} {
		b, err := json.Marshal(Value(c.v))
		if err != nil || string(b) != c.text {
			t.Errorf("%v is written %s, %v; want %s", c.v, b, err, c.text)
		}
		var back Value
		if err := json.Unmarshal(b, &back); err != nil || !near(float64(back), c.v, 0) {
			t.Errorf("%s reads as %v, %v", b, back, err)
		}
	}
	for _, bad := range []string{`"1.5"`, `"x"`, `""`, `true`, `[1]`, `{}`, `1e999`} {
		var v Value
		if err := json.Unmarshal([]byte(bad), &v); err == nil {
			t.Errorf("%s reads as %v", bad, v)
		}
	}
}

func TestOutcomeText(t *testing.T) {
	for _, o := range []Outcome{Incomplete, Pass, Fail} {
		b, err := json.Marshal(map[string]Outcome{"o": o})
		if err != nil || string(b) != `{"o":"`+o.String()+`"}` {
			t.Errorf("%v is written %s, %v", o, b, err)
		}
		back := map[string]Outcome{"o": Fail}
		if err := json.Unmarshal(b, &back); err != nil || back["o"] != o {
			t.Errorf("%s reads as %v, %v", b, back, err)
		}
	}
	var o Outcome
	if o.String() != "incomplete" {
		t.Errorf("the zero value is %v", o)
	}
	if err := o.UnmarshalText([]byte("PASS")); err == nil || !strings.Contains(err.Error(), `outcome "PASS": want pass, fail or incomplete`) || o != Incomplete {
		t.Errorf("%v, %v", o, err)
	}
}

// A result without measurements is incomplete, and its lists are empty, not null.
func TestEmptyResult(t *testing.T) {
	r := compared(t, spec.Default(), Options{Version: "v1", Portable: true})
	if r.Outcome != Incomplete || r.ExitCode != 3 || r.Version != 1 || r.Environment.Paritygate != "v1" || r.Environment.Kernel != "portable" || r.Environment.OS == "" {
		t.Errorf("%+v", r)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"reasons", "prompts", "checkpoints", "missing", "witnesses", "diagnosis", "garbage", "findings", "warnings"} {
		if strings.Contains(string(b), `"`+key+`":null`) || !strings.Contains(string(b), `"`+key+`":[`) {
			t.Errorf("%s is no list in %s", key, b)
		}
	}
}

func TestPromptName(t *testing.T) {
	for _, c := range []struct{ prompt, path, want string }{
		{"haiku", "x/run.safetensors", "haiku"}, {"", "x/run.safetensors", "run"}, {"", "x/run", "run"}, {"", "x/run.v2.jsonl", "run.v2"},
		{strings.Repeat("x", 40), "run.npy", strings.Repeat("x", 40)}, {strings.Repeat("x", 41), "run.npy", "run"}, {"two\nlines", "run.npy", "run"}, {"two\rlines", "run.npy", "run"},
	} {
		if got := PromptName(&trace.Trace{Path: filepath.FromSlash(c.path), Meta: trace.Meta{Prompt: c.prompt}}); got != c.want {
			t.Errorf("prompt %q at %s is called %q, want %q", c.prompt, c.path, got, c.want)
		}
	}
}

// What a trace says of its engine is in the result, word for word.
func TestEngineInfo(t *testing.T) {
	rows := noisy(seeded(1), 2, 8, 1)
	ref := made(t, trace.Meta{Engine: "e", EngineVersion: "v", Model: "m", WeightsSHA256: strings.Repeat("a", 64), ComputeDType: "torch.bfloat16", Device: "d"}, point{name: "logits", rows: rows})
	cand := made(t, trace.Meta{}, point{name: "logits", rows: rows})
	r := compared(t, spec.Default(), Options{}, Pair{"p", ref, cand})
	want := EngineInfo{Name: "e", Adapter: "trace", Version: "v", Model: "m", WeightsSHA256: strings.Repeat("a", 64), ComputeDType: "torch.bfloat16",
		Precision: "bf16", PrecisionFrom: "says that it computes in torch.bfloat16", Device: "d", Trace: ref.Path}
	for _, e := range []EngineInfo{r.Engines.Reference, r.Engines.Candidate} {
		if len(e.Settings) > 0 {
			t.Errorf("settings %v of a trace without any", e.Settings)
		}
	}
	want.Settings = r.Engines.Reference.Settings // empty or nil
	if !reflect.DeepEqual(r.Engines.Reference, want) {
		t.Errorf("got  %+v\nwant %+v", r.Engines.Reference, want)
	}
	if !reflect.DeepEqual(r.Engines.Candidate, EngineInfo{Adapter: "trace", Trace: cand.Path, Settings: r.Engines.Candidate.Settings}) {
		t.Errorf("an engine that says nothing: %+v", r.Engines.Candidate)
	}
	if r.Spec.Preset != "reasonable" || r.Spec.PresetFrom != "the candidate does not say in which precision it computes" {
		t.Errorf("%+v", r.Spec)
	}
}
