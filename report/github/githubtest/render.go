package githubtest

import (
	"fmt"
	"net/url"
	"strings"
)

// repoAPI is a URL of the API below the call's repository.
func (c *call) repoAPI(format string, args ...any) string {
	return c.api("/repos/%s%s", c.repo.full(), fmt.Sprintf(format, args...))
}

func (c *call) renderUser(login string) obj {
	u := c.s.user(User{Login: login})
	self := c.api("/users/%s", url.PathEscape(u.Login))
	return obj{
		"login": u.Login, "id": u.ID, "node_id": nodeID("U", u.ID), "type": u.Type, "site_admin": false, "user_view_type": "public",
		"avatar_url": "https://avatars.githubusercontent.com/u/" + fmt.Sprint(u.ID), "gravatar_id": "",
		"url": self, "html_url": c.web("/%s", u.Login), "followers_url": self + "/followers", "following_url": self + "/following{/other_user}",
		"gists_url": self + "/gists{/gist_id}", "starred_url": self + "/starred{/owner}{/repo}", "subscriptions_url": self + "/subscriptions",
		"organizations_url": self + "/orgs", "repos_url": self + "/repos", "events_url": self + "/events{/privacy}", "received_events_url": self + "/received_events",
	}
}

// repoURLs are the links that every form of a repository has, below its own.
var repoURLs = map[string]string{
	"archive_url": "/{archive_format}{/ref}", "assignees_url": "/assignees{/user}", "blobs_url": "/git/blobs{/sha}",
	"branches_url": "/branches{/branch}", "collaborators_url": "/collaborators{/collaborator}", "comments_url": "/comments{/number}",
	"commits_url": "/commits{/sha}", "compare_url": "/compare/{base}...{head}", "contents_url": "/contents/{+path}",
	"contributors_url": "/contributors", "deployments_url": "/deployments", "downloads_url": "/downloads", "events_url": "/events",
	"forks_url": "/forks", "git_commits_url": "/git/commits{/sha}", "git_refs_url": "/git/refs{/sha}", "git_tags_url": "/git/tags{/sha}",
	"hooks_url": "/hooks", "issue_comment_url": "/issues/comments{/number}", "issue_events_url": "/issues/events{/number}",
	"issues_url": "/issues{/number}", "keys_url": "/keys{/key_id}", "labels_url": "/labels{/name}", "languages_url": "/languages",
	"merges_url": "/merges", "milestones_url": "/milestones{/number}", "notifications_url": "/notifications{?since,all,participating}",
	"pulls_url": "/pulls{/number}", "releases_url": "/releases{/id}", "stargazers_url": "/stargazers", "statuses_url": "/statuses/{sha}",
	"subscribers_url": "/subscribers", "subscription_url": "/subscription", "tags_url": "/tags", "teams_url": "/teams", "trees_url": "/git/trees{/sha}",
}

func (c *call) renderMinimalRepo(r *Repo) obj {
	self := c.api("/repos/%s", r.full())
	v := obj{"id": r.id, "node_id": nodeID("R", r.id), "name": r.name, "full_name": r.full(), "owner": c.renderUser(r.owner),
		"private": r.private, "html_url": c.web("/%s", r.full()), "description": nil, "fork": r.parent != nil, "url": self}
	for name, path := range repoURLs {
		v[name] = self + path
	}
	return v
}

func (c *call) renderRepo(r *Repo) obj {
	v := c.renderMinimalRepo(r)
	open := 0
	for _, i := range r.issues {
		if i.State == "open" {
			open++
		}
	}
	html := c.web("/%s", r.full())
	visibility := "public"
	if r.private {
		visibility = "private"
	}
	for k, x := range (obj{
		"clone_url": html + ".git", "git_url": "git:" + strings.TrimPrefix(html, "https:") + ".git", "ssh_url": "git@github.com:" + r.full() + ".git", "svn_url": html,
		"mirror_url": nil, "homepage": nil, "language": nil, "license": nil, "default_branch": r.defaultBranch, "visibility": visibility,
		"forks": 0, "forks_count": 0, "open_issues": open, "open_issues_count": open, "stargazers_count": 0, "watchers": 0, "watchers_count": 0,
		"network_count": 0, "subscribers_count": 0, "size": 0, "has_issues": true, "has_projects": false, "has_wiki": false, "has_pages": false,
		"has_downloads": true, "has_discussions": false, "archived": false, "disabled": false,
		"created_at": stamp(r.made), "updated_at": stamp(r.made), "pushed_at": stamp(r.made),
	}) {
		v[k] = x
	}
	return v
}

func (c *call) renderLabel(name string) obj {
	l := c.repo.label(name)
	return obj{"id": l.ID, "node_id": nodeID("LA", l.ID), "url": c.repoAPI("/labels/%s", url.PathEscape(l.Name)), "name": l.Name,
		"description": l.Description, "color": l.Color, "default": false}
}

func (c *call) association(login string) string {
	if strings.EqualFold(login, c.repo.owner) {
		return "OWNER"
	}
	switch c.repo.permissions[strings.ToLower(login)] {
	case "admin", "write":
		return "COLLABORATOR"
	}
	return "NONE"
}

