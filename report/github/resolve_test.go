package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report/github/githubtest"
)

// scene is a repository with a pull request of its own and one of a fork.
type scene struct {
	*githubtest.Server
	repo, fork   *githubtest.Repo
	own, foreign githubtest.PullRequest
}

func newScene(t *testing.T) *scene {
	s := githubtest.New(t)
	w := &scene{Server: s, repo: s.AddRepo("acme/engine")}
	w.repo.Commit("main", "Begin", map[string]string{"parity.yaml": "version: 1\n"})
	w.fork = s.AddRepo("mallory/engine", githubtest.ForkOf(w.repo))
	w.fork.Commit("topic", "Change the fork", map[string]string{"fork.txt": "1\n"})
	w.own = w.repo.AddPullRequest(githubtest.PullRequest{HeadRef: "topic", Author: "octocat", Labels: []string{"parity"}})
	w.foreign = w.repo.AddPullRequest(githubtest.PullRequest{HeadRepo: "mallory/engine", HeadRef: "topic", Author: "mallory"})
	return w
}

// after is a client of the workflow_run event that follows a run of a branch.
func (w *scene) after(t *testing.T, headRepo, branch, head string, change func(*Event)) *Client {
	t.Helper()
	c, _ := clientOf(t, w.URL(), func(ev *Event, s *Settings) {
		*ev = Event{Name: "workflow_run", Owner: "acme", Repo: "engine", APIURL: w.URL(), ServerURL: "https://github.com",
			RunID: 11, RunAttempt: 1, Head: head, HeadRepo: headRepo, HeadRef: branch,
			SourceEvent: "pull_request", SourceRunID: 99, SourceRunAttempt: 2, Conclusion: "success"}
		s.Token = githubtest.ActionsToken
		if change != nil {
			change(ev)
		}
	})
	return c
}

