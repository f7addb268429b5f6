package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report/github/githubtest"
)

// TestReadApproval: which comments and labels ask for an approval, and of what.
func TestReadApproval(t *testing.T) {
	d := strings.Repeat("9", 16)
	comment := func(action, body string) string {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`{"action": %q, "issue": {"number": 7, "pull_request": {}}, "sender": {"login": "eve"}, "comment": {"id": 5, "body": %s, "user": {"login": "octocat"}}}`, action, b)
	}
	labelled := func(action, name string) string {
		return fmt.Sprintf(`{"action": %q, "label": {"name": %q}, "sender": {"login": "octocat"}, %s}`, action, name, ownPull)
	}
	asks := func(digest, reason string) *Approval {
		return &Approval{By: "octocat", Digest: digest, Reason: reason, Comment: 5}
	}
	for _, tt := range []struct {
		name, event, payload string
		want                 *Approval
		wrong                string
	}{
		{"a command", "issue_comment", comment("created", "/paritygate approve "+d+" fused attention"), asks(d, "fused attention"), ""},
		{"a digest in capitals and backticks", "issue_comment", comment("created", "/paritygate approve `"+strings.Repeat("AB", 32)+"` x"), asks(strings.Repeat("ab", 32), "x"), ""},
		{"lines", "issue_comment", comment("created", "/paritygate approve\n"+d+"\r\nfused\tattention,\n\n  kernel 3\n"), asks(d, "fused attention, kernel 3"), ""},
		{"an override in the reason", "issue_comment", comment("created", "/paritygate approve "+d+" a\u202eb"), asks(d, `a\u202eb`), ""},
		{"a long reason", "issue_comment", comment("created", "/paritygate approve "+d+" "+strings.Repeat("é", 400)), asks(d, strings.Repeat("é", 300)+"…"), ""},
		{"no reason", "issue_comment", comment("created", "/paritygate approve "+d+" \n"), asks(d, ""), "the reason is missing"},
		{"no digest", "issue_comment", comment("created", "/paritygate approve"), asks("", ""), "want 16 to 64 hexadecimal digits"},
		{"15 digits", "issue_comment", comment("created", "/paritygate approve "+d[:15]+" x"), asks("", "x"), "want 16 to 64 hexadecimal digits"},
		{"65 digits", "issue_comment", comment("created", "/paritygate approve "+strings.Repeat("a", 65)+" x"), asks("", "x"), "want 16 to 64 hexadecimal digits"},
		{"edited", "issue_comment", comment("edited", "/paritygate approve "+d+" x"), nil, ""},
		{"deleted", "issue_comment", comment("deleted", "/paritygate approve "+d+" x"), nil, ""},
		{"in the middle", "issue_comment", comment("created", "please /paritygate approve "+d+" x"), nil, ""},
		{"quoted", "issue_comment", comment("created", "> /paritygate approve "+d+" x"), nil, ""},
		{"another word", "issue_comment", comment("created", "/paritygate approved "+d+" x"), nil, ""},
		{"on an issue", "issue_comment", strings.Replace(comment("created", "/paritygate approve "+d+" x"), `"pull_request": {}`, `"locked": false`, 1), nil, ""},
		{"a deleted account", "issue_comment", strings.Replace(comment("created", "/paritygate approve "+d+" x"), `{"login": "octocat"}`, "null", 1), &Approval{Digest: d, Reason: "x", Comment: 5}, ""},

		{"a label", "pull_request", labelled("labeled", "parity-approved:"+d), &Approval{By: "octocat", Digest: d, Reason: "label parity-approved:" + d}, ""},
		{"of a fork's", "pull_request_target", labelled("labeled", "Parity-Approved:"+d), &Approval{By: "octocat", Digest: d, Reason: "label Parity-Approved:" + d}, ""},
		{"a label without a digest", "pull_request", labelled("labeled", "parity-approved:yes"), &Approval{By: "octocat", Reason: "label parity-approved:yes"}, "want 16 to 64 hexadecimal digits"},
		{"taken off", "pull_request", labelled("unlabeled", "parity-approved:"+d), nil, ""},
		{"that is there already", "pull_request", labelled("synchronize", "parity-approved:"+d), nil, ""},
		{"another label", "pull_request", labelled("labeled", "parity-approved"), nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ev, err := ReadEvent(runner(t, tt.event, tt.payload))
			if err != nil {
				t.Fatal(err)
			}
			if got := ev.Approval; got != nil && strings.Contains(got.Wrong, tt.wrong) && (got.Wrong == "") == (tt.wrong == "") {
				got.Wrong = ""
			}
			if d := cmp.Diff(tt.want, ev.Approval); d != "" {
				t.Error(d)
			}
		})
	}
	for _, bad := range []string{`"action": 3`, `"action": "created", "comment": []`, `"action": "created", "comment": {"body": "/paritygate approve x"}`} {
		_, err := ReadEvent(runner(t, "issue_comment", `{"issue": {"number": 7, "pull_request": {}}, `+bad+`}`))
		if err == nil || !strings.Contains(err.Error(), "event issue_comment: ") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestMayApprove: only who may push, whatever the name looks like.
func TestMayApprove(t *testing.T) {
	w := newWorld(t)
	for _, p := range []string{"admin", "write", "read", "none"} {
		w.repo.SetPermission("has-"+p, p)
	}
	c := w.client()
	for login, want := range map[string]string{"has-admin": "", "HAS-write": "", "acme": "",
		"has-read": `may not push to this repository (permission "read")`, "has-none": `(permission "none")`, "octocat": `(permission "read")`,
		"nobody-knows": "nobody-knows is not known to this repository", "": "is no person", "github-actions[bot]": "is no person",
		"../../orgs": "is no person", "a/b": "is no person", "a?b": "is no person", "-x": "is no person"} {
		before := len(w.srv.Requests())
		err := c.MayApprove(context.Background(), login)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", login, err, want)
		}
		if want == "is no person" && len(w.srv.Requests()) != before {
			t.Errorf("%q was asked about", login)
		}
	}
	w.srv.Choose(func(*http.Request, int) *githubtest.Fault { f := githubtest.Forbidden(); return &f })
	if err := c.MayApprove(context.Background(), "has-admin"); err == nil {
		t.Error("an answer that refuses lets approve")
	}
	w.srv.Choose(func(*http.Request, int) *githubtest.Fault {
		return &githubtest.Fault{Name: "another", Status: http.StatusOK, Body: `{"permission": "admin", "user": {"login": "somebody"}}`}
	})
	if err := c.MayApprove(context.Background(), "has-read"); err == nil || !strings.Contains(err.Error(), `answers of "somebody"`) {
		t.Errorf("somebody else's permission: %v", err)
	}
}

