package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	gh "github.com/google/go-github/v62/github"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
)

const (
	// annotationBatch is how many annotations GitHub takes with one request.
	annotationBatch = 50
	// maxCheckAnnotations bounds all of them: ten requests.
	maxCheckAnnotations = 500
	// maxCheckText is GitHub's limit of a check run's summary and text.
	maxCheckText = 65_535
)

// checker writes one check run. It is found again by its name and external id,
// so that a create whose answer was lost is not repeated.
type checker struct {
	c     *Client
	name  string
	ext   string
	end   string // conclusion
	out   *gh.CheckRunOutput
	notes []*gh.CheckRunAnnotation

	id   int64 // 0 before it is there
	sent int   // annotations that GitHub has
	url  string
	// sure says that id and sent are what GitHub has: false after a lost answer.
	sure bool
	// whole says that conclusion and output are as they should be.
	whole bool
}

// checkRun is a step of Publish: a check run on the commit that was judged, with
// all annotations. It is "failure" unless the run passes: "neutral" and
// "skipped" would count as success.
func (c *Client) checkRun(ctx context.Context, r *gate.Result, p *Published) {
	run, attempt := c.ev.measured()
	k := &checker{c: c, name: c.contextName(), end: "failure", out: checkOutput(c.ev, c.s, r), notes: checkAnnotations(r, c.s.SpecPath),
		ext: fmt.Sprintf("paritygate:%s:%d:%d", markerName(c.s.Name), run, attempt)}
	if r.Outcome == gate.Pass {
		k.end = "success"
	}
	err := c.repeat(ctx, func() error { return k.write(ctx) })
	switch {
	case err == nil:
		p.Did = append(p.Did, "wrote the check run "+k.name+" of "+short(c.ev.Head)+": "+k.url)
	case k.whole:
		p.Failed = append(p.Failed, fmt.Sprintf("could not add all annotations to the check run, %d of %d are there: %s", k.sent, len(k.notes), c.why(err)))
	default:
		p.Failed = append(p.Failed, "could not write the check run: "+c.why(err))
	}
}

// write brings the check run to what it should be. After an error it can be
// called again: it looks first what GitHub has.
func (k *checker) write(ctx context.Context) error {
	if !k.sure {
		if err := k.find(ctx); err != nil {
			return err
		}
	}
	if k.id == 0 {
		if err := k.create(ctx); err != nil {
			return err
		}
	}
	for !k.whole || k.sent < len(k.notes) {
		if err := k.update(ctx); err != nil {
			return err
		}
	}
	return nil
}

// find looks for the check run among those of the commit.
func (k *checker) find(ctx context.Context) error {
	opt := &gh.ListCheckRunsOptions{CheckName: &k.name, Filter: gh.String("all"), ListOptions: gh.ListOptions{PerPage: pageSize}}
	for range maxPages {
		list, resp, err := k.c.api.Checks.ListCheckRunsForRef(ctx, k.c.ev.Owner, k.c.ev.Repo, k.c.ev.Head, opt)
		if err != nil {
			return err
		}
		if list == nil || list.Total == nil {
			return errors.New("GitHub's list of check runs came back empty")
		}
		for _, run := range list.CheckRuns {
			if run.GetName() == k.name && run.GetExternalID() == k.ext {
				k.took(run)
				// An earlier attempt to write it may have ended in between.
				k.whole = run.GetConclusion() == k.end && run.GetOutput().GetTitle() == k.out.GetTitle()
				return nil
			}
		}
		if resp.NextPage == 0 {
			break
		}
		opt.Page = resp.NextPage
	}
	k.sure = true
	return nil
}

func (k *checker) took(run *gh.CheckRun) {
	k.sure, k.id, k.url = true, run.GetID(), run.GetHTMLURL()
	k.sent = run.GetOutput().GetAnnotationsCount()
}

// output is the output with the next annotations.
func (k *checker) output() *gh.CheckRunOutput {
	o := *k.out
	if k.sent < len(k.notes) {
		o.Annotations = k.notes[k.sent:min(k.sent+annotationBatch, len(k.notes))]
	}
	return &o
}

func (k *checker) create(ctx context.Context) error {
	o := gh.CreateCheckRunOptions{Name: k.name, HeadSHA: k.c.ev.Head, ExternalID: &k.ext, Status: gh.String("completed"), Conclusion: &k.end, Output: k.output()}
	if u := k.c.ev.RunURL(); u != "" {
		o.DetailsURL = &u
	}
	k.sure = false
	run, _, err := k.c.api.Checks.CreateCheckRun(ctx, k.c.ev.Owner, k.c.ev.Repo, o)
	return k.answered(run, len(o.Output.Annotations), err)
}

func (k *checker) update(ctx context.Context) error {
	o := gh.UpdateCheckRunOptions{Name: k.name, Status: gh.String("completed"), Conclusion: &k.end, Output: k.output()}
	k.sure = false
	// Sent twice, annotations would be there twice.
	run, _, err := k.c.api.Checks.UpdateCheckRun(withoutRepeating(ctx), k.c.ev.Owner, k.c.ev.Repo, k.id, o)
	return k.answered(run, len(o.Output.Annotations), err)
}

// answered takes what GitHub says it has now.
func (k *checker) answered(run *gh.CheckRun, added int, err error) error {
	if err != nil {
		return err
	}
	if run.GetID() == 0 {
		return &unknownError{http.MethodPost, "check run", errors.New("GitHub's answer names no check run")}
	}
	// The count in the answer may be of before.
	sent := k.sent + added
	k.took(run)
	k.sent, k.whole = sent, true
	return nil
}

// checkOutput is the check run's own text.
func checkOutput(ev *Event, s Settings, r *gate.Result) *gh.CheckRunOutput {
	head := report.Headline(r)
	out := &gh.CheckRunOutput{
		Title:   gh.String(basicPlane(report.Plain("Parity "+outcomeWord(r.Outcome)+": "+head, maxDescription-1))),
		Summary: gh.String(report.EscapeMarkdown(head)),
	}
	o := MarkdownOptions(ev, s, r)
	for _, o.Budget = range []int{commentBudget, 20_000} {
		var b strings.Builder
		if report.Markdown(&b, r, o) == nil && b.Len() <= maxCheckText {
			out.Text = gh.String(b.String())
			break
		}
	}
	return out
}

// checkAnnotations are the annotations that have a place in a file; the others
// are in the check run's text.
func checkAnnotations(r *gate.Result, specPath string) []*gh.CheckRunAnnotation {
	var out []*gh.CheckRunAnnotation
	for _, n := range annotationsOf(r, specPath) {
		if n.file == "" || n.line == 0 {
			continue
		}
		level := "failure"
		if n.level == "warning" {
			level = "warning"
		}
		out = append(out, &gh.CheckRunAnnotation{Path: gh.String(n.file), StartLine: gh.Int(n.line), EndLine: gh.Int(n.line),
			AnnotationLevel: &level, Title: gh.String(n.title), Message: gh.String(n.message)})
	}
	return out[:min(len(out), maxCheckAnnotations)]
}
