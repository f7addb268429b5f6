// Package gate aligns two traces, measures and judges them.
package gate

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Outcome is what a run says. The zero value is Incomplete: nothing passes by
// being forgotten.
type Outcome int

const (
	Incomplete Outcome = iota
	Pass
	Fail
)

// ExitCode is the process's exit code for the outcome.
func (o Outcome) ExitCode() int {
	switch o {
	case Pass:
		return 0
	case Fail:
		return 1
	}
	return 3
}

func (o Outcome) String() string {
	switch o {
	case Pass:
		return "pass"
	case Fail:
		return "fail"
	}
	return "incomplete"
}

// MarshalText and UnmarshalText write the outcome as its word.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

func (o *Outcome) UnmarshalText(b []byte) error {
	switch string(b) {
	case "pass":
		*o = Pass
	case "fail":
		*o = Fail
	case "incomplete":
		*o = Incomplete
	default:
		return fmt.Errorf("outcome %q: want pass, fail or incomplete", b)
	}
	return nil
}

// Value is a measured number. JSON has no NaN or infinity: they are written as
// the strings "NaN", "+Inf" and "-Inf".
type Value float64

func (v Value) MarshalJSON() ([]byte, error) {
	f := float64(v)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return json.Marshal(strconv.FormatFloat(f, 'g', -1, 64))
	}
	return json.Marshal(f)
}

func (v *Value) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || !(math.IsNaN(f) || math.IsInf(f, 0)) {
			return fmt.Errorf("value %q: want a number, NaN, +Inf or -Inf", s)
		}
		*v = Value(f)
		return nil
	}
	return json.Unmarshal(b, (*float64)(v))
}

// Status is how one checkpoint stands.
type Status string

const (
	Passed     Status = "pass"
	Warned     Status = "warn"
	Failed     Status = "fail"
	Unmeasured Status = "unmeasured"
)

// Result is results.json: everything a run found. All reports are drawn from
// it alone.
type Result struct {
	Version         int          `json:"version"` // 1
	Outcome         Outcome      `json:"outcome"`
	ExitCode        int          `json:"exit_code"`
	Reasons         []string     `json:"reasons"` // why the outcome is not pass, worst first, for people
	Engines         EngineSet    `json:"engines"`
	Spec            SpecInfo     `json:"spec"`
	Prompts         []PromptInfo `json:"prompts"`
	Coverage        Coverage     `json:"coverage"`
	FirstDivergence *Divergence  `json:"first_divergence"`
	Checkpoints     []Checkpoint `json:"checkpoints"` // forward order, prompt by prompt
	Trend           Trend        `json:"trend"`
	Diagnosis       []Diagnosis  `json:"diagnosis"` // most confident first
	Garbage         []Garbage    `json:"garbage"`
	Findings        []Finding    `json:"findings"` // of the run as a whole: coverage, engines, garbage
	Baseline        *Baseline    `json:"baseline"` // null: nobody asked for one
	Warnings        []string     `json:"warnings"` // things to know that judged nothing
	Timing          Timing       `json:"timing"`
	Environment     Environment  `json:"environment"`
	// Source is the commit that was measured, null where nobody said.
	Source *Source `json:"source"`
}

// PromptInfo is one prompt of the run.
type PromptInfo struct {
	Name   string `json:"name"`   // as in the spec
	Tokens int    `json:"tokens"` // 0 when neither trace says
	SHA256 string `json:"sha256"` // of the token ids, "" when unknown
	// InputsDiffer says how the two sides' tokens differ, "" when they agree or
	// one side does not tell. Nothing is compared then.
	InputsDiffer string `json:"inputs_differ"`
}

// Coverage says how much was compared.
type Coverage struct {
	Checkpoints Count     `json:"checkpoints"`
	Positions   Count     `json:"positions"` // of the checkpoint with the fewest shared
	Elements    Count     `json:"elements"`  // of a row of the most partial checkpoint
	Missing     []Missing `json:"missing"`
}

// Count is "Compared of Total"; Total is the larger side's.
type Count struct {
	Compared  int `json:"compared"`  // on both sides and not skipped
	Reference int `json:"reference"` // the reference has
	Candidate int `json:"candidate"` // the candidate has
}

// Missing is a checkpoint that one side lacks.
type Missing struct {
	Prompt     string `json:"prompt"`     // of the comparison
	Checkpoint string `json:"checkpoint"` // canonical name
	Side       string `json:"side"`       // who lacks it: "reference", "candidate" or "both"
	Required   bool   `json:"required"`   // then the run is incomplete
	Reason     string `json:"reason"`     // "not recorded", "rows of 128 and 256 elements", "no shared position", …
}

