package trace

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// tensor is one tensor of one file: rows of one checkpoint.
type tensor struct {
	source    string
	in        *input
	offset    int64 // of the first value in the file
	at        int64 // of the tensor's description in the file, for messages
	dtype     DType
	rows      int
	width     int
	positions []int // nil until the file's metadata is known
}

// builder collects what the files say and makes the trace of it.
type builder struct {
	opt     Options
	trace   *Trace
	tensors []*tensor
	jsonl   []*jsonlCheckpoint
	byName  map[string]*jsonlCheckpoint
	tokenID map[int]int32 // of JSONL rows
	team    string
	// filePositions are those that an npz entry or npy file named positions gave.
	filePositions []int
	// counted is 0…n−1 as long as anyone needed it: checkpoints share one slice.
	counted []int
}

// count is the positions 0…n−1.
func (b *builder) count(n int) []int {
	for i := len(b.counted); i < n; i++ {
		b.counted = append(b.counted, i)
	}
	return b.counted[:n:n]
}

// finish makes the checkpoints and checks them against each other.
func (b *builder) finish() error {
	var err error
	switch b.trace.Format {
	case OrchJSONL:
		err = b.finishJSONL()
	case NPY, NPZ:
		if err = b.placeNPY(); err == nil {
			err = b.joinTensors()
		}
	default:
		err = b.joinTensors()
	}
	if err != nil {
		return err
	}
	if len(b.trace.Checkpoints) == 0 {
		return fileError(b.trace.Path, "%s trace holds no checkpoint", b.trace.Format)
	}
	if err := b.checkNames(); err != nil {
		return err
	}
	return b.checkPositions()
}

// checkNames refuses two checkpoints of one canonical name.
func (b *builder) checkNames() error {
	by := map[string]*Checkpoint{}
	for _, c := range b.trace.Checkpoints {
		if c.Name == "" {
			return fileError(b.trace.Path, "checkpoint %s has an empty name", quote(c.Source))
		}
		if o := by[c.Name]; o != nil {
			where := ""
			if o.path != c.path {
				where = fmt.Sprintf(" (%s)", o.path)
			}
			return fileError(c.path, "%s%s and %s are both checkpoint %s: rename or leave out one", quote(o.Source), where, quote(c.Source), c.Name)
		}
		by[c.Name] = c
	}
	return nil
}

// checkPositions holds positions against tokens, and says in Meta which
// positions all checkpoints share.
func (b *builder) checkPositions() error {
	m := &b.trace.Meta
	cs := b.trace.Checkpoints
	for _, c := range cs {
		if last := c.Positions[len(c.Positions)-1]; m.Tokens != nil && last >= len(m.Tokens) {
			return fileError(b.trace.Path, "checkpoint %s has position %d, the prompt %d tokens", quote(c.Source), last, len(m.Tokens))
		}
	}
	m.Positions = nil
	first := cs[0].Positions
	if slices.Equal(first, b.count(len(first))) {
		return nil
	}
	for _, c := range cs[1:] {
		if !slices.Equal(c.Positions, first) {
			return nil
		}
	}
	m.Positions = first
	return nil
}

// joinTensors makes one checkpoint of all tensors of one source name.
func (b *builder) joinTensors() error {
	by := map[string][]*tensor{}
	var order []string
	for _, t := range b.tensors {
		if by[t.source] == nil {
			order = append(order, t.source)
		}
		by[t.source] = append(by[t.source], t)
	}
	for _, source := range order {
		c, err := b.join(by[source])
		if err != nil {
			return err
		}
		c.Name, c.Source = canonical(source, b.opt.Names), source
		b.trace.Checkpoints = append(b.trace.Checkpoints, c)
	}
	return nil
}

