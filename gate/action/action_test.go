//go:build unix

package action

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report/github/githubtest"
)

// engineSpec runs one command as the candidate.
const engineSpec = `version: 1
prompts:
  - {name: a, tokens: [1, 2, 3, 4, 5, 6, 7, 8]}
engines:
  reference: {adapter: trace, path: reference.safetensors}
  candidate: {adapter: exec, command: [bash, engine.sh, "{{trace}}"], timeout: 60s}
tolerances: {preset: f16}
`

// Engines of tests are shell scripts that get the path of the trace.
const (
	sound   = `cp sound.safetensors "$1"`
	broken  = `cp rope-bug.safetensors "$1"`
	crashes = `echo "CUDA error: out of memory" >&2; exit 7`
)

// canary is the token of tests: wherever it appears it should not be.
const canary = "ghs_canary0123456789abcdefABCDEF0123456789"

// workspace is a checkout with a spec, a reference's trace and an engine.
func workspace(t *testing.T, engine string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "work")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"parity.yaml": engineSpec, "engine.sh": "set -u\n" + engine + "\n"}
	for _, name := range []string{"reference.safetensors", "sound.safetensors", "rope-bug.safetensors"} {
		data, err := os.ReadFile("../../examples/" + name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(data)
	}
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	gitIn(t, dir, "init", "-q", "-b", "main")
	commit(t, dir, "first")
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func commit(t *testing.T, dir, message string) string {
	t.Helper()
	gitIn(t, dir, "add", "-A")
	gitIn(t, dir, "commit", "-q", "--allow-empty", "-m", message)
	return gitIn(t, dir, "rev-parse", "HEAD")
}

func gitIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// change is a pull request of the workspace against a fake of GitHub.
type change struct {
	*job
	server     *githubtest.Server
	repo       *githubtest.Repo
	pull       githubtest.PullRequest
	base, head string
}

// newChange opens a pull request whose head has the given engine; edit changes
// more of the workspace first, and may be nil.
func newChange(t *testing.T, engine string, edit func(dir string)) *change {
	t.Helper()
	dir := workspace(t, sound)
	c := &change{base: gitIn(t, dir, "rev-parse", "HEAD")}
	gitIn(t, dir, "checkout", "-q", "-b", "feature")
	write(t, filepath.Join(dir, "engine.sh"), "set -u\n"+engine+"\n")
	if edit != nil {
		edit(dir)
	}
	c.head = commit(t, dir, "change")
	c.server = githubtest.New(t, githubtest.WithToken(canary, githubtest.Token{Login: "github-actions[bot]", Type: "Bot", Access: githubtest.Write, Installation: true}))
	c.repo = c.server.AddRepo("octo/engine")
	if err := c.repo.ImportGit(dir); err != nil {
		t.Fatal(err)
	}
	c.pull = c.repo.AddPullRequest(githubtest.PullRequest{HeadRef: "feature"})
	c.job = newJob(t, dir)
	c.inputs = map[string]string{"runtime": "host", "binary": program}
	c.api, c.token = c.server.URL(), canary
	c.event, c.sha = "pull_request", strings.Repeat("2", 40)
	c.payload = payload(t, map[string]any{"pull_request": pullPayload(c)})
	return c
}

func pullPayload(c *change) map[string]any {
	repo := map[string]any{"full_name": "octo/engine"}
	return map[string]any{"number": c.pull.Number, "labels": []any{},
		"head": map[string]any{"ref": "feature", "sha": c.head, "repo": repo}, "base": map[string]any{"ref": "main", "sha": c.base, "repo": repo}}
}

func payload(t *testing.T, event map[string]any) string {
	t.Helper()
	event = maps.Clone(event)
	event["repository"] = map[string]any{"full_name": "octo/engine"}
	b, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A whole gate on a pull request, step by step as action.yml has it.
func TestGateOnPullRequest(t *testing.T) {
	tests := []struct {
		name, engine    string
		outcome, code   string
		failed          bool
		state, headline string
	}{
		{"pass", sound, "pass", "0", false, "success", "Parity passes"},
		{"fail", broken, "fail", "1", true, "failure", "Parity fails"},
		{"crash", crashes, "incomplete", "3", true, "error", "out of memory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newChange(t, tt.engine, nil)
			r := c.run()
			if r.outputs["outcome"] != tt.outcome || r.outputs["exit-code"] != tt.code || r.failed != tt.failed {
				t.Fatalf("result %+v\n%s", r, c.log.String())
			}
			comments := c.repo.Comments(c.pull.Number)
			if len(comments) != 1 || !strings.Contains(comments[0].Body, tt.headline) {
				t.Errorf("comments %+v, want one with %q", comments, tt.headline)
			}
			if s := c.repo.Statuses(c.head); len(s) == 0 || s[len(s)-1].State != tt.state || s[len(s)-1].Context != "paritygate" {
				t.Errorf("statuses %+v, want %s", s, tt.state)
			}
			if !strings.Contains(c.summary, tt.headline) {
				t.Errorf("summary\n%s\nwant %q in it", c.summary, tt.headline)
			}
			c.wantReports(r)
			c.wantNoToken()
		})
	}
}

// wantReports checks the folder that is uploaded and results.json in it.
func (c *change) wantReports(r result) {
	c.t.Helper()
	if c.uploaded != "paritygate-2="+r.outputs["report"] {
		c.t.Errorf("uploaded %q, want the folder %s", c.uploaded, r.outputs["report"])
	}
	for _, name := range []string{"results.json", "comment.md", "report.txt", "junit.xml"} {
		info, err := os.Lstat(filepath.Join(r.outputs["report"], name))
		if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o644 {
			c.t.Errorf("%s: %v %v", name, info, err)
		}
	}
	s := c.results(r).Source
	if s == nil || s.Repository != "octo/engine" || s.Event != "pull_request" || s.PullRequest != c.pull.Number || s.Head != c.head || s.Base != c.base ||
		s.RunID != 77 || s.RunAttempt != 2 {
		c.t.Errorf("source %+v", s)
	}
}

// results is the results.json that the outputs name.
func (c *change) results(r result) *gate.Result {
	c.t.Helper()
	res, err := readResults(filepath.Dir(r.outputs["results"]), resultsFile)
	if err != nil {
		c.t.Fatalf("%v\n%s", err, c.log.String())
	}
	return res
}

// wantNoToken looks for the token in everything that a step left behind: the
// log, the outputs, the summary, the job's environment, and every file below
// the runner's folder.
func (j *job) wantNoToken() {
	j.t.Helper()
	look := func(where, text string) {
		if strings.Contains(text, canary) {
			j.t.Errorf("the token is in %s", where)
		}
	}
	look("the log", j.log.String())
	look("the summary", j.summary)
	for k, v := range j.env {
		look("the environment of the job, "+k, v)
	}
	for id, st := range j.steps {
		for k, v := range st.outputs {
			look("the outputs of "+id+", "+k, v)
		}
	}
	err := filepath.WalkDir(j.root, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		look(path, string(b))
		return err
	})
	if err != nil {
		j.t.Fatal(err)
	}
}

