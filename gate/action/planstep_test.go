//go:build unix

package action

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/report/github/githubtest"
)

// planned runs the plan step alone and returns the plan it wrote, or its error.
func (j *job) planned() (*Plan, string) {
	j.t.Helper()
	j.only = "plan"
	j.run()
	st := j.steps["plan"]
	if st.outcome != "success" {
		return nil, st.log
	}
	p, err := readPlan(st.outputs["dir"], st.outputs["sha256"])
	if err != nil {
		j.t.Fatal(err)
	}
	return p, st.log
}

// changedSpec has another limit than the base branch's.
var changedSpec = strings.Replace(engineSpec, "preset: f16", "preset: bf16", 1)

func editSpec(t *testing.T) func(string) {
	return func(dir string) { write(t, filepath.Join(dir, "parity.yaml"), changedSpec) }
}

// The base branch's spec judges, and it comes from where the change cannot
// have touched it.
func TestPlanTakesTheBaseSpec(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(c *change)
		spec    string // that judges; "" is the change's own
		refused string
		note    string
	}{
		{"from GitHub", func(c *change) {}, engineSpec, "", ""},
		{"merge group", func(c *change) {
			c.event = "merge_group"
			c.payload = payload(c.t, map[string]any{"merge_group": map[string]any{"head_sha": c.head, "head_ref": "refs/heads/q", "base_sha": c.base, "base_ref": "refs/heads/main"}})
		}, engineSpec, "", ""},
		{"without a token", func(c *change) { c.inputs["token"] = "" }, engineSpec, "", ""},
		{"GitHub down", func(c *change) { c.server.Choose(alwaysFails) }, engineSpec, "", ""},
		{"nowhere", func(c *change) {
			c.inputs["token"] = ""
			gitIn(c.t, c.workspace, "checkout", "-q", "--orphan", "alone")
			commit(c.t, c.workspace, "alone")
			gitIn(c.t, c.workspace, "branch", "-D", "main", "feature")
			gitIn(c.t, c.workspace, "reflog", "expire", "--expire=now", "--all")
			gitIn(c.t, c.workspace, "gc", "-q", "--prune=now")
		}, "", "the base branch's spec cannot be read, and it is the one that judges: GitHub: no token", "neither"},
		{"the base has none", func(c *change) { c.inputs["spec"] = "new.yaml" }, "", "", "the base branch has no new.yaml"},
		{"the base has none, without a token", func(c *change) { c.inputs["spec"], c.inputs["token"] = "new.yaml", "" }, "", "", "the base branch has no new.yaml"},
		{"judge-by head", func(c *change) { c.inputs["judge-by"] = "head" }, "", "", "judge-by: head: the change's own spec judges"},
		{"push", func(c *change) {
			c.event, c.sha = "push", c.head
			c.payload = payload(c.t, map[string]any{"before": c.base, "after": c.head, "ref": "refs/heads/main"})
		}, "", "", ""},
		{"schedule", func(c *change) { c.event, c.sha, c.payload = "schedule", c.head, "{}" }, "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newChange(t, sound, editSpec(t))
			tt.prepare(c)
			p, log := c.planned()
			if p == nil {
				t.Fatal(log)
			}
			got := ""
			if p.BaseSpec != "" {
				got = read(t, p.BaseSpec)
			}
			if got != tt.spec {
				t.Errorf("the spec that judges is\n%s\nwant\n%s", got, tt.spec)
			}
			if !strings.Contains(p.Refused, tt.refused) || tt.refused == "" && p.Refused != "" {
				t.Errorf("refused %q, want %q", p.Refused, tt.refused)
			}
			if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, tt.note) {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
			c.wantNoToken()
		})
	}
}

func alwaysFails(*http.Request, int) *githubtest.Fault {
	f := githubtest.Forbidden()
	return &f
}

