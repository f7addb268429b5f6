package enginetest

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// torchFolder is where testdata/engines/torch.sh installs.
const torchFolder = "torch-2.13.0"

// Torch is the Python interpreter that has torch, transformers and NumPy. A
// missing one fails the test: tests of engines are never skipped.
func Torch(t testing.TB) string {
	t.Helper()
	python := filepath.Join(root(t), torchFolder, "bin", "python")
	if _, err := os.Stat(python); err != nil {
		t.Fatalf("torch is not installed (%v); run: bash testdata/engines/torch.sh", err)
	}
	return python
}

// ZooHF makes the small model of that architecture as a Hugging Face folder:
// config.json, model.safetensors in F16, and a tokenizer whose ids are the
// bytes of a text behind BOS, as Prompt makes them. It lies in a folder of this
// test alone, so that a test may spoil it.
func ZooHF(t testing.TB, architecture string) string {
	t.Helper()
	source := filepath.Join(filepath.Dir(Zoo(t, architecture)), architecture+".safetensors")
	data, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	size := binary.LittleEndian.Uint64(data)
	var header map[string]json.RawMessage
	if err := json.Unmarshal(data[8:8+size], &header); err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	var meta struct{ Config string }
	if err := json.Unmarshal(header["__metadata__"], &meta); err != nil || meta.Config == "" {
		t.Fatalf("%s: no config in its metadata: %v", source, err)
	}
	header["__metadata__"] = json.RawMessage(`{"format":"pt"}`) // transformers refuses a file without it
	dir := filepath.Join(t.TempDir(), architecture)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("config.json", []byte(meta.Config))
	put("model.safetensors", append(headerBytes(t, header), data[8+size:]...))
	put("tokenizer.json", byteTokenizer(t))
	put("tokenizer_config.json", []byte(`{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>"}`))
	return dir
}

// headerBytes is a safetensors header with its size before it.
func headerBytes(t testing.TB, header map[string]json.RawMessage) []byte {
	b, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, strings.Repeat(" ", -len(b)&7)...)
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(b))), b...)
}

// byteTokenizer is a byte-level tokenizer without merges: byte b has id b.
func byteTokenizer(t testing.TB) []byte {
	vocabulary := map[string]int{"<s>": 256}
	next := rune(256)
	for b := range 256 {
		// GPT-2's alphabet: printable bytes stand for themselves, the others for
		// the code points from 256 on.
		printable := b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae
		r := rune(b)
		if !printable {
			r, next = next, next+1
		}
		vocabulary[string(r)] = b
	}
	bos := map[string]any{"id": "<s>", "type_id": 0}
	doc := map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "normalizer": nil,
		"added_tokens": []any{map[string]any{"id": 256, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
			"normalized": false, "special": true}},
		"pre_tokenizer": map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
		"decoder":       map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
		"post_processor": map[string]any{"type": "TemplateProcessing",
			"single":         []any{map[string]any{"SpecialToken": bos}, map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}}},
			"pair":           []any{map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}}, map[string]any{"Sequence": map[string]any{"id": "B", "type_id": 1}}},
			"special_tokens": map[string]any{"<s>": map[string]any{"id": "<s>", "ids": []int{256}, "tokens": []string{"<s>"}}}},
		"model": map[string]any{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
			"fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocabulary, "merges": []any{}},
	}
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
