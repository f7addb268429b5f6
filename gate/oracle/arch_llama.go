package oracle

// llama: RMS norm, grouped-query attention, gated feed-forward; Llama 3 brings
// a factor a frequency in rope_freqs.weight.
var _ = register(architecture{
	name:       "llama",
	epsilonKey: "attention.layer_norm_rms_epsilon",
	rope:       ropePairs,
	ffn:        ffnGated,
	optionalBiases: []string{
		"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down",
	},
	configure: func(f *fields, p *params) { f.refuseExperts() },
})
