package oracle

// qwen3: llama with halves rotated, whose q and k are normalised head by head.
var _ = register(architecture{
	name:       "qwen3",
	epsilonKey: "attention.layer_norm_rms_epsilon",
	rope:       ropeHalves,
	headNorms:  true,
	ffn:        ffnGated,
})
