package githubtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-github/v62/github"
)

// client is go-github's, as the program uses it.
func client(t *testing.T, s *Server, token string) *github.Client {
	t.Helper()
	return clientAt(t, s.URL(), token)
}

func clientAt(t *testing.T, base, token string) *github.Client {
	t.Helper()
	c := github.NewClient(nil)
	if token != "" {
		c = c.WithAuthToken(token)
	}
	u, err := url.Parse(base + "/")
	if err != nil {
		t.Fatal(err)
	}
	c.BaseURL = u
	return c
}

// seeded is a server with acme/engine, which has a commit and a pull request, #1.
func seeded(t *testing.T, options ...Option) (*Server, *Repo, PullRequest) {
	t.Helper()
	s := New(t, options...)
	r := s.AddRepo("acme/engine")
	r.Commit("main", "Begin", map[string]string{"parity.yaml": "prompts: []\n", "src/engine.c": "int main;\n"})
	return s, r, r.AddPullRequest(PullRequest{})
}

// wantError fails unless the error is GitHub's, of that status and message.
func wantError(t *testing.T, err error, status int, message string) {
	t.Helper()
	var e *github.ErrorResponse
	if !errors.As(err, &e) {
		t.Fatalf("got error %v (%T), want GitHub's %d %q", err, err, status, message)
	}
	text := e.Message
	for _, d := range e.Errors {
		text += ": " + d.Message
	}
	if e.Response.StatusCode != status || !strings.Contains(text, message) {
		t.Fatalf("got %d %q, want %d %q", e.Response.StatusCode, text, status, message)
	}
}

// recorded collects what a fake would fail its test with.
type recorded struct {
	mu   sync.Mutex
	said []string
}

func (r *recorded) errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

// take is what was said since the last call, in one text.
func (r *recorded) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := strings.Join(r.said, "\n")
	r.said = nil
	return text
}

var ctx = context.Background()

// TestComments: a sticky comment's whole life, over pages.
func TestComments(t *testing.T) {
	s, r, pr := seeded(t)
	gh := client(t, s, ActionsToken)
	for i := range 70 {
		r.AddComment(Comment{Issue: pr.Number, Body: fmt.Sprint("comment ", i)})
	}
	body := "<!-- marker --> first"
	made, _, err := gh.Issues.CreateComment(ctx, "acme", "engine", pr.Number, &github.IssueComment{Body: &body})
	if err != nil {
		t.Fatal(err)
	}
	if got := made.GetUser(); got.GetLogin() != "github-actions[bot]" || got.GetType() != "Bot" {
		t.Errorf("written by %s, a %s", got.GetLogin(), got.GetType())
	}
	if want := fmt.Sprintf("https://github.com/acme/engine/pull/1#issuecomment-%d", made.GetID()); made.GetHTMLURL() != want {
		t.Errorf("comment's URL %s, want %s", made.GetHTMLURL(), want)
	}
	var bodies []string
	pages := 0
	o := &github.IssueListCommentsOptions{ListOptions: github.ListOptions{PerPage: 30}}
	for {
		part, resp, err := gh.Issues.ListComments(ctx, "acme", "engine", pr.Number, o)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, c := range part {
			bodies = append(bodies, c.GetBody())
		}
		if resp.NextPage == 0 {
			break
		}
		if resp.LastPage != 3 {
			t.Errorf("page %d says that the last is %d", pages, resp.LastPage)
		}
		o.Page = resp.NextPage
	}
	if pages != 3 || len(bodies) != 71 || bodies[0] != "comment 0" || bodies[70] != body {
		t.Errorf("%d pages, %d comments: %q", pages, len(bodies), bodies)
	}
	next := "<!-- marker --> second"
	if _, _, err := gh.Issues.EditComment(ctx, "acme", "engine", made.GetID(), &github.IssueComment{Body: &next}); err != nil {
		t.Fatal(err)
	}
	got, _, err := gh.Issues.GetComment(ctx, "acme", "engine", made.GetID())
	if err != nil || got.GetBody() != next || got.GetUpdatedAt().Before(got.GetCreatedAt().Time) {
		t.Errorf("after the edit: %v, %v", got, err)
	}
	if _, err := gh.Issues.DeleteComment(ctx, "acme", "engine", made.GetID()); err != nil {
		t.Fatal(err)
	}
	_, _, err = gh.Issues.GetComment(ctx, "acme", "engine", made.GetID())
	wantError(t, err, 404, "Not Found")
	if n := len(r.Comments(pr.Number)); n != 70 {
		t.Errorf("%d comments are left", n)
	}
	if s.Writes() != 3 || s.Tried() != 3 || s.Count("GET", "/issues/1/comments") != 3 {
		t.Errorf("counted %d writes of %d, %d lists", s.Writes(), s.Tried(), s.Count("GET", "/issues/1/comments"))
	}
}

// TestPages: a page has at most 100, and the links lead to all the others.
func TestPages(t *testing.T) {
	s, r, pr := seeded(t)
	for i := range 250 {
		r.AddComment(Comment{Issue: pr.Number, Body: fmt.Sprint(i)})
	}
	gh := client(t, s, ActionsToken)
	for _, tt := range []struct{ page, size, n, first, prev, next, last int }{
		{0, 0, 30, 0, 0, 2, 9}, {0, 500, 100, 0, 0, 2, 3}, {2, 100, 100, 100, 1, 3, 3}, {3, 100, 50, 200, 2, 0, 0}, {9, 100, 0, 0, 3, 0, 0},
	} {
		list, resp, err := gh.Issues.ListComments(ctx, "acme", "engine", pr.Number,
			&github.IssueListCommentsOptions{ListOptions: github.ListOptions{Page: tt.page, PerPage: tt.size}})
		if err != nil || len(list) != tt.n || resp.PrevPage != tt.prev || resp.NextPage != tt.next || resp.LastPage != tt.last || tt.n > 0 && list[0].GetBody() != fmt.Sprint(tt.first) {
			t.Errorf("%+v: %d comments, prev %d, next %d, last %d, %v", tt, len(list), resp.PrevPage, resp.NextPage, resp.LastPage, err)
		}
	}
	future := time.Now().Add(time.Hour)
	before, _, err := gh.Issues.ListComments(ctx, "acme", "engine", pr.Number, &github.IssueListCommentsOptions{Since: &future})
	if err != nil || len(before) != 0 {
		t.Errorf("%d comments of the future, %v", len(before), err)
	}
}

