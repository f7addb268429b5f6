package enginetest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"testing"
)

// GGUFType is the type of a tensor's values, by ggml's numbers.
type GGUFType uint32

const (
	F32  GGUFType = 0
	F16  GGUFType = 1
	Q8_0 GGUFType = 8
	BF16 GGUFType = 30
)

// blocks are the number of values and of bytes of a block of the type.
func (t GGUFType) blocks() (values, bytes int, ok bool) {
	switch t {
	case F32:
		return 1, 4, true
	case F16, BF16:
		return 1, 2, true
	case Q8_0:
		return 32, 34, true
	}
	return 0, 0, false
}

// GGUF is a small model in memory, to be edited and written again.
type GGUF struct {
	Version uint32
	KV      []KV
	Tensors []*Tensor
}

// KV is one metadata entry: its value is uint8, int8, uint16, int16, uint32,
// int32, float32, bool, string, uint64, int64, float64 or Array.
type KV struct {
	Key   string
	Value any
}

// Array is a metadata array; Raw are its encoded elements, which no edit needs.
type Array struct {
	Type uint32
	N    uint64
	Raw  []byte
}

// Tensor is one tensor. Dims are in ggml's order: Dims[0] is the row's length.
type Tensor struct {
	Name string
	Dims []uint64
	Type GGUFType
	Data []byte
}

const ggufAlign = 32