// Divergence is the first place where the engines part.
type Divergence struct {
	Prompt     string `json:"prompt"`     // name
	Checkpoint string `json:"checkpoint"` // canonical name
	Position   int    `json:"position"`   // −1 where the metric has no position
	Metric     string `json:"metric"`     // registry name
	Value      Value  `json:"value"`      // measured
	Limit      Value  `json:"limit"`      // that it breaks
}

// Checkpoint is what was measured and judged at one checkpoint of one prompt.
type Checkpoint struct {
	Prompt       string `json:"prompt"`            // name
	Name         string `json:"name"`              // canonical name
	Order        int    `json:"order"`             // place in the forward pass, from 0
	Rows         int    `json:"rows"`              // positions compared
	LastPosition int    `json:"last_position"`     // largest position compared; 0 with none
	Width        int    `json:"width"`             // elements of a whole row
	Compared     int    `json:"compared_elements"` // elements of a row that took part; less than width in a partial log
	RefDType     string `json:"reference_dtype"`   // of the stored values
	CandDType    string `json:"candidate_dtype"`   // of the stored values
	// NonFinite counts pairs that cannot be subtracted (a NaN or infinity that
	// the other side does not have): they fail every tolerance.
	NonFinite int64 `json:"non_finite"`
	// Metrics by registry name; a metric that could not be measured is absent.
	Metrics map[string]Value `json:"metrics"`
	Where   Where            `json:"where"`
	Growth  *Growth          `json:"growth"` // null where there is no checkpoint before
	Profile []ProfilePoint   `json:"profile"`
	Logits  *LogitsInfo      `json:"logits"` // null for hidden states and partial logits
	// Witnesses holds the metrics of each witness against the reference.
	Witnesses map[string]map[string]Value `json:"witnesses,omitempty"`
	// Oracle says who errs, null without an oracle.
	Oracle   *OracleInfo    `json:"oracle"`
	Status   Status         `json:"status"`
	Limits   []AppliedLimit `json:"limits"`   // every limit that was applied
	Findings []Finding      `json:"findings"` // what broke one
}

// OracleInfo holds both engines against the oracle, the forward pass in float64.
// Errors are relative: ‖engine − oracle‖ / ‖oracle‖ over all rows.
type OracleInfo struct {
	// Reference is the reference's error.
	Reference OracleError `json:"reference"`
	// Candidate is the candidate's error.
	Candidate OracleError `json:"candidate"`
	// Ratio is the candidate's error over the reference's.
	Ratio Value `json:"ratio"`
}

// OracleError is one engine's error at one checkpoint. A figure that could not
// be had is NaN: no profile is known, or the layer's input was not captured.
type OracleError struct {
	// Error is ‖engine − oracle‖ / ‖oracle‖.
	Error Value `json:"error"`
	// Floor is what the engine's precision costs here: the error of the emulated
	// engine.
	Floor Value `json:"floor"`
	// Explained is Error / Floor.
	Explained Value `json:"explained"`
	// Local is the error that this checkpoint's own computation makes of the
	// engine's own input, relative to what it adds.
	Local Value `json:"local"`
	// LocalFloor is what the engine's precision costs this computation.
	LocalFloor Value `json:"local_floor"`
	// LocalRatio is Local / LocalFloor.
	LocalRatio Value `json:"local_ratio"`
	// Part is "attention" or "feed-forward" where sub-layer checkpoints tell, else "".
	Part string `json:"part"`
}

// Where locates extremes; −1 where there is none.
type Where struct {
	MaxAbsPosition int `json:"max_abs_position"` // of max_abs
	MaxAbsElement  int `json:"max_abs_element"`  // of max_abs
	WorstChannel   int `json:"worst_channel"`    // of worst_channel
	WorstPosition  int `json:"worst_position"`   // largest row rel_l2
}

// Growth says how the divergence moved since the checkpoint before.
type Growth struct {
	Inherited Value `json:"inherited"` // rel_l2 at the checkpoint before
	Added     Value `json:"added"`     // relative to the layer's own contribution
	Factor    Value `json:"factor"`    // rel_l2 / inherited
	// InheritedRMS is position_rms at the checkpoint before.
	InheritedRMS Value `json:"inherited_rms"`
	// Stride is ‖r_i‖ / ‖r_i − r_{i−1}‖: how large the stream is beside what the
	// layer adds. 0 where nothing is added to a stream.
	Stride Value `json:"stride"`
}

// ProfilePoint is a position whose row diverges more than every earlier one, in
// at least one of the three figures by 2 % or more. The first position that
// exceeds any limit can be read off these points.
type ProfilePoint struct {
	Position int   `json:"position"` // of the row
	RelL2    Value `json:"rel_l2"`   // of the row
	MaxAbs   Value `json:"max_abs"`  // of the row
	Added    Value `json:"added"`    // 0 where nothing is added to a stream
}

