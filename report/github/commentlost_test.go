package github

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/paritygate/paritygate/report/github/githubtest"
)

// behind puts a server before the fake that may answer instead.
func (w *world) behind(instead func(http.ResponseWriter, *http.Request) bool) {
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !instead(rw, r) {
			w.srv.ServeHTTP(rw, r)
		}
	}))
	w.t.Cleanup(front.Close)
	w.ev.APIURL = front.URL
}

// A list that lags behind does not show what was just made: it is made once.
func TestCommentListLags(t *testing.T) {
	w := newWorld(t)
	w.behind(func(rw http.ResponseWriter, r *http.Request) bool {
		if !to("GET", "/comments")(r) {
			return false
		}
		_, _ = rw.Write([]byte("[]"))
		return true
	})
	p := w.publish(failsAt(2))
	wantNone(t, p.Failed)
	wantSaid(t, p.Did, "wrote a new comment: https://github.com/acme/engine/")
	if c := w.one(); !strings.HasSuffix(p.CommentURL, fmt.Sprint("-", c.ID)) {
		t.Errorf("address %s of comment %d", p.CommentURL, c.ID)
	}
}

// Nor is a comment updated for ever that is listed as it was before.
func TestCommentListStands(t *testing.T) {
	w := newWorld(t)
	w.publish(passes())
	w.push()
	var before []byte
	w.behind(func(rw http.ResponseWriter, r *http.Request) bool {
		if !to("GET", "/comments")(r) {
			return false
		}
		if before == nil {
			rec := httptest.NewRecorder()
			w.srv.ServeHTTP(rec, r)
			before = rec.Body.Bytes()
		}
		_, _ = rw.Write(before)
		return true
	})
	p := w.publish(failsAt(2))
	wantNone(t, p.Failed)
	wantSaid(t, p.Did, "updated the comment")
	if n := w.srv.Count("PATCH", ""); w.outcome() != "fail" || n > maxWrites {
		t.Errorf("%s after %d updates", w.outcome(), n)
	}
}

// An answer without a word is no answer: to take it for an empty list, or for a
// comment that was made, would end in two comments or in none.
func TestCommentEmptyAnswers(t *testing.T) {
	for _, what := range []func(*http.Request) bool{to("GET", "/comments"), to("GET", "/pulls/"), to("POST", "/comments"), to("PATCH", "/comments"), to("GET", "/user")} {
		for _, applied := range []bool{false, true} {
			for _, earlier := range []bool{false, true} {
				w := newWorld(t)
				if earlier {
					w.publish(passes())
					w.push()
				}
				left := 1
				w.behind(func(rw http.ResponseWriter, r *http.Request) bool {
					if !what(r) || left == 0 {
						return false
					}
					left--
					if applied {
						w.srv.ServeHTTP(httptest.NewRecorder(), r)
					}
					rw.WriteHeader(http.StatusOK)
					return true
				})
				p := w.publish(failsAt(2))
				wantNone(t, p.Failed)
				if w.one(); w.outcome() != "fail" || p.CommentURL == "" {
					t.Errorf("%s at %q", w.outcome(), p.CommentURL)
				}
				if n := w.srv.Count("DELETE", ""); n > 0 {
					t.Errorf("%d comments too many were made", n)
				}
			}
		}
	}
}

// Nobody can tell: that is said, and not that there is none.
func TestCommentUnknown(t *testing.T) {
	w := newWorld(t)
	w.s.Status = false
	down := false
	w.srv.Choose(func(r *http.Request, _ int) *githubtest.Fault {
		fault := githubtest.CutAfter()
		if down = down || to("POST", "/comments")(r); down {
			return &fault
		}
		return nil
	})
	p := w.publish(failsAt(2))
	if len(p.Failed) != 1 {
		t.Errorf("failed %q", p.Failed)
	}
	wantSaid(t, p.Failed, "could not tell whether GitHub took the comment: ")
	w.one()

	// It is there, and what other runs did meanwhile is unknown.
	w = newWorld(t)
	posted := false
	w.srv.Choose(func(r *http.Request, _ int) *githubtest.Fault {
		fault := githubtest.ServerError(503, false)
		if posted && r.Method == "GET" {
			return &fault
		}
		posted = posted || to("POST", "/comments")(r)
		return nil
	})
	p = w.publish(failsAt(2))
	wantSaid(t, p.Did, "wrote a new comment: ")
	wantSaid(t, p.Failed, "could not look whether another run commented at the same time: ")
	if w.one(); p.CommentURL == "" {
		t.Error("no address")
	}
}

