package githubtest

import (
	"net/http"
	"slices"
	"strings"
)

// Access is what a token may do with one kind of thing.
type Access string

const (
	None  Access = "none"
	Read  Access = "read"
	Write Access = "write"
)

// A Token is who asks, and what that may.
type Token struct {
	Login string
	Type  string // "User" or "Bot"
	// Access holds for every scope that Scopes does not name.
	Access Access
	// Scopes are those of a workflow's permissions: "actions", "checks",
	// "contents", "issues", "pull_requests", "statuses".
	Scopes map[string]Access
	// Installation is an app's token, as GITHUB_TOKEN is: it is no user, so it
	// may not ask who it is, and only it may make check runs.
	Installation bool
	// Repos are the repositories that it is for, as "owner/name"; nil for all.
	Repos []string
}

// Tokens that every Server knows.
const (
	// ActionsToken is a workflow's own, which may write: github-actions[bot].
	ActionsToken = "actions-token"
	// ForkToken is what a fork's pull request gets: the same, and may only read.
	ForkToken = "fork-token"
	// UserToken is the personal token of the user octocat, who may write.
	UserToken = "user-token"
)

func defaultTokens() map[string]Token {
	return map[string]Token{
		ActionsToken: {Login: "github-actions[bot]", Type: "Bot", Access: Write, Installation: true},
		ForkToken:    {Login: "github-actions[bot]", Type: "Bot", Access: Read, Installation: true},
		UserToken:    {Login: "octocat", Type: "User", Access: Write},
	}
}

func (t *Token) allows(scope string, want Access) bool {
	have, ok := t.Scopes[scope]
	if !ok {
		have = t.Access
	}
	return have == Write || have == want
}

func (t *Token) reaches(repo string) bool {
	return t.Repos == nil || slices.ContainsFunc(t.Repos, func(r string) bool { return strings.EqualFold(r, repo) })
}

// tokenOf is the token that a request carries.
func tokenOf(r *http.Request) string {
	kind, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch strings.ToLower(kind) {
	case "bearer", "token":
		return strings.TrimSpace(value)
	case "basic":
		_, password, _ := r.BasicAuth()
		return password
	}
	return ""
}

// authorize finds who asks and the repository, or says as GitHub does why not.
func (c *call) authorize(scope string) (answer, bool) {
	if r := c.r.Header.Get("Authorization"); r != "" {
		t, ok := c.s.tokens[tokenOf(c.r)]
		if !ok {
			return refuse(http.StatusUnauthorized, "Bad credentials"), false
		}
		c.token = &t
	}
	if _, ok := c.path["repo"]; !ok {
		return answer{}, true
	}
	c.repo = c.s.repos[strings.ToLower(c.path["owner"]+"/"+c.path["repo"])]
	if c.repo == nil || c.repo.private && (c.token == nil || !c.token.reaches(c.repo.full())) {
		return notFound(), false
	}
	want := Read
	if c.r.Method != http.MethodGet {
		want = Write
	}
	if c.token == nil {
		if want == Write {
			return refuse(http.StatusUnauthorized, "Requires authentication"), false
		}
		return answer{}, true
	}
	scopes := []string{scope}
	if scope == "issues" && c.onPullRequest() {
		scopes = append(scopes, "pull_requests") // either will do
	}
	allowed := scope == "metadata" ||
		slices.ContainsFunc(scopes, func(s string) bool { return c.token.allows(s, want) }) && (want == Read || c.token.reaches(c.repo.full()))
	switch {
	case !allowed && c.token.Installation:
		return refuse(http.StatusForbidden, "Resource not accessible by integration"), false
	case !allowed:
		return refuse(http.StatusForbidden, "Resource not accessible by personal access token"), false
	case scope == "checks" && want == Write && !c.token.Installation:
		return refuse(http.StatusForbidden, "You must authenticate via a GitHub App."), false
	}
	return answer{}, true
}

// onPullRequest says whether the issue, or the comment's issue, is a pull request.
func (c *call) onPullRequest() bool {
	n := int(c.number("issue_number"))
	if id, ok := c.path["comment_id"]; ok && id != "" {
		if at := c.repo.comment(c.number("comment_id")); at != nil {
			n = at.Issue
		}
	}
	i := c.repo.issue(n)
	return i != nil && i.pull != nil
}

// actor is who asks.
func (c *call) actor() User {
	if c.token == nil {
		return User{Login: "ghost", Type: "User"}
	}
	return User{Login: c.token.Login, Type: c.token.Type}
}
