package baseline

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/spec"
)

// ErrRefused is wrapped by the errors of results that must not become a baseline.
var ErrRefused = errors.New("this run cannot become a baseline")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// Record makes the document of one run by itself: no past but its own, and its own
// anchor. im is the imprint that was taken of it, or nil. A run that failed is
// recorded, too, since somebody may approve it; one that could not measure all it
// had to is refused, unless only the baseline is what it lacks.
func Record(r *gate.Result, im *Imprint, p Provenance) (*Document, error) {
	d := measured(r, im, p)
	if err := recordable(r, d); err != nil {
		return nil, err
	}
	return d, d.check()
}

// recordable says why a result cannot become a baseline, whoever approves it.
func recordable(r *gate.Result, d *Document) error {
	for _, f := range findings(r) {
		if f.Level == gate.LevelIncomplete && !gate.AboutBaseline(f) {
			return refuse("it is incomplete: %s", f.Message)
		}
	}
	if len(d.Measurements) == 0 {
		return refuse("nothing was compared")
	}
	return nil
}

// findings are all of a result, those of the run first.
func findings(r *gate.Result) []gate.Finding {
	out := slices.Clone(r.Findings)
	for i := range r.Checkpoints {
		out = append(out, r.Checkpoints[i].Findings...)
	}
	return out
}

// measured is what a result says, whatever its outcome.
func measured(r *gate.Result, im *Imprint, p Provenance) *Document {
	d := &Document{Key: KeyOf(r, p), Provenance: p.cleaned()}
	d.History = []Accepted{{d.Provenance.Commit, d.Provenance.Date}}
	for i := range r.Checkpoints {
		c := &r.Checkpoints[i]
		if c.Rows == 0 {
			continue
		}
		m := Measurement{Prompt: clean(c.Prompt), Checkpoint: clean(c.Name), Rows: c.Rows, Width: c.Compared, Metrics: map[string]Metric{}}
		m.Mark, _ = im.Mark(c.Prompt, c.Name)
		for _, name := range spec.BaselineMetrics() {
			if v, ok := c.Measured(name); ok && !math.IsNaN(float64(v)) {
				m.Metrics[name] = Metric{Value: v, Spread: gate.Value(math.NaN()), Runs: 1, Anchor: v, History: []gate.Value{v}}
			}
		}
		d.Measurements = append(d.Measurements, m)
	}
	slices.SortStableFunc(d.Measurements, func(a, b Measurement) int { return strings.Compare(a.Prompt, b.Prompt) })
	d.Anchor = Anchor{Commit: d.Provenance.Commit, Date: d.Provenance.Date, Digest: d.Numbers()}
	return d
}

// cleaned is p as a document can hold it.
func (p Provenance) cleaned() Provenance {
	for _, s := range []*string{&p.Commit, &p.Tree, &p.Outcome, &p.Reference, &p.Candidate, &p.Weights, &p.GPU, &p.Driver, &p.CPU, &p.Spec, &p.Paritygate, &p.ApprovedBy, &p.Reason} {
		*s = clean(*s)
	}
	return p
}

// Propose makes the document that an accepted run becomes: that of Record, with
// the past of the previous one, nil if it is the first. It refuses a run that did
// not pass, except one that only lacks a baseline to be held against: else there
// would never be a first. ratchet keeps the better of both values as the baseline.
func Propose(r *gate.Result, im *Imprint, p Provenance, previous *Document, ratchet bool) (*Document, error) {
	for _, f := range findings(r) {
		if f.Level == gate.LevelFail {
			return nil, refuse("it fails: %s", f.Message)
		}
		if f.Level == gate.LevelIncomplete && !gate.LacksBaseline(r, f) {
			return nil, refuse("it is incomplete: %s", f.Message)
		}
	}
	d, err := Record(r, im, p)
	if err != nil || previous == nil {
		return d, err
	}
	return d.Follow(previous, ratchet)
}

