package github

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report/github/githubtest"
)

// world is the fake with one pull request.
type world struct {
	t    *testing.T
	srv  *githubtest.Server
	repo *githubtest.Repo
	pr   githubtest.PullRequest
	ev   Event
	s    Settings
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, srv: githubtest.New(t)}
	w.repo = w.srv.AddRepo("acme/engine")
	w.repo.Commit("main", "Begin", map[string]string{"parity.yaml": "prompts: []\n"})
	w.pr = w.repo.AddPullRequest(githubtest.PullRequest{})
	w.ev = Event{Name: "pull_request", Owner: "acme", Repo: "engine", PullRequest: w.pr.Number, Head: w.pr.HeadSHA, Base: w.pr.BaseSHA,
		HeadRepo: "acme/engine", HeadRef: "feature", RunID: 100, RunAttempt: 1, ServerURL: "https://github.com", APIURL: w.srv.URL()}
	w.s = Settings{Token: githubtest.ActionsToken, Status: true, Comment: CommentAlways, SpecPath: "parity.yaml", Sleep: func(time.Duration) {}}
	return w
}

// client is one of the world's event and settings as they are now.
func (w *world) client() *Client {
	w.t.Helper()
	ev := w.ev
	c, err := New(&ev, w.s)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) publish(r *gate.Result) Published {
	w.t.Helper()
	return w.client().Publish(context.Background(), r)
}

// push moves the pull request's head on, and with it the event, as a new run.
func (w *world) push() {
	w.ev.Head = w.repo.Commit("feature", "More", map[string]string{"more.txt": time.Now().String()})
	w.ev.RunID++
}

// sticky are the comments that begin with the gate's marker.
func (w *world) sticky() []githubtest.Comment {
	var own []githubtest.Comment
	for _, c := range w.repo.Comments(w.pr.Number) {
		if strings.HasPrefix(c.Body, marker(w.client().s.Name)+"\n") && c.Author.Login != "mallory" {
			own = append(own, c)
		}
	}
	return own
}

// one is the only sticky comment.
func (w *world) one() githubtest.Comment {
	w.t.Helper()
	own := w.sticky()
	if len(own) != 1 {
		w.t.Fatalf("%d comments, want 1", len(own))
	}
	return own[0]
}

func (w *world) outcome() string {
	s, _ := parseSticky(w.one().Body, marker(w.client().s.Name))
	return s.Outcome
}

// to accepts the requests of a method whose path contains part.
func to(method, part string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method && strings.Contains(r.URL.Path, part) }
}

func wantSaid(t *testing.T, list []string, want string) {
	t.Helper()
	if !strings.Contains(strings.Join(list, "\n"), want) {
		t.Errorf("said %q, want %q in it", list, want)
	}
}

func wantNone(t *testing.T, list []string) {
	t.Helper()
	if len(list) > 0 {
		t.Errorf("failed: %q", list)
	}
}

// Where what is published, by event.
func TestPublishEvents(t *testing.T) {
	for _, tt := range []struct {
		name     string
		event    func(*Event)
		comments int
	}{
		{"pull_request", func(*Event) {}, 1},
		{"pull_request_target", func(ev *Event) { ev.Name = "pull_request_target" }, 1},
		{"issue_comment", func(ev *Event) { ev.Name = "issue_comment" }, 1},
		{"workflow_run", func(ev *Event) {
			ev.Name, ev.SourceEvent, ev.SourceRunID, ev.SourceRunAttempt = "workflow_run", "pull_request", 90, 2
		}, 1},
		{"workflow_run of no pull request", func(ev *Event) { ev.Name, ev.PullRequest = "workflow_run", 0 }, 0},
		{"merge_group", func(ev *Event) { ev.Name, ev.PullRequest = "merge_group", 0 }, 0},
		{"merge_group that names a pull request", func(ev *Event) { ev.Name = "merge_group" }, 0},
		{"schedule", func(ev *Event) { ev.Name, ev.PullRequest = "schedule", 0 }, 0},
		{"workflow_dispatch", func(ev *Event) { ev.Name = "workflow_dispatch" }, 0},
		{"push", func(ev *Event) { ev.Name = "push" }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.s.CheckRun = true
			tt.event(&w.ev)
			p := w.publish(failsAt(2))
			wantNone(t, p.Failed)
			if n := len(w.repo.Comments(w.pr.Number)); n != tt.comments {
				t.Errorf("%d comments, want %d", n, tt.comments)
			}
			if (p.CommentURL != "") != (tt.comments > 0) {
				t.Errorf("comment's address %q", p.CommentURL)
			}
			if s, c := w.repo.Statuses(w.ev.Head), w.repo.CheckRuns(w.ev.Head); len(s) != 1 || len(c) != 1 {
				t.Errorf("%d statuses and %d check runs on the head", len(s), len(c))
			}
			if len(p.Did) != 2+tt.comments {
				t.Errorf("did %q", p.Did)
			}
		})
	}
}

