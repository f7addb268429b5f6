package spec

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// own is a spec of the pull request.
func own(t *testing.T, yaml string) *Spec {
	t.Helper()
	return parseOne(t, "version: 1\n"+yaml)
}

// chosen is the preset that applies: the one that is named, or what the traces say.
func chosen(traces string) func(*Spec) string {
	return func(s *Spec) string {
		if s.Tolerances.Preset != "" {
			return s.Tolerances.Preset
		}
		return traces
	}
}

var measuredNames = []string{"embedding", "layer_0_output", "layer_1_output", "layer_2_output", "layer_31_output", "final_norm", "logits"}

// lines are changes as "loosened layer_*_output: rel_l2: 1% -> 10% (L3)".
func lines(list []Change) []string {
	out := []string{}
	for _, c := range list {
		s := fmt.Sprintf("%s %s: %s -> %s", c.Effect, c.What, c.From, c.To)
		if c.Line > 0 {
			s += fmt.Sprintf(" (L%d)", c.Line)
		}
		if c.Measures {
			s += " measures"
		}
		out = append(out, s)
	}
	return out
}

func TestChanges(t *testing.T) {
	rules := func(list string) string { return "tolerances: {preset: f16, rules: [" + list + "]}\n" }
	for _, c := range []struct {
		name, base, own string
		want            []string
	}{
		{"nothing", rules("{checkpoint: logits, rel_l2: 1%}"), "# why\n" + rules("{checkpoint: logits, rel_l2: 0.01}"), nil},

		// Limits.
		{"a wider limit", rules(`{checkpoint: "layer_*_output", rel_l2: 1%}`), "# one line down\n" + rules(`{checkpoint: "layer_*_output", rel_l2: 10%}`),
			[]string{"loosened layer_*_output: rel_l2: 1% -> 10% (L3)"}},
		{"a narrower limit", rules(`{checkpoint: "layer_*_output", rel_l2: 1%}`), rules(`{checkpoint: "layer_*_output", rel_l2: 0.5%}`),
			[]string{"tightened layer_*_output: rel_l2: 1% -> 0.5% (L2)"}},
		{"a lower bound, lower", rules(`{checkpoint: "*", cosine: 0.999}`), rules(`{checkpoint: "*", cosine: 0.99}`), []string{"loosened *: cosine: 0.999 -> 0.99 (L2)"}},
		{"a lower bound, higher", rules(`{checkpoint: "*", cosine: 0.99}`), rules(`{checkpoint: "*", cosine: 0.999}`), []string{"tightened *: cosine: 0.99 -> 0.999 (L2)"}},
		{"one layer of many", rules(`{checkpoint: "layer_*_output", rel_l2: 1%}`), rules(`{checkpoint: "layer_*_output", rel_l2: 1%}, {checkpoint: layer_31_output, rel_l2: 5%}`),
			[]string{"loosened layer_31_output: rel_l2: 1% -> 5% (L2)"}},
		{"a rule for one layer gone", rules(`{checkpoint: "*", rel_l2: 2%}, {checkpoint: layer_2_output, rel_l2: 1%}`), rules(`{checkpoint: "*", rel_l2: 2%}`),
			[]string{"loosened layer_2_output: rel_l2: 1% -> 2% (L2)"}},
		{"another order", rules(`{checkpoint: "*", rel_l2: 5%}, {checkpoint: logits, rel_l2: 1%}`), rules(`{checkpoint: logits, rel_l2: 1%}, {checkpoint: "*", rel_l2: 5%}`),
			[]string{"loosened logits: rel_l2: 1% -> 5% (L2)"}},
		{"another order that means nothing", rules("{checkpoint: embedding, rel_l2: 5%}, {checkpoint: logits, rel_l2: 1%}"), rules("{checkpoint: logits, rel_l2: 1%}, {checkpoint: embedding, rel_l2: 5%}"), nil},
		{"off", rules(`{checkpoint: logits, max_abs: 0.1}`), rules(`{checkpoint: logits, max_abs: 0.1}, {checkpoint: "l*", max_abs: off}`),
			[]string{"loosened logits: max_abs: 0.1 -> off (L2)"}},
		{"no longer off", rules(`{checkpoint: logits, top1_agreement: off}`), rules(`{checkpoint: logits, kl: {max: 1}}`),
			[]string{"tightened logits: top1_agreement: off -> 100% (preset f16)", "tightened logits: kl.max:  -> 1 (L2)"}},
		{"a limit more", rules("{checkpoint: logits, rel_l2: 1%}"), rules("{checkpoint: logits, rel_l2: 1%, cosine: 0.9}"), []string{"tightened logits: cosine:  -> 0.9 (L2)"}},
		{"a warning", rules("{checkpoint: logits, rel_l2: 10%, warn: {rel_l2: 1%}}"), rules("{checkpoint: logits, rel_l2: 10%, warn: {rel_l2: 2%}}"),
			[]string{"loosened logits: warn rel_l2: 1% -> 2% (L2)"}},
		{"a failure that only warns", rules("{checkpoint: logits, nmse: 1e-4}"), rules("{checkpoint: logits, warn: {nmse: 1e-4}}"),
			[]string{"loosened logits: nmse: 0.0001 -> ", "tightened logits: warn nmse:  -> 0.0001 (L2)"}},
		{"a checkpoint that was not measured", rules("{checkpoint: layer_9_ffn_output, rel_l2: 1%}"), rules("{checkpoint: layer_9_ffn_output, rel_l2: 50%}"),
			[]string{"loosened layer_9_ffn_output: rel_l2: 1% -> 50% (L2)"}},
		{"a class of checkpoints that were not measured", rules(`{checkpoint: "block_[a-c]?_*", rel_l2: 1%}`), rules(`{checkpoint: "block_[a-c]?_*", rel_l2: 1%}, {checkpoint: "*_out", rel_l2: 50%}`),
			[]string{"loosened *_out: rel_l2: 2% (preset f16) -> 50% (L2)", "loosened block_[a-c]?_*: rel_l2: 1% -> 50% (L2)"}},
		{"a limit that decides nothing", rules("{checkpoint: logits, rel_l2: 1%}"), rules("{checkpoint: logits, rel_l2: 3%}, {checkpoint: logits, rel_l2: 1%}"),
			[]string{"changed logits: rel_l2:  -> 3% (L2)"}},
		{"a limit that decided nothing", rules("{checkpoint: logits, rel_l2: 3%}, {checkpoint: logits, rel_l2: 1%}"), rules("{checkpoint: logits, rel_l2: 1%}"),
			[]string{"changed logits: rel_l2: 3% -> "}},

		// Against a preset, whose limits the gate may widen.
		{"a rule wider than the preset", rules(""), rules(`{checkpoint: logits, rel_l2: 10%}`), []string{"loosened logits: rel_l2: 2% (preset f16) -> 10% (L2)"}},
		{"a rule as wide as the preset", rules(""), rules(`{checkpoint: logits, rel_l2: 2%}`), []string{"tightened logits: rel_l2: 2% (preset f16) -> 2% (L2)"}},
		{"a rule narrower than the preset", rules(""), rules(`{checkpoint: logits, rel_l2: 1%}`), []string{"tightened logits: rel_l2: 2% (preset f16) -> 1% (L2)"}},
		{"a rule gone that was narrower", rules(`{checkpoint: logits, rel_l2: 1%}`), rules(""), []string{"loosened logits: rel_l2: 1% -> 2% (preset f16)"}},
		{"a rule gone that was as wide", rules(`{checkpoint: logits, rel_l2: 2%}`), rules(""), []string{"loosened logits: rel_l2: 2% -> 2% (preset f16)"}},
		{"a rule gone that was a little wider", rules(`{checkpoint: logits, rel_l2: 2.5%}`), rules(""), []string{"loosened logits: rel_l2: 2.5% -> 2% (preset f16)"}},
		{"a rule gone that was wider", rules(`{checkpoint: logits, rel_l2: 10%}`), rules(""), []string{"tightened logits: rel_l2: 10% -> 2% (preset f16)"}},
		{"a rule gone that was less than twice as wide, of a square", rules(`{checkpoint: logits, kl: {mean: 0.0039}}`), rules(""), []string{"loosened logits: kl.mean: 0.0039 -> 0.002 (preset f16)"}},
		{"a rule gone that was more than twice as wide, of a square", rules(`{checkpoint: logits, kl: {mean: 0.0041}}`), rules(""), []string{"tightened logits: kl.mean: 0.0041 -> 0.002 (preset f16)"}},
		{"what counts roundings", rules(""), rules(`{checkpoint: "layer_*_output", added: 5%}`), []string{"changed layer_*_output: added: 2.7 × rounding (preset f16) -> 5% (L2)"}},
		{"one rule for every preset limit", rules(""), rules(`{checkpoint: "*", rel_l2: 90%}`), []string{
			"loosened embedding: rel_l2: 0.0732421875% (preset f16) -> 90% (L2)", "loosened *: rel_l2: 2% (preset f16) -> 90% (L2)"}},

		// Presets.
		{"a wider preset", "tolerances: {preset: f16}\n", "tolerances: {preset: q4}\n", []string{"loosened tolerances.preset: f16 -> q4 (L2)"}},
		{"a narrower preset", "tolerances: {preset: bf16}\n", "tolerances: {preset: f32}\n", []string{"tightened tolerances.preset: bf16 -> f32 (L2)"}},
		{"a preset that cannot be ordered", "tolerances: {preset: f32}\n", "tolerances: {preset: reasonable}\n", []string{"changed tolerances.preset: f32 -> reasonable (L2)"}},
		{"a preset that the traces widen", "tolerances: {preset: f32}\n", "", []string{"loosened tolerances.preset: f32 -> by the traces' precision, here f16"}},
		{"a preset that the traces may widen next time", "tolerances: {preset: f16}\n", "", []string{"changed tolerances.preset: f16 -> by the traces' precision, here f16"}},
		{"a preset that the traces narrow for now", "tolerances: {preset: q4}\n", "", []string{"changed tolerances.preset: q4 -> by the traces' precision, here f16"}},
		{"a preset named, narrower", "", "tolerances: {preset: f32}\n", []string{"tightened tolerances.preset: by the traces' precision, here f16 -> f32 (L2)"}},
		{"a preset named, wider", "", "tolerances: {preset: q4}\n", []string{"loosened tolerances.preset: by the traces' precision, here f16 -> q4 (L2)"}},
		{"a wider preset beside a rule", "tolerances: {preset: f16, rules: [{checkpoint: logits, rel_l2: 1%}]}\n", "tolerances: {preset: bf16, rules: [{checkpoint: logits, rel_l2: 1%}]}\n",
			[]string{"loosened tolerances.preset: f16 -> bf16 (L2)"}},

		// Requirements.
		{"a requirement gone", `require: {checkpoints: [embedding, "layer_*"]}` + "\n", "require: {checkpoints: [embedding]}\n", []string{"loosened require.checkpoints: layer_* -> "}},
		{"a requirement more", "require: {checkpoints: [embedding]}\n", "require: {checkpoints: [logits, embedding]}\n", []string{"tightened require.checkpoints:  -> logits (L2)"}},
		{"fewer positions", "require: {min_positions: 8}\n", "require: {min_positions: 4}\n", []string{"loosened require.min_positions: 8 at every checkpoint -> 4 at every checkpoint (L2)"}},
		{"more positions", "require: {min_positions: 8}\n", "require: {min_positions: 9}\n", []string{"tightened require.min_positions: 8 at every checkpoint -> 9 at every checkpoint (L2)"}},
		{"no number of positions", "require: {min_positions: 8}\n", "", []string{"loosened require.min_positions: 8 at every checkpoint -> "}},
		{"as many positions, of fewer checkpoints", "require: {min_positions: 8}\n", "require: {min_positions: 8, checkpoints: [embedding]}\n",
			[]string{"loosened require.min_positions: 8 at every checkpoint -> 8 at required checkpoints (L2)", "tightened require.checkpoints:  -> embedding (L2)"}},

		// What is left out.
		{"a position skipped", "skip: {positions: [0]}\n", "skip: {positions: [0, 2, 3, 4, 9]}\n", []string{"loosened skip.positions: 0 -> 0, 2-4, 9 (L2) measures"}},
		{"a position no longer skipped", "skip: {positions: [0, 1]}\n", "skip: {positions: [1]}\n", []string{"tightened skip.positions: 0-1 -> 1 (L2) measures"}},
		{"another position skipped", "skip: {positions: [0]}\n", "skip: {positions: [1]}\n", []string{"loosened skip.positions: 0 -> 1 (L2) measures"}},
		{"elements", "", "skip: {elements: [7]}\n", []string{"loosened skip.elements:  -> 7 (L2) measures"}},

		// Garbage.
		{"garbage masked", "", "garbage: {candidate: mask}\n", []string{"loosened garbage.candidate: fail -> mask (L2)"}},
		{"garbage kept", "", "garbage: {candidate: keep}\n", []string{"loosened garbage.candidate: fail -> keep (L2) measures"}},
		{"garbage of the reference fails", "", "garbage: {reference: fail}\n", []string{"tightened garbage.reference: mask -> fail (L2)"}},
		{"garbage of the reference kept", "", "garbage: {reference: keep}\n", []string{"changed garbage.reference: mask -> keep (L2) measures"}},
		{"a higher bound", "", "garbage: {above: 1e20}\n", []string{"loosened garbage.above: 1e10 -> 1e20 (L2) measures"}},
		{"a lower bound", "", "garbage: {above: 10}\n", []string{"loosened garbage.above: 1e10 -> 10 (L2) measures"}},
		{"a lower bound where all fails", "garbage: {reference: fail}\n", "garbage: {reference: fail, above: 10}\n", []string{"tightened garbage.above: 1e10 -> 10 (L2) measures"}},
		{"a higher bound where all is masked", "garbage: {candidate: mask}\n", "garbage: {candidate: mask, above: 1e20}\n", []string{"tightened garbage.above: 1e10 -> 1e20 (L2) measures"}},

		// The oracle.
		{"no oracle", "model: {path: m.gguf}\noracle: {}\n", "model: {path: m.gguf}\n", []string{"loosened oracle: m.gguf -> "}},
		{"an oracle", "model: {path: m.gguf}\n", "model: {path: m.gguf}\noracle: {}\n", []string{"tightened oracle:  -> m.gguf (L3)"}},
		{"no oracle, and a wider limit", "model: {path: m}\noracle: {}\ntolerances: {rules: [{checkpoint: logits, rel_l2: 1%}]}\n", "model: {path: m}\ntolerances: {rules: [{checkpoint: logits, rel_l2: 2%}]}\n",
			[]string{"loosened logits: rel_l2: 1% -> 2% (L3)", "loosened oracle: m -> "}},
		{"an oracle, and a wider limit", "model: {path: m}\ntolerances: {rules: [{checkpoint: logits, rel_l2: 1%}]}\n", "model: {path: m}\noracle: {}\ntolerances: {rules: [{checkpoint: logits, rel_l2: 2%}]}\n",
			[]string{"loosened logits: rel_l2: 1% -> 2% (L4)", "tightened oracle:  -> m (L3)"}},
		{"another oracle", "oracle: {model: a.gguf}\n", "oracle: {model: b.gguf}\n", []string{"changed oracle.model: a.gguf -> b.gguf (L2) measures"}},
		{"another model", "model: {path: a.gguf}\n", "model: {path: sub/b.gguf}\n", []string{"changed model.path: a.gguf -> sub/b.gguf (L2) measures"}},
		{"what the oracle adds is off", "oracle: {model: a}\n", "oracle: {model: a}\ntolerances: {rules: [{checkpoint: logits, local: off}]}\n",
			[]string{"loosened logits: local: as the oracle sets it -> off (L3)"}},
		{"what the oracle adds is on again", "oracle: {model: a}\ntolerances: {rules: [{checkpoint: logits, local: off}]}\n", "oracle: {model: a}\n",
			[]string{"tightened logits: local: off -> as the oracle sets it"}},
		{"what the oracle adds is another number", "oracle: {model: a}\n", "oracle: {model: a}\ntolerances: {rules: [{checkpoint: logits, explained: 3}]}\n",
			[]string{"changed logits: explained: as the oracle sets it -> 3 (L3)"}},

		// Prompts.
		{"a prompt gone", "prompts: [{name: a, tokens: [1]}, {name: b, text: hi}]\n", "prompts: [{name: a, tokens: [1]}]\n", []string{`loosened prompts.b: text "hi" ->  measures`}},
		{"a prompt more", "prompts: [{name: a, tokens: [1]}]\n", "prompts:\n  - {name: a, tokens: [1]}\n  - {name: b, tokens: [1, 2, 3, 4, 5, 6, 7, 8, 9], generate: 3}\n",
			[]string{"tightened prompts.b:  -> 9 tokens: 1, 2, 3, 4, 5, 6, 7, 8, …, 3 generated (L4)"}},
		{"a prompt more where positions are counted", "require: {min_positions: 2}\nprompts: [{name: a, tokens: [1]}]\n", "require: {min_positions: 2}\nprompts: [{name: a, tokens: [1]}, {name: b, tokens: [1]}]\n",
			[]string{"changed prompts.b:  -> 1 token: 1 (L3)"}},
		{"another prompt", "prompts: [{name: a, tokens: [1, 2]}]\n", "prompts: [{name: a, tokens: [1, 3]}]\n", []string{"changed prompts.a: 2 tokens: 1, 2 -> 2 tokens: 1, 3 (L2) measures"}},
		{"fewer generated tokens", "prompts: [{name: a, tokens: [1], generate: 8}]\n", "prompts: [{name: a, tokens: [1]}]\n",
			[]string{"changed prompts.a: 1 token: 1, 8 generated -> 1 token: 1 (L2) measures"}},
		{"prompts in another order", "prompts: [{name: a, tokens: [1]}, {name: b, tokens: [2]}]\n", "prompts: [{name: b, tokens: [2]}, {name: a, tokens: [1]}]\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, mine := own(t, c.base), own(t, c.own)
			want := c.want
			if want == nil {
				want = []string{}
			}
			if diff := cmp.Diff(want, lines(Changes(base, mine, chosen("f16"), measuredNames))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if len(want) > 0 && Same(base, mine) {
				t.Error("the specs count as the same")
			}
		})
	}
}

