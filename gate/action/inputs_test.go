package action

import (
	"reflect"
	"strings"
	"testing"
)

func env(pairs ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(k string) string { return m[k] }
}

func TestInputsDefaults(t *testing.T) {
	in, err := readInputs(env())
	if err != nil {
		t.Fatal(err)
	}
	want := &Inputs{Spec: "parity.yaml", Mode: ModeGate, Name: "paritygate", Runtime: "container", Comment: "always", Status: true,
		FailOn: "incomplete", JudgeBy: "base", WorkingDirectory: "."}
	if !reflect.DeepEqual(in, want) {
		t.Errorf("inputs %+v\nwant   %+v", in, want)
	}
}

func TestInputs(t *testing.T) {
	in, err := readInputs(env(
		"INPUT_SPEC", " ci/../nightly.yaml ", "INPUT_MODE", "refresh", "INPUT_NAME", "qwen f16 (H100)", "INPUT_IMAGE", "ghcr.io/o/i@sha256:ab",
		"INPUT_GPUS", "device=0,1", "INPUT_DOCKER_ARGS", "--shm-size=8g\n\n  --privileged \n", "INPUT_ENV", "A=b=c d\nCUDA_VISIBLE_DEVICES\nEMPTY=",
		"INPUT_COMMENT", "on-change", "INPUT_NEW_COMMENT_ON_FLIP", "true", "INPUT_STATUS", "false", "INPUT_CHECK_RUN", "true", "INPUT_ISSUE", "true",
		"INPUT_FAIL_ON", "never", "INPUT_ARGS", "--prompt=a b\n-v", "INPUT_JUDGE_BY", "head", "INPUT_APPROVE_SPEC", strings.Repeat("AB", 32),
		"INPUT_ALLOW_PULL_REQUEST_TARGET", "true", "INPUT_ARTIFACT", "none", "INPUT_WORKING_DIRECTORY", "engine/"))
	if err != nil {
		t.Fatal(err)
	}
	want := &Inputs{Spec: "nightly.yaml", Mode: ModeRefresh, Name: "qwen f16 (H100)", Runtime: "container", Image: "ghcr.io/o/i@sha256:ab",
		GPUs: "device=0,1", DockerArgs: []string{"--shm-size=8g", "--privileged"}, Env: []string{"A=b=c d", "CUDA_VISIBLE_DEVICES", "EMPTY="},
		Comment: "on-change", NewCommentOnFlip: true, CheckRun: true, Issue: true, FailOn: "never", Args: []string{"--prompt=a b", "-v"}, JudgeBy: "head",
		ApproveSpec: strings.Repeat("ab", 32), AllowTarget: true, Artifact: "none", WorkingDirectory: "engine"}
	if !reflect.DeepEqual(in, want) {
		t.Errorf("inputs %+v\nwant   %+v", in, want)
	}
}

// Every mistake names the input and what it takes.
func TestInputsRefused(t *testing.T) {
	tests := []struct{ name, value, want string }{
		{"SPEC", "../parity.yaml", `input spec: "../parity.yaml": want a path inside the workspace`},
		{"SPEC", "/etc/passwd", "input spec"},
		{"SPEC", "a\nb", "input spec"},
		{"MODE", "Gate", `input mode: "Gate": want gate, refresh, report or approve`},
		{"NAME", "a/b", `input name: "a/b"`},
		{"NAME", "-x", "input name"},
		{"NAME", strings.Repeat("x", 61), "input name"},
		{"NAME", "a\u202eb", "input name"},
		{"RUNTIME", "docker", "want container or host"},
		{"IMAGE", "-v", "input image"},
		{"IMAGE", "a b", "input image"},
		{"GPUS", "some", "want all, none, a number, or device=0,1"},
		{"GPUS", `device=0" --privileged`, "input gpus"},
		{"DOCKER_ARGS", "-v", "want one long option a line"},
		{"DOCKER_ARGS", "ubuntu", "want one long option a line"},
		{"DOCKER_ARGS", "--", "want one long option a line"},
		{"DOCKER_ARGS", "--env=A=b", "use the input env instead"},
		{"DOCKER_ARGS", "--user=0", "the Action sets it"},
		{"DOCKER_ARGS", "--rm", "the Action sets it"},
		{"ENV", "a b=c", "want NAME=VALUE"},
		{"ENV", "=c", "want NAME=VALUE"},
		{"ENV", "HF_TOKEN", "input env: HF_TOKEN: is named like a secret"},
		{"ENV", "GITHUB_ENV=/tmp/x", "is named like a secret"},
		{"ENV", "hf_token=x", "is named like a secret"},
		{"COMMENT", "on_change", "want always, on-change or never"},
		{"STATUS", "yes", `input status: "yes": want true or false`},
		{"FAIL_ON", "warn", "want incomplete, fail or never"},
		{"ARGS", "--out=/tmp", "--out: the Action sets it"},
		{"ARGS", "-o/tmp", "the Action sets it"},
		{"ARGS", "--judge-by=x", "the Action sets it"},
		{"ARGS", "--approve-spec", "the Action sets it"},
		{"JUDGE_BY", "me", "want base or head"},
		{"APPROVE_SPEC", "abc", "want 12 hex digits or more of the spec's digest"},
		{"RESULTS", "results.json", "only mode report and mode approve read one, and mode is gate"},
		{"ARTIFACT", "a/b", "input artifact"},
		{"WORKING_DIRECTORY", "..", "input working-directory"},
	}
	for _, tt := range tests {
		_, err := readInputs(env("INPUT_"+tt.name, tt.value))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %q: error %v, want %q in it", tt.name, tt.value, err, tt.want)
		}
	}
}

func TestInputsTogether(t *testing.T) {
	for want, e := range map[string]func(string) string{
		"input results: mode report needs":                         env("INPUT_MODE", "report"),
		"input image: runtime host uses none":                      env("INPUT_RUNTIME", "host", "INPUT_IMAGE", "a"),
		"input docker-args: runtime host runs":                     env("INPUT_RUNTIME", "host", "INPUT_DOCKER_ARGS", "--init2"),
		"input mode: \"x\"":                                        env("INPUT_MODE", "x", "INPUT_COMMENT", "y"),
		"input comment: \"y\"":                                     env("INPUT_MODE", "x", "INPUT_COMMENT", "y"),
		"mode approve needs the folder":                            env("INPUT_MODE", "approve"),
		"only mode report and mode approve read one, and mode is ": env("INPUT_MODE", "refresh", "INPUT_RESULTS", "x"),
	} {
		if _, err := readInputs(e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}

// Both spellings of an input are one: shells drop names with a hyphen.
func TestInputNames(t *testing.T) {
	if got := getInput(env("INPUT_NEW_COMMENT_ON_FLIP", " true\n"), "new-comment-on-flip"); got != "true" {
		t.Errorf("input %q", got)
	}
}
