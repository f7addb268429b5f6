// Package spec reads parity.yaml.
//
// Everything a user can write is typed here; the JSON schema that editors use
// is generated from these types, and errors carry file, line and column.
package spec

import "time"

// Spec is one parity.yaml.
type Spec struct {
	Version    int        `yaml:"version" json:"version"`
	Model      Model      `yaml:"model" json:"model,omitempty"`
	Prompts    []Prompt   `yaml:"prompts" json:"prompts,omitempty"`
	Engines    Engines    `yaml:"engines" json:"engines,omitempty"`
	Require    Require    `yaml:"require" json:"require,omitempty"`
	Skip       Skip       `yaml:"skip" json:"skip,omitempty"`
	Garbage    Garbage    `yaml:"garbage" json:"garbage,omitempty"`
	Tolerances Tolerances `yaml:"tolerances" json:"tolerances,omitempty"`
	// Oracle, where it is given, computes the model in float64 beside the engines.
	Oracle *Oracle `yaml:"oracle" json:"oracle,omitempty"`
	// Baseline, where it is given, holds the run against an earlier one.
	Baseline *Baseline `yaml:"baseline" json:"baseline,omitempty"`

	// Path is the file the spec was read from, as the user named it; "" for the
	// built-in default. Relative paths inside it are already made absolute
	// through its folder, so that they hold in any working directory.
	Path string `yaml:"-" json:"-"`
	// Digest is the hex SHA-256 of the file's bytes; "" for the default.
	Digest string `yaml:"-" json:"-"`
	// Lines are where keys stand in the file, as "garbage.above",
	// "engines.reference.path" and "prompts.NAME"; rules know their own.
	Lines map[string]int `yaml:"-" json:"-"`
}

// Oracle is the forward pass in float64 that says which engine errs, and how
// much of an error the engine's precision explains.
type Oracle struct {
	// Model is a GGUF file with the weights that the engines run. Default: the
	// spec's model.
	Model string `yaml:"model" json:"model,omitempty"`
}

// Precision is how an engine computes: a named profile of gate/oracle, and
// fields of it that differ.
type Precision struct {
	Profile string `yaml:"profile" json:"profile"`
	// Fields are the profile's fields to change, by name: {kv: f16}.
	Fields map[string]string `yaml:",inline" json:"fields,omitempty"`
}

// Model is the model that every engine runs.
type Model struct {
	Path string `yaml:"path" json:"path,omitempty"`
}

// Prompt is one input: exactly one of Text, File and Tokens is written. Load
// reads a File into Text as well, byte for byte.
type Prompt struct {
	Name   string  `yaml:"name" json:"name"`
	Text   string  `yaml:"text" json:"text,omitempty"`
	File   string  `yaml:"file" json:"file,omitempty"`
	Tokens []int32 `yaml:"tokens" json:"tokens,omitempty"`
	// Generate is how many tokens of the reference's greedy continuation are
	// appended and then forced on every engine.
	Generate int `yaml:"generate" json:"generate,omitempty"`
}

// Engines are the programs of a run by role.
type Engines struct {
	Reference Engine            `yaml:"reference" json:"reference,omitempty"`
	Candidate Engine            `yaml:"candidate" json:"candidate,omitempty"`
	Witnesses map[string]Engine `yaml:"witnesses" json:"witnesses,omitempty"`
}

