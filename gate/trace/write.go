package trace

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"unicode/utf8"
)

// TensorSpec announces one tensor of a file to be written: Rows × Width values.
type TensorSpec struct {
	Name        string
	DType       DType
	Rows, Width int
}

// Writer writes a safetensors trace. Tensors are filled by Append in any order
// between them; nothing stands under the file's name before Close succeeds.
// A Writer is not safe for concurrent use.
type Writer struct {
	path    string
	f       *os.File
	tensors map[string]*openTensor
	order   []string
	err     error
}

type openTensor struct {
	spec     TensorSpec
	at, end  int64 // where the next row goes, and where the tensor ends
	rowBytes int
}

// Create begins the trace at path. The header is written at once, so every
// tensor must be announced; the bytes depend on meta, specs and values alone.
// Tensors of wide values lie first, which keeps every value aligned; among
// equals the order is that of specs. meta.Positions must be nil or as long as
// every tensor has rows.
func Create(path string, meta Meta, specs []TensorSpec) (*Writer, error) {
	w := &Writer{path: path, tensors: map[string]*openTensor{}}
	header, err := w.layout(meta, specs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	// A dot keeps a half-written file out of the shards of a folder.
	w.f, err = os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return nil, err
	}
	if _, err := w.f.Write(header); err != nil {
		w.Abort()
		return nil, err
	}
	return w, nil
}

// layout places the tensors and makes the header.
func (w *Writer) layout(meta Meta, specs []TensorSpec) ([]byte, error) {
	if len(specs) == 0 {
		return nil, fmt.Errorf("a trace needs at least one tensor")
	}
	bySize := append([]TensorSpec(nil), specs...)
	sort.SliceStable(bySize, func(i, j int) bool { return bySize[i].DType.Size() > bySize[j].DType.Size() })
	var b bytes.Buffer
	if err := writeMetadata(&b, meta); err != nil {
		return nil, err
	}
	end := int64(0)
	for _, s := range bySize {
		n, ok := elements([]int64{int64(s.Rows), int64(s.Width), int64(s.DType.Size())})
		switch {
		case s.DType < F32 || s.DType > F64:
			return nil, fmt.Errorf("tensor %s has no dtype: want %s", quote(s.Name), validDTypes)
		case s.Name == "" || s.Name == "__metadata__" || !utf8.ValidString(s.Name):
			return nil, fmt.Errorf("%s is no name of a tensor", quote(s.Name))
		case w.tensors[s.Name] != nil:
			return nil, fmt.Errorf("tensor %s is announced twice", quote(s.Name))
		case !ok || n == 0 || end+n < end:
			return nil, fmt.Errorf("tensor %s has %d rows of %d", quote(s.Name), s.Rows, s.Width)
		case meta.Positions != nil && len(meta.Positions) != s.Rows:
			return nil, fmt.Errorf("tensor %s has %d rows, the metadata %d positions", quote(s.Name), s.Rows, len(meta.Positions))
		}
		b.WriteByte(',')
		writeString(&b, s.Name)
		fmt.Fprintf(&b, `:{"dtype":"%s","shape":[%d,%d],"data_offsets":[%d,%d]}`, s.DType, s.Rows, s.Width, end, end+n)
		w.tensors[s.Name] = &openTensor{s, end, end + n, s.Width * s.DType.Size()}
		w.order = append(w.order, s.Name)
		end += n
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	for _, t := range w.tensors {
		t.at += 8 + int64(b.Len())
		t.end += 8 + int64(b.Len())
	}
	head := binary.LittleEndian.AppendUint64(nil, uint64(b.Len()))
	return append(head, b.Bytes()...), nil
}

// metadata are the keys that say what m says.
func (m *Meta) metadata() (map[string]string, error) {
	kv := map[string]string{keyVersion: formatVersion}
	var check metaSet
	for k, v := range m.Extra {
		if err := check.set(k, v); err != nil || check.Extra[k] != v {
			return nil, fmt.Errorf("metadata key %s has a meaning of its own: it cannot be extra", quote(k))
		}
		kv[k] = v
	}
	for _, key := range textKeys {
		if v := *m.text(key); v != "" {
			kv[key] = v
		}
	}
	if m.Tokens != nil {
		b, _ := json.Marshal(m.Tokens) // integers always marshal
		kv[keyTokens] = string(b)
	}
	if m.Positions != nil {
		b, _ := json.Marshal(m.Positions)
		kv[keyPositions] = string(b)
	}
	for k, v := range kv {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return nil, fmt.Errorf("metadata %s is not UTF-8", quote(k))
		}
		if err := new(metaSet).set(k, v); err != nil { // what is written must be readable
			return nil, err
		}
	}
	return kv, nil
}

