package oracle

// gpt2: layer norm, learned positions, one tensor for q, k and v, GELU, biases
// everywhere.
var _ = register(architecture{
	name:             "gpt2",
	layerNorm:        true,
	epsilonKey:       "attention.layer_norm_epsilon",
	rope:             ropeNone,
	learnedPositions: true,
	fusedQKV:         true,
	ffn:              ffnGELU,
	biases:           []string{"attn_qkv", "attn_output", "ffn_up", "ffn_down"},
})
