package github

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report/github/githubtest"
)

// onMain is the world at night: the branch main, and a baseline of its first commit.
func onMain(t *testing.T) (w *world, good string) {
	t.Helper()
	w = newWorld(t)
	good = w.repo.Ref("heads/main")
	w.ev = Event{Name: "schedule", Owner: "acme", Repo: "engine", HeadRepo: "acme/engine", HeadRef: "main", RunID: 100, RunAttempt: 1,
		ServerURL: "https://github.com", APIURL: w.srv.URL()}
	w.night("Break @everyone's #1 <b>")
	return w, good
}

// night is the next commit and run.
func (w *world) night(message string) {
	w.ev.Head = w.repo.Commit("main", message+"\n\nmore", map[string]string{"more.txt": message})
	w.ev.RunID++
}

// since gives a result the baseline of a commit.
func since(r *gate.Result, commit string) *gate.Result {
	r.Baseline = &gate.Baseline{State: gate.BaselineCompared, Store: "branch:b", Commit: commit}
	return r
}

func (w *world) issue(r *gate.Result) Published {
	w.t.Helper()
	return w.client().Issue(context.Background(), r, r.Outcome != gate.Pass)
}

// open are the issues that are open.
func (w *world) open() []githubtest.Issue {
	return slices.DeleteFunc(w.repo.Issues(), func(i githubtest.Issue) bool { return i.State != "open" })
}

func (w *world) oneIssue() githubtest.Issue {
	w.t.Helper()
	open := w.open()
	if len(open) != 1 {
		w.t.Fatalf("%d issues are open, want 1", len(open))
	}
	return open[0]
}

// TestIssueLife: opened once, updated while it lasts, closed with a comment, and
// opened anew when it breaks again.
func TestIssueLife(t *testing.T) {
	w, good := onMain(t)
	p := w.issue(since(failsAt(2), good))
	wantNone(t, p.Failed)
	wantSaid(t, p.Did, "opened an issue: https://")
	first := w.oneIssue()
	if !strings.HasPrefix(first.Title, "Parity fails on main: layer_2_output") || strings.ContainsAny(first.Title, "\n`") {
		t.Errorf("title %q", first.Title)
	}
	for _, part := range []string{"<!-- paritygate-issue:paritygate:main -->\n" + stickyOpen, "Parity fails", "https://github.com/acme/engine/compare/" + good + "..." + w.ev.Head,
		"\nparitygate bisect " + good + " " + w.ev.Head + "\n", "- [`" + w.ev.Head[:12] + "`](https://github.com/acme/engine/commit/" + w.ev.Head + ") Break ", "(octocat)"} {
		if !strings.Contains(first.Body, part) {
			t.Errorf("the body lacks %q:\n%s", part, first.Body)
		}
	}
	for _, bad := range []string{"@everyone", "#1", "<b>", "\nmore"} {
		if strings.Contains(first.Body, bad) {
			t.Errorf("%q stands in the body:\n%s", bad, first.Body)
		}
	}

	wantSaid(t, w.issue(since(failsAt(2), good)).Did, "the issue holds this report")
	w.night("Later")
	p = w.issue(since(failsAt(1), good))
	wantNone(t, p.Failed)
	wantSaid(t, p.Did, "updated the issue")
	if now := w.oneIssue(); now.Number != first.Number || !strings.Contains(now.Title, "layer_1_output") || strings.Count(now.Body, "/commit/") != 2 {
		t.Errorf("%+v", now)
	}

	// An earlier run that ends late changes nothing, passing or not.
	w.ev.RunID--
	wantSaid(t, w.issue(since(failsAt(3), good)).Did, "left the issue as it is: a later run wrote it")
	wantSaid(t, w.issue(since(passes(), good)).Did, "left the issue as it is: a later run wrote it")
	w.oneIssue()

	w.ev.RunID++
	w.night("Mend")
	p = w.issue(since(passes(), good))
	wantNone(t, p.Failed)
	wantSaid(t, p.Did, "closed the issue")
	if n := len(w.open()); n != 0 {
		t.Errorf("%d issues are open", n)
	}
	if c := w.repo.Comments(first.Number); len(c) != 1 || !strings.Contains(c[0].Body, "Parity passes again with `"+w.ev.Head[:12]+"`") {
		t.Errorf("comments %+v", c)
	}
	writes := w.srv.Writes()
	w.night("Nothing")
	if p = w.issue(since(passes(), good)); len(p.Did)+len(p.Failed) > 0 || w.srv.Writes() != writes {
		t.Errorf("a pass without an issue: %+v", p)
	}
	w.night("Break again")
	w.issue(since(failsAt(2), good))
	if w.oneIssue().Number == first.Number {
		t.Error("the closed issue was opened again")
	}
}