// writeMetadata opens the header's object with __metadata__, keys in order.
func writeMetadata(b *bytes.Buffer, meta Meta) error {
	kv, err := meta.metadata()
	if err != nil {
		return err
	}
	b.WriteString(`{"__metadata__":{`)
	for i, k := range sortedKeys(kv) {
		if i > 0 {
			b.WriteByte(',')
		}
		writeString(b, k)
		b.WriteByte(':')
		writeString(b, kv[k])
	}
	b.WriteByte('}')
	return nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// writeString writes s, which is UTF-8, as a JSON string.
func writeString(b *bytes.Buffer, s string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err == nil { // a string and a Buffer never fail
		b.Truncate(b.Len() - 1) // Encode ends with a newline
	}
}

// Append writes the next rows of the tensor: whole rows of values in its dtype,
// little-endian. After an error the writer only reports it again.
func (w *Writer) Append(name string, rows []byte) error {
	if w.err != nil {
		return w.err
	}
	t := w.tensors[name]
	switch {
	case w.f == nil:
		return fmt.Errorf("%s: append after the file was closed", w.path)
	case t == nil:
		return fmt.Errorf("%s: tensor %s was not announced", w.path, quote(name))
	case len(rows)%t.rowBytes != 0:
		return fmt.Errorf("%s: tensor %s has rows of %d bytes, %d bytes are no whole rows", w.path, quote(name), t.rowBytes, len(rows))
	case int64(len(rows)) > t.end-t.at:
		return fmt.Errorf("%s: tensor %s has room for %d of %d rows, %d more came", w.path, quote(name), (t.end-t.at)/int64(t.rowBytes), t.spec.Rows, len(rows)/t.rowBytes)
	}
	if _, err := w.f.WriteAt(rows, t.at); err != nil {
		w.err = err
		return err
	}
	t.at += int64(len(rows))
	return nil
}

// Close checks that every tensor is full, makes the file durable and gives it
// its name. On an error, a tensor that is not full for one, nothing is left.
// Close after Close or Abort does nothing.
func (w *Writer) Close() error {
	if w.f == nil {
		return w.err
	}
	for _, name := range w.order {
		if t := w.tensors[name]; w.err == nil && t.at != t.end {
			left := (t.end - t.at) / int64(t.rowBytes)
			w.err = fmt.Errorf("%s: tensor %s got %d of its %d rows", w.path, quote(name), int64(t.spec.Rows)-left, t.spec.Rows)
		}
	}
	if w.err == nil {
		w.err = w.f.Chmod(0o644) // CreateTemp makes it private
	}
	if w.err == nil {
		w.err = w.f.Sync()
	}
	if w.err != nil {
		w.Abort()
		return w.err
	}
	temp := w.f.Name()
	w.err = w.f.Close()
	w.f = nil
	if w.err == nil {
		w.err = os.Rename(temp, w.path)
	}
	if w.err != nil {
		os.Remove(temp)
		return w.err
	}
	return syncDir(filepath.Dir(w.path))
}

// syncDir makes a rename durable; file systems that cannot are no failure.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	d.Sync()
	return d.Close()
}

// Abort drops what was written. After Close it does nothing.
func (w *Writer) Abort() {
	if w.f == nil {
		return
	}
	w.f.Close()
	os.Remove(w.f.Name())
	w.f = nil
	if w.err == nil {
		w.err = fmt.Errorf("%s: writing was aborted", w.path)
	}
}
