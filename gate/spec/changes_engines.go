package spec

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"
)

// folderOf is the absolute folder of a spec's file.
func folderOf(s *Spec) string {
	dir, err := filepath.Abs(filepath.Dir(s.Path))
	if err != nil {
		return ""
	}
	return dir
}

// path writes a path below the spec's folder as it is from there.
func (d *differ) path(p string) string {
	if !filepath.IsAbs(p) || d.dir == "" {
		return p
	}
	if rel, err := filepath.Rel(d.dir, p); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return p
}

// prompts compares the inputs by name.
func (d *differ) prompts() {
	find := func(list []Prompt, name string) *Prompt {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
		return nil
	}
	for _, b := range d.base.Prompts {
		o := find(d.own.Prompts, b.Name)
		if o == nil {
			d.addAt(Loosened, "prompts."+b.Name, d.prompt(b), "", 0, true)
			continue
		}
		if reflect.DeepEqual(b, *o) {
			continue
		}
		from, to := d.prompt(b), d.prompt(*o)
		if from == to {
			from, to = from+digestOf(b), to+digestOf(*o)
		}
		d.add(Changed, "prompts."+b.Name, from, to, "prompts."+b.Name, true)
	}
	// Positions are counted over all prompts: one more may make up for another's.
	effect := Tightened
	if d.base.Require.MinPositions > 0 {
		effect = Changed
	}
	for _, o := range d.own.Prompts {
		if find(d.base.Prompts, o.Name) == nil {
			d.add(effect, "prompts."+o.Name, "", d.prompt(o), "prompts."+o.Name, false)
		}
	}
}

// prompt describes an input in one line.
func (d *differ) prompt(p Prompt) string {
	var s string
	switch {
	case p.File != "":
		s = fmt.Sprintf("file %s, %d bytes", d.path(p.File), len(p.Text))
	case p.Tokens != nil:
		const most = 8
		shown := strings.Trim(fmt.Sprint(p.Tokens[:min(most, len(p.Tokens))]), "[]")
		s = fmt.Sprintf("%d tokens: %s", len(p.Tokens), strings.ReplaceAll(shown, " ", ", "))
		if len(p.Tokens) == 1 {
			s = "1 token: " + shown
		}
		if len(p.Tokens) > most {
			s += ", …"
		}
	default:
		s = "text " + quote(p.Text)
	}
	if p.Generate > 0 {
		s += fmt.Sprintf(", %d generated", p.Generate)
	}
	return s
}

// digestOf tells prompts apart whose description is the same.
func digestOf(p Prompt) string {
	return fmt.Sprintf(" (SHA-256 %x)", sha256.Sum256(fmt.Appendf(nil, "%q %v", p.Text, p.Tokens)))[:len(" (SHA-256 ")+12] + ")"
}

// bounds are keys that bound a run and cannot make its numbers better.
var bounds = words("timeout retries gpu threads max_output max_trace")

// ownKeys are the keys of the candidate that a change sets by itself: programs,
// places, environment and bounds. All others decide what is computed and compared.
var ownKeys = append(words("command dir env pass_env path library headers compiler python trust_remote_code"), bounds...)

// engines compares the reference whole, and of the candidate what is not its own.
func (d *differ) engines() {
	d.engine("reference", d.base.Engines.Reference, d.own.Engines.Reference, bounds)
	d.engine("candidate", d.base.Engines.Candidate, d.own.Engines.Candidate, ownKeys)
}

func (d *differ) engine(role string, base, own Engine, without []string) {
	at := "engines." + role
	add := func(effect, key, from, to string) {
		measures := key != "precision" || d.base.Oracle != nil || base.Adapter == "builtin"
		line := d.own.Lines[at+"."+key]
		if line == 0 {
			line = own.Line
		}
		d.addAt(effect, at+"."+key, from, to, line, measures)
	}
	// Another adapter's other keys mean other things.
	switch {
	case base.Adapter != own.Adapter:
		add(Changed, "adapter", base.Adapter, own.Adapter)
		return
	case base.Mode != own.Mode:
		add(Changed, "mode", base.Mode, own.Mode)
		return
	}
	b, o := reflect.ValueOf(withDefaults(base)), reflect.ValueOf(withDefaults(own))
	for i := range b.NumField() {
		key, _, _ := strings.Cut(b.Type().Field(i).Tag.Get("yaml"), ",")
		if key == "-" || slices.Contains(without, key) {
			continue
		}
		if alikeValues(b.Field(i), o.Field(i)) {
			continue
		}
		from, to := d.value(b.Field(i)), d.value(o.Field(i))
		if from == to { // ["a b"] and [a, b]
			from, to = written(b.Field(i)), written(o.Field(i))
		}
		effect := Changed
		if key == "prove_capture" || key == "sublayers" { // true looks at more
			effect = Loosened
			if to == "true" {
				effect = Tightened
			}
		}
		add(effect, key, from, to)
	}
}

// alikeValues reports whether two values of a key are the same; an empty list is
// none.
func alikeValues(a, b reflect.Value) bool {
	if k := a.Kind(); (k == reflect.Slice || k == reflect.Map) && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// withDefaults writes out what a key left out stands for, where two engines would
// otherwise differ in how they say the same.
func withDefaults(e Engine) Engine {
	if e.ProveCapture != nil && *e.ProveCapture {
		e.ProveCapture = nil
	}
	if e.ProveCapture == nil && (e.Adapter == "llamacpp" || e.Adapter == "transformers") {
		yes := true
		e.ProveCapture = &yes
	}
	for _, f := range []struct {
		to   *string
		name string
	}{{&e.Device, "Engine.device"}, {&e.Attention, "Engine.attention"}, {&e.Python, "Engine.python"}} {
		if *f.to == "" && e.Adapter == "transformers" {
			*f.to = fmt.Sprint(defaults[f.name])
		}
	}
	return e
}

// value writes one key of an engine in one line; "" when it is left out.
func (d *differ) value(v reflect.Value) string {
	if v.Kind() == reflect.Pointer && !v.IsNil() && v.Elem().Kind() != reflect.Struct {
		return fmt.Sprint(v.Elem()) // written, be it zero
	}
	if v.IsZero() {
		return ""
	}
	switch x := v.Interface().(type) {
	case string:
		return d.path(x)
	case []string:
		out := slices.Clone(x)
		for i := range out {
			out[i] = d.path(out[i])
		}
		return strings.Join(out, " ")
	case map[string]string:
		return pairsOf(x)
	case *Precision:
		return strings.Trim(x.Profile+","+pairsOf(x.Fields), ",")
	case []NameRule:
		out := make([]string, len(x))
		for i, r := range x {
			out[i] = r.Pattern + " → " + r.Replacement
		}
		return strings.Join(out, "; ")
	case time.Duration:
		return x.String()
	}
	return fmt.Sprint(v.Interface())
}

func pairsOf(m map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return strings.Join(out, ",")
}
