package engine

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Output is the bounded record of one stream: its first and its last bytes.
type Output struct {
	Head, Tail []byte
	// Dropped is the number of bytes between them that were not kept.
	Dropped int64
}

// Len is the number of bytes that the program wrote.
func (o Output) Len() int64 { return int64(len(o.Head)) + o.Dropped + int64(len(o.Tail)) }

// String is the raw output; a line says how much was left out. Sanitize it
// before showing it.
func (o Output) String() string {
	if o.Dropped == 0 {
		return string(o.Head) + string(o.Tail)
	}
	return fmt.Sprintf("%s\n… %d bytes left out …\n%s", o.Head, o.Dropped, o.Tail)
}

// Last is the end of the output, at most n whole lines, sanitised, without a
// final newline.
func (o Output) Last(n int) string {
	s := strings.TrimRight(Sanitize(o.String()), "\n\t ")
	for i, seen := len(s)-1, 0; i >= 0; i-- {
		if s[i] == '\n' {
			if seen++; seen == n {
				return s[i+1:]
			}
		}
	}
	return s
}

// ends keeps the first and the last max/2 bytes of what is written to it, in
// memory that grows no further than max.
type ends struct {
	half       int
	head, tail []byte
	next       int // where the ring continues once tail is full
	dropped    int64
}

func newEnds(max int64) *ends {
	return &ends{half: int(min((max+1)/2, 1<<30))}
}

func (e *ends) Write(p []byte) (int, error) {
	n := len(p)
	if room := e.half - len(e.head); room > 0 {
		k := min(room, len(p))
		e.head = append(e.head, p[:k]...)
		p = p[k:]
	}
	if over := len(p) - e.half; over > 0 { // only its end can be kept
		e.dropped += int64(over)
		p = p[over:]
	}
	if room := e.half - len(e.tail); room > 0 {
		k := min(room, len(p))
		e.tail = append(e.tail, p[:k]...)
		p = p[k:]
	}
	e.dropped += int64(len(p))
	for len(p) > 0 {
		k := copy(e.tail[e.next:], p)
		e.next = (e.next + k) % e.half
		p = p[k:]
	}
	return n, nil
}

func (e *ends) output() Output {
	tail := make([]byte, 0, len(e.tail))
	tail = append(append(tail, e.tail[e.next:]...), e.tail[:e.next]...)
	return Output{Head: e.head, Tail: tail, Dropped: e.dropped}
}

// Sanitize makes an engine's output safe to show on a terminal, in a CI log or
// in a report. Terminal escape sequences are taken out; carriage returns and
// Unicode line separators become newlines; other control characters, invisible
// and direction-changing ones are written as escapes (\x07, \u202e); bytes that
// are not UTF-8 become U+FFFD; what a CI runner would read as a command
// ("::name::" at the start of a line, "##[name]") is broken up by a space.
// Sanitising twice changes nothing.
func Sanitize(s string) string {
	return neutralise(visible(stripEscapes(s)))
}

// visible writes the characters that do not show as ones that do.
func visible(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\r':
			if i+1 >= len(s) || s[i+1] != '\n' {
				b.WriteByte('\n')
			}
		case r == '\u2028' || r == '\u2029':
			b.WriteByte('\n')
		case r == '\n' || r == '\t':
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			if r > 0xffff {
				fmt.Fprintf(&b, `\U%08x`, r)
			} else {
				fmt.Fprintf(&b, `\u%04x`, r)
			}
		default:
			b.WriteRune(r) // RuneError writes U+FFFD
		}
		i += n
	}
	return b.String()
}

// stripEscapes takes out ECMA-48 sequences: CSI, the string kinds (OSC, DCS, SOS, PM,
// APC) up to their terminator, and short escapes.
func stripEscapes(s string) string {
	if strings.IndexByte(s, 0x1b) < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		if s[i] != 0x1b {
			b.WriteByte(s[i])
			i++
			continue
		}
		i += escapeLen(s[i:])
	}
	return b.String()
}

// escapeLen is the length of the sequence at the start of s, at least 1. A
// sequence ends at a newline at the latest: a broken one must not hide a line.
func escapeLen(s string) int {
	if len(s) < 2 {
		return len(s)
	}
	i := 2
	switch c := s[1]; {
	case c == '[':
		for i < len(s) && s[i] >= 0x20 && s[i] <= 0x3f {
			i++
		}
		if i < len(s) && s[i] >= 0x40 && s[i] <= 0x7e {
			i++
		}
	case strings.IndexByte("]PX^_", c) >= 0:
		for ; i < len(s) && s[i] != '\n'; i++ {
			if s[i] == 0x07 {
				return i + 1
			}
			if s[i] == 0x1b {
				if i+1 < len(s) && s[i+1] == '\\' {
					return i + 2
				}
				return i
			}
		}
	case c >= 0x20 && c <= 0x2f:
		for i < len(s) && s[i] >= 0x20 && s[i] <= 0x2f {
			i++
		}
		if i < len(s) && s[i] >= 0x30 && s[i] <= 0x7e {
			i++
		}
	case c >= 0x30 && c <= 0x7e:
	default:
		return 1 // a lone escape before a character that is its own
	}
	return i
}

// neutralise breaks what a CI runner would obey.
func neutralise(s string) string {
	s = strings.ReplaceAll(s, "##[", "## [")
	if !strings.Contains(s, "::") {
		return s
	}
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		t := strings.TrimLeftFunc(l, unicode.IsSpace)
		if strings.HasPrefix(t, "::") {
			lines[i] = l[:len(l)-len(t)] + ": " + t[1:]
		}
	}
	return strings.Join(lines, "\n")
}
