package spec

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
	"github.com/paritygate/paritygate/gate/metric"
)

// keyInfo is a field without its type.
type keyInfo struct {
	key, doc string
	need     bool
	schema   func() *jsonschema.Schema
}

func infos[T any](fields []field[T]) []keyInfo {
	var out []keyInfo
	for _, f := range fields {
		out = append(out, keyInfo{f.key, f.doc, f.need, f.schema})
	}
	return out
}

// tables are the fields by the Go type they fill.
func tables() map[string][]keyInfo {
	return map[string][]keyInfo{
		"Spec": infos(specFields), "Model": infos(modelFields), "Prompt": infos(promptFields),
		"Engines": infos(engineSetFields), "Engine": infos(engineFields), "Require": infos(requireFields),
		"Skip": infos(skipFields), "Garbage": infos(garbageFields), "Tolerances": infos(tolerancesFields),
		"Oracle": infos(oracleFields), "Baseline": infos(baselineFields),
	}
}

// defaults are what a key left out stands for, where that is a value.
var defaults = map[string]any{
	"Garbage.above": 1e10, "Garbage.reference": "mask", "Garbage.candidate": "fail",
	"Prompt.generate": 0,
	"Engine.timeout":  "10m", "Engine.retries": 0, "Engine.max_output": "1MB", "Engine.max_trace": "64GB",
	"Engine.mode": "probe", "Engine.decode": false, "Engine.sublayers": false,
	"Engine.prove_capture": true, "Engine.no_repack": false,
	"Baseline.required": false, "Baseline.max_increase": "25%", "Baseline.noise": 3, "Baseline.ratchet": false,
	"Engine.python": "python3", "Engine.device": "cpu", "Engine.attention": "eager", "Engine.trust_remote_code": false,
}

// Schema is the JSON schema (draft 2020-12) of a spec, for editors: made from
// the Go types, the tables that the parser reads, and the registry of metrics.
// It fails when those do not name the same keys, which a test rules out.
func Schema() ([]byte, error) {
	r := &jsonschema.Reflector{FieldNameTag: "yaml", RequiredFromJSONSchemaTags: true, ExpandedStruct: true, Anonymous: true, Mapper: special}
	root := r.Reflect(&Spec{})
	root.ID = "https://github.com/paritygate/paritygate/parity.schema.json"
	root.Title = "parity.yaml"
	root.Description = "What paritygate runs, compares and tolerates."
	for name, table := range tables() {
		def := root.Definitions[name]
		if name == "Spec" {
			def = root
		}
		if def == nil {
			return nil, fmt.Errorf("the schema lacks the type %s", name)
		}
		if err := describe(def, name, table); err != nil {
			return nil, err
		}
	}
	exclusive(root.Definitions["Prompt"])
	byAdapter(root.Definitions["Engine"])
	addRules(root.Definitions)
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// special keeps types that the file writes in another form out of reflection.
func special(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[Rule]():
		return &jsonschema.Schema{Ref: "#/$defs/Rule"}
	case reflect.TypeFor[NameRule](), reflect.TypeFor[Precision]():
		return &jsonschema.Schema{}
	}
	return nil
}

// describe completes the reflected properties of one type from its table.
func describe(def *jsonschema.Schema, name string, table []keyInfo) error {
	var reflected []string
	for p := def.Properties.Oldest(); p != nil; p = p.Next() {
		reflected = append(reflected, p.Key)
	}
	for _, k := range table {
		prop, ok := def.Properties.Get(k.key)
		if !ok {
			return fmt.Errorf("%s has no field for the key %q", name, k.key)
		}
		reflected = slices.DeleteFunc(reflected, func(s string) bool { return s == k.key })
		if k.schema != nil {
			prop = k.schema()
		}
		prop.Description = k.doc
		prop.Default = defaults[name+"."+k.key]
		def.Properties.Set(k.key, prop)
		if k.need {
			def.Required = append(def.Required, k.key)
		}
	}
	if len(reflected) > 0 {
		return fmt.Errorf("the parser does not read these keys of %s: %s", name, strings.Join(reflected, ", "))
	}
	return nil
}

