package engine_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

func floats(b []byte) []float32 {
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

func argmax(v []float32) int {
	best := 0
	for i := range v {
		if v[i] > v[best] {
			best = i
		}
	}
	return best
}

// relL2 is √(Σ(b−a)²/Σa²); rows of another number fail the test.
func relL2(t *testing.T, a, b []byte) float64 {
	t.Helper()
	if len(a) != len(b) || len(a) == 0 {
		t.Fatalf("%d and %d bytes", len(a), len(b))
	}
	x, y := floats(a), floats(b)
	var diff, norm float64
	for i := range x {
		diff += math.Pow(float64(y[i])-float64(x[i]), 2)
		norm += math.Pow(float64(x[i]), 2)
	}
	return math.Sqrt(diff / norm)
}

// nodeProgram evaluates the ids of its last argument with the npm package's own
// interface, as its users do; it knows nothing of paritygate.
const nodeProgram = `
import {pathToFileURL} from "node:url";
const [modules, model, ids] = process.argv.slice(2);
const {getLlama} = await import(pathToFileURL(modules + "/node-llama-cpp/dist/index.js").href);
const llama = await getLlama({gpu: false, build: "never", skipDownload: true, maxThreads: 2});
const loaded = await llama.loadModel({modelPath: model});
const context = await loaded.createContext({contextSize: 256});
const sequence = context.getSequence();
let made = 0;
for await (const token of sequence.evaluate(ids.split(",").map(Number), {temperature: 0}))
    if (++made === 3) break;
process.exit(0);
`

func preloadSpec(t *testing.T, command ...string) spec.Engine {
	t.Helper()
	no := false
	return spec.Engine{Adapter: "llamacpp", Mode: "preload", GPU: &no, Command: command}
}

func nodeSpec(t *testing.T) spec.Engine {
	t.Helper()
	script := filepath.Join(t.TempDir(), "program.mjs")
	if err := os.WriteFile(script, []byte(nodeProgram), 0o644); err != nil {
		t.Fatal(err)
	}
	return preloadSpec(t, "node", script, filepath.Join(enginetest.LlamaCpp(t).Node, "node_modules"), "{{model}}", "{{tokens}}")
}

// An unmodified Node program is captured: the hidden states of all positions,
// the outputs of the one that it asked for, and they are what the probe
// captures from the same library.
func TestLlamaPreloadNode(t *testing.T) {
	for _, arch := range enginetest.Architectures {
		t.Run(arch, func(t *testing.T) {
			in := engine.Input{Model: enginetest.Zoo(t, arch), Tokens: enginetest.Prompt(code)}
			rec, tr := mustRecord(t, nodeSpec(t), engine.Candidate, in)
			if !slices.Equal(rec.Tokens, in.Tokens) || !slices.Equal(tr.Meta.Tokens, in.Tokens) || !strings.HasPrefix(rec.Version, "v0.5.0") {
				t.Errorf("tokens %v, version %q", rec.Tokens, rec.Version)
			}
			_, probe := mustRecord(t, llamaSpec(enginetest.LlamaCpp(t)), engine.Candidate, in)
			last := len(in.Tokens) - 1
			for _, name := range []string{"embedding", "layer_0_output", "layer_1_output", "layer_2_output", "layer_3_output", "final_norm", "logits"} {
				c := tr.Lookup(name)
				if c == nil {
					t.Errorf("no %s in %v", name, names(tr))
					continue
				}
				want := values(t, probe, name)
				whole := name == "embedding" || strings.HasPrefix(name, "layer_") && name != "layer_3_output"
				if whole != (len(c.Positions) == last+1) || !whole && !slices.Equal(c.Positions, []int{last}) {
					t.Errorf("%s has positions %v", name, c.Positions)
				}
				if !whole {
					want = want[last*c.Width*4:]
				}
				// One output row alone goes through other kernels than all rows do.
				if whole && !bytes.Equal(want, values(t, tr, name)) {
					t.Errorf("%s differs from what the probe captured", name)
				}
				if d := relL2(t, want, values(t, tr, name)); d > 2e-3 {
					t.Errorf("%s: rel_l2 %g against the probe", name, d)
				}
			}
		})
	}
}

// With no C compiler about, the C++ one makes a shim that captures the same.
func TestLlamaPreloadWithoutC(t *testing.T) {
	in := engine.Input{Model: enginetest.Zoo(t, "llama"), Tokens: enginetest.Prompt(code)}
	_, want := mustRecord(t, nodeSpec(t), engine.Candidate, in)
	bin := t.TempDir()
	for _, tool := range []string{"g++", "as", "ld", "node"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	t.Setenv("CC", "")
	// The compiler's path is part of the cache's key, and is another one each time.
	e, err := engine.New(nodeSpec(t), engine.Options{Role: engine.Candidate, Getenv: os.Getenv, CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	in.Dir, in.Name = t.TempDir(), "code"
	rec, err := e.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	got, err := trace.Open(rec.TracePath, trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	for _, name := range []string{"embedding", "layer_0_output", "layer_3_output", "logits"} {
		if !bytes.Equal(values(t, want, name), values(t, got, name)) {
			t.Errorf("%s differs", name)
		}
	}
	t.Setenv("CC", "cc")
	_, err = record(t, nodeSpec(t), engine.Candidate, in)
	wantFault(t, err, engine.NotStarted, "compiler cc: not found in PATH")
}

func TestLlamaPreloadFaults(t *testing.T) {
	in := engine.Input{Model: enginetest.Zoo(t, "llama"), Tokens: enginetest.Prompt(code)}
	t.Run("a program without llama.cpp", func(t *testing.T) {
		_, err := record(t, preloadSpec(t, "sh", "-c", "true"), engine.Candidate, in)
		wantFault(t, err, engine.NoTrace, "the shim was loaded, but no call of libggml went through it", "linked statically", "RTLD_DEEPBIND")
	})
	t.Run("a program that drops LD_PRELOAD", func(t *testing.T) {
		cfg := nodeSpec(t)
		cfg.Command = append([]string{"env", "-u", "LD_PRELOAD"}, cfg.Command...)
		_, err := record(t, cfg, engine.Candidate, in)
		wantFault(t, err, engine.NoTrace, "the shim was loaded, but no call of libggml")
	})
	t.Run("other tokens", func(t *testing.T) {
		cfg := nodeSpec(t)
		cfg.Command[len(cfg.Command)-1] = "100,{{tokens}}"
		_, err := record(t, cfg, engine.Candidate, in)
		wantFault(t, err, engine.BadTrace, "did not evaluate the prompt's tokens", "[100,256,")
	})
	t.Run("a crash", func(t *testing.T) {
		_, err := record(t, preloadSpec(t, "sh", "-c", "kill -SEGV $$"), engine.Candidate, in)
		wantFault(t, err, engine.Crashed, "SIGSEGV")
	})
	t.Run("generate", func(t *testing.T) {
		g := in
		g.Generate = 3
		_, err := record(t, nodeSpec(t), engine.Candidate, g)
		wantFault(t, err, engine.NotStarted, "generate: 3")
	})
}
