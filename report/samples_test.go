package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/paritygate/paritygate/gate"
)

// samples are results of every kind, made by hand; the goldens in testdata show
// how each report draws them.
var samples = []struct {
	name string
	make func() *gate.Result
}{
	{"pass", passing},
	{"pass-warn", warned},
	{"fail-rope", rope},
	{"fail-oracle", besideOracle},
	{"pass-oracle", explainedDrift},
	{"incomplete-tokens", differentTokens},
	{"incomplete-crash", crashed},
	{"incomplete-missing", missingCheckpoint},
	{"garbage-partial", partialLogs},
	{"fail-nan", nan},
	{"fail-loosened", loosened},
	{"pass-approved", approved},
	{"baseline-regressed", regressed},
	{"baseline-unchanged", unchanged},
	{"baseline-first", firstRun},
	{"baseline-other", otherGPU},
	{"large", large},
	{"hostile", hostile},
}

// base is a run of one prompt on two engines in f16.
func base() *gate.Result {
	sha := "6a1c2f4e9d0b7a538c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7"
	return &gate.Result{
		Version: Version,
		Engines: gate.EngineSet{
			Reference: gate.EngineInfo{Name: "llama.cpp", Adapter: "llamacpp", Version: "b7698", Model: "qwen2.5-0.5b-instruct",
				WeightsSHA256: sha, ComputeDType: "f16", Device: "CPU", Capture: "exact"},
			Candidate: gate.EngineInfo{Name: "worker", Adapter: "exec", Version: "0.4.1", Model: "qwen2.5-0.5b-instruct",
				WeightsSHA256: sha, ComputeDType: "f16", Device: "NVIDIA H200"},
		},
		Spec: gate.SpecInfo{Path: "parity.yaml", Digest: strings.Repeat("0f", 32), Preset: "f16",
			PresetFrom: "the candidate computes in f16"},
		Prompts:     []gate.PromptInfo{{Name: "haiku", Tokens: 64, SHA256: strings.Repeat("ab", 32)}},
		Coverage:    gate.Coverage{Positions: same(64), Elements: same(896)},
		Timing:      gate.Timing{Reference: 2.31, Candidate: 0.842, Compare: 0.0173, Bytes: 4_812_800},
		Environment: gate.Environment{Paritygate: "0.1.0", OS: "linux", Arch: "amd64", CPU: "AMD EPYC 9654", Kernel: "avx2"},
	}
}

func same(n int) gate.Count { return gate.Count{Compared: n, Reference: n, Candidate: n} }

// finish sets the outcome and what follows from it.
func finish(r *gate.Result, o gate.Outcome, reasons ...string) *gate.Result {
	r.Outcome, r.ExitCode, r.Reasons = o, o.ExitCode(), reasons
	if n := len(r.Checkpoints); n > 0 && r.Coverage.Checkpoints == (gate.Count{}) {
		r.Coverage.Checkpoints = same(n / max(1, len(r.Prompts)))
	}
	return r
}

// hidden is a judged hidden state of one prompt.
func hidden(prompt, name string, order int, rel, before, limit float64) gate.Checkpoint {
	c := gate.Checkpoint{
		Prompt: prompt, Name: name, Order: order, Rows: 64, LastPosition: 63, Width: 896, Compared: 896, RefDType: "F32", CandDType: "F32",
		Metrics: map[string]gate.Value{"rel_l2": gate.Value(rel), "max_abs": gate.Value(rel * 7.3),
			"cosine": gate.Value(1 - rel*rel/2), "added": gate.Value(math.Abs(rel-before) * 4.1)},
		Where:   gate.Where{MaxAbsPosition: 12, MaxAbsElement: 301, WorstChannel: 301, WorstPosition: 63},
		Profile: []gate.ProfilePoint{{Position: 0, RelL2: 0, MaxAbs: 0}, {Position: 63, RelL2: gate.Value(rel * 2), MaxAbs: gate.Value(rel * 7.3)}},
		Status:  gate.Passed,
	}
	if order > 0 {
		c.Growth = &gate.Growth{Inherited: gate.Value(before), Added: c.Metrics["added"], Factor: gate.Value(rel / before)}
	}
	judge(&c, "rel_l2", limit, "fail", 14)
	judge(&c, "rel_l2", limit/2, "warn", 15)
	return c
}

