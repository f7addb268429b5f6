package oracle

import (
	"fmt"
	"strings"

	"github.com/paritygate/paritygate/gate/oracle/gguf"
)

// Format is a format that values are rounded to. The zero value rounds nothing.
type Format uint8

const (
	// Exact leaves values as they were computed.
	Exact Format = iota
	F32
	// TF32 is what NVIDIA's tensor cores take of a float32: its exponent and ten
	// bits of its fraction.
	TF32
	F16
	BF16
	// Q8_0 is ggml's blocks of 32: int8 codes times one f16 scale, the block's
	// largest magnitude over 127.
	Q8_0
	// Q8_K is ggml's blocks of 256: int8 codes times one f32 scale.
	Q8_K
	// ByWeight is, for the input of a product with weights, the format that
	// llama.cpp on the CPU gives it for the type that the weights are stored in:
	// none for F32, F16 for F16, BF16 for BF16, Q8_K for the K types, else Q8_0.
	ByWeight
)

var formatNames = [...]string{"exact", "f32", "tf32", "f16", "bf16", "q8_0", "q8_k", "by-weight"}

// String is the name that ParseFormat takes.
func (f Format) String() string {
	if int(f) < len(formatNames) {
		return formatNames[f]
	}
	return fmt.Sprintf("Format(%d)", uint8(f))
}

// ParseFormat is the format of that name; the error lists them.
func ParseFormat(name string) (Format, error) {
	for i, n := range formatNames {
		if n == name {
			return Format(i), nil
		}
	}
	return 0, fmt.Errorf("unknown format %q: want one of %s", name, strings.Join(formatNames[:], ", "))
}

// MarshalText is the format's name, for JSON and YAML.
func (f Format) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is ParseFormat.
func (f *Format) UnmarshalText(b []byte) (err error) {
	*f, err = ParseFormat(string(b))
	return err
}

// block is how many elements are rounded together.
func (f Format) block() int {
	switch f {
	case Q8_0:
		return 32
	case Q8_K:
		return 256
	}
	return 1
}

// forWeight is what ByWeight is for weights of that type.
func (f Format) forWeight(t gguf.Type) Format {
	if f != ByWeight {
		return f
	}
	switch t {
	case gguf.F32:
		return Exact
	case gguf.F16:
		return F16
	case gguf.BF16:
		return BF16
	case gguf.Q2_K, gguf.Q3_K, gguf.Q4_K, gguf.Q5_K, gguf.Q6_K:
		return Q8_K
	}
	return Q8_0
}

// holds says whether every value of that type is one of the format, so that
// rounding stored weights would change nothing.
func (f Format) holds(t gguf.Type) bool {
	switch f {
	case Exact, F32:
		return true // values are float32 however they are stored
	case TF32:
		return t == gguf.F16 || t == gguf.BF16
	case F16:
		return t == gguf.F16
	case BF16:
		return t == gguf.BF16
	case Q8_0:
		return t == gguf.Q8_0
	}
	return false
}
