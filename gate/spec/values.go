package spec

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/invopop/jsonschema"
	"gopkg.in/yaml.v3"
)

// The spellings of values; the JSON schema holds the same patterns.
const (
	percentPattern  = `^(0|[1-9]\d*)(\.\d+)? ?%$`
	sharePattern    = `^(100(\.0+)?|[1-9]?\d(\.\d+)?) ?%$`
	sizePattern     = `^\d+(\.\d+)? ?([kKMGT]i?)?B$`
	durationPattern = `^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$`
	namePattern     = `^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$`
	envPattern      = `^[A-Za-z_][A-Za-z0-9_]*$`
)

var (
	percentRE  = regexp.MustCompile(percentPattern)
	sizeRE     = regexp.MustCompile(sizePattern)
	durationRE = regexp.MustCompile(durationPattern)
	nameRE     = regexp.MustCompile(namePattern)
	envRE      = regexp.MustCompile(envPattern)
	integerRE  = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	numberRE   = regexp.MustCompile(`^[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$`)
)

const maxInt32 = 1<<31 - 1

// text reads a string that is not empty.
func (d *decoder) text(n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" && n.Tag != "!!timestamp" {
		if n.Kind == yaml.ScalarNode {
			d.errorf(n, "%s is text, not %s: put it in quotes", what, kindOf(n))
		} else {
			d.errorf(n, "%s is text, not %s", what, kindOf(n))
		}
		return "", false
	}
	return n.Value, d.nonEmpty(n, what)
}

func (d *decoder) nonEmpty(n *yaml.Node, what string) bool {
	switch {
	case n.Value == "":
		d.errorf(n, "%s is empty", what)
	case strings.IndexByte(n.Value, 0) >= 0:
		d.errorf(n, "%s holds a zero byte", what)
	default:
		return true
	}
	return false
}

func stringSchema() *jsonschema.Schema {
	one := uint64(1)
	return &jsonschema.Schema{Type: "string", MinLength: &one}
}

func patternSchema(p string) func() *jsonschema.Schema {
	return func() *jsonschema.Schema { return &jsonschema.Schema{Type: "string", Pattern: p} }
}

func textKind[T any](what string, ptr func(*T) *string) kind[T] {
	return kind[T]{schema: stringSchema, read: func(d *decoder, n *yaml.Node, into *T) {
		if s, ok := d.text(n, what); ok {
			*ptr(into) = s
		}
	}}
}

// nameKind is a word that may stand in file names and reports.
func nameKind[T any](what string, ptr func(*T) *string) kind[T] {
	return kind[T]{schema: patternSchema(namePattern), read: func(d *decoder, n *yaml.Node, into *T) {
		if s, ok := d.text(n, what); ok && d.named(n, what) {
			*ptr(into) = s
		}
	}}
}

func (d *decoder) named(n *yaml.Node, what string) bool {
	if !nameRE.MatchString(n.Value) {
		d.errorf(n, "%s %s: at most 100 letters, digits, '_', '-' and '.', not starting with '-' or '.'", what, quote(n.Value))
		return false
	}
	return true
}

func choiceKind[T any](what string, choices func() []string, ptr func(*T) *string) kind[T] {
	schema := func() *jsonschema.Schema {
		s := &jsonschema.Schema{Type: "string"}
		for _, c := range choices() {
			s.Enum = append(s.Enum, c)
		}
		return s
	}
	return kind[T]{schema: schema, read: func(d *decoder, n *yaml.Node, into *T) {
		if n.Kind != yaml.ScalarNode {
			d.choose(n, choices(), "%s is one word, not %s", what, kindOf(n))
			return
		}
		for _, c := range choices() {
			if n.Value == c && n.Tag == "!!str" {
				*ptr(into) = c
				return
			}
		}
		d.choose(n, choices(), "unknown %s %s", what, quote(n.Value))
	}}
}

func fixed(words ...string) func() []string { return func() []string { return words } }

