package action

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/paritygate/paritygate/baseline"
	"github.com/paritygate/paritygate/baseline/ledger"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
	"github.com/paritygate/paritygate/report/github"
)

// approvalEvents are the events of somebody who may wish an approval. No engine
// runs, so that it is no matter whose workflow has which rights.
var approvalEvents = []string{"issue_comment", "pull_request", "pull_request_target"}

// planApproval decides what can be decided of mode approve before GitHub is
// asked about the person: what is wished, and into which store it would go.
// What is wrong with that is told to the person by the report step.
func (s *Step) planApproval(ctx context.Context, p *Plan, ev *github.Event, dir string) error {
	if !slices.Contains(approvalEvents, ev.Name) {
		return fmt.Errorf("input mode: approve reads a comment or a label of a pull request: it runs on issue_comment and on pull_request with types: [labeled], and this is event %s", ev.Name)
	}
	p.Source = gate.Source{Repository: ev.Owner + "/" + ev.Repo, Event: ev.Name, PullRequest: ev.PullRequest, RunID: ev.RunID, RunAttempt: ev.RunAttempt}
	if p.Approval = ev.Approval; p.Approval == nil {
		p.Notes = append(p.Notes, "nothing is to be approved: the event is no new comment with /paritygate approve, and no new label parity-approved:DIGEST")
		return nil
	}
	client, why := s.client(p, ev)
	if client == nil {
		return fmt.Errorf("mode approve: nothing can be approved without GitHub: %s", why)
	}
	if p.Approval.Wrong != "" {
		p.Refused = p.Approval.Wrong
		return nil
	}
	if needsResolve(ev) {
		if err := client.Resolve(ctx, ev); err != nil {
			p.Refused = err.Error()
			return nil
		}
	}
	p.Source.Head, p.Source.Base = ev.Head, ev.Base
	if err := s.approvalStore(ctx, p, ev, client, dir); err != nil {
		p.Refused = err.Error()
	}
	return nil
}

// approvalStore names the store: the input's, or the one of the base branch's
// spec, which judges the pull request, too. Nothing of a checkout is read.
func (s *Step) approvalStore(ctx context.Context, p *Plan, ev *github.Event, client *github.Client, dir string) error {
	if p.Inputs.Baseline == "" {
		data, err := client.File(ctx, p.SpecPath, ev.Base)
		if isNotExist(err) {
			return fmt.Errorf("the base branch has no %s that could name a store of baselines (commit %.12s): give the input baseline one", p.SpecPath, ev.Base)
		}
		if err != nil {
			return fmt.Errorf("the base branch's spec, which names the store of baselines, cannot be read: %w", err)
		}
		p.BaseSpec = filepath.Join(dir, baseSpecFile)
		if err := writeAside(p.BaseSpec, data, 0o644); err != nil {
			return err
		}
		if _, err := p.governing(); err != nil {
			return fmt.Errorf("the base branch's spec, which names the store of baselines, is not valid: %w", err)
		}
	}
	if err := p.nameStore(); err != nil {
		return err
	}
	if folder, ok := strings.CutPrefix(p.Held.Store, "dir:"); ok {
		if rel, err := filepath.Rel(p.Workspace, folder); err == nil && filepath.IsLocal(rel) {
			return fmt.Errorf("the store %s lies in the workspace, which this job does not keep: use branch:NAME, or a folder of the runner", p.Held.Store)
		}
	}
	if p.Held.Store == "" {
		return errors.New("no store of baselines is named: give the input baseline one, or write baseline: {store: …} into the spec")
	}
	return nil
}