// TestIssueRange: what is said of the commits for each kind of baseline.
func TestIssueRange(t *testing.T) {
	w, good := onMain(t)
	for i := range 60 {
		w.night(fmt.Sprint("commit ", i))
	}
	for _, tt := range []struct {
		name, commit string
		commits      int
		says         []string
	}{
		{"many", good, 50, []string{"- and 11 more after these"}},
		{"none", "", 0, []string{"No baseline says which commit passed last"}},
		{"no commit", "zzz", 0, []string{"No baseline says which commit passed last"}},
		{"this one", w.ev.Head, 0, []string{"This very commit"}},
		{"unknown", strings.Repeat("d", 40), 0, []string{"The commits between cannot be listed: GitHub answered 404", "paritygate bisect dddd"}},
		{"of another branch", w.pr.HeadSHA, 50, []string{"The branch no longer holds the baseline's commit", "- and 11 more"}},
	} {
		c := w.client()
		body := c.suspects(context.Background(), since(crashes(), tt.commit))
		for _, s := range tt.says {
			if !strings.Contains(body, s) {
				t.Errorf("%s: lacks %q:\n%s", tt.name, s, body)
			}
		}
		if n := strings.Count(body, "](https://github.com/acme/engine/commit/"); n != tt.commits {
			t.Errorf("%s: %d commits, want %d", tt.name, n, tt.commits)
		}
	}
	r := crashes()
	p := w.issue(r)
	wantNone(t, p.Failed)
	if i := w.oneIssue(); !strings.HasPrefix(i.Title, "Parity cannot be judged on main: ") {
		t.Errorf("title %q", i.Title)
	}
}

// TestIssueOfHostile: whatever names and messages hold, GitHub takes the issue.
func TestIssueOfHostile(t *testing.T) {
	for _, word := range []string{"\U000e0001", "@", "😀", "\\", "`", "\u202e"} {
		w, good := onMain(t)
		long := strings.Repeat(word, 300)
		for i := range 60 {
			w.repo.Push(githubtest.Change{Branch: "main", Message: long, Author: strings.Repeat("x", 60), Files: map[string]string{"a": fmt.Sprint(i)}})
		}
		w.night(long)
		r := since(hostile(long), good)
		r.Reasons = []string{long}
		p := w.issue(r)
		wantNone(t, p.Failed)
		i := w.oneIssue()
		if n := len([]rune(i.Title)); n > 230 || strings.ContainsAny(i.Title, "\n`\u202e") {
			t.Errorf("%q: a title of %d characters: %q", word, n, i.Title)
		}
		if !strings.Contains(i.Body, " more after these\n") || !strings.Contains(i.Body, "paritygate bisect ") {
			t.Errorf("%q: the body does not count the others", word)
		}
	}
}

