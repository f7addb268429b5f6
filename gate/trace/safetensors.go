package trace

import (
	"encoding/binary"
	"math"
	"slices"
	"sort"
)

// The safetensors format: an 8-byte little-endian size, a JSON header of that
// size, and the data, which the tensors of the header fill without overlap,
// hole or rest.

// stTypes are the safetensors dtypes and the bytes of a value.
var stTypes = map[string]int64{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
	"I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8, "C64": 8,
}

var floatTypes = map[string]DType{"F32": F32, "F16": F16, "BF16": BF16, "F64": F64}

const validDTypes = "F32, F16, BF16 or F64"

// stTensor is one entry of the header as it stands there.
type stTensor struct {
	name       string
	at         int64 // of its name in the file
	dtype      string
	shape      []int64
	begin, end int64 // in the data
}

// stHeader is the header of one file.
type stHeader struct {
	in      *input
	c       cursor
	data    int64 // offset of the data in the file
	meta    metaSet
	tensors []*stTensor
}

// fail turns a fault in the header's text into an error with the file's offset.
func (h *stHeader) fail(f *fault) error {
	if f.ended {
		return byteError(h.in.path, 8+int64(f.at), "header ends inside its JSON: %s", f.msg)
	}
	return byteError(h.in.path, 8+int64(f.at), "header: %s", f.msg)
}

// readSafetensors reads the header of one file.
func (b *builder) readSafetensors(in *input) error {
	h := &stHeader{in: in}
	if err := h.load(b.opt.MaxHeader); err != nil {
		return err
	}
	if err := h.parse(); err != nil {
		return err
	}
	if err := h.checkLayout(); err != nil {
		return err
	}
	var tensors []*tensor
	for _, s := range h.tensors {
		if slices.Contains(sideTensors, s.name) && (s.dtype == "I32" || s.dtype == "I64") {
			if err := b.tokensTensor(in, s, h.data, &h.meta); err != nil {
				return err
			}
			continue
		}
		dtype, ok := floatTypes[s.dtype]
		if !ok {
			return byteError(in.path, s.at, "tensor %s is %s: a checkpoint is %s (token ids: I32 or I64, named tokens or input_ids)", quote(s.name), s.dtype, validDTypes)
		}
		t := &tensor{source: s.name, in: in, offset: h.data + s.begin, at: s.at, dtype: dtype}
		if err := t.setShape(s.shape, b.opt); err != nil {
			return byteError(in.path, s.at, "%v", err)
		}
		tensors = append(tensors, t)
	}
	if err := b.place(in, &h.meta, tensors); err != nil {
		return err
	}
	if err := b.trace.Meta.agree(&h.meta.Meta); err != nil {
		return fileError(in.path, "%v", err)
	}
	b.tensors = append(b.tensors, tensors...)
	return nil
}

// load reads the header's bytes.
func (h *stHeader) load(most int64) error {
	path, size := h.in.path, h.in.size
	if size < 8 {
		return byteError(path, 0, "file of %d bytes: a safetensors file begins with the 8 bytes of its header's size", size)
	}
	var head [8]byte
	if err := h.in.readFull(head[:], 0); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint64(head[:])
	switch {
	case n > uint64(most):
		return byteError(path, 0, "header of %d bytes is over the bound of %d", n, most)
	case int64(n) > size-8:
		return byteError(path, 0, "header of %d bytes does not fit a file of %d: it was cut, or is no safetensors file", n, size)
	case n < 2:
		return byteError(path, 0, "header of %d bytes holds no JSON object", n)
	}
	h.c.b = make([]byte, n)
	h.data = 8 + int64(n)
	if err := h.in.readFull(h.c.b, 8); err != nil {
		return err
	}
	if h.c.b[0] != '{' {
		return byteError(path, 8, "header begins with %q, not with '{'", rune(h.c.b[0]))
	}
	if i := invalidUTF8(h.c.b); i >= 0 {
		return byteError(path, 8+int64(i), "header is not UTF-8")
	}
	return nil
}

