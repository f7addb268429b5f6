package spec

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const twoEngines = `model: {path: m.gguf}
prompts: [{name: a, tokens: [1]}]
engines:
  reference: {adapter: trace, path: ref.safetensors}
  candidate: {adapter: llamacpp, library: lib, headers: inc, kv_type: f16, gpu_layers: 9, timeout: 1m}
  witnesses: {old: {adapter: trace, path: old.safetensors}}
tolerances: {preset: f16, rules: [{checkpoint: logits, rel_l2: 1%}]}
`

// The base is in force whole; of the candidate, how it is started is the own one's.
func TestUnder(t *testing.T) {
	base, mine := own(t, twoEngines), own(t, `prompts: [{name: b, tokens: [2]}]
model: {path: m}
require: {min_positions: 3}
engines:
  reference: {adapter: builtin}
  candidate: {adapter: llamacpp, library: lib2, headers: inc2, kv_type: q8_0, env: {A: b}, threads: 3, prove_capture: false}
  witnesses: {new: {adapter: trace, path: new.safetensors}}
tolerances: {preset: q4}
`)
	got := Under(base, mine)
	if got.Path != "base parity.yaml" || got.Tolerances.Rules[0].Source != "base parity.yaml" || base.Tolerances.Rules[0].Source != "parity.yaml" || got.Digest != base.Digest {
		t.Errorf("%s, %s, base %s", got.Path, got.Tolerances.Rules[0].Source, base.Tolerances.Rules[0].Source)
	}
	c, b, o := got.Engines.Candidate, base.Engines.Candidate, mine.Engines.Candidate
	if c.Library != o.Library || c.Headers != o.Headers || c.Env["A"] != "b" || c.Threads != 3 || c.Timeout != o.Timeout {
		t.Errorf("how the candidate is started is not the own one's: %+v", c)
	}
	if c.KVType != "f16" || *c.GPULayers != 9 || c.ProveCapture != b.ProveCapture || c.Model != b.Model {
		t.Errorf("what the candidate computes is not the base's: %+v", c)
	}
	if _, ok := got.Engines.Witnesses["new"]; !ok || len(got.Engines.Witnesses) != 1 {
		t.Errorf("witnesses %v", got.Engines.Witnesses)
	}
	back := *got
	back.Path, back.Lines, back.Engines = base.Path, base.Lines, base.Engines
	back.Tolerances.Rules = base.Tolerances.Rules
	if diff := cmp.Diff(base, &back); diff != "" {
		t.Errorf("something else is not the base's:\n%s", diff)
	}
	mine.Engines.Candidate = Engine{Adapter: "exec", Command: []string{"x"}}
	if c := Under(base, mine).Engines.Candidate; c.Adapter != "llamacpp" || c.Library != b.Library || c.Timeout != b.Timeout {
		t.Errorf("another adapter's candidate: %+v", c)
	}
	mine.Engines.Candidate = Engine{Adapter: "llamacpp", Mode: "preload", Command: []string{"x"}}
	if c := Under(base, mine).Engines.Candidate; c.Mode != "probe" || c.Command != nil {
		t.Errorf("another mode's candidate: %+v", c)
	}
}

// Every key of an engine is either the change's own, or one whose change shows.
func TestEveryEngineKey(t *testing.T) {
	ty := reflect.TypeFor[Engine]()
	for i := range ty.NumField() {
		key, _, _ := strings.Cut(ty.Field(i).Tag.Get("yaml"), ",")
		if key == "-" {
			continue
		}
		base, mine := own(t, twoEngines), own(t, twoEngines)
		other(t, reflect.ValueOf(&mine.Engines.Candidate).Elem().Field(i))
		changes, free := Changes(base, mine, chosen("f16"), nil), slices.Contains(ownKeys, key)
		if free != (len(changes) == 0) || free != Same(base, mine) {
			t.Errorf("candidate.%s: %v, the same: %v", key, lines(changes), Same(base, mine))
		}
		took := reflect.DeepEqual(reflect.ValueOf(Under(base, mine).Engines.Candidate).Field(i).Interface(), reflect.ValueOf(mine.Engines.Candidate).Field(i).Interface())
		if took != free {
			t.Errorf("candidate.%s of the change is in force: %v", key, took)
		}
		for _, c := range changes {
			if !strings.HasPrefix(c.What, "engines.candidate.") || c.Effect == Tightened && key != "sublayers" {
				t.Errorf("candidate.%s: %v", key, lines(changes))
			}
		}
		base, mine = own(t, twoEngines), own(t, twoEngines)
		other(t, reflect.ValueOf(&mine.Engines.Reference).Elem().Field(i))
		changes, free = Changes(base, mine, chosen("f16"), nil), slices.Contains(bounds, key)
		if free != (len(changes) == 0) || free != Same(base, mine) {
			t.Errorf("reference.%s: %v, the same: %v", key, lines(changes), Same(base, mine))
		}
	}
}

