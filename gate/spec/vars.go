package spec

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Variables are the names that {{…}} may hold, in a command and in the values
// of env; a recorded trace's path may hold {{prompt}} alone.
var Variables = []string{"model", "tokens", "trace", "prompt", "out"}

// pathVariables may stand in a recorded trace's path.
var pathVariables = []string{"prompt"}

// Expand replaces every {{name}} of s by vars[name], once, from left to right:
// what a value holds is never expanded again, and no shell reads it. Blanks
// around the name are allowed. A name that is not one of Variables, one that
// vars lacks, and an unterminated {{ are errors.
func Expand(s string, vars map[string]string) (string, error) {
	var out strings.Builder
	err := scan(s, func(literal, name string) error {
		out.WriteString(literal)
		if name == "" {
			return nil
		}
		v, ok := vars[name]
		if !ok {
			return fmt.Errorf("{{%s}} has no value here", name)
		}
		out.WriteString(v)
		return nil
	})
	if err != nil {
		return "", err
	}
	return out.String(), nil
}

// uses are the variables that s names.
func uses(s string) ([]string, error) {
	var names []string
	err := scan(s, func(_, name string) error {
		if name != "" {
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

// scan calls part for each literal with the variable that follows it; the
// last has none.
func scan(s string, part func(literal, name string) error) error {
	for {
		literal, rest, found := strings.Cut(s, "{{")
		if !found {
			return part(s, "")
		}
		name, after, closed := strings.Cut(rest, "}}")
		if !closed {
			return fmt.Errorf("%s is not closed with }}", quote("{{"+rest))
		}
		name = strings.TrimSpace(name)
		if !slices.Contains(Variables, name) {
			return &unknownVariable{name}
		}
		if err := part(literal, name); err != nil {
			return err
		}
		s = after
	}
}

type unknownVariable struct{ name string }

func (e *unknownVariable) Error() string {
	return fmt.Sprintf("unknown variable %s (valid: %s)", quote(e.name), strings.Join(braced(Variables), ", "))
}

func braced(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = "{{" + n + "}}"
	}
	return out
}

// templatePattern is the regular expression of text whose {{…}} are all of
// these names.
func templatePattern(names []string) string {
	variable := ""
	if len(names) > 0 {
		variable = `|\{\{\s*(` + strings.Join(names, "|") + `)\s*\}\}`
	}
	return `^([^{]|\{[^{]` + variable + `)*\{?$`
}

// template checks the variables of a string; allowed nil means none.
func (d *decoder) template(n *yaml.Node, s string, allowed []string) bool {
	names, err := uses(s)
	if allowed == nil && strings.Contains(s, "{{") {
		d.errorf(n, "variables are not expanded here: {{…}} stands in commands, env and a trace's path only")
		return false
	}
	if unknown, ok := err.(*unknownVariable); ok {
		e := d.errorf(n, "unknown variable %s", quote("{{"+unknown.name+"}}"))
		if near := nearest(unknown.name, allowed); near != "" {
			e.Msg += fmt.Sprintf(", did you mean {{%s}}?", near)
		}
		e.Choices = braced(allowed)
		return false
	}
	if err != nil {
		d.errorf(n, "%s", err)
		return false
	}
	for _, name := range names {
		if !slices.Contains(allowed, name) {
			d.errorf(n, "{{%s}} has no meaning here", name).Choices = braced(allowed)
			return false
		}
	}
	return true
}
