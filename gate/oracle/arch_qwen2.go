package oracle

// qwen2: llama with biases on q, k and v, halves rotated, and mostly without an
// output matrix of its own.
var _ = register(architecture{
	name:           "qwen2",
	epsilonKey:     "attention.layer_norm_rms_epsilon",
	rope:           ropeHalves,
	ffn:            ffnGated,
	biases:         []string{"attn_q", "attn_k", "attn_v"},
	optionalBiases: []string{"output"},
})
