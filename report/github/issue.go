package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	gh "github.com/google/go-github/v62/github"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
)

// maxIssueTitle keeps an issue's title below GitHub's 256 characters.
const maxIssueTitle = 200

// ownIssue is an open issue that this gate wrote of this branch.
type ownIssue struct {
	number int
	url    string
	title  string
	body   string
	state  sticky
}

// tracker brings the repository's issues to what they should be: one is open
// while the branch does not pass, and none while it does. As with comments it
// looks, makes one change and looks again: of several the oldest stays.
type tracker struct {
	c      *Client
	broken bool
	author string
	marker string
	branch string
	mine   sticky
	title  string
	body   string
	bye    string // comment before an issue is closed

	created bool   // this run certainly made one
	wrote   bool   // the last change wrote the report
	did     string // sentence for Published.Did
}

// Issue keeps one issue open while the branch of the event does not pass, with
// the report and the commits between the baseline's and this one, and closes it
// with a comment once it passes. It never fails: what could not be done is in
// Published.Failed. r is read and never changed.
func (c *Client) Issue(ctx context.Context, r *gate.Result, broken bool) Published {
	var p Published
	if r == nil {
		p.Failed = append(p.Failed, "could not write the issue: there is no result")
		return p
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	c.step(ctx, 1, "write the issue", func(ctx context.Context) {
		k, err := c.newTracker(ctx, r, broken)
		if err == nil {
			err = k.settle(ctx)
		}
		if err != nil {
			p.Failed = append(p.Failed, "could not write the issue: "+c.whyNoIssue(err))
		}
		if k != nil && k.did != "" {
			p.Did = append(p.Did, k.did)
		}
	}, &p)
	return p
}

// whyNoIssue is why, with what the workflow can do about it.
func (c *Client) whyNoIssue(err error) string {
	switch statusOf(err) {
	case http.StatusForbidden:
		return "the job's permissions lack issues: write: " + c.explain(err) + inSummary
	case http.StatusGone:
		return "the repository has its issues switched off" + inSummary
	}
	return c.why(err)
}

func (c *Client) newTracker(ctx context.Context, r *gate.Result, broken bool) (*tracker, error) {
	k := &tracker{c: c, broken: broken, branch: c.ev.HeadRef, mine: stickyOf(c.ev, r)}
	if k.branch == "" {
		k.branch = short(c.ev.Head)
	}
	k.marker = fmt.Sprintf("<!-- paritygate-issue:%s -->", markerName(markerName(c.s.Name)+":"+k.branch))
	k.title = titleOf(r, k.branch, c.s.Name)
	k.bye = fmt.Sprintf("Parity passes again with `%.12s`", c.ev.Head)
	if u := c.ev.RunURL(); u != "" {
		k.bye += ", in [this run](" + u + ")"
	}
	k.bye += ".\n"
	if broken {
		if err := k.write(ctx, r); err != nil {
			return k, err
		}
	}
	err := c.repeat(ctx, func() (err error) {
		k.author, err = c.author(ctx)
		return err
	})
	return k, err
}

// titleOf is one line: GitHub reads neither Markdown nor mentions in it, but
// for backticks.
func titleOf(r *gate.Result, branch, name string) string {
	t := "Parity fails on " + branch
	if r.Outcome != gate.Fail {
		t = "Parity cannot be judged on " + branch
	}
	if name != defaultName {
		t += " (" + name + ")"
	}
	what := report.First(r)
	if r.Outcome != gate.Fail || what == "" {
		what = report.Headline(r)
	}
	// What is not printable is written as an escape, so that it is cut again.
	t = report.Plain(report.Plain(t+": "+what, maxIssueTitle), maxIssueTitle)
	return strings.ReplaceAll(basicPlane(t), "`", "'")
}

// write makes the issue's body: the report, then where to look.
func (k *tracker) write(ctx context.Context, r *gate.Result) error {
	line, where := k.mine.line(), k.c.suspects(ctx, r)
	o := MarkdownOptions(k.c.ev, k.c.s, r)
	o.Marker, o.Budget = k.marker, commentBudget-len(line)-len(where)-3
	var b strings.Builder
	if err := report.Markdown(&b, r, o); err != nil {
		return err
	}
	first, rest, _ := strings.Cut(b.String(), "\n")
	k.body = first + "\n" + line + "\n" + strings.TrimRight(rest, "\n") + "\n\n" + where
	return nil
}

// settle looks and changes until there is nothing left to change.
func (k *tracker) settle(ctx context.Context) error {
	for range maxLooks {
		if k.wrote {
			k.wrote = false
			_ = k.c.wait(ctx, settleWait) // without time for it the look comes at once
		}
		done := false
		err := k.c.repeat(ctx, func() (err error) {
			done, err = k.step(ctx)
			return err
		})
		if done || err != nil {
			return err
		}
	}
	return fmt.Errorf("others keep changing the issues: gave up after %d changes", maxLooks)
}

// step is one look and one change.
func (k *tracker) step(ctx context.Context) (done bool, err error) {
	own, err := k.list(ctx, k.author)
	if err == nil && len(own) == 0 && k.broken && !k.created {
		// A server that does not know the login of an app lists nothing of it:
		// before one is made all are looked at.
		own, err = k.list(ctx, "")
	}
	if err != nil {
		return false, err
	}
	latest := ownIssue{}
	for _, o := range own {
		if o.state.Run > latest.state.Run {
			latest = o
		}
	}
	later := latest.state.Run > k.mine.Run
	switch {
	case later && latest.number != own[0].number:
		return false, k.edit(ctx, own[0], latest.title, latest.body)
	case len(own) > 1: // two runs at the same time, or a list that lagged behind
		return false, k.close(ctx, own[len(own)-1], fmt.Sprintf("This is #%d once more.\n", own[0].number))
	case later:
		k.did = "left the issue as it is: a later run wrote it: " + latest.url
		return true, nil
	case !k.broken && len(own) == 1:
		if err := k.close(ctx, own[0], k.bye); err != nil {
			return false, err
		}
		k.did = "closed the issue: " + own[0].url
		return false, nil
	case !k.broken:
		return true, nil
	case len(own) == 0 && k.created:
		return true, nil // the list lags behind, or somebody closed it at once
	case len(own) == 0:
		return false, k.create(withoutRepeating(ctx))
	case own[0].title == k.title && sameText(own[0].body, k.body):
		if k.did == "" {
			k.did = "the issue holds this report: " + own[0].url
		}
		return true, nil
	}
	if err := k.edit(ctx, own[0], k.title, k.body); err != nil {
		return false, err
	}
	if k.wrote = true; !k.created {
		k.did = "updated the issue: " + own[0].url
	}
	return false, nil
}

// list reads all open issues of a creator, "" for everybody's, and keeps those of
// the author with the marker, oldest first.
func (k *tracker) list(ctx context.Context, creator string) ([]ownIssue, error) {
	ev := k.c.ev
	opt := &gh.IssueListByRepoOptions{State: "open", Creator: creator, Sort: "created", Direction: "asc", ListOptions: gh.ListOptions{PerPage: pageSize}}
	var own []ownIssue
	for range maxPages {
		page, resp, err := k.c.api.Issues.ListByRepo(ctx, ev.Owner, ev.Repo, opt)
		if err != nil {
			return nil, err
		}
		if page == nil {
			return nil, errors.New("GitHub's list of issues came back empty")
		}
		for _, i := range page {
			state, ours := parseSticky(i.GetBody(), k.marker)
			if ours && i.GetNumber() > 0 && !i.IsPullRequest() && i.GetState() == "open" && strings.EqualFold(i.GetUser().GetLogin(), k.author) {
				own = append(own, ownIssue{i.GetNumber(), i.GetHTMLURL(), i.GetTitle(), i.GetBody(), state})
			}
		}
		if resp.NextPage == 0 {
			slices.SortFunc(own, func(a, b ownIssue) int { return a.number - b.number })
			return slices.CompactFunc(own, func(a, b ownIssue) bool { return a.number == b.number }), nil
		}
		opt.Page = resp.NextPage
	}
	return nil, fmt.Errorf("more than %d issues and pull requests are open", maxPages*pageSize)
}

func (k *tracker) create(ctx context.Context) error {
	i, _, err := k.c.api.Issues.Create(ctx, k.c.ev.Owner, k.c.ev.Repo, &gh.IssueRequest{Title: &k.title, Body: &k.body})
	if err != nil {
		return err
	}
	if i.GetNumber() == 0 {
		return &unknownError{http.MethodPost, "issue", errors.New("GitHub's answer names no issue")}
	}
	if login := i.GetUser().GetLogin(); login != "" {
		k.author = login // whoever it was thought to be: earlier issues of this author count
	}
	k.created, k.wrote, k.did = true, true, "opened an issue: "+i.GetHTMLURL()
	return nil
}

func (k *tracker) edit(ctx context.Context, o ownIssue, title, body string) error {
	_, _, err := k.c.api.Issues.Edit(ctx, k.c.ev.Owner, k.c.ev.Repo, o.number, &gh.IssueRequest{Title: &title, Body: &body})
	return err
}

// close comments and then closes: the other way round a comment that failed
// would be looked for by nobody.
func (k *tracker) close(ctx context.Context, o ownIssue, text string) error {
	if _, err := k.c.say(ctx, o.number, fmt.Sprintf("<!-- paritygate-closing:%s -->", markerName(k.c.s.Name)), text); err != nil {
		return err
	}
	_, _, err := k.c.api.Issues.Edit(ctx, k.c.ev.Owner, k.c.ev.Repo, o.number, &gh.IssueRequest{State: gh.String("closed")})
	return err
}
