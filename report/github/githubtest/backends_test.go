package githubtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v62/github"
)

// A backend is a server that answers as GitHub: a repository with a pull request
// from "feature" to "main".
type backend struct {
	t           *testing.T
	gh          *github.Client
	owner, repo string
	pull        int
	head, base  string
	lines       []string
}

var backends = map[string]func(t *testing.T) *backend{
	"fake": func(t *testing.T) *backend {
		s := New(t)
		r := s.AddRepo("acme/engine")
		r.Commit("main", "Initial commit", map[string]string{"README.md": "# engine\n"})
		r.Commit("main", "Begin", map[string]string{"parity.yaml": "prompts: []\n"})
		pr := r.AddPullRequest(PullRequest{})
		return &backend{t: t, gh: client(t, s, ActionsToken), owner: "acme", repo: "engine", pull: pr.Number, head: pr.HeadSHA, base: pr.BaseSHA}
	},
	"emulator": func(t *testing.T) *backend {
		e := StartEmulator(t)
		return &backend{t: t, gh: clientAt(t, e.URL, e.Token), owner: e.Owner, repo: e.Repo, pull: e.PullRequest, head: e.Head, base: e.Base}
	},
}

// says notes what a client gets to see: the status, or that of the error, and
// what else tells the two apart.
func (b *backend) says(what string, resp *github.Response, err error, more ...any) {
	b.t.Helper()
	var e *github.ErrorResponse
	if err != nil && !errors.As(err, &e) {
		b.t.Fatalf("%s: %v", what, err)
	}
	line := fmt.Sprint(what, " ", resp.StatusCode)
	if err == nil {
		for _, m := range more {
			line += fmt.Sprintf(" %v", m)
		}
	}
	b.lines = append(b.lines, line)
}

func (b *backend) comment(text string) *github.IssueComment {
	return &github.IssueComment{Body: &text}
}

// TestBothBackends: the fake and an emulator that others wrote answer the same.
// Where the emulator answers otherwise than GitHub, instead has what it says.
func TestBothBackends(t *testing.T) {
	tests := []struct {
		name    string
		run     func(*backend)
		want    []string
		instead map[string]string
	}{
		{"comment", commentScenario, []string{
			"create 201 one", "create 201 two", "create 201 three",
			"page 200 [one two] next 2 last 2", "page 200 [three] next 0 last 0",
			"edit 200 zwei true", "get 200 zwei", "delete 204", "get 404", "edit 404", "delete 404",
			"list 200 [one three]", "list 404", "create 404", "create 201 of an issue", "list 200 [one three]",
		}, nil},
		{"issue", issueScenario, []string{
			"create 201 Parity broke [nightly parity] open", "edit 200 worse", "comments 200 1",
			"open 200 [Parity broke]", "by label 200 [Parity broke]", "by another label 200 []",
			"close 200 closed", "open 200 []", "all 200 [Parity broke]",
			"add 200 [nightly parity urgent]", "labels 200 [nightly parity urgent]", "remove 200", "remove 404", "labels 200 [nightly urgent]",
			"events 200 [closed labeled labeled labeled unlabeled]", "events 404", "get 404", "no title 422",
		}, map[string]string{
			// GitHub tells of the labels that an issue was opened with, and not of
			// the rest of its making.
			"events 200 [closed labeled labeled labeled unlabeled]": "events 200 [closed edited labeled opened unlabeled]",
		}},
		{"check run", checkScenario, []string{
			"create 201 parity in_progress ", "list 200 1 [parity]", "update 200 completed failure 1 Layer 3 differs", "get 200 completed failure",
			"second 201 parity completed success", "list 200 1 [success]", "get 404", "update 404", "no commit 422",
		}, map[string]string{
			"no commit 422": "no commit 201",
		}},
		{"git data", gitScenario, []string{
			"blob 201 56a6051ca2b02b04ef92d5150c9ef600403cb1de", "read 200 MQ== base64 1", "tree 201 true [README.md keys parity.yaml]",
			"tree 200 [README.md keys keys/one.json parity.yaml]", "commit 201 Store 1", "ref 201", "ref again 422", "fork 422", "get ref 200 true",
			"forward 200 true", "backward 422", "forced 200 true", "matching 200 [refs/heads/feature refs/heads/main refs/heads/store]",
			"contents 200 1", "no such object 422", "no such ref 422", "delete 204", "get ref 404", "delete 422", "short name 422",
			"no tree 422", "no blob 404",
		}, map[string]string{
			"no such ref 422": "no such ref 404",
			"delete 422":      "delete 404",
			"short name 422":  "short name 201",
		}},
		{"contents", contentsScenario, []string{
			"file 200 prompts: []\n", "file 200 feature\n", "file 404", "folder 200 [README.md parity.yaml]", "no ref 404",
		}, nil},
		{"history", historyScenario, []string{
			"compare 200 ahead 1 0 [Change something] true", "compare 200 behind 0 1 [] true", "compare 200 identical 0 0 [] true", "compare 404",
			"commits 200 [Change something Begin Initial commit]", "commit 200 Begin", "commit 422",
			"pulls 200 [1]", "pulls 200 []", "pulls 200 []", "pull 200 main feature true true", "pull 404",
			"repository 200 acme/engine main false", "permission 200 admin", "permission 404", "run 404",
		}, map[string]string{
			"commit 422": "commit 404",
		}},
	}
	for _, tt := range tests {
		for name, start := range backends {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				b := start(t)
				b.t = t
				tt.run(b)
				want := slices.Clone(tt.want)
				if name == "emulator" {
					for i, line := range want {
						if other, ok := tt.instead[line]; ok {
							want[i] = other
						}
					}
				}
				if d := cmp.Diff(want, b.lines); d != "" {
					t.Errorf("-want +got\n%s", d)
				}
			})
		}
	}
}

