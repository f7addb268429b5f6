package gate

import (
	"strings"

	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/spec"
)

// llamaCUDA begins the names of llama.cpp's habits on CUDA, one for each type of
// weights. Which kernel computes a product depends on the GPU and on the number
// of rows, so they are guesses: those of a GPU with tensor cores and a prefill.
const llamaCUDA = "llamacpp-cuda-"

// onCUDA says whether llama.cpp computed on an NVIDIA GPU.
func onCUDA(e spec.Engine, in EngineInfo) bool {
	device := strings.ToLower(in.Device)
	if device == "" {
		return e.GPULayers != nil && *e.GPULayers > 0
	}
	return strings.Contains(device, "cuda") || strings.Contains(device, "nvidia")
}

// cudaProfile is the habit for the weights that the engine's words name.
func cudaProfile(in EngineInfo) string {
	switch {
	case strings.Contains(strings.ToLower(in.ComputeDType), "tf32"):
		return llamaCUDA + "f32"
	case in.Precision == "q4":
		return llamaCUDA + "q8_0" // its inputs are rounded alike
	case rank(in.Precision) <= 0:
		return ""
	}
	return llamaCUDA + in.Precision
}

// withCUDASettings adds the cache's type, flash attention, and what decoding one
// token at a time computes more exactly than a prefill. A cache in f32 meets
// tensor cores all the same.
func withCUDASettings(p oracle.Profile, e spec.Engine, settings map[string]string) (oracle.Profile, error) {
	var changes [][2]string
	set := func(value string, fields ...string) {
		for _, f := range fields {
			changes = append(changes, [2]string{f, value})
		}
	}
	kv, flash := settings["kv_type"], settings["flash_attention"] == "on"
	switch {
	case kv == "f32" && flash:
		kv = "f16" // llama.cpp casts it before flash attention
	case kv == "f32":
		kv = "tf32"
	}
	switch kv {
	case "", p.KV.String():
	case "tf32", "f16", "bf16":
		set(kv, "kv", "queries", "probabilities")
	case "q8_0":
		set(kv, "kv")
	default:
		return oracle.Profile{}, nil
	}
	if flash {
		set("true", "flash")
	}
	if e.Decode || settings["decode"] == "on" {
		if p.Products == oracle.F16 {
			set("exact", "accumulation", "products")
		}
		if p.Inputs == oracle.BF16 {
			set("exact", "inputs")
		}
	}
	return changed(p, changes)
}

// ownBlocks takes weights of 4 bits as the oracle's file has them. They cannot
// be emulated from others.
func ownBlocks(p oracle.Profile, from string, m *oracle.Model) (oracle.Profile, string, error) {
	byWeight := p
	byWeight.Inputs = oracle.ByWeight
	for _, f := range []*oracle.Format{&byWeight.Weights, &byWeight.KV, &byWeight.Queries, &byWeight.Probabilities} {
		*f = oracle.Exact
	}
	if rank(precisionOf(m.Coarsest(byWeight))) < rank("q8_0") {
		return oracle.Profile{}, "", nil
	}
	p, err := p.With("weights", "exact")
	return p, from, err
}
