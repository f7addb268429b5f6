package ggufgen

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/oracle/gguf"
	"github.com/paritygate/paritygate/gate/oracle/gguf/internal/realengine"
)

// model writes a random model and returns its path and description.
func model(t testing.TB, arch string, c Config, seed uint64) (string, *gguf.Description) {
	t.Helper()
	d, err := RandomModel(arch, c, seed)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), arch+".gguf")
	if err := gguf.Write(path, d); err != nil {
		t.Fatal(err)
	}
	return path, d
}

// forms are the models that the real engine must load.
func forms() map[string]Config {
	all := map[string]Config{}
	for _, arch := range Architectures() {
		all[arch] = Small()
		all[arch+"/F16"] = Config{Type: gguf.F16, Heads: 2}
		all[arch+"/Q8_0"] = Config{Type: gguf.Q8_0, Layers: 1, Output: OutputTied}
		all[arch+"/BF16"] = Config{Type: gguf.BF16, Width: 96, Heads: 6, KVHeads: 3, FeedForward: 100, Output: OutputSeparate}
	}
	all["llama/factors"] = Config{RopeFactors: true, KVHeads: 1}
	all["llama/heads"] = Config{HeadDim: 32}
	all["qwen3/heads"] = Config{HeadDim: 32, KVHeads: 2, Type: gguf.Q8_0}
	return all
}

// TestRealEngineLoads loads every form with llama.cpp, which must find as many
// parameters, and make logits of the size that a trained model's have.
func TestRealEngineLoads(t *testing.T) {
	program := realengine.Compile(t, "testdata/load.c")
	for form, c := range forms() {
		t.Run(form, func(t *testing.T) {
			arch, _, _ := strings.Cut(form, "/")
			path, d := model(t, arch, c, 1)
			out := realengine.Run(t, nil, program, filepath.Join(realengine.Dir(t), "lib"), path)
			var parameters int64
			var vocab int
			var mean, deviation float64
			if _, err := fmt.Sscan(string(out), &parameters, &vocab, &mean, &deviation); err != nil {
				t.Fatalf("%q: %v", out, err)
			}
			if want := Parameters(d); parameters != want || vocab != 320 {
				t.Errorf("llama.cpp finds %d parameters, %d tokens: want %d, 320", parameters, vocab, want)
			}
			if !(math.Abs(mean) < 2 && deviation > 0.5 && deviation < 10) {
				t.Errorf("logits %v ± %v: want about 0 ± 2", mean, deviation)
			}
			t.Logf("logits %.2g ± %.2g", mean, deviation)
		})
	}
}

// TestQuantizedByRealEngine reads files that llama.cpp has quantised from ours:
// they are near the original, by as much as their types can be.
func TestQuantizedByRealEngine(t *testing.T) {
	program := realengine.Compile(t, "testdata/load.c")
	path, _ := model(t, "llama", Config{Width: 256, FeedForward: 512, Layers: 4}, 1)
	original, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer original.Close()
	for _, c := range []struct {
		name     string
		fileType string // llama_ftype
		types    string // those that the file holds
		worst    float64
	}{
		{"Q4_K_M", "15", "F32 Q4_K Q6_K", 0.1}, {"Q5_K_M", "17", "F32 Q5_K Q6_K", 0.05}, {"Q6_K", "18", "F32 Q6_K", 0.03},
		{"Q4_0", "2", "F32 Q4_0 Q6_K", 0.15}, {"Q8_0", "7", "F32 Q8_0", 0.01}, {"Q2_K", "10", "F32 Q2_K Q3_K Q6_K", 0.4},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "q.gguf")
			realengine.Run(t, nil, program, filepath.Join(realengine.Dir(t), "lib"), path, out, c.fileType)
			f, err := gguf.Open(out)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			types := map[string]bool{}
			for _, tensor := range f.Tensors() {
				types[tensor.Type.String()] = true
				if e := distance(t, original, tensor); e > c.worst || (e == 0) != (tensor.Type == gguf.F32) {
					t.Errorf("%s as %s is %.3g from the original: want at most %v", tensor.Name, tensor.Type, e, c.worst)
				}
			}
			if got := strings.Join(slices.Sorted(maps.Keys(types)), " "); got != c.types {
				t.Errorf("types %s: want %s", got, c.types)
			}
		})
	}
}

