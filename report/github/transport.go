package github

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	maxTries     = 6
	maxRedirects = 5
	// maxBody bounds an answer: a page of a hundred comments of 65,536
	// characters, each written as \uXXXX, is 39 MB.
	maxBody = 64 << 20
	// maxTryTime bounds one try: GitHub itself gives up after 10 seconds.
	maxTryTime = 30 * time.Second
	// firstWait doubles with every try that failed without saying when to come back.
	firstWait = time.Second
)

// transport carries requests to one GitHub server. It repeats what may be
// repeated, waits out rate limits, and never sends anything to another server.
//
// Whatever may be repeated without doing it twice (GET, HEAD, PATCH, PUT,
// DELETE) is, on lost connections, server errors and rate limits. A POST is
// only where GitHub certainly did nothing: at a rate limit, or without a
// connection. Otherwise it ends in an unknownError.
type transport struct {
	base    *url.URL
	token   string // taken out of what errors say
	sleep   func(time.Duration)
	random  func() float64 // in [0, 1)
	tryTime time.Duration
	maxBody int64
	once    *http.Client // one try, no redirects

	// skipped is how much less time than asked for a replaced sleep took: the
	// transport's clock runs ahead by it, so that the deadline holds in tests.
	skipped atomic.Int64
}

func newTransport(base *url.URL, s Settings) *transport {
	t := &transport{base: base, token: s.Token, sleep: s.Sleep, random: rand.Float64, tryTime: maxTryTime, maxBody: maxBody}
	t.once = &http.Client{
		Transport: &try{t: t, next: http.DefaultTransport.(*http.Transport).Clone()},
		// The client above follows redirects, by checkRedirect's rules.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return t
}

func (t *transport) now() time.Time { return time.Now().Add(time.Duration(t.skipped.Load())) }

// singleTry marks a context whose requests are sent once.
type singleTry struct{}

// withoutRepeating is for a caller that looks at how things stand before each
// try: what was right a minute ago may be wrong after a limit was waited out.
func withoutRepeating(ctx context.Context) context.Context {
	return context.WithValue(ctx, singleTry{}, true)
}

// RoundTrip tries req up to six times.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	c := &call{t: t, method: req.Method, path: req.URL.Path, most: maxTries}
	if req.Context().Value(singleTry{}) != nil {
		c.most = 1
	}
	rt := retryablehttp.RoundTripper{Client: &retryablehttp.Client{
		HTTPClient:   t.once,
		RetryMax:     c.most - 1,
		CheckRetry:   c.check,
		Backoff:      c.backoff,
		ErrorHandler: giveUp,
	}}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	// Limits are this transport's to wait for. go-github would refuse further
	// requests by itself once these say that none is left.
	for _, h := range []string{"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"} {
		resp.Header.Del(h)
	}
	return resp, nil
}

// checkRedirect follows a moved repository, within the same server only: the
// token goes along. A redirect that turns a POST into a GET would look as if
// something had been written.
func (t *transport) checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case !t.sameServer(req.URL):
		return fmt.Errorf("GitHub sends this request on to %s, which does not get the token", req.URL.Host)
	case req.Method != via[0].Method:
		return fmt.Errorf("GitHub sends this %s on as a %s", via[0].Method, req.Method)
	case len(via) >= maxRedirects:
		return fmt.Errorf("GitHub sends this request on more than %d times", maxRedirects)
	}
	return nil
}

func (t *transport) sameServer(u *url.URL) bool {
	return u.Scheme == t.base.Scheme && u.Host == t.base.Host
}

// call is one request with its tries.
type call struct {
	t            *transport
	method, path string
	tries, most  int
	wait         time.Duration // before the next try
}

// check decides after each try whether there is another; see transport.
func (c *call) check(ctx context.Context, resp *http.Response, err error) (bool, error) {
	c.tries++
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		return c.checkLost(ctx, err)
	}
	now := c.t.now()
	if limit := limitOf(resp, now); limit != nil {
		c.wait = limit.wait(resp.Header, now, c.tries)
		late := c.late(ctx)
		if late || c.tries == c.most {
			return false, &limitError{c.method, c.path, limit.kind, c.wait, c.tries, late, limit.message}
		}
		return true, nil
	}
	if resp.StatusCode < 500 || resp.StatusCode == http.StatusNotImplemented {
		return false, nil
	}
	return c.checkServerError(ctx, resp, now)
}