// The private folder is the runner's user's alone, and the token is not in it.
func TestPlanFolder(t *testing.T) {
	c := newChange(t, sound, nil)
	p, log := c.planned()
	if p == nil {
		t.Fatal(log)
	}
	dir := c.steps["plan"].outputs["dir"]
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 || filepath.Dir(dir) != c.temp {
		t.Errorf("%s: %v, %v", dir, info, err)
	}
	if got := read(t, filepath.Join(dir, eventFile)); got != c.payload {
		t.Errorf("event %q", got)
	}
	if p.Checkout != c.head {
		t.Errorf("checkout %s, want %s", p.Checkout, c.head)
	}
	if c.steps["plan"].outputs["artifact"] != "paritygate-2" {
		t.Errorf("outputs %v", c.steps["plan"].outputs)
	}
}

func TestPlanApprovesTheSpecThatIsThere(t *testing.T) {
	c := newChange(t, sound, editSpec(t))
	c.inputs["approve-spec"] = "true"
	p, log := c.planned()
	if p == nil || p.Approve != digest([]byte(changedSpec)) {
		t.Errorf("plan %+v\n%s", p, log)
	}
	c = newChange(t, sound, func(dir string) {
		if err := os.Remove(filepath.Join(dir, "parity.yaml")); err != nil {
			t.Fatal(err)
		}
		link(t, "/etc/passwd", filepath.Join(dir, "parity.yaml"))
	})
	c.inputs["approve-spec"] = "true"
	if p, log := c.planned(); p != nil || !strings.Contains(log, "parity.yaml is a link") {
		t.Errorf("plan %+v\n%s", p, log)
	}
}

// A workflow with the rights of the base branch runs no engine of a change.
func TestPlanRefusesPrivilegedCheckouts(t *testing.T) {
	target := func(c *change) { c.event, c.sha = "pull_request_target", c.base }
	finished := func(c *change, event, repo, sha string) {
		c.event = "workflow_run"
		c.payload = payload(c.t, map[string]any{"workflow_run": map[string]any{"id": 5, "run_attempt": 1, "event": event, "conclusion": "success",
			"head_sha": sha, "head_branch": "feature", "head_repository": map[string]any{"full_name": repo}}})
	}
	comment := func(c *change) {
		c.event, c.sha = "issue_comment", c.base
		c.payload = payload(c.t, map[string]any{"issue": map[string]any{"number": c.pull.Number, "pull_request": map[string]any{}}})
	}
	onBase := func(c *change) { gitIn(c.t, c.workspace, "checkout", "-q", c.base) }
	tests := []struct {
		name    string
		prepare func(c *change)
		refused bool
		says    string
	}{
		{"pull_request_target with the head", target, true, "event pull_request_target: its workflow has secrets"},
		{"pull_request_target with a merge of the head", func(c *change) {
			target(c)
			gitIn(c.t, c.workspace, "commit", "-q", "--allow-empty", "-m", "merge")
		}, true, "event pull_request_target"},
		{"pull_request_target where the runner names the head", func(c *change) { target(c); c.sha = c.head }, true, "event pull_request_target"},
		{"pull_request_target without a repository", func(c *change) {
			target(c)
			if err := os.RemoveAll(filepath.Join(c.workspace, ".git")); err != nil {
				c.t.Fatal(err)
			}
		}, true, "which commit it holds cannot be told"},
		{"pull_request_target with the base", func(c *change) { target(c); onBase(c) }, false, "the workspace holds the base branch"},
		{"pull_request_target, allowed", func(c *change) { target(c); c.inputs["allow-pull-request-target"] = "true" }, false, "allow-pull-request-target: engines of the change"},
		{"issue_comment with the head", comment, true, "event issue_comment"},
		{"issue_comment with the base", func(c *change) { comment(c); onBase(c) }, false, "the workspace holds the base branch"},
		{"workflow_run with the head", func(c *change) { finished(c, "pull_request", "octo/engine", c.head); c.sha = c.base }, true, "event workflow_run"},
		{"workflow_run of a push to the default branch", func(c *change) { finished(c, "push", "octo/engine", c.head); c.sha = c.head }, false, ""},
		{"workflow_run of a fork's push", func(c *change) { finished(c, "push", "fork/engine", c.head); c.sha = c.head }, true, "event workflow_run"},
		{"pull_request with the head", func(*change) {}, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newChange(t, sound, nil)
			tt.prepare(c)
			p, log := c.planned()
			if (p == nil) != tt.refused {
				t.Fatalf("plan %+v, want refused %v\n%s", p, tt.refused, log)
			}
			if p != nil {
				log = strings.Join(p.Notes, "\n")
			}
			if !strings.Contains(log, tt.says) {
				t.Errorf("says\n%s\nwant %q", log, tt.says)
			}
			if tt.refused && c.steps["plan"].outputs["exit-code"] != "2" {
				t.Errorf("outputs %v", c.steps["plan"].outputs)
			}
		})
	}
}

