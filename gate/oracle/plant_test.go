package oracle

import (
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"
)

// plantTokens are some Python for the models of the zoo.
func plantTokens() []int32 {
	ids := []int32{256}
	for _, b := range []byte("def read(self, size=-1):\n    ") {
		ids = append(ids, int32(b))
	}
	return ids
}

func loadZoo(t *testing.T, architecture string) *Model {
	t.Helper()
	m, err := Load(filepath.Join("..", "..", "testdata", "zoo", architecture+"-f16.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// zooValues are all checkpoints of a model in float64, and their names in order.
func zooValues(t *testing.T, m *Model) (map[string][]float64, []string) {
	t.Helper()
	values, names := map[string][]float64{}, []string(nil)
	err := m.Run(context.Background(), plantTokens(), Options{}, func(name string, _ int, v []float64) error {
		values[name], names = v, append(names, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return values, names
}

// TestPlant: in every architecture, each bug changes the checkpoint that it
// names and none before it, and leaves another model of the same file alone.
func TestPlant(t *testing.T) {
	for _, architecture := range []string{"llama", "qwen2", "phi3", "granite", "gpt2"} {
		sound, names := zooValues(t, loadZoo(t, architecture))
		for _, bug := range Bugs() {
			t.Run(architecture+" "+bug.Name, func(t *testing.T) {
				m := loadZoo(t, architecture)
				err := Plant(m, bug.Name)
				if bug.Name == "rope" && architecture == "gpt2" {
					if err == nil || !strings.Contains(err.Error(), "bug rope: gpt2 has no RoPE") {
						t.Errorf("got %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				wrong, _ := zooValues(t, m)
				for _, name := range names {
					changed := false
					for i, v := range wrong[name] {
						changed = changed || math.Abs(v-sound[name][i]) > 1e-9*math.Abs(v)
					}
					if changed {
						if name != bug.Checkpoint {
							t.Errorf("%s changes first, want %s", name, bug.Checkpoint)
						}
						return
					}
				}
				t.Error("it changes nothing")
			})
		}
		again, _ := zooValues(t, loadZoo(t, architecture))
		for i, v := range again["logits"] {
			if v != sound["logits"][i] {
				t.Fatalf("%s: the file's own model changed", architecture)
			}
		}
	}
}

func TestPlantRefuses(t *testing.T) {
	m := loadZoo(t, "llama")
	if err := Plant(m, "typo"); err == nil || !strings.Contains(err.Error(), `unknown bug "typo": want one of rope, eps, swap,`) {
		t.Errorf("unknown bug: %v", err)
	}
	m.p.kvHeads = 1
	if err := Plant(m, "heads"); err == nil || !strings.Contains(err.Error(), "bug heads: it has one head of keys") {
		t.Errorf("one head: %v", err)
	}
	m.layers = m.layers[:1]
	for _, name := range []string{"swap", "channel", "heads", "residual"} {
		if err := Plant(m, name); err == nil || !strings.Contains(err.Error(), "1 layers are too few") {
			t.Errorf("%s of one layer: %v", name, err)
		}
	}
}

func TestCheckpoints(t *testing.T) {
	m := loadZoo(t, "llama")
	for _, sublayers := range []bool{false, true} {
		want := m.Checkpoints(sublayers)
		err := m.Run(context.Background(), []int32{256, 100}, Options{Sublayers: sublayers}, func(name string, width int, v []float64) error {
			if len(want) == 0 || want[0] != (Checkpoint{name, width}) || len(v) != 2*width {
				t.Errorf("%s of %d, %d values; announced %v", name, width, len(v), want)
			}
			want = want[min(1, len(want)):]
			return nil
		})
		if err != nil || len(want) > 0 {
			t.Errorf("left %v, %v", want, err)
		}
	}
}

func TestCoarsest(t *testing.T) {
	m := loadZoo(t, "llama")
	for name, want := range map[string]string{"f64": "f64", "f32": "f32", "bf16": "bf16", "llamacpp-cpu-f32": "f32", "llamacpp-cpu": "f16",
		"llamacpp-q8_0": "q8_0", "llamacpp-fa-f16": "f16", "llamacpp-kv-bf16": "bf16", "transformers-f32": "f32"} {
		p, err := ProfileByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Coarsest(p); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}
