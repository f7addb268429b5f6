package githubtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// obj is a JSON object of a response.
type obj = map[string]any

// A call is one request on its way through the fake, with the state locked.
type call struct {
	s      *Server
	r      *http.Request
	op     *operation
	path   map[string]string
	query  url.Values
	body   []byte
	prefix string // "/api/v3" when it was asked as an Enterprise server, or ""
	token  *Token // nil without one
	repo   *Repo  // nil for what belongs to no repository
}

// An answer is what a call gets back.
type answer struct {
	status int
	body   any    // encoded as JSON; nil for no body
	raw    []byte // instead of body: a file's bytes, which no schema describes
	header http.Header
}

func ok(body any) answer      { return answer{status: http.StatusOK, body: body} }
func created(body any) answer { return answer{status: http.StatusCreated, body: body} }

const documentation = "https://docs.github.com/rest"

// refuse is an error as GitHub words it; details are the lines of a 422.
func refuse(status int, message string, details ...obj) answer {
	body := obj{"message": message, "documentation_url": documentation, "status": strconv.Itoa(status)}
	if len(details) > 0 {
		body["errors"] = details
	}
	return answer{status: status, body: body}
}

func notFound() answer { return refuse(http.StatusNotFound, "Not Found") }

// invalid is GitHub's 422 about one field.
func invalid(resource, field, code, message string) answer {
	return refuse(http.StatusUnprocessableEntity, "Validation Failed",
		obj{"resource": resource, "field": field, "code": code, "message": message})
}

// decode reads the request's body, which the description has accepted.
func (c *call) decode(v any) error { return json.Unmarshal(c.body, v) }

// number is a path parameter that the description declares an integer.
func (c *call) number(name string) int64 {
	n, _ := strconv.ParseInt(c.path[name], 10, 64)
	return n
}

// api is a URL of the API as this client reaches it.
func (c *call) api(format string, args ...any) string {
	return "http://" + c.r.Host + c.prefix + fmt.Sprintf(format, args...)
}

// web is a URL of the site.
func (c *call) web(format string, args ...any) string {
	if c.prefix != "" {
		return "http://" + c.r.Host + fmt.Sprintf(format, args...)
	}
	return "https://github.com" + fmt.Sprintf(format, args...)
}

// page cuts a list to the page that was asked for, and says in the Link header
// where the others are.
func page[T any](c *call, all []T) ([]T, http.Header) {
	size, at := 30, 1
	if n, err := strconv.Atoi(c.query.Get("per_page")); err == nil && n > 0 {
		size = min(n, 100)
	}
	if n, err := strconv.Atoi(c.query.Get("page")); err == nil && n > 0 {
		at = n
	}
	last := max(1, (len(all)+size-1)/size)
	var links []string
	link := func(n int, rel string) {
		q := url.Values{}
		for k, v := range c.query {
			q[k] = v
		}
		q.Set("page", strconv.Itoa(n))
		links = append(links, fmt.Sprintf(`<%s?%s>; rel="%s"`, c.api("%s", c.r.URL.EscapedPath()), q.Encode(), rel))
	}
	if at > 1 {
		link(min(at-1, last), "prev")
	}
	if at < last {
		link(at+1, "next")
		link(last, "last")
	}
	if at > 1 {
		link(1, "first")
	}
	header := http.Header{}
	if len(links) > 0 {
		header.Set("Link", strings.Join(links, ", "))
	}
	from := min((at-1)*size, len(all))
	return all[from:min(from+size, len(all))], header
}

// list answers with a page of what render makes of each.
func list[T any](c *call, all []T, render func(T) obj) answer {
	part, header := page(c, all)
	return answer{status: http.StatusOK, body: each(part, render), header: header}
}

// each renders a list, which is never null.
func each[T any](all []T, render func(T) obj) []obj {
	out := make([]obj, 0, len(all))
	for _, v := range all {
		out = append(out, render(v))
	}
	return out
}

// stamp is a time as GitHub writes it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// stampOr is null for no time.
func stampOr(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return stamp(t)
}

// orNull is null for "".
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// nodeID is as opaque as GitHub's.
func nodeID(kind string, id any) string { return fmt.Sprintf("%s_%v", kind, id) }
