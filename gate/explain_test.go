package gate

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/oracle/gguf"
	"github.com/paritygate/paritygate/gate/oracle/gguf/ggufgen"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// someTokens are a few lines of Python for the models of the zoo.
var someTokens = enginetest.Prompt("def read(self, size=-1):\n    return self")

// modelRun is a run of the oracle to be recorded as if an engine had done it.
type modelRun struct {
	model     string // "" is the zoo's llama
	profile   string // "" is f64
	bug       string // "" is none
	sublayers bool
	meta      trace.Meta        // tokens are added, unless no tells
	silent    bool              // tokens are not told
	dtype     trace.DType       // 0 is F32, or F64 of f64
	first     int               // first position that is recorded
	only      func(string) bool // checkpoints; nil is all
}

func aProfile(t testing.TB, text string) oracle.Profile {
	t.Helper()
	if text == "" {
		text = "f64"
	}
	named, err := engine.ParsePrecision(text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Profile(named)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func loaded(t testing.TB, path string) *oracle.Model {
	t.Helper()
	m, err := oracle.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// values are all checkpoints of a run, and their names in order.
func (f modelRun) values(t testing.TB) (map[string][][]float64, []string) {
	t.Helper()
	if f.model == "" {
		f.model = enginetest.Zoo(t, "llama")
	}
	m := loaded(t, f.model)
	if f.bug != "" {
		if err := oracle.Plant(m, f.bug); err != nil {
			t.Fatal(err)
		}
	}
	out, names := map[string][][]float64{}, []string(nil)
	err := m.Run(context.Background(), someTokens, oracle.Options{Profile: aProfile(t, f.profile), Sublayers: f.sublayers}, func(name string, width int, v []float64) error {
		names = append(names, name)
		out[name] = slices.Collect(slices.Chunk(v, width))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, names
}

// trace records the run.
func (f modelRun) trace(t testing.TB) *trace.Trace {
	t.Helper()
	values, names := f.values(t)
	if f.dtype == 0 && (f.profile == "" || f.profile == "f64") {
		f.dtype = trace.F64
	}
	if !f.silent {
		f.meta.Tokens = someTokens
	}
	if f.first > 0 {
		for p := f.first; p < len(someTokens); p++ {
			f.meta.Positions = append(f.meta.Positions, p)
		}
	}
	var points []point
	for _, n := range names {
		if f.only == nil || f.only(n) {
			points = append(points, point{n, f.dtype, values[n][f.first:]})
		}
	}
	return made(t, f.meta, points...)
}

// besides compares two runs beside the zoo's llama; yaml is more of the spec.
func besides(t testing.TB, ref, cand modelRun, yaml string) *Result {
	t.Helper()
	r, err := tryBeside(t, enginetest.Zoo(t, "llama"), ref, cand, yaml)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tryBeside(t testing.TB, model string, ref, cand modelRun, yaml string) (*Result, error) {
	t.Helper()
	s := parsed(t, fmt.Sprintf("oracle: {model: %q}\n", model)+yaml)
	return Compare(context.Background(), s, []Pair{{"p", ref.trace(t), cand.trace(t)}}, Options{})
}

// spoken are the words of an engine whose profile is told by its trace.
func spoken(profile string) trace.Meta {
	return trace.Meta{Engine: engine.BuiltinName, EngineVersion: profile, ComputeDType: "f16"}
}

var exactly = modelRun{meta: trace.Meta{Engine: engine.BuiltinName, EngineVersion: "f64", ComputeDType: "f64"}}

// far is ‖a − b‖ / ‖b‖ over rows, from the position first on.
func far(a, b [][]float64, first int) float64 {
	var d2, b2 float64
	for i := first; i < len(b); i++ {
		for j, v := range b[i] {
			d2 += (a[i][j] - v) * (a[i][j] - v)
			b2 += v * v
		}
	}
	return math.Sqrt(d2 / b2)
}

// The figures are those of the definition, computed here without the gate.
func TestExplainFigures(t *testing.T) {
	const told = "llamacpp-fa-f16"
	ref, cand := modelRun{profile: "f32", meta: spoken("f32")}, modelRun{profile: "bf16", meta: spoken(told)}
	r := besides(t, ref, cand, "")
	exact, names := exactly.values(t)
	refs, _ := ref.values(t)
	cands, _ := cand.values(t)
	floors, _ := modelRun{profile: told}.values(t)
	if r.Engines.Reference.Profile != "f32" || r.Engines.Candidate.Profile != told || r.Engines.Candidate.ProfileFrom != fromSettings {
		t.Errorf("profiles %+v, %+v", r.Engines.Reference, r.Engines.Candidate)
	}
	if len(r.Checkpoints) != len(names) {
		t.Fatalf("%d checkpoints, want %d", len(r.Checkpoints), len(names))
	}
	for _, c := range r.Checkpoints {
		o := c.Oracle
		if o == nil {
			t.Fatalf("%s: nothing", c.Name)
		}
		e, floor := far(cands[c.Name], exact[c.Name], 0), far(floors[c.Name], exact[c.Name], 0)
		for _, f := range []struct {
			what string
			got  Value
			want float64
		}{
			{"reference error", o.Reference.Error, far(refs[c.Name], exact[c.Name], 0)}, {"error", o.Candidate.Error, e}, {"floor", o.Candidate.Floor, floor},
			{"explained", o.Candidate.Explained, quotient(e, max(floor, leastFloor))}, {"metric", c.Metrics["explained"], quotient(e, max(floor, leastFloor))},
			{"ratio", o.Ratio, quotient(e, far(refs[c.Name], exact[c.Name], 0))},
		} {
			if !near(float64(f.got), f.want, 1e-6) {
				t.Errorf("%s: %s is %g, want %g", c.Name, f.what, float64(f.got), f.want)
			}
		}
	}
}

// Where the trace has only later positions, the floor is theirs, too, and no
// layer can be run on what came before.
func TestExplainLaterPositions(t *testing.T) {
	const told = "llamacpp-fa-f16"
	cand := modelRun{profile: told, meta: spoken(told), first: 30}
	r := besides(t, exactly, cand, "")
	exact, _ := exactly.values(t)
	floors, _ := modelRun{profile: told}.values(t)
	for _, c := range r.Checkpoints {
		e := c.Oracle.Candidate
		if want := far(floors[c.Name], exact[c.Name], 30); !near(float64(e.Floor), want, 1e-6) || want > 0 && !near(float64(e.Explained), 1, 1e-6) {
			t.Errorf("%s: floor %g, want %g; explained %g", c.Name, float64(e.Floor), want, float64(e.Explained))
		}
		if c.Name != "embedding" && (e.Local == e.Local || e.LocalRatio == e.LocalRatio) {
			t.Errorf("%s: local error %g without what comes before position 30", c.Name, float64(e.Local))
		}
	}
	// The last row of the logits alone, as engines that generate have it.
	cand.first, cand.only = len(someTokens)-1, func(n string) bool { return n == logitsName }
	r = besides(t, exactly, cand, "")
	if e := r.Checkpoints[0].Oracle.Candidate; len(r.Checkpoints) != 1 || !near(float64(e.Explained), 1, 1e-6) || r.Outcome != Pass {
		t.Errorf("%v: %d checkpoints, explained %g", r.Outcome, len(r.Checkpoints), float64(e.Explained))
	}
}

// Rows that are not compared whole say nothing.
func TestExplainPartialRows(t *testing.T) {
	told := modelRun{profile: "f32", meta: spoken("f32")}
	values, _ := told.values(t)
	row := fmt.Sprint(values["layer_0_output"][0][:10])
	log := opened(t, jsonl(t, fmt.Sprintf(`{"metadata":{"engine":"worker","compute_dtype":"f32","tokens":%s}}`, strings.ReplaceAll(fmt.Sprint(someTokens), " ", ",")),
		fmt.Sprintf(`{"checkpoint":"layer_0_output","token_idx":0,"dtype":"f32","values":%s}`, strings.ReplaceAll(row, " ", ","))))
	s := parsed(t, fmt.Sprintf("oracle: {model: %q}\n", enginetest.Zoo(t, "llama")))
	r := compared(t, s, Options{}, Pair{"p", log, log})
	if len(r.Checkpoints) != 1 || r.Checkpoints[0].Oracle != nil {
		t.Errorf("ten values of a row: %+v", r.Checkpoints)
	}
}

// Positions and elements that the spec skips take part in no figure.
func TestExplainSkipped(t *testing.T) {
	wrong := modelRun{profile: "f32", meta: spoken("f32"), dtype: trace.F32}
	values, names := wrong.values(t)
	var points []point
	for _, n := range names {
		points = append(points, point{name: n, rows: copied(values[n], func(b [][]float64) { b[5][7] += 10 })})
	}
	meta := spoken("f32")
	meta.Tokens = someTokens
	cand := made(t, meta, points...)
	for _, skip := range []string{"", "skip: {positions: [5]}\n", "skip: {elements: [7]}\n"} {
		s := parsed(t, fmt.Sprintf("oracle: {model: %q}\n", enginetest.Zoo(t, "llama"))+skip)
		r := compared(t, s, Options{}, Pair{"p", exactly.trace(t), cand})
		e := checkpointOf(t, r, "final_norm").Oracle.Candidate
		if over := e.Explained > 100 && e.LocalRatio > 100; over != (skip == "") {
			t.Errorf("%q: explained %g, local %g", skip, float64(e.Explained), float64(e.LocalRatio))
		}
	}
}

// An engine that writes what it computes in a coarser type is not blamed for it.
func TestExplainStorage(t *testing.T) {
	for dtype, profile := range map[trace.DType]string{trace.F16: "f32", trace.BF16: "f32", trace.F64: "llamacpp-fa-f16"} {
		r := besides(t, exactly, modelRun{profile: profile, meta: spoken(profile), dtype: dtype}, "")
		for _, c := range r.Checkpoints {
			e := c.Oracle.Candidate
			for _, v := range []Value{e.Explained, e.LocalRatio} {
				if !(v < 1.3) || e.Error > 0 && !(v > 0.5) {
					t.Errorf("%s stored as %s: %s: explained %g, local %g", profile, dtype, c.Name, float64(e.Explained), float64(e.LocalRatio))
				}
			}
		}
	}
	// What already rounds to the type has no more to lose.
	r := besides(t, exactly, modelRun{profile: "bf16", meta: spoken("bf16"), dtype: trace.BF16}, "")
	if e := checkpointOf(t, r, "layer_2_output").Oracle.Candidate; !near(float64(e.Explained), 1, 1e-3) {
		t.Errorf("bf16 stored as bf16: explained %g", float64(e.Explained))
	}
}

// What is not known is said, and nothing crashes.
func TestExplainUnknown(t *testing.T) {
	sound := modelRun{profile: "f32", meta: spoken("f32")}
	silent := sound
	silent.silent = true
	for name, c := range map[string]struct {
		ref, cand modelRun
		yaml      string
		warning   string
		outcome   Outcome
	}{
		"tokens of neither": {silent, silent, "", "no trace of prompt p tells its tokens", Pass},
		"tokens of one":     {silent, sound, "", "", Pass},
		"profile":           {exactly, modelRun{profile: "f32", meta: trace.Meta{Engine: "worker"}}, "", "nothing tells how the candidate computes", Pass},
		"profile, and asked for": {exactly, modelRun{profile: "f32", meta: trace.Meta{Engine: "worker"}}, "tolerances: {rules: [{checkpoint: logits, explained: 4}]}\n",
			"nothing tells how the candidate computes", Incomplete},
	} {
		t.Run(name, func(t *testing.T) {
			r := besides(t, c.ref, c.cand, c.yaml)
			text := strings.Join(r.Warnings, "\n")
			if !strings.Contains(text, c.warning) || c.warning == "" && text != "" {
				t.Errorf("warnings %q, want %q", text, c.warning)
			}
			if r.Outcome != c.outcome {
				t.Errorf("%v, want %v: %v", r.Outcome, c.outcome, r.Reasons)
			}
			for _, p := range r.Checkpoints {
				if _, ok := p.Metrics["explained"]; ok != (c.warning == "") {
					t.Errorf("%s: explained %v", p.Name, ok)
				}
			}
		})
	}
	// Other tokens: nothing is compared, and nothing computed.
	other := made(t, trace.Meta{Tokens: []int32{256, 1}}, point{name: "embedding", rows: noisy(seeded(1), 2, 128, 1)})
	s := parsed(t, fmt.Sprintf("oracle: {model: %q}\n", enginetest.Zoo(t, "llama")))
	if r := compared(t, s, Options{}, Pair{"p", sound.trace(t), other}); r.Outcome != Incomplete || len(r.Checkpoints) != 0 {
		t.Errorf("other tokens: %v, %d checkpoints", r.Outcome, len(r.Checkpoints))
	}
}

// randomModel is a small random llama.
func randomModel(t testing.TB, c ggufgen.Config) string {
	t.Helper()
	d, err := ggufgen.RandomModel("llama", c, 3)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "random.gguf")
	if err := gguf.Write(path, d); err != nil {
		t.Fatal(err)
	}
	return path
}

// Weights that are not the engines' are an error where anything shows it.
func TestExplainOtherModel(t *testing.T) {
	sound := modelRun{profile: "f32", meta: spoken("f32")}
	like := ggufgen.Config{Width: 128, Heads: 4, KVHeads: 2, Layers: 4, FeedForward: 384, Vocab: 264}
	with := func(change func(*ggufgen.Config)) string {
		c := like
		change(&c)
		return randomModel(t, c)
	}
	for name, c := range map[string]struct{ model, want string }{
		"width":      {with(func(c *ggufgen.Config) { c.Width = 64 }), "the reference's embedding has rows of 128 elements, those of "},
		"layers":     {with(func(c *ggufgen.Config) { c.Layers = 3 }), "the reference has layer_3_output, but "},
		"vocabulary": {with(func(c *ggufgen.Config) { c.Vocab = 300 }), "the reference's logits has rows of 264 elements, those of "},
		"tokens":     {with(func(c *ggufgen.Config) { c.Vocab = 200 }), "another model"},
		"no file":    {filepath.Join(t.TempDir(), "gone.gguf"), "gone.gguf"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tryBeside(t, c.model, sound, sound, "")
			if err == nil || !strings.HasPrefix(err.Error(), "oracle: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	// Nothing but a token shows it.
	few := sound
	few.only = func(n string) bool { return n == "final_norm" }
	if _, err := tryBeside(t, with(func(c *ggufgen.Config) { c.Vocab = 100 }), few, few, ""); err == nil || !strings.Contains(err.Error(), "256") {
		t.Errorf("a token beyond the vocabulary: %v", err)
	}
	// Of the same shapes, the oracle stands alone.
	r, err := tryBeside(t, with(func(*ggufgen.Config) {}), sound, sound, "")
	if err != nil {
		t.Fatal(err)
	}
	if r.Outcome != Fail || len(r.Diagnosis) == 0 || r.Diagnosis[0].Kind != "oracle_differs" {
		t.Errorf("another model of the same shape: %v, %+v", r.Outcome, r.Diagnosis)
	}
	// A profile that does not fit the weights.
	s := parsed(t, fmt.Sprintf("oracle: {model: %q}\n", enginetest.Zoo(t, "llama")))
	s.Engines.Candidate.Precision = &spec.Precision{Profile: "f32", Fields: map[string]string{"inputs": "q8_k"}}
	if _, err := Compare(context.Background(), s, []Pair{{"p", sound.trace(t), sound.trace(t)}}, Options{}); err == nil || !strings.Contains(err.Error(), "blocks of 256") {
		t.Errorf("blocks of 256: %v", err)
	}
}
