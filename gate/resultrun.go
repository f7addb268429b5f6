package gate

// Source is the commit of the candidate, as the machine that ran the gate
// claims it. A report that trusts nobody checks it against GitHub.
type Source struct {
	Repository  string `json:"repository"`   // "owner/name"
	Event       string `json:"event"`        // GitHub's name of what started the run, as "pull_request"
	PullRequest int    `json:"pull_request"` // 0 without one
	Head        string `json:"head"`         // commit that is judged
	Base        string `json:"base"`         // commit that it is held against, or ""
	RunID       int64  `json:"run_id"`       // of the workflow run; 0 outside of one
	RunAttempt  int    `json:"run_attempt"`  // from 1; 0 outside of a workflow run
}

// EngineSet are the engines of the run.
type EngineSet struct {
	Reference EngineInfo   `json:"reference"`
	Candidate EngineInfo   `json:"candidate"`
	Witnesses []EngineInfo `json:"witnesses"`
}

// EngineInfo says what one engine was; empty fields were not said.
type EngineInfo struct {
	Name          string `json:"name"`           // as the trace or the spec calls it
	Adapter       string `json:"adapter"`        // "exec", "llamacpp", "trace", …
	Version       string `json:"version"`        // as the engine says it
	Model         string `json:"model"`          // as the engine says it
	WeightsSHA256 string `json:"weights_sha256"` // hex, of the weights file
	ComputeDType  string `json:"compute_dtype"`  // "f32", "f16", "bf16", "q8_0", … or the engine's own words
	// Precision is compute_dtype brought to the name of a preset, "" when
	// neither the trace's words nor its values tell; PrecisionFrom says which.
	Precision     string `json:"precision"`
	PrecisionFrom string `json:"precision_from"` // "says that it computes in bf16", "has hidden states that lie on the f16 grid"
	Device        string `json:"device"`         // as the engine says it
	// Settings are what the trace says of how it computed: kv_type, flash_attention, decode.
	Settings map[string]string `json:"settings"`
	// Profile is the precision profile that explains its rounding to the oracle, "" without one.
	Profile string `json:"profile"`
	// ProfileFrom is who says so: "spec", "settings" of the adapter, or the engine's own "words".
	ProfileFrom string `json:"profile_from"`
	Trace       string `json:"trace"`   // where its trace lies
	Capture     string `json:"capture"` // "", "exact" or "disturbs"
	Failure     string `json:"failure"` // why it measured nothing, or ""
	Output      string `json:"output"`  // the end of what it wrote to stderr, when it failed
}

// SpecInfo says what judged.
type SpecInfo struct {
	Path   string `json:"path"`   // "" for the built-in default
	Digest string `json:"digest"` // hex SHA-256
	Preset string `json:"preset"` // the preset that applied
	// PresetFrom says who chose it: "spec" or the reason, as "the candidate computes in bf16".
	PresetFrom string `json:"preset_from"`
	// Flags are choices of the command line that judged beside the spec.
	Flags []string `json:"flags"`
	// JudgedBy is the digest of the base branch's spec when that said what was
	// measured, and judged; path and digest are the change's own all the same.
	// "" when the own spec alone counted.
	JudgedBy string `json:"judged_by"`
	// Changes are the differences between the base branch's spec and the change's own.
	Changes []SpecChange `json:"changes"`
	// Approved says that somebody accepted the loosened rules: the change's own spec judged.
	Approved bool `json:"approved"`
}

// SpecChange is one rule that a change of the spec moves.
type SpecChange struct {
	// Effect is "loosened", "tightened" or "changed".
	Effect string `json:"effect"`
	// What names the rule, as "layer_*_output: rel_l2" or "require.checkpoints".
	What string `json:"what"`
	From string `json:"from"` // in the base branch's spec, as it is written there; "" when new
	To   string `json:"to"`   // in the change's own; "" when removed
	Line int    `json:"line"` // of the change's own spec, 0 when removed
}
