package githubtest

import (
	"net/http"
	"strings"
)

// A Request is one that the fake was sent.
type Request struct {
	Method string
	Path   string // without the query and without /api/v3
	Query  string
	Token  string // "" without one
	Body   string
	Status int    // of the response, 0 when the connection was cut before one
	Fault  string // the name of the fault that was injected, or ""
	// Applied says that it is a write that took effect, whatever the client was
	// told.
	Applied bool
}

// record appends to the log and returns the request's number, from 0.
func (s *Server) record(c *call) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, Request{Method: c.r.Method, Path: c.r.URL.Path, Query: c.r.URL.RawQuery, Token: tokenOf(c.r), Body: string(c.body)})
	return len(s.log) - 1
}

func (s *Server) note(n int, change func(*Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.log[n])
}

// Requests lists what the fake was sent, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.log...)
}

// Count is the number of requests with a method ("" for any) and a path that
// contains part.
func (s *Server) Count(method, part string) int {
	n := 0
	for _, r := range s.Requests() {
		if (method == "" || r.Method == method) && strings.Contains(r.Path, part) {
			n++
		}
	}
	return n
}

// Writes is the number of requests that changed something, whatever the client
// was told.
func (s *Server) Writes() int {
	n := 0
	for _, r := range s.Requests() {
		if r.Applied {
			n++
		}
	}
	return n
}

// Tried is the number of requests that were to change something.
func (s *Server) Tried() int {
	n := 0
	for _, r := range s.Requests() {
		if r.Method != http.MethodGet {
			n++
		}
	}
	return n
}