// judge holds one metric against a limit.
func judge(c *gate.Checkpoint, name string, limit float64, level string, line int) {
	v := float64(c.Metrics[name])
	l := gate.AppliedLimit{Metric: name, Value: gate.Value(v), Limit: gate.Value(limit), Use: gate.Value(v / limit),
		Level: level, Source: "parity.yaml", Line: line, Within: v <= limit}
	if name == "top1_agreement" {
		l.Use, l.Within = gate.Value((1-v)/(1-limit)), v >= limit
	}
	c.Limits = append(c.Limits, l)
	if l.Within {
		return
	}
	if level == "fail" {
		c.Status = gate.Failed
	} else if c.Status != gate.Failed {
		c.Status = gate.Warned
	}
	c.Findings = append(c.Findings, gate.Finding{Rule: fmt.Sprintf("layer_*_output: %s <= %g", name, limit), Level: level,
		Prompt: c.Prompt, Checkpoint: c.Name, Position: 63, Metric: name, Value: l.Value, Limit: l.Limit,
		Source: "parity.yaml", Line: line, Message: fmt.Sprintf("%s %.3g is over %.3g", name, v, limit)})
}

// logits is a judged logits checkpoint.
func logits(prompt string, order int, top1 float64, flips ...gate.Flip) gate.Checkpoint {
	c := gate.Checkpoint{
		Prompt: prompt, Name: "logits", Order: order, Rows: 64, LastPosition: 63, Width: 151936, Compared: 151936, RefDType: "F32", CandDType: "F32",
		Metrics: map[string]gate.Value{"rel_l2": 0.0021, "max_abs": 0.0413, "top1_agreement": gate.Value(top1),
			"topk_overlap": 0.994, "kl.mean": 0.000121, "kl.p99": 0.0019, "kl.max": 0.00311, "rank_correlation": 0.99984},
		Where:  gate.Where{MaxAbsPosition: 3, MaxAbsElement: 1202, WorstChannel: -1, WorstPosition: 40},
		Logits: &gate.LogitsInfo{Flips: flips, FlipsTotal: len(flips), Noise: 0.0083, MarginP50: 1.74},
		Status: gate.Passed,
	}
	for _, f := range flips {
		if f.InNoise {
			c.Logits.FlipsInNoise++
		}
	}
	judge(&c, "kl.mean", 0.001, "fail", 16)
	judge(&c, "top1_agreement", 0.95, "fail", 16)
	return c
}

// stack is embedding, layers, final_norm and logits with a divergence that
// grows smoothly and jumps by factor at layer at (−1: nowhere).
func stack(prompt string, layers, at int, factor, limit float64) []gate.Checkpoint {
	out := []gate.Checkpoint{hidden(prompt, "embedding", 0, 0, 0, limit)}
	rel, before := 2.1e-4, 1.9e-4
	for i := range layers {
		if i == at {
			rel *= factor
		}
		out = append(out, hidden(prompt, fmt.Sprintf("layer_%d_output", i), i+1, rel, before, limit))
		before = rel
		rel *= 1 + 1.2/float64(layers)
	}
	return append(out, hidden(prompt, "final_norm", layers+1, before*1.02, before, limit), logits(prompt, layers+2, 1))
}

func passing() *gate.Result {
	r := base()
	r.Checkpoints = stack("haiku", 6, -1, 1, 0.005)
	r.Checkpoints[8] = logits("haiku", 8, 0.984375, gate.Flip{Position: 40, Reference: 345, Candidate: 17, Gap: 0.0041, InNoise: true})
	r.Trend = gate.Trend{Direction: "increasing", GrowthPerLayer: 1.2}
	return finish(r, gate.Pass)
}

// warned passes with a warning, without logits, and with a witness that failed.
func warned() *gate.Result {
	r := base()
	r.Checkpoints = stack("haiku", 6, 4, 9, 0.005)[:8]
	r.Engines.Witnesses = []gate.EngineInfo{{Name: "transformers", Adapter: "exec", Failure: "timed out: after 10m"}}
	r.Coverage.Checkpoints = gate.Count{Compared: 8, Reference: 9, Candidate: 8}
	r.Coverage.Missing = []gate.Missing{{Prompt: "haiku", Checkpoint: "logits", Side: "candidate", Reason: "not recorded"}}
	r.Warnings = []string{"the top token was not judged: the candidate recorded no logits"}
	return finish(r, gate.Pass)
}

