package github

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	gh "github.com/google/go-github/v62/github"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
)

// maxSuspects is how many commits an issue lists.
const maxSuspects = 50

// maxSuspectsText bounds their list in bytes: the report has most of the issue.
const maxSuspectsText = 20_000

// suspects says in Markdown which commits may have broken parity: those between
// the baseline's, which passed, and the event's. A list that cannot be had is
// said, and is no error.
func (c *Client) suspects(ctx context.Context, r *gate.Result) string {
	ev, good := c.ev, ""
	if r.Baseline != nil {
		good = strings.ToLower(r.Baseline.Commit)
	}
	var b strings.Builder
	b.WriteString("### Since when\n\n")
	switch {
	case !shaPattern.MatchString(good):
		fmt.Fprintf(&b, "No baseline says which commit passed last; this is `%.12s`.\n", ev.Head)
		return b.String()
	case good == ev.Head:
		fmt.Fprintf(&b, "This very commit, `%.12s`, has a baseline: it passed before. What changed lies outside of the repository, or the engine does not repeat itself.\n", ev.Head)
		return b.String()
	}
	fmt.Fprintf(&b, "The baseline is of `%.12s`, which passed; `%.12s` does not: [what lies between](%s).\n\n", good, ev.Head, ev.web("compare", good+"..."+ev.Head))
	b.WriteString(c.between(ctx, good))
	fmt.Fprintf(&b, "\nTo find the one that did it, in a checkout:\n\n```sh\nparitygate bisect %s %s\n```\n", good, ev.Head)
	return b.String()
}

// between lists the commits that the event's has and good has not, oldest first.
func (c *Client) between(ctx context.Context, good string) string {
	var cmp *gh.CommitsComparison
	err := c.repeat(ctx, func() (err error) {
		cmp, _, err = c.api.Repositories.CompareCommits(ctx, c.ev.Owner, c.ev.Repo, good, c.ev.Head, &gh.ListOptions{PerPage: maxSuspects})
		return err
	})
	if err != nil {
		return "The commits between cannot be listed: " + report.EscapeMarkdown(c.explain(err)) + "\n"
	}
	var b strings.Builder
	if cmp.GetBehindBy() > 0 {
		b.WriteString("The branch no longer holds the baseline's commit.\n\n")
	}
	shown := 0
	for _, r := range cmp.Commits[:min(len(cmp.Commits), maxSuspects)] {
		if b.Len() > maxSuspectsText {
			break
		}
		shown++
		sha := r.GetSHA()
		if !shaPattern.MatchString(sha) {
			continue
		}
		subject, _, _ := strings.Cut(r.GetCommit().GetMessage(), "\n")
		fmt.Fprintf(&b, "- [`%.12s`](%s) %s (%s)\n", sha, c.ev.web("commit", sha),
			report.EscapeMarkdown(report.Plain(subject, 100)), report.EscapeMarkdown(report.Plain(r.GetCommit().GetAuthor().GetName(), 60)))
	}
	if more := cmp.GetTotalCommits() - shown; more > 0 {
		fmt.Fprintf(&b, "- and %d more after these\n", more)
	}
	return b.String()
}

// web is an address of the repository on GitHub's site.
func (e *Event) web(parts ...string) string {
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return fmt.Sprintf("%s/%s/%s/%s", strings.TrimRight(e.ServerURL, "/"), url.PathEscape(e.Owner), url.PathEscape(e.Repo), strings.Join(parts, "/"))
}