// TestIssueOfOthers: issues with the marker that somebody else wrote, pull
// requests, and those of another branch or gate are left alone.
func TestIssueOfOthers(t *testing.T) {
	w, good := onMain(t)
	k, err := w.client().newTracker(context.Background(), since(failsAt(2), good), true)
	if err != nil {
		t.Fatal(err)
	}
	w.repo.AddIssue(githubtest.Issue{Title: "mallory's", Author: "mallory", Body: k.body})
	w.repo.AddPullRequest(githubtest.PullRequest{HeadRef: "other", Author: "github-actions[bot]", Body: k.body})
	w.issue(since(failsAt(2), good))
	w.s.Name = "bf16"
	w.issue(since(failsAt(2), good))
	w.ev.HeadRef = "release"
	w.issue(since(failsAt(2), good))
	if n := len(w.open()); n != 4 {
		t.Fatalf("%d issues are open, want 4", n)
	}
	w.s.Name, w.ev.HeadRef = "", "main"
	w.issue(since(passes(), good))
	var left []string
	for _, i := range w.open() {
		left = append(left, strings.SplitN(i.Title, ":", 2)[0])
	}
	if want := []string{"mallory's", "Parity fails on main (bf16)", "Parity fails on release (bf16)"}; !slices.Equal(left, want) {
		t.Errorf("open: %q, want %q", left, want)
	}
}

// TestIssueRefused: without the permission, or with issues switched off, it is said.
func TestIssueRefused(t *testing.T) {
	w, good := onMain(t)
	w.srv.AddToken("no-issues", githubtest.Token{Login: "github-actions[bot]", Type: "Bot", Access: githubtest.Write, Installation: true,
		Scopes: map[string]githubtest.Access{"issues": githubtest.Read}})
	w.s.Token = "no-issues"
	p := w.issue(since(failsAt(2), good))
	if len(p.Did) != 0 || len(p.Failed) != 1 || !strings.HasPrefix(p.Failed[0], "could not write the issue: the job's permissions lack issues: write: GitHub answered 403") {
		t.Errorf("%+v", p)
	}
	w.s.Token = githubtest.ActionsToken
	w.srv.Choose(func(r *http.Request, _ int) *githubtest.Fault {
		if r.Method == http.MethodPost {
			return &githubtest.Fault{Name: "410", Status: http.StatusGone, Message: "Issues are disabled for this repo"}
		}
		return nil
	})
	if p = w.issue(since(failsAt(2), good)); len(p.Failed) != 1 || !strings.Contains(p.Failed[0], "issues switched off") {
		t.Errorf("%+v", p)
	}
	if p = w.client().Issue(context.Background(), nil, true); len(p.Failed) != 1 {
		t.Errorf("no result: %+v", p)
	}
}

// TestIssueCreatorUnknown: a server that lists nothing by an app's login does not
// make this program open a second issue.
func TestIssueCreatorUnknown(t *testing.T) {
	w, good := onMain(t)
	wantNone(t, w.issue(since(failsAt(2), good)).Failed)
	w.night("Later")
	w.srv.Choose(func(r *http.Request, _ int) *githubtest.Fault {
		if r.Method == http.MethodGet && r.URL.Query().Get("creator") != "" {
			return &githubtest.Fault{Name: "nothing", Status: http.StatusOK, Body: "[]"}
		}
		return nil
	})
	p := w.issue(since(failsAt(1), good))
	wantNone(t, p.Failed)
	wantSaid(t, p.Did, "updated the issue")
	if i := w.oneIssue(); !strings.Contains(i.Title, "layer_1_output") {
		t.Errorf("%+v", i)
	}
}

