package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"github.com/paritygate/paritygate/gate/trace"
)

// shape is the size of one side of a synthetic pair.
type shape struct {
	layers, positions, width, vocabulary int
	// filled positions hold values; the file has a hole where the others would be,
	// which reads as zeros. 0 fills all.
	filled int
}

// names are the checkpoints in forward order; two of them are no layer.
func (s shape) names() []string {
	out := []string{"embedding"}
	for i := range s.layers {
		out = append(out, fmt.Sprintf("layer_%d_output", i))
	}
	return append(out, "final_norm", "logits")
}

func (s shape) widthOf(name string) int {
	if name == "logits" {
		return s.vocabulary
	}
	return s.width
}

// values is how many values one side holds.
func (s shape) values() int64 {
	return int64(s.positions) * (int64(s.layers+2)*int64(s.width) + int64(s.vocabulary))
}

// pair is the two files of a synthetic comparison.
type pair struct{ ref, cand string }

func pairIn(dir, name, ext string) pair {
	return pair{filepath.Join(dir, name+".reference."+ext), filepath.Join(dir, name+".candidate."+ext)}
}

// bytes is the size of both files as reading sees it.
func (p pair) bytes() int64 {
	var n int64
	for _, f := range []string{p.ref, p.cand} {
		if st, err := os.Stat(f); err == nil {
			n += st.Size()
		}
	}
	return n
}

// noise is a candidate's relative error in each layer, by the type of its
// values: about what one rounding costs, so that a pair passes.
var noise = map[trace.DType]float32{trace.F32: 0x1p-24, trace.F16: 0x1p-12, trace.BF16: 0x1p-9}

// quantiles are values of the standard normal distribution, each as likely.
var quantiles = func() []float32 {
	q := make([]float32, 1<<16)
	for i := range q {
		q[i] = float32(math.Sqrt2 * math.Erfinv(2*(float64(i)+0.5)/float64(len(q))-1))
	}
	return q
}()

// normal draws from the standard normal distribution, the same for the same seed.
type normal struct {
	from rand.PCG
	bits uint64
	left int
}

func (n *normal) next() float32 {
	if n.left == 0 {
		n.bits, n.left = n.from.Uint64(), 4
	}
	v := quantiles[n.bits&0xffff]
	n.bits >>= 16
	n.left--
	return v
}

// synth makes one pair checkpoint by checkpoint. Every layer adds a third of
// the stream's size to it, the candidate's with noise.
type synth struct {
	shape
	unit      float32
	ref, cand [][]float32 // the residual stream by position
}

func newSynth(s shape, dtype trace.DType) *synth {
	m := &synth{shape: s, unit: noise[dtype]}
	for range s.rows() {
		m.ref = append(m.ref, make([]float32, s.width))
		m.cand = append(m.cand, make([]float32, s.width))
	}
	return m
}

func (s shape) rows() int {
	if s.filled > 0 {
		return s.filled
	}
	return s.positions
}

// row is the next checkpoint's row at position i; ref and cand are scratch of
// its width that the answer may lie in.
func (m *synth) row(checkpoint, i int, name string, ref, cand []float32) (r, c []float32) {
	rng := normal{from: *rand.NewPCG(uint64(checkpoint), uint64(i))}
	switch name {
	case "embedding", "logits", "final_norm":
		size := map[string]float32{"embedding": 1, "final_norm": 1, "logits": 3}[name]
		for e := range ref {
			ref[e] = size * (rng.next() + 1e-3*rng.next()) // the second keeps values apart
			cand[e] = ref[e] * (1 + m.unit*rng.next())
		}
		if name == "logits" {
			// One token stands out, or noise would choose among the largest.
			at := i * 7919 % len(ref)
			ref[at], cand[at] = 20, 20
		} else if name == "embedding" {
			copy(m.ref[i], ref)
			copy(m.cand[i], cand)
		}
		return ref, cand
	}
	r, c = m.ref[i], m.cand[i]
	for e := range r {
		step := 0.3 * rng.next()
		r[e] += step
		c[e] += step * (1 + m.unit*rng.next())
	}
	return r, c
}

