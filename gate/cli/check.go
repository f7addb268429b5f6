package cli

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/spec"
)

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [SPEC]",
		Short: "Validate a spec without running anything",
		Long: `Validates a spec (parity.yaml if none is given) and the prompt files that it
names, and prints what was understood: engines, prompts, and the limits that
hold for each class of checkpoints. Nothing is run, and engines, models and
libraries need not be there; the weights of builtin engines and of the oracle
are opened where they are.

Exits 2 with every mistake, each with its file, line and column.`,
		Example: `  paritygate check
  paritygate check ci/nightly.yaml`,
		Args:              rangeArgs(0, "SPEC"),
		ValidArgsFunction: completeFiles("yaml", "yml"),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := loadSpec(specArg(args))
			if err != nil {
				return err
			}
			models, err := checkPrecision(s)
			if err != nil {
				return err
			}
			return a.write([]byte(understood(s, models)))
		},
	}
}

// understood says in a few lines what a spec means.
func understood(s *spec.Spec, models models) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is valid\n", s.Path)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(key, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", key, fmt.Sprintf(format, args...))
	}
	if s.Model.Path != "" {
		line("model", "%s", models.describe(s.Model.Path))
	}
	if s.Oracle != nil {
		line("oracle", "%s", models.describe(s.Oracle.Model))
	}
	engines := 0
	engine := func(role string, e spec.Engine) {
		if e.Adapter != "" {
			engines++
			text := describeEngine(e)
			if e.Adapter == "builtin" && e.Model != "" {
				text += ", " + models.describe(e.Model)
			}
			line(role, "%s", text)
		}
	}
	engine("reference", s.Engines.Reference)
	engine("candidate", s.Engines.Candidate)
	for _, name := range slices.Sorted(maps.Keys(s.Engines.Witnesses)) {
		engine("witness "+printable(name), s.Engines.Witnesses[name])
	}
	if engines == 0 {
		line("engines", "none: for compare and judge only")
	}
	if len(s.Prompts) == 0 {
		line("prompts", "none")
	}
	for i, p := range s.Prompts {
		line([]string{"prompts", ""}[min(i, 1)], "%s", describePrompt(p))
	}
	if r := describeRequire(s.Require); r != "" {
		line("require", "%s", r)
	}
	if len(s.Skip.Positions) > 0 {
		line("skip", "positions %s", ranges(s.Skip.Positions))
	}
	if len(s.Skip.Elements) > 0 {
		line("skip", "elements %s", ranges(s.Skip.Elements))
	}
	g := s.Garbage
	line("garbage", "above %s; reference %s, candidate %s", number(g.Above), g.Reference, g.Candidate)
	preset := s.Tolerances.Preset
	if preset == "" {
		preset = "chosen from what the traces say of their precision"
	}
	line("preset", "%s", preset)
	line("rules", "%d", len(s.Tolerances.Rules))
	w.Flush() // a strings.Builder takes everything
	b.WriteString(limitTable(s))
	return b.String()
}

func describeEngine(e spec.Engine) string {
	parts := []string{e.Adapter}
	if e.Adapter == "llamacpp" && e.Mode != "" {
		parts = append(parts, e.Mode)
	}
	if len(e.Command) > 0 {
		words := append([]string{shownProgram(e.Command[0])}, e.Command[1:]...)
		parts = append(parts, printable(strings.Join(words, " ")))
	}
	for _, p := range []string{e.Library, e.Path} {
		if p != "" {
			parts = append(parts, shownPath(p))
		}
	}
	s := strings.Join(parts, " ")
	if e.Adapter != "trace" {
		s += ", at most " + duration(e.Timeout)
	}
	switch {
	case e.Precision != nil:
		s += ", computes in " + precisionText(e.Precision)
	case e.Adapter == "builtin":
		s += ", computes in f64"
	}
	if n := len(e.Names); n > 0 {
		s += ", " + plural(n, "name rule")
	}
	return s
}

