package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// A change of the code may bring a change of the spec. Then there are two: the
// base, which the branch that it goes into has, and the change's own.

// Same reports whether both specs run and judge alike: they differ in no more than
// comments, spelling, and the keys that Changes never lists.
func Same(base, own *Spec) bool {
	b, errB := judging(base)
	o, errO := judging(own)
	return errB == nil && errO == nil && bytes.Equal(b, o)
}

// judging is a spec without what cannot move a verdict.
func judging(s *Spec) ([]byte, error) {
	c := *s
	c.Tolerances.Rules = slices.Clone(c.Tolerances.Rules)
	for i := range c.Tolerances.Rules {
		r := &c.Tolerances.Rules[i]
		r.Line, r.Column, r.Source = 0, 0, ""
		r.Limits, r.Warn = withoutLines(r.Limits), withoutLines(r.Warn)
		if r.Baseline != nil {
			b := *r.Baseline
			b.Line = 0
			r.Baseline = &b
		}
	}
	c.Engines = Engines{Reference: without(withDefaults(c.Engines.Reference), bounds), Candidate: without(withDefaults(c.Engines.Candidate), ownKeys)}
	return json.Marshal(c)
}

func withoutLines(limits []Limit) []Limit {
	out := slices.Clone(limits)
	for i := range out {
		out[i].Line = 0
	}
	return out
}

// without is an engine with keys left out.
func without(e Engine, keys []string) Engine { return assign(e, Engine{}, keys) }

// assign is to with the keys taken from another engine.
func assign(to, from Engine, keys []string) Engine {
	t, f := reflect.ValueOf(&to).Elem(), reflect.ValueOf(from)
	for i := range t.NumField() {
		key, _, _ := strings.Cut(t.Type().Field(i).Tag.Get("yaml"), ",")
		if slices.Contains(keys, key) {
			t.Field(i).Set(f.Field(i))
		}
	}
	return to
}

// Under is the spec that runs and judges a change with a spec of its own, which
// nobody approved: the base, whole, but for how the candidate is started (command,
// dir, env, pass_env, path, library, headers, compiler, python, trust_remote_code)
// and bounded, and for witnesses, which are never judged. A change that runs its
// candidate through another adapter does not get that: the base's candidate runs.
// Path and the rules' Source name the base by the own spec's path.
func Under(base, own *Spec) *Spec {
	s := *base
	s.Path = BaseName(own)
	s.Tolerances.Rules = slices.Clone(s.Tolerances.Rules)
	for i := range s.Tolerances.Rules {
		s.Tolerances.Rules[i].Source = s.Path
	}
	s.Engines.Witnesses = own.Engines.Witnesses
	if b, o := base.Engines.Candidate, own.Engines.Candidate; b.Adapter == o.Adapter && b.Mode == o.Mode {
		s.Engines.Candidate = assign(b, o, ownKeys)
	}
	return &s
}

// BaseName is what the base's limits are said to come from: "base parity.yaml".
func BaseName(own *Spec) string { return "base " + own.Path }

// Beside is what of the own spec can be judged on what was measured under the
// base: without an oracle that the base lacks, without asking for more positions
// than the base does where prompts were added, and without requiring a baseline
// where the base looks for none.
func Beside(base, own *Spec) *Spec {
	s := *own
	if base.Oracle == nil && own.Oracle != nil {
		s.Oracle = nil
		s.Tolerances.Rules = slices.Clone(s.Tolerances.Rules)
		for i := range s.Tolerances.Rules {
			r := &s.Tolerances.Rules[i]
			r.Limits, r.Warn = withoutOracle(r.Limits), withoutOracle(r.Warn)
		}
	}
	if len(own.Prompts) != len(base.Prompts) {
		s.Require.MinPositions = min(own.Require.MinPositions, base.Require.MinPositions)
	}
	if base.Baseline == nil && own.Baseline != nil {
		b := *own.Baseline
		b.Required = false
		s.Baseline = &b
	}
	return &s
}

func withoutOracle(limits []Limit) []Limit {
	return slices.DeleteFunc(slices.Clone(limits), func(l Limit) bool { return slices.Contains(oracleMetrics, l.Metric) })
}

// Runnable is an error that says what a run would need and the spec lacks.
func (s *Spec) Runnable() error {
	var lacks []string
	if len(s.Prompts) == 0 {
		lacks = append(lacks, "prompts")
	}
	if s.Engines.Reference.Adapter == "" {
		lacks = append(lacks, "engines.reference")
	}
	if s.Engines.Candidate.Adapter == "" {
		lacks = append(lacks, "engines.candidate")
	}
	if lacks == nil {
		return nil
	}
	return errors.New("it lacks " + strings.Join(lacks, " and "))
}

// minApproval is how many digits of a digest approve a spec at least.
const minApproval = 12

// ApprovedBy reports whether word accepts the spec as it stands: "true", or at
// least 12 of the first hex digits of its digest. "" and "false" do not. Any
// other word is an error that names the digest: an approval of another state of
// the file is void.
func (s *Spec) ApprovedBy(word string) (bool, error) {
	switch word = strings.ToLower(strings.TrimSpace(word)); {
	case word == "" || word == "false":
		return false, nil
	case word == "true" || len(word) >= minApproval && strings.HasPrefix(s.Digest, word):
		return true, nil
	}
	return false, fmt.Errorf("the approval %s is not of this spec: the SHA-256 of %s is %s (want its first %d digits or more, or true)", quote(word), s.Path, s.Digest, minApproval)
}