// A change cannot loosen the rules that it is held to; somebody who approves
// that very spec can.
func TestGateOnALoosenedSpec(t *testing.T) {
	loosen := func(dir string) {
		write(t, filepath.Join(dir, "parity.yaml"), strings.Replace(engineSpec, "preset: f16", "preset: bf16", 1))
	}
	for _, tt := range []struct{ approve, judgeBy, outcome string }{
		{"", "base", "fail"}, {"true", "base", "pass"}, {"DIGEST", "base", "pass"}, {"", "head", "pass"},
	} {
		c := newChange(t, broken, loosen)
		c.inputs["judge-by"] = tt.judgeBy
		c.inputs["approve-spec"] = strings.Replace(tt.approve, "DIGEST", digest([]byte(read(t, filepath.Join(c.workspace, "parity.yaml")))), 1)
		r := c.run()
		if r.outputs["outcome"] != tt.outcome {
			t.Errorf("%+v: result %+v\n%s", tt, r, c.log.String())
		}
		body := c.repo.Comments(c.pull.Number)[0].Body
		if tt.judgeBy == "base" && !strings.Contains(body, "oosen") {
			t.Errorf("%+v: the comment does not say what was loosened:\n%s", tt, body)
		}
		if tt.judgeBy == "head" && !strings.Contains(body, "judge-by: head") {
			t.Errorf("%+v: the comment does not say who judged:\n%s", tt, body)
		}
	}
}
