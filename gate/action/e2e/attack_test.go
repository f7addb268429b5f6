package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"
)

// loot is a file that thief.sh left.
func (r *ran) loot(name string) string {
	r.t.Helper()
	return readText(r.t, filepath.Join(r.out, "loot-"+name))
}

// allowedVariables are all that an engine may see of the runner's environment.
var allowedVariables = regexp.MustCompile(`^(PATH|HOME|HOSTNAME|PWD|OLDPWD|SHLVL|_|LANG|LC_[A-Z]+|TZ|USER|LOGNAME|SHELL|TMPDIR|XDG_[A-Z_]+|PARITYGATE_[A-Z_]+|OMP_[A-Z_]+)=`)

// notPwned: the runner did nothing of what the engine told it to.
func (r *ran) notPwned() {
	t := r.t
	t.Helper()
	for _, c := range r.commands {
		if strings.Contains(c, "pwned") || strings.Contains(c, "PWNED") {
			t.Errorf("the runner obeyed %s", c)
		}
	}
	for where, text := range map[string]string{"a later step's environment": readText(t, filepath.Join(r.out, "environment")), "the summary": r.summary,
		"the outputs": fmt.Sprint(r.outputs), "the comment": fmt.Sprint(r.w.repo.Comments(r.w.number))} {
		if strings.Contains(strings.ToLower(text), "pwned") {
			t.Errorf("the engine reached %s:\n%s", where, text)
		}
	}
}

// stoleNothing: what thief.sh found is what it may see.
func (r *ran) stoleNothing() {
	t := r.t
	t.Helper()
	for line := range strings.Lines(r.loot("environment")) {
		if !allowedVariables.MatchString(line) {
			t.Errorf("the engine has the variable %s", line)
		}
	}
	if found := r.loot("tokens"); found != "" {
		t.Errorf("the engine found the token in %s", found)
	}
	if found := r.loot("credentials"); regexp.MustCompile(`(?i)docker.sock|auth|extraheader|insteadof|password|key`).MatchString(found) {
		t.Errorf("the engine found credentials:\n%s", found)
	}
	if outputs := r.loot("outputs"); !strings.Contains(outputs, "gate 1\ngate 2\n") {
		t.Errorf("the engine did not reach the gate's outputs:\n%s", outputs)
	}
	if out := strings.TrimSpace(r.loot("out")); !strings.HasSuffix(out, "/out") {
		t.Errorf("the engine did not find the gate's folder: %q", out)
	}
}

func TestActThiefInContainer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, files{"engine.sh": engineScript(t, "thief")})
	r := w.run(job{event: "pull_request", with: "check-run: true"})
	r.check(want{outcome: "pass", code: "0", status: "success", comments: []string{"Parity passes"}, summary: []string{"Parity passes"}})
	r.notPwned()
	r.stoleNothing()
	// In the container there is nobody but the gate.
	if processes := r.loot("processes"); strings.Contains(processes, "GITHUB_") || strings.Contains(processes, "INPUT_") || strings.Contains(processes, "RUNNER_") {
		t.Errorf("the engine sees the runner's processes:\n%s", processes)
	}
	uid, gid := user()
	for _, right := range []string{"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000",
		"NoNewPrivs:\t1", fmt.Sprintf("Uid:\t%d\t%d", uid, uid), fmt.Sprintf("Gid:\t%d\t%d", gid, gid)} {
		if rights := r.loot("rights"); !strings.Contains(rights, right) {
			t.Errorf("%q is not in the engine's rights:\n%s", right, rights)
		}
	}
	// Of this machine it sees the workspace, the out and home folders, and may not write to the base branch's spec.
	seen := 0
	for line := range strings.Lines(r.loot("mounts")) {
		f := strings.Fields(line)
		if !strings.HasPrefix(f[3], w.dir) && !strings.HasPrefix(f[4], w.dir) {
			continue
		}
		seen++
		name := filepath.Base(f[3])
		if ro := strings.HasPrefix(f[5], "ro"); name != "hostexecutor" && name != "out" && name != "home" && !(name == "base-spec.yaml" && ro) {
			t.Errorf("the engine sees %s", line)
		}
	}
	if seen != 4 {
		t.Errorf("%d mounts of the runner, want 4", seen)
	}
	if _, err := os.Stat(filepath.Join(r.out, "loot-written")); err == nil {
		t.Errorf("the engine wrote to %s", r.loot("written"))
	}
}

