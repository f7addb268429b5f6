// Package history holds the test of a repository's life under the gate: thirty
// pull requests of a real candidate, each judged against the baseline of the
// commit that it stands on.
package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/paritygate/paritygate/gate"
)

const (
	share = 0.25 // max_increase of the spec, and so the anchor's
	creep = 1.02 // of the error, a commit
	fused = 7    // number of the pull request whose error somebody approved
	start = 5e-3 // how far the final norm is off there
)

// pull is one pull request, and what is to become of it.
type pull struct {
	title  string
	change func(*source)
	from   string // where it branched off: "v0.1", "main~1" or, left out, main
	merge  string // "merge", "squash", "rebase"; "" leaves it unmerged
	update string // of main after the merge: "kept", "refused", or "" for none
	tag    string // of main after the merge

	approve string // why, if somebody approves what the first run says
	outcome gate.Outcome
	state   gate.BaselineState
	far     int     // commits that the baseline lies before the merge base
	same    int     // checkpoints with the baseline's bits; −1 where that is the processor's choice
	moved   float64 // change of final_norm's rel_l2, as a share of the baseline's
	about   float64 // how far moved may be off
	rule    string  // start of the rule that the first failing finding broke
	why     string  // part of what the report says of the baseline
}

// compared fills in what is so of most pull requests.
func (p pull) compared(same int) pull {
	p.outcome, p.state, p.same, p.update = gate.Pass, gate.BaselineCompared, same, cmp.Or(p.update, "kept")
	return p
}

func readme(text string) func(*source) { return func(s *source) { s.readme += text } }

// norm makes the final norm too large, so that final_norm and logits are off by x.
func norm(x float64) func(*source) { return func(s *source) { s.norm = x } }

// grown makes the error of final_norm times as large as it is where the norm itself
// is off by from; rounding alone makes it sound, and both add up as squares do.
func grown(from, times, sound float64) func(*source) {
	return norm(math.Sqrt(times*times*(from*from+sound*sound) - sound*sound))
}

// stop is the first step of the creep that the anchor does not let through.
var stop = int(math.Floor(math.Log(1+share)/math.Log(creep))) + 1

// early are the first pull requests, in order; they are numbered from 1.
func early() []pull {
	return []pull{
		pull{title: "Say how to build it", change: readme("Build with make.\n"), merge: "merge"}.compared(7),
		pull{title: "Tidy the worker", change: func(s *source) { s.tidy = true }, merge: "squash"}.compared(7),
		pull{title: "Turn flash attention on", change: func(s *source) { s.flash = "on" }, merge: "rebase", about: 0.2}.compared(1),
		pull{title: "Smaller batches", change: func(s *source) { s.ubatch = 64 }, merge: "merge", about: 0.2}.compared(-1),
		{title: "Free the cache early", change: func(s *source) { s.bug = "crash" }, outcome: gate.Incomplete, state: gate.BaselineNone, rule: "the engine measures", why: "measured nothing"},
		{title: "Add an example", change: func(s *source) { s.example = "make run\n" }, from: "v0.1", merge: "merge", outcome: gate.Pass, state: gate.BaselineCompared, same: 7},
	}
}