func commentScenario(b *backend) {
	bodies := func(list []*github.IssueComment) []string {
		var all []string
		for _, c := range list {
			all = append(all, c.GetBody())
		}
		return all
	}
	ids := map[string]int64{}
	for _, text := range []string{"one", "two", "three"} {
		c, resp, err := b.gh.Issues.CreateComment(ctx, b.owner, b.repo, b.pull, b.comment(text))
		b.says("create", resp, err, c.GetBody())
		ids[text] = c.GetID()
	}
	for page := range 2 {
		o := &github.IssueListCommentsOptions{ListOptions: github.ListOptions{PerPage: 2, Page: page + 1}}
		list, resp, err := b.gh.Issues.ListComments(ctx, b.owner, b.repo, b.pull, o)
		b.says("page", resp, err, bodies(list), "next", resp.NextPage, "last", resp.LastPage)
	}
	c, resp, err := b.gh.Issues.EditComment(ctx, b.owner, b.repo, ids["two"], b.comment("zwei"))
	b.says("edit", resp, err, c.GetBody(), c.GetID() == ids["two"])
	get := func() {
		c, resp, err := b.gh.Issues.GetComment(ctx, b.owner, b.repo, ids["two"])
		b.says("get", resp, err, c.GetBody())
	}
	get()
	resp, err = b.gh.Issues.DeleteComment(ctx, b.owner, b.repo, ids["two"])
	b.says("delete", resp, err)
	get()
	_, resp, err = b.gh.Issues.EditComment(ctx, b.owner, b.repo, ids["two"], b.comment("zwei"))
	b.says("edit", resp, err)
	resp, err = b.gh.Issues.DeleteComment(ctx, b.owner, b.repo, ids["two"])
	b.says("delete", resp, err)
	list := func(number int) {
		list, resp, err := b.gh.Issues.ListComments(ctx, b.owner, b.repo, number, nil)
		b.says("list", resp, err, bodies(list))
	}
	list(b.pull)
	list(99)
	_, resp, err = b.gh.Issues.CreateComment(ctx, b.owner, b.repo, 99, b.comment("x"))
	b.says("create", resp, err)
	i, _, err := b.gh.Issues.Create(ctx, b.owner, b.repo, &github.IssueRequest{Title: github.String("Another")})
	if err != nil {
		b.t.Fatal(err)
	}
	c, resp, err = b.gh.Issues.CreateComment(ctx, b.owner, b.repo, i.GetNumber(), b.comment("of an issue"))
	b.says("create", resp, err, c.GetBody())
	list(b.pull)
}

