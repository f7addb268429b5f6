package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// raw builds a GGUF file field by field, so that each can be wrong.
type raw []byte

func (r raw) u32(v uint32) raw       { return binary.LittleEndian.AppendUint32(r, v) }
func (r raw) u64(v uint64) raw       { return binary.LittleEndian.AppendUint64(r, v) }
func (r raw) str(s string) raw       { return append(r.u64(uint64(len(s))), s...) }
func (r raw) bytes(b ...byte) raw    { return append(r, b...) }
func (r raw) zeros(n int) raw        { return append(r, make([]byte, n)...) }
func (r raw) pad(align int) raw      { return r.zeros((align - len(r)%align) % align) }
func (r raw) key(k string) raw       { return r.str(k) }
func (r raw) kind(k kind) raw        { return r.u32(uint32(k)) }
func (r raw) cut(n int) raw          { return r[:len(r)-n] }
func (r raw) head() raw              { return append(r, magic...).u32(3) }
func (r raw) counts(t, k uint64) raw { return r.u64(t).u64(k) }

// tensor is a directory entry.
func (r raw) tensor(name string, kind Type, offset uint64, shape ...uint64) raw {
	r = r.str(name).u32(uint32(len(shape)))
	for _, n := range shape {
		r = r.u64(n)
	}
	return r.u32(uint32(kind)).u64(offset)
}

func start(tensors, keys uint64) raw { return raw(nil).head().counts(tensors, keys) }

// good is a small sound file: two keys, two tensors.
func good() raw {
	return start(2, 2).key("general.architecture").kind(kindString).str("llama").
		key("a.list").kind(kindArray).kind(kindString).u64(2).str("x").str("").
		tensor("one", F32, 0, 4, 2).tensor("two", Q8_0, 32, 32, 2).pad(32).zeros(32 + 68)
}

