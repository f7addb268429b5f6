package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gh "github.com/google/go-github/v62/github"
)

const testToken = "ghs_secretSECRETsecret0123456789"

// script is a server that answers one request with each of its steps.
type script struct {
	t     *testing.T
	steps []http.HandlerFunc
	web   *httptest.Server

	mu     sync.Mutex
	seen   []string // "METHOD path body"
	tokens []string
}

func newScript(t *testing.T, steps ...http.HandlerFunc) *script {
	s := &script{t: t, steps: steps}
	s.web = httptest.NewUnstartedServer(s)
	// net/http repeats a GET by itself on a connection that it used before.
	s.web.Config.SetKeepAlivesEnabled(false)
	s.web.Start()
	t.Cleanup(s.web.Close)
	return s
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	n := len(s.seen)
	s.seen = append(s.seen, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+string(body)))
	s.tokens = append(s.tokens, r.Header.Get("Authorization"))
	s.mu.Unlock()
	if n >= len(s.steps) {
		s.t.Errorf("request %d, %s %s, and only %d are in the script", n+1, r.Method, r.URL, len(s.steps))
		w.WriteHeader(http.StatusTeapot)
		return
	}
	s.steps[n](w, r)
}

func (s *script) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// waits records what would have been slept.
type waits struct {
	mu  sync.Mutex
	all []time.Duration
}

func (w *waits) sleep(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, d)
}

func (w *waits) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Trim(fmt.Sprint(w.all), "[]")
}

// clientOf is a client of a server that takes no time to wait, and whose
// exponential waits are whole.
func clientOf(t *testing.T, address string, change func(*Event, *Settings)) (*Client, *waits) {
	t.Helper()
	w := new(waits)
	ev := &Event{Name: "pull_request", Owner: "o", Repo: "r", PullRequest: 7, Head: sha('a'), Base: sha('b'), APIURL: address,
		HeadRepo: "o/r", HeadRef: "topic", RunID: 11, RunAttempt: 1, ServerURL: "https://github.com"}
	s := Settings{Token: testToken, Sleep: w.sleep}
	if change != nil {
		change(ev, &s)
	}
	c, err := New(ev, s)
	if err != nil {
		t.Fatal(err)
	}
	c.transport.random = func() float64 { return 0 }
	return c, w
}

func sha(c byte) string { return strings.Repeat(string(c), 40) }

// ask makes one request through go-github, as every call of this package does.
func ask(c *Client, method string, body any) error {
	return askPath(c, method, "repos/o/r/thing", body)
}

func askPath(c *Client, method, path string, body any) error {
	ctx, cancel := c.bounded(context.Background())
	defer cancel()
	req, err := c.api.NewRequest(method, path, body)
	if err != nil {
		return err
	}
	var got map[string]any
	_, err = c.api.Do(ctx, req, &got)
	return err
}

// answer is a step: a status, a message, and headers as "Name: value".
func answer(status int, message string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, h := range headers {
			k, v, _ := strings.Cut(h, ": ")
			w.Header().Set(k, v)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
	}
}

func cut(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
}

// reset makes the client's read fail by itself, other than at an end.
func reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

func cutInBody(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, `{"message":`)
	w.(http.Flusher).Flush()
	cut(w, nil)
}

func repeated(n int, h http.HandlerFunc) []http.HandlerFunc {
	return slices.Repeat([]http.HandlerFunc{h}, n)
}

const (
	noon      = "Date: Mon, 23 Nov 2026 12:00:00 GMT"
	remain0   = "X-RateLimit-Remaining: 0"
	primary   = "API rate limit exceeded for installation ID 1."
	secondary = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
)

var noonUnix = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).Unix()

func resetAfter(s int64) string { return "X-RateLimit-Reset: " + strconv.FormatInt(noonUnix+s, 10) }

