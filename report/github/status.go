package github

import (
	"context"
	"strings"

	gh "github.com/google/go-github/v62/github"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
)

const (
	// maxDescription is GitHub's limit of a status's description, in characters.
	maxDescription = 140
	// maxContext keeps a status's context and a check run's name in one line.
	maxContext = 100
)

// status is a step of Publish: the commit status on the commit that was judged.
// An incomplete run is "error", so that a required status blocks. To write it
// twice does no harm, because the last of one context counts.
func (c *Client) status(ctx context.Context, r *gate.Result, p *Published) {
	s := &gh.RepoStatus{
		State:       gh.String(statusState(r.Outcome)),
		Context:     gh.String(c.contextName()),
		Description: gh.String(description(r)),
	}
	if u := c.ev.RunURL(); u != "" {
		s.TargetURL = &u
	}
	err := c.repeat(ctx, func() error {
		_, _, err := c.api.Repositories.CreateStatus(ctx, c.ev.Owner, c.ev.Repo, c.ev.Head, s)
		return err
	})
	if err != nil {
		p.Failed = append(p.Failed, "could not set the commit status: "+c.why(err))
		return
	}
	p.Did = append(p.Did, "set the commit status "+s.GetContext()+" of "+short(c.ev.Head)+" to "+s.GetState())
}

func statusState(o gate.Outcome) string {
	switch o {
	case gate.Pass:
		return "success"
	case gate.Fail:
		return "failure"
	}
	return "error"
}

// description is the verdict in a status's one line.
func description(r *gate.Result) string {
	s := report.Headline(r)
	if r.Outcome == gate.Incomplete {
		s = "incomplete: " + s
	}
	return basicPlane(report.Plain(s, maxDescription-1))
}

// contextName is the settings' name as a status or a check run bears it.
func (c *Client) contextName() string {
	return basicPlane(report.Plain(c.s.Name, maxContext-1))
}

// basicPlane replaces characters that need four bytes of UTF-8: GitHub refuses
// them in statuses.
func basicPlane(s string) string {
	return strings.Map(func(r rune) rune {
		if r > 0xffff {
			return '\ufffd'
		}
		return r
	}, s)
}

// short is a commit as people read it.
func short(sha string) string { return sha[:min(12, len(sha))] }
