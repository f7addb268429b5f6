package oracle

var profiles = []Profile{
	{Name: "f64", Doc: "the oracle: float64 throughout"},
	{Name: "f32", Doc: "float32 throughout", Single: true},
	uniform("f16", "every value rounded to f16, sums in f32", F16),
	uniform("bf16", "every value rounded to bf16, sums in f32", BF16),

	llamaCPU("llamacpp-cpu-f32", "llama.cpp on the CPU, weights in F32, KV cache in f32", Exact, Exact),
	llamaCPU("llamacpp-cpu-f16", "llama.cpp on the CPU, weights in F16: inputs of products rounded to f16; KV cache in f32", F16, F16),
	llamaCPU("llamacpp-cpu-bf16", "llama.cpp on the CPU, weights in BF16: inputs of products rounded to bf16; KV cache in f32", BF16, BF16),
	llamaCPU("llamacpp-q8_0", "llama.cpp on the CPU, weights in Q8_0: inputs of products in int8, a scale for each 32; KV cache in f32", Q8_0, Q8_0),
	llamaCPU("llamacpp-cpu", "llama.cpp on the CPU with the file's own weights, of whatever type; KV cache in f32", Exact, ByWeight),
	kvCache(llamaCPU("llamacpp-kv-f16", "llamacpp-cpu-f16 with the KV cache in f16, no flash attention", F16, F16), F16),
	kvCache(llamaCPU("llamacpp-kv-bf16", "llamacpp-cpu-f16 with the KV cache in bf16, no flash attention", F16, F16), BF16),
	flash(llamaCPU("llamacpp-fa-f16", "llamacpp-cpu-f16 with the KV cache in f16 under flash attention", F16, F16)),
	// Measured on an H100: engines.md has the figures.
	llamaCUDA("llamacpp-cuda-f32", "llama.cpp on CUDA, weights in F32: products on tensor cores, which take 10 bits of a fraction; KV cache in f32", Profile{Weights: TF32, Inputs: TF32}, TF32),
	llamaCUDA("llamacpp-cuda-f16", "llama.cpp on CUDA, weights in F16: products of a prefill with f16 sums and f16 results; KV cache in f16", Profile{Weights: F16, Inputs: F16, Accumulation: F16, Products: F16}, F16),
	llamaCUDA("llamacpp-cuda-bf16", "llama.cpp on CUDA, weights in BF16: inputs of a prefill's products rounded to bf16, sums in f32; KV cache in f16", Profile{Weights: BF16, Inputs: BF16}, F16),
	llamaCUDA("llamacpp-cuda-q8_0", "llama.cpp on CUDA, weights in Q8_0: inputs of products in int8, a scale for each 32; KV cache in f16", Profile{Weights: Q8_0, Inputs: Q8_0}, F16),

	{Name: "transformers-f32", Doc: "transformers in float32", Single: true},
	transformers("transformers-f16", "transformers in float16: every operation's result rounded, norms and softmax inside in f32", F16),
	transformers("transformers-bf16", "transformers in bfloat16: every operation's result rounded, norms and softmax inside in f32", BF16),
}

// uniform rounds every result to f.
func uniform(name, doc string, f Format) Profile {
	return Profile{
		Name: name, Doc: doc, Single: true, Weights: f, Vectors: f, Inputs: f, Products: f, Activations: f,
		Residual: f, KV: f, Queries: f, Probabilities: f, NormTwice: true,
	}
}

func transformers(name, doc string, f Format) Profile {
	p := uniform(name, doc, f)
	p.RoPE, p.Logits = "parts", f
	return p
}

// llamaCPU computes in f32; only weights and what they multiply are narrower.
func llamaCPU(name, doc string, weights, inputs Format) Profile {
	return Profile{Name: name, Doc: doc, Single: true, Weights: weights, Inputs: inputs, GELU: "table", RoPE: "iterative"}
}

// llamaCUDA has no table for GELU and computes RoPE's frequencies one by one.
func llamaCUDA(name, doc string, p Profile, kv Format) Profile {
	p.Name, p.Doc, p.Single = name, doc, true
	return kvCache(p, kv)
}

// kvCache: what meets the cache has the cache's format.
func kvCache(p Profile, f Format) Profile {
	p.KV, p.Queries, p.Probabilities = f, f, f
	return p
}

func flash(p Profile) Profile {
	p.KV, p.Queries, p.Flash, p.FlashSum, p.FlashTile = F16, F16, true, F16, 64
	return p
}