// Nothing of the repository's own configuration is obeyed.
func TestPlanRunsNoneOfTheRepositorysCode(t *testing.T) {
	c := newChange(t, sound, nil)
	c.inputs["token"] = "" // so that the checkout is read, too
	marker := filepath.Join(c.root, "ran")
	script := filepath.Join(c.root, "evil.sh")
	write(t, script, "#!/bin/sh\necho \"$0 $*\" >>"+marker+"\nexit 1\n")
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, kv := range [][2]string{
		{"core.fsmonitor", script}, {"core.hooksPath", c.root}, {"core.pager", script}, {"core.sshCommand", script}, {"core.gitProxy", script},
		{"core.editor", script}, {"core.alternateRefsCommand", script}, {"diff.external", script}, {"credential.helper", script},
		{"filter.evil.smudge", script}, {"filter.evil.process", script}, {"diff.evil.textconv", script}, {"uploadpack.packObjectsHook", script},
		{"alias.rev-parse", "!" + script}, {"alias.cat-file", "!" + script}, {"alias.ls-tree", "!" + script}, {"alias.config", "!" + script},
		{"remote.origin.url", "ext::" + script}, {"remote.origin.promisor", "true"}, {"remote.origin.partialclonefilter", "blob:none"},
		{"protocol.ext.allow", "always"}, {"gpg.program", script}, {"pager.config", script},
	} {
		gitIn(t, c.workspace, "config", kv[0], kv[1])
	}
	write(t, filepath.Join(c.workspace, ".git", "info", "attributes"), "* filter=evil diff=evil\n")
	if err := os.Rename(script, filepath.Join(c.root, "post-index-change")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("post-index-change", script); err != nil {
		t.Fatal(err)
	}
	// The blob of the base's spec is gone: a partial clone would fetch it.
	blob := gitIn(t, c.workspace, "-c", "core.fsmonitor=false", "rev-parse", c.base+":parity.yaml")
	if err := os.Remove(filepath.Join(c.workspace, ".git", "objects", blob[:2], blob[2:])); err != nil {
		t.Fatal(err)
	}
	os.Remove(marker)
	p, log := c.planned()
	if p == nil || p.Refused == "" || p.Checkout != c.head {
		t.Errorf("plan %+v\n%s", p, log)
	}
	if b, err := os.ReadFile(marker); err == nil {
		t.Errorf("git ran %s", b)
	}
}

// A checkout that kept its token is refused where engines can read it.
func TestPlanRefusesCredentialsInTheCheckout(t *testing.T) {
	header := "AUTHORIZATION: basic " + canary
	tests := []struct {
		name, key, value, runtime string
		refused                   bool
	}{
		{"actions/checkout before v6", "http.https://github.com/.extraheader", header, "container", true},
		{"actions/checkout before v6, host", "http.https://github.com/.extraheader", header, "host", true},
		{"actions/checkout v6, host", "includeIf.gitdir:/w/.git.path", "/tmp/git-credentials-1.config", "host", true},
		{"actions/checkout v6", "includeIf.gitdir:/w/.git.path", "/tmp/git-credentials-1.config", "container", false},
		{"an address with a token", "remote.origin.url", "https://x:" + canary + "@github.com/o/r", "container", true},
		{"an address with a token, rewritten", "url.https://" + canary + "@github.com/.insteadOf", "https://github.com/", "container", true},
		{"ssh, host", "core.sshCommand", "ssh -i /tmp/key", "host", true},
		{"ssh", "core.sshCommand", "ssh -i /tmp/key", "container", false},
		{"an address", "remote.origin.url", "https://github.com/o/r", "host", false},
		{"an ssh address", "remote.origin.url", "ssh://git@github.com/o/r", "host", false},
		{"another header", "http.https://github.com/.extraheader", "X-A: b", "host", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newChange(t, sound, nil)
			c.inputs["runtime"] = tt.runtime
			gitIn(t, c.workspace, "config", tt.key, tt.value)
			p, log := c.planned()
			if (p == nil) != tt.refused {
				t.Errorf("plan %+v, want refused %v\n%s", p, tt.refused, log)
			}
			if tt.refused && !strings.Contains(log, "persist-credentials: false") || strings.Contains(log, canary) {
				t.Errorf("says\n%s", log)
			}
		})
	}
	c := newChange(t, sound, nil)
	mkdir(t, filepath.Join(c.workspace, ".git", "modules", "sub"))
	write(t, filepath.Join(c.workspace, ".git", "modules", "sub", "config"), "[http \"https://github.com/\"]\n\textraheader = "+header+"\n")
	if p, log := c.planned(); p != nil || !strings.Contains(log, "modules/sub/config") {
		t.Errorf("a submodule's: plan %+v\n%s", p, log)
	}
}

