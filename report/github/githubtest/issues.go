package githubtest

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// An Issue is one, or what a pull request has in common with one.
type Issue struct {
	Number      int // given by the server when 0
	Title, Body string
	State       string // "open" or "closed"
	Author      string // login
	Labels      []string
	Locked      bool
	PullRequest bool
	Created     time.Time
	Updated     time.Time
	Closed      time.Time
	Events      []IssueEvent // oldest first
}

// An IssueEvent is what somebody did to an issue.
type IssueEvent struct {
	ID    int64
	Event string // "labeled", "unlabeled", "closed" or "reopened"
	Actor string // login
	Label string // of the first two
	At    time.Time
}

// A Label of a repository.
type Label struct {
	ID                       int64
	Name, Color, Description string
}

type issue struct {
	Issue
	id   int64
	pull *PullRequest
}

// maxBody is how many characters a comment or an issue may have.
const maxBody = 65536

// AddIssue opens an issue.
func (r *Repo) AddIssue(i Issue) Issue {
	defer r.lock()()
	return r.addIssue(i, nil).Issue
}

func (r *Repo) addIssue(i Issue, pull *PullRequest) *issue {
	for _, other := range r.issues {
		if i.Number == other.Number {
			r.s.errorf("githubtest: %s has #%d already", r.full(), i.Number)
		}
	}
	if i.Number == 0 {
		for _, other := range r.issues {
			i.Number = max(i.Number, other.Number)
		}
		i.Number++
	}
	i.State, i.Author = cmp.Or(i.State, "open"), cmp.Or(i.Author, "octocat")
	if i.Created.IsZero() {
		i.Created = r.s.now()
	}
	i.Updated = i.Created
	if i.State == "closed" && i.Closed.IsZero() {
		i.Closed = i.Created
	}
	i.PullRequest = pull != nil
	r.s.user(User{Login: i.Author})
	at := &issue{Issue: i, id: r.s.id(), pull: pull}
	at.Labels = nil
	r.issues = append(r.issues, at)
	slices.SortFunc(r.issues, func(a, b *issue) int { return a.Number - b.Number })
	r.addLabels(at, i.Author, i.Labels)
	return at
}

func (i *issue) copy() Issue {
	c := i.Issue
	c.Labels, c.Events = slices.Clone(c.Labels), slices.Clone(c.Events)
	return c
}

// Issues lists the issues by number, without pull requests.
func (r *Repo) Issues() []Issue {
	defer r.lock()()
	var list []Issue
	for _, i := range r.issues {
		if i.pull == nil {
			list = append(list, i.copy())
		}
	}
	return list
}

// Issue is that of a number, or a pull request as one; nothing for none.
func (r *Repo) Issue(number int) Issue {
	defer r.lock()()
	if i := r.issue(number); i != nil {
		return i.copy()
	}
	return Issue{}
}

// Label adds labels to an issue or pull request, as a user of the site does.
func (r *Repo) Label(number int, by string, labels ...string) {
	defer r.lock()()
	if i := r.issue(number); i != nil {
		r.addLabels(i, by, labels)
		return
	}
	r.s.errorf("githubtest: %s has no #%d to label", r.full(), number)
}

func (r *Repo) issue(number int) *issue {
	for _, i := range r.issues {
		if i.Number == number {
			return i
		}
	}
	return nil
}

func (r *Repo) label(name string) Label {
	key := strings.ToLower(name)
	if l, ok := r.labels[key]; ok {
		return l
	}
	l := Label{ID: r.s.id(), Name: name, Color: "ededed"}
	r.labels[key] = l
	return l
}

func (r *Repo) addLabels(i *issue, by string, names []string) {
	for _, name := range names {
		name = r.label(name).Name
		if !slices.Contains(i.Labels, name) {
			i.Labels = append(i.Labels, name)
			r.event(i, "labeled", by, name)
		}
	}
}

func (r *Repo) event(i *issue, what, by, label string) {
	r.s.user(User{Login: by})
	i.Events = append(i.Events, IssueEvent{ID: r.s.id(), Event: what, Actor: by, Label: label, At: r.s.now()})
}

// issueOf is the issue that a call is about.
func (c *call) issueOf() (*issue, answer) {
	if i := c.repo.issue(int(c.number("issue_number"))); i != nil {
		return i, answer{}
	}
	return nil, notFound()
}

type issueRequest struct {
	Title  any     `json:"title"` // a string, or a number that is meant as one
	Body   *string `json:"body"`
	Labels *[]any  `json:"labels"`
	State  *string `json:"state"`
}

// labelNames reads labels, each a name or an object with one.
func labelNames(list []any) []string {
	var names []string
	for _, v := range list {
		if o, isObject := v.(map[string]any); isObject {
			v = o["name"]
		}
		if s, isString := v.(string); isString {
			names = append(names, s)
		}
	}
	return names
}

