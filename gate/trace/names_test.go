package trace

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
)

func TestCanonical(t *testing.T) {
	for name, want := range map[string]string{
		"embedding": "embedding", "logits": "logits", "layer_3_output": "layer_3_output", "layer_3_router": "layer_3_router",
		"embd": "embedding", "inp_embd": "embedding", "l_out-0": "layer_0_output", "l_out-31": "layer_31_output",
		"result_norm": "final_norm", "result_output": "logits", "attn_norm-2": "layer_2_attn_norm",
		"kqv_out-2": "layer_2_attn_output", "attn_out-2": "layer_2_attn_output", "ffn_inp-2": "layer_2_ffn_input",
		"ffn_norm-2": "layer_2_ffn_norm", "ffn_out-2": "layer_2_ffn_output",
		"model.embed_tokens": "embedding", "transformer.wte": "embedding", "transformer.drop": "embedding",
		"model.layers.7": "layer_7_output", "transformer.h.7": "layer_7_output", "model.norm": "final_norm", "transformer.ln_f": "final_norm",
		"lm_head": "logits", "model.layers.7.self_attn": "layer_7_attn_output", "transformer.h.7.attn": "layer_7_attn_output",
		"model.layers.7.mlp": "layer_7_ffn_output", "transformer.h.7.mlp": "layer_7_ffn_output",
		"model.layers.7.input_layernorm": "layer_7_attn_norm", "transformer.h.7.ln_2": "layer_7_ffn_norm",
		"model.language_model.layers.1": "layer_1_output", "language_model.model.layers.1": "layer_1_output",
		"layer_4": "layer_4_output", "layer_04": "layer_4_output", "layer_00_attn_norm": "layer_0_attn_norm",
		"hidden_states.3": "hidden_states.3", "my_l_out-3": "my_l_out-3", "model.layers.7.mlp.down_proj": "model.layers.7.mlp.down_proj", "": "",
	} {
		if got := Canonical(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestUserNames(t *testing.T) {
	rules := []NameRule{
		{regexp.MustCompile(`^blk\.(\d+)\.out$`), "layer_${1}_output"},
		{regexp.MustCompile(`^blk\.(\d+)$`), "l_out-$1"}, // a built-in map takes it from there
		{regexp.MustCompile(`^lm_head$`), "raw_scores"},
		{regexp.MustCompile(`^raw_scores$`), "never"},
	}
	for name, want := range map[string]string{"blk.3.out": "layer_3_output", "blk.3": "layer_3_output", "lm_head": "raw_scores", "embd": "embedding"} {
		if got := canonical(name, rules); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestForwardOrder(t *testing.T) {
	want := []string{
		"embedding", "layer_0_attn_norm", "layer_0_attn_output", "layer_0_ffn_input", "layer_0_ffn_norm", "layer_0_ffn_output",
		"layer_0_router", "layer_0_output", "layer_2_output", "layer_10_attn_norm", "layer_10_output", "final_norm", "logits", "other", "pooled",
	}
	got := slices.Clone(want)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
	slices.SortFunc(got, func(a, b string) int {
		switch {
		case Less(a, b):
			return -1
		case Less(b, a):
			return 1
		}
		return 0
	})
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	for _, name := range []string{"other", "layer_", "layer_x_output", "layer_1_", "layer_-1_output", "layer_99999999999999999999_output"} {
		if p, ok := PlaceOf(name); ok {
			t.Errorf("%s has place %v", name, p)
		}
	}
}

func TestResiduals(t *testing.T) {
	for name, want := range map[string]string{
		"embedding": "", "layer_0_output": "embedding", "layer_1_output": "layer_0_output", "layer_12_output": "layer_11_output",
		"layer_1_ffn_input": "", "final_norm": "", "logits": "", "other": "",
	} {
		got, ok := PreviousResidual(name)
		if got != want || ok != (want != "") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		if IsResidual(name) != (ok || name == "embedding") {
			t.Errorf("IsResidual(%s) is %v", name, !ok)
		}
	}
}