func TestRetries(t *testing.T) {
	ok := answer(200, "")
	unavailable := answer(503, "Service Unavailable")
	limited := func(status int, headers ...string) http.HandlerFunc {
		return answer(status, secondary, append(headers, noon)...)
	}
	tests := []struct {
		name     string
		method   string
		steps    []http.HandlerFunc // all of them must be asked for
		deadline time.Duration
		waits    string
		failure  failure // with text
		text     string  // "" for success
	}{
		{name: "success", method: "GET", steps: repeated(1, ok)},
		{name: "server errors double the wait", method: "GET", steps: append(repeated(5, unavailable), ok), waits: "1s 2s 4s 8s 16s"},
		{name: "six tries and no more", method: "GET", steps: repeated(6, answer(500, "")), waits: "1s 2s 4s 8s 16s", failure: failUnavailable, text: "tried 6 times: GitHub answered 500"},
		{name: "PATCH", method: "PATCH", steps: []http.HandlerFunc{answer(502, ""), ok}, waits: "1s"},
		{name: "PUT", method: "PUT", steps: []http.HandlerFunc{answer(504, ""), ok}, waits: "1s"},
		{name: "DELETE", method: "DELETE", steps: []http.HandlerFunc{cut, ok}, waits: "1s"},
		{name: "a status that will not come", method: "GET", steps: repeated(1, answer(501, "no")), failure: failOther, text: "501"},
		{name: "cut", method: "GET", steps: []http.HandlerFunc{cut, cut, ok}, waits: "1s 2s"},
		{name: "cut in the answer", method: "GET", steps: []http.HandlerFunc{cutInBody, ok}, waits: "1s"},
		{name: "always cut", method: "PATCH", steps: repeated(6, cut), waits: "1s 2s 4s 8s 16s", failure: failUnavailable, text: "tried 6 times: "},

		{name: "POST, server error", method: "POST", steps: repeated(1, answer(502, "")), failure: failUnknown, text: "502 Bad Gateway; GitHub may have done it"},
		{name: "POST, cut", method: "POST", steps: repeated(1, cut), failure: failUnknown, text: "GitHub may have done it"},
		{name: "POST, reset", method: "POST", steps: repeated(1, reset), failure: failUnknown, text: "GitHub may have done it"},
		{name: "reset", method: "GET", steps: []http.HandlerFunc{reset, ok}, waits: "1s"},
		{name: "POST, cut in the answer", method: "POST", steps: repeated(1, cutInBody), failure: failUnknown, text: "GitHub may have done it"},
		{name: "POST, 503 that says when", method: "POST", steps: repeated(1, answer(503, "", "Retry-After: 1")), failure: failUnknown, text: "503"},
		{name: "POST, 429", method: "POST", steps: []http.HandlerFunc{limited(429, "Retry-After: 7"), answer(201, "")}, waits: "7s"},
		{name: "POST, primary limit", method: "POST", steps: []http.HandlerFunc{answer(403, primary, noon, remain0, resetAfter(40)), answer(201, "")}, waits: "41s"},
		{name: "POST, secondary limit, then an error", method: "POST", steps: []http.HandlerFunc{limited(403, "Retry-After: 3"), answer(500, "")}, waits: "3s", failure: failUnknown, text: "500"},

		{name: "refused for want of permission", method: "GET", steps: repeated(1, answer(403, "Resource not accessible by integration")), failure: failDenied, text: "403"},
		{name: "refused with the hour's last request", method: "GET", steps: repeated(1, answer(403, "Resource not accessible by integration", remain0, resetAfter(9), noon)), failure: failDenied, text: "not accessible"},
		{name: "refused for another reason", method: "GET", steps: repeated(1, answer(403, "Must have admin rights to Repository.", "X-RateLimit-Remaining: 10")), failure: failDenied, text: "admin rights"},
		{name: "refused without a word", method: "POST", steps: repeated(1, answer(403, "")), failure: failDenied, text: "403"},
		{name: "wrong token", method: "GET", steps: repeated(1, answer(401, "Bad credentials")), failure: failDenied, text: "401"},
		{name: "absent", method: "GET", steps: repeated(1, answer(404, "Not Found")), failure: failNotFound, text: "404"},
		{name: "gone", method: "GET", steps: repeated(1, answer(410, "Gone")), failure: failNotFound, text: "410"},
		{name: "conflict", method: "PUT", steps: repeated(1, answer(409, "Conflict")), failure: failConflict, text: "409"},
		{name: "invalid", method: "POST", steps: repeated(1, answer(422, "Validation Failed")), failure: failInvalid, text: "422"},

		{name: "primary limit", method: "GET", steps: []http.HandlerFunc{answer(403, primary, noon, remain0, resetAfter(30)), ok}, waits: "31s"},
		{name: "primary limit by its header alone", method: "GET", steps: []http.HandlerFunc{answer(403, "no", noon, remain0, resetAfter(30)), ok}, waits: "31s"},
		{name: "primary limit with 429", method: "GET", steps: []http.HandlerFunc{answer(429, primary, noon, remain0, resetAfter(30)), ok}, waits: "31s"},
		{name: "primary limit, reset just passed", method: "GET", steps: []http.HandlerFunc{answer(403, primary, noon, remain0, resetAfter(-5)), ok}, waits: "1s"},
		{name: "primary limit beyond the deadline", method: "GET", steps: repeated(1, answer(403, primary, noon, remain0, resetAfter(2400))), failure: failLimited, text: "primary rate limit is used up: try again in 40m1s, which is longer than there is time"},
		{name: "primary limit by its words alone", method: "GET", steps: []http.HandlerFunc{answer(403, primary), ok}, waits: "1m0s"},
		{name: "Retry-After goes before the reset", method: "GET", steps: []http.HandlerFunc{answer(403, primary, noon, remain0, resetAfter(200), "Retry-After: 5"), ok}, waits: "5s"},
		{name: "a reset that is not used up does not count", method: "GET", steps: []http.HandlerFunc{limited(403, "X-RateLimit-Remaining: 100", resetAfter(200)), ok}, waits: "1m0s"},

		{name: "secondary limit, seconds", method: "GET", steps: []http.HandlerFunc{limited(403, "Retry-After: 90"), ok}, waits: "1m30s"},
		{name: "secondary limit, date", method: "GET", steps: []http.HandlerFunc{limited(403, "Retry-After: Mon, 23 Nov 2026 12:00:25 GMT"), ok}, waits: "25s"},
		{name: "secondary limit, date in the past", method: "GET", steps: []http.HandlerFunc{limited(429, "Retry-After: Mon, 23 Nov 2026 11:00:00 GMT"), ok}, waits: "1s"},
		{name: "secondary limit that says nothing: a minute, doubled", method: "GET", deadline: time.Hour, steps: append(repeated(3, limited(403)), ok), waits: "1m0s 2m0s 4m0s"},
		{name: "secondary limit by its documentation", method: "GET", steps: []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(403)
			_, _ = io.WriteString(w, `{"message":"slow down","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`)
		}, ok}, waits: "1m0s"},
		{name: "403 that says when", method: "GET", steps: []http.HandlerFunc{answer(403, "slow down", "Retry-After: 4"), ok}, waits: "4s"},
		{name: "429 that says nothing", method: "GET", steps: []http.HandlerFunc{answer(429, ""), ok}, waits: "1m0s"},
		{name: "429 of a proxy", method: "GET", steps: []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(429)
			_, _ = io.WriteString(w, "<html>429</html>")
		}, ok}, waits: "1m0s"},
		{name: "Retry-After of nonsense", method: "GET", steps: []http.HandlerFunc{limited(429, "Retry-After: -7"), ok}, waits: "1m0s"},
		{name: "Retry-After of centuries", method: "GET", steps: repeated(1, limited(429, "Retry-After: 2147483647")), failure: failLimited, text: "longer than there is time"},
		{name: "a limit that never ends", method: "GET", deadline: time.Hour, steps: repeated(6, limited(429, "Retry-After: 10")), waits: "10s 10s 10s 10s 10s", failure: failLimited, text: "secondary rate limit is used up: still after 6 tries (" + secondary},
		{name: "tries are counted over all kinds", method: "GET", deadline: time.Hour, steps: []http.HandlerFunc{cut, answer(500, ""), limited(429, "Retry-After: 1"), answer(500, ""), cut, limited(429)}, waits: "1s 2s 1s 8s 16s", failure: failLimited, text: "still after 6 tries"},

		{name: "503 that says when", method: "GET", steps: []http.HandlerFunc{answer(503, "", "Retry-After: 20"), ok}, waits: "20s"},
		{name: "503 at once", method: "GET", steps: []http.HandlerFunc{answer(503, "", "Retry-After: 0"), ok}, waits: "1s"},
		{name: "no time for another try", method: "GET", deadline: 5 * time.Second, steps: repeated(3, answer(500, "")), waits: "1s 2s", failure: failUnavailable, text: "tried 3 times, no time is left for more: GitHub answered 500"},
		{name: "no time for the first wait", method: "GET", deadline: time.Second, steps: repeated(1, cut), failure: failUnavailable, text: "tried once, no time is left for more"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, tt.steps...)
			c, w := clientOf(t, s.web.URL, func(_ *Event, s *Settings) { s.Deadline = tt.deadline })
			var body any
			want := tt.method + " /repos/o/r/thing"
			if tt.method != "GET" {
				body, want = map[string]string{"a": "b"}, want+` {"a":"b"}`
			}
			err := ask(c, tt.method, body)
			if (err == nil) != (tt.text == "") {
				t.Errorf("error is %v", err)
			}
			if err != nil && (failureOf(err) != tt.failure || !strings.Contains(err.Error(), tt.text)) {
				t.Errorf("error of kind %d: %v\nwant kind %d with %q", failureOf(err), err, tt.failure, tt.text)
			}
			if got := w.String(); got != tt.waits {
				t.Errorf("waited %s, want %s", got, tt.waits)
			}
			got := s.requests()
			if len(got) != len(tt.steps) {
				t.Errorf("%d requests, want %d", len(got), len(tt.steps))
			}
			for i, r := range got {
				if r != want {
					t.Errorf("request %d is %s, want %s", i, r, want)
				}
			}
		})
	}
}

