package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
	"github.com/paritygate/paritygate/report/github/githubtest"
)

const (
	repoName = "acme/engine"
	runID    = 4711
	// canary is the token. It must be seen nowhere but at GitHub.
	canary = "ghs_CANARYk3eepMeSecret0123456789abcdefgh"
	// forkCanary is the token of a fork's pull request, which may only read.
	forkCanary = "ghs_CANARYf0rkMayOnlyRead0123456789abcdefg"
	// deployCanary is another secret, which a careless workflow gave the whole job.
	deployCanary = "dpl-CANARY-0123456789abcdef"
)

// world is a repository on GitHub and a checkout of it on a self-hosted runner.
type world struct {
	t          *testing.T
	dir        string // the runner's user's own
	checkout   string
	hub        *githubtest.Server
	repo       *githubtest.Repo
	number     int    // of the pull request from feature into main
	base, head string // commits
	headRepo   string // that feature is a branch of
}

// files of a repository, by path.
type files map[string]string

// honest is the candidate's engine.
func honest(t *testing.T) string { return engineScript(t, "honest") }

func engineScript(t *testing.T, name string) string {
	t.Helper()
	return readText(t, filepath.Join(repository(), "testdata", "act", "engines", name+".sh"))
}

func readText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// demoSpec is the demonstration's spec with a candidate that runs engine.sh.
func demoSpec(t *testing.T) string {
	t.Helper()
	text := readText(t, filepath.Join(shared, specFile))
	spec := strings.Replace(text, "adapter: trace, path: candidate.safetensors", `adapter: exec, command: [sh, engine.sh, "{{trace}}"]`, 1)
	if spec == text {
		t.Fatalf("the demonstration's spec has another candidate:\n%s", text)
	}
	return spec
}

