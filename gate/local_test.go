package gate

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/oracle"
)

// The local figures are those of the definition: the oracle runs each layer on
// the engine's own input.
func TestLocalFigures(t *testing.T) {
	const told = "llamacpp-fa-f16"
	cand := modelRun{profile: "bf16", meta: spoken(told)}
	r := besides(t, exactly, cand, "")
	m, p := loaded(t, enginetest.Zoo(t, "llama")), aProfile(t, told)
	own, _ := cand.values(t)
	flat := func(name string) (out []float64) {
		for _, row := range own[name] {
			out = append(out, row...)
		}
		return out
	}
	check := func(name string, exact, emulated, input []float64) {
		t.Helper()
		e := checkpointOf(t, r, name).Oracle.Candidate
		var err2, floor2, step2 float64
		for i, v := range flat(name) {
			err2 += math.Pow(v-exact[i], 2)
			floor2 += math.Pow(emulated[i]-exact[i], 2)
			step := exact[i]
			if input != nil {
				step -= input[i]
			}
			step2 += step * step
		}
		local, floor := math.Sqrt(err2/step2), math.Sqrt(floor2/step2)
		if !near(float64(e.Local), local, 1e-6) || !near(float64(e.LocalFloor), floor, 1e-6) || !near(float64(e.LocalRatio), local/max(floor, leastFloor), 1e-6) {
			t.Errorf("%s: %g of %g, %g ×; want %g of %g", name, float64(e.Local), float64(e.LocalFloor), float64(e.LocalRatio), local, floor)
		}
		if v := checkpointOf(t, r, name).Metrics["local"]; v != e.LocalRatio {
			t.Errorf("%s: the metric is %g", name, float64(v))
		}
		if e.Part != "" {
			t.Errorf("%s: part %s without sub-layers", name, e.Part)
		}
	}
	ctx, input := context.Background(), flat("embedding")
	for i, name := range []string{"layer_0_output", "layer_1_output", "layer_2_output", "layer_3_output"} {
		exact, err := m.Layer(ctx, i, input, oracle.Profile{})
		if err != nil {
			t.Fatal(err)
		}
		emulated, err := m.Layer(ctx, i, input, p)
		if err != nil {
			t.Fatal(err)
		}
		check(name, exact.Output, emulated.Output, input)
		input = flat(name)
	}
	exactNorm, exactLogits, err := m.Head(ctx, input, oracle.Profile{})
	if err != nil {
		t.Fatal(err)
	}
	norm, logits, err := m.Head(ctx, input, p)
	if err != nil {
		t.Fatal(err)
	}
	check("final_norm", exactNorm, norm, nil)
	check("logits", exactLogits, logits, nil)
	if e := checkpointOf(t, r, "embedding").Oracle.Candidate; e.Local != e.Error || e.LocalRatio != e.Explained || e.LocalFloor != e.Floor {
		t.Errorf("embedding, which nothing comes before: %+v", e)
	}
}

// wrongModel is the zoo's llama with edits.
func wrongModel(t *testing.T, edits ...func(*enginetest.GGUF) error) string {
	return enginetest.Edit(t, "llama", filepath.Join(t.TempDir(), "wrong.gguf"), edits...)
}

// A layer's own error does not spread to the layers that inherit it, and where
// the stream between its halves was captured, the half is named.
func TestLocalPart(t *testing.T) {
	const told = "llamacpp-fa-f16"
	for name, c := range map[string]struct {
		edit       func(*enginetest.GGUF) error
		checkpoint string
		part       string
	}{
		"heads of keys":     {enginetest.RotateHeads("blk.1.attn_k.weight", 2), "layer_1_output", "attention"},
		"attention's norm":  {enginetest.Scale("blk.2.attn_norm.weight", 1.01), "layer_2_output", "attention"},
		"a lost output":     {enginetest.ScaleChannel("blk.0.attn_output.weight", 9, 0), "layer_0_output", "attention"},
		"feed-forward norm": {enginetest.Scale("blk.1.ffn_norm.weight", 1.01), "layer_1_output", "feed-forward"},
		"a lost unit":       {enginetest.ScaleColumn("blk.3.ffn_down.weight", 5, 0), "layer_3_output", "feed-forward"},
		"the final norm":    {enginetest.Scale("output_norm.weight", 1.001), "final_norm", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := besides(t, exactly, modelRun{model: wrongModel(t, c.edit), profile: told, meta: spoken(told), sublayers: true}, "")
			// The reference has no sub-layers: they are measured all the same.
			over := ""
			for _, p := range r.Checkpoints {
				e := p.Oracle.Candidate
				wrong := e.LocalRatio > Value(declared.local)
				if wrong && over == "" {
					over = p.Name
				}
				want := ""
				if p.Name == c.checkpoint {
					want = c.part
				}
				if e.Part != want {
					t.Errorf("%s: part %q, want %q", p.Name, e.Part, want)
				}
				// The logits are computed of the last layer, so they have its norm's error.
				if inherits := p.Name != c.checkpoint && !(c.checkpoint == "final_norm" && p.Name == logitsName); inherits && wrong {
					t.Errorf("%s is blamed, too: %g ×", p.Name, float64(e.LocalRatio))
				}
			}
			if over != c.checkpoint {
				t.Errorf("first %q, want %s", over, c.checkpoint)
			}
			if d := r.Diagnosis; len(d) == 0 || d[0].Checkpoint != c.checkpoint {
				t.Errorf("diagnosis %+v", d)
			}
		})
	}
	// Of a sound engine, no half is named.
	r := besides(t, exactly, modelRun{profile: told, meta: spoken(told), sublayers: true}, "")
	for _, c := range r.Checkpoints {
		if c.Oracle.Candidate.Part != "" || r.Outcome != Pass {
			t.Errorf("%v; %s: part %s", r.Outcome, c.Name, c.Oracle.Candidate.Part)
		}
	}
}

// A layer whose input was not captured has no local error, nor has the one after
// a layer that was not captured.
func TestLocalMissingInput(t *testing.T) {
	const told = "llamacpp-fa-f16"
	r := besides(t, exactly, modelRun{profile: told, meta: spoken(told), only: func(n string) bool { return n != "layer_1_output" && n != "layer_3_output" }}, "")
	known := map[string]bool{}
	for _, c := range r.Checkpoints {
		known[c.Name] = !math.IsNaN(float64(c.Oracle.Candidate.LocalRatio))
		if _, ok := c.Metrics["local"]; ok != known[c.Name] {
			t.Errorf("%s: the metric is there: %v", c.Name, ok)
		}
	}
	want := map[string]bool{"embedding": true, "layer_0_output": true, "layer_2_output": false, "final_norm": false, "logits": false}
	for name, w := range want {
		if k, ok := known[name]; !ok || k != w {
			t.Errorf("%s: local error known: %v, want %v", name, k, w)
		}
	}
}