// TestJitter: a wait is between a half and the whole, so that jobs part.
func TestJitter(t *testing.T) {
	c := &call{t: &transport{}}
	for i, want := range []time.Duration{1, 2, 4, 8, 16} {
		c.tries = i + 1
		for random, share := range map[float64]float64{0: 1, 0.5: 0.75, 1: 0.5} {
			c.t.random = func() float64 { return random }
			if got := c.exponential(); got != time.Duration(float64(want*time.Second)*share) {
				t.Errorf("try %d at %g: %v", c.tries, random, got)
			}
		}
	}
}

// TestNoConnection: what was never sent was never done, so a POST is repeated.
func TestNoConnection(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, method := range []string{"GET", "POST"} {
		c, w := clientOf(t, gone.URL, nil)
		err := ask(c, method, nil)
		if failureOf(err) != failUnavailable || !strings.Contains(err.Error(), "tried 6 times") {
			t.Errorf("%s: %v", method, err)
		}
		if got := w.String(); got != "1s 2s 4s 8s 16s" {
			t.Errorf("%s: waited %s", method, got)
		}
	}
}

// TestBadCertificate: trying again makes no certificate better.
func TestBadCertificate(t *testing.T) {
	s := httptest.NewTLSServer(answer(200, ""))
	s.Config.ErrorLog = nil
	defer s.Close()
	c, w := clientOf(t, s.URL, nil)
	if err := ask(c, "POST", nil); failureOf(err) != failUnavailable || !strings.Contains(err.Error(), "tried once: ") || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error is %v", err)
	}
	if w.String() != "" {
		t.Errorf("waited %s", w)
	}
}

