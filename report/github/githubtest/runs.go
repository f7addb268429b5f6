package githubtest

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Run of a workflow.
type Run struct {
	ID           int64 // given by the server when 0
	Name         string
	Path         string // of the workflow; default ".github/workflows/ci.yml"
	Event        string // default "pull_request"
	Status       string // default "completed"
	Conclusion   string // default "success" of a completed one
	HeadRepo     string // "owner/name"; default: the repository itself
	HeadBranch   string
	HeadSHA      string
	Attempt      int   // default 1
	PullRequests []int // GitHub leaves them out for a fork
	Artifacts    []Artifact
	Created      time.Time
}

// An Artifact of a run.
type Artifact struct {
	ID      int64
	Name    string
	Size    int64 // bytes
	Expired bool
}

// AddRun adds a workflow's run.
func (r *Repo) AddRun(v Run) Run {
	defer r.lock()()
	if v.ID == 0 {
		v.ID = r.s.id()
	}
	v.Name, v.Path, v.Event = cmp.Or(v.Name, "CI"), cmp.Or(v.Path, ".github/workflows/ci.yml"), cmp.Or(v.Event, "pull_request")
	v.Status, v.HeadRepo, v.Attempt = cmp.Or(v.Status, "completed"), cmp.Or(v.HeadRepo, r.full()), cmp.Or(v.Attempt, 1)
	if v.Status == "completed" {
		v.Conclusion = cmp.Or(v.Conclusion, "success")
	}
	if v.Created.IsZero() {
		v.Created = r.s.now()
	}
	for i := range v.Artifacts {
		v.Artifacts[i].ID = cmp.Or(v.Artifacts[i].ID, r.s.id())
	}
	r.runs = append(r.runs, &v)
	return v
}

func (c *call) runOf() *Run {
	i := slices.IndexFunc(c.repo.runs, func(v *Run) bool { return v.ID == c.number("run_id") })
	if i < 0 {
		return nil
	}
	return c.repo.runs[i]
}

func (c *call) getRun() answer {
	v := c.runOf()
	if v == nil {
		return notFound()
	}
	head := c.s.repos[strings.ToLower(v.HeadRepo)]
	if head == nil {
		head = c.repo
	}
	var pulls []*issue
	for _, n := range v.PullRequests {
		if i := c.repo.issue(n); i != nil && i.pull != nil {
			pulls = append(pulls, i)
		}
	}
	at, _ := c.repo.objects.commit(v.HeadSHA)
	self := c.repoAPI("/actions/runs/%d", v.ID)
	return ok(obj{
		"id": v.ID, "node_id": nodeID("WFR", v.ID), "name": v.Name, "path": v.Path, "display_title": v.Name,
		"run_number": 1, "run_attempt": v.Attempt, "event": v.Event, "status": v.Status, "conclusion": orNull(v.Conclusion),
		"head_branch": orNull(v.HeadBranch), "head_sha": v.HeadSHA, "workflow_id": 1, "workflow_url": c.repoAPI("/actions/workflows/1"),
		"created_at": stamp(v.Created), "updated_at": stamp(v.Created), "run_started_at": stamp(v.Created),
		"url": self, "html_url": c.web("/%s/actions/runs/%d", c.repo.full(), v.ID),
		"jobs_url": self + "/jobs", "logs_url": self + "/logs", "check_suite_url": c.repoAPI("/check-suites/1"),
		"cancel_url": self + "/cancel", "rerun_url": self + "/rerun", "artifacts_url": self + "/artifacts",
		"repository": c.renderMinimalRepo(c.repo), "head_repository": c.renderMinimalRepo(head),
		"head_commit": obj{"id": v.HeadSHA, "tree_id": at.tree, "message": at.message, "timestamp": stamp(at.author.when),
			"author": obj{"name": at.author.name, "email": at.author.email}, "committer": obj{"name": at.committer.name, "email": at.committer.email}},
		"pull_requests": each(pulls, c.renderPullMinimal),
	})
}

func (c *call) listArtifacts() answer {
	v := c.runOf()
	if v == nil {
		return notFound()
	}
	var found []Artifact
	for _, a := range v.Artifacts {
		if name := c.query.Get("name"); name == "" || name == a.Name {
			found = append(found, a)
		}
	}
	part, header := page(c, found)
	return answer{status: http.StatusOK, header: header, body: obj{"total_count": len(found), "artifacts": each(part, func(a Artifact) obj {
		self := c.repoAPI("/actions/artifacts/%d", a.ID)
		return obj{"id": a.ID, "node_id": nodeID("A", a.ID), "name": a.Name, "size_in_bytes": a.Size, "url": self,
			"archive_download_url": self + "/zip", "expired": a.Expired, "created_at": stamp(v.Created),
			"updated_at": stamp(v.Created), "expires_at": stamp(v.Created.AddDate(0, 0, 90))}
	})}}
}
