package github

import (
	"context"
	"strings"

	gh "github.com/google/go-github/v62/github"

	"github.com/paritygate/paritygate/baseline/lineage"
)

var _ lineage.History = (*Client)(nil)

// MergeBase is the newest common ancestor of two commits or branches; "" where
// they share none.
func (c *Client) MergeBase(ctx context.Context, a, b string) (string, error) {
	cmp, _, err := c.api.Repositories.CompareCommits(ctx, c.ev.Owner, c.ev.Repo, a, b, &gh.ListOptions{PerPage: 1})
	if failureOf(err) == failNotFound {
		return "", nil
	}
	if err != nil {
		return "", c.toldf("comparison with %s", b, err)
	}
	return cmp.GetMergeBaseCommit().GetSHA(), nil
}

// Ancestors lists a commit and those before it, those that the branch itself was at
// first. Distances of the others count along GitHub's own order.
func (c *Client) Ancestors(ctx context.Context, commit string, most int) ([]lineage.Ancestor, error) {
	byCommit := map[string]*gh.RepositoryCommit{}
	var order []*gh.RepositoryCommit
	o := &gh.CommitsListOptions{SHA: commit, ListOptions: gh.ListOptions{PerPage: min(most, pageSize)}}
	for len(order) < most {
		list, resp, err := c.api.Repositories.ListCommits(ctx, c.ev.Owner, c.ev.Repo, o)
		if err != nil {
			return nil, c.toldf("history of %s", commit, err)
		}
		for _, r := range list {
			byCommit[r.GetSHA()] = r
		}
		order = append(order, list...)
		if resp.NextPage == 0 || len(list) == 0 {
			break
		}
		o.Page = resp.NextPage
	}
	var out []lineage.Ancestor
	add := func(r *gh.RepositoryCommit, distance int) {
		if byCommit[r.GetSHA()] != nil && len(out) < most {
			delete(byCommit, r.GetSHA())
			subject, _, _ := strings.Cut(r.GetCommit().GetMessage(), "\n")
			out = append(out, lineage.Ancestor{Commit: r.GetSHA(), Distance: distance, Tree: r.GetCommit().GetTree().GetSHA(), Pulls: lineage.PullsOf(subject)})
		}
	}
	parent := map[string]string{}
	all := map[string]*gh.RepositoryCommit{}
	for _, r := range order {
		all[r.GetSHA()] = r
		if len(r.Parents) > 0 {
			parent[r.GetSHA()] = r.Parents[0].GetSHA()
		}
	}
	if len(order) > 0 {
		for sha, d := order[0].GetSHA(), 0; all[sha] != nil; sha, d = parent[sha], d+1 {
			add(all[sha], d)
		}
	}
	for i, r := range order {
		add(r, i)
	}
	return out, nil
}