// TestSlow: one try that hangs does not use up the time of all.
func TestSlow(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	t.Run("GET", func(t *testing.T) {
		s := newScript(t, hang, answer(200, ""))
		c, w := clientOf(t, s.web.URL, nil)
		c.transport.tryTime = 400 * time.Millisecond
		if err := ask(c, "GET", nil); err != nil || w.String() != "1s" {
			t.Errorf("waited %s, error %v", w, err)
		}
	})
	t.Run("POST", func(t *testing.T) {
		s := newScript(t, hang)
		c, _ := clientOf(t, s.web.URL, nil)
		c.transport.tryTime = 400 * time.Millisecond
		if err := ask(c, "POST", nil); failureOf(err) != failUnknown || !strings.Contains(err.Error(), "no answer within 400ms") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		s := newScript(t, hang)
		c, w := clientOf(t, s.web.URL, func(_ *Event, s *Settings) { s.Deadline = 50 * time.Millisecond })
		err := ask(c, "GET", nil)
		if failureOf(err) != failTime || w.String() != "" {
			t.Errorf("waited %s, error %v", w, err)
		}
		if got := c.explain(err); got != "GitHub did not answer within the 50ms that a report may take" {
			t.Error(got)
		}
	})
}

// TestInterruptedWait: without a replaced Sleep, the context ends a wait.
func TestInterruptedWait(t *testing.T) {
	s := newScript(t, answer(429, "", "Retry-After: 200"))
	c, _ := clientOf(t, s.web.URL, func(_ *Event, s *Settings) { s.Sleep = nil })
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	req, err := c.api.NewRequest("GET", "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err = c.api.Do(ctx, req, nil)
	if !errors.Is(err, context.Canceled) || failureOf(err) != failTime || time.Since(start) > 20*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	if got := c.explain(err); got != "cancelled" {
		t.Error(got)
	}
}

// TestOwnLimits: go-github would refuse requests without asking once GitHub
// said that none is left.
func TestOwnLimits(t *testing.T) {
	last := answer(200, "", remain0, "X-RateLimit-Limit: 1000", "X-RateLimit-Reset: "+strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10))
	s := newScript(t, last, last, answer(403, secondary, "Retry-After: 7"), answer(200, ""))
	c, w := clientOf(t, s.web.URL, nil)
	for range 3 {
		if err := ask(c, "GET", nil); err != nil {
			t.Fatal(err)
		}
	}
	if w.String() != "7s" || len(s.requests()) != 4 {
		t.Errorf("waited %s, %d requests", w, len(s.requests()))
	}
}

