package spec

import "slices"

// tier is one line of the table of presets: limits of rel_l2 by checkpoint,
// and of the mean KL in nats.
type tier struct {
	name                                       string
	embedding, layer, finalNorm, logits, other float64
	kl                                         float64
}

// warnShare is the part of a preset's limit from which on it warns.
const warnShare = 0.5

// tiers hold what honest engines of one precision differ by (rel_l2 is the
// square root of the NMSE that is usually published), with room above it.
// Measured between llama.cpp builds and settings, first layer to logits:
// f32 2.6e-7 to 1.8e-6; f16 weights 4.5e-4 to 2e-3; bf16 3.2e-3 to 1.6e-2 (and
// up to 2.9e-2 between other engines); q8_0 1.2e-2 to 5.4e-2.
var tiers = []tier{
	//      embedding layer  norm   logits other  kl
	{"f32", 1e-6, 2e-5, 5e-5, 5e-5, 5e-5, 1e-6},
	{"f16", 1e-3, 3e-3, 5e-3, 5e-3, 5e-3, 1e-3},
	{"bf16", 8e-3, 3e-2, 4e-2, 4e-2, 4e-2, 1e-2},
	{"q8_0", 1e-2, 5e-2, 8e-2, 8e-2, 8e-2, 2e-2},
	{"q4", 0.15, 0.2, 0.3, 0.3, 0.3, 0.1},
}

// PresetNames are the presets, most exact first.
func PresetNames() []string {
	var out []string
	for _, t := range tiers {
		out = append(out, t.name)
	}
	return append(out, "reasonable")
}

// Preset returns the rules of a preset, nil for an unknown name.
func Preset(name string) []Rule {
	source := "preset " + name
	if name == "reasonable" {
		return reasonable(source)
	}
	i := slices.IndexFunc(tiers, func(t tier) bool { return t.name == name })
	if i < 0 {
		return nil
	}
	t := tiers[i]
	relL2 := func(glob string, limit float64) Rule {
		return Rule{Checkpoint: glob, Source: source,
			Limits: []Limit{{Metric: "rel_l2", Value: limit}},
			Warn:   []Limit{{Metric: "rel_l2", Value: limit * warnShare}}}
	}
	logits := relL2(Logits, t.logits)
	logits.Limits = append(logits.Limits, Limit{Metric: "kl.mean", Value: t.kl})
	logits.Warn = append(logits.Warn, Limit{Metric: "kl.mean", Value: t.kl * warnShare})
	return []Rule{
		relL2("*", t.other),
		relL2("embedding", t.embedding),
		relL2("layer_*_output", t.layer),
		relL2("final_norm", t.finalNorm),
		logits,
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