// exclusive makes a prompt have exactly one input.
func exclusive(prompt *jsonschema.Schema) {
	for _, k := range []string{"text", "file", "tokens"} {
		prompt.OneOf = append(prompt.OneOf, &jsonschema.Schema{Required: []string{k}})
	}
}

// byAdapter narrows an engine's keys to those of its adapter and mode.
func byAdapter(engine *jsonschema.Schema) {
	for _, v := range variants {
		is := &jsonschema.Schema{Properties: jsonschema.NewProperties(), Required: []string{"adapter"}}
		is.Properties.Set("adapter", &jsonschema.Schema{Const: v.adapter})
		if v.mode != "" {
			is.Properties.Set("mode", &jsonschema.Schema{Const: v.mode})
		}
		if slices.Contains(v.need, "mode") { // not the mode that holds without the key
			is.Required = append(is.Required, "mode")
		}
		names := &jsonschema.Schema{}
		for _, k := range v.keys() {
			names.Enum = append(names.Enum, k)
		}
		then := &jsonschema.Schema{PropertyNames: names, Required: v.need}
		engine.AllOf = append(engine.AllOf, &jsonschema.Schema{If: is, Then: then})
	}
}

// addRules adds the types of rules, which follow the registry of metrics.
func addRules(defs jsonschema.Definitions) {
	two, one := uint64(2), uint64(1)
	rule := closedObject()
	rule.Description = "Limits for the checkpoints that a glob matches."
	rule.Required = []string{"checkpoint"}
	rule.MinProperties = &two
	checkpoint := globSchema()
	checkpoint.Description = "Name or glob of checkpoints: * ? and [a-z]."
	rule.Properties.Set("checkpoint", checkpoint)
	rule.Properties.Set("warn", &jsonschema.Schema{Ref: "#/$defs/Warn", Description: "Limits that warn and do not fail."})
	baselineInRule(rule)
	warn := closedObject()
	warn.Description = "Limits that warn and do not fail."
	warn.MinProperties = &one
	for _, g := range groups() {
		rule.Properties.Set(g.name, groupSchema(g))
		warn.Properties.Set(g.name, groupSchema(g))
	}
	defs["Rule"], defs["Warn"] = rule, warn
	for _, i := range metric.All() {
		name, limit := limitSchema(i)
		defs[name] = limit
	}
}

func closedObject() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema}
}

func groupSchema(g group) *jsonschema.Schema {
	if g.stats == nil {
		return limitRef(g.infos[0])
	}
	one := uint64(1)
	s := closedObject()
	s.MinProperties = &one
	s.Description = "Limits of its statistics."
	for i, stat := range g.stats {
		s.Properties.Set(stat, limitRef(g.infos[i]))
	}
	return s
}

func limitRef(i metric.Info) *jsonschema.Schema {
	name, _ := limitSchema(i)
	bound := "at most"
	if i.Direction == metric.HigherIsBetter {
		bound = "at least"
	}
	return &jsonschema.Schema{Ref: "#/$defs/" + name, Description: fmt.Sprintf("%s; %s this", i.Doc, bound)}
}

// limitSchema is the schema of a metric's limit and its name; metrics that
// take the same values share one.
func limitSchema(i metric.Info) (string, *jsonschema.Schema) {
	name := "Limit"
	number := &jsonschema.Schema{Type: "number", Minimum: jsonNumber(0)}
	if i.Share || i.Direction == metric.HigherIsBetter {
		name += "To1"
		number.Maximum = jsonNumber(1)
	}
	s := &jsonschema.Schema{AnyOf: []*jsonschema.Schema{number}}
	if i.Percent {
		name = "Percent" + name
		pattern := percentPattern
		if i.Share || i.Direction == metric.HigherIsBetter {
			pattern = sharePattern
		}
		s.AnyOf = append(s.AnyOf, patternSchema(pattern)())
	}
	s.AnyOf = append(s.AnyOf, &jsonschema.Schema{Const: "off", Description: "Removes the limit of the preset or of an earlier rule."})
	return name, s
}
