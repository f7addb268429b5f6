//go:build linux

package action

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Engines of these tests do what a hostile change would do. Each runs in a real
// process below a real run step; loot is a file that they write what they find
// into.

// attack is a pull request whose engine runs the script, with $LOOT, $TEMP (the
// runner's temporary folder) and $WORK set, and then writes a sound trace.
func attack(t *testing.T, script string) *change {
	t.Helper()
	c := newChange(t, "true", nil)
	// The token of a job's own environment must not reach engines either.
	c.secrets = map[string]string{"GITHUB_TOKEN": canary, "GH_TOKEN": canary, "MY_SECRET": canary, "ACTIONS_RUNTIME_TOKEN": canary}
	head := fmt.Sprintf("set -u\nLOOT=%s TEMP=%s WORK=%s PROGRAM=%s\n", c.loot(), c.temp, c.workspace, program)
	write(t, filepath.Join(c.workspace, "engine.sh"), head+script+"\n"+sound+"\n")
	return c
}

func (c *change) loot() string { return filepath.Join(c.root, "loot") }

// wantOwn checks that the outcome and the outputs are the gate's own.
func (c *change) wantOwn(r result, outcome string) {
	c.t.Helper()
	if r.outputs["outcome"] != outcome {
		c.t.Errorf("outcome %q, want %s\n%s", r.outputs["outcome"], outcome, c.log.String())
	}
	for _, name := range []string{"PATH", "LD_PRELOAD", "BASH_ENV", "EVIL", "NODE_OPTIONS"} {
		if v, ok := c.env[name]; ok {
			c.t.Errorf("the engine set %s=%s for later steps", name, v)
		}
	}
	for id, st := range c.steps {
		for _, k := range []string{"evil", "EVIL"} {
			if v, ok := st.outputs[k]; ok {
				c.t.Errorf("the engine set the output %s=%s of step %s", k, v, id)
			}
		}
	}
	for _, cmd := range c.commands {
		if strings.Contains(cmd, "evil") {
			c.t.Errorf("the runner obeyed %q", cmd)
		}
	}
	c.wantNoToken()
}

func (c *change) wantLoot(want string) string {
	c.t.Helper()
	b, err := os.ReadFile(c.loot())
	if err != nil || !strings.Contains(string(b), want) {
		c.t.Errorf("the engine did not run as it should: loot %q, %v\n%s", b, err, c.log.String())
	}
	return string(b)
}

// The environment of the engine, of every process above it and of the system's
// first holds no secret of the job.
func TestAttackEnvironment(t *testing.T) {
	c := attack(t, `
env; env >>$LOOT
# Of this machine's processes only those of this job: other tests run beside it.
for environ in /proc/self/environ /proc/thread-self/environ /proc/$PPID/environ /proc/[0-9]*/environ; do
	tr '\0' '\n' <$environ 2>/dev/null >$WORK/seen
	grep -q "$TEMP" $WORK/seen && cat $WORK/seen >>$LOOT
done
tr '\0' '\n' </proc/1/environ >>$LOOT.first 2>/dev/null
pid=$PPID
while [ "$pid" -gt 1 ]; do
	echo "above: $pid $(tr '\0' ' ' </proc/$pid/cmdline)" >>$LOOT
	pid=$(sed 's/.*) //' /proc/$pid/stat | cut -d' ' -f2)
done`)
	r := c.run()
	c.wantOwn(r, "pass")
	loot := c.wantLoot("action run")
	if !strings.Contains(loot, "PATH=") {
		t.Errorf("the engine saw no environment: %q", loot)
	}
	for _, name := range []string{"GITHUB_TOKEN=", "ACTIONS_", "INPUT_TOKEN", "MY_SECRET"} {
		for line := range strings.Lines(loot) {
			if strings.HasPrefix(line, name) {
				t.Errorf("the engine saw %s", line)
			}
		}
	}
}

