package gate

// Levels of findings.
const (
	LevelFail       = "fail"
	LevelWarn       = "warn"
	LevelIncomplete = "incomplete"
)

// Verdict collects what judging found.
type Verdict struct {
	// Compared is the number of element pairs that were measured.
	Compared int64
	// InputsDiffer says that the engines did not get the same input on some prompt:
	// whatever else was found is no statement about the candidate.
	InputsDiffer bool
	Findings     []Finding
}

// Outcome is the only place that decides pass or fail.
//
// Different inputs make a run incomplete whatever was measured. A measured
// failure stands even where something else could not be measured. A run that
// compared nothing has not passed.
func (v *Verdict) Outcome() Outcome {
	if v.InputsDiffer {
		return Incomplete
	}
	incomplete := v.Compared == 0
	for _, f := range v.Findings {
		switch f.Level {
		case LevelFail:
			return Fail
		case LevelIncomplete:
			incomplete = true
		}
	}
	if incomplete {
		return Incomplete
	}
	return Pass
}
