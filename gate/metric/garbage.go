package metric

import "math"

// defaultGarbageAbove is the bound where Config leaves it zero.
const defaultGarbageAbove = 1e10

// reportedGarbage is how many garbage elements of each side and kind a Partial
// names; the counts go on.
const reportedGarbage = 16

// String is the kind's name in reports.
func (k GarbageKind) String() string {
	switch k {
	case NonFinite:
		return "non-finite"
	case Huge:
		return "huge"
	case HeapPointer:
		return "heap pointer"
	}
	return "?"
}

// GarbageKinds lists every kind.
func GarbageKinds() []GarbageKind { return []GarbageKind{NonFinite, Huge, HeapPointer} }

// GarbageElement names one garbage element of a tile.
type GarbageElement struct {
	Row, Element int // row in the tile, element in the row
	Kind         GarbageKind
	Side         Side
}

// above is the bound on finite magnitudes.
func (c *Config) above() float64 {
	if c.GarbageAbove > 0 {
		return c.GarbageAbove
	}
	return defaultGarbageAbove
}

// masks reports whether garbage of that side is left out.
func (c *Config) masks(s Side) bool {
	if s == RefSide {
		return c.Ref == MaskGarbage
	}
	return c.Cand == MaskGarbage
}

// heapWindow is how many first elements of a row may be the list pointers that
// an allocator keeps at the start of a freed buffer.
const heapWindow = 4

// heapPointers returns the elements of the row (a bit each, 0 … 3) that read as
// the halves of 64-bit pointers: the high half, an odd element, is zero or
// denormal, and the low half before it is finite and above 64 times the RMS of
// the elements from 4 on. In a row that is zero from there on the high half
// must be a true denormal, so that a one-hot row is not taken for garbage.
func heapPointers(row []float32, above float64) (mask uint8) {
	if len(row) < 2*heapWindow {
		return 0
	}
	rms := -1.0
	for k := 0; k < heapWindow; k += 2 {
		lo, hi := math.Abs(float64(row[k])), math.Abs(float64(row[k+1]))
		if !(hi < 0x1p-126 && lo > 0 && lo <= math.MaxFloat32) {
			continue
		}
		if rms < 0 {
			rms = rmsOf(row[heapWindow:], above)
		}
		if lo > 64*rms && (rms > 0 || hi > 0) {
			mask |= 3 << k
		}
	}
	return mask
}

// rmsOf is the root mean square of the values up to the bound.
func rmsOf(v []float32, above float64) float64 {
	var sum float64
	n := 0
	for _, x := range v {
		if f := float64(x); math.Abs(f) <= above {
			sum += f * f
			n++
		}
	}
	if n == 0 {
		return 0
	}
	return math.Sqrt(sum / float64(n))
}