// newWorld makes a repository whose main branch passes, and a pull request that
// changes these files.
func newWorld(t *testing.T, change files) *world {
	t.Helper()
	stock(t)
	dir, err := os.MkdirTemp(shared, "world-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &world{t: t, dir: dir, checkout: filepath.Join(dir, "checkout"), hub: githubtest.New(t)}
	for token, access := range map[string]githubtest.Access{canary: githubtest.Write, forkCanary: githubtest.Read} {
		w.hub.AddToken(token, githubtest.Token{Login: "github-actions[bot]", Type: "Bot", Access: access, Installation: true})
	}
	for _, d := range []string{"home", "out", "artifacts", "config/act"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.write("config/act/actrc", "")
	w.git("init", "--quiet", "--initial-branch=main", w.checkout)
	w.git("remote", "add", "origin", "https://github.com/"+repoName)
	w.base = w.commit("Begin", files{"parity.yaml": demoSpec(t), modelFile: readText(t, filepath.Join(shared, modelFile)),
		"candidate.safetensors": readText(t, filepath.Join(shared, soundTrace)), "engine.sh": honest(t)})
	w.git("checkout", "--quiet", "-b", "feature")
	if change == nil {
		change = files{"README.md": "A change.\n"}
	}
	w.head = w.commit("Change", change)
	w.repo = w.hub.AddRepo(repoName)
	if err := w.repo.ImportGit(w.checkout); err != nil {
		t.Fatal(err)
	}
	w.headRepo = repoName
	w.number = w.repo.AddPullRequest(githubtest.PullRequest{HeadRef: "feature", Author: "octocat"}).Number
	return w
}

// fork opens another pull request, with the same change, from a fork.
func (w *world) fork() {
	w.headRepo = "mallory/engine"
	w.hub.AddRepo(w.headRepo, githubtest.ForkOf(w.repo))
	w.number = w.repo.AddPullRequest(githubtest.PullRequest{HeadRepo: w.headRepo, HeadRef: "feature", Author: "mallory"}).Number
}

func (w *world) write(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func (w *world) git(args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", args...)
	if _, err := os.Stat(w.checkout); err == nil {
		cmd.Dir = w.checkout
	}
	cmd.Env = append(os.Environ(), "HOME="+filepath.Join(w.dir, "home"), "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Octo", "GIT_AUTHOR_EMAIL=octo@example.com", "GIT_COMMITTER_NAME=Octo", "GIT_COMMITTER_EMAIL=octo@example.com")
	code, out := exitCode(w.t, cmd)
	if code != 0 {
		w.t.Fatalf("%s\n%s", cmd, out)
	}
	return strings.TrimSpace(out)
}

func (w *world) commit(message string, content files) string {
	w.t.Helper()
	for name, text := range content {
		w.write(filepath.Join("checkout", name), text)
	}
	w.git("add", "--all")
	w.git("commit", "--quiet", "--message", message)
	return w.git("rev-parse", "HEAD")
}

// push adds a commit to the pull request.
func (w *world) push(content files) {
	w.t.Helper()
	w.head = w.commit("Change", content)
	if err := w.repo.ImportGit(w.checkout); err != nil {
		w.t.Fatal(err)
	}
}

type obj = map[string]any

// payload is what GitHub says of an event.
func (w *world) payload(event string) obj {
	w.t.Helper()
	repo, head := obj{"full_name": repoName, "default_branch": "main"}, obj{"full_name": w.headRepo}
	switch event {
	case "pull_request", "pull_request_target":
		return obj{"action": "synchronize", "number": w.number, "repository": repo, "pull_request": obj{"number": w.number, "labels": []obj{},
			"head": obj{"sha": w.head, "ref": "feature", "repo": head}, "base": obj{"sha": w.base, "ref": "main", "repo": repo}}}
	case "merge_group":
		return obj{"action": "checks_requested", "repository": repo, "merge_group": obj{"head_sha": w.head, "base_sha": w.base,
			"head_ref": "refs/heads/gh-readonly-queue/main/pr-1-" + w.base, "base_ref": "refs/heads/main"}}
	case "schedule":
		return obj{"schedule": "0 3 * * *", "repository": repo}
	case "workflow_run":
		return obj{"action": "completed", "repository": repo, "workflow_run": obj{"id": runID, "event": "pull_request", "head_sha": w.head,
			"head_branch": "feature", "conclusion": "success", "run_attempt": 1, "name": "parity", "head_repository": head, "pull_requests": []obj{}}}
	}
	w.t.Fatalf("no payload of event %s", event)
	return nil
}

// job is one run of a workflow.
type job struct {
	event string
	with  string // lines of with:, without indentation
	env   string // lines of the job's env:, without indentation
	token string // default canary
	run   int64  // default runID
}

// workflow is what is pasted into a repository, but for the last step.
const workflow = `name: parity
on:
  pull_request:
  pull_request_target:
  merge_group:
  schedule: [{cron: "0 3 * * *"}]
  workflow_run: {workflows: [parity], types: [completed]}
jobs:
  parity:
    runs-on: self-hosted
    env:
      DEPLOY_TOKEN: ` + deployCanary + `
%s
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with: {persist-credentials: false}
      - id: gate
        uses: paritygate/paritygate@v1
        with:
          binary: %s
%s
      - if: always()
        env:
          OUTPUTS: ${{ toJSON(steps.gate.outputs) }}
          OUTCOME: ${{ steps.gate.outcome }}
        run: bash %s
`

var uploadPin = regexp.MustCompile(`uses: (actions/upload-artifact@[0-9a-f]{40}) `)

// ran is what is left of a job that ended.
type ran struct {
	t       *testing.T
	w       *world
	run     int64  // its id
	code    int    // of act
	log     string // as the job's log shows it
	out     string // folder of look.sh
	outputs map[string]string
	outcome string // of the Action's step
	summary string
	// commands are those that the runner obeyed.
	commands []string
}

// run runs the workflow with act, on this machine, as the runner's user.
func (w *world) run(j job) *ran {
	t := w.t
	t.Helper()
	if j.run == 0 {
		j.run = runID
	}
	if j.token == "" {
		j.token = canary
	}
	pin := uploadPin.FindStringSubmatch(readText(t, filepath.Join(shared, actionFolder, "action.yml")))
	if pin == nil {
		t.Fatal("action.yml pins no actions/upload-artifact")
	}
	event, err := json.Marshal(w.payload(j.event))
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(workflow, indent(6, j.env), filepath.Join(shared, programFile), indent(10, j.with), filepath.Join(shared, lookFile))
	args := []string{j.event, "--json", "--insecure-secrets", "--directory", w.checkout, "--workflows", w.write("workflow.yml", text),
		"--eventpath", w.write("event.json", string(event)), "--secret-file", "/dev/stdin",
		"--platform", "self-hosted=-self-hosted", "--container-daemon-socket", "-", "--no-cache-server", "--action-offline-mode",
		"--artifact-server-path", filepath.Join(w.dir, "artifacts"), "--artifact-server-addr", "127.0.0.1", "--artifact-server-port", freePort(t),
		"--local-repository", "paritygate/paritygate@v1=" + filepath.Join(shared, actionFolder),
		"--local-repository", pin[1] + "=" + filepath.Join(shared, uploadFolder),
		"--env", "GITHUB_API_URL=" + w.hub.URL(), "--env", fmt.Sprintf("GITHUB_RUN_ID=%d", j.run), "--env", "E2E_OUT=" + filepath.Join(w.dir, "out")}
	for _, f := range []string{"out", "home"} { // of an earlier run
		if err := errors.Join(os.RemoveAll(filepath.Join(w.dir, f)), os.Mkdir(filepath.Join(w.dir, f), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	giveAway(t, w.dir)
	cmd := exec.Command(filepath.Join(shared, actFile), args...)
	cmd.Dir = w.dir
	cmd.Stdin = secret(t, "GITHUB_TOKEN="+j.token+"\n")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(w.dir, "home"), "XDG_CONFIG_HOME=" + filepath.Join(w.dir, "config"),
		"DOCKER_HOST=unix://" + filepath.Join(shared, socketFile)}
	if uid, gid := user(); uid != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	r := &ran{t: t, w: w, run: j.run, out: filepath.Join(w.dir, "out"), outputs: map[string]string{}}
	var said string
	r.code, said = exitCode(t, cmd)
	r.read(said)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of %s:\n%s", j.event, r.log)
		}
	})
	if r.outcome == "" {
		t.Fatalf("the workflow did not come to its last step:\n%s", said)
	}
	return r
}

// secret is text that only a process that is given it can read, once: as on
// GitHub's runner, no file and no variable of the runner's holds the token.
func secret(t *testing.T, text string) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	uid, gid := user()
	_, err = w.WriteString(text)
	if err := errors.Join(err, w.Close(), r.Chown(uid, gid)); err != nil {
		t.Fatal(err)
	}
	return r
}

// read takes in what act and look.sh said.
func (r *ran) read(said string) {
	r.t.Helper()
	lines := bufio.NewScanner(strings.NewReader(said))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e struct{ Msg, Command, Content string }
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			r.log += lines.Text() + "\n"
			continue
		}
		if e.Command == "summary" {
			r.summary += e.Content
			continue
		}
		if e.Command != "" {
			r.commands = append(r.commands, lines.Text())
		}
		r.log += e.Msg + "\n"
	}
	if b, err := os.ReadFile(filepath.Join(r.out, "outputs.json")); err == nil {
		if err := json.Unmarshal(b, &r.outputs); err != nil {
			r.t.Errorf("outputs: %v\n%s", err, b)
		}
	}
	b, _ := os.ReadFile(filepath.Join(r.out, "outcome")) // run looks whether it is there
	r.outcome = string(b)
}

// keep keeps a file of a run's reports beyond the next run.
func (w *world) keep(name string, r *ran) string {
	return w.write(name, readText(w.t, filepath.Join(r.out, "reports", name)))
}

func indent(n int, lines string) string {
	pad := strings.Repeat(" ", n)
	return pad + strings.ReplaceAll(strings.TrimRight(lines, "\n"), "\n", "\n"+pad)
}

// freePort is a port that nobody listened on a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// result is the results.json that the outputs name.
func (r *ran) result() *gate.Result {
	r.t.Helper()
	f, err := os.Open(filepath.Join(r.out, "results.json"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	res, err := report.Read(f)
	if err != nil {
		r.t.Fatal(err)
	}
	return res
}