func issueScenario(b *backend) {
	names := func(labels []*github.Label) []string {
		var all []string
		for _, l := range labels {
			all = append(all, l.GetName())
		}
		slices.Sort(all)
		return all
	}
	i, resp, err := b.gh.Issues.Create(ctx, b.owner, b.repo, &github.IssueRequest{Title: github.String("Parity broke"), Labels: &[]string{"parity", "nightly"}})
	b.says("create", resp, err, i.GetTitle(), names(i.Labels), i.GetState())
	n := i.GetNumber()
	i, resp, err = b.gh.Issues.Edit(ctx, b.owner, b.repo, n, &github.IssueRequest{Body: github.String("worse")})
	b.says("edit", resp, err, i.GetBody())
	if _, _, err := b.gh.Issues.CreateComment(ctx, b.owner, b.repo, n, b.comment("x")); err != nil {
		b.t.Fatal(err)
	}
	i, resp, err = b.gh.Issues.Get(ctx, b.owner, b.repo, n)
	b.says("comments", resp, err, i.GetComments())
	list := func(what string, o *github.IssueListByRepoOptions) {
		all, resp, err := b.gh.Issues.ListByRepo(ctx, b.owner, b.repo, o)
		titles := []string{}
		for _, i := range all {
			if i.PullRequestLinks == nil { // GitHub lists pull requests too
				titles = append(titles, i.GetTitle())
			}
		}
		b.says(what, resp, err, titles)
	}
	list("open", nil)
	list("by label", &github.IssueListByRepoOptions{Labels: []string{"parity", "nightly"}})
	list("by another label", &github.IssueListByRepoOptions{Labels: []string{"parity", "daily"}})
	i, resp, err = b.gh.Issues.Edit(ctx, b.owner, b.repo, n, &github.IssueRequest{State: github.String("closed")})
	b.says("close", resp, err, i.GetState())
	list("open", nil)
	list("all", &github.IssueListByRepoOptions{State: "all"})
	labels, resp, err := b.gh.Issues.AddLabelsToIssue(ctx, b.owner, b.repo, n, []string{"urgent"})
	b.says("add", resp, err, names(labels))
	get := func() {
		labels, resp, err := b.gh.Issues.ListLabelsByIssue(ctx, b.owner, b.repo, n, nil)
		b.says("labels", resp, err, names(labels))
	}
	get()
	for range 2 {
		resp, err = b.gh.Issues.RemoveLabelForIssue(ctx, b.owner, b.repo, n, "parity")
		b.says("remove", resp, err)
	}
	get()
	for _, number := range []int{n, 99} {
		events, resp, err := b.gh.Issues.ListIssueEvents(ctx, b.owner, b.repo, number, nil)
		var all []string
		for _, e := range events {
			all = append(all, e.GetEvent())
		}
		slices.Sort(all)
		b.says("events", resp, err, all)
	}
	_, resp, err = b.gh.Issues.Get(ctx, b.owner, b.repo, 99)
	b.says("get", resp, err)
	_, resp, err = b.gh.Issues.Create(ctx, b.owner, b.repo, &github.IssueRequest{Title: github.String(" ")})
	b.says("no title", resp, err)
}

func checkScenario(b *backend) {
	c, resp, err := b.gh.Checks.CreateCheckRun(ctx, b.owner, b.repo, github.CreateCheckRunOptions{Name: "parity", HeadSHA: b.head, Status: github.String("in_progress")})
	b.says("create", resp, err, c.GetName(), c.GetStatus(), c.GetConclusion())
	list := func(of func(*github.CheckRun) string) {
		all, resp, err := b.gh.Checks.ListCheckRunsForRef(ctx, b.owner, b.repo, b.head, nil)
		var names []string
		for _, c := range all.CheckRuns {
			names = append(names, of(c))
		}
		slices.Sort(names)
		b.says("list", resp, err, all.GetTotal(), names)
	}
	list((*github.CheckRun).GetName)
	o := github.UpdateCheckRunOptions{Name: "parity", Status: github.String("completed"), Conclusion: github.String("failure"), Output: &github.CheckRunOutput{
		Title: github.String("Layer 3 differs"), Summary: github.String("…"), Annotations: []*github.CheckRunAnnotation{{
			Path: github.String("parity.yaml"), StartLine: github.Int(1), EndLine: github.Int(1), AnnotationLevel: github.String("failure"), Message: github.String("x")}}}}
	c, resp, err = b.gh.Checks.UpdateCheckRun(ctx, b.owner, b.repo, c.GetID(), o)
	b.says("update", resp, err, c.GetStatus(), c.GetConclusion(), c.GetOutput().GetAnnotationsCount(), c.GetOutput().GetTitle())
	c, resp, err = b.gh.Checks.GetCheckRun(ctx, b.owner, b.repo, c.GetID())
	b.says("get", resp, err, c.GetStatus(), c.GetConclusion())
	c, resp, err = b.gh.Checks.CreateCheckRun(ctx, b.owner, b.repo, github.CreateCheckRunOptions{Name: "parity", HeadSHA: b.head, Status: github.String("completed"), Conclusion: github.String("success")})
	b.says("second", resp, err, c.GetName(), c.GetStatus(), c.GetConclusion())
	list((*github.CheckRun).GetConclusion)
	_, resp, err = b.gh.Checks.GetCheckRun(ctx, b.owner, b.repo, 999999)
	b.says("get", resp, err)
	_, resp, err = b.gh.Checks.UpdateCheckRun(ctx, b.owner, b.repo, 999999, o)
	b.says("update", resp, err)
	_, resp, err = b.gh.Checks.CreateCheckRun(ctx, b.owner, b.repo, github.CreateCheckRunOptions{Name: "parity", HeadSHA: strings.Repeat("0", 40)})
	b.says("no commit", resp, err)
}

