package gate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/paritygate/paritygate/gate/engine"
)

// YAML is the calibration as a spec that holds its rules, with the evidence in
// comments. The same calibration gives the same bytes.
func (c *Calibration) YAML() []byte {
	var b bytes.Buffer
	comment := func(format string, args ...any) { fmt.Fprintf(&b, "# %s\n", oneLine(fmt.Sprintf(format, args...))) }
	comment("Tolerances that paritygate calibrate measured: %s × the largest noise seen, rounded up to two digits.", short(c.Margin))
	if c.Floor > 0 {
		comment("No limit is below %s (kl: %s), unless a bug would pass it.", short(c.Floor), short(c.Floor*c.Floor))
	}
	comment("They hold for the %s against %s.", c.Name, c.Against)
	b.WriteString("#\n")
	c.evidence(&b)
	b.WriteString("version: 1\ntolerances:\n  rules:\n")
	for i, l := range c.Limits {
		if i == 0 || c.Limits[i-1].Rule != l.Rule {
			fmt.Fprintf(&b, "    - checkpoint: %s\n", scalar(l.Rule))
		}
		name, value := l.Metric, number64(l.Limit)
		if group, stat, several := strings.Cut(name, "."); several {
			name, value = group, fmt.Sprintf("{%s: %s}", stat, value)
		}
		fmt.Fprintf(&b, "      %s: %s # %s\n", name, value, oneLine(l.why()))
	}
	return b.Bytes()
}

// evidence is what the limits rest on, as comments.
func (c *Calibration) evidence(b *bytes.Buffer) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	row := func(format string, args ...any) { fmt.Fprintf(w, "# %s\n", cells(format, args...)) }
	e := c.Engine
	row("engine\t%s", joined(", ", e.Name, e.Version, e.ComputeDType, e.Device))
	if e.Model != "" {
		row("model\t%s", joined(", SHA-256 ", e.Model, e.WeightsSHA256))
	}
	for _, p := range c.Prompts {
		row("prompt\t%s, %d tokens", p.Name, p.Tokens)
	}
	for _, v := range c.Variants {
		row("noise\t%s\t%s", v.title(), v.noise())
	}
	for _, t := range c.Bugs {
		row("bug\t%s\t%s", t.Name, t.verdict())
	}
	w.Flush() // a bytes.Buffer takes everything
	if c.NoBugs != "" {
		fmt.Fprintf(b, "# No bug was tried: %s.\n", oneLine(c.NoBugs))
	} else {
		fmt.Fprintf(b, "# Bugs were planted in an emulation of the engine (%s). Each line shows where the bug is clearest beside the noise.\n", oneLine(c.Profile))
	}
	for _, s := range c.Warnings {
		fmt.Fprintf(b, "# warning: %s\n", oneLine(s))
	}
}

// Text is the calibration as a table for people.
func (c *Calibration) Text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s against %s: %s\n\n", c.Name, oneLine(c.Against), joined(", ", c.Engine.Name, c.Engine.Version, c.Engine.ComputeDType, c.Engine.Device))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(format string, args ...any) { fmt.Fprintln(w, cells(format, args...)) }
	row("VARIANT\tLARGEST DIFFERENCE")
	for _, v := range c.Variants {
		row("%s\t%s", v.title(), v.noise())
	}
	fmt.Fprintln(w)
	row("RULE\tMETRIC\tNOISE\tLIMIT\tWHERE")
	for _, l := range c.Limits {
		row("%s\t%s\t%s\t%s\t%s", l.Rule, l.Metric, short(l.Noise.Value), short(l.Limit), l.where())
	}
	w.Flush() // a bytes.Buffer takes everything
	b.WriteString("\n")
	if c.NoBugs != "" {
		fmt.Fprintf(&b, "No bug was tried: %s.\n", oneLine(c.NoBugs))
	} else {
		row("BUG\tUNDER THESE RULES")
		for _, t := range c.Bugs {
			row("%s\t%s", t.Name, t.verdict())
		}
		w.Flush()
	}
	for _, s := range c.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", oneLine(s))
	}
	return b.Bytes()
}

func (v CalibratedVariant) title() string {
	if v.Runs == 1 {
		return v.Name
	}
	return fmt.Sprintf("%s, %d times", v.Name, v.Runs)
}

func (v CalibratedVariant) noise() string {
	if v.Identical {
		return "bit-identical"
	}
	return fmt.Sprintf("rel_l2 up to %s at %s, prompt %s", short(v.Largest.Value), v.Largest.Checkpoint, v.Largest.Prompt)
}

// verdict says what the rules make of a bug.
func (t TriedBug) verdict() string {
	at := fmt.Sprintf("%s %s %s, noise %s, limit %s", t.Checkpoint, t.Metric, short(t.Effect), short(t.Noise), short(t.Limit))
	switch {
	case t.Impossible != "":
		return "cannot be planted: " + t.Impossible
	case t.Fails && t.Tightened:
		return "fails: " + at + ", tightened for it"
	case t.Fails:
		return "fails: " + at
	case t.Checkpoint == "":
		return "passes: it changes nothing that was captured"
	}
	return "passes: it is below the engine's noise: " + at
}

// why is the evidence of one limit.
func (l CalibratedLimit) why() string {
	s := "bit-identical"
	if l.Noise.Value > 0 {
		s = fmt.Sprintf("noise %s: %s", short(l.Noise.Value), l.where())
	} else if l.Limit > 0 {
		s = "no noise"
	}
	if l.Bug != "" {
		s += "; tightened for the bug " + l.Bug
	}
	return s
}

func (l CalibratedLimit) where() string {
	if l.Noise.Checkpoint == "" {
		return ""
	}
	return fmt.Sprintf("%s at %s, prompt %s", l.Noise.Variant, l.Noise.Checkpoint, l.Noise.Prompt)
}

// number64 is a value that reads back as itself.
func number64(v Value) string { return strconv.FormatFloat(float64(v), 'g', -1, 64) }

// short is a value of three digits, for people.
func short(v Value) string {
	if math.IsInf(float64(v), 1) {
		return "infinite"
	}
	return strconv.FormatFloat(float64(v), 'g', 3, 64)
}

var plainScalar = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.*/-]*$`)

// scalar is text as YAML reads it back.
func scalar(s string) string {
	if plainScalar.MatchString(s) && s != "true" && s != "false" && s != "null" {
		return s
	}
	b, _ := json.Marshal(s) // text always marshals
	return string(b)
}

// oneLine is text that cannot end a comment.
func oneLine(s string) string { return strings.Join(strings.Fields(engine.Sanitize(s)), " ") }

// cells formats cells, whose own text cannot end a cell or a line.
func cells(format string, args ...any) string {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = oneLine(s)
		}
	}
	return fmt.Sprintf(format, args...)
}

// joined puts what is not empty together.
func joined(separator string, parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, separator)
}
