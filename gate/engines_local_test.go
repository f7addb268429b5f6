package gate_test

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// localBug is a mistake in a GGUF file, and where the oracle must see it.
type localBug struct {
	name       string
	edits      func(arch string) []ggufEdit
	checkpoint string
	part       string // of the layer, "" for both and outside of layers
	not        string // the architecture that cannot have it
	everywhere bool   // later checkpoints have the mistake, too
}

var localBugs = []localBug{
	{"RoPE base 1 % off", always(enginetest.SetKV("rope.freq_base", float32(10100))), "layer_0_output", "attention", "gpt2", true},
	{"norm epsilon 1e-3", epsilon, "layer_0_output", "", "", true},
	{"layers 1 and 2 swapped", always(enginetest.SwapLayers(1, 2)), "layer_1_output", "", "", false},
	{"layers 2 and 3 swapped", always(enginetest.SwapLayers(2, 3)), "layer_2_output", "", "", false},
	{"attention norm × 1.01", always(enginetest.Scale("blk.2.attn_norm.weight", 1.01)), "layer_2_output", "attention", "", false},
	{"feed-forward norm × 1.01", always(enginetest.Scale("blk.1.ffn_norm.weight", 1.01)), "layer_1_output", "feed-forward", "", false},
	{"final norm × 1.01", always(enginetest.Scale("output_norm.weight", 1.01)), "final_norm", "", "", false},
	{"a feed-forward output × 1.15", always(enginetest.ScaleChannel("blk.2.ffn_down.weight", 7, 1.15)), "layer_2_output", "feed-forward", "", false},
	{"a feed-forward unit × 1.15", always(enginetest.ScaleChannel("blk.2.ffn_up.weight", 7, 1.15)), "layer_2_output", "feed-forward", "", false},
	{"K heads in wrong order", rotatedKeys, "layer_1_output", "attention", "", false},
	{"V heads in wrong order", rotatedValues, "layer_3_output", "attention", "", false},
	{"embedding rows shifted", always(enginetest.ShiftRows("token_embd.weight")), "embedding", "", "", false},
	{"embedding × 1.01", always(untied, enginetest.Scale("token_embd.weight", 1.01)), "embedding", "", "", false},
	{"output rows shifted", always(untied, enginetest.ShiftRows("output.weight")), "logits", "", "", false},
	{"an attention output lost", always(enginetest.ScaleChannel("blk.1.attn_output.weight", 31, 0)), "layer_1_output", "attention", "", false},
	{"a feed-forward output lost", always(enginetest.ScaleChannel("blk.0.ffn_down.weight", 99, 0)), "layer_0_output", "feed-forward", "", false},
	{"a feed-forward unit lost", always(enginetest.ScaleColumn("blk.3.ffn_down.weight", 5, 0)), "layer_3_output", "feed-forward", "", false},
}

// rotatedValues moves each head's values to the next head in layer 3.
func rotatedValues(arch string) []ggufEdit {
	const v, fused = "blk.3.attn_v.weight", "blk.3.attn_qkv.weight"
	switch arch {
	case "phi3":
		return []ggufEdit{enginetest.RotateHeads(fused, 4, 256, 384)}
	case "gpt2":
		return []ggufEdit{enginetest.RotateHeads(fused, 4, 256, 384), rotateBias("blk.3.attn_qkv.bias", 4, 256, 384)}
	case "qwen2":
		return []ggufEdit{enginetest.RotateHeads(v, 2), rotateBias("blk.3.attn_v.bias", 2, 0, 64)}
	}
	return []ggufEdit{enginetest.RotateHeads(v, 2)}
}

// untied gives a model whose output matrix is its embedding one of its own.
func untied(g *enginetest.GGUF) error {
	e := g.Tensor("token_embd.weight")
	if e == nil {
		return fmt.Errorf("no embedding")
	}
	if g.Tensor("output.weight") == nil {
		g.Tensors = append(g.Tensors, &enginetest.Tensor{Name: "output.weight", Dims: e.Dims, Type: e.Type, Data: slices.Clone(e.Data)})
	}
	return nil
}

// seen is what became of one bug.
type seen struct {
	effect float64 // what it changes at its checkpoint, in units of rounding
	ratio  float64 // of the engine's local error there
	first  string  // the first checkpoint that is over its limit, and its part
	part   string
}

// detectable is the effect from which on a bug must be found: together with
// rounding as large as the floor it makes more than a limit of 1.5.
var detectable = math.Sqrt(1.5*1.5 - 1)

