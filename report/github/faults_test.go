package github

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report/github/githubtest"
)

// trial is one run against an API with random faults.
type trial struct {
	seed    uint64
	class   string
	faults  []githubtest.Fault
	share   float64 // of requests that meet one
	stop    int     // faults, after which the API is well again; −1 for never
	certain bool    // the API recovers in time: everything must be published
}

// trials are 200: faults that end soon, that end at some time, that never end,
// and refusals among them.
func trials() []trial {
	// Limits that say how long to wait, and faults whose waits begin at a second.
	var short []githubtest.Fault
	for _, f := range githubtest.Faults() {
		if !(f.Status == http.StatusForbidden || f.Status == http.StatusTooManyRequests) || f.Header.Get("Retry-After") != "" || f.Reset > 0 {
			short = append(short, f)
		}
	}
	any := append(githubtest.Faults(), githubtest.Slow(200*time.Millisecond)) // longer than a try may take
	var list []trial
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		t := trial{seed: seed, share: 0.2 + 0.8*rng.Float64()}
		switch {
		case seed < 100:
			t.class, t.faults, t.stop, t.certain = "ends soon", short, rng.IntN(6), true
		case seed < 150:
			t.class, t.faults, t.stop = "ends some time", any, rng.IntN(60)
		case seed < 175:
			t.class, t.faults, t.stop = "never ends", any, -1
		default:
			t.class, t.faults, t.stop = "refusals", append(githubtest.Refusals(), any...), rng.IntN(20)
		}
		list = append(list, t)
	}
	return list
}

// inject lets requests fail as the trial says, and counts the faults by name.
func (tr trial) inject(w *world, count map[string]int) {
	rng := rand.New(rand.NewPCG(tr.seed, 2))
	met := 0
	w.srv.Choose(func(*http.Request, int) *githubtest.Fault {
		if tr.stop >= 0 && met >= tr.stop || rng.Float64() >= tr.share {
			return nil
		}
		met++
		f := tr.faults[rng.IntN(len(tr.faults))]
		count[f.Name]++
		return &f
	})
}

// prepare puts the pull request into a state that an earlier run left, and says
// whether the next may have to make a comment.
func (tr trial) prepare(w *world) (creates bool) {
	switch tr.seed % 4 {
	case 1:
		w.publish(passes())
		w.push()
		return false
	case 2:
		w.publish(passes())
		w.push()
		w.s.NewOnFlip = true
	case 3:
		for range 2 {
			w.repo.AddComment(githubtest.Comment{Issue: w.pr.Number, Author: githubtest.User{Login: "github-actions[bot]"}, Body: marker("paritygate")})
		}
		return false
	}
	return true
}

// TestRandomFaults: whatever the API does, there is one comment, never two; the
// result stays; what could not be published is named, and the next run puts all
// of it right.
func TestRandomFaults(t *testing.T) {
	results := []func() *gate.Result{func() *gate.Result { return failsAt(2) }, crashes, func() *gate.Result { return hostile("@everyone\n") }}
	injected, whole, runs := map[string]int{}, map[string]int{}, map[string]int{}
	requests := 0
	for _, tr := range trials() {
		w := newWorld(t)
		w.s.CheckRun = true
		creates := tr.prepare(w)
		before := len(w.srv.Requests())
		want := results[tr.seed%uint64(len(results))]()
		r := results[tr.seed%uint64(len(results))]()
		tr.inject(w, injected)
		c := w.client()
		if !tr.certain {
			c.transport.tryTime = 100 * time.Millisecond // so that a slow answer is none
		}
		p := c.Publish(context.Background(), r)
		w.srv.Choose(nil)
		name := fmt.Sprintf("%s, seed %d", tr.class, tr.seed)
		if diff := cmp.Diff(want, r); diff != "" || r.Outcome.ExitCode() != want.ExitCode {
			t.Errorf("%s: the result changed: %s", name, diff)
		}
		checkTrial(t, name, w, r, p, tr)
		made := 0
		for _, q := range w.srv.Requests()[before:] {
			requests++
			if q.Applied && q.Method == http.MethodPost && strings.HasSuffix(q.Path, "/comments") {
				made++
			}
		}
		if made > 1 || made > 0 && !creates {
			t.Errorf("%s: %d comments were made", name, made)
		}
		runs[tr.class]++
		if len(p.Failed) == 0 {
			whole[tr.class]++
		}
		// The next run, with a healthy API.
		w.ev.RunAttempt++
		p = w.publish(r)
		wantNone(t, p.Failed)
		checkTrial(t, name+", next run", w, r, p, trial{certain: true})
	}
	for class, n := range runs {
		t.Logf("%s: %d runs, %d published everything", class, n, whole[class])
	}
	t.Logf("%d requests, faults: %v", requests, injected)
	if whole["ends some time"] == 0 || whole["never ends"] == runs["never ends"] || len(injected) < 18 {
		t.Error("the faults are too many, too few or too alike to tell anything")
	}
}

