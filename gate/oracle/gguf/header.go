package gguf

import (
	"encoding/binary"
	"math"
	"sort"
)

// Smallest sizes in a file, for holding counts against what is left of it.
const (
	minEntryBytes  = 8 + 1 + 4 + 1         // key length, key, value type, value
	minTensorBytes = 8 + 1 + 4 + 8 + 4 + 8 // name length, name, dimensions, one size, type, offset
)

// readHeader reads everything before the tensor data.
func (f *File) readHeader() error {
	c := &cursor{file: f, size: f.src.size()}
	if err := f.readMagic(c); err != nil {
		return err
	}
	tensorsAt := c.at
	tensors, err := c.uint64("the tensor count")
	if err != nil {
		return err
	}
	keysAt := c.at
	keys, err := c.uint64("the metadata count")
	if err != nil {
		return err
	}
	if err := c.count(keysAt, "metadata keys", keys, minEntryBytes); err != nil {
		return err
	}
	if err := c.count(tensorsAt, "tensors", tensors, minTensorBytes); err != nil {
		return err
	}
	for i := range int(keys) {
		if err := f.readEntry(c, i); err != nil {
			return err
		}
	}
	if err := f.readAlignment(); err != nil {
		return err
	}
	for i := range int(tensors) {
		if err := f.readTensor(c, i); err != nil {
			return err
		}
	}
	return f.placeTensors(c.at)
}

func (f *File) readMagic(c *cursor) error {
	if c.size == 0 {
		return f.fileError("file is empty")
	}
	m, err := c.take(4, "the magic bytes")
	if err != nil {
		return err
	}
	switch string(m) {
	case magic:
	case "FUGG":
		return f.byteError(0, "big-endian GGUF (magic FUGG): only little-endian files are read")
	case "lmgg", "fmgg", "tjgg", "algg":
		return f.byteError(0, "magic %q is of a format older than GGUF: convert the model again", m)
	default:
		return f.byteError(0, "not a GGUF file: begins with %q, want %q", m, magic)
	}
	if f.version, err = c.uint32("the version"); err != nil {
		return err
	}
	switch v := f.version; {
	case v == 2 || v == 3:
		return nil
	case v != 0 && v&0xffff == 0:
		return f.byteError(4, "big-endian GGUF (version 0x%08x): only little-endian files are read", v)
	default:
		return f.byteError(4, "GGUF version %d: want 2 or 3", v)
	}
}

// readAlignment takes the alignment from the metadata.
func (f *File) readAlignment() error {
	e := f.keys[keyAlignment]
	if e == nil {
		return nil
	}
	if e.array || e.kind != kindUint32 {
		return f.byteError(e.at, "metadata key %s is %s: want a uint32", quote(keyAlignment), e.describe())
	}
	n, err := f.Uint(keyAlignment)
	if err != nil {
		return err
	}
	if n == 0 || n&(n-1) != 0 || n > maxAlignment {
		return f.byteError(e.at, "%s is %d: want a power of two up to %d", keyAlignment, n, maxAlignment)
	}
	f.align = int64(n)
	return nil
}

// readTensor reads the directory's next tensor; its offset is still relative.
func (f *File) readTensor(c *cursor, i int) error {
	at := c.at
	name, err := c.string(maxName, "name of tensor %d", i)
	if err != nil {
		return err
	}
	if name == "" {
		return f.byteError(at, "tensor %d has an empty name", i)
	}
	if o := f.byName[name]; o != nil {
		return f.byteError(at, "tensor %s is there twice, first at byte %d", quote(name), o.at)
	}
	t := &Tensor{Name: name, file: f, at: at}
	if err := t.readShape(c); err != nil {
		return err
	}
	offsetAt := c.at
	offset, err := c.uint64("the offset of tensor %s", quote(name))
	if err != nil {
		return err
	}
	if offset%uint64(f.align) != 0 {
		return f.byteError(offsetAt, "tensor %s has offset %d, no multiple of the alignment %d", quote(name), offset, f.align)
	}
	if offset > math.MaxInt64 {
		return f.byteError(offsetAt, "tensor %s has offset %d, past any file's end", quote(name), offset)
	}
	t.offset, t.offsetAt = int64(offset), offsetAt
	f.tensors = append(f.tensors, t)
	f.byName[name] = t
	return nil
}