func (c *call) renderIssue(i *issue) obj {
	self := c.repoAPI("/issues/%d", i.Number)
	v := obj{
		"id": i.id, "node_id": nodeID("I", i.id), "number": i.Number, "title": i.Title, "body": orNull(i.Body), "state": i.State,
		"state_reason": nil, "locked": i.Locked, "user": c.renderUser(i.Author), "author_association": c.association(i.Author),
		"labels": each(i.Labels, c.renderLabel), "assignee": nil, "assignees": []obj{}, "milestone": nil,
		"comments": len(c.repo.commentsOf(i.Number)), "created_at": stamp(i.Created), "updated_at": stamp(i.Updated), "closed_at": stampOr(i.Closed),
		"url": self, "repository_url": c.repoAPI(""), "comments_url": self + "/comments", "events_url": self + "/events",
		"labels_url": self + "/labels{/name}", "html_url": c.web("/%s/issues/%d", c.repo.full(), i.Number),
	}
	if i.pull != nil {
		html := c.web("/%s/pull/%d", c.repo.full(), i.Number)
		v["html_url"], v["draft"] = html, i.pull.Draft
		v["pull_request"] = obj{"url": c.repoAPI("/pulls/%d", i.Number), "html_url": html, "diff_url": html + ".diff",
			"patch_url": html + ".patch", "merged_at": stampOr(i.pull.Merged)}
	}
	return v
}

func (c *call) renderEvent(e IssueEvent) obj {
	v := obj{"id": e.ID, "node_id": nodeID("E", e.ID), "url": c.repoAPI("/issues/events/%d", e.ID), "actor": c.renderUser(e.Actor),
		"event": e.Event, "commit_id": nil, "commit_url": nil, "created_at": stamp(e.At), "performed_via_github_app": nil}
	if e.Label != "" {
		v["label"] = obj{"name": e.Label, "color": c.repo.label(e.Label).Color}
	}
	return v
}

func (c *call) renderComment(v *Comment) obj {
	kind := "issues"
	if i := c.repo.issue(v.Issue); i != nil && i.pull != nil {
		kind = "pull"
	}
	self := c.repoAPI("/issues/comments/%d", v.ID)
	return obj{"id": v.ID, "node_id": nodeID("IC", v.ID), "url": self, "body": v.Body, "user": c.renderUser(v.Author.Login),
		"html_url":  c.web("/%s/%s/%d#issuecomment-%d", c.repo.full(), kind, v.Issue, v.ID),
		"issue_url": c.repoAPI("/issues/%d", v.Issue), "created_at": stamp(v.Created), "updated_at": stamp(v.Updated),
		"author_association": c.association(v.Author.Login), "performed_via_github_app": nil,
		"reactions": obj{"url": self + "/reactions", "total_count": 0, "+1": 0, "-1": 0, "laugh": 0, "confused": 0, "heart": 0, "hooray": 0, "eyes": 0, "rocket": 0}}
}

func (c *call) renderSimpleStatus(s Status) obj {
	return obj{"id": s.ID, "node_id": nodeID("SC", s.ID), "state": s.State, "context": s.Context, "description": orNull(s.Description),
		"target_url": orNull(s.TargetURL), "avatar_url": "https://avatars.githubusercontent.com/u/1", "url": c.repoAPI("/statuses/%s", s.SHA),
		"created_at": stamp(s.Created), "updated_at": stamp(s.Created)}
}

func (c *call) renderStatus(s Status) obj {
	v := c.renderSimpleStatus(s)
	v["creator"] = c.renderUser(s.Creator)
	return v
}

func (c *call) renderCheckRun(v *CheckRun) obj {
	self := c.repoAPI("/check-runs/%d", v.ID)
	slug := strings.TrimSuffix(v.Creator, "[bot]")
	pulls := []*issue{}
	for _, i := range c.repo.issues {
		if i.pull != nil && i.State == "open" && i.pull.HeadSHA == v.HeadSHA {
			pulls = append(pulls, i)
		}
	}
	html := c.web("/%s/runs/%d", c.repo.full(), v.ID)
	details := v.DetailsURL
	if details == "" {
		details = html
	}
	return obj{"id": v.ID, "node_id": nodeID("CR", v.ID), "name": v.Name, "head_sha": v.HeadSHA, "status": v.Status, "conclusion": orNull(v.Conclusion),
		"url": self, "html_url": html, "details_url": details, "external_id": v.ExternalID,
		"started_at": stampOr(v.Started), "completed_at": stampOr(v.Completed), "check_suite": obj{"id": 1},
		"output": obj{"title": orNull(v.Title), "summary": orNull(v.Summary), "text": orNull(v.Text),
			"annotations_count": len(v.Annotations), "annotations_url": self + "/annotations"},
		"app": obj{"id": 1, "node_id": "A_1", "slug": slug, "name": slug, "owner": c.renderUser("github"), "description": nil,
			"external_url": "https://github.com", "html_url": c.web("/apps/%s", slug), "created_at": stamp(c.repo.made), "updated_at": stamp(c.repo.made),
			"permissions": obj{"checks": "write"}, "events": []string{}},
		"pull_requests": each(pulls, c.renderPullMinimal)}
}
