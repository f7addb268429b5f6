package gguf

// The k-quants: blocks of 256 elements, cut into sub-blocks of 16 or 32 with
// small integer scales (and minima), themselves scaled by one or two halves.

// Q2_K: 16 bytes, each a 4-bit scale s and, above it, a 4-bit minimum n, of a
// sub-block of 16; 64 bytes of 2-bit q; f16 d, f16 m. x = (d·s)·q − m·n.
//
// 32 bytes of q hold 128 elements: bits 0–1 of all bytes the first 32 of them,
// bits 2–3 the next 32, and so on.
func dequantizeQ2_K[T number](dst []T, src []byte) {
	for ; len(dst) >= 256 && len(src) >= 84; dst, src = dst[256:], src[84:] {
		scales, d, m := src[:16], half(src[80:]), half(src[82:])
		for sub := range 16 {
			scale := d * float32(scales[sub]&15)
			minimum := m * float32(scales[sub]>>4)
			shift := uint(sub) / 2 % 4 * 2
			q, x := src[16+sub/8*32+sub%2*16:][:16], dst[16*sub:][:16]
			for i := range 16 {
				x[i] = T(float32(scale*float32(q[i]>>shift&3)) - minimum)
			}
		}
	}
}

// Q3_K: 32 bytes of third bits h; 64 bytes of 2-bit q, laid out as in Q2_K;
// 16 × 6-bit scales s in 12 bytes; f16 d. x = (d·(s − 32))·(q − (h ? 0 : 4)).
//
// Bit k of byte i of the third bits belongs to element 32·k + i. The first 8
// bytes of the scales are the low 4 bits of scales 0–7, above them those of
// 8–15; the other 4 bytes hold the upper 2 bits, of scales 0–3 in bits 0–1.
func dequantizeQ3_K[T number](dst []T, src []byte) {
	for ; len(dst) >= 256 && len(src) >= 110; dst, src = dst[256:], src[110:] {
		high, scales, d := src[:32], src[96:108], half(src[108:])
		for sub := range 16 {
			s := int(scales[sub%8]>>(sub/8*4)&15) | int(scales[8+sub%4]>>(sub/4*2)&3)<<4
			scale := d * float32(s-32)
			shift, bit := uint(sub)/2%4*2, uint(sub)/2
			q, h, x := src[32+sub/8*32+sub%2*16:][:16], high[sub%2*16:][:16], dst[16*sub:][:16]
			for i := range 16 {
				third := int32(h[i]>>bit&1) << 2
				x[i] = T(scale * float32(int32(q[i]>>shift&3)+third-4))
			}
		}
	}
}

// scaleAndMin unpacks one of the eight 6-bit scales and minima of Q4_K and Q5_K
// from their 12 bytes: scales 0–3 and minima 0–3 in the low 6 bits of bytes 0–3
// and 4–7; of 4–7 the low 4 bits in the halves of bytes 8–11, the upper 2 in the
// upper bits of bytes 0–3 and 4–7.
func scaleAndMin(packed []byte, sub int) (scale, minimum uint8) {
	packed = packed[:12]
	if sub < 4 {
		return packed[sub] & 63, packed[sub+4] & 63
	}
	return packed[sub+4]&15 | packed[sub-4]>>6<<4, packed[sub+4]>>4 | packed[sub]>>6<<4
}

// Q4_K: f16 d, f16 m; 8 scales s and minima n of 6 bits, of sub-blocks of 32;
// 128 bytes of 4-bit q. x = (d·s)·q − m·n.
//
// 32 bytes of q hold two sub-blocks, the first in the low halves.
func dequantizeQ4_K[T number](dst []T, src []byte) {
	for ; len(dst) >= 256 && len(src) >= 144; dst, src = dst[256:], src[144:] {
		d, m, scales := half(src), half(src[2:]), src[4:16]
		for pair := range 4 {
			s0, n0 := scaleAndMin(scales, 2*pair)
			s1, n1 := scaleAndMin(scales, 2*pair+1)
			scale0, minimum0 := d*float32(s0), m*float32(n0)
			scale1, minimum1 := d*float32(s1), m*float32(n1)
			q, x := src[16+32*pair:][:32], dst[64*pair:][:64]
			for i := range 32 {
				x[i] = T(float32(scale0*float32(q[i]&15)) - minimum0)
				x[i+32] = T(float32(scale1*float32(q[i]>>4)) - minimum1)
			}
		}
	}
}

// Q5_K: as Q4_K, with 32 bytes of fifth bits before the 4-bit q: bit k of byte i
// belongs to element i of sub-block k.
func dequantizeQ5_K[T number](dst []T, src []byte) {
	for ; len(dst) >= 256 && len(src) >= 176; dst, src = dst[256:], src[176:] {
		d, m, scales, high := half(src), half(src[2:]), src[4:16], src[16:48]
		for pair := range 4 {
			s0, n0 := scaleAndMin(scales, 2*pair)
			s1, n1 := scaleAndMin(scales, 2*pair+1)
			scale0, minimum0 := d*float32(s0), m*float32(n0)
			scale1, minimum1 := d*float32(s1), m*float32(n1)
			q, x := src[48+32*pair:][:32], dst[64*pair:][:64]
			for i := range 32 {
				fifth := high[i] >> (2 * uint(pair)) & 3
				x[i] = T(float32(scale0*float32(q[i]&15|fifth<<4&16)) - minimum0)
				x[i+32] = T(float32(scale1*float32(q[i]>>4|fifth<<3&16)) - minimum1)
			}
		}
	}
}

// Q6_K: 128 bytes of low 4 bits, 64 bytes of upper 2 bits, 16 int8 scales s of
// sub-blocks of 16, f16 d. x = (d·s)·(q − 32).
//
// 64 low and 32 upper bytes hold 128 elements: the low halves of the low bytes
// the first 64, the high halves the last; bits 0–1 of the upper bytes belong to
// the first 32, bits 2–3 to the next, and so on.
func dequantizeQ6_K[T number](dst []T, src []byte) {
	for ; len(dst) >= 256 && len(src) >= 210; dst, src = dst[256:], src[210:] {
		scales, d := src[192:208], half(src[208:])
		for quarter := range 8 { // 32 elements each
			n := quarter % 4
			low := src[quarter/4*64+n%2*32:][:32]
			high := src[128+quarter/4*32:][:32]
			shift, upper := uint(n)/2*4, uint(n)*2
			x := dst[32*quarter:][:32]
			scale0 := d * float32(int8(scales[2*quarter]))
			scale1 := d * float32(int8(scales[2*quarter+1]))
			for i := range 16 {
				x[i] = T(scale0 * float32(int32(low[i]>>shift&15|high[i]>>upper&3<<4)-32))
				x[i+16] = T(scale1 * float32(int32(low[i+16]>>shift&15|high[i+16]>>upper&3<<4)-32))
			}
		}
	}
}
