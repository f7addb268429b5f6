package spec

import (
	"fmt"
	"slices"

	"github.com/invopop/jsonschema"
	"gopkg.in/yaml.v3"
)

// decoder turns the nodes of one file into a Spec and collects its mistakes.
type decoder struct {
	name      string   // the file in messages
	dir       string   // absolute folder that relative paths start from
	lines     []string // the file's text
	readFiles bool     // read what prompts name
	errs      Errors

	promptBytes int // read so far from prompt files
	// needOracle are the keys of rules that only an oracle can measure.
	needOracle []*yaml.Node
	// needBaseline are those about a baseline.
	needBaseline []*yaml.Node
}

// field is one key of a mapping: how it is read, and what the JSON schema and
// the documentation say of it.
type field[T any] struct {
	key  string
	need bool
	kind[T]
	doc string
}

// kind is a type of value: how it is read into a T, and its JSON schema (nil
// where the reflected Go type says it all).
type kind[T any] struct {
	read   func(d *decoder, n *yaml.Node, into *T)
	schema func() *jsonschema.Schema
}

// entry is one key of a mapping with its value.
type entry struct{ key, value *yaml.Node }

// entries are a mapping's keys in file order, each once; what is wrong with
// the mapping itself is added as errors.
func (d *decoder) entries(n *yaml.Node, what string) []entry {
	if n.Kind != yaml.MappingNode {
		d.errorf(n, "%s is a mapping of keys to values, not %s", what, kindOf(n))
		return nil
	}
	var out []entry
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || k.Tag == "!!null" {
			d.errorf(k, "a key is a word, not %s", kindOf(k))
			continue
		}
		if first, twice := lines[k.Value]; twice {
			d.errorf(k, "duplicate key %q: first on line %d", k.Value, first)
			continue
		}
		lines[k.Value] = k.Line
		out = append(out, entry{k, v})
	}
	return out
}

// seen are the keys that a mapping had.
type seen map[string]entry

// mapping reads the fields of a mapping into a T. allowed narrows the fields;
// nil allows all.
func mapping[T any](d *decoder, n *yaml.Node, what string, fields []field[T], allowed []string, into *T) seen {
	got := seen{}
	entries := d.entries(n, what)
	for _, e := range entries {
		f, ok := find(fields, e.key.Value)
		if !ok || allowed != nil && !slices.Contains(allowed, f.key) {
			choices := allowed
			if choices == nil {
				choices = keys(fields)
			}
			if ok {
				d.errorf(e.key, "%q is not a key of %s", e.key.Value, what).Choices = choices
			} else {
				d.choose(e.key, choices, "unknown key %q in %s", e.key.Value, what)
			}
			continue
		}
		got[f.key] = e
		if isNull(e.value) {
			d.errorf(e.key, "%s has no value", f.key)
			continue
		}
		f.read(d, e.value, into)
	}
	if n.Kind == yaml.MappingNode {
		for _, f := range fields {
			if _, ok := got[f.key]; f.need && !ok {
				d.errorf(n, "%s lacks the key %q", what, f.key)
			}
		}
	}
	return got
}

func find[T any](fields []field[T], key string) (field[T], bool) {
	i := slices.IndexFunc(fields, func(f field[T]) bool { return f.key == key })
	if i < 0 {
		return field[T]{}, false
	}
	return fields[i], true
}

func keys[T any](fields []field[T]) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.key
	}
	return out
}

// object is a nested mapping with fields of its own.
func object[T, F any](what string, fields []field[F], ptr func(*T) *F) kind[T] {
	return kind[T]{read: func(d *decoder, n *yaml.Node, into *T) {
		mapping(d, n, what, fields, nil, ptr(into))
	}}
}

// items are the elements of a list; null elements are errors.
func (d *decoder) items(n *yaml.Node, what string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		d.errorf(n, "%s is a list, not %s", what, kindOf(n))
		return nil
	}
	var out []*yaml.Node
	for _, c := range n.Content {
		if isNull(c) {
			d.errorf(c, "an element of %s has no value", what)
			continue
		}
		out = append(out, c)
	}
	return out
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// kindOf names a node's type for people.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return "the boolean " + n.Value
	}
	return fmt.Sprintf("the text %s", quote(n.Value))
}

// quote shows a value of the file in a message: escaped, and bounded.
func quote(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
