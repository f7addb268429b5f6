package github

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// secondaryWait is the least time to stay away after a secondary limit that
// does not say how long, as GitHub's documentation asks; it doubles.
const secondaryWait = time.Minute

// limit is a refusal because of too many requests.
type limit struct {
	kind    string // "primary" or "secondary"
	message string
}

// limitOf says which rate limit refused a request, nil for none. GitHub uses
// 403 for limits and for missing permissions: only the headers and the words tell.
func limitOf(resp *http.Response, now time.Time) *limit {
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusTooManyRequests {
		return nil
	}
	var said struct {
		Message string `json:"message"`
		URL     string `json:"documentation_url"`
	}
	data, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(data))
	if err == nil {
		_ = json.Unmarshal(data, &said) // a proxy's page has no message: the headers decide
	}
	words := strings.ToLower(said.Message)
	_, told := retryAfter(resp.Header, now)
	switch {
	case strings.Contains(words, "not accessible by"):
		// The last request that the limit allowed may lack a permission.
		return nil
	case strings.Contains(words, "secondary rate limit"), strings.Contains(words, "abuse detection"),
		strings.HasSuffix(said.URL, "#abuse-rate-limits"), strings.HasSuffix(said.URL, "secondary-rate-limits"):
		return &limit{"secondary", said.Message}
	case resp.Header.Get("X-Ratelimit-Remaining") == "0", strings.Contains(words, "api rate limit exceeded"):
		return &limit{"primary", said.Message}
	case told, resp.StatusCode == http.StatusTooManyRequests:
		return &limit{"secondary", said.Message}
	}
	return nil
}

// wait is how long to stay away after the n-th try, at least a second:
// Retry-After, else the reset of an exhausted primary limit, else a minute,
// doubled with each further try.
func (l *limit) wait(h http.Header, now time.Time, n int) time.Duration {
	if after, ok := retryAfter(h, now); ok {
		return max(after, firstWait)
	}
	if reset, err := strconv.ParseInt(h.Get("X-Ratelimit-Reset"), 10, 64); err == nil && h.Get("X-Ratelimit-Remaining") == "0" {
		// The reset is in whole seconds: a second more is surely past it.
		return max(time.Unix(reset, 0).Sub(serverTime(h, now))+time.Second, firstWait)
	}
	return secondaryWait << (n - 1)
}

// retryAfter reads Retry-After, in seconds or as a date. A time in the past is 0.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if s, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(s) * time.Second, true
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(at.Sub(serverTime(h, now)), 0), true
	}
	return 0, false
}

// serverTime is the server's own time, by which it gives dates: runners' clocks drift.
func serverTime(h http.Header, now time.Time) time.Time {
	if at, err := http.ParseTime(h.Get("Date")); err == nil {
		return at
	}
	return now
}
