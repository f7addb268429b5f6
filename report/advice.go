package report

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/paritygate/paritygate/gate"
)

// again is the folder that the commands of a report write to: what the run itself
// wrote, and where, no report knows.
const again = "parity-out"

// reproduce lists the commands that give the same result again, and draw it from
// what they saved.
func reproduce(r *gate.Result) []string {
	var out []string
	spec := ""
	if r.Spec.Path != "" {
		spec = " --spec " + shellWord(r.Spec.Path)
	}
	ref, cand := r.Engines.Reference, r.Engines.Candidate
	switch {
	case recorded(ref) && recorded(cand) && len(r.Prompts) <= 1:
		out = []string{"paritygate compare " + shellWord(ref.Trace) + " " + shellWord(cand.Trace) + spec + flags(r.Spec.Flags)}
	case r.Spec.Path != "":
		out = underBase(r, "paritygate run "+shellWord(r.Spec.Path))
	default:
		return []string{"paritygate report RESULTS.json --format text"}
	}
	out[len(out)-1] += " --out " + again
	return append(out, "paritygate report "+again+"/results.json --format text")
}

// underBase is a command with the base branch's spec, where that judged.
func underBase(r *gate.Result, command string) []string {
	if r.Spec.JudgedBy == "" {
		return []string{command}
	}
	commit, out := "origin/main", []string{command + " --judge-by base.yaml"}
	if r.Source != nil && r.Source.Base != "" {
		commit = r.Source.Base
	}
	if !filepath.IsAbs(r.Spec.Path) {
		// With ./ git takes it from the working directory, as paritygate does.
		out = slices.Insert(out, 0, "git show "+shellWord(commit+":./"+filepath.ToSlash(r.Spec.Path))+" > base.yaml")
	}
	return out
}

// flags are the command line's own choices, as words of a shell.
func flags(list []string) string {
	s := ""
	for _, f := range list {
		s += " " + shellWord(f)
	}
	return s
}

// outputs are the ends of what failed engines wrote to stderr.
func (v *view) outputs(say voice) []string {
	var out []string
	for _, e := range []struct {
		role string
		info gate.EngineInfo
	}{{"reference", v.r.Engines.Reference}, {"candidate", v.r.Engines.Candidate}} {
		lines := strings.Split(strings.TrimSpace(e.info.Output), "\n")
		if e.info.Output == "" {
			continue
		}
		for _, l := range lines[max(0, len(lines)-outputLines):] {
			out = append(out, e.role+": "+say.prose(l))
		}
	}
	return out
}

// outputLines is how much of a failed engine's stderr a report shows.
const outputLines = 20

// recorded says whether an engine was nothing but a trace on disk.
func recorded(e gate.EngineInfo) bool {
	return (e.Adapter == "" || e.Adapter == "trace") && e.Trace != ""
}

// advice says what to do: fix it or accept it, or how to get it measured.
func (v *view) advice(say voice) []string {
	switch v.r.Outcome {
	case gate.Pass:
		return nil
	case gate.Fail:
		return []string{"Fix: " + v.fix(say), "Accept: " + v.accept(say)}
	}
	var out []string
	for _, e := range []struct {
		role string
		info gate.EngineInfo
	}{{"reference", v.r.Engines.Reference}, {"candidate", v.r.Engines.Candidate}} {
		if e.info.Failure == "" {
			continue
		}
		s := fmt.Sprintf("The %s measured nothing: %s.", e.role, trimStop(say.prose(e.info.Failure)))
		if v.r.Spec.Path != "" && !recorded(e.info) {
			s += " To run it alone: " + say.name(fmt.Sprintf("paritygate capture --spec %s --engine %s --out trace.safetensors", shellWord(v.r.Spec.Path), e.role)) + "."
		}
		out = append(out, s)
	}
	for _, p := range v.r.Prompts {
		if p.InputsDiffer != "" {
			out = append(out, fmt.Sprintf("Give both engines the same tokens of prompt %s: %s.", say.name(p.Name), trimStop(say.prose(p.InputsDiffer))))
			break
		}
	}
	for _, m := range v.r.Coverage.Missing {
		if m.Required {
			out = append(out, fmt.Sprintf("Write %s on the side that lacks it, map its name with %s, or take it out of %s.",
				say.name(m.Checkpoint), say.name("engines."+otherSide(m.Side)+".names"), say.name("require.checkpoints")))
			break
		}
	}
	if slices.ContainsFunc(v.r.Findings, func(f gate.Finding) bool { return f.Rule == gate.RuleSpecApproved }) {
		out = append(out, "If the changes of the spec are meant, let a maintainer approve them, as is said above; the numbers are within the base branch's tolerances.")
	}
	if b := v.r.Baseline; b != nil && b.State != gate.BaselineCompared && slices.ContainsFunc(v.r.Findings, func(f gate.Finding) bool { return f.Rule == gate.RuleBaselineRequired }) {
		out = append(out, "Make a baseline that this run can be held against: "+say.name("paritygate baseline update")+", or the Action with "+say.name("mode: refresh")+
			", on the branch that the change goes into and on this kind of machine.")
	}
	if out == nil && len(v.r.Prompts) == 0 && len(v.r.Checkpoints) == 0 {
		out = append(out, "Nothing was run: mend what the reason above names, then run again.")
	}
	if out == nil {
		out = append(out, "Make both engines run the same tokens and write the checkpoints that the spec requires, then run again.")
	}
	return append(out, "Nothing was accepted: an incomplete run is not a pass (exit code 3).")
}

