package trace

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// cursor is a strict JSON reader that knows its offset. It reads the header of
// a safetensors file and the keys of a JSONL line; encoding/json can do
// neither: it drops duplicate keys and repairs invalid UTF-8 in silence.
type cursor struct {
	b []byte
	i int
	// line makes a newline end the text instead of being white space.
	line bool
}

// maxDepth bounds the nesting of skipped values.
const maxDepth = 64

func (c *cursor) space() {
	for c.i < len(c.b) {
		switch c.b[c.i] {
		case ' ', '\t', '\r':
		case '\n':
			if c.line {
				return
			}
		default:
			return
		}
		c.i++
	}
}

// unexpected describes what stands at the cursor.
func (c *cursor) unexpected(want string) *fault {
	if c.i >= len(c.b) {
		return &fault{at: c.i, msg: "text ends where " + want + " was expected", ended: true}
	}
	if c.b[c.i] == '\n' {
		return faultAt(c.i, "line ends where %s was expected", want)
	}
	return faultAt(c.i, "found %q, expected %s", rune(c.b[c.i]), want)
}

// peek returns the next byte after white space, 0 at the end.
func (c *cursor) peek() byte {
	c.space()
	if c.i < len(c.b) {
		return c.b[c.i]
	}
	return 0
}

// expect consumes white space and the byte.
func (c *cursor) expect(b byte, want string) *fault {
	if c.peek() != b || c.i >= len(c.b) {
		return c.unexpected(want)
	}
	c.i++
	return nil
}

// more steps over the separator in an object or an array: true when another
// member follows, false when close ended it. first says that none was read yet.
func (c *cursor) more(first bool, close byte) (bool, *fault) {
	b := c.peek()
	switch {
	case b == close && c.i < len(c.b):
		c.i++
		return false, nil
	case first:
		return true, nil
	case b == ',':
		c.i++
		if c.peek() == close {
			return false, faultAt(c.i, "comma before %q", rune(close))
		}
		return true, nil
	}
	return false, c.unexpected("',' or '" + string(rune(close)) + "'")
}

// str reads a string; the result aliases the buffer when nothing is escaped.
func (c *cursor) str(want string) ([]byte, *fault) {
	if f := c.expect('"', want); f != nil {
		return nil, f
	}
	start := c.i
	for ; c.i < len(c.b); c.i++ {
		switch b := c.b[c.i]; {
		case b == '"':
			s := c.b[start:c.i]
			if !utf8.Valid(s) {
				return nil, faultAt(start+invalidUTF8(s), "invalid UTF-8 in a string")
			}
			c.i++
			return s, nil
		case b == '\\':
			return c.escaped(start)
		case b < 0x20:
			return nil, faultAt(c.i, "control character %#02x in a string", b)
		}
	}
	return nil, &fault{at: c.i, msg: "text ends inside a string", ended: true}
}

// escaped reads on from the first backslash of a string that began at start.
func (c *cursor) escaped(start int) ([]byte, *fault) {
	out := append([]byte(nil), c.b[start:c.i]...)
	for c.i < len(c.b) {
		b := c.b[c.i]
		switch {
		case b == '"':
			if !utf8.Valid(out) {
				return nil, faultAt(start, "invalid UTF-8 in a string")
			}
			c.i++
			return out, nil
		case b < 0x20:
			return nil, faultAt(c.i, "control character %#02x in a string", b)
		case b != '\\':
			out = append(out, b)
			c.i++
		default:
			var f *fault
			if out, f = c.escape(out); f != nil {
				return nil, f
			}
		}
	}
	return nil, &fault{at: c.i, msg: "text ends inside a string", ended: true}
}

// escape reads one escape sequence and appends what it means.
func (c *cursor) escape(out []byte) ([]byte, *fault) {
	if c.i+1 >= len(c.b) {
		return nil, &fault{at: c.i, msg: "text ends inside a string", ended: true}
	}
	at := c.i
	b := c.b[c.i+1]
	c.i += 2
	switch b {
	case '"', '\\', '/':
		return append(out, b), nil
	case 'b':
		return append(out, '\b'), nil
	case 'f':
		return append(out, '\f'), nil
	case 'n':
		return append(out, '\n'), nil
	case 'r':
		return append(out, '\r'), nil
	case 't':
		return append(out, '\t'), nil
	case 'u':
		r, ok := c.hex4()
		if ok && utf16.IsSurrogate(r) {
			ok = c.i+1 < len(c.b) && c.b[c.i] == '\\' && c.b[c.i+1] == 'u'
			if ok {
				c.i += 2
				var low rune
				low, ok = c.hex4()
				r = utf16.DecodeRune(r, low)
				ok = ok && r != utf8.RuneError
			}
		}
		if ok {
			return utf8.AppendRune(out, r), nil
		}
	}
	return nil, faultAt(at, "invalid escape in a string")
}

