package enginetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/paritygate/paritygate/gate/oracle/gguf"
)

// GGUFType is the type of a tensor's values, by ggml's numbers.
type GGUFType = gguf.Type

// The types that models of tests are converted to.
const (
	F32  = gguf.F32
	F16  = gguf.F16
	Q8_0 = gguf.Q8_0
	BF16 = gguf.BF16
)

// GGUF is a small model in memory, to be edited and written again.
type GGUF struct {
	KV      []gguf.KeyValue
	Tensors []*Tensor
}

// Tensor is one tensor. Dims are in ggml's order: Dims[0] is the row's length.
type Tensor struct {
	Name string
	Dims []int
	Type GGUFType
	Data []byte
}

// ReadGGUF reads a whole GGUF file.
func ReadGGUF(path string) (*GGUF, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	d, err := f.Describe()
	if err != nil {
		return nil, err
	}
	g := &GGUF{KV: d.Metadata}
	for _, t := range f.Tensors() {
		data := make([]byte, t.Size())
		if err := t.Bytes(0, t.Height(), data); err != nil {
			return nil, err
		}
		g.Tensors = append(g.Tensors, &Tensor{t.Name, slices.Clone(t.Shape), t.Type, data})
	}
	return g, nil
}

// elements is how many values the tensor has.
func (t *Tensor) elements() int {
	n := 1
	for _, d := range t.Dims {
		n *= d
	}
	return n
}

// Write writes the model to path.
func (g *GGUF) Write(path string) error {
	d := &gguf.Description{Metadata: g.KV}
	for _, t := range g.Tensors {
		row := len(t.Data) / max(1, t.elements()/t.Dims[0])
		d.Tensors = append(d.Tensors, gguf.TensorData{Name: t.Name, Type: t.Type, Shape: t.Dims,
			Bytes: func(first, n int, dst []byte) error {
				if copied := copy(dst, t.Data[min(first*row, len(t.Data)):]); copied != n*row || copied != len(dst) {
					return fmt.Errorf("%d bytes for rows %d to %d: want %d", copied, first, first+n, len(dst))
				}
				return nil
			}})
	}
	return gguf.Write(path, d)
}

// Edit reads a zoo model, edits it and writes it to path; any failure fails the test.
func Edit(t testing.TB, architecture, path string, edits ...func(*GGUF) error) string {
	t.Helper()
	g, err := ReadGGUF(Zoo(t, architecture))
	if err != nil {
		t.Fatal(err)
	}
	for _, edit := range edits {
		if err := edit(g); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Write(path); err != nil {
		t.Fatal(err)
	}
	return path
}
