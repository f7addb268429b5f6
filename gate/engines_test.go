package gate_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/spec"
)

// The tests in engines_*_test.go run llama.cpp through a parity.yaml, as a user
// would, with no tolerance of their own: the preset that paritygate chooses must do.

// Prompts of Python as the models know it: 21, 121 and 257 tokens with BOS.
const (
	short   = "def main(argv):\n    "
	code    = "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n        self.items.append(item)\n"
	listing = "class Reader(object):\n    def __init__(self, stream, size=4096):\n        self.stream = stream\n        self.buffer = b\"\"\n\n" +
		"    def readline(self):\n        while b\"\\n\" not in self.buffer:\n            data = self.stream.read(self.size)\n            if not data:"
)

// realRun is one run of two llama.cpp engines. The strings are further keys of
// the engine, as YAML's flow style has them: "ubatch: 7, kv_type: bf16". Engines
// run on one thread unless they say otherwise: llama.cpp's threads wait for one
// another in a loop, which takes a hundred times as long when tests share a core.
type realRun struct {
	reference, candidate string
	model                string // of both
	candidateModel       string // "" for model
	prompts              string // YAML list items; "" for one prompt, code
	more                 string // further top-level YAML
	release              string // of the candidate; "" for the same
}

// ids is a prompt of tokens.
func ids(name, text string) string {
	return fmt.Sprintf("  - {name: %s, tokens: %s}\n", name, strings.ReplaceAll(fmt.Sprint(enginetest.Prompt(text)), " ", ", "))
}

// llamaKeys are the keys of an engine in flow style.
func llamaKeys(t testing.TB, release, more string) string {
	in := enginetest.LlamaCpp(t)
	if release != "" {
		in = enginetest.LlamaCpp(t, release)
	}
	keys := fmt.Sprintf("adapter: llamacpp, gpu_layers: 0, library: %q, headers: %q", in.Library, in.Headers)
	if more != "" {
		keys += ", " + more
	}
	if !strings.Contains(more, "threads:") {
		keys += ", threads: 1"
	}
	return keys
}

// yaml is the run's parity.yaml.
func (r realRun) yaml(t testing.TB) string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nmodel: {path: %q}\nprompts:\n", r.model)
	if r.prompts == "" {
		r.prompts = ids("code", code)
	}
	b.WriteString(r.prompts)
	candidate := r.candidate
	if r.candidateModel != "" {
		candidate = strings.TrimPrefix(candidate+fmt.Sprintf(", model: %q", r.candidateModel), ", ")
	}
	fmt.Fprintf(&b, "engines:\n  reference: {%s}\n  candidate: {%s}\n", llamaKeys(t, "", r.reference), llamaKeys(t, r.release, candidate))
	b.WriteString("require: {checkpoints: [embedding, layer_*_output, final_norm, logits]}\n")
	b.WriteString(r.more)
	return b.String()
}

// run writes parity.yaml and runs it.
func (r realRun) run(t testing.TB) *gate.Result {
	t.Helper()
	return runSpec(t, r.yaml(t))
}

func runSpec(t testing.TB, yaml string) *gate.Result {
	t.Helper()
	path := filepath.Join(t.TempDir(), "parity.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := spec.Load(path)
	if err != nil {
		t.Fatalf("%v\n%s", err, yaml)
	}
	r, err := gate.Run(context.Background(), s, gate.RunOptions{Getenv: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// strict are the keys that give a candidate the reference's defaults.
const strict = "flash_attention: off, kv_type: f32"

// precisionEdits make a zoo model's weights of another type.
var precisionEdits = map[string][]func(*enginetest.GGUF) error{
	"f32": {enginetest.Widen}, "bf16": {enginetest.Convert(enginetest.BF16)}, "q8_0": {enginetest.Convert(enginetest.Q8_0)}, "q4_0": {toQ4},
}

// weights is the zoo model with weights of that type.
func weights(t testing.TB, architecture, precision string) string {
	t.Helper()
	if precision == "f16" {
		return enginetest.Zoo(t, architecture)
	}
	return edited(t, architecture, precision, precisionEdits[precision]...)
}

// edited is a zoo model with edits, made once for all tests under its name.
func edited(t testing.TB, architecture, name string, edits ...func(*enginetest.GGUF) error) string {
	t.Helper()
	models.Lock()
	defer models.Unlock()
	path := filepath.Join(models.dir(t), architecture+"-"+name+".gguf")
	if _, err := os.Stat(path); err != nil {
		enginetest.Edit(t, architecture, path, edits...)
	}
	return path
}

// models are the edited models of this test run.
var models editedModels

type editedModels struct {
	sync.Mutex
	path string
}

func (m *editedModels) dir(t testing.TB) string {
	if m.path == "" {
		dir, err := os.MkdirTemp("", "paritygate-models-")
		if err != nil {
			t.Fatal(err)
		}
		m.path = dir
	}
	return m.path
}

func TestMain(m *testing.M) {
	code := m.Run()
	if models.path != "" {
		os.RemoveAll(models.path)
	}
	os.Exit(code)
}

// wholly checks that everything was measured and that capture is proven exact.
func wholly(t testing.TB, r *gate.Result) {
	t.Helper()
	for _, e := range []gate.EngineInfo{r.Engines.Reference, r.Engines.Candidate} {
		if e.Failure != "" {
			t.Fatalf("%s: %s\n%s", e.Name, e.Failure, e.Output)
		}
		if e.Capture != "exact" {
			t.Errorf("%s: capture is %q, not exact", e.Name, e.Capture)
		}
	}
	if len(r.Coverage.Missing) > 0 {
		t.Errorf("missing: %+v", r.Coverage.Missing)
	}
	if len(r.Checkpoints) != 7*len(r.Prompts) {
		t.Errorf("%d checkpoints for %d prompts, want 7 each", len(r.Checkpoints), len(r.Prompts))
	}
}

// table is rows of cells for t.Log; safe for tests that run side by side.
type table struct {
	sync.Mutex
	head string
	rows []string
}

func (l *table) add(format string, cells ...any) {
	l.Lock()
	defer l.Unlock()
	l.rows = append(l.rows, fmt.Sprintf(format, cells...))
}

// String sets the rows, whose cells tabs part, in columns.
func (l *table) String() string {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%s\n%s\n", l.head, strings.Join(l.rows, "\n"))
	w.Flush()
	return b.String()
}
