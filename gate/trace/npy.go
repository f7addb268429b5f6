package trace

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
)

const npyMagic = "\x93NUMPY"

// npyHeader is what the header of an npy file says: a Python dict literal such
// as {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }.
type npyHeader struct {
	descr   string
	fortran bool
	shape   []int64
	at      [3]int64 // offsets of descr, fortran_order and shape in the file
	data    int64    // offset of the values in the file
}

var npyTypes = map[string]DType{"<f4": F32, "<f2": F16, "<f8": F64}

// readNPY reads the header of one npy file, or entry of an npz archive.
func (b *builder) readNPY(in *input, name string) error {
	h, err := readNPYHeader(in, b.opt.MaxHeader)
	if err != nil {
		return err
	}
	at := h.at[0]
	side := slices.Contains(sideTensors, name) || name == keyPositions
	if integer := h.descr == "<i4" || h.descr == "<i8"; integer && side {
		return b.npyIntegers(in, h, name)
	}
	dtype := npyTypes[h.descr]
	switch {
	case h.descr == "|V2" || h.descr == "<V2":
		return byteError(in.path, at, "values are %s, two bytes without a type: NumPy has no bfloat16; save them as float32 or write safetensors", h.descr)
	case strings.HasPrefix(h.descr, ">f"):
		return byteError(in.path, at, "values are big-endian (%s): save them with .astype('<f%s')", h.descr, h.descr[2:])
	case strings.Contains(h.descr, "O"):
		return byteError(in.path, at, "values are Python objects (%s): an array of floats is needed", h.descr)
	case dtype == 0:
		return byteError(in.path, at, "values are %s: want <f4, <f2 or <f8 (token ids: <i4 or <i8, named tokens or input_ids)", quote(h.descr))
	case h.fortran && len(h.shape) > 1:
		return byteError(in.path, h.at[1], "values are in Fortran order: save them with numpy.ascontiguousarray")
	}
	t := &tensor{source: name, in: in, offset: h.data, at: at, dtype: dtype}
	if err := h.checkSize(in, int64(dtype.Size())); err != nil {
		return err
	}
	if err := t.setShape(h.shape, b.opt); err != nil {
		return byteError(in.path, h.at[2], "%v", err)
	}
	b.tensors = append(b.tensors, t)
	return nil
}

// checkSize checks that the values fill the rest of the file.
func (h *npyHeader) checkSize(in *input, unit int64) error {
	n, ok := elements(h.shape)
	have := in.size - h.data
	switch {
	case !ok || n > math.MaxInt64/unit:
		return byteError(in.path, h.at[2], "shape %v: the product overflows", h.shape)
	case n*unit > have:
		return byteError(in.path, h.at[2], "shape %v of %s needs %d bytes, the file holds %d: it was cut", h.shape, h.descr, n*unit, have)
	case n*unit < have:
		return byteError(in.path, h.data+n*unit, "%d bytes follow the last value", have-n*unit)
	}
	return nil
}

// npyIntegers takes the tokens or the positions of an integer array.
func (b *builder) npyIntegers(in *input, h *npyHeader, name string) error {
	unit := int(h.descr[2] - '0')
	if err := h.checkSize(in, int64(unit)); err != nil {
		return err
	}
	dims := h.shape
	if len(dims) == 2 && dims[0] == 1 {
		dims = dims[1:]
	}
	if len(dims) != 1 || dims[0] == 0 || dims[0] > int64(b.opt.MaxRows) {
		return byteError(in.path, h.at[2], "%s has shape %v: want [tokens] or [1, tokens], at most %d", name, h.shape, b.opt.MaxRows)
	}
	ids, err := in.integers(h.data, int(dims[0]), unit, name)
	if err != nil {
		return err
	}
	if name == keyPositions {
		if b.filePositions, err = ascending(name, ids); err != nil {
			return byteError(in.path, h.data, "%v", err)
		}
		return nil
	}
	if tokens := toInt32(ids); b.trace.Meta.Tokens == nil || slices.Equal(tokens, b.trace.Meta.Tokens) {
		b.trace.Meta.Tokens = tokens
		return nil
	}
	return byteError(in.path, h.data, "tokens and input_ids differ")
}

// placeNPY gives the arrays of an npz archive or a folder their positions.
func (b *builder) placeNPY() error {
	for _, t := range b.tensors {
		first := b.tensors[0]
		switch {
		case b.filePositions == nil && t.rows != first.rows:
			return byteError(t.in.path, t.at, "array %s has %d rows, %s has %d: which positions they are cannot be said in npy; write safetensors", quote(t.source), t.rows, quote(first.source), first.rows)
		case b.filePositions == nil:
			t.positions = b.count(t.rows)
		case len(b.filePositions) != t.rows:
			return byteError(t.in.path, t.at, "array %s has %d rows, positions has %d", quote(t.source), t.rows, len(b.filePositions))
		default:
			t.positions = b.filePositions
		}
	}
	return nil
}