// otherSide is the engine whose names could be mapped.
func otherSide(side string) string {
	if side == "reference" {
		return "reference"
	}
	return "candidate"
}

func trimStop(s string) string {
	for len(s) > 0 && s[len(s)-1] == '.' {
		s = s[:len(s)-1]
	}
	return s
}

// fix says where to look.
func (v *view) fix(say voice) string {
	d := v.r.FirstDivergence
	if d == nil {
		for _, p := range v.prompts {
			for _, w := range p.rows {
				if w.limit != nil && ofBaseline(w.limit) {
					return "start at " + v.place(say, w.cp.Prompt, w.cp.Name) + ", the first checkpoint that is worse than " + w.limit.Source + " allows."
				}
			}
		}
		return "see the reasons above, and run the command below again."
	}
	s := "start at " + v.place(say, d.Prompt, d.Checkpoint)
	before := 0
	for i := range v.r.Checkpoints {
		c := &v.r.Checkpoints[i]
		if c.Prompt != d.Prompt || c.Order >= v.order(d) {
			continue
		}
		if c.Status == gate.Failed || c.Status == gate.Unmeasured {
			return s + "."
		}
		before++
	}
	switch before {
	case 0:
		return s + ", the first checkpoint compared."
	case 1:
		return s + "; the checkpoint before it is within tolerance."
	}
	return fmt.Sprintf("%s; the %s checkpoints before it are within tolerance.", s, count(before))
}

func (v *view) order(d *gate.Divergence) int {
	if w := v.find(d.Prompt, d.Checkpoint); w != nil {
		return w.cp.Order
	}
	return 0
}

// accept says which limit to change.
func (v *view) accept(say voice) string {
	spec := "a spec"
	if v.r.Spec.Path != "" {
		spec = say.name(v.r.Spec.Path)
	}
	var l *gate.AppliedLimit
	if len(v.rows) > 0 && !v.rows[0].beyondLimits() {
		l = v.rows[0].limit
	}
	judge := "; " + say.name("paritygate judge RESULTS.json --spec "+shellWord(orElse(v.r.Spec.Path, "parity.yaml"))) +
		" shows the new verdict of a saved run without running an engine."
	switch {
	case l != nil && ofBaseline(l) && v.acceptance(say) != "":
		s := "if the change is meant, hold later runs against these numbers: " + v.acceptance(say)
		if name, own := v.ownBreach(); own != nil {
			s += fmt.Sprintf(". That moves the baseline alone: %s of %s is over the limit of %s as well", say.name(own.Metric), say.name(name), source(say, own.Source, own.Line))
		}
		return s + "."
	case v.r.Spec.JudgedBy != "" && approval(say, v.r.Spec) != "":
		return "if the changes of the spec are meant, let a maintainer approve them, as is said above."
	case l != nil && l.Line > 0 && byBase(v.r.Spec, l):
		return fmt.Sprintf("if the change is meant, loosen the limit of %s in %s, say why beside it, and let a maintainer approve that spec; the base branch's judges until then.",
			source(say, l.Source, l.Line), spec)
	case l == nil:
		return fmt.Sprintf("if these values mean nothing, leave them out with %s or %s in %s%s", say.name("garbage"), say.name("skip"), spec, judge)
	case l.Line > 0:
		return "if the change is meant, move the limit at " + source(say, l.Source, l.Line) + " and say why beside it" + judge
	}
	return fmt.Sprintf("if the change is meant, add a rule for %s to %s of %s; the limit comes from %s%s",
		say.name(l.Metric), say.name("tolerances.rules"), spec, origin(say, l), judge)
}

// ownBreach is the first failing limit that no baseline set, with its
// checkpoint; nil where there is none.
func (v *view) ownBreach() (checkpoint string, l *gate.AppliedLimit) {
	for i := range v.r.Checkpoints {
		c := &v.r.Checkpoints[i]
		for j := range c.Limits {
			if l := &c.Limits[j]; !l.Within && l.Level != gate.LevelWarn {
				return c.Name, l
			}
		}
	}
	return "", nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
