package enginetest

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// A model that is read and written unedited is the same file.
func TestRoundTrip(t *testing.T) {
	for _, arch := range Architectures {
		path := Edit(t, arch, filepath.Join(t.TempDir(), "m.gguf"))
		want, err := os.ReadFile(Zoo(t, arch))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes differ from the %d read", arch, len(got), len(want))
		}
	}
}

func TestConvertBounds(t *testing.T) {
	for to, most := range map[GGUFType]float64{F32: 0, F16: 0, BF16: 1.0 / 256, Q8_0: 1.0 / 100} {
		g, err := ReadGGUF(Zoo(t, "llama"))
		if err != nil {
			t.Fatal(err)
		}
		before, err := g.Tensor("blk.1.ffn_up.weight").Floats()
		if err != nil {
			t.Fatal(err)
		}
		if err := Convert(to)(g); err != nil {
			t.Fatal(err)
		}
		w := g.Tensor("blk.1.ffn_up.weight")
		after, err := w.Floats()
		if err != nil {
			t.Fatal(err)
		}
		var diff, norm float64
		for i := range before {
			diff += math.Pow(float64(after[i]-before[i]), 2)
			norm += math.Pow(float64(before[i]), 2)
		}
		if rel := math.Sqrt(diff / norm); w.Type != to || rel > most || most > 0 && rel == 0 {
			t.Errorf("to type %d: type %d, relative error %g, want at most %g", to, w.Type, rel, most)
		}
	}
}

func TestEditErrors(t *testing.T) {
	g, err := ReadGGUF(Zoo(t, "llama"))
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*GGUF) error{
		"no such key":     SetKV("rope.base", float32(1)),
		"another type":    SetKV("rope.freq_base", uint32(1)),
		"no such tensor":  Scale("blk.9.attn_norm.weight", 2),
		"no such channel": ScaleChannel("blk.0.ffn_down.weight", 128, 2),
		"no such column":  ScaleColumn("blk.0.ffn_up.weight", 128, 2),
		"no such layers":  SwapLayers(7, 8),
		"no such heads":   RotateHeads("blk.0.attn_k.weight", 3),
	} {
		if edit(g) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
