package github

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/report/github/githubtest"
)

func TestFile(t *testing.T) {
	w := newScene(t)
	full := strings.Repeat("0123456789abcdef", maxFile/16)
	first := w.repo.Commit("main", "Files", map[string]string{
		"parity.yaml": "a: 1\n", "empty": "", "bytes": "\x00\xff\xfe", "full": full, "over": full + "x",
		"a dir/ünï #1?.yaml": "odd\n", "x:y/z": "colon\n",
	})
	second := w.repo.Commit("main", "Change", map[string]string{"parity.yaml": "a: 2\n"})
	c, _ := clientOf(t, w.URL(), func(ev *Event, s *Settings) {
		ev.Owner, ev.Repo, s.Token = "acme", "engine", githubtest.ActionsToken
	})
	tests := []struct {
		path, commit, want, text string
		absent                   bool
	}{
		{path: "parity.yaml", commit: first, want: "a: 1\n"},
		{path: "parity.yaml", commit: second, want: "a: 2\n"},
		{path: "empty", commit: first},
		{path: "bytes", commit: first, want: "\x00\xff\xfe"},
		{path: "full", commit: first, want: full},
		{path: "a dir/ünï #1?.yaml", commit: first, want: "odd\n"},
		{path: "x:y/z", commit: first, want: "colon\n"},
		{path: "over", commit: first, text: "is 1048577 bytes long, more than 1048576"},
		{path: "a dir", commit: first, text: "is a folder, not a file"},
		{path: "none.yaml", commit: first, absent: true, text: "none.yaml at commit " + first[:12]},
		{path: "parity.yaml/x", commit: first, absent: true, text: "file does not exist"},
		{path: "parity.yaml", commit: sha('e'), text: "the commit is not in the repository, or the token may not read it"},
		{path: "parity.yaml", commit: "main", text: `commit "main": want its whole SHA`},
		{path: "parity.yaml", commit: first[:39], text: "want its whole SHA"},
		{path: "/parity.yaml", commit: first, text: "want a file's path in the repository"},
		{path: "../parity.yaml", commit: first, text: "want a file's path in the repository"},
		{path: "a/../parity.yaml", commit: first, text: "want a file's path"},
		{path: "a..b", commit: first, text: "want a file's path"},
		{path: ".", commit: first, text: "want a file's path"},
		{path: "", commit: first, text: "want a file's path"},
	}
	for _, tt := range tests {
		got, err := c.File(context.Background(), tt.path, tt.commit)
		if (err == nil) != (tt.text == "") || err != nil && !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s at %s: error %v, want %q", tt.path, tt.commit, err, tt.text)
		}
		if err == nil && string(got) != tt.want || err != nil && got != nil {
			t.Errorf("%s at %s: %d bytes, want %d", tt.path, tt.commit, len(got), len(tt.want))
		}
		if errors.Is(err, fs.ErrNotExist) != tt.absent {
			t.Errorf("%s at %s: absent is %v: %v", tt.path, tt.commit, !tt.absent, err)
		}
	}
}

// TestFileUnseen is the case that must not look like a base branch without a
// spec: a token that may not read a private repository gets 404 too.
func TestFileUnseen(t *testing.T) {
	s := githubtest.New(t)
	repo := s.AddRepo("acme/secret", githubtest.Private())
	commit := repo.Commit("main", "Begin", map[string]string{"parity.yaml": "a: 1\n"})
	s.AddToken("elsewhere", githubtest.Token{Login: "x", Type: "User", Access: githubtest.Write, Repos: []string{"acme/other"}})
	s.AddToken("blind", githubtest.Token{Login: "x", Type: "Bot", Installation: true, Access: githubtest.Write, Scopes: map[string]githubtest.Access{"contents": githubtest.None}})
	for token, text := range map[string]string{"elsewhere": "the token may not read it (permissions: contents: read)", "blind": "GitHub answered 403"} {
		c, _ := clientOf(t, s.URL(), func(ev *Event, s *Settings) { ev.Owner, ev.Repo, s.Token = "acme", "secret", token })
		_, err := c.File(context.Background(), "none.yaml", commit)
		if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", token, err)
		}
	}
}

// TestFileFaults: each fault that passes by is outlived, each other is said, and
// none makes a file look absent.
func TestFileFaults(t *testing.T) {
	w := newScene(t)
	commit := w.repo.Commit("main", "Spec", map[string]string{"spec": "a: 1\n"})
	for _, f := range githubtest.Faults() {
		c, _ := clientOf(t, w.URL(), func(ev *Event, s *Settings) { ev.Owner, ev.Repo, s.Token = "acme", "engine", githubtest.ActionsToken })
		w.Inject(f)
		if got, err := c.File(context.Background(), "spec", commit); err != nil || string(got) != "a: 1\n" {
			t.Errorf("%s: %q, %v", f.Name, got, err)
		}
	}
	for _, f := range githubtest.Refusals() {
		c, _ := clientOf(t, w.URL(), func(ev *Event, s *Settings) { ev.Owner, ev.Repo, s.Token = "acme", "engine", githubtest.ActionsToken })
		w.Inject(f, f)
		if got, err := c.File(context.Background(), "spec", commit); err == nil || got != nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %q, %v", f.Name, got, err)
		}
	}
}

