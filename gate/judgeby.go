package gate

import (
	"fmt"
	"math"
	"slices"

	"github.com/paritygate/paritygate/gate/spec"
)

// Governing is the spec that says what is run and measured: the own one, or the
// base, with the own one's candidate, where that differs and nobody approved it (see
// spec.Under). A base that differs and cannot be run is an error.
func Governing(own, base *spec.Spec, approved bool) (*spec.Spec, error) {
	if base == nil || approved || spec.Same(base, own) {
		return own, nil
	}
	if err := base.Runnable(); err != nil {
		return nil, fmt.Errorf("%s: nothing can be run under the base branch's spec: %w; approve %s, which differs from it (digest %s)", base.Path, err, own.Path, own.Digest)
	}
	return spec.Under(base, own), nil
}

// JudgeBy judges r as Judge does, for a change that brings a spec of its own. Where
// that differs from base, the spec of the branch that the change goes into, base
// judges, with the candidate as own starts it. Own judges the same measurements as
// well, unless it would have measured otherwise; the worse outcome stands, and the
// second reason says whose it is. A run that passes is incomplete while nobody
// approved what own loosens. When approved, own alone judges. What differs is
// listed in r.Spec.Changes either way. A base of nil, or one that differs in
// nothing, changes nothing. It returns the spec whose verdict stands.
func JudgeBy(r *Result, own, base *spec.Spec, approved bool) *spec.Spec {
	if base == nil || spec.Same(base, own) {
		Judge(r, own)
		return own
	}
	differences := spec.Changes(base, own, func(s *spec.Spec) string { return specInfo(r.Engines, s).Preset }, namesOf(r))
	changes := specChanges(differences)
	if approved {
		Judge(r, own)
		r.Spec.Changes, r.Spec.Approved = changes, len(changes) > 0
		return own
	}
	stands, other := spec.Under(base, own), judgeable(r)
	Judge(r, stands)
	why := "judged by the base branch's spec; the change's own measures otherwise"
	if !slices.ContainsFunc(differences, func(c spec.Change) bool { return c.Measures }) {
		beside := spec.Beside(base, own)
		Judge(other, beside)
		why = fmt.Sprintf("judged by the base branch's spec; by the change's own the outcome would be %s", other.Outcome)
		if graver(other.Outcome, r.Outcome) {
			why = fmt.Sprintf("judged by the change's own spec, which is stricter here; by the base branch's the outcome would be %s", r.Outcome)
			*r, stands = *other, beside
		}
	}
	if r.Outcome != Pass {
		r.Reasons = slices.Insert(r.Reasons, min(1, len(r.Reasons)), why) // behind the worst, where no report cuts it off
	}
	askApproval(r, stands, changes)
	r.Spec.Path, r.Spec.Digest, r.Spec.JudgedBy, r.Spec.Changes = own.Path, own.Digest, base.Digest, changes
	return stands
}

// RuleSpecApproved: what a change loosens in its spec is approved. A change that
// passes all the same would put the looser rules in force for the next one.
const RuleSpecApproved = "spec.approved"

// askApproval makes a run that passes incomplete while nobody approved what the
// change loosens, or changes in a way that cannot be ordered.
func askApproval(r *Result, stands *spec.Spec, changes []SpecChange) {
	n := 0
	for _, c := range changes {
		if c.Effect != spec.Tightened {
			n++
		}
	}
	if r.Outcome != Pass || n == 0 {
		return
	}
	f := Finding{Rule: RuleSpecApproved, Level: LevelIncomplete, Position: -1, Value: Value(math.NaN()), Limit: Value(math.NaN()), Source: stands.Path,
		Message: fmt.Sprintf("this change loosens or changes %s of the spec, and nobody approved that; by the base branch's spec it passes", plural(n, "rule"))}
	r.Findings = append(r.Findings, f)
	v := &Verdict{Compared: 1, Findings: []Finding{f}}
	r.Outcome = v.Outcome()
	r.ExitCode, r.Reasons = r.Outcome.ExitCode(), []string{f.Message}
}

// graver says that a is a worse outcome than b: a measured failure stands even
// where the other spec finds that something is missing.
func graver(a, b Outcome) bool {
	rank := map[Outcome]int{Pass: 0, Incomplete: 1, Fail: 2}
	return rank[a] > rank[b]
}

// judgeable is a copy of r of which Judge may change everything.
func judgeable(r *Result) *Result {
	c := *r
	c.Checkpoints = slices.Clone(r.Checkpoints)
	c.Garbage = slices.Clone(r.Garbage)
	c.Coverage.Missing = slices.Clone(r.Coverage.Missing)
	if r.Baseline != nil {
		b := *r.Baseline
		b.Deltas = slices.Clone(b.Deltas)
		c.Baseline = &b
	}
	return &c
}

// namesOf are the checkpoints that were measured, and those that one side lacks.
func namesOf(r *Result) []string {
	var out []string
	for _, c := range r.Checkpoints {
		out = append(out, c.Name)
	}
	for _, m := range r.Coverage.Missing {
		out = append(out, m.Checkpoint)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func specChanges(list []spec.Change) []SpecChange {
	out := []SpecChange{}
	for _, c := range list {
		out = append(out, SpecChange{Effect: c.Effect, What: c.What, From: c.From, To: c.To, Line: c.Line})
	}
	return out
}
