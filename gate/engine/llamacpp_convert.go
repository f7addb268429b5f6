package engine

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"

	"github.com/paritygate/paritygate/gate/trace"
)

// rawRow says where the values of one position lie.
type rawRow struct {
	position int
	at       int64
}

// rawCheckpoint is one checkpoint with all of its rows.
type rawCheckpoint struct {
	name  string
	width int64
	rows  []rawRow // ascending positions
}

// checkpoints gathers the rows of the first n positions from the pieces.
// Several tensors of a piece may carry the embedding's names: the last one is
// what enters layer 0.
func checkpoints(evals []*rawEval, n int) ([]*rawCheckpoint, error) {
	var list []*rawCheckpoint
	byName := map[string]*rawCheckpoint{}
	base := 0
	for _, e := range evals {
		for i, t := range e.tensors {
			later := func(u rawTensor) bool { return u.name == t.name }
			if slices.ContainsFunc(e.tensors[i+1:], later) {
				continue
			}
			c := byName[t.name]
			if c == nil {
				c = &rawCheckpoint{name: t.name, width: t.width}
				byName[t.name] = c
				list = append(list, c)
			}
			if err := c.add(e, t, base, n); err != nil {
				return nil, err
			}
		}
		base += len(e.tokens)
	}
	list = slices.DeleteFunc(list, func(c *rawCheckpoint) bool { return len(c.rows) == 0 })
	sort.SliceStable(list, func(i, j int) bool { return trace.Less(list[i].name, list[j].name) })
	return list, nil
}

// add appends the rows that a piece has of the checkpoint: one for each of its
// tokens, or one for each token that has an output.
func (c *rawCheckpoint) add(e *rawEval, t rawTensor, base, n int) error {
	if t.width != c.width {
		return fmt.Errorf("%s is %d wide after %d before", t.name, t.width, c.width)
	}
	if t.element != 4 {
		return fmt.Errorf("%s has values of %d bytes: preloading reads f32 only, use mode probe", t.name, t.element)
	}
	index := func(r int) int { return r }
	if int(t.rows) != len(e.tokens) {
		if int(t.rows) != len(e.outputs) {
			return fmt.Errorf("%s has %d rows, but the graph gathered %d tokens and %d outputs: which rows they are is not known", t.name, t.rows, len(e.tokens), len(e.outputs))
		}
		index = func(r int) int { return int(e.outputs[r]) }
	}
	for r := range int(t.rows) {
		i := index(r)
		if i < 0 || i >= len(e.tokens) {
			return fmt.Errorf("%s: row %d is of token %d of %d", t.name, r, i, len(e.tokens))
		}
		p := base + i
		if k := len(c.rows); k > 0 && c.rows[k-1].position >= p {
			return fmt.Errorf("%s: the rows are in another order than the tokens", t.name)
		}
		if p < n {
			c.rows = append(c.rows, rawRow{p, t.at + int64(r)*t.width*4})
		}
	}
	return nil
}

// writeRaw writes the checkpoints as a trace, reading the raw file as it goes:
// a folder with one shard for each set of positions, since most programs ask
// for the outputs of the last token only.
func writeRaw(run *rawRun, list []*rawCheckpoint, meta trace.Meta, dir string) error {
	f, err := os.Open(run.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for shard := 0; len(list) > 0; shard++ {
		var same, rest []*rawCheckpoint
		for _, c := range list {
			if slices.EqualFunc(c.rows, list[0].rows, func(a, b rawRow) bool { return a.position == b.position }) {
				same = append(same, c)
			} else {
				rest = append(rest, c)
			}
		}
		if err := writeShard(f, same, meta, filepath.Join(dir, fmt.Sprintf("%d.safetensors", shard))); err != nil {
			return err
		}
		list = rest
	}
	return nil
}

// writeShard writes checkpoints that have the same positions.
func writeShard(f io.ReaderAt, list []*rawCheckpoint, meta trace.Meta, path string) error {
	rows := list[0].rows
	if rows[len(rows)-1].position != len(rows)-1 {
		for _, r := range rows {
			meta.Positions = append(meta.Positions, r.position)
		}
	}
	var specs []trace.TensorSpec
	for _, c := range list {
		specs = append(specs, trace.TensorSpec{Name: c.name, DType: trace.F32, Rows: len(c.rows), Width: int(c.width)})
	}
	w, err := trace.Create(path, meta, specs)
	if err != nil {
		return err
	}
	for _, c := range list {
		if err := copyRows(w, f, c); err != nil {
			w.Abort()
			return err
		}
	}
	return w.Close()
}

// copyRows copies the rows in blocks: rows that lie together are read at once.
func copyRows(w *trace.Writer, f io.ReaderAt, c *rawCheckpoint) error {
	rowBytes := c.width * 4
	block := max(1, (1<<20)/rowBytes)
	buf := make([]byte, block*rowBytes)
	for i := 0; i < len(c.rows); {
		n := 1
		for i+n < len(c.rows) && int64(n) < block && c.rows[i+n].at == c.rows[i].at+int64(n)*rowBytes {
			n++
		}
		part := buf[:int64(n)*rowBytes]
		if _, err := f.ReadAt(part, c.rows[i].at); err != nil {
			return err
		}
		if err := w.Append(c.name, part); err != nil {
			return err
		}
		i += n
	}
	return nil
}
