package action

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report/github"
)

// Plan is the first step: it reads the event and the inputs, refuses what must
// not be run, fetches the base branch's spec and writes the plan. The exit code
// is 0 or, with an error, 2: nothing will be run.
func (s *Step) Plan(ctx context.Context) (int, error) {
	protectMemory()
	if err := s.plan(ctx); err != nil {
		s.annotate("error", "%v", err)
		if e := s.outputs("exit-code", fmt.Sprint(exitInvalid)); e != nil {
			err = errors.Join(err, e)
		}
		return exitInvalid, err
	}
	return exitPass, nil
}

func (s *Step) plan(ctx context.Context) error {
	in, err := readInputs(s.Getenv)
	if err != nil {
		return err
	}
	ev, err := github.ReadEvent(s.Getenv)
	if err != nil {
		return err
	}
	p := &Plan{Version: planVersion, Paritygate: s.Version, Inputs: *in, Notes: []string{}}
	if err := s.place(p); err != nil {
		return err
	}
	dir, err := s.privateFolder()
	if err != nil {
		return err
	}
	if err := s.fill(ctx, p, ev, dir); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	sum, err := p.write(dir)
	if err != nil {
		return err
	}
	for _, n := range p.Notes {
		s.log("note: %s", n)
	}
	command := ""
	if in.Mode == ModeApprove && p.Approval == nil {
		command = "none"
	}
	return s.outputs("dir", dir, "sha256", sum, "mode", string(in.Mode), "artifact", p.artifact(), "command", command)
}

// place finds the folders of the job.
func (s *Step) place(p *Plan) error {
	ws := s.Getenv("GITHUB_WORKSPACE")
	if !filepath.IsAbs(ws) {
		return fmt.Errorf("GITHUB_WORKSPACE is %q: want the absolute path of the job's workspace", ws)
	}
	p.Workspace = filepath.Clean(ws)
	p.WorkDir = filepath.Join(p.Workspace, filepath.FromSlash(p.Inputs.WorkingDirectory))
	p.SpecPath = path.Join(p.Inputs.WorkingDirectory, p.Inputs.Spec)
	if p.Inputs.Mode == ModeReport || p.Inputs.Mode == ModeApprove {
		return nil // the checkout may be missing: nothing of it is used
	}
	if info, err := os.Stat(p.WorkDir); err != nil || !info.IsDir() {
		return fmt.Errorf("input working-directory: %s is no folder of the workspace %s; is there an actions/checkout before this step?",
			p.Inputs.WorkingDirectory, p.Workspace)
	}
	return nil
}

// privateFolder is a new folder below the runner's temporary one, which the
// runner empties after the job.
func (s *Step) privateFolder() (string, error) {
	temp := s.Getenv("RUNNER_TEMP")
	if !filepath.IsAbs(temp) {
		return "", fmt.Errorf("RUNNER_TEMP is %q: want the absolute path of the runner's temporary folder", temp)
	}
	dir, err := os.MkdirTemp(temp, "paritygate-") // 0700
	if err != nil {
		return "", err
	}
	return dir, nil
}

