package gguf

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/oracle/gguf/internal/realengine"
)

var update = flag.Bool("update", false, "write golden files anew, from the real ggml")

const golden = "testdata/dequantize.golden"

// halves are where a block keeps its f16 scales and minima.
var halves = map[Type][]int{
	Q8_0: {0}, Q4_0: {0}, Q4_1: {0, 2}, Q5_0: {0}, Q5_1: {0, 2},
	Q2_K: {80, 82}, Q3_K: {108}, Q4_K: {0, 2}, Q5_K: {0, 2}, Q6_K: {208},
}

// scales are zero, the smallest and largest subnormal, the smallest normal, one,
// the largest, infinities and NaNs.
var scales = []uint16{0, 0x8000, 1, 0x8001, 0x03ff, 0x0400, 0x3c00, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00, 0x7c01, 0xffff}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// hardBlocks are blocks that no sane model holds, and random ones.
func hardBlocks(t Type, r *rand.Rand, random int) []byte {
	var all []byte
	if t == F16 || t == BF16 {
		for v := range 1 << 16 {
			all = binary.LittleEndian.AppendUint16(all, uint16(v))
		}
		return all
	}
	_, size := t.Block()
	all = append(all, make([]byte, size)...)
	all = append(all, bytes.Repeat([]byte{0xff}, size)...)
	for _, first := range scales {
		for _, second := range scales {
			b := randomBytes(r, size)
			for i, at := range halves[t] {
				binary.LittleEndian.PutUint16(b[at:], []uint16{first, second}[i])
			}
			all = append(all, b...)
		}
	}
	return append(all, randomBytes(r, random*size)...)
}

// weights are values as models have them, with some outliers.
func weights(r *rand.Rand, n int) []float32 {
	w := make([]float32, n)
	for i := range w {
		w[i] = float32(r.NormFloat64() * 0.05)
		if r.IntN(200) == 0 {
			w[i] *= 50
		}
	}
	return w
}

