package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// Description is what a GGUF file is to hold.
type Description struct {
	Metadata []KeyValue // in the order of the file
	Tensors  []TensorData
}

// KeyValue is one metadata key. Value is a bool, string, float32, float64, an
// integer of a fixed width, or a slice of one of these; its Go type is the type
// in the file. llama.cpp wants uint32 for counts and float32 for scales.
type KeyValue struct {
	Key   string
	Value any
}

// TensorData is a tensor to write. One of Rows and Bytes gives its values, some
// rows at a time and in order, so that a model need not fit into memory.
type TensorData struct {
	Name  string
	Type  Type
	Shape []int // ggml's order, as Tensor's

	// Rows fills dst, n × Shape[0] elements, with rows [first, first+n). Type is
	// then F32, F16, BF16 or Q8_0.
	Rows func(first, n int, dst []float32) error
	// Bytes fills dst with the same rows as they are to be stored.
	Bytes func(first, n int, dst []byte) error
}

// Set replaces the value of a key in its place, or adds the key at the end.
func (d *Description) Set(key string, value any) {
	for i := range d.Metadata {
		if d.Metadata[i].Key == key {
			d.Metadata[i].Value = value
			return
		}
	}
	d.Metadata = append(d.Metadata, KeyValue{key, value})
}

// Tensor is the description's tensor of that name, nil when there is none.
func (d *Description) Tensor(name string) *TensorData {
	for i := range d.Tensors {
		if d.Tensors[i].Name == name {
			return &d.Tensors[i]
		}
	}
	return nil
}

// Describe is a description that writes the same metadata and tensors again,
// reading f, which must stay open until then.
func (f *File) Describe() (*Description, error) {
	d := &Description{}
	for _, e := range f.entries {
		v, err := f.value(e)
		if err != nil {
			return nil, err
		}
		d.Metadata = append(d.Metadata, KeyValue{e.key, v})
	}
	for _, t := range f.tensors {
		d.Tensors = append(d.Tensors, TensorData{Name: t.Name, Type: t.Type, Shape: append([]int(nil), t.Shape...), Bytes: t.Bytes})
	}
	return d, nil
}

// Write writes d to path as GGUF version 3, little-endian. The file is made
// aside and renamed when it is whole. What Open would refuse is refused here,
// with the path in the error.
func Write(path string, d *Description) (err error) {
	w := &writer{path: path, align: defaultAlignment}
	if err := w.plan(d); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	out, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			out.Close()
			os.Remove(out.Name())
		}
	}()
	w.out = bufio.NewWriterSize(out, 1<<20)
	if err := w.write(d); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := out.Chmod(0o644); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Rename(out.Name(), path)
}

// writer holds what one Write has planned and done.
type writer struct {
	path    string
	out     *bufio.Writer
	header  []byte
	align   int64
	sizes   []int64 // of the tensors
	encoded []byte  // some rows of a tensor, reused
	values  []float32
}

// plan checks the description and makes the header.
func (w *writer) plan(d *Description) error {
	if len(d.Metadata) > maxEntries || len(d.Tensors) > maxEntries {
		return fmt.Errorf("%d metadata keys and %d tensors: want at most %d each", len(d.Metadata), len(d.Tensors), maxEntries)
	}
	le := binary.LittleEndian
	w.header = le.AppendUint32([]byte(magic), 3)
	w.header = le.AppendUint64(w.header, uint64(len(d.Tensors)))
	w.header = le.AppendUint64(w.header, uint64(len(d.Metadata)))
	seen := map[string]bool{}
	for _, kv := range d.Metadata {
		if err := w.planKey(kv, seen); err != nil {
			return err
		}
	}
	clear(seen)
	at := int64(0)
	for i := range d.Tensors {
		t := &d.Tensors[i]
		size, err := t.check(seen)
		if err != nil {
			return err
		}
		if at > math.MaxInt64-size-2*w.align {
			return fmt.Errorf("tensor %s: the tensors together have more bytes than can be counted", quote(t.Name))
		}
		w.header = appendString(w.header, t.Name)
		w.header = le.AppendUint32(w.header, uint32(len(t.Shape)))
		for _, n := range t.Shape {
			w.header = le.AppendUint64(w.header, uint64(n))
		}
		w.header = le.AppendUint32(w.header, uint32(t.Type))
		w.header = le.AppendUint64(w.header, uint64(at))
		w.sizes = append(w.sizes, size)
		at += w.padded(size)
	}
	return nil
}

