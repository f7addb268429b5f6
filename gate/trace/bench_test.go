package trace

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
)

// benchLog is a log of rows of 4096 values in a style of numberStyles.
func benchLog(rows int, format func([]byte, float32) []byte) []byte {
	var b bytes.Buffer
	values := numbers(4096, format)
	for i := range rows {
		fmt.Fprintf(&b, `{"checkpoint":"l_out-%d","team":"e","token_idx":%d,"dtype":"f32","shape":"[4096]","values":[`, i/64, i%64)
		b.Write(values)
		b.WriteString("]}\n")
	}
	return b.Bytes()
}

// BenchmarkIndexJSONL opens a log: the pass that finds the rows.
func BenchmarkIndexJSONL(b *testing.B) {
	text := benchLog(512, numberStyles[1].format)
	path := writeFile(b, filepath.Join(b.TempDir(), "x.jsonl"), text)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		tr, err := Open(path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		tr.Close()
	}
}

// BenchmarkReadJSONL opens a log and reads all of its values.
func BenchmarkReadJSONL(b *testing.B) {
	for _, style := range numberStyles {
		b.Run(style.name, func(b *testing.B) {
			text := benchLog(512, style.format)
			path := writeFile(b, filepath.Join(b.TempDir(), "x.jsonl"), text)
			benchRead(b, path, len(text))
		})
	}
}

// BenchmarkReadSafetensors reads all values of a trace.
func BenchmarkReadSafetensors(b *testing.B) {
	path := filepath.Join(b.TempDir(), "x.safetensors")
	w, err := Create(path, Meta{}, []TensorSpec{{"logits", F32, 64, 1 << 18}})
	if err != nil {
		b.Fatal(err)
	}
	row := make([]byte, 4<<18)
	for range 64 {
		if err := w.Append("logits", row); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	benchRead(b, path, 64*len(row))
}

// benchRead opens a trace and reads it in blocks of about 256 KiB.
func benchRead(b *testing.B, path string, size int) {
	buf := make([]byte, 4<<18)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		tr, err := Open(path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range tr.Checkpoints {
			r, rowBytes := c.NewReader(), c.Stored*c.DType.Size()
			n := max(1, (256<<10)/rowBytes)
			for i := 0; i < len(c.Positions); i += n {
				n := min(n, len(c.Positions)-i)
				if err := r.ReadRows(i, n, buf[:n*rowBytes]); err != nil {
					b.Fatal(err)
				}
			}
		}
		tr.Close()
	}
}
