package githubtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v62/github"
)

// TestStatuses: a commit's statuses are all kept; the latest of each context
// count, and GitHub's limits hold.
func TestStatuses(t *testing.T) {
	s, r, pr := seeded(t)
	gh := client(t, s, ActionsToken)
	set := func(sha, context, state, description, target string) error {
		in := &github.RepoStatus{State: &state, Description: &description}
		if context != "" {
			in.Context = &context
		}
		if target != "" {
			in.TargetURL = &target
		}
		_, _, err := gh.Repositories.CreateStatus(ctx, "acme", "engine", sha, in)
		return err
	}
	combined := func() string {
		t.Helper()
		c, _, err := gh.Repositories.GetCombinedStatus(ctx, "acme", "engine", "feature", nil)
		if err != nil {
			t.Fatal(err)
		}
		text := c.GetState()
		for _, s := range c.Statuses {
			text += " " + s.GetContext() + "=" + s.GetState()
		}
		return text
	}
	steps := []struct{ context, state, want string }{
		{"parity", "pending", "pending parity=pending"},
		{"parity", "success", "success parity=success"},
		{"", "pending", "pending default=pending parity=success"},
		{"other", "error", "failure other=error default=pending parity=success"},
		{"other", "success", "pending other=success default=pending parity=success"},
	}
	if got := combined(); got != "pending" {
		t.Errorf("without a status: %s", got)
	}
	for _, tt := range steps {
		if err := set(pr.HeadSHA, tt.context, tt.state, "d", "https://example.org"); err != nil {
			t.Fatal(err)
		}
		if got := combined(); got != tt.want {
			t.Errorf("after %s=%s: %s, want %s", tt.context, tt.state, got, tt.want)
		}
	}
	list, _, err := gh.Repositories.ListStatuses(ctx, "acme", "engine", pr.HeadSHA, nil)
	if err != nil || len(list) != 5 || list[0].GetState() != "success" || list[4].GetState() != "pending" || list[0].GetCreator().GetLogin() != "github-actions[bot]" {
		t.Errorf("list %v, %v", list, err)
	}
	if got := r.Statuses(pr.HeadSHA); len(got) != 5 || got[0].Context != "parity" || got[0].TargetURL != "https://example.org" {
		t.Errorf("kept %+v", got)
	}
	if err := set(pr.HeadSHA, "parity", "success", strings.Repeat("é", 140), ""); err != nil {
		t.Error(err)
	}
	wantError(t, set(pr.HeadSHA, "parity", "success", strings.Repeat("é", 141), ""), 422, "description is too long (maximum is 140 characters)")
	wantError(t, set(pr.HeadSHA, "parity", "success", "", "ftp://x"), 422, "http(s)")
	wantError(t, set(strings.Repeat("0", 40), "parity", "success", "", ""), 422, "No commit found for SHA")
	for range 1000 - 3 {
		r.statuses = append(r.statuses, Status{SHA: pr.HeadSHA, Context: "parity"})
	}
	wantError(t, set(pr.HeadSHA, "parity", "success", "", ""), 422, "maximum number of statuses")
	if err := set(pr.BaseSHA, "parity", "success", "", ""); err != nil {
		t.Errorf("another commit: %v", err)
	}
	_, _, err = gh.Repositories.GetCombinedStatus(ctx, "acme", "engine", "none", nil)
	wantError(t, err, 404, "Not Found")
}

