package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/paritygate/paritygate/gate"
)

func TestNew(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Event, *Settings)
		want   string // of the error
	}{
		{"as it is", func(*Event, *Settings) {}, ""},
		{"no token", func(_ *Event, s *Settings) { s.Token = "" }, "no token for GitHub's API"},
		{"token with a line break", func(_ *Event, s *Settings) { s.Token = "ghs_abc\n" }, "the token for GitHub's API holds a space"},
		{"token of two words", func(_ *Event, s *Settings) { s.Token = "ghs_abc ghs_def" }, "the token for GitHub's API holds a space"},
		{"token with a deletion", func(_ *Event, s *Settings) { s.Token = "ghs_abc\x7f" }, "the token for GitHub's API holds a space"},
		{"token with another character", func(_ *Event, s *Settings) { s.Token = "ghs_äbc" }, "the token for GitHub's API holds a space"},
		{"comment policy", func(_ *Event, s *Settings) { s.Comment = "sometimes" }, `comment policy "sometimes": want always, on-change or never`},
		{"deadline", func(_ *Event, s *Settings) { s.Deadline = -1 }, "deadline -1ns"},
		{"repository", func(ev *Event, _ *Settings) { ev.Repo = "../x" }, "want owner/name"},
		{"no address", func(ev *Event, _ *Settings) { ev.APIURL = "" }, "want https://host"},
		{"plain http", func(ev *Event, _ *Settings) { ev.APIURL = "http://api.github.com" }, "want https, because a token is sent"},
		{"another scheme", func(ev *Event, _ *Settings) { ev.APIURL = "ftp://localhost" }, "want https"},
		{"a password", func(ev *Event, _ *Settings) { ev.APIURL = "https://user:hunter2@host" }, "holds a user name or password"},
		{"a password in what is no address", func(ev *Event, _ *Settings) { ev.APIURL = "https://user:hunter2@host:x" }, "is no URL"},
		{"a query", func(ev *Event, _ *Settings) { ev.APIURL = "https://host?a=b" }, "without ? and #"},
		{"this machine", func(ev *Event, _ *Settings) { ev.APIURL = "http://127.0.0.1:80" }, ""},
		{"another machine of the network", func(ev *Event, _ *Settings) { ev.APIURL = "http://10.0.0.1:80" }, "want https"},
		{"this machine in IPv6", func(ev *Event, _ *Settings) { ev.APIURL = "http://[::1]:80" }, ""},
		{"this machine by name", func(ev *Event, _ *Settings) { ev.APIURL = "http://localhost:80" }, ""},
		{"a name that begins like this machine's", func(ev *Event, _ *Settings) { ev.APIURL = "http://localhost.example" }, "want https"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ev := &Event{Owner: "o", Repo: "r", APIURL: "https://api.github.com"}
			s := Settings{Token: testToken}
			tt.change(ev, &s)
			c, err := New(ev, s)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "ghs_") || c != nil) {
				t.Errorf("shows a secret, or a client: %v", err)
			}
		})
	}
	if _, err := New(&Event{Owner: "o", Repo: "r", APIURL: "https://x"}, Settings{}); !errors.Is(err, ErrNoToken) {
		t.Errorf("%v is no ErrNoToken", err)
	}
}

func TestDefaults(t *testing.T) {
	ev := &Event{Owner: "o", Repo: "r", APIURL: "https://api.github.com"}
	c, err := New(ev, Settings{Token: testToken})
	if err != nil {
		t.Fatal(err)
	}
	if c.s.Name != "paritygate" || c.s.Comment != CommentAlways || c.s.Deadline != 5*time.Minute || c.s.Sleep != nil || c.Event() != ev || c.api.UserAgent != "paritygate/devel" {
		t.Errorf("settings %+v", c.s)
	}
	ctx, cancel := c.bounded(context.Background())
	defer cancel()
	if d, ok := ctx.Deadline(); !ok || time.Until(d) > 5*time.Minute || time.Until(d) < 4*time.Minute {
		t.Errorf("deadline %v", d)
	}
}

// TestEnterprise: the API of an Enterprise server lies below /api/v3.
func TestEnterprise(t *testing.T) {
	for address, want := range map[string]string{"": "/user", "/": "/user", "/api/v3": "/api/v3/user", "/api/v3/": "/api/v3/user"} {
		var got http.Request
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = *r
			_, _ = w.Write([]byte(`{"login": "octocat"}`))
		}))
		c, _ := clientOf(t, s.URL+address, func(_ *Event, s *Settings) { s.Version = "v1.2.3" })
		login, err := c.author(context.Background())
		s.Close()
		if err != nil || login != "octocat" {
			t.Errorf("%q: %q, %v", address, login, err)
		}
		if got.URL.Path != want {
			t.Errorf("%q: asked %s, want %s", address, got.URL.Path, want)
		}
		for h, v := range map[string]string{"User-Agent": "paritygate/v1.2.3", "Authorization": "Bearer " + testToken, "X-Github-Api-Version": "2022-11-28"} {
			if got.Header.Get(h) != v {
				t.Errorf("%s is %q", h, got.Header.Get(h))
			}
		}
	}
}

