package githubtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Server is the fake. Its methods may be called while it serves.
type Server struct {
	contract *contract
	errorf   func(format string, args ...any)
	now      func() time.Time
	quota    int
	web      *httptest.Server

	mu     sync.Mutex // guards all below
	repos  map[string]*Repo
	users  map[string]User // by login, in lower case
	tokens map[string]Token
	used   map[string]int // requests of a token
	reset  time.Time      // when used starts anew
	lastID int64
	log    []Request
	queue  []queued
	choose func(*http.Request, int) *Fault
}

// An Option of New.
type Option func(*Server)

// WithClock replaces the time that everything new is stamped with.
func WithClock(now func() time.Time) Option { return func(s *Server) { s.now = now } }

// WithToken adds a token to those that every server knows, or replaces one.
func WithToken(token string, t Token) Option { return func(s *Server) { s.tokens[token] = t } }

// WithQuota sets how many requests a token has in an hour. Default 5000.
func WithQuota(n int) Option { return func(s *Server) { s.quota = n } }

// New starts a fake that ends with the test, and fails it when a request or a
// response breaks GitHub's description.
func New(t testing.TB, options ...Option) *Server {
	t.Helper()
	s, err := Standalone(func(format string, args ...any) { t.Helper(); t.Errorf(format, args...) }, options...)
	if err != nil {
		t.Fatal(err)
	}
	s.web = httptest.NewServer(s)
	t.Cleanup(s.web.Close)
	return s
}

// Standalone makes a fake that does not listen: serve its Handler. What breaks
// the description is told to errorf, which may be called by many goroutines.
func Standalone(errorf func(format string, args ...any), options ...Option) (*Server, error) {
	c, err := loadContract()
	if err != nil {
		return nil, err
	}
	s := &Server{
		contract: c, errorf: errorf, now: time.Now, quota: 5000,
		repos: map[string]*Repo{}, users: map[string]User{}, tokens: defaultTokens(), used: map[string]int{},
		lastID: 1000,
	}
	for _, o := range options {
		o(s)
	}
	s.reset = s.now().Add(time.Hour)
	for _, t := range s.tokens {
		s.user(User{Login: t.Login, Type: t.Type})
	}
	return s, nil
}

// URL is where the API is, without a slash at the end: what GITHUB_API_URL
// holds. Below /api/v3 it is an Enterprise server's.
func (s *Server) URL() string { return s.web.URL }

// EnterpriseURL is where the API is in the form of an Enterprise server.
func (s *Server) EnterpriseURL() string { return s.web.URL + enterprise }

const enterprise = "/api/v3"

// Handler is the fake, to serve from elsewhere.
func (s *Server) Handler() http.Handler { return s }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	c := &call{s: s, r: r.Clone(r.Context()), body: body, query: r.URL.Query()}
	if rest, ok := strings.CutPrefix(r.URL.Path, enterprise); ok && strings.HasPrefix(rest, "/") {
		c.prefix = enterprise
		c.r.URL.Path = rest
		c.r.URL.RawPath = strings.TrimPrefix(c.r.URL.RawPath, enterprise)
	}
	n := s.record(c)
	c.op, c.path = s.contract.find(r.Method, c.r.URL.EscapedPath())
	if c.op == nil {
		s.errorf("githubtest: %s %s is no operation of testdata/keep.json", r.Method, r.URL.Path)
		s.send(w, c, n, notFound())
		return
	}
	fault := s.nextFault(c, n)
	if fault != nil {
		s.note(n, func(q *Request) { q.Fault = fault.Name })
		if !fault.wait(r.Context()) {
			if fault.Applied {
				s.handle(c, n) // the client gave up on what happens all the same
			}
			return
		}
	}
	in := c.op.input(c.r, c.path, body)
	if err := c.op.checkRequest(in); err != nil {
		s.errorf("githubtest: request %s %s breaks GitHub's description: %v", r.Method, r.URL.Path, err)
		s.send(w, c, n, refuse(http.StatusUnprocessableEntity, "Invalid request.\n\n"+firstLine(err.Error())))
		return
	}
	a, rendered := answer{}, []byte(nil)
	if fault == nil || fault.applies() {
		a, rendered = s.handle(c, n)
		s.check(c, a, rendered)
	}
	switch {
	case fault == nil || fault.passes():
		s.write(w, c, n, a, rendered)
	case fault.Status != 0:
		a = fault.answer(s.now())
		if fault.Body == "" {
			rendered = encode(a)
			s.check(c, a, rendered)
		} else {
			rendered = []byte(fault.Body)
		}
		s.write(w, c, n, a, rendered)
	case fault.Truncate:
		a.header = a.header.Clone()
		if a.header == nil {
			a.header = http.Header{}
		}
		a.header.Set("Content-Length", strconv.Itoa(len(rendered)))
		s.write(w, c, n, a, rendered[:len(rendered)/2])
		_ = http.NewResponseController(w).Flush() // what has arrived is the point; the cut follows
		panic(http.ErrAbortHandler)
	default:
		panic(http.ErrAbortHandler) // as net/http wants a connection cut
	}
}

