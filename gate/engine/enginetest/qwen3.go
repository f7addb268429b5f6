package enginetest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// qwen3Names are Hugging Face's names of a layer's tensors; each adds ".weight".
var qwen3Names = map[string]string{
	"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
	"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
	"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
	"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}

var (
	qwen3Whole = map[string]string{"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight", "output.weight": "lm_head.weight"}
	qwen3Block = regexp.MustCompile(`^blk\.(\d+)\.(\w+)\.weight$`)
)

// Qwen3HF makes a Hugging Face folder of a GGUF model of architecture qwen3 in
// F32: config.json and model.safetensors with the same values. The configuration
// is the metadata's "config" of model.safetensors, too, as in the zoo. It has no
// tokenizer: prompts are token ids.
func Qwen3HF(t testing.TB, path string) string {
	t.Helper()
	g, err := ReadGGUF(path)
	if err != nil {
		t.Fatal(err)
	}
	if a := g.Architecture(); a != "qwen3" {
		t.Fatalf("%s: architecture %q: want qwen3", path, a)
	}
	config, err := json.Marshal(qwen3Config(t, g))
	if err != nil {
		t.Fatal(err)
	}
	meta, err := json.Marshal(map[string]string{"format": "pt", "config": string(config)})
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]json.RawMessage{"__metadata__": meta}
	var data []byte
	for _, tensor := range g.Tensors {
		if tensor.Type != F32 {
			t.Fatalf("%s: %s has type %d: want F32", path, tensor.Name, tensor.Type)
		}
		shape := slices.Clone(tensor.Dims)
		slices.Reverse(shape) // ggml's first is the last
		entry := map[string]any{"dtype": "F32", "shape": shape, "data_offsets": []int{len(data), len(data) + len(tensor.Data)}}
		if header[qwen3Name(t, tensor.Name)], err = json.Marshal(entry); err != nil {
			t.Fatal(err)
		}
		data = append(data, tensor.Data...)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"config.json": config, "model.safetensors": append(headerBytes(t, header), data...)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func qwen3Name(t testing.TB, name string) string {
	if whole, ok := qwen3Whole[name]; ok {
		return whole
	}
	part := qwen3Block.FindStringSubmatch(name)
	if part == nil || qwen3Names[part[2]] == "" {
		t.Fatalf("qwen3 has no tensor %s", name)
	}
	return fmt.Sprintf("model.layers.%s.%s.weight", part[1], qwen3Names[part[2]])
}

// qwen3Config is config.json; what the GGUF holds in f32 stays that number.
func qwen3Config(t testing.TB, g *GGUF) map[string]any {
	config := map[string]any{
		"architectures": []string{"Qwen3ForCausalLM"}, "model_type": "qwen3", "torch_dtype": "float32", "hidden_act": "silu",
		"attention_bias": false, "tie_word_embeddings": g.Tensor("output.weight") == nil,
	}
	keys := map[string]string{
		"embedding_length": "hidden_size", "feed_forward_length": "intermediate_size", "block_count": "num_hidden_layers",
		"attention.head_count": "num_attention_heads", "attention.head_count_kv": "num_key_value_heads", "attention.key_length": "head_dim",
		"attention.layer_norm_rms_epsilon": "rms_norm_eps", "rope.freq_base": "rope_theta", "context_length": "max_position_embeddings",
		"vocab_size": "vocab_size",
	}
	for _, kv := range g.KV {
		for key, name := range keys {
			if kv.Key != "qwen3."+key {
				continue
			}
			config[name] = kv.Value
			if v, ok := kv.Value.(float32); ok {
				config[name] = float64(v)
			}
			delete(keys, key)
		}
	}
	for key := range keys {
		t.Fatalf("no metadata qwen3.%s", key)
	}
	return config
}
