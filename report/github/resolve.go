package github

import (
	"context"
	"errors"
	"fmt"
	"strings"

	gh "github.com/google/go-github/v62/github"
)

// ErrNoPullRequest says that a workflow_run belongs to no pull request that can
// be told for certain. Nothing may be written on any.
var ErrNoPullRequest = errors.New("no pull request")

// maxPullPages bounds the lists of pull requests, a hundred each.
const maxPullPages = 10

// Resolve completes an event of the client's repository from GitHub's API. Only
// events that do not say everything themselves ask anything.
//
// For a workflow_run that a pull request started it finds that pull request and
// sets PullRequest, Base, BaseRef and Labels. Its head repository and commit
// must both be the run's, so a fork cannot have its report written on somebody
// else's pull request by pushing the same commit. An open one goes before
// closed ones. None, or several, is an ErrNoPullRequest.
//
// For a comment on a pull request it sets the head and base.
func (c *Client) Resolve(ctx context.Context, ev *Event) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	switch {
	case ev.Name == "workflow_run" && ev.PullRequest == 0 && ev.ofPullRequest():
		return c.resolveRun(ctx, ev)
	case ev.PullRequest != 0 && ev.Head == "":
		return c.resolveHead(ctx, ev)
	}
	return nil
}

// ofPullRequest says whether a workflow_run reports on a pull request's run. A
// push to its branch has the same commit, and other numbers.
func (ev *Event) ofPullRequest() bool { return strings.HasPrefix(ev.SourceEvent, "pull_request") }

func (c *Client) resolveHead(ctx context.Context, ev *Event) error {
	pull, _, err := c.api.PullRequests.Get(ctx, ev.Owner, ev.Repo, ev.PullRequest)
	if err != nil {
		return fmt.Errorf("pull request %d: %s", ev.PullRequest, c.explain(err))
	}
	next := *ev
	next.Head, next.HeadRef = pull.GetHead().GetSHA(), pull.GetHead().GetRef()
	next.HeadRepo = nameOfRepository(&repository{pull.GetHead().GetRepo().GetFullName()})
	return ev.adopt(next, pull)
}

func (c *Client) resolveRun(ctx context.Context, ev *Event) error {
	if ev.HeadRepo == deletedRepo || ev.HeadRef == "" {
		return fmt.Errorf("%w of run %d: its branch or repository is gone", ErrNoPullRequest, ev.SourceRunID)
	}
	owner, _, _ := strings.Cut(ev.HeadRepo, "/")
	pulls, err := c.pulls(func(page int) ([]*gh.PullRequest, *gh.Response, error) {
		return c.api.PullRequests.List(ctx, ev.Owner, ev.Repo, &gh.PullRequestListOptions{
			State: "all", Head: owner + ":" + ev.HeadRef, ListOptions: gh.ListOptions{Page: page, PerPage: pageSize},
		})
	})
	if err != nil {
		return fmt.Errorf("pull requests of %s, branch %q: %s", ev.HeadRepo, ev.HeadRef, c.explain(err))
	}
	found := ev.matching(pulls)
	if len(found) == 0 {
		// A branch that was renamed is listed by its new name.
		of, err := c.pulls(func(page int) ([]*gh.PullRequest, *gh.Response, error) {
			return c.api.PullRequests.ListPullRequestsWithCommit(ctx, ev.Owner, ev.Repo, ev.Head, &gh.ListOptions{Page: page, PerPage: pageSize})
		})
		// A fork's commit is unknown here: 404 or 422.
		if err != nil && failureOf(err) != failNotFound && failureOf(err) != failInvalid {
			return fmt.Errorf("pull requests of commit %s: %s", ev.Head, c.explain(err))
		}
		found = ev.matching(of)
	}
	pull, err := ev.choose(found)
	if err != nil {
		return err
	}
	if pull == nil {
		return fmt.Errorf("%w of %s/%s has commit %s of %s, branch %q, as its head%s", ErrNoPullRequest,
			ev.Owner, ev.Repo, ev.Head, ev.HeadRepo, ev.HeadRef, ev.movedOn(pulls))
	}
	return ev.adopt(*ev, pull)
}

