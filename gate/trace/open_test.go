package trace

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// wantError checks for an *Error that says want.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestOpenMissing(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestOpenFIFO checks that nothing waits for a writer.
func TestOpenFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(path, Options{})
	wantError(t, err, "not a regular file")
}

func TestOptions(t *testing.T) {
	const tensors = "testdata/ok/plain.safetensors"
	shards := t.TempDir()
	for name, positions := range map[string]string{"a.safetensors": "[0,1]", "b.safetensors": "[2,3]"} {
		writeFile(t, filepath.Join(shards, name), meta(`{"positions":"`+positions+`"}`))
	}
	for _, x := range []struct {
		path string
		opt  Options
		want string
	}{
		{tensors, Options{MaxHeader: 10}, "is over the bound of 10"},
		{tensors, Options{MaxWidth: 1}, "has rows of 2 elements, more than the bound of 1"},
		{tensors, Options{MaxRows: 1}, "has 2 rows, more than the bound of 1"},
		{shards, Options{MaxRows: 3}, "has 4 rows in its shards, more than the bound of 3"},
		{"testdata/ok/plain.jsonl", Options{MaxWidth: 3}, "1:63: row of 4 elements, more than the bound of 3"},
		{"testdata/ok/plain.jsonl", Options{MaxRows: 1}, "2:1: checkpoint \"logits\" has more rows than the bound of 1"},
		{"testdata/ok/v1.npy", Options{MaxHeader: 10}, "header of 60 bytes is over the bound of 10"},
		{"testdata/ok/deflated.npz", Options{MaxInflated: 100}, "entries unpack to more than the bound of 100 bytes"},
	} {
		_, err := Open(x.path, x.opt)
		wantError(t, err, x.want)
	}
}

// TestManyBlanks opens a log whose blanks outgrow the index's buffer.
func TestManyBlanks(t *testing.T) {
	line := strings.Repeat(" ", indexBuffer+10) + `{"checkpoint":"logits","token_idx":0,"values":[1]}` + "\n" + strings.Repeat("\t", indexBuffer)
	tr, err := openBytes("x", []byte(line), Options{})
	if err != nil || len(tr.Checkpoints) != 1 {
		t.Fatal(err)
	}
	_, err = openBytes("x", []byte(line+"}"), Options{})
	wantError(t, err, "x:2:262145: found '}', expected a JSON object")
}

// TestCutAfterOpen reads from files that shrank.
func TestCutAfterOpen(t *testing.T) {
	for _, name := range []string{"plain.safetensors", "plain.jsonl", "v1.npy"} {
		b, err := os.ReadFile(filepath.Join("testdata/ok", name))
		if err != nil {
			t.Fatal(err)
		}
		path := writeFile(t, filepath.Join(t.TempDir(), name), b)
		tr := mustOpen(t, path)
		if err := os.Truncate(path, 20); err != nil {
			t.Fatal(err)
		}
		c := tr.Checkpoints[0]
		err = c.NewReader().ReadRows(0, 1, make([]byte, c.Stored*c.DType.Size()))
		wantError(t, err, "file ended: it was cut after it was opened")
	}
}

func TestReadRowsArguments(t *testing.T) {
	for _, path := range []string{"testdata/ok/plain.safetensors", "testdata/ok/shards", "testdata/ok/plain.jsonl"} {
		c := mustOpen(t, path).Lookup("logits")
		n, size := len(c.Positions), c.Stored*4
		for _, x := range []struct{ first, n, bytes int }{{-1, 1, size}, {0, n + 1, (n + 1) * size}, {n + 1, 0, 0}, {0, -1, 0}, {math.MaxInt, 2, 2 * size}} {
			wantError(t, c.NewReader().ReadRows(x.first, x.n, make([]byte, x.bytes)), "asked of a checkpoint of")
		}
		wantError(t, c.NewReader().ReadRows(0, 1, make([]byte, size+1)), "buffer of")
		if err := c.NewReader().ReadRows(n, 0, nil); err != nil {
			t.Error(err)
		}
	}
}

// TestReadersAreIndependent reads with several readers at once.
func TestReadersAreIndependent(t *testing.T) {
	for _, path := range []string{"testdata/ok/shards", "testdata/orch-logs/our_hidden_states.jsonl"} {
		c := mustOpen(t, path).Lookup("logits")
		want := readAll(t, c)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				r, size := c.NewReader(), c.Stored*c.DType.Size()
				dst := make([]byte, size)
				for i := range c.Positions {
					if err := r.ReadRows(i, 1, dst); err != nil || !bytes.Equal(dst, want[i*size:(i+1)*size]) {
						t.Errorf("%s, row %d: %v", path, i, err)
					}
				}
			})
		}
		wg.Wait()
	}
}

// TestReadRowsAllocatesNothing holds both readers to their buffers.
func TestReadRowsAllocatesNothing(t *testing.T) {
	for _, path := range []string{"testdata/ok/plain.safetensors", "testdata/ok/shards", "testdata/orch-logs/our_hidden_states.jsonl"} {
		c := mustOpen(t, path).Lookup("logits")
		r, dst := c.NewReader(), make([]byte, len(c.Positions)*c.Stored*c.DType.Size())
		n := testing.AllocsPerRun(20, func() {
			if err := r.ReadRows(0, len(c.Positions), dst); err != nil {
				t.Error(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations a call", path, n)
		}
	}
}

// TestNarrow rounds to 16 bits at ties, denormals and the edges of the range.
func TestNarrow(t *testing.T) {
	for _, x := range []struct {
		v        float32
		f16, b16 uint16
	}{
		{0, 0, 0}, {float32(math.Copysign(0, -1)), 0x8000, 0x8000}, {1, 0x3c00, 0x3f80}, {-2, 0xc000, 0xc000},
		{1 + 1.0/2048, 0x3c00, 0x3f80}, {1 + 3.0/2048, 0x3c02, 0x3f80}, {1 + 1.0/256, 0x3c04, 0x3f80}, {1 + 3.0/256, 0x3c0c, 0x3f82},
		{65504, 0x7bff, 0x4780}, {65519, 0x7bff, 0x4780}, {65520, 0x7c00, 0x4780}, {0x1p-24, 1, 0x3380}, {0x1p-25, 0, 0x3300}, {0x1.8p-25, 1, 0x3340}, {0x1.ffcp-15, 0x0400, 0x3880},
		{float32(math.Inf(1)), 0x7c00, 0x7f80}, {float32(math.Inf(-1)), 0xfc00, 0xff80}, {math.MaxFloat32, 0x7c00, 0x7f80}, {0x1p-149, 0, 0},
	} {
		if got := toF16(x.v); got != x.f16 {
			t.Errorf("%g as F16: %#04x, want %#04x", x.v, got, x.f16)
		}
		if got := toBF16(x.v); got != x.b16 {
			t.Errorf("%g as BF16: %#04x, want %#04x", x.v, got, x.b16)
		}
	}
	nan := float32(math.NaN())
	if f, b := toF16(nan), toBF16(nan); f&0x7fff <= 0x7c00 || b&0x7fff <= 0x7f80 {
		t.Errorf("NaN: %#04x and %#04x", f, b)
	}
}
