package trace

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// openBytes opens a trace that lies in memory.
func openBytes(name string, data []byte, opt Options) (*Trace, error) {
	b := &builder{opt: opt.withDefaults(), trace: &Trace{Path: name}}
	err := b.read(&input{name, bytes.NewReader(data), int64(len(data))})
	if err == nil {
		err = b.finish()
	}
	if err != nil {
		b.trace.Close()
		return nil, err
	}
	return b.trace, nil
}

// fuzzOpen opens what the fuzzer makes: nothing panics, opening allocates in
// proportion to the file, and what opens can be read, row by row as in one.
func fuzzOpen(f *testing.F, suffix string) {
	for _, dir := range []string{"testdata/ok", "testdata/err", "testdata/orch-logs"} {
		paths, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range paths {
			b, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	opt := Options{MaxInflated: 1 << 20}
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		tr, err := openBytes("fuzz"+suffix, data, opt)
		runtime.ReadMemStats(&after)
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(1<<20+200*len(data)); got > most {
			t.Errorf("opening %d bytes allocated %d", len(data), got)
		}
		if err != nil {
			return
		}
		defer tr.Close()
		for _, c := range tr.Checkpoints {
			readBothWays(t, c, len(data))
		}
	})
}

// readBothWays reads a checkpoint at once and row by row. Values of JSONL rows
// are checked only then, so they may still be refused: by both.
func readBothWays(t *testing.T, c *Checkpoint, size int) {
	t.Helper()
	n, rowBytes := len(c.Positions), c.Stored*c.DType.Size()
	if n == 0 || c.Stored == 0 || c.Stored > c.Width || n*rowBytes > max(8*size, 1<<20) {
		t.Fatalf("%d rows of %d bytes in a file of %d", n, rowBytes, size)
	}
	for i := 1; i < n; i++ {
		if c.Positions[i-1] >= c.Positions[i] {
			t.Fatalf("positions %v", c.Positions)
		}
	}
	all, one := make([]byte, n*rowBytes), make([]byte, n*rowBytes)
	err := c.NewReader().ReadRows(0, n, all)
	var errOne error
	r := c.NewReader()
	for i := 0; i < n && errOne == nil; i++ {
		errOne = r.ReadRows(i, 1, one[i*rowBytes:(i+1)*rowBytes])
	}
	if (err == nil) != (errOne == nil) || err == nil && !bytes.Equal(all, one) {
		t.Errorf("at once: %v; row by row: %v", err, errOne)
	}
}

func FuzzOpenSafetensors(f *testing.F) { fuzzOpen(f, ".safetensors") }
func FuzzOpenJSONL(f *testing.F)       { fuzzOpen(f, ".jsonl") }
func FuzzOpenNPY(f *testing.F)         { fuzzOpen(f, ".npy") }
func FuzzOpenNPZ(f *testing.F)         { fuzzOpen(f, ".npz") }