// malformed are files that cannot be read, each with the fault's byte and the message.
var malformed = []struct {
	name string
	file raw
	at   int64
	want string
}{
	{"empty", nil, -1, "file is empty"},
	{"short magic", raw("GG"), 0, "the file ends inside the magic bytes: want 4 bytes, 2 are left"},
	{"safetensors", raw("\x10\x00\x00\x00{\"a\"}"), 0, `not a GGUF file: begins with "\x10\x00\x00\x00", want "GGUF"`},
	{"older format", raw("tjgg\x03\x00\x00\x00"), 0, `magic "tjgg" is of a format older than GGUF: convert the model again`},
	{"big-endian magic", raw("FUGG\x00\x00\x00\x03"), 0, "big-endian GGUF (magic FUGG): only little-endian files are read"},
	{"big-endian version", raw("GGUF\x00\x00\x00\x03"), 4, "big-endian GGUF (version 0x03000000): only little-endian files are read"},
	{"no version", raw("GGUF\x03"), 4, "the file ends inside the version: want 4 bytes, 1 are left"},
	{"version 1", raw("GGUF").u32(1).zeros(16), 4, "GGUF version 1: want 2 or 3"},
	{"version 0", raw("GGUF").u32(0).zeros(16), 4, "GGUF version 0: want 2 or 3"},
	{"version 4", raw("GGUF").u32(4).zeros(16), 4, "GGUF version 4: want 2 or 3"},
	{"no tensor count", raw(nil).head().u32(0), 8, "the file ends inside the tensor count: want 8 bytes, 4 are left"},
	{"no metadata count", raw(nil).head().u64(0), 16, "the file ends inside the metadata count: want 8 bytes, 0 are left"},
	{"absurd tensor count", start(math.MaxUint64, 0), 8, "header claims 18446744073709551615 tensors, the file's other 0 bytes cannot hold them"},
	{"absurd metadata count", start(0, 1<<62).zeros(100), 16, "header claims 4611686018427387904 metadata keys, the file's other 100 bytes cannot hold them"},
	{"too many keys", start(0, maxEntries+1).zeros(minEntryBytes * (maxEntries + 1)), 16, "header claims 65537 metadata keys: want at most 65536"},
	{"too many tensors", start(maxEntries+1, 0).zeros(minTensorBytes * (maxEntries + 1)), 8, "header claims 65537 tensors: want at most 65536"},

	{"key length past the end", start(0, 1).u64(30).zeros(20), 24, "the name of metadata key 0 has 30 bytes, the file 20 more"},
	{"absurd key length", start(0, 1).u64(math.MaxUint64).zeros(20), 24, "the name of metadata key 0 has 18446744073709551615 bytes: want at most 65535"},
	{"empty key", start(0, 1).str("").kind(kindUint8).bytes(1, 0, 0), 24, "metadata key 0 has an empty name"},
	{"key twice", start(0, 2).key("k").kind(kindUint8).bytes(1).key("k").kind(kindUint8).bytes(2), 38, `metadata key "k" is there twice, first with its value at byte 37`},
	{"ends before the type", start(0, 1).str("abcdef").zeros(3), 38, `the file ends inside the type of metadata key "abcdef": want 4 bytes, 3 are left`},
	{"unknown value type", start(0, 1).key("k").u32(13).zeros(8), 33, `the type of metadata key "k" is 13: want 0 to 12`},
	{"ends inside a value", start(0, 1).key("k").kind(kindUint64).zeros(4), 37, `the file ends inside the value of metadata key "k": want 8 bytes, 4 are left`},
	{"bool 2", start(0, 1).key("k").kind(kindBool).bytes(2), 37, `metadata key "k" has the bool 2: want 0 or 1`},
	{"ends before a bool", start(0, 1).key("ab").kind(kindBool), 38, `the file ends inside the value of metadata key "ab": want 1 bytes, 0 are left`},
	{"absurd string length", start(0, 1).key("k").kind(kindString).u64(1 << 63), 37, `the string in metadata key "k" has 9223372036854775808 bytes: want at most 9223372036854775807`},
	{"string past the end", start(0, 1).key("k").kind(kindString).u64(5).zeros(4), 37, `the string in metadata key "k" has 5 bytes, the file 4 more`},
	{"array without element type", start(0, 1).key("kk").kind(kindArray), 38, `the file ends inside the element type of metadata key "kk": want 4 bytes, 0 are left`},
	{"unknown element type", start(0, 1).key("k").kind(kindArray).u32(99).u64(0), 37, `the element type of metadata key "k" is 99: want 0 to 12`},
	{"array of arrays", start(0, 1).key("k").kind(kindArray).kind(kindArray).u64(1).kind(kindUint8).u64(0), 37, `metadata key "k" is an array of arrays, which llama.cpp does not read either`},
	{"array without length", start(0, 1).key("k").kind(kindArray).kind(kindUint8).zeros(7), 41, `the file ends inside the array length of metadata key "k": want 8 bytes, 7 are left`},
	{"absurd array length", start(0, 1).key("k").kind(kindArray).kind(kindUint64).u64(1 << 61).zeros(64), 41, `metadata key "k" claims 2305843009213693952 array elements, the file's other 64 bytes cannot hold them`},
	{"array of absurdly many strings", start(0, 1).key("k").kind(kindArray).kind(kindString).u64(9).zeros(64), 41, `metadata key "k" claims 9 array elements, the file's other 64 bytes cannot hold them`},
	{"array with a string past the end", start(0, 1).key("k").kind(kindArray).kind(kindString).u64(2).str("ab").u64(7).zeros(6), 59, `the string in metadata key "k" has 7 bytes, the file 6 more`},
	{"array with bool 255", start(0, 1).key("k").kind(kindArray).kind(kindBool).u64(3).bytes(0, 1, 255), 51, `metadata key "k" has the bool 255: want 0 or 1`},

	{"alignment not a power of two", start(0, 1).key("general.alignment").kind(kindUint32).u32(48), 53, "general.alignment is 48: want a power of two up to 16777216"},
	{"alignment 0", start(0, 1).key("general.alignment").kind(kindUint32).u32(0), 53, "general.alignment is 0: want a power of two up to 16777216"},
	{"alignment 2^31", start(0, 1).key("general.alignment").kind(kindUint32).u32(1 << 31), 53, "general.alignment is 2147483648: want a power of two up to 16777216"},
	{"alignment is a string", start(0, 1).key("general.alignment").kind(kindString).str("32"), 53, `metadata key "general.alignment" is of type string: want a uint32`},
	{"alignment is signed", start(0, 1).key("general.alignment").kind(kindInt32).u32(math.MaxUint32), 53, `metadata key "general.alignment" is of type int32: want a uint32`},

	{"tensor name too long", start(1, 0).str(strings.Repeat("n", 65)).zeros(64), 24, "the name of tensor 0 has 65 bytes: want at most 64"},
	{"tensor name past the end", start(1, 0).u64(50).zeros(40), 24, "the name of tensor 0 has 50 bytes, the file 40 more"},
	{"tensor without a name", start(1, 0).tensor("", F32, 0, 4).pad(32).zeros(16), 24, "tensor 0 has an empty name"},
	{"tensor twice", start(2, 0).tensor("t", F32, 0, 4).tensor("t", F32, 32, 4).pad(32).zeros(64), 57, `tensor "t" is there twice, first at byte 24`},
	{"no dimensions", start(1, 0).tensor("t", F32, 0).zeros(64), 33, `tensor "t" has 0 dimensions: want 1 to 4`},
	{"five dimensions", start(1, 0).tensor("t", F32, 0, 1, 1, 1, 1, 1).zeros(64), 33, `tensor "t" has 5 dimensions: want 1 to 4`},
	{"ends inside the shape", start(1, 0).str("twotwo").u32(2).u64(4).zeros(7), 50, `the file ends inside the shape of tensor "twotwo": want 8 bytes, 7 are left`},
	{"dimension 0", start(1, 0).tensor("t", F32, 0, 4, 0).zeros(64), 45, `tensor "t" has a dimension of size 0`},
	{"dimension above any int", start(1, 0).tensor("t", F32, 0, 1<<63).zeros(64), 37, `tensor "t" has more elements than can be counted (1 × 9223372036854775808)`},
	{"elements overflow", start(1, 0).tensor("t", F32, 0, 1<<32, 1<<32).zeros(64), 45, `tensor "t" has more elements than can be counted (4294967296 × 4294967296)`},
	{"bytes overflow", start(1, 0).tensor("t", F32, 0, 1<<31, 1<<31).zeros(64), 37, `tensor "t" has more bytes than can be counted (4611686018427387904 blocks of 4)`},
	{"unknown tensor type", start(1, 0).tensor("t", 43, 0, 4).zeros(64), 45, `tensor "t" has the unknown type 43: want F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K or Q6_K`},
	{"removed tensor type", start(1, 0).tensor("t", 4, 0, 32).zeros(64), 45, `tensor "t" has the unknown type 4: want F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K or Q6_K`},
	{"row no multiple of a block", start(1, 0).tensor("t", Q4_K, 0, 128, 2).pad(32).zeros(144), 37, `tensor "t" has rows of 128 elements, no multiple of the 256 of a Q4_K block`},
	{"ends before the offset", start(1, 0).tensor("tt", F32, 0, 4).cut(1), 24 + 8 + 2 + 4 + 8 + 4, `the file ends inside the offset of tensor "tt": want 8 bytes, 7 are left`},
	{"offset not aligned", start(1, 0).tensor("t", F32, 8, 4).pad(32).zeros(64), 49, `tensor "t" has offset 8, no multiple of the alignment 32`},
	{"offset not aligned to its own alignment", start(1, 1).key("general.alignment").kind(kindUint32).u32(64).tensor("t", F32, 32, 4).pad(64).zeros(64), 82, `tensor "t" has offset 32, no multiple of the alignment 64`},
	{"offset overflows", start(1, 0).tensor("t", F32, 1<<63, 4).pad(32).zeros(16), 49, `tensor "t" has offset 9223372036854775808, past any file's end`},
	{"offset past the end", start(1, 0).tensor("t", F32, 1<<62, 4).pad(32).zeros(16), 49, `tensor "t" needs 16 bytes 4611686018427387904 bytes into the tensor data at byte 64, the file has 80: it is cut short, or the offset is wrong`},
	{"tensor larger than the file", start(1, 0).tensor("t", F32, 0, 1<<40).pad(32).zeros(16), 49, `tensor "t" needs 4398046511104 bytes 0 bytes into the tensor data at byte 64, the file has 80: it is cut short, or the offset is wrong`},
	{"truncated tail", start(1, 0).tensor("t", F32, 0, 8).pad(32).zeros(31), 49, `tensor "t" needs 32 bytes 0 bytes into the tensor data at byte 64, the file has 95: it is cut short, or the offset is wrong`},
	{"no tensor data", start(1, 0).tensor("t", F32, 0, 8), 49, `tensor "t" needs 32 bytes 0 bytes into the tensor data at byte 64, the file has 57: it is cut short, or the offset is wrong`},
	{"overlap", start(2, 0).tensor("t", F32, 0, 16).tensor("u", F32, 32, 4).pad(32).zeros(64), 82, `tensor "u" begins at byte 128, inside tensor "t" (bytes 96 to 160)`},
	{"same place", start(2, 0).tensor("t", F32, 0, 4).tensor("u", F32, 0, 4).pad(32).zeros(64), 82, `tensor "u" begins at byte 96, inside tensor "t" (bytes 96 to 112)`},
}

