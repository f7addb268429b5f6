package trace

import (
	"archive/zip"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// ratioFree is the size up to which an entry may unpack to any multiple.
const ratioFree = 1 << 20

// readNPZ reads the entries of an npz archive: stored ones where they lie,
// deflated ones through a temporary file without a name. Only the last part of
// an entry's name counts. Checksums of stored entries are not verified, since
// that would read all values; those of deflated ones are.
func (b *builder) readNPZ(in *input) error {
	z, err := zip.NewReader(in.r, in.size)
	if err != nil {
		return fileError(in.path, "no readable npz archive: %v", err)
	}
	seen := map[string]bool{}
	inflated := int64(0)
	for _, f := range z.File {
		name := path.Base(strings.ReplaceAll(f.Name, `\`, "/"))
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		entry := &input{path: entryPath(in.path, name)}
		source, ok := strings.CutSuffix(name, ".npy")
		if !ok {
			return fileError(entry.path, "entry is no .npy")
		}
		if seen[source] {
			return fileError(entry.path, "entry stands twice")
		}
		seen[source] = true
		if err := b.openEntry(in, f, entry, &inflated); err != nil {
			return err
		}
		if err := b.readNPY(entry, source); err != nil {
			return err
		}
	}
	return nil
}

// openEntry makes one entry readable at any offset.
func (b *builder) openEntry(in *input, f *zip.File, entry *input, inflated *int64) error {
	size := f.UncompressedSize64
	switch {
	case f.Flags&1 != 0:
		return fileError(entry.path, "entry is encrypted")
	case f.CompressedSize64 > uint64(in.size):
		return fileError(entry.path, "entry of %d packed bytes in a file of %d", f.CompressedSize64, in.size)
	case f.Method == zip.Store:
		offset, err := f.DataOffset()
		if err != nil {
			return fileError(entry.path, "%v", err)
		}
		if size != f.CompressedSize64 || offset > in.size || size > uint64(in.size-offset) {
			return byteError(entry.path, offset, "stored entry of %d bytes, %d of them packed, in a file of %d", size, f.CompressedSize64, in.size)
		}
		entry.r, entry.size = io.NewSectionReader(in.r, offset, int64(size)), int64(size)
		return nil
	case f.Method != zip.Deflate:
		return fileError(entry.path, "compression method %d: want stored or deflated", f.Method)
	case size > ratioFree && size/uint64(b.opt.MaxRatio) >= max(f.CompressedSize64, 1):
		return fileError(entry.path, "%d bytes unpack to %d: more than the bound of %d times", f.CompressedSize64, size, b.opt.MaxRatio)
	case size > uint64(b.opt.MaxInflated-*inflated):
		return fileError(entry.path, "entries unpack to more than the bound of %d bytes", b.opt.MaxInflated)
	}
	*inflated += int64(size)
	return b.inflate(f, entry, int64(size))
}

// inflate unpacks an entry to an unlinked temporary file. The archive's word on
// the size is not trusted: no more than that is written.
func (b *builder) inflate(f *zip.File, entry *input, size int64) error {
	r, err := f.Open()
	if err != nil {
		return fileError(entry.path, "%v", err)
	}
	defer r.Close()
	temp, err := os.CreateTemp("", "paritygate-npz-*")
	if err != nil {
		return err
	}
	b.trace.closers = append(b.trace.closers, temp.Close)
	if err := os.Remove(temp.Name()); err != nil {
		return err
	}
	n, err := io.Copy(temp, io.LimitReader(r, size+1))
	if err == nil && n != size {
		err = fmt.Errorf("entry unpacks to other than the %d bytes that it says", size)
	}
	if err != nil {
		return fileError(entry.path, "cannot unpack: %v", err)
	}
	entry.r, entry.size = temp, size
	return nil
}
