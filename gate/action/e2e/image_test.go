package e2e

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/report"
)

// runner is the folders of a runner, with GitHub's names, as the image sees them.
type runner struct {
	workspace, temp string
	mounts          []string
}

const (
	inWorkspace = "/home/runner/work/repo/repo"
	inTemp      = "/home/runner/work/_temp"
)

func newRunner(t *testing.T) *runner {
	t.Helper()
	dir := t.TempDir()
	r := &runner{workspace: filepath.Join(dir, "workspace"), temp: filepath.Join(dir, "temp")}
	for _, d := range []string{r.workspace, r.temp} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		giveAway(t, d)
	}
	r.mounts = []string{"--volume", r.workspace + ":" + inWorkspace, "--volume", r.temp + ":" + inTemp}
	return r
}

// run runs the image with as few rights as a container can have: an ordinary
// user, no capability, no network, nothing to write to but the mounts and /tmp.
func (r *runner) run(t *testing.T, args ...string) (int, string) {
	t.Helper()
	uid, gid := user()
	docker := append([]string{"run", "--rm", "--init", "--user", fmt.Sprintf("%d:%d", uid, gid), "--read-only", "--tmpfs", "/tmp:exec",
		"--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none", "--workdir", inWorkspace}, r.mounts...)
	return dockerExit(t, append(append(docker, image), args...)...)
}

func (r *runner) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(r.workspace, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	giveAway(t, path)
}

func TestImageDemo(t *testing.T) {
	buildImage(t)
	if code, out := newRunner(t).run(t, "version"); code != 0 || !strings.HasPrefix(out, "paritygate "+version+" go") {
		t.Errorf("version: exit code %d, %q", code, out)
	}
	tests := []struct {
		args []string
		code int
		said string
	}{
		{[]string{"demo", "--out", inTemp + "/demo"}, 0, "PASS"},
		{[]string{"demo", "--bug", "rope", "--out", inTemp + "/demo"}, 1, "FAIL"},
		{[]string{"demo", "--bug", "none"}, 2, "rope"},
		{[]string{"run", "missing.yaml"}, 2, "missing.yaml"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			r := newRunner(t)
			code, out := r.run(t, tt.args...)
			if code != tt.code || !strings.Contains(out, tt.said) {
				t.Fatalf("exit code %d, want %d and %q in\n%s", code, tt.code, tt.said, out)
			}
			wantOwned(t, r.workspace)
			if n := wantOwned(t, r.temp); n < 6 && tt.code < 2 {
				t.Errorf("only %d files and folders of a demonstration", n)
			}
		})
	}
}

// llamaSpec compares llama.cpp with the built-in engine.
const llamaSpec = `version: 1
model: {path: model.gguf}
prompts:
  - {name: code, tokens: [256, 100, 101, 102, 103, 104, 105, 106]}
engines:
  reference: {adapter: builtin, precision: f64}
  candidate: %s
require: {checkpoints: [embedding, layer_*_output, final_norm, logits]}
`

// The compiler of the image builds the probe and the shim against a real
// llama.cpp, and what it built runs.
func TestImageLlamaCpp(t *testing.T) {
	buildImage(t)
	r := newRunner(t)
	model, err := os.ReadFile(enginetest.Zoo(t, "llama"))
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, "model.gguf", string(model))
	engines := filepath.Dir(enginetest.LlamaCpp(t).Library)
	r.mounts = append(r.mounts, "--volume", engines+":/engines:ro")

	r.write(t, "probe.yaml", fmt.Sprintf(llamaSpec, "{adapter: llamacpp, library: /engines/lib, headers: /engines/include, gpu_layers: 0}"))
	code, out := r.run(t, "run", "probe.yaml", "--out", "reports")
	if code != 0 {
		t.Fatalf("the probe: exit code %d\n%s", code, out)
	}
	f, err := os.Open(filepath.Join(r.workspace, "reports", "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	result, err := report.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	if c := result.Engines.Candidate; c.Adapter != "llamacpp" || !strings.HasPrefix(c.Version, enginetest.Release) || len(result.Checkpoints) < 7 {
		t.Errorf("candidate %+v, %d checkpoints", c, len(result.Checkpoints))
	}

	// The shim is built, preloaded, and says that nobody called it.
	r.write(t, "preload.yaml", fmt.Sprintf(llamaSpec, "{adapter: llamacpp, mode: preload, command: [sh, -c, true], gpu: false}"))
	if code, out := r.run(t, "run", "preload.yaml"); code != 3 || !strings.Contains(unwrap(out), "the shim was loaded, but no call of libggml went through it") {
		t.Errorf("the shim: exit code %d\n%s", code, out)
	}
	wantOwned(t, r.workspace)
}

