package trace

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Options say how to read a trace. The zero value is fine.
type Options struct {
	// Names are tried in order before the built-in maps; the first that matches
	// a checkpoint's name in the file renames it.
	Names []NameRule
	// MaxHeader bounds the bytes of a safetensors or npy header. Default 100 MB,
	// safetensors' own bound.
	MaxHeader int64
	// MaxWidth bounds the elements of a row. Default 2^24.
	MaxWidth int
	// MaxRows bounds the rows of a checkpoint. Default 2^24.
	MaxRows int
	// MaxInflated bounds the bytes that the deflated entries of an npz may
	// unpack to, together. Default 64 GiB.
	MaxInflated int64
	// MaxRatio bounds how many times larger than its deflated form an npz entry
	// of more than 1 MiB may be. Default 250.
	MaxRatio int64
}

func (o Options) withDefaults() Options {
	fill(&o.MaxHeader, 100_000_000)
	fill(&o.MaxWidth, 1<<24)
	fill(&o.MaxRows, 1<<24)
	fill(&o.MaxInflated, 64<<30)
	fill(&o.MaxRatio, 250)
	return o
}

func fill[T int | int64](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Open opens a trace for reading: a file in safetensors, orch JSONL, npy or npz
// (told by its content, not by its name), or a directory of such files, all of
// one format, taken in the order of their names.
//
// In a directory, a checkpoint that several safetensors or JSONL shards hold is
// joined along positions; each npy file is one checkpoint, named by the file.
// Only headers and an index are read; Close releases the files. A fault of the
// content is an *Error.
func Open(path string, opt Options) (*Trace, error) {
	opt = opt.withDefaults()
	paths, err := tracePaths(path)
	if err != nil {
		return nil, err
	}
	b := &builder{opt: opt, trace: &Trace{Path: path}}
	if err := b.open(paths); err != nil {
		b.trace.Close()
		return nil, err
	}
	return b.trace, nil
}

// tracePaths lists the files of a trace.
func tracePaths(path string) (paths []string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var suffix string
	for _, e := range entries { // ReadDir sorts by name
		name := e.Name()
		ext := filepath.Ext(name)
		if strings.HasPrefix(name, ".") || !slices.Contains([]string{".safetensors", ".jsonl", ".npy", ".npz"}, ext) {
			continue
		}
		if suffix != "" && ext != suffix {
			return nil, fileError(path, "folder holds %s and %s: a trace has one format", filepath.Base(paths[0]), name)
		}
		suffix = ext
		paths = append(paths, filepath.Join(path, name))
	}
	if len(paths) == 0 {
		return nil, fileError(path, "folder holds no *.safetensors, *.jsonl, *.npy or *.npz")
	}
	if suffix == ".npz" && len(paths) > 1 {
		return nil, fileError(path, "folder holds %d npz archives: a trace is one", len(paths))
	}
	return paths, nil
}

// input is one open file, or a part of one, that a trace is read from.
type input struct {
	path string
	r    io.ReaderAt
	size int64
}

func (b *builder) openInput(path string) (*input, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a FIFO would wait for a writer
		return nil, fileError(path, "not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b.trace.closers = append(b.trace.closers, f.Close)
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	return &input{path, f, info.Size()}, nil
}

// open reads the headers of all files into the trace.
func (b *builder) open(paths []string) error {
	for _, path := range paths {
		in, err := b.openInput(path)
		if err != nil {
			return err
		}
		if err := b.read(in); err != nil {
			return err
		}
	}
	return b.finish()
}

// read reads the headers of one file.
func (b *builder) read(in *input) error {
	format, err := detect(in)
	if err != nil {
		return err
	}
	if b.trace.Format != "" && format != b.trace.Format {
		return fileError(in.path, "content is %s, that of earlier files %s: a trace has one format", format, b.trace.Format)
	}
	b.trace.Format = format
	switch format {
	case Safetensors:
		return b.readSafetensors(in)
	case OrchJSONL:
		return b.indexJSONL(in)
	case NPY:
		return b.readNPY(in, strings.TrimSuffix(filepath.Base(in.path), ".npy"))
	}
	return b.readNPZ(in)
}

// detect tells the format by the first bytes. Where they fit none, the name
// only chooses which reader explains what is wrong.
func detect(in *input) (Format, error) {
	var head [64]byte
	n, err := in.r.ReadAt(head[:min(int64(len(head)), in.size)], 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	h := head[:n]
	switch {
	case len(h) == 0:
		return "", fileError(in.path, "file is empty")
	case bytes.HasPrefix(h, []byte(npyMagic)):
		return NPY, nil
	case bytes.HasPrefix(h, []byte("PK\x03\x04")), bytes.HasPrefix(h, []byte("PK\x05\x06")):
		return NPZ, nil
	case looksLikeJSON(h):
		return OrchJSONL, nil
	case len(h) > 8 && h[8] == '{' && binary.LittleEndian.Uint64(h) < 1<<40:
		return Safetensors, nil
	}
	switch filepath.Ext(in.path) {
	case ".safetensors":
		return Safetensors, nil
	case ".jsonl":
		return OrchJSONL, nil
	case ".npy":
		return NPY, nil
	case ".npz":
		return NPZ, nil
	}
	return "", byteError(in.path, 0, "format not recognised from %s: want safetensors, orch JSONL, npy or npz", quote(h[:min(len(h), 16)]))
}

// looksLikeJSON says whether the first thing in the file is a JSON object. The
// header size of a safetensors file may begin with '{', too, but zero bytes
// follow it there.
func looksLikeJSON(h []byte) bool {
	h = bytes.TrimPrefix(h, []byte(utf8BOM))
	h = bytes.TrimLeft(h, " \t\r\n")
	if len(h) == 0 {
		return true // nothing but blanks: no binary format begins so
	}
	if h[0] != '{' {
		return false
	}
	return len(h) == 1 || h[1] >= ' ' || strings.IndexByte("\t\r\n", h[1]) >= 0
}
