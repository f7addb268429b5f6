package action

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files instead of comparing them")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
	}
}

// planOf is a plan with the given inputs over the defaults.
func planOf(t *testing.T, pairs ...string) *Plan {
	t.Helper()
	in, err := readInputs(env(pairs...))
	if err != nil {
		t.Fatal(err)
	}
	return &Plan{Version: planVersion, Inputs: *in, Workspace: "/w/engine", WorkDir: "/w/engine", SpecPath: in.Spec}
}

func TestContainerArguments(t *testing.T) {
	base := planOf(t, "INPUT_ARGS", "--prompt=a b\n--verbose")
	base.BaseSpec, base.Approve = "/tmp/p/base-spec.yaml", strings.Repeat("a", 64)
	own := planOf(t, "INPUT_DOCKER_ARGS", "--shm-size=8g\n--volume=/models:/models:ro", "INPUT_WORKING_DIRECTORY", "sub", "INPUT_SPEC", "ci/p.yaml")
	own.WorkDir, own.Workspace = "/w/engine, \"quoted\"/sub", "/w/engine, \"quoted\""
	tests := []struct {
		name string
		c    container
	}{
		{"container-plain", container{plan: planOf(t), dir: "/tmp/p", name: "n", image: "i:1", user: "1000:1001", env: []string{"HOME=/tmp/home"}}},
		{"container-base", container{plan: base, dir: "/tmp/p", name: "n", image: "i:1", user: "1000:1001", gpus: "all", env: []string{"HOME=/tmp/home", "A=b c"}}},
		{"container-own-image", container{plan: own, dir: "/tmp/p", name: "n", image: "ghcr.io/o/i:2", binary: "/tmp/b/paritygate", user: "0:0",
			gpus: gpuOption("device=0,1"), remap: true}},
	}
	for _, tt := range tests {
		golden(t, tt.name+".txt", strings.Join(tt.c.args(), "\n")+"\n")
	}
}

func TestGPUOption(t *testing.T) {
	for v, want := range map[string]string{"all": "all", "2": "2", "device=0": "device=0", "device=0,1": `"device=0,1"`} {
		if got := gpuOption(v); got != want {
			t.Errorf("%s: %s, want %s", v, got, want)
		}
	}
}

// What the user approved counts only beside a base that judges otherwise.
func TestRunCommand(t *testing.T) {
	p := planOf(t, "INPUT_SPEC", "ci/p.yaml")
	p.Approve = "d"
	if got, want := strings.Join(p.runCommand("/d"), " "), "run ci/p.yaml --out /d/out"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	p.BaseSpec = "/d/base-spec.yaml"
	if got, want := strings.Join(p.runCommand("/d"), " "), "run ci/p.yaml --out /d/out --judge-by /d/base-spec.yaml --approve-spec d"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestInputEnv(t *testing.T) {
	got := strings.Join(inputEnv([]string{"A=1", "B=2", "A=3"}, []string{"A", "C=x=y", "D"}), " ")
	if want := "A=3 C=x=y"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// The image's name follows everything that the image is made of, and nothing else.
func TestImageTag(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tag := func() string {
		t.Helper()
		s, err := ImageTag(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if _, err := ImageTag(dir); err == nil {
		t.Error("a folder without a Dockerfile has a tag")
	}
	for _, f := range []string{"Dockerfile", "go.mod", "go.sum", "main.go", "gate/a.go", "report/b.go"} {
		put(f, f)
	}
	first := tag()
	if !strings.HasPrefix(first, "paritygate-action:") || len(first) != len("paritygate-action:")+24 {
		t.Errorf("tag %s", first)
	}
	for _, f := range []string{"README.md", "gate/a_test.go", "gate/testdata/x", ".git/HEAD", "docs/a.md"} {
		put(f, "x")
		if tag() != first {
			t.Errorf("%s changes the tag", f)
		}
	}
	seen := map[string]bool{first: true}
	for _, f := range []string{"Dockerfile", ".dockerignore", "LICENSE", "go.mod", "go.sum", "main.go", "gate/a.go", "gate/new.go", "report/b.go", "baseline/c.go"} {
		put(f, "changed "+f)
		if s := tag(); seen[s] {
			t.Errorf("%s does not change the tag", f)
		} else {
			seen[s] = true
		}
	}
}
