//go:build unix

package action

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/baseline"
	"github.com/paritygate/paritygate/gate"
)

// onMain is the job on the default branch, as a push of its newest commit.
func (c *change) onMain() *change {
	gitIn(c.t, c.workspace, "checkout", "-q", "main")
	c.event, c.sha = "push", c.base
	c.payload = payload(c.t, map[string]any{"ref": "refs/heads/main", "after": c.base, "before": strings.Repeat("0", 40)})
	return c
}

// onFeature is the job on the pull request again.
func (c *change) onFeature() *change {
	gitIn(c.t, c.workspace, "checkout", "-q", "feature")
	c.event, c.sha = "pull_request", strings.Repeat("2", 40)
	c.payload = payload(c.t, map[string]any{"pull_request": pullPayload(c)})
	return c
}

// A pull request before there is a baseline, the first refresh of the branch,
// and the pull request again: each says what it is held against, and no engine
// saw the store.
func TestBaselineLife(t *testing.T) {
	c := newChange(t, sound, nil)
	c.inputs["baseline"] = "branch:parity-baselines"
	r := c.run()
	if b := c.results(r).Baseline; b == nil || b.State != gate.BaselineNone || b.Store != "branch:parity-baselines" || !strings.Contains(b.Why, "holds no baseline yet") {
		t.Fatalf("before the first refresh: %+v\n%s", b, c.log.String())
	}
	if r.outputs["outcome"] != "pass" {
		t.Errorf("a missing baseline that nobody requires made the outcome %s", r.outputs["outcome"])
	}

	c.onMain().inputs["mode"] = "refresh"
	if r = c.run(); r.failed || !strings.Contains(c.log.String(), "kept the baseline of "+c.base[:12]+" in branch:parity-baselines") {
		t.Fatalf("refresh: %+v\n%s", r, c.log.String())
	}
	files := c.repo.Log("heads/parity-baselines")
	if len(files) != 1 {
		t.Errorf("the branch has %d commits, want 1", len(files))
	}

	delete(c.inputs, "mode")
	r = c.onFeature().run()
	b := c.results(r).Baseline
	if b == nil || b.State != gate.BaselineCompared || b.Commit != c.base || b.Distance != 0 || b.BitIdentical.Of == 0 || b.BitIdentical.Same != b.BitIdentical.Of {
		t.Fatalf("after the refresh: %+v\n%s", b, c.log.String())
	}
	body := c.repo.Comments(c.pull.Number)[0].Body
	if !strings.Contains(body, "bit-identical to the baseline") {
		t.Errorf("the comment does not say so:\n%s", body)
	}
	data, err := os.ReadFile(filepath.Join(r.outputs["report"], baselineFile))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := baseline.Parse(data, baselineFile)
	if err != nil || doc.Numbers() != b.Proposed || doc.Provenance.Commit != "" && doc.Provenance.Commit != c.head {
		t.Errorf("the document among the reports is %+v, %v", doc.Provenance, err)
	}
	c.wantNoToken()
}

// Refreshing what does not pass leaves the store alone.
func TestRefreshRefuses(t *testing.T) {
	c := newChange(t, sound, nil)
	write(t, filepath.Join(c.workspace, "engine.sh"), "set -u\n"+broken+"\n")
	gitIn(t, c.workspace, "checkout", "-q", "-B", "main")
	c.base = commit(t, c.workspace, "break main")
	if err := c.repo.ImportGit(c.workspace); err != nil {
		t.Fatal(err)
	}
	c.onMain()
	c.inputs["mode"], c.inputs["baseline"] = "refresh", "branch:parity-baselines"
	r := c.run()
	if r.outputs["outcome"] != "fail" || !r.failed || !strings.Contains(c.log.String(), "the baseline was not refreshed: the outcome is fail") {
		t.Errorf("%+v\n%s", r, c.log.String())
	}
	if ref := c.repo.Ref("heads/parity-baselines"); ref != "" {
		t.Errorf("the store was written: %s", ref)
	}
}

// A store that cannot be read is said, and what is held against it is not passed
// over: the run knows that there was one.
func TestStoreThatCannotBeRead(t *testing.T) {
	c := newChange(t, sound, nil)
	c.inputs["baseline"] = "branch:parity-baselines"
	c.inputs["token"] = ""
	c.token = ""
	r := c.run()
	if r.outputs["results"] == "" {
		t.Fatalf("%+v\n%s", r, c.log.String())
	}
	b := c.results(r).Baseline
	if b == nil || b.State != gate.BaselineInvalid || !strings.Contains(b.Why, "there is no token to ask GitHub") {
		t.Errorf("%+v\n%s", b, c.log.String())
	}
}

// Another branch than the default one makes no baselines.
func TestRefreshOfAnotherBranch(t *testing.T) {
	for ref, refused := range map[string]bool{"refs/heads/main": false, "refs/heads/feature": true, "refs/tags/main": true} {
		c := newChange(t, sound, nil).onMain()
		c.inputs["mode"], c.inputs["baseline"] = "refresh", "branch:parity-baselines"
		c.payload = `{"ref": "` + ref + `", "after": "` + c.base + `", "repository": {"full_name": "octo/engine", "default_branch": "main"}}`
		r := c.run()
		said := strings.Contains(c.log.String(), "input mode: refresh stores what the default branch measures, main, and this is "+ref)
		if stored := c.repo.Ref("heads/parity-baselines") != ""; r.failed != refused || said != refused || stored == refused {
			t.Errorf("%s: %+v\n%s", ref, r, c.log.String())
		}
	}
}