func gitScenario(b *backend) {
	blob, resp, err := b.gh.Git.CreateBlob(ctx, b.owner, b.repo, &github.Blob{Content: github.String("1"), Encoding: github.String("utf-8")})
	b.says("blob", resp, err, blob.GetSHA())
	read, resp, err := b.gh.Git.GetBlob(ctx, b.owner, b.repo, blob.GetSHA())
	b.says("read", resp, err, strings.TrimSpace(read.GetContent()), read.GetEncoding(), read.GetSize())
	base, _, err := b.gh.Git.GetCommit(ctx, b.owner, b.repo, b.base)
	if err != nil {
		b.t.Fatal(err)
	}
	entry := func(sha string) []*github.TreeEntry {
		return []*github.TreeEntry{{Path: github.String("keys/one.json"), Mode: github.String("100644"), Type: github.String("blob"), SHA: &sha}}
	}
	paths := func(tree *github.Tree) []string {
		var all []string
		for _, e := range tree.Entries {
			all = append(all, e.GetPath())
		}
		slices.Sort(all)
		return all
	}
	tree, resp, err := b.gh.Git.CreateTree(ctx, b.owner, b.repo, base.GetTree().GetSHA(), entry(blob.GetSHA()))
	b.says("tree", resp, err, len(tree.GetSHA()) == 40, paths(tree))
	whole, resp, err := b.gh.Git.GetTree(ctx, b.owner, b.repo, tree.GetSHA(), true)
	b.says("tree", resp, err, paths(whole))
	made, resp, err := b.gh.Git.CreateCommit(ctx, b.owner, b.repo, &github.Commit{Message: github.String("Store 1"), Tree: tree, Parents: []*github.Commit{base}}, nil)
	b.says("commit", resp, err, made.GetMessage())
	to := func(name, sha string) *github.Reference {
		return &github.Reference{Ref: &name, Object: &github.GitObject{SHA: &sha}}
	}
	const store = "refs/heads/store"
	_, resp, err = b.gh.Git.CreateRef(ctx, b.owner, b.repo, to(store, b.base))
	b.says("ref", resp, err)
	_, resp, err = b.gh.Git.CreateRef(ctx, b.owner, b.repo, to(store, b.base))
	b.says("ref again", resp, err)
	move := func(what, sha string, force bool) {
		r, resp, err := b.gh.Git.UpdateRef(ctx, b.owner, b.repo, to(store, sha), force)
		b.says(what, resp, err, r.GetObject().GetSHA() == sha)
	}
	get := func(sha string) {
		r, resp, err := b.gh.Git.GetRef(ctx, b.owner, b.repo, "heads/store")
		b.says("get ref", resp, err, r.GetObject().GetSHA() == sha)
	}
	if _, _, err := b.gh.Git.UpdateRef(ctx, b.owner, b.repo, to(store, b.head), false); err != nil {
		b.t.Fatal(err)
	}
	move("fork", made.GetSHA(), false)
	get(b.head)
	move("forward", b.head, false)
	move("backward", b.base, false)
	move("forced", made.GetSHA(), true)
	refs, resp, err := b.gh.Git.ListMatchingRefs(ctx, b.owner, b.repo, &github.ReferenceListOptions{Ref: "heads/"})
	var names []string
	for _, r := range refs {
		names = append(names, r.GetRef())
	}
	b.says("matching", resp, err, names)
	file, _, resp, err := b.gh.Repositories.GetContents(ctx, b.owner, b.repo, "keys/one.json", &github.RepositoryContentGetOptions{Ref: "store"})
	var text string
	if file != nil {
		text, _ = file.GetContent()
	}
	b.says("contents", resp, err, text)
	move("no such object", strings.Repeat("0", 40), false)
	_, resp, err = b.gh.Git.UpdateRef(ctx, b.owner, b.repo, to("refs/heads/none", b.head), false)
	b.says("no such ref", resp, err)
	resp, err = b.gh.Git.DeleteRef(ctx, b.owner, b.repo, store)
	b.says("delete", resp, err)
	get("")
	resp, err = b.gh.Git.DeleteRef(ctx, b.owner, b.repo, store)
	b.says("delete", resp, err)
	_, resp, err = b.gh.Git.CreateRef(ctx, b.owner, b.repo, to("refs/store", b.base))
	b.says("short name", resp, err)
	_, resp, err = b.gh.Git.CreateCommit(ctx, b.owner, b.repo, &github.Commit{Message: github.String("x"), Tree: &github.Tree{SHA: github.String(strings.Repeat("0", 40))}}, nil)
	b.says("no tree", resp, err)
	_, resp, err = b.gh.Git.GetBlob(ctx, b.owner, b.repo, strings.Repeat("0", 40))
	b.says("no blob", resp, err)
}

