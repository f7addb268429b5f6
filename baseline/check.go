package baseline

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/metric"
)

const (
	// maxText bounds the bytes of a text, maxMeasurements their number.
	maxText         = 4096
	maxMeasurements = 1 << 20
)

var (
	hex32 = regexp.MustCompile(`^([0-9a-f]{32})?$`)
	hex64 = regexp.MustCompile(`^([0-9a-f]{64})?$`)
)

// check says what no sound document holds.
func (d *Document) check() error {
	for _, t := range []struct{ what, text string }{
		{"key", d.Key.Engines.Reference}, {"key", d.Key.Engines.Candidate}, {"key", d.Key.Precision.Reference}, {"key", d.Key.Precision.Candidate},
		{"key", d.Key.Device.Reference}, {"key", d.Key.Device.Candidate}, {"key", d.Key.Weights}, {"provenance", d.Provenance.Weights},
		{"provenance", d.Provenance.Commit}, {"provenance", d.Provenance.Tree}, {"provenance", d.Provenance.Outcome},
		{"provenance", d.Provenance.Reference}, {"provenance", d.Provenance.Candidate}, {"provenance", d.Provenance.GPU},
		{"provenance", d.Provenance.Driver}, {"provenance", d.Provenance.CPU}, {"provenance", d.Provenance.Spec},
		{"provenance", d.Provenance.Paritygate}, {"provenance", d.Provenance.ApprovedBy}, {"provenance", d.Provenance.Reason},
		{"anchor", d.Anchor.Commit}, {"anchor", d.Anchor.ApprovedBy}, {"anchor", d.Anchor.Reason},
	} {
		if err := checkText(t.what, t.text); err != nil {
			return err
		}
	}
	if !hex64.MatchString(d.Key.Prompts) || !hex64.MatchString(d.Anchor.Digest) {
		return fmt.Errorf("key or anchor: a digest is 64 hex digits")
	}
	dates := []string{d.Provenance.Date, d.Anchor.Date}
	for _, a := range d.History {
		dates = append(dates, a.Date)
		if err := checkText("history", a.Commit); err != nil {
			return err
		}
	}
	for _, date := range dates {
		if _, err := time.Parse(time.RFC3339, date); date != "" && err != nil {
			return fmt.Errorf("%s is no date as 2006-01-02T15:04:05Z", plain(short(date)))
		}
	}
	if n := len(d.History); n < 1 || n > MaxHistory {
		return fmt.Errorf("a history of %d runs: it has 1 to %d", n, MaxHistory)
	}
	return d.checkMeasurements()
}

func checkText(what, text string) error {
	if len(text) > maxText || !utf8.ValidString(text) {
		return fmt.Errorf("%s: a text has at most %d bytes of UTF-8", what, maxText)
	}
	return nil
}

func (d *Document) checkMeasurements() error {
	if n := len(d.Measurements); n < 1 || n > maxMeasurements {
		return fmt.Errorf("%d measurements: a baseline has 1 to %d", n, maxMeasurements)
	}
	seen := map[place]bool{}
	last := ""
	for i := range d.Measurements {
		m := &d.Measurements[i]
		at := place{m.Prompt, m.Checkpoint}
		err := m.check(len(d.History))
		switch {
		case err != nil:
		case seen[at]:
			err = fmt.Errorf("it is there twice")
		case m.Prompt < last:
			err = fmt.Errorf("prompts come in the order of their names")
		}
		if err != nil {
			return fmt.Errorf("measurement %d (%s/%s): %w", i+1, short(m.Prompt), short(m.Checkpoint), err)
		}
		seen[at], last = true, m.Prompt
	}
	return nil
}

func (m *Measurement) check(history int) error {
	if err := checkText("names", m.Prompt+m.Checkpoint); err != nil {
		return err
	}
	if m.Checkpoint == "" || m.Rows < 1 || m.Width < 1 {
		return fmt.Errorf("a measurement has a name, rows and a width")
	}
	for name, v := range m.Metrics {
		if err := v.check(name, history); err != nil {
			return err
		}
	}
	return m.Mark.check(m.Rows)
}

func (v Metric) check(name string, history int) error {
	nan := func(x float64) bool { return math.IsNaN(x) }
	switch _, known := metric.Lookup(name); {
	case !known:
		return fmt.Errorf("unknown metric %s", plain(short(name)))
	case nan(float64(v.Value)) || nan(float64(v.Anchor)):
		return fmt.Errorf("%s is not a number", name)
	case v.Runs < 1 || (v.Runs == 1) != nan(float64(v.Spread)):
		return fmt.Errorf("the spread of %s is %v over %d runs", name, v.Spread, v.Runs)
	case v.Spread < 0 || math.IsInf(float64(v.Spread), 0):
		return fmt.Errorf("the spread of %s is %v", name, v.Spread)
	case len(v.History) < 1 || len(v.History) > history:
		return fmt.Errorf("%s has %d values in a history of %d runs", name, len(v.History), history)
	case slices.ContainsFunc(v.History, func(x gate.Value) bool { return nan(float64(x)) }):
		return fmt.Errorf("the history of %s holds what is not a number", name)
	}
	return nil
}

func (k *Mark) check(rows int) error {
	own := len(spaced(rows))
	want := own
	if rows > own {
		want++
	}
	switch {
	case !hex32.MatchString(k.Fingerprint):
		return fmt.Errorf("a fingerprint is 32 hex digits")
	case k.Fingerprint == "" && len(k.Positions) == 0 && len(k.Sketches) == 0:
		return nil
	case len(k.Positions) != own || len(k.Sketches) != want:
		return fmt.Errorf("%d positions and %d sketches, where %d rows have %d and %d", len(k.Positions), len(k.Sketches), rows, own, want)
	case len(k.Positions) > 0 && k.Positions[0] < 0 || !slices.IsSorted(k.Positions) || len(slices.Compact(slices.Clone(k.Positions))) != own:
		return fmt.Errorf("positions ascend from 0")
	}
	return nil
}
