package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	gh "github.com/google/go-github/v62/github"
)

// Reply answers a comment on the event's pull request with one comment, whose
// text is Markdown. Done again, by another attempt of the workflow, it updates
// that one.
func (c *Client) Reply(ctx context.Context, to int64, text string) Published {
	var p Published
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	c.step(ctx, 1, "reply", func(ctx context.Context) {
		url, err := c.say(ctx, c.ev.PullRequest, fmt.Sprintf("<!-- paritygate-reply:%s:%d -->", markerName(c.s.Name), to), text)
		if err != nil {
			p.Failed = append(p.Failed, "could not reply to the comment: "+c.why(err))
			return
		}
		p.CommentURL = url
		p.Did = append(p.Did, "replied to the comment: "+url)
	}, &p)
	return p
}

// say brings an issue or pull request to have one comment of the token's user
// that begins with the marker, and holds text below it. A create whose answer
// was lost is looked for before it is repeated.
func (c *Client) say(ctx context.Context, number int, marker, text string) (url string, err error) {
	body := marker + "\n" + text
	err = c.repeat(ctx, func() error {
		author, err := c.author(ctx)
		if err != nil {
			return err
		}
		var own *gh.IssueComment
		err = c.comments(ctx, number, func(m *gh.IssueComment) {
			first, _, _ := strings.Cut(m.GetBody(), "\n")
			if own == nil && strings.TrimRight(first, " \r") == marker && strings.EqualFold(m.GetUser().GetLogin(), author) {
				own = m
			}
		})
		switch {
		case err != nil:
			return err
		case own == nil:
			own, _, err = c.api.Issues.CreateComment(withoutRepeating(ctx), c.ev.Owner, c.ev.Repo, number, &gh.IssueComment{Body: &body})
			if err == nil && own.GetID() == 0 {
				err = &unknownError{http.MethodPost, "comment", errors.New("GitHub's answer names no comment")}
			}
		case !sameText(own.GetBody(), body):
			_, _, err = c.api.Issues.EditComment(ctx, c.ev.Owner, c.ev.Repo, own.GetID(), &gh.IssueComment{Body: &body})
		}
		if err == nil {
			url = own.GetHTMLURL()
		}
		return err
	})
	return url, err
}

// comments reads all pages of an issue's or pull request's comments.
func (c *Client) comments(ctx context.Context, number int, take func(*gh.IssueComment)) error {
	opt := &gh.IssueListCommentsOptions{ListOptions: gh.ListOptions{PerPage: pageSize}}
	for range maxPages {
		page, resp, err := c.api.Issues.ListComments(ctx, c.ev.Owner, c.ev.Repo, number, opt)
		if err != nil {
			return err
		}
		if page == nil {
			// Nothing at all is no list: to take it for an empty one would make
			// a second comment.
			return errors.New("GitHub's list of comments came back empty")
		}
		for _, m := range page {
			take(m)
		}
		if resp.NextPage == 0 {
			return nil
		}
		opt.Page = resp.NextPage
	}
	return errTooMany
}