// approve is the report step of mode approve. It reads what the pull request's
// own run uploaded, which anybody may have written: what counts of it is what the
// person who approves named by its digest.
func (s *Step) approve(ctx context.Context, p *Plan, dir string) (int, error) {
	if p.Approval == nil {
		return exitPass, s.outputs("outcome", "", "exit-code", strconv.Itoa(exitPass), "why", "nothing is to be approved")
	}
	client, why := s.publisher(ctx, p, dir)
	err := errors.New("GitHub cannot be asked: " + why)
	numbers := ""
	if client != nil {
		numbers, err = s.approved(ctx, p, client)
	}
	by, outcome, code := p.Approval.By, gate.Pass, exitPass
	say := fmt.Sprintf("approved %s by %s: %s; run the gate again", numbers, by, p.Approval.Reason)
	text := fmt.Sprintf("**Approved** `%s` by %s: %s\n\nRun the gate again: this pull request is held against these numbers now.\n",
		numbers, report.EscapeMarkdown(by), report.EscapeMarkdown(p.Approval.Reason))
	if err != nil {
		outcome, code = gate.Incomplete, exitIncomplete
		say = "not approved: " + err.Error()
		text = "**Not approved**: " + report.EscapeMarkdown(oneLine(err.Error())) + "\n"
	}
	var pub github.Published
	if client != nil && p.Approval.Comment != 0 {
		pub = client.Reply(ctx, p.Approval.Comment, text)
	}
	if err := github.WriteNote(s.Getenv("GITHUB_STEP_SUMMARY"), "## Approval\n\n"+text, pub); err != nil {
		pub.Failed = append(pub.Failed, "the summary cannot be written: "+err.Error())
	}
	for _, f := range pub.Failed {
		s.annotate("warning", "%s", f)
	}
	s.log("%s", say)
	return exitPass, s.outputs("outcome", outcome.String(), "exit-code", strconv.Itoa(code), "why", clip(oneLine(say), maxReason), "comment-url", pub.CommentURL)
}

// approved stores the approval and returns the digest's first digits, or says
// why not. Nothing is written before everything holds.
func (s *Step) approved(ctx context.Context, p *Plan, client *github.Client) (string, error) {
	if p.Refused != "" {
		return "", errors.New(p.Refused)
	}
	// First, so that a stranger learns nothing and costs nothing.
	if err := client.MayApprove(ctx, p.Approval.By); err != nil {
		return "", err
	}
	doc, err := s.wished(ctx, p, client)
	if err != nil {
		return "", err
	}
	a := ledger.Approval{Digest: p.Approval.Digest, By: p.Approval.By, Reason: p.Approval.Reason, Pull: p.Source.PullRequest, At: time.Now()}
	if err := a.Check(doc); err != nil {
		return "", err
	}
	st, err := p.openStore(client)
	if err != nil {
		return "", err
	}
	v, err := st.Snapshot(ctx)
	if err != nil {
		return "", err
	}
	// Its past is that of the newest baseline of its key; the run brings none.
	key := doc.Key.Digest()[:32]
	newest, _, err := ledger.Newest(ctx, v, key)
	if err != nil {
		return "", err
	}
	kept, err := (&ledger.Ledger{Store: st}).Approve(ctx, doc, newest[key], a)
	if err != nil {
		return "", err
	}
	return kept.Numbers()[:16], nil
}

// wished is the document of the run of the pull request's head.
func (s *Step) wished(ctx context.Context, p *Plan, client *github.Client) (*baseline.Document, error) {
	r, err := readForeign(p)
	switch {
	case isNotExist(err):
		return nil, fmt.Errorf("there are no results of this pull request: %s is not there; did its gate upload them?", p.Inputs.Results)
	case err != nil:
		return nil, fmt.Errorf("the results cannot be read: %w", err)
	}
	if err := client.VerifyChange(ctx, r); err != nil {
		return nil, fmt.Errorf("the results are refused: %w", err)
	}
	root, name := foreignFile(p, baselineFile)
	doc, _, err := readDocument(root, name, r, r.Source.Head)
	if err != nil {
		return nil, fmt.Errorf("the run's document, beside its results, cannot be approved: %w", err)
	}
	return doc, nil
}