// TestIssueHeals: of several, as two runs at the same time leave them, the
// oldest stays, with the latest run's report.
func TestIssueHeals(t *testing.T) {
	for _, later := range []bool{false, true} {
		w, good := onMain(t)
		c := w.client()
		k, err := c.newTracker(context.Background(), since(failsAt(2), good), true)
		if err != nil {
			t.Fatal(err)
		}
		bodies := []string{k.body, strings.Replace(k.body, fmt.Sprintf(`"run":%d`, w.ev.RunID), `"run":9000`, 1), k.body}
		if bodies[1] == k.body {
			t.Fatal("the body has no run")
		}
		for i, body := range bodies {
			w.repo.AddIssue(githubtest.Issue{Title: fmt.Sprint("t", i), Author: "github-actions[bot]", Body: body})
		}
		if !later {
			w.ev.RunID = 9001
		}
		first := w.open()[0].Number
		wantNone(t, w.issue(since(failsAt(3), good)).Failed)
		i := w.oneIssue()
		if want := map[bool]string{true: "t1", false: "Parity fails on main: layer_3_output"}[later]; i.Number != first || !strings.HasPrefix(i.Title, want) {
			t.Errorf("later %v: kept #%d %q, want #%d %q", later, i.Number, i.Title, first, want)
		}
	}
}

// TestIssueFaults: whatever the API does, one run opens at most one issue; what
// could not be done is said; the next run puts it right.
func TestIssueFaults(t *testing.T) {
	all := trials()
	some := slices.Concat(all[:15], all[100:107], all[150:154], all[175:179])
	injected, whole := map[string]int{}, 0
	for _, tr := range some {
		w, good := onMain(t)
		had := tr.seed%2 == 1
		if had {
			w.issue(since(failsAt(1), good))
			w.night("More")
		}
		mend := tr.seed%3 == 2
		r := since(failsAt(2), good)
		if mend {
			r = since(passes(), good)
		}
		name := fmt.Sprintf("%s, seed %d", tr.class, tr.seed)
		tr.inject(w, injected)
		c := w.client()
		if !tr.certain {
			c.transport.tryTime = 100 * time.Millisecond
		}
		p := c.Issue(context.Background(), r, !mend)
		w.srv.Choose(nil)
		want := 1
		if mend {
			want = 0
		}
		if len(w.open()) > 1 || len(w.repo.Issues()) > 1 {
			t.Errorf("%s: %d issues", name, len(w.repo.Issues()))
		}
		switch {
		case len(p.Failed) == 0:
			whole++
			if n := len(w.open()); n != want {
				t.Errorf("%s: %d issues are open, want %d: %+v", name, n, want, p)
			}
		case tr.certain:
			t.Errorf("%s: the API recovered in time, and failed %q", name, p.Failed)
		}
		for _, s := range append(p.Did, p.Failed...) {
			if strings.Contains(s, w.s.Token) || strings.ContainsAny(s, "\n\r") {
				t.Errorf("%s: says %q", name, s)
			}
		}
		w.ev.RunAttempt++
		wantNone(t, w.issue(r).Failed)
		if n := len(w.open()); n != want {
			t.Errorf("%s, next run: %d issues are open, want %d", name, n, want)
		}
		for _, i := range w.repo.Issues() {
			if n := len(w.repo.Comments(i.Number)); n > 1 {
				t.Errorf("%s: %d closing comments", name, n)
			}
		}
	}
	t.Logf("%d runs, %d did everything; faults: %v", len(some), whole, injected)
	if len(injected) < 12 || whole == len(some) {
		t.Error("the faults are too few or too alike to tell anything")
	}
}

// TestIssueConcurrent: runs at the same time end with one issue.
func TestIssueConcurrent(t *testing.T) {
	for seed := range uint64(6) {
		w, good := onMain(t)
		w.s.Sleep = func(d time.Duration) { time.Sleep(min(d, 2*time.Second) / 20) }
		said := make([]Published, 4)
		var wg sync.WaitGroup
		for i := range said {
			w.ev.RunID = int64(200 + i)
			c := w.client()
			wg.Go(func() { said[i] = c.Issue(context.Background(), since(failsAt(i), good), true) })
		}
		wg.Wait()
		for _, p := range said {
			wantNone(t, p.Failed)
		}
		if s, _ := parseSticky(w.oneIssue().Body, "<!-- paritygate-issue:paritygate:main -->"); s.Run != 203 {
			t.Errorf("seed %d: %+v", seed, s)
		}
	}
}
