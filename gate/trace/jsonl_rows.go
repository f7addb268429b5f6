package trace

import (
	"encoding/binary"
	"math"
)

// rowBuffer is what a reader holds of a row's text at a time; it fits a core's
// second-level cache.
const rowBuffer = 128 << 10

// jsonlReader parses the values of rows on demand. Its buffer is made at the
// first read and serves all others.
type jsonlReader struct {
	c      *jsonlCheckpoint
	stored int
	buf    []byte
	wide   []byte // float32 values on their way to 16 bits
}

func (r *jsonlReader) ReadRows(first, n int, dst []byte) error {
	rowBytes := r.stored * r.c.dtype.Size()
	if err := checkRange(r.c.rows[0].in.path, first, n, len(r.c.rows), rowBytes, dst); err != nil {
		return err
	}
	for i := range n {
		if err := r.row(&r.c.rows[first+i], dst[i*rowBytes:(i+1)*rowBytes]); err != nil {
			return err
		}
	}
	return nil
}

// row parses the first values of one row into dst.
func (r *jsonlReader) row(row *jsonlRow, dst []byte) error {
	if r.buf == nil {
		longest := int64(0)
		for i := range r.c.rows {
			longest = max(longest, r.c.rows[i].length)
		}
		r.buf = make([]byte, min(rowBuffer, longest)+scanPad)
	}
	size := r.c.dtype.Size()
	text, read, have, next := r.buf[:len(r.buf)-scanPad], int64(0), 0, 0 // text[next:have] is not parsed
	for len(dst) > 0 {
		have = copy(text, text[next:have])
		next = 0
		part := min(int64(len(text)-have), row.length-read)
		if err := row.in.readFull(text[have:have+int(part)], row.offset+read); err != nil {
			return err
		}
		at := read - int64(have) // of text[0] in the values
		read += part
		have += int(part)
		// The last number gets the comma that the others have; a number that may
		// run beyond the buffer waits for more of it.
		limit := have - maxNumber - 8
		clear(r.buf[have : have+scanPad])
		if read == row.length {
			r.buf[have] = ','
			limit = have + 1
		}
		n, i, f := r.scan(r.buf[:have+scanPad], limit, dst)
		if f == nil && n == 0 {
			f = faultAt(0, "fewer values than commas: the file changed after it was opened")
		}
		if f != nil {
			return r.fail(row, at, f)
		}
		dst = dst[n*size:]
		next = min(i, have)
	}
	return nil
}

// fail turns a fault in the text into an error; at is where the text begins
// within the values.
func (r *jsonlReader) fail(row *jsonlRow, at int64, f *fault) error {
	at += int64(f.at)
	msg := f.msg
	if at >= row.length {
		msg = "comma before ']'"
	}
	return &Error{Path: row.in.path, Offset: row.offset + at, Line: row.line, Column: row.column + int(at), Msg: msg}
}

// scan parses numbers into dst in the checkpoint's dtype.
func (r *jsonlReader) scan(p []byte, limit int, dst []byte) (n, i int, f *fault) {
	switch r.c.dtype {
	case F32:
		return scanF32(p, 0, limit, dst)
	case F64:
		for len(dst) >= 8 && i < limit {
			v, end, f := slowNumber(p, i, 64)
			if f != nil {
				return n, i, f
			}
			binary.LittleEndian.PutUint64(dst, math.Float64bits(v))
			dst, i, n = dst[8:], end+1, n+1
		}
		return n, i, nil
	}
	if r.wide == nil {
		r.wide = make([]byte, 4096)
	}
	for len(dst) > 0 && i < limit && f == nil {
		var k, begin int
		begin = i
		k, i, f = scanF32(p, i, limit, r.wide[:min(len(r.wide), 2*len(dst))])
		if f == nil {
			f = r.narrow(dst, k, p, begin)
		}
		dst, n = dst[2*k:], n+k
	}
	return n, i, f
}

// narrow rounds k float32 values of wide, read from p[at:], to 16 bits. A finite
// value that its own dtype cannot hold is a fault.
func (r *jsonlReader) narrow(dst []byte, k int, p []byte, at int) *fault {
	for j := range k {
		v := math.Float32frombits(binary.LittleEndian.Uint32(r.wide[4*j:]))
		h, infinity := toF16(v), uint16(0x7c00)
		if r.c.dtype == BF16 {
			h, infinity = toBF16(v), 0x7f80
		}
		if h&0x7fff == infinity && !math.IsInf(float64(v), 0) {
			for range j {
				_, end, _ := slowNumber(p, at, 32)
				at = end + 1
			}
			return faultAt(at, "%g is beyond the range of %s", v, r.c.dtype)
		}
		binary.LittleEndian.PutUint16(dst[2*j:], h)
	}
	return nil
}
