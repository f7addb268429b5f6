//go:build unix

package action

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/report/github/githubtest"
)

// nightly is a refresh of main with this engine, as the schedule starts it.
func (c *change) nightly(engine string) result {
	c.t.Helper()
	gitIn(c.t, c.workspace, "checkout", "-q", "main")
	write(c.t, filepath.Join(c.workspace, "engine.sh"), "set -u\n"+engine+"\n")
	c.base = commit(c.t, c.workspace, "tune the engine")
	if err := c.repo.ImportGit(c.workspace); err != nil {
		c.t.Fatal(err)
	}
	c.event, c.sha, c.payload = "schedule", c.base, payload(c.t, map[string]any{"schedule": "0 3 * * *"})
	c.log.Reset()
	return c.run()
}

// Parity breaks overnight, stays broken, and is mended: one issue, with the
// commits since the baseline, which is closed again. The outcome is the gate's.
func TestNightlyIssue(t *testing.T) {
	c := newChange(t, sound, nil)
	c.inputs["mode"], c.inputs["baseline"], c.inputs["issue"] = "refresh", "branch:parity-baselines", "true"
	if r := c.nightly(sound); r.failed || len(c.repo.Issues()) != 0 {
		t.Fatalf("%+v, issues %+v\n%s", r, c.repo.Issues(), c.log.String())
	}
	good := c.base
	var bad []string
	for range 2 {
		if r := c.nightly(broken + " # " + c.base); r.code != 1 || r.outputs["outcome"] != "fail" {
			t.Fatalf("%+v\n%s", r, c.log.String())
		}
		bad = append(bad, c.base)
		issues := c.repo.Issues()
		if len(issues) != 1 || issues[0].State != "open" || !strings.HasPrefix(issues[0].Title, "Parity fails on main: ") {
			t.Fatalf("issues %+v\n%s", issues, c.log.String())
		}
		for _, s := range append(bad, "paritygate bisect "+good+" "+c.base, "compare/"+good+"..."+c.base, "Parity fails") {
			if !strings.Contains(issues[0].Body, s) {
				t.Errorf("the body lacks %q:\n%s", s, issues[0].Body)
			}
		}
	}
	if r := c.nightly(sound); r.failed {
		t.Fatalf("%+v\n%s", r, c.log.String())
	}
	issues := c.repo.Issues()
	if len(issues) != 1 || issues[0].State != "closed" || len(c.repo.Comments(issues[0].Number)) != 1 || !strings.Contains(c.log.String(), "closed the issue: ") {
		t.Errorf("issues %+v\n%s", issues, c.log.String())
	}
	c.wantNoToken()
}

// Without the input, or without the permission, there is none: the summary says
// so, and the outcome stays.
func TestNightlyWithoutIssue(t *testing.T) {
	c := newChange(t, sound, nil)
	c.inputs["mode"], c.inputs["baseline"] = "refresh", "branch:parity-baselines"
	if r := c.nightly(broken); r.code != 1 || len(c.repo.Issues()) != 0 || strings.Contains(c.summary, "issue") {
		t.Errorf("%+v, issues %+v\n%s", r, c.repo.Issues(), c.summary)
	}
	c.inputs["issue"] = "true"
	c.server.AddToken(canary, githubtest.Token{Login: "github-actions[bot]", Type: "Bot", Access: githubtest.Write, Installation: true,
		Scopes: map[string]githubtest.Access{"issues": githubtest.Read}})
	if r := c.nightly(crashes); r.code != 3 || len(c.repo.Issues()) != 0 || !strings.Contains(c.summary, "could not write the issue: the job's permissions lack issues: write") {
		t.Errorf("%+v, issues %+v\n%s", r, c.repo.Issues(), c.summary)
	}
}