// Names that were measured, and those that engines usually give, are tried besides
// those that the globs themselves bring to mind.
func TestNamesThatAreTried(t *testing.T) {
	spec := func(glob, wide string, shadows ...string) *Spec {
		s := "tolerances: {preset: f16, rules: [{checkpoint: \"" + glob + "\", rel_l2: 1%}" + wide
		for _, n := range shadows {
			s += ", {checkpoint: \"" + n + "\", rel_l2: 90%}"
		}
		return own(t, s+"]}\n")
	}
	const wide = `, {checkpoint: "*_output", rel_l2: 50%}`
	const listed = "loosened *_output: rel_l2: 1% -> 50% (L2)"
	for _, c := range []struct {
		glob, measured string
		shadows        []string
		want           bool
	}{
		{"m*", "mq_output", []string{"m_output", "m[0x]*"}, true},
		{"m*", "logits", []string{"m_output", "m[0x]*"}, false},
		{"m*", "logits", []string{"m_output"}, true},
		{"layer_*", "logits", []string{"layer__output", "layer_x1_output"}, true},
	} {
		got := lines(Changes(spec(c.glob, "", c.shadows...), spec(c.glob, wide, c.shadows...), chosen("f16"), []string{c.measured}))
		if slices.Contains(got, listed) != c.want {
			t.Errorf("%s besides %q, measured %s: %v", c.glob, c.shadows, c.measured, got)
		}
	}
}

