package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	generate "github.com/invopop/jsonschema"
	"github.com/paritygate/paritygate/gate"
	validate "github.com/santhosh-tekuri/jsonschema/v6"
)

const module = "github.com/paritygate/paritygate"

// generateSchema makes the schema from gate's types, their comments, and the
// words that Read accepts.
func generateSchema(t *testing.T) []byte {
	t.Helper()
	r := &generate.Reflector{
		AllowAdditionalProperties: true, // a later program of the same version may add keys
		ExpandedStruct:            true,
		Mapper:                    mapValue,
	}
	// The keys of the map are import paths: the package's folder is mapped by hand,
	// because this test does not run in the module's root.
	comments := map[string]string{}
	if err := r.AddGoComments("", "../gate", generate.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	for k, v := range r.CommentMap {
		comments[module+strings.TrimPrefix(k, "..")] = strings.Join(strings.Fields(v), " ")
	}
	r.CommentMap = comments
	s := r.Reflect(&gate.Result{})
	addNulls(s, s, reflect.TypeFor[gate.Result]())
	s.ID = ""
	s.Title = "results.json of paritygate, version 1"
	addEnums(t, "Result", s)
	for name, def := range s.Definitions {
		addEnums(t, name, def)
	}
	if version, ok := s.Properties.Get("version"); ok {
		version.Const = Version
	}
	if code, ok := s.Properties.Get("exit_code"); ok {
		code.Enum = []any{0, 1, 3}
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// mapValue says what the types with their own JSON look like.
func mapValue(t reflect.Type) *generate.Schema {
	switch t {
	case reflect.TypeFor[gate.Value]():
		return &generate.Schema{OneOf: []*generate.Schema{{Type: "number"}, {Type: "string", Enum: []any{"NaN", "+Inf", "-Inf"}}}}
	case reflect.TypeFor[gate.Outcome](), reflect.TypeFor[gate.Status]():
		return &generate.Schema{Type: "string"}
	}
	return nil
}

// addNulls lets keys be null whose field is a pointer.
func addNulls(root, s *generate.Schema, ty reflect.Type) {
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		ft := fieldsOf(ty)[p.Key]
		elem := ft
		for elem.Kind() == reflect.Slice || elem.Kind() == reflect.Pointer {
			elem = elem.Elem()
		}
		// A definition is reached once: gate's types are a tree.
		if def := root.Definitions[elem.Name()]; def != nil && elem.Kind() == reflect.Struct {
			addNulls(root, def, elem)
		}
		if ft.Kind() == reflect.Pointer {
			description := p.Value.Description
			p.Value.Description = ""
			p.Value = &generate.Schema{Description: description, OneOf: []*generate.Schema{p.Value, {Type: "null"}}}
		}
	}
}

func addEnums(t *testing.T, name string, s *generate.Schema) {
	t.Helper()
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		for _, w := range enums[name+"."+p.Key] {
			p.Value.Enum = append(p.Value.Enum, w)
		}
	}
}

func compile(t *testing.T) *validate.Schema {
	t.Helper()
	b, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := validate.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := validate.NewCompiler()
	if err := c.AddResource("results.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("results.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The published schema is the one that the types give.
func TestSchemaGolden(t *testing.T) {
	golden(t, "results.schema.json", generateSchema(t))
}

func TestSchemaAcceptsSamples(t *testing.T) {
	s := compile(t)
	for _, sample := range samples {
		doc, err := validate.UnmarshalJSON(bytes.NewReader(render(t, sample.make(), JSON)))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(doc); err != nil {
			t.Errorf("%s: %v", sample.name, err)
		}
	}
}

// What the schema refuses, Read refuses, too.
func TestSchemaRefuses(t *testing.T) {
	s := compile(t)
	data := string(render(t, rope(), JSON))
	for _, c := range mutations {
		bad := strings.Replace(data, c.old, c.new, 1)
		if bad == data {
			t.Fatalf("%q: the sample has no %q", c.want, c.old)
		}
		if _, err := Read(strings.NewReader(bad)); err == nil {
			t.Errorf("Read accepts %q", c.new)
		}
		doc, err := validate.UnmarshalJSON(strings.NewReader(bad))
		if err != nil || c.readOnly {
			continue
		}
		if s.Validate(doc) == nil {
			t.Errorf("the schema accepts %q instead of %q", c.new, c.old)
		}
	}
}

// The tables by which Read judges name keys that exist.
func TestTablesNameKeys(t *testing.T) {
	keys := map[string]map[string]bool{}
	var walk func(reflect.Type)
	walk = func(ty reflect.Type) {
		switch ty.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			walk(ty.Elem())
		case reflect.Struct:
			if keys[ty.Name()] != nil {
				return
			}
			keys[ty.Name()] = map[string]bool{}
			for k, ft := range fieldsOf(ty) {
				keys[ty.Name()][k] = true
				walk(ft)
			}
		}
	}
	walk(reflect.TypeFor[gate.Result]())
	for name, list := range required {
		for _, k := range list {
			if !keys[name][k] {
				t.Errorf("required: %s has no key %q", name, k)
			}
		}
	}
	for k := range enums {
		if name, key, _ := strings.Cut(k, "."); !keys[name][key] {
			t.Errorf("enums: %s has no key %q", name, key)
		}
	}
}

// fields walks the schema and lists every path with its type and meaning.
func fields(t *testing.T) []string {
	t.Helper()
	b, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	root := new(generate.Schema)
	if err := json.Unmarshal(b, root); err != nil {
		t.Fatal(err)
	}
	var lines []string
	var walk func(path string, s *generate.Schema)
	walk = func(path string, s *generate.Schema) {
		for p := s.Properties.Oldest(); p != nil; p = p.Next() {
			at := p.Key
			if path != "" {
				at = path + "." + p.Key
			}
			kind, inner := typeOf(root, p.Value)
			meaning := p.Value.Description
			if meaning == "" && inner != nil {
				meaning = inner.Description
			}
			if len(p.Value.Enum) > 0 {
				meaning = strings.TrimSpace(meaning + " One of " + words(p.Value.Enum) + ".")
			}
			if meaning == "" {
				t.Errorf("%s has no comment in gate/result.go", at)
			}
			lines = append(lines, fmt.Sprintf("| `%s` | %s | %s |", at+strings.Repeat("[]", strings.Count(kind, "list")), kind,
				strings.ReplaceAll(strings.Join(strings.Fields(meaning), " "), "|", `\|`)))
			if inner != nil {
				walk(at+strings.Repeat("[]", strings.Count(kind, "list")), inner)
			}
		}
	}
	walk("", root)
	return lines
}

func words(enum []any) string {
	var out []string
	for _, e := range enum {
		b, _ := json.Marshal(e)
		out = append(out, "`"+string(b)+"`")
	}
	return strings.Join(out, ", ")
}

// typeOf names a schema's type and returns what it holds.
func typeOf(root, s *generate.Schema) (string, *generate.Schema) {
	switch {
	case s.Ref != "":
		return "object", root.Definitions[strings.TrimPrefix(s.Ref, "#/$defs/")]
	case len(s.OneOf) == 2 && s.OneOf[1].Type == "null":
		kind, inner := typeOf(root, s.OneOf[0])
		return kind + " or null", inner
	case len(s.OneOf) > 0:
		return "value", nil
	case s.Type == "array":
		kind, inner := typeOf(root, s.Items)
		return "list of " + kind, inner
	case s.Type == "object" && s.AdditionalProperties != nil && len(s.AdditionalProperties.OneOf) > 0:
		return "object of values", nil
	}
	return s.Type, nil
}

// docs/results.md lists every field of the schema and no other.
func TestDocs(t *testing.T) {
	const path = "../docs/results.md"
	const begin, end = "<!-- fields: written by go test ./report -run TestDocs -update -->\n", "<!-- end of fields -->\n"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	listed, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the lines %q and %q", path, begin, end)
	}
	want := "| Field | Type | Meaning |\n|---|---|---|\n" + strings.Join(fields(t), "\n") + "\n"
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !slices.Equal(strings.Split(listed, "\n"), strings.Split(want, "\n")) {
		t.Errorf("%s does not list the schema's fields; -update writes it anew. Want:\n%s", path, want)
	}
}