// A baseline is what the default branch measured, and lies in a store.
func TestPlanRefusesRefresh(t *testing.T) {
	for _, tt := range []struct{ event, baseline, mode, want string }{
		{"pull_request", "branch:b", "refresh", "input mode: refresh stores what the default branch measures"},
		{"workflow_dispatch", "", "refresh", "input mode: refresh needs a store of baselines"},
		{"pull_request", "s3:b", "gate", "input baseline: baseline store \"s3:b\""},
		{"schedule", "branch:b@origin", "refresh", "leave @ and the remote out"},
	} {
		c := newChange(t, sound, nil)
		c.inputs["mode"], c.inputs["baseline"] = tt.mode, tt.baseline
		if tt.event != "pull_request" {
			c.event, c.payload, c.sha = tt.event, "{}", c.head
		}
		r := c.run()
		if !r.failed || r.code != 2 || r.outputs["exit-code"] != "2" || r.outputs["outcome"] != "incomplete" || !strings.Contains(c.log.String(), tt.want) {
			t.Errorf("%+v: result %+v\n%s", tt, r, c.log.String())
		}
	}
}

// All mistakes are told, and nothing is run or published.
func TestPlanRefusesInputs(t *testing.T) {
	c := newChange(t, sound+"; touch ran", nil)
	c.inputs["mode"], c.inputs["comment"], c.inputs["working-directory"] = "gat", "perhaps", "."
	r := c.run()
	log := c.log.String()
	if !r.failed || r.code != 2 || !strings.Contains(log, `input mode: "gat": want gate, refresh, report or approve`) || !strings.Contains(log, `input comment: "perhaps"`) {
		t.Errorf("result %+v\n%s", r, log)
	}
	if !slices.ContainsFunc(c.commands, func(s string) bool { return strings.HasPrefix(s, "::error title=paritygate::input mode") }) {
		t.Errorf("commands %q", c.commands)
	}
	if n := len(c.server.Requests()); n > 0 {
		t.Errorf("%d requests", n)
	}
	if _, err := os.Stat(filepath.Join(c.workspace, "ran")); err == nil {
		t.Error("the engine ran")
	}
	if c.uploaded != "" || c.steps["run"].outcome != "skipped" || c.steps["report"].outcome != "skipped" {
		t.Errorf("steps %+v, uploaded %q", c.steps, c.uploaded)
	}
}

func TestPlanRefusesFolders(t *testing.T) {
	for want, change := range map[string]func(*change){
		"input working-directory: nowhere is no folder": func(c *change) { c.inputs["working-directory"] = "nowhere" },
		"GITHUB_EVENT_NAME is not set":                  func(c *change) { c.event = "" },
		"is no event of GitHub":                         func(c *change) { c.payload = "nothing" },
	} {
		c := newChange(t, sound, nil)
		change(c)
		if p, log := c.planned(); p != nil || !strings.Contains(log, want) {
			t.Errorf("plan %+v, want %q\n%s", p, want, log)
		}
	}
}