// distance is the relative L2 distance of a tensor to the original.
func distance(t *testing.T, original *gguf.File, q *gguf.Tensor) float64 {
	t.Helper()
	o, err := original.Tensor(q.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Require(o.Shape...); err != nil {
		t.Fatal(err)
	}
	a, b := make([]float64, o.Width()*o.Height()), make([]float64, o.Width()*o.Height())
	if err := errors.Join(o.Rows(0, o.Height(), a), q.Rows(0, q.Height(), b)); err != nil {
		t.Fatal(err)
	}
	var difference, square float64
	for i := range a {
		difference += (a[i] - b[i]) * (a[i] - b[i])
		square += a[i] * a[i]
	}
	return math.Sqrt(difference / square)
}

// TestLargeIsStreamed writes a layer's worth of a large model: what is allocated
// for it does not grow with the model.
func TestLargeIsStreamed(t *testing.T) {
	c := Large()
	d, err := RandomModel("llama", c, 1)
	if err != nil {
		t.Fatal(err)
	}
	if n := Parameters(d); n < 5e8 || n > 1e9 {
		t.Errorf("Large has %d parameters: want 0.5 to 1 G", n)
	}
	c.Layers, c.Vocab = 1, 320
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	path, _ := model(t, "llama", c, 1)
	runtime.ReadMemStats(&after)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; info.Size() < 48<<20 || n > 12<<20 {
		t.Errorf("%d bytes allocated for a model of %d: want at most 12 MiB for 48 MiB and more", n, info.Size())
	}
}

// BenchmarkWrite is the rate of making and writing a model of 50 MB, of its bytes.
func BenchmarkWrite(b *testing.B) {
	for _, kind := range []gguf.Type{gguf.F32, gguf.F16, gguf.Q8_0} {
		b.Run(kind.String(), func(b *testing.B) {
			c := Large()
			c.Layers, c.Vocab, c.Type = 1, 320, kind
			for b.Loop() {
				path, _ := model(b, "llama", c, 1)
				info, err := os.Stat(path)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(info.Size())
			}
		})
	}
}

// TestStatistics holds each tensor's mean and deviation against its part.
func TestStatistics(t *testing.T) {
	for _, arch := range Architectures() {
		path, _ := model(t, arch, Config{Width: 128, Heads: 4}, 3)
		f, err := gguf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, tensor := range f.Tensors() {
			v := make([]float64, tensor.Width()*tensor.Height())
			if err := tensor.Rows(0, tensor.Height(), v); err != nil {
				t.Fatal(err)
			}
			var mean, square float64
			for _, x := range v {
				mean += x / float64(len(v))
				square += x * x / float64(len(v))
			}
			deviation := math.Sqrt(square - mean*mean)
			isNorm := strings.Contains(tensor.Name, "norm.weight")
			if centred := math.Abs(mean) < 6*deviation/math.Sqrt(float64(len(v))); centred == isNorm {
				t.Errorf("%s %s: mean %v, deviation %v", arch, tensor.Name, mean, deviation)
			}
			if !(deviation > 0.001 && deviation < 4) {
				t.Errorf("%s %s: deviation %v", arch, tensor.Name, deviation)
			}
		}
	}
}

// TestReproducible: the same seed gives the same file, another one another, and
// a row's values do not depend on which rows are asked for with it.
func TestReproducible(t *testing.T) {
	read := func(seed uint64) []byte {
		path, _ := model(t, "qwen3", Config{Type: gguf.F16}, seed)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(read(5), read(5)) {
		t.Error("the same seed gives different files")
	}
	d, err := RandomModel("llama", Small(), 5)
	if err != nil {
		t.Fatal(err)
	}
	other, err := RandomModel("llama", Small(), 6)
	if err != nil {
		t.Fatal(err)
	}
	for i := range d.Tensors {
		tensor := &d.Tensors[i]
		w, h := tensor.Shape[0], 1
		if len(tensor.Shape) > 1 {
			h = tensor.Shape[1]
		}
		all, one, another := make([]float32, w*h), make([]float32, w*h), make([]float32, w*h)
		if err := tensor.Rows(0, h, all); err != nil {
			t.Fatal(err)
		}
		for r := range h {
			if err := tensor.Rows(r, 1, one[w*r:w*r+w]); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(all, one) {
			t.Errorf("%s: rows depend on how they are asked for", tensor.Name)
		}
		if err := other.Tensors[i].Rows(0, h, another); err != nil {
			t.Fatal(err)
		}
		if reflect.DeepEqual(all, another) || h > 1 && reflect.DeepEqual(all[:w], all[w:2*w]) {
			t.Errorf("%s: two seeds or two rows have the same values", tensor.Name)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		arch string
		c    Config
		want string
	}{
		{"bloom", Config{}, `unknown architecture "bloom": want one of gpt2, granite, llama, phi3, qwen2, qwen3`},
		{"llama", Config{Layers: -1}, "Layers is -1: want 1 to 16777216"},
		{"llama", Config{Heads: 4, KVHeads: 3}, "4 Heads are no multiple of 3 KVHeads"},
		{"qwen2", Config{HeadDim: 32}, "HeadDim is 32 with Heads 4 and Width 64: qwen2 wants Width/Heads"},
		{"llama", Config{HeadDim: 15}, "HeadDim is 15: RoPE wants an even number"},
		{"phi3", Config{RopeFactors: true}, "RopeFactors is set: only llama has rope_freqs.weight, phi3 does not"},
		{"llama", Config{Type: gguf.Q8_0, FeedForward: 100}, "rows of 64, 100 and 64 elements (Width, FeedForward, Heads·HeadDim) are not whole Q8_0 blocks of 32"},
	} {
		if _, err := RandomModel(c.arch, c.c, 1); err == nil || err.Error() != c.want {
			t.Errorf("%s %+v: %v\nwant %s", c.arch, c.c, err, c.want)
		}
	}
	if d, err := RandomModel("llama", Config{Type: gguf.Q4_K, Width: 256, FeedForward: 256}, 1); err != nil {
		t.Error(err)
	} else if err := gguf.Write(filepath.Join(t.TempDir(), "m"), d); err == nil || !strings.Contains(err.Error(), "Q4_K cannot be written from values") {
		t.Errorf("Q4_K: %v", err)
	}
}
