package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	gh "github.com/google/go-github/v62/github"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
)

const (
	// commentBudget is how many characters a comment may have, its state included.
	commentBudget = 60_000
	// maxPages bounds a list of comments; GitHub takes 2,500 of them an issue.
	maxPages = 100
	// maxLooks bounds how often the comments are looked at and changed. Each
	// look is followed by one change, so this is also how many duplicates one
	// run removes.
	maxLooks = 24
	// maxGone bounds how often a listed comment may turn out not to be there.
	maxGone = 3
	// maxWrites bounds how often a run writes its report: a list that lags behind
	// shows the old one for a while, and another run may write between.
	maxWrites = 4
	// settleWait is between writing and the look after it: long enough for
	// another run that looked before to have written, so that of two runs at the
	// same time the later sees, and corrects, what the earlier wrote over it.
	settleWait = 2 * time.Second
)

var errTooMany = fmt.Errorf("the pull request has more than %d comments", maxPages*pageSize)

// ownComment is a comment on the pull request that this gate wrote.
type ownComment struct {
	id    int64
	url   string
	body  string
	state sticky
}

// commenter brings the pull request's comments to what they should be: it looks
// at all of them, makes one change, and looks again, until nothing is left to
// do. A look after every change finds what a lost answer did, and heals what
// two runs did at the same time: of several comments the oldest stays, which is
// the same one for everybody.
type commenter struct {
	c      *Client
	author string
	marker string
	mine   sticky
	body   string
	note   string // what an old comment becomes when the outcome flips

	written int64  // comment that this run certainly wrote its report into
	url     string // of it
	writes  int    // how often this run wrote its report
	created bool   // this run certainly made written
	flipped bool   // this run made an old comment a note, or tried to
	wrote   bool   // the last change wrote the report
	lost    bool   // the answer to the last change was lost, and no look told since
	gone    int    // how often a comment was gone when it was to be changed
	did     string // sentence for Published.Did
}

// comment is a step of Publish.
func (c *Client) comment(ctx context.Context, r *gate.Result, p *Published) {
	k, err := c.newCommenter(ctx, r)
	if err == nil {
		err = k.settle(ctx)
	}
	if k != nil {
		p.CommentURL = k.url
		if k.did != "" {
			p.Did = append(p.Did, k.did)
		}
	}
	switch {
	case err == nil:
	case k != nil && k.written != 0:
		p.Failed = append(p.Failed, "could not look whether another run commented at the same time: "+c.explain(err))
	case k != nil && k.lost:
		p.Failed = append(p.Failed, "could not tell whether GitHub took the comment: "+c.why(err))
	default:
		p.Failed = append(p.Failed, "could not comment: "+c.why(err))
	}
}

func (c *Client) newCommenter(ctx context.Context, r *gate.Result) (*commenter, error) {
	k := &commenter{c: c, marker: marker(c.s.Name), mine: stickyOf(c.ev, r)}
	line := k.mine.line()
	o := MarkdownOptions(c.ev, c.s, r)
	o.Marker, o.Budget = k.marker, commentBudget-len(line)-1
	var b strings.Builder
	if err := report.Markdown(&b, r, o); err != nil {
		return nil, err
	}
	first, rest, _ := strings.Cut(b.String(), "\n")
	k.body = first + "\n" + line + "\n" + rest
	k.note = c.noteOf(r)
	err := c.repeat(ctx, func() (err error) {
		k.author, err = c.author(ctx)
		return err
	})
	return k, err
}

// noteOf is what the comment before a flip becomes.
func (c *Client) noteOf(r *gate.Result) string {
	s := fmt.Sprintf("<!-- paritygate-was:%s -->\nParity now **%s** with `%.12s`: the newer comment below has the report", markerName(c.s.Name), nowWord(r.Outcome), c.ev.Head)
	if u := c.ev.RunURL(); u != "" {
		s += ", and so has [the run](" + u + ")"
	}
	return s + ".\n"
}

func nowWord(o gate.Outcome) string {
	if o == gate.Incomplete {
		return "is incomplete"
	}
	return outcomeWord(o)
}

// settle looks and changes until there is nothing left to change.
func (k *commenter) settle(ctx context.Context) error {
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
	return fmt.Errorf("others keep changing the comments: gave up after %d changes", maxLooks)
}

// step is one look and one change.
func (k *commenter) step(ctx context.Context) (done bool, err error) {
	own, err := k.list(ctx)
	if err != nil {
		return false, err
	}
	k.lost = false
	a := k.next(own)
	if a.kind == nothing {
		if len(own) > 0 {
			k.url = own[0].url
		}
		if k.did == "" {
			k.did = a.why
		}
		return true, nil
	}
	// Right before every change: minutes may have passed since the event.
	if newer, err := k.newerHead(ctx); err != nil {
		return false, err
	} else if newer != "" {
		if len(own) > 0 {
			k.url = own[0].url
		}
		k.did = fmt.Sprintf("left the pull request's comments alone: this result is of %.12s, and the pull request is at %.12s by now", k.mine.Head, newer)
		return true, nil
	}
	if a.kind == retire {
		k.flipped = true
	}
	err = k.change(withoutRepeating(ctx), a)
	k.lost = err != nil && slices.Contains([]failure{failUnknown, failUnavailable, failTime}, failureOf(err))
	k.wrote = err == nil && a.mine
	return false, k.missed(err)
}

