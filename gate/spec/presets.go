package spec

import "slices"

// precision is one line of the table of presets. Every limit follows from its
// unit roundoff: what one rounding to the type costs, relative to the value.
type precision struct {
	name string
	// unit is half the distance of 1 to the next number. For f32 it is four times
	// that, because engines differ in the order of long sums more than in
	// roundings; for quantised weights it is the rms error of a weight matrix.
	unit float64
	// ceiling bounds rel_l2 anywhere: drift accumulates over depth as rounding
	// explains, but not without end.
	ceiling float64
	// kl bounds the mean KL of the logits in nats.
	kl float64
}

// The lines of quantised weights are measured on llama.cpp with five trained
// models, f16 weights against q8_0 and q4_0. A matrix of theirs errs by 0.45 to
// 0.94 % in q8_0, embedding rows by up to 0.67 %; layers add up to 1.4 units,
// the mean KL reaches 9e-4 (1.4e-3 is published for an 8B model). In q4_0, the
// coarsest type of 4 bits, embedding rows err by 8.6 to 10.4 %, and one final
// norm is off by a constant ratio of 2.5 %, because an error of the weights is
// the same in every row; the mean KL reaches 0.065. Each limit has at least 1.4 times that.
var table = []precision{
	{"f32", 0x1p-22, 2e-4, 1e-6},
	{"f16", 0x1p-11, 2e-2, 2e-3},
	{"bf16", 0x1p-8, 0.1, 4e-2},
	{"q8_0", 8e-3, 0.1, 4e-2},
	{"q4", 0.12, 0.5, 0.2},
}

// Multiples of what rounding explains (of the unit, at the embedding) that sound
// engines stay below, with room: over more than a thousand pairs of sound engines
// of five architectures the largest values seen were 1.9 (added), 0.8 (scale), 18
// (worst_position), 17 (worst_channel), 1.1 (position_rms at the final norm)
// and 1.2 (at the logits), 69 (worst_position of logits).
const (
	addedTimes     = 2.7
	scaleTimes     = 1.4
	positionTimes  = 30
	channelTimes   = 25
	normTimes      = 1.6
	normScaleTimes = 0.3
	logitsTimes    = 2
	logitsScale    = 0.9
	logitsPosition = 100
	embeddingTimes = 1.5
	embeddingRow   = 2.5
	// warnShare is the part of the ceiling from which on a preset warns.
	warnShare = 0.5
)

// PresetNames are the presets, most exact first.
func PresetNames() []string {
	var out []string
	for _, t := range table {
		out = append(out, t.name)
	}
	return append(out, "reasonable")
}

// Unit returns the unit roundoff of a preset, 0 for reasonable and unknown names.
func Unit(preset string) float64 {
	for _, t := range table {
		if t.name == preset {
			return t.unit
		}
	}
	return 0
}

// Preset returns the rules of a preset, nil for an unknown name. Its limits
// hold against a reference that rounds less; where both sides round alike the
// gate widens them by √2.
func Preset(name string) []Rule {
	source := "preset " + name
	if name == "reasonable" {
		return reasonable(source)
	}
	i := slices.IndexFunc(table, func(t precision) bool { return t.name == name })
	if i < 0 {
		return nil
	}
	t := table[i]
	u := t.unit
	return []Rule{
		{Checkpoint: "*", Source: source,
			Limits: []Limit{{Metric: "rel_l2", Value: t.ceiling}},
			Warn:   []Limit{{Metric: "rel_l2", Value: t.ceiling * warnShare}}},
		{Checkpoint: "embedding", Source: source, Limits: []Limit{
			{Metric: "rel_l2", Value: embeddingTimes * u},
			{Metric: "worst_position", Value: embeddingRow * u}}},
		{Checkpoint: "layer_*_output", Source: source, Limits: []Limit{
			{Metric: "added", Value: addedTimes, Unit: u},
			{Metric: "scale", Value: scaleTimes, Unit: u},
			{Metric: "worst_channel", Value: channelTimes, Unit: u},
			{Metric: "worst_position", Value: positionTimes, Unit: u}}},
		{Checkpoint: "final_norm", Source: source, Limits: []Limit{
			{Metric: "position_rms", Value: normTimes, Unit: u},
			{Metric: "scale", Value: normScaleTimes, Unit: u},
			{Metric: "worst_channel", Value: channelTimes, Unit: u},
			{Metric: "worst_position", Value: positionTimes, Unit: u}}},
		{Checkpoint: Logits, Source: source, Limits: []Limit{
			{Metric: "position_rms", Value: logitsTimes, Unit: u},
			{Metric: "scale", Value: logitsScale, Unit: u},
			{Metric: "worst_position", Value: logitsPosition, Unit: u},
			{Metric: "top1_agreement", Value: 1},
			{Metric: "kl.mean", Value: t.kl}}},
	}
}

// reasonable is for engines that need not agree in precision: same argmax,
// same sign, same order of magnitude, under 1 % passes, up to 10 % warns. An
// error of 10 % turns the sign of what is smaller than it, so a few elements
// may.
func reasonable(source string) []Rule {
	return []Rule{
		{Checkpoint: "*", Source: source,
			Limits: []Limit{{Metric: "rel_l2", Value: 0.1}, {Metric: "sign_flips", Value: 0.05}, {Metric: "magnitude", Value: 0.9}},
			Warn:   []Limit{{Metric: "rel_l2", Value: 0.01}, {Metric: "sign_flips", Value: 0.005}, {Metric: "magnitude", Value: 0.99}}},
		{Checkpoint: Logits, Source: source,
			Limits: []Limit{{Metric: "top1_agreement", Value: 1}}},
	}
}