// parse reads the header's JSON.
func (h *stHeader) parse() error {
	c := &h.c
	c.i = 1
	seen := map[string]bool{}
	for first := true; ; first = false {
		more, f := c.more(first, '}')
		if f != nil {
			return h.fail(f)
		}
		if !more {
			break
		}
		c.space()
		at := c.i
		key, f := c.str("a tensor's name")
		if f == nil {
			f = c.expect(':', "':'")
		}
		if f != nil {
			return h.fail(f)
		}
		name := string(key)
		if seen[name] {
			return byteError(h.in.path, 8+int64(at), "tensor %s stands twice in the header", quote(name))
		}
		seen[name] = true
		if name == "__metadata__" {
			f = h.parseMetadata()
		} else {
			f = h.parseTensor(&stTensor{name: name, at: 8 + int64(at)})
		}
		if f != nil {
			return h.fail(f)
		}
	}
	if c.peek(); c.i < len(c.b) {
		return h.fail(c.unexpected("spaces up to the header's end"))
	}
	return nil
}

func (h *stHeader) parseMetadata() *fault {
	c := &h.c
	if f := c.expect('{', "the metadata object"); f != nil {
		return f
	}
	for first := true; ; first = false {
		more, f := c.more(first, '}')
		if f != nil || !more {
			return f
		}
		c.space()
		at := c.i
		key, f := c.str("a metadata key")
		if f == nil {
			f = c.expect(':', "':'")
		}
		if f != nil {
			return f
		}
		if c.peek() != '"' {
			return faultAt(c.i, "metadata %s is not a string", quote(key))
		}
		value, f := c.str("a string")
		if f != nil {
			return f
		}
		if err := h.meta.set(string(key), string(value)); err != nil {
			return faultAt(at, "%v", err)
		}
	}
}

func (h *stHeader) parseTensor(t *stTensor) *fault {
	c := &h.c
	if f := c.expect('{', "the object of tensor "+quote(t.name)); f != nil {
		return f
	}
	var have [3]bool // dtype, shape, data_offsets
	for first := true; ; first = false {
		more, f := c.more(first, '}')
		if f != nil {
			return f
		}
		if !more {
			break
		}
		c.space()
		at := c.i
		key, f := c.str("a key")
		if f == nil {
			f = c.expect(':', "':'")
		}
		if f != nil {
			return f
		}
		i := slices.Index([]string{"dtype", "shape", "data_offsets"}, string(key))
		if i < 0 {
			return faultAt(at, "tensor %s has unknown key %s: want dtype, shape and data_offsets", quote(t.name), quote(key))
		}
		if have[i] {
			return faultAt(at, "tensor %s has %s twice", quote(t.name), key)
		}
		have[i] = true
		if f := h.tensorKey(t, i); f != nil {
			return f
		}
	}
	for i, key := range []string{"dtype", "shape", "data_offsets"} {
		if !have[i] {
			return faultAt(int(t.at-8), "tensor %s has no %s", quote(t.name), key)
		}
	}
	h.tensors = append(h.tensors, t)
	return nil
}

// tensorKey reads the value of dtype, shape or data_offsets.
func (h *stHeader) tensorKey(t *stTensor, key int) *fault {
	c := &h.c
	c.space()
	at := c.i
	switch key {
	case 0:
		s, f := c.str("the dtype as a string")
		if f != nil {
			return f
		}
		t.dtype = string(s)
		if stTypes[t.dtype] == 0 {
			return faultAt(at, "tensor %s has unknown dtype %s: a checkpoint is %s", quote(t.name), quote(s), validDTypes)
		}
	case 1:
		shape, f := c.integers("the shape", math.MaxInt64)
		if f != nil {
			return f
		}
		t.shape = shape
	case 2:
		o, f := c.integers("data_offsets", math.MaxInt64)
		if f != nil {
			return f
		}
		if len(o) != 2 {
			return faultAt(at, "tensor %s has %d data_offsets: want [begin, end]", quote(t.name), len(o))
		}
		if o[0] > o[1] {
			return faultAt(at, "tensor %s begins at %d, after its end %d", quote(t.name), o[0], o[1])
		}
		t.begin, t.end = o[0], o[1]
	}
	return nil
}