func (c *call) checkServerError(ctx context.Context, resp *http.Response, now time.Time) (bool, error) {
	err := fmt.Errorf("GitHub answered %s", resp.Status)
	if c.method == http.MethodPost {
		return false, &unknownError{c.method, c.path, err}
	}
	c.wait = c.exponential()
	if after, ok := retryAfter(resp.Header, now); ok {
		c.wait = max(after, firstWait)
	}
	return c.again(ctx, resp.StatusCode, err)
}

// checkLost is for a try without a whole answer.
func (c *call) checkLost(ctx context.Context, err error) (bool, error) {
	lost := &lostError{sent: true, err: err}
	errors.As(err, &lost)
	if c.method == http.MethodPost && lost.sent {
		return false, &unknownError{c.method, c.path, lost.err}
	}
	if lost.final {
		return false, &unavailableError{c.method, c.path, 0, c.tries, false, lost.err}
	}
	c.wait = c.exponential()
	return c.again(ctx, 0, lost.err)
}

func (c *call) again(ctx context.Context, status int, err error) (bool, error) {
	late := c.late(ctx)
	if late || c.tries == c.most {
		return false, &unavailableError{c.method, c.path, status, c.tries, late, err}
	}
	return true, nil
}

// late says whether the wait would reach the deadline.
func (c *call) late(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && !c.t.now().Add(c.wait).Before(deadline)
}

// exponential is 1, 2, 4, 8, 16 seconds, less up to a half by chance, so that
// jobs that failed together do not come back together.
func (c *call) exponential() time.Duration {
	d := firstWait << (c.tries - 1)
	return d - time.Duration(c.t.random()*float64(d/2))
}

// backoff is how long retryablehttp waits by its own timer: not at all when
// the settings' Sleep waited.
func (c *call) backoff(_, _ time.Duration, _ int, _ *http.Response) time.Duration {
	if c.t.sleep == nil {
		return c.wait
	}
	c.t.pause(c.wait)
	return 0
}

// pause waits by the settings' Sleep and sets the clock ahead by what it left out.
func (t *transport) pause(d time.Duration) {
	start := time.Now()
	t.sleep(d)
	if short := d - time.Since(start); short > 0 {
		t.skipped.Add(int64(short))
	}
}

func giveUp(resp *http.Response, err error, _ int) (*http.Response, error) {
	if resp != nil {
		resp.Body.Close()
	}
	return nil, err
}

// lostError is a try without a whole answer.
type lostError struct {
	sent  bool // GitHub may have seen the request
	final bool // another try ends the same
	err   error
}

func (e *lostError) Error() string { return e.err.Error() }

// try sends a request once and reads the whole answer, so that a connection
// that is cut in the middle counts as one, and an endless answer ends.
type try struct {
	t    *transport
	next http.RoundTripper
}

func (o *try) RoundTrip(req *http.Request) (*http.Response, error) {
	if !o.t.sameServer(req.URL) {
		// Redirects are refused before; this holds whatever made the request.
		return nil, &lostError{final: true, err: fmt.Errorf("%s is another server than %s, the token stays here", req.URL.Host, o.t.base.Host)}
	}
	ctx, cancel := context.WithTimeout(req.Context(), o.t.tryTime)
	defer cancel()
	resp, err := o.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, o.lost(req, ctx, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, o.t.maxBody+1))
	if err != nil {
		return nil, o.lost(req, ctx, err)
	}
	if int64(len(data)) > o.t.maxBody {
		return nil, &lostError{sent: true, final: true, err: fmt.Errorf("the answer is larger than %d bytes", o.t.maxBody)}
	}
	// Errors repeat what a failed request was answered and where a redirect led.
	if resp.StatusCode >= 300 {
		data = bytes.ReplaceAll(data, []byte(o.t.token), []byte("***"))
		if to := resp.Header.Get("Location"); to != "" {
			resp.Header.Set("Location", strings.ReplaceAll(to, o.t.token, "***"))
		}
	}
	resp.Body, resp.ContentLength, resp.Request = io.NopCloser(bytes.NewReader(data)), int64(len(data)), req
	return resp, nil
}

// lost says what a try without an answer means. No connection, nothing sent.
func (o *try) lost(req *http.Request, ctx context.Context, err error) error {
	lost := &lostError{sent: true, err: err}
	if op := (*net.OpError)(nil); errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect") {
		lost.sent = false
	}
	if bad := (*tls.CertificateVerificationError)(nil); errors.As(err, &bad) {
		lost.sent, lost.final = false, true
	}
	if ctx.Err() != nil && req.Context().Err() == nil {
		// Not a context's error: the deadline of the whole is not over.
		lost.err = fmt.Errorf("no answer within %v", o.t.tryTime)
	}
	return lost
}