// TestTokenNeverShown: a server that repeats the token wherever it can, in
// errors of every kind; the whole output of a process of its own is looked at.
func TestTokenNeverShown(t *testing.T) {
	if os.Getenv("PARITYGATE_TEST_SHOW") != "" {
		showAll(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestTokenNeverShown$", "-test.v")
	cmd.Env = append(os.Environ(), "PARITYGATE_TEST_SHOW=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if strings.Contains(string(out), testToken) {
		t.Errorf("the token is shown:\n%s", out)
	}
	if n := strings.Count(string(out), "shown: "); n != 2*5*10 {
		t.Errorf("%d errors were looked at:\n%s", n, out)
	}
}

func showAll(t *testing.T) {
	echo := func(status int, format string, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for _, h := range headers {
				k, v, _ := strings.Cut(h, ": ")
				w.Header().Set(k, v)
			}
			w.WriteHeader(status)
			fmt.Fprintf(w, format, r.Header.Get("Authorization"))
		}
	}
	steps := []http.HandlerFunc{
		echo(401, `{"message": "bad credentials %s"}`),
		echo(403, `{"message": "no %s"}`),
		echo(403, `{"message": "secondary rate limit %s"}`, "Retry-After: 9999"),
		echo(422, `{"message": "x", "errors": [{"message": "%[1]s", "field": "%[1]s"}]}`),
		echo(500, `<html>%s</html>`),
		echo(200, `not JSON %s`),
		echo(418, `%s`),
		cut,
		redirect(302, "http://else.example/"),
		func(w http.ResponseWriter, r *http.Request) {
			_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			redirect(307, "http://"+token+".example/?token="+token)(w, r)
		},
	}
	for _, step := range steps {
		for _, method := range []string{"GET", "POST", "PATCH", "PUT", "DELETE"} {
			s := httptest.NewServer(step)
			c, _ := clientOf(t, s.URL, nil)
			err := ask(c, method, nil)
			s.Close()
			if err == nil {
				t.Errorf("%s: no error", method)
				continue
			}
			fmt.Printf("shown: %v\nshown: %s\n", err, c.explain(err))
		}
	}
}

func TestExplain(t *testing.T) {
	long := strings.Repeat("é", 400)
	tests := []struct {
		step http.HandlerFunc
		want string
	}{
		{answer(403, "Resource not accessible by integration"), "GitHub answered 403 Forbidden to GET /repos/o/r/thing: Resource not accessible by integration (the token may only read here, as every fork's may, or the job's permissions lack this)"},
		{answer(401, "Bad credentials"), "GitHub answered 401 Unauthorized to GET /repos/o/r/thing: Bad credentials (the token is wrong or has expired)"},
		{func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(422)
			_ = json.NewEncoder(w).Encode(map[string]any{"message": "Validation\nFailed\x1b[31m", "errors": []map[string]string{{"resource": "IssueComment", "field": "body", "code": "unprocessable"}, {}, {}, {}, {}}})
		}, "GitHub answered 422 Unprocessable Entity to GET /repos/o/r/thing: Validation Failed [31m; IssueComment body unprocessable ; ; and 2 more"},
		{answer(http.StatusNotImplemented, "told "+testToken+" by somebody"), "GitHub answered 501 " + http.StatusText(http.StatusNotImplemented) + " to GET /repos/o/r/thing: told *** by somebody"},
		{redirect(302, "https://else.example/x"), "GitHub sends this request on to else.example, which does not get the token"},
		{answer(404, long), "GitHub answered 404 Not Found to GET /repos/o/r/thing: " + long[:maxExplained-56] + "…"},
	}
	for _, tt := range tests {
		s := newScript(t, tt.step)
		c, _ := clientOf(t, s.web.URL, nil)
		if got := c.explain(ask(c, "GET", nil)); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestAuthor(t *testing.T) {
	t.Run("of the settings", func(t *testing.T) {
		s := newScript(t)
		c, _ := clientOf(t, s.web.URL, func(_ *Event, s *Settings) { s.Author = "my-app[bot]" })
		if got, err := c.author(context.Background()); got != "my-app[bot]" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("of Actions, asked once", func(t *testing.T) {
		s := newScript(t, answer(403, "Resource not accessible by integration"))
		c, _ := clientOf(t, s.web.URL, nil)
		for range 3 {
			if got, err := c.author(context.Background()); got != "github-actions[bot]" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		}
	})
	for name, tt := range map[string]struct {
		step http.HandlerFunc
		kind failure
	}{
		"another refusal": {answer(403, "Resource not accessible by personal access token"), failDenied},
		"wrong token":     {answer(401, "Bad credentials"), failDenied},
		"nobody":          {answer(200, ""), failOther},
	} {
		t.Run(name+" is asked again", func(t *testing.T) {
			s := newScript(t, tt.step, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(`{"login":"octocat"}`)) })
			c, _ := clientOf(t, s.web.URL, nil)
			if got, err := c.author(context.Background()); got != "" || err == nil || failureOf(err) != tt.kind {
				t.Errorf("%q, %v", got, err)
			}
			if got, err := c.author(context.Background()); got != "octocat" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// passed is a result with a source.
func passed(s *gate.Source) *gate.Result { return &gate.Result{Outcome: gate.Pass, Source: s} }