func TestLargeAnswer(t *testing.T) {
	large := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"a":"`+strings.Repeat("x", 1000)+`"}`)
	}
	for method, want := range map[string]failure{"GET": failUnavailable, "POST": failUnknown} {
		s := newScript(t, large, large)
		c, w := clientOf(t, s.web.URL, nil)
		c.transport.maxBody = 1008
		if err := ask(c, method, nil); err != nil {
			t.Errorf("%s at the limit: %v", method, err)
		}
		c.transport.maxBody = 1007
		if err := ask(c, method, nil); failureOf(err) != want || !strings.Contains(err.Error(), "larger than 1007 bytes") {
			t.Errorf("%s above the limit: %v", method, err)
		}
		if w.String() != "" {
			t.Errorf("waited %s", w)
		}
	}
}

func redirect(status int, to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(status)
	}
}

// TestRedirects: a moved repository is followed, on the same server only.
func TestRedirects(t *testing.T) {
	const moved = "/repositories/1/thing"
	tests := []struct {
		name, method string
		steps        []http.HandlerFunc
		requests     []string
		text         string
	}{
		{"GET 301", "GET", []http.HandlerFunc{redirect(301, moved), answer(200, "")}, []string{"GET /repos/o/r/thing", "GET " + moved}, ""},
		{"POST 307", "POST", []http.HandlerFunc{redirect(307, moved), answer(201, "")}, []string{`POST /repos/o/r/thing {"a":"b"}`, "POST " + moved + ` {"a":"b"}`}, ""},
		{"PATCH 308", "PATCH", []http.HandlerFunc{redirect(308, moved), answer(200, "")}, []string{`PATCH /repos/o/r/thing {"a":"b"}`, "PATCH " + moved + ` {"a":"b"}`}, ""},
		{"POST 301 would become a GET", "POST", []http.HandlerFunc{redirect(301, moved)}, []string{`POST /repos/o/r/thing {"a":"b"}`}, "sends this POST on as a GET"},
		{"DELETE 302 would become a GET", "DELETE", []http.HandlerFunc{redirect(302, moved)}, []string{`DELETE /repos/o/r/thing {"a":"b"}`}, "sends this DELETE on as a GET"},
		{"in a circle", "GET", repeated(5, redirect(302, "/repos/o/r/thing")), slices.Repeat([]string{"GET /repos/o/r/thing"}, 5), "more than 5 times"},
		{"retries after it", "GET", []http.HandlerFunc{redirect(301, moved), answer(500, ""), answer(200, "")}, []string{"GET /repos/o/r/thing", "GET " + moved, "GET " + moved}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(t, tt.steps...)
			c, _ := clientOf(t, s.web.URL, nil)
			var body any
			if tt.method != "GET" {
				body = map[string]string{"a": "b"}
			}
			err := ask(c, tt.method, body)
			if (err == nil) != (tt.text == "") || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v, want %q", err, tt.text)
			}
			if got := s.requests(); !slices.Equal(got, tt.requests) {
				t.Errorf("requests %q, want %q", got, tt.requests)
			}
			for _, token := range s.tokens {
				if token != "Bearer "+testToken {
					t.Errorf("sent %q", token)
				}
			}
		})
	}
}

// TestTokenStaysHome is the attack: an API server that sends the client to
// another host gets it to hand over the token. Nothing at all is sent there.
func TestTokenStaysHome(t *testing.T) {
	thief := newScript(t)
	host, _ := url.Parse(thief.web.URL)
	targets := map[string]string{
		"another port":       thief.web.URL + "/steal",
		"another host name":  "http://localhost:" + host.Port() + "/steal",
		"without a scheme":   "//" + host.Host + "/steal",
		"the port as a user": "http://user@" + host.Host + "/steal",
	}
	for name, target := range targets {
		for _, method := range []string{"GET", "POST", "PATCH"} {
			for _, status := range []int{301, 302, 303, 307, 308} {
				s := newScript(t, redirect(status, target))
				c, _ := clientOf(t, s.web.URL, nil)
				err := ask(c, method, map[string]string{"a": "b"})
				if err == nil || !strings.Contains(err.Error(), "which does not get the token") {
					t.Errorf("%s, %s %d: error %v", name, method, status, err)
				}
			}
		}
	}
	// A link in an answer is no way around: the transport knows one server.
	s := newScript(t)
	c, w := clientOf(t, s.web.URL, nil)
	if err := askPath(c, "GET", thief.web.URL+"/steal", nil); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Errorf("error %v", err)
	}
	if got := thief.requests(); len(got) != 0 || w.String() != "" {
		t.Errorf("sent elsewhere: %q, waited %s", got, w)
	}
}

func TestRedirectToPlainHTTP(t *testing.T) {
	c, _ := clientOf(t, "https://ghe.example/api/v3", nil)
	via := []*http.Request{{Method: "GET"}}
	for to, ok := range map[string]bool{"https://ghe.example/x": true, "http://ghe.example/x": false, "https://ghe.example:444/x": false, "https://x.ghe.example/x": false} {
		u, err := url.Parse(to)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.transport.checkRedirect(&http.Request{Method: "GET", URL: u}, via); (err == nil) != ok {
			t.Errorf("%s: %v", to, err)
		}
	}
}

// TestWithoutRepeating: who looks first each time gets every refusal at once.
func TestWithoutRepeating(t *testing.T) {
	tests := []struct {
		method string
		step   http.HandlerFunc
		kind   failure
		wait   time.Duration
	}{
		{"PATCH", answer(500, ""), failUnavailable, 0},
		{"PATCH", cut, failUnavailable, 0},
		{"POST", answer(500, ""), failUnknown, 0},
		{"PATCH", answer(403, secondary, "Retry-After: 70"), failLimited, 70 * time.Second},
		{"POST", answer(429, ""), failLimited, time.Minute},
	}
	for _, tt := range tests {
		s := newScript(t, tt.step)
		c, w := clientOf(t, s.web.URL, nil)
		req, err := c.api.NewRequest(tt.method, "x", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.api.Do(withoutRepeating(context.Background()), req, nil)
		limited := (*limitError)(nil)
		if failureOf(err) != tt.kind || errors.As(err, &limited) && (limited.wait != tt.wait || limited.late) || w.String() != "" {
			t.Errorf("%s: waited %s, %v", tt.method, w, err)
		}
	}
}

// TestServerTime: without the server's date, the own clock counts.
func TestServerTime(t *testing.T) {
	now := time.Unix(noonUnix, 0)
	for date, want := range map[string]time.Duration{"": 30 * time.Second, "yesterday": 30 * time.Second, noon[6:]: 30 * time.Second, "Mon, 23 Nov 2026 11:59:00 GMT": 90 * time.Second} {
		h := http.Header{"Date": {date}, "Retry-After": {"Mon, 23 Nov 2026 12:00:30 GMT"}}
		if got, ok := retryAfter(h, now); !ok || got != want {
			t.Errorf("date %q: %v", date, got)
		}
	}
	if _, ok := retryAfter(http.Header{}, now); ok {
		t.Error("no header says when")
	}
}

func TestFailureOf(t *testing.T) {
	if got := statusOf(fmt.Errorf("x: %w", &unavailableError{status: 502})); got != 502 {
		t.Errorf("status %d", got)
	}
	for status, want := range map[int]failure{399: failOther, 400: failInvalid, 499: failInvalid, 500: failOther} {
		if got := failureOf(&gh.ErrorResponse{Response: &http.Response{StatusCode: status}}); got != want {
			t.Errorf("%d is of kind %d, want %d", status, got, want)
		}
	}
	if got := oneLine(strings.Repeat("x", maxExplained)); len(got) != maxExplained || strings.HasSuffix(got, "…") {
		t.Errorf("a line of %d bytes is cut", maxExplained)
	}
	if got := failureOf(fmt.Errorf("x: %w", &gh.ErrorResponse{})); got != failOther {
		t.Errorf("an answer without a status is of kind %d", got)
	}
	if failureOf(errors.New("x")) != failOther || failureOf(nil) != failOther {
		t.Error("another error is one of GitHub's")
	}
}
