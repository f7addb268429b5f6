package gguf

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEdited(t *testing.T) {
	d := &Description{}
	data := []float32{1, 2, 3, 4, 5, 6}
	fill := func(first, n int, dst []float32) error { copy(dst, data[first*2:(first+n)*2]); return nil }
	d.Tensors = []TensorData{{Name: "a", Type: F16, Shape: []int{2, 3}, Rows: fill}, {Name: "b", Type: F32, Shape: []int{2, 3}, Rows: fill}}
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := Write(path, d); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, tensor := range f.Tensors() {
		e, err := tensor.Edited(func(v []float32) {
			if !slices.Equal(v, data) {
				t.Errorf("%s: edit got %v", tensor.Name, v)
			}
			v[3] = -0.5
		})
		if err != nil {
			t.Fatal(err)
		}
		got, before := make([]float64, 4), make([]float64, 6)
		if err := e.Rows(1, 2, got); err != nil || !slices.Equal(got, []float64{3, -0.5, 5, 6}) {
			t.Errorf("%s: edited rows %v, %v", tensor.Name, got, err)
		}
		if err := tensor.Rows(0, 3, before); err != nil || before[3] != 4 {
			t.Errorf("%s: the file's own tensor changed to %v, %v", tensor.Name, before, err)
		}
		if e.Name != tensor.Name || e.Type != tensor.Type || e.Size() != tensor.Size() || e.Require(2, 3) != nil {
			t.Errorf("%s: edited into %+v", tensor.Name, e)
		}
		raw := make([]byte, e.RowBytes())
		if err := e.Bytes(2, 1, raw); err != nil {
			t.Errorf("%s: %v", tensor.Name, err)
		}
		if err := e.Rows(2, 2, got); err == nil {
			t.Errorf("%s: rows beyond its end were read", tensor.Name)
		}
	}
}

func TestEditedRefuses(t *testing.T) {
	d := &Description{Tensors: []TensorData{{Name: "q", Type: Q4_0, Shape: []int{32, 1},
		Bytes: func(_, _ int, dst []byte) error { clear(dst); return nil }}}}
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := Write(path, d); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	tensor := f.Tensors()[0]
	if _, err := tensor.Edited(func([]float32) {}); err == nil || !strings.Contains(err.Error(), "Q4_0 cannot be written") {
		t.Errorf("a type that is not written: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := tensor.Edited(func([]float32) {}); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a closed file: %v", err)
	}
}