func TestResolve(t *testing.T) {
	tests := []struct {
		name string
		// set changes the world and says which run is reported on.
		set    func(*testing.T, *scene) (repo, branch, head string)
		change func(*Event)
		want   func(*scene) int // 0 for ErrNoPullRequest
		text   string
	}{
		{name: "own branch", set: func(_ *testing.T, w *scene) (string, string, string) { return "acme/engine", "topic", w.own.HeadSHA },
			want: func(w *scene) int { return w.own.Number }},
		{name: "a fork's branch of the same name", set: func(_ *testing.T, w *scene) (string, string, string) {
			return "Mallory/Engine", "topic", w.foreign.HeadSHA
		}, want: func(w *scene) int { return w.foreign.Number }},
		{name: "merged meanwhile", set: func(_ *testing.T, w *scene) (string, string, string) {
			w.repo.Merge(w.own.Number, "squash")
			return "acme/engine", "topic", w.own.HeadSHA
		}, want: func(w *scene) int { return w.own.Number }},
		{name: "open goes before closed", set: func(_ *testing.T, w *scene) (string, string, string) {
			w.repo.Commit("release", "Release", nil)
			w.repo.AddPullRequest(githubtest.PullRequest{HeadRef: "topic", BaseRef: "release", State: "closed"})
			return "acme/engine", "topic", w.own.HeadSHA
		}, want: func(w *scene) int { return w.own.Number }},
		{name: "two open, and a fork's run names none", set: func(_ *testing.T, w *scene) (string, string, string) {
			w.repo.Commit("release", "Release", nil)
			w.repo.AddPullRequest(githubtest.PullRequest{HeadRef: "topic", BaseRef: "release"})
			return "acme/engine", "topic", w.own.HeadSHA
		}, text: "can be told for run 99: #3, #1 have commit"},
		{name: "two open, and the run names one", set: func(_ *testing.T, w *scene) (string, string, string) {
			w.repo.Commit("release", "Release", nil)
			w.repo.AddPullRequest(githubtest.PullRequest{HeadRef: "topic", BaseRef: "release"})
			return "acme/engine", "topic", w.own.HeadSHA
		}, change: func(ev *Event) { ev.sourcePulls = []int{1, 99} }, want: func(*scene) int { return 1 }},
		{name: "two open, and the run names both", set: func(_ *testing.T, w *scene) (string, string, string) {
			w.repo.Commit("release", "Release", nil)
			w.repo.AddPullRequest(githubtest.PullRequest{HeadRef: "topic", BaseRef: "release"})
			return "acme/engine", "topic", w.own.HeadSHA
		}, change: func(ev *Event) { ev.sourcePulls = []int{3, 1} }, text: "can be told"},
		{name: "pushed over", set: func(_ *testing.T, w *scene) (string, string, string) {
			old := w.own.HeadSHA
			w.repo.Commit("topic", "More", map[string]string{"more": "1"})
			return "acme/engine", "topic", old
		}, text: ": pull request 1 has moved on to "},
		{name: "renamed branch: by its commit", set: func(_ *testing.T, w *scene) (string, string, string) {
			return "acme/engine", "old-name", w.own.HeadSHA
		}, want: func(w *scene) int { return w.own.Number }},
		{name: "no pull request at all", set: func(_ *testing.T, w *scene) (string, string, string) {
			return "acme/engine", "alone", w.repo.Commit("alone", "Alone", map[string]string{"x": "1"})
		}, text: "no pull request of acme/engine has commit"},
		{name: "a commit that the repository does not have", set: func(*testing.T, *scene) (string, string, string) {
			return "mallory/engine", "gone", sha('e')
		}, text: "no pull request of acme/engine has commit"},
		{name: "a fork that is deleted", set: func(_ *testing.T, w *scene) (string, string, string) {
			return deletedRepo, "topic", w.own.HeadSHA
		}, text: "its branch or repository is gone"},
		{name: "a branch that is deleted", set: func(_ *testing.T, w *scene) (string, string, string) {
			return "acme/engine", "", w.own.HeadSHA
		}, text: "its branch or repository is gone"},

		// Attacks: a fork's run may never reach another's pull request.
		{name: "attack: a fork pushes the commit of another's pull request", set: func(_ *testing.T, w *scene) (string, string, string) {
			w.fork.SetRef("heads/evil", w.own.HeadSHA)
			return "mallory/engine", "evil", w.own.HeadSHA
		}, text: "no pull request of acme/engine has commit"},
		{name: "attack: and moves its own pull request to it, which gets what is its own", set: func(_ *testing.T, w *scene) (string, string, string) {
			w.fork.SetRef("heads/topic", w.own.HeadSHA)
			return "mallory/engine", "topic", w.own.HeadSHA
		}, want: func(w *scene) int { return w.foreign.Number }},
		{name: "attack: and opens a pull request of it, which gets what is its own", set: func(_ *testing.T, w *scene) (string, string, string) {
			w.fork.SetRef("heads/twin", w.own.HeadSHA)
			w.repo.AddPullRequest(githubtest.PullRequest{HeadRepo: "mallory/engine", HeadRef: "twin", Author: "mallory"})
			return "mallory/engine", "twin", w.own.HeadSHA
		}, want: func(*scene) int { return 3 }},
		{name: "attack: and claims to be named", set: func(_ *testing.T, w *scene) (string, string, string) {
			w.fork.SetRef("heads/evil", w.own.HeadSHA)
			return "mallory/engine", "evil", w.own.HeadSHA
		}, change: func(ev *Event) { ev.sourcePulls = []int{1} }, text: "no pull request of acme/engine has commit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newScene(t)
			repo, branch, head := tt.set(t, w)
			c := w.after(t, repo, branch, head, tt.change)
			err := c.Resolve(context.Background(), c.ev)
			if tt.want == nil {
				if !errors.Is(err, ErrNoPullRequest) || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("error %v, want %q", err, tt.text)
				}
				if c.ev.PullRequest != 0 || c.ev.Base != "" || c.ev.BaseRef != "" || c.ev.Labels != nil {
					t.Errorf("event %+v", c.ev)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			p := w.repo.PullRequest(tt.want(w))
			if c.ev.PullRequest != p.Number || c.ev.Base != p.BaseSHA || c.ev.BaseRef != p.BaseRef || !slices.Equal(c.ev.Labels, p.Labels) || c.ev.Head != head {
				t.Errorf("event %+v\nwant %+v", c.ev, p)
			}
			n := w.Tried()
			if err := c.Resolve(context.Background(), c.ev); err != nil || w.Tried() != n {
				t.Errorf("a resolved event is asked for again: %v", err)
			}
		})
	}
}