func (c *call) createIssue() answer {
	var q issueRequest
	if err := c.decode(&q); err != nil {
		return refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	i := Issue{Author: c.actor().Login}
	if a, good := q.apply(&i); !good {
		return a
	}
	at := c.repo.addIssue(i, nil)
	if q.Labels != nil {
		c.repo.addLabels(at, i.Author, labelNames(*q.Labels))
	}
	return created(c.renderIssue(at))
}

// apply sets what a request has to say of an issue's text.
func (q issueRequest) apply(i *Issue) (answer, bool) {
	if title, isString := q.Title.(string); isString {
		if strings.TrimSpace(title) == "" {
			return invalid("Issue", "title", "missing_field", "title can't be blank"), false
		}
		if utf8.RuneCountInString(title) > 256 {
			return invalid("Issue", "title", "custom", "title is too long (maximum is 256 characters)"), false
		}
		i.Title = title
	}
	if q.Body != nil {
		if utf8.RuneCountInString(*q.Body) > maxBody {
			return invalid("Issue", "body", "custom", "body is too long (maximum is 65536 characters)"), false
		}
		i.Body = *q.Body
	}
	return answer{}, true
}

func (c *call) getIssue() answer {
	i, a := c.issueOf()
	if i == nil {
		return a
	}
	return ok(c.renderIssue(i))
}

func (c *call) updateIssue() answer {
	i, a := c.issueOf()
	if i == nil {
		return a
	}
	var q issueRequest
	if err := c.decode(&q); err != nil {
		return refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	if a, good := q.apply(&i.Issue); !good {
		return a
	}
	by := c.actor().Login
	if q.Labels != nil {
		names := labelNames(*q.Labels)
		for _, had := range slices.Clone(i.Labels) {
			if !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, had) }) {
				c.repo.removeLabel(i, by, had)
			}
		}
		c.repo.addLabels(i, by, names)
	}
	if q.State != nil && *q.State != i.State {
		c.repo.setState(i, by, *q.State)
	}
	i.Updated = c.s.now()
	return ok(c.renderIssue(i))
}

func (r *Repo) setState(i *issue, by, state string) {
	i.State, i.Closed = state, time.Time{}
	if state == "closed" {
		i.Closed = r.s.now()
		r.event(i, "closed", by, "")
	} else {
		r.event(i, "reopened", by, "")
	}
}

func (r *Repo) removeLabel(i *issue, by, name string) bool {
	at := slices.IndexFunc(i.Labels, func(l string) bool { return strings.EqualFold(l, name) })
	if at < 0 {
		return false
	}
	name = i.Labels[at]
	i.Labels = slices.Delete(i.Labels, at, at+1)
	r.event(i, "unlabeled", by, name)
	return true
}

func (c *call) listIssues() answer {
	var found []*issue
	state := cmp.Or(c.query.Get("state"), "open")
	labels := strings.FieldsFunc(c.query.Get("labels"), func(r rune) bool { return r == ',' })
	since, _ := time.Parse(time.RFC3339, c.query.Get("since"))
	for _, i := range c.repo.issues {
		has := func(l string) bool {
			return slices.ContainsFunc(i.Labels, func(h string) bool { return strings.EqualFold(h, l) })
		}
		if (state == "all" || state == i.State) && !slices.ContainsFunc(labels, func(l string) bool { return !has(l) }) &&
			(c.query.Get("creator") == "" || strings.EqualFold(c.query.Get("creator"), i.Author)) && !i.Updated.Before(since) {
			found = append(found, i)
		}
	}
	slices.SortStableFunc(found, func(a, b *issue) int {
		switch c.query.Get("sort") {
		case "updated":
			return cmp.Or(a.Updated.Compare(b.Updated), a.Number-b.Number)
		case "comments":
			return cmp.Or(len(c.repo.commentsOf(a.Number))-len(c.repo.commentsOf(b.Number)), a.Number-b.Number)
		}
		return cmp.Or(a.Created.Compare(b.Created), a.Number-b.Number)
	})
	if c.query.Get("direction") != "asc" {
		slices.Reverse(found)
	}
	return list(c, found, c.renderIssue)
}

func (c *call) listLabels() answer {
	i, a := c.issueOf()
	if i == nil {
		return a
	}
	return list(c, i.Labels, c.renderLabel)
}

func (c *call) addLabels() answer {
	i, a := c.issueOf()
	if i == nil {
		return a
	}
	// The names are in an object, or alone, in two forms each.
	var in any
	if err := c.decode(&in); err != nil {
		return refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	if o, isObject := in.(map[string]any); isObject {
		in = o["labels"]
	}
	names, _ := in.([]any)
	if s, isString := in.(string); isString {
		names = []any{s}
	}
	c.repo.addLabels(i, c.actor().Login, labelNames(names))
	return ok(each(i.Labels, c.renderLabel))
}

func (c *call) deleteLabel() answer {
	i, a := c.issueOf()
	if i == nil {
		return a
	}
	if !c.repo.removeLabel(i, c.actor().Login, c.path["name"]) {
		return refuse(http.StatusNotFound, "Label does not exist")
	}
	return ok(each(i.Labels, c.renderLabel))
}

func (c *call) listEvents() answer {
	i, a := c.issueOf()
	if i == nil {
		return a
	}
	return list(c, i.Events, c.renderEvent)
}
