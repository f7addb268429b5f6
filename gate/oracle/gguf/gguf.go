// Package gguf reads and writes GGUF files, the weights format of llama.cpp.
//
// Files are not trusted: every count, length, offset and shape is held against
// the file's size before anything is allocated or read for it, and a fault is an
// *Error that says which byte is wrong. Tensor data stays in the file, mapped
// into memory where the system can, and is dequantised a few rows at a time to
// the float32 values that ggml's own dequantisation gives.
//
// The reader is the project's own. The maintained library for GGUF metadata,
// github.com/gpustack/gguf-parser-go, panics on overflow and on a key of another
// type, holds only the sum of all tensors against the file and none against
// another, reads no tensor data, and requires eleven modules, a JSON library and
// an HTTP logger among them.
package gguf

import (
	"fmt"
	"strings"
	"sync"
)

// Bounds on the directory. The largest published models hold a few thousand
// tensors and some dozen keys.
const (
	maxEntries   = 1 << 16 // tensors, and metadata keys
	maxDims      = 4
	maxName      = 64 // bytes of a tensor's name
	maxKey       = 1<<16 - 1
	maxAlignment = 1 << 24
)

const (
	magic            = "GGUF"
	keyArchitecture  = "general.architecture"
	keyAlignment     = "general.alignment"
	keySplitCount    = "split.count"
	defaultAlignment = 32
)

// File is an open GGUF file. Its methods may be called by many goroutines.
type File struct {
	path    string
	version uint32
	align   int64
	dataAt  int64 // where the tensor data begins, aligned

	entries []*entry
	keys    map[string]*entry
	tensors []*Tensor
	byName  map[string]*Tensor

	mu  sync.RWMutex // held for reading while src is in use, for writing by Close
	src source       // nil once closed
}

// Open opens the GGUF file at path, version 2 or 3 and little-endian, and reads
// its metadata and tensor directory. What is allocated is bounded by the file's
// size, whatever its header claims. A fault of the content is an *Error; what
// the operating system says (no such file) comes as it is. The file must not
// shrink while it is open: reading a lost part is then an error, too.
func Open(path string) (*File, error) {
	return open(path, true)
}

func open(path string, mmap bool) (*File, error) {
	src, err := openSource(path, mmap)
	if err != nil {
		return nil, err
	}
	f := &File{path: path, src: src, align: defaultAlignment, keys: map[string]*entry{}, byName: map[string]*Tensor{}}
	if err := f.guard(f.readHeader); err != nil {
		src.close()
		return nil, err
	}
	return f, nil
}

// Close releases the file. Tensors of a closed file cannot be read.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.src == nil {
		return nil
	}
	err := f.src.close()
	f.src = nil
	return err
}

// Path is the path that the file was opened by.
func (f *File) Path() string { return f.path }

// Version is the format's version, 2 or 3.
func (f *File) Version() int { return int(f.version) }

// Architecture is the value of general.architecture, "llama" for example.
func (f *File) Architecture() (string, error) { return f.String(keyArchitecture) }

// Tensors are all tensors in the order of the directory.
func (f *File) Tensors() []*Tensor { return append([]*Tensor(nil), f.tensors...) }

// HasTensor says whether the file holds a tensor of that name.
func (f *File) HasTensor(name string) bool { return f.byName[name] != nil }

// Tensor is the tensor of that name; an *Error names those nearby when there is none.
func (f *File) Tensor(name string) (*Tensor, error) {
	if t := f.byName[name]; t != nil {
		return t, nil
	}
	if n, err := f.Uint(keySplitCount, 1); err == nil && n > 1 {
		return nil, f.fileError("no tensor %s: this is one of %d parts of a split model, join them with llama-gguf-split --merge", quote(name), n)
	}
	return nil, f.fileError("no tensor %s%s", quote(name), f.nearby(name))
}

// nearby lists tensors that share the name's first parts, for messages.
func (f *File) nearby(name string) string {
	const most = 12
	parts := strings.SplitAfter(name, ".")
	for n := min(len(parts)-1, 2); n >= 0; n-- {
		prefix := strings.Join(parts[:n], "")
		var near []string
		more := 0
		for _, t := range f.tensors {
			switch {
			case !strings.HasPrefix(t.Name, prefix):
			case len(near) < most:
				near = append(near, quote(t.Name))
			default:
				more++
			}
		}
		if len(near) > 0 {
			list := strings.Join(near, ", ")
			if more > 0 {
				list += fmt.Sprintf(" and %d more", more)
			}
			return ": the file holds " + list
		}
	}
	return ": the file holds none"
}
