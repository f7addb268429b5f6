package spec

import (
	"regexp"
	"slices"

	"github.com/invopop/jsonschema"
	"gopkg.in/yaml.v3"
)

// oracleMetrics are the metrics that exist only beside an oracle.
var oracleMetrics = []string{"explained", "local"}

func oracleKind() kind[Spec] {
	return kind[Spec]{read: func(d *decoder, n *yaml.Node, s *Spec) {
		s.Oracle = &Oracle{}
		mapping(d, n, "oracle", oracleFields, nil, s.Oracle)
	}}
}

// oracleInSpec gives the oracle its weights, and refuses rules without one.
func (d *decoder) oracleInSpec(got seen, s *Spec) {
	e, written := got["oracle"]
	if !written {
		for _, n := range d.needOracle {
			d.errorf(n, `%s is measured against the oracle, which this spec does not turn on: add "oracle: {}"`, n.Value)
		}
		return
	}
	if s.Oracle == nil || e.value.Kind != yaml.MappingNode || s.Oracle.Model != "" {
		return
	}
	s.Oracle.Model = s.Model.Path
	if _, named := got["model"]; !named && len(e.value.Content) == 0 {
		d.errorf(e.key, "no model for the oracle: give the spec a model with a path, or write oracle: {model: m.gguf}")
	}
}

// The spelling of a profile and of what its fields take, and of a field.
const (
	precisionPattern = `^[a-z0-9][a-z0-9_-]{0,39}$`
	precisionField   = `^[a-z][a-z0-9_]{0,39}$`
)

// precisionKind reads a profile's name, or a mapping of it and of fields. Which
// profiles and fields there are is not known here: engine.New checks them.
func precisionKind() kind[Engine] {
	word := patternSchema(precisionPattern)
	schema := func() *jsonschema.Schema {
		field := &jsonschema.Schema{AnyOf: []*jsonschema.Schema{word(), {Type: "integer", Minimum: jsonNumber(0)}, {Type: "boolean"}}}
		fields := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), Required: []string{"profile"},
			PatternProperties: map[string]*jsonschema.Schema{precisionField: field}, AdditionalProperties: jsonschema.FalseSchema}
		fields.Properties.Set("profile", word())
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{word(), fields}}
	}
	return kind[Engine]{schema: schema, read: func(d *decoder, n *yaml.Node, e *Engine) { e.Precision = d.precision(n) }}
}

func (d *decoder) precision(n *yaml.Node) *Precision {
	p := &Precision{}
	if n.Kind != yaml.MappingNode {
		p.Profile, _ = d.precisionWord(n, "precision")
		return p
	}
	entries := d.entries(n, "precision")
	for _, c := range entries {
		switch {
		case isNull(c.value):
			d.errorf(c.key, "%s has no value", c.key.Value)
		case c.key.Value == "profile":
			p.Profile, _ = d.precisionWord(c.value, "profile")
		case !fieldRE.MatchString(c.key.Value):
			d.errorf(c.key, "%s is no field of a precision profile: want a word such as kv", quote(c.key.Value))
		default:
			if v, ok := d.precisionWord(c.value, c.key.Value); ok {
				if p.Fields == nil {
					p.Fields = map[string]string{}
				}
				p.Fields[c.key.Value] = v
			}
		}
	}
	if !slices.ContainsFunc(entries, func(e entry) bool { return e.key.Value == "profile" }) {
		d.errorf(n, `precision lacks the key "profile"`)
	}
	return p
}

var (
	precisionRE = regexp.MustCompile(precisionPattern)
	fieldRE     = regexp.MustCompile(precisionField)
)

// precisionWord reads a profile's name or a field's value as it is written.
func (d *decoder) precisionWord(n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		d.errorf(n, "%s is a word such as f16, not %s", what, kindOf(n))
		return "", false
	}
	if !precisionRE.MatchString(n.Value) {
		d.errorf(n, "%s is %s: want a word such as f16 or llamacpp-cuda-f16", what, quote(n.Value))
		return "", false
	}
	return n.Value, true
}