// TestResolveAsksNothing: a push to a pull request's branch has its commit, and
// other numbers.
func TestResolveAsksNothing(t *testing.T) {
	w := newScene(t)
	for _, change := range []func(*Event){
		func(ev *Event) { ev.SourceEvent = "push" },
		func(ev *Event) { ev.SourceEvent = "merge_group" },
		func(ev *Event) { ev.Name = "push" },
		func(ev *Event) { ev.Name, ev.PullRequest = "pull_request", 7 },
	} {
		c := w.after(t, "acme/engine", "topic", w.own.HeadSHA, change)
		before := *c.ev
		if err := c.Resolve(context.Background(), c.ev); err != nil || c.ev.PullRequest != before.PullRequest || c.ev.Base != "" {
			t.Errorf("%v, %+v", err, c.ev)
		}
	}
	if n := w.Tried(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestResolveComment(t *testing.T) {
	w := newScene(t)
	c := w.after(t, "", "", "", func(ev *Event) {
		ev.Name, ev.PullRequest, ev.SourceEvent, ev.Labels = "issue_comment", w.own.Number, "", []string{"old"}
	})
	if err := c.Resolve(context.Background(), c.ev); err != nil {
		t.Fatal(err)
	}
	if p := w.own; c.ev.Head != p.HeadSHA || c.ev.HeadRef != "topic" || c.ev.HeadRepo != "acme/engine" || c.ev.Base != p.BaseSHA || c.ev.BaseRef != "main" || c.ev.Fork() || !slices.Equal(c.ev.Labels, p.Labels) {
		t.Errorf("%+v", c.ev)
	}
	c.ev.PullRequest, c.ev.Head, c.ev.HeadRepo = w.foreign.Number, "", ""
	if err := c.Resolve(context.Background(), c.ev); err != nil || c.ev.HeadRepo != "mallory/engine" || !c.ev.Fork() || c.ev.Labels != nil {
		t.Errorf("%v, %+v", err, c.ev)
	}
	c.ev.PullRequest, c.ev.Head = 77, ""
	if err := c.Resolve(context.Background(), c.ev); err == nil || !strings.Contains(err.Error(), "pull request 77: GitHub answered 404") || c.ev.Head != "" {
		t.Errorf("%v, %+v", err, c.ev)
	}
}

// TestResolveFails: what cannot be asked is no answer.
func TestResolveFails(t *testing.T) {
	for name, faults := range map[string][]githubtest.Fault{
		"list":         {githubtest.Forbidden()},
		"second list":  {{}, githubtest.Forbidden()},
		"server error": slices.Repeat([]githubtest.Fault{githubtest.BadGateway(false)}, 6),
	} {
		w := newScene(t)
		c := w.after(t, "acme/engine", "old-name", w.own.HeadSHA, nil)
		w.Inject(faults...)
		if err := c.Resolve(context.Background(), c.ev); err == nil || errors.Is(err, ErrNoPullRequest) || c.ev.PullRequest != 0 {
			t.Errorf("%s: %v, %+v", name, err, c.ev)
		}
	}
}

// pullsOf answers a list of pull requests, in pages of two.
func pullsOf(pulls ...map[string]any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		page := 1
		_, _ = fmt.Sscan(r.URL.Query().Get("page"), &page)
		from := min(2*(page-1), len(pulls))
		to := min(from+2, len(pulls))
		if to < len(pulls) {
			w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?page=%d>; rel="next"`, r.Host, r.URL.Path, page+1))
		}
		_ = json.NewEncoder(w).Encode(pulls[from:to])
	}
}

func pullJSON(number int, state, head string, repo any) map[string]any {
	of := map[string]any{"full_name": "acme/engine"}
	return map[string]any{"number": number, "state": state, "head": map[string]any{"ref": "topic", "sha": head, "repo": repo},
		"base": map[string]any{"ref": "main", "sha": sha('b'), "repo": of}}
}

// TestResolvePages: all pages are read, and what GitHub may answer beyond the
// fake: heads without a repository, a base that is elsewhere, nonsense.
func TestResolvePages(t *testing.T) {
	of := map[string]any{"full_name": "acme/engine"}
	a := sha('a')
	elsewhere := pullJSON(4, "open", a, of)
	elsewhere["base"].(map[string]any)["repo"] = map[string]any{"full_name": "other/engine"}
	badBase, noBase, capitals, renamed := pullJSON(4, "open", a, of), pullJSON(4, "open", a, of), pullJSON(4, "open", strings.ToUpper(a), map[string]any{"full_name": "ACME/Engine"}), pullJSON(4, "open", sha('c'), of)
	badBase["base"].(map[string]any)["sha"] = "main"
	noBase["base"].(map[string]any)["sha"] = ""
	capitals["base"].(map[string]any)["repo"] = map[string]any{"full_name": "Acme/ENGINE"}
	renamed["head"].(map[string]any)["ref"] = "other"
	tests := []struct {
		name  string
		pulls []map[string]any
		want  int
		text  string
	}{
		{"on the third page", []map[string]any{pullJSON(1, "closed", sha('c'), of), pullJSON(2, "closed", sha('d'), of), pullJSON(3, "closed", sha('c'), nil), pullJSON(4, "closed", sha('c'), of), pullJSON(5, "open", a, of)}, 5, ""},
		{"its repository is gone", []map[string]any{pullJSON(4, "open", a, nil)}, 0, "no pull request"},
		{"of another repository", []map[string]any{elsewhere}, 0, "no pull request"},
		{"capitals", []map[string]any{capitals}, 4, ""},
		{"moved on", []map[string]any{pullJSON(4, "closed", sha('c'), of), pullJSON(5, "open", sha('d'), of)}, 0, "as its head: pull request 5 has moved on to " + sha('d')},
		{"nothing that has moved on", []map[string]any{pullJSON(4, "closed", sha('c'), of), pullJSON(5, "open", a, nil), renamed, elsewhere}, 0, "as its head$"},
		{"no base", []map[string]any{noBase}, 0, "names no pull request"},
		{"a base that is no commit", []map[string]any{badBase}, 0, "GitHub's answer on pull request 4: base commit"},
		{"number 0", []map[string]any{pullJSON(0, "open", a, of)}, 0, "names no pull request"},
		{"the last of too many", append(slices.Repeat([]map[string]any{pullJSON(1, "closed", sha('c'), of)}, 2*maxPullPages), pullJSON(5, "open", a, of)), 0, "more than 1000 pull requests"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(t, slices.Repeat([]http.HandlerFunc{pullsOf(tt.pulls...)}, 2*maxPullPages)...)
			c, _ := clientOf(t, s.web.URL, func(ev *Event, _ *Settings) {
				*ev = Event{Name: "workflow_run", Owner: "acme", Repo: "engine", APIURL: s.web.URL, Head: a, HeadRepo: "acme/engine", HeadRef: "topic", SourceEvent: "pull_request"}
			})
			err := c.Resolve(context.Background(), c.ev)
			if c.ev.PullRequest != tt.want || (err == nil) != (tt.text == "") || err != nil && !strings.Contains(err.Error()+"$", tt.text) {
				t.Errorf("pull request %d, error %v", c.ev.PullRequest, err)
			}
		})
	}
}

// truthful is the source of a run of the fork's pull request.
func (w *scene) truthful() gate.Source {
	return gate.Source{Repository: "acme/engine", Event: "pull_request", PullRequest: w.foreign.Number,
		Head: w.foreign.HeadSHA, Base: w.foreign.BaseSHA, RunID: 99, RunAttempt: 2}
}

// TestForkClaimsAnotherPullRequest is the attack of the threat model: the job of
// a fork's pull request writes a results.json that passes and says that it is of
// somebody else's pull request. It is refused, and GitHub is left as it was.
func TestForkClaimsAnotherPullRequest(t *testing.T) {
	w := newScene(t)
	claim := w.truthful()
	claim.PullRequest, claim.Head, claim.Base = w.own.Number, w.own.HeadSHA, w.own.BaseSHA
	c := w.after(t, "mallory/engine", "topic", w.foreign.HeadSHA, nil)
	err := c.Verify(context.Background(), passed(&claim))
	bad := (*ClaimError)(nil)
	if !errors.As(err, &bad) || len(bad.Claims) != 2 {
		t.Fatalf("the attack got through: %v", err)
	}
	for _, part := range []string{
		`it claims pull request "1", GitHub says 2`,
		fmt.Sprintf(`it claims head commit %q, GitHub says %s`, w.own.HeadSHA, w.foreign.HeadSHA),
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %v\nwant %s", err, part)
		}
	}
	if c.ev.PullRequest != w.foreign.Number || w.Writes() != 0 {
		t.Errorf("event %+v, %d writes", c.ev, w.Writes())
	}
	truth := w.truthful()
	if err := c.Verify(context.Background(), passed(&truth)); err != nil {
		t.Errorf("the truth is refused: %v", err)
	}
}

func TestVerify(t *testing.T) {
	run := func(t *testing.T, w *scene) *Client {
		return w.after(t, "mallory/engine", "topic", w.foreign.HeadSHA, nil)
	}
	tests := []struct {
		name   string
		source func(*gate.Source, *scene)
		event  func(*Event, *scene)
		fail   bool   // the result says fail
		want   string // what is claimed wrongly, separated by commas; "" for none
		text   string
	}{
		{name: "the truth"},
		{name: "in other letters", source: func(s *gate.Source, _ *scene) {
			s.Repository, s.Head = "Acme/ENGINE", strings.ToUpper(s.Head)
		}},
		{name: "repository", source: func(s *gate.Source, _ *scene) { s.Repository = "acme/other" }, want: "repository", text: `"acme/other", GitHub says acme/engine`},
		{name: "no repository", source: func(s *gate.Source, _ *scene) { s.Repository = "" }, want: "repository"},
		{name: "the fork's repository", source: func(s *gate.Source, _ *scene) { s.Repository = "mallory/engine" }, want: "repository"},
		{name: "pull request", source: func(s *gate.Source, _ *scene) { s.PullRequest = 1 }, want: "pull request", text: `"1", GitHub says 2`},
		{name: "no pull request", source: func(s *gate.Source, _ *scene) { s.PullRequest = 0 }, want: "pull request", text: `"0", GitHub says 2`},
		{name: "head", source: func(s *gate.Source, w *scene) { s.Head = w.own.HeadSHA }, want: "head commit"},
		{name: "no head", source: func(s *gate.Source, _ *scene) { s.Head = "" }, want: "head commit"},
		{name: "half a head", source: func(s *gate.Source, _ *scene) { s.Head = s.Head[:20] }, want: "head commit"},
		{name: "run", source: func(s *gate.Source, _ *scene) { s.RunID = 98 }, want: "run", text: `"98", GitHub says 99`},
		{name: "no run", source: func(s *gate.Source, _ *scene) { s.RunID, s.RunAttempt = 0, 0 }, want: "run,attempt"},
		{name: "the reporting run, of another event", source: func(s *gate.Source, _ *scene) { s.RunID = 11 }, want: "run"},
		{name: "an earlier attempt: its job passed and was not run again", source: func(s *gate.Source, _ *scene) { s.RunAttempt = 1 }},
		{name: "a later attempt", source: func(s *gate.Source, _ *scene) { s.RunAttempt = 3 }, want: "attempt", text: `"3", GitHub says 2`},
		{name: "event", source: func(s *gate.Source, _ *scene) { s.Event = "push" }, want: "event", text: `"push", GitHub says pull_request`},
		{name: "everything", source: func(s *gate.Source, _ *scene) { *s = gate.Source{} }, want: "repository,event,run,attempt,pull request,head commit"},
		{name: "words that are no commit", source: func(s *gate.Source, _ *scene) { s.Head = "@everyone\x1b[31m\n::error::" + strings.Repeat("x", 5000) }, want: "head commit",
			text: `"@everyone\x1b[31m\n::error::xxxx`},

		{name: "passes though its run failed", event: func(ev *Event, _ *scene) { ev.Conclusion = "failure" }, want: "outcome", text: `it claims outcome "pass", GitHub says run 99 ended as "failure"`},
		{name: "passes though its run was cancelled", event: func(ev *Event, _ *scene) { ev.Conclusion = "cancelled" }, want: "outcome"},
		{name: "passes though its run has not ended", event: func(ev *Event, _ *scene) { ev.Conclusion = "" }, want: "outcome"},
		{name: "fails as its run did", fail: true, event: func(ev *Event, _ *scene) { ev.Conclusion = "failure" }},
		{name: "fails where failing fails no job", fail: true},

		{name: "pull request that moved on", event: func(_ *Event, w *scene) { w.fork.Commit("topic", "More", map[string]string{"more": "1"}) }, want: "pull request", text: "pull request 2 has moved on to "},
		{name: "run of a push", source: func(s *gate.Source, _ *scene) { s.Event, s.PullRequest = "push", 0 }, event: func(ev *Event, _ *scene) { ev.SourceEvent = "push" }},
		{name: "run of a push that claims a pull request", source: func(s *gate.Source, _ *scene) { s.Event = "push" }, event: func(ev *Event, _ *scene) { ev.SourceEvent = "push" }, want: "pull request", text: `"2", GitHub says none`},
		{name: "a base that moved", source: func(s *gate.Source, _ *scene) { s.Base = sha('e') }},
		{name: "made by the run that reports", source: func(s *gate.Source, _ *scene) { s.Event, s.RunID, s.RunAttempt = "workflow_run", 11, 1 }, event: func(ev *Event, _ *scene) { ev.Conclusion = "failure" }},

		{name: "pull request's own job", source: func(s *gate.Source, _ *scene) { s.RunID, s.RunAttempt = 11, 1 }, event: ownJob},
		{name: "pull request's own job, in capitals", source: func(s *gate.Source, _ *scene) {
			s.RunID, s.RunAttempt, s.Base = 11, 1, strings.ToUpper(s.Base)
		}, event: ownJob},
		{name: "pull request's own job, another run", event: ownJob, want: "run,attempt"},
		{name: "pull request's own job, another base", source: func(s *gate.Source, _ *scene) { s.RunID, s.RunAttempt, s.Base = 11, 1, sha('e') }, event: ownJob, want: "base commit"},
		{name: "pull request's own job, another pull request", source: func(s *gate.Source, _ *scene) { s.RunID, s.RunAttempt, s.PullRequest = 11, 1, 1 }, event: ownJob, want: "pull request"},
		{name: "merge queue", source: func(s *gate.Source, _ *scene) {
			s.RunID, s.RunAttempt, s.Event, s.PullRequest = 11, 1, "merge_group", 0
		}, event: func(ev *Event, w *scene) {
			ownJob(ev, w)
			ev.Name, ev.PullRequest = "merge_group", 0
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newScene(t)
			c := run(t, w)
			source := w.truthful()
			if tt.source != nil {
				tt.source(&source, w)
			}
			if tt.event != nil {
				tt.event(c.ev, w)
			}
			r := passed(&source)
			if tt.fail {
				r.Outcome = gate.Fail
			}
			err := c.Verify(context.Background(), r)
			var got []string
			if bad := (*ClaimError)(nil); errors.As(err, &bad) {
				for _, claim := range bad.Claims {
					got = append(got, claim.What)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if strings.Join(got, ",") != tt.want {
				t.Errorf("claims %q, want %q: %v", got, tt.want, err)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.text) || len(err.Error()) > 800 || strings.ContainsAny(err.Error(), "\n\x1b")) {
				t.Errorf("error %v, want %s", err, tt.text)
			}
		})
	}
}

// ownJob makes the event that of the fork's pull request itself.
func ownJob(ev *Event, w *scene) {
	*ev = Event{Name: "pull_request", Owner: "acme", Repo: "engine", RunID: 11, RunAttempt: 1, PullRequest: w.foreign.Number,
		Head: w.foreign.HeadSHA, Base: w.foreign.BaseSHA, HeadRepo: "mallory/engine", APIURL: ev.APIURL}
}

func TestClaimError(t *testing.T) {
	for _, tt := range []struct{ claimed, want string }{
		{strings.Repeat("x", 100), strings.Repeat("x", 100)},
		{strings.Repeat("x", 101), strings.Repeat("x", 100) + "…"},
		{strings.Repeat("x", 99) + "é", strings.Repeat("x", 99) + "…"},
	} {
		err := &ClaimError{[]Claim{{"run", tt.claimed, "7"}, {"attempt", "2", "1"}}}
		if want := fmt.Sprintf(`the result is not this run's; it claims run "%s", GitHub says 7; it claims attempt "2", GitHub says 1`, tt.want); err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestVerifyWithoutSource(t *testing.T) {
	w := newScene(t)
	c := w.after(t, "mallory/engine", "topic", w.foreign.HeadSHA, nil)
	if err := c.Verify(context.Background(), passed(nil)); err == nil || !strings.Contains(err.Error(), "does not say which commit it measured") {
		t.Errorf("after another workflow: %v", err)
	}
	if err := c.Verify(context.Background(), nil); err == nil {
		t.Error("no result is verified")
	}
	ownJob(c.ev, w)
	if err := c.Verify(context.Background(), passed(nil)); err != nil {
		t.Errorf("in the same job: %v", err)
	}
	if n := w.Tried(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// TestVerifyCannotAsk: what cannot be checked is not believed.
func TestVerifyCannotAsk(t *testing.T) {
	w := newScene(t)
	w.Choose(func(*http.Request, int) *githubtest.Fault { f := githubtest.BadGateway(false); return &f })
	c := w.after(t, "mallory/engine", "topic", w.foreign.HeadSHA, nil)
	source := w.truthful()
	err := c.Verify(context.Background(), passed(&source))
	if bad := (*ClaimError)(nil); err == nil || errors.As(err, &bad) || !strings.Contains(err.Error(), "cannot tell whether the result is this run's: ") {
		t.Errorf("%v", err)
	}
}
