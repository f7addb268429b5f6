package gate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// calibrated calibrates the candidate of a spec.
func calibrated(t *testing.T, yaml string, change func(*gate.CalibrateOptions)) (*spec.Spec, *gate.Calibration, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "parity.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := spec.Load(path)
	if err != nil {
		t.Fatalf("%v\n%s", err, yaml)
	}
	o := gate.CalibrateOptions{RunOptions: gate.RunOptions{Getenv: os.Getenv, Role: engine.Candidate}, Name: "candidate", Engine: s.Engines.Candidate, Runs: 2, Margin: 2}
	if change != nil {
		change(&o)
	}
	c, err := gate.Calibrate(context.Background(), s, o)
	return s, c, err
}

// rulesOf is the written document, read back as a spec.
func rulesOf(t *testing.T, c *gate.Calibration) *spec.Spec {
	t.Helper()
	s, err := spec.Parse(c.YAML(), "rules.yaml")
	if err != nil {
		t.Fatalf("%v\n%s", err, c.YAML())
	}
	n := 0
	for _, r := range s.Tolerances.Rules {
		for _, l := range r.Limits {
			if want := c.Limits[n]; r.Checkpoint != want.Rule || l.Metric != want.Metric || l.Value != float64(want.Limit) {
				t.Errorf("read back as %s %s %g, want %+v", r.Checkpoint, l.Metric, l.Value, want)
			}
			n++
		}
	}
	if n != len(c.Limits) || n == 0 {
		t.Errorf("%d limits read back of %d", n, len(c.Limits))
	}
	return s
}

