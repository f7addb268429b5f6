//go:build linux

package action

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fakeDocker puts a docker into the job's PATH that logs its arguments and runs
// the program itself instead of a container; script is tried before.
func (c *change) fakeDocker(script string) {
	c.t.Helper()
	dir := filepath.Join(c.root, "bin")
	mkdir(c.t, dir)
	write(c.t, filepath.Join(dir, "docker"), `#!/bin/bash
printf '%s\n' "$*" >>`+c.dockerLog()+`
`+script+`
case $1 in
info) echo '["name=seccomp,profile=builtin","name=cgroupns"]' ;;
image) exit 0 ;;
run)
	while [ "$1" != run ] || [ "${2##*.}" != yaml ]; do shift; done
	exec `+program+` "$@"
	;;
esac
`)
	if err := os.Chmod(filepath.Join(dir, "docker"), 0o755); err != nil {
		c.t.Fatal(err)
	}
	c.inputs["runtime"] = "container"
	c.secrets = map[string]string{"PATH": dir + ":" + os.Getenv("PATH")}
}

func (c *change) dockerLog() string { return filepath.Join(c.root, "docker.log") }

func TestContainerOutcomes(t *testing.T) {
	for engine, outcome := range map[string]string{sound: "pass", broken: "fail", crashes: "incomplete"} {
		c := newChange(t, engine, nil)
		c.fakeDocker("")
		r := c.run()
		if r.outputs["outcome"] != outcome {
			t.Errorf("result %+v, want %s\n%s", r, outcome, c.log.String())
		}
		c.wantReports(r)
		c.wantNoToken()
		log := read(t, c.dockerLog())
		if !strings.Contains(log, "image inspect --format {{.Id}} paritygate-action:") || !strings.Contains(log, "--cap-drop=ALL") {
			t.Errorf("docker was asked\n%s", log)
		}
		if strings.Contains(log, "rm --force") != (outcome != "pass") {
			t.Errorf("%s: docker was asked\n%s", outcome, log)
		}
	}
}

// Whatever is wrong with Docker makes the gate incomplete and says so in the
// comment.
func TestContainerFaults(t *testing.T) {
	tests := []struct{ name, docker, image, says string }{
		{"no daemon", `[ $1 = info ] && { echo "Cannot connect to the Docker daemon at unix:///x." >&2; exit 1; }`, "", "the Docker daemon cannot be reached: Cannot connect to the Docker daemon"},
		{"pull", `[ $1 = run ] && { echo "Unable to find image 'no/such:1' locally" >&2; echo "docker: Error response from daemon: pull access denied" >&2; exit 125; }`,
			"no/such:1", "docker could not run the container (exit code 125): Unable to find image"},
		{"another machine", `[ $1 = run ] && { echo "invalid mount config for type bind: bind source path does not exist: /w" >&2; exit 125; }`, "own:1",
			"as in a job that itself runs in a container: use runtime: host there"},
		{"no entry point", `[ $1 = run ] && { echo "exec: not found" >&2; exit 127; }`, "own:1", "docker could not run the container (exit code 127): exec: not found"},
		{"out of memory", `[ $1 = run ] && exit 137`, "own:1", "the container was killed (exit code 137)"},
		{"nothing written", `[ $1 = run ] && exit 0`, "own:1", "exit code 0, and no results.json was written"},
		{"build", `[ $1 = image ] && exit 1; [ $1 = build ] && { echo "no space left on device" >&2; exit 1; }`, "", "the image of the Action cannot be built (docker build: exit code 1): no space left"},
		{"a name", `[ $1 = run ] && { echo "<img onerror=1> @everyone ](javascript:1)" >&2; exit 125; }`, "own:1", "docker could not run the container"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newChange(t, sound, nil)
			c.fakeDocker(tt.docker)
			c.inputs["image"] = tt.image
			r := c.run()
			if r.outputs["outcome"] != "incomplete" || r.outputs["exit-code"] != "3" || r.code != 3 {
				t.Errorf("result %+v", r)
			}
			if reasons := strings.Join(c.results(r).Reasons, "\n"); !strings.Contains(reasons, tt.says) {
				t.Errorf("reasons %q, want %q", reasons, tt.says)
			}
			comments := c.repo.Comments(c.pull.Number)
			if len(comments) != 1 || strings.Contains(comments[0].Body, "<img") {
				t.Errorf("comments %+v", comments)
			}
			c.wantReports(r)
		})
	}
}

