package metric

// Widen fills dst with the little-endian values of src, len(dst) of them, as
// float64: exactly, whatever their dtype.
func Widen(dst []float64, dtype DType, src []byte) { decode64(dst, dtype, src) }