// late are those after them, with the error of final_norm that the sound engine has.
func late(sound float64) []pull {
	list := []pull{
		{title: "Fuse the final norm", change: norm(start), from: "main~1", merge: "squash", update: "kept", tag: "v0.2", approve: "fused norm, 8 % faster",
			outcome: gate.Fail, state: gate.BaselineCompared, same: 5, moved: 6, about: 1.2, rule: "baseline", why: "the candidate's weights were"},
	}
	hows := []string{"merge", "squash", "rebase"}
	for n := 1; n < stop; n++ {
		p := pull{title: fmt.Sprintf("Speed the norm up, part %d", n), change: grown(start, math.Pow(creep, float64(n)), sound), merge: hows[n%3], moved: creep - 1, about: 1e-3}.compared(5)
		if n == stop-1 {
			p.tag = "v0.3"
		}
		list = append(list, p)
	}
	return append(list,
		pull{title: fmt.Sprintf("Speed the norm up, part %d", stop), change: grown(start, math.Pow(creep, float64(stop)), sound),
			outcome: gate.Fail, state: gate.BaselineCompared, same: 5, moved: creep - 1, about: 1e-3, rule: "baseline anchor: rel_l2 <= +25%"},
		pull{title: "Group the key heads", change: func(s *source) { s.bug = "heads" }, merge: "squash", update: "refused",
			outcome: gate.Fail, state: gate.BaselineCompared, same: 2, moved: 300, about: 250, rule: "*: rel_l2 <= 0.1"},
		pull{title: "Mention the key heads", change: readme("Key heads are grouped.\n"), merge: "squash", update: "refused", tag: "v0.4",
			outcome: gate.Fail, state: gate.BaselineCompared, far: 1, same: 2, moved: 300, about: 250, rule: "*: rel_l2 <= 0.1", why: "one commit before"},
		pull{title: "Group the key heads right", change: func(s *source) { s.bug = "none" }, merge: "rebase", far: 2, why: "2 commits before"}.compared(7),
		pull{title: "Do not fuse the final norm", change: norm(0), merge: "squash", moved: -0.88, about: 0.03}.compared(5),
		pull{title: "Fuse it again", change: norm(start), outcome: gate.Fail, state: gate.BaselineCompared, same: 5, moved: 6, about: 1.2, rule: "baseline: rel_l2 <= +25%"},
		pull{title: "Keep improvements", change: func(s *source) { s.ratchet = true }, merge: "merge"}.compared(7),
		pull{title: "Approximate the norm", change: grown(0, 1.14, sound), merge: "squash", moved: 0.135, about: 0.02}.compared(5),
		pull{title: "Approximate it further", change: grown(0, 1.14*1.14, sound), outcome: gate.Fail, state: gate.BaselineCompared, same: 5, moved: 0.285, about: 0.03, rule: "baseline: rel_l2 <= +25%"},
		pull{title: "Quantize the KV cache", change: func(s *source) { s.kv = "q8_0" }, merge: "squash", update: "kept", approve: "half the memory",
			outcome: gate.Incomplete, state: gate.BaselineIncomparable, rule: gate.RuleBaselineRequired, why: "precision"},
		pull{title: "Another prompt", change: func(s *source) { s.prompt = "def main(argv):\n    " }, merge: "merge", update: "kept",
			outcome: gate.Incomplete, state: gate.BaselineNone, rule: gate.RuleBaselineRequired, why: "prompts"},
		pull{title: "Revert both", change: func(s *source) { s.kv, s.prompt = "f16", prompt }, merge: "rebase", far: 2, why: "2 commits before", moved: 0.135, about: 0.02}.compared(7),
	)
}

// life is the repository as it grows.
type life struct {
	*repository
	t     *testing.T
	main  source
	first source         // of v0.1
	last  source         // of main before the last merge
	by    map[int]string // commits on main by pull request
	rows  []string       // of the table
	// approved is the commit that was approved in pull request fused.
	approved string
}

// Thirty pull requests of llama.cpp with settings and planted mistakes as its
// source, each through the gate, merged in every way that GitHub knows.
func TestEnginesHistory(t *testing.T) {
	first := source{settings: settings{flash: "off", kv: "f16", ubatch: 512, bug: "none"}, readme: "A worker.\n\nTo come.\n", prompt: prompt}
	l := &life{repository: newRepository(t), t: t, main: first, first: first, by: map[int]string{}}
	l.commit(first, "First")
	l.git("tag", "v0.1")
	if code, _, stderr := l.paritygate("baseline", "update", l.spec()); code != 0 || !strings.Contains(stderr, "is its own anchor") {
		t.Fatalf("the first update: exit %d\n%s", code, stderr)
	}
	var r *gate.Result
	for _, p := range early() {
		r = l.pull(p)
	}
	for _, p := range late(finalNorm(r)) {
		l.pull(p)
	}
	if len(l.rows) != 30 {
		t.Errorf("%d pull requests, want 30: the anchor stops the creep at step %d", len(l.rows), stop)
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "pull\ttitle\toutcome\tbaseline\tback\tsame bits\tfinal_norm rel_l2\tapproved\tmerged\tmain's baseline")
	fmt.Fprintln(w, strings.Join(l.rows, "\n"))
	w.Flush()
	t.Logf("\n%s", &b)
	if code, stdout, stderr := l.paritygate("baseline", "verify", "--spec", l.spec()); code != 0 {
		t.Errorf("verify: exit %d\n%s%s", code, stdout, stderr)
	}
	l.documented()
	l.bisect()
}

