//go:build unix

package action

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	gitIn(t, dir, "init", "-q", "-b", "main")
	gitIn(t, dir, "add", "-A")
	gitIn(t, dir, "commit", "-q", "-m", "first")
	return dir
}

func gitIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

const sound = `cp sound.safetensors "$1"`

func hostJob(t *testing.T, engine string) *job {
	t.Helper()
	j := newJob(t, workspace(t, engine))
	j.inputs["runtime"] = "host"
	j.inputs["binary"] = program
	return j
}

func TestHostPass(t *testing.T) {
	j := hostJob(t, sound)
	r := j.run()
	t.Logf("%+v\n%s\n%s", r, j.log.String(), j.summary)
	if r.failed || r.outputs["outcome"] != "pass" || r.outputs["exit-code"] != "0" {
		t.Errorf("result %+v", r)
	}
}
