//go:build unix

package action

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report/github/githubtest"
)

// storeSpec is the workspace's spec with a store of baselines.
const storeSpec = engineSpec + "baseline: {store: \"branch:parity-baselines\"}\n"

// changedEngine has numbers of its own, that are wrong.
const changedEngine = broken

// wished is a pull request that changes its numbers on purpose, after the first
// refresh of the branch: it fails, and its artifact was downloaded. The spec of
// the base branch names the store.
func wished(t *testing.T) (*change, *gate.Result) {
	t.Helper()
	c := newChange(t, changedEngine, nil)
	gitIn(t, c.workspace, "checkout", "-q", "main")
	write(t, filepath.Join(c.workspace, "parity.yaml"), storeSpec)
	c.base = commit(t, c.workspace, "store baselines")
	gitIn(t, c.workspace, "checkout", "-q", "feature")
	gitIn(t, c.workspace, "rebase", "-q", "main")
	c.head = gitIn(t, c.workspace, "rev-parse", "HEAD")
	if err := c.repo.ImportGit(c.workspace); err != nil {
		t.Fatal(err)
	}
	c.pull = c.repo.AddPullRequest(githubtest.PullRequest{HeadRef: "feature"})
	c.onMain().inputs["mode"] = "refresh"
	if r := c.run(); r.failed {
		t.Fatalf("refresh: %+v\n%s", r, c.log.String())
	}
	delete(c.inputs, "mode")
	r := c.onFeature().run()
	res := c.results(r)
	if r.outputs["outcome"] != "fail" || res.Baseline == nil || res.Baseline.State != gate.BaselineCompared || res.Baseline.Proposed == "" {
		t.Fatalf("the change: %+v, %+v\n%s", r, res.Baseline, c.log.String())
	}
	if err := os.CopyFS(filepath.Join(c.root, "artifact"), os.DirFS(r.outputs["report"])); err != nil {
		t.Fatal(err)
	}
	c.repo.SetPermission("octocat", "write")
	c.repo.SetPermission("mallory", "read")
	// No checkout is there: nothing of it may be needed.
	if err := os.Rename(c.workspace, c.workspace+"-kept"); err != nil {
		t.Fatal(err)
	}
	mkdir(t, c.workspace)
	c.inputs = map[string]string{"binary": program, "mode": "approve", "results": filepath.Join(c.root, "artifact")}
	c.uploaded, c.summary = "", ""
	c.log.Reset()
	return c, res
}

// checkoutAgain brings the checkout back, for a gate.
func (c *change) checkoutAgain() {
	c.t.Helper()
	remove(c.t, c.workspace)
	if err := os.Rename(c.workspace+"-kept", c.workspace); err != nil {
		c.t.Fatal(err)
	}
	c.inputs = map[string]string{"runtime": "host", "binary": program}
}

// says is the job of a comment on the pull request.
func (c *change) says(by, body string) *change {
	at := c.repo.AddComment(githubtest.Comment{Issue: c.pull.Number, Author: githubtest.User{Login: by}, Body: body})
	c.event, c.sha = "issue_comment", c.base
	c.payload = payload(c.t, map[string]any{"action": "created", "issue": map[string]any{"number": c.pull.Number, "pull_request": map[string]any{}},
		"comment": map[string]any{"id": at.ID, "body": body, "user": map[string]any{"login": by}}, "sender": map[string]any{"login": by}})
	return c
}

// labels is the job of a label on the pull request.
func (c *change) labels(by, name string) *change {
	c.event, c.sha = "pull_request", strings.Repeat("2", 40)
	c.payload = payload(c.t, map[string]any{"action": "labeled", "pull_request": pullPayload(c),
		"label": map[string]any{"name": name}, "sender": map[string]any{"login": by}})
	return c
}

// replies are the comments that answer commands.
func (c *change) replies() []string {
	var list []string
	for _, m := range c.repo.Comments(c.pull.Number) {
		if rest, ok := strings.CutPrefix(m.Body, "<!-- paritygate-reply:"); ok && m.Author.Login == "github-actions[bot]" {
			_, text, _ := strings.Cut(rest, "\n")
			list = append(list, text)
		}
	}
	return list
}

// store is the branch's newest commit.
func (c *change) store() string { return c.repo.Ref("heads/parity-baselines") }

