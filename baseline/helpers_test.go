package baseline

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)) }

// bits are values as a block of that dtype holds them; f16 and bf16 are cut off,
// not rounded.
func bits(d metric.DType, values ...float64) []byte {
	var out []byte
	for _, v := range values {
		switch d {
		case metric.F64:
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(v))
		case metric.F32:
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(v)))
		case metric.BF16:
			out = binary.LittleEndian.AppendUint16(out, uint16(math.Float32bits(float32(v))>>16))
		case metric.F16:
			u := math.Float32bits(float32(v) * 0x1p-112)
			if v-v != 0 {
				u = 0x7c00 << 13
			}
			out = binary.LittleEndian.AppendUint16(out, uint16(u>>13)&0x7fff|uint16(u>>16)&0x8000)
		}
	}
	return out
}

// rowsOf are observed rows of one checkpoint at positions 0…n−1.
func rowsOf(d metric.DType, checkpoint string, width int, rows ...[]float64) gate.Observed {
	o := gate.Observed{Prompt: "p", Checkpoint: checkpoint, Width: width, Rows: metric.Block{DType: d}}
	for i, r := range rows {
		o.Positions = append(o.Positions, i)
		o.Rows.Data = append(o.Rows.Data, bits(d, r...)...)
	}
	return o
}

// markOf is what an imprint takes of some rows.
func markOf(t testing.TB, o gate.Observed) Mark {
	t.Helper()
	im := NewImprint()
	if err := im.Observe(o); err != nil {
		t.Fatal(err)
	}
	m, ok := im.Mark(o.Prompt, o.Checkpoint)
	if !ok {
		t.Fatalf("%s is not complete", o.Checkpoint)
	}
	return m
}

// example opens one of the traces that the project ships.
func example(t testing.TB, name string) *trace.Trace {
	t.Helper()
	tr, err := trace.Open(filepath.Join("..", "examples", name+".safetensors"), trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// compared compares two example traces and takes the candidate's imprint.
func compared(t testing.TB, ref, cand string) (*gate.Result, *Imprint) {
	t.Helper()
	im := NewImprint()
	pair := gate.Pair{Prompt: "python", Reference: example(t, ref), Candidate: example(t, cand)}
	r, err := gate.Compare(context.Background(), spec.Default(), []gate.Pair{pair}, gate.Options{Observer: im, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	return r, im
}

// parsed is a spec from YAML, "version: 1" added.
func parsed(t testing.TB, yaml string) *spec.Spec {
	t.Helper()
	s, err := spec.Parse([]byte("version: 1\n"+yaml), "parity.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// here is the provenance of runs in tests.
func here(commit string) Provenance {
	return Provenance{Commit: commit, Tree: "t" + commit, Date: "2026-11-20T01:02:03Z", Outcome: "pass", Weights: strings.Repeat("1", 64), GPU: "NVIDIA H100", Driver: "580.1", Paritygate: "1.0.0"}
}

// passing is a result of n layers under one prompt that passes; every figure is
// scaled by f.
func passing(n int, f float64) *gate.Result {
	r := &gate.Result{Version: 1, Outcome: gate.Pass, Environment: gate.Environment{Arch: "amd64"}, Prompts: []gate.PromptInfo{{Name: "haiku", SHA256: strings.Repeat("a", 64)}}}
	r.Engines.Reference = gate.EngineInfo{Name: "llama.cpp", Adapter: "llamacpp", Device: "CPU", Precision: "f32", WeightsSHA256: strings.Repeat("1", 64)}
	r.Engines.Candidate = gate.EngineInfo{Name: "worker", Adapter: "exec", Device: "NVIDIA H100", Precision: "f16", WeightsSHA256: strings.Repeat("1", 64), Version: "0.4"}
	for i := range n {
		v := gate.Value(f * 1e-3 * (1 + float64(i)/float64(n)))
		r.Checkpoints = append(r.Checkpoints, gate.Checkpoint{Prompt: "haiku", Name: "layer_" + itoa(i) + "_output", Order: i, Rows: 24, Width: 64, Compared: 64,
			CandDType: "F16", Status: gate.Passed, Growth: &gate.Growth{Stride: 4},
			Metrics: map[string]gate.Value{"rel_l2": v, "max_abs": 10 * v, "position_rms": v, "worst_channel": 2 * v, "added": 5 * v, "cosine": 1}})
	}
	return r
}

func itoa(i int) string {
	b, _ := json.Marshal(i)
	return string(b)
}

// imprinted is an imprint of passing's checkpoints, its rows drawn from a seed.
func imprinted(t testing.TB, r *gate.Result, seed uint64) *Imprint {
	t.Helper()
	im, g := NewImprint(), seeded(seed)
	for _, c := range r.Checkpoints {
		rows := make([][]float64, c.Rows)
		for i := range rows {
			rows[i] = make([]float64, c.Compared)
			for j := range rows[i] {
				rows[i][j] = g.NormFloat64()
			}
		}
		o := rowsOf(metric.F16, c.Name, c.Compared, rows...)
		o.Prompt = c.Prompt
		if err := im.Observe(o); err != nil {
			t.Fatal(err)
		}
	}
	return im
}

func has(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is not in %q", p, text)
		}
	}
}

// ok is the first value, if there is no error.
func ok[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