// unwrap is text without its line breaks.
func unwrap(s string) string { return strings.Join(strings.Fields(s), " ") }

// maxImage is what the image may weigh beside its base, in bytes: the compiler
// and the program. The base is the user's choice.
const maxImage = 110e6

func TestImageSize(t *testing.T) {
	buildImage(t)
	var compiler, program int64
	for line := range strings.Lines(docker(t, "history", "--human=false", "--no-trunc", "--format", "{{.Size}}\t{{.CreatedBy}}", image)) {
		size, step, _ := strings.Cut(line, "\t")
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.Contains(step, "apt-get install") && strings.Contains(step, "g++"):
			compiler = n
		case strings.Contains(step, "/usr/local/bin/paritygate") && n > 0:
			program = n
		}
	}
	all, base := bytesOf(t, image), bytesOf(t, baseImage)
	t.Logf("Image: %d MB, of which base %d MB, compiler %d MB, program %d MB", mb(all), mb(base), mb(compiler), mb(program))
	docs := readText(t, filepath.Join(repository(), "docs", "action.md"))
	var said [4]int64
	if _, err := fmt.Sscanf(docs[max(0, strings.Index(docs, "Image: ")):], "Image: %d MB, of which base %d MB, compiler %d MB, program %d MB.", &said[0], &said[1], &said[2], &said[3]); err != nil {
		t.Errorf("docs/action.md does not say what the image weighs: %v", err)
	}
	for i, n := range []int64{all, base, compiler, program} {
		if d := math.Abs(float64(mb(n) - said[i])); d > 0.15*float64(said[i]) {
			t.Errorf("docs/action.md says %d MB where it is %d MB", said[i], mb(n))
		}
	}
	if compiler < 50e6 || program < 5e6 {
		t.Errorf("the layers of compiler (%d) and program (%d) were not found", compiler, program)
	}
	if all-base > maxImage {
		t.Errorf("the image adds %d bytes to its base, more than %d", all-base, int64(maxImage))
	}
}

func bytesOf(t *testing.T, name string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.TrimSpace(docker(t, "image", "inspect", "--format", "{{.Size}}", name)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func mb(n int64) int64 { return (n + 5e5) / 1e6 }

func TestImageConfig(t *testing.T) {
	buildImage(t)
	var c struct {
		User        string
		Entrypoint  []string
		Env         []string
		Labels      map[string]string
		Healthcheck struct{ Test []string }
	}
	if err := json.Unmarshal([]byte(docker(t, "image", "inspect", "--format", "{{json .Config}}", image)), &c); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Entrypoint, []string{"/usr/local/bin/paritygate"}) {
		t.Errorf("entry point %q", c.Entrypoint)
	}
	// The Action names the user; a USER of the image could not write to the runner's folders.
	if c.User != "" || !slices.Contains(c.Env, "HOME=/tmp") || !slices.Equal(c.Healthcheck.Test, []string{"NONE"}) {
		t.Errorf("user %q, environment %q, health check %q", c.User, c.Env, c.Healthcheck.Test)
	}
	for label, want := range map[string]string{"title": "paritygate", "licenses": "Apache-2.0", "version": version, "revision": "0123abc",
		"source": "https://github.com/paritygate/paritygate", "description": "Layer-by-layer numeric parity of LLM inference engines"} {
		if got := c.Labels["org.opencontainers.image."+label]; got != want {
			t.Errorf("label %s is %q, want %q", label, got, want)
		}
	}
}

// The program of the image is, bit for bit, what the same Go builds elsewhere
// from the same source.
func TestImageReproducible(t *testing.T) {
	buildImage(t)
	dir := t.TempDir()
	id := strings.TrimSpace(docker(t, "create", image))
	defer docker(t, "rm", id)
	docker(t, "cp", id+":/usr/local/bin/paritygate", filepath.Join(dir, "theirs"))
	info, err := buildinfo.ReadFile(filepath.Join(dir, "theirs"))
	if err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X github.com/paritygate/paritygate/gate/cli.version="+version, "-o", filepath.Join(dir, "ours"), ".")
	build.Dir = repository()
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOTOOLCHAIN="+info.GoVersion, "GOFLAGS=")
	if code, out := exitCode(t, build); code != 0 {
		t.Fatalf("%s\n%s", build, out)
	}
	var sums [2][sha256.Size]byte
	for i, name := range []string{"theirs", "ours"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = sha256.Sum256(b)
	}
	if sums[0] != sums[1] {
		t.Errorf("the image's program is %x, the same source built here is %x", sums[0], sums[1])
	}
}
