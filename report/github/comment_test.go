package github

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report/github/githubtest"
)

// One comment, updated in place, over a pull request's life.
func TestCommentInPlace(t *testing.T) {
	w := newWorld(t)
	var id int64
	for i, r := range []*gate.Result{failsAt(2), failsAt(4), passes(), crashes()} {
		p := w.publish(r)
		wantNone(t, p.Failed)
		c := w.one()
		if i == 0 {
			id = c.ID
			wantSaid(t, p.Did, "wrote a new comment: https://github.com/acme/engine/")
		} else {
			wantSaid(t, p.Did, "updated the comment: https://github.com/acme/engine/")
		}
		if c.ID != id || c.Author.Login != "github-actions[bot]" {
			t.Errorf("comment %d of %s, want %d", c.ID, c.Author.Login, id)
		}
		if got := w.outcome(); got != r.Outcome.String() {
			t.Errorf("outcome %s, want %s", got, r.Outcome)
		}
		if !strings.Contains(c.Body, "head `"+w.ev.Head[:12]+"`") || !strings.HasSuffix(p.CommentURL, fmt.Sprint(c.ID)) {
			t.Errorf("%s\n%s", p.CommentURL, c.Body)
		}
		w.push()
	}
	if n := w.srv.Count("POST", "/comments"); n != 1 {
		t.Errorf("%d comments were made", n)
	}
}

// The same result twice changes nothing the second time.
func TestCommentUnchanged(t *testing.T) {
	w := newWorld(t)
	w.publish(failsAt(2))
	p := w.publish(failsAt(2))
	wantNone(t, p.Failed)
	wantSaid(t, p.Did, "the comment holds this report")
	if n := w.srv.Count("PATCH", ""); n != 0 {
		t.Errorf("%d updates", n)
	}
}

// Several gates of one pull request have a comment each.
func TestCommentPerName(t *testing.T) {
	w := newWorld(t)
	names := []string{"", "llama", "llama-f16", "a -->", "größe"}
	for range 2 {
		for _, w.s.Name = range names {
			wantNone(t, w.publish(failsAt(2)).Failed)
			w.one()
		}
		w.push()
	}
	if n := len(w.repo.Comments(w.pr.Number)); n != len(names) {
		t.Errorf("%d comments, want %d", n, len(names))
	}
}

// A comment of somebody else is never touched, whatever it holds; the own one
// is found on any page.
func TestCommentAmongOthers(t *testing.T) {
	w := newWorld(t)
	m := marker("paritygate")
	forged := m + "\n" + sticky{Head: w.ev.Head, Run: 1 << 40, Attempt: 1, Outcome: "pass"}.line() + "\n## passes"
	for i := range 230 {
		w.repo.AddComment(githubtest.Comment{Issue: w.pr.Number, Author: githubtest.User{Login: "mallory"}, Body: fmt.Sprint(i, " hello")})
	}
	w.repo.AddComment(githubtest.Comment{Issue: w.pr.Number, Author: githubtest.User{Login: "mallory"}, Body: forged})
	w.repo.AddComment(githubtest.Comment{Issue: w.pr.Number, Author: githubtest.User{Login: "github-actions[bot]"}, Body: "another action's\n" + m})
	wantNone(t, w.publish(failsAt(2)).Failed)
	id := w.one().ID
	for i := range 120 {
		w.repo.AddComment(githubtest.Comment{Issue: w.pr.Number, Body: fmt.Sprint(i)})
	}
	w.push()
	wantNone(t, w.publish(passes()).Failed)
	if c := w.one(); c.ID != id || w.outcome() != "pass" {
		t.Errorf("comment %d, want %d: %s", c.ID, id, w.outcome())
	}
	all := w.repo.Comments(w.pr.Number)
	if len(all) != 353 || all[230].Body != forged || all[231].Body != "another action's\n"+m {
		t.Errorf("%d comments; other's: %q, %q", len(all), all[230].Body, all[231].Body)
	}
}

// A user's token writes as that user, and settings may say who.
func TestCommentAuthors(t *testing.T) {
	for _, tt := range []struct{ token, author, want string }{
		{githubtest.UserToken, "", "octocat"},
		{githubtest.ActionsToken, "GitHub-Actions[bot]", "github-actions[bot]"},
		// Wrong: the first comment tells who it is, so that there never are two.
		{githubtest.UserToken, "github-actions[bot]", "octocat"},
	} {
		w := newWorld(t)
		w.s.Token, w.s.Author = tt.token, tt.author
		for range 3 {
			wantNone(t, w.publish(failsAt(2)).Failed)
			if got := w.one().Author.Login; got != tt.want {
				t.Errorf("%v: written by %s", tt, got)
			}
			w.push()
		}
	}
}

