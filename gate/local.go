package gate

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/trace"
)

// local runs every layer of the oracle on the engine's own captured input. What
// then differs from the engine's own output is what that layer alone gets wrong,
// whatever it inherited; the same layer under the engine's profile says how
// much of that rounding explains.
func (x *explainer) local(ctx context.Context, s side, t *trace.Trace, out map[string]OracleError) error {
	input, err := wholeRows(t, "embedding", x.model.Width())
	if err != nil {
		return err
	}
	// Nothing comes before the embedding: its local error is its error.
	if e, ok := out["embedding"]; ok {
		e.Local, e.LocalFloor, e.LocalRatio = e.Error, e.Floor, e.Explained
		out["embedding"] = e
	}
	for i := range x.model.Layers() {
		name := fmt.Sprintf("layer_%d_output", i)
		output, err := wholeRows(t, name, x.model.Width())
		if err != nil {
			return err
		}
		if input != nil && output != nil && len(input) == len(output) {
			if err := x.localLayer(ctx, s, t, i, input, output, out); err != nil {
				return err
			}
		}
		input = output
	}
	return x.localHead(ctx, s, t, input, out)
}

// add is what a half of a layer, or a whole one, makes of its input: the
// engine's own, exactly, and in the engine's precision.
type add struct {
	own, exact, emulated []float64
	input                []float64 // nil where nothing is added to a stream
	stored               float64   // what writing a value cost, relative to it
}

// localLayer is the local error of one layer, and of its halves where they were
// captured.
func (x *explainer) localLayer(ctx context.Context, s side, t *trace.Trace, i int, input, output []float64, out map[string]OracleError) error {
	exact, err := x.model.Layer(ctx, i, input, oracle.Profile{})
	if err != nil {
		return err
	}
	emulated, err := x.model.Layer(ctx, i, input, s.profile)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("layer_%d_output", i)
	e, ok := out[name]
	if !ok {
		return nil // not whole rows are compared
	}
	stored := s.storage(t.Lookup(name))
	x.setLocal(&e, add{output, exact.Output, emulated.Output, input, stored}, x.model.Width())
	mid, err := wholeRows(t, fmt.Sprintf("layer_%d_ffn_input", i), x.model.Width())
	if err != nil {
		return err
	}
	if mid != nil && len(mid) == len(input) {
		if e.Part, err = x.localPart(ctx, s, i, mid, add{output, exact.FFNInput, emulated.FFNInput, input, stored}); err != nil {
			return err
		}
	}
	out[name] = e
	return nil
}

// localPart says which half of a layer errs more than rounding explains, and
// more than the other: "attention", "feed-forward", or "" when neither does. mid
// is the engine's own stream between the halves; layer has the whole layer's
// output, and what attention makes of its input.
func (x *explainer) localPart(ctx context.Context, s side, i int, mid []float64, layer add) (string, error) {
	fx, err := x.model.FeedForward(ctx, i, mid, oracle.Profile{})
	if err != nil {
		return "", err
	}
	fe, err := x.model.FeedForward(ctx, i, mid, s.profile)
	if err != nil {
		return "", err
	}
	var attention, ffn OracleError
	x.setLocal(&attention, add{mid, layer.exact, layer.emulated, layer.input, layer.stored}, x.model.Width())
	x.setLocal(&ffn, add{layer.own, fx.Output, fe.Output, mid, layer.stored}, x.model.Width())
	a, f := float64(attention.LocalRatio), float64(ffn.LocalRatio)
	switch {
	case !(max(a, f) > s.times.local):
		return "", nil
	case a >= f:
		return "attention", nil
	}
	return "feed-forward", nil
}

// localHead is the local error of the final norm and the logits, both of the
// engine's own last layer.
func (x *explainer) localHead(ctx context.Context, s side, t *trace.Trace, input []float64, out map[string]OracleError) error {
	if input == nil {
		return nil
	}
	exactNorm, exactLogits, err := x.model.Head(ctx, input, oracle.Profile{})
	if err != nil {
		return err
	}
	norm, logits, err := x.model.Head(ctx, input, s.profile)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name            string
		exact, emulated []float64
	}{{"final_norm", exactNorm, norm}, {logitsName, exactLogits, logits}} {
		width := len(c.exact) / (len(input) / x.model.Width())
		own, err := wholeRows(t, c.name, width)
		if err != nil {
			return err
		}
		e, ok := out[c.name]
		if own == nil || !ok || len(own) != len(c.exact) {
			continue
		}
		x.setLocal(&e, add{own, c.exact, c.emulated, nil, s.storage(t.Lookup(c.name))}, width)
		out[c.name] = e
	}
	return nil
}

// setLocal fills in the local figures of rows of that width. What is added to the
// stream is what counts: the input is taken off, where there is one. Positions
// and elements that the spec skips are left out.
func (x *explainer) setLocal(e *OracleError, a add, width int) {
	var err2, floor2, step2 float64
	for i, exact := range a.exact {
		if slices.Contains(x.spec.Skip.Positions, i/width) || slices.Contains(x.spec.Skip.Elements, i%width) {
			continue
		}
		// Input and output were stored, and a norm keeps the input's relative error.
		step, in := exact, exact
		if a.input != nil {
			in = a.input[i]
			step -= in
		}
		err2 += sq(a.own[i] - exact)
		floor2 += sq(a.emulated[i]-exact) + sq(a.stored)*(sq(exact)+sq(in))
		step2 += sq(step)
	}
	local, floor := math.Sqrt(quotient(err2, step2)), math.Sqrt(quotient(floor2, step2))
	e.Local, e.LocalFloor = Value(round9(local)), Value(round9(floor))
	e.LocalRatio = Value(round9(quotient(local, max(floor, leastFloor))))
}

// wholeRows reads a checkpoint's rows as float64, nil when the trace does not
// have all of them from position 0 on.
func wholeRows(t *trace.Trace, name string, width int) ([]float64, error) {
	c := t.Lookup(name)
	if c == nil || c.Width != width || c.Stored != width || len(c.Positions) == 0 || !fromZero(c.Positions) {
		return nil, nil
	}
	buf := make([]byte, len(c.Positions)*rowBytes(c))
	if err := c.NewReader().ReadRows(0, len(c.Positions), buf); err != nil {
		return nil, readError("trace", &aligned{name: name}, err)
	}
	out := make([]float64, len(c.Positions)*width)
	metric.Widen(out, metric.DType(c.DType), buf)
	return out, nil
}
