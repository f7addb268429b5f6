package trace

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// mustOpen opens a trace and closes it with the test.
func mustOpen(t testing.TB, path string) *Trace {
	t.Helper()
	tr, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// readAll reads all rows of a checkpoint.
func readAll(t testing.TB, c *Checkpoint) []byte {
	t.Helper()
	dst := make([]byte, len(c.Positions)*c.Stored*c.DType.Size())
	if err := c.NewReader().ReadRows(0, len(c.Positions), dst); err != nil {
		t.Fatal(err)
	}
	return dst
}

// f32s are little-endian float32 values.
func f32s(values ...float32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func writeFile(t testing.TB, path string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSafetensorsRoundTrip writes random traces and reads them back.
func TestSafetensorsRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir()
	for range 50 {
		rows := 1 + rng.IntN(9)
		meta := Meta{Engine: "e\"ngine", Model: "m", Prompt: "a\n<b>\u2028é", ComputeDType: "f16", Extra: map[string]string{"k": "v"}}
		for i := range rows {
			meta.Positions = append(meta.Positions, 2*i+1)
		}
		for i := range 2*rows + 1 {
			meta.Tokens = append(meta.Tokens, int32(i*7))
		}
		var specs []TensorSpec
		data := map[string][]byte{}
		for _, name := range []string{"embedding", "l_out-0", "result_norm", "logits"} {
			s := TensorSpec{name, DType(1 + rng.IntN(4)), rows, 1 + rng.IntN(40)}
			specs = append(specs, s)
			b := make([]byte, s.Rows*s.Width*s.DType.Size())
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			data[name] = b
		}
		path := filepath.Join(dir, "t.safetensors")
		w, err := Create(path, meta, specs)
		if err != nil {
			t.Fatal(err)
		}
		for row := range rows { // a row of every tensor at a time
			for _, s := range specs {
				n := s.Width * s.DType.Size()
				if err := w.Append(s.Name, data[s.Name][row*n:(row+1)*n]); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		tr := mustOpen(t, path)
		if !reflect.DeepEqual(tr.Meta, meta) {
			t.Fatalf("meta\n%+v\nwant\n%+v", tr.Meta, meta)
		}
		for _, s := range specs {
			c := tr.Lookup(Canonical(s.Name))
			if c.DType != s.DType || c.Width != s.Width || c.Stored != s.Width || !slices.Equal(c.Positions, meta.Positions) || c.Source != s.Name {
				t.Fatalf("%+v, want %+v", c, s)
			}
			if !bytes.Equal(readAll(t, c), data[s.Name]) {
				t.Fatalf("%s: other values", s.Name)
			}
			n := s.Width * s.DType.Size()
			part := make([]byte, n)
			if err := c.NewReader().ReadRows(rows-1, 1, part); err != nil || !bytes.Equal(part, data[s.Name][(rows-1)*n:]) {
				t.Fatalf("%s: last row: %v", s.Name, err)
			}
		}
	}
}

// TestJSONLRoundTrip writes rows of every dtype and reads the same bits back.
func TestJSONLRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var rows []JSONLRow
	want := map[string][]byte{}
	id := int32(9)
	for dtype, name := range map[DType]string{F32: "a", F16: "b", BF16: "c", F64: "d"} {
		for p := range 3 {
			r := JSONLRow{Checkpoint: name, Position: p, DType: dtype, Width: 70000, TokenID: &id}
			for i := range 40000 - p { // longer than a reader's buffer
				v, bits := randomValue(rng, dtype)
				r.Values = append(r.Values, v)
				if i < 40000-2 {
					want[name] = append(want[name], bits...)
				}
			}
			rows = append(rows, r)
		}
	}
	var b bytes.Buffer
	if err := WriteJSONL(&b, Meta{Engine: "e", Model: "m", Tokens: []int32{9, 9, 9}}, rows); err != nil {
		t.Fatal(err)
	}
	tr := mustOpen(t, writeFile(t, filepath.Join(t.TempDir(), "x"), b.Bytes()))
	if tr.Format != OrchJSONL || tr.Meta.Engine != "e" || tr.Meta.Model != "m" || len(tr.Meta.Tokens) != 3 {
		t.Fatalf("%s %+v", tr.Format, tr.Meta)
	}
	for _, c := range tr.Checkpoints {
		if c.Width != 70000 || c.Stored != 40000-2 {
			t.Fatalf("%+v", c)
		}
		if !bytes.Equal(readAll(t, c), want[c.Name]) {
			t.Fatalf("%s: other values", c.Name)
		}
	}
}

// randomValue is any value of the dtype but NaN, with its bits.
func randomValue(rng *rand.Rand, dtype DType) (float64, []byte) {
	for {
		b := binary.LittleEndian.AppendUint64(nil, rng.Uint64())[:dtype.Size()]
		if v := decode(dtype, b); !math.IsNaN(v) {
			return v, b
		}
	}
}

// decode is the value of one little-endian number.
func decode(dtype DType, b []byte) float64 {
	switch dtype {
	case F32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	case BF16:
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
	case F64:
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	}
	h := binary.LittleEndian.Uint16(b)
	sign, exp, frac := 1-2*float64(h>>15), int(h>>10&31), float64(h&1023)
	switch exp {
	case 0:
		return math.Copysign(math.Ldexp(frac, -24), sign)
	case 31:
		if frac != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1024+frac, exp-25)
}

// TestRealLogs opens the logs of two real engines.
func TestRealLogs(t *testing.T) {
	llama := mustOpen(t, "testdata/orch-logs/llama_hidden_states.jsonl")
	ours := mustOpen(t, "testdata/orch-logs/our_hidden_states.jsonl")
	for _, x := range []struct {
		tr          *Trace
		engine      string
		first, rows int
		value       float32
	}{{llama, "PICASSO-LLAMA", 7, 14, 0}, {ours, "worker-orcd", 0, 108, 7.658422}} {
		c := x.tr.Lookup("logits")
		if x.tr.Meta.Engine != x.engine || len(x.tr.Checkpoints) != 1 || c == nil {
			t.Fatalf("%+v", x.tr)
		}
		if c.Width != 151936 || c.Stored != 10 || c.DType != F32 || len(c.Positions) != x.rows || c.Positions[0] != x.first {
			t.Errorf("%s: %+v", x.engine, c)
		}
		if b := readAll(t, c); !bytes.HasPrefix(b, f32s(x.value)) {
			t.Errorf("%s: first value %x", x.engine, b[:4])
		}
	}
	if b := readAll(t, llama.Lookup("logits")); !bytes.HasPrefix(b, f32s(0, 0, -1009864046716911616, 0, -4.631835)) {
		t.Errorf("first row begins with %x", b[:20])
	}
}

// TestWriterLeavesNothing checks that a file appears only when it is whole.
func TestWriterLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "t.safetensors")
	specs := []TensorSpec{{"logits", F32, 2, 2}}
	steps := []struct {
		name string
		do   func(w *Writer) error
		want string
	}{
		{"not full", func(w *Writer) error { w.Append("logits", f32s(1, 2)); return w.Close() }, `tensor "logits" got 1 of its 2 rows`},
		{"too many", func(w *Writer) error { defer w.Abort(); return w.Append("logits", f32s(1, 2, 3, 4, 5, 6)) }, `has room for 2 of 2 rows, 3 more came`},
		{"part of a row", func(w *Writer) error { defer w.Abort(); return w.Append("logits", f32s(1)) }, `4 bytes are no whole rows`},
		{"unknown", func(w *Writer) error { defer w.Abort(); return w.Append("x", nil) }, `tensor "x" was not announced`},
		{"aborted", func(w *Writer) error { w.Abort(); return w.Close() }, `writing was aborted`},
	}
	for _, s := range steps {
		w, err := Create(path, Meta{}, specs)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.do(w); err == nil || !strings.Contains(err.Error(), s.want) {
			t.Errorf("%s: %v, want %s", s.name, err, s.want)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: left %v", s.name, left)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	ok := TensorSpec{"logits", F32, 1, 1}
	for _, x := range []struct {
		want  string
		meta  Meta
		specs []TensorSpec
	}{
		{"needs at least one tensor", Meta{}, nil},
		{"is announced twice", Meta{}, []TensorSpec{ok, ok}},
		{"is no name of a tensor", Meta{}, []TensorSpec{{"__metadata__", F32, 1, 1}}},
		{"has no dtype", Meta{}, []TensorSpec{{"a", 0, 1, 1}}},
		{"has 0 rows of 1", Meta{}, []TensorSpec{{"a", F32, 0, 1}}},
		{"has 1 rows, the metadata 2 positions", Meta{Positions: []int{0, 1}}, []TensorSpec{ok}},
		{"positions must rise", Meta{Positions: []int{0, 0}}, []TensorSpec{{"a", F32, 2, 1}}},
		{"tokens is an empty array", Meta{Tokens: []int32{}}, []TensorSpec{ok}},
		{"has a meaning of its own", Meta{Extra: map[string]string{"tokens": "[1]"}}, []TensorSpec{ok}},
		{"is not UTF-8", Meta{Prompt: "\xff"}, []TensorSpec{ok}},
	} {
		dir := t.TempDir()
		_, err := Create(filepath.Join(dir, "t"), x.meta, x.specs)
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%v, want %s", err, x.want)
		}
	}
}
