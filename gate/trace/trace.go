// Package trace holds what one engine recorded of one prompt: a Trace of
// Checkpoints, read from and written to safetensors, orch JSONL, npy and npz.
//
// Opening a trace reads headers and an index only; values are read on demand
// into the caller's buffers, so a trace of any size costs little memory.
// Files are not trusted. This package imports the standard library only.
package trace

// DType is the type of the values a checkpoint's reader yields.
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

// String is the dtype's name in safetensors.
func (d DType) String() string {
	switch d {
	case F32:
		return "F32"
	case F16:
		return "F16"
	case BF16:
		return "BF16"
	case F64:
		return "F64"
	}
	return "?"
}

// Format is a file format of traces.
type Format string

const (
	// Safetensors is the format to write. One tensor a checkpoint, of shape
	// [positions, width] ([width] for one row, or [1, positions, width]), F32,
	// F16, BF16 or F64. __metadata__ holds, as strings: paritygate ("1"), engine,
	// engine_version, model, weights_sha256, compute_dtype, device, prompt,
	// tokens (a JSON array of ids), and positions (a JSON array, where the rows
	// are not positions 0…n−1). "positions:NAME" says the positions of the tensor
	// NAME alone, for files whose tensors have different rows. Token ids may
	// also be an I32 or I64 tensor named tokens or input_ids.
	Safetensors Format = "safetensors"
	// OrchJSONL is what existing engines log, one line a row:
	//
	//	{"checkpoint":"logits","team":"worker","token_idx":7,"dtype":"f32","shape":"[151936]","values":[…]}
	//
	// Keys come in any order. checkpoint, token_idx (the position) and values are
	// required; team or source names the engine; dtype is f32 where it is missing;
	// shape is "[width]", "[1,width]" or a JSON array, and where it is missing the
	// row is as wide as it has values; other keys are ignored. values may be only
	// the first of the row. ±1e308 is ±infinity and null is NaN; NaN, nan, inf
	// and Infinity are read, too.
	//
	// token_id is the id of the token at token_idx; where rows name those of all
	// positions up to the last, the trace's tokens are known. The first line may
	// be {"metadata":{…}} with the keys of the safetensors metadata except
	// positions; tokens may be a plain array there.
	OrchJSONL Format = "orch-jsonl"
	// NPY is one checkpoint, named by the file: <f4, <f2 or <f8 in C order.
	NPY Format = "npy"
	// NPZ is an archive of such arrays. Integer arrays named tokens (or
	// input_ids) and positions say those; so they do in a folder of npy files.
	NPZ Format = "npz"
)

// Meta is what a trace says of its run; empty fields were not said.
type Meta struct {
	Engine        string
	EngineVersion string
	Model         string
	WeightsSHA256 string
	ComputeDType  string // "f32", "f16", "bf16", "q8_0", "q4_k" …, or "f16 weights, f32 activations" in the engine's own words
	Device        string
	Prompt        string
	Tokens        []int32
	// Positions are the token positions of the rows; nil means 0…n−1.
	Positions []int
	// Extra holds every other metadata key.
	Extra map[string]string
}

// Trace is an open trace.
type Trace struct {
	// Path is the file or folder it was opened from.
	Path   string
	Format Format
	Meta   Meta
	// Checkpoints in the order of the file.
	Checkpoints []*Checkpoint

	closers []func() error
}

// Checkpoint is a named point of the forward pass with its rows.
type Checkpoint struct {
	// Name is canonical; Source is the name the file gives.
	Name, Source string
	DType        DType
	// Width is the number of elements of a whole row. Stored is how many first
	// elements of each row the file holds; less than Width in a partial log.
	Width, Stored int
	// Positions are the token positions of the rows, ascending and unique.
	Positions []int

	// path is the file that holds it, or its first shard.
	path string
	// rows opens a private reader of the checkpoint's values.
	rows func() RowReader
}

// RowReader reads whole rows of one checkpoint. It is not safe for concurrent
// use; open one a goroutine with NewReader.
type RowReader interface {
	// ReadRows fills dst with rows first … first+n−1 (indices into Positions),
	// row after row, n × Stored values in the checkpoint's dtype, little-endian.
	// dst must have exactly that length.
	ReadRows(first, n int, dst []byte) error
}

// NewReader returns a private reader; several may be used at once.
func (c *Checkpoint) NewReader() RowReader { return c.rows() }

// Lookup returns the checkpoint of that canonical name, or nil.
func (t *Trace) Lookup(name string) *Checkpoint {
	for _, c := range t.Checkpoints {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Close releases the trace's files.
func (t *Trace) Close() error {
	var first error
	for _, f := range t.closers {
		if err := f(); err != nil && first == nil {
			first = err
		}
	}
	t.closers = nil
	return first
}
