package gate

import (
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/trace"
)

// appliedLimit is the limit that was applied to a metric of a checkpoint.
func appliedLimit(c *Checkpoint, metric, level string) *AppliedLimit {
	i := slices.IndexFunc(c.Limits, func(l AppliedLimit) bool { return l.Metric == metric && l.Level == level })
	if i < 0 {
		return nil
	}
	return &c.Limits[i]
}

// The oracle adds limits: tighter where the engine's profile is declared, wider
// where it is a guess. A rule of the spec wins, one that turns them off, too.
func TestOracleLimits(t *testing.T) {
	declaredEngine := modelRun{profile: "f32", meta: spoken("f32")}
	guessedEngine := modelRun{profile: "f32", meta: trace.Meta{Engine: "worker", ComputeDType: "f32"}}
	rules := func(list string) string { return "tolerances: {rules: [" + list + "]}\n" }
	for name, c := range map[string]struct {
		cand             modelRun
		yaml             string
		explained, local float64 // 0 is none
		line             int     // of explained
	}{
		"declared":        {declaredEngine, "", 2, 1.5, 0},
		"guessed":         {guessedEngine, "", 6, 3, 0},
		"rule":            {declaredEngine, rules(`{checkpoint: "*", explained: 4}`), 4, 1.5, 3},
		"rule, guessed":   {guessedEngine, rules(`{checkpoint: logits, explained: 4, local: 1.25}`), 4, 1.25, 3},
		"other's rule":    {declaredEngine, rules(`{checkpoint: final_norm, explained: 4}`), 2, 1.5, 0},
		"off":             {declaredEngine, rules(`{checkpoint: "*", explained: off}`), 0, 1.5, 0},
		"a warning alone": {declaredEngine, rules(`{checkpoint: "*", warn: {explained: 1.2}}`), 2, 1.5, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := besides(t, exactly, c.cand, c.yaml)
			if r.Outcome != Pass {
				t.Errorf("%v: %v", r.Outcome, r.Reasons)
			}
			at := checkpointOf(t, r, logitsName)
			for metric, want := range map[string]float64{"explained": c.explained, "local": c.local} {
				l := appliedLimit(at, metric, LevelFail)
				if (l != nil) != (want > 0) {
					t.Fatalf("%s: %+v, want %g", metric, l, want)
				}
				if l == nil {
					continue
				}
				if float64(l.Limit) != want || l.Value != at.Metrics[metric] {
					t.Errorf("%s: limit %+v, want %g", metric, l, want)
				}
				if metric == "explained" && (l.Line != c.line || c.line == 0 && l.Source != oracleSource) {
					t.Errorf("limit of %s:%d, want line %d", l.Source, l.Line, c.line)
				}
			}
			if w := appliedLimit(at, "explained", LevelWarn); (w != nil) != (name == "a warning alone") {
				t.Errorf("warning %+v", w)
			}
		})
	}
}

// An engine whose error is more than its precision costs fails by the oracle's
// rules alone; judged again without an oracle, it does not.
func TestOracleLimitsFail(t *testing.T) {
	r := besides(t, exactly, modelRun{profile: "llamacpp-fa-f16", meta: spoken("f32")}, "tolerances: {preset: q4}\n")
	first := checkpointOf(t, r, "layer_0_output")
	if r.Outcome != Fail || r.FirstDivergence.Checkpoint != first.Name || r.FirstDivergence.Metric != "explained" && r.FirstDivergence.Metric != "local" {
		t.Errorf("%v, first %+v", r.Outcome, r.FirstDivergence)
	}
	for _, f := range first.Findings {
		if f.Source != oracleSource || f.Level != LevelFail {
			t.Errorf("finding %+v", f)
		}
	}
	Judge(r, parsed(t, "tolerances: {preset: q4}\n"))
	if r.Outcome != Pass {
		t.Errorf("without an oracle: %v, %v", r.Outcome, r.Reasons)
	}
}

// A limit that rounding alone exceeds can say nothing, whatever the value is.
func TestUnderFloor(t *testing.T) {
	const told = "llamacpp-fa-f16"
	sound := modelRun{profile: told, meta: spoken(told)}
	for name, c := range map[string]struct {
		ref     modelRun
		limit   string
		outcome Outcome
	}{
		"the engines are bit-equal":     {sound, "1e-6", Incomplete},
		"the reference is exact":        {exactly, "1e-6", Incomplete},
		"a limit of use":                {sound, "1%", Pass},
		"a limit of use, exact":         {exactly, "1%", Pass},
		"both round, one would keep it": {sound, "4.5e-4", Incomplete},
	} {
		t.Run(name, func(t *testing.T) {
			r := besides(t, c.ref, sound, "tolerances: {rules: [{checkpoint: layer_3_output, rel_l2: "+c.limit+"}]}\n")
			if r.Outcome != c.outcome || r.ExitCode != c.outcome.ExitCode() {
				t.Fatalf("%v (exit %d), want %v: %v", r.Outcome, r.ExitCode, c.outcome, r.Reasons)
			}
			at := checkpointOf(t, r, "layer_3_output")
			i := slices.IndexFunc(at.Findings, func(f Finding) bool { return f.Level == LevelIncomplete })
			if c.outcome == Pass {
				if i >= 0 || at.Status != Passed {
					t.Errorf("%s: %+v", at.Status, at.Findings)
				}
				return
			}
			if i < 0 || at.Status != Unmeasured || at.Findings[i].Line != 3 || !strings.Contains(at.Findings[i].Message, "below what the engines' precision costs here") {
				t.Errorf("%s: %+v", at.Status, at.Findings)
			}
			if r.FirstDivergence != nil {
				t.Errorf("first divergence %+v", r.FirstDivergence)
			}
		})
	}
}