// missed lets a comment that is gone pass, because the next look says what to do
// without it. One that is listed every time and never there is an error.
func (k *commenter) missed(err error) error {
	if err == nil || failureOf(err) != failNotFound {
		return err
	}
	if k.gone++; k.gone > maxGone {
		return err
	}
	return nil
}

// list reads all pages of comments and keeps those that this gate wrote, oldest
// first.
func (k *commenter) list(ctx context.Context) ([]ownComment, error) {
	var own []ownComment
	err := k.c.comments(ctx, k.c.ev.PullRequest, func(m *gh.IssueComment) {
		state, ours := parseSticky(m.GetBody(), k.marker)
		if ours && m.GetID() != 0 && strings.EqualFold(m.GetUser().GetLogin(), k.author) {
			own = append(own, ownComment{m.GetID(), m.GetHTMLURL(), m.GetBody(), state})
		}
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(own, func(a, b ownComment) int { return int(min(max(a.id-b.id, -1), 1)) })
	// A comment that went away between two pages moves others across their
	// border, so that one may be listed twice, or not at all.
	return slices.CompactFunc(own, func(a, b ownComment) bool { return a.id == b.id }), nil
}

// newerHead is the pull request's head when that is not what was judged.
func (k *commenter) newerHead(ctx context.Context) (string, error) {
	pr, _, err := k.c.api.PullRequests.Get(ctx, k.c.ev.Owner, k.c.ev.Repo, k.c.ev.PullRequest)
	if err != nil {
		return "", err
	}
	switch head := pr.GetHead().GetSHA(); {
	case head == "":
		return "", errors.New("GitHub's answer names no head of the pull request")
	case !strings.EqualFold(head, k.mine.Head):
		return head, nil
	}
	return "", nil
}

// kind is a change of the comments.
type kind int

const (
	nothing kind = iota
	create
	update
	retire // make the comment before a flip a note
	remove
)

// action is the next change.
type action struct {
	kind kind
	at   ownComment
	body string // of update
	mine bool   // the body is this run's report
	why  string // of nothing: for Published.Did
}

// next decides from all own comments, oldest first.
func (k *commenter) next(own []ownComment) action {
	policy := k.c.s.Comment
	if len(own) == 0 {
		switch {
		case k.created:
			// It was made: either a list lags behind, or a reader deleted it.
			return action{kind: nothing}
		case policy == CommentOnChange && k.mine.Outcome == gate.Pass.String() && !k.flipped:
			return action{kind: nothing, why: "wrote no comment: parity passes, and there was nothing to correct"}
		}
		return action{kind: create, body: k.body, mine: true}
	}
	kept := own[0]
	latest := kept
	for _, o := range own[1:] {
		if o.state.laterThan(latest.state) {
			latest = o
		}
	}
	var rest action
	switch {
	case latest.state.laterThan(k.mine):
		rest.why = "left the comment as it is: a later run of the same commit wrote it"
		if latest.id != kept.id {
			return action{kind: update, at: kept, body: latest.body}
		}
	case k.written == kept.id && kept.state == k.mine, k.writes >= maxWrites:
	case k.written == 0 && policy == CommentOnChange && kept.state.sameNews(k.mine):
		rest.why = "left the comment as it is: outcome and worst checkpoint are those that it shows"
	case k.written == 0 && sameText(kept.body, k.body):
		rest.why = "the comment holds this report: " + kept.url
	case k.c.s.NewOnFlip && !k.created && kept.state.Outcome != "" && kept.state.Outcome != k.mine.Outcome:
		return action{kind: retire, at: kept, body: k.note}
	default:
		return action{kind: update, at: kept, body: k.body, mine: true}
	}
	if len(own) > 1 {
		rest.kind, rest.at = remove, own[1]
	}
	return rest
}

// sameText compares bodies as GitHub stores them: it may change how lines end.
func sameText(a, b string) bool {
	return strings.TrimSpace(strings.ReplaceAll(a, "\r\n", "\n")) == strings.TrimSpace(b)
}

// change makes one change.
func (k *commenter) change(ctx context.Context, a action) error {
	ev, issues := k.c.ev, k.c.api.Issues
	switch a.kind {
	case create:
		m, _, err := issues.CreateComment(ctx, ev.Owner, ev.Repo, ev.PullRequest, &gh.IssueComment{Body: &a.body})
		if err != nil {
			return err
		}
		if m.GetID() == 0 {
			return &unknownError{http.MethodPost, "comment", errors.New("GitHub's answer names no comment")}
		}
		k.created, k.written, k.url = true, m.GetID(), m.GetHTMLURL()
		if login := m.GetUser().GetLogin(); login != "" {
			// Whoever it was thought to be: earlier comments of this author count.
			k.author = login
		}
		k.did = "wrote a new comment: " + k.url
	case update, retire:
		_, _, err := issues.EditComment(ctx, ev.Owner, ev.Repo, a.at.id, &gh.IssueComment{Body: &a.body})
		if err != nil {
			return err
		}
		if a.mine {
			k.written, k.url = a.at.id, a.at.url
			k.writes++
			if !k.created {
				k.did = "updated the comment: " + k.url
			}
		}
	case remove:
		_, err := issues.DeleteComment(ctx, ev.Owner, ev.Repo, a.at.id)
		return err
	}
	return nil
}
