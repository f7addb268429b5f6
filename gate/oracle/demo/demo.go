// Package demo holds a small trained model and a prompt, so that the program
// can show what it does with nothing else at hand.
package demo

import _ "embed"

// Name is the model's file name.
const Name = "llama-f16.gguf"

//go:embed llama-f16.gguf
var model string

// Model is the content of a GGUF file: a llama of 4 layers, 128 wide, trained on
// the source of Python's standard library, one token id a byte and 256 for the
// begin of a text; weights in F16.
func Model() []byte { return []byte(model) }

// Text is the prompt: 65 tokens with the begin of the text.
const Text = "class Error(Exception):\n    \"\"\"Base class for parser errors.\"\"\"\n"

// Profile is the precision profile of the candidate.
const Profile = "llamacpp-fa-f16"

// Tokens are the prompt's token ids, the begin of the text first.
func Tokens() []int32 {
	ids := []int32{256}
	for _, b := range []byte(Text) {
		ids = append(ids, int32(b))
	}
	return ids
}
