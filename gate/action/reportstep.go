package action

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
	"github.com/paritygate/paritygate/report/github"
)

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// Report is the third step: it draws all reports from results.json, into a
// folder that no engine ever saw, and publishes them. What fails here is said
// and changes neither outcome nor exit code.
func (s *Step) Report(ctx context.Context) (int, error) {
	protectMemory()
	dir := s.Getenv(varDir)
	p, err := readPlan(dir, s.Getenv(varPlanDigest))
	if err != nil {
		return exitIncomplete, err
	}
	if p.Inputs.Mode == ModeApprove {
		return s.approve(ctx, p, dir)
	}
	client, why := s.publisher(ctx, p, dir)
	r := s.result(ctx, p, dir, client)
	code := s.exitCode(r)
	var pub github.Published
	if client == nil {
		pub.Failed = append(pub.Failed, "nothing was written to GitHub but this summary: "+why)
	}
	folder, err := s.write(p, dir, r)
	if err != nil {
		pub.Failed = append(pub.Failed, "the reports cannot be written: "+err.Error())
	} else if err := p.keepDocument(dir, folder, r); err != nil {
		pub.Failed = append(pub.Failed, "the run's document, by which it could be approved, is not among the reports: "+err.Error())
	}
	code = p.refresh(r, code, &pub, func() (string, error) { return s.refreshBaseline(ctx, p, dir, r, client) })
	if client != nil {
		pub = join(pub, client.Publish(ctx, r))
		if p.Inputs.Mode == ModeRefresh && p.Inputs.Issue {
			is := client.Issue(ctx, r, !acceptable(r))
			pub.Did, pub.Failed = append(pub.Did, is.Did...), append(pub.Failed, is.Failed...)
		}
	}
	s.show(p, r, pub)
	return exitPass, s.reportOutputs(r, pub, folder, code)
}

// publisher speaks to GitHub of the event as the plan step read it, which no
// engine changed; nil with the reason why it cannot.
func (s *Step) publisher(ctx context.Context, p *Plan, dir string) (*github.Client, string) {
	data, err := readRegular(dir, eventFile, maxEvent)
	if err == nil && digest(data) != p.EventDigest {
		err = errors.New("the event's file was changed since the plan step read it")
	}
	if err != nil {
		return nil, err.Error()
	}
	ev, err := github.ReadEvent(func(k string) string {
		if k == "GITHUB_EVENT_PATH" {
			return filepath.Join(dir, eventFile)
		}
		return s.Getenv(k)
	})
	if err != nil {
		return nil, err.Error()
	}
	client, why := s.client(p, ev)
	if client != nil && needsResolve(ev) {
		if err := client.Resolve(ctx, ev); err != nil && !errors.Is(err, github.ErrNoPullRequest) {
			return nil, err.Error()
		}
	}
	return client, why
}

// result is what there is to report.
func (s *Step) result(ctx context.Context, p *Plan, dir string, client *github.Client) *gate.Result {
	if p.Inputs.Mode == ModeReport {
		return s.foreign(ctx, p, client)
	}
	want := s.Getenv(varResultsDigest)
	if want == "" {
		return p.incomplete("the step that runs the engines left no results: it was cancelled or killed")
	}
	data, err := readRegular(dir, resultsFile, maxResults)
	if err == nil && digest(data) != want {
		err = errors.New("results.json was changed since the step that runs the engines wrote it")
	}
	if err != nil {
		return p.incomplete(err.Error())
	}
	r, err := readResults(dir, resultsFile)
	if err != nil {
		return p.incomplete(err.Error())
	}
	return r
}

// foreign reads results of another job or workflow run, which anybody may have
// written, and holds what they claim to what GitHub says.
func (s *Step) foreign(ctx context.Context, p *Plan, client *github.Client) *gate.Result {
	r, err := readForeign(p)
	switch {
	case isNotExist(err):
		return p.incomplete(fmt.Sprintf("there are no results to report: %s is not there; did the gate's job upload them?", p.Inputs.Results))
	case err != nil:
		return p.incomplete("the results cannot be read: " + err.Error())
	case client == nil:
		return p.incomplete("the results cannot be verified: GitHub cannot be asked whose they are")
	}
	if err := client.Verify(ctx, r); err != nil {
		return p.incomplete("the results are refused: " + err.Error())
	}
	return r
}

