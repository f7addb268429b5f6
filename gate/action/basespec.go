package action

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/paritygate/paritygate/report/github"
)

// maxSpec is the most that a spec may have.
const maxSpec = 1 << 20

// basedEvents are the events of a change that wants into a branch. A push has
// been accepted, and others have no base: the spec that is there judges.
var basedEvents = []string{"pull_request", "pull_request_target", "pull_request_review", "issue_comment", "merge_group"}

// baseReader reads the base branch's spec: from GitHub, which no step of the
// change can have touched, and only without a token from the checkout.
type baseReader struct {
	client   *github.Client // nil without
	noClient string         // why
	git      *git
}

// judges decides whose spec judges: the base branch's, so that a change cannot
// loosen the rules that it is held to. Where that one cannot be read, the plan
// refuses to run: a gate that does not know its rules has not passed.
func (s *Step) judges(ctx context.Context, p *Plan, ev *github.Event, r *baseReader, dir string) error {
	if err := p.approve(); err != nil {
		return err
	}
	if !slices.Contains(basedEvents, ev.Name) {
		return nil
	}
	if p.Inputs.JudgeBy == "head" {
		p.Notes = append(p.Notes, "judge-by: head: the change's own spec judges, with whatever the change loosened in it")
		return nil
	}
	if ev.Base == "" {
		p.Refused = fmt.Sprintf("event %s does not say which base branch the change goes into, so its spec cannot judge", ev.Name)
		return nil
	}
	data, how, err := r.read(ctx, p.SpecPath, ev.Base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Notes = append(p.Notes, fmt.Sprintf("the base branch has no %s (commit %.12s): the change's own spec judges", p.SpecPath, ev.Base))
		return nil
	case err != nil:
		p.Refused = fmt.Sprintf("the base branch's spec cannot be read, and it is the one that judges: %s; judge-by: head would let the change judge itself", oneLine(err.Error()))
		return nil
	}
	s.log("the spec of the base branch judges: %s of commit %.12s, read from %s", p.SpecPath, ev.Base, how)
	p.BaseSpec = filepath.Join(dir, baseSpecFile)
	return writeAside(p.BaseSpec, data, 0o644)
}

// read returns the spec and where it came from.
func (r *baseReader) read(ctx context.Context, path, commit string) ([]byte, string, error) {
	var asked error
	if r.client != nil {
		data, err := r.client.File(ctx, path, commit)
		if err == nil && len(data) > maxSpec {
			err = fmt.Errorf("%s is larger than %d MB", path, maxSpec>>20)
		}
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return data, "GitHub", err
		}
		asked = err
	} else {
		asked = errors.New(r.noClient)
	}
	data, err := r.git.file(ctx, commit, path, maxSpec)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return data, "the checkout", err
	}
	return nil, "", fmt.Errorf("GitHub: %w; the checkout: %w", asked, err)
}

// approve takes the input approve-spec: the digest of the spec that was
// approved, or true for the one that is there now.
func (p *Plan) approve() error {
	if p.Approve = p.Inputs.ApproveSpec; p.Approve != "true" {
		return nil
	}
	rel, err := filepath.Rel(p.Workspace, filepath.Join(p.WorkDir, filepath.FromSlash(p.Inputs.Spec)))
	if err != nil {
		return err
	}
	data, err := readRegular(p.Workspace, rel, maxSpec)
	if err != nil {
		return fmt.Errorf("input approve-spec: the spec cannot be read: %w", err)
	}
	p.Approve = digest(data)
	return nil
}
