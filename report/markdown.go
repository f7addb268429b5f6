package report

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/paritygate/paritygate/gate"
)

// MarkdownOptions are what the pull request knows and results.json does not.
// All of them may be empty.
type MarkdownOptions struct {
	Head    string // commit
	GPU     string
	SpecURL string // http(s) address of the spec's file at the head commit; limits link to its lines
	// BaseSpecURL is the file's address at the base commit: limits link there that
	// the base branch's spec sets.
	BaseSpecURL string
	Marker      string // the HTML comment that finds the comment again; "" is Marker
	Budget      int    // characters; 0 is 60,000, at least 20,000
}

// Marker begins every comment, so that the next run finds it.
const Marker = "<!-- paritygate -->"

const (
	defaultBudget = 60_000
	minBudget     = 20_000
	// maxBytes is what GitHub takes, whatever the characters.
	maxBytes = 200_000
	// tableRows is how many checkpoints the comment's table shows.
	tableRows = 20
)

var validMarker = regexp.MustCompile(`^<!-- [0-9A-Za-z_./:= -]{1,100} -->$`)

// Markdown writes the pull request comment. The first screen decides: verdict
// with the worst checkpoint and how far over its limit it is, where it begins,
// the worst checkpoints in a table, and what to do; the rest is folded. Over
// the budget the longest folded parts go first, then all but the first of the
// lists above the table, then rows of the table, and the comment says how many.
// Errors are w's, or a marker, address or budget that is not valid.
func Markdown(w io.Writer, r *gate.Result, o MarkdownOptions) error {
	if o.Marker == "" {
		o.Marker = Marker
	}
	if !validMarker.MatchString(o.Marker) || strings.Contains(o.Marker[4:len(o.Marker)-3], "--") {
		return fmt.Errorf("marker %q: want an HTML comment in one line, as %q", o.Marker, Marker)
	}
	if o.Budget == 0 {
		o.Budget = defaultBudget
	}
	if o.Budget < minBudget {
		return fmt.Errorf("budget of %d characters: want %d at least", o.Budget, minBudget)
	}
	for _, to := range []*string{&o.SpecURL, &o.BaseSpecURL} {
		if err := escapeURL(to); err != nil {
			return err
		}
	}
	c := &comment{v: newView(r), o: o}
	s, err := c.fit()
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, s)
	return err
}

// escapeURL checks the address of a spec, if there is one, and makes it fit for
// Markdown.
func escapeURL(to *string) error {
	if *to == "" {
		return nil
	}
	u, err := url.Parse(*to)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return fmt.Errorf("spec address %q: want an http or https address", *to)
	}
	u.Fragment = ""
	// url.URL leaves these as they are, and Markdown does not.
	*to = strings.NewReplacer("(", "%28", ")", "%29", "*", "%2A", "_", "%5F", "|", "%7C", "'", "%27").Replace(u.String())
	return nil
}

// comment is a comment being written.
type comment struct {
	v *view
	o MarkdownOptions
}

// detail is a folded part.
type detail struct{ title, body string }

// fit writes the comment with as much as the budget takes.
func (c *comment) fit() (string, error) {
	head, rows, todo, details := c.head(5), c.rows(), c.todo(), c.details()
	total := len(rows)
	for dropped, short := 0, false; ; {
		s := c.assemble(head, rows, total, todo, details, dropped)
		if utf8.RuneCountInString(s) <= c.o.Budget && len(s) < maxBytes {
			return s, nil
		}
		switch {
		case len(details) > 0:
			longest := 0
			for i, d := range details {
				if len(d.body) > len(details[longest].body) {
					longest = i
				}
			}
			details = append(details[:longest:longest], details[longest+1:]...)
			dropped++
		case !short:
			head, short = c.head(1), true
		case len(rows) > 0:
			rows = rows[:len(rows)-1]
		default:
			return "", errors.New("the comment's head alone is over its budget")
		}
	}
}

func (c *comment) assemble(head string, rows []string, total int, todo string, details []detail, dropped int) string {
	var b strings.Builder
	b.WriteString(c.o.Marker + "\n" + head)
	if total > 0 {
		if len(rows) > 0 {
			b.WriteString("\n| Layer | Metric | Base | Head | Limit | Delta | Use of limit |\n|---|---|--:|--:|--:|--:|--:|\n")
			b.WriteString(strings.Join(rows, ""))
		}
		if s := c.tableNote(len(rows)); s != "" {
			b.WriteString("\n" + s + "\n")
		}
	}
	b.WriteString(todo)
	for _, d := range details {
		b.WriteString("\n<details><summary>" + d.title + "</summary>\n\n" + strings.Trim(d.body, "\n") + "\n\n</details>\n")
	}
	if dropped > 0 {
		b.WriteString("\n" + plural(dropped, "more part") + " left out for length; the whole is in `results.json`.\n")
	}
	return b.String()
}

