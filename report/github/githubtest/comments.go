package githubtest

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A Comment on an issue or a pull request.
type Comment struct {
	ID      int64 // given by the server
	Issue   int   // number
	Author  User
	Body    string
	Created time.Time
	Updated time.Time
}

// AddComment writes a comment as a user of the site does; issue, author and body
// are the comment's.
func (r *Repo) AddComment(c Comment) Comment {
	defer r.lock()()
	if r.issue(c.Issue) == nil {
		r.s.errorf("githubtest: %s has no #%d to comment on", r.full(), c.Issue)
	}
	return *r.addComment(c)
}

func (r *Repo) addComment(c Comment) *Comment {
	c.ID = r.s.id()
	c.Author = r.s.user(User{Login: cmp.Or(c.Author.Login, "octocat"), Type: c.Author.Type})
	if c.Created.IsZero() {
		c.Created = r.s.now()
	}
	c.Updated = c.Created
	r.comments = append(r.comments, &c)
	return &c
}

// Comments lists the comments of an issue or pull request, oldest first.
func (r *Repo) Comments(number int) []Comment {
	defer r.lock()()
	var list []Comment
	for _, c := range r.commentsOf(number) {
		list = append(list, *c)
	}
	return list
}

func (r *Repo) commentsOf(number int) []*Comment {
	var list []*Comment
	for _, c := range r.comments {
		if c.Issue == number {
			list = append(list, c)
		}
	}
	return list
}

func (r *Repo) comment(id int64) *Comment {
	for _, c := range r.comments {
		if c.ID == id {
			return c
		}
	}
	return nil
}

func (c *call) listComments() answer {
	i, a := c.issueOf()
	if i == nil {
		return a
	}
	since, _ := time.Parse(time.RFC3339, c.query.Get("since"))
	all := slices.DeleteFunc(c.repo.commentsOf(i.Number), func(v *Comment) bool { return v.Updated.Before(since) })
	return list(c, all, c.renderComment)
}

// commentBody reads the body of a comment to be written.
func (c *call) commentBody() (string, answer) {
	var q struct {
		Body string `json:"body"`
	}
	if err := c.decode(&q); err != nil {
		return "", refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	switch {
	case strings.TrimSpace(q.Body) == "":
		return "", invalid("IssueComment", "data", "unprocessable", "Body cannot be blank")
	case utf8.RuneCountInString(q.Body) > maxBody:
		return "", invalid("IssueComment", "data", "unprocessable", "Body is too long (maximum is 65536 characters)")
	}
	return q.Body, answer{}
}

func (c *call) createComment() answer {
	i, a := c.issueOf()
	if i == nil {
		return a
	}
	if i.Locked {
		return refuse(http.StatusForbidden, "Unable to create comment because issue is locked.")
	}
	body, a := c.commentBody()
	if body == "" {
		return a
	}
	i.Updated = c.s.now()
	return created(c.renderComment(c.repo.addComment(Comment{Issue: i.Number, Author: c.actor(), Body: body})))
}

func (c *call) getComment() answer {
	v := c.repo.comment(c.number("comment_id"))
	if v == nil {
		return notFound()
	}
	return ok(c.renderComment(v))
}

func (c *call) updateComment() answer {
	v := c.repo.comment(c.number("comment_id"))
	if v == nil {
		return notFound()
	}
	body, a := c.commentBody()
	if body == "" {
		return a
	}
	v.Body, v.Updated = body, c.s.now()
	return ok(c.renderComment(v))
}

func (c *call) deleteComment() answer {
	v := c.repo.comment(c.number("comment_id"))
	if v == nil {
		return notFound()
	}
	c.repo.comments = slices.DeleteFunc(c.repo.comments, func(o *Comment) bool { return o == v })
	return answer{status: http.StatusNoContent}
}
