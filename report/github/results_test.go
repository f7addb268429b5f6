package github

import (
	"fmt"
	"strings"

	"github.com/paritygate/paritygate/gate"
)

// checkpoint is a hidden state that takes use of its limit, at a line of the spec.
func checkpoint(name string, order int, use float64, line int) gate.Checkpoint {
	c := gate.Checkpoint{Prompt: "haiku", Name: name, Order: order, Rows: 8, Width: 64, Compared: 64, RefDType: "F32", CandDType: "F32",
		Metrics: map[string]gate.Value{"rel_l2": gate.Value(0.005 * use)}, Status: gate.Passed,
		Where: gate.Where{MaxAbsPosition: -1, MaxAbsElement: -1, WorstChannel: -1, WorstPosition: 3}}
	l := gate.AppliedLimit{Metric: "rel_l2", Value: c.Metrics["rel_l2"], Limit: 0.005, Use: gate.Value(use), Level: "fail",
		Source: "parity.yaml", Line: line, Within: use <= 1}
	c.Limits = []gate.AppliedLimit{l}
	if !l.Within {
		c.Status = gate.Failed
		c.Findings = []gate.Finding{{Rule: "layer_*_output: rel_l2 <= 0.005", Level: "fail", Prompt: "haiku", Checkpoint: name, Position: 3,
			Metric: "rel_l2", Value: l.Value, Limit: l.Limit, Source: "parity.yaml", Line: line, Message: fmt.Sprintf("rel_l2 %.3g is over 0.005", float64(l.Value))}}
	}
	return c
}

func resultOf(o gate.Outcome, checkpoints ...gate.Checkpoint) *gate.Result {
	r := &gate.Result{Version: 1, Outcome: o, ExitCode: o.ExitCode(), Checkpoints: checkpoints,
		Engines: gate.EngineSet{Reference: gate.EngineInfo{Name: "llama.cpp", Adapter: "llamacpp"}, Candidate: gate.EngineInfo{Name: "worker", Adapter: "exec", Device: "NVIDIA H200"}},
		Spec:    gate.SpecInfo{Path: "parity.yaml", Digest: strings.Repeat("0f", 32), Preset: "f16", PresetFrom: "spec"},
		Prompts: []gate.PromptInfo{{Name: "haiku", Tokens: 8}}}
	n := len(checkpoints)
	r.Coverage.Checkpoints = gate.Count{Compared: n, Reference: n, Candidate: n}
	return r
}

func passes() *gate.Result {
	return resultOf(gate.Pass, checkpoint("embedding", 0, 0.1, 14), checkpoint("layer_0_output", 1, 0.6, 14))
}

// failsAt fails at a layer and all after it.
func failsAt(layer int) *gate.Result {
	r := resultOf(gate.Fail)
	for i := range 6 {
		use := 0.5
		if i >= layer {
			use = 6.2 + float64(i)
		}
		r.Checkpoints = append(r.Checkpoints, checkpoint(fmt.Sprintf("layer_%d_output", i), i, use, 14))
	}
	first := r.Checkpoints[layer]
	r.Reasons = []string{first.Name + " rel_l2 exceeds its limit"}
	r.FirstDivergence = &gate.Divergence{Prompt: "haiku", Checkpoint: first.Name, Position: 3, Metric: "rel_l2", Value: first.Metrics["rel_l2"], Limit: 0.005}
	return r
}

func crashes() *gate.Result {
	r := resultOf(gate.Incomplete)
	r.Engines.Candidate.Failure = "crashed: exit status 139 after 1.2 s"
	r.Reasons = []string{"the candidate measured nothing on prompt haiku: crashed: exit status 139 after 1.2 s"}
	return r
}

// attacks are names that mean something to Markdown, HTML, GitHub, a terminal or
// a runner's log.
var attacks = []string{
	"@everyone", "<img src=x onerror=alert(1)>", "](javascript:alert(1))", "[x](https://example.com)", "![x](https://example.com/x.png)",
	"a|b", "`code`", "``` x", "#12", "$x^2$", "https://example.com/a", "--> <b>x</b>", "<!-- paritygate:paritygate -->", "<!-- paritygate-state {} -->",
	"</details>", "line\nbreak\r\n## heading", "\x1b[31mred\x1b[0m", "a\u202egpj.exe", "\u200b\ufeff\u2028", "::set-output name=x::y", "##[error]x",
	"::error file=a,line=1::x", "a%0Ab", "&lt;b&gt;", `\`, `"`, "", " ", "\xff\xfe", "\x00", "🦀", "EOF", "outcome=pass", "a\noutcome=pass", "a<<EOF\nb\nEOF",
}

// hostile has a name everywhere that a name can be.
func hostile(name string) *gate.Result {
	r := failsAt(1)
	r.Reasons = []string{name, name}
	r.Warnings = []string{name}
	r.Spec.Path = "parity.yaml"
	r.Engines.Candidate = gate.EngineInfo{Name: name, Adapter: name, Device: name, Version: name, Failure: name, Output: name}
	r.Prompts[0].Name = name
	for i := range r.Checkpoints {
		c := &r.Checkpoints[i]
		c.Prompt, c.Name = name, name
		for j := range c.Findings {
			f := &c.Findings[j]
			f.Prompt, f.Checkpoint, f.Rule, f.Message = name, name, name, name
		}
	}
	r.Findings = []gate.Finding{{Rule: name, Level: "incomplete", Prompt: name, Checkpoint: name, Position: -1, Message: name}}
	r.FirstDivergence.Prompt, r.FirstDivergence.Checkpoint = name, name
	r.Diagnosis = []gate.Diagnosis{{Kind: name, Title: name, Checkpoint: name, Confidence: "low", Evidence: name}}
	r.Spec.Changes = []gate.SpecChange{{Effect: "loosened", What: name, From: name, To: name, Line: 3}}
	return r
}
