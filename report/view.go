package report

import (
	"math"
	"slices"
	"sort"

	"github.com/paritygate/paritygate/gate"
)

// view is a result put in the order that reports show it.
type view struct {
	r       *gate.Result
	prompts []promptView // worst first
	rows    []row        // all checkpoints, worst first
	counts  map[gate.Status]int
}

// promptView is one prompt with its checkpoints in forward order.
type promptView struct {
	info gate.PromptInfo
	rows []row
}

// row is one checkpoint with what stands worst about it.
type row struct {
	cp *gate.Checkpoint
	// limit is the applied limit that stands worst, or nil without limits.
	limit *gate.AppliedLimit
	// broken is how many metrics are over a limit of that level.
	broken int
	// check is the finding of a built-in check, which has no limit, or nil.
	check *gate.Finding
	// deltas are what the baseline measured here, beside this run.
	deltas []*gate.BaselineDelta
	// severity orders rows first, use second; the larger the worse.
	severity int
	use      float64
}

func newView(r *gate.Result) *view {
	v := &view{r: r, counts: map[gate.Status]int{}}
	at := map[string]int{}
	add := func(p gate.PromptInfo) {
		if _, ok := at[p.Name]; !ok {
			at[p.Name] = len(v.prompts)
			v.prompts = append(v.prompts, promptView{info: p})
		}
	}
	for _, p := range r.Prompts {
		add(p)
	}
	deltas := deltasByPlace(r)
	for i := range r.Checkpoints {
		c := &r.Checkpoints[i]
		add(gate.PromptInfo{Name: c.Prompt})
		p := &v.prompts[at[c.Prompt]]
		p.rows = append(p.rows, newRow(c, deltas[[2]string{c.Prompt, c.Name}]))
		v.counts[c.Status]++
	}
	for i := range v.prompts {
		rows := v.prompts[i].rows
		sort.SliceStable(rows, func(a, b int) bool { return rows[a].cp.Order < rows[b].cp.Order })
		v.rows = append(v.rows, rows...)
	}
	sort.SliceStable(v.rows, func(a, b int) bool { return worse(v.rows[a], v.rows[b]) })
	sort.SliceStable(v.prompts, func(a, b int) bool {
		x, y := v.prompts[a].worst(), v.prompts[b].worst()
		return x != nil && (y == nil || worse(*x, *y))
	})
	return v
}

// worst returns the prompt's worst row, or nil when nothing was compared.
func (p promptView) worst() *row {
	var w *row
	for i := range p.rows {
		if w == nil || worse(p.rows[i], *w) {
			w = &p.rows[i]
		}
	}
	return w
}

// worse says whether a stands worse than b.
func worse(a, b row) bool {
	if a.severity != b.severity {
		return a.severity > b.severity
	}
	return a.use > b.use
}

// beyondLimits says whether what a built-in check found stands worse than the
// row's limit.
func (w row) beyondLimits() bool {
	return w.check != nil && (w.check.Level != "warn" || w.limit == nil || w.limit.Within)
}

func newRow(c *gate.Checkpoint, deltas []*gate.BaselineDelta) row {
	w := row{cp: c, deltas: deltas, severity: severity(c.Status)}
	limits := append(slices.Clone(c.Limits), baselineLimits(c, deltas)...)
	for i := range limits {
		if l := &limits[i]; w.limit == nil || rank(l) > rank(w.limit) ||
			rank(l) == rank(w.limit) && useOf(l) > useOf(w.limit) {
			w.limit = l
		}
	}
	if w.limit != nil {
		w.use = useOf(w.limit)
		for i := range limits {
			if l := &limits[i]; !l.Within && l.Level == w.limit.Level {
				w.broken++
			}
		}
	}
	w.check = builtin(c, limits)
	if w.check != nil && w.check.Level != "warn" {
		// What a built-in check found, as NaN or garbage, is no matter of degree.
		w.use = math.Inf(1)
	}
	return w
}

// builtin returns the worst finding of c that belongs to none of its limits.
func builtin(c *gate.Checkpoint, limits []gate.AppliedLimit) *gate.Finding {
	var worst *gate.Finding
	for i := range c.Findings {
		f := &c.Findings[i]
		if slices.ContainsFunc(limits, func(l gate.AppliedLimit) bool { return !l.Within && l.Metric == f.Metric }) {
			continue
		}
		if worst == nil || worst.Level == "warn" && f.Level != "warn" {
			worst = f
		}
	}
	return worst
}

func severity(s gate.Status) int {
	switch s {
	case gate.Passed:
		return 0
	case gate.Warned:
		return 1
	case gate.Unmeasured:
		return 2
	}
	return 3
}

// rank orders limits: broken before kept, failing before warning.
func rank(l *gate.AppliedLimit) int {
	n := 0
	if !l.Within {
		n = 2
	}
	if l.Level != "warn" {
		n++
	}
	return n
}

// useOf is the limit's use with NaN as the worst.
func useOf(l *gate.AppliedLimit) float64 {
	u := float64(l.Use)
	if math.IsNaN(u) || math.IsNaN(float64(l.Value)) {
		return math.Inf(1)
	}
	return u
}

// several says whether names need their prompt beside them.
func (v *view) several() bool { return len(v.prompts) > 1 }

// find returns the row of a checkpoint, or nil.
func (v *view) find(prompt, checkpoint string) *row {
	for i := range v.rows {
		if c := v.rows[i].cp; c.Prompt == prompt && c.Name == checkpoint {
			return &v.rows[i]
		}
	}
	return nil
}

// pick chooses which rows a table of about budget rows shows: always those that
// fail or were not measured, the one before the first of them, the first and the
// last; then warnings, and then from the start.
func pick(rows []row, budget int) []bool {
	show := make([]bool, len(rows))
	if len(rows) <= budget {
		for i := range show {
			show[i] = true
		}
		return show
	}
	left := budget
	mark := func(i int, always bool) {
		if i >= 0 && i < len(rows) && !show[i] && (always || left > 0) {
			show[i] = true
			left--
		}
	}
	first := -1
	for i, r := range rows {
		if r.severity >= severity(gate.Unmeasured) {
			mark(i, true)
			if first < 0 {
				first = i
			}
		}
	}
	// A jump shows only beside what stands before it.
	for _, i := range []int{first - 1, 0, len(rows) - 1} {
		mark(i, true)
	}
	for _, i := range []int{first + 1, 1, len(rows) - 2} {
		mark(i, false)
	}
	for i, r := range rows {
		if r.severity > 0 {
			mark(i, false)
		}
	}
	for i := range rows {
		mark(i, false)
	}
	return show
}
