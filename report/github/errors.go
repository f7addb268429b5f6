package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	gh "github.com/google/go-github/v62/github"
)

// failure is what an error of the API means for what to do next.
type failure int

const (
	failOther       failure = iota
	failDenied              // the token is not valid or may not do this: 401, 403
	failNotFound            // 404, 410; a private repository says so too when the token may not see it
	failConflict            // 409
	failInvalid             // 422 and the other 4xx: GitHub does not take what was sent
	failLimited             // a rate limit that outlasts the tries or the deadline: nothing was done
	failUnknown             // a create whose answer was lost: list before creating again
	failUnavailable         // no use of repeating it: server errors, or no connection; for an update it may have been done
	failTime                // the deadline is over, or somebody cancelled; what was under way may have been done
)

// failureOf classifies an error that a call of c.api returned.
func failureOf(err error) failure {
	var (
		limited     *limitError
		unknown     *unknownError
		unavailable *unavailableError
	)
	switch {
	case errors.As(err, &limited):
		return failLimited
	case errors.As(err, &unknown):
		return failUnknown
	case errors.As(err, &unavailable):
		return failUnavailable
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return failTime
	}
	switch status := statusOf(err); {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return failDenied
	case status == http.StatusNotFound, status == http.StatusGone:
		return failNotFound
	case status == http.StatusConflict:
		return failConflict
	case status >= 400 && status < 500:
		return failInvalid
	}
	return failOther
}

// statusOf is the HTTP status that an error stands for, 0 without one.
func statusOf(err error) int {
	if e := (*gh.ErrorResponse)(nil); errors.As(err, &e) && e.Response != nil {
		return e.Response.StatusCode
	}
	if e := (*unavailableError)(nil); errors.As(err, &e) {
		return e.status
	}
	return 0
}

// explain says an error of the API in one line for people, without addresses
// and without the token.
func (c *Client) explain(err error) string {
	text := err.Error()
	e, at := (*gh.ErrorResponse)(nil), (*url.Error)(nil)
	switch {
	case errors.Is(err, context.DeadlineExceeded) && failureOf(err) == failTime:
		text = fmt.Sprintf("GitHub did not answer within the %v that a report may take", c.s.Deadline)
	case errors.Is(err, context.Canceled) && failureOf(err) == failTime:
		text = "cancelled"
	case errors.As(err, &e) && e.Response != nil:
		text = strings.Replace(text, e.Error(), c.explainResponse(e), 1)
	case errors.As(err, &at):
		text = strings.Replace(text, at.Error(), at.Err.Error(), 1)
	}
	return oneLine(c.redact(text))
}

func (c *Client) explainResponse(e *gh.ErrorResponse) string {
	var b strings.Builder
	fmt.Fprintf(&b, "GitHub answered %d %s", e.Response.StatusCode, http.StatusText(e.Response.StatusCode))
	if r := e.Response.Request; r != nil {
		fmt.Fprintf(&b, " to %s %s", r.Method, r.URL.Path)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	for i, d := range e.Errors {
		if i == 3 {
			fmt.Fprintf(&b, " and %d more", len(e.Errors)-i)
			break
		}
		fmt.Fprintf(&b, "; %s %s %s %s", d.Resource, d.Field, d.Code, d.Message)
	}
	switch e.Response.StatusCode {
	case http.StatusUnauthorized:
		b.WriteString(" (the token is wrong or has expired)")
	case http.StatusForbidden:
		b.WriteString(" (the token may only read here, as every fork's may, or the job's permissions lack this)")
	}
	return b.String()
}

// redact takes the token out, wherever it came from.
func (c *Client) redact(text string) string {
	return strings.ReplaceAll(text, c.s.Token, "***")
}

// maxExplained is enough for what GitHub says, in bytes.
const maxExplained = 500

// oneLine makes text fit for a log: one line, no control characters, bounded.
func oneLine(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
	if len(text) > maxExplained {
		text = strings.ToValidUTF8(text[:maxExplained], "") + "…"
	}
	return text
}

// unknownError is a create whose answer was lost on the way: GitHub may have
// carried it out. Repeating it blindly makes two.
type unknownError struct {
	method, path string
	err          error
}

func (e *unknownError) Error() string {
	return fmt.Sprintf("%s %s: %v; GitHub may have done it all the same", e.method, e.path, e.err)
}

func (e *unknownError) Unwrap() error { return e.err }

// limitError is a rate limit that was not waited out. GitHub did nothing.
type limitError struct {
	method, path string
	kind         string // "primary" or "secondary"
	wait         time.Duration
	tries        int
	late         bool   // the wait is longer than the time left; otherwise the tries are used up
	message      string // GitHub's
}

func (e *limitError) Error() string {
	why := fmt.Sprintf("still after %d tries", e.tries)
	if e.late {
		why = fmt.Sprintf("try again in %v, which is longer than there is time", e.wait.Round(time.Second))
	}
	return fmt.Sprintf("%s %s: GitHub's %s rate limit is used up: %s (%s)", e.method, e.path, e.kind, why, e.message)
}

// unavailableError is a request that was tried as often as makes sense.
type unavailableError struct {
	method, path string
	status       int // of the last answer, 0 without one
	tries        int
	late         bool
	err          error
}

func (e *unavailableError) Error() string {
	times := "once"
	if e.tries > 1 {
		times = fmt.Sprintf("%d times", e.tries)
	}
	late := ""
	if e.late {
		late = ", no time is left for more"
	}
	return fmt.Sprintf("%s %s: tried %s%s: %v", e.method, e.path, times, late, e.err)
}

func (e *unavailableError) Unwrap() error { return e.err }