// TestCheckRuns: annotations add up, a conclusion completes, and what is beyond
// GitHub's limits fails the test.
func TestCheckRuns(t *testing.T) {
	var said recorded
	s, r, pr := seeded(t, func(s *Server) { s.errorf = said.errorf })
	gh := client(t, s, ActionsToken)
	output := func(summary string, n int) *github.CheckRunOutput {
		o := &github.CheckRunOutput{Title: github.String("t"), Summary: &summary}
		for range n {
			o.Annotations = append(o.Annotations, &github.CheckRunAnnotation{Path: github.String("parity.yaml"), StartLine: github.Int(2), EndLine: github.Int(2),
				AnnotationLevel: github.String("failure"), Message: github.String("m")})
		}
		return o
	}
	c, _, err := gh.Checks.CreateCheckRun(ctx, "acme", "engine", github.CreateCheckRunOptions{Name: "parity", HeadSHA: pr.HeadSHA, Output: output("s", 50)})
	if err != nil || c.GetStatus() != "queued" {
		t.Fatalf("%v, %v", c, err)
	}
	if len(c.PullRequests) != 1 || c.PullRequests[0].GetNumber() != pr.Number {
		t.Errorf("pull requests %v", c.PullRequests)
	}
	update := func(o github.UpdateCheckRunOptions) (*github.CheckRun, error) {
		o.Name = "parity"
		c, _, err := gh.Checks.UpdateCheckRun(ctx, "acme", "engine", c.GetID(), o)
		return c, err
	}
	c2, err := update(github.UpdateCheckRunOptions{Conclusion: github.String("neutral"), Output: output(strings.Repeat("é", 65535), 2)})
	if err != nil || c2.GetStatus() != "completed" || c2.GetOutput().GetAnnotationsCount() != 52 || c2.CompletedAt == nil {
		t.Errorf("%v, %v", c2, err)
	}
	if got := r.CheckRuns(pr.HeadSHA); len(got) != 1 || len(got[0].Annotations) != 52 || got[0].Annotations[51].StartLine != 2 || got[0].Conclusion != "neutral" {
		t.Errorf("kept %d runs", len(got))
	}
	again, err := update(github.UpdateCheckRunOptions{Status: github.String("in_progress")})
	if err != nil || again.GetConclusion() != "" || again.CompletedAt != nil {
		t.Errorf("begun again: %v, %v", again, err)
	}
	if text := said.take(); text != "" {
		t.Error(text)
	}
	wrongLines := output("s", 1)
	wrongLines.Annotations[0].EndLine = github.Int(1)
	_, err = update(github.UpdateCheckRunOptions{Output: wrongLines})
	wantError(t, err, 422, "Invalid line range")
	wrongLines.Annotations[0].EndLine, wrongLines.Annotations[0].StartColumn = github.Int(3), github.Int(1)
	_, err = update(github.UpdateCheckRunOptions{Output: wrongLines})
	wantError(t, err, 422, "Invalid line range")
	if text := said.take(); text != "" {
		t.Error(text)
	}
	for what, o := range map[string]github.UpdateCheckRunOptions{
		"51 annotations": {Output: output("s", 51)},
		"long summary":   {Output: output(strings.Repeat("x", 65536), 0)},
		"long text":      {Output: &github.CheckRunOutput{Summary: github.String("s"), Text: github.String(strings.Repeat("x", 65536))}},
		"no conclusion":  {Status: github.String("completed")},
	} {
		_, err = update(o)
		wantError(t, err, 422, "Invalid request.")
		if said.take() == "" {
			t.Errorf("%s: the test would not fail", what)
		}
	}
	_, _, err = gh.Checks.CreateCheckRun(ctx, "acme", "engine", github.CreateCheckRunOptions{Name: "x", HeadSHA: pr.HeadSHA, Status: github.String("completed")})
	wantError(t, err, 422, "conclusion")
	_, _, err = gh.Checks.CreateCheckRun(ctx, "acme", "engine", github.CreateCheckRunOptions{Name: "x", HeadSHA: strings.Repeat("0", 40)})
	wantError(t, err, 422, "No commit found for SHA")
	if text := said.take(); text != "" {
		t.Error(text)
	}
	s.AddToken("other app", Token{Login: "other[bot]", Type: "Bot", Installation: true, Access: Write})
	_, _, err = client(t, s, "other app").Checks.UpdateCheckRun(ctx, "acme", "engine", c.GetID(), github.UpdateCheckRunOptions{Name: "parity"})
	wantError(t, err, 403, "can only be modified by the GitHub App that created it")
}

