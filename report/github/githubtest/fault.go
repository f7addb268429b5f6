package githubtest

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// A Fault is what goes wrong with one request. The zero value is none; the
// functions below make those that GitHub and the network know.
type Fault struct {
	Name    string // for the log of requests
	Status  int    // answered instead of what is true; 0 for none
	Message string // of the error
	About   string // where the error's documentation is; default GitHub's general page
	Header  http.Header
	Body    string        // instead of GitHub's JSON: what stands before it sends HTML
	Reset   time.Duration // from now to X-RateLimit-Reset; with PrimaryLimit only
	// Applied lets the request take effect although the client is told of an
	// error, or of nothing.
	Applied  bool
	Cut      bool          // the connection is cut instead of an answer
	Truncate bool          // the connection is cut halfway through the answer's body
	Delay    time.Duration // before anything else
}

func status(name string, code int, message string) Fault {
	return Fault{Name: name, Status: code, Message: message}
}

func Unauthorized() Fault { return status("401", http.StatusUnauthorized, "Bad credentials") }
func NotFound() Fault     { return status("404", http.StatusNotFound, "Not Found") }
func Conflict() Fault     { return status("409", http.StatusConflict, "Conflict") }
func Invalid() Fault      { return status("422", http.StatusUnprocessableEntity, "Validation Failed") }

// Forbidden is a refusal for want of permission, as a fork's token gets it.
func Forbidden() Fault {
	return status("403", http.StatusForbidden, "Resource not accessible by integration")
}

// PrimaryLimit is what a token gets that has spent its requests of the hour;
// there are more after reset.
func PrimaryLimit(reset time.Duration) Fault {
	f := status("403 primary limit", http.StatusForbidden, "API rate limit exceeded for installation ID 1.")
	f.Header = http.Header{"X-Ratelimit-Remaining": {"0"}}
	f.Reset, f.About = reset, limits
	return f
}

const limits = documentation + "/overview/rate-limits-for-the-rest-api"

const secondary = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."

// SecondaryLimit is what writing too fast gets. GitHub sends Retry-After with
// it, in whole seconds, and sometimes does not: 0 for none.
func SecondaryLimit(after time.Duration) Fault {
	return retryAfter(status("403 secondary limit", http.StatusForbidden, secondary), after)
}

// TooMany is the same as HTTP 429.
func TooMany(after time.Duration) Fault {
	return retryAfter(status("429", http.StatusTooManyRequests, secondary), after)
}

func retryAfter(f Fault, after time.Duration) Fault {
	f.About = limits + "#about-secondary-rate-limits" // clients tell it by this
	if after > 0 {
		f.Header = http.Header{"Retry-After": {strconv.Itoa(int((after + time.Second - 1) / time.Second))}}
		f.Name += " with Retry-After"
	}
	return f
}

// ServerError is a 5xx; applied says whether the request took effect before.
func ServerError(code int, applied bool) Fault {
	f := status(strconv.Itoa(code), code, "Server Error")
	f.Applied = applied
	if applied {
		f.Name += " applied"
	}
	return f
}

// BadGateway is a 502 as a proxy sends it, in HTML.
func BadGateway(applied bool) Fault {
	f := ServerError(http.StatusBadGateway, applied)
	f.Header = http.Header{"Content-Type": {"text/html"}}
	f.Body = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>\n"
	return f
}

// Slow answers what is true, after a while.
func Slow(d time.Duration) Fault { return Fault{Name: "slow", Delay: d} }

// CutBefore cuts the connection; the request had no effect. net/http repeats a
// GET by itself when it had used the connection before.
func CutBefore() Fault { return Fault{Name: "cut before", Cut: true} }

// CutAfter cuts the connection; the request took effect.
func CutAfter() Fault { return Fault{Name: "cut after", Cut: true, Applied: true} }

// Truncated cuts the connection halfway through the answer.
func Truncated() Fault { return Fault{Name: "truncated", Truncate: true, Applied: true} }

// Faults is one of each kind that a client should outlive by trying again.
func Faults() []Fault {
	return []Fault{
		PrimaryLimit(time.Second), SecondaryLimit(time.Second), SecondaryLimit(0), TooMany(time.Second), TooMany(0),
		ServerError(http.StatusInternalServerError, false), ServerError(http.StatusInternalServerError, true),
		BadGateway(false), BadGateway(true),
		ServerError(http.StatusServiceUnavailable, false), ServerError(http.StatusServiceUnavailable, true),
		Slow(time.Millisecond), CutBefore(), CutAfter(), Truncated(),
	}
}

// Refusals is one of each kind that trying again does not help against.
func Refusals() []Fault {
	return []Fault{Unauthorized(), Forbidden(), NotFound(), Conflict(), Invalid()}
}

// Random chooses for every request, with the given share, one of the faults. It
// is for Choose. After most faults in a row it lets one request pass.
func Random(seed uint64, share float64, most int, of ...Fault) func(*http.Request, int) *Fault {
	rng := rand.New(rand.NewPCG(seed, 0))
	row := 0
	return func(*http.Request, int) *Fault {
		if row >= most || rng.Float64() >= share {
			row = 0
			return nil
		}
		row++
		f := of[rng.IntN(len(of))]
		return &f
	}
}

// queued faults wait for a request that match accepts; nil accepts any.
type queued struct {
	match func(*http.Request) bool
	fault Fault
}

// Inject lets the next requests fail, one with each of the faults. A zero Fault
// lets one pass.
func (s *Server) Inject(faults ...Fault) { s.InjectWhen(nil, faults...) }

// InjectWhen lets the next requests fail that match accepts. They are counted
// apart from all others'.
func (s *Server) InjectWhen(match func(*http.Request) bool, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		s.queue = append(s.queue, queued{match, f})
	}
}

// Choose asks a function about every request that no queued fault is for: n is
// the request's number, from 0, and nil is no fault. One is asked at a time.
// nil ends it.
func (s *Server) Choose(choose func(r *http.Request, n int) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.choose = choose
}

func (s *Server) nextFault(c *call, n int) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := c.r.Clone(c.r.Context())
	for i, q := range s.queue {
		r.Body = io.NopCloser(bytes.NewReader(c.body))
		if q.match == nil || q.match(r) {
			s.queue = append(s.queue[:i:i], s.queue[i+1:]...)
			return &q.fault
		}
	}
	if s.choose == nil {
		return nil
	}
	r.Body = io.NopCloser(bytes.NewReader(c.body))
	return s.choose(r, n)
}

// applies says whether the request takes effect.
func (f *Fault) applies() bool { return f.Applied || f.passes() }

// passes says whether the true answer is sent, and whole.
func (f *Fault) passes() bool { return f.Status == 0 && !f.Cut && !f.Truncate }

// wait reports whether the client is still there after the delay.
func (f *Fault) wait(ctx context.Context) bool {
	if f.Delay <= 0 {
		return true
	}
	select {
	case <-time.After(f.Delay):
		return true
	case <-ctx.Done():
		return false
	}
}

func (f Fault) answer(now time.Time) answer {
	a := refuse(f.Status, f.Message)
	a.header = f.Header.Clone()
	if f.About != "" {
		a.body.(obj)["documentation_url"] = f.About
	}
	if f.Header.Get("X-Ratelimit-Remaining") == "0" {
		a.header.Set("X-RateLimit-Reset", strconv.FormatInt(now.Add(f.Reset).Unix(), 10))
	}
	return a
}
