package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
)

// Approval is somebody's wish that the numbers of the pull request be accepted:
// a comment that begins "/paritygate approve DIGEST WHY", as it was when it was
// written, or the label "parity-approved:DIGEST". Who may wish that is not
// decided here.
type Approval struct {
	By      string `json:"by"`      // login of who commented or set the label
	Digest  string `json:"digest"`  // of the numbers, 16 to 64 hexadecimal digits, lower case; "" with Wrong
	Reason  string `json:"reason"`  // one line; "label NAME" of a label
	Comment int64  `json:"comment"` // id of the comment, 0 of a label
	// Wrong says why it cannot be understood, "" where it can.
	Wrong string `json:"wrong"`
}

const (
	approveCommand = "/paritygate approve"
	approveLabel   = "parity-approved:"
	// maxReason bounds what is kept of somebody's reason, in characters.
	maxReason = 300
)

var (
	approvedDigest = regexp.MustCompile(`^[0-9a-f]{16,64}$`)
	// loginPattern is narrower than an address's segment, which a login becomes.
	// The login of an app ends in [bot]: no app approves.
	loginPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)
)

// actor is who did something.
type actor struct {
	Login string `json:"login"`
}

// fillCommand reads the command of a new comment. An edited one is none: others
// than its author may edit it.
func (ev *Event) fillCommand(p *payload) error {
	var c struct {
		ID   int64  `json:"id"`
		Body string `json:"body"`
		User *actor `json:"user"` // null of a deleted account
	}
	if did, err := p.did("comment", p.Comment, &c); err != nil || did != "created" {
		return err
	}
	rest, ok := strings.CutPrefix(c.Body, approveCommand)
	if !ok || rest != "" && !strings.ContainsAny(rest[:1], " \t\r\n") {
		return nil
	}
	digest, reason := "", ""
	if words := strings.Fields(rest); len(words) > 0 {
		digest, reason = strings.Trim(words[0], "`"), strings.Join(words[1:], " ")
	}
	ev.Approval = newApproval(digest, reason)
	ev.Approval.Comment = c.ID
	if c.User != nil {
		ev.Approval.By = c.User.Login
	}
	if c.ID <= 0 {
		return errors.New("comment.id is missing")
	}
	return nil
}

// fillLabelled reads a label that was set just now.
func (ev *Event) fillLabelled(p *payload) error {
	var l label
	did, err := p.did("label", p.Label, &l)
	if err != nil || did != "labeled" || len(l.Name) < len(approveLabel) || !strings.EqualFold(l.Name[:len(approveLabel)], approveLabel) {
		return err
	}
	var by *actor
	if err := unmarshal("sender", p.Sender, &by); err != nil {
		return err
	}
	ev.Approval = newApproval(l.Name[len(approveLabel):], "label "+l.Name)
	if by != nil {
		ev.Approval.By = by.Login
	}
	return nil
}

// did is the event's action, with what it was done to in to.
func (p *payload) did(name string, raw json.RawMessage, to any) (string, error) {
	var action string
	if err := unmarshal("action", p.Action, &action); err != nil {
		return "", err
	}
	return action, unmarshal(name, raw, to)
}

func unmarshal(name string, raw json.RawMessage, to any) error {
	if raw == nil {
		return nil
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func newApproval(digest, reason string) *Approval {
	a := &Approval{Digest: strings.ToLower(digest), Reason: report.Plain(reason, maxReason)}
	switch {
	case !approvedDigest.MatchString(a.Digest):
		a.Wrong = fmt.Sprintf("the digest %q is none: want 16 to 64 hexadecimal digits, as the report shows them", report.Plain(digest, 70))
		a.Digest = ""
	case a.Reason == "":
		a.Wrong = "the reason is missing: want " + approveCommand + " DIGEST WHY"
	}
	return a
}

// approvers are the permissions that may approve: those that may push.
var approvers = []string{"admin", "maintain", "write"}

// MayApprove is nil where somebody may push to the repository, and otherwise
// says why not. GitHub is asked each time.
func (c *Client) MayApprove(ctx context.Context, login string) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	if !loginPattern.MatchString(login) {
		return fmt.Errorf("%q is no person who could approve", report.Plain(login, 110))
	}
	level, _, err := c.api.Repositories.GetPermissionLevel(ctx, c.ev.Owner, c.ev.Repo, login)
	switch {
	case err != nil && statusOf(err) == http.StatusNotFound:
		return fmt.Errorf("%s is not known to this repository", login)
	case err != nil:
		return fmt.Errorf("what %s may do: %s", login, c.explain(err))
	case !strings.EqualFold(level.GetUser().GetLogin(), login):
		return fmt.Errorf("GitHub was asked what %s may do and answers of %q", login, level.GetUser().GetLogin())
	case !slices.Contains(approvers, level.GetPermission()):
		return fmt.Errorf("%s may not push to this repository (permission %q): only who may do that approves", login, report.Plain(level.GetPermission(), 40))
	}
	return nil
}

// VerifyChange holds a result to the event's pull request as GitHub shows it
// now, and refuses with a ClaimError what is of another repository or pull
// request, or of a commit that is its head no longer.
func (c *Client) VerifyChange(ctx context.Context, r *gate.Result) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	ev := c.ev
	if r == nil || r.Source == nil {
		return errors.New("the result does not say which pull request it is of")
	}
	if ev.PullRequest == 0 {
		return errors.New("the event is of no pull request")
	}
	pull, _, err := c.api.PullRequests.Get(ctx, ev.Owner, ev.Repo, ev.PullRequest)
	if err != nil {
		return fmt.Errorf("pull request %d: %s", ev.PullRequest, c.explain(err))
	}
	head, s := pull.GetHead().GetSHA(), r.Source
	if !shaPattern.MatchString(head) || pull.GetNumber() != ev.PullRequest {
		return fmt.Errorf("GitHub's answer on pull request %d names no head", ev.PullRequest)
	}
	var claims []Claim
	repo := ev.Owner + "/" + ev.Repo
	if !strings.EqualFold(s.Repository, repo) {
		claims = append(claims, Claim{"repository", s.Repository, repo})
	}
	if s.PullRequest != ev.PullRequest {
		claims = append(claims, Claim{"pull request", strconv.Itoa(s.PullRequest), strconv.Itoa(ev.PullRequest)})
	}
	if !strings.EqualFold(s.Head, head) {
		claims = append(claims, Claim{"head commit", s.Head, head})
	}
	if len(claims) > 0 {
		return &ClaimError{claims}
	}
	return nil
}
