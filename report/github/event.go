package github

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// maxEvent bounds the event file: GitHub's payloads end at 25 MB.
const maxEvent = 25 << 20

// deletedRepo stands for a head repository that is gone. It is nobody's, so the
// change counts as a fork's.
const deletedRepo = "ghost/deleted"

var (
	// GitHub's own rules are stricter; this keeps an address an address.
	repositoryPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]*/[A-Za-z0-9._-]+$`)
	shaPattern        = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	zeroSHA           = regexp.MustCompile(`^0+$`)
)

// ReadEvent reads what started this workflow run from the runner's variables
// (GITHUB_EVENT_PATH, GITHUB_EVENT_NAME, GITHUB_REPOSITORY, GITHUB_RUN_ID,
// GITHUB_RUN_ATTEMPT, GITHUB_WORKFLOW, GITHUB_SHA, GITHUB_REF,
// GITHUB_SERVER_URL, GITHUB_API_URL) and from the event's file.
//
// The head of a pull request is its branch's last commit, never GITHUB_SHA,
// which is a merge that nobody wrote. A comment on a pull request tells no
// commit: Head is "" until Client.Resolve asks. An event without any field of
// its own here has GITHUB_SHA for Head.
func ReadEvent(getenv func(string) string) (*Event, error) {
	path := getenv("GITHUB_EVENT_PATH")
	if path == "" {
		return nil, errors.New("GITHUB_EVENT_PATH is not set: this is no job of GitHub Actions. Elsewhere use paritygate run")
	}
	ev, err := eventOfRunner(getenv)
	if err != nil {
		return nil, err
	}
	data, err := readEventFile(path)
	if err != nil {
		return nil, err
	}
	if err := ev.parse(data, getenv); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return ev, nil
}

// parse takes an event's content into ev.
func (ev *Event) parse(data []byte, getenv func(string) string) error {
	var p payload
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("is no event of GitHub: %w", err)
	}
	if err := ev.fill(&p, getenv); err != nil {
		return fmt.Errorf("event %s: %w", ev.Name, err)
	}
	return nil
}

func readEventFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("event of GitHub: %w", err)
	}
	defer f.Close()
	// A pipe or device would never end.
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: want the event's file, this is none", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxEvent+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(data) > maxEvent {
		return nil, fmt.Errorf("%s: larger than %d MB, no event is", path, maxEvent>>20)
	}
	return data, nil
}

// eventOfRunner is what the runner's variables alone tell.
func eventOfRunner(getenv func(string) string) (*Event, error) {
	ev := &Event{
		Name:      getenv("GITHUB_EVENT_NAME"),
		Workflow:  getenv("GITHUB_WORKFLOW"),
		ServerURL: "https://github.com",
		APIURL:    "https://api.github.com",
	}
	if ev.Name == "" {
		return nil, errors.New("GITHUB_EVENT_NAME is not set")
	}
	repo := getenv("GITHUB_REPOSITORY")
	if err := checkRepository(repo); err != nil {
		return nil, fmt.Errorf("GITHUB_REPOSITORY: %w", err)
	}
	ev.Owner, ev.Repo, _ = strings.Cut(repo, "/")
	ev.HeadRepo = repo
	for name, to := range map[string]*string{"GITHUB_SERVER_URL": &ev.ServerURL, "GITHUB_API_URL": &ev.APIURL} {
		if v := getenv(name); v != "" {
			*to = strings.TrimRight(v, "/")
		}
		if _, err := parseServer(*to); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	var err error
	if ev.RunID, err = positive(getenv("GITHUB_RUN_ID")); err != nil {
		return nil, fmt.Errorf("GITHUB_RUN_ID: %w", err)
	}
	ev.RunAttempt = 1 // servers before attempts were counted do not set it
	if v := getenv("GITHUB_RUN_ATTEMPT"); v != "" {
		n, err := positive(v)
		if err != nil {
			return nil, fmt.Errorf("GITHUB_RUN_ATTEMPT: %w", err)
		}
		ev.RunAttempt = int(n)
	}
	return ev, nil
}

// payload is the part of GitHub's events that is read.
type payload struct {
	Repository  *repository  `json:"repository"`
	PullRequest *pullRequest `json:"pull_request"`
	MergeGroup  *struct {
		HeadSHA string `json:"head_sha"`
		HeadRef string `json:"head_ref"`
		BaseSHA string `json:"base_sha"`
		BaseRef string `json:"base_ref"`
	} `json:"merge_group"`
	WorkflowRun *workflowRun `json:"workflow_run"`
	Issue       *struct {
		Number      int       `json:"number"`
		PullRequest *struct{} `json:"pull_request"`
		Labels      []label   `json:"labels"`
	} `json:"issue"`

	// Of a push; other events use the same keys for other things.
	Before  json.RawMessage `json:"before"`
	After   json.RawMessage `json:"after"`
	Ref     json.RawMessage `json:"ref"`
	Deleted json.RawMessage `json:"deleted"`

	// Of a comment or a label.
	Action  json.RawMessage `json:"action"`
	Comment json.RawMessage `json:"comment"`
	Label   json.RawMessage `json:"label"`
	Sender  json.RawMessage `json:"sender"`
}

type repository struct {
	FullName string `json:"full_name"`
}

type label struct {
	Name string `json:"name"`
}

type pullRequest struct {
	Number int     `json:"number"`
	Head   branch  `json:"head"`
	Base   branch  `json:"base"`
	Labels []label `json:"labels"`
}

type branch struct {
	Ref  string      `json:"ref"`
	SHA  string      `json:"sha"`
	Repo *repository `json:"repo"` // null once a fork is deleted
}

type workflowRun struct {
	ID             int64       `json:"id"`
	RunAttempt     int         `json:"run_attempt"`
	Event          string      `json:"event"`
	Conclusion     string      `json:"conclusion"` // null while it runs
	HeadSHA        string      `json:"head_sha"`
	HeadBranch     string      `json:"head_branch"` // null for a run of a deleted branch
	HeadRepository *repository `json:"head_repository"`
	PullRequests   []struct {
		Number int    `json:"number"`
		Head   branch `json:"head"`
	} `json:"pull_requests"`
}

// fill takes the event's own fields into ev and checks them.
func (ev *Event) fill(p *payload, getenv func(string) string) error {
	if p.Repository != nil && p.Repository.FullName != "" && !strings.EqualFold(p.Repository.FullName, ev.Owner+"/"+ev.Repo) {
		return fmt.Errorf("is of repository %q, and GITHUB_REPOSITORY says %s/%s", p.Repository.FullName, ev.Owner, ev.Repo)
	}
	var err error
	switch {
	case ev.Name == "merge_group":
		err = ev.fillMergeGroup(p)
	case ev.Name == "workflow_run":
		err = ev.fillWorkflowRun(p)
	case ev.Name == "push":
		err = ev.fillPush(p)
	case ev.Name == "issue_comment":
		err = ev.fillComment(p, getenv)
	case p.PullRequest != nil: // pull_request, pull_request_target, pull_request_review, …
		if err = ev.fillPullRequest(p.PullRequest); err == nil {
			err = ev.fillLabelled(p)
		}
	case strings.HasPrefix(ev.Name, "pull_request"):
		err = errors.New("pull_request is missing")
	default: // schedule, workflow_dispatch and all others
		ev.Head, ev.HeadRef = getenv("GITHUB_SHA"), branchOf(getenv("GITHUB_REF"))
	}
	if err != nil {
		return err
	}
	return ev.check()
}

func (ev *Event) fillPullRequest(p *pullRequest) error {
	if p.Number <= 0 {
		return fmt.Errorf("pull_request.number is %d: want a number above zero", p.Number)
	}
	ev.PullRequest = p.Number
	ev.Head, ev.HeadRef = p.Head.SHA, p.Head.Ref
	ev.Base, ev.BaseRef = p.Base.SHA, p.Base.Ref
	ev.HeadRepo = nameOfRepository(p.Head.Repo)
	for _, l := range p.Labels {
		ev.Labels = append(ev.Labels, l.Name)
	}
	return nil
}

// fillMergeGroup leaves PullRequest at 0: a group may hold several, and one
// status on the group's commit is what the queue waits for.
func (ev *Event) fillMergeGroup(p *payload) error {
	if p.MergeGroup == nil {
		return errors.New("merge_group is missing")
	}
	g := p.MergeGroup
	ev.Head, ev.HeadRef = g.HeadSHA, branchOf(g.HeadRef)
	ev.Base, ev.BaseRef = g.BaseSHA, branchOf(g.BaseRef)
	return nil
}

func (ev *Event) fillWorkflowRun(p *payload) error {
	r := p.WorkflowRun
	if r == nil {
		return errors.New("workflow_run is missing")
	}
	if r.ID <= 0 || r.RunAttempt < 0 {
		return fmt.Errorf("workflow_run.id is %d, its run_attempt %d: want numbers above zero", r.ID, r.RunAttempt)
	}
	if r.Event == "" {
		return errors.New("workflow_run.event is missing")
	}
	ev.SourceRunID, ev.SourceRunAttempt, ev.SourceEvent = r.ID, max(r.RunAttempt, 1), r.Event
	ev.Conclusion = r.Conclusion
	ev.Head, ev.HeadRef = r.HeadSHA, r.HeadBranch
	ev.HeadRepo = nameOfRepository(r.HeadRepository)
	for _, pull := range r.PullRequests {
		if pull.Number > 0 {
			ev.sourcePulls = append(ev.sourcePulls, pull.Number)
		}
	}
	return nil
}

func (ev *Event) fillPush(p *payload) error {
	var before, after, ref string
	var deleted bool
	for _, f := range []struct {
		name string
		raw  json.RawMessage
		to   any
	}{{"before", p.Before, &before}, {"after", p.After, &after}, {"ref", p.Ref, &ref}, {"deleted", p.Deleted, &deleted}} {
		if f.raw == nil {
			continue
		}
		if err := json.Unmarshal(f.raw, f.to); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if deleted || zeroSHA.MatchString(after) {
		return fmt.Errorf("%q was deleted: there is no commit to judge", ref)
	}
	ev.Head, ev.HeadRef, ev.BaseRef = after, branchOf(ref), branchOf(ref)
	if !zeroSHA.MatchString(before) { // zeros: the branch is new
		ev.Base = before
	}
	return nil
}

func (ev *Event) fillComment(p *payload, getenv func(string) string) error {
	if p.Issue == nil || p.Issue.Number <= 0 {
		return errors.New("issue.number is missing")
	}
	if p.Issue.PullRequest == nil {
		ev.Head, ev.HeadRef = getenv("GITHUB_SHA"), branchOf(getenv("GITHUB_REF"))
		return nil
	}
	// GITHUB_SHA is the default branch's: no commit of this pull request.
	ev.PullRequest, ev.HeadRepo = p.Issue.Number, ""
	for _, l := range p.Issue.Labels {
		ev.Labels = append(ev.Labels, l.Name)
	}
	return ev.fillCommand(p)
}

// check refuses what no event of GitHub holds.
func (ev *Event) check() error {
	unknownHead := ev.Name == "issue_comment" && ev.PullRequest != 0
	for _, s := range []struct {
		name     string
		sha      *string
		optional bool
	}{{"head", &ev.Head, unknownHead}, {"base", &ev.Base, ev.Name != "merge_group" && !strings.HasPrefix(ev.Name, "pull_request")}} {
		*s.sha = strings.ToLower(*s.sha)
		if *s.sha == "" && s.optional {
			continue
		}
		if !shaPattern.MatchString(*s.sha) || zeroSHA.MatchString(*s.sha) {
			return fmt.Errorf("%s commit is %q: want 40 or 64 hexadecimal digits", s.name, *s.sha)
		}
	}
	for _, ref := range []string{ev.HeadRef, ev.BaseRef} {
		if strings.ContainsFunc(ref, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }) {
			return fmt.Errorf("branch %q holds control characters", ref)
		}
	}
	if ev.HeadRepo != "" {
		if err := checkRepository(ev.HeadRepo); err != nil {
			return fmt.Errorf("head repository: %w", err)
		}
	}
	return nil
}

func nameOfRepository(r *repository) string {
	if r == nil || r.FullName == "" {
		return deletedRepo
	}
	return r.FullName
}

// branchOf is the branch of a full ref, "" for a tag or another ref.
func branchOf(ref string) string {
	if b, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
		return b
	}
	if strings.HasPrefix(ref, "refs/") {
		return ""
	}
	return ref
}

func checkRepository(full string) error {
	_, name, _ := strings.Cut(full, "/")
	if !repositoryPattern.MatchString(full) || name == "." || name == ".." {
		return fmt.Errorf("%q: want owner/name", full)
	}
	return nil
}

func positive(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%q: want a whole number above zero", s)
	}
	return n, nil
}
