package oracle

// granite: llama with four multipliers: of the embedding, of what a layer adds,
// of the attention scores (instead of 1/√d), and a divisor of the logits.
var _ = register(architecture{
	name:           "granite",
	epsilonKey:     "attention.layer_norm_rms_epsilon",
	rope:           ropePairs,
	ffn:            ffnGated,
	optionalBiases: []string{"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"},
	configure: func(f *fields, p *params) {
		f.refuseExperts()
		p.embeddingScale = f.scale("embedding_scale")
		p.residualScale = f.scale("residual_scale")
		p.attentionScale = f.scale("attention.scale", p.attentionScale)
		p.logitsDivisor = f.scale("logit_scale")
		if rotates, err := f.file.Bool(f.key("rope.scaling.finetuned"), true); err != nil {
			f.fail(err)
		} else if !rotates {
			p.ropeWidth = 0
		}
	},
})