// Engine says how to run one engine. Which keys are valid depends on Adapter.
type Engine struct {
	Adapter string `yaml:"adapter" json:"adapter"` // one of Adapters

	// Names maps the engine's checkpoint names to canonical ones: regular
	// expression (anchored at both ends) to replacement with ${1}. In file order.
	Names []NameRule `yaml:"names" json:"names,omitempty"`
	// Timeout bounds one run on one prompt. Default 10m.
	Timeout time.Duration `yaml:"timeout" json:"timeout,omitempty"`
	// Retries is how often a crash is tried again. Default 0.
	Retries int `yaml:"retries" json:"retries,omitempty"`
	// Env is added to the scrubbed environment; values may hold variables.
	Env map[string]string `yaml:"env" json:"env,omitempty"`
	// PassEnv names variables that are passed through from the caller.
	PassEnv []string `yaml:"pass_env" json:"pass_env,omitempty"`
	// GPU says that the engine uses the GPU: such engines run one after the other.
	// Default: true, except for recorded traces, llamacpp with gpu_layers 0 and
	// transformers on the cpu.
	GPU *bool `yaml:"gpu" json:"gpu,omitempty"`
	// Model overrides the spec's model for this engine.
	Model string `yaml:"model" json:"model,omitempty"`

	// Precision says how the engine computes: what the builtin engine emulates,
	// and what explains another engine's error to the oracle. Default: told from
	// the adapter's settings and the trace's compute_dtype.
	Precision *Precision `yaml:"precision" json:"precision,omitempty"`

	// exec, and llamacpp with mode: preload.
	Command []string `yaml:"command" json:"command,omitempty"`
	// Build is the program and arguments that build the engine from a checkout, in
	// the spec's folder. Only bisect runs it.
	Build []string `yaml:"build" json:"build,omitempty"`
	// Dir is the working directory of the command. Default: the spec's folder.
	Dir string `yaml:"dir" json:"dir,omitempty"`
	// MaxOutput bounds what is kept of stdout and stderr, each. Default 1 MB.
	MaxOutput int64 `yaml:"max_output" json:"max_output,omitempty"`
	// MaxTrace bounds the bytes of the written trace. Default 64 GB.
	MaxTrace int64 `yaml:"max_trace" json:"max_trace,omitempty"`

	// trace: one recorded file or folder, or one per prompt with {{prompt}}.
	Path string `yaml:"path" json:"path,omitempty"`

	// llamacpp.
	Mode      string `yaml:"mode" json:"mode,omitempty"` // probe (default) or preload
	Library   string `yaml:"library" json:"library,omitempty"`
	Headers   string `yaml:"headers" json:"headers,omitempty"`
	Compiler  string `yaml:"compiler" json:"compiler,omitempty"`
	Backend   string `yaml:"backend" json:"backend,omitempty"` // one ggml backend library to load instead of all, e.g. libggml-cpu-haswell.so
	GPULayers *int   `yaml:"gpu_layers" json:"gpu_layers,omitempty"`
	// FlashAttention is on, off or auto.
	FlashAttention string `yaml:"flash_attention" json:"flash_attention,omitempty"`
	KVType         string `yaml:"kv_type" json:"kv_type,omitempty"` // f32, f16, bf16, q8_0
	Threads        int    `yaml:"threads" json:"threads,omitempty"`
	Batch          int    `yaml:"batch" json:"batch,omitempty"`
	UBatch         int    `yaml:"ubatch" json:"ubatch,omitempty"`
	// Decode feeds one token at a time instead of a prefill.
	Decode bool `yaml:"decode" json:"decode,omitempty"`
	// Sublayers captures attention and feed-forward outputs, too.
	Sublayers bool `yaml:"sublayers" json:"sublayers,omitempty"`
	// ProveCapture runs once more without capture and compares the final logits
	// bit for bit. Default true.
	ProveCapture *bool `yaml:"prove_capture" json:"prove_capture,omitempty"`
	// NoRepack turns off llama.cpp's repacked weight buffers.
	NoRepack bool `yaml:"no_repack" json:"no_repack,omitempty"`

	// transformers, beside Threads, Decode, Sublayers and ProveCapture.
	// Python is the interpreter that has torch and transformers. Default python3.
	Python string `yaml:"python" json:"python,omitempty"`
	// DType is the type of weights and activations: f64, f32, f16 or bf16.
	// Default: what the model's config says.
	DType string `yaml:"dtype" json:"dtype,omitempty"`
	// Device is PyTorch's name of the device. Default cpu.
	Device string `yaml:"device" json:"device,omitempty"`
	// Attention is eager (default), sdpa or flash_attention_2.
	Attention string `yaml:"attention" json:"attention,omitempty"`
	// TrustRemoteCode runs Python code that lies in the model's folder.
	TrustRemoteCode bool `yaml:"trust_remote_code" json:"trust_remote_code,omitempty"`

	// Line is where the engine stands in the file.
	Line int `yaml:"-" json:"-"`
}

// NameRule maps names that match Pattern to Replacement.
type NameRule struct{ Pattern, Replacement string }

// Require says what a run must have measured to be judged at all.
type Require struct {
	// Checkpoints are globs; each must match at least one compared checkpoint,
	// and every checkpoint of the reference that one matches must be compared.
	Checkpoints  []string `yaml:"checkpoints" json:"checkpoints,omitempty"`
	MinPositions int      `yaml:"min_positions" json:"min_positions,omitempty"`
}

// Skip leaves token positions or row elements out of every comparison.
type Skip struct {
	Positions []int `yaml:"positions" json:"positions,omitempty"`
	Elements  []int `yaml:"elements" json:"elements,omitempty"`
}

// Garbage says what garbage is and what to do with it on each side:
// mask (leave out and report), fail (leave out and fail) or keep (compare it).
type Garbage struct {
	Above     float64 `yaml:"above" json:"above,omitempty"`         // default 1e10
	Reference string  `yaml:"reference" json:"reference,omitempty"` // default mask
	Candidate string  `yaml:"candidate" json:"candidate,omitempty"` // default fail
}

// Tolerances are a preset and rules that win over it, later over earlier.
type Tolerances struct {
	// Preset is f32, f16, bf16, q8_0, q4 or reasonable; "" chooses one from what
	// the traces say of their precision.
	Preset string `yaml:"preset" json:"preset,omitempty"`
	Rules  []Rule `yaml:"rules" json:"rules,omitempty"`
}

// Rule limits metrics of the checkpoints that its glob matches.
type Rule struct {
	Checkpoint string
	// Limits fail, Warn warns; both by metric name ("rel_l2", "kl.mean").
	Limits []Limit
	Warn   []Limit
	// Baseline is what the rule says of the baseline, nil for nothing.
	Baseline *RuleBaseline `json:",omitempty"`
	// Line and Column are where the rule stands in the file; 0 in a preset.
	Line, Column int
	// Source names where the rule comes from: the file's name or "preset f16".
	Source string
}

// Limit is one metric's limit.
type Limit struct {
	Metric string
	Value  float64
	// Off removes the limit that the preset or an earlier rule sets; Value is 0.
	Off bool
	// Unit, where it is not 0, is the unit roundoff of a preset: Value then counts
	// how many times what rounding at that unit explains at the checkpoint.
	Unit float64
	// Line is where the limit stands in the file; 0 in a preset.
	Line int
}
