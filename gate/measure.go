package gate

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/trace"
)

// bufferBytes is how much of one side a worker reads at a time: large enough
// that a read costs little, small enough that both sides and the rows that a
// layer started from stay in the second-level cache.
const bufferBytes = 128 << 10

// groupBytes bounds the sums that a group's checkpoints hold while they are
// walked: a model may have any number of layers.
const groupBytes = 6 << 20

// measured is everything that one pass over an aligned checkpoint yields.
type measured struct {
	*aligned
	measures *metric.Measures // nil where nothing was compared
	profile  *profile
	logits   *logitsRows // nil for hidden states and partial rows
	garbage  *garbageLog
}

// measurer walks aligned checkpoints in one pass. Rows are read in chunks; a
// chunk goes through all checkpoints of a group in forward order, so that what
// a layer added is seen while its input is still at hand. Workers take chunks;
// their results are merged in the order of the rows, so the sums do not depend
// on the number of workers.
type measurer struct {
	cfg      metric.Config
	workers  int
	progress func(done, total int64)
	observer Observer
	prompt   string // whose traces are at hand
	// largest is how many checkpoints are walked in step at most; 0 is what
	// groupBytes allows.
	largest int

	done, total atomic.Int64
	mu          sync.Mutex // serialises progress
}

// group is checkpoints with the same rows, walked in step. Where there are too
// many, the first of a group reads the rows of the one before it once more.
type group struct {
	members []*collector
	chunks  []chunk
}

// chunk is some consecutive rows of a group.
type chunk struct {
	segment
	first int // index into positions of the first row
}

// collector gathers one checkpoint's partial results in order.
type collector struct {
	out  *measured
	acc  *metric.Accumulator
	mu   sync.Mutex
	cond *sync.Cond
	turn int // the chunk whose result comes next
}

// measure compares every aligned checkpoint. Errors are those of reading.
func (m *measurer) measure(ctx context.Context, cs []*aligned) ([]*measured, error) {
	out := make([]*measured, len(cs))
	var groups []*group
	for i, a := range cs {
		out[i] = &measured{aligned: a, profile: newProfile(), garbage: newGarbageLog()}
		if len(a.positions) == 0 || a.elements == 0 {
			continue
		}
		groups = m.place(groups, out[i])
	}
	for _, g := range groups {
		for _, c := range g.members {
			a := c.out.aligned
			m.total.Add(int64(len(a.positions)) * int64(rowBytes(a.ref)+rowBytes(a.cand)))
		}
	}
	for _, g := range groups {
		if err := m.walk(ctx, g); err != nil {
			return nil, err
		}
		for _, c := range g.members {
			c.out.measures = c.acc.Result()
			c.out.measures.Channels = nil // the worst is known, and all of them are large
			c.acc = nil
			c.out.profile.shrink()
		}
	}
	return out, nil
}

// place puts a checkpoint into the group it can be walked with, or a new one.
func (m *measurer) place(groups []*group, out *measured) []*group {
	isLogits := out.name == logitsName
	c := &collector{out: out}
	c.cond = sync.NewCond(&c.mu)
	if isLogits && !out.partial() {
		out.logits = &logitsRows{}
	}
	if !isLogits {
		for _, g := range groups {
			first := g.members[0].out
			if first.name == logitsName || !sameRows(first.aligned, out.aligned) {
				continue
			}
			out.positions = first.positions // equal: one copy is enough
			if len(g.members) < m.groupSize(out.elements) {
				g.members = append(g.members, c)
				return groups
			}
		}
	}
	g := &group{members: []*collector{c}}
	rows := max(1, bufferBytes/max(rowBytes(out.ref), rowBytes(out.cand)))
	g.chunks = split(out.segments, rows)
	return append(groups, g)
}

// groupSize is how many checkpoints of that width are walked in step at most.
func (m *measurer) groupSize(width int) int {
	if m.largest > 0 {
		return m.largest
	}
	const signs, channel = 256 << 10, 32 // what an accumulator holds, and for each channel
	return max(1, groupBytes/(signs+channel*width))
}

// rowBytes is the size of one stored row.
func rowBytes(c *trace.Checkpoint) int { return c.Stored * c.DType.Size() }

// split cuts segments into chunks of at most rows rows.
func split(segs []segment, rows int) []chunk {
	var out []chunk
	first := 0
	for _, s := range segs {
		for o := 0; o < s.n; o += rows {
			n := min(rows, s.n-o)
			out = append(out, chunk{segment{s.ref + o, s.cand + o, n}, first})
			first += n
		}
	}
	return out
}

// walk runs the group's chunks on all workers.
func (m *measurer) walk(ctx context.Context, g *group) error {
	workers := m.workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	workers = min(workers, len(g.chunks))
	for _, c := range g.members {
		c.acc = metric.NewAccumulator(c.out.elements, g.config(m.cfg))
		c.out.profile.buckets = make([]bucket, 0, min(len(c.out.positions), maxBuckets))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A worker that waits for its turn must wake up when another one fails.
	stop := context.AfterFunc(ctx, func() {
		for _, c := range g.members {
			c.mu.Lock()
			c.cond.Broadcast()
			c.mu.Unlock()
		}
	})
	defer stop()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			w := newWorker(m, g)
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(g.chunks) {
					return
				}
				if err := w.chunk(ctx, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// advance counts compared bytes and tells the progress.
func (m *measurer) advance(n int64) {
	done := m.done.Add(n)
	if m.progress == nil {
		return
	}
	m.mu.Lock()
	m.progress(done, m.total.Load())
	m.mu.Unlock()
}

// inTurn waits until chunk i is the next to be merged and runs merge.
func (c *collector) inTurn(ctx context.Context, i int, merge func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.turn != i {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.cond.Wait()
	}
	if err := merge(); err != nil {
		return err
	}
	c.turn++
	c.cond.Broadcast()
	return nil
}

// readError says which rows could not be read.
func readError(side string, a *aligned, err error) error {
	return fmt.Errorf("%s: %s: %w", side, a.name, err)
}