func (c *cursor) hex4() (rune, bool) {
	if c.i+4 > len(c.b) {
		return 0, false
	}
	v, err := strconv.ParseUint(string(c.b[c.i:c.i+4]), 16, 16)
	if err != nil {
		return 0, false
	}
	c.i += 4
	return rune(v), true
}

// integer reads an integer; fractions and exponents are refused.
func (c *cursor) integer(want string) (int64, *fault) {
	c.space()
	start := c.i
	end, f := c.number(want)
	if f != nil {
		return 0, f
	}
	v, err := strconv.ParseInt(string(c.b[start:end]), 10, 64)
	if err != nil {
		return 0, faultAt(start, "%s is not %s of 64 bits", quote(c.b[start:end]), want)
	}
	return v, nil
}

// number steps over a JSON number and returns its end.
func (c *cursor) number(want string) (int, *fault) {
	c.space()
	start := c.i
	if c.i < len(c.b) && c.b[c.i] == '-' {
		c.i++
	}
	digits := c.i
	c.digits()
	if c.i == digits {
		c.i = start
		return 0, c.unexpected(want)
	}
	if c.b[digits] == '0' && c.i > digits+1 {
		return 0, faultAt(digits, "number with a leading zero")
	}
	if c.i < len(c.b) && c.b[c.i] == '.' {
		c.i++
		if !c.digits() {
			return 0, c.unexpected("a digit")
		}
	}
	if c.i < len(c.b) && c.b[c.i]|0x20 == 'e' {
		c.i++
		if c.i < len(c.b) && (c.b[c.i] == '-' || c.b[c.i] == '+') {
			c.i++
		}
		if !c.digits() {
			return 0, c.unexpected("a digit")
		}
	}
	return c.i, nil
}

func (c *cursor) digits() bool {
	start := c.i
	for c.i < len(c.b) && c.b[c.i]-'0' < 10 {
		c.i++
	}
	return c.i > start
}

// skip steps over any value; Python's NaN and Infinity pass.
func (c *cursor) skip(depth int) *fault {
	if depth > maxDepth {
		return faultAt(c.i, "values nested deeper than %d", maxDepth)
	}
	switch b := c.peek(); b {
	case '"':
		_, f := c.str("a string")
		return f
	case '{', '[':
		c.i++
		return c.skipMembers(b, depth)
	}
	for _, word := range []string{"true", "false", "null", "NaN", "Infinity", "-Infinity"} {
		if len(c.b)-c.i >= len(word) && string(c.b[c.i:c.i+len(word)]) == word {
			c.i += len(word)
			return nil
		}
	}
	_, f := c.number("a value")
	return f
}

func (c *cursor) skipMembers(open byte, depth int) *fault {
	for first := true; ; first = false {
		more, f := c.more(first, open+2) // '{'+2 is '}', '['+2 is ']'
		if f != nil || !more {
			return f
		}
		if open == '{' {
			if _, f := c.str("a key"); f != nil {
				return f
			}
			if f := c.expect(':', "':'"); f != nil {
				return f
			}
		}
		if f := c.skip(depth + 1); f != nil {
			return f
		}
	}
}

// integers reads an array of integers in [0, most].
func (c *cursor) integers(what string, most int64) ([]int64, *fault) {
	if f := c.expect('[', "an array of integers"); f != nil {
		return nil, f
	}
	var out []int64
	for first := true; ; first = false {
		more, f := c.more(first, ']')
		if f != nil || !more {
			return out, f
		}
		c.space()
		at := c.i
		v, f := c.integer("an integer")
		if f != nil {
			return nil, f
		}
		if v < 0 || v > most {
			return nil, faultAt(at, "%d in %s is not between 0 and %d", v, what, most)
		}
		out = append(out, v)
	}
}

// invalidUTF8 is the offset of the first byte that is not UTF-8, −1 for none.
func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}