func TestCommentOnChange(t *testing.T) {
	w := newWorld(t)
	w.s.Comment = CommentOnChange
	for i, step := range []struct {
		r       *gate.Result
		said    string
		outcome string // of the comment; "" for none
		head    bool   // the comment shows this head
	}{
		{passes(), "wrote no comment: parity passes", "", false},
		{failsAt(2), "wrote a new comment", "fail", true},
		{failsAt(2), "left the comment as it is: outcome and worst checkpoint", "fail", false},
		{failsAt(3), "updated the comment", "fail", true},
		{passes(), "updated the comment", "pass", true},
		{passes(), "left the comment", "pass", false},
		{crashes(), "updated the comment", "incomplete", true},
	} {
		p := w.publish(step.r)
		wantNone(t, p.Failed)
		wantSaid(t, p.Did, step.said)
		if (step.outcome == "") != (len(w.sticky()) == 0) {
			t.Fatalf("step %d: %d comments", i, len(w.sticky()))
		}
		if step.outcome != "" {
			if got := w.outcome(); got != step.outcome {
				t.Errorf("step %d: the comment says %s", i, got)
			}
			if got := strings.Contains(w.one().Body, w.ev.Head[:12]); got != step.head {
				t.Errorf("step %d: shows this head: %t", i, got)
			}
			if p.CommentURL == "" {
				t.Errorf("step %d: no address", i)
			}
		}
		w.push()
	}
}

func TestCommentNewOnFlip(t *testing.T) {
	w := newWorld(t)
	w.s.NewOnFlip = true
	var last int64
	for i, step := range []struct {
		r    *gate.Result
		flip bool
	}{{failsAt(2), false}, {failsAt(3), false}, {passes(), true}, {passes(), false}, {crashes(), true}, {failsAt(1), true}} {
		wantNone(t, w.publish(step.r).Failed)
		c := w.one()
		if i > 0 && (c.ID != last) != step.flip {
			t.Errorf("step %d: comment %d after %d", i, c.ID, last)
		}
		if w.outcome() != step.r.Outcome.String() {
			t.Errorf("step %d: the comment says %s", i, w.outcome())
		}
		last = c.ID
		w.push()
	}
	all := w.repo.Comments(w.pr.Number)
	if len(all) != 4 || all[3].ID != last {
		t.Fatalf("%d comments", len(all))
	}
	for i, want := range []string{"**passes** with", "**is incomplete** with", "**fails** with"} {
		if !strings.Contains(all[i].Body, "Parity now "+want) || !strings.Contains(all[i].Body, "the newer comment below") ||
			!strings.Contains(all[i].Body, "(https://github.com/acme/engine/actions/runs/") || strings.Count(all[i].Body, "\n") != 2 {
			t.Errorf("the note is %q, want %q", all[i].Body, want)
		}
	}
}

// On-change writes the pass that a flip announces.
func TestCommentOnChangeFlip(t *testing.T) {
	w := newWorld(t)
	w.s.NewOnFlip, w.s.Comment = true, CommentOnChange
	w.publish(failsAt(2))
	w.push()
	wantNone(t, w.publish(passes()).Failed)
	if w.one(); w.outcome() != "pass" || len(w.repo.Comments(w.pr.Number)) != 2 {
		t.Errorf("%d comments, %s", len(w.repo.Comments(w.pr.Number)), w.outcome())
	}
}

// A result of a head that is no longer the pull request's touches nothing.
func TestCommentStale(t *testing.T) {
	w := newWorld(t)
	old := w.ev
	p := w.publish(failsAt(2)) // of the first head
	url := p.CommentURL
	w.push()
	w.publish(passes())
	body := w.one().Body
	newer := w.ev.Head
	w.ev = old
	w.ev.RunID = 1 << 40
	for _, w.s.NewOnFlip = range []bool{false, true} {
		p = w.publish(crashes())
		wantNone(t, p.Failed)
		wantSaid(t, p.Did, fmt.Sprintf("left the pull request's comments alone: this result is of %.12s, and the pull request is at %.12s by now", old.Head, newer))
		if w.one().Body != body || p.CommentURL != url {
			t.Errorf("the comment was changed: %s", p.CommentURL)
		}
	}
	if s := w.repo.Statuses(old.Head); s[len(s)-1].State != "error" {
		t.Errorf("the old head's own status: %+v", s)
	}
	// Nor does it make a first one.
	w = newWorld(t)
	old = w.ev
	w.push()
	w.ev = old
	w.publish(failsAt(2))
	if n := len(w.sticky()); n != 0 {
		t.Errorf("%d comments", n)
	}
}

