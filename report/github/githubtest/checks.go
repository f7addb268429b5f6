package githubtest

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A Status of a commit.
type Status struct {
	ID          int64
	SHA         string
	State       string // "error", "failure", "pending" or "success"
	Context     string
	Description string
	TargetURL   string
	Creator     string // login
	Created     time.Time
}

// A CheckRun on a commit.
type CheckRun struct {
	ID                   int64
	Name, HeadSHA        string
	Status               string // "queued", "in_progress" or "completed"
	Conclusion           string
	DetailsURL           string
	ExternalID           string
	Title, Summary, Text string
	Annotations          []Annotation // of all requests together
	Creator              string       // login of the app's bot
	Started, Completed   time.Time
}

// An Annotation of a check run.
type Annotation struct {
	Path        string `json:"path"`
	StartLine   int    `json:"start_line"`
	EndLine     int    `json:"end_line"`
	StartColumn int    `json:"start_column"`
	EndColumn   int    `json:"end_column"`
	Level       string `json:"annotation_level"`
	Message     string `json:"message"`
	Title       string `json:"title"`
	RawDetails  string `json:"raw_details"`
}

// Statuses lists those of a commit, oldest first.
func (r *Repo) Statuses(sha string) []Status {
	defer r.lock()()
	return r.statusesOf(sha)
}

func (r *Repo) statusesOf(sha string) []Status {
	return slices.DeleteFunc(slices.Clone(r.statuses), func(s Status) bool { return s.SHA != sha })
}

// CheckRuns lists those on a commit, oldest first.
func (r *Repo) CheckRuns(sha string) []CheckRun {
	defer r.lock()()
	var list []CheckRun
	for _, c := range r.checks {
		if c.HeadSHA == sha {
			v := *c
			v.Annotations = slices.Clone(c.Annotations)
			list = append(list, v)
		}
	}
	return list
}

