package gguf

import (
	"fmt"
	"slices"
	"sync"
)

// Tensor is one tensor of a file.
type Tensor struct {
	Name string
	Type Type
	// Shape is in ggml's order: Shape[0] is the length of a row, whose elements
	// lie side by side; a matrix that maps 128 inputs to 64 outputs is [128, 64].
	Shape []int

	file     *File
	at       int64 // of the directory's entry, for messages
	offsetAt int64 // of the offset in the directory
	offset   int64 // of the data in the file
	size     int64 // of the data in bytes
}

// Width is the number of elements of a row, Shape[0].
func (t *Tensor) Width() int { return t.Shape[0] }

// Height is the number of rows: the product of the shape after its first size.
func (t *Tensor) Height() int {
	n := 1
	for _, d := range t.Shape[1:] {
		n *= d
	}
	return n
}

// Size is the number of bytes that the tensor takes in the file.
func (t *Tensor) Size() int64 { return t.size }

// RowBytes is the number of bytes that a row takes in the file.
func (t *Tensor) RowBytes() int64 { return t.size / int64(t.Height()) }

// Require checks type and shape: it is an error that names the tensor when the
// shape is another one, or the type one that cannot be dequantised.
func (t *Tensor) Require(shape ...int) error {
	if !slices.Equal(t.Shape, shape) {
		return t.file.byteError(t.at, "tensor %s has shape %v: want %v", quote(t.Name), t.Shape, shape)
	}
	return t.decodable()
}

func (t *Tensor) decodable() error {
	if !t.Type.Decodable() {
		return t.file.byteError(t.at, "tensor %s is stored as %s, which cannot be dequantised: want %s", quote(t.Name), t.Type, list(decodable))
	}
	return nil
}

// Rows dequantises rows [first, first+n) into dst, row after row; dst has n ×
// Width elements. The values are ggml's float32 results, widened. Rows of one
// tensor may be read by several goroutines at once.
func (t *Tensor) Rows(first, n int, dst []float64) error { return rows(t, first, n, dst) }

// Rows32 is Rows into float32, bit for bit what ggml's to_float gives, but for
// the sign and payload of NaNs.
func (t *Tensor) Rows32(first, n int, dst []float32) error { return rows(t, first, n, dst) }

// chunk is about how many bytes are dequantised in one go.
const chunk = 256 << 10

func rows[T float32 | float64](t *Tensor, first, n int, dst []T) error {
	if err := t.decodable(); err != nil {
		return err
	}
	if err := t.inside(first, n); err != nil {
		return err
	}
	if len(dst) != n*t.Width() {
		return t.file.fileError("tensor %s: %d rows of %d elements do not go into %d", quote(t.Name), n, t.Width(), len(dst))
	}
	elems, bytes := t.Type.Block()
	return t.read(first, n, int64(chunk/bytes*bytes), func(b []byte) error {
		part := len(b) / bytes * elems
		dequantize(t.Type, dst[:part], b)
		dst = dst[part:]
		return nil
	})
}

// Bytes copies rows [first, first+n) as they are stored into dst, which has n ×
// RowBytes bytes.
func (t *Tensor) Bytes(first, n int, dst []byte) error {
	if err := t.inside(first, n); err != nil {
		return err
	}
	if int64(len(dst)) != int64(n)*t.RowBytes() {
		return t.file.fileError("tensor %s: %d rows of %d bytes do not go into %d", quote(t.Name), n, t.RowBytes(), len(dst))
	}
	return t.read(first, n, chunk, func(b []byte) error {
		dst = dst[copy(dst, b):]
		return nil
	})
}

func (t *Tensor) inside(first, n int) error {
	if h := t.Height(); first < 0 || n < 0 || first > h || n > h-first {
		return t.file.fileError("tensor %s has %d rows: rows %d to %d are not among them", quote(t.Name), h, first, first+n)
	}
	return nil
}

var scratch = sync.Pool{New: func() any { return new([]byte) }}

// read gives the bytes of rows to each, at most step of them at a time.
func (t *Tensor) read(first, n int, step int64, each func([]byte) error) error {
	f := t.file
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.src == nil {
		return f.fileError("tensor %s: the file is closed", quote(t.Name))
	}
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	at := t.offset + int64(first)*t.RowBytes()
	end := at + int64(n)*t.RowBytes()
	return f.guard(func() error {
		for ; at < end; at += step {
			b, err := f.src.view(at, min(step, end-at), buf)
			if err != nil {
				return f.byteError(at, "tensor %s cannot be read: %v", quote(t.Name), err)
			}
			if err := each(b); err != nil {
				return err
			}
		}
		return nil
	})
}

// Dequantize decodes whole blocks of src into dst, as ggml does: dst has as many
// elements as the blocks hold. The arithmetic is float32's, in ggml's order; a
// NaN's sign and payload are not ggml's.
func Dequantize[T float32 | float64](t Type, dst []T, src []byte) error {
	if !t.Decodable() {
		return fmt.Errorf("%s cannot be dequantised: want %s", t, list(decodable))
	}
	elems, bytes := t.Block()
	if len(src)%bytes != 0 || len(src)/bytes*elems != len(dst) {
		return fmt.Errorf("%d bytes of %s blocks (%d elements in %d bytes) do not make %d elements", len(src), t, elems, bytes, len(dst))
	}
	dequantize(t, dst, src)
	return nil
}
