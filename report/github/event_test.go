package github

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// runner is the runner's variables, with an event's file of this content.
func runner(t testing.TB, name, event string, more ...string) func(string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(file, []byte(event), 0o600); err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{
		"GITHUB_EVENT_PATH": file, "GITHUB_EVENT_NAME": name, "GITHUB_REPOSITORY": "o/r",
		"GITHUB_RUN_ID": "11", "GITHUB_RUN_ATTEMPT": "2", "GITHUB_WORKFLOW": "parity",
		"GITHUB_SHA": sha('c'), "GITHUB_REF": "refs/heads/main",
	}
	for _, m := range more {
		k, v, _ := strings.Cut(m, "=")
		vars[k] = v
	}
	return func(k string) string { return vars[k] }
}

const (
	ownPull = `"pull_request": {"number": 7, "labels": [{"name": "parity"}, {"name": "cuda"}],
		"head": {"ref": "topic", "sha": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "repo": {"full_name": "o/r"}},
		"base": {"ref": "main", "sha": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "repo": {"full_name": "o/r"}}}`
	workflowRunEvent = `{"action": "completed", "repository": {"full_name": "o/r"}, "workflow_run": {"id": 99, "run_attempt": 3, "event": "pull_request",
		"conclusion": "success", "head_sha": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "head_branch": "topic",
		"head_repository": {"full_name": "fork/r"}, "pull_requests": []}}`
)

