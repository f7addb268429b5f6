package gguf

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"
)

// source is the bytes of an open file.
type source interface {
	// view is bytes [off, off+n), which lie inside the file. buf may be used to
	// hold them; the result is good until the next view with the same buf.
	view(off, n int64, buf *[]byte) ([]byte, error)
	size() int64
	close() error
}

// openSource maps the file into memory, or reads it piece by piece where that
// is not asked for or not possible.
func openSource(path string, mmap bool) (source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a FIFO would wait for a writer
		return nil, &Error{path, -1, "not a regular file"}
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err = file.Stat(); err != nil {
		file.Close()
		return nil, err
	}
	if mmap && info.Size() > 0 && info.Size() <= math.MaxInt {
		if m, err := mapFile(file, int(info.Size())); err == nil {
			file.Close()
			return m, nil
		}
	}
	return &fileSource{file, info.Size()}, nil
}

// fileSource reads with pread.
type fileSource struct {
	file *os.File
	n    int64
}

func (s *fileSource) size() int64  { return s.n }
func (s *fileSource) close() error { return s.file.Close() }

func (s *fileSource) view(off, n int64, buf *[]byte) ([]byte, error) {
	if n > math.MaxInt {
		return nil, fmt.Errorf("%d bytes are more than this machine addresses", n)
	}
	if int64(cap(*buf)) < n {
		*buf = make([]byte, n)
	}
	b := (*buf)[:n]
	got, err := s.file.ReadAt(b, off)
	if int64(got) == n {
		return b, nil
	}
	if err == io.EOF {
		return nil, errShrunk
	}
	return nil, err
}

var errShrunk = fmt.Errorf("the file became shorter while it was open")

// guard runs read and turns the memory fault of a mapped file that another
// program made shorter, which would end the process, into an error.
func (f *File) guard(read func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		r := recover()
		if r == nil {
			return
		}
		fault, ok := r.(interface{ Addr() uintptr })
		m, mapped := f.src.(interface{ offset(uintptr) int64 })
		if ok && mapped {
			if at := m.offset(fault.Addr()); at >= 0 {
				err = f.byteError(at, "cannot be read: %v", errShrunk)
				return
			}
		}
		panic(r)
	}()
	return read()
}