// join makes a checkpoint of the shards of one tensor.
func (b *builder) join(shards []*tensor) (*Checkpoint, error) {
	t := shards[0]
	c := &Checkpoint{DType: t.dtype, Width: t.width, Stored: t.width, Positions: t.positions, path: t.in.path}
	if len(shards) == 1 {
		r := t.reader()
		c.rows = func() RowReader { return r } // stateless, so one serves all
		return c, nil
	}
	joined := &joinedRows{rowBytes: t.width * t.dtype.Size()}
	total := 0
	for i, s := range shards {
		if s.dtype != t.dtype || s.width != t.width {
			return nil, byteError(s.in.path, s.at, "tensor %s has rows of %d %s, in %s of %d %s", quote(s.source), s.width, s.dtype, t.in.path, t.width, t.dtype)
		}
		joined.readers = append(joined.readers, s.reader())
		total += s.rows
		for row, p := range s.positions {
			joined.at = append(joined.at, shardRow{p, i, row})
		}
	}
	if total > b.opt.MaxRows {
		return nil, fileError(b.trace.Path, "tensor %s has %d rows in its shards, more than the bound of %d", quote(t.source), total, b.opt.MaxRows)
	}
	sort.SliceStable(joined.at, func(i, j int) bool { return joined.at[i].position < joined.at[j].position })
	c.Positions = make([]int, total)
	for i, a := range joined.at {
		c.Positions[i] = a.position
		if i > 0 && joined.at[i-1].position == a.position {
			p, s := shards[joined.at[i-1].shard], shards[a.shard]
			return nil, byteError(s.in.path, s.at, "tensor %s holds position %d, and so does %s: name each shard's rows in metadata %q", quote(s.source), a.position, p.in.path, keyPositions)
		}
	}
	c.rows = func() RowReader { return joined }
	return c, nil
}

// place gives a file's tensors their positions.
func (b *builder) place(in *input, m *metaSet, tensors []*tensor) error {
	used := 0
	for _, t := range tensors {
		positions, of := m.positionsOf[t.source]
		key := keyPositionsOf + t.source
		switch {
		case of:
			used++
		case m.Positions != nil:
			positions, key = m.Positions, keyPositions
		case t.rows != tensors[0].rows:
			return byteError(in.path, t.at, "tensor %s has %d rows, %s has %d: say which positions in metadata %q", quote(t.source), t.rows, quote(tensors[0].source), tensors[0].rows, keyPositionsOf+t.source)
		default:
			t.positions = b.count(t.rows)
			continue
		}
		if len(positions) != t.rows {
			return byteError(in.path, t.at, "tensor %s has %d rows, metadata %s %d positions", quote(t.source), t.rows, key, len(positions))
		}
		t.positions = positions
	}
	if used != len(m.positionsOf) {
		return fileError(in.path, "metadata has %s… for a tensor that the file does not hold", keyPositionsOf)
	}
	return nil
}

// shape checks the shape of a tensor and sets its rows and width. Shapes are
// [positions, width], [width] for one row, or [1, positions, width].
func (t *tensor) setShape(shape []int64, opt Options) error {
	dims := shape
	if len(dims) == 3 && dims[0] == 1 {
		dims = dims[1:]
	}
	if len(dims) == 1 {
		dims = []int64{1, dims[0]}
	}
	if len(dims) != 2 {
		return fmt.Errorf("tensor %s has shape %v: want [positions, width], [width] or [1, positions, width]", quote(t.source), shape)
	}
	switch rows, width := dims[0], dims[1]; {
	case rows == 0 || width == 0:
		return fmt.Errorf("tensor %s has shape %v and so no values", quote(t.source), shape)
	case width > int64(opt.MaxWidth):
		return fmt.Errorf("tensor %s has rows of %d elements, more than the bound of %d", quote(t.source), width, opt.MaxWidth)
	case rows > int64(opt.MaxRows):
		return fmt.Errorf("tensor %s has %d rows, more than the bound of %d", quote(t.source), rows, opt.MaxRows)
	}
	t.rows, t.width = int(dims[0]), int(dims[1])
	return nil
}

// elements is the product of a shape, false where it overflows.
func elements(shape []int64) (int64, bool) {
	n := int64(1)
	for _, d := range shape {
		if d < 0 || d != 0 && n > math.MaxInt64/d {
			return 0, false
		}
		n *= d
	}
	return n, true
}

// sideTensors are the names of integer tensors that hold the prompt's tokens.
var sideTensors = []string{"tokens", "input_ids"}