// On the host an engine sees every process of the runner's user, those of other
// jobs too: this test has the user to itself.
func TestActThiefOnHost(t *testing.T) {
	w := newWorld(t, files{"engine.sh": "THIEF_SPARES=1 THIEF_SEARCHES=../..\n" + engineScript(t, "thief")})
	r := w.run(job{event: "pull_request", with: "runtime: host"})
	r.check(want{outcome: "pass", code: "0", status: "success", comments: []string{"Parity passes"}, summary: []string{"Parity passes"},
		log: []string{"an engine changed files of the runner, which were put back"}})
	r.notPwned()
	r.stoleNothing()
}

func TestActForger(t *testing.T) {
	t.Parallel()
	for _, runtime := range []string{"container", "host"} {
		t.Run(runtime, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			honest := w.run(job{event: "pull_request", with: "runtime: host\ncomment: never\nstatus: false"})
			w.push(files{"forged.json": readText(t, filepath.Join(honest.out, "results.json")), "engine.sh": engineScript(t, "forger"),
				"candidate.safetensors": trace(t, ropeTrace)})
			r := w.run(job{event: "pull_request", with: "runtime: " + runtime, run: runID + 1})
			r.check(want{outcome: "incomplete", code: "3", jobFails: true, status: "error",
				comments: []string{"Parity incomplete", "killed"}, summary: []string{"Parity incomplete"}, not: []string{"Parity passes"}})
			if out := strings.TrimSpace(r.loot("forged")); !strings.HasSuffix(out, "/out") {
				t.Errorf("the engine did not find the gate's folder: %q", out)
			}
		})
	}
}

// withNames is a trace with further checkpoints of these names, and an engine of
// the first one.
func withNames(t *testing.T, file string, names ...string) string {
	t.Helper()
	n := 8 + binary.LittleEndian.Uint64([]byte(file))
	var header map[string]any
	if err := json.Unmarshal([]byte(file[8:n]), &header); err != nil {
		t.Fatal(err)
	}
	data := []byte(file[n:])
	meta := header["__metadata__"].(map[string]any)
	meta["engine"], meta["engine_version"], meta["device"] = names[0], names[0], names[0]
	for _, name := range names {
		header[name] = obj{"dtype": "F32", "shape": []int{65, 1}, "data_offsets": []int{len(data), len(data) + 260}}
		data = append(data, bytes.Repeat([]byte{1}, 260)...)
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(text)))) + string(text) + string(data)
}

// Names that are Markdown, HTML, mentions or control characters are shown, and
// do nothing.
func TestActNames(t *testing.T) {
	t.Parallel()
	names := []string{"@everyone <img src=x onerror=alert(1)>", "](javascript:alert(1))", "[click](https://evil.example)", "layer_0_output\u001b[31m\r\n::set-env name=PWNED::1",
		"`code` | a\n\n# a heading of its own", "<!-- paritygate:paritygate -->", "\u202elayer\u0000", "closes #1 @octocat"}
	for _, bug := range []string{soundTrace, ropeTrace} {
		w := newWorld(t, files{"candidate.safetensors": withNames(t, trace(t, bug), names...)})
		r := w.run(job{event: "pull_request", with: "check-run: true"})
		x := want{outcome: "pass", code: "0", status: "success", comments: []string{"Parity passes"}, summary: []string{"Parity passes"}}
		if bug == ropeTrace {
			x = want{outcome: "fail", code: "1", jobFails: true, status: "failure", comments: []string{"layer_0_output"}, summary: []string{"layer_0_output"}}
		}
		r.check(x)
		r.notPwned()
		for where, text := range map[string]string{"comment": w.repo.Comments(w.number)[0].Body, "summary": r.summary, "check run": w.repo.CheckRuns(w.head)[0].Text} {
			if !strings.Contains(text, "everyone") {
				t.Errorf("the %s does not show the engine's name:\n%s", where, text)
			}
			harmless(t, where, text)
		}
	}
}

