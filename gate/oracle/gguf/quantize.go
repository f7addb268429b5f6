package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Quantize encodes src into whole blocks in dst, bit for bit as ggml does; the
// types are F32, F16, BF16 and Q8_0. Q8_0 has no code for what is not finite:
// such a value is an error that says where it is.
func Quantize(t Type, dst []byte, src []float32) error {
	if !contains(encodable, t) {
		return fmt.Errorf("%s cannot be written: want %s", t, list(encodable))
	}
	elems, bytes := t.Block()
	if len(src)%elems != 0 || len(src)/elems*bytes != len(dst) {
		return fmt.Errorf("%d elements do not make %d bytes of %s blocks (%d elements in %d bytes)", len(src), len(dst), t, elems, bytes)
	}
	le := binary.LittleEndian
	switch t {
	case F32:
		for i, v := range src {
			le.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	case F16:
		for i, v := range src {
			le.PutUint16(dst[2*i:], floatToHalf(v))
		}
	case BF16:
		for i, v := range src {
			le.PutUint16(dst[2*i:], floatToBrain(v))
		}
	case Q8_0:
		for b := 0; b < len(src); b += elems {
			if i := quantizeQ8_0(dst[b/elems*bytes:][:bytes], src[b:][:elems]); i >= 0 {
				return fmt.Errorf("element %d is %v, which Q8_0 cannot hold", b+i, src[b+i])
			}
		}
	}
	return nil
}

// quantizeQ8_0 encodes one block: d = max|x|/127 in float32, q = x·(1/d) rounded
// to nearest, ties away from zero; d is stored as a half. It returns the index
// of the first element that is not finite, −1 when there is none.
func quantizeQ8_0(dst []byte, src []float32) int {
	largest := float32(0)
	for i, v := range src {
		a := math.Float32frombits(math.Float32bits(v) &^ (1 << 31))
		if !(a <= math.MaxFloat32) {
			return i
		}
		largest = max(largest, a)
	}
	d := largest / 127
	inverse := float32(0)
	if d > 1/float32(math.MaxFloat32) { // else 1/d is infinite, and d is 0 as a half
		inverse = 1 / d
	}
	binary.LittleEndian.PutUint16(dst, floatToHalf(d))
	for i, v := range src {
		dst[2+i] = byte(int8(roundAway(v * inverse)))
	}
	return -1
}

// roundAway rounds to the nearest integer, ties away from zero, as C's roundf
// does, for |v| < 2^23. The sum is exact in float64, which in float32 it is not.
func roundAway(v float32) int32 {
	w := float64(v)
	return int32(w + math.Copysign(0.5, w))
}
