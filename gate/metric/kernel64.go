package metric

import (
	"math"
	"math/bits"
)

// tile64 measures a tile that holds F64 values, in float64: clean blocks in
// loops, the others by the scalar reference.
func (k *Kernel) tile64() {
	for row := range k.tile.Rows {
		info := k.inspect(row)
		for b := 0; b < k.tile.Width; b += blockLen {
			k.block64(&info, b, min(blockLen, k.tile.Width-b))
		}
		k.p.flush()
	}
}

func (k *Kernel) block64(info *rowInfo, b, m int) {
	g := segment[float64]{first: b, channels: k.p.planes(b, m)}
	for s, v := range [streamCount]*[]float64{&g.r, &g.c, &g.pr, &g.pc} {
		if len(k.streams[s].Data) == 0 {
			continue
		}
		if k.buf64[s] == nil {
			k.buf64[s] = make([]float64, blockLen)
		}
		*v = k.buf64[s][:m]
		decode64(*v, k.streams[s].DType, k.rowBytes(s, info.row, b, m))
	}
	if k.clean64(info, &g) {
		k.run64(&k.p.Rows[info.row], &g)
		return
	}
	ref := scalar[float64]{cfg: &k.cfg, above: k.cfg.above(), unit: k.unit, p: k.p}
	ref.segment(info, g)
}

// clean64 is clean for a whole block of float64.
func (k *Kernel) clean64(info *rowInfo, g *segment[float64]) bool {
	if k.skips(g.first, g.first+len(g.r)) || g.first < heapWindow && info.heap != [streamCount]uint8{} {
		return false
	}
	above := min(k.cfg.above(), math.MaxFloat64)
	for _, v := range [streamCount][]float64{g.r, g.c, g.pr, g.pc} {
		for _, x := range v {
			if !(math.Abs(x) <= above) {
				return false
			}
		}
	}
	return true
}

// run64 measures a clean block.
func (k *Kernel) run64(s *Stats, g *segment[float64]) {
	if len(g.pr) > 0 {
		addedGo(g.r, g.c, g.pr, g.pc, &k.sums)
		s.HasAdded = true
	} else {
		sumsGo(g.r, g.c, &k.sums)
	}
	k.sums.addTo(s)
	counts64(s, g)
	k.distances64(g.r, g.c)
	for i, r := range g.r {
		// Signs are unpredictable, whether they differ is not.
		if c := g.c[i]; math.Signbit(r) != math.Signbit(c) && r != 0 && c != 0 {
			k.p.flip(float32(r))
		}
	}
	if g.channels[0] == nil {
		return
	}
	for i, r := range g.r {
		d := g.c[i] - r
		g.channels[planeDiff2][i] += d * d
		g.channels[planeRef2][i] += r * r
		g.channels[planeDiff][i] += d
		g.channels[planeCross][i] += d * r
	}
}

// distances64 fills the ULP histogram from a clean block.
func (k *Kernel) distances64(r, c []float64) {
	if k.unit == ulpF64 {
		var lens [4][65]int64 // four, so that equal distances do not wait for each other
		for i, x := range r {
			lens[i&3][bits.Len64(ulpDistance64(x, c[i]))]++
		}
		for l := range lens[0] {
			k.p.ulp[ulpBinOfLen[l]] += lens[0][l] + lens[1][l] + lens[2][l] + lens[3][l]
		}
		return
	}
	whole := len(r) &^ 7
	if float64(math.Float32frombits(maxFastBits)) < k.cfg.above() {
		whole = 0 // the loops for float32 do not take all that is clean
	}
	for s, v := range [2][]float64{r[:whole], c[:whole]} {
		if k.buf[s][0] == nil {
			k.buf[s][0] = make([]float32, blockLen)
		}
		for i, x := range v {
			k.buf[s][0][i] = float32(x)
		}
	}
	if whole > 0 {
		if x, y := k.buf[0][0][:whole], k.buf[1][0][:whole]; k.unit == ulpF32 {
			k.ops.ulp32(x, y, &k.p.ulp, &k.ulp)
		} else {
			k.ops.ulpMixed(x, y, k.unit, &k.p.ulp, &k.ulp)
		}
	}
	for i := whole; i < len(r); i++ {
		k.p.ulp[ulpBin(r[i], c[i], k.unit)]++
	}
}

// counts64 adds maxima and counts of a clean block.
func counts64(s *Stats, g *segment[float64]) {
	maxAbs, maxRel := s.MaxAbs, s.MaxRel
	if !s.seen() {
		maxAbs, maxRel = -1, -1
	}
	var over1, over10, magnitude int64
	c := g.c[:len(g.r)]
	for i, r := range g.r {
		ar, ac := math.Abs(r), math.Abs(c[i])
		d := math.Abs(c[i] - r)
		scale := ar
		if scale < relFloor {
			scale = relFloor
		}
		rel := d / scale
		if d > maxAbs {
			maxAbs, s.MaxAbsAt = d, g.first+i
		}
		if rel > maxRel {
			maxRel, s.MaxRelAt = rel, g.first+i
		}
		if rel > 0.01 {
			over1++
			if rel > 0.1 {
				over10++
			}
		}
		if 10*ac >= ar && 10*ar >= ac {
			magnitude++
		}
	}
	s.MaxAbs, s.MaxRel = maxAbs, maxRel
	s.Over1 += over1
	s.Over10 += over10
	s.Magnitude += magnitude
	s.N += int64(len(g.r))
}
