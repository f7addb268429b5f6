package gate

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// explainer holds engines against the oracle, prompt by prompt.
type explainer struct {
	model *oracle.Model
	spec  *spec.Spec
	o     Options
	dir   string // temporary traces
	sides [2]side
}

// side is one engine as the oracle sees it.
type side struct {
	name    string
	profile oracle.Profile
	known   bool // the profile is
}

// explain computes the oracle on every prompt and fills in what it says of both
// engines. Prompts whose tokens no trace tells are passed over with a warning.
func explain(ctx context.Context, r *Result, s *spec.Spec, pairs []Pair, o Options) error {
	if s.Oracle == nil || len(pairs) == 0 {
		return nil
	}
	m, err := oracle.Load(s.Oracle.Model)
	if err != nil {
		return fmt.Errorf("oracle: %w", err)
	}
	defer m.Close()
	dir, err := os.MkdirTemp("", "paritygate-oracle-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o.Progress = nil
	x := &explainer{model: m, spec: s, o: o, dir: dir}
	for i, e := range []struct {
		name string
		cfg  spec.Engine
		in   *EngineInfo
	}{{"reference", s.Engines.Reference, &r.Engines.Reference}, {"candidate", s.Engines.Candidate, &r.Engines.Candidate}} {
		p, from, err := profileFor(e.cfg, *e.in)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		if from == "" {
			r.Warnings = append(r.Warnings, fmt.Sprintf("oracle: nothing tells how the %s computes, so its error is not explained; name a precision profile for it", e.name))
		}
		e.in.Profile, e.in.ProfileFrom = p.Name, from
		x.sides[i] = side{e.name, p, from != ""}
	}
	for _, p := range pairs {
		if err := x.prompt(ctx, r, p); err != nil {
			return fmt.Errorf("oracle: prompt %s: %w", p.Prompt, err)
		}
	}
	return nil
}

// prompt fills in the oracle's figures of one prompt.
func (x *explainer) prompt(ctx context.Context, r *Result, p Pair) error {
	tokens := p.Reference.Meta.Tokens
	if tokens == nil {
		tokens = p.Candidate.Meta.Tokens
	}
	if tokens == nil {
		r.Warnings = append(r.Warnings, fmt.Sprintf("oracle: no trace of prompt %s tells its tokens, so nothing is explained there", p.Prompt))
		return nil
	}
	exact, err := x.compute(ctx, "exact", tokens, oracle.Profile{Name: "f64"})
	if err != nil {
		return err
	}
	defer exact.Close() // only read
	var errors [2]map[string]OracleError
	for i, t := range []*trace.Trace{p.Reference, p.Candidate} {
		if errors[i], err = x.errorsOf(ctx, x.sides[i], exact, t, tokens); err != nil {
			return fmt.Errorf("%s: %w", x.sides[i].name, err)
		}
	}
	for i := range r.Checkpoints {
		c := &r.Checkpoints[i]
		ref, ok := errors[0][c.Name]
		cand, too := errors[1][c.Name]
		if c.Prompt != p.Prompt || !ok || !too {
			continue
		}
		c.Oracle = &OracleInfo{Reference: ref, Candidate: cand, Ratio: Value(round9(quotient(float64(cand.Error), float64(ref.Error))))}
		setMetric(c, "explained", cand.Explained)
		setMetric(c, "local", cand.LocalRatio)
	}
	return nil
}

// setMetric notes a metric that was measured.
func setMetric(c *Checkpoint, name string, v Value) {
	if !math.IsNaN(float64(v)) {
		c.Metrics[name] = v
	}
}

// quotient is a/b, with 0/0 as 0: no error needs no explanation.
func quotient(a, b float64) float64 {
	if a == 0 && b == 0 {
		return 0
	}
	return a / b
}

// errorsOf holds one engine's trace against the oracle, and against what its
// precision costs.
func (x *explainer) errorsOf(ctx context.Context, s side, exact, t *trace.Trace, tokens []int32) (map[string]OracleError, error) {
	out := map[string]OracleError{}
	nan := Value(math.NaN())
	errs, err := x.distances(ctx, exact, t)
	if err != nil {
		return nil, err
	}
	floors := map[string]float64{}
	if s.known {
		emulated, err := x.compute(ctx, s.name, tokens, s.profile)
		if err != nil {
			return nil, err
		}
		defer emulated.Close() // only read
		if floors, err = x.distances(ctx, exact, emulated); err != nil {
			return nil, err
		}
	}
	for name, e := range errs {
		o := OracleError{Error: Value(round9(e)), Floor: nan, Explained: nan, Local: nan, LocalFloor: nan, LocalRatio: nan}
		if f, ok := floors[name]; ok {
			o.Floor = Value(round9(f))
			o.Explained = Value(round9(quotient(e, max(f, leastFloor))))
		}
		out[name] = o
	}
	if s.known {
		return out, x.local(ctx, s, t, out)
	}
	return out, nil
}

// leastFloor is what float64 itself costs, for engines that say that they do
// not round, or where rounding happens to cost nothing.
const leastFloor = 1e-9

// distances is rel_l2 of a trace against the oracle's, by checkpoint.
func (x *explainer) distances(ctx context.Context, exact, t *trace.Trace) (map[string]float64, error) {
	r := newResult(x.o)
	if err := measurePairs(ctx, r, x.spec, []Pair{{Prompt: "oracle", Reference: exact, Candidate: t}}, x.o); err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for _, c := range r.Checkpoints {
		if c.Compared == c.Width {
			out[c.Name] = float64(c.Metrics["rel_l2"])
		}
	}
	return out, nil
}

// compute runs the oracle's forward pass under a profile and opens its trace.
func (x *explainer) compute(ctx context.Context, name string, tokens []int32, p oracle.Profile) (*trace.Trace, error) {
	path := filepath.Join(x.dir, name+".safetensors")
	dtype := trace.F32
	if !p.Single {
		dtype = trace.F64
	}
	w, err := trace.Create(path, trace.Meta{Engine: "paritygate builtin", EngineVersion: p.Name, Tokens: tokens}, x.tensors(dtype, len(tokens)))
	if err != nil {
		return nil, err
	}
	err = x.model.Run(ctx, tokens, oracle.Options{Profile: p, Sublayers: true}, func(name string, _ int, values []float64) error {
		return w.Append(name, encodeValues(dtype, values))
	})
	if err != nil {
		w.Abort()
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return trace.Open(path, trace.Options{})
}

// tensors announces every checkpoint of the model.
func (x *explainer) tensors(d trace.DType, rows int) []trace.TensorSpec {
	add := func(list []trace.TensorSpec, name string, width int) []trace.TensorSpec {
		return append(list, trace.TensorSpec{Name: name, DType: d, Rows: rows, Width: width})
	}
	w := x.model.Width()
	list := add(nil, "embedding", w)
	for i := range x.model.Layers() {
		for _, part := range []string{"attn_norm", "attn_output", "ffn_input", "ffn_norm", "ffn_output", "output"} {
			list = add(list, fmt.Sprintf("layer_%d_%s", i, part), w)
		}
	}
	return add(add(list, "final_norm", w), logitsName, x.model.Vocabulary())
}
