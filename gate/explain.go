package gate

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/paritygate/paritygate/gate/engine"
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
	times   times
}

// explain computes the oracle on every prompt and fills in what it says of both
// engines. Prompts whose tokens no trace tells are passed over with a warning.
// Errors: weights that the oracle cannot read, a profile that does not exist or
// does not fit them, and traces of another model than theirs.
func explain(ctx context.Context, r *Result, s *spec.Spec, pairs []Pair, o Options) error {
	if s.Oracle == nil || len(pairs) == 0 {
		return nil
	}
	m, err := oracle.Load(s.Oracle.Model)
	if err != nil {
		return fmt.Errorf("oracle: %w", err)
	}
	defer m.Close() // only read
	dir, err := os.MkdirTemp("", "paritygate-oracle-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o = o.unobserved()
	x := &explainer{model: m, spec: s, o: o, dir: dir}
	for i, e := range []struct {
		name string
		cfg  spec.Engine
		in   *EngineInfo
	}{{"reference", s.Engines.Reference, &r.Engines.Reference}, {"candidate", s.Engines.Candidate, &r.Engines.Candidate}} {
		p, from, err := profileFor(e.cfg, *e.in, m)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		if from == "" {
			r.Warnings = append(r.Warnings, fmt.Sprintf("oracle: nothing tells how the %s computes, so its error is not explained; name a precision profile for it", e.name))
		}
		e.in.Profile, e.in.ProfileFrom = p.Name, from
		x.sides[i] = side{e.name, p, from != "", timesFor(*e.in)}
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
	switch {
	case tokens == nil:
		r.Warnings = append(r.Warnings, fmt.Sprintf("oracle: no trace of prompt %s tells its tokens, so nothing is explained there", p.Prompt))
		return nil
	case promptInfo(p).InputsDiffer != "":
		return nil // nothing is compared
	}
	traces := []*trace.Trace{p.Reference, p.Candidate}
	for i, t := range traces {
		if err := x.fits(x.sides[i].name, t); err != nil {
			return err
		}
	}
	exact, err := x.compute(ctx, "exact", tokens, oracle.Profile{Name: "f64"})
	if err != nil {
		return err
	}
	defer exact.Close() // only read
	var errors [2]map[string]OracleError
	for i, t := range traces {
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

// fits refuses a trace of another model than the oracle's. Rows of a log may be
// short, as a log need not say how wide they are.
func (x *explainer) fits(role string, t *trace.Trace) error {
	for _, c := range t.Checkpoints {
		want := x.model.Width()
		n, layer := layerOutput(c.Name)
		switch {
		case layer && n >= x.model.Layers():
			return fmt.Errorf("the %s has %s, but %s has %d layers: it is another model", role, c.Name, x.model.Path(), x.model.Layers())
		case c.Name == logitsName:
			want = x.model.Vocabulary()
		case !layer && c.Name != "embedding" && c.Name != "final_norm":
			continue
		}
		if c.Width != want && !(t.Format == trace.OrchJSONL && c.Width < want) {
			return fmt.Errorf("the %s's %s has rows of %d elements, those of %s have %d: it is another model", role, c.Name, c.Width, x.model.Path(), want)
		}
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
	errs, err := x.distances(ctx, exact, t, x.spec.Skip.Positions)
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
		if floors, err = x.floors(ctx, exact, emulated, t); err != nil {
			return nil, err
		}
	}
	for name, e := range errs {
		o := OracleError{Error: Value(round9(e)), Floor: nan, Explained: nan, Local: nan, LocalFloor: nan, LocalRatio: nan}
		if f, ok := floors[name]; ok {
			f = math.Hypot(f, s.storage(t.Lookup(name)))
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

// storage is what writing the trace cost: relative to its values, the error of
// rounding to the checkpoint's own dtype, where that is coarser than what the
// engine hands from layer to layer.
func (s side) storage(c *trace.Checkpoint) float64 {
	switch {
	case c == nil || s.profile.Residual == oracle.BF16:
		return 0
	case c.DType == trace.BF16:
		return bf16Storage
	case c.DType == trace.F16 && s.profile.Residual != oracle.F16:
		return bf16Storage / 8
	}
	return 0
}

// bf16Storage is the largest error of a value rounded to the eight bits of bf16;
// the rms error is three quarters of it, and layers may enlarge it a little.
const bf16Storage = 0x1p-9

// distances is rel_l2 of a trace against the oracle's, by checkpoint.
func (x *explainer) distances(ctx context.Context, exact, t *trace.Trace, skip []int) (map[string]float64, error) {
	r, s := newResult(x.o), *x.spec
	s.Skip.Positions = skip
	if err := measurePairs(ctx, r, &s, []Pair{{Prompt: "oracle", Reference: exact, Candidate: t}}, x.o); err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for _, c := range r.Checkpoints {
		if c.Compared == c.Width && c.Rows > 0 {
			out[c.Name] = float64(c.Metrics["rel_l2"])
		}
	}
	return out, nil
}

// floors is rel_l2 of the emulated engine against the oracle, by checkpoint: at
// the positions that the engine's own trace has there, as a floor is no better
// known than the rows that it is taken of.
func (x *explainer) floors(ctx context.Context, exact, emulated, t *trace.Trace) (map[string]float64, error) {
	names := map[string][]string{} // by the positions that are left out
	skips := map[string][]int{}
	for _, c := range t.Checkpoints {
		e := exact.Lookup(c.Name)
		if e == nil {
			continue
		}
		skip := slices.Clone(x.spec.Skip.Positions)
		for _, p := range e.Positions {
			if _, has := slices.BinarySearch(c.Positions, p); !has {
				skip = append(skip, p)
			}
		}
		key := fmt.Sprint(skip)
		names[key], skips[key] = append(names[key], c.Name), skip
	}
	out := map[string]float64{}
	for key, of := range names {
		all, err := x.distances(ctx, exact, emulated, skips[key])
		if err != nil {
			return nil, err
		}
		for _, n := range of {
			if f, ok := all[n]; ok {
				out[n] = f
			}
		}
	}
	return out, nil
}

// compute runs the oracle's forward pass under a profile and opens its trace.
func (x *explainer) compute(ctx context.Context, name string, tokens []int32, p oracle.Profile) (*trace.Trace, error) {
	path := filepath.Join(x.dir, name+".safetensors")
	if err := engine.WriteForward(ctx, x.model, tokens, oracle.Options{Profile: p, Sublayers: true}, trace.Meta{}, path); err != nil {
		return nil, err
	}
	return trace.Open(path, trace.Options{})
}