func rope() *gate.Result {
	r := base()
	r.Checkpoints = stack("haiku", 24, 2, 61, 0.005)
	for i := 3; i <= 25; i++ {
		c := &r.Checkpoints[i]
		judge(c, "added", 0.05, "fail", 14)
	}
	r.Checkpoints[26] = logits("haiku", 26, 0.9375,
		gate.Flip{Position: 12, Reference: 345, Candidate: 17, Gap: 0.412},
		gate.Flip{Position: 33, Reference: 9, Candidate: 1011, Gap: 0.3},
		gate.Flip{Position: 61, Reference: 1011, Candidate: 9, Gap: 0.11},
		gate.Flip{Position: 40, Reference: 5, Candidate: 6, Gap: 0.004, InNoise: true})
	c := r.Checkpoints[3]
	r.FirstDivergence = &gate.Divergence{Prompt: "haiku", Checkpoint: c.Name, Position: 1, Metric: "rel_l2",
		Value: c.Metrics["rel_l2"], Limit: 0.005}
	r.Trend = gate.Trend{Direction: "increasing", GrowthPerLayer: 1.24, Jump: &gate.Jump{Checkpoint: "layer_2_output", Factor: 52.1}}
	r.Diagnosis = []gate.Diagnosis{
		{Kind: "rope_or_mask", Title: "RoPE or attention mask", Checkpoint: "layer_2_output", Confidence: "high",
			Evidence: "the error is 0 at position 0 and rises with position to 2.6 % at position 63 (rank correlation 0.98)"},
		{Kind: "layer", Title: "one layer", Checkpoint: "layer_2_output", Confidence: "medium",
			Evidence: "layer_2_output grows the divergence 61 ×, the layers before it 1.1 ×"},
	}
	return finish(r, gate.Fail, "23 checkpoints from layer_2_output on exceed rel_l2 0.5 %", "the top token differs beyond the noise at 3 of 64 positions")
}

// explainedDrift passes beside the oracle: layers err as their precision costs.
func explainedDrift() *gate.Result {
	r := base()
	r.Engines.Reference.Profile, r.Engines.Reference.ProfileFrom = "f64", "settings"
	r.Engines.Candidate.Profile, r.Engines.Candidate.ProfileFrom = "llamacpp-cuda-f16", "spec"
	r.Checkpoints = stack("haiku", 6, -1, 1, 0.005)
	nan := gate.Value(math.NaN())
	for i := range r.Checkpoints {
		c := &r.Checkpoints[i]
		v := c.Metrics["rel_l2"]
		c.Oracle = &gate.OracleInfo{Candidate: gate.OracleError{Error: v, Floor: v / 1.1, Explained: 1.1, Local: v, LocalFloor: v, LocalRatio: gate.Value(0.9 + 0.02*float64(i))},
			Ratio: gate.Value(math.Inf(1))}
		if i == 0 {
			c.Oracle.Candidate = gate.OracleError{Floor: nan, Explained: nan, Local: nan, LocalFloor: nan, LocalRatio: nan}
			c.Oracle.Ratio = 0
		}
	}
	return finish(r, gate.Pass)
}

// besideOracle fails in one layer alone.
func besideOracle() *gate.Result {
	r := explainedDrift()
	c := &r.Checkpoints[3]
	c.Oracle.Candidate = gate.OracleError{Error: 0.019, Floor: 2.9e-4, Explained: 65.5, Local: 0.083, LocalFloor: 2.2e-3, LocalRatio: 37.7, Part: "attention"}
	c.Metrics["local"] = c.Oracle.Candidate.LocalRatio
	judge(c, "local", 1.5, "fail", 0)
	c.Limits[len(c.Limits)-1].Source = "the oracle"
	// The layer after it was captured in part.
	r.Checkpoints[4].Oracle.Candidate.LocalRatio, r.Checkpoints[4].Oracle.Candidate.Explained = gate.Value(math.NaN()), 61.3
	r.FirstDivergence = &gate.Divergence{Prompt: "haiku", Checkpoint: c.Name, Position: 63, Metric: "local", Value: 37.7, Limit: 1.5}
	r.Diagnosis = []gate.Diagnosis{{Kind: "local_error", Title: "layer 2, attention of the candidate", Checkpoint: c.Name, Confidence: "high",
		Evidence: "on its own input it errs by 0.083, 37.7 × what llamacpp-cuda-f16 rounding costs there (0.0022)"}}
	return finish(r, gate.Fail, "layer_2_output local is 37.7, 25.1 × its limit 1.5")
}

func differentTokens() *gate.Result {
	r := base()
	r.Prompts[0].Tokens, r.Prompts[0].SHA256 = 0, ""
	r.Prompts[0].InputsDiffer = "the reference ran 65 tokens, the candidate 64; the first ids are 1 and 256"
	r.Coverage = gate.Coverage{}
	r.Diagnosis = []gate.Diagnosis{{Kind: "tokens", Title: "different prompt or missing BOS", Confidence: "high",
		Evidence: "the reference ran 65 tokens that begin 1, 256, 100; the candidate 64 that begin 256, 100"}}
	return finish(r, gate.Incomplete, "the engines did not get the same input: prompt haiku has 65 tokens on the reference and 64 on the candidate")
}

