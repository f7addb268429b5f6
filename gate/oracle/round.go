package oracle

import "math"

// float is what the pass computes in.
type float interface{ float32 | float64 }

// round rounds v in place, to nearest and ties to even. Blocks begin at v[0];
// len(v) is a multiple of the format's block.
func round[T float](f Format, v []T) {
	switch f {
	case F32:
		roundF32(v)
	case TF32:
		roundTF32(v)
	case F16:
		roundF16(v)
	case BF16:
		roundBF16(v)
	case Q8_0:
		for ; len(v) >= 32; v = v[32:] {
			quantizeQ8_0(v[:32])
		}
	case Q8_K:
		for ; len(v) >= 256; v = v[256:] {
			quantizeQ8_K(v[:256])
		}
	}
}

func roundF32[T float](v []T) {
	if v, ok := any(v).([]float64); ok {
		for i, x := range v {
			v[i] = float64(float32(x))
		}
	}
}

func roundTF32[T float](v []T) {
	switch v := any(v).(type) {
	case []float32:
		for i, x := range v {
			v[i] = tensor32(x)
		}
	case []float64:
		for i, x := range v {
			v[i] = tensor64(x)
		}
	}
}

// tensor32 rounds to TF32.
func tensor32(x float32) float32 {
	if x != x {
		return x
	}
	b := math.Float32bits(x)
	return math.Float32frombits((b + 0xfff + b>>13&1) &^ 0x1fff)
}

// tensor64 rounds once where TF32 is normal, else by way of float32.
func tensor64(x float64) float64 {
	if a := math.Abs(x); !(a >= 0x1p-126 && a < 0x1p127) {
		return float64(tensor32(float32(x)))
	}
	b := math.Float64bits(x)
	b += 1<<41 - 1 + b>>42&1
	return math.Float64frombits(b &^ (1<<42 - 1))
}

func roundF16[T float](v []T) {
	switch v := any(v).(type) {
	case []float32:
		for i, x := range v {
			v[i] = half32(x)
		}
	case []float64:
		for i, x := range v {
			v[i] = half64(x)
		}
	}
}

// half32 rounds to IEEE half.
func half32(x float32) float32 {
	b := math.Float32bits(x)
	switch e := b & 0x7f800000; {
	case e >= 0x47000000: // 2^15 and more, not finite
		if b&0x7fffffff > 0x7f800000 {
			return x
		}
		if b&0x7fffffff >= 0x477ff000 {
			return float32(math.Copysign(math.Inf(1), float64(x)))
		}
	case e < 0x38800000: // subnormal: adding 0.5 rounds at its ulp, 2^-24
		r := math.Float32frombits(b&0x7fffffff) + 0.5 - 0.5
		return math.Float32frombits(math.Float32bits(r) | b&0x80000000)
	}
	b += 0xfff + b>>13&1
	return math.Float32frombits(b &^ 0x1fff)
}

func half64(x float64) float64 {
	switch a := math.Abs(x); {
	case !(a < 65520): // NaN stays
		return x + math.Copysign(math.Inf(1), x)
	case a < 0x1p-14:
		return math.RoundToEven(x*0x1p24) * 0x1p-24
	}
	b := math.Float64bits(x)
	b += 1<<41 - 1 + b>>42&1
	return math.Float64frombits(b &^ (1<<42 - 1))
}

func roundBF16[T float](v []T) {
	switch v := any(v).(type) {
	case []float32:
		for i, x := range v {
			v[i] = brain32(x)
		}
	case []float64:
		for i, x := range v {
			v[i] = brain64(x)
		}
	}
}

func brain32(x float32) float32 {
	if x != x {
		return x
	}
	b := math.Float32bits(x)
	return math.Float32frombits((b + 0x7fff + b>>16&1) &^ 0xffff)
}

// brain64 rounds once where bfloat16 is normal; its subnormals are rounded by
// way of float32.
func brain64(x float64) float64 {
	if a := math.Abs(x); !(a >= 0x1p-126 && a < 0x1p127) {
		return float64(brain32(float32(x)))
	}
	b := math.Float64bits(x)
	b += 1<<44 - 1 + b>>45&1
	return math.Float64frombits(b &^ (1<<45 - 1))
}

// quantizeQ8_0 rounds one block as ggml does: codes by the scale before it is
// rounded to f16, values by the scale after.
func quantizeQ8_0[T float](v []T) {
	var most float32
	for _, x := range v {
		most = max(most, float32(math.Abs(float64(x)))) // a NaN wins
	}
	d := most / 127
	var inverse float32
	if d != 0 {
		inverse = 1 / d
	}
	scale := half32(d)
	for i, x := range v {
		scaled := float32(x) * inverse
		v[i] = T(float32(math.RoundToEven(float64(scaled))) * scale)
	}
}

func quantizeQ8_K[T float](v []T) {
	var most float32
	for _, x := range v {
		most = max(most, float32(math.Abs(float64(x))))
	}
	if most == 0 {
		clear(v)
		return
	}
	inverse := 127 / most
	d := 1 / inverse
	for i, x := range v {
		scaled := float32(x) * inverse
		v[i] = T(float32(math.RoundToEven(float64(scaled))) * d)
	}
}