// TestPullRequests: from a fork, with what it changes; it follows its branch.
func TestPullRequests(t *testing.T) {
	s := New(t)
	r := s.AddRepo("acme/engine")
	fork := r.Commit("main", "Begin", map[string]string{"keep": "k\n", "edit": "1\n2\n3\n", "drop": "d\n"})
	away := s.AddRepo("mallory/engine", ForkOf(r))
	head := away.Push(Change{Branch: "topic", Files: map[string]string{"edit": "1\nzwei\n3\n", "new": "n\n"}, Delete: []string{"drop"}, Message: "Change", Author: "mallory"})
	base := r.Commit("main", "Go on", map[string]string{"other": "o\n"})
	pr := r.AddPullRequest(PullRequest{HeadRepo: "mallory/engine", HeadRef: "topic", Author: "mallory", Labels: []string{"parity"}})
	if pr.HeadSHA != head || pr.BaseSHA != base {
		t.Errorf("head %s, base %s", pr.HeadSHA, pr.BaseSHA)
	}
	gh := client(t, s, ForkToken)
	p, _, err := gh.PullRequests.Get(ctx, "acme", "engine", pr.Number)
	if err != nil {
		t.Fatal(err)
	}
	if p.GetHead().GetRepo().GetFullName() != "mallory/engine" || !p.GetHead().GetRepo().GetFork() || p.GetHead().GetLabel() != "mallory:topic" ||
		p.GetBase().GetSHA() != base || p.GetAdditions() != 2 || p.GetDeletions() != 2 || p.GetCommits() != 1 || p.GetUser().GetLogin() != "mallory" {
		t.Errorf("pull request %v", p)
	}
	files, resp, err := gh.PullRequests.ListFiles(ctx, "acme", "engine", pr.Number, &github.ListOptions{PerPage: 2})
	if err != nil || len(files) != 2 || resp.NextPage != 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	var got []string
	for _, f := range r.Files(pr.Number) {
		got = append(got, fmt.Sprintf("%s %s +%d -%d", f.Path, f.Status, f.Additions, f.Deletions))
	}
	if d := cmp.Diff([]string{"drop removed +0 -1", "edit modified +1 -1", "new added +1 -0"}, got); d != "" {
		t.Error(d)
	}
	if want := "@@ -1,3 +1,3 @@\n 1\n-2\n+zwei\n 3"; files[1].GetPatch() != want {
		t.Errorf("patch %q, want %q", files[1].GetPatch(), want)
	}
	c, _, err := gh.Repositories.CompareCommits(ctx, "acme", "engine", "main", "mallory:topic", nil)
	if err != nil || c.GetStatus() != "diverged" || c.GetAheadBy() != 1 || c.GetBehindBy() != 1 || c.GetMergeBaseCommit().GetSHA() != fork || len(c.Files) != 3 {
		t.Errorf("comparison %v, %v", c, err)
	}
	byHead, _, err := gh.PullRequests.List(ctx, "acme", "engine", &github.PullRequestListOptions{Head: "mallory:topic"})
	if err != nil || len(byHead) != 1 {
		t.Errorf("by head: %v, %v", byHead, err)
	}
	of, _, err := gh.PullRequests.ListPullRequestsWithCommit(ctx, "acme", "engine", head, nil)
	if err != nil || len(of) != 1 {
		t.Errorf("of its commit: %v, %v", of, err)
	}
	of, _, err = gh.PullRequests.ListPullRequestsWithCommit(ctx, "acme", "engine", fork, nil)
	if err != nil || len(of) != 0 {
		t.Errorf("of what it began with: %v, %v", of, err)
	}
	next := away.Commit("topic", "More", map[string]string{"more": "m\n"})
	if now := r.PullRequest(pr.Number); now.HeadSHA != next || r.Ref(fmt.Sprintf("pull/%d/head", pr.Number)) != next {
		t.Errorf("after a push the head is %s, want %s", now.HeadSHA, next)
	}
	issue, _, err := gh.Issues.Get(ctx, "acme", "engine", pr.Number)
	if err != nil || !issue.IsPullRequest() || issue.Labels[0].GetName() != "parity" {
		t.Errorf("as an issue: %v, %v", issue, err)
	}
	r.Label(pr.Number, "maintainer", "parity-approved")
	events, _, err := gh.Issues.ListIssueEvents(ctx, "acme", "engine", pr.Number, nil)
	if err != nil || len(events) != 2 || events[1].GetActor().GetLogin() != "maintainer" || events[1].GetLabel().GetName() != "parity-approved" {
		t.Errorf("events %v, %v", events, err)
	}
}