// LogitsInfo tells flips of the top token apart.
type LogitsInfo struct {
	Flips []Flip `json:"flips"` // at most 20, most decided first
	// FlipsTotal counts all; FlipsInNoise those whose gap the measured noise explains.
	FlipsTotal   int   `json:"flips_total"`
	FlipsInNoise int   `json:"flips_in_noise"` // of all flips, those within the noise
	Noise        Value `json:"noise"`          // typical rmse of a logits row, what a flip is held against
	MarginP50    Value `json:"margin_p50"`     // median gap between the reference's first and second token
}

// Flip is one position where the engines chose different tokens.
type Flip struct {
	Position  int   `json:"position"`  // of the row
	Reference int   `json:"reference"` // token id
	Candidate int   `json:"candidate"` // token id
	Gap       Value `json:"gap"`       // reference's logit of its own choice − of the candidate's
	InNoise   bool  `json:"in_noise"`  // the gap is within what the noise explains
}

// AppliedLimit is one limit held against one measurement.
type AppliedLimit struct {
	Metric string `json:"metric"` // registry name
	Value  Value  `json:"value"`  // measured
	Limit  Value  `json:"limit"`  // inclusive
	// Use is how much of the limit the value takes: 1 is at the limit.
	Use    Value  `json:"use"`
	Level  string `json:"level"`  // "fail" or "warn"
	Source string `json:"source"` // file name of the spec, "base FILE" for the base branch's, or "preset f16"
	Line   int    `json:"line"`   // of that spec; 0 in a preset
	// Explained is how many times the limit allows what rounding explains at
	// this checkpoint; 0 for a fixed limit.
	Explained Value `json:"explained"`
	Within    bool  `json:"within"` // the value keeps to the limit; NaN never does
}

// Finding is one judged fact.
type Finding struct {
	Rule       string `json:"rule"`       // "layer_*_output: rel_l2 <= 0.01", or the built-in check's name
	Level      string `json:"level"`      // "fail", "warn" or "incomplete"
	Prompt     string `json:"prompt"`     // name
	Checkpoint string `json:"checkpoint"` // canonical name
	Position   int    `json:"position"`   // −1 where it has none
	Metric     string `json:"metric"`     // registry name, "" for a built-in check
	Value      Value  `json:"value"`      // measured
	Limit      Value  `json:"limit"`      // that it breaks
	Source     string `json:"source"`     // file name of the spec, "base FILE" for the base branch's, or "preset f16"
	Line       int    `json:"line"`       // of that spec; 0 in a preset
	Message    string `json:"message"`    // one sentence for people
}

// Trend is the divergence over depth.
type Trend struct {
	// Direction is increasing, stable or decreasing, or "" with fewer than three layers.
	Direction string `json:"direction"`
	// GrowthPerLayer is the fitted factor of rel_l2 a layer.
	GrowthPerLayer Value `json:"growth_per_layer"`
	// Jump is the layer whose growth stands out most, or null.
	Jump *Jump `json:"jump"`
}

// Jump is one layer's growth over the typical one.
type Jump struct {
	Checkpoint string `json:"checkpoint"` // canonical name
	Factor     Value  `json:"factor"`     // its growth over the typical growth
}

// Diagnosis is what kind of mistake it looks like.
type Diagnosis struct {
	Kind       string `json:"kind"`       // "rope_or_mask", "embedding", "layer", "channel", "multiplier", "heap_pointers", …
	Title      string `json:"title"`      // "RoPE or attention mask"
	Checkpoint string `json:"checkpoint"` // where, or ""
	Confidence string `json:"confidence"` // "high", "medium" or "low"
	Evidence   string `json:"evidence"`   // the measured facts, in a sentence
}

// Garbage is values that no computation meant.
type Garbage struct {
	Engine     string `json:"engine"`     // "reference" or "candidate"
	Prompt     string `json:"prompt"`     // name
	Checkpoint string `json:"checkpoint"` // canonical name
	Kind       string `json:"kind"`       // "non_finite", "huge" or "heap_pointer"
	Policy     string `json:"policy"`     // "mask", "fail" or "keep"
	Count      int64  `json:"count"`      // of values
	Positions  []int  `json:"positions"`  // the first 16
	Elements   []int  `json:"elements"`   // the first 16
}

// Timing in seconds.
type Timing struct {
	Reference Value `json:"reference_s"` // running the reference
	Candidate Value `json:"candidate_s"` // running the candidate
	Compare   Value `json:"compare_s"`   // reading and comparing the traces
	Bytes     int64 `json:"bytes"`       // of trace values read
}

// Environment is where it ran.
type Environment struct {
	Paritygate string `json:"paritygate"` // version
	OS         string `json:"os"`         // as Go names it
	Arch       string `json:"arch"`       // as Go names it
	CPU        string `json:"cpu"`        // model name
	Kernel     string `json:"kernel"`     // "avx512", "avx2" or "portable"
}
