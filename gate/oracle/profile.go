package oracle

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Profile is how an engine computes: in which arithmetic, and what it rounds to
// which format. The zero value is the oracle, everything in float64. A Format of
// Exact leaves the arithmetic's own rounding.
type Profile struct {
	Name string `json:"name"`
	// Doc is one line on what it stands for.
	Doc string `json:"doc"`

	// Single computes in float32 instead of float64; sums of squares in norms and
	// of exponentials in softmax stay in float64, as engines keep them wide.
	Single bool `json:"single,omitempty"`
	// Weights is the format of matrices, Vectors of norms' weights, biases and
	// learned positions.
	Weights Format `json:"weights,omitempty"`
	Vectors Format `json:"vectors,omitempty"`
	// Inputs is the format of what a matrix of weights multiplies.
	Inputs Format `json:"inputs,omitempty"`
	// Accumulation is the format of partial sums of such a product, rounded after
	// every 16 terms.
	Accumulation Format `json:"accumulation,omitempty"`
	// Products is the format of its result, before the bias is added.
	Products Format `json:"products,omitempty"`
	// Activations is the format of every operation's result within a layer.
	Activations Format `json:"activations,omitempty"`
	// Residual is the format of the residual stream.
	Residual Format `json:"residual,omitempty"`
	// KV is the format of cached keys and values.
	KV Format `json:"kv,omitempty"`
	// Queries is the format of queries when they meet the keys.
	Queries Format `json:"queries,omitempty"`
	// Probabilities is the format of softmax's result when it meets the values.
	Probabilities Format `json:"probabilities,omitempty"`
	// Logits is the format of the logits.
	Logits Format `json:"logits,omitempty"`

	// Flash computes attention in one pass over the keys: scores are not rounded,
	// and the weighted sum of values is rounded to FlashSum after every key.
	Flash    bool   `json:"flash,omitempty"`
	FlashSum Format `json:"flash_sum,omitempty"`
	// FlashTile, above 0: runs of that many positions or more round neither queries
	// nor FlashSum, as ggml's kernel for tiles of queries has it.
	FlashTile int `json:"flash_tile,omitempty"`
	// GELU is "" or tanh, the approximation that gpt2 was trained with; erf; or
	// table, the tanh form through ggml's table of f16 arguments and results.
	GELU string `json:"gelu,omitempty"`
	// RoPE is "" or direct: the angle is position × base^(−2i/d); iterative: each
	// frequency is the one before times a constant, as ggml has it; parts: direct,
	// with cosine, sine and both products rounded to Activations, too.
	RoPE string `json:"rope,omitempty"`
	// NormTwice rounds x/rms to Activations before it is multiplied by the weight.
	NormTwice bool `json:"norm_twice,omitempty"`
}

var (
	geluForms = []string{"tanh", "erf", "table"}
	ropeForms = []string{"direct", "iterative", "parts"}
)

// Profiles are the named profiles, the oracle first.
func Profiles() []Profile { return slices.Clone(profiles) }

// ProfileByName is the profile of that name; the error lists them.
func ProfileByName(name string) (Profile, error) {
	names := make([]string, len(profiles))
	for i, p := range profiles {
		if p.Name == name {
			return p, nil
		}
		names[i] = p.Name
	}
	return Profile{}, fmt.Errorf("unknown precision profile %q: want one of %s", name, strings.Join(names, ", "))
}

// With is the profile with one field changed, by the name that it has in JSON:
// With("kv", "f16"). Errors list the fields, or what the field takes.
func (p Profile) With(field, value string) (Profile, error) {
	v := reflect.ValueOf(&p).Elem()
	var known []string
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if name == "name" || name == "doc" {
			continue
		}
		known = append(known, name)
		if name != field {
			continue
		}
		if err := setField(v.Field(i), value); err != nil {
			return p, fmt.Errorf("%s: %w", field, err)
		}
		if p.Name != "" {
			p.Name += fmt.Sprintf(",%s=%s", field, value)
		}
		return p, p.check()
	}
	return p, fmt.Errorf("unknown field %q of a precision profile: want one of %s", field, strings.Join(known, ", "))
}

func setField(v reflect.Value, value string) error {
	switch x := v.Addr().Interface().(type) {
	case *Format:
		return x.UnmarshalText([]byte(value))
	case *bool:
		if value != "true" && value != "false" {
			return fmt.Errorf("%q: want true or false", value)
		}
		*x = value == "true"
	case *int:
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return fmt.Errorf("%q: want a number, 0 or more", value)
		}
		*x = n
	case *string:
		*x = value
	}
	return nil
}

// check reports combinations that mean nothing.
func (p *Profile) check() error {
	if p.GELU != "" && !slices.Contains(geluForms, p.GELU) {
		return fmt.Errorf("unknown form of GELU %q: want one of %s", p.GELU, strings.Join(geluForms, ", "))
	}
	if p.RoPE != "" && !slices.Contains(ropeForms, p.RoPE) {
		return fmt.Errorf("unknown form of RoPE %q: want one of %s", p.RoPE, strings.Join(ropeForms, ", "))
	}
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		f, ok := v.Field(i).Interface().(Format)
		name := v.Type().Field(i).Name
		switch {
		case !ok:
		case int(f) >= len(formatNames):
			return fmt.Errorf("profile %s: unknown format %d", p.Name, f)
		case f == ByWeight && name != "Inputs":
			return fmt.Errorf("profile %s: format by-weight is for inputs only", p.Name)
		case f.block() > 1 && !slices.Contains([]string{"Inputs", "Weights", "KV"}, name):
			return fmt.Errorf("profile %s: %s cannot be %s: want exact, f32, tf32, f16 or bf16", p.Name, strings.ToLower(name), f)
		}
	}
	return nil
}

// fits reports a block format that the model's rows are no multiple of.
func (p *Profile) fits(m *Model) error {
	for _, l := range []struct {
		what   string
		format Format
		sizes  []int
	}{
		{"inputs", p.Inputs, []int{m.p.width, m.p.heads * m.p.headWidth, m.p.ffn}},
		{"weights", p.Weights, []int{m.p.width, m.p.heads * m.p.headWidth, m.p.ffn}},
		{"kv", p.KV, []int{m.p.headWidth}},
	} {
		for _, n := range l.sizes {
			if n%l.format.block() != 0 {
				return fmt.Errorf("profile %s: %s: rows of %d elements are no multiple of %s's blocks of %d", p.Name, l.what, n, l.format, l.format.block())
			}
		}
	}
	return nil
}
