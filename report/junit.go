package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/jstemmer/go-junit-report/v2/junit"
	"github.com/paritygate/paritygate/gate"
)

// JUnit writes JUnit XML: a suite for the run and one for each prompt, a test
// case for each checkpoint and for coverage, garbage and flips of the top
// token. What is out of tolerance is a failure, what could not be measured an
// error; a result that passes has neither, and one that does not has one at
// least. The text holds characters of XML 1.0 only.
func JUnit(w io.Writer, r *gate.Result) error {
	v := newView(r)
	all := junit.Testsuites{Name: "paritygate", Time: clock(r.Timing.Reference + r.Timing.Candidate + r.Timing.Compare)}
	var suites []junit.Testsuite
	for _, p := range v.prompts {
		suites = append(suites, v.suite(p))
	}
	broken := 0
	for _, s := range suites {
		broken += s.Failures + s.Errors
	}
	all.AddSuite(v.runSuite(broken))
	for i, s := range suites {
		s.ID = i + 1
		all.AddSuite(s)
	}
	return all.WriteXML(w)
}

// runSuite holds the outcome itself: the error of an incomplete run, and the
// failure that belongs to no checkpoint.
func (v *view) runSuite(broken int) junit.Testsuite {
	s := junit.Testsuite{Name: "run", Time: clock(v.r.Timing.Compare)}
	c := junit.Testcase{Name: "outcome", Classname: "paritygate.run", Time: "0.000"}
	why := &junit.Result{Message: v.headline(plain), Type: v.r.Outcome.String(),
		Data: strings.Join(append(v.reasons(plain, 50), v.advice(plain)...), "\n")}
	if s := findings(v.r.Findings); s != "" {
		why.Data = joined("\n", why.Data, s)
	}
	failed := slices.ContainsFunc(v.r.Findings, func(f gate.Finding) bool { return f.Level == "fail" })
	switch {
	case v.r.Outcome == gate.Incomplete:
		c.Error = why
	case v.r.Outcome == gate.Fail && (failed || broken == 0):
		c.Failure = why
	}
	s.AddTestcase(c)
	return s
}

// suite is one prompt.
func (v *view) suite(p promptView) junit.Testsuite {
	name := plain.name(orElse(p.info.Name, "prompt"))
	s := junit.Testsuite{Name: name, Time: "0.000"}
	class := "paritygate." + name
	for _, w := range p.rows {
		s.AddTestcase(v.checkpointCase(class, w))
	}
	s.AddTestcase(v.coverageCase(class, p.info.Name))
	s.AddTestcase(v.garbageCase(class, p.info.Name))
	for _, w := range p.logits() {
		s.AddTestcase(flipsCase(class, w))
	}
	return s
}

func (v *view) checkpointCase(class string, w row) junit.Testcase {
	c := junit.Testcase{Name: plain.name(w.cp.Name), Classname: class, Time: "0.000"}
	result := &junit.Result{Message: v.verdict(plain, w), Type: string(w.cp.Status), Data: findings(w.cp.Findings)}
	if w.limit != nil && w.check == nil {
		result.Message += " (" + origin(plain, w.limit) + ")"
	}
	switch {
	case w.cp.Status == gate.Failed:
		c.Failure = result
	case w.cp.Status == gate.Unmeasured && v.r.Outcome == gate.Incomplete:
		c.Error = result
	case w.cp.Status == gate.Unmeasured:
		c.Skipped = result
	case result.Data != "":
		c.SystemOut = &junit.Output{Data: result.Data}
	}
	return c
}

// findings lists what broke: rule, place in the spec, sentence.
func findings(list []gate.Finding) string {
	var out []string
	for _, f := range list {
		s := fmt.Sprintf("%s: %s", plain.prose(f.Level), plain.prose(f.Rule))
		if f.Source != "" {
			s += " (" + source(plain, f.Source, f.Line) + ")"
		}
		if f.Position >= 0 {
			s += " at position " + count(f.Position)
		}
		out = append(out, s+": "+plain.prose(f.Message))
	}
	return strings.Join(atMost(out, 50), "\n")
}

// coverageCase is an error when a required checkpoint is missing.
func (v *view) coverageCase(class, prompt string) junit.Testcase {
	c := junit.Testcase{Name: "coverage", Classname: class, Time: "0.000"}
	var required, others []string
	for _, m := range v.r.Coverage.Missing {
		if m.Prompt != prompt {
			continue
		}
		s := plain.name(m.Checkpoint) + " missing: " + plain.name(m.Side)
		if m.Required {
			required = append(required, s)
		} else {
			others = append(others, s)
		}
	}
	data := strings.Join(append([]string{coverage(v.r.Coverage)}, atMost(append(required, others...), 50)...), "\n")
	if len(required) > 0 && v.r.Outcome == gate.Incomplete {
		c.Error = &junit.Result{Message: fmt.Sprintf("%s missing", plural(len(required), "required checkpoint")), Type: "incomplete", Data: data}
		return c
	}
	c.SystemOut = &junit.Output{Data: data}
	return c
}

// garbageCase fails on garbage of a side whose policy is fail.
func (v *view) garbageCase(class, prompt string) junit.Testcase {
	c := junit.Testcase{Name: "garbage", Classname: class, Time: "0.000"}
	mine := *v.r
	mine.Garbage = nil
	fails := false
	for _, g := range v.r.Garbage {
		if g.Prompt == prompt {
			mine.Garbage = append(mine.Garbage, g)
			fails = fails || g.Policy == "fail"
		}
	}
	lines := (&view{r: &mine}).garbageLines(plain, 50)
	switch data := strings.Join(lines, "\n"); {
	case fails && v.r.Outcome == gate.Fail:
		c.Failure = &junit.Result{Message: "values that no computation meant: " + lines[0], Type: "fail", Data: data}
	case data != "":
		c.SystemOut = &junit.Output{Data: data}
	}
	return c
}

// flipsCase fails when the agreement on the top token is out of tolerance.
func flipsCase(class string, w row) junit.Testcase {
	c := junit.Testcase{Name: plain.name(w.cp.Name) + " flips", Classname: class, Time: "0.000"}
	lines := append([]string{logitsLine(plain, w.cp), noiseLine(w.cp.Logits)}, flipLines(w.cp.Logits, 20)...)
	data := strings.Join(lines, "\n")
	for i := range w.cp.Limits {
		if l := &w.cp.Limits[i]; l.Metric == "top1_agreement" && !l.Within && l.Level == "fail" {
			c.Failure = &junit.Result{Message: breach(plain, l) + " (" + origin(plain, l) + ")", Type: "fail", Data: data}
			return c
		}
	}
	c.SystemOut = &junit.Output{Data: data}
	return c
}

// clock writes seconds as JUnit does; what was not measured is 0.
func clock(v gate.Value) string {
	if !(v >= 0 && v < 1e9) {
		v = 0
	}
	return strconv.FormatFloat(float64(v), 'f', 3, 64)
}