func contentsScenario(b *backend) {
	get := func(what, path, ref string) {
		file, folder, resp, err := b.gh.Repositories.GetContents(ctx, b.owner, b.repo, path, &github.RepositoryContentGetOptions{Ref: ref})
		if folder != nil {
			var names []string
			for _, f := range folder {
				names = append(names, f.GetName())
			}
			slices.Sort(names)
			b.says(what, resp, err, names)
			return
		}
		var text string
		if file != nil {
			text, _ = file.GetContent()
		}
		b.says(what, resp, err, text)
	}
	get("file", "parity.yaml", "main")
	get("file", "change.txt", b.head)
	get("file", "change.txt", b.base)
	get("folder", "", "main")
	get("no ref", "parity.yaml", "none")
}

func historyScenario(b *backend) {
	compare := func(from, to string) {
		c, resp, err := b.gh.Repositories.CompareCommits(ctx, b.owner, b.repo, from, to, nil)
		if err != nil {
			b.says("compare", resp, err)
			return
		}
		messages := []string{}
		for _, v := range c.Commits {
			messages = append(messages, v.GetCommit().GetMessage())
		}
		b.says("compare", resp, err, c.GetStatus(), c.GetAheadBy(), c.GetBehindBy(), messages, c.GetMergeBaseCommit().GetSHA() == b.base)
	}
	compare("main", "feature")
	compare(b.head, b.base)
	compare("main", "main")
	compare("main", "none")
	all, resp, err := b.gh.Repositories.ListCommits(ctx, b.owner, b.repo, &github.CommitsListOptions{SHA: "feature"})
	var messages []string
	for _, v := range all {
		messages = append(messages, v.GetCommit().GetMessage())
	}
	b.says("commits", resp, err, messages)
	for _, sha := range []string{b.base, strings.Repeat("0", 40)} {
		v, resp, err := b.gh.Repositories.GetCommit(ctx, b.owner, b.repo, sha, nil)
		b.says("commit", resp, err, v.GetCommit().GetMessage())
	}
	for _, o := range []github.PullRequestListOptions{{Head: b.owner + ":feature"}, {Head: b.owner + ":none"}, {State: "closed"}} {
		list, resp, err := b.gh.PullRequests.List(ctx, b.owner, b.repo, &o)
		numbers := []int{}
		for _, p := range list {
			numbers = append(numbers, p.GetNumber())
		}
		b.says("pulls", resp, err, numbers)
	}
	for _, n := range []int{b.pull, 99} {
		p, resp, err := b.gh.PullRequests.Get(ctx, b.owner, b.repo, n)
		b.says("pull", resp, err, p.GetBase().GetRef(), p.GetHead().GetRef(), p.GetHead().GetSHA() == b.head, p.GetBase().GetSHA() == b.base)
	}
	r, resp, err := b.gh.Repositories.Get(ctx, b.owner, b.repo)
	b.says("repository", resp, err, r.GetFullName(), r.GetDefaultBranch(), r.GetFork())
	for _, login := range []string{b.owner, "nobody"} {
		p, resp, err := b.gh.Repositories.GetPermissionLevel(ctx, b.owner, b.repo, login)
		b.says("permission", resp, err, p.GetPermission())
	}
	_, resp, err = b.gh.Actions.GetWorkflowRunByID(ctx, b.owner, b.repo, 1)
	b.says("run", resp, err)
}
