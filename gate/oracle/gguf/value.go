package gguf

import (
	"encoding/binary"
	"fmt"
)

// scalars are the Go types of metadata values.
type scalars interface {
	uint8 | int8 | uint16 | int16 | uint32 | int32 | uint64 | int64 | float32 | float64 | bool
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}

// appendValue appends a metadata value with its type before it.
func appendValue(b []byte, v any) ([]byte, error) {
	le := binary.LittleEndian
	switch v := v.(type) {
	case string:
		return appendString(le.AppendUint32(b, uint32(kindString)), v), nil
	case []string:
		b = le.AppendUint32(le.AppendUint32(b, uint32(kindArray)), uint32(kindString))
		b = le.AppendUint64(b, uint64(len(v)))
		for _, s := range v {
			b = appendString(b, s)
		}
		return b, nil
	case []bool:
		return appendSlice(b, kindBool, v)
	case []uint8:
		return appendSlice(b, kindUint8, v)
	case []int8:
		return appendSlice(b, kindInt8, v)
	case []uint16:
		return appendSlice(b, kindUint16, v)
	case []int16:
		return appendSlice(b, kindInt16, v)
	case []uint32:
		return appendSlice(b, kindUint32, v)
	case []int32:
		return appendSlice(b, kindInt32, v)
	case []uint64:
		return appendSlice(b, kindUint64, v)
	case []int64:
		return appendSlice(b, kindInt64, v)
	case []float32:
		return appendSlice(b, kindFloat32, v)
	case []float64:
		return appendSlice(b, kindFloat64, v)
	}
	k, ok := kindOf(v)
	if !ok {
		return nil, fmt.Errorf("a value of Go type %T: want a bool, string, float32, float64, an integer of a fixed width, or a slice of one", v)
	}
	return binary.Append(le.AppendUint32(b, uint32(k)), le, v)
}

func appendSlice[T scalars](b []byte, k kind, v []T) ([]byte, error) {
	le := binary.LittleEndian
	b = le.AppendUint32(le.AppendUint32(b, uint32(kindArray)), uint32(k))
	return binary.Append(le.AppendUint64(b, uint64(len(v))), le, v)
}

// kindOf is the file's type of a Go scalar.
func kindOf(v any) (kind, bool) {
	switch v.(type) {
	case uint8:
		return kindUint8, true
	case int8:
		return kindInt8, true
	case uint16:
		return kindUint16, true
	case int16:
		return kindInt16, true
	case uint32:
		return kindUint32, true
	case int32:
		return kindInt32, true
	case float32:
		return kindFloat32, true
	case bool:
		return kindBool, true
	case uint64:
		return kindUint64, true
	case int64:
		return kindInt64, true
	case float64:
		return kindFloat64, true
	}
	return 0, false
}

// value is an entry's value in the Go type that appendValue writes back alike.
func (f *File) value(e *entry) (any, error) {
	switch e.kind {
	case kindUint8:
		return goValue[uint8](f, e)
	case kindInt8:
		return goValue[int8](f, e)
	case kindUint16:
		return goValue[uint16](f, e)
	case kindInt16:
		return goValue[int16](f, e)
	case kindUint32:
		return goValue[uint32](f, e)
	case kindInt32:
		return goValue[int32](f, e)
	case kindFloat32:
		return goValue[float32](f, e)
	case kindBool:
		return goValue[bool](f, e)
	case kindUint64:
		return goValue[uint64](f, e)
	case kindInt64:
		return goValue[int64](f, e)
	case kindFloat64:
		return goValue[float64](f, e)
	}
	if e.array {
		return f.Strings(e.key)
	}
	return f.String(e.key)
}

func goValue[T scalars](f *File, e *entry) (any, error) {
	all := make([]T, 0, e.count)
	err := f.values(e, "", func(_ kind, b []byte) string {
		var v T
		if _, err := binary.Decode(b, binary.LittleEndian, &v); err != nil {
			return err.Error()
		}
		all = append(all, v)
		return ""
	})
	if err != nil || e.array {
		return all, err
	}
	return all[0], nil
}

// Value is a key's value in its own Go type: uint32, []string, float32 …; an
// error when the key is missing.
func (f *File) Value(key string) (any, error) {
	e := f.keys[key]
	if e == nil {
		return nil, f.fileError("metadata key %s is missing", quote(key))
	}
	return f.value(e)
}
