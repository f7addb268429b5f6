package gate_test

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/spec"
)

// soundKind is a pair of engines that compute the same.
type soundKind struct {
	name, reference, candidate string // keys
	model, candidateModel      string // precision of the weights
	preset                     string // that must be chosen; for gpt2 never finer than f16
	prompts                    string
	release                    string
}

// Two prompts, of 21 and 257 tokens. The pairs with ubatches of 7 take 211, which
// leaves a last piece of one token: that one goes through other kernels.
var twoPrompts = ids("short", short) + ids("listing", listing)

var soundKinds = []soundKind{
	{name: "default settings", model: "f16", preset: "f16"},
	{name: "default, decode", candidate: "decode: true", model: "f16", preset: "f16"},
	{name: "ubatch 1", candidate: strict + ", ubatch: 1", model: "f16", preset: "f16"},
	{name: "ubatch 7", candidate: strict + ", ubatch: 7", model: "f16", preset: "f16", prompts: ids("listing", listing[:210])},
	{name: "default, ubatch 16", candidate: "ubatch: 16", model: "f16", preset: "f16"},
	{name: "decode", candidate: strict + ", decode: true", model: "f16", preset: "f16"},
	{name: "2 threads", candidate: strict + ", threads: 2", model: "f16", preset: "f16", prompts: ids("short", short)},
	{name: "4 threads", candidate: strict + ", threads: 4", model: "f16", preset: "f16", prompts: ids("short", short)},
	{name: "no repack", candidate: strict + ", no_repack: true", model: "f16", preset: "f16"},
	{name: "sse42", candidate: strict + ", backend: libggml-cpu-sse42.so", model: "f16", preset: "f16"},
	{name: "older release", candidate: strict, model: "f16", preset: "f16", release: "b7698"},
	{name: "oldest release", model: "f16", preset: "f16", release: "b5640"},
	{name: "text", candidate: "flash_attention: on", model: "f16", preset: "f16", prompts: fmt.Sprintf("  - {name: text, text: %q}\n", code)},
	{name: "generate", model: "f16", preset: "f16", prompts: fmt.Sprintf("  - {name: text, text: %q, generate: 16}\n  - {name: ids, tokens: [256, 100, 101, 102], generate: 30}\n", short)},
	{name: "bf16 KV", candidate: "kv_type: bf16", model: "f16", preset: "bf16"},
	{name: "q8_0 KV", candidate: "kv_type: q8_0, flash_attention: on", model: "f16", preset: "q8_0"},
	{name: "f32, ubatch 7", candidate: strict + ", ubatch: 7", model: "f32", preset: "f32", prompts: ids("listing", listing[:210])},
	{name: "f32, decode", candidate: strict + ", decode: true", model: "f32", preset: "f32"},
	{name: "f32, sse42", candidate: strict + ", backend: libggml-cpu-sse42.so", model: "f32", preset: "f32"},
	{name: "f32, haswell", candidate: strict + ", backend: libggml-cpu-haswell.so", model: "f32", preset: "f32"},
	{name: "f32, f16 weights", candidate: strict, model: "f32", candidateModel: "f16", preset: "f16"},
	{name: "f32, f16, decode", candidate: "decode: true", model: "f32", candidateModel: "f16", preset: "f16"},
	{name: "bf16 weights", model: "f16", candidateModel: "bf16", preset: "bf16"},
	{name: "q8_0 weights", model: "f16", candidateModel: "q8_0", preset: "q8_0"},
	{name: "q8_0 on both", model: "q8_0", preset: "q8_0"},
	{name: "q4_0 weights", model: "f16", candidateModel: "q4_0", preset: "q4"},
	{name: "q4_0 on both", model: "q4_0", preset: "q4"},
}

// room is how far below each limit of a preset sound engines must stay.
const room = 1.3

// tightness is how much of the limit on what a layer adds the noisiest pair of
// a preset must use: a limit beyond that catches less than it could.
const tightness = 0.2

