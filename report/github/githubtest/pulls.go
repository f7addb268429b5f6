package githubtest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A PullRequest of a repository.
type PullRequest struct {
	Number   int // given by the server when 0
	Title    string
	Body     string
	Author   string // login
	State    string // "open" or "closed"
	Labels   []string
	HeadRepo string // "owner/name"; default: the repository itself
	HeadRef  string // branch; default "feature", made with a commit when there is none
	HeadSHA  string // default: the branch's, which it follows while open
	BaseRef  string // branch; default: the repository's default branch
	BaseSHA  string // default: the branch's now
	Draft    bool
	Merged   time.Time // zero while it is not
	MergeSHA string    // commit of the merge
}

// AddPullRequest opens a pull request; only what differs from the defaults need
// be given. The head repository must be a fork of this one, or this one.
func (r *Repo) AddPullRequest(p PullRequest) PullRequest {
	defer r.lock()()
	p.BaseRef, p.HeadRef = cmp.Or(p.BaseRef, r.defaultBranch), cmp.Or(p.HeadRef, "feature")
	p.HeadRepo = cmp.Or(p.HeadRepo, r.full())
	p.BaseSHA = cmp.Or(p.BaseSHA, r.refs["refs/heads/"+p.BaseRef])
	head := r.s.repos[strings.ToLower(p.HeadRepo)]
	switch {
	case head == nil || head != r && head.parent != r:
		r.s.errorf("githubtest: %s is neither %s nor a fork of it", p.HeadRepo, r.full())
		return p
	case !r.objects.is(p.BaseSHA, "commit"):
		r.s.errorf("githubtest: %s has no branch %s to be a pull request's base: commit something first", r.full(), p.BaseRef)
		return p
	}
	branch := "refs/heads/" + p.HeadRef
	if p.HeadSHA == "" && head.refs[branch] == "" {
		head.push(Change{Branch: p.HeadRef, Parents: []string{p.BaseSHA}, Message: "Change something", Files: map[string]string{"change.txt": p.HeadRef + "\n"}})
	}
	if p.HeadSHA = cmp.Or(p.HeadSHA, head.refs[branch]); !r.objects.is(p.HeadSHA, "commit") {
		r.s.errorf("githubtest: %s has no commit %q to be a pull request's head", p.HeadRepo, p.HeadSHA)
		return p
	}
	i := r.addIssue(Issue{Number: p.Number, Title: cmp.Or(p.Title, "A change"), Body: p.Body, Author: p.Author, State: p.State, Labels: p.Labels}, &p)
	p.Number = i.Number
	r.refs[fmt.Sprintf("refs/pull/%d/head", p.Number)] = p.HeadSHA
	return i.pullRequest()
}

// pullRequest is the pull request with what it has in common with an issue.
func (i *issue) pullRequest() PullRequest {
	p := *i.pull
	p.Title, p.Body, p.Author, p.State, p.Labels = i.Title, i.Body, i.Author, i.State, slices.Clone(i.Labels)
	return p
}

// PullRequest is that of a number; nothing for none.
func (r *Repo) PullRequest(number int) PullRequest {
	defer r.lock()()
	if i := r.issue(number); i != nil && i.pull != nil {
		return i.pullRequest()
	}
	return PullRequest{}
}

// Files lists what a pull request changes.
func (r *Repo) Files(number int) []File {
	defer r.lock()()
	if i := r.issue(number); i != nil && i.pull != nil {
		return r.filesOf(i.pull)
	}
	return nil
}

func (r *Repo) filesOf(p *PullRequest) []File {
	base, _ := r.objects.commit(r.objects.mergeBase(p.HeadSHA, p.BaseSHA))
	head, _ := r.objects.commit(p.HeadSHA)
	return r.objects.diff(base.tree, head.tree)
}

