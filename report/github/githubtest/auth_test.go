package githubtest

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-github/v62/github"
)

// TestTokens: who may do what, and what GitHub says to the others.
func TestTokens(t *testing.T) {
	s, r, pr := seeded(t)
	i := r.AddIssue(Issue{Title: "No pull request"})
	secret := s.AddRepo("acme/secret", Private())
	secret.Commit("main", "Begin", map[string]string{"a": "b"})
	s.AddToken("pulls", Token{Login: "github-actions[bot]", Type: "Bot", Installation: true, Access: None,
		Scopes: map[string]Access{"pull_requests": Write, "contents": Read}})
	s.AddToken("elsewhere", Token{Login: "mallory", Type: "User", Access: Write, Repos: []string{"mallory/fork"}})
	s.AddToken("insider", Token{Login: "eve", Type: "User", Access: Read, Repos: []string{"Acme/Secret"}})

	comment := func(number int) func(*github.Client) error {
		return func(gh *github.Client) error {
			_, _, err := gh.Issues.CreateComment(ctx, "acme", "engine", number, &github.IssueComment{Body: github.String("x")})
			return err
		}
	}
	get := func(repo string) func(*github.Client) error {
		return func(gh *github.Client) error { _, _, err := gh.Repositories.Get(ctx, "acme", repo); return err }
	}
	file := func(repo string) func(*github.Client) error {
		return func(gh *github.Client) error {
			_, _, _, err := gh.Repositories.GetContents(ctx, "acme", repo, "a", nil)
			return err
		}
	}
	check := func(gh *github.Client) error {
		_, _, err := gh.Checks.CreateCheckRun(ctx, "acme", "engine", github.CreateCheckRunOptions{Name: "x", HeadSHA: pr.HeadSHA})
		return err
	}
	user := func(gh *github.Client) error { _, _, err := gh.Users.Get(ctx, ""); return err }
	tests := []struct {
		name, token string
		do          func(*github.Client) error
		status      int // 0: it works
		message     string
	}{
		{"comment", ActionsToken, comment(pr.Number), 0, ""},
		{"comment as user", UserToken, comment(pr.Number), 0, ""},
		{"comment from a fork", ForkToken, comment(pr.Number), 403, "Resource not accessible by integration"},
		{"comment on a pull request with that alone", "pulls", comment(pr.Number), 0, ""},
		{"comment on an issue with pull requests alone", "pulls", comment(i.Number), 403, "Resource not accessible by integration"},
		{"comment with another repository's token", "elsewhere", comment(pr.Number), 403, "Resource not accessible by personal access token"},
		{"comment without a token", "", comment(pr.Number), 401, "Requires authentication"},
		{"unknown token", "guess", get("engine"), 401, "Bad credentials"},
		{"read without a token", "", get("engine"), 0, ""},
		{"read from a fork", ForkToken, get("engine"), 0, ""},
		{"no such repository", ActionsToken, get("none"), 404, "Not Found"},
		{"private", "insider", get("secret"), 0, ""},
		{"file of a private one", "insider", file("secret"), 0, ""},
		{"private, for another's token", "elsewhere", get("secret"), 404, "Not Found"},
		{"private, without a token", "", file("secret"), 404, "Not Found"},
		{"check run", ActionsToken, check, 0, ""},
		{"check run as user", UserToken, check, 403, "You must authenticate via a GitHub App."},
		{"check run without the scope", "pulls", check, 403, "Resource not accessible by integration"},
		{"who am I", UserToken, user, 0, ""},
		{"who am I, as an app", ActionsToken, user, 403, "Resource not accessible by integration"},
		{"who am I, nobody", "", user, 401, "Requires authentication"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.do(client(t, s, tt.token))
			if tt.status != 0 {
				wantError(t, err, tt.status, tt.message)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	if n := len(r.Comments(pr.Number)); n != 3 {
		t.Errorf("%d comments were written, want 3", n)
	}
	me, _, err := client(t, s, UserToken).Users.Get(ctx, "")
	if err != nil || me.GetLogin() != "octocat" || me.GetType() != "User" {
		t.Errorf("user %v, %v", me, err)
	}
}

// TestAuthorizationForms: a token is sent in more than one way.
func TestAuthorizationForms(t *testing.T) {
	s, _, _ := seeded(t)
	for _, header := range []string{"Bearer " + UserToken, "token " + UserToken, "bearer " + UserToken} {
		q, _ := http.NewRequest(http.MethodGet, s.URL()+"/user", nil)
		q.Header.Set("Authorization", header)
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%q: %s", header, resp.Status)
		}
	}
	q, _ := http.NewRequest(http.MethodGet, s.URL()+"/user", nil)
	q.SetBasicAuth("x-access-token", UserToken)
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("basic: %s", resp.Status)
	}
	for i, r := range s.Requests() {
		if r.Token != UserToken {
			t.Errorf("request %d has token %q in the log", i, r.Token)
		}
	}
}

// TestQuota: a token has so many requests in an hour, and every response says
// how many are left.
func TestQuota(t *testing.T) {
	now := time.Now()
	s, _, _ := seeded(t, WithQuota(3), WithClock(func() time.Time { return now }))
	get := func(token string) (*github.Response, error) {
		_, resp, err := client(t, s, token).Repositories.Get(ctx, "acme", "engine")
		return resp, err
	}
	for left := 2; left >= 0; left-- {
		resp, err := get(ActionsToken)
		if err != nil || resp.Rate.Limit != 3 || resp.Rate.Remaining != left {
			t.Fatalf("rate %v, want %d left; %v", resp.Rate, left, err)
		}
		if d := resp.Rate.Reset.Sub(now); d < time.Hour-time.Second || d > time.Hour {
			t.Errorf("reset in %v, want an hour", d)
		}
	}
	_, err := get(ActionsToken)
	var limited *github.RateLimitError
	if !errors.As(err, &limited) {
		t.Errorf("a fourth request: %v, want a RateLimitError", err)
	}
	if _, err := get(UserToken); err != nil {
		t.Errorf("another token: %v", err)
	}
	rates, _, err := client(t, s, ActionsToken).RateLimit.Get(ctx)
	if err != nil || rates.Core.Remaining != 0 {
		t.Errorf("asking for the rate costs nothing: %v, %v", rates, err)
	}
	now = now.Add(time.Hour)
	if resp, err := get(ActionsToken); err != nil || resp.Rate.Remaining != 2 {
		t.Errorf("an hour later: %v, %v", resp.Rate, err)
	}
}

// TestEnterprise: the same answers below /api/v3, with links that stay there.
func TestEnterprise(t *testing.T) {
	s, r, pr := seeded(t)
	for range 3 {
		r.AddComment(Comment{Issue: pr.Number, Body: "x", Author: User{Login: "eve"}})
	}
	gh, err := github.NewClient(nil).WithAuthToken(UserToken).WithEnterpriseURLs(s.URL(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	list, resp, err := gh.Issues.ListComments(ctx, "acme", "engine", pr.Number, &github.IssueListCommentsOptions{ListOptions: github.ListOptions{PerPage: 2}})
	if err != nil || len(list) != 2 || resp.NextPage != 2 {
		t.Fatalf("%d comments, next page %d, %v", len(list), resp.NextPage, err)
	}
	if want := s.EnterpriseURL() + "/repos/acme/engine/issues/comments/"; list[0].GetURL()[:len(want)] != want {
		t.Errorf("comment's URL %s does not begin with %s", list[0].GetURL(), want)
	}
	if want := s.URL() + "/acme/engine/pull/1#"; list[0].GetHTMLURL()[:len(want)] != want {
		t.Errorf("comment's page %s does not begin with %s", list[0].GetHTMLURL(), want)
	}
	if link := resp.Header.Get("Link"); link != `<`+s.EnterpriseURL()+`/repos/acme/engine/issues/1/comments?page=2&per_page=2>; rel="next", <`+
		s.EnterpriseURL()+`/repos/acme/engine/issues/1/comments?page=2&per_page=2>; rel="last"` {
		t.Errorf("links %s", link)
	}
	if got := s.Requests()[0]; got.Path != "/repos/acme/engine/issues/1/comments" || got.Query != "per_page=2" || got.Status != 200 {
		t.Errorf("logged %+v", got)
	}
}