// checkTrial holds what is published, and what is said of it, against the rules.
func checkTrial(t *testing.T, name string, w *world, r *gate.Result, p Published, tr trial) {
	t.Helper()
	named := func(what string) bool {
		return slices.ContainsFunc(p.Failed, func(s string) bool { return strings.Contains(s, what) })
	}
	own := w.sticky()
	mine := len(own) == 1
	if mine {
		s, _ := parseSticky(own[0].Body, marker("paritygate"))
		mine = s == stickyOf(&w.ev, r)
	}
	if duplicates := tr.seed%4 == 3 && tr.class != ""; len(own) > 1 && !(duplicates && named("comment")) {
		t.Errorf("%s: %d comments, failed %q", name, len(own), p.Failed)
	}
	if !mine && !named("comment") {
		t.Errorf("%s: the comment is not this run's, and %q says nothing of it", name, p.Failed)
	}
	statuses := w.repo.Statuses(w.ev.Head)
	if ok := len(statuses) > 0 && statuses[len(statuses)-1].State == statusState(r.Outcome); !ok && !named("set the commit status") {
		t.Errorf("%s: no status, and %q says nothing of it", name, p.Failed)
	}
	checks := w.repo.CheckRuns(w.ev.Head)
	last := slices.IndexFunc(checks, func(c githubtest.CheckRun) bool { return c.ExternalID == w.external() })
	if ok := last >= 0 && checks[last].Conclusion == "failure"; !ok && !named("check run") {
		t.Errorf("%s: no check run, and %q says nothing of it", name, p.Failed)
	}
	for i, c := range checks {
		if j := slices.IndexFunc(checks, func(o githubtest.CheckRun) bool { return o.ExternalID == c.ExternalID }); j != i {
			t.Errorf("%s: two check runs of one run", name)
		}
	}
	if tr.certain && (len(p.Failed) > 0 || !mine) {
		t.Errorf("%s: the API recovered in time, and failed %q, %d comments", name, p.Failed, len(own))
	}
	text := summary(r, p, MarkdownOptions(&w.ev, w.s, r))
	if strings.Count(text, "\n- could not ") != len(p.Failed) {
		t.Errorf("%s: the summary does not name all of %q", name, p.Failed)
	}
	for _, s := range append(slices.Clone(p.Did), p.Failed...) {
		if strings.Contains(s, w.s.Token) || strings.ContainsAny(s, "\n\r") {
			t.Errorf("%s: says %q", name, s)
		}
	}
}

func (w *world) external() string {
	return fmt.Sprintf("paritygate:%s:%d:%d", markerName("paritygate"), w.ev.RunID, w.ev.RunAttempt)
}

// Runs at the same time, each of whose requests may fail a few times, end with
// one comment all the same.
func TestRandomFaultsConcurrent(t *testing.T) {
	for seed := range uint64(40) {
		n := 2 + 2*int(seed%2)
		w := newWorld(t)
		w.s.Status = false
		w.s.Sleep = func(d time.Duration) { time.Sleep(min(d, 2*time.Second) / 40) }
		tr := trials()[seed]
		tr.stop = int(seed % 5)
		tr.inject(w, map[string]int{})
		said := make([]Published, n)
		var wg sync.WaitGroup
		for i := range n {
			w.ev.RunID = int64(200 + i)
			c := w.client()
			wg.Go(func() { said[i] = c.Publish(context.Background(), failsAt(i)) })
		}
		wg.Wait()
		for _, p := range said {
			wantNone(t, p.Failed)
		}
		if own := w.sticky(); len(own) != 1 {
			t.Errorf("seed %d, %d at once: %d comments", seed, n, len(own))
		}
	}
}