// checkLayout checks that the tensors fill the data exactly.
func (h *stHeader) checkLayout() error {
	path, size := h.in.path, h.in.size-h.data
	byBegin := slices.Clone(h.tensors)
	sort.SliceStable(byBegin, func(i, j int) bool {
		a, b := byBegin[i], byBegin[j]
		return a.begin < b.begin || a.begin == b.begin && a.end < b.end
	})
	var last *stTensor
	end := int64(0)
	for _, t := range byBegin {
		n, ok := elements(t.shape)
		unit := stTypes[t.dtype]
		switch {
		case !ok || n > math.MaxInt64/unit:
			return byteError(path, t.at, "tensor %s has shape %v: the product overflows", quote(t.name), t.shape)
		case n*unit != t.end-t.begin:
			return byteError(path, t.at, "tensor %s has shape %v of %s, %d bytes, and data_offsets for %d", quote(t.name), t.shape, t.dtype, n*unit, t.end-t.begin)
		case t.begin < end:
			return byteError(path, t.at, "tensor %s begins at byte %d of the data, inside tensor %s that ends at %d", quote(t.name), t.begin, quote(last.name), end)
		case t.begin > end:
			return byteError(path, t.at, "tensor %s begins at byte %d of the data: bytes %d to %d belong to no tensor", quote(t.name), t.begin, end, t.begin)
		case t.end > size:
			return byteError(path, t.at, "tensor %s ends at byte %d of the data, the file holds %d: it was cut", quote(t.name), t.end, size)
		}
		end, last = t.end, t
	}
	if end != size {
		return byteError(path, h.data+end, "%d bytes follow the last tensor", size-end)
	}
	return nil
}

// tokensTensor reads the prompt's tokens from an integer tensor.
func (b *builder) tokensTensor(in *input, t *stTensor, data int64, m *metaSet) error {
	dims := t.shape
	if len(dims) == 2 && dims[0] == 1 {
		dims = dims[1:]
	}
	if len(dims) != 1 || dims[0] == 0 || dims[0] > int64(b.opt.MaxRows) {
		return byteError(in.path, t.at, "tensor %s has shape %v: want [tokens] or [1, tokens], at most %d", quote(t.name), t.shape, b.opt.MaxRows)
	}
	ids, err := in.integers(data+t.begin, int(dims[0]), int(stTypes[t.dtype]), t.name)
	if err != nil {
		return err
	}
	return m.setTokens(in.path, t.at, toInt32(ids))
}

// setTokens takes tokens from a tensor; metadata must not say otherwise.
func (m *metaSet) setTokens(path string, at int64, ids []int32) error {
	if m.Tokens != nil && !slices.Equal(m.Tokens, ids) {
		return byteError(path, at, "tokens stand in the file twice and differ")
	}
	m.Tokens = ids
	return nil
}

// integers reads n little-endian integers of size bytes, between 0 and 2^31−1.
func (in *input) integers(offset int64, n, size int, what string) ([]int64, error) {
	buf := make([]byte, n*size)
	if err := in.readFull(buf, offset); err != nil {
		return nil, err
	}
	out := make([]int64, n)
	for i := range out {
		if size == 4 {
			out[i] = int64(int32(binary.LittleEndian.Uint32(buf[4*i:])))
		} else {
			out[i] = int64(binary.LittleEndian.Uint64(buf[8*i:]))
		}
		if out[i] < 0 || out[i] > math.MaxInt32 {
			return nil, byteError(in.path, offset+int64(i*size), "%d in %s is not between 0 and %d", out[i], what, math.MaxInt32)
		}
	}
	return out, nil
}