func TestChangesOfEngines(t *testing.T) {
	engines := func(reference, candidate string) string {
		return "model: {path: m.gguf}\nengines:\n  reference: " + reference + "\n  candidate: " + candidate + "\n"
	}
	const ref, cand = "{adapter: exec, command: [./ref, --fast]}", "{adapter: exec, command: [./worker]}"
	const tf = "{adapter: transformers}"
	for _, c := range []struct {
		name, base, own string
		want            []string
	}{
		{"another reference", engines(ref, cand), engines("{adapter: trace, path: good/a.safetensors}", cand), []string{"changed engines.reference.adapter: exec -> trace (L4) measures"}},
		{"another program", engines(ref, cand), engines("{adapter: exec, command: [./worker]}", cand), []string{"changed engines.reference.command: ref --fast -> worker (L4) measures"}},
		{"arguments that read alike", engines(ref, cand), engines(`{adapter: exec, command: ["./ref", "--fast", ""]}`, cand),
			[]string{"changed engines.reference.command: ref --fast -> ref --fast  (L4) measures"}},
		{"arguments that are split", engines(`{adapter: exec, command: [a, "b c"]}`, cand), engines(`{adapter: exec, command: [a, b, c]}`, cand),
			[]string{`changed engines.reference.command: ["a","b c"] -> ["a","b","c"] (L4) measures`}},
		{"its environment", engines(ref, cand), engines("{adapter: exec, command: [./ref, --fast], env: {B: 1, A: x}}", cand), []string{"changed engines.reference.env:  -> A=x,B=1 (L4) measures"}},
		{"its names", engines(ref, cand), engines(`{adapter: exec, command: [./ref, --fast], names: {'h\.(\d+)': 'layer_${1}'}}`, cand),
			[]string{`changed engines.reference.names:  -> h\.(\d+) → layer_${1} (L4) measures`}},
		{"its bounds", engines(ref, cand), engines("{adapter: exec, command: [./ref, --fast], timeout: 1m, retries: 3, gpu: false, max_output: 1kB, max_trace: 1MB}", cand), nil},
		{"the candidate's own", engines(ref, cand), engines(ref, "{adapter: exec, command: [./other, -x], env: {A: 1}, pass_env: [B], dir: sub, timeout: 1m, retries: 3, gpu: false, max_output: 1kB, max_trace: 1MB}"), nil},
		{"the candidate's names", engines(ref, cand), engines(ref, "{adapter: exec, command: [./worker], names: {bad: unknown}}"), []string{"changed engines.candidate.names:  -> bad → unknown (L5) measures"}},
		{"the candidate's model", engines(ref, cand), engines(ref, "{adapter: exec, command: [./worker], model: /f32.gguf}"), []string{"changed engines.candidate.model:  -> /f32.gguf (L5) measures"}},
		{"a claimed precision", engines(ref, cand), engines(ref, "{adapter: exec, command: [./worker], precision: {profile: f16, kv: q8_0}}"),
			[]string{"changed engines.candidate.precision:  -> f16,kv=q8_0 (L5)"}},
		{"a claimed precision beside an oracle", "oracle: {}\n" + engines(ref, cand), "oracle: {}\n" + engines(ref, "{adapter: exec, command: [./worker], precision: f16}"),
			[]string{"changed engines.candidate.precision:  -> f16 (L6) measures"}},
		{"another adapter for the candidate", engines(ref, cand), engines(ref, "{adapter: builtin, precision: f64}"), []string{"changed engines.candidate.adapter: exec -> builtin (L5) measures"}},
		{"another mode", engines(ref, "{adapter: llamacpp, mode: preload, command: [a]}"), engines(ref, "{adapter: llamacpp, library: l, headers: h, kv_type: q8_0}"),
			[]string{"changed engines.candidate.mode: preload -> probe (L5) measures"}},
		{"how a declared candidate computes", engines(ref, tf), engines(ref, "{adapter: transformers, dtype: bf16, device: 'cuda:1', attention: sdpa, decode: true}"), []string{
			"changed engines.candidate.decode:  -> true (L5) measures", "changed engines.candidate.dtype:  -> bf16 (L5) measures",
			"changed engines.candidate.device: cpu -> cuda:1 (L5) measures", "changed engines.candidate.attention: eager -> sdpa (L5) measures"}},
		{"what stands for itself", engines(ref, tf), engines(ref, "{adapter: transformers, device: cpu, attention: eager, prove_capture: true, python: python3, threads: 4, trust_remote_code: true}"), nil},
		{"no proof of the capture", engines(ref, tf), engines(ref, "{adapter: transformers, prove_capture: false}"), []string{"loosened engines.candidate.prove_capture: true -> false (L5) measures"}},
		{"a proof of the capture", engines(ref, "{adapter: transformers, prove_capture: false}"), engines(ref, tf), []string{"tightened engines.candidate.prove_capture: false -> true (L5) measures"}},
		{"sub-layers", engines(ref, tf), engines(ref, "{adapter: transformers, sublayers: true}"), []string{"tightened engines.candidate.sublayers:  -> true (L5) measures"}},
		{"no sub-layers", engines(ref, "{adapter: transformers, sublayers: true}"), engines(ref, tf), []string{"loosened engines.candidate.sublayers: true ->  (L5) measures"}},
		{"a witness", engines(ref, cand), engines(ref, cand) + "  witnesses: {w: {adapter: builtin}}\n", nil},
		{"no engines", engines(ref, cand), "model: {path: m.gguf}\n", []string{"changed engines.reference.adapter: exec ->  measures", "changed engines.candidate.adapter: exec ->  measures"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, mine := own(t, c.base), own(t, c.own)
			want := c.want
			if want == nil {
				want = []string{}
			}
			if diff := cmp.Diff(want, lines(Changes(base, mine, chosen("f16"), measuredNames))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if Same(base, mine) != (len(want) == 0) {
				t.Errorf("Same is %v", Same(base, mine))
			}
		})
	}
}

func TestChangesOfBaselines(t *testing.T) {
	const store = "baseline: {store: 'branch:b'}\n"
	for _, c := range []struct {
		name, base, own string
		want            []string
	}{
		{"no baseline", store, "", []string{"loosened baseline: branch:b -> "}},
		{"a baseline", "", store, []string{"tightened baseline:  -> branch:b (L2)"}},
		{"another store", store, "baseline: {store: 'branch:c'}\n", []string{"changed baseline.store: branch:b -> branch:c (L2)"}},
		{"one that need not be there", "baseline: {store: 'branch:b', required: true}\n", store, []string{"loosened baseline.required: true -> false"}},
		{"one that is kept", store, "baseline: {store: 'branch:b', ratchet: true}\n", []string{"tightened baseline.ratchet: false -> true (L2)"}},
		{"a larger increase", store, "baseline: {store: 'branch:b', max_increase: 50%, anchor: 25%, noise: 4}\n",
			[]string{"loosened baseline.max_increase: 25% -> 50% (L2)", "loosened baseline.noise: 3 -> 4 (L2)"}},
		{"fewer metrics", store, "baseline: {store: 'branch:b', metrics: [rel_l2]}\n",
			[]string{"loosened baseline.metrics: rel_l2, position_rms, added, top1_agreement, kl.mean -> rel_l2 (L2)"}},
		{"some checkpoints off", store, store + "tolerances: {rules: [{checkpoint: 'layer_*', baseline: off}]}\n", []string{"loosened layer_*: baseline: on -> off (L3)"}},
		{"some checkpoints more", store, store + "tolerances: {rules: [{checkpoint: 'layer_*', max_increase: 1%}]}\n",
			[]string{"tightened layer_*: baseline max_increase: 25% -> 1% (L3)", "tightened layer_*: baseline anchor: 25% -> 1% (L3)"}},
		{"the same on other lines", store + "tolerances: {rules: [{checkpoint: 'layer_*', noise: 1}]}\n", "\n" + store + "\n\ntolerances: {rules: [{checkpoint: 'layer_*', noise: 1}]}\n", []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, mine := own(t, c.base), own(t, c.own)
			if diff := cmp.Diff(c.want, lines(Changes(base, mine, chosen("f16"), measuredNames))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if Same(base, mine) != (len(c.want) == 0) {
				t.Errorf("Same is %v", Same(base, mine))
			}
		})
	}
}

// A prompt's file is read where the spec belongs, not where its copy lies.
func TestLoadIn(t *testing.T) {
	head, copied := t.TempDir(), t.TempDir()
	text := "version: 1\nmodel: {path: m.gguf}\nprompts: [{name: a, file: a.txt}]\nengines: {candidate: {adapter: exec, command: [./worker]}}\n"
	for path, data := range map[string]string{filepath.Join(head, "a.txt"): "hello", filepath.Join(copied, "base.yaml"): text, filepath.Join(head, "parity.yaml"): text} {
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	base, err := LoadIn(filepath.Join(copied, "base.yaml"), head)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := Load(filepath.Join(head, "parity.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if base.Path != filepath.Join(copied, "base.yaml") || !Same(base, mine) || base.Prompts[0].Text != "hello" || base.Engines.Candidate.Dir != head {
		t.Errorf("%+v", base)
	}
	if _, err := LoadIn(filepath.Join(copied, "base.yaml"), copied); err == nil || !strings.Contains(err.Error(), "base.yaml:3:") {
		t.Errorf("a prompt file that is not there: %v", err)
	}
}

// A section without a comparison of its own counts as changed.
func TestSectionWithoutComparison(t *testing.T) {
	d := &differ{base: own(t, ""), own: own(t, "baseline: {store: 'branch:b'}\n")}
	d.rest(words("Model Prompts Engines Require Skip Garbage Tolerances Oracle"))
	want := []string{`changed baseline:  -> {"store":"branch:b","max_increase":0.25,"noise":3} (L2)`}
	if diff := cmp.Diff(want, lines(d.out)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, key := range ownKeys {
		if !slices.ContainsFunc(engineFields, func(f field[Engine]) bool { return f.key == key }) {
			t.Errorf("%q is no key of an engine", key)
		}
	}
}
