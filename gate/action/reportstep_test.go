//go:build unix

package action

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
	"github.com/paritygate/paritygate/report/github/githubtest"
)

// finished is the second workflow of the form for forks: it has a token that
// writes, and the artifact that a fork's pull request uploaded.
func finished(t *testing.T, source func(c *change, s *gate.Source)) *change {
	t.Helper()
	c := newChange(t, sound, nil)
	fork := c.server.AddRepo("mallory/engine", githubtest.ForkOf(c.repo))
	c.pull = c.repo.AddPullRequest(githubtest.PullRequest{HeadRepo: fork.Name(), HeadRef: "feature", HeadSHA: c.head})
	c.event, c.sha = "workflow_run", c.base
	c.payload = payload(t, map[string]any{"workflow_run": map[string]any{"id": 5, "run_attempt": 1, "event": "pull_request", "conclusion": "success",
		"head_sha": c.head, "head_branch": "feature", "head_repository": map[string]any{"full_name": fork.Name()}}})
	c.inputs = map[string]string{"binary": program, "mode": "report", "results": "artifact"}
	s := gate.Source{Repository: "octo/engine", Event: "pull_request", PullRequest: c.pull.Number, Head: c.head, Base: c.base, RunID: 5, RunAttempt: 1}
	if source != nil {
		source(c, &s)
	}
	r, err := report.Read(bytes.NewReader(outcomeFile(t, gate.Pass)))
	if err != nil {
		t.Fatal(err)
	}
	r.Source = &s
	var b bytes.Buffer
	if err := report.JSON(&b, r); err != nil {
		t.Fatal(err)
	}
	mkdir(t, filepath.Join(c.workspace, "artifact"))
	put(b.Bytes())(t, filepath.Join(c.workspace, "artifact"))
	return c
}

func TestReportOfAnotherWorkflow(t *testing.T) {
	for name, results := range map[string]string{"a folder": "artifact", "a file": "artifact/results.json", "an absolute path": "ABS"} {
		t.Run(name, func(t *testing.T) {
			c := finished(t, nil)
			c.inputs["results"] = strings.Replace(results, "ABS", filepath.Join(c.workspace, "artifact"), 1)
			r := c.run()
			if r.failed || r.outputs["outcome"] != "pass" || r.outputs["exit-code"] != "0" {
				t.Fatalf("result %+v\n%s", r, c.log.String())
			}
			if cs := c.repo.Comments(c.pull.Number); len(cs) != 1 || !strings.Contains(cs[0].Body, "Parity passes") {
				t.Errorf("comments %+v", cs)
			}
			if c.steps["run"].outcome != "skipped" {
				t.Errorf("the run step was %s", c.steps["run"].outcome)
			}
			if c.uploaded != "paritygate-report-2="+r.outputs["report"] {
				t.Errorf("uploaded %q", c.uploaded)
			}
			c.wantNoToken()
		})
	}
}

