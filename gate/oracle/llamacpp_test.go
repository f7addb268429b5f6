package oracle_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

const code = "class Reader(object):\n    def __init__(self, stream):\n        self.stream = stream\n"

// llamaRun is a way to run the real llama.cpp, and the profile that emulates it.
type llamaRun struct {
	name    string
	profile string
	strict  bool
	weights enginetest.GGUFType
	change  func(*spec.Engine)
}

var llamaRuns = []llamaRun{
	{name: "f32", profile: "llamacpp-cpu-f32", strict: true, weights: enginetest.F32},
	{name: "f16", profile: "llamacpp-cpu-f16", weights: enginetest.F16, change: cache("f32", "off")},
	{name: "f16, KV f16", profile: "llamacpp-kv-f16", weights: enginetest.F16, change: cache("f16", "off")},
	{name: "f16, KV bf16", profile: "llamacpp-kv-bf16", weights: enginetest.F16, change: cache("bf16", "off")},
	{name: "f16, KV f16, flash", profile: "llamacpp-fa-f16", weights: enginetest.F16, change: cache("f16", "on")},
	{name: "bf16", profile: "llamacpp-cpu-bf16", weights: enginetest.BF16, change: cache("f32", "off")},
	{name: "q8_0", profile: "llamacpp-q8_0", weights: enginetest.Q8_0, change: cache("f32", "off")},
}

func cache(kv, flash string) func(*spec.Engine) {
	return func(c *spec.Engine) { c.KVType, c.FlashAttention = kv, flash }
}

// llama runs the real llama.cpp on model and returns its trace.
func llama(t *testing.T, r llamaRun, model string, tokens []int32) *trace.Trace {
	t.Helper()
	in, none, off := enginetest.LlamaCpp(t), 0, false
	cfg := spec.Engine{Adapter: "llamacpp", Library: in.Library, Headers: in.Headers, GPULayers: &none, Sublayers: true, ProveCapture: &off}
	role := engine.Candidate
	if r.strict {
		role = engine.Reference
	}
	if r.change != nil {
		r.change(&cfg)
	}
	e, err := engine.New(cfg, engine.Options{Role: role, Getenv: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := e.Run(context.Background(), engine.Input{Name: "code", Model: model, Tokens: tokens, Dir: t.TempDir()})
	if err != nil {
		var fault *engine.Error
		if errors.As(err, &fault) {
			t.Log(fault.Output)
		}
		t.Fatal(err)
	}
	return openTrace(t, rec.TracePath)
}

func profile(t testing.TB, name string) oracle.Profile {
	t.Helper()
	p, err := oracle.ProfileByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What the emulated profile adds to the float64 oracle's result is about what the
// real engine adds, at every checkpoint.
func TestFloors(t *testing.T) {
	tokens := enginetest.Prompt(code)
	for _, r := range llamaRuns {
		for _, arch := range enginetest.Architectures {
			t.Run(r.name+"/"+arch, func(t *testing.T) {
				path := enginetest.Edit(t, arch, filepath.Join(t.TempDir(), "m.gguf"), enginetest.Convert(r.weights))
				m := load(t, path)
				exact := compute(t, m, tokens, oracle.Options{Sublayers: true})
				emulated := compute(t, m, tokens, oracle.Options{Sublayers: true, Profile: profile(t, r.profile)})
				tr := llama(t, r, path, tokens)
				var table strings.Builder
				for _, name := range exact.names {
					c := tr.Lookup(name)
					if c == nil {
						fmt.Fprintf(&table, "\n%-22s missing", name)
						continue
					}
					got := rowsOf(t, c)
					measured, floor := relL2(got, exact.values[name]), relL2(emulated.values[name], exact.values[name])
					ratio := measured / floor
					note := ""
					if !(ratio >= 0.33 && ratio <= 3) && measured != floor {
						note = " outside"
					}
					fmt.Fprintf(&table, "\n%-22s measured %.2e emulated %.2e ratio %.2f direct %.2e%s", name, measured, floor, ratio, relL2(got, emulated.values[name]), note)
				}
				t.Log(table.String())
			})
		}
	}
}
