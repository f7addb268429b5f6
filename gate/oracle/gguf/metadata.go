package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// kind is the type of a metadata value, GGUF's number.
type kind uint32

const (
	kindUint8 kind = iota
	kindInt8
	kindUint16
	kindInt16
	kindUint32
	kindInt32
	kindFloat32
	kindBool
	kindString
	kindArray
	kindUint64
	kindInt64
	kindFloat64
)

var kinds = [...]struct {
	name string
	size int64 // 0 where values differ in size
}{{"uint8", 1}, {"int8", 1}, {"uint16", 2}, {"int16", 2}, {"uint32", 4}, {"int32", 4}, {"float32", 4},
	{"bool", 1}, {"string", 0}, {"array", 0}, {"uint64", 8}, {"int64", 8}, {"float64", 8}}

func (k kind) isInteger() bool {
	return k <= kindInt32 || k == kindUint64 || k == kindInt64
}
func (k kind) isFloat() bool { return k == kindFloat32 || k == kindFloat64 }

// entry is one metadata key. Values stay in the file.
type entry struct {
	key   string
	kind  kind  // of the value, or of the array's elements
	array bool  // the value is an array of kind
	count int64 // of elements, 1 for a scalar
	at    int64 // of the first value
}

// describe is the entry's type for messages.
func (e *entry) describe() string {
	if e.array {
		return fmt.Sprintf("an array of %d %s", e.count, kinds[e.kind].name)
	}
	return "of type " + kinds[e.kind].name
}

// readEntry reads the next metadata key and passes over its value.
func (f *File) readEntry(c *cursor, i int) error {
	at := c.at
	key, err := c.string(maxKey, "name of metadata key %d", i)
	if err != nil {
		return err
	}
	if key == "" {
		return f.byteError(at, "metadata key %d has an empty name", i)
	}
	if o := f.keys[key]; o != nil {
		return f.byteError(at, "metadata key %s is there twice, first with its value at byte %d", quote(key), o.at)
	}
	e := &entry{key: key, count: 1}
	if e.kind, err = c.kind("the type of metadata key %s", quote(key)); err != nil {
		return err
	}
	if e.kind == kindArray {
		if err := e.readArrayHead(c); err != nil {
			return err
		}
	}
	e.at = c.at
	if err := e.skipValues(c); err != nil {
		return err
	}
	f.entries = append(f.entries, e)
	f.keys[key] = e
	return nil
}

func (c *cursor) kind(what string, args ...any) (kind, error) {
	at := c.at
	n, err := c.uint32(what, args...)
	if err != nil {
		return 0, err
	}
	if n >= uint32(len(kinds)) {
		return 0, c.file.byteError(at, what+" is %d: want 0 to %d", append(args, n, len(kinds)-1)...)
	}
	return kind(n), nil
}

func (e *entry) readArrayHead(c *cursor) error {
	at := c.at
	e.array = true
	var err error
	if e.kind, err = c.kind("the element type of metadata key %s", quote(e.key)); err != nil {
		return err
	}
	if e.kind == kindArray {
		return c.file.byteError(at, "metadata key %s is an array of arrays, which llama.cpp does not read either", quote(e.key))
	}
	at = c.at
	n, err := c.uint64("the array length of metadata key %s", quote(e.key))
	if err != nil {
		return err
	}
	least := kinds[e.kind].size
	if e.kind == kindString {
		least = 8
	}
	if left := c.size - c.at; n > uint64(left/least) {
		return c.file.byteError(at, "metadata key %s claims %d array elements, the file's other %d bytes cannot hold them", quote(e.key), n, left)
	}
	e.count = int64(n)
	return nil
}

// skipValues passes over an entry's values, checking those that can be wrong.
func (e *entry) skipValues(c *cursor) error {
	switch e.kind {
	case kindString:
		for range e.count {
			n, err := c.length(math.MaxInt64, "string in metadata key %s", quote(e.key))
			if err != nil {
				return err
			}
			if err := c.skip(n, "a string in metadata key %s", quote(e.key)); err != nil {
				return err
			}
		}
		return nil
	case kindBool:
		for range e.count {
			at := c.at
			b, err := c.take(1, "the value of metadata key %s", quote(e.key))
			if err != nil {
				return err
			}
			if b[0] > 1 {
				return c.file.byteError(at, "metadata key %s has the bool %d: want 0 or 1", quote(e.key), b[0])
			}
		}
		return nil
	}
	return c.skip(e.count*kinds[e.kind].size, "the value of metadata key %s", quote(e.key))
}

// Has says whether the metadata has the key.
func (f *File) Has(key string) bool { return f.keys[key] != nil }

// Keys are the metadata's keys in the order of the file.
func (f *File) Keys() []string {
	names := make([]string, len(f.entries))
	for i, e := range f.entries {
		names[i] = e.key
	}
	return names
}

// IsArray says whether the key is there and holds an array.
func (f *File) IsArray(key string) bool {
	e := f.keys[key]
	return e != nil && e.array
}

