//go:build unix

package gguf

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapping is a whole file mapped read-only.
type mapping []byte

func mapFile(f *os.File, size int) (source, error) {
	b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return mapping(b), nil
}

func (m mapping) size() int64  { return int64(len(m)) }
func (m mapping) close() error { return unix.Munmap(m) }

func (m mapping) view(off, n int64, _ *[]byte) ([]byte, error) {
	return m[off : off+n : off+n], nil
}

// offset is where in the file an address lies, −1 for outside.
func (m mapping) offset(addr uintptr) int64 {
	base := uintptr(unsafe.Pointer(unsafe.SliceData(m)))
	if addr < base || addr-base >= uintptr(len(m)) {
		return -1
	}
	return int64(addr - base)
}
