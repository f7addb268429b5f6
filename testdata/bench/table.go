package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// report collects lines and prints them as a table in Markdown.
type report struct {
	out    io.Writer
	lines  [][7]string
	missed int
	silent bool // says PASS or MISS of nothing
}

// goal is a bound of a ratio, inclusive.
type goal struct {
	low, high float64 // 0 is no bound
	text      string
}

func atMost(v float64) goal  { return goal{high: v, text: fmt.Sprintf("≤ %g ×", v)} }
func atLeast(v float64) goal { return goal{low: v, text: fmt.Sprintf("≥ %g ×", v)} }

func (g goal) holds(v float64) bool {
	return (g.low == 0 || v >= g.low) && (g.high == 0 || v <= g.high)
}

// ratio adds a line: a measured figure, what it is held against, and their ratio.
func (r *report) ratio(what, measured, against, other string, v float64, g goal) {
	r.add(what, measured, against, other, fmt.Sprintf("%.2f ×", v), g, g.holds(v))
}

// add adds a line with its ratio as text.
func (r *report) add(what, measured, against, other, ratio string, g goal, ok bool) {
	verdict := "PASS"
	switch {
	case r.silent:
		verdict = "not judged"
	case !ok:
		verdict = "MISS"
		r.missed++
	}
	r.lines = append(r.lines, [7]string{what, measured, against, other, ratio, g.text, verdict})
}

// slower holds a time against a shorter one: ratio = time / other.
func (r *report) slower(what string, t time.Duration, against string, other time.Duration, g goal) {
	r.ratio(what, seconds(t), against, seconds(other), float64(t)/float64(other), g)
}

// faster holds a time against a longer one: ratio = other / time.
func (r *report) faster(what string, t time.Duration, against string, other time.Duration, g goal) {
	r.ratio(what, seconds(t), against, seconds(other), float64(other)/float64(t), g)
}

// compare adds a line without a goal: ratio = other / time.
func (r *report) compare(what string, t time.Duration, against string, other time.Duration) {
	r.lines = append(r.lines, [7]string{what, seconds(t), against, seconds(other), fmt.Sprintf("%.2f ×", float64(other)/float64(t)), "", ""})
}

func seconds(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.1f µs", d.Seconds()*1e6)
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func (r *report) print() {
	fmt.Fprintln(r.out, "| what | measured | against | | ratio | goal | |")
	fmt.Fprintln(r.out, "|---|---|---|---|---|---|---|")
	for _, l := range r.lines {
		fmt.Fprintf(r.out, "| %s | %s | %s | %s | %s | %s | %s |\n", l[0], l[1], l[2], l[3], l[4], l[5], l[6])
	}
}

// medians runs every work once to warm up, then all of them in turns, and
// returns each one's median time: what disturbs the machine for a while
// disturbs all alike.
func medians(runs int, works ...func() error) ([]time.Duration, error) {
	times := make([][]time.Duration, len(works))
	for round := range runs + 1 {
		for i, work := range works {
			start := time.Now()
			if err := work(); err != nil {
				return nil, err
			}
			if round > 0 {
				times[i] = append(times[i], time.Since(start))
			}
		}
	}
	out := make([]time.Duration, len(works))
	for i, t := range times {
		slices.Sort(t)
		out[i] = t[len(t)/2]
	}
	return out, nil
}