// A maintainer's comment approves: the change is held against its own numbers
// from then on, and the next one on top of it, too.
func TestApproveByComment(t *testing.T) {
	c, res := wished(t)
	digest := res.Baseline.Proposed[:16]
	before := c.store()
	r := c.says("octocat", "/paritygate approve "+digest+" rope is @everyone's; see #1 `$(touch pwned)`").run()
	if r.failed || r.outputs["outcome"] != "pass" || r.outputs["exit-code"] != "0" || r.outputs["comment-url"] == "" || c.steps["run"].outcome != "skipped" || c.uploaded != "" {
		t.Fatalf("%+v, uploaded %q\n%s", r, c.uploaded, c.log.String())
	}
	replies := c.replies()
	if len(replies) != 1 || !strings.HasPrefix(replies[0], "**Approved** `"+digest+"` by octocat: rope is ") || !strings.Contains(replies[0], "Run the gate again") ||
		strings.Contains(replies[0], "@everyone") || strings.Contains(replies[0], "#1") {
		t.Errorf("replies %q", replies)
	}
	if !strings.Contains(c.summary, "**Approved** `"+digest+"`") || strings.Contains(c.summary, "@everyone") {
		t.Errorf("summary %s", c.summary)
	}
	path := fmt.Sprintf("v1/%s/approved/%d-%s.json", res.Baseline.Key[:32], c.pull.Number, res.Baseline.Proposed[:32])
	doc, ok := c.repo.File("parity-baselines", path)
	if !ok || c.store() == before || !strings.Contains(doc, `"approved_by": "octocat"`) || !strings.Contains(doc, "rope is @everyone") {
		t.Fatalf("%s is %v:\n%.2000s", path, ok, doc)
	}
	c.wantNoToken()

	// The job again, as somebody re-runs it: one reply still.
	if r = c.run(); r.failed || len(c.replies()) != 1 {
		t.Errorf("again: %+v, replies %q", r, c.replies())
	}

	c.checkoutAgain()
	r = c.onFeature().run()
	b := c.results(r).Baseline
	if b == nil || b.State != gate.BaselineCompared || b.Distance != -1 || b.Why != "approved for this change" || b.BitIdentical.Of == 0 || b.BitIdentical.Same != b.BitIdentical.Of {
		t.Fatalf("after the approval: %+v\n%s", b, c.log.String())
	}
	if b.Anchor == nil || b.Anchor.ApprovedBy != "octocat" {
		t.Errorf("anchor %+v", b.Anchor)
	}
}

// A label does the same, says so in the summary, and comments nothing.
func TestApproveByLabel(t *testing.T) {
	for _, event := range []string{"pull_request", "pull_request_target"} {
		c, res := wished(t)
		label := "parity-approved:" + res.Baseline.Proposed[:34]
		if len(label) != 50 {
			t.Errorf("GitHub takes 50 characters, %q has %d", label, len(label))
		}
		c.labels("octocat", label).event = event
		r := c.run()
		if r.failed || r.outputs["outcome"] != "pass" || len(c.replies()) != 0 || !strings.Contains(c.summary, "by octocat: label parity-approved:") {
			t.Fatalf("%s: %+v\n%s\n%s", event, r, c.summary, c.log.String())
		}
		doc, _ := c.repo.File("parity-baselines", fmt.Sprintf("v1/%s/approved/%d-%s.json", res.Baseline.Key[:32], c.pull.Number, res.Baseline.Proposed[:32]))
		if !strings.Contains(doc, `"reason": "`+label) && !strings.Contains(doc, `"reason": "label `+label) {
			t.Errorf("%s: %.2000s", event, doc)
		}
	}
}

