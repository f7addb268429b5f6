package gate_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
)

type ggufEdit = func(*enginetest.GGUF) error

// plantedBug is a mistake that an engine might make, made in its GGUF file.
type plantedBug struct {
	name  string
	edits func(arch string) []ggufEdit
	// precisions of the pair: f32 is strict on both sides, f16 a strict reference
	// and a candidate with its own defaults.
	precisions []string
	checkpoint string   // where the engines part first
	kinds      []string // of the first diagnosis
	// hidden says where the bug is left out, and why: an architecture, or one in
	// one precision.
	hidden map[string]string
}

func always(edits ...ggufEdit) func(string) []ggufEdit {
	return func(string) []ggufEdit { return edits }
}

var both = []string{"f32", "f16"}

var plantedBugs = []plantedBug{
	{name: "RoPE base 1 % off", edits: always(enginetest.SetKV("rope.freq_base", float32(10100))), precisions: both,
		checkpoint: "layer_0_output", kinds: []string{"rope_or_mask"}, hidden: map[string]string{"gpt2": "it has no RoPE"}},
	{name: "norm epsilon 1e-3", edits: epsilon, precisions: both, checkpoint: "layer_0_output", kinds: []string{"norm_epsilon", "layer"},
		hidden: map[string]string{"granite f16": "its embeddings are 12 times as large: the bug moves layer 0 by 0.1 %, less than f16 rounding"}},
	{name: "layers 1 and 2 swapped", edits: always(enginetest.SwapLayers(1, 2)), precisions: both,
		checkpoint: "layer_1_output", kinds: []string{"layer_order"}},
	{name: "layers 2 and 3 swapped", edits: always(enginetest.SwapLayers(2, 3)), precisions: both,
		checkpoint: "layer_2_output", kinds: []string{"layer_order"}},
	{name: "a feed-forward output × 1.15", edits: always(enginetest.ScaleChannel("blk.2.ffn_down.weight", 7, 1.15)), precisions: both,
		checkpoint: "layer_2_output", kinds: []string{"channel"}},
	{name: "a feed-forward unit × 1.15", edits: always(enginetest.ScaleChannel("blk.2.ffn_up.weight", 7, 1.15)), precisions: []string{"f32"},
		checkpoint: "layer_2_output", kinds: []string{"channel"}, hidden: map[string]string{"gpt2": "it rounds its GELU to f16, which moves more than this unit does"}},
	{name: "attention norm × 1.01", edits: always(enginetest.Scale("blk.2.attn_norm.weight", 1.01)), precisions: []string{"f32"},
		checkpoint: "layer_2_output", kinds: []string{"multiplier", "layer"}},
	{name: "feed-forward norm × 1.01", edits: always(enginetest.Scale("blk.1.ffn_norm.weight", 1.01)), precisions: both,
		checkpoint: "layer_1_output", kinds: []string{"multiplier", "layer"}},
	{name: "final norm × 1.01", edits: always(enginetest.Scale("output_norm.weight", 1.01)), precisions: both,
		checkpoint: "final_norm", kinds: []string{"multiplier"}},
	{name: "K heads in wrong order", edits: rotatedKeys, precisions: both,
		checkpoint: "layer_1_output", kinds: []string{"attention_scores", "rope_or_mask"}},
	{name: "embedding rows shifted", edits: always(enginetest.ShiftRows("token_embd.weight")), precisions: both,
		checkpoint: "embedding", kinds: []string{"embedding", "shifted_positions"}},
}

func epsilon(arch string) []ggufEdit {
	key := "attention.layer_norm_rms_epsilon"
	if arch == "gpt2" {
		key = "attention.layer_norm_epsilon"
	}
	return []ggufEdit{enginetest.SetKV(key, float32(1e-3))}
}

// rotatedKeys moves each head's keys to the next head in layer 1.
func rotatedKeys(arch string) []ggufEdit {
	const k, fused = "blk.1.attn_k.weight", "blk.1.attn_qkv.weight"
	switch arch {
	case "phi3":
		return []ggufEdit{enginetest.RotateHeads(fused, 4, 128, 256)}
	case "gpt2":
		return []ggufEdit{enginetest.RotateHeads(fused, 4, 128, 256), rotateBias("blk.1.attn_qkv.bias", 4, 128, 256)}
	case "qwen2":
		return []ggufEdit{enginetest.RotateHeads(k, 2), rotateBias("blk.1.attn_k.bias", 2, 0, 64)}
	}
	return []ggufEdit{enginetest.RotateHeads(k, 2)}
}