func TestCommentLimits(t *testing.T) {
	s, r, pr := seeded(t)
	gh := client(t, s, ActionsToken)
	longest := strings.Repeat("é", 65536)
	if _, _, err := gh.Issues.CreateComment(ctx, "acme", "engine", pr.Number, &github.IssueComment{Body: &longest}); err != nil {
		t.Errorf("65536 characters: %v", err)
	}
	longer := longest + "x"
	_, _, err := gh.Issues.CreateComment(ctx, "acme", "engine", pr.Number, &github.IssueComment{Body: &longer})
	wantError(t, err, 422, "Body is too long (maximum is 65536 characters)")
	blank := " "
	_, _, err = gh.Issues.CreateComment(ctx, "acme", "engine", pr.Number, &github.IssueComment{Body: &blank})
	wantError(t, err, 422, "Body cannot be blank")
	_, _, err = gh.Issues.CreateComment(ctx, "acme", "engine", 99, &github.IssueComment{Body: &longest})
	wantError(t, err, 404, "Not Found")
	if n := len(r.Comments(pr.Number)); n != 1 || s.Writes() != 1 || s.Tried() != 4 {
		t.Errorf("%d comments, %d writes of %d tried, want 1 of 4", n, s.Writes(), s.Tried())
	}
}

// TestContractBites: what breaks the description fails the test, whoever sent it.
func TestContractBites(t *testing.T) {
	var said recorded
	s, r, pr := seeded(t, func(s *Server) { s.errorf = said.errorf })
	send := func(method, path, body string) int {
		t.Helper()
		q, err := http.NewRequest(method, s.URL()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+ActionsToken)
		q.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	tests := []struct {
		method, path, body string
		status             int
		want               string // of what the test fails with; "" for nothing
	}{
		{"POST", "/repos/acme/engine/issues/1/comments", `{"body":"x"}`, 201, ""},
		{"POST", "/repos/acme/engine/issues/1/comments", `{}`, 422, `"body" is missing`},
		{"POST", "/repos/acme/engine/issues/1/comments", `{"body":1}`, 422, "string"},
		{"POST", "/repos/acme/engine/issues/1/comments", `{"body`, 422, "failed to decode"},
		{"POST", "/repos/acme/engine/issues/one/comments", `{"body":"x"}`, 422, "issue_number"},
		{"GET", "/repos/acme/engine/issues/1/comments?page=one", ``, 422, "page"},
		{"GET", "/repos/acme/engine/issues/1/comments?perpage=1", ``, 422, `no query parameter "perpage"`},
		{"POST", "/repos/acme/engine/statuses/" + pr.HeadSHA, `{"state":"failed"}`, 422, "state"},
		{"POST", "/repos/acme/engine/check-runs", `{"name":"x"}`, 422, `"head_sha" is missing`},
		{"PUT", "/repos/acme/engine/issues/1/comments", `{}`, 404, "no operation"},
		{"GET", "/repos/acme/engine/stargazers", ``, 404, "no operation"},
	}
	for _, tt := range tests {
		status := send(tt.method, tt.path, tt.body)
		if got := said.take(); status != tt.status || (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s %s %s: status %d, said %q; want %d, %q", tt.method, tt.path, tt.body, status, got, tt.status, tt.want)
		}
	}
	if n := len(r.Comments(1)); n != 1 {
		t.Errorf("%d comments were made, want 1", n)
	}

	// The other direction: a handler that leaves out what GitHub promises.
	whole := handlers["issues/get-comment"]
	defer func() { handlers["issues/get-comment"] = whole }()
	id := r.Comments(1)[0].ID
	answers := []struct {
		answer answer
		want   string
	}{
		{ok(obj{"id": 1}), `"node_id" is missing`},
		{ok([]obj{}), "object"},
		{answer{status: 200}, "response body"},
		{answer{status: 207, body: obj{}}, "no status 207"},
		{answer{status: 404, body: obj{}}, "without a message"},
		{answer{status: 418, body: "teapot"}, "no JSON object"},
		{answer{status: 418, body: obj{"message": "teapot", "status": 418}}, "status"},
		{refuse(418, "teapot"), ""},
	}
	for _, tt := range answers {
		handlers["issues/get-comment"] = handler{"issues", func(*call) answer { return tt.answer }}
		send("GET", fmt.Sprintf("/repos/acme/engine/issues/comments/%d", id), "")
		if got := said.take(); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("answer %v: said %q, want %q", tt.answer, got, tt.want)
		}
	}
}

// TestHandlers: every operation of the description has a handler, and no other.
func TestHandlers(t *testing.T) {
	c, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range c.operations {
		if _, ok := handlers[op.id]; !ok {
			t.Errorf("%s has no handler", op.id)
		}
	}
	if len(handlers) != len(c.operations) {
		t.Errorf("%d handlers for %d operations", len(handlers), len(c.operations))
	}
}