// Uint is the value of an integer key that is not negative, of whatever width.
// A missing key gives the default, or an error where there is none; a value of
// another type is always an error. Errors name the key.
func (f *File) Uint(key string, def ...uint64) (uint64, error) {
	return scalar(f, key, "an integer that is not negative", kind.isInteger, def, uintValue)
}

// Float is the value of a float32 or float64 key; defaults and errors as Uint's.
func (f *File) Float(key string, def ...float64) (float64, error) {
	return scalar(f, key, "a float", kind.isFloat, def, floatValue)
}

// Bool is the value of a bool key; defaults and errors as Uint's.
func (f *File) Bool(key string, def ...bool) (bool, error) {
	return scalar(f, key, "a bool", isKind(kindBool), def, boolValue)
}

// String is the value of a string key; defaults and errors as Uint's.
func (f *File) String(key string, def ...string) (string, error) {
	return scalar(f, key, "a string", isKind(kindString), def, stringValue)
}

// Uints are the values of an array of integers that are not negative. A missing
// key, another type and a negative value are errors that name the key.
func (f *File) Uints(key string) ([]uint64, error) {
	return array(f, key, "an array of integers that are not negative", kind.isInteger, uintValue)
}

// Floats are the values of an array of float32 or float64; errors as Uints'.
func (f *File) Floats(key string) ([]float64, error) {
	return array(f, key, "an array of floats", kind.isFloat, floatValue)
}

// Bools are the values of an array of bools; errors as Uints'.
func (f *File) Bools(key string) ([]bool, error) {
	return array(f, key, "an array of bools", isKind(kindBool), boolValue)
}

// Strings are the values of an array of strings; errors as Uints'.
func (f *File) Strings(key string) ([]string, error) {
	return array(f, key, "an array of strings", isKind(kindString), stringValue)
}

func isKind(want kind) func(kind) bool {
	return func(k kind) bool { return k == want }
}

// decode turns the bytes of one value into it, or says what is wrong with it.
type decode[T any] func(k kind, b []byte) (T, string)

func scalar[T any](f *File, key, want string, fits func(kind) bool, def []T, one decode[T]) (v T, err error) {
	e := f.keys[key]
	if e == nil {
		if len(def) > 0 {
			return def[0], nil
		}
		return v, f.fileError("metadata key %s is missing: want %s", quote(key), want)
	}
	if e.array || !fits(e.kind) {
		return v, f.byteError(e.at, "metadata key %s is %s: want %s", quote(key), e.describe(), want)
	}
	err = f.values(e, want, func(k kind, b []byte) (fault string) {
		v, fault = one(k, b)
		return fault
	})
	return v, err
}

func array[T any](f *File, key, want string, fits func(kind) bool, one decode[T]) ([]T, error) {
	e := f.keys[key]
	if e == nil {
		return nil, f.fileError("metadata key %s is missing: want %s", quote(key), want)
	}
	if !e.array || !fits(e.kind) {
		return nil, f.byteError(e.at, "metadata key %s is %s: want %s", quote(key), e.describe(), want)
	}
	all := make([]T, 0, e.count) // the file holds count values, as Open has checked
	err := f.values(e, want, func(k kind, b []byte) string {
		v, fault := one(k, b)
		all = append(all, v)
		return fault
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// values gives each value's bytes to each, which returns what is wrong with it.
func (f *File) values(e *entry, want string, each func(k kind, b []byte) string) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.src == nil {
		return f.fileError("the file is closed")
	}
	return f.guard(func() error {
		c := &cursor{file: f, at: e.at, size: f.src.size()}
		for range e.count {
			size := kinds[e.kind].size
			if e.kind == kindString {
				var err error
				if size, err = c.length(math.MaxInt64, "string in metadata key %s", quote(e.key)); err != nil {
					return err
				}
			}
			at := c.at
			b, err := c.take(size, "the value of metadata key %s", quote(e.key))
			if err != nil {
				return err
			}
			if fault := each(e.kind, b); fault != "" {
				return f.byteError(at, "metadata key %s is %s: want %s", quote(e.key), fault, want)
			}
		}
		return nil
	})
}

func uintValue(k kind, b []byte) (uint64, string) {
	var v int64
	switch k {
	case kindUint8:
		return uint64(b[0]), ""
	case kindUint16:
		return uint64(binary.LittleEndian.Uint16(b)), ""
	case kindUint32:
		return uint64(binary.LittleEndian.Uint32(b)), ""
	case kindUint64:
		return binary.LittleEndian.Uint64(b), ""
	case kindInt8:
		v = int64(int8(b[0]))
	case kindInt16:
		v = int64(int16(binary.LittleEndian.Uint16(b)))
	case kindInt32:
		v = int64(int32(binary.LittleEndian.Uint32(b)))
	default:
		v = int64(binary.LittleEndian.Uint64(b))
	}
	if v < 0 {
		return 0, fmt.Sprint(v)
	}
	return uint64(v), ""
}

func floatValue(k kind, b []byte) (float64, string) {
	if k == kindFloat32 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b))), ""
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(b)), ""
}

func boolValue(_ kind, b []byte) (bool, string) { return b[0] == 1, "" }

func stringValue(_ kind, b []byte) (string, string) { return string(b), "" }
