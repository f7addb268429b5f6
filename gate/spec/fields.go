package spec

import (
	"encoding/json"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"
	"gopkg.in/yaml.v3"
)

// The tables of everything but engines and rules. Each line is the only place
// where a key is described: the parser, the JSON schema and its test read it.
var (
	specFields = []field[Spec]{
		{"version", true, versionKind(), "Version of this format: 1."},
		{"model", false, object("model", modelFields, func(s *Spec) *Model { return &s.Model }), "The model that every engine runs."},
		{"prompts", false, promptsKind(), "The inputs, each run on every engine."},
		{"engines", false, object("engines", engineSetFields, func(s *Spec) *Engines { return &s.Engines }), "The programs by role."},
		{"require", false, object("require", requireFields, func(s *Spec) *Require { return &s.Require }), "What must have been compared; otherwise the run is incomplete."},
		{"skip", false, object("skip", skipFields, func(s *Spec) *Skip { return &s.Skip }), "What is left out of every comparison."},
		{"garbage", false, object("garbage", garbageFields, func(s *Spec) *Garbage { return &s.Garbage }), "Values that no computation meant, and what to do with them."},
		{"tolerances", false, object("tolerances", tolerancesFields, func(s *Spec) *Tolerances { return &s.Tolerances }), "How far the candidate may be from the reference."},
		{"oracle", false, oracleKind(), "Turns on the forward pass in float64 that says which engine errs, and how much of an error precision explains."},
		{"baseline", false, baselineKind(), "Where accepted runs are stored, and by how much a run may be worse than the one it is held against."},
	}
	oracleFields = []field[Oracle]{
		{"model", false, pathKind("oracle.model", func(o *Oracle) *string { return &o.Model }), "A GGUF file with the weights that the engines run; left out, the spec's model."},
	}
	modelFields = []field[Model]{
		{"path", true, pathKind("model.path", func(m *Model) *string { return &m.Path }), "The weights' file or folder, relative to the spec's folder."},
	}
	promptFields = []field[Prompt]{
		{"name", true, nameKind("a prompt's name", func(p *Prompt) *string { return &p.Name }), "Name in reports and file names; unique."},
		{"text", false, textKind("a prompt's text", func(p *Prompt) *string { return &p.Text }), "The prompt itself, tokenised by the engine."},
		{"file", false, promptFileKind(), "A UTF-8 file that holds the text, byte for byte; at most 16 MiB."},
		{"tokens", false, tokensKind(), "Token ids, given to the engine as they are."},
		{"generate", false, intKind("generate", 0, 1<<20, func(p *Prompt, v int) { p.Generate = v }), "How many tokens of the reference's greedy continuation are appended and forced on every engine."},
	}
	engineSetFields = []field[Engines]{
		{"reference", false, engineKind("reference", func(e *Engines) *Engine { return &e.Reference }), "The engine that is believed."},
		{"candidate", false, engineKind("candidate", func(e *Engines) *Engine { return &e.Candidate }), "The engine that is judged."},
		{"witnesses", false, witnessesKind(), "Further engines by name: measured, never judged."},
	}
	requireFields = []field[Require]{
		{"checkpoints", false, globsKind("require.checkpoints", func(r *Require, v []string) { r.Checkpoints = v }), "Globs; each must match a compared checkpoint, and all of the reference's that it matches must be compared."},
		{"min_positions", false, intKind("min_positions", 1, maxInt32, func(r *Require, v int) { r.MinPositions = v }), "Least number of positions that every checkpoint must have compared."},
	}
	skipFields = []field[Skip]{
		{"positions", false, intsKind("skip.positions", 0, maxInt32, func(s *Skip, v []int) { s.Positions = ascending(v) }), "Token positions, from 0."},
		{"elements", false, intsKind("skip.elements", 0, maxInt32, func(s *Skip, v []int) { s.Elements = ascending(v) }), "Elements of a row, from 0."},
	}
	garbageFields = []field[Garbage]{
		{"above", false, boundKind("garbage.above", func(g *Garbage) *float64 { return &g.Above }), "Magnitude above which a finite value is garbage."},
		{"reference", false, choiceKind("garbage policy", fixed("mask", "fail", "keep"), func(g *Garbage) *string { return &g.Reference }), "Garbage of the reference: mask leaves it out and reports it, fail also fails, keep compares it."},
		{"candidate", false, choiceKind("garbage policy", fixed("mask", "fail", "keep"), func(g *Garbage) *string { return &g.Candidate }), "Garbage of the candidate: mask leaves it out and reports it, fail also fails, keep compares it."},
	}
	tolerancesFields = []field[Tolerances]{
		{"preset", false, choiceKind("preset", PresetNames, func(t *Tolerances) *string { return &t.Preset }), "Rules to start from; without it, chosen from what the traces say of their precision."},
		{"rules", false, rulesKind(), "Limits by checkpoint; later rules win over earlier ones and over the preset, metric by metric."},
	}
)

// spec reads the whole file and then checks what concerns several parts of it.
func (d *decoder) spec(root *yaml.Node, s *Spec) {
	got := mapping(d, root, "the spec", specFields, nil, s)
	d.together(got, s)
}

func jsonNumber(v int64) json.Number { return json.Number(strconv.FormatInt(v, 10)) }

