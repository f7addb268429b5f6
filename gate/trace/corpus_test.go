package trace

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "remake testdata/ok and testdata/err from the tables")

// corpusFile is one trace of the corpus: a file, or a folder of files.
type corpusFile struct {
	name  string
	bytes []byte
	files map[string][]byte
}

func (c corpusFile) write(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, c.name)
	if c.files == nil {
		writeFile(t, path, c.bytes)
		return
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range c.files {
		writeFile(t, filepath.Join(path, name), b)
	}
}

// check holds the committed files against the table. What a deflater makes of
// the same bytes may change with the Go release, so archives are left out.
func (c corpusFile) check(t *testing.T, dir string) {
	t.Helper()
	files := c.files
	if files == nil {
		files = map[string][]byte{"": c.bytes}
	}
	for name, want := range files {
		path := filepath.Join(dir, c.name, name)
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) && !strings.HasSuffix(path, ".npz") {
			t.Errorf("%s is not what the table makes (%v): run go test -update", path, err)
		}
	}
}

// st is a safetensors file of a header and n bytes of data.
func st(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

// npy is an npy file of a version, a header and data.
func npy(major byte, header string, data []byte) []byte {
	b := append([]byte(npyMagic), major, 0)
	if major == 1 {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(header)))
	} else {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(header)))
	}
	return append(append(b, header...), data...)
}

// npyF4 is an npy file of float32 values in that shape.
func npyF4(shape string, values ...float32) []byte {
	return npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': "+shape+", }\n", f32s(values...))
}

// npyI8 is an npy file of 64-bit integers.
func npyI8(values ...int64) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	return npy(1, fmt.Sprintf("{'descr': '<i8', 'fortran_order': False, 'shape': (%d,), }\n", len(values)), b)
}

// npz is an archive; entries alternate name and content.
func npz(method uint16, entries ...any) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		w, err := z.CreateHeader(&zip.FileHeader{Name: entries[i].(string), Method: method})
		if err == nil {
			_, err = w.Write(entries[i+1].([]byte))
		}
		if err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// readEverything opens a trace and reads every row of it.
func readEverything(path string, opt Options) (*Trace, map[string][]byte, error) {
	tr, err := Open(path, opt)
	if err != nil {
		return nil, nil, err
	}
	defer tr.Close()
	values := map[string][]byte{}
	for _, c := range tr.Checkpoints {
		dst := make([]byte, len(c.Positions)*c.Stored*c.DType.Size())
		if err := c.NewReader().ReadRows(0, len(c.Positions), dst); err != nil {
			return nil, nil, err
		}
		values[c.Name] = dst
	}
	return tr, values, nil
}

// describe prints a trace with all of its values.
func describe(tr *Trace, values map[string][]byte) string {
	var b strings.Builder
	meta, _ := json.MarshalIndent(tr.Meta, "", " ")
	fmt.Fprintf(&b, "format %s\nmeta %s\n", tr.Format, meta)
	for _, c := range tr.Checkpoints {
		fmt.Fprintf(&b, "\n%s (%s) %s, %d of %d\n", c.Name, c.Source, c.DType, c.Stored, c.Width)
		v := values[c.Name]
		size := c.DType.Size()
		for i, p := range c.Positions {
			fmt.Fprintf(&b, "%d:", p)
			for j := range c.Stored {
				fmt.Fprintf(&b, " %g", decode(c.DType, v[(i*c.Stored+j)*size:][:size]))
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// golden compares with a file, or writes it with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		writeFile(t, path, []byte(got))
		return
	}
	want, err := os.ReadFile(path)
	if err != nil || got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s%v", path, got, want, err)
	}
}

// TestMalformed opens every malformed trace and compares the error's text. No
// two malformations may give the same.
func TestMalformed(t *testing.T) {
	const dir = "testdata/err"
	seen := map[string]string{}
	for _, c := range malformed() {
		if *update {
			c.write(t, dir)
		}
		c.check(t, dir)
		_, _, err := readEverything(filepath.Join(dir, c.name), Options{})
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v is no *Error", c.name, err)
			continue
		}
		golden(t, filepath.Join(dir, c.name+".err"), err.Error()+"\n")
		text := strings.ReplaceAll(err.Error(), c.name, "")
		if o := seen[text]; o != "" {
			t.Errorf("%s and %s give the same error: %v", o, c.name, err)
		}
		seen[text] = c.name
	}
	everyFile(t, dir, ".err", malformed())
}

// TestWellFormed opens every well-formed trace and compares all that it holds.
func TestWellFormed(t *testing.T) {
	const dir = "testdata/ok"
	for _, c := range wellFormed() {
		if *update {
			c.write(t, dir)
		}
		c.check(t, dir)
		tr, values, err := readEverything(filepath.Join(dir, c.name), Options{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		golden(t, filepath.Join(dir, c.name+".txt"), describe(tr, values))
	}
	everyFile(t, dir, ".txt", wellFormed())
}

// everyFile checks that the folder holds nothing that the table does not make.
func everyFile(t *testing.T, dir, suffix string, table []corpusFile) {
	t.Helper()
	known := map[string]bool{}
	for _, c := range table {
		if known[c.name] {
			t.Errorf("%s stands in the table twice", c.name)
		}
		known[c.name], known[c.name+suffix] = true, true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		delete(known, e.Name())
		if !slices.ContainsFunc(table, func(c corpusFile) bool { return e.Name() == c.name || e.Name() == c.name+suffix }) {
			t.Errorf("%s/%s is in no table", dir, e.Name())
		}
	}
	if len(known) > 0 {
		t.Errorf("%s misses %v", dir, slices.Sorted(maps.Keys(known)))
	}
}
