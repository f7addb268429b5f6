package oracle_test

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/oracle/gguf"
	"github.com/paritygate/paritygate/gate/oracle/gguf/ggufgen"
)

// quantized is a random llama whose layers' matrices are random blocks of that
// type, with a scale that gives weights of the usual size.
func quantized(t *testing.T, kind gguf.Type, scales map[int]uint16) string {
	t.Helper()
	d, err := ggufgen.RandomModel("llama", ggufgen.Config{Layers: 3, Width: 256, Heads: 4, KVHeads: 2, FeedForward: 512, Type: gguf.F16}, 3)
	if err != nil {
		t.Fatal(err)
	}
	elems, size := kind.Block()
	for i := range d.Tensors {
		w := &d.Tensors[i]
		if len(w.Shape) < 2 || !strings.HasPrefix(w.Name, "blk.") {
			continue
		}
		h := fnv.New64()
		h.Write([]byte(w.Name))
		r := rand.New(rand.NewPCG(1, h.Sum64()))
		width := w.Shape[0]
		w.Type, w.Rows = kind, nil
		w.Bytes = func(_, n int, dst []byte) error {
			for b := range n * width / elems {
				block := dst[b*size : (b+1)*size]
				for k := range block {
					block[k] = byte(r.Uint32())
				}
				for at, half := range scales {
					binary.LittleEndian.PutUint16(block[at:], half)
				}
			}
			return nil
		}
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := gguf.Write(path, d); err != nil {
		t.Fatal(err)
	}
	return path
}

// llamacpp-cpu finds the inputs' format in the weights' type.
func TestByWeight(t *testing.T) {
	// Offsets of a block's scales, and their values as halves: 2^-10 is 0x1400.
	for kind, scales := range map[gguf.Type]map[int]uint16{
		gguf.Q4_0: {0: 0x1c00}, gguf.Q5_0: {0: 0x1800}, gguf.Q8_0: {0: 0x0a00},
		gguf.Q4_K: {0: 0x0480, 2: 0x0f00}, gguf.Q5_K: {0: 0x0240, 2: 0x0f00}, gguf.Q6_K: {208: 0x0080},
	} {
		path := quantized(t, kind, scales)
		m := load(t, path)
		tokens := []int32{1, 17, 3, 40, 9, 22, 5, 60, 31, 8, 2, 12, 50, 44, 6, 7}
		tokens = slices.Concat(tokens, tokens, tokens)
		exact := compute(t, m, tokens, oracle.Options{Sublayers: true})
		emulated := compute(t, m, tokens, oracle.Options{Sublayers: true, Profile: profile(t, "llamacpp-cpu")})
		r := llamaRun{change: cache("f32", "off")}
		t.Logf("%v%s", kind, compare(t, kind.String(), llama(t, r, path, tokens), exact, emulated))
	}
}