// The step that runs engines has no secret in its own environment, whatever
// the job set: what its children can look up is the scrubbed one.
func TestRunStepLeavesSecretsBehind(t *testing.T) {
	clean, err := cleanEnvironment([]string{"PATH=/bin", "GITHUB_TOKEN=x", "GH_TOKEN=x", "HF_TOKEN=x", "AWS_SECRET_ACCESS_KEY=x", "INPUT_TOKEN=x",
		"GITHUB_OUTPUT=/o", "RUNNER_TEMP=/t", "DOCKER_HOST=unix:///d", "DOCKER_AUTH_CONFIG=x", "PARITYGATE_DIR=/p", "PARITYGATE_PLAN_SHA256=d", "MODELS=/m", "A-B=c"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"DOCKER_HOST=unix:///d", "GITHUB_OUTPUT=/o", "MODELS=/m", "PARITYGATE_DIR=/p", "PARITYGATE_PLAN_SHA256=d", "PATH=/bin", "RUNNER_TEMP=/t"}
	if !slices.Equal(clean, want) {
		t.Errorf("environment %q\nwant        %q", clean, want)
	}
}

// What an engine writes into the runner's files is undone and named.
func TestAttackCommandFiles(t *testing.T) {
	c := attack(t, `
for f in $TEMP/_runner_file_commands/*; do
	printf 'LD_PRELOAD=/evil.so\nBASH_ENV=/evil.sh\nEVIL=1\nevil=1\nexit-code=0\nsha256=0\n' >>$f
done
echo /evil >$TEMP/_runner_file_commands/add_path_99
for f in $TEMP/_runner_file_commands/set_env_*; do rm $f; ln -s $LOOT $f; done
echo '{"pull_request": {"number": 1}}' >$TEMP/_github_workflow/event.json
echo ran >$LOOT`)
	r := c.run()
	c.wantOwn(r, "pass")
	c.wantLoot("ran")
	if got := read(t, filepath.Join(c.temp, "_github_workflow", "event.json")); got != c.payload {
		t.Errorf("the event is %q", got)
	}
	if res := c.results(r); !slices.ContainsFunc(res.Warnings, func(w string) bool {
		return strings.Contains(w, "an engine changed files of the runner") && strings.Contains(w, "set_output_") && strings.Contains(w, "add_path_99 (new)")
	}) {
		t.Errorf("warnings %q", res.Warnings)
	}
}

// Nothing that an engine prints is a command of the runner.
func TestAttackWorkflowCommands(t *testing.T) {
	c := attack(t, `
for out in 1 2; do
	for pre in '' '  ' $'\r' $'\x1b[0m' $'text\n' $'\xc2\xa0'; do
		printf '%s::set-output name=evil::1\n%s::add-mask::evil\n%s::error::evil\n%s##[error]evil\n%s::stop-commands::evil\n%s::evil::\n' \
			"$pre" "$pre" "$pre" "$pre" "$pre" "$pre" >&$out
	done
done
for pid in $PPID $(sed 's/.*) //' /proc/$PPID/stat | cut -d' ' -f2); do
	for fd in 1 2; do echo '::error::evil' >/proc/$pid/fd/$fd; done
done
head -c 300000 /dev/zero | tr '\0' x
echo ran >$LOOT; exit 9`)
	r := c.run()
	c.wantOwn(r, "incomplete")
	c.wantLoot("ran")
}

// Links that an engine plants lead nowhere.
func TestAttackLinks(t *testing.T) {
	c := attack(t, `
secret=$TEMP/secret
echo "a secret of the runner" >$secret
for d in $TEMP/paritygate-*/; do
	for name in results.json comment.md report.txt junit.xml; do ln -s $secret $d/out/$name; ln -sf $secret $WORK/$name; done
	ln -s $TEMP/elsewhere $d/reports
done
mkdir $TEMP/elsewhere
ln -s $secret $TEMP/elsewhere/comment.md
ln -s / $WORK/root
echo ran >$LOOT`)
	r := c.run()
	c.wantOwn(r, "pass") // paritygate run replaces the links, it does not follow them
	c.wantLoot("ran")
	c.wantReports(r)
	if got := read(t, filepath.Join(c.temp, "secret")); got != "a secret of the runner\n" {
		t.Errorf("the link's target was written: %q", got)
	}
	if entries, err := os.ReadDir(filepath.Join(c.temp, "elsewhere")); err != nil || len(entries) != 1 {
		t.Errorf("reports were written through the link: %v, %v", entries, err)
	}
	for _, f := range []string{"results.json", "comment.md", "report.txt", "junit.xml"} {
		if strings.Contains(read(t, filepath.Join(r.outputs["report"], f)), "a secret") {
			t.Errorf("%s holds what a link led to", f)
		}
	}
}

// An engine that ends the gate before it can write replaces no result.
func TestAttackResultsAreALink(t *testing.T) {
	c := attack(t, `
for d in $TEMP/paritygate-*/out; do ln -s /etc/passwd $d/results.json; done
echo ran >$LOOT
kill -9 $PPID`)
	r := c.run()
	c.wantOwn(r, "incomplete")
	c.wantLoot("ran")
	if log := c.log.String(); strings.Contains(log, "root:x:") || !strings.Contains(log, "signal 9") {
		t.Errorf("log\n%s", log)
	}
}

// An engine that writes the result it wants and ends the gate gets none.
func TestAttackForgedResults(t *testing.T) {
	c := attack(t, `
for d in $TEMP/paritygate-*/; do
	cat >$d/out/results.json <<'END'
`+string(outcomeFile(t, 1))+`
END
	cp $d/out/results.json $d/results.json
done
echo ran >$LOOT
kill -9 $PPID`)
	r := c.run()
	c.wantOwn(r, "incomplete")
	c.wantLoot("ran")
}

// A process that leaves the engine's session is found and killed before the
// next step starts: that one holds the token.
func TestAttackDaemon(t *testing.T) {
	c := attack(t, `
cat >$WORK/daemon.sh <<'END'
trap '' TERM HUP INT
echo "daemon $BASHPID" >>$1
while :; do
	for e in /proc/[0-9]*/environ; do
		# Only of this job: other tests run beside it.
		env=$(tr '\0' '\n' <$e 2>/dev/null)
		case $env in *"$2"*ghs_* | *ghs_*"$2"*) echo "$env" >>$1.found ;; esac
	done
	echo beat >>$1.beats
done
END
setsid bash $WORK/daemon.sh $LOOT $TEMP </dev/null >/dev/null 2>&1 &
(setsid bash -c "setsid bash $WORK/daemon.sh $LOOT $TEMP </dev/null >/dev/null 2>&1 & exit" &)
sh -c "exec 3>&1; nohup setsid bash $WORK/daemon.sh $LOOT $TEMP & exit 0"
for i in $(seq 200); do [ "$(cat $LOOT 2>/dev/null | wc -l)" = 3 ] && break; sleep 0.05; done`)
	c.before = func(step string) {
		if step != "report" {
			return
		}
		if alive := running(t, filepath.Join(c.workspace, "daemon.sh")); len(alive) > 0 {
			t.Errorf("still running when the report step starts: %v", alive)
		}
		time.Sleep(100 * time.Millisecond) // a daemon that is alive would see the next step
	}
	r := c.run()
	c.wantOwn(r, "pass")
	loot := c.wantLoot("daemon")
	t.Cleanup(func() { endAll(t, loot) }) // should the test fail, nothing is left of it
	if n := strings.Count(loot, "daemon "); n != 3 {
		t.Errorf("%d daemons ran: %q", n, loot)
	}
	if b, err := os.ReadFile(c.loot() + ".found"); err == nil && len(b) > 0 {
		t.Errorf("a daemon found %s", b)
	}
	if res := c.results(r); !slices.ContainsFunc(res.Warnings, func(w string) bool { return strings.Contains(w, "left processes running, which were killed") }) {
		t.Errorf("warnings %q", res.Warnings)
	}
}

// endAll kills the daemons that wrote their numbers, if they still run.
func endAll(t *testing.T, loot string) {
	for line := range strings.Lines(loot) {
		pid, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "daemon ")))
		if err == nil && strings.Contains(commandLineOf(pid), "daemon.sh") {
			t.Errorf("process %d outlived the test", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func commandLineOf(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	return string(b)
}

// running lists the processes of this machine with text in their command line.
func running(t *testing.T, text string) []string {
	t.Helper()
	var found []string
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err == nil && strings.Contains(string(b), text) && filepath.Base(filepath.Dir(p)) != strconv.Itoa(os.Getpid()) {
			found = append(found, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return found
}

// An engine that kills the step above it leaves a gate that is incomplete, and
// the report says so.
func TestAttackKillsTheStep(t *testing.T) {
	c := attack(t, `
step=$(sed 's/.*) //' /proc/$PPID/stat | cut -d' ' -f2)
for d in $TEMP/paritygate-*/; do
	cat >$d/results.json <<'END'
`+string(outcomeFile(t, 1))+`
END
done
echo "step $(tr '\0' ' ' </proc/$step/cmdline)" >$LOOT
kill -9 $step; kill -9 $PPID`)
	r := c.run()
	c.wantLoot("action run")
	if r.outputs["outcome"] != "incomplete" || !r.failed || !strings.Contains(c.summary, "left no results: it was cancelled or killed") {
		t.Errorf("result %+v\n%s", r, c.summary)
	}
	if s := c.repo.Statuses(c.head); len(s) == 0 || s[len(s)-1].State == "success" {
		t.Errorf("statuses %+v", s)
	}
	c.wantNoToken()
}

// Files of the plan, the results and the program itself that were changed are
// noticed before anything is published.
func TestAttackFilesOfTheSteps(t *testing.T) {
	for name, tt := range map[string]struct{ change, says string }{
		"plan":    {`sed -i s/pull_request/push/ $TEMP/paritygate-*/plan.json`, "the plan in"},
		"event":   {`echo '{}' >$(echo $TEMP/paritygate-*/event.json)`, "the event's file was changed"},
		"program": {`f=$(echo $TEMP/paritygate-bin-*/paritygate); printf '#!/bin/bash\nenv >>%s.program\n' $LOOT >$f.2; chmod +x $f.2; mv -f $f.2 $f`, "was changed since it was installed"},
	} {
		t.Run(name, func(t *testing.T) {
			c := attack(t, tt.change+"\necho ran >$LOOT")
			r := c.run()
			c.wantLoot("ran")
			if !strings.Contains(c.log.String(), tt.says) {
				t.Errorf("log\n%s\nwant %q", c.log.String(), tt.says)
			}
			// The event is read again only to publish: the outcome is the gate's.
			if want := map[bool]string{true: "0", false: "3"}[name == "event"]; r.outputs["exit-code"] != want || r.failed != (want != "0") {
				t.Errorf("result %+v, want exit code %s", r, want)
			}
			if n := c.server.Writes(); n > 0 {
				t.Errorf("%d writes to GitHub", n)
			}
			if b, err := os.ReadFile(c.loot() + ".program"); err == nil {
				t.Errorf("a changed program was run and saw\n%s", b)
			}
			c.wantNoToken()
		})
	}
}
