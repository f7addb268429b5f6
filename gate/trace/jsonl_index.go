package trace

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
)

const (
	utf8BOM = "\ufeff"
	// indexBuffer is what the index pass holds of a file at a time.
	indexBuffer = 256 << 10
	// maxKeys bounds the bytes of a line outside of its values.
	maxKeys = 64 << 10
)

func itoa(i int) string { return strconv.Itoa(i) }

// lineScanner walks a JSONL file line by line in a bounded buffer. Of the
// values it looks at brackets, newlines and commas only.
type lineScanner struct {
	in         *input
	opt        Options
	buf        []byte
	start, end int   // unread part of buf
	base       int64 // offset of buf[0] in the file
	line       int
	lineStart  int64 // offset of the line
	rows       bool  // a row was read
}

func newLineScanner(in *input, opt Options) *lineScanner {
	return &lineScanner{in: in, opt: opt, buf: make([]byte, min(indexBuffer, in.size))}
}

// here is the offset of the unread part.
func (s *lineScanner) here() int64 { return s.base + int64(s.start) }

// eof says whether the buffer reaches to the end of the file.
func (s *lineScanner) eof() bool { return s.base+int64(s.end) >= s.in.size }

// fill has at least n unread bytes in the buffer, or all that is left.
func (s *lineScanner) fill(n int) error {
	if s.end-s.start >= n || s.eof() {
		return nil
	}
	copy(s.buf, s.buf[s.start:s.end])
	s.base += int64(s.start)
	s.start, s.end = 0, s.end-s.start
	want := min(int64(len(s.buf)-s.end), s.in.size-s.base-int64(s.end))
	if err := s.in.readFull(s.buf[s.end:s.end+int(want)], s.base+int64(s.end)); err != nil {
		return err
	}
	s.end += int(want)
	return nil
}

// errorAt is a fault at a column of the current line; column 0 is its begin.
func (s *lineScanner) errorAt(column int, format string, args ...any) error {
	column = max(column, 1)
	return &Error{Path: s.in.path, Offset: s.lineStart + int64(column-1), Line: s.line, Column: column, Msg: fmt.Sprintf(format, args...)}
}

// fail turns a fault relative to the unread part into an error.
func (s *lineScanner) fail(f *fault) error {
	column := int(s.here()+int64(f.at)-s.lineStart) + 1
	if f.ended && s.start+f.at >= s.end {
		if s.eof() {
			return s.errorAt(column, "file ends inside this line: its last row was written half (%s)", f.msg)
		}
		return s.errorAt(column, "line has more than %d bytes outside of its values", maxKeys)
	}
	if f.ended {
		return s.errorAt(column, "line has more than %d bytes outside of its values", maxKeys)
	}
	return s.errorAt(column, "%s", f.msg)
}

// next reads one line that is not blank, nil at the end of the file.
func (s *lineScanner) next() (*jsonlLine, error) {
	for fresh := true; ; {
		if err := s.fill(maxKeys); err != nil {
			return nil, err
		}
		if s.here() == 0 && bytes.HasPrefix(s.buf[:s.end], []byte(utf8BOM)) {
			s.start = len(utf8BOM)
		}
		if fresh {
			s.line++
			s.lineStart = s.here()
		}
		c := cursor{b: s.buf[s.start:s.end], line: true}
		c.space()
		s.start += c.i
		if s.start == s.end {
			if s.eof() {
				return nil, nil
			}
			fresh = false // blanks outgrow the buffer: go on in the same line
			continue
		}
		if fresh = s.buf[s.start] == '\n'; fresh {
			s.start++
			continue
		}
		return s.object()
	}
}

// window is the unread part that the keys of a line may take.
func (s *lineScanner) window() (*cursor, error) {
	if err := s.fill(maxKeys); err != nil {
		return nil, err
	}
	return &cursor{b: s.buf[s.start:min(s.end, s.start+maxKeys)], line: true}, nil
}

// object reads the object of a line and the line's end.
func (s *lineScanner) object() (*jsonlLine, error) {
	l := &jsonlLine{dtype: F32, width: -1}
	c, err := s.window()
	if err != nil {
		return nil, err
	}
	if f := c.expect('{', "a JSON object"); f != nil {
		return nil, s.fail(f)
	}
	for first := true; ; first = false {
		more, f := c.more(first, '}')
		if f != nil {
			return nil, s.fail(f)
		}
		if !more {
			break
		}
		key, f := s.key(c, l)
		if f != nil {
			return nil, s.fail(f)
		}
		switch {
		case key < 0:
			f = c.skip(0)
		case key == jsonValues:
			if f = c.expect('[', "the array of values"); f == nil {
				s.start += c.i
				if err := s.values(l); err != nil {
					return nil, err
				}
				if c, err = s.window(); err != nil {
					return nil, err
				}
			}
		default:
			f = l.parseKey(c, key)
		}
		if f != nil {
			return nil, s.fail(f)
		}
	}
	if b := c.peek(); b == '\n' {
		c.i++
	} else if c.i < len(c.b) {
		return nil, s.fail(c.unexpected("the end of the line"))
	}
	s.start += c.i
	return l, s.checkMetadata(l)
}

// key reads a key and its colon; −1 is a key that means nothing here.
func (s *lineScanner) key(c *cursor, l *jsonlLine) (int, *fault) {
	c.space()
	at := c.i
	name, f := c.str("a key")
	if f == nil {
		f = c.expect(':', "':'")
	}
	if f != nil {
		return 0, f
	}
	key := slices.Index(jsonlKeys[:], string(name))
	if key < 0 {
		return key, nil
	}
	if l.has(key) {
		return 0, faultAt(at, "key %q stands twice", name)
	}
	l.keys |= 1 << key
	l.columns[key] = int(s.here()+int64(at)-s.lineStart) + 1
	return key, nil
}

// checkMetadata holds a metadata line to its place.
func (s *lineScanner) checkMetadata(l *jsonlLine) error {
	if l.metadata == nil {
		s.rows = true
		return nil
	}
	switch {
	case s.rows:
		return s.errorAt(l.columns[jsonMetadata], "metadata after a row: it is the first line")
	case l.keys != 1<<jsonMetadata:
		return s.errorAt(l.columns[jsonMetadata], "metadata beside the keys of a row: it is a line of its own")
	}
	s.rows = true // a second metadata line is refused as one after a row is
	return nil
}

// values steps over the values up to and with their closing bracket.
func (s *lineScanner) values(l *jsonlLine) error {
	l.in, l.line = s.in, s.line
	l.offset = s.here()
	l.column = int(l.offset-s.lineStart) + 1
	commas, blank := 0, true
	for {
		part := s.buf[s.start:s.end]
		closed := bytes.IndexByte(part, ']')
		if closed >= 0 {
			part = part[:closed]
		}
		if nl := bytes.IndexByte(part, '\n'); nl >= 0 {
			return s.fail(faultAt(nl, "line ends inside its values"))
		}
		commas += bytes.Count(part, []byte{','})
		blank = blank && len(bytes.TrimLeft(part, " \t\r")) == 0
		s.start += len(part)
		if closed >= 0 {
			s.start++
			break
		}
		if s.eof() {
			return s.fail(&fault{at: 0, msg: "inside its values", ended: true})
		}
		if err := s.fill(len(s.buf)); err != nil {
			return err
		}
	}
	if blank {
		return s.errorAt(l.column, "row has no values")
	}
	l.length = s.here() - 1 - l.offset
	l.count = commas + 1
	return nil
}
