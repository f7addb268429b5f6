package githubtest

import "strings"

var unsigned = obj{"verified": false, "reason": "unsigned", "signature": nil, "payload": nil, "verified_at": nil}

func (s signature) render() obj {
	return obj{"name": s.name, "email": s.email, "date": stamp(s.when)}
}

func (c *call) renderRef(ref string) obj {
	sha := c.repo.refs[ref]
	return obj{"ref": ref, "node_id": nodeID("REF", ref), "url": c.repoAPI("/git/%s", ref),
		"object": obj{"type": "commit", "sha": sha, "url": c.repoAPI("/git/commits/%s", sha)}}
}

// mostEntries is how many entries a tree is answered with.
const mostEntries = 100_000

func (c *call) renderTree(sha string, recursive bool) obj {
	entries := []obj{}
	add := func(path string, e treeEntry) {
		v := obj{"path": path, "mode": e.mode, "type": e.kind(), "sha": e.sha}
		switch e.kind() {
		case "blob":
			v["size"] = len(c.repo.objects[e.sha].data)
			v["url"] = c.repoAPI("/git/blobs/%s", e.sha)
		case "tree":
			v["url"] = c.repoAPI("/git/trees/%s", e.sha)
		}
		entries = append(entries, v)
	}
	if recursive {
		c.repo.objects.walk(sha, "", add)
	} else {
		for _, e := range c.repo.objects.tree(sha) {
			add(e.name, e)
		}
	}
	cut := min(len(entries), mostEntries)
	return obj{"sha": sha, "url": c.repoAPI("/git/trees/%s", sha), "tree": entries[:cut], "truncated": cut < len(entries)}
}

func (c *call) renderGitCommit(sha string) obj {
	v, _ := c.repo.objects.commit(sha)
	return obj{"sha": sha, "node_id": nodeID("C", sha), "url": c.repoAPI("/git/commits/%s", sha), "html_url": c.web("/%s/commit/%s", c.repo.full(), sha),
		"author": v.author.render(), "committer": v.committer.render(), "message": v.message, "verification": unsigned,
		"tree":    obj{"sha": v.tree, "url": c.repoAPI("/git/trees/%s", v.tree)},
		"parents": each(v.parents, func(p string) obj { return c.renderParent("/git/commits/", p) })}
}

func (c *call) renderParent(path, sha string) obj {
	return obj{"sha": sha, "url": c.repoAPI("%s%s", path, sha), "html_url": c.web("/%s/commit/%s", c.repo.full(), sha)}
}

func (c *call) renderCommit(v commit) obj {
	return obj{"sha": v.sha, "node_id": nodeID("C", v.sha), "url": c.repoAPI("/commits/%s", v.sha), "html_url": c.web("/%s/commit/%s", c.repo.full(), v.sha),
		"comments_url": c.repoAPI("/commits/%s/comments", v.sha), "author": c.account(v.author), "committer": c.account(v.committer),
		"commit": obj{"author": v.author.render(), "committer": v.committer.render(), "message": v.message, "comment_count": 0, "verification": unsigned,
			"tree": obj{"sha": v.tree, "url": c.repoAPI("/git/trees/%s", v.tree)}, "url": c.repoAPI("/git/commits/%s", v.sha)},
		"parents": each(v.parents, func(p string) obj { return c.renderParent("/commits/", p) })}
}

// account is the user that GitHub knows a signature by, or null.
func (c *call) account(s signature) any {
	login, ours := strings.CutSuffix(s.email, "@users.noreply.github.com")
	if _, known := c.s.users[strings.ToLower(login)]; ours && known {
		return c.renderUser(login)
	}
	return nil
}

func (c *call) renderFile(f File, sha string) obj {
	v := obj{"sha": f.SHA, "filename": f.Path, "status": f.Status, "additions": f.Additions, "deletions": f.Deletions,
		"changes": f.Additions + f.Deletions, "blob_url": c.web("/%s/blob/%s/%s", c.repo.full(), sha, f.Path),
		"raw_url": c.web("/%s/raw/%s/%s", c.repo.full(), sha, f.Path), "contents_url": c.repoAPI("/contents/%s?ref=%s", f.Path, sha)}
	if f.Patch != "" {
		v["patch"] = f.Patch
	}
	return v
}