func TestContainerWithoutDocker(t *testing.T) {
	c := newChange(t, sound, nil)
	c.fakeDocker("")
	if err := os.Remove(filepath.Join(c.root, "bin", "docker")); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"bash", "git", "cat", "cp", "mktemp", "chmod", "sha256sum", "dirname", "tail", "uname", "env"} {
		for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
			if _, err := os.Stat(filepath.Join(dir, tool)); err == nil {
				link(t, filepath.Join(dir, tool), filepath.Join(c.root, "bin", tool))
				break
			}
		}
	}
	c.secrets["PATH"] = filepath.Join(c.root, "bin")
	r := c.run()
	if r.outputs["outcome"] != "incomplete" || r.code != 3 || !strings.Contains(c.summary, "docker cannot be started") || !strings.Contains(c.summary, "runtime: host needs none") {
		t.Errorf("result %+v\n%s\n%s", r, c.log.String(), c.summary)
	}
}

// What docker is told of users and devices.
func TestContainerOfThisRunner(t *testing.T) {
	tests := []struct {
		name, docker, smi string
		inputs            map[string]string
		has, hasNot       []string
	}{
		{"plain", "", "", nil, []string{"--user " + ids()}, []string{"--gpus", "--userns", "--entrypoint"}},
		{"rootless", `[ $1 = info ] && { echo '["name=seccomp","name=rootless"]'; exit; }`, "", nil, []string{"--user 0:0"}, []string{"--userns"}},
		{"remapped", `[ $1 = info ] && { echo '["name=userns"]'; exit; }`, "", nil, []string{"--user " + ids(), "--userns=host"}, nil},
		{"a GPU", "", "echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'", nil, []string{"--gpus all"}, nil},
		{"a GPU, none wanted", "", "echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'", map[string]string{"gpus": "none"}, nil, []string{"--gpus"}},
		{"a GPU, one wanted", "", "echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'", map[string]string{"gpus": "device=1"}, []string{"--gpus device=1"}, nil},
		{"no driver", "", "echo 'NVIDIA-SMI has failed' ; exit 9", nil, nil, []string{"--gpus"}},
		{"no GPU", "", "echo 'No devices found.'", nil, nil, []string{"--gpus"}},
		{"own image", "", "", map[string]string{"image": "own:1"}, []string{"--entrypoint /opt/paritygate/paritygate", ",target=/opt/paritygate/paritygate,readonly", " own:1 run "}, nil},
		{"variables", "", "", map[string]string{"env": "MODELS\nDEBUG=1 2"}, []string{"--env MODELS=/m", "--env DEBUG=1 2", "--env HOME=/tmp/home", "--env CUDA_VISIBLE_DEVICES=3"}, []string{"OTHER"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newChange(t, sound, nil)
			c.fakeDocker(tt.docker)
			if tt.smi != "" {
				path := filepath.Join(c.root, "bin", "nvidia-smi")
				write(t, path, "#!/bin/sh\n"+tt.smi+"\n")
				if err := os.Chmod(path, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for k, v := range tt.inputs {
				c.inputs[k] = v
			}
			c.secrets["MODELS"], c.secrets["OTHER"], c.secrets["CUDA_VISIBLE_DEVICES"] = "/m", "o", "3"
			if r := c.run(); r.outputs["outcome"] != "pass" {
				t.Fatalf("result %+v\n%s", r, c.log.String())
			}
			var run string
			for line := range strings.Lines(read(t, c.dockerLog())) {
				if strings.HasPrefix(line, "run ") {
					run = line
				}
			}
			for _, s := range tt.has {
				if !strings.Contains(run, s) {
					t.Errorf("%q is not in %s", s, run)
				}
			}
			for _, s := range tt.hasNot {
				if strings.Contains(run, s) {
					t.Errorf("%q is in %s", s, run)
				}
			}
		})
	}
}

func ids() string { return fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid()) }

// A cancelled workflow ends the engines at once, leaves no process and no
// container, and is reported.
func TestCancelled(t *testing.T) {
	for _, runtime := range []string{"host", "container"} {
		t.Run(runtime, func(t *testing.T) {
			c := newChange(t, `trap '' TERM INT; echo $$ >"$PWD/pids"; bash "$PWD/child.sh" & echo $! >>"$PWD/pids"; touch "$PWD/started"; sleep 30; sleep 30`, nil)
			write(t, filepath.Join(c.workspace, "child.sh"), "sleep 30; sleep 30")
			if runtime == "container" {
				c.fakeDocker("")
			}
			c.cancel = "run"
			c.when = func() bool { _, err := os.Stat(filepath.Join(c.workspace, "started")); return err == nil }
			r := c.run()
			if r.outputs["outcome"] != "incomplete" || r.code != 3 || !strings.Contains(c.summary, "the workflow was cancelled") {
				t.Errorf("result %+v\n%s\n%s", r, c.summary, c.log.String())
			}
			// The runner kills a step 10 s after it was cancelled.
			if c.took > 8*time.Second {
				t.Errorf("ended %v after it was cancelled", c.took)
			}
			for pid := range strings.Lines(read(t, filepath.Join(c.workspace, "pids"))) {
				if n := atoi(t, strings.TrimSpace(pid)); alive(n) {
					t.Errorf("process %d is still there", n)
					_ = syscall.Kill(n, syscall.SIGKILL)
				}
			}
			if runtime == "container" {
				log := read(t, c.dockerLog())
				_, name, _ := strings.Cut(log, "--name ")
				name, _, _ = strings.Cut(name, " ")
				if !strings.Contains(log, "rm --force "+name) {
					t.Errorf("the container %s was left running:\n%s", name, log)
				}
			}
			if s := c.repo.Statuses(c.head); len(s) == 0 || s[len(s)-1].State != "error" {
				t.Errorf("statuses %+v", s)
			}
		})
	}
}

// alive says whether a process runs: a dead one that nobody reaped does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	i := strings.LastIndexByte(string(b), ')')
	return err == nil && i > 0 && !strings.HasPrefix(string(b[i+1:]), " Z")
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// An invalid spec is not a matter of measuring: exit code 2, whatever fail-on says.
func TestInvalidSpec(t *testing.T) {
	c := newChange(t, sound, func(dir string) { write(t, filepath.Join(dir, "parity.yaml"), "version: 1\nprompt: []\n") })
	c.inputs["fail-on"] = "never"
	r := c.run()
	if r.code != 2 || r.outputs["exit-code"] != "2" || r.outputs["outcome"] != "incomplete" || !strings.Contains(c.summary, "is not valid") {
		t.Errorf("result %+v\n%s", r, c.summary)
	}
}

// fail-on decides over the job, never over the outputs.
func TestFailOn(t *testing.T) {
	for _, tt := range []struct {
		engine, failOn string
		failed         bool
		code           string
	}{
		{broken, "fail", true, "1"}, {broken, "never", false, "1"}, {crashes, "fail", false, "3"}, {crashes, "incomplete", true, "3"},
	} {
		c := newChange(t, tt.engine, nil)
		c.inputs["fail-on"] = tt.failOn
		if r := c.run(); r.failed != tt.failed || r.outputs["exit-code"] != tt.code {
			t.Errorf("%+v: result %+v", tt, r)
		}
	}
}

// What GitHub refuses never changes the outcome.
func TestReportFailsAndTheOutcomeStands(t *testing.T) {
	for engine, want := range map[string]string{sound: "0", broken: "1"} {
		c := newChange(t, engine, nil)
		c.before = func(step string) {
			if step == "report" {
				c.server.Choose(alwaysFails)
			}
		}
		r := c.run()
		if r.outputs["exit-code"] != want || r.failed != (want != "0") || !strings.Contains(c.summary, "Not published") {
			t.Errorf("result %+v\n%s", r, c.summary)
		}
	}
}

// Results that are not those of the run step are not published as a verdict.
func TestResultsChangedBetweenSteps(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, dir string){
		"changed": func(t *testing.T, dir string) { put(outcomeFile(t, 1))(t, dir) },
		"a link": func(t *testing.T, dir string) {
			path := filepath.Join(dir, resultsFile)
			if err := os.Rename(path, path+"2"); err != nil {
				t.Fatal(err)
			}
			link(t, path+"2", path)
		},
		"gone": func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, resultsFile)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChange(t, broken, nil)
			c.before = func(step string) {
				if step == "report" {
					change(t, c.steps["plan"].outputs["dir"])
				}
			}
			r := c.run()
			if r.outputs["outcome"] != "incomplete" || !r.failed {
				t.Errorf("result %+v\n%s", r, c.summary)
			}
		})
	}
}
