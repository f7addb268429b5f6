package gguf

import (
	"fmt"
	"math"
)

// memory is a tensor's data that is no part of a file.
type memory []byte

func (m memory) size() int64  { return int64(len(m)) }
func (m memory) close() error { return nil }

func (m memory) view(off, n int64, _ *[]byte) ([]byte, error) {
	if off < 0 || n < 0 || off > m.size() || n > m.size()-off {
		return nil, fmt.Errorf("bytes %d to %d are not among the %d there are", off, off+n, m.size())
	}
	return m[off : off+n], nil
}

// Edited is a copy of t in memory whose rows edit may change: all of them, one
// after the other. Errors: t cannot be read, its type is none that is written
// (F32, F16, BF16, Q8_0), or a value is no number of that type.
func (t *Tensor) Edited(edit func(rows []float32)) (*Tensor, error) {
	n := int64(t.Height()) * int64(t.Width())
	if n > math.MaxInt32 {
		return nil, t.file.fileError("tensor %s has %d elements: too many to edit in memory", quote(t.Name), n)
	}
	values := make([]float32, n)
	if err := t.Rows32(0, t.Height(), values); err != nil {
		return nil, err
	}
	edit(values)
	data := make(memory, t.size)
	if err := Quantize(t.Type, data, values); err != nil {
		return nil, t.file.fileError("tensor %s: %v", quote(t.Name), err)
	}
	out := *t
	out.file, out.offset = &File{path: t.file.path, src: data}, 0
	return &out, nil
}