func floatBytes(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

func bytesFloats(b []byte) []float32 {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

// same is equality of bits, but for NaNs.
func same(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b
}

// checkDecode decodes blocks into both float types and compares with want.
func checkDecode(t *testing.T, kind Type, blocks []byte, want []float32) {
	t.Helper()
	got, wide := make([]float32, len(want)), make([]float64, len(want))
	if err := Dequantize(kind, got, blocks); err != nil {
		t.Fatal(err)
	}
	if err := Dequantize(kind, wide, blocks); err != nil {
		t.Fatal(err)
	}
	elems, size := kind.Block()
	wrong := 0
	for i := range want {
		if same(got[i], want[i]) && (wide[i] == float64(want[i]) || want[i] != want[i] && wide[i] != wide[i]) {
			continue
		}
		if wrong++; wrong <= 3 {
			b := i / elems
			t.Errorf("%s element %d of block %x: %v (%08x), as float64 %v, ggml %v (%08x)", kind, i%elems, blocks[b*size:][:size],
				got[i], math.Float32bits(got[i]), wide[i], want[i], math.Float32bits(want[i]))
		}
	}
	if wrong > 0 {
		t.Errorf("%s: %d of %d values differ from ggml's", kind, wrong, len(want))
	}
}

func TestTypesAsGGML(t *testing.T) {
	program := realengine.Compile(t, "testdata/ggml.c")
	theirs := map[Type]layout{}
	for line := range strings.Lines(string(realengine.Run(t, nil, program, "types"))) {
		var n uint32
		var l layout
		if _, err := fmt.Sscan(line, &n, &l.name, &l.elems, &l.bytes); err != nil {
			t.Fatal(err)
		}
		l.name = strings.ToUpper(l.name)
		theirs[Type(n)] = l
	}
	for k, want := range theirs {
		if got := layouts[k]; got != want {
			t.Errorf("type %d: %v, ggml has %v", uint32(k), got, want)
		}
	}
	if len(theirs) != len(layouts) {
		t.Errorf("%d types, ggml has %d", len(layouts), len(theirs))
	}
}

// TestWrittenAsGGMLReads has ggml read a written file: it finds the same keys
// of the same types, and the tensors at the same bytes.
func TestWrittenAsGGMLReads(t *testing.T) {
	program := realengine.Compile(t, "testdata/ggml.c")
	for _, align := range []uint32{1, 32, 256} {
		path := write(t, &Description{Metadata: append([]KeyValue{{keyAlignment, align}}, everyKind...), Tensors: []TensorData{
			numbered("one", F32, 3), numbered("two", F16, 5, 2), numbered("three", BF16, 7, 3, 2), numbered("four", Q8_0, 64, 2, 1, 3)}})
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var ours strings.Builder
		for _, e := range f.entries {
			if e.array {
				fmt.Fprintf(&ours, "%s array %d %d\n", e.key, e.kind, e.count)
			} else {
				fmt.Fprintf(&ours, "%s %d\n", e.key, e.kind)
			}
		}
		for _, tensor := range f.tensors {
			fmt.Fprintf(&ours, "%s %d %d\n", tensor.Name, uint32(tensor.Type), tensor.offset)
		}
		if theirs := string(realengine.Run(t, nil, program, "list", path)); theirs != ours.String() {
			t.Errorf("alignment %d: ggml reads\n%s\nwe read\n%s", align, theirs, ours.String())
		}
	}
}

func TestDequantizeAsGGML(t *testing.T) {
	program := realengine.Compile(t, "testdata/ggml.c")
	r := rand.New(rand.NewPCG(1, 2))
	w := weights(r, 64*1024)
	compared := 0
	for _, kind := range decodable {
		if kind == F32 { // stored as it is: ggml has no conversion
			continue
		}
		number := strconv.Itoa(int(kind))
		blocks := hardBlocks(kind, r, 500)
		blocks = append(blocks, realengine.Run(t, floatBytes(w), program, "encode", number, "1024")...)
		want := bytesFloats(realengine.Run(t, blocks, program, "decode", number))
		elems, size := kind.Block()
		if len(want) != len(blocks)/size*elems {
			t.Fatalf("%s: ggml made %d values of %d blocks", kind, len(want), len(blocks)/size)
		}
		checkDecode(t, kind, blocks, want)
		compared += len(want)
	}
	t.Logf("%d values compared", compared)
}

func TestQuantizeAsGGML(t *testing.T) {
	program := realengine.Compile(t, "testdata/ggml.c")
	r := rand.New(rand.NewPCG(3, 4))
	w := weights(r, 1<<16)
	for _, scale := range []float32{1e-42, 1e-38, 4e-37, 1e-30, 1e-7, 6e-8, 1e5, 1e34} { // scales that round to 0, subnormal, Inf
		for _, v := range w[:1024] {
			w = append(w, v*scale)
		}
	}
	for i := range 32 * 64 { // ties of the rounding to int8, and just below
		v := float32(i%255-127) + 0.5
		if i/255%2 == 1 {
			v = math.Nextafter32(v, 0)
		}
		if i%32 == 0 {
			v = 127
		}
		w = append(w, v)
	}
	w = append(w, make([]float32, 32)...)
	var halves []float32 // every half, and the floats beside and between halves
	for h := range uint16(0x7c00) {
		v := halfToFloat(h)
		between := v + (halfToFloat(h+1)-v)/2
		halves = append(halves, v, -v, between, math.Nextafter32(between, 0), math.Nextafter32(between, -1e9), -between)
	}
	for range 1 << 16 {
		halves = append(halves, math.Float32frombits(r.Uint32()))
	}
	halves = halves[:len(halves)/1024*1024]
	for _, kind := range encodable {
		values := w
		if kind != Q8_0 {
			values = halves
		}
		want := realengine.Run(t, floatBytes(values), program, "encode", strconv.Itoa(int(kind)), "32")
		got := make([]byte, len(want))
		if err := Quantize(kind, got, values); err != nil {
			t.Fatal(err)
		}
		elems, size := kind.Block()
		wrong := 0
		for b := 0; b < len(want); b += size {
			if !bytes.Equal(got[b:][:size], want[b:][:size]) {
				if wrong++; wrong <= 3 {
					t.Errorf("%s of %v: %x, ggml %x", kind, values[b/size*elems:][:elems], got[b:][:size], want[b:][:size])
				}
			}
		}
		if wrong > 0 {
			t.Errorf("%s: %d of %d blocks differ from ggml's", kind, wrong, len(want)/size)
		}
	}
}

// TestDequantizeGolden needs no engine: ggml's values of a few blocks of each
// type are stored. With -update they are written anew by the real ggml.
func TestDequantizeGolden(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	file, err := os.Open(golden)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	seen := map[Type]int{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if strings.HasPrefix(lines.Text(), "#") || len(fields) != 3 {
			continue
		}
		kind, err := ParseType(fields[0])
		if err != nil {
			t.Fatal(err)
		}
		block, err := hex.DecodeString(fields[1])
		if err != nil {
			t.Fatal(err)
		}
		values, err := hex.DecodeString(fields[2])
		if err != nil {
			t.Fatal(err)
		}
		checkDecode(t, kind, block, bytesFloats(values))
		seen[kind]++
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	for _, kind := range decodable {
		if kind != F32 && seen[kind] < 2 {
			t.Errorf("%s has %d golden blocks: want at least 2", kind, seen[kind])
		}
	}
}

func writeGolden(t *testing.T) {
	program := realengine.Compile(t, "testdata/ggml.c")
	r := rand.New(rand.NewPCG(5, 6))
	var out strings.Builder
	out.WriteString("# ggml's dequantisation: type, blocks, float32 values (little-endian hex)\n")
	for _, kind := range decodable {
		if kind == F32 {
			continue
		}
		elems, size := kind.Block()
		n := max(1, 32/elems)
		random := randomBytes(r, n*size)
		for _, at := range halves[kind] {
			binary.LittleEndian.PutUint16(random[at:], floatToHalf(r.Float32()-0.5))
		}
		number := strconv.Itoa(int(kind))
		quantized := realengine.Run(t, floatBytes(weights(r, max(elems, 32))), program, "encode", number, strconv.Itoa(max(elems, 32)))
		for _, blocks := range [][]byte{random, quantized} {
			values := realengine.Run(t, blocks, program, "decode", number)
			if slices.ContainsFunc(bytesFloats(values), func(v float32) bool { return v != v }) && halves[kind] != nil {
				t.Fatalf("%s: a golden block holds NaN", kind)
			}
			fmt.Fprintf(&out, "%s %x %x\n", kind, blocks, values)
		}
	}
	if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