// pull opens a pull request, gates it, and does with it what p says.
func (l *life) pull(p pull) *gate.Result {
	t := l.t
	t.Helper()
	number := len(l.rows) + 1
	branch := fmt.Sprintf("change-%d", number)
	from := cmp.Or(p.from, "main")
	src := map[string]source{"main": l.main, "main~1": l.last, "v0.1": l.first}[from]
	l.git("checkout", "--quiet", "-b", branch, from)
	p.change(&src)
	l.by[number] = l.commit(src, p.title)
	code, r := l.run()
	l.check(number, p, from, code, r)
	row := []any{number, p.title, r.Outcome, r.Baseline.State, back(r), same(r), change(r), "", cmp.Or(p.merge, "no"), "as before"}
	if p.approve != "" {
		if number == fused {
			l.approved = l.by[number]
		}
		l.approve(number, p.approve, r)
		row[7] = "yes"
	}
	switch {
	case p.merge != "":
		l.last = l.main
		p.change(&l.main)
		l.merge(p.merge, branch, number, p.title)
		l.is(l.main)
		if p.merge != "merge" { // else the branch's own commit is in main's history
			l.by[number] = l.git("rev-parse", "HEAD")
		}
		if p.tag != "" {
			l.git("tag", p.tag)
		}
		if p.update != "" {
			row[9] = l.update(number, p)
		}
	default:
		l.refused(number, r.Outcome) // somebody tries all the same
		l.git("checkout", "--quiet", "main")
		l.git("branch", "--quiet", "-D", branch)
	}
	for i, cell := range row {
		row[i] = fmt.Sprint(cell)
	}
	l.rows = append(l.rows, strings.Trim(strings.ReplaceAll(fmt.Sprintf("%q", row), `" "`, "\t"), `["]`))
	return r
}

// check holds the report of a pull request's first run, off the branch from, against
// what p says.
func (l *life) check(number int, p pull, from string, code int, r *gate.Result) {
	l.t.Helper()
	b := r.Baseline
	errorf := func(format string, args ...any) {
		l.t.Helper()
		l.t.Errorf("%d %s: %s", number, p.title, fmt.Sprintf(format, args...))
	}
	if r.Outcome != p.outcome || code != p.outcome.ExitCode() {
		errorf("%v with exit code %d, want %v: %v", r.Outcome, code, p.outcome, r.Reasons)
	}
	if b.State != p.state || !strings.Contains(b.Why, p.why) {
		errorf("baseline %s (%s), want %s (%s)", b.State, b.Why, p.state, p.why)
	}
	if rule := broken(r); !strings.HasPrefix(rule, p.rule) || p.rule == "" && rule != "" {
		errorf("broke %q, want %q", rule, p.rule)
	}
	if got := moved(r); !(math.Abs(got-p.moved) <= p.about) {
		errorf("final_norm changed by %.4f, want %.4f ± %.4f", got, p.moved, p.about)
	}
	if b.State != gate.BaselineCompared {
		return
	}
	if want := l.git("rev-parse", fmt.Sprintf("%s~%d", from, p.far)); b.Distance != p.far || b.Commit != want {
		errorf("held against %s, %d back; want %s, %d back", b.Commit, b.Distance, want, p.far)
	}
	if b.BitIdentical.Of != 7 || p.same >= 0 && b.BitIdentical.Same != p.same {
		errorf("%+v have the same bits, want %d of 7", b.BitIdentical, p.same)
	}
	by, commit := "", l.git("rev-parse", "v0.1")
	if number > fused {
		by, commit = "reviewer", l.approved
	}
	if b.Anchor.ApprovedBy != by || b.Anchor.Commit != commit {
		errorf("the anchor is %+v, want %s by %q", b.Anchor, commit, by)
	}
}

// broken is the rule of the first finding that does not let the run pass.
func broken(r *gate.Result) string {
	for _, c := range r.Checkpoints {
		for _, f := range c.Findings {
			if f.Level == gate.LevelFail {
				return f.Rule
			}
		}
	}
	for _, f := range r.Findings {
		if f.Level != gate.LevelWarn {
			return f.Rule
		}
	}
	return ""
}