// TestMerge: the three ways to merge leave the history that GitHub leaves.
func TestMerge(t *testing.T) {
	for method, want := range map[string]string{
		"merge":  "[Merge pull request #1 from feature Go on Second First Begin] 2",
		"squash": "[A change (#1) Go on Begin] 1",
		"rebase": "[Second First Go on Begin] 1",
	} {
		now := time.Unix(1_700_000_000, 0)
		s := New(t, WithClock(func() time.Time { now = now.Add(time.Second); return now }))
		r := s.AddRepo("acme/engine")
		r.Commit("main", "Begin", map[string]string{"a": "a", "gone": "g"})
		r.Commit("feature", "First", map[string]string{"b": "b"})
		r.Push(Change{Branch: "feature", Message: "Second", Files: map[string]string{"c": "c"}, Delete: []string{"gone"}})
		pr := r.AddPullRequest(PullRequest{})
		r.Commit("main", "Go on", map[string]string{"a": "A"})
		sha := r.Merge(pr.Number, method)
		var messages []string
		for _, c := range r.Log("main") {
			messages = append(messages, r.Message(c))
		}
		c, _ := r.objects.commit(sha)
		if got := fmt.Sprint(messages, " ", len(c.parents)); got != want {
			t.Errorf("%s: %s, want %s", method, got, want)
		}
		for path, content := range map[string]string{"a": "A", "b": "b", "c": "c", "gone": ""} {
			if got, _ := r.File("main", path); got != content {
				t.Errorf("%s: %s holds %q, want %q", method, path, got, content)
			}
		}
		gh := client(t, s, ActionsToken)
		p, _, err := gh.PullRequests.Get(ctx, "acme", "engine", pr.Number)
		if err != nil || !p.GetMerged() || p.GetState() != "closed" || p.GetMergeCommitSHA() != sha || r.Ref("heads/main") != sha {
			t.Errorf("%s: %v, %v", method, p, err)
		}
		of, _, err := gh.PullRequests.ListPullRequestsWithCommit(ctx, "acme", "engine", sha, nil)
		if err != nil || len(of) != 1 || of[0].GetNumber() != pr.Number {
			t.Errorf("%s: pull requests of the merge: %v, %v", method, of, err)
		}
	}
}

// TestRuns: a workflow's run and its artifacts.
func TestRuns(t *testing.T) {
	s, r, pr := seeded(t)
	run := r.AddRun(Run{HeadSHA: pr.HeadSHA, HeadBranch: "feature", Conclusion: "failure", PullRequests: []int{pr.Number},
		Artifacts: []Artifact{{Name: "parity", Size: 12}, {Name: "logs"}}})
	gh := client(t, s, ForkToken)
	got, _, err := gh.Actions.GetWorkflowRunByID(ctx, "acme", "engine", run.ID)
	if err != nil || got.GetHeadSHA() != pr.HeadSHA || got.GetConclusion() != "failure" || got.GetEvent() != "pull_request" || got.GetRunAttempt() != 1 ||
		len(got.PullRequests) != 1 || got.PullRequests[0].GetHead().GetSHA() != pr.HeadSHA || got.GetHeadRepository().GetFullName() != "acme/engine" {
		t.Errorf("%v, %v", got, err)
	}
	all, _, err := gh.Actions.ListWorkflowRunArtifacts(ctx, "acme", "engine", run.ID, nil)
	if err != nil || all.GetTotalCount() != 2 || all.Artifacts[0].GetName() != "parity" || all.Artifacts[0].GetSizeInBytes() != 12 {
		t.Errorf("%v, %v", all, err)
	}
	_, _, err = gh.Actions.ListWorkflowRunArtifacts(ctx, "acme", "engine", run.ID+1, nil)
	wantError(t, err, 404, "Not Found")
}

