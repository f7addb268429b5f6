package baseline

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/paritygate/paritygate/gate"
)

// Key says of which runs a baseline is one: those whose numbers can be held
// against each other. What a change of the engine may change is no part of it:
// versions, settings, names and places of files.
type Key struct {
	// Weights is the hex SHA-256 of the reference's weights, or of the candidate's
	// where the reference does not tell. What a change makes of the candidate's own
	// file is judged like any other of its changes.
	Weights string `json:"weights_sha256"`
	// Prompts is the hex SHA-256 of the prompts' names and token ids.
	Prompts string `json:"prompts"`
	// Engines are names and adapters, as "llama.cpp (llamacpp)".
	Engines Sides `json:"engines"`
	// Precision is what each engine computes in, by the name of a preset.
	Precision Sides `json:"precision"`
	// Device is the model of the GPU, or "CPU" with the processor's architecture.
	Device Sides `json:"device"`
}

// Sides is one property of both engines; "" where it is not known.
type Sides struct {
	Reference string `json:"reference"`
	Candidate string `json:"candidate"`
}

// KeyOf is the key of a run. Engines that do not say what they ran on did so on
// the machine's GPU, if p names one.
func KeyOf(r *gate.Result, p Provenance) Key {
	sides := func(f func(gate.EngineInfo) string) Sides {
		return Sides{clean(f(r.Engines.Reference)), clean(f(r.Engines.Candidate))}
	}
	return Key{
		Weights:   strings.ToLower(clean(cmp.Or(r.Engines.Reference.WeightsSHA256, r.Engines.Candidate.WeightsSHA256))),
		Prompts:   promptsHash(r.Prompts),
		Engines:   sides(func(e gate.EngineInfo) string { return e.Name + " (" + e.Adapter + ")" }),
		Precision: sides(func(e gate.EngineInfo) string { return e.Precision }),
		Device:    sides(func(e gate.EngineInfo) string { return deviceClass(e.Device, p.GPU, r.Environment.Arch) }),
	}
}

// promptsHash is of the prompts in the order of their names: which comes first
// changes no number.
func promptsHash(prompts []gate.PromptInfo) string {
	type line struct{ Name, SHA256 string }
	lines := []line{}
	for _, p := range prompts {
		lines = append(lines, line{clean(p.Name), p.SHA256})
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.SHA256, b.SHA256)) })
	return hashJSON("paritygate prompts 1", lines)
}

// deviceClass is what decides how an engine rounds, as far as it is told.
func deviceClass(device, gpu, arch string) string {
	switch {
	case device == "" && gpu != "":
		return gpu
	case device == "" || strings.HasPrefix(strings.ToLower(device), "cpu"):
		return strings.TrimSpace("CPU " + arch)
	}
	return device
}

// Digest names the key: the hex SHA-256 of all that it holds.
func (k Key) Digest() string { return hashJSON("paritygate key 1", k) }

// FileName is where a store keeps documents of the key: half of the digest, which
// is plenty.
func (k Key) FileName() string { return k.Digest()[:32] + ".json" }

// SameSubject reports whether both keys are of the same engines with the same
// weights and prompts: their numbers are about the same thing, whether or not
// they can be compared.
func (k Key) SameSubject(o Key) bool {
	return k.Weights == o.Weights && k.Prompts == o.Prompts && k.Engines == o.Engines
}

// Differences lists what k, the baseline's, and now do not share.
func (k Key) Differences(now Key) []gate.BaselineDifference {
	out := []gate.BaselineDifference{}
	add := func(what, then, here string) {
		if then != here {
			out = append(out, gate.BaselineDifference{What: what, Baseline: told(then), Here: told(here)})
		}
	}
	add("weights", k.Weights, now.Weights)
	add("prompts", k.Prompts, now.Prompts)
	for _, s := range []struct {
		what      string
		then, now Sides
	}{
		{"engine", k.Engines, now.Engines}, {"precision", k.Precision, now.Precision}, {"device", k.Device, now.Device},
	} {
		add("reference's "+s.what, s.then.Reference, s.now.Reference)
		add("candidate's "+s.what, s.then.Candidate, s.now.Candidate)
	}
	return out
}

// told is a property for people.
func told(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// hashJSON is the hex SHA-256 of a purpose and a value.
func hashJSON(purpose string, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only texts and numbers are hashed
	}
	h := sha256.New()
	h.Write([]byte(purpose + "\x00"))
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil))
}

// clean is a text of an engine or a trace as a document can hold it.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}