func TestReadEvent(t *testing.T) {
	a, b, c, d := sha('a'), sha('b'), sha('c'), sha('d')
	base := func(change func(*Event)) *Event {
		ev := &Event{Owner: "o", Repo: "r", HeadRepo: "o/r", RunID: 11, RunAttempt: 2, Workflow: "parity",
			ServerURL: "https://github.com", APIURL: "https://api.github.com"}
		change(ev)
		return ev
	}
	pull := func(ev *Event) {
		ev.PullRequest, ev.Head, ev.HeadRef, ev.Base, ev.BaseRef, ev.Labels = 7, a, "topic", b, "main", []string{"parity", "cuda"}
	}
	tests := []struct {
		name, event, payload string
		more                 []string
		want                 *Event
		fork                 bool
	}{
		{name: "pull request: its head, not GITHUB_SHA", event: "pull_request", payload: `{"number": 7, "repository": {"full_name": "O/R"}, ` + ownPull + `}`, want: base(pull)},
		{name: "pull_request_target", event: "pull_request_target", payload: `{` + ownPull + `}`, want: base(pull)},
		{name: "a review", event: "pull_request_review", payload: `{` + ownPull + `}`, want: base(pull)},
		{name: "a fork", event: "pull_request", payload: strings.Replace(`{`+ownPull+`}`, `"o/r"`, `"fork/r2"`, 1), fork: true,
			want: base(func(ev *Event) { pull(ev); ev.HeadRepo = "fork/r2" })},
		{name: "a fork that is deleted is still one", event: "pull_request", payload: strings.Replace(`{`+ownPull+`}`, `{"full_name": "o/r"}`, `null`, 1), fork: true,
			want: base(func(ev *Event) { pull(ev); ev.HeadRepo = deletedRepo })},
		{name: "merge group", event: "merge_group", payload: `{"action": "checks_requested", "pull_request": null, "merge_group": {"head_sha": "` + d + `",
			"head_ref": "refs/heads/gh-readonly-queue/main/pr-7-` + b + `", "base_sha": "` + b + `", "base_ref": "refs/heads/main", "head_commit": {}}}`,
			want: base(func(ev *Event) {
				ev.Head, ev.HeadRef, ev.Base, ev.BaseRef = d, "gh-readonly-queue/main/pr-7-"+b, b, "main"
			})},
		{name: "schedule", event: "schedule", payload: `{"schedule": "0 3 * * *"}`, want: base(func(ev *Event) { ev.Head, ev.HeadRef = c, "main" })},
		{name: "by hand", event: "workflow_dispatch", payload: `{"ref": "refs/heads/topic", "inputs": null}`, more: []string{"GITHUB_REF=refs/heads/topic"},
			want: base(func(ev *Event) { ev.Head, ev.HeadRef = c, "topic" })},
		{name: "by hand, on a tag", event: "workflow_dispatch", payload: `{}`, more: []string{"GITHUB_REF=refs/tags/v1"}, want: base(func(ev *Event) { ev.Head = c })},
		{name: "an event that no one foresaw", event: "release", payload: `{"release": {"before": 3}, "before": 3, "ref": {}}`, want: base(func(ev *Event) { ev.Head, ev.HeadRef = c, "main" })},
		{name: "push", event: "push", payload: `{"ref": "refs/heads/main", "before": "` + b + `", "after": "` + d + `", "deleted": false}`,
			want: base(func(ev *Event) { ev.Head, ev.HeadRef, ev.Base, ev.BaseRef = d, "main", b, "main" })},
		{name: "push of a new branch", event: "push", payload: `{"ref": "refs/heads/new", "before": "` + sha('0') + `", "after": "` + d + `"}`,
			want: base(func(ev *Event) { ev.Head, ev.HeadRef, ev.BaseRef = d, "new", "new" })},
		{name: "push of a tag", event: "push", payload: `{"ref": "refs/tags/v1", "before": "` + sha('0') + `", "after": "` + d + `"}`, want: base(func(ev *Event) { ev.Head = d })},
		{name: "workflow run of a fork", event: "workflow_run", payload: workflowRunEvent, fork: true, want: base(func(ev *Event) {
			ev.Head, ev.HeadRef, ev.HeadRepo = a, "topic", "fork/r"
			ev.Conclusion, ev.SourceRunID, ev.SourceRunAttempt, ev.SourceEvent = "success", 99, 3, "pull_request"
		})},
		{name: "workflow run that names its pull requests", event: "workflow_run", payload: strings.NewReplacer(`fork/r`, `o/r`, `"run_attempt": 3, `, ``, `"success"`, `null`,
			`"pull_requests": []`, `"pull_requests": [{"number": 7, "head": {"repo": {"id": 1, "name": "r"}}}, {"number": 8}, {"number": 0}]`).Replace(workflowRunEvent), want: base(func(ev *Event) {
			ev.Head, ev.HeadRef = a, "topic"
			ev.SourceRunID, ev.SourceRunAttempt, ev.SourceEvent, ev.sourcePulls = 99, 1, "pull_request", []int{7, 8}
		})},
		{name: "comment on a pull request", event: "issue_comment", payload: `{"issue": {"number": 7, "labels": [{"name": "x"}], "pull_request": {"url": "…"}}, "comment": {"body": "/approve"}}`,
			want: base(func(ev *Event) { ev.PullRequest, ev.HeadRepo, ev.Labels = 7, "", []string{"x"} })},
		{name: "comment on an issue", event: "issue_comment", payload: `{"issue": {"number": 9}}`, want: base(func(ev *Event) { ev.Head, ev.HeadRef = c, "main" })},
		{name: "Enterprise", event: "schedule", payload: `{}`, more: []string{"GITHUB_API_URL=https://ghe.example/api/v3/", "GITHUB_SERVER_URL=https://ghe.example"},
			want: base(func(ev *Event) {
				ev.Head, ev.HeadRef, ev.APIURL, ev.ServerURL = c, "main", "https://ghe.example/api/v3", "https://ghe.example"
			})},
		{name: "an old server", event: "schedule", payload: `{}`, more: []string{"GITHUB_RUN_ATTEMPT="}, want: base(func(ev *Event) { ev.Head, ev.HeadRef, ev.RunAttempt = c, "main", 1 })},
		{name: "SHA-256, in capitals", event: "schedule", payload: `{}`, more: []string{"GITHUB_SHA=" + strings.Repeat("AB", 32)},
			want: base(func(ev *Event) { ev.Head, ev.HeadRef = strings.Repeat("ab", 32), "main" })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Name = tt.event
			got, err := ReadEvent(runner(t, tt.event, tt.payload, tt.more...))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got, cmp.AllowUnexported(Event{}), cmpopts.EquateEmpty()); d != "" {
				t.Error(d)
			}
			if got.Fork() != tt.fork {
				t.Errorf("fork is %v", got.Fork())
			}
		})
	}
}