// Engines that compute the same pass under the preset that is chosen for them,
// with room to each limit; the limits are not loose.
func TestEnginesSound(t *testing.T) {
	var l sync.Mutex
	figures := map[string]*figure{}
	added := map[string]float64{} // largest use by preset
	t.Run("pairs", func(t *testing.T) {
		for _, k := range soundKinds {
			f := &figure{}
			figures[k.name] = f
			for _, arch := range enginetest.Architectures {
				t.Run(k.name+"/"+arch, func(t *testing.T) {
					t.Parallel()
					r := k.run(t, arch)
					l.Lock()
					defer l.Unlock()
					f.add(r)
					added[r.Spec.Preset] = max(added[r.Spec.Preset], useOf(r, "added"))
				})
			}
		}
	})
	out := table{head: "kind\tpreset\trel_l2 layer 0\tlogits\tadded\tscale\tposition\tchannel\tnorm rms\tlogits rms\tKL\tsame top\tclosest to its limit"}
	for _, k := range soundKinds {
		out.add("%s\t%s", k.name, figures[k.name])
	}
	t.Log(&out)
	for _, p := range []string{"f32", "f16", "bf16", "q8_0", "q4"} {
		if added[p] < tightness {
			t.Errorf("preset %s: sound pairs use %.2g of the limit on added at most: it is loose, or a kind of pair is missing", p, added[p])
		}
	}
}

// run runs the pair on one architecture and checks what must hold of it.
func (k soundKind) run(t *testing.T, arch string) *gate.Result {
	run := realRun{reference: k.reference, candidate: k.candidate, model: weights(t, arch, k.model), prompts: k.prompts, release: k.release}
	if k.candidateModel != "" {
		run.candidateModel = weights(t, arch, k.candidateModel)
	}
	if run.prompts == "" {
		run.prompts = twoPrompts
	}
	r := run.run(t)
	wholly(t, r)
	if r.Outcome != gate.Pass || r.ExitCode != 0 {
		t.Errorf("%v (exit %d): %s", r.Outcome, r.ExitCode, strings.Join(r.Reasons, "; "))
	}
	preset := k.preset
	if arch == "gpt2" && preset == "f32" {
		preset = "f16" // ggml computes its GELU from a table of f16 values
	}
	if r.Spec.Preset != preset || r.Spec.PresetFrom == "spec" {
		t.Errorf("preset %s (%s), want %s", r.Spec.Preset, r.Spec.PresetFrom, preset)
	}
	for _, c := range r.Checkpoints {
		for _, l := range c.Limits {
			if l.Level == "fail" && l.Metric != "top1_agreement" && float64(l.Use) > 1/room {
				t.Errorf("%s %s: %s is %.3g, %.2g of its limit %.3g: too near for a sound pair", c.Prompt, c.Name, l.Metric, float64(l.Value), float64(l.Use), float64(l.Limit))
			}
		}
	}
	return r
}

// useOf is the largest use of the limits on a metric.
func useOf(r *gate.Result, metric string) float64 {
	most := 0.0
	for _, c := range r.Checkpoints {
		for _, l := range c.Limits {
			if l.Metric == metric && l.Level == "fail" {
				most = max(most, float64(l.Use))
			}
		}
	}
	return most
}

// figure collects the largest figures of a kind of pair.
type figure struct {
	presets                []string
	first, logits, kl      float64
	added, norm, last      float64 // times what rounding explains
	scale, position, chann float64 // times the preset's unit
	same                   float64
	use                    float64
	where                  string
}

func (f *figure) add(r *gate.Result) {
	if f.presets == nil {
		f.same = 1
	}
	if !slices.Contains(f.presets, r.Spec.Preset) {
		f.presets = append(f.presets, r.Spec.Preset)
		slices.Sort(f.presets)
	}
	unit := spec.Unit(r.Spec.Preset)
	for _, c := range r.Checkpoints {
		switch c.Name {
		case "layer_0_output":
			f.first = max(f.first, float64(c.Metrics["rel_l2"]))
		case "logits":
			f.logits = max(f.logits, float64(c.Metrics["rel_l2"]))
			f.kl = max(f.kl, float64(c.Metrics["kl.mean"]))
			f.same = min(f.same, float64(c.Metrics["top1_agreement"]))
		}
		if _, layer := c.Metrics["added"]; layer {
			f.scale = max(f.scale, float64(c.Metrics["scale"])/unit)
			f.position = max(f.position, float64(c.Metrics["worst_position"])/unit)
			f.chann = max(f.chann, float64(c.Metrics["worst_channel"])/unit)
		}
		for _, l := range c.Limits {
			f.limit(c.Name, l)
		}
	}
}

