package gate

import (
	"math"
	"testing"

	"github.com/paritygate/paritygate/gate/trace"
)

func TestPrecisionOf(t *testing.T) {
	for words, want := range map[string]string{
		"": "", "unknown": "", "fast": "", "c++": "", "a unique technique": "",
		"f64": "f64", "float64": "f64", "torch.float64": "f64", "FP64": "f64", "double": "f64",
		"f32": "f32", "F32": "f32", "fp32": "f32", "float32": "f32", "torch.float32": "f32",
		"f16": "f16", "F16": "f16", "fp16": "f16", "torch.float16": "f16", "torch.half": "f16", "tf32": "f16", "TF32": "f16",
		"bf16": "bf16", "BF16": "bf16", "torch.bfloat16": "bf16", "bfloat16": "bf16",
		"q8_0": "q8_0", "Q8_0": "q8_0", "int8": "q8_0", "w8a8": "q8_0", "W8A16": "q8_0",
		"q4_0": "q4", "Q4_K": "q4", "q4_k_m": "q4", "q2_K": "q4", "q3_k_s": "q4", "q5_1": "q4", "q6_k": "q4", "iq3_xxs": "q4", "IQ1_S": "q4", "tq1_0": "q4",
		"int4": "q4", "w4a16": "q4", "awq": "q4", "gptq": "q4", "nf4": "q4", "mxfp4": "q4",
		"fp8": "q4", "fp8_e4m3": "q4", "float8_e5m2": "q4", "f8_e4m3fn": "q4",
		"q4_k_m weights, f16 KV":           "q4",
		"f16 weights, f32 activations":     "f16",
		"f32 accumulation, bf16 weights":   "bf16",
		"f16 weights, bf16 KV":             "bf16",
		"q8_0 weights, f16 KV, f32 logits": "q8_0",
		"f64 sums over f32":                "f32",
		"bf16 (no f16)":                    "bf16",
	} {
		if got := precisionOf(words); got != want {
			t.Errorf("%q reads as %q, want %q", words, got, want)
		}
	}
}

// gridTrace is a trace of hidden states that lie on a grid of their own.
func gridTrace(t *testing.T, stored trace.DType, compute string, values func(i, j int) float64) *trace.Trace {
	t.Helper()
	fine := noisy(seeded(4), 2, 16, 1)
	return made(t, trace.Meta{ComputeDType: compute},
		point{"embedding", trace.F32, fine}, // embeddings are looked up, not computed: they tell nothing
		point{"layer_0_output", stored, matrix(2, 16, values)},
		point{"layer_0_attn_output", trace.F32, fine},
		point{"layer_1_output", stored, matrix(2, 16, values)},
		point{"logits", trace.F32, fine})
}

func TestTellPrecision(t *testing.T) {
	g := seeded(3)
	on := func(d trace.DType) func(i, j int) float64 {
		return func(i, j int) float64 { return storedAs(d, g.NormFloat64()) }
	}
	for _, c := range []struct {
		name, compute   string
		dtype           trace.DType
		values          func(i, j int) float64
		precision, from string
	}{
		{"bf16 values in f32", "", trace.F32, on(trace.BF16), "bf16", "has hidden states that lie on the bf16 grid"},
		{"f16 values in f32", "", trace.F32, on(trace.F16), "f16", "has hidden states that lie on the f16 grid"},
		{"stored in bf16", "", trace.BF16, on(trace.BF16), "bf16", "has hidden states that lie on the bf16 grid"},
		{"stored in f16", "", trace.F16, on(trace.F16), "f16", "has hidden states that lie on the f16 grid"},
		{"small whole numbers are on both grids", "", trace.F32, func(i, j int) float64 { return float64(j) }, "bf16", "has hidden states that lie on the bf16 grid"},
		{"f32 values", "", trace.F32, on(trace.F32), "", ""},
		{"f64", "", trace.F64, on(trace.BF16), "", ""},
		{"all zero", "", trace.F32, func(i, j int) float64 { return math.Copysign(0, -1) }, "", ""},
		{"its own words win", "torch.float16", trace.F32, on(trace.BF16), "f16", "says that it computes in torch.float16"},
		{"words that name nothing", "our kernels", trace.F32, on(trace.BF16), "bf16", "has hidden states that lie on the bf16 grid"},
		{"one element off the grid", "", trace.F32, func(i, j int) float64 {
			if j == 15 {
				return 1 + 0x1p-11
			}
			return 1
		}, "", ""},
		{"one element off the bf16 grid", "", trace.F32, func(i, j int) float64 {
			if j == 3 {
				return 1 + 0x1p-8
			}
			return 1
		}, "f16", "has hidden states that lie on the f16 grid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := gridTrace(t, c.dtype, c.compute, c.values)
			in := engineInfo(tr)
			if err := tellPrecision(&in, tr); err != nil || in.Precision != c.precision || in.PrecisionFrom != c.from {
				t.Errorf("got %q, %q, %v; want %q, %q", in.Precision, in.PrecisionFrom, err, c.precision, c.from)
			}
		})
	}
	// Two layers on two grids: neither holds.
	mixed := made(t, trace.Meta{}, point{"layer_0_output", trace.BF16, noisy(g, 2, 8, 1)}, point{"layer_1_output", trace.F16, noisy(g, 2, 8, 1)})
	if grid, err := gridOf(mixed); grid != "" || err != nil {
		t.Errorf("mixed grids read as %q, %v", grid, err)
	}
}

func TestChoosePreset(t *testing.T) {
	for _, c := range []struct{ ref, cand, preset, from string }{
		{"f32", "f32", "f32", "the candidate is told"},
		{"f32", "bf16", "bf16", "the candidate is told"},
		{"bf16", "f32", "bf16", "the reference is told"},
		{"bf16", "f16", "bf16", "the reference is told"},
		{"f16", "bf16", "bf16", "the candidate is told"},
		{"q4", "q8_0", "q4", "the reference is told"},
		{"f64", "f64", "f32", "the candidate is told"},
		{"f64", "f16", "f16", "the candidate is told"},
		{"", "f16", "f16", "the candidate is told"},
		{"f16", "", "reasonable", "the candidate does not say in which precision it computes"},
		{"", "", "reasonable", "neither engine says in which precision it computes"},
	} {
		e := EngineSet{Reference: EngineInfo{Precision: c.ref, PrecisionFrom: "is told"}, Candidate: EngineInfo{Precision: c.cand, PrecisionFrom: "is told"}}
		if preset, from := choosePreset(e); preset != c.preset || from != c.from {
			t.Errorf("%s and %s: %q from %q, want %q from %q", c.ref, c.cand, preset, from, c.preset, c.from)
		}
	}
}

func TestBothRound(t *testing.T) {
	for _, c := range []struct {
		preset, ref string
		want        float64
	}{
		{"f16", "f32", 1}, {"f16", "f64", 1}, {"f16", "f16", math.Sqrt2}, {"f16", "bf16", math.Sqrt2}, {"f16", "", math.Sqrt2},
		{"f32", "f64", 1}, {"f32", "f32", math.Sqrt2}, {"q4", "q8_0", 1}, {"q4", "q4", math.Sqrt2}, {"reasonable", "f16", 1}, {"reasonable", "", 1},
	} {
		if got := bothRound(c.preset, EngineSet{Reference: EngineInfo{Precision: c.ref}}); got != c.want {
			t.Errorf("preset %s against %q: %v, want %v", c.preset, c.ref, got, c.want)
		}
	}
}
