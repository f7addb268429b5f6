package github

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	gh "github.com/google/go-github/v62/github"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report/github/githubtest"
)

// emulated is a pull request of somebody else's fake.
type emulated struct {
	t   *testing.T
	em  *githubtest.Emulator
	ev  Event
	s   Settings
	api *gh.Client
}

func newEmulated(t *testing.T) *emulated {
	t.Helper()
	em := githubtest.StartEmulator(t)
	e := &emulated{t: t, em: em,
		ev: Event{Name: "pull_request", Owner: em.Owner, Repo: em.Repo, PullRequest: em.PullRequest, Head: em.Head, Base: em.Base,
			HeadRepo: em.Owner + "/" + em.Repo, HeadRef: "feature", RunID: 100, RunAttempt: 1, ServerURL: "https://github.com", APIURL: em.URL},
		s: Settings{Token: em.Token, SpecPath: "parity.yaml", Sleep: func(time.Duration) {}}}
	e.api = e.client().api
	return e
}

func (e *emulated) client() *Client {
	e.t.Helper()
	ev := e.ev
	c, err := New(&ev, e.s)
	if err != nil {
		e.t.Fatal(err)
	}
	return c
}

func (e *emulated) publish(r *gate.Result) Published {
	e.t.Helper()
	p := e.client().Publish(context.Background(), r)
	wantNone(e.t, p.Failed)
	return p
}

// add writes a comment as the token's user.
func (e *emulated) add(body string) {
	e.t.Helper()
	if _, _, err := e.api.Issues.CreateComment(context.Background(), e.em.Owner, e.em.Repo, e.ev.PullRequest, &gh.IssueComment{Body: &body}); err != nil {
		e.t.Fatal(err)
	}
}

// comments are all of the pull request, oldest first.
func (e *emulated) comments() []*gh.IssueComment {
	e.t.Helper()
	var all []*gh.IssueComment
	opt := &gh.IssueListCommentsOptions{ListOptions: gh.ListOptions{PerPage: 100}}
	for {
		page, resp, err := e.api.Issues.ListComments(context.Background(), e.em.Owner, e.em.Repo, e.ev.PullRequest, opt)
		if err != nil {
			e.t.Fatal(err)
		}
		all = append(all, page...)
		if resp.NextPage == 0 {
			return all
		}
		opt.Page = resp.NextPage
	}
}

// want fails unless there is one sticky comment, of this outcome, and returns its id.
func (e *emulated) want(step, outcome string) int64 {
	e.t.Helper()
	var ids []int64
	for _, c := range e.comments() {
		if s, ours := parseSticky(c.GetBody(), marker("paritygate")); ours {
			ids = append(ids, c.GetID())
			if s.Outcome != outcome {
				e.t.Errorf("%s: the comment says %s, want %s", step, s.Outcome, outcome)
			}
		}
	}
	if len(ids) != 1 {
		e.t.Fatalf("%s: %d comments, want 1", step, len(ids))
	}
	return ids[0]
}

// push moves the pull request's head on. The emulator does that when it is
// asked to bring the base branch in, and not when the branch moves.
func (e *emulated) push() {
	e.t.Helper()
	ctx := context.Background()
	_, _, err := e.api.PullRequests.UpdateBranch(ctx, e.em.Owner, e.em.Repo, e.ev.PullRequest, nil)
	if later := (*gh.AcceptedError)(nil); err != nil && !errors.As(err, &later) {
		e.t.Fatal(err)
	}
	pull, _, err := e.api.PullRequests.Get(ctx, e.em.Owner, e.em.Repo, e.ev.PullRequest)
	if err != nil || pull.GetHead().GetSHA() == e.ev.Head {
		e.t.Fatalf("the head stays at %s, %v", e.ev.Head, err)
	}
	e.ev.Head = pull.GetHead().GetSHA()
	e.ev.RunID++
}

// TestEmulator: the comment's life against a fake that others wrote.
func TestEmulator(t *testing.T) {
	e := newEmulated(t)
	for i := range 130 {
		e.add(fmt.Sprint("comment ", i))
	}
	id := int64(0)
	for i, r := range []*gate.Result{failsAt(2), passes(), crashes(), hostile("@everyone\n<img src=x onerror=alert(1)>")} {
		e.publish(r)
		at := e.want(fmt.Sprint("step ", i), r.Outcome.String())
		if i > 0 && at != id {
			t.Errorf("step %d: comment %d, want %d", i, at, id)
		}
		id = at
		e.push()
	}

	// An earlier run of the same commit, and one of an earlier commit, change nothing.
	e.ev.RunID = 1000
	e.publish(passes())
	e.ev.RunID = 999
	wantSaid(t, e.publish(failsAt(1)).Did, "a later run of the same commit")
	e.want("earlier run", "pass")
	old := e.ev
	e.push()
	now := e.ev
	e.ev = old
	e.ev.RunID = 2000
	wantSaid(t, e.publish(failsAt(1)).Did, "left the pull request's comments alone")
	e.want("earlier commit", "pass")
	e.ev = now

	// Duplicates go.
	e.add(marker("paritygate") + "\nsecond")
	e.add(marker("paritygate") + "\r\nthird")
	e.publish(failsAt(3))
	if at := e.want("heal", "fail"); at != id {
		t.Errorf("healed to comment %d, want %d", at, id)
	}

	// It is written anew when a reader deleted it.
	if _, err := e.api.Issues.DeleteComment(context.Background(), e.em.Owner, e.em.Repo, id); err != nil {
		t.Fatal(err)
	}
	e.publish(failsAt(3))
	id = e.want("deleted", "fail")

	e.s.Comment = CommentOnChange
	e.push()
	wantSaid(t, e.publish(failsAt(3)).Did, "left the comment as it is")
	e.want("on change", "fail")

	e.s.Comment, e.s.NewOnFlip = CommentAlways, true
	e.push()
	e.publish(passes())
	if at := e.want("flip", "pass"); at == id {
		t.Error("the flip made no new comment")
	}
	all := e.comments()
	if n := len(all); n != 132 || !strings.Contains(all[130].GetBody(), "Parity now **passes**") {
		t.Errorf("%d comments", n)
	}
}

// TestEmulatorConcurrent: runs at the same time, and check runs, against it.
func TestEmulatorConcurrent(t *testing.T) {
	e := newEmulated(t)
	e.s.CheckRun = true
	for _, n := range []int{2, 4} {
		var wg sync.WaitGroup
		said := make([]Published, n)
		for i := range n {
			e.ev.RunID++
			c := e.client()
			wg.Go(func() { said[i] = c.Publish(context.Background(), manyLines(70)) })
		}
		wg.Wait()
		for _, p := range said {
			wantNone(t, p.Failed)
		}
		e.want(fmt.Sprint(n, " at once"), "fail")
	}
	list, _, err := e.api.Checks.ListCheckRunsForRef(context.Background(), e.em.Owner, e.em.Repo, e.ev.Head, &gh.ListCheckRunsOptions{Filter: gh.String("all")})
	if err != nil || list.GetTotal() != 6 {
		t.Errorf("%d check runs of 6 runs, %v", list.GetTotal(), err)
	}
}
