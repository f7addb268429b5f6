//go:build unix

package action

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// manifest is the part of action.yml that tests read.
type manifest struct {
	Inputs map[string]struct {
		Description string `yaml:"description"`
		Default     string `yaml:"default"`
	} `yaml:"inputs"`
	Outputs map[string]struct {
		Description string `yaml:"description"`
		Value       string `yaml:"value"`
	} `yaml:"outputs"`
	Runs struct {
		Using string         `yaml:"using"`
		Steps []manifestStep `yaml:"steps"`
	} `yaml:"runs"`
}

type manifestStep struct {
	ID              string            `yaml:"id"`
	If              string            `yaml:"if"`
	Shell           string            `yaml:"shell"`
	Env             map[string]string `yaml:"env"`
	Run             string            `yaml:"run"`
	Uses            string            `yaml:"uses"`
	With            map[string]string `yaml:"with"`
	ContinueOnError bool              `yaml:"continue-on-error"`
}

func readManifest(t *testing.T) *manifest {
	t.Helper()
	data, err := os.ReadFile("../../action.yml")
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	m := new(manifest)
	if err := d.Decode(m); err != nil {
		t.Fatal(err)
	}
	return m
}

// job is a runner of one job that uses the Action once: it does with action.yml
// what GitHub's runner does, as far as the Action can tell.
type job struct {
	t         *testing.T
	root      string // of the runner: _temp and the workspace lie in it
	workspace string
	temp      string
	env       map[string]string // of the job
	inputs    map[string]string
	event     string // name
	payload   string
	sha       string            // GITHUB_SHA
	action    string            // folder of the Action; "" for this repository
	secrets   map[string]string // set for the whole job
	api       string
	token     string // github.token
	cancel    string // the step that is cancelled, once when says so
	when      func() bool
	took      time.Duration // from there to the step's end
	only      string        // the last step to run, "" for all
	// credential is the user that steps run as, nil for the test's own.
	credential *syscall.Credential
	// before is called before a step's script; tests look at the machine there.
	before func(step string)

	steps map[string]*stepState
	log   bytes.Buffer
	// commands are those that the runner would have obeyed.
	commands []string
	summary  string
	uploaded string // the folder that was uploaded, as name=folder
	seen     int    // steps that ran
}

type stepState struct {
	outputs map[string]string
	outcome string
	log     string
}

// result is how the Action ended.
type result struct {
	outputs map[string]string
	failed  bool
	code    int // of the step that failed first
}