func (c *call) createStatus() answer {
	var q struct {
		State       string `json:"state"`
		Context     string `json:"context"`
		Description string `json:"description"`
		TargetURL   string `json:"target_url"`
	}
	if err := c.decode(&q); err != nil {
		return refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	sha := c.path["sha"]
	q.Context = cmp.Or(q.Context, "default")
	switch {
	case !c.repo.objects.is(sha, "commit"):
		return refuse(http.StatusUnprocessableEntity, "No commit found for SHA: "+sha)
	case utf8.RuneCountInString(q.Description) > 140:
		return invalid("Status", "description", "custom", "description is too long (maximum is 140 characters)")
	case q.TargetURL != "" && !strings.HasPrefix(q.TargetURL, "http://") && !strings.HasPrefix(q.TargetURL, "https://"):
		return invalid("Status", "target_url", "custom", "target_url must use http(s) scheme")
	}
	same := slices.DeleteFunc(c.repo.statusesOf(sha), func(s Status) bool { return s.Context != q.Context })
	if len(same) >= 1000 {
		return invalid("Status", "sha", "custom", "This SHA and context has reached the maximum number of statuses.")
	}
	s := Status{ID: c.s.id(), SHA: sha, State: q.State, Context: q.Context, Description: q.Description,
		TargetURL: q.TargetURL, Creator: c.actor().Login, Created: c.s.now()}
	c.repo.statuses = append(c.repo.statuses, s)
	return created(c.renderStatus(s))
}

func (c *call) listStatuses() answer {
	sha := c.repo.resolve(c.path["ref"])
	if sha == "" {
		return notFound()
	}
	all := c.repo.statusesOf(sha)
	slices.Reverse(all)
	return list(c, all, c.renderStatus)
}

func (c *call) combinedStatus() answer {
	sha := c.repo.resolve(c.path["ref"])
	if sha == "" {
		return notFound()
	}
	var latest []Status
	all := c.repo.statusesOf(sha)
	slices.Reverse(all)
	for _, s := range all {
		if !slices.ContainsFunc(latest, func(l Status) bool { return l.Context == s.Context }) {
			latest = append(latest, s)
		}
	}
	is := func(states ...string) bool {
		return slices.ContainsFunc(latest, func(s Status) bool { return slices.Contains(states, s.State) })
	}
	state := "success"
	if is("error", "failure") {
		state = "failure"
	} else if len(latest) == 0 || is("pending") {
		state = "pending"
	}
	part, header := page(c, latest)
	return answer{status: http.StatusOK, header: header, body: obj{
		"state": state, "sha": sha, "total_count": len(latest), "statuses": each(part, c.renderSimpleStatus),
		"repository": c.renderMinimalRepo(c.repo),
		"commit_url": c.repoAPI("/commits/%s", sha), "url": c.repoAPI("/commits/%s/status", sha),
	}}
}

type checkRequest struct {
	Name        *string    `json:"name"`
	HeadSHA     string     `json:"head_sha"`
	Status      *string    `json:"status"`
	Conclusion  *string    `json:"conclusion"`
	DetailsURL  *string    `json:"details_url"`
	ExternalID  *string    `json:"external_id"`
	StartedAt   *time.Time `json:"started_at"`
	CompletedAt *time.Time `json:"completed_at"`
	Output      *struct {
		Title       *string      `json:"title"`
		Summary     string       `json:"summary"`
		Text        *string      `json:"text"`
		Annotations []Annotation `json:"annotations"`
	} `json:"output"`
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// apply changes a check run as a request says. GitHub adds annotations to those
// there are. The description bounds the texts and the number of annotations.
func (q checkRequest) apply(v *CheckRun, now time.Time) (answer, bool) {
	next := *v
	set(&next.Name, q.Name)
	set(&next.Status, q.Status)
	set(&next.DetailsURL, q.DetailsURL)
	set(&next.ExternalID, q.ExternalID)
	set(&next.Started, q.StartedAt)
	set(&next.Completed, q.CompletedAt)
	if q.Conclusion != nil {
		next.Conclusion, next.Status = *q.Conclusion, "completed"
	}
	if next.Status == "completed" {
		if next.Conclusion == "" {
			return refuse(http.StatusUnprocessableEntity, "Invalid request.\n\nNo subschema in \"anyOf\" matched.\n\"conclusion\" wasn't supplied."), false
		}
		if next.Completed.IsZero() {
			next.Completed = now
		}
	} else {
		next.Conclusion, next.Completed = "", time.Time{}
	}
	if o := q.Output; o != nil {
		set(&next.Title, o.Title)
		next.Summary = o.Summary
		set(&next.Text, o.Text)
		for _, a := range o.Annotations {
			if a.StartLine < 1 || a.EndLine < a.StartLine || (a.StartColumn != 0 || a.EndColumn != 0) && a.StartLine != a.EndLine {
				return invalid("CheckRun", "annotations", "invalid", "Invalid line range of an annotation"), false
			}
		}
		next.Annotations = append(slices.Clone(v.Annotations), o.Annotations...)
	}
	*v = next
	return answer{}, true
}

func (c *call) createCheckRun() answer {
	var q checkRequest
	if err := c.decode(&q); err != nil {
		return refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	if !c.repo.objects.is(q.HeadSHA, "commit") {
		return refuse(http.StatusUnprocessableEntity, "No commit found for SHA: "+q.HeadSHA)
	}
	v := &CheckRun{HeadSHA: q.HeadSHA, Status: "queued", Started: c.s.now(), Creator: c.actor().Login}
	if a, good := q.apply(v, c.s.now()); !good {
		return a
	}
	v.ID = c.s.id()
	c.repo.checks = append(c.repo.checks, v)
	return created(c.renderCheckRun(v))
}

func (r *Repo) checkRun(id int64) *CheckRun {
	for _, v := range r.checks {
		if v.ID == id {
			return v
		}
	}
	return nil
}

func (c *call) getCheckRun() answer {
	v := c.repo.checkRun(c.number("check_run_id"))
	if v == nil {
		return notFound()
	}
	return ok(c.renderCheckRun(v))
}

func (c *call) updateCheckRun() answer {
	v := c.repo.checkRun(c.number("check_run_id"))
	if v == nil {
		return notFound()
	}
	var q checkRequest
	if err := c.decode(&q); err != nil {
		return refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	if v.Creator != c.actor().Login {
		return refuse(http.StatusForbidden, "Invalid app_id `1` - check run can only be modified by the GitHub App that created it.")
	}
	if a, good := q.apply(v, c.s.now()); !good {
		return a
	}
	return ok(c.renderCheckRun(v))
}

func (c *call) listCheckRuns() answer {
	sha := c.repo.resolve(c.path["ref"])
	if sha == "" {
		return refuse(http.StatusUnprocessableEntity, "No commit found for SHA: "+c.path["ref"])
	}
	var found []*CheckRun
	for _, v := range slices.Backward(c.repo.checks) {
		older := func(o *CheckRun) bool { return o.Name == v.Name && o.Creator == v.Creator }
		if v.HeadSHA == sha && (c.query.Get("check_name") == "" || c.query.Get("check_name") == v.Name) &&
			(c.query.Get("status") == "" || c.query.Get("status") == v.Status) &&
			(c.query.Get("filter") == "all" || !slices.ContainsFunc(found, older)) {
			found = append(found, v)
		}
	}
	part, header := page(c, found)
	return answer{status: http.StatusOK, header: header, body: obj{"total_count": len(found), "check_runs": each(part, c.renderCheckRun)}}
}