// TestVerifyChange: of this repository, this pull request and its head as it is now.
func TestVerifyChange(t *testing.T) {
	w := newWorld(t)
	of := func(change func(*gate.Source)) *gate.Result {
		s := gate.Source{Repository: "ACME/engine", Event: "pull_request", PullRequest: w.pr.Number, Head: w.ev.Head, RunID: 1, RunAttempt: 1}
		if change != nil {
			change(&s)
		}
		r := passes()
		r.Source = &s
		return r
	}
	for _, tt := range []struct {
		name, want string
		r          *gate.Result
	}{
		{"its own", "", of(nil)},
		{"another repository", "claims repository", of(func(s *gate.Source) { s.Repository = "mallory/engine" })},
		{"another pull request", "claims pull request", of(func(s *gate.Source) { s.PullRequest++ })},
		{"another commit", "claims head commit", of(func(s *gate.Source) { s.Head = w.ev.Base })},
		{"no commit", "claims head commit", of(func(s *gate.Source) { s.Head = "" })},
		{"no source", "does not say", passes()},
		{"nothing", "does not say", nil},
	} {
		err := w.client().VerifyChange(context.Background(), tt.r)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	// The event's head is not asked: the pull request has moved on.
	r, ev := of(nil), w.ev
	w.push()
	w.ev = ev
	var claim *ClaimError
	if err := w.client().VerifyChange(context.Background(), r); !errors.As(err, &claim) || claim.Claims[0].What != "head commit" {
		t.Errorf("an old head: %v", err)
	}
	w.ev.PullRequest = 99
	if err := w.client().VerifyChange(context.Background(), r); err == nil {
		t.Error("a pull request that is not there")
	}
	w.ev.PullRequest = 0
	if err := w.client().VerifyChange(context.Background(), r); err == nil {
		t.Error("no pull request")
	}
}

// TestReply: one comment for each that is answered, whatever the API does.
func TestReply(t *testing.T) {
	w := newWorld(t)
	reply := func(to int64, text string) Published {
		return w.client().Reply(context.Background(), to, text)
	}
	p := reply(5, "Approved.")
	wantNone(t, p.Failed)
	w.repo.AddComment(githubtest.Comment{Issue: w.pr.Number, Author: githubtest.User{Login: "mallory"}, Body: "<!-- paritygate-reply:paritygate:6 -->\nApproved."})
	again := reply(5, "Not approved.")
	wantNone(t, again.Failed)
	if p.CommentURL == "" || again.CommentURL != p.CommentURL {
		t.Errorf("%q, then %q", p.CommentURL, again.CommentURL)
	}
	writes := w.srv.Writes()
	wantNone(t, reply(5, "Not approved.").Failed)
	if w.srv.Writes() != writes {
		t.Error("the same reply was written again")
	}
	wantNone(t, reply(6, "Approved.").Failed)
	c := w.repo.Comments(w.pr.Number)
	if len(c) != 3 || c[0].Body != "<!-- paritygate-reply:paritygate:5 -->\nNot approved." || c[2].Author.Login != "github-actions[bot]" {
		t.Errorf("comments %+v", c)
	}
	w.s.Token = githubtest.ForkToken
	if p := reply(7, "x"); len(p.Failed) != 1 || !strings.HasPrefix(p.Failed[0], "could not reply to the comment: the token may only read") {
		t.Errorf("%+v", p)
	}
	for _, tr := range trials()[:30] {
		w := newWorld(t)
		tr.inject(w, map[string]int{})
		p := w.client().Reply(context.Background(), 5, "Approved.")
		if n := len(w.repo.Comments(w.pr.Number)); n != 1 || len(p.Failed) > 0 {
			t.Errorf("seed %d: %d replies, failed %q", tr.seed, n, p.Failed)
		}
	}
}
