package metric

import "fmt"

const (
	// blockLen elements of a few rows at a time stay in the first-level cache.
	blockLen = 1024
	// spanLen is the smallest run that is tried on the fast path once its block
	// holds something that the fast path does not take.
	spanLen = 64
	// groupRows rows share one load and store of the channel sums.
	groupRows = 4
	// maxFastBits bounds what the fast path takes whatever the garbage bound: ten
	// times such a float32 is finite, and wrapped ULP distances stay in the last bin.
	maxFastBits = 0x57800000
)

// Kernel measures tiles. It holds buffers: use one a goroutine.
type Kernel struct {
	cfg      Config
	ops      *blockOps
	fastBits uint32
	unit     ulpUnit

	tile    Tile
	p       *Partial
	streams [streamCount]Block
	rows    [groupRows]rowState
	buf     [streamCount][groupRows][]float32
	raw     [2][groupRows][]uint16
	heapRow []float32
	ulp     ulpWork
	buf64   [streamCount][]float64

	// arguments of the inner loops, here so that they are not allocated
	sums          blockSums
	counts        blockCounts
	chRef, chCand [groupRows][]float32
}

// rowState is one row of the group in work.
type rowState struct {
	info rowInfo
	// values of the block in work: in place, or decoded into the kernel's buffers
	val [streamCount][]float32
	raw [2][]uint16
	// absFrom and relFrom are where the run begins that holds the row's maximum
	// so far and absLen, relLen its length; 0 when the index is known.
	absFrom, absLen, relFrom, relLen int
	fast                             bool // the block in work went the fast way
}

// NewKernel returns a kernel for that configuration.
func NewKernel(cfg Config) *Kernel {
	k := &Kernel{cfg: cfg, ops: opsFor(cfg)}
	k.fastBits = min(floorBits(cfg.above()), maxFastBits)
	return k
}

// Name is the kind of kernel that runs: "avx512", "avx2" or "portable".
func (k *Kernel) Name() string { return k.ops.name }

// Tile measures one tile into p, which it resets. It returns an error, and an
// empty p, when the blocks do not hold what the tile says.
func (k *Kernel) Tile(t Tile, p *Partial) error {
	p.reset(0, 0, false)
	if err := t.check(); err != nil {
		return err
	}
	p.reset(t.Rows, t.Width, !k.cfg.NoChannels)
	k.tile, k.p, k.unit = t, p, coarser(t.Ref.DType, t.Cand.DType)
	k.streams = [streamCount]Block{t.Ref, t.Cand, t.PrevRef, t.PrevCand}
	wide := false
	for s := range k.streams {
		if len(k.streams[s].Data) == 0 {
			continue
		}
		wide = wide || k.streams[s].DType == F64
	}
	if wide || t.Rows == 0 {
		clear(p.channels)
	}
	if wide {
		k.tile64()
	} else {
		k.tile32()
	}
	k.tile, k.p, k.streams = Tile{}, nil, [streamCount]Block{} // keep no caller's buffer alive
	return nil
}

// check reports blocks that do not hold rows × width values.
func (t *Tile) check() error {
	if t.Rows < 0 || t.Width < 0 {
		return fmt.Errorf("tile of %d rows × %d: negative size", t.Rows, t.Width)
	}
	for i, b := range []Block{t.Ref, t.Cand, t.PrevRef, t.PrevCand} {
		name := [streamCount]string{"reference", "candidate", "previous reference", "previous candidate"}[i]
		if i >= streamPrevRef && len(b.Data) == 0 {
			continue
		}
		if b.DType < F32 || b.DType > F64 {
			return fmt.Errorf("%s: unknown dtype %d", name, b.DType)
		}
		if rest := len(b.Data) % b.DType.Size(); rest != 0 || !isProduct(len(b.Data)/b.DType.Size(), t.Rows, t.Width) {
			return fmt.Errorf("%s: %d bytes are not %d × %d values of %d bytes", name, len(b.Data), t.Rows, t.Width, b.DType.Size())
		}
	}
	if (len(t.PrevRef.Data) == 0) != (len(t.PrevCand.Data) == 0) {
		return fmt.Errorf("previous rows of one side only")
	}
	return nil
}

// isProduct reports n == a·b without overflow.
func isProduct(n, a, b int) bool {
	if a == 0 || b == 0 {
		return n == 0
	}
	return n%a == 0 && n/a == b
}

// rowBytes are the bytes of a run of elements of one row.
func (k *Kernel) rowBytes(stream, row, first, n int) []byte {
	b := &k.streams[stream]
	size := b.DType.Size()
	at := (row*k.tile.Width + first) * size
	return b.Data[at : at+n*size]
}

func (k *Kernel) tile32() {
	for g := 0; g < k.tile.Rows; g += groupRows {
		n := min(groupRows, k.tile.Rows-g)
		for i := range n {
			k.rows[i] = rowState{info: k.inspect(g + i)}
		}
		for b := 0; b < k.tile.Width; b += blockLen {
			k.group(n, b, min(blockLen, k.tile.Width-b), g == 0)
		}
		for i := range n {
			k.resolve(i)
		}
		k.p.flush()
	}
}

