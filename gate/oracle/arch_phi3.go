package oracle

// phi3: llama with halves rotated, whose q, k and v lie in one tensor and gate
// and up in another.
var _ = register(architecture{
	name:       "phi3",
	epsilonKey: "attention.layer_norm_rms_epsilon",
	rope:       ropeHalves,
	fusedQKV:   true,
	ffn:        ffnGatedFused,
	configure: func(f *fields, p *params) {
		f.refuseExperts()
		for _, name := range []string{"rope_factors_long.weight", "rope_factors_short.weight"} {
			f.refuse(f.file.HasTensor(name), "tensor %s: long RoPE, whose factors depend on the length of the run's context, is not computed", name)
		}
		// llama.cpp leaves the window out; within it both compute the same.
		p.window = f.optional("attention.sliding_window", 0)
	},
})
