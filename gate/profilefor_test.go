package gate

import (
	"path/filepath"
	"testing"

	"github.com/paritygate/paritygate/gate/engine/enginetest"
	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/spec"
)

// How an engine computes is told from its spec, else from its settings, else
// from its words, beside weights of one type or another.
func TestProfileFor(t *testing.T) {
	models := map[string]*oracle.Model{}
	for name, to := range map[string]enginetest.GGUFType{"f16": enginetest.F16, "f32": enginetest.F32, "q8_0": enginetest.Q8_0} {
		models[name] = loaded(t, enginetest.Edit(t, "llama", filepath.Join(t.TempDir(), name+".gguf"), enginetest.Convert(to)))
	}
	models["gpt2"] = loaded(t, enginetest.Edit(t, "gpt2", filepath.Join(t.TempDir(), "gpt2.gguf"), enginetest.Widen))
	llama := func(precision, device string, settings ...string) EngineInfo {
		in := EngineInfo{Name: "llama.cpp", Precision: precision, Device: device, Settings: map[string]string{}}
		if len(settings) == 2 {
			in.Settings["kv_type"], in.Settings["flash_attention"] = settings[0], settings[1]
		}
		return in
	}
	words := func(name, precision string) EngineInfo { return EngineInfo{Name: name, Precision: precision} }
	cuda32 := llama("f16", "NVIDIA H100", "f16", "off")
	cuda32.ComputeDType = "tf32"
	many := 99
	const flash = ",flash=true"
	for name, c := range map[string]struct {
		e             spec.Engine
		in            EngineInfo
		weights       string // "" is f16
		profile, from string
	}{
		"spec":                     {spec.Engine{Precision: &spec.Precision{Profile: "f16", Fields: map[string]string{"kv": "bf16"}}}, llama("f16", "CPU", "f16", "on"), "", "f16,kv=bf16", fromSpec},
		"builtin":                  {spec.Engine{}, EngineInfo{Name: "paritygate builtin", Version: "llamacpp-fa-f16"}, "", "llamacpp-fa-f16", fromSettings},
		"builtin with fields":      {spec.Engine{}, EngineInfo{Name: "paritygate builtin", Version: "f16,kv=bf16,flash=true"}, "", "f16,flash=true,kv=bf16", fromSettings},
		"llama.cpp strict":         {spec.Engine{}, llama("f16", "CPU", "f32", "off"), "", "llamacpp-cpu", fromSettings},
		"llama.cpp, KV f16":        {spec.Engine{}, llama("f16", "CPU", "f16", "off"), "", "llamacpp-cpu,kv=f16,queries=f16,probabilities=f16", fromSettings},
		"llama.cpp, default":       {spec.Engine{}, llama("f16", "CPU", "f16", "on"), "", "llamacpp-cpu,kv=f16,queries=f16" + flash + ",flash_sum=f16,flash_tile=64", fromSettings},
		"llama.cpp, flash, KV f32": {spec.Engine{}, llama("f16", "CPU", "f32", "on"), "", "llamacpp-cpu,kv=f16,queries=f16" + flash + ",flash_sum=f16,flash_tile=64", fromSettings},
		"llama.cpp, KV q4_0":       {spec.Engine{}, llama("q4", "CPU", "q4_0", "on"), "", "", ""},
		"llama.cpp, q8_0":          {spec.Engine{}, llama("q8_0", "CPU", "f32", "off"), "q8_0", "llamacpp-cpu", fromSettings},
		"llama.cpp preload":        {spec.Engine{}, llama("f16", "CPU"), "", "llamacpp-cpu", fromWords},
		"llama.cpp, CUDA":          {spec.Engine{}, llama("f16", "CUDA0: NVIDIA H200", "f16", "on"), "", "llamacpp-cuda-f16" + flash, fromWords},
		"CUDA, no flash":           {spec.Engine{}, llama("f16", "NVIDIA H100", "f16", "off"), "", "llamacpp-cuda-f16", fromWords},
		"CUDA, strict":             {spec.Engine{}, llama("f16", "NVIDIA H100", "f32", "off"), "", "llamacpp-cuda-f16,kv=tf32,queries=tf32,probabilities=tf32", fromWords},
		"CUDA, one at a time":      {spec.Engine{Decode: true}, llama("f16", "NVIDIA H100", "f16", "off"), "", "llamacpp-cuda-f16,accumulation=exact,products=exact", fromWords},
		"CUDA, BF16, decode":       {spec.Engine{Decode: true}, llama("bf16", "NVIDIA H100", "f16", "off"), "", "llamacpp-cuda-bf16,inputs=exact", fromWords},
		"CUDA, Q8_0, KV bf16":      {spec.Engine{}, llama("q8_0", "NVIDIA H100", "bf16", "off"), "q8_0", "llamacpp-cuda-q8_0,kv=bf16,queries=bf16,probabilities=bf16", fromWords},
		"CUDA, KV q8_0":            {spec.Engine{}, llama("q8_0", "NVIDIA H100", "q8_0", "on"), "q8_0", "llamacpp-cuda-q8_0,kv=q8_0" + flash, fromWords},
		"CUDA, KV q4_0":            {spec.Engine{}, llama("q4", "NVIDIA H100", "q4_0", "on"), "q8_0", "", ""},
		"CUDA, 4 bits":             {spec.Engine{}, llama("q4", "NVIDIA H100", "f16", "off"), "q8_0", "llamacpp-cuda-q8_0,weights=exact", fromWords},
		"CUDA, 4 bits of f16":      {spec.Engine{}, llama("q4", "NVIDIA H100", "f16", "off"), "", "", ""},
		"CUDA, F32":                {spec.Engine{}, cuda32, "f32", "llamacpp-cuda-f32,kv=f16,queries=f16,probabilities=f16", fromWords},
		"CUDA, nothing told":       {spec.Engine{}, llama("", "NVIDIA H100"), "", "", ""},
		"layers on the GPU":        {spec.Engine{GPULayers: &many}, llama("f16", "", "f16", "on"), "", "llamacpp-cuda-f16" + flash, fromWords},
		"layers for no GPU":        {spec.Engine{GPULayers: &many}, llama("f16", "CPU", "f32", "off"), "", "llamacpp-cpu", fromSettings},
		"gpt2's GELU in f16":       {spec.Engine{}, llama("f16", "CPU", "f32", "off"), "gpt2", "llamacpp-cpu", fromSettings},
		// Weights of another type than the oracle's.
		"coarser weights":   {spec.Engine{}, llama("q8_0", "CPU", "f32", "off"), "", "llamacpp-cpu,weights=q8_0,inputs=q8_0", fromWords},
		"coarser cache":     {spec.Engine{}, llama("q8_0", "CPU", "q8_0", "on"), "", "llamacpp-cpu,kv=q8_0" + flash, fromWords},
		"finer weights":     {spec.Engine{}, llama("f32", "CPU", "f32", "off"), "", "llamacpp-cpu,inputs=f32", fromWords},
		"f16 of f32":        {spec.Engine{}, llama("f16", "CPU", "f32", "off"), "f32", "llamacpp-cpu,weights=f16,inputs=f16", fromWords},
		"4 bits of f16":     {spec.Engine{}, llama("q4", "CPU", "f32", "off"), "", "", ""},
		"4 bits of q8_0":    {spec.Engine{}, llama("q4", "CPU", "f32", "off"), "q8_0", "llamacpp-cpu", fromSettings},
		"transformers":      {spec.Engine{}, words("transformers", "bf16"), "", "transformers-bf16", fromWords},
		"transformers, f64": {spec.Engine{}, words("transformers", "f64"), "", "f32", fromWords},
		"transformers, int": {spec.Engine{}, words("transformers", "q8_0"), "", "llamacpp-q8_0", fromWords},
		"a worker in f32":   {spec.Engine{}, words("worker", "f32"), "", "f32", fromWords},
		"a worker in bf16":  {spec.Engine{}, words("worker", "bf16"), "", "bf16", fromWords},
		"a worker in q4":    {spec.Engine{}, words("worker", "q4"), "q8_0", "llamacpp-cpu", fromWords},
		"4 bits elsewhere":  {spec.Engine{}, words("worker", "q4"), "", "", ""},
		"nothing told":      {spec.Engine{}, words("worker", ""), "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if c.weights == "" {
				c.weights = "f16"
			}
			p, from, err := profileFor(c.e, c.in, models[c.weights])
			if err != nil || p.Name != c.profile || from != c.from {
				t.Errorf("%q from %q, %v; want %q from %q", p.Name, from, err, c.profile, c.from)
			}
		})
	}
	for name, e := range map[string]spec.Engine{"profile": {Precision: &spec.Precision{Profile: "f17"}}, "field": {Precision: &spec.Precision{Profile: "f16", Fields: map[string]string{"cache": "f16"}}}} {
		if _, _, err := profileFor(e, EngineInfo{}, models["f16"]); err == nil {
			t.Errorf("unknown %s: no error", name)
		}
	}
}