func crashed() *gate.Result {
	r := base()
	r.Coverage = gate.Coverage{}
	r.Engines.Candidate.Failure = "crashed: exit status 139 (segmentation fault) after 1.2 s; CUDA error: out of memory"
	r.Engines.Candidate.Output = "loading model\nCUDA error 2: out of memory <b>@everyone</b>"
	r.Timing.Compare, r.Timing.Bytes = 0, 0
	return finish(r, gate.Incomplete, "the candidate measured nothing on prompt haiku: crashed: exit status 139 (segmentation fault)")
}

func missingCheckpoint() *gate.Result {
	r := base()
	r.Checkpoints = stack("haiku", 6, -1, 1, 0.005)[:8]
	r.Checkpoints = append(r.Checkpoints[:7], gate.Checkpoint{Prompt: "haiku", Name: "final_norm", Order: 7, Status: gate.Unmeasured,
		Where: gate.Where{MaxAbsPosition: -1, MaxAbsElement: -1, WorstChannel: -1, WorstPosition: -1},
		Findings: []gate.Finding{{Rule: "require.checkpoints: final_norm", Level: "incomplete", Prompt: "haiku", Checkpoint: "final_norm",
			Position: -1, Source: "parity.yaml", Line: 9, Message: "the candidate did not write final_norm"}}})
	r.Coverage.Checkpoints = gate.Count{Compared: 7, Reference: 9, Candidate: 7}
	r.Coverage.Missing = []gate.Missing{
		{Prompt: "haiku", Checkpoint: "final_norm", Side: "candidate", Required: true, Reason: "not recorded"},
		{Prompt: "haiku", Checkpoint: "logits", Side: "candidate"},
	}
	return finish(r, gate.Incomplete, "required checkpoint final_norm was not measured: the candidate did not write it")
}

