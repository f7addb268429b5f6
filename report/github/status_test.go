package github

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report/github/githubtest"
)

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		r                  *gate.Result
		state, description string
	}{
		{passes(), "success", "all 2 checkpoints are within tolerance"},
		{failsAt(2), "failure", "layer_5_output rel_l2 5.6 % is 11 × its limit 0.5 %"},
		{crashes(), "error", "incomplete: the candidate measured nothing on prompt haiku: crashed: exit status 139 after 1.2 s"},
	} {
		w := newWorld(t)
		w.s.Comment, w.s.Name = CommentNever, "gate 🦀\n"
		w.ev.RunAttempt = 2
		p := w.publish(tt.r)
		wantNone(t, p.Failed)
		wantSaid(t, p.Did, "set the commit status gate \ufffd of "+w.ev.Head[:12]+" to "+tt.state)
		s := w.repo.Statuses(w.ev.Head)
		if len(s) != 1 || s[0].State != tt.state || s[0].Description != tt.description || s[0].Context != "gate \ufffd" ||
			s[0].TargetURL != "https://github.com/acme/engine/actions/runs/100/attempts/2" {
			t.Errorf("%+v", s)
		}
	}
}

func TestStatusHostile(t *testing.T) {
	for _, a := range append([]string{strings.Repeat("A", 10<<20), strings.Repeat("🦀", 300), strings.Repeat("é", 300)}, attacks...) {
		for _, o := range []gate.Outcome{gate.Fail, gate.Incomplete} {
			r := hostile(a)
			r.Outcome = o
			s := description(r)
			if n := utf8.RuneCountInString(s); n > maxDescription || strings.ContainsFunc(s, func(r rune) bool { return r > 0xffff || r < ' ' }) {
				t.Errorf("%.20q: %d characters: %q", a, n, s)
			}
		}
	}
}

func TestStatusFaults(t *testing.T) {
	for _, fault := range githubtest.Faults() {
		w := newWorld(t)
		w.s.Comment = CommentNever
		w.srv.Inject(fault, fault)
		wantNone(t, w.publish(failsAt(2)).Failed)
		if s := w.repo.Statuses(w.ev.Head); len(s) == 0 || s[len(s)-1].State != "failure" {
			t.Errorf("%s: %+v", fault.Name, s)
		}
	}
	// It is tried a bounded number of times.
	w := newWorld(t)
	w.s.Comment = CommentNever
	fault := githubtest.CutAfter()
	w.srv.Choose(func(*http.Request, int) *githubtest.Fault { return &fault })
	p := w.publish(failsAt(2))
	wantSaid(t, p.Failed, "could not set the commit status: POST /repos/acme/engine/statuses/")
	if n := w.srv.Count("POST", "/statuses/"); n > tries {
		t.Errorf("%d tries", n)
	}
}

// manyLines fails at n lines of the spec.
func manyLines(n int) *gate.Result {
	r := failsAt(0)
	r.Checkpoints = nil
	for i := range n {
		r.Checkpoints = append(r.Checkpoints, checkpoint("layer_0_output", i, 1.5+float64(i), 10+i))
	}
	return r
}

func TestCheckRun(t *testing.T) {
	for _, tt := range []struct {
		name              string
		r                 *gate.Result
		conclusion, title string
		annotations       int
	}{
		{"pass", passes(), "success", "Parity passes: all 2 checkpoints are within tolerance", 0},
		{"fail", failsAt(2), "failure", "Parity fails: layer_5_output rel_l2 5.6 % is 11 × its limit 0.5 %", 1},
		{"incomplete", crashes(), "failure", "Parity incomplete: the candidate measured nothing", 0},
		{"a batch", manyLines(50), "failure", "Parity fails", 50},
		{"a batch and one", manyLines(51), "failure", "Parity fails", 51},
		{"many", manyLines(1000), "failure", "Parity fails", 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.s.CheckRun = true
			wantNone(t, w.publish(tt.r).Failed)
			list := w.repo.CheckRuns(w.ev.Head)
			if len(list) != 1 {
				t.Fatalf("%d check runs", len(list))
			}
			c := list[0]
			if c.Name != "paritygate" || c.Status != "completed" || c.Conclusion != tt.conclusion || !strings.HasPrefix(c.Title, tt.title) ||
				c.DetailsURL != w.ev.RunURL() || !strings.Contains(c.Text, "## ") || c.Summary == "" {
				t.Errorf("%+v", c)
			}
			if len(c.Annotations) != tt.annotations {
				t.Errorf("%d annotations, want %d", len(c.Annotations), tt.annotations)
			}
			for i, a := range c.Annotations {
				if a.Path != "parity.yaml" || a.Level != "failure" || a.StartLine != a.EndLine || slices.IndexFunc(c.Annotations, func(b githubtest.Annotation) bool { return a == b }) != i {
					t.Errorf("annotation %d: %+v", i, a)
				}
			}
			// The same run again finds its check run.
			wantNone(t, w.publish(tt.r).Failed)
			if n := len(w.repo.CheckRuns(w.ev.Head)); n != 1 {
				t.Errorf("%d check runs after the second time", n)
			}
			// Another attempt has its own.
			w.ev.RunAttempt++
			w.publish(tt.r)
			if n := len(w.repo.CheckRuns(w.ev.Head)); n != 2 {
				t.Errorf("%d check runs of two attempts", n)
			}
		})
	}
}

