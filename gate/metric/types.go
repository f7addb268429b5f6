package metric

// DType is the type of the stored values of a block.
type DType uint8

const (
	F32 DType = iota + 1
	F16
	BF16
	F64
)

// Size is the number of bytes of one value.
func (d DType) Size() int {
	switch d {
	case F16, BF16:
		return 2
	case F64:
		return 8
	}
	return 4
}

// Block is a run of whole rows, row after row, values little-endian.
type Block struct {
	DType DType
	Data  []byte
}

// Tile is the same rows of one checkpoint on both sides. Every block holds
// Rows × Width values. PrevRef and PrevCand are the previous residual
// checkpoint's rows at the same positions (same width), or empty: then nothing
// is said about what the layer added.
type Tile struct {
	Rows, Width       int
	Ref, Cand         Block
	PrevRef, PrevCand Block
}

// GarbagePolicy says what happens to garbage of one side.
type GarbagePolicy uint8

const (
	// MaskGarbage leaves garbage elements (and their partners on the other side)
	// out of every sum and counts them.
	MaskGarbage GarbagePolicy = iota
	// KeepGarbage compares them like any value; they are still counted.
	KeepGarbage
)

// GarbageKind is a kind of garbage.
type GarbageKind uint8

const (
	// NonFinite is NaN or an infinity that the other side does not have, too.
	NonFinite GarbageKind = iota
	// Huge is a finite value whose magnitude exceeds the bound.
	Huge
	// HeapPointer is a pair of elements 2k, 2k+1 at the start of a row that reads
	// as a 64-bit pointer: an arbitrary low half far outside the row's own scale,
	// and a high half that is zero or denormal.
	HeapPointer
	garbageKinds
)

// Config says what takes part in the comparison.
type Config struct {
	// GarbageAbove is the magnitude above which a finite value is garbage (1e10).
	GarbageAbove float64
	// Ref and Cand say what to do with garbage of each side.
	Ref, Cand GarbagePolicy
	// SkipElements are element indices left out of every row, ascending.
	SkipElements []int
	// NoChannels leaves out the per-channel sums (logits rows).
	NoChannels bool
	// Portable forces the portable kernel (tests and benchmarks).
	Portable bool
	// only is the name of the native kernel to use, any when empty: tests hold
	// each that the machine has to the reference.
	only string
}
