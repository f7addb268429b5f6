package enginetest

import (
	"fmt"
	"strings"

	"github.com/paritygate/paritygate/gate/oracle/gguf"
)

// The edits below are what a mistake in an engine, or another precision, does
// to a model's numbers; pass them to Edit.

// SetKV changes a metadata entry; the key may leave out the architecture:
// SetKV("rope.freq_base", float32(10100)). The entry must be there, of that type.
func SetKV(key string, value any) func(*GGUF) error {
	return func(g *GGUF) error {
		for i, kv := range g.KV {
			if kv.Key != key && kv.Key != g.Architecture()+"."+key {
				continue
			}
			if fmt.Sprintf("%T", kv.Value) != fmt.Sprintf("%T", value) {
				return fmt.Errorf("%s is %T, not %T", kv.Key, kv.Value, value)
			}
			g.KV[i].Value = value
			return nil
		}
		return fmt.Errorf("no metadata %s", key)
	}
}

// Architecture is general.architecture.
func (g *GGUF) Architecture() string {
	for _, kv := range g.KV {
		if kv.Key == "general.architecture" {
			s, _ := kv.Value.(string)
			return s
		}
	}
	return ""
}

// Tensor is the tensor of that name, or nil.
func (g *GGUF) Tensor(name string) *Tensor {
	for _, t := range g.Tensors {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// Convert gives every matrix the type; vectors stay as they are. Rounding is to
// nearest, ties to even, for BF16 and F16, and ggml's reference quantisation
// for Q8_0.
func Convert(to GGUFType) func(*GGUF) error {
	return func(g *GGUF) error {
		for _, t := range g.Tensors {
			if len(t.Dims) < 2 && to != F32 {
				continue
			}
			if err := t.convert(to); err != nil {
				return err
			}
		}
		return nil
	}
}

// Widen gives every tensor F32, which loses nothing.
func Widen(g *GGUF) error { return Convert(F32)(g) }

// SwapLayers exchanges the weights of two layers.
func SwapLayers(a, b int) func(*GGUF) error {
	return func(g *GGUF) error {
		pa, pb := fmt.Sprintf("blk.%d.", a), fmt.Sprintf("blk.%d.", b)
		n := 0
		for _, t := range g.Tensors {
			if s, ok := strings.CutPrefix(t.Name, pa); ok {
				t.Name = pb + s
				n++
			} else if s, ok := strings.CutPrefix(t.Name, pb); ok {
				t.Name = pa + s
				n++
			}
		}
		if n == 0 {
			return fmt.Errorf("no layers %d and %d", a, b)
		}
		return nil
	}
}

// ScaleChannel multiplies one output channel of a matrix (a row of it in
// ggml's order) by factor: ScaleChannel("blk.2.ffn_down.weight", 7, 1.15).
func ScaleChannel(tensor string, channel int, factor float32) func(*GGUF) error {
	return edit(tensor, func(t *Tensor, v []float32) error {
		width := t.Dims[0]
		if channel < 0 || (channel+1)*width > len(v) {
			return fmt.Errorf("%s has no channel %d", tensor, channel)
		}
		for i := channel * width; i < (channel+1)*width; i++ {
			v[i] *= factor
		}
		return nil
	})
}

// ScaleColumn multiplies one input channel of a matrix (an element of each of
// its rows) by factor: ScaleColumn("blk.2.ffn_down.weight", 5, 0).
func ScaleColumn(tensor string, channel int, factor float32) func(*GGUF) error {
	return edit(tensor, func(t *Tensor, v []float32) error {
		width := t.Dims[0]
		if channel < 0 || channel >= width {
			return fmt.Errorf("%s has no input channel %d", tensor, channel)
		}
		for i := channel; i < len(v); i += width {
			v[i] *= factor
		}
		return nil
	})
}

// Scale multiplies a whole tensor by factor: Scale("blk.2.attn_norm.weight", 1.01).
func Scale(tensor string, factor float32) func(*GGUF) error {
	return edit(tensor, func(_ *Tensor, v []float32) error {
		for i := range v {
			v[i] *= factor
		}
		return nil
	})
}

// RotateHeads moves each of the heads of a projection one place on, in rows:
// RotateHeads("blk.1.attn_k.weight", 2). It takes part of a fused projection by
// the rows from first to last, exclusive; 0, 0 is all.
func RotateHeads(tensor string, heads int, firstLast ...int) func(*GGUF) error {
	return edit(tensor, func(t *Tensor, v []float32) error {
		width, first, last := t.Dims[0], 0, t.elements()/t.Dims[0]
		if len(firstLast) == 2 && firstLast[1] > 0 {
			first, last = firstLast[0], firstLast[1]
		}
		rows := last - first
		if heads < 2 || rows <= 0 || rows%heads != 0 || last*width > len(v) {
			return fmt.Errorf("%s: rows %d to %d are not %d heads", tensor, first, last, heads)
		}
		part := v[first*width : last*width]
		head := rows / heads * width
		copy(part, append(append([]float32{}, part[len(part)-head:]...), part[:len(part)-head]...))
		return nil
	})
}

// ShiftRows moves every row of a matrix one place on, the last one to the
// front: ShiftRows("token_embd.weight") makes every token look up the row of
// the token before it.
func ShiftRows(tensor string) func(*GGUF) error {
	return edit(tensor, func(t *Tensor, v []float32) error {
		width := t.Dims[0]
		copy(v, append(append([]float32{}, v[len(v)-width:]...), v[:len(v)-width]...))
		return nil
	})
}

// edit changes a tensor's values; its type stays.
func edit(tensor string, change func(*Tensor, []float32) error) func(*GGUF) error {
	return func(g *GGUF) error {
		t := g.Tensor(tensor)
		if t == nil {
			return fmt.Errorf("no tensor %s", tensor)
		}
		v, err := t.Floats()
		if err != nil {
			return err
		}
		if err := change(t, v); err != nil {
			return err
		}
		t.Data, err = encode(t.Type, v, t.Dims[0])
		return err
	}
}

func (t *Tensor) convert(to GGUFType) error {
	if t.Type == to {
		return nil
	}
	v, err := t.Floats()
	if err != nil {
		return err
	}
	data, err := encode(to, v, t.Dims[0])
	if err != nil {
		return fmt.Errorf("%s: %w", t.Name, err)
	}
	t.Type, t.Data = to, data
	return nil
}

// Floats are the tensor's values.
func (t *Tensor) Floats() ([]float32, error) {
	out := make([]float32, t.elements())
	if err := gguf.Dequantize(t.Type, out, t.Data); err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	return out, nil
}

// encode gives the values, whose rows are width wide, that type.
func encode(to GGUFType, v []float32, width int) ([]byte, error) {
	values, bytes := to.Block()
	if values == 0 || width%values != 0 {
		return nil, fmt.Errorf("rows of %d are no multiple of the block of %s, %d", width, to, values)
	}
	out := make([]byte, len(v)/values*bytes)
	return out, gguf.Quantize(to, out, v)
}