// head is everything above the table; its lists have at most most entries.
func (c *comment) head(most int) string {
	v, r := c.v, c.v.r
	icon, word := "⚠️", "incomplete"
	switch r.Outcome {
	case gate.Pass:
		icon, word = "✅", "passes"
	case gate.Fail:
		icon, word = "❌", "fails"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "## %s Parity %s: %s\n\n", icon, word, v.headline(markdown))
	b.WriteString(c.specNote(min(most, shownChanges)))
	b.WriteString(c.subline() + "\n\n")
	counts := "**" + v.statusCounts() + "**"
	if v.counts[gate.Passed] == len(v.rows) && r.Outcome == gate.Pass {
		counts = "" // the headline says it
	}
	b.WriteString(joined(" · ", counts, coverage(r.Coverage), c.flips()) + "\n")
	if r.Outcome == gate.Pass {
		if s := v.nearest(markdown); s != "" {
			b.WriteString("\nClosest" + strings.TrimPrefix(s, "closest") + ".\n")
		}
	}
	if s := c.baseline(); s != "" {
		b.WriteString("\n**Baseline:** " + s + ".\n")
	}
	if s := v.firstDivergence(markdown); s != "" {
		b.WriteString("\n**First divergence:** " + s + "\n")
	}
	if len(r.Diagnosis) > 0 && r.Outcome != gate.Pass {
		b.WriteString("\n**Looks like:** " + v.looksLike(markdown, r.Diagnosis[0]) + ": " + escape(r.Diagnosis[0].Evidence) + "\n")
	}
	if s := oracleLine(markdown, r); s != "" {
		b.WriteString("\n**Oracle:** " + s + ".\n")
	}
	b.WriteString(bullets(slices.Concat(c.reasons(most), v.missing(markdown, most), v.garbageLines(markdown, most), c.warnings(most))))
	return b.String()
}

// reasons are those that the table below does not tell.
func (c *comment) reasons(most int) []string {
	told := map[string]bool{}
	for i := range c.v.r.Checkpoints {
		cp := &c.v.r.Checkpoints[i]
		for _, f := range cp.Findings {
			told[f.Message] = f.Metric != "" && c.v.r.Outcome == gate.Fail
		}
	}
	var list []string
	left := false
	for i, r := range c.v.r.Reasons {
		switch s := escape(r); {
		case told[r]:
			left = true
		case left && moreReasons.MatchString(r), i == 0 && s == c.v.headline(markdown):
		default:
			list = append(list, s)
		}
	}
	return atMost(list, most)
}

// moreReasons counts reasons that are left out; most of them the table tells.
var moreReasons = regexp.MustCompile(`^[0-9]+ more$`)

func (c *comment) warnings(most int) []string {
	var out []string
	for _, s := range c.v.r.Warnings {
		out = append(out, "Note: "+escape(s))
	}
	return atMost(out, most)
}

// bullets writes a list, or nothing.
func bullets(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return "\n- " + strings.Join(list, "\n- ") + "\n"
}

// subline says what was compared with what, in one line.
func (c *comment) subline() string {
	o, r := c.o, c.v.r
	var parts []string
	if o.Head != "" {
		parts = append(parts, "head "+code(prefix(o.Head, 12)))
	}
	parts = append(parts, c.v.baselineAge(markdown))
	for _, e := range []struct{ role, name string }{
		{"candidate", orElse(r.Engines.Candidate.Name, r.Engines.Candidate.Adapter)},
		{"reference", orElse(r.Engines.Reference.Name, r.Engines.Reference.Adapter)},
	} {
		if e.name != "" {
			parts = append(parts, e.role+" "+code(e.name))
		}
	}
	if o.GPU != "" {
		parts = append(parts, markdown.word(o.GPU))
	}
	spec := specLine(markdown, r.Spec)
	if o.SpecURL != "" && r.Spec.Path != "" {
		spec = joined(", ", "["+code(r.Spec.Path)+"]("+o.SpecURL+")", judgedBy(markdown, r.Spec), presetLine(markdown, r.Spec))
	}
	return strings.Join(append(parts, "spec "+spec), " · ")
}

// flips counts the changed top tokens of all prompts.
func (c *comment) flips() string {
	total, noise := 0, 0
	for _, w := range c.v.rows {
		if w.cp.Logits != nil {
			total += w.cp.Logits.FlipsTotal
			noise += w.cp.Logits.FlipsInNoise
		}
	}
	if total == 0 {
		return ""
	}
	return fmt.Sprintf("%s of the top token, %s within the noise", plural(total, "flip"), count(noise))
}

// todo says what to do next, with the command.
func (c *comment) todo() string {
	list := c.v.advice(markdown)
	if len(list) == 0 {
		return ""
	}
	for i, s := range list {
		for _, word := range []string{"Fix:", "Accept:"} {
			if rest, ok := strings.CutPrefix(s, word); ok {
				list[i] = "**" + word + "**" + rest
			}
		}
	}
	return "\n### What to do\n" + bullets(list)
}
