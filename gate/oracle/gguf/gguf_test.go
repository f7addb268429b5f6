package gguf

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// numbered is a tensor whose element i of row r is 100·r + i.
func numbered(name string, t Type, shape ...int) TensorData {
	return TensorData{Name: name, Type: t, Shape: shape, Rows: func(first, n int, dst []float32) error {
		for i := range dst {
			dst[i] = float32(100*(first+i/shape[0]) + i%shape[0])
		}
		return nil
	}}
}

// everyKind is metadata with a value of each type.
var everyKind = []KeyValue{
	{"general.architecture", "llama"}, {"u8", uint8(200)}, {"i8", int8(-7)}, {"u16", uint16(60000)}, {"i16", int16(-300)},
	{"u32", uint32(4e9)}, {"i32", int32(-5)}, {"u64", uint64(math.MaxUint64)}, {"i64", int64(math.MinInt64)},
	{"f32", float32(1e-5)}, {"f64", math.Pi}, {"yes", true}, {"no", false}, {"empty", ""},
	{"a.u8", []uint8{1, 2}}, {"a.i8", []int8{-1, 2}}, {"a.u16", []uint16{3}}, {"a.i16", []int16{-3}}, {"a.u32", []uint32{}},
	{"a.i32", []int32{4, -4}}, {"a.u64", []uint64{5}}, {"a.i64", []int64{6}}, {"a.f32", []float32{0.5, float32(math.Inf(1))}},
	{"a.f64", []float64{7}}, {"a.bool", []bool{true, false}}, {"a.str", []string{"", "ä", "\x00\xff"}},
}

func write(t testing.TB, d *Description) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "w.gguf")
	if err := Write(path, d); err != nil {
		t.Fatal(err)
	}
	return path
}

func openBoth(t *testing.T, path string, use func(t *testing.T, f *File)) {
	t.Helper()
	for name, mapped := range map[string]bool{"mapped": true, "read": false} {
		t.Run(name, func(t *testing.T) {
			f, err := open(path, mapped)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			use(t, f)
		})
	}
}

func TestRoundTrip(t *testing.T) {
	for _, align := range []uint32{1, 8, 32, 4096} {
		t.Run(fmt.Sprint(align), func(t *testing.T) {
			d := &Description{Metadata: everyKind, Tensors: []TensorData{
				numbered("one", F32, 3), numbered("two", F16, 5, 2), numbered("three", BF16, 7, 3, 2), numbered("four", Q8_0, 64, 2, 1, 3)}}
			d = &Description{Metadata: append([]KeyValue{{keyAlignment, align}}, everyKind...), Tensors: d.Tensors}
			path := write(t, d)
			openBoth(t, path, func(t *testing.T, f *File) { checkRoundTrip(t, f, d) })
		})
	}
}

func checkRoundTrip(t *testing.T, f *File, d *Description) {
	for _, kv := range d.Metadata {
		if got, err := f.Value(kv.Key); err != nil || !reflect.DeepEqual(got, kv.Value) {
			t.Errorf("%s: %v (%T), %v: want %v", kv.Key, got, got, err, kv.Value)
		}
	}
	if len(f.Keys()) != len(d.Metadata) || len(f.Tensors()) != len(d.Tensors) {
		t.Errorf("%d keys, %d tensors: want %d, %d", len(f.Keys()), len(f.Tensors()), len(d.Metadata), len(d.Tensors))
	}
	for _, want := range d.Tensors {
		tensor, err := f.Tensor(want.Name)
		if err != nil {
			t.Fatal(err)
		}
		if err := tensor.Require(want.Shape...); err != nil {
			t.Error(err)
		}
		w, h := tensor.Width(), tensor.Height()
		all, part, narrow := make([]float64, w*h), make([]float64, w), make([]float32, w)
		if err := tensor.Rows(0, h, all); err != nil {
			t.Fatal(err)
		}
		for r := range h {
			if err := errors.Join(tensor.Rows(r, 1, part), tensor.Rows32(r, 1, narrow)); err != nil {
				t.Fatal(err)
			}
			for i := range w {
				v := float64(100*r + i)
				if all[w*r+i] != part[i] || float64(narrow[i]) != part[i] || math.Abs(part[i]-v) > v/128+0.5 {
					t.Fatalf("%s row %d element %d: %v in all, %v in the row, %v as float32: want about %v", want.Name, r, i, all[w*r+i], part[i], narrow[i], v)
				}
			}
		}
	}
}