// inspect looks for heap pointers at the row's start.
func (k *Kernel) inspect(row int) rowInfo {
	info := rowInfo{row: row}
	for s := range k.streams {
		b := &k.streams[s]
		if b.DType != F32 || len(b.Data) == 0 || k.tile.Width < 2*heapWindow {
			continue
		}
		data := k.rowBytes(s, row, 0, k.tile.Width)
		v := inPlace[float32](data, k.tile.Width)
		if v == nil {
			if cap(k.heapRow) < k.tile.Width {
				k.heapRow = make([]float32, k.tile.Width)
			}
			v = k.heapRow[:k.tile.Width]
			decode32(v, F32, data)
		}
		info.heap[s] = heapPointers(v, k.cfg.above())
	}
	return info
}

// group measures elements b … b+m−1 of the group's n rows. The first group
// begins the channel sums.
func (k *Kernel) group(n, b, m int, first bool) {
	whole := m &^ 7
	begin := func() {
		if first && !k.cfg.NoChannels {
			for _, plane := range k.p.planes(b, m) {
				clear(plane)
			}
		}
		first = false
	}
	if whole < m {
		begin()
	}
	for i := range n {
		r := &k.rows[i]
		k.load(i, b, m)
		if r.fast = whole > 0 && k.clean(r, b, 0, whole); r.fast {
			k.run(r, b, 0, whole)
			k.reference(r, b, whole, m)
			continue
		}
		begin()
		for at := 0; at < m; at += spanLen {
			k.span(i, b, at, min(at+spanLen, m))
		}
	}
	if k.cfg.NoChannels || whole == 0 {
		return
	}
	for i := 0; i < n; i++ {
		j := i
		for j < n && k.rows[j].fast {
			j++
		}
		if j > i {
			k.channels(i, j, b, 0, whole, first)
			i = j
		}
	}
}

// span measures a short run: fast where it can.
func (k *Kernel) span(i, b, from, to int) {
	r := &k.rows[i]
	whole := from + (to-from)&^7
	if whole > from && k.clean(r, b, from, whole) {
		k.run(r, b, from, whole)
		if !k.cfg.NoChannels {
			k.channels(i, i+1, b, from, whole, false)
		}
		from = whole
	}
	k.reference(r, b, from, to)
}

// load makes the block's values of one row readable as float32.
func (k *Kernel) load(i, b, m int) {
	r := &k.rows[i]
	for s := range k.streams {
		blk := &k.streams[s]
		if len(blk.Data) == 0 {
			continue
		}
		data := k.rowBytes(s, r.info.row, b, m)
		if blk.DType == F32 {
			if r.val[s] = inPlace[float32](data, m); r.val[s] != nil {
				continue
			}
		}
		if k.buf[s][i] == nil {
			k.buf[s][i] = make([]float32, blockLen)
		}
		r.val[s] = k.buf[s][i][:m]
		k.ops.decode(r.val[s], blk.DType, data)
	}
	if k.unit != ulpF32 && k.tile.Ref.DType == k.tile.Cand.DType {
		for s := range r.raw {
			data := k.rowBytes(s, r.info.row, b, m)
			if r.raw[s] = inPlace[uint16](data, m); r.raw[s] != nil {
				continue
			}
			if k.raw[s][i] == nil {
				k.raw[s][i] = make([]uint16, blockLen)
			}
			r.raw[s] = k.raw[s][i][:m]
			for e := range r.raw[s] {
				r.raw[s][e] = uint16(data[2*e]) | uint16(data[2*e+1])<<8
			}
		}
	}
}

// clean reports whether elements from … to−1 of the block can go the fast way:
// none skipped, none garbage or non-finite. Then k.counts holds their counts,
// and where the kernel has a pass for everything, k.sums and k.ulp the rest.
func (k *Kernel) clean(r *rowState, b, from, to int) bool {
	if k.skips(b+from, b+to) {
		return false
	}
	if b+from < heapWindow && r.info.heap != [streamCount]uint8{} {
		return false
	}
	if k.ops.pass != nil {
		w := &k.ulp
		if k.unit != ulpF32 {
			w = nil
		}
		var prev [2][]float32
		if len(k.tile.PrevRef.Data) > 0 {
			prev = [2][]float32{r.val[streamPrevRef][from:to], r.val[streamPrevCand][from:to]}
		}
		k.ops.pass(r.val[streamRef][from:to], r.val[streamCand][from:to], prev[0], prev[1], &k.sums, &k.counts, w)
		return k.counts.maxBits <= k.fastBits
	}
	if k.ops.counts(r.val[streamRef][from:to], r.val[streamCand][from:to], &k.counts); k.counts.maxBits > k.fastBits {
		return false
	}
	return len(k.tile.PrevRef.Data) == 0 ||
		k.ops.maxBits(r.val[streamPrevRef][from:to], r.val[streamPrevCand][from:to]) <= k.fastBits
}