func partialLogs() *gate.Result {
	r := base()
	r.Spec = gate.SpecInfo{Preset: "reasonable", PresetFrom: "the traces say nothing of their precision"}
	r.Prompts = []gate.PromptInfo{{Name: "trace"}}
	r.Engines = gate.EngineSet{
		Reference: gate.EngineInfo{Name: "llama.cpp", Adapter: "trace", Trace: "llama_hidden_states.jsonl"},
		Candidate: gate.EngineInfo{Name: "worker-orcd", Adapter: "trace", Trace: "our hidden states.jsonl"},
	}
	r.Coverage.Positions = gate.Count{Compared: 14, Reference: 14, Candidate: 108}
	r.Coverage.Elements = gate.Count{Compared: 10, Reference: 10, Candidate: 151936}
	c := hidden("trace", "logits", 0, 1.34, 0, 0.1)
	c.Rows, c.Width, c.Compared = 14, 151936, 10
	c.Limits = nil
	c.Findings = nil
	judge(&c, "rel_l2", 0.1, "fail", 0)
	c.Limits[0].Source, c.Findings[0].Source, c.Limits[0].Explained = "preset reasonable", "preset reasonable", 4
	delete(c.Metrics, "added")
	r.Checkpoints = []gate.Checkpoint{c}
	r.Garbage = []gate.Garbage{{Engine: "reference", Prompt: "trace", Checkpoint: "logits", Kind: "heap_pointer", Policy: "mask", Count: 13,
		Positions: []int{8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, Elements: []int{0, 1}},
		{Engine: "reference", Prompt: "trace", Checkpoint: "logits", Kind: "huge", Policy: "mask", Count: 1, Positions: []int{7}, Elements: []int{0}}}
	r.FirstDivergence = &gate.Divergence{Prompt: "trace", Checkpoint: "logits", Position: 8, Metric: "rel_l2", Value: 1.34, Limit: 0.1}
	r.Warnings = []string{"logits hold 10 of 151,936 values: the top token and KL were not judged"}
	return finish(r, gate.Fail, "logits rel_l2 134 % exceeds 10 %")
}

func nan() *gate.Result {
	r := base()
	r.Checkpoints = stack("haiku", 6, -1, 1, 0.005)
	c := &r.Checkpoints[4]
	c.Metrics["rel_l2"], c.Metrics["max_abs"] = gate.Value(math.NaN()), gate.Value(math.Inf(1))
	c.Growth.Factor = gate.Value(math.NaN())
	c.Limits, c.Findings = nil, nil
	judge(c, "rel_l2", 0.005, "fail", 14)
	c.Limits[0].Use = gate.Value(math.Inf(1))
	c.Findings = append(c.Findings, gate.Finding{Rule: "non-finite", Level: "fail", Prompt: "haiku", Checkpoint: c.Name, Position: 17,
		Message: "3 values are NaN on the candidate only, the first at position 17, element 40"})
	r.Garbage = []gate.Garbage{{Engine: "candidate", Prompt: "haiku", Checkpoint: c.Name, Kind: "non_finite", Policy: "fail", Count: 3,
		Positions: []int{17}, Elements: []int{40, 41, 42}}}
	r.Findings = []gate.Finding{{Rule: "garbage", Level: "fail", Prompt: "haiku", Checkpoint: c.Name, Position: 17,
		Message: "3 non-finite values of the candidate at layer_3_output"}}
	r.FirstDivergence = &gate.Divergence{Prompt: "haiku", Checkpoint: c.Name, Position: 17, Metric: "rel_l2", Value: gate.Value(math.NaN()), Limit: 0.005}
	return finish(r, gate.Fail, "the candidate has 3 non-finite values at layer_3_output that the reference has not")
}

func large() *gate.Result {
	r := base()
	r.Prompts = []gate.PromptInfo{{Name: "short", Tokens: 8}, {Name: "long", Tokens: 2048}, {Name: "code", Tokens: 512}}
	r.Checkpoints = append(stack("short", 80, -1, 1, 0.005), stack("long", 80, 40, 19, 0.005)...)
	r.Checkpoints = append(r.Checkpoints, stack("code", 80, 71, 7.5, 0.004)...)
	first := r.Checkpoints[83+41]
	r.FirstDivergence = &gate.Divergence{Prompt: "long", Checkpoint: first.Name, Position: 1024, Metric: "rel_l2", Value: first.Metrics["rel_l2"], Limit: 0.005}
	return finish(r, gate.Fail, "40 checkpoints of prompt long exceed rel_l2 0.5 %")
}

// attacks are names that mean something to Markdown, HTML, GitHub, a terminal or
// a runner's log.
var attacks = []string{
	"@everyone", "<img src=x onerror=alert(1)>", "](javascript:alert(1))", "[x](https://example.com)", "![x](https://example.com/x.png)",
	"a|b", `a\|b`, "`code`", "``` x", "#12", "GH-12", "org/repo#7", "$x^2$", "$`x`$", "https://example.com/a", "www.example.com", "mail@example.com",
	"_a_ *b* ~~c~~", "<!-- paritygate -->", "</details>", "line\nbreak\r\n## heading", "\x1b[31mred\x1b[0m", "a\u202egpj.exe", "\u200b\ufeff",
	"::set-output name=x::y", "##[error]x", "&lt;b&gt;", "1. list", "- list", "> quote", `\`, "", " ", "\xff\xfe", "\x00", "é\u0301", "<script>", "user@abcdef1",
	"ftp://example.com", "mailto:a@b.c", "[^1]", "- [ ] task", "| a | b |", "a\tb", "]]>", "<https://example.com>", "&#64;everyone", "xmpp:a@b.c",
}

func hostile() *gate.Result {
	r := base()
	r.Prompts[0].Name = "@org/team\n"
	r.Spec.Path = "$(rm -rf ~)/parity.yaml`"
	r.Engines.Candidate.Name = "<b>worker</b>"
	r.Engines.Candidate.Version = "@v1 <img src=x>"
	var missing []gate.Missing
	for i, a := range append([]string{strings.Repeat("A", 1<<20)}, attacks...) {
		r.Checkpoints = append(r.Checkpoints, hidden("@org/team\n", a, i, 0.02+0.001*float64(i), 0.02, 0.005))
		missing = append(missing, gate.Missing{Prompt: a, Checkpoint: a, Side: "candidate"})
		r.Reasons = append(r.Reasons, a)
		r.Warnings = append(r.Warnings, a+" "+a)
		r.Diagnosis = append(r.Diagnosis, gate.Diagnosis{Kind: "layer", Title: a, Checkpoint: a, Confidence: "low", Evidence: a})
	}
	r.Coverage.Missing = missing
	withBaseline(r, func(string) float64 { return 0.5 })
	r.Baseline.Why, r.Baseline.Anchor.Reason, r.Baseline.Anchor.ApprovedBy = strings.Join(attacks, " "), strings.Join(attacks, " "), attacks[0]
	r.Baseline.Commit, r.Baseline.Anchor.Date, r.Baseline.Proposed = attacks[0], attacks[0], attacks[0]
	return finish(r, gate.Fail, r.Reasons...)
}