// The head moves while a fault is waited out: what was right is no longer.
func TestCommentStaleMeanwhile(t *testing.T) {
	for _, method := range []string{"POST", "PATCH"} {
		for _, fault := range []githubtest.Fault{githubtest.SecondaryLimit(0), githubtest.BadGateway(false), githubtest.CutBefore()} {
			w := newWorld(t)
			want := 0
			if method == "PATCH" {
				w.publish(passes())
				want = 1
			}
			waits := 0
			w.s.Status, w.s.Sleep = false, func(time.Duration) { waits++; w.push() }
			w.srv.InjectWhen(to(method, "/comments"), fault)
			wantSaid(t, w.publish(failsAt(2)).Did, "left the pull request's comments alone")
			if n := len(w.sticky()); waits != 1 || n != want || want == 1 && w.outcome() != "pass" {
				t.Errorf("%s after %s: %d comments, %d waits", method, fault.Name, n, waits)
			}
		}
	}
}

// A comment of a later run of the same commit stays, though this one ends later.
func TestCommentOfLaterRun(t *testing.T) {
	w := newWorld(t)
	w.ev.RunID, w.ev.RunAttempt = 200, 2
	w.publish(passes())
	body := w.one().Body
	for _, tt := range []struct {
		run     int64
		attempt int
		stays   bool
	}{{100, 9, true}, {200, 1, true}, {200, 2, false}} {
		w.ev.RunID, w.ev.RunAttempt = tt.run, tt.attempt
		p := w.publish(failsAt(2))
		wantNone(t, p.Failed)
		if got := w.one().Body == body; got != tt.stays {
			t.Errorf("run %d attempt %d: the comment stays: %t", tt.run, tt.attempt, got)
		}
		if tt.stays {
			wantSaid(t, p.Did, "left the comment as it is: a later run")
		}
	}
}

// Duplicates of an earlier race go, the oldest stays, and no newer report is lost.
func TestCommentHeals(t *testing.T) {
	m := marker("paritygate")
	bot := githubtest.User{Login: "github-actions[bot]"}
	body := func(head string, run int64, outcome string) string {
		return m + "\n" + sticky{Head: head, Run: run, Attempt: 1, Outcome: outcome}.line() + "\n## " + outcome
	}
	for _, tt := range []struct {
		name    string
		policy  CommentPolicy
		bodies  func(head string) []string
		outcome string
	}{
		{"of earlier heads", CommentAlways, func(string) []string {
			return []string{body("aa", 1, "fail"), body("bb", 2, "pass"), body("cc", 3, "incomplete")}
		}, "fail"},
		{"without a state", CommentAlways, func(string) []string { return []string{m + "\nx", m + "\r\ny", m} }, "fail"},
		{"a later run's is the second", CommentAlways, func(h string) []string {
			return []string{body(h, 50, "fail"), body(h, 1000, "pass"), body(h, 60, "incomplete")}
		}, "pass"},
		{"a later run's is the first", CommentAlways, func(h string) []string {
			return []string{body(h, 1000, "pass"), body(h, 50, "fail")}
		}, "pass"},
		{"two later runs'", CommentAlways, func(h string) []string {
			return []string{body(h, 1000, "pass"), body(h, 1002, "incomplete"), body(h, 1001, "pass")}
		}, "incomplete"},
		{"on change", CommentOnChange, func(h string) []string {
			s := stickyOf(&Event{Name: "x", Head: "aa", RunID: 1}, failsAt(2))
			return []string{m + "\n" + s.line(), body(h, 60, "pass")}
		}, "fail"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.s.Comment = tt.policy
			for _, b := range tt.bodies(w.ev.Head) {
				w.repo.AddComment(githubtest.Comment{Issue: w.pr.Number, Author: bot, Body: b})
			}
			first := w.sticky()
			oldest := w.repo.Comments(w.pr.Number)[0].ID
			p := w.publish(failsAt(2))
			wantNone(t, p.Failed)
			if c := w.one(); c.ID != oldest || w.outcome() != tt.outcome {
				t.Errorf("comment %d says %s, want %d and %s (of %d)", c.ID, w.outcome(), oldest, tt.outcome, len(first))
			}
		})
	}
}

