package githubtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-github/v62/github"
)

// post writes a comment without go-github, and without net/http's own tries on
// an old connection. text is what came of the body.
func post(t *testing.T, s *Server, number int) (resp *http.Response, text string, err error) {
	t.Helper()
	q, err := http.NewRequest(http.MethodPost, s.URL()+fmt.Sprintf("/repos/acme/engine/issues/%d/comments", number), strings.NewReader(`{"body":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+ActionsToken)
	q.Header.Set("Content-Type", "application/json")
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if resp, err = c.Do(q); err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

// TestFaults: each is what its name says, and takes effect or does not.
func TestFaults(t *testing.T) {
	tests := []struct {
		fault   Fault
		status  int // 0: no response arrives whole
		applied bool
		header  map[string]string
		body    string
	}{
		{Fault{}, 201, true, nil, `"body":"x"`},
		{Unauthorized(), 401, false, nil, "Bad credentials"},
		{Forbidden(), 403, false, nil, "Resource not accessible by integration"},
		{NotFound(), 404, false, nil, "Not Found"},
		{Conflict(), 409, false, nil, "Conflict"},
		{Invalid(), 422, false, nil, "Validation Failed"},
		{PrimaryLimit(time.Minute), 403, false, map[string]string{"X-RateLimit-Remaining": "0", "Retry-After": ""}, "API rate limit exceeded"},
		{SecondaryLimit(time.Minute), 403, false, map[string]string{"Retry-After": "60"}, "You have exceeded a secondary rate limit"},
		{SecondaryLimit(1500 * time.Millisecond), 403, false, map[string]string{"Retry-After": "2"}, ""},
		{SecondaryLimit(0), 403, false, map[string]string{"Retry-After": ""}, "secondary rate limit"},
		{TooMany(time.Second), 429, false, map[string]string{"Retry-After": "1"}, "secondary rate limit"},
		{TooMany(0), 429, false, map[string]string{"Retry-After": ""}, ""},
		{ServerError(500, false), 500, false, nil, "Server Error"},
		{ServerError(503, true), 503, true, nil, "Server Error"},
		{BadGateway(false), 502, false, map[string]string{"Content-Type": "text/html"}, "<html>"},
		{BadGateway(true), 502, true, nil, "<html>"},
		{Slow(time.Millisecond), 201, true, nil, `"body":"x"`},
		{CutBefore(), 0, false, nil, ""},
		{CutAfter(), 0, true, nil, ""},
		{Truncated(), 0, true, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.fault.Name, func(t *testing.T) {
			s, r, pr := seeded(t)
			s.Inject(tt.fault)
			resp, body, err := post(t, s, pr.Number)
			if (err != nil) != (tt.status == 0) {
				t.Fatalf("error %v", err)
			}
			if err == nil {
				if resp.StatusCode != tt.status || !strings.Contains(body, tt.body) {
					t.Errorf("got %d %s, want %d %s", resp.StatusCode, body, tt.status, tt.body)
				}
				for name, want := range tt.header {
					if got := resp.Header.Get(name); got != want {
						t.Errorf("%s is %q, want %q", name, got, want)
					}
				}
			}
			if got := len(r.Comments(pr.Number)); got != map[bool]int{true: 1}[tt.applied] {
				t.Errorf("%d comments, applied should be %v", got, tt.applied)
			}
			logged := s.Requests()[0]
			if logged.Fault != tt.fault.Name || logged.Applied != tt.applied || (s.Writes() == 1) != tt.applied || s.Tried() != 1 {
				t.Errorf("logged %+v", logged)
			}
			// The next one passes.
			if resp, _, err := post(t, s, pr.Number); err != nil || resp.StatusCode != 201 {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestTruncated: something arrives, and then the connection ends.
func TestTruncated(t *testing.T) {
	s, _, pr := seeded(t)
	s.Inject(Truncated())
	resp, body, err := post(t, s, pr.Number)
	if resp == nil || resp.StatusCode != 201 || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(body, "{") || strings.HasSuffix(body, "}\n") {
		t.Errorf("%v, %q, %v", resp, body, err)
	}
}

// TestPrimaryLimitReset: go-github knows it for what it is.
func TestPrimaryLimitReset(t *testing.T) {
	s, _, _ := seeded(t)
	gh := client(t, s, ActionsToken)
	s.Inject(PrimaryLimit(time.Hour))
	_, _, err := gh.Repositories.Get(ctx, "acme", "engine")
	var limit *github.RateLimitError
	if !errors.As(err, &limit) {
		t.Fatalf("got %v", err)
	}
	if d := time.Until(limit.Rate.Reset.Time); d < 59*time.Minute || d > time.Hour {
		t.Errorf("reset in %v", d)
	}
	s.Inject(SecondaryLimit(time.Minute))
	_, _, err = client(t, s, ActionsToken).Repositories.Get(ctx, "acme", "engine")
	var abuse *github.AbuseRateLimitError
	if !errors.As(err, &abuse) || abuse.GetRetryAfter() != time.Minute {
		t.Errorf("got %v", err)
	}
}

// TestInjectWhen: faults wait for the requests that they are for.
func TestInjectWhen(t *testing.T) {
	s, _, pr := seeded(t)
	gh := client(t, s, ActionsToken)
	s.InjectWhen(func(r *http.Request) bool {
		b, err := io.ReadAll(r.Body)
		return err == nil && r.Method == http.MethodPost && strings.Contains(string(b), "x")
	}, Conflict())
	s.Inject(Fault{}, Invalid())
	if _, _, err := gh.Repositories.Get(ctx, "acme", "engine"); err != nil {
		t.Error(err) // the fault that is none
	}
	resp, _, err := post(t, s, pr.Number)
	if err != nil || resp.StatusCode != 409 {
		t.Errorf("post: %v, %v", resp, err)
	}
	_, _, err = gh.Repositories.Get(ctx, "acme", "engine")
	wantError(t, err, 422, "Validation Failed")
	if _, _, err := gh.Repositories.Get(ctx, "acme", "engine"); err != nil {
		t.Error(err)
	}
}

// TestSlow: a client that gives up has changed nothing, or all the same.
func TestSlow(t *testing.T) {
	for _, applied := range []bool{false, true} {
		s, r, pr := seeded(t)
		f := Slow(time.Minute)
		f.Applied = applied
		s.Inject(f)
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		_, _, err := client(t, s, ActionsToken).Issues.CreateComment(short, "acme", "engine", pr.Number, &github.IssueComment{Body: github.String("x")})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		s.web.Close() // waits for the request
		if got := len(r.Comments(pr.Number)); (got == 1) != applied {
			t.Errorf("%d comments, applied should be %v", got, applied)
		}
	}
}

// TestRandom: the same seed gives the same faults, no more than so many in a
// row, and all of them in time.
func TestRandom(t *testing.T) {
	run := func(seed uint64) (names []string) {
		choose := Random(seed, 0.5, 2, Faults()...)
		for n := range 400 {
			if f := choose(nil, n); f != nil {
				names = append(names, f.Name)
			} else {
				names = append(names, "")
			}
		}
		return names
	}
	one := run(1)
	if again := run(1); strings.Join(one, ",") != strings.Join(again, ",") || strings.Join(one, ",") == strings.Join(run(2), ",") {
		t.Error("a seed does not decide the faults")
	}
	seen := map[string]bool{}
	row := 0
	for _, name := range one {
		seen[name] = true
		if row++; name == "" {
			row = 0
		} else if row > 2 {
			t.Fatal("three faults in a row")
		}
	}
	for _, f := range Faults() {
		if f.Name == "" || !seen[f.Name] {
			t.Errorf("never seen: %q", f.Name)
		}
	}
	for _, f := range Refusals() {
		if f.applies() || f.Status < 400 {
			t.Errorf("%+v is no refusal", f)
		}
	}
}

// TestChoose: a function decides, with the request before it, until it is taken away.
func TestChoose(t *testing.T) {
	s, _, pr := seeded(t)
	s.Choose(func(r *http.Request, n int) *Fault {
		if b, err := io.ReadAll(r.Body); err != nil || len(b) == 0 || n%2 == 0 {
			return nil
		}
		f := Conflict()
		return &f
	})
	var got []int
	for n := range 6 {
		if n == 5 {
			s.Choose(nil)
		}
		resp, _, err := post(t, s, pr.Number)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, resp.StatusCode)
	}
	if fmt.Sprint(got) != "[201 409 201 409 201 201]" {
		t.Errorf("statuses %v", got)
	}
}

// TestStandalone: the fake serves without a test, and tells what it would have
// failed it with.
func TestStandalone(t *testing.T) {
	var said recorded
	s, err := Standalone(said.errorf, WithToken("mine", Token{Login: "me", Type: "User", Access: Write}))
	if err != nil {
		t.Fatal(err)
	}
	s.AddRepo("acme/engine").Commit("main", "Begin", map[string]string{"a": "b"})
	web := httptest.NewServer(s.Handler())
	defer web.Close()
	gh := clientAt(t, web.URL, "mine")
	r, _, err := gh.Repositories.Get(ctx, "acme", "engine")
	if err != nil || r.GetURL() != web.URL+"/repos/acme/engine" || said.take() != "" {
		t.Errorf("%v, %v", r.GetURL(), err)
	}
	if _, _, err := gh.Gists.Get(ctx, "1"); err == nil || !strings.Contains(said.take(), "GET /gists/1 is no operation") {
		t.Errorf("an operation that is not there: %v", err)
	}
}
