package github

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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

// The state, which long names make long, counts in the budget.
func TestCommentBudget(t *testing.T) {
	most := 0
	for rows := 300; rows < 640; rows += 20 {
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
