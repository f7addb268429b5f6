package github

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/paritygate/paritygate/gate"
)

// Claim is one thing that a result says of where it comes from and GitHub says
// otherwise.
type Claim struct {
	What    string // "pull request", "head commit", …
	Claimed string // by the result: anybody's words
	Truth   string // by GitHub
}

// ClaimError is a result that is not of the run it is reported for. Nothing of
// it may be published.
type ClaimError struct{ Claims []Claim }

func (e *ClaimError) Error() string {
	var b strings.Builder
	b.WriteString("the result is not this run's")
	for _, c := range e.Claims {
		claimed := c.Claimed
		if len(claimed) > 100 {
			claimed = strings.ToValidUTF8(claimed[:100], "") + "…"
		}
		fmt.Fprintf(&b, "; it claims %s %q, GitHub says %s", c.What, claimed, c.Truth)
	}
	return b.String()
}

// Verify holds what a result says of its source against the event, and refuses
// with a ClaimError naming both what does not agree: a result of a fork's job
// is the fork's word, and decides over nobody else's pull request.
//
// Compared are repository, event, pull request, head commit, run and attempt,
// and the base commit where the event itself says it. An attempt may be
// earlier: jobs that passed are not run again with those that failed. After a
// workflow_run a result must have a source, and one of the run before may say
// pass only if that ended in success. The pull request is resolved first.
func (c *Client) Verify(ctx context.Context, r *gate.Result) error {
	if r == nil {
		return errors.New("there is no result")
	}
	afterRun := c.ev.Name == "workflow_run"
	if r.Source == nil && afterRun {
		return errors.New("the result does not say which commit it measured: one that another workflow made must, or it could be anybody's")
	}
	var claims []Claim
	if afterRun && !c.ev.madeHere(r.Source) && r.Outcome == gate.Pass && c.ev.Conclusion != "success" {
		claims = append(claims, Claim{"outcome", "pass", fmt.Sprintf("run %d ended as %q", c.ev.SourceRunID, c.ev.Conclusion)})
	}
	if r.Source != nil {
		more, err := c.claims(ctx, r.Source)
		if err != nil {
			return err
		}
		claims = append(claims, more...)
	}
	if len(claims) > 0 {
		return &ClaimError{claims}
	}
	return nil
}

// madeHere says whether a result claims to be of the very run that reports. A
// run that starts after another one can measure by itself.
func (ev *Event) madeHere(s *gate.Source) bool { return s.RunID == ev.RunID && s.Event == ev.Name }

// claims are what a source says and GitHub says otherwise.
func (c *Client) claims(ctx context.Context, s *gate.Source) ([]Claim, error) {
	var out []Claim
	differ := func(what, claimed, truth string, same bool) {
		if !same {
			out = append(out, Claim{what, claimed, truth})
		}
	}
	ev := c.ev
	event, run, attempt := ev.Name, ev.RunID, ev.RunAttempt
	if ev.Name == "workflow_run" && !ev.madeHere(s) {
		event, run, attempt = ev.SourceEvent, ev.SourceRunID, ev.SourceRunAttempt
	}
	repo := ev.Owner + "/" + ev.Repo
	differ("repository", s.Repository, repo, strings.EqualFold(s.Repository, repo))
	differ("event", s.Event, event, s.Event == event)
	differ("run", strconv.FormatInt(s.RunID, 10), strconv.FormatInt(run, 10), s.RunID == run)
	differ("attempt", strconv.Itoa(s.RunAttempt), strconv.Itoa(attempt), s.RunAttempt >= 1 && s.RunAttempt <= attempt)

	none := ""
	if err := c.Resolve(ctx, ev); errors.Is(err, ErrNoPullRequest) {
		none = err.Error()
	} else if err != nil {
		return nil, fmt.Errorf("cannot tell whether the result is this run's: %w", err)
	}
	if none == "" {
		none = "none"
	}
	truth := none
	if ev.PullRequest != 0 {
		truth = strconv.Itoa(ev.PullRequest)
	}
	differ("pull request", strconv.Itoa(s.PullRequest), truth, s.PullRequest == ev.PullRequest)
	differ("head commit", s.Head, ev.Head, ev.Head != "" && strings.EqualFold(s.Head, ev.Head))
	if ev.Name != "workflow_run" && ev.Base != "" {
		differ("base commit", s.Base, ev.Base, strings.EqualFold(s.Base, ev.Base))
	}
	return out, nil
}
