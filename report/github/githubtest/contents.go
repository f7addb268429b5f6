package githubtest

import (
	"cmp"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// largest is how big a file may be that comes inside JSON.
const largest = 1 << 20

func (c *call) getContents() answer {
	ref := c.query.Get("ref")
	at, found := c.repo.objects.commit(c.repo.resolve(ref))
	if !found {
		if ref == "" {
			return refuse(http.StatusNotFound, "This repository is empty.")
		}
		return refuse(http.StatusNotFound, "No commit found for the ref "+ref)
	}
	name := strings.Trim(c.path["path"], "/")
	e, found := c.repo.objects.find(at.tree, name)
	if !found {
		return notFound()
	}
	ref = cmp.Or(ref, c.repo.defaultBranch)
	if e.kind() == "tree" {
		items := []obj{}
		for _, e := range c.repo.objects.tree(e.sha) {
			items = append(items, c.renderContent(path.Join(name, e.name), e, ref))
		}
		return ok(items)
	}
	if c.wantsRaw() && e.kind() == "blob" {
		return rawFile(c.repo.objects[e.sha].data)
	}
	v := c.renderContent(name, e, ref)
	switch data := c.repo.objects[e.sha].data; e.mode {
	case modeLink:
		v["target"] = string(data)
	case modeGitlink:
		v["submodule_git_url"] = nil
	default:
		v["content"], v["encoding"] = encodeBase64(data), "base64"
		if len(data) > largest {
			v["content"], v["encoding"] = "", "none"
		}
	}
	return ok(v)
}

// wantsRaw says whether the client asks for the file alone, without JSON.
func (c *call) wantsRaw() bool { return strings.Contains(c.r.Header.Get("Accept"), "raw") }

func rawFile(data []byte) answer {
	return answer{status: http.StatusOK, raw: append([]byte{}, data...),
		header: http.Header{"Content-Type": {"application/vnd.github.raw+json; charset=utf-8"}}}
}

func (c *call) renderContent(name string, e treeEntry, ref string) obj {
	kinds := map[string]string{"blob": "file", "tree": "dir", "commit": "submodule"}
	kind := kinds[e.kind()]
	if e.mode == modeLink {
		kind = "symlink"
	}
	self := c.repoAPI("/contents/%s?ref=%s", name, ref)
	git := c.repoAPI("/git/%ss/%s", e.kind(), e.sha)
	html := c.web("/%s/blob/%s/%s", c.repo.full(), ref, name)
	var download any
	if kind == "file" || kind == "symlink" {
		download = "https://raw.githubusercontent.com/" + c.repo.full() + "/" + ref + "/" + name
	}
	return obj{"name": path.Base(name), "path": name, "sha": e.sha, "size": len(c.repo.blob(e)), "type": kind,
		"url": self, "git_url": git, "html_url": html, "download_url": download,
		"_links": obj{"self": self, "git": git, "html": html}}
}

func (r *Repo) blob(e treeEntry) []byte {
	if e.kind() != "blob" {
		return nil
	}
	return r.objects[e.sha].data
}

func (c *call) listCommits() answer {
	if a, is := c.empty(); is {
		return a
	}
	sha := c.repo.resolve(c.query.Get("sha"))
	if sha == "" {
		return notFound()
	}
	since, _ := time.Parse(time.RFC3339, c.query.Get("since"))
	until, noUntil := time.Parse(time.RFC3339, c.query.Get("until"))
	var found []commit
	for _, v := range c.repo.objects.history(sha) {
		when := v.committer.when
		if when.Before(since) || noUntil == nil && when.After(until) || c.query.Get("path") != "" && !c.repo.touches(v, c.query.Get("path")) {
			continue
		}
		found = append(found, v)
	}
	return list(c, found, c.renderCommit)
}

// touches says whether a commit changed a file, or one below a folder.
func (r *Repo) touches(v commit, name string) bool {
	now, _ := r.objects.find(v.tree, name)
	if len(v.parents) == 0 {
		return now.sha != ""
	}
	for _, p := range v.parents {
		parent, _ := r.objects.commit(p)
		if before, _ := r.objects.find(parent.tree, name); before.sha == now.sha {
			return false
		}
	}
	return true
}

func (c *call) getCommit() answer {
	if a, is := c.empty(); is {
		return a
	}
	v, found := c.repo.objects.commit(c.repo.resolve(c.path["ref"]))
	if !found {
		return unprocessable("No commit found for SHA: " + c.path["ref"])
	}
	var parent commit
	if len(v.parents) > 0 {
		parent, _ = c.repo.objects.commit(v.parents[0])
	}
	out := c.renderCommit(v)
	files := c.repo.objects.diff(parent.tree, v.tree)
	part, header := page(c, files)
	stats := map[string]int{}
	for _, f := range files {
		stats["additions"] += f.Additions
		stats["deletions"] += f.Deletions
		stats["total"] += f.Additions + f.Deletions
	}
	out["stats"], out["files"] = stats, each(part, func(f File) obj { return c.renderFile(f, v.sha) })
	return answer{status: http.StatusOK, body: out, header: header}
}

func (c *call) compare() answer {
	basehead := c.path["basehead"]
	from, to, dots := strings.Cut(basehead, "...")
	base, found := c.repo.objects.commit(c.repo.resolveAcross(from))
	head, found2 := c.repo.objects.commit(c.repo.resolveAcross(to))
	if !dots || !found || !found2 {
		return notFound()
	}
	fork, found := c.repo.objects.commit(c.repo.objects.mergeBase(head.sha, base.sha))
	if !found {
		return refuse(http.StatusNotFound, fmt.Sprintf("No common ancestor between %s and %s.", from, to))
	}
	behind := len(c.repo.without(base.sha, head.sha))
	ahead := c.repo.without(head.sha, base.sha)
	slices.Reverse(ahead) // oldest first, here alone
	state := "diverged"
	switch {
	case base.sha == head.sha:
		state = "identical"
	case behind == 0:
		state = "ahead"
	case len(ahead) == 0:
		state = "behind"
	}
	part, header := page(c, ahead)
	url := c.web("/%s/compare/%s", c.repo.full(), basehead)
	return answer{status: http.StatusOK, header: header, body: obj{
		"url": c.repoAPI("/compare/%s", basehead), "html_url": url, "permalink_url": url,
		"diff_url": url + ".diff", "patch_url": url + ".patch",
		"base_commit": c.renderCommit(base), "merge_base_commit": c.renderCommit(fork),
		"status": state, "ahead_by": len(ahead), "behind_by": behind, "total_commits": len(ahead),
		"commits": each(part, c.renderCommit),
		"files":   each(c.repo.objects.diff(fork.tree, head.tree), func(f File) obj { return c.renderFile(f, head.sha) }),
	}}
}

// resolveAcross also knows a fork's branch, as "owner:branch".
func (r *Repo) resolveAcross(name string) string {
	owner, branch, across := strings.Cut(name, ":")
	if !across {
		return r.resolve(name)
	}
	for _, other := range r.s.repos {
		if strings.EqualFold(other.owner, owner) && (other == r || other.parent == r || r.parent == other) {
			return other.resolve(branch)
		}
	}
	return ""
}

// without lists a commit's history less another's, newest first.
func (r *Repo) without(sha, other string) []commit {
	known := map[string]bool{}
	for _, v := range r.objects.history(other) {
		known[v.sha] = true
	}
	return slices.DeleteFunc(r.objects.history(sha), func(v commit) bool { return known[v.sha] })
}