// What nobody asked for is not done.
func TestPublishNothing(t *testing.T) {
	w := newWorld(t)
	w.s.Status, w.s.Comment = false, CommentNever
	if p := w.publish(failsAt(1)); !reflect.DeepEqual(p, Published{}) {
		t.Errorf("%+v", p)
	}
	if n := len(w.srv.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
	wantSaid(t, w.client().Publish(context.Background(), nil).Failed, "there is no result")
}

// Whatever happens, the result stays as it was.
func TestPublishChangesNoResult(t *testing.T) {
	for _, r := range []func() *gate.Result{passes, func() *gate.Result { return failsAt(2) }, crashes, func() *gate.Result { return hostile("@x\n") }} {
		w := newWorld(t)
		w.s.CheckRun = true
		got, want := r(), r()
		w.publish(got)
		w.srv.Choose(githubtest.Random(1, 0.9, 100, append(githubtest.Refusals(), githubtest.Faults()...)...))
		w.publish(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

// A panic ends one step, is named, and shows no token.
func TestPublishRecovers(t *testing.T) {
	w := newWorld(t)
	sleeps := 0
	w.s.Sleep = func(time.Duration) {
		if sleeps++; sleeps == 1 {
			panic("sleepless with " + githubtest.ActionsToken)
		}
	}
	w.srv.InjectWhen(to("POST", "/statuses/"), githubtest.ServerError(502, false))
	p := w.publish(passes())
	if len(p.Failed) != 1 || p.Failed[0] != "could not set the commit status: sleepless with ***" {
		t.Errorf("failed %q", p.Failed)
	}
	w.one()
}

// A step that hangs leaves time to the next, and all of them end by the deadline.
func TestPublishDeadline(t *testing.T) {
	w := newWorld(t)
	w.s.Deadline, w.s.Sleep = 2*time.Second, nil
	hang := githubtest.Slow(time.Minute)
	w.srv.InjectWhen(to("POST", "/statuses/"), hang)
	start := time.Now()
	p := w.publish(passes())
	if len(p.Failed) != 1 {
		t.Errorf("failed %q", p.Failed)
	}
	wantSaid(t, p.Failed, "could not set the commit status")
	w.one()
	w.srv.Choose(func(*http.Request, int) *githubtest.Fault { return &hang })
	p = w.publish(passes())
	if took := time.Since(start); took > 15*time.Second || len(p.Failed) != 2 {
		t.Errorf("took %v, failed %q", took, p.Failed)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if p := w.client().Publish(ctx, passes()); len(p.Failed) != 2 {
		t.Errorf("cancelled, and failed %q", p.Failed)
	}
}

func TestMarkdownOptions(t *testing.T) {
	ev := &Event{Owner: "acme", Repo: "engine", Head: "aaa", Base: "bbb", ServerURL: "https://ghe.example/"}
	r := failsAt(2)
	o := MarkdownOptions(ev, Settings{SpecPath: "a b/§(x).yaml"}, r)
	if o.Head != "aaa" || o.GPU != "NVIDIA H200" || o.SpecURL != "https://ghe.example/acme/engine/blob/aaa/a%20b/%C2%A7%28x%29.yaml" || o.BaseSpecURL != "" {
		t.Errorf("%+v", o)
	}
	r.Spec.JudgedBy = "x"
	r.Baseline = &gate.Baseline{State: gate.BaselineCompared, Commit: "ccc", AgeS: 90}
	o = MarkdownOptions(ev, Settings{SpecPath: "p.yaml"}, r)
	if o.SpecURL != "https://ghe.example/acme/engine/blob/aaa/p.yaml" || o.BaseSpecURL != "https://ghe.example/acme/engine/blob/bbb/p.yaml" {
		t.Errorf("%+v", o)
	}
	r.Baseline.State = gate.BaselineIncomparable
	for _, path := range []string{"", "../x", "/etc/passwd", "."} {
		if o = MarkdownOptions(ev, Settings{SpecPath: path}, r); o.SpecURL != "" {
			t.Errorf("%q: %+v", path, o)
		}
	}
}

func TestRunURL(t *testing.T) {
	ev := &Event{Owner: "acme", Repo: "engine", RunID: 7, RunAttempt: 1, ServerURL: "https://github.com"}
	if got := ev.RunURL(); got != "https://github.com/acme/engine/actions/runs/7" {
		t.Error(got)
	}
	ev.RunAttempt = 3
	if got := ev.RunURL(); got != "https://github.com/acme/engine/actions/runs/7/attempts/3" {
		t.Error(got)
	}
	if got := (&Event{}).RunURL(); got != "" {
		t.Error(got)
	}
}