// readNPYHeader reads the magic, the version and the header's dict.
func readNPYHeader(in *input, most int64) (*npyHeader, error) {
	var head [12]byte
	n := min(in.size, int64(len(head)))
	if err := in.readFull(head[:n], 0); err != nil {
		return nil, err
	}
	if n < 10 || string(head[:6]) != npyMagic {
		return nil, byteError(in.path, 0, "no npy file: it begins with %s", quote(head[:min(n, 8)]))
	}
	h := &npyHeader{}
	start, size := int64(10), int64(binary.LittleEndian.Uint16(head[8:]))
	switch major := head[6]; {
	case major == 2 || major == 3:
		start, size = 12, int64(binary.LittleEndian.Uint32(head[8:]))
	case major != 1:
		return nil, byteError(in.path, 6, "npy version %d.%d: want 1.0, 2.0 or 3.0", major, head[7])
	}
	if size > most {
		return nil, byteError(in.path, 8, "header of %d bytes is over the bound of %d", size, most)
	}
	if size > in.size-start {
		return nil, byteError(in.path, 8, "header of %d bytes does not fit a file of %d: it was cut", size, in.size)
	}
	text := make([]byte, size)
	if err := in.readFull(text, start); err != nil {
		return nil, err
	}
	h.data = start + size
	p := pyDict{c: cursor{b: text}}
	if f := p.header(h, start); f != nil {
		return nil, byteError(in.path, start+int64(f.at), "header: %s", f.msg)
	}
	return h, nil
}

// pyDict reads the dict literal that numpy.save writes.
type pyDict struct{ c cursor }

// header reads the three keys of the header; start is the text's offset.
func (p *pyDict) header(h *npyHeader, start int64) *fault {
	c := &p.c
	if f := c.expect('{', "'{'"); f != nil {
		return f
	}
	keys := []string{"descr", "fortran_order", "shape"}
	for c.peek() != '}' {
		key, f := p.str("a key")
		if f != nil {
			return f
		}
		i := slices.Index(keys, key)
		if i < 0 {
			return faultAt(c.i, "unknown key %s: want descr, fortran_order and shape", quote(key))
		}
		if h.at[i] != 0 {
			return faultAt(c.i, "key %s stands twice", key)
		}
		if f := c.expect(':', "':'"); f != nil {
			return f
		}
		c.space()
		h.at[i] = start + int64(c.i)
		switch i {
		case 0:
			h.descr, f = p.descr()
		case 1:
			h.fortran, f = p.boolean()
		case 2:
			h.shape, f = p.tuple()
		}
		if f != nil {
			return f
		}
		if c.peek() == ',' {
			c.i++
		} else if c.peek() != '}' {
			return c.unexpected("',' or '}'")
		}
	}
	c.i++
	for i, key := range keys {
		if h.at[i] == 0 {
			return faultAt(0, "no key %s", key)
		}
	}
	if c.peek(); c.i < len(c.b) {
		return c.unexpected("spaces up to the header's end")
	}
	return nil
}

// str reads a string in either quotes; NumPy writes no escapes in headers.
func (p *pyDict) str(want string) (string, *fault) {
	c := &p.c
	quoted := c.peek()
	if quoted != '\'' && quoted != '"' {
		return "", c.unexpected(want)
	}
	c.i++
	end := slices.Index(c.b[c.i:], quoted)
	if end < 0 {
		return "", faultAt(c.i, "string without an end")
	}
	s := string(c.b[c.i : c.i+end])
	c.i += end + 1
	return s, nil
}

// descr reads the dtype; a list describes a structured array.
func (p *pyDict) descr() (string, *fault) {
	if p.c.peek() == '[' {
		return "", faultAt(p.c.i, "structured array: save each field as an array of its own")
	}
	return p.str("the dtype as a string")
}

func (p *pyDict) boolean() (bool, *fault) {
	c := &p.c
	for _, word := range []string{"False", "True"} {
		if strings.HasPrefix(string(c.b[c.i:min(len(c.b), c.i+5)]), word) {
			c.i += len(word)
			return word == "True", nil
		}
	}
	return false, c.unexpected("True or False")
}

func (p *pyDict) tuple() ([]int64, *fault) {
	c := &p.c
	if f := c.expect('(', "the shape as a tuple"); f != nil {
		return nil, f
	}
	var shape []int64
	for c.peek() != ')' {
		at := c.i
		d, f := c.integer("a dimension")
		if f != nil {
			return nil, f
		}
		if d < 0 {
			return nil, faultAt(at, "dimension %d is negative", d)
		}
		shape = append(shape, d)
		if c.peek() == ',' {
			c.i++
		} else if c.peek() != ')' {
			return nil, c.unexpected("',' or ')'")
		}
	}
	c.i++
	if len(shape) == 0 {
		return nil, faultAt(c.i, "shape () is of a single value: want (positions, width)")
	}
	return shape, nil
}

// entryPath names an entry of an archive in messages.
func entryPath(archive, entry string) string { return fmt.Sprintf("%s!%s", archive, entry) }