// Follow gives d the past of the document before it: history, the spread where d
// has none of its own, and the anchor, which stays where it was. What the one
// before did not measure is its own anchor. With ratchet, the better of both values
// is the baseline.
func (d *Document) Follow(previous *Document, ratchet bool) (*Document, error) {
	if d.Key != previous.Key {
		return nil, refuse("it is of another key: %s", differ(previous.Key.Differences(d.Key)))
	}
	out := d.inherit(previous)
	out.Anchor = previous.Anchor
	before := previous.byPlace()
	for i := range out.Measurements {
		m := &out.Measurements[i]
		then := before[place{m.Prompt, m.Checkpoint}]
		if then == nil {
			continue
		}
		for name, v := range m.Metrics {
			old, ok := then.Metrics[name]
			if !ok {
				continue
			}
			v.Anchor = old.Anchor
			if ratchet && better(name, old.Value, v.Value) {
				v.Value = old.Value
			}
			m.Metrics[name] = v
		}
	}
	return out, out.check()
}

// inherit copies d with the history and the spread of the document before it, in
// place of any that it had.
func (d *Document) inherit(previous *Document) *Document {
	out := *d
	out.History = lastOf(append(slices.Clone(previous.History), d.History[len(d.History)-1]))
	out.Measurements = slices.Clone(d.Measurements)
	before, remembered := previous.byPlace(), spec.BaselineJudged()
	for i := range out.Measurements {
		m := &out.Measurements[i]
		then := before[place{m.Prompt, m.Checkpoint}]
		metrics := make(map[string]Metric, len(m.Metrics))
		for name, v := range m.Metrics {
			v.History = []gate.Value{v.own()}
			if then != nil {
				if old, ok := then.Metrics[name]; ok {
					if slices.Contains(remembered, name) {
						v.History = lastOf(append(slices.Clone(old.History), v.own()))
					}
					if v.Runs == 1 {
						v.Spread, v.Runs = old.Spread, old.Runs
					}
				}
			}
			metrics[name] = v
		}
		m.Metrics = metrics
	}
	return &out
}

func lastOf[T any](history []T) []T { return history[max(0, len(history)-MaxHistory):] }

// Approve makes the document that d becomes when somebody accepts it as it is,
// failing or not: the anchor moves to it. previous is the document before, or nil;
// one of another key gives nothing on. The digest names what is approved and must
// be d.Numbers().
func (d *Document) Approve(previous *Document, digest, by, reason string, at time.Time) (*Document, error) {
	switch numbers := d.Numbers(); {
	case len(digest) < minDigest || !strings.HasPrefix(numbers, strings.ToLower(digest)):
		return nil, fmt.Errorf("the digest %s does not name these numbers, which are %s", quoted(short(digest)), short(numbers))
	case strings.TrimSpace(by) == "" || strings.TrimSpace(reason) == "":
		return nil, errors.New("an approval says who approves and why")
	}
	out := *d
	if previous != nil && previous.Key == d.Key {
		out = *d.inherit(previous)
	} else {
		out.Measurements = slices.Clone(d.Measurements)
	}
	for i := range out.Measurements {
		m := &out.Measurements[i]
		metrics := make(map[string]Metric, len(m.Metrics))
		for name, v := range m.Metrics {
			v.Value, v.Anchor = v.own(), v.own()
			metrics[name] = v
		}
		m.Metrics = metrics
	}
	out.Provenance.ApprovedBy, out.Provenance.Reason = clean(by), clean(reason)
	out.Anchor = Anchor{Commit: d.Provenance.Commit, Date: at.UTC().Format(time.RFC3339), ApprovedBy: clean(by), Reason: clean(reason), Digest: d.Numbers()}
	return &out, out.check()
}

// minDigest is how much of a digest names a run: 64 bits.
const minDigest = 16

// differ says in a sentence what differs.
func differ(ds []gate.BaselineDifference) string {
	var out []string
	for _, d := range ds {
		out = append(out, fmt.Sprintf("the %s was %s and is %s", d.What, short(d.Baseline), short(d.Here)))
	}
	return strings.Join(out, "; ")
}
