package baseline

import (
	"regexp"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate"
)

// TestKey: what leaves a run comparable leaves the key, and what does not changes it.
func TestKey(t *testing.T) {
	key := func(change func(*gate.Result)) Key {
		r := passing(1, 1)
		r.Prompts = append(r.Prompts, gate.PromptInfo{Name: "b", SHA256: strings.Repeat("b", 64)})
		change(r)
		return KeyOf(r, Provenance{})
	}
	base := key(func(*gate.Result) {})
	if !regexp.MustCompile(`^[0-9a-f]{32}\.json$`).MatchString(base.FileName()) || !strings.HasPrefix(base.Digest(), strings.TrimSuffix(base.FileName(), ".json")) {
		t.Errorf("file %q of %s", base.FileName(), base.Digest())
	}
	for name, change := range map[string]func(*gate.Result){
		"the model's file": func(r *gate.Result) {
			r.Engines.Candidate.Model, r.Engines.Candidate.Trace = "renamed.gguf", "/elsewhere"
		},
		"an engine's version":      func(r *gate.Result) { r.Engines.Candidate.Version = "0.5" },
		"settings":                 func(r *gate.Result) { r.Engines.Candidate.Settings = map[string]string{"kv_type": "f16"} },
		"the compute type's words": func(r *gate.Result) { r.Engines.Candidate.ComputeDType = "torch.float16" },
		"a profile":                func(r *gate.Result) { r.Engines.Candidate.Profile = "llamacpp-fa-f16" },
		"the order of the prompts": func(r *gate.Result) { r.Prompts[0], r.Prompts[1] = r.Prompts[1], r.Prompts[0] },
		"what was measured":        func(r *gate.Result) { r.Checkpoints = nil },
		"the spec":                 func(r *gate.Result) { r.Spec.Digest = "x" },
		"the candidate's weights":  func(r *gate.Result) { r.Engines.Candidate.WeightsSHA256 = strings.Repeat("2", 64) },
		"capital letters": func(r *gate.Result) {
			r.Engines.Reference.WeightsSHA256 = strings.ToUpper(r.Engines.Reference.WeightsSHA256)
		},
		"the instructions of a CPU":   func(r *gate.Result) { r.Engines.Reference.Device = "CPU (AVX512)" },
		"a reference without weights": func(r *gate.Result) { r.Engines.Reference.WeightsSHA256 = "" },
	} {
		if got := key(change); got != base || got.Digest() != base.Digest() {
			t.Errorf("%s changes the key: %+v", name, base.Differences(got))
		}
	}
	digests := map[string]string{base.Digest(): "nothing"}
	for name, c := range map[string]struct {
		change  func(*gate.Result)
		what    string
		subject bool
	}{
		"the weights":       {func(r *gate.Result) { r.Engines.Reference.WeightsSHA256 = strings.Repeat("2", 64) }, "weights", false},
		"weights of nobody": {func(r *gate.Result) { r.Engines.Reference.WeightsSHA256, r.Engines.Candidate.WeightsSHA256 = "", "" }, "weights", false},
		"a prompt":          {func(r *gate.Result) { r.Prompts[0].SHA256 = strings.Repeat("c", 64) }, "prompts", false},
		"a prompt's name":   {func(r *gate.Result) { r.Prompts[0].Name = "c" }, "prompts", false},
		"a prompt more":     {func(r *gate.Result) { r.Prompts = append(r.Prompts, gate.PromptInfo{Name: "z"}) }, "prompts", false},
		"two prompts' tokens": {func(r *gate.Result) {
			r.Prompts[0].SHA256, r.Prompts[1].SHA256 = r.Prompts[1].SHA256, r.Prompts[0].SHA256
		}, "prompts", false},
		"the reference":         {func(r *gate.Result) { r.Engines.Reference.Name = "transformers" }, "reference's engine", false},
		"the adapter":           {func(r *gate.Result) { r.Engines.Candidate.Adapter = "llamacpp" }, "candidate's engine", false},
		"precision":             {func(r *gate.Result) { r.Engines.Candidate.Precision = "bf16" }, "candidate's precision", true},
		"the GPU":               {func(r *gate.Result) { r.Engines.Candidate.Device = "NVIDIA H200" }, "candidate's device", true},
		"the engine on the CPU": {func(r *gate.Result) { r.Engines.Candidate.Device = "CPU" }, "candidate's device", true},
		"the processor":         {func(r *gate.Result) { r.Environment.Arch = "arm64" }, "reference's device", true},
	} {
		got := key(c.change)
		if other, twice := digests[got.Digest()]; twice {
			t.Errorf("%s has the digest of %s", name, other)
		}
		digests[got.Digest()] = name
		ds := base.Differences(got)
		if len(ds) != 1 || ds[0].What != c.what || ds[0].Baseline == ds[0].Here || ds[0].Baseline == "" || ds[0].Here == "" {
			t.Errorf("%s: %+v", name, ds)
		}
		if base.SameSubject(got) != c.subject {
			t.Errorf("%s: the same subject: %v", name, !c.subject)
		}
	}
}

func TestDeviceClass(t *testing.T) {
	for _, c := range []struct{ device, gpu, want string }{
		{"NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3"}, {"", "NVIDIA H100", "NVIDIA H100"}, {"", "", "CPU amd64"},
		{"CPU", "NVIDIA H100", "CPU amd64"}, {"cpu", "", "CPU amd64"}, {"CPU (AVX2)", "", "CPU amd64"},
	} {
		if got := deviceClass(c.device, c.gpu, "amd64"); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// TestHostileNames: names of engines and traces are bounded and valid text in a
// document, whatever they were.
func TestHostileNames(t *testing.T) {
	r := passing(1, 1)
	r.Engines.Candidate.Name = strings.Repeat("é", maxText) + "\xff"
	r.Engines.Candidate.Version = "\xff\x00\x1b[31m"
	r.Checkpoints[0].Name = "@everyone](javascript:)\xfe"
	d, err := Record(r, nil, here(strings.Repeat("c", 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	b := ok[[]byte](t)(d.Encode())
	if back, err := Parse(b, "b"); err != nil || back.Key != d.Key {
		t.Error(err)
	}
}