// handle lets the request take effect. What it answers is rendered at once: the
// state it shows may be another's a moment later.
func (s *Server) handle(c *call, n int) (answer, []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.dispatch(c)
	if a.status < 300 && c.r.Method != http.MethodGet {
		s.log[n].Applied = true
	}
	return a, encode(a)
}

func (s *Server) dispatch(c *call) answer {
	h, known := handlers[c.op.id]
	if !known {
		s.errorf("githubtest: %s has no handler", c.op.id)
		return notFound()
	}
	if a, ok := c.authorize(h.scope); !ok {
		return a
	}
	if c.op.id != "rate-limit/get" {
		if a, ok := s.spend(tokenOf(c.r)); !ok {
			return a
		}
	}
	return h.serve(c)
}

// spend takes one request off a token's quota.
func (s *Server) spend(token string) (answer, bool) {
	if !s.now().Before(s.reset) {
		s.reset = s.now().Add(time.Hour)
		clear(s.used)
	}
	if s.used[token] >= s.quota {
		return PrimaryLimit(0).answer(s.now()), false
	}
	s.used[token]++
	return answer{}, true
}

func encode(a answer) []byte {
	if a.raw != nil || a.body == nil {
		return a.raw
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(a.body); err != nil {
		return []byte(fmt.Sprintf("%q", err)) // a string is no response of any operation
	}
	return b.Bytes()
}

// check holds an answer to the description.
func (s *Server) check(c *call, a answer, body []byte) {
	if a.raw != nil {
		return
	}
	in := c.op.input(c.r, c.path, c.body)
	h := http.Header{"Content-Type": {contentType}}
	if err := s.contract.checkResponse(c.op, in, a.status, h, body); err != nil {
		s.errorf("githubtest: the fake's response %d to %s %s breaks GitHub's description: %v", a.status, c.r.Method, c.r.URL.Path, err)
	}
}

const contentType = "application/json; charset=utf-8"

// send writes what no handler made.
func (s *Server) send(w http.ResponseWriter, c *call, n int, a answer) {
	s.write(w, c, n, a, encode(a))
}

func (s *Server) write(w http.ResponseWriter, c *call, n int, a answer, body []byte) {
	s.note(n, func(q *Request) { q.Status = a.status })
	h := w.Header()
	s.mu.Lock()
	used := s.used[tokenOf(c.r)]
	reset := s.reset
	s.mu.Unlock()
	h.Set("X-RateLimit-Limit", strconv.Itoa(s.quota))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(max(0, s.quota-used)))
	h.Set("X-RateLimit-Used", strconv.Itoa(used))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
	h.Set("X-RateLimit-Resource", "core")
	h.Set("X-GitHub-Request-Id", fmt.Sprintf("FAKE:%d", n))
	if len(body) > 0 {
		h.Set("Content-Type", contentType)
	}
	for k, v := range a.header {
		h[http.CanonicalHeaderKey(k)] = slices.Clone(v)
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(body) // a client that left is no error of the fake's
}

func firstLine(s string) string { line, _, _ := strings.Cut(s, "\n"); return line }