func newJob(t *testing.T, workspace string) *job {
	t.Helper()
	root := filepath.Dir(workspace)
	j := &job{t: t, root: root, workspace: workspace, temp: filepath.Join(root, "_temp"), env: map[string]string{}, inputs: map[string]string{},
		event: "workflow_dispatch", payload: "{}", sha: strings.Repeat("1", 40), token: "", steps: map[string]*stepState{}}
	for _, d := range []string{"_runner_file_commands", "_github_workflow"} {
		if err := os.MkdirAll(filepath.Join(j.temp, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return j
}

// run runs all steps of action.yml.
func (j *job) run() result {
	j.t.Helper()
	m := readManifest(j.t)
	repo := j.action
	if repo == "" {
		var err error
		if repo, err = filepath.Abs("../.."); err != nil {
			j.t.Fatal(err)
		}
	}
	eventPath := filepath.Join(j.temp, "_github_workflow", "event.json")
	if err := os.WriteFile(eventPath, []byte(j.payload), 0o644); err != nil {
		j.t.Fatal(err)
	}
	for name, in := range m.Inputs {
		if _, ok := j.inputs[name]; !ok {
			j.inputs[name] = in.Default
		}
	}
	for name := range j.inputs {
		if _, ok := m.Inputs[name]; !ok {
			j.t.Fatalf("action.yml has no input %s", name)
		}
	}
	var r result
	for i, s := range m.Runs.Steps {
		st := &stepState{outputs: map[string]string{}, outcome: "skipped"}
		j.steps[s.ID] = st
		cond := s.If
		if cond == "" {
			cond = "success()"
		}
		if !strings.Contains(cond, "always()") && r.failed || !j.truth(cond, r.failed) {
			continue
		}
		j.seen++
		if s.Uses != "" {
			j.uploaded = j.eval(s.With["name"]) + "=" + j.eval(s.With["path"])
			continue
		}
		code := j.script(i, s, st, repo, eventPath)
		if st.outcome = "success"; code != 0 {
			st.outcome = "failure"
			if !r.failed {
				r.failed, r.code = true, code
			}
		}
		if s.ID == j.only {
			return r
		}
	}
	r.outputs = map[string]string{}
	for name, o := range m.Outputs {
		r.outputs[name] = j.eval(o.Value)
	}
	return r
}

// script runs one step's script the way the runner does.
func (j *job) script(i int, s manifestStep, st *stepState, repo, eventPath string) int {
	t := j.t
	t.Helper()
	files := map[string]string{}
	for name, prefix := range map[string]string{"GITHUB_ENV": "set_env_", "GITHUB_PATH": "add_path_", "GITHUB_OUTPUT": "set_output_",
		"GITHUB_STATE": "save_state_", "GITHUB_STEP_SUMMARY": "step_summary_"} {
		files[name] = filepath.Join(j.temp, "_runner_file_commands", fmt.Sprintf("%s%d", prefix, i))
		if err := os.WriteFile(files[name], nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if j.credential != nil {
			if err := os.Chown(files[name], int(j.credential.Uid), int(j.credential.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	script := filepath.Join(j.temp, fmt.Sprintf("script-%d.sh", i))
	if err := os.WriteFile(script, []byte(s.Run), 0o755); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"PATH": os.Getenv("PATH"), "HOME": os.Getenv("HOME")}
	if d := os.Getenv("DOCKER_HOST"); d != "" {
		env["DOCKER_HOST"] = d
	}
	set := func(m map[string]string) {
		for k, v := range m {
			env[k] = v
		}
	}
	set(j.secrets)
	set(j.env)
	set(map[string]string{
		"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": j.workspace, "RUNNER_TEMP": j.temp, "GITHUB_ACTION_PATH": repo,
		"GITHUB_EVENT_NAME": j.event, "GITHUB_EVENT_PATH": eventPath, "GITHUB_REPOSITORY": "octo/engine", "GITHUB_RUN_ID": "77",
		"GITHUB_RUN_ATTEMPT": "2", "GITHUB_WORKFLOW": "parity", "GITHUB_SHA": j.sha, "GITHUB_REF": "refs/heads/main",
		"GITHUB_SERVER_URL": "https://github.com", "GITHUB_API_URL": j.api,
	})
	if j.api == "" {
		env["GITHUB_API_URL"] = "http://127.0.0.1:9"
	}
	set(files)
	for k, v := range s.Env {
		env[k] = j.eval(v)
	}
	if j.before != nil {
		j.before(s.ID)
	}
	cmd := exec.Command("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", script)
	cmd.Dir = j.workspace
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	code := j.wait(s.ID, cmd, st)
	j.finish(files, st)
	return code
}

// wait runs the script, cancels it where the test says so, and reads its log
// for commands.
func (j *job) wait(id string, cmd *exec.Cmd, st *stepState) int {
	j.t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: j.credential}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		j.t.Fatal(err)
	}
	cancelled := make(chan time.Time, 1)
	if j.cancel == id {
		go func() {
			for end := time.Now().Add(30 * time.Second); !j.when() && time.Now().Before(end); {
				time.Sleep(10 * time.Millisecond)
			}
			cancelled <- time.Now()
			_ = cmd.Process.Signal(os.Interrupt) // the runner signals the step's process alone
		}()
	}
	err := cmd.Wait()
	if j.cancel == id {
		j.took = time.Since(<-cancelled)
	}
	st.log = out.String()
	j.log.WriteString(st.log)
	j.obey(st.log)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if c := exit.ExitCode(); c > 0 {
			return c
		}
		return 1
	}
	j.t.Fatalf("step %s: %v\n%s", id, err, st.log)
	return 1
}

var commandLine = regexp.MustCompile(`^\s*::([a-zA-Z-]+)( [^:]*)?::`)

// obey looks for commands as the runner does: on any line, unless it was told
// to stop.
func (j *job) obey(log string) {
	stop := ""
	lines := bufio.NewScanner(strings.NewReader(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(log)))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		l := lines.Text()
		if stop != "" {
			if strings.TrimSpace(l) == "::"+stop+"::" {
				stop = ""
			}
			continue
		}
		if w, ok := strings.CutPrefix(strings.TrimSpace(l), "::stop-commands::"); ok {
			stop = w
			continue
		}
		if m := commandLine.FindStringSubmatch(l); m != nil {
			j.commands = append(j.commands, strings.TrimSpace(l))
		}
		if i := strings.Index(l, "##["); i >= 0 {
			j.commands = append(j.commands, l[i:])
		}
	}
}

// finish takes what the step wrote to the runner's files.
func (j *job) finish(files map[string]string, st *stepState) {
	j.t.Helper()
	read := func(name string) string {
		b, err := os.ReadFile(files[name])
		if err != nil {
			return ""
		}
		return string(b)
	}
	for k, v := range pairs(read("GITHUB_OUTPUT")) {
		st.outputs[k] = v
	}
	for k, v := range pairs(read("GITHUB_ENV")) {
		j.env[k] = v
	}
	if p := strings.TrimSpace(read("GITHUB_PATH")); p != "" {
		j.env["PATH"] = p + ":" + os.Getenv("PATH")
	}
	j.summary += read("GITHUB_STEP_SUMMARY")
	for _, f := range files {
		os.RemoveAll(f)
	}
}

func pairs(s string) map[string]string {
	m := map[string]string{}
	ls := strings.Split(s, "\n")
	for i := 0; i < len(ls); i++ {
		if name, delim, ok := strings.Cut(ls[i], "<<"); ok && !strings.Contains(name, "=") {
			var v []string
			for i++; i < len(ls) && ls[i] != delim; i++ {
				v = append(v, ls[i])
			}
			m[name] = strings.Join(v, "\n")
		} else if name, v, ok := strings.Cut(ls[i], "="); ok {
			m[name] = v
		}
	}
	return m
}

// program is the built program, made once.
var program string

func TestMain(m *testing.M) {
	code, err := testMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func testMain(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "action-test-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "paritygate")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "../..")
	build.Env = append(slices.Clone(os.Environ()), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return m.Run(), nil
}
