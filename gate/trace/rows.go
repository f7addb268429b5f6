package trace

import (
	"io"
)

// fileRows reads rows that lie packed in a file. It has no state.
type fileRows struct {
	in       *input
	offset   int64
	rowBytes int
	rows     int
}

func (t *tensor) reader() *fileRows {
	return &fileRows{t.in, t.offset, t.width * t.dtype.Size(), t.rows}
}

func (r *fileRows) ReadRows(first, n int, dst []byte) error {
	if err := checkRange(r.in.path, first, n, r.rows, r.rowBytes, dst); err != nil {
		return err
	}
	return r.in.readFull(dst, r.offset+int64(first)*int64(r.rowBytes))
}

// readFull reads exactly dst.
func (in *input) readFull(dst []byte, offset int64) error {
	n, err := in.r.ReadAt(dst, offset)
	if n == len(dst) {
		return nil
	}
	if err == io.EOF || err == nil {
		return byteError(in.path, offset+int64(n), "file ended: it was cut after it was opened")
	}
	return err
}

// checkRange checks the arguments of ReadRows.
func checkRange(path string, first, n, rows, rowBytes int, dst []byte) error {
	if first < 0 || n < 0 || first > rows || n > rows-first {
		return fileError(path, "rows %d to %d asked of a checkpoint of %d", first, first+n, rows)
	}
	if len(dst) != n*rowBytes {
		return fileError(path, "buffer of %d bytes for %d rows of %d bytes", len(dst), n, rowBytes)
	}
	return nil
}

// shardRow says where the row of a position lies.
type shardRow struct{ position, shard, row int }

// joinedRows reads the rows of a checkpoint that lies in several files.
type joinedRows struct {
	readers  []*fileRows
	at       []shardRow // by position
	rowBytes int
}

func (r *joinedRows) ReadRows(first, n int, dst []byte) error {
	if err := checkRange(r.readers[0].in.path, first, n, len(r.at), r.rowBytes, dst); err != nil {
		return err
	}
	for n > 0 {
		// One read covers the rows that follow each other in one shard.
		a, run := r.at[first], 1
		for run < n && r.at[first+run].shard == a.shard && r.at[first+run].row == a.row+run {
			run++
		}
		if err := r.readers[a.shard].ReadRows(a.row, run, dst[:run*r.rowBytes]); err != nil {
			return err
		}
		dst = dst[run*r.rowBytes:]
		first, n = first+run, n-run
	}
	return nil
}