// Whatever does not hold is refused with the reason, the job fails, and the store
// stays as it was.
func TestApproveRefuses(t *testing.T) {
	c, res := wished(t)
	good := res.Baseline.Proposed[:16]
	artifact, before := filepath.Join(c.root, "artifact"), c.store()
	edit := func(name, old, now string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			text := read(t, filepath.Join(dir, name))
			if !strings.Contains(text, old) {
				t.Fatalf("%s holds no %q", name, old)
			}
			write(t, filepath.Join(dir, name), strings.Replace(text, old, now, 1))
		}
	}
	for _, tt := range []struct {
		name, by, body, says string
		spoil                func(*testing.T, string)
	}{
		{"a stranger", "mallory", good + " please", `mallory may not push to this repository \(permission "read"\)`, nil},
		{"somebody unknown", "who-is-that", good + " please", "who-is-that", nil},
		{"an app", "robot[bot]", good + " please", "is no person who could approve", nil},
		{"another digest", "octocat", "0000000000000000 why", "does not name these numbers", nil},
		{"a digest that is right at first", "octocat", good + "00 why", "does not name these numbers", nil},
		{"too few digits", "octocat", good[:15] + " why", "want 16 to 64 hexadecimal digits", nil},
		{"no reason", "octocat", good, "the reason is missing", nil},
		{"another pull request", "octocat", good + " why", `claims pull request "1", GitHub says 2`, edit(resultsFile, `"pull_request": 2`, `"pull_request": 1`)},
		{"another repository", "octocat", good + " why", "claims repository", edit(resultsFile, `"octo/engine"`, `"mallory/engine"`)},
		{"no results", "octocat", good + " why", "there are no results of this pull request", func(t *testing.T, dir string) { remove(t, dir) }},
		{"damaged results", "octocat", good + " why", "the results cannot be read", func(t *testing.T, dir string) { write(t, filepath.Join(dir, resultsFile), "{") }},
		{"no document", "octocat", good + " why", "the run's document, beside its results, cannot be approved", func(t *testing.T, dir string) { remove(t, filepath.Join(dir, baselineFile)) }},
		{"a damaged document", "octocat", good + " why", "damaged or changed by hand", edit(baselineFile, `"approved_by": ""`, `"approved_by": "octocat"`)},
		{"half a document", "octocat", good + " why", "the run's document, beside its results, cannot be approved", func(t *testing.T, dir string) {
			text := read(t, filepath.Join(dir, baselineFile))
			write(t, filepath.Join(dir, baselineFile), text[:len(text)/2])
		}},
		{"a document that is a link", "octocat", good + " why", "is a link", func(t *testing.T, dir string) {
			path := filepath.Join(dir, baselineFile)
			remove(t, path)
			link(t, filepath.Join(artifact, baselineFile), path)
		}},
		{"another run's document", "octocat", good + " why", "is of another run than results.json", edit(resultsFile, `"proposed": "`+good, `"proposed": "`+strings.Repeat("0", 16))},
		{"a run without a store", "octocat", good + " why", "held against no store", edit(resultsFile, res.Baseline.Proposed, "")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "artifact")
			if err := os.CopyFS(dir, os.DirFS(artifact)); err != nil {
				t.Fatal(err)
			}
			if tt.spoil != nil {
				tt.spoil(t, dir)
			}
			c.inputs["results"] = dir
			n := len(c.replies())
			r := c.says(tt.by, "/paritygate approve "+tt.body).run()
			replies := c.replies()
			plain := strings.NewReplacer(`\(`, "(", `\)`, ")").Replace(tt.says)
			if !r.failed || r.code != 3 || r.outputs["outcome"] != "incomplete" || r.outputs["exit-code"] != "3" || !strings.Contains(c.steps["report"].log, "not approved: ") ||
				!strings.Contains(c.steps["report"].log, plain) {
				t.Errorf("%+v, want %q\n%s", r, plain, c.steps["report"].log)
			}
			if len(replies) != n+1 || !strings.HasPrefix(replies[n], "**Not approved**: ") {
				t.Errorf("replies %q", replies[n:])
			}
			if c.store() != before {
				t.Fatal("the store was written")
			}
		})
	}
	c.inputs["results"] = artifact

	t.Run("a label of a stranger", func(t *testing.T) {
		n := len(c.replies())
		if r := c.labels("mallory", "parity-approved:"+good).run(); r.code != 3 || len(c.replies()) != n || !strings.Contains(c.steps["report"].log, "mallory may not push") || c.store() != before {
			t.Errorf("%+v\n%s", r, c.steps["report"].log)
		}
	})
	t.Run("GitHub does not say who may", func(t *testing.T) {
		c.server.Choose(func(r *http.Request, _ int) *githubtest.Fault {
			if strings.HasSuffix(r.URL.Path, "/permission") {
				f := githubtest.Forbidden()
				return &f
			}
			return nil
		})
		defer c.server.Choose(nil)
		if r := c.says("octocat", "/paritygate approve "+good+" why").run(); r.code != 3 || c.store() != before {
			t.Errorf("%+v\n%s", r, c.steps["report"].log)
		}
	})
	t.Run("a token that only reads", func(t *testing.T) {
		c.token = githubtest.ForkToken
		defer func() { c.token = canary }()
		r := c.says("octocat", "/paritygate approve "+good+" why").run()
		if r.code != 3 || c.store() != before || !strings.Contains(c.summary, "could not reply to the comment") {
			t.Errorf("%+v\n%s", r, c.steps["report"].log)
		}
	})
	t.Run("the pull request moved on", func(t *testing.T) {
		c.repo.Commit("feature", "more", map[string]string{"more.txt": "x"})
		for _, job := range []func() *change{
			func() *change { return c.says("octocat", "/paritygate approve "+good+" why") },
			func() *change { return c.labels("octocat", "parity-approved:"+good) },
		} {
			if r := job().run(); r.code != 3 || !strings.Contains(c.steps["report"].log, "it claims head commit") || c.store() != before {
				t.Errorf("%+v\n%s", r, c.steps["report"].log)
			}
		}
	})
	c.wantNoToken()
}

