package report

import (
	"slices"
	"strings"

	"github.com/paritygate/paritygate/gate"
)

// loosened fails by the base branch's spec, which the change wanted to loosen.
func loosened() *gate.Result {
	r := rope()
	r.Spec.JudgedBy = strings.Repeat("b5", 32)
	r.Spec.Changes = []gate.SpecChange{
		{Effect: "loosened", What: "layer_*_output: rel_l2", From: "0.5%", To: "10%", Line: 24},
		{Effect: "loosened", What: "logits: max_abs", From: "0.1", To: "off", Line: 26},
		{Effect: "loosened", What: "require.checkpoints", From: "layer_*_output"},
		{Effect: "loosened", What: "skip.positions", To: "1-63", Line: 18},
		{Effect: "changed", What: "engines.reference.path", From: "traces/{{prompt}}.safetensors", To: "traces/<b>@everyone</b>.safetensors", Line: 8},
		{Effect: "changed", What: "prompts.haiku", From: "text \"a|b\"", To: "text \"](javascript:alert(1))\"", Line: 5},
		{Effect: "tightened", What: "garbage.reference", From: "mask", To: "fail", Line: 20},
	}
	for i := range r.Checkpoints {
		for j := range r.Checkpoints[i].Limits {
			r.Checkpoints[i].Limits[j].Source = "base parity.yaml"
		}
	}
	r.Reasons = slices.Insert(r.Reasons, 1, "judged by the base branch's spec; by the change's own the outcome would be pass")
	r.Source = &gate.Source{Repository: "acme/worker", Event: "pull_request", PullRequest: 7, Head: "4f2a9c1d8e7b6a5f", Base: "9be1c0d2f3a4b5c6"}
	return r
}

// approved passes by a spec that was loosened, which somebody accepted.
func approved() *gate.Result {
	r := passing()
	r.Spec.Approved = true
	r.Spec.Changes = []gate.SpecChange{{Effect: "loosened", What: "layer_*_output: rel_l2", From: "0.5%", To: "10%", Line: 24}}
	return r
}
