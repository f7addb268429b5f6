package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	gh "github.com/google/go-github/v62/github"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
)

// noComment are the events that belong to no one pull request, whatever they say.
var noComment = []string{"merge_group", "push", "schedule", "workflow_dispatch"}

// Publish writes the commit status, the comment and the check run that the
// settings ask for, in this order, within Settings.Deadline. It never fails:
// what could not be done is in Published.Failed, a sentence each. r is read and
// never changed, whatever happens here.
func (c *Client) Publish(ctx context.Context, r *gate.Result) Published {
	var p Published
	if r == nil {
		p.Failed = append(p.Failed, "could not publish: there is no result")
		return p
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	type step struct {
		what string
		do   func(context.Context, *gate.Result, *Published)
	}
	var steps []step
	if c.s.Status {
		steps = append(steps, step{"set the commit status", c.status})
	}
	if c.s.Comment != CommentNever && c.ev.PullRequest > 0 && !slices.Contains(noComment, c.ev.Name) {
		steps = append(steps, step{"comment", c.comment})
	}
	if c.s.CheckRun {
		steps = append(steps, step{"write the check run", c.checkRun})
	}
	for i, s := range steps {
		c.step(ctx, len(steps)-i, s.what, func(ctx context.Context) { s.do(ctx, r, &p) }, &p)
	}
	return p
}

// step does one of left steps within its share of the time that is left, so
// that one that hangs leaves time to the others.
func (c *Client) step(ctx context.Context, left int, what string, do func(context.Context), p *Published) {
	defer func() {
		if v := recover(); v != nil {
			p.Failed = append(p.Failed, "could not "+what+": "+oneLine(c.redact(fmt.Sprint(v))))
		}
	}()
	if deadline, ok := ctx.Deadline(); ok {
		now := c.transport.now()
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, now.Add(deadline.Sub(now)/time.Duration(left)))
		defer cancel()
	}
	do(ctx)
}

const (
	// tries is how often something is tried whose answers are lost: after 2, 4,
	// 8, 16 and 32 seconds.
	tries = 6
	// lostWait is how long GitHub may take to show what it did without an answer.
	lostWait = 2 * time.Second
)

// repeat calls do until it is done, cannot be, or the time or the tries are
// over. do looks first whether an earlier call did it.
func (c *Client) repeat(ctx context.Context, do func() error) error {
	for n := 1; ; n++ {
		err := do()
		d := lostWait << (n - 1)
		if limited := (*limitError)(nil); errors.As(err, &limited) {
			d = limited.wait
		}
		if err == nil || n == tries || !transient(err) {
			return err
		}
		if c.wait(ctx, d) != nil {
			return err // it says more than that the time is over
		}
	}
}

// transient says whether another try may end otherwise.
func transient(err error) bool {
	if errors.Is(err, errTooMany) {
		return false
	}
	switch failureOf(err) {
	case failUnknown, failUnavailable, failConflict, failLimited, failOther:
		return true
	}
	return false
}

// wait sleeps, unless the deadline would come first.
func (c *Client) wait(ctx context.Context, d time.Duration) error {
	t := c.transport
	if deadline, ok := ctx.Deadline(); ok && !t.now().Add(d).Before(deadline) {
		return context.DeadlineExceeded
	}
	if t.sleep != nil {
		t.pause(d)
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// inSummary ends a sentence about what could not be published.
const inSummary = "; the report is in the job summary"

// why says in one line what an error means to the pull request's author.
func (c *Client) why(err error) string {
	said := ""
	if e := (*gh.ErrorResponse)(nil); errors.As(err, &e) && e.Message != "" {
		said = " (GitHub says: " + oneLine(c.redact(e.Message)) + ")"
	}
	switch statusOf(err) {
	case http.StatusUnauthorized:
		return "the token is wrong or has expired" + said + inSummary
	case http.StatusForbidden:
		switch words := strings.ToLower(said); {
		case strings.Contains(words, "locked"):
			return "the conversation is locked" + said + inSummary
		case said == "", strings.Contains(words, "not accessible by"):
			return "the token may only read (pull requests of forks get such a token)" + inSummary + said
		}
		return "the token may not do this" + said + inSummary
	case http.StatusNotFound, http.StatusGone:
		return "GitHub does not show it to this token: it is not there, or the token may not see it" + said + inSummary
	}
	return c.explain(err) + inSummary
}

// measured is the workflow run whose result is reported, and its attempt.
func (e *Event) measured() (run int64, attempt int) {
	run, attempt = e.RunID, e.RunAttempt
	if e.Name == "workflow_run" && e.SourceRunID > 0 {
		run, attempt = e.SourceRunID, e.SourceRunAttempt
	}
	return max(run, 0), max(attempt, 0)
}

// RunURL is the address of the workflow run that reports: its summary has the
// report. "" outside of one.
func (e *Event) RunURL() string {
	if e.RunID <= 0 || e.ServerURL == "" {
		return ""
	}
	u := fmt.Sprintf("%s/%s/%s/actions/runs/%d", strings.TrimRight(e.ServerURL, "/"), url.PathEscape(e.Owner), url.PathEscape(e.Repo), e.RunID)
	if e.RunAttempt > 1 {
		u += fmt.Sprintf("/attempts/%d", e.RunAttempt)
	}
	return u
}

// MarkdownOptions is what the event tells the report: the commit, the device, and
// where the change's own spec and the base branch's lie.
func MarkdownOptions(ev *Event, s Settings, r *gate.Result) report.MarkdownOptions {
	o := report.MarkdownOptions{Head: ev.Head, GPU: r.Engines.Candidate.Device, SpecURL: specURL(ev, ev.Head, s.SpecPath)}
	if r.Spec.JudgedBy != "" {
		o.BaseSpecURL = specURL(ev, ev.Base, s.SpecPath)
	}
	return o
}

// specURL is the address of the spec at a commit.
func specURL(ev *Event, commit, file string) string {
	file = safePath(file)
	if commit == "" || file == "" || !strings.HasPrefix(ev.ServerURL, "http") {
		return ""
	}
	parts := append([]string{ev.Owner, ev.Repo, "blob", commit}, strings.Split(file, "/")...)
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.TrimRight(ev.ServerURL, "/") + "/" + strings.Join(parts, "/")
}

// outcomeWord is how a sentence about parity goes on.
func outcomeWord(o gate.Outcome) string {
	switch o {
	case gate.Pass:
		return "passes"
	case gate.Fail:
		return "fails"
	}
	return "incomplete"
}
