package gate

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/paritygate/paritygate/gate/spec"
)

// variant is a way to run an engine that must not change what it computes.
type variant struct {
	name string
	cfg  spec.Engine
}

// variantsOf are the ways to run an engine besides its own: what its adapter can
// vary. What its spec leaves to the engine is tried both ways; what it fixes, but
// for batch widths, threads and prefill, stays.
func variantsOf(cfg spec.Engine) []variant {
	var out []variant
	add := func(name string, change func(*spec.Engine)) {
		v := variant{name, cfg}
		// Capture is proven, or not, by the engine's own runs.
		no := false
		v.cfg.ProveCapture = &no
		change(&v.cfg)
		out = append(out, v)
	}
	switch {
	case cfg.Adapter == "llamacpp" && cfg.Mode != "preload":
		for _, n := range []int{1, 7, 32} {
			if n != cfg.UBatch && (cfg.Batch == 0 || n <= cfg.Batch) {
				add(fmt.Sprintf("ubatch %d", n), func(e *spec.Engine) { e.UBatch = n })
			}
		}
		threadVariants(cfg, add)
		decodeVariant(cfg, add)
		if cfg.FlashAttention == "" {
			for _, on := range []string{"on", "off"} {
				add("flash_attention "+on, func(e *spec.Engine) { e.FlashAttention = on })
			}
		}
		if cfg.KVType == "" {
			for _, kv := range []string{"f32", "f16"} {
				add("kv_type "+kv, func(e *spec.Engine) { e.KVType = kv })
			}
		}
	case cfg.Adapter == "transformers":
		if cfg.Device == "" || cfg.Device == "cpu" {
			threadVariants(cfg, add)
		}
		decodeVariant(cfg, add)
	}
	return out
}

func threadVariants(cfg spec.Engine, add func(string, func(*spec.Engine))) {
	counts := []int{1, 2, runtime.NumCPU()}
	slices.Sort(counts)
	for _, n := range slices.Compact(counts) {
		if n != cfg.Threads {
			add(fmt.Sprintf("threads %d", n), func(e *spec.Engine) { e.Threads = n })
		}
	}
}

// decodeVariant is decoding for an engine that prefills, and the other way round.
func decodeVariant(cfg spec.Engine, add func(string, func(*spec.Engine))) {
	name := "decode"
	if cfg.Decode {
		name = "prefill"
	}
	add(name, func(e *spec.Engine) { e.Decode = !cfg.Decode })
}
