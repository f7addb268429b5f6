//go:build unix

package action

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// install runs install.sh with the given tools in its PATH, besides the
// system's plain ones.
func install(t *testing.T, binary string, tools map[string]string) (out string, outputs map[string]string, code int) {
	t.Helper()
	root := t.TempDir()
	for _, d := range []string{"bin", "temp", "work"} {
		mkdir(t, filepath.Join(root, d))
	}
	for _, tool := range []string{"bash", "cat", "cp", "mktemp", "chmod", "sha256sum", "dirname", "tail", "uname", "rm"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		link(t, path, filepath.Join(root, "bin", tool))
	}
	for name, script := range tools {
		write(t, filepath.Join(root, "bin", name), "#!/bin/bash\n"+script+"\n")
		if err := os.Chmod(filepath.Join(root, "bin", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("bash", "../../.github/action/install.sh")
	cmd.Env = []string{"PATH=" + filepath.Join(root, "bin"), "RUNNER_TEMP=" + filepath.Join(root, "temp"), "GITHUB_WORKSPACE=" + filepath.Join(root, "work"),
		"GITHUB_OUTPUT=" + filepath.Join(root, "output"), "INPUT_BINARY=" + binary, "ACTION_REF=v1.2.3", "PROGRAM=" + program}
	b, err := cmd.CombinedOutput()
	if err != nil {
		code = cmd.ProcessState.ExitCode()
	}
	if o, err := os.ReadFile(filepath.Join(root, "output")); err == nil {
		outputs = pairs(string(o))
	}
	return string(b), outputs, code
}

func TestInstall(t *testing.T) {
	fakeGo := `case $1 in version) echo go version go1.26 ;; build) while [ "$1" != -o ]; do echo "go $1" >&2; shift; done; cp $PROGRAM $2 ;; esac`
	fakeDocker := `case $1 in build) echo sha256:1 ;; create) echo 2 ;; cp) [ $2 = 2:/usr/local/bin/paritygate ] && cp $PROGRAM $3 ;; esac`
	tests := []struct {
		name, binary string
		tools        map[string]string
		code         int
		says         string
	}{
		{"binary", program, nil, 0, "paritygate devel"},
		{"no such binary", "tools/paritygate", map[string]string{"go": fakeGo}, 3, "input binary: tools/paritygate is no file; want the path of a paritygate program"},
		{"another program", "/bin/sh", nil, 3, "the program does not run on this machine"},
		{"Go", "", map[string]string{"go": fakeGo, "docker": "exit 1"}, 0, "building with go version go1.26"},
		{"Docker", "", map[string]string{"docker": fakeDocker}, 0, "building with Docker"},
		{"Go fails, Docker", "", map[string]string{"go": "[ $1 = version ] || exit 1", "docker": fakeDocker}, 0, "building with Docker"},
		{"nothing", "", nil, 3, "none can be built: Go is not installed; Docker is not installed. Install Go (actions/setup-go) or Docker, or give the input binary"},
		{"both fail", "", map[string]string{"go": "[ $1 = version ] || { echo no space; echo 100% full; exit 1; }", "docker": "echo no daemon >&2; exit 1"}, 3,
			"go build failed: no space%0A100%25 full; docker build failed: no daemon"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, outputs, code := install(t, tt.binary, tt.tools)
			if code != tt.code || !strings.Contains(out, tt.says) {
				t.Fatalf("code %d, says\n%s\nwant %d, %q", code, out, tt.code, tt.says)
			}
			if code != 0 {
				if n := strings.Count(out, "::error title=paritygate::"); n != 1 || len(outputs) != 0 {
					t.Errorf("%d errors, outputs %v:\n%s", n, outputs, out)
				}
				return
			}
			data := read(t, outputs["bin"])
			info, err := os.Stat(outputs["bin"])
			if err != nil || info.Mode().Perm() != 0o555 || digest([]byte(data)) != outputs["sha256"] || data != read(t, program) {
				t.Errorf("outputs %v, %v, %v", outputs, info, err)
			}
			if info, err := os.Stat(filepath.Dir(outputs["bin"])); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%v, %v", info, err)
			}
		})
	}
}

// The Action's own source is built by this machine's Go, with the version that
// the workflow names.
func TestInstallBuilds(t *testing.T) {
	path, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	env := "export HOME='" + os.Getenv("HOME") + "' PATH='" + os.Getenv("PATH") + "'"
	if cache, err := exec.Command("go", "env", "GOMODCACHE", "GOCACHE", "GOPROXY").Output(); err == nil {
		f := strings.Fields(string(cache))
		env += " GOMODCACHE='" + f[0] + "' GOCACHE='" + f[1] + "' GOPROXY='" + f[2] + "'"
	}
	out, outputs, code := install(t, "", map[string]string{"go": env + "\nexec " + path + ` "$@"`})
	if code != 0 || !strings.Contains(out, "paritygate v1.2.3 go") || outputs["bin"] == "" {
		t.Errorf("code %d, outputs %v\n%s", code, outputs, out)
	}
}
