package oracle_test

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/oracle/gguf/ggufgen"
	"github.com/paritygate/paritygate/gate/trace"
)

// checkpoints are one run's values by name.
type checkpoints struct {
	names  []string
	width  map[string]int
	values map[string][]float64
}

func load(t testing.TB, path string) *oracle.Model {
	t.Helper()
	m, err := oracle.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func compute(t testing.TB, m *oracle.Model, tokens []int32, o oracle.Options) *checkpoints {
	t.Helper()
	c := &checkpoints{width: map[string]int{}, values: map[string][]float64{}}
	err := m.Run(context.Background(), tokens, o, func(name string, width int, v []float64) error {
		c.names = append(c.names, name)
		c.width[name], c.values[name] = width, v
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// relL2 is √(Σ(c−r)²/Σr²).
func relL2(c, r []float64) float64 {
	var d, n float64
	for i := range r {
		d += (c[i] - r[i]) * (c[i] - r[i])
		n += r[i] * r[i]
	}
	if d == 0 {
		return 0
	}
	return math.Sqrt(d / n)
}

func openTrace(t testing.TB, path string) *trace.Trace {
	t.Helper()
	tr, err := trace.Open(path, trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// rowsOf are a checkpoint's rows in float64.
func rowsOf(t testing.TB, c *trace.Checkpoint) []float64 {
	t.Helper()
	n := len(c.Positions) * c.Stored
	b := make([]byte, n*c.DType.Size())
	if err := c.NewReader().ReadRows(0, len(c.Positions), b); err != nil {
		t.Fatal(err)
	}
	out := make([]float64, n)
	for i := range out {
		switch c.DType.Size() {
		case 8:
			out[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
		case 4:
			out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
		default:
			t.Fatalf("%s has type %v", c.Name, c.DType)
		}
	}
	return out
}

// against is the largest rel_l2 of the trace's checkpoints against what the oracle
// computes of the trace's tokens.
func against(t *testing.T, m *oracle.Model, tr *trace.Trace, o oracle.Options) (worst float64, n int) {
	t.Helper()
	got := compute(t, m, tr.Meta.Tokens, o)
	for _, c := range tr.Checkpoints {
		all, ok := got.values[c.Name]
		if !ok {
			t.Errorf("%s is not computed", c.Name)
			continue
		}
		var rows []float64
		for _, at := range c.Positions {
			w := got.width[c.Name]
			rows = append(rows, all[int(at)*w:(int(at)+1)*w]...)
		}
		d := relL2(rows, rowsOf(t, c))
		if !(d <= worst) {
			worst = d
		}
		n++
	}
	return worst, n
}

// The golden files are what an independent NumPy forward pass computes.
func TestGolden(t *testing.T) {
	for _, arch := range enginetest.Architectures {
		t.Run(arch, func(t *testing.T) {
			m := load(t, enginetest.Zoo(t, arch))
			worst, n := against(t, m, openTrace(t, filepath.Join("testdata", arch+".safetensors")), oracle.Options{})
			t.Logf("%s: rel_l2 at most %.1e at %d checkpoints", m.Describe(), worst, n)
			if !(worst <= 1e-12) || n != 7 {
				t.Errorf("rel_l2 %g at %d checkpoints", worst, n)
			}
		})
	}
}

// Every row, and the sub-layer checkpoints, against the NumPy forward pass run now;
// qwen3, of which no trained model is here, with random weights.
func TestNumPy(t *testing.T) {
	python := filepath.Join(os.Getenv("HOME"), ".cache", "paritygate", "venv")
	if dir := os.Getenv("PARITYGATE_VENV"); dir != "" {
		python = dir
	}
	python = filepath.Join(python, "bin", "python")
	if _, err := os.Stat(python); err != nil {
		t.Fatalf("no Python with NumPy (%v); run: testdata/zoo/setup.sh", err)
	}
	dir := t.TempDir()
	args := []string{filepath.Join("testdata", "golden.py"), dir, "--all"}
	qwen3 := map[string]string{}
	for name, c := range map[string]ggufgen.Config{
		"qwen3":          {Layers: 4, Width: 128, Heads: 4, KVHeads: 2, HeadDim: 64},
		"qwen3 one head": {Layers: 4, Heads: 8, KVHeads: 1, RopeBase: 1e6, Epsilon: 1e-6, Output: ggufgen.OutputSeparate},
	} {
		qwen3[name] = random(t, "qwen3", c)
		args = append(args, "--also", sharedWeights(t, name, qwen3[name]))
	}
	if out, err := exec.Command(python, args...).CombinedOutput(); err != nil {
		t.Fatalf("golden.py: %v\n%s", err, out)
	}
	equal := func(name, model string) *trace.Trace {
		tr := openTrace(t, filepath.Join(dir, name+".safetensors"))
		worst, n := against(t, load(t, model), tr, oracle.Options{Sublayers: true})
		t.Logf("%s: rel_l2 at most %.1e at %d checkpoints", name, worst, n)
		if !(worst <= 1e-12) || n != 15 {
			t.Errorf("%s: rel_l2 %g at %d checkpoints", name, worst, n)
		}
		return tr
	}
	for name, model := range qwen3 {
		equal(name, model)
	}
	for _, arch := range enginetest.Architectures {
		tr := equal(arch, enginetest.Zoo(t, arch))
		sameRows(t, arch, openTrace(t, filepath.Join("testdata", arch+".safetensors")), tr)
	}
}

// sharedWeights is a folder of that name with the model's weights and
// configuration as the NumPy forward pass reads them.
func sharedWeights(t *testing.T, name, model string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(enginetest.Qwen3HF(t, model), "model.safetensors"), filepath.Join(dir, "qwen3.safetensors")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sameRows fails unless the golden file's rows are those of the trace.
func sameRows(t *testing.T, arch string, golden, all *trace.Trace) {
	t.Helper()
	for _, g := range golden.Checkpoints {
		rows := rowsOf(t, all.Lookup(g.Name))
		for i, at := range g.Positions {
			if d := relL2(rows[int(at)*g.Width:(int(at)+1)*g.Width], rowsOf(t, g)[i*g.Width:(i+1)*g.Width]); d > 1e-13 {
				t.Errorf("%s: %s at %d: the golden file is another one's by %g; run: testdata/zoo/setup.sh and golden.py again", arch, g.Name, at, d)
			}
		}
	}
}
