package gate

import (
	"slices"
	"strings"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/spec"
)

// profileFor is how an engine computes, and who says so: its spec, its adapter's
// settings, or its trace's own words; "" where nothing tells. m are the oracle's
// weights, whose types are the engine's unless it names another precision.
func profileFor(e spec.Engine, in EngineInfo, m *oracle.Model) (oracle.Profile, string, error) {
	p, from, err := profileAlone(e, in)
	switch {
	case err != nil || from == fromSpec:
		return p, from, err
	case p.Inputs == oracle.ByWeight:
		return ownWeights(p, from, in.Precision, m)
	case in.Precision == "q4" && onCUDA(e, in):
		return ownBlocks(p, from, m)
	}
	return p, from, nil
}

// profileAlone is profileFor without regard to the weights.
func profileAlone(e spec.Engine, in EngineInfo) (p oracle.Profile, from string, err error) {
	if e.Precision != nil {
		p, err := engine.Profile(e.Precision)
		return p, fromSpec, err
	}
	name, from := toldProfile(e, in)
	if name == "" {
		return oracle.Profile{}, "", nil
	}
	named, err := engine.ParsePrecision(name)
	if err != nil {
		return p, "", err
	}
	if p, err = engine.Profile(named); err != nil {
		return p, from, err
	}
	switch {
	case strings.HasPrefix(name, llamaCUDA):
		if p, err = withCUDASettings(p, e, in.Settings); p.Name == "" {
			from = ""
		}
		return p, from, err
	case name != llamaCPU:
		return p, from, nil
	}
	p, told, err := withSettings(p, in.Settings)
	if from == fromSettings {
		from = told
	}
	return p, from, err
}

// llamaCPU is llama.cpp's habit on the CPU with weights of any type.
const llamaCPU = "llamacpp-cpu"

// withSettings adds the cache's type and flash attention to llama.cpp's habit. A
// cache in blocks is dequantised, but meets queries in blocks, too, which no
// profile has: then it is a guess.
func withSettings(p oracle.Profile, settings map[string]string) (oracle.Profile, string, error) {
	var changes [][2]string
	from := fromSettings
	kv, flash := settings["kv_type"], settings["flash_attention"] == "on"
	if flash && kv == "f32" {
		kv = "f16" // llama.cpp casts it before flash attention
	}
	switch kv {
	case "", "f32":
	case "f16", "bf16":
		changes = append(changes, [2]string{"kv", kv}, [2]string{"queries", kv})
		if !flash {
			changes = append(changes, [2]string{"probabilities", kv})
		}
	case "q8_0":
		changes, from = append(changes, [2]string{"kv", kv}), fromWords
	default:
		return oracle.Profile{}, "", nil
	}
	if flash {
		changes = append(changes, [2]string{"flash", "true"})
		if kv == "f16" {
			changes = append(changes, [2]string{"flash_sum", "f16"}, [2]string{"flash_tile", "64"})
		}
	}
	p, err := changed(p, changes)
	return p, from, err
}

// changed is a profile with fields changed, one after the other.
func changed(p oracle.Profile, changes [][2]string) (oracle.Profile, error) {
	var err error
	for _, c := range changes {
		if p, err = p.With(c[0], c[1]); err != nil {
			return p, err
		}
	}
	return p, nil
}

// ownWeights gives llama.cpp's habit the type of the engine's own weights, where
// the precision that it names is not that of the oracle's weights. Types of 4
// bits cannot be emulated from others.
func ownWeights(p oracle.Profile, from, told string, m *oracle.Model) (oracle.Profile, string, error) {
	own := m.Coarsest(p)
	if p.GELU == "table" && m.Architecture() == "gpt2" && rank(own) < rank("f16") {
		own = "f16" // its activations pass through f16
	}
	var err error
	switch t, o := rank(told), rank(own); {
	case t < 0 || o < 0 || t == o || told == "q4" && own == "q8_0":
	case told == "q4":
		return oracle.Profile{}, "", nil
	case t > o:
		p, err = changed(p, [][2]string{{"weights", told}, {"inputs", told}})
		from = fromWords
	default:
		p, err = p.With("inputs", told)
		from = fromWords
	}
	return p, from, err
}

// toldProfile is the name of the profile that an engine's own words fit.
func toldProfile(e spec.Engine, in EngineInfo) (name, from string) {
	precision := in.Precision
	name = strings.ToLower(in.Name)
	switch {
	case strings.HasPrefix(name, engine.BuiltinName):
		return in.Version, fromSettings
	case strings.HasPrefix(name, "llama.cpp"):
		return llamaProfile(e, in)
	case precision == "f64":
		// Engines that say so keep angles, norms or what they write in f32.
		return "f32", fromWords
	case strings.HasPrefix(name, "transformers") && slices.Contains([]string{"f32", "f16", "bf16"}, precision):
		return "transformers-" + precision, fromWords
	case precision == "q8_0":
		return "llamacpp-q8_0", fromWords
	case precision == "q4":
		return llamaCPU, fromWords
	}
	return precision, fromWords
}

// llamaProfile is llama.cpp's habit on its device. Weights have the file's own
// types; attention's settings are added to it.
func llamaProfile(e spec.Engine, in EngineInfo) (name, from string) {
	if onCUDA(e, in) {
		return cudaProfile(in), fromWords
	}
	if _, told := in.Settings["kv_type"]; !told {
		return llamaCPU, fromWords
	}
	return llamaCPU, fromSettings
}