func writeFile(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMalformed(t *testing.T) {
	if f, err := Open(writeFile(t, good())); err != nil {
		t.Fatalf("the sound file: %v", err)
	} else {
		f.Close()
	}
	seen := map[string]string{}
	for _, m := range malformed {
		t.Run(m.name, func(t *testing.T) {
			path := writeFile(t, m.file)
			for _, mapped := range []bool{true, false} {
				f, err := open(path, mapped)
				var e *Error
				if !errors.As(err, &e) {
					if err == nil {
						f.Close()
					}
					t.Fatalf("mapped %v: error %v: want an *Error", mapped, err)
				}
				if e.Path != path || e.Offset != m.at || e.Msg != m.want {
					t.Errorf("mapped %v: byte %d: %s\nwant byte %d: %s", mapped, e.Offset, e.Msg, m.at, m.want)
				}
			}
			if other, ok := seen[m.want]; ok && !strings.HasPrefix(m.name, "big-endian") {
				t.Errorf("same message as %s", other)
			}
			seen[m.want] = m.name
		})
	}
}

// TestCutAnywhere cuts a sound file at every byte: it opens only when nothing
// but padding is missing, and every other length is an error that says where.
func TestCutAnywhere(t *testing.T) {
	whole := good()
	dir := t.TempDir()
	for n := range whole {
		path := filepath.Join(dir, fmt.Sprint(n))
		if err := os.WriteFile(path, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err == nil {
			f.Close()
			t.Errorf("%d of %d bytes opened", n, len(whole))
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Offset > int64(n) || e.Offset < 0 && n > 0 {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestAllocation holds what Open allocates against the file's size.
func TestAllocation(t *testing.T) {
	const slack = 96 << 10 // runtime, maps, the read window of a file that is not mapped
	for _, m := range malformed {
		path := writeFile(t, m.file)
		for _, mapped := range []bool{true, false} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := open(path, mapped)
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Fatalf("%s opened", m.name)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > uint64(len(m.file))+slack {
				t.Errorf("%s, mapped %v: %d bytes allocated for a file of %d", m.name, mapped, n, len(m.file))
			}
		}
	}
}

func TestNotAFile(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	var e *Error
	if _, err := Open(t.TempDir()); !errors.As(err, &e) || e.Msg != "not a regular file" {
		t.Errorf("a folder: %v", err)
	}
}

// FuzzOpen opens anything and reads all of what opens: no input makes it panic,
// and what it opens has the size that it says and can be written again.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(good()))
	for _, m := range malformed {
		if len(m.file) < 1<<12 {
			f.Add([]byte(m.file))
		}
	}
	path := filepath.Join(f.TempDir(), "f.gguf")
	again := filepath.Join(f.TempDir(), "g.gguf")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		file, err := Open(path)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Offset > int64(len(content)) {
				t.Fatalf("%v: want an *Error inside the file", err)
			}
			return
		}
		defer file.Close()
		d, err := file.Describe()
		if err != nil {
			t.Fatal(err)
		}
		for _, tensor := range file.Tensors() {
			values := make([]float64, tensor.Width()*tensor.Height())
			if err := tensor.Rows(0, tensor.Height(), values); (err == nil) != tensor.Type.Decodable() {
				t.Fatalf("%s %s: %v", tensor.Name, tensor.Type, err)
			}
		}
		if err := Write(again, d); err != nil {
			t.Fatal(err)
		}
		sameFile(t, path, again)
	})
}

// sameFile compares metadata and tensor bytes.
func sameFile(t *testing.T, a, b string) {
	t.Helper()
	var described [2]string
	var data [2][]byte
	for i, path := range []string{a, b} {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var out strings.Builder
		for _, k := range f.Keys() {
			v, err := f.Value(k)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%q %T %v\n", k, v, v)
		}
		for _, tensor := range f.Tensors() {
			fmt.Fprintf(&out, "%q %s %v\n", tensor.Name, tensor.Type, tensor.Shape)
			b := make([]byte, tensor.Size())
			if err := tensor.Bytes(0, tensor.Height(), b); err != nil {
				t.Fatal(err)
			}
			data[i] = append(data[i], b...)
		}
		described[i] = out.String()
	}
	if described[0] != described[1] {
		t.Fatalf("written again:\n%s\nwant\n%s", described[1], described[0])
	}
	if !bytes.Equal(data[0], data[1]) {
		t.Fatal("written again, the tensors' bytes differ")
	}
}