func (w *writer) planKey(kv KeyValue, seen map[string]bool) error {
	switch {
	case kv.Key == "" || len(kv.Key) > maxKey:
		return fmt.Errorf("metadata key of %d bytes: want 1 to %d", len(kv.Key), maxKey)
	case seen[kv.Key]:
		return fmt.Errorf("metadata key %s is there twice", quote(kv.Key))
	}
	seen[kv.Key] = true
	if kv.Key == keyAlignment {
		n, ok := kv.Value.(uint32)
		if !ok || n == 0 || n&(n-1) != 0 || n > maxAlignment {
			return fmt.Errorf("%s is %v: want a uint32, a power of two up to %d", keyAlignment, kv.Value, maxAlignment)
		}
		w.align = int64(n)
	}
	w.header = appendString(w.header, kv.Key)
	var err error
	if w.header, err = appendValue(w.header, kv.Value); err != nil {
		return fmt.Errorf("metadata key %s: %w", quote(kv.Key), err)
	}
	return nil
}

func (w *writer) padded(n int64) int64 { return (n + w.align - 1) / w.align * w.align }

// check holds a tensor against the format's rules and returns its size in bytes.
func (t *TensorData) check(seen map[string]bool) (int64, error) {
	name := quote(t.Name)
	switch {
	case t.Name == "" || len(t.Name) > maxName:
		return 0, fmt.Errorf("tensor name %s has %d bytes: want 1 to %d", name, len(t.Name), maxName)
	case seen[t.Name]:
		return 0, fmt.Errorf("tensor %s is there twice", name)
	case len(t.Shape) < 1 || len(t.Shape) > maxDims:
		return 0, fmt.Errorf("tensor %s has %d dimensions: want 1 to %d", name, len(t.Shape), maxDims)
	case (t.Rows == nil) == (t.Bytes == nil):
		return 0, fmt.Errorf("tensor %s has both or neither of Rows and Bytes", name)
	case t.Rows != nil && !contains(encodable, t.Type):
		return 0, fmt.Errorf("tensor %s: %s cannot be written from values: want %s", name, t.Type, list(encodable))
	}
	seen[t.Name] = true
	l, ok := layouts[t.Type]
	if !ok {
		return 0, fmt.Errorf("tensor %s has the unknown %s", name, t.Type)
	}
	elems := int64(1)
	for _, n := range t.Shape {
		if n < 1 || elems > math.MaxInt64/int64(l.bytes)/int64(n) {
			return 0, fmt.Errorf("tensor %s has shape %v: want sizes of at least 1, and a product that can be counted", name, t.Shape)
		}
		elems *= int64(n)
	}
	if t.Shape[0]%l.elems != 0 {
		return 0, fmt.Errorf("tensor %s has rows of %d elements, no multiple of the %d of a %s block", name, t.Shape[0], l.elems, l.name)
	}
	return elems / int64(l.elems) * int64(l.bytes), nil
}

// write writes the header and the tensors' data.
func (w *writer) write(d *Description) error {
	if _, err := w.out.Write(w.header); err != nil {
		return err
	}
	if len(d.Tensors) > 0 {
		if err := w.pad(int64(len(w.header))); err != nil {
			return err
		}
	}
	for i := range d.Tensors {
		t := &d.Tensors[i]
		if err := w.tensor(t, w.sizes[i]); err != nil {
			return fmt.Errorf("tensor %s: %w", quote(t.Name), err)
		}
		if err := w.pad(w.sizes[i]); err != nil {
			return err
		}
	}
	return w.out.Flush()
}

// pad writes zeros after n bytes, up to the alignment.
func (w *writer) pad(n int64) error {
	var zeros [4096]byte
	for left := w.padded(n) - n; left > 0; {
		part := min(left, int64(len(zeros)))
		if _, err := w.out.Write(zeros[:part]); err != nil {
			return err
		}
		left -= part
	}
	return nil
}

// tensor writes a tensor's data, about a megabyte of rows at a time.
func (w *writer) tensor(t *TensorData, size int64) error {
	height := 1
	for _, n := range t.Shape[1:] {
		height *= n
	}
	rowBytes := size / int64(height)
	step := int(min(max(1<<20/rowBytes, 1), int64(height)))
	w.encoded = slices.Grow(w.encoded[:0], int(rowBytes)*step)
	if t.Rows != nil {
		w.values = slices.Grow(w.values[:0], t.Shape[0]*step)
	}
	for first := 0; first < height; first += step {
		n := min(step, height-first)
		b := w.encoded[:int(rowBytes)*n]
		if t.Rows == nil {
			if err := t.Bytes(first, n, b); err != nil {
				return err
			}
		} else {
			v := w.values[:t.Shape[0]*n]
			if err := t.Rows(first, n, v); err != nil {
				return err
			}
			if err := Quantize(t.Type, b, v); err != nil {
				return fmt.Errorf("from row %d on: %w", first, err)
			}
		}
		if _, err := w.out.Write(b); err != nil {
			return err
		}
	}
	return nil
}
