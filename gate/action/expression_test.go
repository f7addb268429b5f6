//go:build unix

package action

import (
	"regexp"
	"strings"
)

var expression = regexp.MustCompile(`\$\{\{(.*?)\}\}`)

// eval fills in the ${{ }} of a text.
func (j *job) eval(s string) string {
	return expression.ReplaceAllStringFunc(s, func(e string) string {
		v := ""
		for part := range strings.SplitSeq(e[3:len(e)-2], "||") {
			cond, last, has := "", part, false
			if i := strings.LastIndex(part, "&&"); i >= 0 {
				cond, last, has = part[:i], part[i+2:], true
			}
			if v = ""; !has || j.truth(cond, false) {
				v = j.value(strings.TrimSpace(last))
			}
			if v != "" {
				break
			}
		}
		return v
	})
}

// value is one operand.
func (j *job) value(s string) string {
	f := strings.Split(s, ".")
	switch {
	case strings.HasPrefix(s, "'"):
		return strings.Trim(s, "'")
	case f[0] == "inputs" && len(f) == 2:
		return j.eval(j.inputs[f[1]])
	case s == "github.token":
		return j.token
	case s == "github.action_ref":
		return ""
	case f[0] == "steps" && len(f) >= 3:
		st := j.steps[f[1]]
		if st == nil {
			j.t.Fatalf("%s: no such step, or not yet", s)
		}
		if f[2] == "outcome" {
			return st.outcome
		}
		return st.outputs[f[3]]
	}
	j.t.Fatalf("expression %q is not known", s)
	return ""
}

// truth is the value of an if: terms joined by &&.
func (j *job) truth(cond string, failed bool) bool {
	for term := range strings.SplitSeq(cond, "&&") {
		term = strings.TrimSpace(term)
		a, b, isNot := strings.Cut(term, " != ")
		switch {
		case term == "always()":
		case term == "success()":
			if failed {
				return false
			}
		case isNot:
			if j.value(a) == j.value(b) {
				return false
			}
		default:
			j.t.Fatalf("condition %q is not known", term)
		}
	}
	return true
}