// TestLargeRows reads more than one chunk in each type at once.
func TestLargeRows(t *testing.T) {
	const w, h = 1024, 700
	var tensors []TensorData
	for _, kind := range encodable {
		tensors = append(tensors, TensorData{Name: kind.String(), Type: kind, Shape: []int{w, h}, Rows: func(first, n int, dst []float32) error {
			for i := range dst {
				dst[i] = float32((first*w+i)%128 - 1)
			}
			dst[len(dst)-1] = -1
			return nil
		}})
	}
	tensors = append(tensors, TensorData{Name: "Q4_K", Type: Q4_K, Shape: []int{w, h}, Bytes: func(first, n int, dst []byte) error {
		for i := range dst { // the same block throughout, with halves that are numbers
			dst[i] = byte(i % 144 & 63)
		}
		return nil
	}})
	openBoth(t, write(t, &Description{Tensors: tensors}), func(t *testing.T, f *File) {
		for _, tensor := range f.Tensors() {
			all, part := make([]float64, w*h), make([]float64, w*h)
			var wait sync.WaitGroup
			errs := make([]error, h/100+1)
			for i := range h / 100 { // several goroutines read one tensor
				wait.Go(func() { errs[i] = tensor.Rows(100*i, 100, part[100*w*i:100*w*(i+1)]) })
			}
			errs[h/100] = tensor.Rows(0, h, all)
			wait.Wait()
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(all, part) {
				t.Errorf("%s: rows read apart and at once differ", tensor.Name)
			}
			if last := all[w*h-w-1]; tensor.Type != Q4_K && math.Abs(last-float64((w*h-w-1)%128-1)) > 1 {
				t.Errorf("%s: element before the last row is %v", tensor.Name, last)
			}
		}
	})
}

func TestGetters(t *testing.T) {
	openBoth(t, write(t, &Description{Metadata: everyKind, Tensors: []TensorData{numbered("blk.0.a", F32, 4), numbered("blk.1.a", F32, 4), numbered("c", F32, 2)}}), func(t *testing.T, f *File) {
		arch, err := f.Architecture()
		equal(t, "architecture", arch, "llama", err)
		for key, want := range map[string]uint64{"u8": 200, "u16": 60000, "u32": 4e9, "u64": math.MaxUint64} {
			got, err := f.Uint(key, 1)
			equal(t, key, got, want, err)
		}
		fl, err := f.Float("f32")
		equal(t, "f32", fl, float64(float32(1e-5)), err)
		fl, err = f.Float("none", 2.5)
		equal(t, "default", fl, 2.5, err)
		yes, err := f.Bool("yes")
		equal(t, "yes", yes, true, err)
		strs, err := f.Strings("a.str")
		equal(t, "a.str", strs, []string{"", "ä", "\x00\xff"}, err)
		fs, err := f.Floats("a.f32")
		equal(t, "a.f32", fs, []float64{0.5, math.Inf(1)}, err)
		us, err := f.Uints("a.u16")
		equal(t, "a.u16", us, []uint64{3}, err)
		bs, err := f.Bools("a.bool")
		equal(t, "a.bool", bs, []bool{true, false}, err)
		if !f.Has("no") || f.Has("none") || !f.IsArray("a.i32") || f.IsArray("i32") || f.IsArray("none") || f.Version() != 3 || !f.HasTensor("c") || f.HasTensor("d") {
			t.Error("Has, IsArray, Version or HasTensor is wrong")
		}
		for _, c := range []struct {
			what string
			err  error
			want string
		}{
			{"missing", second(f.Uint("none")), `metadata key "none" is missing: want an integer that is not negative`},
			{"negative", second(f.Uint("i32", 3)), `metadata key "i32" is -5: want an integer that is not negative`},
			{"wrong type", second(f.Uint("f32")), `metadata key "f32" is of type float32: want an integer that is not negative`},
			{"array for scalar", second(f.Float("a.f32", 1)), `metadata key "a.f32" is an array of 2 float32: want a float`},
			{"scalar for array", second(f.Strings("empty")), `metadata key "empty" is of type string: want an array of strings`},
			{"array of another type", second(f.Floats("a.u16")), `metadata key "a.u16" is an array of 1 uint16: want an array of floats`},
			{"negative in array", second(f.Uints("a.i32")), `metadata key "a.i32" is -4: want an array of integers that are not negative`},
			{"missing array", second(f.Bools("none")), `metadata key "none" is missing: want an array of bools`},
			{"no tensor", second(f.Tensor("blk.0.b")), `no tensor "blk.0.b": the file holds "blk.0.a"`},
			{"no tensor nearby", second(f.Tensor("d")), `no tensor "d": the file holds "blk.0.a", "blk.1.a", "c"`},
		} {
			var e *Error
			if !errors.As(c.err, &e) || e.Msg != c.want {
				t.Errorf("%s: %v\nwant %s", c.what, c.err, c.want)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

func equal[T any](t *testing.T, what string, got, want T, err error) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %v, %v: want %v", what, got, err, want)
	}
}

func TestRowsErrors(t *testing.T) {
	d := &Description{Tensors: []TensorData{numbered("t", F32, 4, 3),
		{Name: "q", Type: 20, Shape: []int{32}, Bytes: func(_, _ int, dst []byte) error { return nil }}}}
	openBoth(t, write(t, d), func(t *testing.T, f *File) {
		tensor, _ := f.Tensor("t")
		other, _ := f.Tensor("q")
		check := func(err error, want string) {
			t.Helper()
			if err == nil || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%v\nwant …%s", err, want)
			}
		}
		check(tensor.Rows(2, 2, make([]float64, 8)), `tensor "t" has 3 rows: rows 2 to 4 are not among them`)
		check(tensor.Rows(-1, 2, make([]float64, 8)), `tensor "t" has 3 rows: rows -1 to 1 are not among them`)
		check(tensor.Rows(0, 2, make([]float64, 7)), `tensor "t": 2 rows of 4 elements do not go into 7`)
		check(tensor.Bytes(0, 1, make([]byte, 4)), `tensor "t": 1 rows of 16 bytes do not go into 4`)
		check(other.Rows(0, 1, make([]float64, 32)), `tensor "q" is stored as IQ4_NL, which cannot be dequantised: want `+list(decodable))
		check(tensor.Require(3, 4), `tensor "t" has shape [4 3]: want [3 4]`)
		check(Dequantize(Q8_0, make([]float32, 32), make([]byte, 33)), "33 bytes of Q8_0 blocks (32 elements in 34 bytes) do not make 32 elements")
		f.Close()
		check(tensor.Rows(0, 1, make([]float64, 4)), `tensor "t": the file is closed`)
		if err := f.Close(); err != nil {
			t.Errorf("closing again: %v", err)
		}
	})
}

// TestShrunk makes an open file shorter: reading it is an error, no crash.
func TestShrunk(t *testing.T) {
	path := write(t, &Description{Metadata: everyKind, Tensors: []TensorData{numbered("t", F32, 1<<16)}})
	openBoth(t, path, func(t *testing.T, f *File) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 100); err != nil {
			t.Fatal(err)
		}
		defer os.WriteFile(path, content, 0o644)
		tensor, _ := f.Tensor("t")
		err = tensor.Rows(0, 1, make([]float64, 1<<16))
		if err == nil || !strings.Contains(err.Error(), errShrunk.Error()) {
			t.Errorf("reading a file cut short: %v", err)
		}
	})
}