// integer reads a whole number within bounds, written in plain decimal.
func (d *decoder) integer(n *yaml.Node, what string, low, high int64) (int64, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!str" && !integerRE.MatchString(n.Value) || n.Tag == "!!bool" {
		d.errorf(n, "%s is a whole number, not %s", what, kindOf(n))
		return 0, false
	}
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		d.errorf(n, "%s is a whole number: leave out the quotes", what)
		return 0, false
	}
	if !integerRE.MatchString(n.Value) {
		d.errorf(n, "%s is a whole number in plain decimal digits, not %s", what, n.Value)
		return 0, false
	}
	v, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil || v < low || v > high {
		d.errorf(n, "%s is %s: it must be between %d and %d", what, quote(n.Value), low, high)
		return 0, false
	}
	return v, true
}

func integerSchema(low, high int64) func() *jsonschema.Schema {
	return func() *jsonschema.Schema {
		return &jsonschema.Schema{Type: "integer", Minimum: jsonNumber(low), Maximum: jsonNumber(high)}
	}
}

func intKind[T any](what string, low, high int64, set func(*T, int)) kind[T] {
	return kind[T]{schema: integerSchema(low, high), read: func(d *decoder, n *yaml.Node, into *T) {
		if v, ok := d.integer(n, what, low, high); ok {
			set(into, int(v))
		}
	}}
}

func intsKind[T any](what string, low, high int64, set func(*T, []int)) kind[T] {
	schema := func() *jsonschema.Schema {
		return &jsonschema.Schema{Type: "array", Items: integerSchema(low, high)()}
	}
	return kind[T]{schema: schema, read: func(d *decoder, n *yaml.Node, into *T) {
		var out []int
		for _, c := range d.items(n, what) {
			if v, ok := d.integer(c, "an element of "+what, low, high); ok {
				out = append(out, int(v))
			}
		}
		set(into, out)
	}}
}

func boolKind[T any](what string, set func(*T, bool)) kind[T] {
	schema := func() *jsonschema.Schema { return &jsonschema.Schema{Type: "boolean"} }
	return kind[T]{schema: schema, read: func(d *decoder, n *yaml.Node, into *T) {
		if n.Kind != yaml.ScalarNode || n.Value != "true" && n.Value != "false" || n.Tag != "!!bool" {
			d.choose(n, []string{"true", "false"}, "%s is true or false, not %s", what, kindOf(n))
			return
		}
		set(into, n.Value == "true")
	}}
}

// number reads a finite, plain decimal number that is not negative.
func (d *decoder) number(n *yaml.Node, what string) (float64, bool) {
	if n.Kind != yaml.ScalarNode || n.Style != 0 || !numberRE.MatchString(n.Value) {
		switch {
		case n.Kind == yaml.ScalarNode && n.Style != 0 && numberRE.MatchString(n.Value):
			d.errorf(n, "%s is a number: leave out the quotes", what)
		case n.Tag == "!!float" || n.Tag == "!!int":
			d.errorf(n, "%s is a finite number in plain decimal digits, not %s", what, n.Value)
		default:
			d.errorf(n, "%s is a number, not %s", what, kindOf(n))
		}
		return 0, false
	}
	v, err := strconv.ParseFloat(n.Value, 64)
	mantissa, _, _ := strings.Cut(strings.ToLower(n.Value), "e")
	switch {
	case strings.HasPrefix(n.Value, "-"):
		d.errorf(n, "%s is %s: it must not be negative", what, n.Value)
	case err != nil:
		d.errorf(n, "%s is %s: too large for a 64-bit number", what, quote(n.Value))
	case v == 0 && strings.ContainsAny(mantissa, "123456789"):
		d.errorf(n, "%s is %s: too small for a 64-bit number", what, quote(n.Value))
	default:
		return v, true
	}
	return 0, false
}

// percent reads "1%" or "0.5 %" as 0.01 and 0.005, correctly rounded.
func percent(s string) (float64, bool) {
	if !percentRE.MatchString(s) {
		return 0, false
	}
	v, err := strconv.ParseFloat(strings.TrimRight(s, " %")+"e-2", 64)
	return v, err == nil
}

