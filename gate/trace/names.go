package trace

import (
	"regexp"
	"strconv"
	"strings"
)

// NameRule maps the names that Pattern matches to Replacement, in which ${1} is
// the first group. Only the matched part is replaced: anchor the pattern to
// replace whole names.
type NameRule struct {
	Pattern     *regexp.Regexp
	Replacement string
}

// layerPath matches the module path of layer N in transformers and in engines
// that keep its names, such as vLLM.
const layerPath = `^(?:(?:language_model\.)?model(?:\.language_model)?\.layers|transformer\.h)\.0*(\d+)`

// builtinNames are tried in order; the first match wins.
var builtinNames = []NameRule{
	// llama.cpp's graph node names.
	rule(`^(?:embd|inp_embd)$`, "embedding"),
	rule(`^l_out-0*(\d+)$`, "layer_${1}_output"),
	rule(`^attn_norm-0*(\d+)$`, "layer_${1}_attn_norm"),
	rule(`^(?:kqv_out|attn_out)-0*(\d+)$`, "layer_${1}_attn_output"),
	rule(`^ffn_inp-0*(\d+)$`, "layer_${1}_ffn_input"),
	rule(`^ffn_norm-0*(\d+)$`, "layer_${1}_ffn_norm"),
	rule(`^ffn_out-0*(\d+)$`, "layer_${1}_ffn_output"),
	rule(`^result_norm$`, "final_norm"),
	rule(`^result_output$`, "logits"),
	// transformers' module paths, as forward hooks see them.
	rule(`^(?:language_model\.)?model(?:\.language_model)?\.embed_tokens$|^transformer\.(?:wte|drop)$`, "embedding"),
	rule(layerPath+`$`, "layer_${1}_output"),
	rule(layerPath+`\.(?:input_layernorm|ln_1)$`, "layer_${1}_attn_norm"),
	rule(layerPath+`\.(?:self_attn|attn)$`, "layer_${1}_attn_output"),
	rule(layerPath+`\.(?:post_attention_layernorm|ln_2)$`, "layer_${1}_ffn_norm"),
	rule(layerPath+`\.mlp$`, "layer_${1}_ffn_output"),
	rule(`^(?:language_model\.)?model(?:\.language_model)?\.norm$|^transformer\.ln_f$`, "final_norm"),
	rule(`^(?:language_model\.)?lm_head$`, "logits"),
	// Canonical names in loose spelling.
	rule(`^layer_0*(\d+)$`, "layer_${1}_output"),
	rule(`^layer_0*(\d+)_(.+)$`, "layer_${1}_${2}"),
}

func rule(pattern, replacement string) NameRule {
	return NameRule{regexp.MustCompile(pattern), replacement}
}

// Canonical is the canonical name of a checkpoint that an engine calls name:
// the built-in maps of llama.cpp's node names and of transformers' module
// paths. A name that no map knows is returned as it is; so is hidden_states.N,
// which counts from the embedding in some dumps and from layer 0 in others.
func Canonical(name string) string { return canonical(name, nil) }

// canonical tries the user's rules first, in order, and the built-in maps on
// what they leave.
func canonical(name string, rules []NameRule) string {
	for _, r := range rules {
		if r.Pattern.MatchString(name) {
			name = r.Pattern.ReplaceAllString(name, r.Replacement)
			break
		}
	}
	for _, r := range builtinNames {
		if r.Pattern.MatchString(name) {
			return r.Pattern.ReplaceAllString(name, r.Replacement)
		}
	}
	return name
}

// Stages of the forward pass, in order.
const (
	StageEmbedding = iota
	StageLayer
	StageFinalNorm
	StageLogits
)

// Sub-checkpoints of a layer, in the order in which a layer computes them.
const (
	SubAttnNorm = iota
	SubAttnOutput
	SubFFNInput
	SubFFNNorm
	SubFFNOutput
	// SubOther is a sub-checkpoint whose place within its layer is not known.
	SubOther
	SubOutput
)

// Place is where in the forward pass a checkpoint stands. Layer and Sub are 0
// outside of StageLayer.
type Place struct{ Stage, Layer, Sub int }

var subs = map[string]int{
	"attn_norm": SubAttnNorm, "attn_output": SubAttnOutput, "ffn_input": SubFFNInput,
	"ffn_norm": SubFFNNorm, "ffn_output": SubFFNOutput, "output": SubOutput,
}

// PlaceOf is the place of a canonical name. An unknown part of a known layer
// (layer_3_router) stands just before that layer's output; a name outside the
// scheme has no place.
func PlaceOf(name string) (Place, bool) {
	switch name {
	case "embedding":
		return Place{Stage: StageEmbedding}, true
	case "final_norm":
		return Place{Stage: StageFinalNorm}, true
	case "logits":
		return Place{Stage: StageLogits}, true
	}
	layer, sub, ok := layerOf(name)
	if !ok {
		return Place{}, false
	}
	s, known := subs[sub]
	if !known {
		s = SubOther
	}
	return Place{StageLayer, layer, s}, true
}

// layerOf splits layer_N_sub.
func layerOf(name string) (layer int, sub string, ok bool) {
	rest, ok := strings.CutPrefix(name, "layer_")
	if !ok {
		return 0, "", false
	}
	digits, sub, ok := strings.Cut(rest, "_")
	if !ok || sub == "" || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, "", false
	}
	layer, err := strconv.Atoi(digits)
	return layer, sub, err == nil
}

// Less says whether p comes before q in the forward pass.
func (p Place) Less(q Place) bool {
	if p.Stage != q.Stage {
		return p.Stage < q.Stage
	}
	if p.Layer != q.Layer {
		return p.Layer < q.Layer
	}
	return p.Sub < q.Sub
}

// Less orders canonical names by the forward pass: embedding, the layers with
// their sub-checkpoints, final_norm, logits, then names without a place. Equal
// places are ordered by name, so that the order is total.
func Less(a, b string) bool {
	p, pok := PlaceOf(a)
	q, qok := PlaceOf(b)
	if pok != qok {
		return pok
	}
	if pok && p != q {
		return p.Less(q)
	}
	return a < b
}

// IsResidual says whether the checkpoint is the residual stream between layers:
// embedding or layer_N_output.
func IsResidual(name string) bool {
	p, ok := PlaceOf(name)
	return ok && (p.Stage == StageEmbedding || p.Stage == StageLayer && p.Sub == SubOutput)
}

// PreviousResidual is the residual checkpoint that enters the layer whose
// output name is: layer_0_output gives embedding, layer_N_output gives
// layer_(N−1)_output; every other name has none.
func PreviousResidual(name string) (string, bool) {
	p, ok := PlaceOf(name)
	if !ok || p.Stage != StageLayer || p.Sub != SubOutput {
		return "", false
	}
	if p.Layer == 0 {
		return "embedding", true
	}
	return "layer_" + strconv.Itoa(p.Layer-1) + "_output", true
}