// renderSide is a pull request's head or base.
func (c *call) renderSide(repo, ref, sha string) obj {
	owner, _, _ := strings.Cut(repo, "/")
	v := obj{"label": owner + ":" + ref, "ref": ref, "sha": sha, "user": c.renderUser(owner), "repo": nil}
	if r := c.s.repos[strings.ToLower(repo)]; r != nil {
		v["repo"] = c.renderRepo(r)
	}
	return v
}

func (c *call) renderPullMinimal(i *issue) obj {
	side := func(repo, ref, sha string) obj {
		v := obj{"id": 0, "name": "", "url": c.api("/repos/%s", repo)}
		if r := c.s.repos[strings.ToLower(repo)]; r != nil {
			v["id"], v["name"] = r.id, r.name
		}
		return obj{"ref": ref, "sha": sha, "repo": v}
	}
	p := i.pull
	return obj{"id": i.id, "number": i.Number, "url": c.repoAPI("/pulls/%d", i.Number),
		"head": side(p.HeadRepo, p.HeadRef, p.HeadSHA), "base": side(c.repo.full(), p.BaseRef, p.BaseSHA)}
}

// renderPull is a pull request, whole or as lists show it.
func (c *call) renderPull(i *issue, whole bool) obj {
	p := i.pull
	self, html := c.repoAPI("/pulls/%d", i.Number), c.web("/%s/pull/%d", c.repo.full(), i.Number)
	aside := c.repoAPI("/issues/%d", i.Number)
	statuses := c.repoAPI("/statuses/%s", p.HeadSHA)
	v := obj{
		"id": i.id, "node_id": nodeID("PR", i.id), "number": i.Number, "title": i.Title, "body": orNull(i.Body), "state": i.State,
		"locked": i.Locked, "draft": p.Draft, "user": c.renderUser(i.Author), "author_association": c.association(i.Author),
		"labels": each(i.Labels, c.renderLabel), "assignee": nil, "assignees": []obj{}, "requested_reviewers": []obj{}, "requested_teams": []obj{},
		"milestone": nil, "auto_merge": nil, "merge_commit_sha": orNull(p.MergeSHA), "merged_at": stampOr(p.Merged), "closed_at": stampOr(i.Closed),
		"created_at": stamp(i.Created), "updated_at": stamp(i.Updated),
		"head": c.renderSide(p.HeadRepo, p.HeadRef, p.HeadSHA), "base": c.renderSide(c.repo.full(), p.BaseRef, p.BaseSHA),
		"url": self, "html_url": html, "diff_url": html + ".diff", "patch_url": html + ".patch", "issue_url": aside,
		"commits_url": self + "/commits", "review_comments_url": self + "/comments", "review_comment_url": c.repoAPI("/pulls/comments{/number}"),
		"comments_url": aside + "/comments", "statuses_url": statuses,
		"_links": obj{"self": obj{"href": self}, "html": obj{"href": html}, "issue": obj{"href": aside}, "comments": obj{"href": aside + "/comments"},
			"review_comments": obj{"href": self + "/comments"}, "review_comment": obj{"href": c.repoAPI("/pulls/comments{/number}")},
			"commits": obj{"href": self + "/commits"}, "statuses": obj{"href": statuses}},
	}
	if !whole {
		return v
	}
	additions, deletions := 0, 0
	files := c.repo.filesOf(p)
	for _, f := range files {
		additions += f.Additions
		deletions += f.Deletions
	}
	for k, x := range (obj{
		"additions": additions, "deletions": deletions, "changed_files": len(files), "commits": len(c.repo.without(p.HeadSHA, p.BaseSHA)),
		"comments": len(c.repo.commentsOf(i.Number)), "review_comments": 0, "mergeable": i.State == "open", "mergeable_state": "clean", "rebaseable": i.State == "open",
		"merged": !p.Merged.IsZero(), "merged_by": nil, "maintainer_can_modify": false,
	}) {
		v[k] = x
	}
	return v
}
