package gate

import (
	"fmt"
	"math"
)

// attribute says which engine errs, where an oracle was at hand: the first
// checkpoint at which an engine's own computation, on its own input, is off by
// more than its precision costs.
func attribute(r *Result) []Diagnosis {
	limits := declared
	if r.Engines.Candidate.ProfileFrom == fromWords {
		limits = guessed
	}
	cand := firstLocal(r, limits.local, func(o *OracleInfo) OracleError { return o.Candidate })
	ref := firstLocal(r, limits.local, func(o *OracleInfo) OracleError { return o.Reference })
	var out []Diagnosis
	if cand != nil {
		out = append(out, localDiagnosis(cand, "candidate", cand.Oracle.Candidate, r.Engines.Candidate.Profile))
	}
	if ref != nil {
		d := localDiagnosis(ref, "reference", ref.Oracle.Reference, r.Engines.Reference.Profile)
		if cand == nil {
			d.Kind, d.Title = "reference_drifted", "the reference is wrong, the candidate is right"
			d.Evidence += "; every checkpoint of the candidate is within what its precision costs"
		}
		out = append(out, d)
	}
	return out
}

// firstLocal is the first checkpoint in forward order whose local error exceeds
// times its floor.
func firstLocal(r *Result, times float64, of func(*OracleInfo) OracleError) *Checkpoint {
	var first *Checkpoint
	for i := range r.Checkpoints {
		c := &r.Checkpoints[i]
		if c.Oracle == nil {
			continue
		}
		if ratio := float64(of(c.Oracle).LocalRatio); !(ratio <= times) && !math.IsNaN(ratio) && (first == nil || c.Order < first.Order) {
			first = c
		}
	}
	return first
}

func localDiagnosis(c *Checkpoint, role string, e OracleError, profile string) Diagnosis {
	where := layerName(c.Name)
	if e.Part != "" {
		where += ", " + e.Part
	}
	return Diagnosis{Kind: "local_error", Title: fmt.Sprintf("%s of the %s", where, role), Checkpoint: c.Name, Confidence: High,
		Evidence: fmt.Sprintf("on its own input it errs by %.3g, %.3g × what %s rounding costs there (%.2g)", float64(e.Local), float64(e.LocalRatio), profile, float64(e.LocalFloor))}
}