// fill decides everything that needs the event.
func (s *Step) fill(ctx context.Context, p *Plan, ev *github.Event, dir string) error {
	if err := s.keepEvent(p, dir); err != nil {
		return err
	}
	if p.Inputs.Mode == ModeApprove {
		return s.planApproval(ctx, p, ev, dir)
	}
	client, why := s.client(p, ev)
	if needsResolve(ev) {
		if client == nil {
			return fmt.Errorf("event %s does not say which change is meant, and GitHub cannot be asked: %s", ev.Name, why)
		}
		switch err := client.Resolve(ctx, ev); {
		case errors.Is(err, github.ErrNoPullRequest):
			p.Notes = append(p.Notes, err.Error())
		case err != nil:
			return fmt.Errorf("event %s: %w", ev.Name, err)
		}
	}
	p.Source = gate.Source{Repository: ev.Owner + "/" + ev.Repo, Event: ev.Name, PullRequest: ev.PullRequest,
		Head: ev.Head, Base: ev.Base, RunID: ev.RunID, RunAttempt: ev.RunAttempt}
	if p.Inputs.Mode == ModeReport {
		if client == nil {
			return fmt.Errorf("mode report: results of elsewhere cannot be verified without GitHub: %s", why)
		}
		return nil
	}
	g, err := newGit(p.Workspace, dir, s.Getenv("PATH"))
	if err != nil {
		return err
	}
	if err := s.checkout(ctx, p, ev, g); err != nil {
		return err
	}
	if err := g.credentials(ctx, p.Inputs.Runtime == "host"); err != nil {
		return err
	}
	for _, f := range []string{outFolder, homeFolder} {
		if err := os.Mkdir(filepath.Join(dir, f), 0o755); err != nil {
			return err
		}
	}
	p.Notes = append(p.Notes, weakened(p.Inputs.DockerArgs)...)
	if err := s.judges(ctx, p, ev, &baseReader{client: client, noClient: why, git: g}, dir); err != nil {
		return err
	}
	if err := s.hold(ctx, p, ev, client, g, dir); err != nil {
		return err
	}
	return s.refreshAllowed(p, ev)
}

// needsResolve says that the event alone does not tell which change is meant.
func needsResolve(ev *github.Event) bool { return ev.Head == "" || ev.Name == "workflow_run" }

// keepEvent keeps a copy of the event where its digest is known through the
// plan: the report step reads it again after engines ran.
func (s *Step) keepEvent(p *Plan, dir string) error {
	f, err := os.Open(s.Getenv("GITHUB_EVENT_PATH"))
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(f) // ReadEvent bounded and read it before
	if err != nil {
		return err
	}
	p.EventDigest = digest(data)
	return writeAside(filepath.Join(dir, eventFile), data, 0o600)
}

// client speaks to GitHub, or is nil with the reason why it cannot.
func (s *Step) client(p *Plan, ev *github.Event) (*github.Client, string) {
	c, err := github.New(ev, p.settings(getInput(s.Getenv, "token"), s.Version))
	if err != nil {
		return nil, err.Error()
	}
	return c, ""
}

// settings are the user's choices of what is published.
func (p *Plan) settings(token, version string) github.Settings {
	return github.Settings{Name: p.Inputs.Name, Comment: p.Inputs.Comment, NewOnFlip: p.Inputs.NewCommentOnFlip,
		Status: p.Inputs.Status, CheckRun: p.Inputs.CheckRun, Token: token, SpecPath: p.SpecPath, Version: version}
}

// privileged are the events whose workflow is the default branch's, with its
// secrets and a token that writes, whoever sent the change.
var privileged = []string{"pull_request_target", "workflow_run", "issue_comment"}

