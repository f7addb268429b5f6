package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/paritygate/paritygate/gate"
)

// tableLine is one line of a table of checkpoints: a row, or a gap that says
// how many are left out.
type tableLine struct {
	text   string
	status gate.Status // "" for the head and for gaps
}

// marks stand before each row.
var marks = map[gate.Status]string{gate.Passed: "✓", gate.Warned: "!", gate.Failed: "✗", gate.Unmeasured: "?"}

func mark(s gate.Status) string {
	if m, ok := marks[s]; ok {
		return m
	}
	return "?"
}

// statusWord is a status for people.
func statusWord(s gate.Status) string {
	switch s {
	case gate.Unmeasured:
		return "not measured"
	case gate.Warned:
		return "warning"
	case gate.Failed:
		return "failed"
	}
	return string(s)
}

var tableHead = []string{" ", "checkpoint", "rel_l2", "max_abs", "added", "growth", roundingHead, "worst limit", "status"}

// roundingHead is the column that only a comparison beside an oracle has: the
// candidate's error in units of what its precision costs.
const roundingHead = "× rounding"

// The columns by place.
const (
	columnName     = 1
	columnMaxAbs   = 3
	columnAdded    = 4
	columnGrowth   = 5
	columnRounding = 6
	columnStatus   = 8
)

// tableLines lays rows out in forward order: at most about budget of them, but
// always those that fail.
func tableLines(rows []row, budget, width int) []tableLine {
	show := pick(rows, budget)
	cells := [][]string{tableHead}
	for i, r := range rows {
		if show[i] {
			cells = append(cells, tableCells(r))
		}
	}
	widths := columnWidths(cells, width, explained(rows))
	lines := []tableLine{{text: layOut(tableHead, widths)}}
	next := 1
	for i := 0; i < len(rows); i++ {
		if show[i] {
			lines = append(lines, tableLine{layOut(cells[next], widths), rows[i].cp.Status})
			next++
			continue
		}
		from := i
		for i+1 < len(rows) && !show[i+1] {
			i++
		}
		lines = append(lines, tableLine{text: gap(rows[from : i+1])})
	}
	return lines
}

// gap says what is left out.
func gap(rows []row) string {
	warned := 0
	for _, r := range rows {
		if r.cp.Status == gate.Warned {
			warned++
		}
	}
	if warned > 0 {
		return fmt.Sprintf("  … %s more, %s with warnings, none fails", count(len(rows)), count(warned))
	}
	return fmt.Sprintf("  … %s more, within tolerance", count(len(rows)))
}

// explained says whether an oracle was at hand.
func explained(rows []row) bool {
	return slices.ContainsFunc(rows, func(r row) bool { return r.cp.Oracle != nil })
}

// roundingCell is the error that the checkpoint makes by itself; in parentheses
// the whole error, with what was inherited, where its input is not known.
func roundingCell(c *gate.Checkpoint) string {
	if c.Oracle == nil {
		return "–"
	}
	local, whole := float64(c.Oracle.Candidate.LocalRatio), float64(c.Oracle.Candidate.Explained)
	switch {
	case !math.IsNaN(local):
		return digits(local, significant)
	case !math.IsNaN(whole):
		return "(" + digits(whole, significant) + ")"
	}
	return "–"
}

func tableCells(r row) []string {
	c := r.cp
	measured := func(name string) string {
		if v, ok := c.Metrics[name]; ok {
			return amount(name, v)
		}
		return "–"
	}
	growth, limit := "–", "–"
	if c.Growth != nil {
		if growth = digits(float64(c.Growth.Factor), significant); growth == "NaN" {
			growth = "–"
		} else {
			growth += " ×"
		}
	}
	if r.limit != nil {
		limit = plain.name(r.limit.Metric) + " " + used(r.limit)
	}
	return []string{mark(c.Status), plain.name(c.Name), measured("rel_l2"), measured("max_abs"), measured("added"),
		growth, roundingCell(c), limit, string(c.Status)}
}

// narrow lists the columns that are dropped in turn where the terminal is too
// narrow: the mark says the status already.
var narrow = []int{columnStatus, columnGrowth, columnMaxAbs, columnAdded}

// columnWidths fits the columns into width: it drops columns, whose width is −1
// then, and shortens the names. The column of the oracle needs one.
func columnWidths(cells [][]string, width int, oracle bool) []int {
	widths := make([]int, len(tableHead))
	for _, row := range cells {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	total := -3 // no gap after the last column, a small one after the mark
	if !oracle {
		widths[columnRounding] = -1
		total--
	}
	for _, w := range widths {
		total += w + 2
	}
	const shortest = 16
	for _, i := range narrow {
		if total-width <= max(0, widths[columnName]-shortest) {
			break
		}
		total -= widths[i] + 2
		widths[i] = -1
	}
	if over := total - width; over > 0 {
		widths[columnName] = max(shortest, widths[columnName]-over)
	}
	return widths
}

// layOut writes one line: words to the left, numbers to the right.
func layOut(cells []string, widths []int) string {
	var b strings.Builder
	for i, c := range cells {
		if widths[i] < 0 {
			continue
		}
		if n := utf8.RuneCountInString(c); n > widths[i] {
			c = string([]rune(c)[:widths[i]-1]) + "…"
		}
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
		switch i {
		case 0:
			b.WriteString(c + " ")
		case 2, columnMaxAbs, columnAdded, columnGrowth, columnRounding:
			b.WriteString(pad + c + "  ")
		default:
			b.WriteString(c + pad + "  ")
		}
	}
	return strings.TrimRight(b.String(), " ")
}