// ReadGGUF reads a GGUF file of version 3 with the default alignment and with
// tensors of the types named here.
func ReadGGUF(path string) (*GGUF, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	g, err := parseGGUF(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return g, nil
}

// reader takes values off the front of b; the first failure sticks.
type reader struct {
	b   []byte
	at  int
	err error
}

func (r *reader) take(n uint64) []byte {
	if r.err == nil && n > uint64(len(r.b)-r.at) {
		r.err = fmt.Errorf("byte %d: the file ends within %d bytes", r.at, n)
	}
	if r.err != nil {
		return nil
	}
	p := r.b[r.at : r.at+int(n)]
	r.at += int(n)
	return p
}

func (r *reader) u32() uint32 {
	if p := r.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if p := r.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (r *reader) str() string { return string(r.take(r.u64())) }

// scalar makes a pointer for a value of GGUF's type, nil for string and array.
func scalar(t uint32) any {
	switch t {
	case 0:
		return new(uint8)
	case 1:
		return new(int8)
	case 2:
		return new(uint16)
	case 3:
		return new(int16)
	case 4:
		return new(uint32)
	case 5:
		return new(int32)
	case 6:
		return new(float32)
	case 7:
		return new(bool)
	case 10:
		return new(uint64)
	case 11:
		return new(int64)
	case 12:
		return new(float64)
	}
	return nil
}

func (r *reader) value(t uint32) any {
	switch t {
	case 8:
		return r.str()
	case 9:
		a := Array{Type: r.u32(), N: r.u64()}
		from := r.at
		for i := uint64(0); i < a.N && r.err == nil; i++ {
			if a.Type == 9 {
				r.err = fmt.Errorf("byte %d: an array of arrays", r.at)
			}
			r.value(a.Type)
		}
		a.Raw = r.b[from:r.at]
		return a
	}
	p := scalar(t)
	if p == nil {
		if r.err == nil {
			r.err = fmt.Errorf("byte %d: metadata of type %d", r.at, t)
		}
		return nil
	}
	if data := r.take(uint64(binary.Size(p))); data != nil {
		r.err = binary.Read(bytes.NewReader(data), binary.LittleEndian, p)
	}
	return deref(p)
}

func deref(p any) any {
	switch v := p.(type) {
	case *uint8:
		return *v
	case *int8:
		return *v
	case *uint16:
		return *v
	case *int16:
		return *v
	case *uint32:
		return *v
	case *int32:
		return *v
	case *float32:
		return *v
	case *bool:
		return *v
	case *uint64:
		return *v
	case *int64:
		return *v
	case *float64:
		return *v
	}
	return nil
}

func parseGGUF(b []byte) (*GGUF, error) {
	r := &reader{b: b}
	if string(r.take(4)) != "GGUF" {
		return nil, fmt.Errorf("byte 0: no GGUF file")
	}
	g := &GGUF{Version: r.u32()}
	nt, nkv := r.u64(), r.u64()
	if r.err == nil && g.Version != 3 {
		return nil, fmt.Errorf("byte 4: version %d: want 3", g.Version)
	}
	for i := uint64(0); i < nkv && r.err == nil; i++ {
		key := r.str()
		g.KV = append(g.KV, KV{key, r.value(r.u32())})
	}
	var offsets []uint64
	for i := uint64(0); i < nt && r.err == nil; i++ {
		t := &Tensor{Name: r.str()}
		for n := r.u32(); n > 0 && r.err == nil; n-- {
			t.Dims = append(t.Dims, r.u64())
		}
		t.Type = GGUFType(r.u32())
		offsets = append(offsets, r.u64())
		g.Tensors = append(g.Tensors, t)
	}
	if r.err != nil {
		return nil, r.err
	}
	start := uint64(r.at+ggufAlign-1) &^ (ggufAlign - 1)
	for i, t := range g.Tensors {
		values, bytes, ok := t.Type.blocks()
		if !ok {
			return nil, fmt.Errorf("%s: type %d: want f32, f16, q8_0 or bf16", t.Name, t.Type)
		}
		size := t.elements() / uint64(values) * uint64(bytes)
		if start+offsets[i]+size > uint64(len(b)) {
			return nil, fmt.Errorf("%s: its data ends outside of the file", t.Name)
		}
		t.Data = append([]byte(nil), b[start+offsets[i]:][:size]...)
	}
	return g, nil
}

func (t *Tensor) elements() uint64 {
	n := uint64(1)
	for _, d := range t.Dims {
		n *= d
	}
	return n
}

// Write writes the model to path.
func (g *GGUF) Write(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := &encoder{w: bufio.NewWriterSize(f, 1<<20)}
	w.raw([]byte("GGUF"))
	w.put(g.Version)
	w.put(uint64(len(g.Tensors)))
	w.put(uint64(len(g.KV)))
	for _, kv := range g.KV {
		w.str(kv.Key)
		if err := w.value(kv.Value); err != nil {
			return fmt.Errorf("%s: %w", kv.Key, err)
		}
	}
	offset := 0
	for _, t := range g.Tensors {
		w.str(t.Name)
		w.put(uint32(len(t.Dims)))
		w.put(t.Dims)
		w.put(uint32(t.Type))
		w.put(uint64(offset))
		offset += (len(t.Data) + ggufAlign - 1) &^ (ggufAlign - 1)
	}
	w.pad()
	for _, t := range g.Tensors {
		w.raw(t.Data)
		w.pad()
	}
	return w.w.Flush() // it keeps the first error of all writes
}

// encoder writes values and counts bytes.
type encoder struct {
	w  *bufio.Writer
	at int
}

func (w *encoder) raw(b []byte) {
	_, _ = w.w.Write(b)
	w.at += len(b)
}

func (w *encoder) put(v any) {
	_ = binary.Write(w.w, binary.LittleEndian, v)
	w.at += binary.Size(v)
}

func (w *encoder) str(s string) {
	w.put(uint64(len(s)))
	w.raw([]byte(s))
}

func (w *encoder) pad() { w.raw(make([]byte, -w.at&(ggufAlign-1))) }

func (w *encoder) value(v any) error {
	switch v := v.(type) {
	case string:
		w.put(uint32(8))
		w.str(v)
	case Array:
		w.put(uint32(9))
		w.put(v.Type)
		w.put(v.N)
		w.raw(v.Raw)
	default:
		t, ok := scalarType(v)
		if !ok {
			return fmt.Errorf("metadata of type %T", v)
		}
		w.put(t)
		w.put(v)
	}
	return nil
}

func scalarType(v any) (uint32, bool) {
	for t := range uint32(13) {
		if p := scalar(t); p != nil && fmt.Sprintf("%T", deref(p)) == fmt.Sprintf("%T", v) {
			return t, true
		}
	}
	return 0, false
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
