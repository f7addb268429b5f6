package gate

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// point is one checkpoint of a made trace: rows of values.
type point struct {
	name  string
	dtype trace.DType // 0 is F32
	rows  [][]float64
}

// encodeAs appends v as the dtype has it, rounded to nearest even. It shares no
// code with the readers under test.
func encodeAs(to []byte, d trace.DType, v float64) []byte {
	switch d {
	case trace.F64:
		return binary.LittleEndian.AppendUint64(to, math.Float64bits(v))
	case trace.F16:
		return binary.LittleEndian.AppendUint16(to, halfOf(v))
	case trace.BF16:
		bits := math.Float32bits(float32(v))
		if v == v && !math.IsInf(v, 0) {
			bits += 0x7fff + bits>>16&1
		}
		return binary.LittleEndian.AppendUint16(to, uint16(bits>>16))
	}
	return binary.LittleEndian.AppendUint32(to, math.Float32bits(float32(v)))
}

func halfOf(v float64) uint16 {
	sign := uint16(0)
	if math.Signbit(v) {
		sign, v = 0x8000, -v
	}
	switch {
	case math.IsNaN(v):
		return sign | 0x7e00
	case v >= 65520:
		return sign | 0x7c00
	case v < 0x1p-14:
		return sign | uint16(math.RoundToEven(v*0x1p24))
	}
	_, e := math.Frexp(v) // v = f·2^e with f in ½ … 1
	mantissa := math.RoundToEven(v / math.Ldexp(1, e-11))
	return sign | (uint16(e+13)<<10 + uint16(mantissa))
}

// storedAs is v as a trace of that dtype holds it.
func storedAs(d trace.DType, v float64) float64 {
	b := encodeAs(nil, d, v)
	switch d {
	case trace.F64:
		return v
	case trace.F16:
		h := binary.LittleEndian.Uint16(b)
		sign, e, m := 1-2*float64(h>>15), int(h>>10&31), float64(h&1023)
		switch {
		case e == 31 && m > 0:
			return math.NaN()
		case e == 31:
			return math.Inf(int(sign))
		case e == 0:
			return sign * m * 0x1p-24
		}
		return sign * math.Ldexp(1024+m, e-25)
	case trace.BF16:
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
	}
	return float64(float32(v))
}

// writeTrace makes a safetensors trace at path.
func writeTrace(path string, meta trace.Meta, points ...point) error {
	var specs []trace.TensorSpec
	for i := range points {
		if points[i].dtype == 0 {
			points[i].dtype = trace.F32
		}
		specs = append(specs, trace.TensorSpec{Name: points[i].name, DType: points[i].dtype, Rows: len(points[i].rows), Width: len(points[i].rows[0])})
	}
	w, err := trace.Create(path, meta, specs)
	if err != nil {
		return err
	}
	for _, p := range points {
		for _, row := range p.rows {
			var b []byte
			for _, v := range row {
				b = encodeAs(b, p.dtype, v)
			}
			if err := w.Append(p.name, b); err != nil {
				return err
			}
		}
	}
	return w.Close()
}

// written makes a trace at path and returns it.
func written(t testing.TB, path string, meta trace.Meta, points ...point) string {
	t.Helper()
	if err := writeTrace(path, meta, points...); err != nil {
		t.Fatal(err)
	}
	return path
}

// opened opens a trace until the test ends.
func opened(t testing.TB, path string) *trace.Trace {
	t.Helper()
	tr, err := trace.Open(path, trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// made writes and opens a trace.
func made(t testing.TB, meta trace.Meta, points ...point) *trace.Trace {
	t.Helper()
	return opened(t, written(t, filepath.Join(t.TempDir(), "trace.safetensors"), meta, points...))
}

// pairOf is two made traces of one prompt.
func pairOf(t testing.TB, ref, cand []point) Pair {
	t.Helper()
	return Pair{"p", made(t, trace.Meta{ComputeDType: "f32"}, ref...), made(t, trace.Meta{ComputeDType: "f32"}, cand...)}
}

// parsed is a spec from YAML, "version: 1" added.
func parsed(t testing.TB, yaml string) *spec.Spec {
	t.Helper()
	s, err := spec.Parse([]byte("version: 1\n"+yaml), "parity.yaml")
	if err != nil {
		t.Fatalf("%v\n%s", err, yaml)
	}
	return s
}

func compared(t testing.TB, s *spec.Spec, o Options, pairs ...Pair) *Result {
	t.Helper()
	r, err := Compare(context.Background(), s, pairs, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// checkpointOf is a checkpoint of a result by name.
func checkpointOf(t testing.TB, r *Result, name string) *Checkpoint {
	t.Helper()
	i := slices.IndexFunc(r.Checkpoints, func(c Checkpoint) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no checkpoint %s in the result", name)
	}
	return &r.Checkpoints[i]
}

// matrix is rows × width values.
func matrix(rows, width int, f func(row, element int) float64) [][]float64 {
	out := make([][]float64, rows)
	for i := range out {
		out[i] = make([]float64, width)
		for j := range out[i] {
			out[i][j] = f(i, j)
		}
	}
	return out
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)) }

// noisy is rows of normally distributed values.
func noisy(g *rand.Rand, rows, width int, size float64) [][]float64 {
	return matrix(rows, width, func(int, int) float64 { return size * g.NormFloat64() })
}

// plus is the element-wise sum.
func plus(a [][]float64, more ...[][]float64) [][]float64 {
	return matrix(len(a), len(a[0]), func(i, j int) float64 {
		v := a[i][j]
		for _, m := range more {
			v += m[i][j]
		}
		return v
	})
}

// copied is a with some elements changed.
func copied(a [][]float64, change func(b [][]float64)) [][]float64 {
	b := plus(a)
	change(b)
	return b
}

// near says whether two figures are equal up to a share.
func near(got, want, share float64) bool {
	if math.IsNaN(want) || math.IsInf(want, 0) || want == 0 {
		return got == want || got != got && want != want
	}
	return math.Abs(got-want) <= share*math.Abs(want)
}

// jsonl writes lines as a log and returns its path.
func jsonl(t testing.TB, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log.jsonl")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// has fails the test unless every part stands in text.
func has(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is not in %q", p, text)
		}
	}
}