// TestContents: what GitHub answers by a file's size, kind and the form asked for.
func TestContents(t *testing.T) {
	s := New(t)
	r := s.AddRepo("acme/engine")
	gh := client(t, s, ActionsToken)
	_, _, _, err := gh.Repositories.GetContents(ctx, "acme", "engine", "a", nil)
	wantError(t, err, 404, "This repository is empty.")
	_, _, err = gh.Git.CreateBlob(ctx, "acme", "engine", &github.Blob{Content: github.String("x")})
	wantError(t, err, 409, "Git Repository is empty.")
	_, _, err = gh.Repositories.ListCommits(ctx, "acme", "engine", nil)
	wantError(t, err, 409, "Git Repository is empty.")

	large := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	sha := r.Commit("main", "Begin", map[string]string{"dir/small": "\x00binary\xff", "large": large, "larger": large + "x", "ü ß/#?%.txt": "odd"})
	for path, want := range map[string]string{"dir/small": "\x00binary\xff", "large": large, "ü ß/#?%.txt": "odd"} {
		f, _, _, err := gh.Repositories.GetContents(ctx, "acme", "engine", path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := f.GetContent(); got != want || err != nil || f.GetPath() != path || f.GetSize() != len(want) {
			t.Errorf("%s: %d bytes of %d, %v", path, len(got), len(want), err)
		}
	}
	f, _, _, err := gh.Repositories.GetContents(ctx, "acme", "engine", "larger", nil)
	if err != nil || f.GetEncoding() != "none" || *f.Content != "" {
		t.Errorf("too large for JSON: %v, %v", f.GetEncoding(), err)
	}
	q, err := gh.NewRequest(http.MethodGet, "repos/acme/engine/contents/larger?ref="+sha[:10], nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Accept", "application/vnd.github.raw+json")
	var raw strings.Builder
	if _, err := gh.Do(ctx, q, &raw); err != nil || raw.String() != large+"x" {
		t.Errorf("raw: %d bytes, %v", raw.Len(), err)
	}
	blob, _, err := gh.Git.GetBlobRaw(ctx, "acme", "engine", f.GetSHA())
	if err != nil || string(blob) != large+"x" {
		t.Errorf("raw blob: %d bytes, %v", len(blob), err)
	}
	_, _, _, err = gh.Repositories.GetContents(ctx, "acme", "engine", "large", &github.RepositoryContentGetOptions{Ref: "none"})
	wantError(t, err, 404, "No commit found for the ref none")
}

// TestCommits: history by path and by time, and one commit with its files.
func TestCommits(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := New(t, WithClock(func() time.Time { now = now.Add(time.Hour); return now }))
	r := s.AddRepo("acme/engine")
	first := r.Commit("main", "one", map[string]string{"src/a": "1\n", "b": "1\n"})
	r.Commit("main", "two", map[string]string{"b": "2\n"})
	third := r.Commit("main", "three", map[string]string{"src/a": "3\n"})
	gh := client(t, s, UserToken)
	list := func(o github.CommitsListOptions) string {
		t.Helper()
		all, _, err := gh.Repositories.ListCommits(ctx, "acme", "engine", &o)
		if err != nil {
			t.Fatal(err)
		}
		var messages []string
		for _, c := range all {
			messages = append(messages, c.GetCommit().GetMessage())
		}
		return strings.Join(messages, " ")
	}
	times := map[string]time.Time{}
	for _, sha := range r.Log("main") {
		c, _ := r.objects.commit(sha)
		times[c.message] = c.committer.when
	}
	for want, o := range map[string]github.CommitsListOptions{
		"three two one": {},
		"three one":     {Path: "src"},
		"two one":       {Path: "b"},
		"one":           {SHA: first},
		"three two":     {Since: times["two"]},
		"two":           {Since: times["two"], Until: times["two"]},
		"two ":          {ListOptions: github.ListOptions{PerPage: 1, Page: 2}},
		"":              {Path: "none"},
	} {
		if got := list(o); got != strings.TrimSpace(want) {
			t.Errorf("%+v: %q, want %q", o, got, want)
		}
	}
	c, _, err := gh.Repositories.GetCommit(ctx, "acme", "engine", "main", nil)
	if err != nil || c.GetSHA() != third || c.GetStats().GetTotal() != 2 || len(c.Files) != 1 || c.GetAuthor().GetLogin() != "octocat" {
		t.Errorf("%v, %v", c, err)
	}
}

// TestIssueOrder: issues come newest first, or as asked for.
func TestIssueOrder(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := New(t, WithClock(func() time.Time { now = now.Add(time.Hour); return now }))
	r := s.AddRepo("acme/engine")
	r.Commit("main", "Begin", map[string]string{"a": "a"})
	r.AddIssue(Issue{Title: "one", Author: "eve"})
	r.AddIssue(Issue{Title: "two", Number: 7})
	r.AddIssue(Issue{Title: "three", State: "closed"})
	gh := client(t, s, ActionsToken)
	if _, _, err := gh.Issues.CreateComment(ctx, "acme", "engine", 1, &github.IssueComment{Body: github.String("x")}); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]github.IssueListByRepoOptions{
		"two one":        {},
		"three two one":  {State: "all"},
		"three":          {State: "closed"},
		"one two":        {Direction: "asc"},
		"one two ":       {Sort: "updated"},
		"one three two":  {State: "all", Sort: "comments"},
		"one":            {Creator: "eve"},
		"three two  one": {State: "all", Since: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		all, _, err := gh.Issues.ListByRepo(ctx, "acme", "engine", &o)
		var titles []string
		for _, i := range all {
			titles = append(titles, i.GetTitle())
		}
		if o.Sort == "comments" { // those with none have no order
			slices.Sort(titles[1:])
		}
		if got := strings.Join(titles, " "); err != nil || got != strings.Join(strings.Fields(want), " ") {
			t.Errorf("%+v: %s, want %s, %v", o, got, want, err)
		}
	}
	if got := r.Issues(); len(got) != 3 || got[2].Number != 8 {
		t.Errorf("issues %+v", got)
	}
}

// TestIssueEdits: labels are replaced as a whole, and what happens is told.
func TestIssueEdits(t *testing.T) {
	s, r, pr := seeded(t)
	gh := client(t, s, ActionsToken)
	i := r.AddIssue(Issue{Title: "Parity broke", Labels: []string{"Nightly", "parity"}, Author: "eve"})
	edit := func(q github.IssueRequest) *github.Issue {
		t.Helper()
		got, _, err := gh.Issues.Edit(ctx, "acme", "engine", i.Number, &q)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	edit(github.IssueRequest{Title: github.String("New"), Labels: &[]string{"nightly", "urgent"}})
	edit(github.IssueRequest{State: github.String("closed")})
	edit(github.IssueRequest{State: github.String("closed")})
	if got := edit(github.IssueRequest{State: github.String("open")}); got.ClosedAt != nil || got.GetUser().GetLogin() != "eve" {
		t.Errorf("opened again: %v", got)
	}
	got := r.Issue(i.Number)
	if d := cmp.Diff([]string{"Nightly", "urgent"}, got.Labels); d != "" || got.Title != "New" || got.State != "open" {
		t.Errorf("%+v, labels %s", got, d)
	}
	var events []string
	for _, e := range got.Events {
		events = append(events, strings.TrimSpace(e.Event+" "+e.Label+" "+e.Actor))
	}
	if d := cmp.Diff([]string{"labeled Nightly eve", "labeled parity eve", "unlabeled parity github-actions[bot]", "labeled urgent github-actions[bot]",
		"closed  github-actions[bot]", "reopened  github-actions[bot]"}, events); d != "" {
		t.Error(d)
	}
	long := strings.Repeat("x", 65537)
	for what, q := range map[string]github.IssueRequest{
		"body is too long (maximum is 65536 characters)": {Title: github.String("x"), Body: &long},
		"title is too long (maximum is 256 characters)":  {Title: github.String(long[:257])},
		"title can't be blank":                           {Title: github.String("")},
	} {
		_, _, err := gh.Issues.Create(ctx, "acme", "engine", &q)
		wantError(t, err, 422, what)
		_, _, err = gh.Issues.Edit(ctx, "acme", "engine", i.Number, &q)
		wantError(t, err, 422, what)
	}
	// A pull request is an issue.
	if _, _, err := gh.Issues.Edit(ctx, "acme", "engine", pr.Number, &github.IssueRequest{State: github.String("closed")}); err != nil {
		t.Fatal(err)
	}
	if p := r.PullRequest(pr.Number); p.State != "closed" {
		t.Errorf("pull request is %s", p.State)
	}
	r.Commit("feature", "Later", map[string]string{"x": "y"})
	if p := r.PullRequest(pr.Number); p.HeadSHA != pr.HeadSHA {
		t.Error("a closed pull request followed its branch")
	}
	r.issue(i.Number).Locked = true
	_, _, err := gh.Issues.CreateComment(ctx, "acme", "engine", i.Number, &github.IssueComment{Body: github.String("x")})
	wantError(t, err, 403, "issue is locked")
}

// TestPermissions: what a user may do, by who owns the repository and who was
// let in.
func TestPermissions(t *testing.T) {
	s := New(t)
	open := s.AddRepo("acme/open", DefaultBranch("trunk"))
	closed := s.AddRepo("acme/closed", Private())
	for _, r := range []*Repo{open, closed} {
		r.SetPermission("maintainer", "write")
	}
	s.AddUser(User{Login: "stranger"})
	gh := client(t, s, UserToken)
	for _, tt := range []struct{ repo, login, want string }{
		{"open", "acme", "admin"}, {"open", "Maintainer", "write"}, {"open", "stranger", "read"},
		{"closed", "maintainer", "write"}, {"closed", "stranger", "none"},
	} {
		got, _, err := gh.Repositories.GetPermissionLevel(ctx, "acme", tt.repo, tt.login)
		if err != nil || got.GetPermission() != tt.want {
			t.Errorf("%s of %s: %v, want %s, %v", tt.login, tt.repo, got.GetPermission(), tt.want, err)
		}
	}
	_, _, err := gh.Repositories.GetPermissionLevel(ctx, "acme", "open", "nobody")
	wantError(t, err, 404, "nobody is not a user")
	r, _, err := gh.Repositories.Get(ctx, "acme", "open")
	if err != nil || r.GetDefaultBranch() != "trunk" || open.Name() != "acme/open" {
		t.Errorf("%v, %v", r, err)
	}
}

// TestSeedErrors: a test that seeds nonsense is told so.
func TestSeedErrors(t *testing.T) {
	var said recorded
	s, r, pr := seeded(t, func(s *Server) { s.errorf = said.errorf })
	s.AddRepo("mallory/other").Commit("main", "x", map[string]string{"a": "a"})
	for want, do := range map[string]func(){
		"has #1 already":                  func() { r.AddIssue(Issue{Number: pr.Number}) },
		"has no #9 to comment on":         func() { r.AddComment(Comment{Issue: 9, Body: "x"}) },
		"has no #9 to label":              func() { r.Label(9, "x", "y") },
		"neither acme/engine nor a fork":  func() { r.AddPullRequest(PullRequest{HeadRepo: "mallory/other"}) },
		"has no branch nope":              func() { r.AddPullRequest(PullRequest{BaseRef: "nope"}) },
		"has no commit \"nope\" to be":    func() { r.AddPullRequest(PullRequest{HeadSHA: "nope"}) },
		"has no commit \"nope\" for":      func() { r.SetRef("heads/x", "nope") },
		"has no commit nope to be":        func() { r.Push(Change{Parents: []string{"nope"}}) },
		"has no open pull request #9":     func() { r.Merge(9, "merge") },
		"no way to merge is called \"x\"": func() { r.Merge(pr.Number, "x") },
	} {
		do()
		if got := said.take(); !strings.Contains(got, want) {
			t.Errorf("said %q, want %q", got, want)
		}
	}
}