// moved is how much the rel_l2 of final_norm changed, as a share of the baseline's.
func moved(r *gate.Result) float64 {
	for _, d := range r.Baseline.Deltas {
		if d.Metric == "rel_l2" && d.Checkpoint == "final_norm" {
			return float64(d.Share)
		}
	}
	return 0
}

// finalNorm is its error.
func finalNorm(r *gate.Result) float64 {
	i := slices.IndexFunc(r.Checkpoints, func(c gate.Checkpoint) bool { return c.Name == "final_norm" })
	return float64(r.Checkpoints[i].Metrics["rel_l2"])
}

func change(r *gate.Result) string {
	if r.Baseline.State != gate.BaselineCompared {
		return "–"
	}
	return fmt.Sprintf("%+.3g %%", 100*moved(r))
}

func back(r *gate.Result) string {
	if r.Baseline.State != gate.BaselineCompared {
		return "–"
	}
	return fmt.Sprint(r.Baseline.Distance)
}

func same(r *gate.Result) string {
	if r.Baseline.State != gate.BaselineCompared {
		return "–"
	}
	return fmt.Sprintf("%d of %d", r.Baseline.BitIdentical.Same, r.Baseline.BitIdentical.Of)
}

// approve accepts the run by the digest that its report shows: the next run passes.
func (l *life) approve(number int, why string, r *gate.Result) {
	t := l.t
	t.Helper()
	code, _, stderr := l.paritygate("baseline", "approve", r.Baseline.Proposed[:16], "--spec", l.spec(), "--from", l.out, "--by", "reviewer", "--pull", fmt.Sprint(number), "--reason", why)
	if code != 0 {
		t.Fatalf("%d: approve exits %d\n%s", number, code, stderr)
	}
	code, r = l.run()
	b := r.Baseline
	if code != 0 || b.State != gate.BaselineCompared || b.Distance != -1 || b.BitIdentical.Same != 7 || !strings.Contains(b.Why, "approved for this change") {
		t.Errorf("%d after approval: exit %d, %s at %d (%s), %v", number, code, b.State, b.Distance, b.Why, b.BitIdentical)
	}
	if a := b.Anchor; a == nil || a.ApprovedBy != "reviewer" || a.Reason != why {
		t.Errorf("%d after approval: the anchor is %+v", number, a)
	}
}

// update refreshes main's baseline after a merge, and says what became of it.
func (l *life) update(number int, p pull) string {
	t := l.t
	t.Helper()
	if p.update == "refused" {
		l.refused(number, gate.Fail)
		return "refused"
	}
	if p.approve != "" { // it counts for what stands on main from the merge on, however that was done
		l.git("checkout", "--quiet", "-b", "next")
		l.git("commit", "--quiet", "--allow-empty", "--message", "Next")
		code, r := l.run()
		if b := r.Baseline; code != 0 || b.Distance != 0 || b.BitIdentical.Same != 7 || !strings.Contains(b.Why, "approved, and merged by") {
			t.Errorf("%d after its merge: exit %d, %s at %d (%s), %+v", number, code, b.State, b.Distance, b.Why, b.BitIdentical)
		}
		l.git("checkout", "--quiet", "main")
		l.git("branch", "--quiet", "-D", "next")
	}
	code, _, stderr := l.paritygate("baseline", "update", l.spec())
	if code != 0 || !strings.Contains(stderr, "kept the baseline of "+l.git("rev-parse", "HEAD")[:12]) {
		t.Fatalf("%d: update exits %d\n%s", number, code, stderr)
	}
	switch byApproval := strings.Contains(stderr, "reviewer"); {
	case (p.approve != "") != byApproval:
		t.Errorf("%d: whether the update follows an approval is %v: %s", number, byApproval, stderr)
	case byApproval:
		return "kept, approved"
	case strings.Contains(stderr, "its own anchor"):
		return "kept, begun anew"
	}
	return "kept"
}

// refused tries to keep what is checked out: nothing is stored.
func (l *life) refused(number int, outcome gate.Outcome) {
	l.t.Helper()
	before := l.stored()
	code, _, stderr := l.paritygate("baseline", "update", l.spec())
	if want := outcome.ExitCode(); code != want || !strings.Contains(stderr, "nothing was kept") || l.stored() != before {
		l.t.Errorf("%d: an update exits %d, want %d; the store went from %s to %s\n%s", number, code, want, before, l.stored(), stderr)
	}
}