// checkout looks at the commit that the workspace holds and refuses to run a
// change with the rights of the branch it wants into.
func (s *Step) checkout(ctx context.Context, p *Plan, ev *github.Event, g *git) error {
	head, err := g.head(ctx)
	p.Checkout = head
	trusted := slices.Compact(slices.DeleteFunc([]string{s.Getenv("GITHUB_SHA"), ev.Base}, func(c string) bool { return c == "" }))
	// On the default branch itself a finished run's commit and the branch's are one.
	own := err == nil && slices.Contains(trusted, head) &&
		(head != ev.Head || ev.Name == "workflow_run" && !ev.Fork() && !strings.HasPrefix(ev.SourceEvent, "pull_request"))
	switch {
	case !slices.Contains(privileged, ev.Name):
		if err != nil {
			p.Notes = append(p.Notes, "the commit of the workspace is not known: "+err.Error())
		} else if head != ev.Head && head != s.Getenv("GITHUB_SHA") {
			p.Notes = append(p.Notes, fmt.Sprintf("the workspace holds commit %s, neither the one that is judged (%s) nor the one that the event is about", head, ev.Head))
		}
	case p.Inputs.AllowTarget:
		p.Notes = append(p.Notes, fmt.Sprintf("allow-pull-request-target: engines of the change run in a workflow with the rights of event %s", ev.Name))
	case err != nil:
		return fmt.Errorf("event %s: its workflow has secrets and a token that writes, so the workspace must hold the base branch, "+
			"and which commit it holds cannot be told: %w; %s", ev.Name, err, targetAdvice)
	case !own:
		return fmt.Errorf("event %s: its workflow has secrets and a token that writes, so the workspace must hold the base branch (%s), "+
			"and it holds %s; %s", ev.Name, strings.Join(trusted, " or "), head, targetAdvice)
	default:
		p.Notes = append(p.Notes, fmt.Sprintf("the workspace holds the base branch (event %s): the result speaks of the change only if its engine comes from elsewhere", ev.Name))
	}
	return nil
}

const targetAdvice = "use event pull_request and, for forks, a second workflow with mode: report; " +
	"or set allow-pull-request-target: true where only trusted people can start the workflow"

// refreshAllowed: a baseline is what the default branch measured, never what a
// change that is not accepted yet measured.
func (s *Step) refreshAllowed(p *Plan, ev *github.Event) error {
	if p.Inputs.Mode != ModeRefresh {
		return nil
	}
	if !slices.Contains([]string{"push", "schedule", "workflow_dispatch", "repository_dispatch"}, ev.Name) {
		return fmt.Errorf("input mode: refresh stores what the default branch measures; it runs on push, schedule and workflow_dispatch, and this is event %s", ev.Name)
	}
	if ref, branch := s.defaultBranch(); ref != "" && branch != "" && ref != "refs/heads/"+branch {
		return fmt.Errorf("input mode: refresh stores what the default branch measures, %s, and this is %s", branch, ref)
	}
	if p.Held.Store == "" {
		return errors.New("input mode: refresh needs a store of baselines: give the input baseline one, or write baseline: {store: …} into the spec")
	}
	return nil
}

// defaultBranch is the reference that the workflow runs on and the repository's
// default branch; "" for what GitHub does not say.
func (s *Step) defaultBranch() (ref, branch string) {
	var ev struct {
		Ref        string `json:"ref"` // of a push and a dispatch
		Repository struct {
			DefaultBranch string `json:"default_branch"`
		} `json:"repository"`
	}
	data, err := os.ReadFile(s.Getenv("GITHUB_EVENT_PATH")) // ReadEvent bounded and read it before
	if err != nil || json.Unmarshal(data, &ev) != nil {
		return "", ""
	}
	return cmp.Or(ev.Ref, s.Getenv("GITHUB_REF")), ev.Repository.DefaultBranch
}

// weakened names the options that take down a wall of the container.
func weakened(args []string) []string {
	var notes []string
	for _, a := range args {
		for _, w := range []string{"--privileged", "--pid=host", "--ipc=host", "--network=host", "--net=host", "--userns=host", "--cap-add", "--security-opt", "docker.sock"} {
			if strings.HasPrefix(a, w) || w == "docker.sock" && strings.Contains(a, w) {
				notes = append(notes, fmt.Sprintf("docker-args: %s weakens the container around engines", a))
			}
		}
	}
	return notes
}

// artifact is the name that the reports are uploaded under, "none" for not at all.
func (p *Plan) artifact() string {
	if p.Inputs.Artifact != "" {
		return p.Inputs.Artifact
	}
	kind := ""
	if p.Inputs.Mode == ModeReport {
		kind = "report-" // the gate's own is of the same run, maybe
	}
	return fmt.Sprintf("%s-%s%d", p.Inputs.Name, kind, p.Source.RunAttempt)
}
