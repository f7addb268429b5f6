package trace

import (
	"fmt"
	"strings"
)

// Error is what is wrong with a trace file, and where. Every fault of a file's
// content that this package reports is an *Error; failures of the operating
// system (a missing file, no permission) come as they are.
type Error struct {
	// Path is the file; for an entry of an npz archive "FILE!ENTRY".
	Path string
	// Offset is the byte offset in the file at which the fault was found, −1
	// where there is none (a fault of the file as a whole).
	Offset int64
	// Line and Column are 1-based and set for text formats; Column counts bytes.
	Line, Column int
	// Msg says what was found and what was expected.
	Msg string
}

// Error is "PATH:LINE:COLUMN: MSG" for text, "PATH: byte OFFSET: MSG" else.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Path)
	switch {
	case e.Line > 0 && e.Column > 0:
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	case e.Line > 0:
		fmt.Fprintf(&b, ":%d", e.Line)
	case e.Offset >= 0:
		fmt.Fprintf(&b, ": byte %d", e.Offset)
	}
	b.WriteString(": ")
	b.WriteString(e.Msg)
	return b.String()
}

// fileError is a fault of the file as a whole.
func fileError(path, format string, args ...any) *Error {
	return &Error{Path: path, Offset: -1, Msg: fmt.Sprintf(format, args...)}
}

// byteError is a fault at a byte offset.
func byteError(path string, offset int64, format string, args ...any) *Error {
	return &Error{Path: path, Offset: offset, Msg: fmt.Sprintf(format, args...)}
}

// fault is an error inside a buffer; the caller knows where the buffer lies.
type fault struct {
	at  int
	msg string
	// ended says that the buffer ended before the text did.
	ended bool
}

func faultAt(at int, format string, args ...any) *fault {
	return &fault{at: at, msg: fmt.Sprintf(format, args...)}
}

// quote shows untrusted text in a message: escaped and bounded.
func quote[T string | []byte](s T) string {
	const most = 60
	if len(s) > most {
		return fmt.Sprintf("%q…", string(s[:most]))
	}
	return fmt.Sprintf("%q", string(s))
}
