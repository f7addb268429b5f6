package gguf

import (
	"encoding/binary"
	"math"
)

// number is what is dequantised into. Every value is computed in float32 and
// then widened. A product that is added to is converted to float32 explicitly,
// which keeps Go from fusing the two: ggml's libraries round twice.
type number interface{ float32 | float64 }

// dequantize decodes whole blocks; sizes and type have been checked.
func dequantize[T number](t Type, dst []T, src []byte) {
	switch t {
	case F32:
		dequantizeF32(dst, src)
	case F16:
		dequantizeF16(dst, src)
	case BF16:
		dequantizeBF16(dst, src)
	case Q8_0:
		dequantizeQ8_0(dst, src)
	case Q4_0:
		dequantizeQ4_0(dst, src)
	case Q4_1:
		dequantizeQ4_1(dst, src)
	case Q5_0:
		dequantizeQ5_0(dst, src)
	case Q5_1:
		dequantizeQ5_1(dst, src)
	case Q2_K:
		dequantizeQ2_K(dst, src)
	case Q3_K:
		dequantizeQ3_K(dst, src)
	case Q4_K:
		dequantizeQ4_K(dst, src)
	case Q5_K:
		dequantizeQ5_K(dst, src)
	case Q6_K:
		dequantizeQ6_K(dst, src)
	}
}

func half(b []byte) float32 { return halfToFloat(binary.LittleEndian.Uint16(b)) }

func dequantizeF32[T number](dst []T, src []byte) {
	for ; len(dst) >= 2 && len(src) >= 8; dst, src = dst[2:], src[8:] {
		u := binary.LittleEndian.Uint64(src)
		dst[0] = T(math.Float32frombits(uint32(u)))
		dst[1] = T(math.Float32frombits(uint32(u >> 32)))
	}
	if len(dst) > 0 {
		dst[0] = T(math.Float32frombits(binary.LittleEndian.Uint32(src)))
	}
}

// Four halves at a time, as nearly all weights are normal numbers: then no
// exponent is 0 (one less would borrow from the bit above it) or 31 (one more
// would carry into it), and widening only rebiases exponents.
func dequantizeF16[T number](dst []T, src []byte) {
	const exponents, ones, above = 0x7c007c007c007c00, 0x0400040004000400, 0x8000800080008000
	for ; len(dst) >= 4 && len(src) >= 8; dst, src = dst[4:], src[8:] {
		u := binary.LittleEndian.Uint64(src)
		if e := u & exponents; ((e-ones)|(e+ones))&above == 0 {
			dst[0] = T(normalHalf(u))
			dst[1] = T(normalHalf(u >> 16))
			dst[2] = T(normalHalf(u >> 32))
			dst[3] = T(normalHalf(u >> 48))
			continue
		}
		for i := range dst[:4] {
			dst[i] = T(halfToFloat(uint16(u >> (16 * i))))
		}
	}
	for i := range dst {
		dst[i] = T(half(src[2*i:]))
	}
}

// normalHalf widens the normal half in the low 16 bits.
func normalHalf(u uint64) float32 {
	h := uint32(u)
	return math.Float32frombits(h&0x8000<<16 | h&0x7fff<<13 + 112<<23)
}

func dequantizeBF16[T number](dst []T, src []byte) {
	for ; len(dst) >= 4 && len(src) >= 8; dst, src = dst[4:], src[8:] {
		u := binary.LittleEndian.Uint64(src)
		dst[0] = T(math.Float32frombits(uint32(u) << 16))
		dst[1] = T(math.Float32frombits(uint32(u) & 0xffff0000))
		dst[2] = T(math.Float32frombits(uint32(u>>32) << 16))
		dst[3] = T(math.Float32frombits(uint32(u>>32) & 0xffff0000))
	}
	for i := range dst {
		dst[i] = T(math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16))
	}
}

// Blocks of 32 elements. Of packed halves of a byte, the low ones are the first
// 16 elements, the high ones the last 16.

// Q8_0: f16 scale d, 32 int8 q. x = d·q.
func dequantizeQ8_0[T number](dst []T, src []byte) {
	for ; len(dst) >= 32 && len(src) >= 34; dst, src = dst[32:], src[34:] {
		d, q, x := half(src), src[2:34], dst[:32]
		for i := range 32 {
			x[i] = T(float32(int8(q[i])) * d)
		}
	}
}

// Q4_0: f16 scale d, 32 × 4 bits q. x = d·(q − 8).
func dequantizeQ4_0[T number](dst []T, src []byte) {
	for ; len(dst) >= 32 && len(src) >= 18; dst, src = dst[32:], src[18:] {
		d, q, x := half(src), src[2:18], dst[:32]
		for i := range 16 {
			x[i] = T(float32(int(q[i]&15)-8) * d)
			x[i+16] = T(float32(int(q[i]>>4)-8) * d)
		}
	}
}

// Q4_1: f16 scale d, f16 minimum m, 32 × 4 bits q. x = d·q + m.
func dequantizeQ4_1[T number](dst []T, src []byte) {
	for ; len(dst) >= 32 && len(src) >= 20; dst, src = dst[32:], src[20:] {
		d, m, q, x := half(src), half(src[2:]), src[4:20], dst[:32]
		for i := range 16 {
			x[i] = T(float32(float32(q[i]&15)*d) + m)
			x[i+16] = T(float32(float32(q[i]>>4)*d) + m)
		}
	}
}

// Q5_0: f16 scale d, 32 fifth bits, 32 × 4 bits q. x = d·(q − 16).
func dequantizeQ5_0[T number](dst []T, src []byte) {
	for ; len(dst) >= 32 && len(src) >= 22; dst, src = dst[32:], src[22:] {
		d, high, q, x := half(src), binary.LittleEndian.Uint32(src[2:]), src[6:22], dst[:32]
		for i := range 16 {
			x[i] = T(float32(int32(uint32(q[i]&15)|high>>i<<4&16)-16) * d)
			x[i+16] = T(float32(int32(uint32(q[i]>>4)|high>>(i+16)<<4&16)-16) * d)
		}
	}
}

// Q5_1: f16 scale d, f16 minimum m, 32 fifth bits, 32 × 4 bits q. x = d·q + m.
func dequantizeQ5_1[T number](dst []T, src []byte) {
	for ; len(dst) >= 32 && len(src) >= 24; dst, src = dst[32:], src[24:] {
		d, m, high, q, x := half(src), half(src[2:]), binary.LittleEndian.Uint32(src[4:]), src[8:24], dst[:32]
		for i := range 16 {
			x[i] = T(float32(float32(int32(uint32(q[i]&15)|high>>i<<4&16))*d) + m)
			x[i+16] = T(float32(float32(int32(uint32(q[i]>>4)|high>>(i+16)<<4&16))*d) + m)
		}
	}
}