func versionKind() kind[Spec] {
	schema := func() *jsonschema.Schema { return &jsonschema.Schema{Const: 1} }
	return kind[Spec]{schema: schema, read: func(d *decoder, n *yaml.Node, s *Spec) {
		v, ok := d.integer(n, "version", math.MinInt64, math.MaxInt64)
		if ok && v != 1 {
			d.errorf(n, "version %d is not supported: this paritygate reads version 1", v)
		}
	}}
}

func boundKind[T any](what string, ptr func(*T) *float64) kind[T] {
	schema := func() *jsonschema.Schema {
		return &jsonschema.Schema{Type: "number", ExclusiveMinimum: jsonNumber(0)}
	}
	return kind[T]{schema: schema, read: func(d *decoder, n *yaml.Node, into *T) {
		v, ok := d.number(n, what)
		if ok && v == 0 {
			d.errorf(n, "%s is 0: it must be more", what)
		} else if ok {
			*ptr(into) = v
		}
	}}
}

func ascending(v []int) []int {
	slices.Sort(v)
	return slices.Compact(v)
}

func promptsKind() kind[Spec] {
	return kind[Spec]{read: func(d *decoder, n *yaml.Node, s *Spec) {
		lines := map[string]int{}
		for _, c := range d.items(n, "prompts") {
			var p Prompt
			got := mapping(d, c, "a prompt", promptFields, nil, &p)
			d.prompt(c, got)
			if e, ok := got["name"]; ok && p.Name != "" {
				if first, twice := lines[p.Name]; twice {
					d.errorf(e.value, "duplicate prompt %q: first on line %d", p.Name, first)
				} else {
					lines[p.Name] = e.value.Line
				}
			}
			s.Prompts = append(s.Prompts, p)
		}
	}}
}

// prompt checks that exactly one of text, file and tokens was written.
func (d *decoder) prompt(n *yaml.Node, got seen) {
	var inputs []entry
	for _, k := range []string{"text", "file", "tokens"} {
		if e, ok := got[k]; ok {
			inputs = append(inputs, e)
		}
	}
	if len(inputs) == 0 && n.Kind == yaml.MappingNode {
		d.errorf(n, "a prompt needs one of text, file and tokens")
	}
	if len(inputs) > 1 {
		first, second := inputs[0].key, inputs[1].key
		d.errorf(second, "a prompt has %s or %s, not both", first.Value, second.Value)
	}
}

func promptFileKind() kind[Prompt] {
	return kind[Prompt]{schema: literalSchema, read: func(d *decoder, n *yaml.Node, p *Prompt) {
		s, ok := d.text(n, "a prompt's file")
		if !ok || !d.template(n, s, nil) {
			return
		}
		p.File = d.resolve(n, s)
		if !d.readFiles {
			return
		}
		text, err := d.promptFile(p.File)
		if err != nil {
			d.errorf(n, "prompt file %s: %s", quote(s), err)
		}
		p.Text = text
	}}
}

func tokensKind() kind[Prompt] {
	one := uint64(1)
	schema := func() *jsonschema.Schema {
		return &jsonschema.Schema{Type: "array", Items: integerSchema(0, maxInt32)(), MinItems: &one}
	}
	return kind[Prompt]{schema: schema, read: func(d *decoder, n *yaml.Node, p *Prompt) {
		if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
			d.errorf(n, "tokens is empty")
		}
		for _, c := range d.items(n, "tokens") {
			if v, ok := d.integer(c, "a token id", 0, maxInt32); ok {
				p.Tokens = append(p.Tokens, int32(v))
			}
		}
	}}
}

func globsKind[T any](what string, set func(*T, []string)) kind[T] {
	schema := func() *jsonschema.Schema { return &jsonschema.Schema{Type: "array", Items: globSchema()} }
	return kind[T]{schema: schema, read: func(d *decoder, n *yaml.Node, into *T) {
		var out []string
		for _, c := range d.items(n, what) {
			if g, ok := d.glob(c, "a checkpoint"); ok {
				out = append(out, g)
			}
		}
		set(into, out)
	}}
}

func globSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: `^[^{}]+$`}
}

// glob reads a checkpoint's name or pattern.
func (d *decoder) glob(n *yaml.Node, what string) (string, bool) {
	g, ok := d.text(n, what)
	if !ok {
		return "", false
	}
	if strings.ContainsAny(g, "{}") {
		d.errorf(n, "bad glob %s: {a,b} is not supported, write one entry for each; * ? and [a-z] are", quote(g))
		return "", false
	}
	if _, err := path.Match(g, ""); err != nil {
		d.errorf(n, "bad glob %s: an unclosed [ or a \\ at the end", quote(g))
		return "", false
	}
	return g, true
}

// Match reports whether a checkpoint's name matches a glob of the spec: * is
// any characters (a slash, too), ? one, [a-z] one of a range, \ takes the next
// as it is. A malformed glob matches nothing; Parse refuses it.
func Match(glob, name string) bool {
	// path.Match lets * stop at a slash; names of checkpoints are no paths.
	const slash = "\x1f"
	ok, err := path.Match(strings.ReplaceAll(glob, "/", slash), strings.ReplaceAll(name, "/", slash))
	return ok && err == nil
}