// Most comments are no commands: nothing is done, asked or said, even without a
// token or results.
func TestApproveNothing(t *testing.T) {
	c := newChange(t, sound, nil)
	c.inputs = map[string]string{"binary": program, "mode": "approve", "results": "artifact", "token": ""}
	c.token = ""
	for _, body := range []string{"Nice!", "please /paritygate approve 9090909090909090 why", "/paritygate approves"} {
		asked := len(c.server.Requests())
		r := c.says("mallory", body).run()
		if r.failed || r.outputs["outcome"] != "" || r.outputs["exit-code"] != "0" || len(c.replies()) != 0 || c.summary != "" || len(c.server.Requests()) != asked {
			t.Errorf("%q: %+v\n%s", body, r, c.log.String())
		}
	}
	if r := c.labels("mallory", "bug").run(); r.failed || r.outputs["outcome"] != "" {
		t.Errorf("a label: %+v\n%s", r, c.log.String())
	}
	if r := c.says("octocat", "/paritygate approve 9090909090909090 why").run(); r.code != 2 || r.outputs["outcome"] != "incomplete" || !strings.Contains(c.log.String(), "nothing can be approved without GitHub: no token") {
		t.Errorf("without a token: %+v\n%s", r, c.log.String())
	}
	c.event, c.payload = "push", payload(t, map[string]any{"ref": "refs/heads/main", "after": c.base, "before": strings.Repeat("0", 40)})
	if r := c.run(); r.code != 2 || !strings.Contains(c.log.String(), "it runs on issue_comment and on pull_request with types: [labeled], and this is event push") {
		t.Errorf("on push: %+v\n%s", r, c.log.String())
	}
}

// Where approvals go: the input, else the base branch's spec, never the change's.
func TestApproveStore(t *testing.T) {
	for _, tt := range []struct{ name, baseline, spec, says string }{
		{"no store", "", engineSpec, "no store of baselines is named"},
		{"no spec", "", "", "the base branch has no parity.yaml"},
		{"a spec that is not valid", "", "version: 9\n", "is not valid"},
		{"in the workspace", "dir:baselines", engineSpec, "lies in the workspace"},
		{"with a remote", "branch:b@origin", engineSpec, "leave @ and the remote out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newChange(t, sound, func(dir string) { write(t, filepath.Join(dir, "parity.yaml"), storeSpec) })
			change := githubtest.Change{Branch: "main", Message: "spec", Files: map[string]string{"parity.yaml": tt.spec}}
			if tt.spec == "" {
				change.Files, change.Delete = nil, []string{"parity.yaml"}
			}
			c.base = c.repo.Push(change)
			c.pull = c.repo.AddPullRequest(githubtest.PullRequest{HeadRef: "feature"})
			c.inputs = map[string]string{"binary": program, "mode": "approve", "results": "artifact", "baseline": tt.baseline}
			r := c.says("octocat", "/paritygate approve 9090909090909090 why").run()
			if r.code != 3 || !strings.Contains(c.steps["report"].log, tt.says) || len(c.replies()) != 1 {
				t.Errorf("%+v, want %q\n%s", r, tt.says, c.log.String())
			}
		})
	}
}