// The first layer whose local error exceeds its limit is the one with the
// mistake, whatever it inherited, in real llama.cpp under f16 and q8_0 noise.
func TestEnginesLocal(t *testing.T) {
	results := map[string]seen{}
	var l sync.Mutex
	precisions := []string{"f16", "q8_0"}
	each := func(f func(b localBug, arch, precision, key string)) {
		for _, b := range localBugs {
			for _, precision := range precisions {
				for _, arch := range enginetest.Architectures {
					if arch != b.not {
						f(b, arch, precision, b.name+"/"+precision+"/"+arch)
					}
				}
			}
		}
	}
	t.Run("bugs", func(t *testing.T) {
		each(func(b localBug, arch, precision, key string) {
			t.Run(key, func(t *testing.T) {
				t.Parallel()
				s := b.run(t, arch, precision)
				l.Lock()
				results[key] = s
				l.Unlock()
			})
		})
	})
	out := table{head: "bug\tnoise\t" + strings.Join(enginetest.Architectures, "\t")}
	var below []string
	found, must, parts, halves := 0, 0, 0, 0
	cells := map[string][]string{}
	each(func(b localBug, arch, precision, key string) {
		s := results[key]
		cell := fmt.Sprintf("%.3g", s.effect)
		right := s.first == b.checkpoint
		switch {
		case s.effect >= detectable:
			must++
			if right {
				found++
			} else {
				cell += " at " + s.first
				t.Errorf("%s: first %q, want %s; its effect is %.3g × the floor, its local error there %.3g ×", key, s.first, b.checkpoint, s.effect, s.ratio)
			}
		default:
			below = append(below, fmt.Sprintf("%s: %.2g × the floor", key, s.effect))
			cell += " below"
			if right {
				cell += ", found"
			} else if s.first != "" && b.everywhere {
				cell += ", found at " + s.first
			} else if s.first != "" {
				t.Errorf("%s: blamed %s", key, s.first)
			}
		}
		if right && b.part != "" && arch != "phi3" { // llama.cpp gives phi3's stream between the halves no name
			halves++
			if s.part == b.part {
				parts++
			} else {
				t.Errorf("%s: part %q, want %s", key, s.part, b.part)
			}
		}
		cells[b.name+"\t"+precision] = append(cells[b.name+"\t"+precision], cell)
	})
	for _, b := range localBugs {
		for _, p := range precisions {
			c := cells[b.name+"\t"+p]
			if b.not == "gpt2" {
				c = append(c, "–")
			}
			out.add("%s\t%s\t%s", b.name, p, strings.Join(c, "\t"))
		}
	}
	t.Logf("effect of each bug at its checkpoint, in units of what rounding costs there%s\n%d of %d with an effect of %.3g × the floor or more found at exactly the right checkpoint; %d of %d in the right half of the layer\nthe others:\n%s",
		&out, found, must, detectable, parts, halves, strings.Join(below, "\n"))
	if must < 120 {
		t.Errorf("only %d bugs are above the floor", must)
	}
}

// run runs the bug in llama.cpp with its default settings beside the oracle on
// the sound model, whose weights are of the same type.
func (b localBug) run(t *testing.T, arch, precision string) seen {
	sound := weights(t, arch, precision)
	edits := b.edits(arch)
	if precision != "f16" {
		edits = append(slices.Clone(edits), precisionEdits[precision]...)
	}
	wrong := edited(t, arch, strings.NewReplacer(" ", "_", "%", "", "×", "x").Replace(b.name)+"-local-"+precision, edits...)
	r := runSpec(t, besideOracle(t, sound, wrong, "sublayers: true, prove_capture: false"))
	if f := r.Engines.Candidate.Failure; f != "" {
		t.Fatalf("%s\n%s", f, r.Engines.Candidate.Output)
	}
	if from := r.Engines.Candidate.ProfileFrom; from != "settings" {
		t.Errorf("profile %s from %s", r.Engines.Candidate.Profile, from)
	}
	s := seen{effect: effectOf(t, r.Engines.Candidate.Profile, sound, wrong, b.checkpoint)}
	for _, c := range r.Checkpoints {
		if c.Oracle == nil || math.IsNaN(float64(c.Oracle.Candidate.LocalRatio)) {
			continue
		}
		if c.Name == b.checkpoint {
			s.ratio = float64(c.Oracle.Candidate.LocalRatio)
		}
		for _, l := range c.Limits {
			if l.Metric == "local" && !l.Within && s.first == "" {
				s.first, s.part = c.Name, c.Oracle.Candidate.Part
			}
		}
	}
	return s
}

// besideOracle is a spec with the oracle on the sound model as the reference.
func besideOracle(t testing.TB, sound, model, more string) string {
	return fmt.Sprintf("version: 1\nmodel: {path: %q}\nprompts:\n%sengines:\n  reference: {adapter: builtin, precision: f64}\n  candidate: {%s}\noracle: {}\n",
		sound, ids("code", code), llamaKeys(t, "", fmt.Sprintf("model: %q, %s", model, more)))
}

// effectOf is what the wrong model changes at a checkpoint without any rounding,
// in units of what the profile costs there.
func effectOf(t *testing.T, profile, sound, wrong, checkpoint string) float64 {
	dir := t.TempDir()
	forward := func(model, name string) *trace.Trace {
		m, err := oracle.Load(model)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		path := filepath.Join(dir, name)
		if err := engine.WriteForward(context.Background(), m, enginetest.Prompt(code), oracle.Options{}, trace.Meta{}, path); err != nil {
			t.Fatal(err)
		}
		tr, err := trace.Open(path, trace.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tr.Close() })
		return tr
	}
	s := spec.Default()
	s.Oracle = &spec.Oracle{Model: sound}
	var err error
	if s.Engines.Candidate.Precision, err = engine.ParsePrecision(profile); err != nil {
		t.Fatal(err)
	}
	pair := gate.Pair{Prompt: "code", Reference: forward(sound, "sound"), Candidate: forward(wrong, "wrong")}
	r, err := gate.Compare(context.Background(), s, []gate.Pair{pair}, gate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Checkpoints {
		if c.Name == checkpoint {
			return float64(c.Oracle.Candidate.LocalRatio)
		}
	}
	t.Fatalf("no %s", checkpoint)
	return 0
}