// readForeign reads the file, or the results.json of the folder, that the input
// results names.
func readForeign(p *Plan) (*gate.Result, error) {
	return readResults(foreignFile(p, resultsFile))
}

// foreignFile is where a file lies of those that the input results names:
// results.json may be named itself, others lie beside it. Below the workspace no
// part of the path may be a link.
func foreignFile(p *Plan, file string) (root, name string) {
	path := filepath.FromSlash(p.Inputs.Results)
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.Workspace, path)
	}
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, file)
	} else if file != resultsFile {
		path = filepath.Join(filepath.Dir(path), file)
	}
	root, name = filepath.Split(path)
	if rel, err := filepath.Rel(p.Workspace, path); err == nil && filepath.IsLocal(rel) {
		root, name = p.Workspace, rel
	}
	return root, name
}

// exitCode is the gate's: the engines' side's own where it is 2, which no
// result tells.
func (s *Step) exitCode(r *gate.Result) int {
	if s.Getenv(varExitCode) == strconv.Itoa(exitInvalid) && r.Outcome == gate.Incomplete {
		return exitInvalid
	}
	return r.Outcome.ExitCode()
}

// write draws the reports into a new folder. What stands in its place is none
// of ours.
func (s *Step) write(p *Plan, dir string, r *gate.Result) (string, error) {
	folder := filepath.Join(dir, reportFolder)
	if err := os.RemoveAll(folder); err != nil {
		return "", err
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		return "", err
	}
	return folder, report.Write(folder, r)
}

// refresh stores a passing run as the new baseline, in mode refresh. A baseline
// that could not be stored makes the step incomplete: the next pull request
// would be held against an old one without a word.
func (p *Plan) refresh(r *gate.Result, code int, pub *github.Published, keep func() (string, error)) int {
	if p.Inputs.Mode != ModeRefresh {
		return code
	}
	if !acceptable(r) {
		pub.Failed = append(pub.Failed, fmt.Sprintf("the baseline was not refreshed: the outcome is %s", r.Outcome))
		return code
	}
	did, err := keep()
	if err != nil {
		pub.Failed = append(pub.Failed, "the baseline was not refreshed: "+err.Error())
		return exitIncomplete
	}
	pub.Did = append(pub.Did, did)
	return code
}

func join(a, b github.Published) github.Published {
	return github.Published{CommentURL: b.CommentURL, Did: append(a.Did, b.Did...), Failed: append(a.Failed, b.Failed...)}
}

// show writes the summary, the annotations and the log.
func (s *Step) show(p *Plan, r *gate.Result, pub github.Published) {
	if err := github.Annotations(s.actions(), r, p.SpecPath); err != nil {
		pub.Failed = append(pub.Failed, "the annotations cannot be written: "+err.Error())
	}
	if err := github.WriteSummary(s.Getenv("GITHUB_STEP_SUMMARY"), r, pub, report.MarkdownOptions{}); err != nil {
		pub.Failed = append(pub.Failed, "the summary cannot be written: "+err.Error())
	}
	for _, d := range pub.Did {
		s.log("%s", d)
	}
	for _, f := range pub.Failed {
		s.annotate("warning", "%s", f)
	}
}

func (s *Step) reportOutputs(r *gate.Result, pub github.Published, folder string, code int) error {
	o := github.OutputsOf(r, pub, "", folder)
	if folder != "" {
		o.Results = filepath.Join(folder, resultsFile)
	}
	o.ExitCode = code
	if err := o.Write(s.Getenv("GITHUB_OUTPUT")); err != nil {
		return err
	}
	why := r.Outcome.String() + firstReason(r)
	return s.outputs("why", clip(oneLine(why), maxReason))
}