func TestWriteRefuses(t *testing.T) {
	ok := numbered("t", F32, 4)
	with := func(change func(*TensorData)) Description {
		td := ok
		change(&td)
		return Description{Tensors: []TensorData{td}}
	}
	nan := func(_, _ int, dst []float32) error { dst[3] = float32(math.NaN()); return nil }
	for name, c := range map[string]struct {
		d    Description
		want string
	}{
		"key twice":      {Description{Metadata: []KeyValue{{"k", true}, {"k", true}}}, `metadata key "k" is there twice`},
		"empty key":      {Description{Metadata: []KeyValue{{"", true}}}, "metadata key of 0 bytes: want 1 to 65535"},
		"int":            {Description{Metadata: []KeyValue{{"k", 3}}}, `metadata key "k": a value of Go type int: want a bool, string`},
		"alignment":      {Description{Metadata: []KeyValue{{keyAlignment, uint32(3)}}}, "general.alignment is 3: want a uint32, a power of two"},
		"tensor twice":   {Description{Tensors: []TensorData{ok, ok}}, `tensor "t" is there twice`},
		"no values":      {with(func(t *TensorData) { t.Rows = nil }), `tensor "t" has both or neither of Rows and Bytes`},
		"no name":        {with(func(t *TensorData) { t.Name = "" }), `tensor name "" has 0 bytes: want 1 to 64`},
		"not encodable":  {with(func(t *TensorData) { t.Type = Q4_K }), "Q4_K cannot be written from values: want F32, F16, BF16 or Q8_0"},
		"block":          {with(func(t *TensorData) { t.Type = Q8_0 }), "rows of 4 elements, no multiple of the 32 of a Q8_0 block"},
		"no shape":       {with(func(t *TensorData) { t.Shape = nil }), "has 0 dimensions: want 1 to 4"},
		"overflow":       {with(func(t *TensorData) { t.Shape = []int{math.MaxInt, 2} }), "want sizes of at least 1, and a product that can be counted"},
		"zero":           {with(func(t *TensorData) { t.Shape = []int{0} }), "want sizes of at least 1"},
		"NaN in Q8_0":    {with(func(t *TensorData) { t.Type, t.Shape, t.Rows = Q8_0, []int{32}, nan }), `tensor "t": from row 0 on: element 3 is NaN, which Q8_0 cannot hold`},
		"failing values": {with(func(t *TensorData) { t.Rows = func(int, int, []float32) error { return errShrunk } }), errShrunk.Error()},
		"unknown type":   {with(func(t *TensorData) { t.Rows, t.Bytes, t.Type = nil, func(int, int, []byte) error { return nil }, 99 }), "has the unknown type 99"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			err := Write(filepath.Join(dir, "x.gguf"), &c.d)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant … %s", err, c.want)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%v was left behind", left)
			}
		})
	}
}