// Results that anybody may have written are refused where they claim to be
// somebody else's, and the pull request that they came from is told.
func TestReportRefusesForeignResults(t *testing.T) {
	tests := []struct {
		name   string
		source func(c *change, s *gate.Source)
		spoil  func(c *change)
		says   string
	}{
		{"another pull request", func(c *change, s *gate.Source) { s.PullRequest = 1 }, nil, "the results are refused: the result is not this run's; it claims pull request"},
		{"another head", func(c *change, s *gate.Source) { s.Head = c.base }, nil, "it claims head commit"},
		{"another repository", func(c *change, s *gate.Source) { s.Repository = "mallory/engine" }, nil, "it claims repository"},
		{"another run", func(c *change, s *gate.Source) { s.RunID = 6 }, nil, "it claims run"},
		{"another event", func(c *change, s *gate.Source) { s.Event = "push" }, nil, "it claims event"},
		{"none", nil, func(c *change) { remove(c.t, filepath.Join(c.workspace, "artifact", resultsFile)) }, "there are no results to report: artifact is not there"},
		{"no folder", nil, func(c *change) { remove(c.t, filepath.Join(c.workspace, "artifact")) }, "there are no results to report"},
		{"no result", nil, func(c *change) { put([]byte("{}"))(c.t, filepath.Join(c.workspace, "artifact")) }, "the results cannot be read"},
		{"a link", nil, func(c *change) {
			path := filepath.Join(c.workspace, "artifact", resultsFile)
			remove(c.t, path)
			link(c.t, "/etc/passwd", path)
		}, "the results cannot be read: artifact/results.json is a link"},
		{"a folder that is a link", nil, func(c *change) {
			path := filepath.Join(c.workspace, "artifact")
			if err := os.Rename(path, path+"2"); err != nil {
				c.t.Fatal(err)
			}
			link(c.t, path+"2", path)
		}, "is a link"},
		{"a folder above that is a link", nil, func(c *change) {
			mkdir(c.t, filepath.Join(c.root, "elsewhere"))
			if err := os.Rename(filepath.Join(c.workspace, "artifact"), filepath.Join(c.root, "elsewhere", "artifact")); err != nil {
				c.t.Fatal(err)
			}
			link(c.t, filepath.Join(c.root, "elsewhere"), filepath.Join(c.workspace, "sub"))
			c.inputs["results"] = "sub/artifact"
		}, "sub is a link"},
		{"GitHub cannot be asked", nil, func(c *change) {
			c.before = func(step string) {
				if step == "report" {
					c.server.Choose(alwaysFails)
				}
			}
		}, "the results cannot be verified"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := finished(t, tt.source)
			if tt.spoil != nil {
				tt.spoil(c)
			}
			r := c.run()
			if !r.failed || r.code != 3 || r.outputs["outcome"] != "incomplete" || !strings.Contains(c.results(r).Reasons[0], tt.says) {
				t.Errorf("result %+v, want %q\n%s", r, tt.says, c.log.String())
			}
			for n := 1; n <= c.pull.Number; n++ {
				for _, comment := range c.repo.Comments(n) {
					if n != c.pull.Number || strings.Contains(comment.Body, "Parity passes") {
						t.Errorf("pull request %d has the comment %q", n, comment.Body)
					}
				}
			}
			for _, s := range append(c.repo.Statuses(c.base), c.repo.Statuses(c.head)...) {
				if s.State == "success" {
					t.Errorf("status %+v", s)
				}
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func TestReportNeedsAToken(t *testing.T) {
	c := finished(t, nil)
	c.inputs["token"] = ""
	if r := c.run(); r.code != 2 || !strings.Contains(c.log.String(), "GitHub cannot be asked: no token") {
		t.Errorf("result %+v\n%s", r, c.log.String())
	}
}

// A fork's token reads and does not write: the summary says everything.
func TestReportWithATokenThatOnlyReads(t *testing.T) {
	c := newChange(t, sound, nil)
	c.token = githubtest.ForkToken
	r := c.run()
	if r.failed || r.outputs["outcome"] != "pass" || !strings.Contains(c.summary, "Parity passes") || !strings.Contains(c.summary, "Not published") {
		t.Errorf("result %+v\n%s", r, c.summary)
	}
}

// Names from a trace and what a change wrote come escaped through every report.
func TestReportOfHostileNames(t *testing.T) {
	c := newChange(t, `echo '@everyone <img src=x onerror=alert(1)> ](javascript:alert(1)) ::error::evil' >&2
printf 'no trace\n::set-output name=evil::1\n' >"$1"`, nil)
	r := c.run()
	if r.outputs["outcome"] != "incomplete" {
		t.Errorf("result %+v", r)
	}
	comment := c.repo.Comments(c.pull.Number)[0].Body
	for _, bad := range []string{"<img", "@everyone", "](javascript:"} {
		if strings.Contains(comment, bad) || strings.Contains(c.summary, bad) {
			t.Errorf("%q stands in the comment or the summary", bad)
		}
	}
	if slices.ContainsFunc(c.commands, func(s string) bool { return strings.HasPrefix(s, "::error::evil") || strings.Contains(s, "set-output") }) {
		t.Errorf("commands %q", c.commands)
	}
}