// No fault makes two check runs, or an annotation twice.
func TestCheckRunFaults(t *testing.T) {
	for _, fault := range githubtest.Faults() {
		for at := range 8 {
			w := newWorld(t)
			w.s.CheckRun, w.s.Status, w.s.Comment = true, false, CommentNever
			w.srv.Inject(append(make([]githubtest.Fault, at), fault)...)
			wantNone(t, w.publish(manyLines(120)).Failed)
			list := w.repo.CheckRuns(w.ev.Head)
			if len(list) != 1 || len(list[0].Annotations) != 120 {
				t.Errorf("%s at request %d: %d check runs, %d annotations", fault.Name, at, len(list), len(list[0].Annotations))
			}
		}
	}
}

// A run that publishes twice, with another verdict, corrects its check run.
func TestCheckRunCorrected(t *testing.T) {
	w := newWorld(t)
	w.s.CheckRun = true
	for _, r := range []*gate.Result{passes(), manyLines(3), crashes()} {
		wantNone(t, w.publish(r).Failed)
		list := w.repo.CheckRuns(w.ev.Head)
		if len(list) != 1 || !strings.HasPrefix(list[0].Title, "Parity "+outcomeWord(r.Outcome)) || (list[0].Conclusion == "success") != (r.Outcome == gate.Pass) {
			t.Errorf("%s: %+v", r.Outcome, list)
		}
	}
}

// An answer without a word is no list without check runs.
func TestCheckRunEmptyAnswers(t *testing.T) {
	for _, what := range []func(*http.Request) bool{to("GET", "/check-runs"), to("POST", "/check-runs"), to("PATCH", "/check-runs")} {
		for _, applied := range []bool{false, true} {
			w := newWorld(t)
			w.s.CheckRun, w.s.Comment = true, CommentNever
			w.publish(manyLines(120))
			w.ev.RunAttempt++
			for range 2 {
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
				wantNone(t, w.publish(manyLines(120)).Failed)
			}
			list := w.repo.CheckRuns(w.ev.Head)
			if len(list) != 2 || len(list[1].Annotations) != 120 {
				t.Errorf("%d check runs, %d annotations", len(list), len(list[len(list)-1].Annotations))
			}
		}
	}
}

func TestCheckRunRefused(t *testing.T) {
	w := newWorld(t)
	w.s.CheckRun, w.s.Token = true, githubtest.UserToken
	p := w.publish(failsAt(2))
	wantSaid(t, p.Failed, "could not write the check run: the token may not do this (GitHub says: You must authenticate via a GitHub App.)")
	w.one()

	// The verdict is there, some annotations are not: that is said as such.
	w = newWorld(t)
	w.s.CheckRun = true
	w.srv.InjectWhen(to("PATCH", "/check-runs/"), githubtest.Forbidden())
	p = w.publish(manyLines(120))
	wantSaid(t, p.Failed, "could not add all annotations to the check run, 50 of 120 are there")
	if c := w.repo.CheckRuns(w.ev.Head); len(c) != 1 || c[0].Conclusion != "failure" {
		t.Errorf("%+v", c)
	}
}

func TestCheckOutputSize(t *testing.T) {
	for _, a := range append([]string{strings.Repeat("A", 10<<20), strings.Repeat("🦀", 1<<20), strings.Repeat("@", 1000)}, attacks...) {
		r := hostile(a)
		for i := range 300 {
			c := checkpoint(a, i, 2, i)
			c.Prompt = a
			r.Checkpoints = append(r.Checkpoints, c)
		}
		o := checkOutput(&Event{Head: a}, Settings{}, r)
		if len(o.GetTitle()) > 3*maxDescription || len(o.GetSummary()) > maxCheckText || len(o.GetText()) > maxCheckText || o.Text == nil {
			t.Errorf("%.20q: title %d, summary %d, text %d bytes", a, len(o.GetTitle()), len(o.GetSummary()), len(o.GetText()))
		}
	}
}