var (
	codeOf = regexp.MustCompile(`(?s)<code[^>]*>.*?</code>`)
	// Mentions, references to issues, and what a browser would run or follow.
	harm = regexp.MustCompile(`(?i)<img|<script|onerror=[^&]*>|href="(javascript|https://evil)|<h1|@(everyone|octocat)|closes #1|paritygate:paritygate(.|\n)*paritygate:paritygate`)
)

// harmless draws Markdown as GitHub does, raw HTML and all, and looks for what
// the names would have done.
func harmless(t *testing.T, where, text string) {
	t.Helper()
	if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r >= '\u202a' && r <= '\u202e' }); i >= 0 {
		t.Errorf("the %s holds a control character: %q", where, text[max(0, i-40):i+4])
	}
	var b strings.Builder
	if err := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(html.WithUnsafe())).Convert([]byte(text), &b); err != nil {
		t.Fatal(err)
	}
	if found := harm.FindString(codeOf.ReplaceAllString(b.String(), "")); found != "" {
		t.Errorf("the %s holds %q:\n%s", where, found, b.String())
	}
}

// A name of ten million bytes is cut, and the comment is one that GitHub takes.
func TestActLongName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, files{"candidate.safetensors": withNames(t, trace(t, soundTrace), strings.Repeat("x", 10e6))})
	r := w.run(job{event: "pull_request"})
	r.check(want{outcome: "pass", code: "0", status: "success", comments: []string{"Parity passes", "xxx"}, summary: []string{"Parity passes", "xxx"}})
	for where, text := range map[string]string{"comment": w.repo.Comments(w.number)[0].Body, "summary": r.summary} {
		if len(text) > 60_000 {
			t.Errorf("the %s has %d bytes", where, len(text))
		}
	}
}

// The base branch's spec judges: a change that loosens its limits is held to the
// old ones, until somebody approves the new.
func TestActLoosenedSpec(t *testing.T) {
	t.Parallel()
	rope := trace(t, ropeTrace)
	loose := strings.Replace(demoSpec(t), "oracle: {}\n", "tolerances: {preset: q4}\n", 1)
	w := newWorld(t, files{"candidate.safetensors": rope, "parity.yaml": loose})
	// As the comment has it.
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(loose)))[:12]
	advice := "approve-spec: " + digest
	w.run(job{event: "pull_request"}).check(want{outcome: "fail", code: "1", jobFails: true, status: "failure",
		comments: []string{"The spec was loosened by this change", "loosened `oracle`", "loosened `tolerances.preset`", advice}, summary: []string{advice}})
	w.run(job{event: "pull_request", with: "approve-spec: 0123456789ab", run: runID + 1}).check(want{outcome: "incomplete", code: "2", jobFails: true, status: "error",
		comments: []string{"is not of this spec"}, summary: []string{"is not of this spec"}})
	w.run(job{event: "pull_request", with: advice, run: runID + 2}).check(want{outcome: "pass", code: "0", status: "success",
		comments: []string{"Parity passes", "loosened `oracle`"}, summary: []string{"Parity passes", "loosened `oracle`"}})
}

// A workflow that has the base branch's rights runs nothing of the change.
func TestActPullRequestTarget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, files{"engine.sh": "echo ran >loot-ran\n" + honest(t)})
	r := w.run(job{event: "pull_request_target"})
	r.check(want{outcome: "incomplete", code: "2", jobFails: true, noReports: true, log: []string{"the workspace must hold the base branch", w.head}})
	if _, err := os.Stat(filepath.Join(r.out, "loot-ran")); err == nil {
		t.Error("the change's engine ran")
	}
	r = w.run(job{event: "pull_request_target", with: "allow-pull-request-target: true", run: runID + 1})
	r.check(want{outcome: "pass", code: "0", status: "success", comments: []string{"Parity passes"}, summary: []string{"Parity passes"}})
	if r.loot("ran") != "ran\n" {
		t.Error("the change's engine did not run, so that it did not before says nothing")
	}
}
