package gate

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

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
	e := out[name]
	e.setLocal(output, exact.Output, emulated.Output, input)
	mid, err := wholeRows(t, fmt.Sprintf("layer_%d_ffn_input", i), x.model.Width())
	if err != nil {
		return err
	}
	if mid != nil && len(mid) == len(input) {
		if e.Part, err = x.localPart(ctx, s, i, input, mid, output, exact, emulated); err != nil {
			return err
		}
	}
	out[name] = e
	return nil
}

// localPart says which half of a layer errs more than rounding explains, and
// more than the other: "attention", "feed-forward", or "" when neither does.
func (x *explainer) localPart(ctx context.Context, s side, i int, input, mid, output []float64, exact, emulated *oracle.LayerOutput) (string, error) {
	var attention, ffn OracleError
	attention.setLocal(mid, exact.FFNInput, emulated.FFNInput, input)
	fx, err := x.model.FeedForward(ctx, i, mid, oracle.Profile{})
	if err != nil {
		return "", err
	}
	fe, err := x.model.FeedForward(ctx, i, mid, s.profile)
	if err != nil {
		return "", err
	}
	ffn.setLocal(output, fx.Output, fe.Output, mid)
	a, f := float64(attention.LocalRatio), float64(ffn.LocalRatio)
	switch {
	case max(a, f) <= declared.local:
		return "", nil
	case a >= f:
		return "attention", nil
	}
	return "feed-forward", nil
}

// localHead is the local error of the final norm and the logits: of the engine's
// own last layer, and for the logits also of its own final norm.
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
		own, err := wholeRows(t, c.name, len(c.exact)/max(1, len(input)/x.model.Width()))
		if err != nil {
			return err
		}
		e, ok := out[c.name]
		if own == nil || !ok || len(own) != len(c.exact) {
			continue
		}
		e.setLocal(own, c.exact, c.emulated, nil)
		out[c.name] = e
	}
	return nil
}

// setLocal fills in the local figures: own is what the engine made, exact and
// emulated what float64 and the engine's precision make of the same input. What
// the layer adds is what counts: input is taken off, where there is one.
func (e *OracleError) setLocal(own, exact, emulated, input []float64) {
	var err2, floor2, step2 float64
	for i, x := range exact {
		step := x
		if input != nil {
			step -= input[i]
		}
		err2 += sq(own[i] - x)
		floor2 += sq(emulated[i] - x)
		step2 += step * step
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

// encodeValues writes values little-endian as F64 or F32.
func encodeValues(d trace.DType, values []float64) []byte {
	out := make([]byte, 0, len(values)*d.Size())
	for _, v := range values {
		if d == trace.F64 {
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(v))
		} else {
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(v)))
		}
	}
	return out
}
