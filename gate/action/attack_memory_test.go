//go:build linux

package action

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The memory and the environment of the steps that hold the token are closed to
// other processes of their user. Root may look anywhere, so the steps run as
// somebody else where the test is root.
func TestAttackReadsTheTokensSteps(t *testing.T) {
	c := newChange(t, sound, nil)
	c.becomeNobody()
	seen := map[string]string{}
	look := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, step := range []string{"plan", "report"} {
			for _, pid := range pidsOf(t, "action\x00"+step+"\x00") {
				out, err := c.command("cat", "/proc/"+pid+"/environ").CombinedOutput()
				if seen[step] = string(out); err == nil {
					t.Errorf("the environment of step %s can be read: %q", step, out)
				}
			}
		}
		c.server.Handler().ServeHTTP(w, r)
	}))
	defer look.Close()
	c.api = look.URL
	r := c.run()
	c.wantOwn(r, "pass")
	for _, step := range []string{"plan", "report"} {
		if !strings.Contains(seen[step], "ermission denied") {
			t.Errorf("step %s: %q, want to be refused", step, seen[step])
		}
	}
	// A process that is not closed can be read: the test could have seen it.
	open := c.command("sleep", "60")
	open.Env = append(open.Env, "OPEN="+canary)
	if err := open.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Process.Kill(); _ = open.Wait() }()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		out, err := c.command("cat", fmt.Sprintf("/proc/%d/environ", open.Process.Pid)).Output()
		if err == nil && strings.Contains(string(out), canary) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("an open process: %q, %v", out, err)
		}
	}
}

// becomeNobody runs the job's steps as a user without rights, if the test has any.
func (c *change) becomeNobody() {
	c.t.Helper()
	if os.Getuid() != 0 {
		return
	}
	const nobody = 65534
	// This repository may lie where nobody may look.
	c.action = filepath.Join(c.root, "action")
	mkdir(c.t, filepath.Join(c.action, ".github", "action"))
	write(c.t, filepath.Join(c.action, ".github", "action", "install.sh"), read(c.t, "../../.github/action/install.sh"))
	c.credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	for _, err := range []error{
		filepath.WalkDir(filepath.Dir(c.root), func(path string, _ os.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, nobody, nobody))
		}),
		os.Chmod(filepath.Dir(program), 0o755),
	} {
		if err != nil {
			c.t.Fatal(err)
		}
	}
	c.env["HOME"] = c.root
}

// command runs as the job's steps do.
func (j *job) command(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: j.credential}
	return cmd
}

// pidsOf lists the processes whose command line ends like that.
func pidsOf(t *testing.T, end string) []string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var pids []string
	for _, p := range paths {
		if b, err := os.ReadFile(p); err == nil && strings.HasSuffix(string(b), end) {
			pids = append(pids, filepath.Base(filepath.Dir(p)))
		}
	}
	return pids
}
