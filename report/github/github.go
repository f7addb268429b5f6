// Package github speaks to GitHub: one comment on the pull request, the step
// summary, annotations, a commit status and a check run. It is the only client
// of GitHub's API in the program.
//
// Nothing here decides. A report that cannot be published is said, and the
// outcome and the exit code stay what the gate found.
package github

import "time"

// Event is what GitHub says of the workflow run that this process is part of,
// and what it may be believed in: it comes from GITHUB_EVENT_PATH and the
// runner's variables, never from a file of the workspace.
type Event struct {
	Name        string // "pull_request", "merge_group", "schedule", "workflow_dispatch", "workflow_run", "push", …
	Owner, Repo string
	PullRequest int    // 0 without one; for workflow_run, see Client.Resolve
	Head        string // commit that is judged: the pull request's head, never its merge commit
	Base        string // commit it is held against: the pull request's or merge group's base, a push's before; "" if none
	BaseRef     string // branch, without refs/heads/
	HeadRepo    string // "owner/name" of the branch; another than Owner/Repo for a fork
	HeadRef     string // branch, without refs/heads/
	RunID       int64
	RunAttempt  int
	Workflow    string
	Conclusion  string // workflow_run: how the run ended that is reported on
	SourceRunID int64  // workflow_run: the run that is reported on
	// SourceEvent is what started that run, SourceRunAttempt its attempt: "" and 0 for other events.
	SourceEvent      string
	SourceRunAttempt int

	ServerURL string // https://github.com, or an Enterprise server's
	APIURL    string // https://api.github.com, or an Enterprise server's
	Labels    []string
	// Approval is what this very comment or label asks for, nil for nothing.
	Approval *Approval

	// sourcePulls are the pull requests of this repository that a workflow_run
	// names itself; none for a fork's.
	sourcePulls []int
}

// Fork says whether the change comes from another repository.
func (e *Event) Fork() bool { return e.HeadRepo != "" && e.HeadRepo != e.Owner+"/"+e.Repo }

// CommentPolicy says when the pull request gets a comment.
type CommentPolicy string

const (
	CommentAlways   CommentPolicy = "always"
	CommentOnChange CommentPolicy = "on-change" // first when it does not pass, then when outcome or worst checkpoint change
	CommentNever    CommentPolicy = "never"
)

// Settings are the user's choices.
type Settings struct {
	// Name tells several gates of one pull request apart: it is part of the
	// comment's marker and of the status's context. Default "paritygate".
	Name      string
	Comment   CommentPolicy
	NewOnFlip bool // write a new comment when the outcome flips, instead of updating the old one
	Status    bool // commit status on the head commit
	CheckRun  bool // check run on the head commit, with annotations
	Token     string
	SpecPath  string // of the repository, with slashes; "" for the default spec
	// Author is who wrote the sticky comment; "" asks GitHub whose the token is.
	Author string
	// Deadline bounds everything that Publish does. Default 5 minutes.
	Deadline time.Duration
	// Sleep waits between tries. Default: a timer that the context interrupts;
	// tests replace it.
	Sleep func(time.Duration)
	// Version is the program's own, for the User-Agent. Default "devel".
	Version string
}

// Published says what Publish did.
type Published struct {
	CommentURL string
	// Did and Failed are sentences for people: "updated the comment …", "could not …: why".
	Did, Failed []string
}