// pulls reads all pages of a list.
func (c *Client) pulls(page func(int) ([]*gh.PullRequest, *gh.Response, error)) ([]*gh.PullRequest, error) {
	var all []*gh.PullRequest
	for n, pages := 1, 0; n != 0; pages++ {
		if pages == maxPullPages {
			return nil, fmt.Errorf("more than %d pull requests", maxPullPages*pageSize)
		}
		some, resp, err := page(n)
		if err != nil {
			return nil, err
		}
		all, n = append(all, some...), resp.NextPage
	}
	return all, nil
}

// fromRepo says whether a pull request of this repository comes from the
// event's repository. Its branch may have been renamed since.
func (ev *Event) fromRepo(p *gh.PullRequest) bool {
	return strings.EqualFold(p.GetHead().GetRepo().GetFullName(), ev.HeadRepo) &&
		strings.EqualFold(p.GetBase().GetRepo().GetFullName(), ev.Owner+"/"+ev.Repo)
}

// matching are the pull requests from the run's repository with its very
// commit: the open ones, or when there are none, the closed.
func (ev *Event) matching(pulls []*gh.PullRequest) []*gh.PullRequest {
	var open, closed []*gh.PullRequest
	for _, p := range pulls {
		switch {
		case !ev.fromRepo(p) || !strings.EqualFold(p.GetHead().GetSHA(), ev.Head):
		case p.GetState() == "open":
			open = append(open, p)
		default:
			closed = append(closed, p)
		}
	}
	if len(open) > 0 {
		return open
	}
	return closed
}

// choose is the one pull request, nil for none. Of several, from one branch into
// two, the run itself may name one; a fork's names none.
func (ev *Event) choose(found []*gh.PullRequest) (*gh.PullRequest, error) {
	if len(found) > 1 {
		var named []*gh.PullRequest
		for _, p := range found {
			for _, n := range ev.sourcePulls {
				if p.GetNumber() == n {
					named = append(named, p)
				}
			}
		}
		if len(named) != 1 {
			return nil, fmt.Errorf("%w can be told for run %d: %s have commit %s as their head", ErrNoPullRequest, ev.SourceRunID, numbersOf(found), ev.Head)
		}
		found = named
	}
	if len(found) == 0 {
		return nil, nil
	}
	return found[0], nil
}

// movedOn says where the branch's open pull requests stand now.
func (ev *Event) movedOn(pulls []*gh.PullRequest) string {
	for _, p := range pulls {
		if ev.fromRepo(p) && p.GetHead().GetRef() == ev.HeadRef && p.GetState() == "open" {
			return fmt.Sprintf(": pull request %d has moved on to %s", p.GetNumber(), p.GetHead().GetSHA())
		}
	}
	return ""
}

func numbersOf(pulls []*gh.PullRequest) string {
	var s []string
	for _, p := range pulls {
		s = append(s, fmt.Sprintf("#%d", p.GetNumber()))
	}
	return strings.Join(s, ", ")
}

// adopt takes a pull request into the event, once everything in it is sound.
func (ev *Event) adopt(next Event, p *gh.PullRequest) error {
	next.PullRequest = p.GetNumber()
	next.Base, next.BaseRef = p.GetBase().GetSHA(), p.GetBase().GetRef()
	next.Labels = nil
	for _, l := range p.Labels {
		next.Labels = append(next.Labels, l.GetName())
	}
	if next.PullRequest <= 0 || next.Head == "" || next.Base == "" {
		return errors.New("GitHub's answer names no pull request, head or base commit")
	}
	if err := next.check(); err != nil {
		return fmt.Errorf("GitHub's answer on pull request %d: %w", next.PullRequest, err)
	}
	*ev = next
	return nil
}
