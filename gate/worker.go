package gate

import (
	"context"
	"fmt"

	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/trace"
)

// worker owns the buffers with which one goroutine walks chunks of a group.
type worker struct {
	m       *measurer
	g       *group
	kernel  *metric.Kernel
	logits  *metric.LogitsKernel
	partial metric.Partial
	rows    []metric.LogitsRow
	readers []readers
	before  readers // of the residual checkpoint that the group's first one needs

	now, previous sides // the rows at hand, and those of the residual checkpoint before
	owner         *aligned
}

type readers struct{ ref, cand trace.RowReader }

// sides is one buffer for each side.
type sides struct{ ref, cand []byte }

func newWorker(m *measurer, g *group) *worker {
	w := &worker{m: m, g: g, kernel: metric.NewKernel(g.config(m.cfg)), logits: metric.NewLogitsKernel(m.cfg)}
	for _, c := range g.members {
		w.readers = append(w.readers, newReaders(c.out.aligned))
	}
	return w
}

func newReaders(a *aligned) readers { return readers{a.ref.NewReader(), a.cand.NewReader()} }

// recall has the rows of the residual checkpoint before a at hand, where the
// group begins in the middle of the layers.
func (w *worker) recall(a *aligned, ch chunk) error {
	p := a.previous
	if p == nil || p == w.owner {
		return nil
	}
	if w.before.ref == nil {
		w.before = newReaders(p)
	}
	if err := w.read(w.before, p, ch); err != nil {
		return err
	}
	w.now, w.previous, w.owner = w.previous, w.now, p
	return nil
}

// config leaves channel sums out for logits.
func (g *group) config(cfg metric.Config) metric.Config {
	cfg.NoChannels = g.members[0].out.name == logitsName
	return cfg
}

// chunk measures chunk i at every checkpoint of the group, in forward order.
func (w *worker) chunk(ctx context.Context, i int) error {
	ch := w.g.chunks[i]
	w.owner = nil
	for k, c := range w.g.members {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		a := c.out.aligned
		if err := w.recall(a, ch); err != nil {
			return err
		}
		if err := w.read(w.readers[k], a, ch); err != nil {
			return err
		}
		t := metric.Tile{Rows: ch.n, Width: a.elements,
			Ref: block(a.ref, w.now.ref), Cand: block(a.cand, w.now.cand)}
		if a.previous != nil {
			t.PrevRef, t.PrevCand = block(a.ref, w.previous.ref), block(a.cand, w.previous.cand)
		}
		if err := w.kernel.Tile(t, &w.partial); err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		if err := w.logitsRows(c, t); err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		if err := c.inTurn(ctx, i, func() error { return w.merge(c, ch) }); err != nil {
			return err
		}
		w.m.advance(int64(ch.n) * int64(rowBytes(a.ref)+rowBytes(a.cand)))
		if trace.IsResidual(a.name) {
			w.now, w.previous, w.owner = w.previous, w.now, a
		}
	}
	return nil
}

// merge adds the chunk at hand to the checkpoint's result.
func (w *worker) merge(c *collector, ch chunk) error {
	positions := c.out.positions[ch.first : ch.first+ch.n]
	c.acc.Merge(&w.partial)
	for r := range ch.n {
		c.out.profile.add(positions[r], &w.partial.Rows[r])
	}
	c.out.garbage.add(positions, &w.partial)
	if c.out.logits != nil {
		for r, row := range w.rows {
			c.out.logits.add(positions[r], row, &w.partial.Rows[r])
		}
	}
	return w.observe(c, ch)
}

// logitsRows measures what only whole logits rows have.
func (w *worker) logitsRows(c *collector, t metric.Tile) error {
	w.rows = w.rows[:0]
	if c.out.logits == nil {
		return nil
	}
	for r := range t.Rows {
		row, err := w.logits.Row(rowOf(t.Ref, r, t.Width), rowOf(t.Cand, r, t.Width))
		if err != nil {
			return err
		}
		w.rows = append(w.rows, row)
	}
	return nil
}

// rowOf is one row of a block.
func rowOf(b metric.Block, r, width int) metric.Block {
	n := width * b.DType.Size()
	return metric.Block{DType: b.DType, Data: b.Data[r*n : (r+1)*n]}
}

// read fills the current buffers with the chunk's rows.
func (w *worker) read(rd readers, a *aligned, ch chunk) error {
	var err error
	if w.now.ref, err = readRows(rd.ref, a.ref, a.elements, ch.ref, ch.n, w.now.ref); err != nil {
		return readError("reference", a, err)
	}
	if w.now.cand, err = readRows(rd.cand, a.cand, a.elements, ch.cand, ch.n, w.now.cand); err != nil {
		return readError("candidate", a, err)
	}
	return nil
}

// readRows reads n whole rows into buf, grown if need be, and keeps the first
// elements of each.
func readRows(r trace.RowReader, c *trace.Checkpoint, elements, first, n int, buf []byte) ([]byte, error) {
	stored := rowBytes(c)
	if cap(buf) < n*stored {
		buf = make([]byte, n*stored)
	}
	buf = buf[:n*stored]
	if err := r.ReadRows(first, n, buf); err != nil {
		return buf, err
	}
	if keep := elements * c.DType.Size(); keep < stored {
		for i := range n {
			copy(buf[i*keep:(i+1)*keep], buf[i*stored:])
		}
		buf = buf[:n*keep]
	}
	return buf, nil
}

// block wraps rows for the kernel.
func block(c *trace.Checkpoint, data []byte) metric.Block {
	return metric.Block{DType: metric.DType(c.DType), Data: data}
}