// percentage reads text that ends in a percent sign.
func (d *decoder) percentage(n *yaml.Node, what string) (float64, bool) {
	v, ok := percent(n.Value)
	switch {
	case ok:
	case strings.HasPrefix(n.Value, "-"):
		d.errorf(n, "%s is %s: it must not be negative", what, quote(n.Value))
	default:
		d.errorf(n, "%s is %s: a percentage is written 1%% or 0.5%%", what, quote(n.Value))
	}
	return v, ok
}

func durationKind[T any](what string, ptr func(*T) *time.Duration) kind[T] {
	return kind[T]{schema: patternSchema(durationPattern), read: func(d *decoder, n *yaml.Node, into *T) {
		if n.Kind == yaml.ScalarNode && (n.Tag == "!!int" || n.Tag == "!!float") {
			d.errorf(n, "%s is %s of what? Add a unit, as in %ss or 10m", what, n.Value, strings.TrimLeft(n.Value, "-"))
			return
		}
		s, ok := d.text(n, what)
		if !ok {
			return
		}
		v, err := time.ParseDuration(s)
		if err == nil && v < 0 {
			d.errorf(n, "%s is %s: it must be more than 0", what, quote(s))
			return
		}
		if err != nil || !durationRE.MatchString(s) {
			d.errorf(n, "%s is %s: not a duration such as 90s, 10m or 1h30m", what, quote(s))
			return
		}
		if v == 0 {
			d.errorf(n, "%s is %s: it must be more than 0", what, quote(s))
			return
		}
		*ptr(into) = v
	}}
}

func sizeKind[T any](what string, ptr func(*T) *int64) kind[T] {
	return kind[T]{schema: patternSchema(sizePattern), read: func(d *decoder, n *yaml.Node, into *T) {
		if n.Kind == yaml.ScalarNode && n.Tag == "!!int" {
			d.errorf(n, "%s is %s of what? Add a unit, as in 64MB or 1GiB", what, n.Value)
			return
		}
		s, ok := d.text(n, what)
		if !ok {
			return
		}
		if !sizeRE.MatchString(s) {
			d.errorf(n, "%s is %s: not a size such as 64MB or 1GiB", what, quote(s))
			return
		}
		v, err := humanize.ParseBytes(s)
		if err != nil || v < 1 || v > 1<<60 {
			d.errorf(n, "%s is %s: it must be between 1B and 1 EiB", what, quote(s))
			return
		}
		*ptr(into) = int64(v)
	}}
}

// resolve makes a path of the file absolute.
func (d *decoder) resolve(n *yaml.Node, p string) string {
	if p == "~" || strings.HasPrefix(p, "~/") {
		d.errorf(n, "%s: no shell reads this, so ~ is not expanded: write the folder out", quote(p))
		return p
	}
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(d.dir, p)
}

// literalSchema is text without variables.
func literalSchema() *jsonschema.Schema {
	s := stringSchema()
	s.Pattern = templatePattern(nil)
	return s
}

func pathKind[T any](what string, ptr func(*T) *string) kind[T] {
	return kind[T]{schema: literalSchema, read: func(d *decoder, n *yaml.Node, into *T) {
		if s, ok := d.text(n, what); ok && d.template(n, s, nil) {
			*ptr(into) = d.resolve(n, s)
		}
	}}
}

// program is a command's name: a path when it holds a slash, else looked up in
// PATH when it runs.
func (d *decoder) program(n *yaml.Node, s string) string {
	if strings.ContainsRune(s, '/') || strings.ContainsRune(s, filepath.Separator) {
		return d.resolve(n, s)
	}
	return s
}

func programKind[T any](what string, ptr func(*T) *string) kind[T] {
	return kind[T]{schema: literalSchema, read: func(d *decoder, n *yaml.Node, into *T) {
		if s, ok := d.text(n, what); ok && d.template(n, s, nil) {
			*ptr(into) = d.program(n, s)
		}
	}}
}
