package report

import (
	"fmt"

	"github.com/paritygate/paritygate/gate"
)

// approvalDigits is how much of a spec's digest approves it, as it is shown.
const approvalDigits = 12

// weakens says that a change needs an approval: it may let more pass.
func weakens(c gate.SpecChange) bool { return c.Effect != "tightened" }

// weakened counts the changes that need an approval, and those of them that are
// known to let more pass.
func weakened(s gate.SpecInfo) (all, loosened int) {
	for _, c := range s.Changes {
		if weakens(c) {
			all++
		}
		if c.Effect == "loosened" {
			loosened++
		}
	}
	return all, loosened
}

// specTitle says what the change did to the spec and which one judged; "" when it
// did nothing.
func specTitle(s gate.SpecInfo) string {
	all, loosened := weakened(s)
	did := "tightened"
	switch {
	case len(s.Changes) == 0:
		return ""
	case loosened > 0:
		did = "loosened"
	case all > 0:
		did = "changed"
	}
	switch {
	case s.Approved:
		return "The spec was " + did + " by this change, and that was approved"
	case did == "tightened":
		return "The spec was tightened by this change"
	}
	return "The spec was " + did + " by this change and judged by the base branch's"
}

// specChange says what became of one rule; place is where it stands.
func specChange(say voice, c gate.SpecChange, place string) string {
	value := func(s string) string {
		if s == "" {
			return "none"
		}
		return say.name(s)
	}
	s := fmt.Sprintf("%s %s: %s → %s", say.word(c.Effect), say.name(c.What), value(c.From), value(c.To))
	if place != "" {
		s += " (" + place + ")"
	}
	return s
}

// approval says how the change's own spec is accepted, "" where there is nothing to
// accept, or it was.
func approval(say voice, s gate.SpecInfo) string {
	if all, _ := weakened(s); all == 0 || s.Approved || s.Digest == "" {
		return ""
	}
	digits := prefix(s.Digest, approvalDigits)
	return fmt.Sprintf("a maintainer accepts this state of it with %s for the Action, %s for paritygate run",
		say.name("approve-spec: "+digits), say.name("--approve-spec "+digits))
}

// specLines is the terminal's list: what needs an approval first.
func (t *text) specLines() {
	s := t.v.r.Spec
	title := specTitle(s)
	if title == "" {
		return
	}
	var list []string
	for _, c := range s.Changes {
		place := ""
		if c.Line > 0 {
			place = source(plain, s.Path, c.Line)
		}
		list = append(list, specChange(plain, c, place))
	}
	list = atMost(list, t.most(6))
	if how := approval(plain, s); how != "" {
		list = append(list, how)
	}
	t.lines(title, list)
}

// specNote is the comment's list, right below the headline: what may let more
// pass, at most most of it. What is left out is folded.
func (c *comment) specNote(most int) string {
	s := c.v.r.Spec
	if all, _ := weakened(s); all == 0 {
		return ""
	}
	out := "**" + specTitle(s) + "**:\n" + bullets(atMost(c.specChanges(weakens), most))
	if how := approval(markdown, s); how != "" {
		out += "\nIt takes effect when it is merged; before that, " + how + ".\n"
	}
	return out + "\n"
}

// specChanges are the lines of the changes that are wanted, linked to the own spec.
func (c *comment) specChanges(want func(gate.SpecChange) bool) []string {
	var out []string
	for _, change := range c.v.r.Spec.Changes {
		if want(change) {
			out = append(out, specChange(markdown, change, lineLink(change.Line, c.o.SpecURL)))
		}
	}
	return out
}

// shownChanges is how many changes of the spec stand below the headline.
const shownChanges = 5

// foldedChanges are all changes, where not all stand below the headline.
func (c *comment) foldedChanges() string {
	s := c.v.r.Spec
	if all, _ := weakened(s); all == len(s.Changes) && all <= shownChanges {
		return ""
	}
	return bullets(atMost(c.specChanges(func(gate.SpecChange) bool { return true }), 100))
}

// lineLink names a line of a file, linked where the file has an address.
func lineLink(line int, url string) string {
	switch {
	case line <= 0:
		return ""
	case url == "":
		return fmt.Sprintf("L%d", line)
	}
	return fmt.Sprintf("[L%d](%s#L%d)", line, url, line)
}

// byBase says that a limit is the base branch's, whose lines are not the head's.
func byBase(s gate.SpecInfo, l *gate.AppliedLimit) bool {
	return s.JudgedBy != "" && l.Source != s.Path
}