func TestReadEventErrors(t *testing.T) {
	a := sha('a')
	pull := func(old, new string) string { return strings.Replace(`{`+ownPull+`}`, old, new, 1) }
	run := func(old, new string) string { return strings.Replace(workflowRunEvent, old, new, 1) }
	push := `{"ref": "refs/heads/x", "before": "` + sha('b') + `", "after": "` + a + `"}`
	tests := []struct {
		name, event, payload, more, want string
	}{
		{"no job of Actions", "push", push, "GITHUB_EVENT_PATH=", "GITHUB_EVENT_PATH is not set: this is no job of GitHub Actions"},
		{"no file", "push", push, "GITHUB_EVENT_PATH=/nonexistent/event.json", "/nonexistent/event.json"},
		{"a device", "push", push, "GITHUB_EVENT_PATH=/dev/zero", "/dev/zero: want the event's file"},
		{"no name", "", push, "", "GITHUB_EVENT_NAME is not set"},
		{"no repository", "push", push, "GITHUB_REPOSITORY=", `GITHUB_REPOSITORY: "": want owner/name`},
		{"a repository of three parts", "push", push, "GITHUB_REPOSITORY=o/r/x", `"o/r/x": want owner/name`},
		{"a repository that climbs", "push", push, "GITHUB_REPOSITORY=o/..", `"o/..": want owner/name`},
		{"a repository with a question", "push", push, "GITHUB_REPOSITORY=o/r?x", `want owner/name`},
		{"no run", "push", push, "GITHUB_RUN_ID=", `GITHUB_RUN_ID: "": want a whole number above zero`},
		{"run zero", "push", push, "GITHUB_RUN_ID=0", "GITHUB_RUN_ID"},
		{"attempt below zero", "push", push, "GITHUB_RUN_ATTEMPT=-1", "GITHUB_RUN_ATTEMPT"},
		{"plain http", "push", push, "GITHUB_API_URL=http://ghe.example/api/v3", `GITHUB_API_URL: "http://ghe.example/api/v3": want https`},
		{"a server of plain http", "push", push, "GITHUB_SERVER_URL=http://ghe.example", "GITHUB_SERVER_URL"},
		{"a password in the address", "push", push, "GITHUB_API_URL=https://u:hunter2@ghe.example", "holds a user name or password"},
		{"no JSON", "push", `{"ref": `, "", "is no event of GitHub"},
		{"another type", "pull_request", `{"pull_request": 7}`, "", "is no event of GitHub"},
		{"another repository", "push", `{"repository": {"full_name": "o/other"}, ` + push[1:], "", `is of repository "o/other", and GITHUB_REPOSITORY says o/r`},
		{"no pull request", "pull_request", `{}`, "", "event pull_request: pull_request is missing"},
		{"no target", "pull_request_target", `{"pull_request": null}`, "", "pull_request is missing"},
		{"number 0", "pull_request", pull(`7`, `0`), "", "pull_request.number is 0"},
		{"number below 0", "pull_request", pull(`7`, `-7`), "", "pull_request.number is -7"},
		{"short head", "pull_request", pull(a, a[1:]), "", "head commit is \"" + a[1:]},
		{"head that is a path", "pull_request", pull(a, "../../../../../../../../../../../../etcc"), "", "head commit"},
		{"head of zeros", "pull_request", pull(a, sha('0')), "", "head commit"},
		{"head of 64 and a newline", "pull_request", pull(a, a+`\n`), "", "head commit"},
		{"no head", "pull_request", pull(a, ``), "", "head commit is \"\""},
		{"comment on issue 0", "issue_comment", `{"issue": {"number": 0}}`, "", "issue.number is missing"},
		{"comment on an issue, without a commit", "issue_comment", `{"issue": {"number": 3}}`, "GITHUB_SHA=", "head commit is \"\""},
		{"no base", "pull_request", pull(sha('b'), ``), "", "base commit is \"\": want 40 or 64 hexadecimal digits"},
		{"branch with a newline", "pull_request", pull(`"topic"`, `"x\ny"`), "", "holds control characters"},
		{"head repository", "pull_request", pull(`"o/r"`, `"o"`), "", `head repository: "o": want owner/name`},
		{"merge group without", "merge_group", `{}`, "", "merge_group is missing"},
		{"merge group without base", "merge_group", `{"merge_group": {"head_sha": "` + a + `"}}`, "", "base commit"},
		{"workflow_run without", "workflow_run", `{}`, "", "workflow_run is missing"},
		{"workflow_run without id", "workflow_run", run(`"id": 99, `, ``), "", "workflow_run.id is 0"},
		{"workflow_run attempt", "workflow_run", run(`"run_attempt": 3`, `"run_attempt": -3`), "", "run_attempt -3"},
		{"workflow_run event", "workflow_run", run(`"event": "pull_request"`, `"event": ""`), "", "workflow_run.event is missing"},
		{"workflow_run head", "workflow_run", run(a, `HEAD`), "", `head commit is "head"`},
		{"deleted branch", "push", strings.Replace(push, a, sha('0'), 1), "", `"refs/heads/x" was deleted: there is no commit to judge`},
		{"deleted branch that says so", "push", strings.Replace(push, `{`, `{"deleted": true, `, 1), "", "was deleted"},
		{"push of numbers", "push", `{"ref": 3}`, "", "ref: "},
		{"push without", "push", `{}`, "", "head commit is \"\""},
		{"no commit at all", "schedule", `{}`, "GITHUB_SHA=", "head commit is \"\""},
		{"comment without issue", "issue_comment", `{}`, "", "issue.number is missing"},
		{"larger than any", "push", `{"ref": "` + strings.Repeat("x", maxEvent) + `"}`, "", "larger than 25 MB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			getenv := runner(t, tt.event, tt.payload, strings.Split(tt.more, "\n")...)
			ev, err := ReadEvent(getenv)
			if err == nil {
				t.Fatalf("no error: %+v", ev)
			}
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v\nwant %s", err, tt.want)
			}
			// Errors of the content say where it stands.
			if tt.more == "" && tt.event != "" && !strings.Contains(err.Error(), getenv("GITHUB_EVENT_PATH")) {
				t.Errorf("error does not name the file: %v", err)
			}
		})
	}
}

