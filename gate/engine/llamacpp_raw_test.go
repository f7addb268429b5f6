package engine

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/trace"
)

// raw makes what the shim writes.
type raw struct{ bytes.Buffer }

func (r *raw) record(kind, scheduler uint32, name string, element uint32, width, rows int64, data []byte) *raw {
	for _, v := range []any{kind, scheduler, uint32(len(name)), element, width, rows, int64(len(data)), []byte(name), data} {
		_ = binary.Write(r, binary.LittleEndian, v) // a Buffer takes everything
	}
	return r
}

func (r *raw) ids(kind, scheduler uint32, ids ...int32) *raw {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, ids)
	return r.record(kind, scheduler, "ids", 4, int64(len(ids)), 1, b.Bytes())
}

// rows writes a tensor two wide whose row r holds value+r.
func (r *raw) rows(scheduler uint32, name string, n int, value float32) *raw {
	var b bytes.Buffer
	for i := range n {
		_ = binary.Write(&b, binary.LittleEndian, []float32{value + float32(i), -value})
	}
	return r.record(rawTensorRecord, scheduler, name, 4, 2, int64(n), b.Bytes())
}

func (r *raw) read(t *testing.T) *rawRun {
	t.Helper()
	path := filepath.Join(t.TempDir(), "1.raw")
	if err := os.WriteFile(path, r.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	run, err := readRaw(path)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// session is a program that warms up, evaluates a prompt of five tokens in two
// ubatches beside another context, and goes on for one token.
func session() *raw {
	r := &raw{}
	r.record(rawLibrary, 0, "/opt/lib/libllama.b7698.so\n0.9.5 abc", 0, 0, 0, nil)
	r.ids(rawTokens, 1, 256, 257).ids(rawPositions, 1, 0, 1).rows(1, "inp_embd", 2, 900)
	r.ids(rawTokens, 1, 256, 7, 8).ids(rawPositions, 1, 0, 1, 2).rows(1, "inp_embd", 3, 10).rows(1, "inpL", 3, 20).rows(1, "l_out-0", 3, 30)
	r.ids(rawTokens, 2, 99).rows(2, "l_out-0", 1, 800)
	r.ids(rawTokens, 1, 9, 10).ids(rawPositions, 1, 3, 4).rows(1, "inp_embd", 2, 13).rows(1, "inpL", 2, 23).rows(1, "l_out-0", 2, 33)
	r.ids(rawOutputs, 1, 1).rows(1, "result_output", 1, 40)
	r.ids(rawTokens, 1, 11).ids(rawPositions, 1, 5).rows(1, "inpL", 1, 25).ids(rawOutputs, 1, 0).rows(1, "result_output", 1, 41)
	return r
}

func TestRawSession(t *testing.T) {
	run := session().read(t)
	want := []int32{256, 7, 8, 9, 10}
	evals, tokens := run.find(want)
	if !slices.Equal(tokens, want) || len(evals) != 2 {
		t.Fatalf("found %v in %d pieces", tokens, len(evals))
	}
	list, err := checkpoints(evals, len(tokens))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "trace")
	if err := writeRaw(run, list, trace.Meta{Tokens: tokens, EngineVersion: run.version()}, dir); err != nil {
		t.Fatal(err)
	}
	tr, err := trace.Open(dir, trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	for name, c := range map[string]struct {
		positions []int
		first     []float32
	}{
		"embedding":      {[]int{0, 1, 2, 3, 4}, []float32{20, 21, 22, 23, 24}},
		"layer_0_output": {[]int{0, 1, 2, 3, 4}, []float32{30, 31, 32, 33, 34}},
		"logits":         {[]int{4}, []float32{40}},
	} {
		cp := tr.Lookup(name)
		if cp == nil || !slices.Equal(cp.Positions, c.positions) {
			t.Fatalf("%s: %+v, want positions %v", name, cp, c.positions)
		}
		buf := make([]byte, len(c.positions)*8)
		if err := cp.NewReader().ReadRows(0, len(c.positions), buf); err != nil {
			t.Fatal(err)
		}
		for i, want := range c.first {
			if got := math.Float32frombits(binary.LittleEndian.Uint32(buf[8*i:])); got != want {
				t.Errorf("%s: row %d begins with %g, want %g", name, i, got, want)
			}
		}
	}
	if tr.Meta.EngineVersion != "b7698 (ggml 0.9.5 abc)" {
		t.Errorf("version %q", tr.Meta.EngineVersion)
	}
}

func TestRawFind(t *testing.T) {
	run := session().read(t)
	for name, c := range map[string]struct{ want, found []int32 }{
		"all that was evaluated": {nil, []int32{256, 7, 8, 9, 10, 11}},
		"with its continuation":  {[]int32{256, 7, 8, 9, 10, 11}, []int32{256, 7, 8, 9, 10, 11}},
		"a part of a ubatch":     {[]int32{256, 7}, []int32{256, 7}},
		"the warm-up":            {[]int32{256, 257}, []int32{256, 257}},
		"a middle part":          {[]int32{9, 10}, nil},
		"more than evaluated":    {[]int32{256, 7, 8, 9, 10, 11, 12}, nil},
		"other tokens":           {[]int32{256, 7, 9}, nil},
	} {
		if _, got := run.find(c.want); !slices.Equal(got, c.found) {
			t.Errorf("%s: found %v, want %v", name, got, c.found)
		}
	}
	if got := run.describe(); !strings.Contains(got, "[256,257] at position 0, [256,7,8] at position 0") || !strings.Contains(got, "and 1 more") {
		t.Errorf("described as %s", got)
	}
}

// What cannot be understood is an error, never a row at a wrong position.
func TestRawRowsUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		r    *raw
		want string
	}{
		"fewer rows than tokens": {(&raw{}).ids(rawTokens, 1, 1, 2, 3).rows(1, "l_out-0", 2, 1), "which rows they are is not known"},
		"an output outside":      {(&raw{}).ids(rawTokens, 1, 1, 2, 3).ids(rawOutputs, 1, 3).rows(1, "l_out-0", 1, 1), "row 0 is of token 3 of 3"},
		"outputs in disorder":    {(&raw{}).ids(rawTokens, 1, 1, 2, 3).ids(rawOutputs, 1, 2, 1).rows(1, "l_out-0", 2, 1), "another order"},
		"half precision":         {(&raw{}).ids(rawTokens, 1, 1).record(rawTensorRecord, 1, "l_out-0", 2, 1, 1, []byte{0, 0}), "f32 only"},
		"another width": {(&raw{}).ids(rawTokens, 1, 1).rows(1, "l_out-0", 1, 1).ids(rawTokens, 1, 2).
			record(rawTensorRecord, 1, "l_out-0", 4, 1, 1, make([]byte, 4)), "1 wide after 2"},
	} {
		run := c.r.read(t)
		evals, tokens := run.find(nil)
		if _, err := checkpoints(evals, len(tokens)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
}

// A program that is killed while writing leaves a part of a record: it is left out.
func TestRawCutOff(t *testing.T) {
	whole := session().Bytes()
	for n := range whole {
		path := filepath.Join(t.TempDir(), "1.raw")
		if err := os.WriteFile(path, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readRaw(path); err != nil {
			t.Fatalf("cut off at %d of %d: %v", n, len(whole), err)
		}
	}
}

func FuzzRaw(f *testing.F) {
	f.Add(session().Bytes())
	f.Add((&raw{}).ids(rawTokens, 1, 1, 2).ids(rawOutputs, 1, 1).rows(1, "result_output", 1, 0).Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		run := &rawRun{}
		if run.index(bytes.NewReader(b), int64(len(b))) != nil {
			return
		}
		evals, tokens := run.find(nil)
		list, err := checkpoints(evals, len(tokens))
		if err != nil {
			return
		}
		for _, c := range list {
			for i, r := range c.rows {
				if r.position >= len(tokens) || i > 0 && c.rows[i-1].position >= r.position {
					t.Fatalf("%s: row %d at position %d of %d", c.name, i, r.position, len(tokens))
				}
			}
		}
	})
}