// other makes a value of any key another one.
func other(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Slice:
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"k": "v"}))
	case reflect.Pointer:
		n := reflect.New(v.Type().Elem())
		if n.Elem().Kind() == reflect.Int {
			n.Elem().SetInt(77)
		}
		v.Set(n)
	default:
		t.Fatalf("a key of kind %s", v.Kind())
	}
}

// Every section of a spec shows when it changes.
func TestEverySectionShows(t *testing.T) {
	for i, f := range reflect.VisibleFields(reflect.TypeFor[Spec]()) {
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if key == "-" || key == "version" {
			continue
		}
		base, mine := own(t, twoEngines), own(t, twoEngines)
		touch(reflect.ValueOf(mine).Elem().Field(i))
		if got := Changes(base, mine, chosen("f16"), measuredNames); len(got) == 0 || Same(base, mine) {
			t.Errorf("%s: nothing shows", key)
		}
	}
}

// touch changes something inside a section.
func touch(v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		if v.Len() > 0 {
			v.Set(v.Slice(0, 0))
		} else {
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		}
	case reflect.Float64:
		v.SetFloat(v.Float() + 1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Struct:
		touch(v.Field(0))
	case reflect.String:
		v.SetString(v.String() + "x")
	}
}

func TestBeside(t *testing.T) {
	base := own(t, "prompts: [{name: a, tokens: [1]}]\nrequire: {min_positions: 2}\n")
	mine := own(t, `model: {path: m}
oracle: {}
prompts: [{name: a, tokens: [1]}, {name: b, tokens: [1]}]
require: {min_positions: 9}
baseline: {store: 'branch:b', required: true, max_increase: 5%}
tolerances: {rules: [{checkpoint: logits, local: 2, rel_l2: 1%, warn: {explained: 3, nmse: 1}}]}
`)
	got := Beside(base, mine)
	if got.Oracle != nil || got.Require.MinPositions != 2 || got.Baseline.Required || got.Baseline.MaxIncrease != 0.05 {
		t.Errorf("%+v", got)
	}
	if r := got.Tolerances.Rules[0]; len(r.Limits) != 1 || r.Limits[0].Metric != "rel_l2" || len(r.Warn) != 1 || r.Warn[0].Metric != "nmse" {
		t.Errorf("%+v", r)
	}
	if r := mine.Tolerances.Rules[0]; len(r.Limits) != 2 || mine.Oracle == nil || !mine.Baseline.Required || mine.Require.MinPositions != 9 {
		t.Errorf("the own spec was changed: %+v", mine)
	}
	if got := Beside(mine, mine); !Same(mine, got) {
		t.Errorf("beside itself: %v", lines(Changes(mine, got, chosen("f16"), nil)))
	}
}

func TestApprovedBy(t *testing.T) {
	s := own(t, "")
	if !strings.HasPrefix(s.Digest, "09bfcc6a14b8") {
		t.Fatal(s.Digest)
	}
	for word, want := range map[string]string{
		"": "false", "false": "false", "true": "true", " TRUE ": "true", s.Digest: "true", strings.ToUpper(s.Digest): "true", s.Digest[:12]: "true", s.Digest[:40] + "\n": "true",
		s.Digest[:11]: "error", s.Digest + "0": "error", "1" + s.Digest[1:]: "error", "yes": "error", s.Digest[1:13]: "error",
	} {
		ok, err := s.ApprovedBy(word)
		got := fmt.Sprint(ok)
		if err != nil {
			got = "error"
			if ok || !strings.Contains(err.Error(), s.Digest) || !strings.Contains(err.Error(), "parity.yaml") {
				t.Errorf("%q: %v, %v", word, ok, err)
			}
		}
		if got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}

func TestRunnable(t *testing.T) {
	if err := own(t, twoEngines).Runnable(); err != nil {
		t.Error(err)
	}
	s := own(t, twoEngines)
	s.Engines.Candidate = Engine{}
	if err := s.Runnable(); err == nil || err.Error() != "it lacks engines.candidate" {
		t.Error(err)
	}
}

// Changes name the lines of keys.
func TestLines(t *testing.T) {
	s := own(t, "# a\nmodel: {path: m}\nprompts:\n  - name: a\n    tokens: [1]\n  - {tokens: [2], name: b}\nengines:\n  reference:\n    adapter: trace\n    path: x/{{prompt}}\n")
	for key, want := range map[string]int{"version": 1, "model": 3, "model.path": 3, "prompts": 4, "prompts.a": 5, "prompts.b": 7, "engines.reference": 9, "engines.reference.path": 11} {
		if s.Lines[key] != want {
			t.Errorf("%s stands on line %d, want %d", key, s.Lines[key], want)
		}
	}
}