// readShape reads dimensions and type, and checks that they make a size.
func (t *Tensor) readShape(c *cursor) error {
	f, at := t.file, c.at
	dims, err := c.uint32("the dimensions of tensor %s", quote(t.Name))
	if err != nil {
		return err
	}
	if dims < 1 || dims > maxDims {
		return f.byteError(at, "tensor %s has %d dimensions: want 1 to %d", quote(t.Name), dims, maxDims)
	}
	shapeAt, elems := c.at, uint64(1)
	for range dims {
		at = c.at
		n, err := c.uint64("the shape of tensor %s", quote(t.Name))
		if err != nil {
			return err
		}
		if n == 0 {
			return f.byteError(at, "tensor %s has a dimension of size 0", quote(t.Name))
		}
		if n > math.MaxInt || elems > math.MaxInt/n {
			return f.byteError(at, "tensor %s has more elements than can be counted (%d × %d)", quote(t.Name), elems, n)
		}
		elems *= n
		t.Shape = append(t.Shape, int(n))
	}
	at = c.at
	kind, err := c.uint32("the type of tensor %s", quote(t.Name))
	if err != nil {
		return err
	}
	t.Type = Type(kind)
	l, ok := layouts[t.Type]
	if !ok {
		return f.byteError(at, "tensor %s has the unknown type %d: want %s", quote(t.Name), kind, list(decodable))
	}
	if t.Shape[0]%l.elems != 0 {
		return f.byteError(shapeAt, "tensor %s has rows of %d elements, no multiple of the %d of a %s block", quote(t.Name), t.Shape[0], l.elems, l.name)
	}
	blocks := int64(elems) / int64(l.elems)
	if blocks > math.MaxInt64/int64(l.bytes) {
		return f.byteError(shapeAt, "tensor %s has more bytes than can be counted (%d blocks of %d)", quote(t.Name), blocks, l.bytes)
	}
	t.size = blocks * int64(l.bytes)
	return nil
}

// placeTensors makes offsets absolute and holds them against the file and each other.
func (f *File) placeTensors(end int64) error {
	f.dataAt = (end + f.align - 1) / f.align * f.align
	size := f.src.size()
	for _, t := range f.tensors {
		if t.offset > size || t.size > size || f.dataAt+t.offset+t.size > size {
			return f.byteError(t.offsetAt, "tensor %s needs %d bytes %d bytes into the tensor data at byte %d, the file has %d: it is cut short, or the offset is wrong",
				quote(t.Name), t.size, t.offset, f.dataAt, size)
		}
		t.offset += f.dataAt
	}
	sorted := append([]*Tensor(nil), f.tensors...)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].offset < sorted[j].offset })
	for i := 1; i < len(sorted); i++ {
		a, b := sorted[i-1], sorted[i]
		if a.offset+a.size > b.offset {
			return f.byteError(b.offsetAt, "tensor %s begins at byte %d, inside tensor %s (bytes %d to %d)", quote(b.Name), b.offset, quote(a.Name), a.offset, a.offset+a.size)
		}
	}
	return nil
}

// cursor reads the header from its beginning.
type cursor struct {
	file *File
	at   int64
	size int64
	buf  []byte // holds what view read where the file is not mapped

	window   []byte // bytes of the file at windowAt
	windowAt int64
}

// take is the next n bytes, good until the next call.
func (c *cursor) take(n int64, what string, args ...any) ([]byte, error) {
	const ahead = 64 << 10
	if n > c.size-c.at {
		return nil, c.file.byteError(c.at, "the file ends inside "+what+": want %d bytes, %d are left", append(args, n, c.size-c.at)...)
	}
	from := c.at - c.windowAt
	if from < 0 || from+n > int64(len(c.window)) {
		w, err := c.file.src.view(c.at, min(max(n, ahead), c.size-c.at), &c.buf)
		if err != nil {
			return nil, c.file.byteError(c.at, "cannot be read: %v", err)
		}
		c.window, c.windowAt, from = w, c.at, 0
	}
	c.at += n
	return c.window[from : from+n], nil
}

// skip passes n bytes over.
func (c *cursor) skip(n int64, what string, args ...any) error {
	if n > c.size-c.at {
		return c.file.byteError(c.at, "the file ends inside "+what+": want %d bytes, %d are left", append(args, n, c.size-c.at)...)
	}
	c.at += n
	return nil
}

func (c *cursor) uint32(what string, args ...any) (uint32, error) {
	b, err := c.take(4, what, args...)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (c *cursor) uint64(what string, args ...any) (uint64, error) {
	b, err := c.take(8, what, args...)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// length reads a string's length, at most limit.
func (c *cursor) length(limit int64, what string, args ...any) (int64, error) {
	at := c.at
	n, err := c.uint64("the length of the "+what, args...)
	if err != nil {
		return 0, err
	}
	if n > uint64(limit) {
		return 0, c.file.byteError(at, "the "+what+" has %d bytes: want at most %d", append(args, n, limit)...)
	}
	if n > uint64(c.size-c.at) {
		return 0, c.file.byteError(at, "the "+what+" has %d bytes, the file %d more", append(args, n, c.size-c.at)...)
	}
	return int64(n), nil
}

// string reads a string of at most limit bytes.
func (c *cursor) string(limit int64, what string, args ...any) (string, error) {
	n, err := c.length(limit, what, args...)
	if err != nil {
		return "", err
	}
	b, err := c.take(n, "the "+what, args...)
	if err != nil {
		return "", err
	}
	return string(b), nil
}

// count refuses a number of things that the rest of the file cannot hold.
func (c *cursor) count(at int64, what string, n uint64, least int64) error {
	switch left := c.size - c.at; {
	case n > uint64(left/least):
		return c.file.byteError(at, "header claims %d %s, the file's other %d bytes cannot hold them", n, what, left)
	case n > maxEntries:
		return c.file.byteError(at, "header claims %d %s: want at most %d", n, what, maxEntries)
	}
	return nil
}
