package gate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/spec"
)

// profileFor is how an engine computes, and who says so: its spec, its adapter's
// settings, or its trace's own words; "" where nothing tells.
func profileFor(e spec.Engine, in EngineInfo) (p oracle.Profile, from string, err error) {
	if e.Precision != nil {
		p, err := namedProfile(*e.Precision)
		return p, fromSpec, err
	}
	name, from := toldProfile(e, in)
	if name == "" {
		return oracle.Profile{}, "", nil
	}
	if p, err = oracle.ProfileByName(name); err != nil {
		return p, "", err
	}
	if name == llamaCPU {
		p, err = withSettings(p, in.Settings)
	}
	return p, from, err
}

// llamaCPU is llama.cpp's habit on the CPU with weights of any type.
const llamaCPU = "llamacpp-cpu"

// withSettings adds the cache's type and flash attention to llama.cpp's habit.
func withSettings(p oracle.Profile, settings map[string]string) (oracle.Profile, error) {
	var changes [][2]string
	kv, flash := settings["kv_type"], settings["flash_attention"] == "on"
	if kv != "" && kv != "f32" {
		changes = append(changes, [2]string{"kv", kv}, [2]string{"queries", kv})
		if !flash {
			changes = append(changes, [2]string{"probabilities", kv})
		}
	}
	if flash {
		changes = append(changes, [2]string{"flash", "true"}, [2]string{"flash_sum", "f16"}, [2]string{"flash_tile", "64"})
	}
	var err error
	for _, c := range changes {
		if p, err = p.With(c[0], c[1]); err != nil {
			return p, err
		}
	}
	return p, nil
}

// namedProfile is a profile with its changed fields.
func namedProfile(s spec.Precision) (oracle.Profile, error) {
	p, err := oracle.ProfileByName(s.Profile)
	if err != nil {
		return p, fmt.Errorf("precision: %w", err)
	}
	for _, f := range slices.Sorted(maps.Keys(s.Fields)) {
		if p, err = p.With(f, s.Fields[f]); err != nil {
			return p, fmt.Errorf("precision: %w", err)
		}
	}
	return p, nil
}

// toldProfile is the name of the profile that an engine's own words fit.
func toldProfile(e spec.Engine, in EngineInfo) (name, from string) {
	precision := in.Precision
	engine := strings.ToLower(in.Name)
	switch {
	case strings.HasPrefix(engine, "paritygate builtin"):
		return in.Version, fromSettings
	case strings.HasPrefix(engine, "llama.cpp"):
		return llamaProfile(e, in)
	case strings.HasPrefix(engine, "transformers") && precision != "f64" && precision != "":
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
	device := strings.ToLower(in.Device)
	if strings.Contains(device, "cuda") || strings.Contains(device, "nvidia") || e.GPULayers != nil && *e.GPULayers > 0 {
		return "llamacpp-cuda-f16", fromWords
	}
	if _, told := in.Settings["kv_type"]; !told {
		return llamaCPU, fromWords
	}
	return llamaCPU, fromSettings
}