// A reader deletes the comment between the look and the update.
func TestCommentDeletedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.publish(failsAt(2))
	w.push()
	w.srv.InjectWhen(to("PATCH", "/comments/"), githubtest.NotFound())
	wantNone(t, w.publish(passes()).Failed)
	if w.outcome() != "pass" {
		t.Error(w.outcome())
	}
	// It is listed every time, and never there.
	w.push()
	w.srv.Choose(func(r *http.Request, _ int) *githubtest.Fault {
		if f := githubtest.NotFound(); to("PATCH", "/comments/")(r) {
			return &f
		}
		return nil
	})
	p := w.publish(failsAt(2))
	wantSaid(t, p.Failed, "could not comment: GitHub does not show it to this token")
	if n := w.srv.Count("PATCH", ""); n > 8 {
		t.Errorf("%d updates", n)
	}
	w.one()
}

// What no token can do, said plainly; the rest is done all the same.
func TestCommentRefused(t *testing.T) {
	locked := githubtest.Forbidden()
	locked.Message = "Unable to create comment because issue is locked."
	saml := githubtest.Forbidden()
	saml.Message = "Resource protected by organization SAML enforcement."
	for _, tt := range []struct {
		name   string
		change func(*world)
		want   string
	}{
		{"a fork's token", func(w *world) { w.s.Token = githubtest.ForkToken },
			"could not comment: the token may only read (pull requests of forks get such a token); the report is in the job summary (GitHub says: Resource not accessible by integration)"},
		{"a wrong token", func(w *world) { w.s.Token = "wrong" }, "could not comment: the token is wrong or has expired (GitHub says: Bad credentials); the report is in the job summary"},
		{"no such pull request", func(w *world) { w.ev.PullRequest = 99 }, "could not comment: GitHub does not show it to this token: it is not there"},
		{"locked", func(w *world) { w.srv.InjectWhen(to("POST", "/comments"), locked) }, "could not comment: the conversation is locked"},
		{"SAML", func(w *world) { w.srv.InjectWhen(to("POST", "/comments"), saml) }, "could not comment: the token may not do this (GitHub says: Resource protected"},
		{"invalid", func(w *world) { w.srv.InjectWhen(to("POST", "/comments"), githubtest.Invalid()) }, "could not comment: GitHub answered 422"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.change(w)
			p := w.publish(failsAt(2))
			wantSaid(t, p.Failed, tt.want)
			if p.CommentURL != "" || len(w.sticky()) != 0 {
				t.Errorf("commented: %q", p.CommentURL)
			}
			// The summary, written after, names it.
			if s := summary(failsAt(2), p, MarkdownOptions(&w.ev, w.s, failsAt(2))); !strings.Contains(s, "### Not published\n\n- could not") {
				t.Error("the summary does not tell")
			}
		})
	}
}

// Every fault at every request of a create, an update, a flip and a healing:
// one comment, whose report is this run's.
func TestCommentEachFault(t *testing.T) {
	before := map[string]func(*world){
		"create": func(*world) {},
		"update": func(w *world) { w.publish(passes()); w.push() },
		"flip":   func(w *world) { w.s.NewOnFlip = true; w.publish(passes()); w.push() },
		"heal": func(w *world) {
			for range 2 {
				w.repo.AddComment(githubtest.Comment{Issue: w.pr.Number, Author: githubtest.User{Login: "github-actions[bot]"}, Body: marker("paritygate")})
			}
		},
	}
	for name, prepare := range before {
		for _, fault := range githubtest.Faults() {
			for at := range 12 {
				w := newWorld(t)
				w.s.Status = false
				prepare(w)
				seen := len(w.srv.Requests())
				w.srv.Inject(append(make([]githubtest.Fault, at), fault)...)
				p := w.publish(failsAt(2))
				if len(p.Failed) != 0 || p.CommentURL == "" {
					t.Errorf("%s, %s at request %d: %q", name, fault.Name, at, p)
				}
				if w.one(); w.outcome() != "fail" {
					t.Errorf("%s, %s at request %d: %s", name, fault.Name, at, w.outcome())
				}
				if len(w.srv.Requests())-seen <= at {
					break // the fault met no request
				}
			}
		}
	}
}

// Runs at the same time end with one comment, which is the last run's: a run
// waits before its last look for longer than the others take from look to change.
func TestCommentConcurrent(t *testing.T) {
	for _, n := range []int{2, 4} {
		for round := range 10 {
			w := newWorld(t)
			w.s.Status = false
			w.s.Sleep = func(d time.Duration) { time.Sleep(d / 10) }
			w.s.NewOnFlip = round%5 == 4
			if round%2 == 1 {
				w.publish(passes())
			}
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
			if s, _ := parseSticky(w.one().Body, marker("paritygate")); s.Outcome != "fail" || s.Run != int64(200+n-1) {
				t.Errorf("%d at once, round %d: the comment is of run %d and says %s", n, round, s.Run, s.Outcome)
			}
		}
	}
}