func (f *figure) limit(checkpoint string, l gate.AppliedLimit) {
	if l.Level != "fail" || l.Metric == "top1_agreement" {
		return
	}
	if u := float64(l.Use); u > f.use {
		f.use, f.where = u, checkpoint+" "+l.Metric
	}
	times := float64(l.Explained) * float64(l.Use)
	switch {
	case l.Metric == "added":
		f.added = max(f.added, times)
	case l.Metric == "position_rms" && checkpoint == "logits":
		f.last = max(f.last, times)
	case l.Metric == "position_rms":
		f.norm = max(f.norm, times)
	}
}

func (f *figure) String() string {
	return fmt.Sprintf("%s\t%.2g\t%.2g\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.1e\t%.4g %%\t%.2f %s", strings.Join(f.presets, " "),
		f.first, f.logits, f.added, f.scale, f.position, f.chann, f.norm, f.last, f.kl, 100*f.same, f.use, f.where)
}

// Every build for another processor that the package holds agrees, or says that
// this processor cannot run it.
func TestEnginesCPUVariants(t *testing.T) {
	libs, err := filepath.Glob(filepath.Join(enginetest.LlamaCpp(t).Library, "libggml-cpu-*.so"))
	if err != nil || len(libs) < 3 {
		t.Fatalf("backends %v: %v", libs, err)
	}
	out := table{head: "backend\toutcome\trel_l2 of the logits"}
	var l sync.Mutex
	compared := 0
	t.Run("backends", func(t *testing.T) {
		for _, lib := range libs {
			name := filepath.Base(lib)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := realRun{model: weights(t, "llama", "f32"), candidate: strict + ", backend: " + name}.run(t)
				if f := r.Engines.Candidate.Failure; strings.Contains(f, "lacks the instructions") && r.Outcome == gate.Incomplete {
					out.add("%s\t%v\tthis processor cannot run it", name, r.Outcome)
					return
				}
				wholly(t, r)
				if r.Outcome != gate.Pass || r.Spec.Preset != "f32" {
					t.Errorf("%v under preset %s: %s", r.Outcome, r.Spec.Preset, strings.Join(r.Reasons, "; "))
					return
				}
				out.add("%s\t%v\t%.2g", name, r.Outcome, float64(r.Checkpoints[len(r.Checkpoints)-1].Metrics["rel_l2"]))
				l.Lock()
				compared++
				l.Unlock()
			})
		}
	})
	slices.Sort(out.rows)
	t.Log(&out)
	if compared < 3 {
		t.Errorf("only %d backends ran here", compared)
	}
}

// The same settings twice give the same bits at every checkpoint.
func TestEnginesBitEqual(t *testing.T) {
	const defaults = "flash_attention: on, kv_type: f16"
	for _, k := range []soundKind{
		{name: "strict", candidate: strict, model: "f16"},
		{name: "defaults", reference: defaults, candidate: defaults, model: "f16"},
		{name: "f32", candidate: strict, model: "f32"},
		{name: "q8_0, decode", reference: "decode: true", candidate: strict + ", decode: true", model: "q8_0"},
	} {
		for _, arch := range enginetest.Architectures {
			t.Run(k.name+"/"+arch, func(t *testing.T) {
				t.Parallel()
				r := realRun{reference: k.reference, candidate: k.candidate, model: weights(t, arch, k.model)}.run(t)
				wholly(t, r)
				if r.Outcome != gate.Pass {
					t.Errorf("%v: %s", r.Outcome, strings.Join(r.Reasons, "; "))
				}
				for _, c := range r.Checkpoints {
					for _, m := range []string{"rel_l2", "max_abs", "worst_position"} {
						if v, ok := c.Metrics[m]; !ok || v != 0 || math.Signbit(float64(v)) {
							t.Errorf("%s: %s is %v, not 0", c.Name, m, v)
						}
					}
				}
			})
		}
	}
}
