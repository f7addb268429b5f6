package github

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	gh "github.com/google/go-github/v62/github"
)

const (
	defaultName     = "paritygate"
	defaultDeadline = 5 * time.Minute
	// pageSize is GitHub's largest page of a list.
	pageSize = 100
)

// ErrNoToken says that nothing can be asked of GitHub or written there.
var ErrNoToken = errors.New("no token for GitHub's API: give the action its input token, which is ${{ github.token }} unless a workflow sets it")

// Client speaks to GitHub's API of one event. Its methods may be called at the
// same time, except Resolve and Verify, which write to the event.
type Client struct {
	api *gh.Client
	ev  *Event
	s   Settings // with its defaults filled in

	transport *transport

	loginMu sync.Mutex
	login   string // "" until somebody asked
}

// New makes a client of the event's repository. It keeps ev, with what Resolve
// writes to it later.
//
// The token is sent to ev.APIURL and nowhere else, which must speak https
// unless it is this machine. Errors never show the token.
func New(ev *Event, s Settings) (*Client, error) {
	if err := checkRepository(ev.Owner + "/" + ev.Repo); err != nil {
		return nil, fmt.Errorf("repository of the event: %w", err)
	}
	base, err := parseServer(ev.APIURL)
	if err != nil {
		return nil, fmt.Errorf("address of GitHub's API: %w", err)
	}
	if !strings.HasSuffix(base.Path, "/") {
		base.Path += "/"
	}
	s, err = s.withDefaults()
	if err != nil {
		return nil, err
	}
	t := newTransport(base, s)
	api := gh.NewClient(&http.Client{Transport: t, CheckRedirect: t.checkRedirect}).WithAuthToken(s.Token)
	api.BaseURL = base
	api.UserAgent = "paritygate/" + s.Version
	return &Client{api: api, ev: ev, s: s, transport: t}, nil
}

// withDefaults fills in what the user left out and refuses what cannot be meant.
func (s Settings) withDefaults() (Settings, error) {
	if s.Token == "" {
		return s, ErrNoToken
	}
	// Such a token would be refused when it is sent; the message is kinder here.
	if strings.ContainsFunc(s.Token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return s, errors.New("the token for GitHub's API holds a space, a line break or another character that no token has: was it pasted whole?")
	}
	switch s.Comment {
	case "":
		s.Comment = CommentAlways
	case CommentAlways, CommentOnChange, CommentNever:
	default:
		return s, fmt.Errorf("comment policy %q: want always, on-change or never", s.Comment)
	}
	if s.Deadline < 0 {
		return s, fmt.Errorf("deadline %v for GitHub: want a time above zero", s.Deadline)
	}
	if s.Deadline == 0 {
		s.Deadline = defaultDeadline
	}
	if s.Name == "" {
		s.Name = defaultName
	}
	if s.Version == "" {
		s.Version = "devel"
	}
	return s, nil
}

// Event is what the client speaks of, with what Resolve found.
func (c *Client) Event() *Event { return c.ev }

// bounded is ctx with the settings' deadline, or its own when that is earlier.
func (c *Client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.s.Deadline)
}

// parseServer reads the address of a GitHub server. A token goes there, so it
// must be https, except on this machine, and hold nothing but host and path.
func parseServer(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// url.Error repeats the address, which may hold a password.
		return nil, errors.New("is no URL")
	}
	switch {
	case u.User != nil:
		return nil, errors.New("holds a user name or password: a token is sent, and nothing else")
	case u.Host == "" || u.Opaque != "":
		return nil, fmt.Errorf("%q: want https://host or https://host/api/v3", raw)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%q: want an address without ? and #", raw)
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return u, nil
	}
	return nil, fmt.Errorf("%q: want https, because a token is sent", raw)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