// TestFileAnswers: what GitHub may answer beyond the fake.
func TestFileAnswers(t *testing.T) {
	json := func(format string, args ...any) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, format, args...) }
	}
	hello := base64.StdEncoding.EncodeToString([]byte("hello\n"))
	const file = "GET /repos/o/r/contents/spec"
	blob := "GET /repos/o/r/git/blobs/" + sha('d')
	tests := []struct {
		name     string
		steps    []http.HandlerFunc
		requests []string
		want     string
		text     string
	}{
		{"base64 in lines", []http.HandlerFunc{json(`{"type":"file","size":6,"encoding":"base64","content":"%s\n%s\n"}`, hello[:4], hello[4:])}, []string{file}, "hello\n", ""},
		{"content left out", []http.HandlerFunc{json(`{"type":"file","size":6,"encoding":"none","content":"","sha":%q}`, sha('d')), json(`{"size":6,"encoding":"base64","content":%q}`, hello)}, []string{file, blob}, "hello\n", ""},
		{"no encoding", []http.HandlerFunc{json(`{"type":"file","size":6,"sha":%q}`, sha('d')), json(`{"encoding":"base64","content":%q}`, hello)}, []string{file, blob}, "hello\n", ""},
		{"empty, without an encoding", []http.HandlerFunc{json(`{"type":"file","size":0,"encoding":"none"}`)}, []string{file}, "", ""},
		{"blob in another encoding", []http.HandlerFunc{json(`{"type":"file","size":6,"encoding":"none","sha":%q}`, sha('d')), json(`{"encoding":"utf-8","content":"hello\n"}`)}, []string{file, blob}, "", `sends its content as "utf-8"`},
		{"blob refused", []http.HandlerFunc{json(`{"type":"file","size":6,"encoding":"none","sha":%q}`, sha('d')), answer(404, "Not Found")}, []string{file, blob}, "", "GitHub answered 404"},
		{"submodule", []http.HandlerFunc{json(`{"type":"submodule","size":0}`)}, []string{file}, "", "is a submodule"},
		{"submodule in its older form", []http.HandlerFunc{json(`{"type":"file","size":0,"submodule_git_url":"git://x"}`)}, []string{file}, "", "is a submodule"},
		{"link", []http.HandlerFunc{json(`{"type":"symlink","size":11,"target":"/etc/passwd\u001b"}`)}, []string{file}, "", `is a link to "/etc/passwd\x1b"`},
		{"folder as an object", []http.HandlerFunc{json(`{"type":"dir","entries":[]}`)}, []string{file}, "", "is a folder"},
		{"another kind", []http.HandlerFunc{json(`{"type":"socket"}`)}, []string{file}, "", `is a "socket"`},
		{"nothing", []http.HandlerFunc{json(`null`)}, []string{file}, "", `is a ""`},
		{"half of it", []http.HandlerFunc{json(`{"type":"file","size":7,"encoding":"base64","content":%q}`, hello)}, []string{file}, "", "GitHub sends 6 bytes of a file of 7"},
		{"more than it says", []http.HandlerFunc{json(`{"type":"file","size":5,"encoding":"base64","content":%q}`, hello)}, []string{file}, "", "GitHub sends 6 bytes of a file of 5"},
		{"no base64", []http.HandlerFunc{json(`{"type":"file","size":5,"encoding":"base64","content":"%%%%"}`)}, []string{file}, "", "illegal base64"},
		{"absent, and the commit cannot be looked for", append([]http.HandlerFunc{answer(404, "Not Found")}, repeated(6, answer(500, ""))...), append([]string{file}, slices.Repeat([]string{"GET /repos/o/r/git/commits/" + sha('a')}, 6)...), "", "tried 6 times"},
		{"a page of a proxy", []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "<html>") }}, []string{file}, "", "invalid character"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(t, tt.steps...)
			c, _ := clientOf(t, s.web.URL, nil)
			got, err := c.File(context.Background(), "spec", sha('a'))
			if string(got) != tt.want || (err == nil) != (tt.text == "") || err != nil && (!strings.Contains(err.Error(), tt.text) || errors.Is(err, fs.ErrNotExist)) {
				t.Errorf("%q, %v", got, err)
			}
			if got := s.requests(); !slices.Equal(got, tt.requests) {
				t.Errorf("requests %q", got)
			}
		})
	}
}