// Merge merges a pull request as the site does and returns the commit: "merge"
// has two parents, "squash" one, "rebase" repeats each of the branch's commits
// on the base. Files that both sides changed end as the head has them.
func (r *Repo) Merge(number int, method string) string {
	defer r.lock()()
	i := r.issue(number)
	if i == nil || i.pull == nil || i.State != "open" {
		r.s.errorf("githubtest: %s has no open pull request #%d to merge", r.full(), number)
		return ""
	}
	p := i.pull
	base := r.refs["refs/heads/"+p.BaseRef]
	fork := r.objects.mergeBase(p.HeadSHA, base)
	sha := base
	message := fmt.Sprintf("%s (#%d)", i.Title, number)
	switch method {
	case "merge":
		sha = r.replay(base, fork, p.HeadSHA, fmt.Sprintf("Merge pull request #%d from %s", number, p.HeadRef), p.HeadSHA)
	case "squash":
		sha = r.replay(base, fork, p.HeadSHA, message)
	case "rebase":
		at := fork
		for _, c := range slices.Backward(r.objects.history(p.HeadSHA)) {
			if fork == "" || !r.objects.contains(fork, c.sha) {
				sha = r.replay(sha, at, c.sha, c.message)
				at = c.sha
			}
		}
	default:
		r.s.errorf("githubtest: no way to merge is called %q: merge, squash or rebase", method)
		return ""
	}
	r.setState(i, "octocat", "closed")
	p.Merged, p.MergeSHA = r.s.now(), sha
	r.move("refs/heads/"+p.BaseRef, sha)
	return sha
}

// replay commits on base what changed between two commits.
func (r *Repo) replay(base, from, to, message string, more ...string) string {
	on, _ := r.objects.commit(base)
	before, _ := r.objects.commit(from)
	after, _ := r.objects.commit(to)
	files, have := r.objects.files(on.tree), r.objects.files(after.tree)
	for _, f := range r.objects.diff(before.tree, after.tree) {
		if f.Status == "removed" {
			delete(files, f.Path)
		} else {
			files[f.Path] = have[f.Path]
		}
	}
	by := after.author
	by.when = r.s.now()
	return r.objects.putCommit(commit{tree: r.objects.build(files), parents: append([]string{base}, more...), author: after.author, committer: by, message: message})
}

func (c *call) pullOf() *issue {
	if i := c.repo.issue(int(c.number("pull_number"))); i != nil && i.pull != nil {
		return i
	}
	return nil
}

func (c *call) getPull() answer {
	i := c.pullOf()
	if i == nil {
		return notFound()
	}
	return ok(c.renderPull(i, true))
}

func (c *call) listPulls() answer {
	var found []*issue
	state := cmp.Or(c.query.Get("state"), "open")
	for _, i := range c.repo.issues {
		p := i.pull
		if p == nil || state != "all" && state != i.State || c.query.Get("base") != "" && c.query.Get("base") != p.BaseRef {
			continue
		}
		// head is "owner:branch"; GitHub passes over one of another form.
		owner, branch, whole := strings.Cut(c.query.Get("head"), ":")
		headOwner, _, _ := strings.Cut(p.HeadRepo, "/")
		if whole && (!strings.EqualFold(owner, headOwner) || branch != p.HeadRef) {
			continue
		}
		found = append(found, i)
	}
	slices.SortStableFunc(found, func(a, b *issue) int {
		if c.query.Get("sort") == "updated" {
			return cmp.Or(a.Updated.Compare(b.Updated), a.Number-b.Number)
		}
		return cmp.Or(a.Created.Compare(b.Created), a.Number-b.Number)
	})
	// Newest first, unless another order is asked for, which is ascending.
	if d := c.query.Get("direction"); d == "desc" || d == "" && cmp.Or(c.query.Get("sort"), "created") == "created" {
		slices.Reverse(found)
	}
	return list(c, found, func(i *issue) obj { return c.renderPull(i, false) })
}

func (c *call) listPullFiles() answer {
	i := c.pullOf()
	if i == nil {
		return notFound()
	}
	return list(c, c.repo.filesOf(i.pull), func(f File) obj { return c.renderFile(f, i.pull.HeadSHA) })
}

// pullsOfCommit lists the pull requests that a commit came by: merged ones, and
// the open ones that hold it when it is not on the default branch.
func (c *call) pullsOfCommit() answer {
	sha := c.repo.resolve(c.path["commit_sha"])
	if sha == "" {
		return unprocessable("No commit found for SHA: " + c.path["commit_sha"])
	}
	var found []*issue
	for _, i := range c.repo.issues {
		if p := i.pull; p != nil && (p.MergeSHA == sha || c.repo.objects.contains(p.HeadSHA, sha) && !c.repo.objects.contains(p.BaseSHA, sha)) {
			found = append(found, i)
		}
	}
	return list(c, found, func(i *issue) obj { return c.renderPull(i, false) })
}
