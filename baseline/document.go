package baseline

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/paritygate/paritygate/gate"
)

// Document is what is stored of one accepted run.
type Document struct {
	Key        Key
	Provenance Provenance
	Anchor     Anchor
	// History are the runs that were accepted under this key, oldest first, at
	// most MaxHistory; the last is this one.
	History []Accepted
	// Measurements come by prompt, in forward order.
	Measurements []Measurement
}

// Provenance says where a run's numbers come from. Empty fields are not known.
type Provenance struct {
	Commit     string `json:"commit"`      // that was measured
	Tree       string `json:"tree"`        // of that commit: the same after a squash merge
	Date       string `json:"date"`        // of the measurement, RFC 3339 in UTC
	Outcome    string `json:"outcome"`     // "pass", or "fail" of a run that was approved all the same
	Reference  string `json:"reference"`   // version, as the engine says it
	Candidate  string `json:"candidate"`   // version, as the engine says it
	Weights    string `json:"weights"`     // hex SHA-256 of the candidate's weights
	GPU        string `json:"gpu"`         // model of the machine's GPU
	Driver     string `json:"driver"`      // its version
	CPU        string `json:"cpu"`         // model of the processor
	Spec       string `json:"spec_digest"` // hex SHA-256 of the spec that judged
	Paritygate string `json:"paritygate"`  // version
	ApprovedBy string `json:"approved_by"` // who, "" where nobody had to
	Reason     string `json:"reason"`      // why
}

// ProvenanceOf is what a result itself says of where it comes from. Commit, tree,
// GPU, driver and date are the caller's to fill in where the result does not know.
func ProvenanceOf(r *gate.Result) Provenance {
	p := Provenance{Outcome: r.Outcome.String(), Reference: clean(r.Engines.Reference.Version), Candidate: clean(r.Engines.Candidate.Version),
		Weights: strings.ToLower(clean(r.Engines.Candidate.WeightsSHA256)), CPU: clean(r.Environment.CPU), Spec: clean(r.Spec.Digest), Paritygate: clean(r.Environment.Paritygate)}
	if r.Source != nil {
		p.Commit = clean(r.Source.Head)
	}
	return p
}

// Anchor is the run that slow creep is held against: the last that somebody
// approved, or before that the first that was accepted.
type Anchor struct {
	Commit     string `json:"commit"`      // that was measured
	Date       string `json:"date"`        // of the approval, or of the measurement
	ApprovedBy string `json:"approved_by"` // who; "" where it is the first
	Reason     string `json:"reason"`      // why
	Digest     string `json:"digest"`      // of its numbers, see Document.Numbers
}

// Accepted is one run of the history.
type Accepted struct {
	Commit string `json:"commit"`
	Date   string `json:"date"`
}

// Measurement is what was measured at one checkpoint of one prompt.
type Measurement struct {
	Prompt, Checkpoint string
	Rows               int // positions compared
	Width              int // elements compared of a row
	Metrics            map[string]Metric
	// Mark is empty where the candidate's rows were not seen, or where they differ
	// between repeated runs.
	Mark Mark
}

// Metric is one metric's value, and what is known of its past.
type Metric struct {
	// Value is the baseline: of this run, the mean of repeated ones, or, with a
	// ratchet, the best so far. Never NaN: such a metric was not measured.
	Value gate.Value `json:"value"`
	// Spread is the standard deviation of repeated runs (n−1), Runs of how many;
	// NaN and 1 where there was no other. It is that of an earlier document where
	// this run was not repeated.
	Spread gate.Value `json:"spread"`
	Runs   int        `json:"runs"`
	// Anchor is the anchor's value.
	Anchor gate.Value `json:"anchor"`
	// History are the values of the accepted runs, as many of the last ones of
	// Document.History as measured it, oldest first; the last is this run's own.
	// Metrics that are not judged by default remember that alone.
	History []gate.Value `json:"history"`
}

// Numbers is the digest of what was measured, without its past and provenance:
// the same wherever and whenever the same bits are measured again. It is what
// gate.Baseline.Proposed shows, and what an approval names.
func (d *Document) Numbers() string {
	h := sha256.New()
	fmt.Fprintf(h, "paritygate numbers 1\n%s\n", d.Key.Digest())
	var line []byte
	for i := range d.Measurements {
		m := &d.Measurements[i]
		line = fmt.Appendf(line[:0], "%q %q %d %d %s\n", m.Prompt, m.Checkpoint, m.Rows, m.Width, m.Mark.Fingerprint)
		for _, name := range slices.Sorted(maps.Keys(m.Metrics)) {
			line = append(append(line, name...), ' ')
			line = append(appendValue(line, m.Metrics[name].own()), '\n')
		}
		h.Write(line) // never fails
	}
	return hex.EncodeToString(h.Sum(nil))
}

// own is what this run itself measured, whatever a ratchet keeps.
func (v Metric) own() gate.Value { return v.History[len(v.History)-1] }

// Digest is the hex SHA-256 of everything that the document holds.
func (d *Document) Digest() string {
	_, digest := d.encode()
	return digest
}

// Measured is the time of the measurement, zero where it is not known.
func (d *Document) Measured() time.Time {
	t, err := time.Parse(time.RFC3339, d.Provenance.Date)
	if err != nil {
		return time.Time{}
	}
	return t
}

// Lookup returns the measurement at a checkpoint of a prompt, nil without one.
func (d *Document) Lookup(prompt, checkpoint string) *Measurement {
	for i := range d.Measurements {
		if m := &d.Measurements[i]; m.Prompt == prompt && m.Checkpoint == checkpoint {
			return m
		}
	}
	return nil
}

// byPlace finds measurements, each in constant time. A nil document has none.
func (d *Document) byPlace() map[place]*Measurement {
	out := map[place]*Measurement{}
	if d == nil {
		return out
	}
	for i := range d.Measurements {
		m := &d.Measurements[i]
		out[place{m.Prompt, m.Checkpoint}] = m
	}
	return out
}
