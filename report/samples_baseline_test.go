package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/paritygate/paritygate/gate"
)

// withBaseline holds a run beside a baseline whose values are the run's own times
// factor, except where it says so.
func withBaseline(r *gate.Result, factor func(checkpoint string) float64) *gate.Result {
	b := &gate.Baseline{State: gate.BaselineCompared, Store: "branch:parity-baselines", Key: strings.Repeat("4b", 32),
		Commit: "9be1c0d2f3a4b5c69be1c0d2f3a4b5c69be1c0d2", Distance: 0, AgeS: 50 * 3600, Digest: strings.Repeat("d1", 32), Proposed: strings.Repeat("90", 32),
		Differences: []gate.BaselineDifference{}, Missing: []string{},
		Anchor: &gate.BaselineAnchor{Commit: "1a2b3c4d5e6f1a2b3c4d5e6f1a2b3c4d5e6f1a2b", Date: "2026-11-02T09:00:00Z", ApprovedBy: "octocat", Reason: "fused attention"}}
	for i := range r.Checkpoints {
		c := &r.Checkpoints[i]
		b.BitIdentical.Of++
		f := factor(c.Name)
		moved := math.Abs(f-1) * 0.01
		if f == 1 {
			b.BitIdentical.Same++
		}
		head := c.Metrics["rel_l2"]
		base := head * gate.Value(f)
		d := gate.BaselineDelta{Prompt: c.Prompt, Checkpoint: c.Name, Metric: "rel_l2", Base: base, Head: head, Delta: head - base,
			Share: (head - base) / base, Spread: gate.Value(math.NaN()), Anchor: base * 0.98, Allowed: base * 1.25, Against: "baseline", Within: true,
			Moved: gate.Value(moved), History: []gate.Value{base * 0.97, base * 0.98, base, base * 0.99, base}}
		if base == 0 {
			d.Share = 0
		}
		if head > d.Allowed {
			d.Within = false
			c.Status = gate.Failed
			f := gate.Finding{Rule: "baseline: rel_l2 <= +25%", Level: gate.LevelFail, Prompt: c.Prompt, Checkpoint: c.Name, Position: 63, Metric: "rel_l2",
				Value: head, Limit: d.Allowed, Source: "parity.yaml", Line: 31, Message: fmt.Sprintf("%s rel_l2 is worse than the baseline's", c.Name)}
			c.Findings = append(c.Findings, f)
			r.Reasons = append(r.Reasons, f.Message)
		}
		b.Deltas = append(b.Deltas, d)
	}
	r.Baseline = b
	return r
}

// regressed is within every tolerance, and worse than the baseline from layer 4 on.
func regressed() *gate.Result {
	r := withBaseline(passing(), func(name string) float64 {
		switch name {
		case "layer_4_output", "layer_5_output", "final_norm":
			return 0.4
		case "layer_1_output":
			return 1.3
		case "embedding", "layer_0_output":
			return 1
		}
		return 0.99
	})
	r.Baseline.Distance, r.Baseline.Why = 3, "3 commits before 4f2a9c1d8e7b: those between have none"
	return finish(r, gate.Fail, r.Reasons...)
}

// unchanged has the baseline's bits everywhere.
func unchanged() *gate.Result {
	return withBaseline(passing(), func(string) float64 { return 1 })
}

// firstRun requires a baseline where there is none.
func firstRun() *gate.Result {
	r := passing()
	why := "branch:parity-baselines holds no baseline yet: paritygate baseline update makes the first on the branch"
	r.Baseline = &gate.Baseline{State: gate.BaselineNone, Store: "branch:parity-baselines", Key: strings.Repeat("4b", 32), Why: why, Distance: -1,
		AgeS: gate.Value(math.NaN()), Proposed: strings.Repeat("90", 32), Differences: []gate.BaselineDifference{}, Deltas: []gate.BaselineDelta{}, Missing: []string{}}
	r.Findings = []gate.Finding{{Rule: gate.RuleBaselineRequired, Level: gate.LevelIncomplete, Position: -1, Message: "a baseline is required"}}
	return finish(r, gate.Incomplete, "a baseline is required and none was found in branch:parity-baselines")
}

// otherGPU was measured elsewhere.
func otherGPU() *gate.Result {
	r := firstRun()
	r.Baseline.State, r.Baseline.Why = gate.BaselineIncomparable, "it was measured under other conditions: the candidate's device was NVIDIA H100 and is NVIDIA H200"
	r.Baseline.Commit = "9be1c0d2f3a4b5c69be1c0d2f3a4b5c69be1c0d2"
	r.Baseline.Differences = []gate.BaselineDifference{{What: "candidate's device", Baseline: "NVIDIA H100", Here: "<b>@everyone</b>|`x`"}}
	r.Findings = nil
	return finish(r, gate.Pass)
}
