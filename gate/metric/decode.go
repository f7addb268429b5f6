package metric

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// littleEndianHost says that a block's bytes can be read in place.
var littleEndianHost = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// inPlace returns n values of type T that stand at the start of data without
// copying, or nil where the host cannot read them there.
func inPlace[T float32 | uint16](data []byte, n int) []T {
	var z T
	p := unsafe.Pointer(unsafe.SliceData(data))
	if n == 0 || !littleEndianHost || uintptr(p)%unsafe.Sizeof(z) != 0 || len(data) < n*int(unsafe.Sizeof(z)) {
		return nil
	}
	return unsafe.Slice((*T)(p), n)
}

// HalfToFloat32 widens an IEEE 754 half-precision pattern, exactly.
func HalfToFloat32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp, frac := uint32(h>>10)&31, uint32(h&1023)
	switch exp {
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	case 0:
		return math.Float32frombits(math.Float32bits(float32(frac)*0x1p-24) | sign)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// BFloat16ToFloat32 widens a bfloat16 pattern, exactly.
func BFloat16ToFloat32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// decode32 fills dst from little-endian F32, F16 or BF16 values.
func decode32(dst []float32, dtype DType, src []byte) {
	switch dtype {
	case F16:
		src = src[:2*len(dst)]
		for i := range dst {
			// Shift into the place of a float32 and rescale: exact for subnormals, and
			// without a branch but for infinities and NaN.
			h := uint32(binary.LittleEndian.Uint16(src[2*i:]))
			u := math.Float32bits(math.Float32frombits(h&0x7fff<<13) * 0x1p112)
			if h&0x7c00 == 0x7c00 {
				u |= 0x7f800000
			}
			dst[i] = math.Float32frombits(u | h&0x8000<<16)
		}
	case BF16:
		src = src[:2*len(dst)]
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
		}
	default:
		src = src[:4*len(dst)]
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	}
}

// decode64 fills dst from little-endian values of any dtype.
func decode64(dst []float64, dtype DType, src []byte) {
	switch dtype {
	case F64:
		src = src[:8*len(dst)]
		for i := range dst {
			dst[i] = math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:]))
		}
	case F16:
		for i := range dst {
			dst[i] = float64(HalfToFloat32(binary.LittleEndian.Uint16(src[2*i:])))
		}
	case BF16:
		for i := range dst {
			dst[i] = float64(BFloat16ToFloat32(binary.LittleEndian.Uint16(src[2*i:])))
		}
	default:
		for i := range dst {
			dst[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:])))
		}
	}
}