// broken lists the rules of the document that a pair breaks, and the outcome.
func broken(t *testing.T, rules *spec.Spec, ref, cand *trace.Trace) ([]string, *gate.Result) {
	t.Helper()
	r, err := gate.Compare(context.Background(), rules, []gate.Pair{{Prompt: "p", Reference: ref, Candidate: cand}}, gate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range r.Checkpoints {
		for _, f := range c.Findings {
			if f.Level == gate.LevelFail && f.Source == "rules.yaml" {
				out = append(out, fmt.Sprintf("%s %s %g > %g", f.Checkpoint, f.Metric, f.Value, f.Limit))
			}
		}
	}
	return out, r
}

// emulated is a model's forward pass, with a bug unless it is "".
func emulated(t *testing.T, model, bug string, p oracle.Profile, tokens []int32) *trace.Trace {
	t.Helper()
	m, err := oracle.Load(model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if bug != "" {
		if err := oracle.Plant(m, bug); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "trace.safetensors")
	if err := engine.WriteForward(context.Background(), m, tokens, oracle.Options{Profile: p}, trace.Meta{}, path); err != nil {
		t.Fatal(err)
	}
	return openedUntilEnd(t, path)
}

func openedUntilEnd(t *testing.T, path string) *trace.Trace {
	t.Helper()
	tr, err := trace.Open(path, trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// everyBugFails holds the written rules against each bug that was tried; those
// that the calibration calls below the noise must say so with their figures.
func everyBugFails(t *testing.T, c *gate.Calibration, rules *spec.Spec, model string, base oracle.Profile, tokens []int32) {
	t.Helper()
	p, err := oracle.ProfileByName(strings.Split(c.Profile, ",")[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range strings.Split(c.Profile, ",")[1:] {
		key, value, _ := strings.Cut(field, "=")
		if p, err = p.With(key, value); err != nil {
			t.Fatal(err)
		}
	}
	if base.Name == "" {
		base = p
	}
	sound := emulated(t, model, "", base, tokens)
	if len(c.Bugs) != len(oracle.Bugs()) {
		t.Errorf("%d bugs tried of %d", len(c.Bugs), len(oracle.Bugs()))
	}
	for _, b := range c.Bugs {
		if b.Impossible != "" {
			t.Errorf("%s: %s", b.Name, b.Impossible)
			continue
		}
		breaks, _ := broken(t, rules, sound, emulated(t, model, b.Name, p, tokens))
		if b.Fails != (len(breaks) > 0) {
			t.Errorf("%s: fails %v, but breaks %v", b.Name, b.Fails, breaks)
		}
		if !b.Fails && (b.Effect > b.Noise || b.Noise == 0) {
			t.Errorf("%s: %g is not below the noise of %g, and yet passes", b.Name, b.Effect, b.Noise)
		}
	}
}

// TestCalibrateBuiltin: an engine that rounds against an exact one, with margins
// from tight to absurd: whatever the margin, no tried bug passes.
func TestCalibrateBuiltin(t *testing.T) {
	model := enginetest.Zoo(t, "llama")
	tokens := enginetest.Prompt(short)
	exact, rounded := mustProfile(t, "f64"), mustProfile(t, "llamacpp-fa-f16")
	yaml := fmt.Sprintf("version: 1\nmodel: {path: %q}\nprompts:\n%sengines:\n  reference: {adapter: builtin}\n  candidate: {adapter: builtin, precision: %s}\n",
		model, ids("short", short), rounded.Name)
	for _, margin := range []float64{1, 2, 1e4} {
		t.Run(fmt.Sprint(margin), func(t *testing.T) {
			_, c, err := calibrated(t, yaml, func(o *gate.CalibrateOptions) { o.Margin, o.AgainstReference = margin, true })
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Warnings) > 0 {
				t.Errorf("warnings %q", c.Warnings)
			}
			rules := rulesOf(t, c)
			if breaks, r := broken(t, rules, emulated(t, model, "", exact, tokens), emulated(t, model, "", rounded, tokens)); r.Outcome != gate.Pass {
				t.Errorf("the sound engine: %s, %v", r.Outcome, breaks)
			}
			everyBugFails(t, c, rules, model, exact, tokens)
			tightened := slices.ContainsFunc(c.Limits, func(l gate.CalibratedLimit) bool { return l.Bug != "" })
			if want := margin == 1e4; tightened != want {
				t.Errorf("tightened %v, want %v", tightened, want)
			}
			for _, b := range c.Bugs {
				if !b.Fails {
					t.Errorf("%s passes", b.Name)
				}
			}
		})
	}
}

func mustProfile(t *testing.T, name string) oracle.Profile {
	t.Helper()
	p, err := oracle.ProfileByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCalibrateRefuses: what shows no noise is no calibration, and a failing
// engine is told apart.
func TestCalibrateRefuses(t *testing.T) {
	yaml := "version: 1\nprompts: [{name: a, tokens: [1]}]\nengines:\n  candidate: {adapter: exec, command: [\"%s\", \"{{trace}}\"], gpu: false}\n"
	_, _, err := calibrated(t, fmt.Sprintf(yaml, "true"), nil)
	var failed *gate.EngineFailure
	if !errors.As(err, &failed) || failed.Engine != "candidate" || !strings.Contains(failed.Reason, "no trace") {
		t.Errorf("an engine without a trace: %v", err)
	}
	yaml = "version: 1\nmodel: {path: gone.gguf}\nprompts: [{name: a, tokens: [1]}]\nengines:\n  candidate: {adapter: builtin, precision: f16}\n"
	if _, _, err = calibrated(t, yaml, nil); !errors.As(err, &failed) || !strings.Contains(failed.Reason, "gone.gguf") {
		t.Errorf("a model that is not there: %v", err)
	}
}

// TestEnginesCalibrate: the noise of the real llama.cpp over batch widths,
// threads, decoding, flash attention and cache types; the engine passes the
// rules that follow, and no bug does that stands out from the noise.
func TestEnginesCalibrate(t *testing.T) {
	for _, architecture := range []string{"llama", "qwen2"} {
		t.Run(architecture, func(t *testing.T) {
			model := enginetest.Zoo(t, architecture)
			tokens := enginetest.Prompt(code)
			yaml := fmt.Sprintf("version: 1\nmodel: {path: %q}\nprompts:\n%sengines:\n  candidate: {%s}\n", model, ids("code", code), llamaKeys(t, "", ""))
			s, c, err := calibrated(t, yaml, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("\n%s", c.YAML())
			for _, name := range []string{"run again", "ubatch 1", "ubatch 7", "ubatch 32", "threads 2", "decode", "flash_attention off", "kv_type f32"} {
				if !slices.ContainsFunc(c.Variants, func(v gate.CalibratedVariant) bool { return v.Name == name }) {
					t.Errorf("no variant %q", name)
				}
			}
			for _, v := range c.Variants {
				switch v.Name {
				case "run again":
					if !v.Identical {
						t.Errorf("the same run again is not bit-identical: %+v", v)
					}
				case "decode", "flash_attention off": // other kernels
					if v.Identical {
						t.Errorf("%s changed nothing: did it run?", v.Name)
					}
				}
			}
			if len(c.Warnings) > 0 {
				t.Errorf("warnings %q", c.Warnings)
			}
			rules := rulesOf(t, c)
			cfg := s.Engines.Candidate
			first := captured(t, cfg, model, tokens)
			cfg.UBatch, cfg.Threads, cfg.KVType = 7, 2, "f16"
			if breaks, r := broken(t, rules, first, captured(t, cfg, model, tokens)); r.Outcome != gate.Pass {
				t.Errorf("the sound engine in a mix of the variants: %s, %v", r.Outcome, breaks)
			}
			everyBugFails(t, c, rules, model, oracle.Profile{}, tokens)
		})
	}
}

// TestEnginesCalibrateTransformers: weights in a format of its own, tokens that
// the reference makes of text, and variants of another adapter.
func TestEnginesCalibrateTransformers(t *testing.T) {
	model := enginetest.Zoo(t, "llama")
	prompt := fmt.Sprintf("  - {name: text, text: %q, generate: 4}\n", short)
	_, c, err := calibrated(t, torchYAML(t, model, enginetest.ZooHF(t, "llama"), "dtype: f32", prompt), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", c.YAML())
	var names []string
	for _, v := range c.Variants {
		names = append(names, v.Name)
		if v.Identical == (v.Name == "decode") { // other shapes of matrices, other sums
			t.Errorf("%+v", v)
		}
	}
	for _, want := range []string{"run again", "threads 2", "decode"} {
		if !slices.Contains(names, want) {
			t.Errorf("no variant %q of %q", want, names)
		}
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "bugs were planted in llama-f16.gguf, because the engine's own ") {
		t.Errorf("warnings %q", c.Warnings)
	}
	if got, want := c.Prompts[0].Tokens, len(enginetest.Prompt(short))+4; got != want || c.Profile != "transformers-f32" {
		t.Errorf("%d tokens emulated as %s, want %d as transformers-f32", got, c.Profile, want)
	}
	rulesOf(t, c)
	for _, b := range c.Bugs {
		if !b.Fails && (b.Effect > b.Noise || b.Noise == 0) || b.Impossible != "" {
			t.Errorf("%+v", b)
		}
	}
}

// captured is one run of an engine as a candidate.
func captured(t *testing.T, cfg spec.Engine, model string, tokens []int32) *trace.Trace {
	t.Helper()
	out := filepath.Join(t.TempDir(), "trace.safetensors")
	in := engine.Input{Name: "code", Tokens: tokens, Model: model}
	if _, err := gate.Capture(context.Background(), cfg, in, out, gate.RunOptions{Getenv: os.Getenv}); err != nil {
		t.Fatal(err)
	}
	return openedUntilEnd(t, out)
}