// A limit is waited out as long as GitHub says, and the comments looked at anew.
func TestCommentWaitsForLimit(t *testing.T) {
	for _, tt := range []struct {
		fault githubtest.Fault
		wait  time.Duration
	}{{githubtest.SecondaryLimit(0), time.Minute}, {githubtest.TooMany(37 * time.Second), 37 * time.Second}} {
		w := newWorld(t)
		w.s.Status = false
		var waits []time.Duration
		w.s.Sleep = func(d time.Duration) { waits = append(waits, d) }
		w.srv.InjectWhen(to("POST", "/comments"), tt.fault)
		wantNone(t, w.publish(failsAt(2)).Failed)
		if w.one(); len(waits) != 2 || waits[0] != tt.wait || waits[1] != settleWait {
			t.Errorf("%s: waited %v", tt.fault.Name, waits)
		}
		// Longer than there is time: said at once.
		w = newWorld(t)
		w.s.Status = false
		w.srv.InjectWhen(to("POST", "/comments"), githubtest.TooMany(time.Hour))
		start := len(w.srv.Requests())
		wantSaid(t, w.publish(failsAt(2)).Failed, "rate limit is used up: try again in 1h0m0s, which is longer than there is time")
		if n := len(w.srv.Requests()) - start; n != 4 {
			t.Errorf("%d requests", n)
		}
	}
}

// What this run does after its own write, when another's report stands there.
func TestCommentNext(t *testing.T) {
	ev := &Event{Name: "pull_request", Head: strings.Repeat("a", 40), RunID: 100, RunAttempt: 1}
	mine := stickyOf(ev, failsAt(2))
	other := mine
	other.Run = 90
	flipped := other
	flipped.Outcome = "pass"
	for _, tt := range []struct {
		name   string
		k      commenter
		policy CommentPolicy
		own    []sticky
		want   kind
		at     int64
	}{
		{"the older of two that were made at once, of an earlier run", commenter{created: true, written: 2}, CommentAlways, []sticky{other, mine}, update, 1},
		{"of an earlier run with another outcome", commenter{created: true, written: 2}, CommentAlways, []sticky{flipped, mine}, update, 1},
		{"then the younger goes", commenter{created: true, written: 1}, CommentAlways, []sticky{mine, mine}, remove, 2},
		{"an earlier run wrote over it with the same news", commenter{written: 1}, CommentOnChange, []sticky{other}, update, 1},
		{"before a write the same news is left", commenter{}, CommentOnChange, []sticky{other}, nothing, 0},
		{"another outcome before a write", commenter{}, CommentAlways, []sticky{flipped}, retire, 1},
		{"no outcome to tell", commenter{}, CommentAlways, []sticky{{}}, update, 1},
	} {
		tt.k.c = &Client{ev: ev, s: Settings{Comment: tt.policy, NewOnFlip: true}}
		tt.k.mine = mine
		var own []ownComment
		for i, s := range tt.own {
			own = append(own, ownComment{id: int64(i + 1), body: "earlier", state: s})
		}
		if a := tt.k.next(own); a.kind != tt.want || a.at.id != tt.at {
			t.Errorf("%s: change %d of comment %d, want %d of %d", tt.name, a.kind, a.at.id, tt.want, tt.at)
		}
	}
}

// The state, which long names make long, counts in the budget.
func TestCommentBudget(t *testing.T) {
	most := 0
	for rows := 300; rows < 640; rows += 5 {
		r := failsAt(1)
		r.FirstDivergence.Checkpoint, r.FirstDivergence.Prompt = strings.Repeat("界", 80), strings.Repeat("界", 80)
		for i := range rows {
			c := checkpoint(fmt.Sprint(strings.Repeat("世", 70), i), 10+i, 2, 14)
			c.Prompt = fmt.Sprint("prompt ", i%6)
			r.Checkpoints = append(r.Checkpoints, c)
		}
		w := newWorld(t)
		w.s.Status = false
		wantNone(t, w.publish(r).Failed)
		n := utf8.RuneCountInString(w.one().Body)
		if most = max(most, n); n > commentBudget {
			t.Errorf("%d rows: %d characters", rows, n)
		}
	}
	// Close enough to the limit for the state to matter.
	if most < commentBudget-3000 {
		t.Errorf("the longest comment has %d characters", most)
	}
}
