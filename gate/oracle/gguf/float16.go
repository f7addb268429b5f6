package gguf

import "math"

// halfToFloat widens an IEEE half. Signalling NaNs become quiet.
func halfToFloat(h uint16) float32 {
	sign, rest := uint32(h&0x8000)<<16, uint32(h&0x7fff)
	switch {
	case rest-0x400 < 0x7800: // normal: rebias the exponent, 15 to 127
		return math.Float32frombits(sign | rest<<13 + 112<<23)
	case rest < 0x400: // zero or subnormal, a multiple of 2^-24, the ulp of 0.5
		v := math.Float32frombits(math.Float32bits(0.5)|rest) - 0.5
		return math.Float32frombits(sign | math.Float32bits(v))
	case rest == 0x7c00:
		return math.Float32frombits(sign | 0x7f800000)
	}
	return math.Float32frombits(sign | 0x7fc00000 | rest<<13)
}

// floatToHalf rounds to an IEEE half, to nearest, ties to even. A NaN becomes
// the one NaN that ggml writes.
func floatToHalf(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00
	case b >= 0x477ff000: // rounds to 2^16 or more
		return sign | 0x7c00
	case b < 0x38800000: // subnormal: adding 0.5 rounds at its ulp, 2^-24
		v := math.Float32bits(math.Float32frombits(b) + 0.5)
		return sign | uint16(v-math.Float32bits(0.5))
	}
	b += 0xfff + b>>13&1
	return sign | uint16((b-112<<23)>>13)
}

// floatToBrain rounds to bfloat16, to nearest, ties to even; NaNs become quiet.
func floatToBrain(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}