// rotateBias moves the f32 values of each head one head on, as RotateHeads does
// with the rows of a matrix.
func rotateBias(tensor string, heads, first, last int) ggufEdit {
	return func(g *enginetest.GGUF) error {
		t := g.Tensor(tensor)
		if t == nil || t.Type != enginetest.F32 || len(t.Data) < 4*last || (last-first)%heads != 0 {
			return fmt.Errorf("%s: no f32 vector with %d heads from %d to %d", tensor, heads, first, last)
		}
		part := t.Data[4*first : 4*last]
		head := len(part) / heads
		copy(part, slices.Concat(part[len(part)-head:], part[:len(part)-head]))
		return nil
	}
}

// Each bug fails, first at the checkpoint where it was planted, with its kind
// named. The top tokens alone would let several through.
func TestEnginesBugs(t *testing.T) {
	out := table{head: "bug\tmodel\tfirst divergence\tposition\tby\tuse of limit\tdiagnosis\tconfidence\tsame top\tKL"}
	var l sync.Mutex
	unseen := map[string][]string{} // by argmax: bugs, and in which models
	t.Run("bugs", func(t *testing.T) {
		for _, b := range plantedBugs {
			for _, arch := range enginetest.Architectures {
				for _, precision := range b.precisions {
					model := arch + " " + precision
					if why := b.hidden[arch] + b.hidden[model]; why != "" {
						out.add("%s\t%s\tleft out: %s", b.name, model, why)
						continue
					}
					t.Run(b.name+"/"+model, func(t *testing.T) {
						t.Parallel()
						r := b.run(t, arch, precision)
						out.add("%s\t%s\t%s", b.name, model, describe(r))
						if r.Outcome == gate.Fail && lastOf(r).Metrics["top1_agreement"] == 1 {
							l.Lock()
							defer l.Unlock()
							unseen[b.name] = append(unseen[b.name], model)
						}
					})
				}
			}
		}
	})
	slices.Sort(out.rows)
	t.Log(&out)
	missed := table{head: "bug whose top tokens are all the same\tin"}
	for name, models := range unseen {
		slices.Sort(models)
		missed.add("%s\t%s", name, strings.Join(models, ", "))
	}
	slices.Sort(missed.rows)
	t.Log(&missed)
	if len(unseen) < 3 {
		t.Errorf("argmax alone misses %d of the bugs, want at least 3", len(unseen))
	}
}

// run runs the bug against the sound model and checks what is found.
func (b plantedBug) run(t *testing.T, arch, precision string) *gate.Result {
	run := realRun{model: weights(t, arch, precision), prompts: ids("listing", listing)}
	edits := b.edits(arch)
	if precision == "f32" {
		run.candidate = strict
		edits = append([]ggufEdit{enginetest.Widen}, edits...)
	}
	run.candidateModel = edited(t, arch, strings.ReplaceAll(b.name, " ", "_")+"-"+precision, edits...)
	r := run.run(t)
	wholly(t, r)
	if r.Outcome != gate.Fail || r.ExitCode != 1 || r.FirstDivergence == nil {
		t.Fatalf("%v (exit %d), %s", r.Outcome, r.ExitCode, describe(r))
	}
	if d := r.FirstDivergence; d.Checkpoint != b.checkpoint {
		t.Errorf("first divergence at %s, want %s", d.Checkpoint, b.checkpoint)
	}
	if len(r.Diagnosis) == 0 {
		t.Fatal("no diagnosis")
	}
	if d := r.Diagnosis[0]; !slices.Contains(b.kinds, d.Kind) || d.Checkpoint != b.checkpoint {
		t.Errorf("diagnosis %s at %s (%s), want %s at %s", d.Kind, d.Checkpoint, d.Evidence, strings.Join(b.kinds, " or "), b.checkpoint)
	}
	return r
}

func lastOf(r *gate.Result) gate.Checkpoint { return r.Checkpoints[len(r.Checkpoints)-1] }

// describe is a failing run as cells of the table.
func describe(r *gate.Result) string {
	d := r.FirstDivergence
	if d == nil {
		return "passes"
	}
	var x gate.Diagnosis
	if len(r.Diagnosis) > 0 {
		x = r.Diagnosis[0]
	}
	m := lastOf(r).Metrics
	return fmt.Sprintf("%s\t%d\t%s\t%.3g ×\t%s\t%s\t%.4g %%\t%.1e", d.Checkpoint, d.Position, d.Metric, float64(d.Value/d.Limit), x.Kind, x.Confidence,
		100*float64(m["top1_agreement"]), float64(m["kl.mean"]))
}
