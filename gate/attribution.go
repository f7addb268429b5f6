package gate

import (
	"fmt"
	"math"
)

// attribute says which engine errs, where an oracle was at hand: the first
// checkpoint at which an engine's own computation, on its own input, is off by
// more than its precision costs.
func attribute(r *Result) []Diagnosis {
	candidate := account{"candidate", r.Engines.Candidate, func(o *OracleInfo) OracleError { return o.Candidate }}
	reference := account{"reference", r.Engines.Reference, func(o *OracleInfo) OracleError { return o.Reference }}
	cand, ref := candidate.firstWrong(r), reference.firstWrong(r)
	if cand != nil && cand == ref && together(cand) {
		return []Diagnosis{oracleDiffers(cand)}
	}
	var out []Diagnosis
	if cand != nil {
		out = append(out, candidate.diagnosis(cand))
	}
	if ref != nil {
		d := reference.diagnosis(ref)
		if candidate.sound(r) {
			d.Kind, d.Title = "reference_drifted", "the reference is wrong, the candidate is right"
			d.Evidence = "the reference: " + d.Evidence + "; every checkpoint of the candidate is within what its precision costs"
		}
		out = append(out, d)
	}
	return out
}

// account is one engine's side of what the oracle says.
type account struct {
	role   string
	engine EngineInfo
	of     func(*OracleInfo) OracleError
}

// firstWrong is the first checkpoint in forward order that errs more than the
// engine's precision explains: by itself or, where its own input is not known,
// with all that comes before.
func (a account) firstWrong(r *Result) *Checkpoint {
	limit := timesFor(a.engine)
	var first *Checkpoint
	for i := range r.Checkpoints {
		c := &r.Checkpoints[i]
		if c.Oracle == nil || first != nil && c.Order >= first.Order {
			continue
		}
		e := a.of(c.Oracle)
		by, most := float64(e.LocalRatio), limit.local
		if math.IsNaN(by) {
			by, most = float64(e.Explained), limit.explained
		}
		if by > most {
			first = c
		}
	}
	return first
}

// sound says that precision explains every checkpoint of the engine. Where
// nothing is known, nothing is sound.
func (a account) sound(r *Result) bool {
	limit, any := timesFor(a.engine), false
	for _, c := range r.Checkpoints {
		if c.Oracle == nil {
			continue
		}
		e := a.of(c.Oracle)
		if !(float64(e.Explained) <= limit.explained) || float64(e.LocalRatio) > limit.local {
			return false
		}
		any = true
	}
	return any
}

// diagnosis says what the engine errs at its first wrong checkpoint.
func (a account) diagnosis(c *Checkpoint) Diagnosis {
	e, where := a.of(c.Oracle), layerName(c.Name)
	if e.Part != "" {
		where += ", " + e.Part
	}
	d := Diagnosis{Kind: "local_error", Title: fmt.Sprintf("%s of the %s", where, a.role), Checkpoint: c.Name, Confidence: High,
		Evidence: fmt.Sprintf("on its own input it errs by %.3g, %.3g × what %s rounding costs there (%.2g)", float64(e.Local), float64(e.LocalRatio), a.engine.Profile, float64(e.LocalFloor))}
	if math.IsNaN(float64(e.LocalRatio)) {
		d.Kind, d.Title, d.Confidence = "unexplained_error", fmt.Sprintf("the %s, %s or before it", a.role, where), Medium
		d.Evidence = fmt.Sprintf("up to there it errs by %.3g, %.3g × what %s rounding costs (%.2g); what it computed it from was not captured", float64(e.Error), float64(e.Explained), a.engine.Profile, float64(e.Floor))
	}
	return d
}

// together says that both engines are far from the oracle and near one another.
func together(c *Checkpoint) bool {
	return float64(c.Metrics["rel_l2"]) <= 0.1*min(float64(c.Oracle.Reference.Error), float64(c.Oracle.Candidate.Error))
}

// oracleDiffers says that the oracle stands alone.
func oracleDiffers(c *Checkpoint) Diagnosis {
	return Diagnosis{Kind: "oracle_differs", Title: "the engines agree with each other, not with the oracle", Checkpoint: c.Name, Confidence: High,
		Evidence: fmt.Sprintf("at %s they are %.3g and %.3g from the oracle, and %.3g from one another: the oracle's weights are not theirs, or both make the same mistake",
			c.Name, float64(c.Oracle.Reference.Error), float64(c.Oracle.Candidate.Error), float64(c.Metrics["rel_l2"]))}
}
