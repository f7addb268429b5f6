package history

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/cli"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
)

const storeBranch = "parity-baselines"

// source is all files of one commit.
type source struct {
	settings
	tidy    bool   // the refactored form of the same
	readme  string // of the documentation
	example string // in a file of its own, "" for none
	prompt  string
	ratchet bool
}

const prompt = "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n        self.items.append(item)\n"

// parity is the spec of the repository: limits that stop what is plainly wrong, and
// a baseline for the rest. The mean KL is not held against it: it grows with the
// square of the logits' error, so that a creep of 2 % would be one of 4 %. Logits
// get more room against the anchor than what stands before them: llama.cpp rounds
// to f16 on the way there, and a step of 2 % comes out as 1 to 3 %.
const parity = `version: 1
prompts:
  - {name: code, tokens: %s}
engines:
  reference: {adapter: trace, path: "golden/{{prompt}}.safetensors"}
  candidate:
    adapter: exec
    command: [sh, engine/capture.sh, "{{tokens}}", "{{trace}}"]
    build: [sh, engine/build.sh]
    pass_env: [HISTORY_WORKER, HISTORY_CACHE, HISTORY_MODEL, HISTORY_LIBRARY, HISTORY_HEADERS]
    dir: .
require: {checkpoints: [embedding, layer_*_output, final_norm, logits]}
tolerances:
  preset: reasonable
  rules:
    - {checkpoint: logits, anchor: 35%%}
baseline:
  store: branch:` + storeBranch + `
  required: true
  max_increase: 25%%
  metrics: [rel_l2, position_rms, added, top1_agreement]
  ratchet: %t
`

// repository is a git checkout with a candidate in it.
type repository struct {
	t     *testing.T
	dir   string
	out   string // where reports go
	clock time.Time
}

// newRepository makes an empty one, and finds the engine that its candidate is.
func newRepository(t *testing.T) *repository {
	r := &repository{t: t, dir: t.TempDir(), out: filepath.Join(t.TempDir(), "out"), clock: time.Now().Add(-24 * time.Hour)}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in := enginetest.LlamaCpp(t)
	for name, value := range map[string]string{envWorker: self, envCache: t.TempDir(), envModel: enginetest.Zoo(t, "llama"), envLibrary: in.Library, envHeaders: in.Headers} {
		t.Setenv(name, value)
	}
	r.git("init", "--quiet", "--initial-branch", "main")
	return r
}

// git runs git in the checkout. Every commit is a minute after the one before.
func (r *repository) git(args ...string) string {
	r.t.Helper()
	r.clock = r.clock.Add(time.Minute)
	date := r.clock.Format(time.RFC3339)
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_DATE="+date, "GIT_COMMITTER_DATE="+date)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// stored is the commit of the baselines' branch, "" before the first.
func (r *repository) stored() string {
	return r.git("for-each-ref", "--format=%(objectname)", "refs/heads/"+storeBranch)
}

// files are the source by path, without the recorded reference.
func (s source) files() map[string]string {
	script := "exec \"$HISTORY_WORKER\" worker run engine/settings \"$1\" \"$2\"\n"
	if s.tidy {
		script = "set -eu\ntokens=$1 trace=$2\nexec \"$HISTORY_WORKER\" worker run engine/settings \"$tokens\" \"$trace\"\n"
	}
	files := map[string]string{
		"README.md":         s.readme,
		"parity.yaml":       fmt.Sprintf(parity, "["+s.tokens()+"]", s.ratchet),
		"engine/settings":   s.text(s.tidy),
		"engine/capture.sh": script,
		"engine/build.sh":   "exec \"$HISTORY_WORKER\" worker build engine/settings\n",
	}
	if s.example != "" {
		files["examples/run"] = s.example
	}
	return files
}

// tokens are the prompt's, with commas.
func (s source) tokens() string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(enginetest.Prompt(s.prompt)), "[]"), " ", ",")
}

// write writes the files, and records the reference anew where the prompt is another.
func (r *repository) write(s source) {
	r.t.Helper()
	for name, content := range s.files() {
		path := filepath.Join(r.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			r.t.Fatal(err)
		}
	}
	golden := filepath.Join(r.dir, "golden", "code.safetensors")
	recorded := filepath.Join(os.Getenv(envCache), fmt.Sprintf("golden-%x.safetensors", sha256.Sum256([]byte(s.prompt))))
	if _, err := os.Stat(recorded); errors.Is(err, fs.ErrNotExist) {
		if err := capture(recorded, s.tokens(), os.Getenv(envModel), "reference"); err != nil {
			r.t.Fatal(err)
		}
	}
	data, err := os.ReadFile(recorded)
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Dir(golden), 0o755), os.WriteFile(golden, data, 0o644))
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// is checks that the checkout holds that source.
func (r *repository) is(s source) {
	r.t.Helper()
	for name, want := range s.files() {
		if got, err := os.ReadFile(filepath.Join(r.dir, name)); err != nil || string(got) != want {
			r.t.Fatalf("%s is %q (%v), want %q", name, got, err, want)
		}
	}
}

// commit commits the source on the branch that is checked out.
func (r *repository) commit(s source, message string) string {
	r.write(s)
	r.git("add", "--all")
	r.git("commit", "--quiet", "--message", message)
	return r.git("rev-parse", "HEAD")
}

// merge takes a branch into main as GitHub's three buttons do.
func (r *repository) merge(how, branch string, number int, title string) {
	r.t.Helper()
	head := r.git("rev-parse", branch)
	r.git("checkout", "--quiet", "main")
	switch how {
	case "merge":
		r.git("merge", "--quiet", "--no-ff", "--message", fmt.Sprintf("Merge pull request #%d from dev/%s", number, branch), branch)
	case "squash":
		r.git("merge", "--quiet", "--squash", branch)
		r.git("commit", "--quiet", "--message", fmt.Sprintf("%s (#%d)", title, number))
	case "rebase":
		r.git("cherry-pick", head)
	default:
		r.t.Fatalf("merge %q: want merge, squash or rebase", how)
	}
	r.git("branch", "--quiet", "-D", branch)
}

// paritygate runs the command line in the test's own process.
func (r *repository) paritygate(args ...string) (code int, stdout, stderr string) {
	r.t.Helper()
	var out, errs bytes.Buffer
	code = cli.Main(context.Background(), args, cli.Process{Stdin: &bytes.Buffer{}, Stdout: &out, Stderr: &errs, Getenv: os.Getenv})
	return code, out.String(), errs.String()
}

func (r *repository) spec() string { return filepath.Join(r.dir, "parity.yaml") }

// run is the gate on what is checked out, held against main's baseline, as a user
// reads it in results.json.
func (r *repository) run() (int, *gate.Result) {
	r.t.Helper()
	if err := os.RemoveAll(r.out); err != nil {
		r.t.Fatal(err)
	}
	before := r.stored()
	code, _, stderr := r.paritygate("run", r.spec(), "--base", "main", "--out", r.out)
	if after := r.stored(); after != before {
		r.t.Fatalf("a run moved the store from %s to %s", before, after)
	}
	data, err := os.ReadFile(filepath.Join(r.out, "results.json"))
	if err != nil {
		r.t.Fatalf("exit %d: %v\n%s", code, err, stderr)
	}
	result := &gate.Result{}
	if err := json.Unmarshal(data, result); err != nil {
		r.t.Fatal(err)
	}
	if result.ExitCode != code || result.Baseline == nil {
		r.t.Fatalf("exit %d, results.json says %d with baseline %v\n%s", code, result.ExitCode, result.Baseline, stderr)
	}
	return code, result
}
