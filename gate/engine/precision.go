package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/spec"
)

// Profile is the precision profile that p names, with the fields that differ;
// nil is the oracle's float64. Errors name the profiles, the fields, or what a
// field takes.
func Profile(p *spec.Precision) (oracle.Profile, error) {
	if p == nil {
		return oracle.ProfileByName("f64")
	}
	out, err := oracle.ProfileByName(p.Profile)
	if err != nil {
		return out, fmt.Errorf("precision: %w", err)
	}
	for _, field := range slices.Sorted(maps.Keys(p.Fields)) {
		if out, err = out.With(field, p.Fields[field]); err != nil {
			return out, fmt.Errorf("precision: %w", err)
		}
	}
	return out, nil
}

// ParsePrecision reads a profile in one word, as a trace's engine_version and
// the command line have it: "f16", or "llamacpp-fa-f16,kv=bf16" with fields that
// differ. It checks the spelling; Profile checks the names.
func ParsePrecision(text string) (*spec.Precision, error) {
	name, rest, more := strings.Cut(text, ",")
	p := &spec.Precision{Profile: name}
	for more {
		var part string
		part, rest, more = strings.Cut(rest, ",")
		field, value, ok := strings.Cut(part, "=")
		if !ok || field == "" || value == "" {
			return nil, fmt.Errorf("%q: want a profile, or PROFILE,FIELD=VALUE", text)
		}
		if p.Fields == nil {
			p.Fields = map[string]string{}
		}
		if _, twice := p.Fields[field]; twice {
			return nil, fmt.Errorf("%q: %s stands twice", text, field)
		}
		p.Fields[field] = value
	}
	return p, nil
}
