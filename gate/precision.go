package gate

import (
	"fmt"
	"math"
	"strings"

	"github.com/paritygate/paritygate/gate/trace"
)

// precisions are the precisions a preset exists for, finest first; f64 is
// judged like f32.
var precisions = []string{"f64", "f32", "f16", "bf16", "q8_0", "q4"}

// precisionWords maps what engines call their precision to one of precisions.
// The first word found wins, so longer and coarser ones stand first.
var precisionWords = []struct{ word, precision string }{
	{"q2_", "q4"}, {"q3_", "q4"}, {"q4", "q4"}, {"q5_", "q4"}, {"q6_", "q4"}, {"q1_", "q4"},
	{"int4", "q4"}, {"int3", "q4"}, {"w4a", "q4"}, {"awq", "q4"}, {"gptq", "q4"}, {"nf4", "q4"}, {"fp4", "q4"},
	{"fp8", "q4"}, {"f8", "q4"}, {"e4m3", "q4"}, {"e5m2", "q4"},
	{"q8", "q8_0"}, {"int8", "q8_0"}, {"w8a", "q8_0"},
	{"bf16", "bf16"}, {"bfloat16", "bf16"},
	{"f16", "f16"}, {"fp16", "f16"}, {"float16", "f16"}, {"half", "f16"}, {"tf32", "f16"},
	{"f32", "f32"}, {"fp32", "f32"}, {"float32", "f32"}, {"float64", "f64"}, {"f64", "f64"}, {"fp64", "f64"}, {"double", "f64"},
}

// precisionOf reads an engine's own words ("bf16", "torch.float16", "q4_k_m
// weights, f16 KV") as the coarsest precision they name; "" when they name none.
func precisionOf(words string) string {
	words = strings.ToLower(words)
	best := -1
	for _, w := range precisionWords {
		if strings.Contains(words, w.word) {
			best = max(best, rank(w.precision))
			words = strings.ReplaceAll(words, w.word, " ")
		}
	}
	if best < 0 {
		return ""
	}
	return precisions[best]
}

// rank is a precision's place in precisions, −1 for an unknown one.
func rank(p string) int {
	for i, q := range precisions {
		if p == q {
			return i
		}
	}
	return -1
}

// tellPrecision fills in.Precision from what the trace says of itself, or else
// from the grid its values lie on: hidden states of an engine that computes in
// bf16 have no other bits set, whatever type they are stored in.
func tellPrecision(in *EngineInfo, t *trace.Trace) error {
	if in.Precision = precisionOf(in.ComputeDType); in.Precision != "" {
		in.PrecisionFrom = fmt.Sprintf("says that it computes in %s", in.ComputeDType)
		return nil
	}
	grid, err := gridOf(t)
	if err != nil || grid == "" {
		return err // without the side, which the caller knows
	}
	in.Precision = grid
	in.PrecisionFrom = fmt.Sprintf("has hidden states that lie on the %s grid", grid)
	return nil
}

// gridOf returns f16 or bf16 when every value of the first row of every hidden
// checkpoint behind the embedding is such a number, else "".
func gridOf(t *trace.Trace) (string, error) {
	half, brain, seen := true, true, false
	for _, c := range t.Checkpoints {
		if !trace.IsResidual(c.Name) || c.Name == "embedding" || len(c.Positions) == 0 {
			continue
		}
		if c.DType == trace.F64 {
			return "", nil
		}
		row := make([]byte, rowBytes(c))
		if err := c.NewReader().ReadRows(0, 1, row); err != nil {
			return "", fmt.Errorf("%s: %w", c.Name, err)
		}
		h, b, nonzero := grid(c.DType, row)
		half, brain, seen = half && h, brain && b, seen || nonzero
	}
	switch {
	case !seen:
		return "", nil
	case brain:
		return "bf16", nil
	case half:
		return "f16", nil
	}
	return "", nil
}

// grid says whether all values of a row are f16 and bf16 numbers.
func grid(d trace.DType, row []byte) (half, brain, nonzero bool) {
	half, brain = d != trace.BF16, d != trace.F16
	if d != trace.F32 {
		for _, b := range row {
			nonzero = nonzero || b != 0
		}
		return half, brain, nonzero
	}
	for i := 0; i+4 <= len(row); i += 4 {
		bits := uint32(row[i]) | uint32(row[i+1])<<8 | uint32(row[i+2])<<16 | uint32(row[i+3])<<24
		nonzero = nonzero || bits<<1 != 0
		half = half && bits&0x1fff == 0
		brain = brain && bits&0xffff == 0
	}
	return half, brain, nonzero
}

// choosePreset returns the preset that judges a pair when the spec names none,
// and who chose it: the coarser of the two precisions, because the finer side
// cannot make up for it.
func choosePreset(e EngineSet) (preset, from string) {
	r, c := rank(e.Reference.Precision), rank(e.Candidate.Precision)
	switch {
	case c < 0 && r < 0:
		return "reasonable", "neither engine says in which precision it computes"
	case c < 0:
		return "reasonable", "the candidate does not say in which precision it computes"
	case r > c:
		preset, from = e.Reference.Precision, "the reference "+e.Reference.PrecisionFrom
	default:
		preset, from = e.Candidate.Precision, "the candidate "+e.Candidate.PrecisionFrom
	}
	if preset == "f64" {
		preset = "f32"
	}
	return preset, from
}

// bothRound is the factor on a preset's limits: presets say what one engine's
// rounding costs. A reference that rounds as coarsely (or does not say) errs
// as much again, independently, so their distance is √2 times as large.
func bothRound(preset string, e EngineSet) float64 {
	r, p := rank(e.Reference.Precision), rank(preset)
	if p < 0 || r >= 0 && r < p {
		return 1
	}
	return math.Sqrt2
}
