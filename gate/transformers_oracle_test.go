package gate_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/oracle/gguf"
	"github.com/paritygate/paritygate/gate/oracle/gguf/ggufgen"
)

// randomQwen3 writes a random qwen3 of four layers.
func randomQwen3(t testing.TB, c ggufgen.Config) string {
	t.Helper()
	c.Layers = 4
	d, err := ggufgen.RandomModel("qwen3", c, 11)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "qwen3.gguf")
	if err := gguf.Write(path, d); err != nil {
		t.Fatal(err)
	}
	return path
}

// The oracle and transformers in float64 compute the same, at the halves of the
// layers, too. What is left is transformers': it keeps RoPE's angles and the
// norms of its llamas in f32.
func TestTransformersOracle(t *testing.T) {
	type pair struct{ name, model, folder string }
	var pairs []pair
	for _, arch := range enginetest.Architectures {
		pairs = append(pairs, pair{arch, enginetest.Zoo(t, arch), enginetest.ZooHF(t, arch)})
	}
	tied := randomQwen3(t, ggufgen.Config{Width: 128, Heads: 4, KVHeads: 2, HeadDim: 64})
	own := randomQwen3(t, ggufgen.Config{Width: 128, Heads: 8, KVHeads: 1, RopeBase: 1e6, Epsilon: 1e-6, Output: ggufgen.OutputSeparate})
	pairs = append(pairs, pair{"qwen3, random", tied, enginetest.Qwen3HF(t, tied)},
		pair{"qwen3, random, output matrix", own, enginetest.Qwen3HF(t, own)})
	out := table{head: "model\tembedding\tlayer 0\tlayer 1\tlayer 2\tlayer 3\tfinal norm\tlogits\tmost, halves too"}
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			r := runSpec(t, fmt.Sprintf("version: 1\nmodel: {path: %q}\nprompts:\n%sengines:\n"+
				"  reference: {adapter: builtin, precision: f64, sublayers: true}\n"+
				"  candidate: {adapter: transformers, python: %q, model: %q, threads: 1, prove_capture: false, dtype: f64, sublayers: true}\n",
				p.model, ids("code", code), enginetest.Torch(t), p.folder))
			if f := r.Engines.Candidate.Failure; f != "" {
				t.Fatalf("%s\n%s", f, r.Engines.Candidate.Output)
			}
			if n := 3 + 4*6; len(r.Checkpoints) != n || len(r.Coverage.Missing) > 0 {
				t.Errorf("%d checkpoints, want %d; missing %+v", len(r.Checkpoints), n, r.Coverage.Missing)
			}
			if a, b := r.Engines.Reference.Precision, r.Engines.Candidate.Precision; a != "f64" || b != "f64" {
				t.Errorf("precisions %q and %q, not f64", a, b)
			}
			out.add("%s\t%s", p.name, sameInF64(t, r))
		})
	}
	t.Log(&out)
}

// sameInF64 fails where a checkpoint's rel_l2 is above 1e-6, and returns a row.
func sameInF64(t *testing.T, r *gate.Result) string {
	at := map[string]float64{}
	for _, c := range r.Checkpoints {
		at[c.Name] = float64(c.Metrics["rel_l2"])
		if !(at[c.Name] <= 1e-6) {
			t.Errorf("rel_l2 %g at %s", at[c.Name], c.Name)
		}
	}
	name, most := largest(r)
	row := ""
	for _, c := range []string{"embedding", "layer_0_output", "layer_1_output", "layer_2_output", "layer_3_output", "final_norm", "logits"} {
		row += fmt.Sprintf("%.1e\t", at[c])
	}
	return row + fmt.Sprintf("%.1e at %s", most, name)
}