func TestLargestEvent(t *testing.T) {
	event := `{"x": ""}`
	event = `{"x": "` + strings.Repeat("x", maxEvent-len(event)) + `"}`
	if _, err := ReadEvent(runner(t, "schedule", event)); err != nil {
		t.Error(err)
	}
	if _, err := ReadEvent(runner(t, "schedule", event+" ")); err == nil || !strings.Contains(err.Error(), "larger than 25 MB") {
		t.Error(err)
	}
}

// FuzzReadEvent: no event makes it panic, and what it takes is sound.
func FuzzReadEvent(f *testing.F) {
	for _, name := range []string{"pull_request", "pull_request_target", "merge_group", "workflow_run", "push", "issue_comment", "schedule"} {
		f.Add(name, []byte(`{`+ownPull+`}`))
		f.Add(name, []byte(workflowRunEvent))
		f.Add(name, []byte(`{"before": "`+sha('a')+`", "after": "`+sha('b')+`", "ref": "refs/heads/x", "merge_group": {"head_sha": "`+sha('a')+`", "base_sha": "`+sha('b')+`"}, "issue": {"number": 3, "pull_request": {}}}`))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		getenv := func(k string) string {
			return map[string]string{"GITHUB_EVENT_NAME": name, "GITHUB_REPOSITORY": "o/r", "GITHUB_RUN_ID": "1", "GITHUB_SHA": sha('c')}[k]
		}
		ev, err := eventOfRunner(getenv)
		if err != nil {
			return
		}
		if err := ev.parse(data, getenv); err != nil {
			return
		}
		if ev.PullRequest < 0 || ev.Owner != "o" || ev.Repo != "r" {
			t.Errorf("%+v", ev)
		}
		if !shaPattern.MatchString(ev.Head) && (name != "issue_comment" || ev.Head != "") || ev.Base != "" && !shaPattern.MatchString(ev.Base) {
			t.Errorf("commits %q and %q", ev.Head, ev.Base)
		}
		if (name == "schedule" || name == "workflow_dispatch" || name == "merge_group") && !bytes.Contains(data, []byte("pull_request")) && ev.PullRequest != 0 {
			t.Errorf("%s has pull request %d", name, ev.PullRequest)
		}
		if _, err := json.Marshal(ev); err != nil {
			t.Error(err)
		}
	})
}
