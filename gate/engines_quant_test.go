package gate_test

import (
	"encoding/binary"
	"math"

	"github.com/paritygate/paritygate/gate/engine/enginetest"
)

// q4_0 is ggml's number of the type.
const q4_0 enginetest.GGUFType = 2

// toQ4 quantises every matrix to Q4_0 as ggml's reference does: of each 32
// values the one of largest magnitude becomes −8 steps, and two values share a
// byte, the first sixteen in its low half.
func toQ4(g *enginetest.GGUF) error {
	for _, t := range g.Tensors {
		if len(t.Dims) < 2 {
			continue
		}
		v, err := t.Floats()
		if err != nil {
			return err
		}
		t.Type, t.Data = q4_0, nil
		for i := 0; i+32 <= len(v); i += 32 {
			t.Data = quantizeQ4(t.Data, v[i:i+32])
		}
	}
	return nil
}

func quantizeQ4(out []byte, v []float32) []byte {
	var most float32
	for _, x := range v {
		if math.Abs(float64(x)) > math.Abs(float64(most)) {
			most = x
		}
	}
	d := most / -8
	var inverse float32
	if d != 0 {
		inverse = 1 / d
	}
	out = binary.LittleEndian.AppendUint16(out, halfOf(d))
	step := func(x float32) byte { return byte(min(15, int8(x*inverse+8.5))) }
	for i := range 16 {
		out = append(out, step(v[i])|step(v[i+16])<<4)
	}
	return out
}

// halfOf rounds a normal f16 number's worth of f to f16, to nearest.
func halfOf(f float32) uint16 {
	frac, exp := math.Frexp(math.Abs(float64(f)))
	if frac == 0 || exp < -13 {
		return 0
	}
	h := uint16(exp+14)<<10 + uint16(math.RoundToEven(frac*2048)-1024)
	if f < 0 {
		h |= 0x8000
	}
	return h
}