func describePrompt(p spec.Prompt) string {
	s := printable(p.Name) + ": "
	switch {
	case len(p.Tokens) > 0:
		s += plural(len(p.Tokens), "token")
	case p.File != "":
		s += fmt.Sprintf("%d bytes of %s", len(p.Text), shownPath(p.File))
	default:
		s += fmt.Sprintf("%d bytes of text", len(p.Text))
	}
	if p.Generate > 0 {
		s += ", and " + plural(p.Generate, "generated token")
	}
	return s
}

func describeRequire(r spec.Require) string {
	var parts []string
	if len(r.Checkpoints) > 0 {
		parts = append(parts, strings.Join(r.Checkpoints, ", "))
	}
	if r.MinPositions > 0 {
		parts = append(parts, "at least "+plural(r.MinPositions, "position"))
	}
	return strings.Join(parts, "; ")
}

// limitTable lists what holds for each class of checkpoints: the usual ones,
// and every glob of a rule by itself.
func limitTable(s *spec.Spec) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	// The first layer stands for all of them; rules for some layers only are
	// listed below by their glob.
	classes := []struct{ title, name string }{
		{"embedding", "embedding"}, {"layer_*_output", "layer_0_output"},
		{"final_norm", "final_norm"}, {"logits", "logits"},
	}
	shown := map[string]bool{"*": true}
	for _, c := range classes {
		shown[c.title] = true
		limits := s.LimitsFor(c.name, s.Tolerances.Preset)
		if len(limits) == 0 {
			continue
		}
		for i, l := range limits {
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", []string{c.title, ""}[min(i, 1)], l.Level, applied(l), l.Place())
		}
	}
	for _, r := range s.Tolerances.Rules {
		if shown[r.Checkpoint] {
			continue
		}
		for i, l := range r.Limits {
			ruleLine(w, r, l, "fail", i == 0)
		}
		for i, l := range r.Warn {
			ruleLine(w, r, l, "warn", i == 0 && len(r.Limits) == 0)
		}
	}
	w.Flush()
	if b.Len() == 0 {
		return "limits: those of the preset that is chosen\n"
	}
	head := "limits:\n"
	if s.Tolerances.Preset == "" {
		head = "limits, besides those of the preset that is chosen:\n"
	}
	return head + b.String()
}

func ruleLine(w *tabwriter.Writer, r spec.Rule, l spec.Limit, level string, first bool) {
	title := ""
	if first {
		title = printable(r.Checkpoint)
	}
	what := condition(l.Metric, l.Value)
	if l.Off {
		what = l.Metric + " off"
	}
	fmt.Fprintf(w, "  %s\t%s\t%s\t%s:%d\n", title, level, what, r.Source, l.Line)
}

// applied is what must hold; a preset's limit may be a multiple of what rounding
// explains at the checkpoint.
func applied(l spec.Applied) string {
	if l.Unit > 0 {
		return l.Metric + " <= " + number(l.Value) + " × rounding"
	}
	return condition(l.Metric, l.Value)
}

// condition is "rel_l2 <= 1%".
func condition(name string, limit float64) string {
	op, value := "<=", number(limit)
	if i, ok := metric.Lookup(name); ok {
		if i.Direction == metric.HigherIsBetter {
			op = ">="
		}
		if i.Percent {
			value = percent(limit)
		}
	}
	return name + " " + op + " " + value
}

// shownPath writes a path below the working directory as it is from there: a
// spec's paths are absolute once it is read.
func shownPath(path string) string {
	if wd, err := os.Getwd(); err == nil && filepath.IsAbs(path) {
		if rel, err := filepath.Rel(wd, path); err == nil && filepath.IsLocal(rel) {
			path = rel
		}
	}
	return printable(path)
}

// shownProgram keeps a program of this folder apart from one of the PATH.
func shownProgram(path string) string {
	if shown := shownPath(path); filepath.IsAbs(path) && !filepath.IsAbs(shown) {
		return "./" + shown
	}
	return printable(path)
}

// number writes 1e10 and 0.001 as people do.
func number(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	return strings.NewReplacer("e+0", "e", "e+", "e", "e-0", "e-").Replace(s)
}

// duration writes 10m0s as 10m.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// percent writes shares without the noise of binary fractions: 0.07 is 7%.
func percent(v float64) string { return strconv.FormatFloat(v*100, 'g', 12, 64) + "%" }