// each makes all rows of a checkpoint on all processors.
func (m *synth) each(checkpoint int, name string, use func(i int, r, c []float32) error) error {
	workers := runtime.NumCPU()
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			n := m.widthOf(name)
			ref, cand := make([]float32, n), make([]float32, n)
			for i := w; i < m.rows() && errs[w] == nil; i += workers {
				r, c := m.row(checkpoint, i, name, ref, cand)
				errs[w] = use(i, r, c)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// writeSafetensors writes a pair. It does not wait for the disk: the files are
// to be read from the page cache.
func writeSafetensors(p pair, s shape, dtype trace.DType) error {
	var files [2]*os.File
	var data int64
	offsets := map[string]int64{}
	for side, path := range []string{p.ref, p.cand} {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		files[side] = f
		header, size := layout(s, dtype, offsets)
		data = int64(len(header))
		if _, err := f.Write(header); err != nil {
			return err
		}
		if err := f.Truncate(data + size); err != nil {
			return err
		}
	}
	m := newSynth(s, dtype)
	for k, name := range s.names() {
		rowBytes := int64(s.widthOf(name) * dtype.Size())
		err := m.each(k, name, func(i int, r, c []float32) error {
			for side, v := range [][]float32{r, c} {
				if _, err := files[side].WriteAt(encode(v, dtype), data+offsets[name]+int64(i)*rowBytes); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// layout is the header with its size in front, and the size of the data.
func layout(s shape, dtype trace.DType, offsets map[string]int64) ([]byte, int64) {
	header := map[string]any{"__metadata__": map[string]string{"paritygate": "1", "engine": "bench", "prompt": "bench", "compute_dtype": dtype.String()}}
	var end int64
	for _, name := range s.names() {
		n := int64(s.positions) * int64(s.widthOf(name)) * int64(dtype.Size())
		header[name] = map[string]any{"dtype": dtype.String(), "shape": []int{s.positions, s.widthOf(name)}, "data_offsets": []int64{end, end + n}}
		offsets[name] = end
		end += n
	}
	text, _ := json.Marshal(header) // maps of strings and numbers always marshal
	for len(text)%8 != 0 {
		text = append(text, ' ')
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), end
}

// encode is the values in the type's bytes.
func encode(v []float32, dtype trace.DType) []byte {
	out := make([]byte, 0, len(v)*dtype.Size())
	for _, x := range v {
		switch dtype {
		case trace.F16:
			out = binary.LittleEndian.AppendUint16(out, half(x))
		case trace.BF16:
			b := math.Float32bits(x)
			out = binary.LittleEndian.AppendUint16(out, uint16((b+0x7fff+b>>16&1)>>16))
		default:
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(x))
		}
	}
	return out
}

// half rounds a value within the range of float16 to it, to even.
func half(x float32) uint16 {
	b := math.Float32bits(x)
	sign, b := uint16(b>>16&0x8000), b&0x7fffffff
	if b < 0x38800000 { // below 2⁻¹⁴, in steps of 2⁻²⁴
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(b))*(1<<24)))
	}
	return sign | uint16((b+0xfff+b>>13&1)>>13-112<<10)
}

// writeJSONL writes a pair as logs, numbers as C's %.9g prints them.
func writeJSONL(p pair, s shape) error {
	m := newSynth(s, trace.F32)
	var files [2]*os.File
	for side, path := range []string{p.ref, p.cand} {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		files[side] = f
	}
	for k, name := range s.names() {
		lines := [2][][]byte{make([][]byte, s.rows()), make([][]byte, s.rows())}
		m.each(k, name, func(i int, r, c []float32) error { // no error comes of formatting
			lines[0][i], lines[1][i] = line(name, i, r), line(name, i, c)
			return nil
		})
		for side := range files {
			if _, err := files[side].Write(slices.Concat(lines[side]...)); err != nil {
				return err
			}
		}
	}
	return nil
}

func line(name string, position int, v []float32) []byte {
	b := fmt.Appendf(make([]byte, 0, 16*len(v)), `{"checkpoint":%q,"team":"bench","token_idx":%d,"dtype":"f32","shape":"[%d]","values":[`, name, position, len(v))
	return append(appendNumbers(b, v), "]}\n"...)
}

// appendNumbers appends values with commas between them.
func appendNumbers(b []byte, v []float32) []byte {
	for i, x := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(x), 'g', 9, 64)
	}
	return b
}