// skips reports whether one of the elements from … to−1 is to be skipped.
func (k *Kernel) skips(from, to int) bool {
	at := lowerBound(k.cfg.SkipElements, from)
	return at < len(k.cfg.SkipElements) && k.cfg.SkipElements[at] < to
}

// run measures clean elements, a multiple of eight of them, all but the
// channel sums.
func (k *Kernel) run(r *rowState, b, from, to int) {
	s := &k.p.Rows[r.info.row]
	rv, cv := r.val[streamRef][from:to], r.val[streamCand][from:to]
	s.HasAdded = s.HasAdded || len(k.tile.PrevRef.Data) > 0
	switch {
	case k.ops.pass != nil: // done
	case len(k.tile.PrevRef.Data) > 0:
		k.ops.added(rv, cv, r.val[streamPrevRef][from:to], r.val[streamPrevCand][from:to], &k.sums)
	default:
		k.ops.sums(rv, cv, &k.sums)
	}
	k.sums.addTo(s)
	counts := &k.counts
	first := !s.seen()
	if v := float64(counts.maxAbs); first || v > s.MaxAbs {
		s.MaxAbs, r.absFrom, r.absLen = v, b+from, to-from
	}
	if v := float64(counts.maxRel); first || v > s.MaxRel {
		s.MaxRel, r.relFrom, r.relLen = v, b+from, to-from
	}
	s.Over1 += int64(counts.over1)
	s.Over10 += int64(counts.over10)
	s.Magnitude += int64(counts.magnitude)
	s.N += int64(to - from)
	k.distances(r, from, to)
}

// distances fills the ULP histogram and notes sign flips of clean elements.
func (k *Kernel) distances(r *rowState, from, to int) {
	rv, cv := r.val[streamRef][from:to], r.val[streamCand][from:to]
	switch {
	case k.ops.pass != nil && k.unit == ulpF32:
		k.ulp.addTo(&k.p.ulp, to-from)
	case k.tile.Ref.DType != k.tile.Cand.DType:
		k.ops.ulpMixed(rv, cv, k.unit, &k.p.ulp, &k.ulp)
	case k.unit == ulpF32:
		k.ops.ulp32(rv, cv, &k.p.ulp, &k.ulp)
	default:
		k.ops.ulp16(r.raw[0][from:to], r.raw[1][from:to], &k.p.ulp, &k.ulp)
	}
	k.p.noteFlips(rv, cv, k.ulp.mask[:len(rv)/8])
}

// reference measures elements from … to−1 of the block with the scalar reference.
func (k *Kernel) reference(r *rowState, b, from, to int) {
	if from >= to {
		return
	}
	s := &k.p.Rows[r.info.row]
	abs, rel, seen := s.MaxAbs, s.MaxRel, s.seen()
	g := segment[float32]{first: b + from, r: r.val[streamRef][from:to], c: r.val[streamCand][from:to]}
	if len(k.tile.PrevRef.Data) > 0 {
		g.pr, g.pc = r.val[streamPrevRef][from:to], r.val[streamPrevCand][from:to]
	}
	g.channels = k.p.planes(b+from, to-from)
	ref := scalar[float32]{cfg: &k.cfg, above: k.cfg.above(), unit: k.unit, p: k.p}
	ref.segment(&r.info, g)
	// The scalar reference knows the index of its maxima.
	if s.MaxAbs > abs || !seen {
		r.absLen = 0
	}
	if s.MaxRel > rel || !seen {
		r.relLen = 0
	}
}

// planes are the channel sums of a run of elements; nil without channels.
func (p *Partial) planes(first, n int) (out [channelPlanes][]float64) {
	if len(p.channels) == 0 {
		return out
	}
	for i := range out {
		out[i] = p.channels[i*p.width+first : i*p.width+first+n]
	}
	return out
}

// channels adds rows i … j−1 of the group to the channel sums, or has them
// begin with these rows.
func (k *Kernel) channels(i, j, b, from, to int, set bool) {
	for x := i; x < j; x++ {
		k.chRef[x-i] = k.rows[x].val[streamRef][from:to]
		k.chCand[x-i] = k.rows[x].val[streamCand][from:to]
	}
	k.ops.channels(&k.chRef, &k.chCand, j-i, k.p.channels[b+from:], k.p.width, set)
}

// resolve finds the index of maxima of which only the run is known.
func (k *Kernel) resolve(i int) {
	r := &k.rows[i]
	s := &k.p.Rows[r.info.row]
	if n := r.absLen; n > 0 {
		k.load(i, r.absFrom, n)
		s.MaxAbsAt = r.absFrom + k.ops.findAbs(r.val[streamRef], r.val[streamCand], float32(s.MaxAbs))
	}
	if n := r.relLen; n > 0 {
		k.load(i, r.relFrom, n)
		s.MaxRelAt = r.relFrom + k.ops.findRel(r.val[streamRef], r.val[streamCand], float32(s.MaxRel))
	}
}
