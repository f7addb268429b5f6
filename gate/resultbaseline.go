package gate

// BaselineState says what became of looking for a baseline.
type BaselineState string

const (
	// BaselineCompared: one was found, and this run is held against it.
	BaselineCompared BaselineState = "compared"
	// BaselineNone: none is stored for this key and any ancestor.
	BaselineNone BaselineState = "none"
	// BaselineIncomparable: the nearest was measured on another device, driver
	// or precision, so that its numbers say nothing about this run.
	BaselineIncomparable BaselineState = "incomparable"
	// BaselineInvalid: the store cannot be read, or what it holds is damaged.
	BaselineInvalid BaselineState = "invalid"
)

// Baseline is how this run stands beside what was stored of an accepted one.
type Baseline struct {
	State BaselineState `json:"state"` // what became of the search
	Store string        `json:"store"` // as the spec names it, as "branch:parity-baselines"
	Key   string        `json:"key"`   // digest of what must be the same: weights, prompts, engines, precision, device class
	// Why says in a sentence what State alone does not: why none was found, how
	// far back it lies, what differs or what is damaged.
	Why         string               `json:"why"`
	Commit      string               `json:"commit"`      // that was measured, "" without one
	Distance    int                  `json:"distance"`    // commits between it and the merge base; −1 when unknown
	AgeS        Value                `json:"age_s"`       // seconds since it was measured
	Digest      string               `json:"digest"`      // of the stored document
	Differences []BaselineDifference `json:"differences"` // what makes it incomparable
	// Proposed is the digest of the document that this run would become: what
	// approve takes.
	Proposed string `json:"proposed"`
	// BitIdentical counts the checkpoints whose bits are those of the baseline.
	BitIdentical BitIdentical    `json:"bit_identical"`
	Anchor       *BaselineAnchor `json:"anchor"` // null before anything was approved
	// Deltas has a line for every measurement of the baseline at checkpoints that
	// both have, by prompt and in forward order.
	Deltas []BaselineDelta `json:"deltas"`
	// Missing lists checkpoints, as "prompt/checkpoint", that the baseline has and
	// this run has not, or has of other rows: those are named behind it.
	Missing []string `json:"missing"`
}

// BaselineDifference is one property that the baseline and this run do not share.
type BaselineDifference struct {
	What     string `json:"what"`     // as "GPU" or "driver"
	Baseline string `json:"baseline"` // as it was stored
	Here     string `json:"here"`     // as it is now
}

// BitIdentical is "Same of Of checkpoints have the same bits".
type BitIdentical struct {
	Same int `json:"same"` // with equal fingerprints
	Of   int `json:"of"`   // that both have
}

// BaselineAnchor is the approved run that slow creep is judged against.
type BaselineAnchor struct {
	Commit     string `json:"commit"`      // that was approved
	Date       string `json:"date"`        // RFC 3339, of the approval
	ApprovedBy string `json:"approved_by"` // who
	Reason     string `json:"reason"`      // why
}

// BaselineDelta is one measurement beside the baseline's.
type BaselineDelta struct {
	Prompt     string `json:"prompt"`     // name
	Checkpoint string `json:"checkpoint"` // canonical name
	Metric     string `json:"metric"`     // registry name
	Base       Value  `json:"base"`       // rolling baseline's
	Head       Value  `json:"head"`       // this run's, NaN where it was not measured
	Delta      Value  `json:"delta"`      // head − base
	Share      Value  `json:"share"`      // delta / base; +Inf from 0, NaN where base is not finite
	Spread     Value  `json:"spread"`     // standard deviation of repeated runs, NaN when not measured
	Anchor     Value  `json:"anchor"`     // anchor's, NaN without one
	// Allowed is the worst value that may stand: inclusive. NaN where nothing judges.
	Allowed Value `json:"allowed"`
	// Against says what set Allowed: "baseline" or "anchor", or "" where nothing did.
	Against string `json:"against"`
	Within  bool   `json:"within"` // the value keeps to Allowed, or nothing judges it
	// Moved is the estimated ‖candidate now − candidate then‖ / ‖then‖ from the
	// sketches: 0 for the same bits, NaN without a sketch. The same for all
	// metrics of a checkpoint.
	Moved   Value   `json:"moved"`
	History []Value `json:"history"` // of accepted runs, oldest first, at most 30
}
