package gate

import (
	"fmt"
	"math"

	"github.com/paritygate/paritygate/gate/spec"
)

// times are how many times what its precision costs a layer's own error (local),
// or the whole error up to a checkpoint (explained), may be before it is more
// than rounding.
type times struct{ local, explained float64 }

// Sound engines whose profile is right measured 0.7 to 1.27 (local) and up to
// 1.4 (explained), on five architectures in f16, bf16 and q8_0, whatever the
// places of rounding they chose. Where the profile is only a guess from the
// engine's words, its floor may be off by more.
var (
	declared = times{1.5, 2}
	guessed  = times{3, 6}
)

// timesFor are the limits for an engine, by who says how it computes.
func timesFor(e EngineInfo) times {
	if e.ProfileFrom == fromWords {
		return guessed
	}
	return declared
}

// Where a profile comes from.
const (
	fromSpec     = "spec"
	fromSettings = "settings"
	fromWords    = "words"
)

// oracleRules are the limits that an oracle adds to a preset.
func oracleRules(s *spec.Spec, candidate EngineInfo) []spec.Applied {
	if s.Oracle == nil {
		return nil
	}
	t := timesFor(candidate)
	rule := func(name string, limit float64) spec.Applied {
		return spec.Applied{Metric: name, Level: LevelFail, Value: limit, Source: oracleSource, Rule: "*"}
	}
	return []spec.Applied{rule("explained", t.explained), rule("local", t.local)}
}

// oracleSource is where limits come from that the oracle adds.
const oracleSource = "the oracle"

// underFloor is the finding of a limit that rounding alone exceeds: a value
// within it would be luck, so the rule can say nothing.
func underFloor(c *Checkpoint, l AppliedLimit, a spec.Applied) (Finding, bool) {
	if c.Oracle == nil || l.Metric != "rel_l2" || l.Explained > 0 || l.Level != LevelFail {
		return Finding{}, false
	}
	floor := math.Hypot(known(c.Oracle.Candidate.Floor), known(c.Oracle.Reference.Floor))
	if floor <= float64(l.Limit) {
		return Finding{}, false
	}
	return Finding{Rule: a.Condition(), Level: LevelIncomplete, Prompt: c.Prompt, Checkpoint: c.Name, Position: -1, Metric: l.Metric,
		Value: Value(round9(floor)), Limit: l.Limit, Source: a.Source, Line: a.Line,
		Message: fmt.Sprintf("%s: the limit %s of %s is below what the engines' precision costs here (%s): within it or not would be luck",
			c.Name, number(l.Metric, l.Limit), l.Metric, number(l.Metric, Value(floor)))}, true
}

// known is v, or 0 where it is not known.
func known(v Value) float64 {
	if math.IsNaN(float64(v)) {
		return 0
	}
	return float64(v)
}
