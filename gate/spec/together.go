package spec

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// together checks what one part of the file means for another.
func (d *decoder) together(got seen, s *Spec) {
	d.oracleInSpec(got, s)
	d.baselineInSpec(got)
	engines, ok := got["engines"]
	if !ok || engines.value.Kind != yaml.MappingNode {
		return
	}
	for _, e := range children(engines.value) {
		switch e.key.Value {
		case "reference":
			d.engineInSpec(e.value, s.Engines.Reference, s)
		case "candidate":
			d.engineInSpec(e.value, s.Engines.Candidate, s)
		case "witnesses":
			for _, w := range children(e.value) {
				d.engineInSpec(w.value, s.Engines.Witnesses[w.key.Value], s)
			}
		}
	}
}

// children are the entries of a mapping, unchecked; none of any other node.
func children(n *yaml.Node) []entry {
	var out []entry
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			out = append(out, entry{n.Content[i], n.Content[i+1]})
		}
	}
	return out
}

func (d *decoder) engineInSpec(n *yaml.Node, e Engine, s *Spec) {
	if e.Adapter == "trace" && e.Path != "" && len(s.Prompts) > 1 && !strings.HasPrefix(e.Path, registryScheme) && !usesVariable(e.Path, "prompt") {
		for _, c := range children(n) {
			if c.key.Value == "path" {
				d.errorf(c.value, "one trace for %d prompts: put {{prompt}} into the path, which stands for the prompt's name", len(s.Prompts))
			}
		}
	}
	if e.Model != "" || s.Model.Path != "" {
		return
	}
	if e.Adapter == "llamacpp" && e.Mode == "probe" || e.Adapter == "builtin" || e.Adapter == "transformers" {
		d.errorf(n, "no model for this engine: give the spec a model with a path")
		return
	}
	d.modelUsed(n)
}

// modelUsed refuses {{model}} in an engine that has none.
func (d *decoder) modelUsed(n *yaml.Node) {
	for _, c := range children(n) {
		if c.key.Value != "command" && c.key.Value != "env" {
			continue
		}
		for _, v := range c.value.Content {
			if v.Kind == yaml.ScalarNode && usesVariable(v.Value, "model") {
				d.errorf(v, "{{model}} has no value: give the spec a model with a path")
			}
		}
	}
}

func usesVariable(s, name string) bool {
	if !strings.Contains(s, "{{") {
		return false
	}
	names, err := uses(s)
	return err == nil && slices.Contains(names, name)
}
