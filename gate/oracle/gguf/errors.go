package gguf

import "fmt"

// Error is what is wrong with a GGUF file, and where.
type Error struct {
	Path string
	// Offset is the byte in the file at which the fault was found, −1 for a
	// fault of the file as a whole.
	Offset int64
	// Msg says what was found and what was expected.
	Msg string
}

// Error is "PATH: byte OFFSET: MSG", without the offset where there is none.
func (e *Error) Error() string {
	if e.Offset < 0 {
		return e.Path + ": " + e.Msg
	}
	return fmt.Sprintf("%s: byte %d: %s", e.Path, e.Offset, e.Msg)
}

func (f *File) fileError(format string, args ...any) error {
	return &Error{f.path, -1, fmt.Sprintf(format, args...)}
}

func (f *File) byteError(at int64, format string, args ...any) error {
	return &Error{f.path, at, fmt.Sprintf(format, args...)}
}

// quote shows untrusted text in a message: escaped and bounded.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
