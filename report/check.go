package report

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/paritygate/paritygate/gate"
)

// enums are the valid words of fields that have a fixed set, by type and key.
// The schema lists them, too.
var enums = map[string][]string{
	"Result.outcome":        {"pass", "fail", "incomplete"},
	"EngineInfo.capture":    {"", "exact", "disturbs"},
	"Missing.side":          {"reference", "candidate", "both"},
	"Checkpoint.status":     {"pass", "warn", "fail", "unmeasured"},
	"AppliedLimit.level":    {"fail", "warn"},
	"Finding.level":         {"fail", "warn", "incomplete"},
	"Trend.direction":       {"", "increasing", "stable", "decreasing"},
	"Diagnosis.confidence":  {"high", "medium", "low"},
	"Garbage.engine":        {"reference", "candidate"},
	"Garbage.kind":          {"non_finite", "huge", "heap_pointer"},
	"Garbage.policy":        {"mask", "fail", "keep"},
	"SpecChange.effect":     {"loosened", "tightened", "changed"},
	"Baseline.state":        {"compared", "none", "incomparable", "invalid"},
	"BaselineDelta.against": {"", "baseline", "anchor"},
}

// required are the keys without which a result cannot be read. The schema
// requires every key that is written; a reader stays open for results that were
// written before a key was added.
var required = map[string][]string{
	"Result": {"version", "outcome", "exit_code", "engines", "prompts", "coverage", "first_divergence",
		"checkpoints", "trend", "diagnosis", "garbage", "baseline", "timing", "environment"},
	"EngineSet":     {"reference", "candidate"},
	"EngineInfo":    {"name"},
	"PromptInfo":    {"name"},
	"Coverage":      {"checkpoints", "positions", "missing"},
	"Count":         {"compared", "reference", "candidate"},
	"Missing":       {"prompt", "checkpoint", "side", "required"},
	"Divergence":    {"prompt", "checkpoint", "position", "metric", "value", "limit"},
	"Checkpoint":    {"prompt", "name", "order", "metrics", "status", "limits", "findings"},
	"Growth":        {"inherited", "added", "factor"},
	"Flip":          {"position", "reference", "candidate"},
	"AppliedLimit":  {"metric", "value", "limit", "use", "level", "within"},
	"Finding":       {"rule", "level", "position", "message"},
	"Jump":          {"checkpoint", "factor"},
	"Diagnosis":     {"kind", "confidence", "evidence"},
	"Garbage":       {"engine", "checkpoint", "kind", "policy", "count"},
	"SpecChange":    {"effect", "what"},
	"Source":        {"repository", "head"},
	"Baseline":      {"state", "deltas"},
	"BaselineDelta": {"checkpoint", "metric", "base", "head", "delta", "within"},
}

// positioned is an error at a byte of the file.
type positioned struct {
	offset int64
	err    error
}

func (p *positioned) Error() string { return p.err.Error() }
func (p *positioned) Unwrap() error { return p.err }

// checker walks the tokens of a results.json along the Go types, because
// encoding/json alone accepts double keys, keys in another case, missing keys
// and null, and cannot say where.
type checker struct {
	dec  *json.Decoder
	data []byte
	path []string
}

// check reports the first thing in data that is not a valid results.json.
func check(data []byte) error {
	c := &checker{dec: json.NewDecoder(bytes.NewReader(data)), data: data}
	c.dec.UseNumber()
	if err := c.value(reflect.TypeFor[gate.Result](), ""); err != nil {
		return err
	}
	if _, err := c.dec.Token(); !errors.Is(err, io.EOF) {
		return c.errorf("more data after the result")
	}
	return nil
}

// errorf is an error at the start of the token that was read last.
func (c *checker) errorf(format string, args ...any) error {
	where := strings.TrimPrefix(strings.Join(c.path, ""), ".")
	if where != "" {
		where += ": "
	}
	return &positioned{c.dec.InputOffset(), errors.New(where + fmt.Sprintf(format, args...))}
}

func (c *checker) token() (json.Token, error) {
	t, err := c.dec.Token()
	if err == nil {
		return t, nil
	}
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, &positioned{syntax.Offset, fmt.Errorf("not valid JSON: %w", err)}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, &positioned{int64(len(c.data)), errors.New("the file ends in the middle of the result")}
	}
	return nil, &positioned{c.dec.InputOffset(), err}
}

// value reads one value that must be a t; enum is its key in enums, or "".
func (c *checker) value(t reflect.Type, enum string) error {
	tok, err := c.token()
	if err != nil {
		return err
	}
	if tok == nil {
		if t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
			return nil
		}
		return c.errorf("null: want %s", kindOf(t))
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if words, ok := enums[enum]; ok {
		return c.word(tok, words)
	}
	switch t.Kind() {
	case reflect.Struct:
		return c.object(tok, t)
	case reflect.Map:
		return c.metrics(tok, t)
	case reflect.Slice:
		return c.list(tok, t)
	}
	return c.scalar(tok, t)
}

// word checks a string that has a fixed set of values.
func (c *checker) word(tok json.Token, words []string) error {
	s, ok := tok.(string)
	for _, w := range words {
		if ok && s == w {
			return nil
		}
	}
	return c.errorf("%s: want one of %q", show(tok), words)
}

func (c *checker) scalar(tok json.Token, t reflect.Type) error {
	var data []byte
	switch v := tok.(type) {
	case json.Delim:
		return c.errorf("%s: want %s", show(tok), kindOf(t))
	case json.Number:
		data = []byte(v)
	default:
		data, _ = json.Marshal(v)
	}
	p := reflect.New(t)
	if err := json.Unmarshal(data, p.Interface()); err != nil {
		return c.errorf("%s: want %s", show(tok), kindOf(t))
	}
	return nil
}

func (c *checker) list(tok json.Token, t reflect.Type) error {
	if tok != json.Delim('[') {
		return c.errorf("%s: want a list", show(tok))
	}
	for i := 0; c.dec.More(); i++ {
		c.path = append(c.path, fmt.Sprintf("[%d]", i))
		if err := c.value(t.Elem(), ""); err != nil {
			return err
		}
		c.path = c.path[:len(c.path)-1]
	}
	_, err := c.token()
	return err
}

// metrics reads an object with free keys.
func (c *checker) metrics(tok json.Token, t reflect.Type) error {
	if tok != json.Delim('{') {
		return c.errorf("%s: want an object", show(tok))
	}
	return c.keys(func(string) error { return c.value(t.Elem(), "") })
}

func (c *checker) object(tok json.Token, t reflect.Type) error {
	if tok != json.Delim('{') {
		return c.errorf("%s: want an object", show(tok))
	}
	start := c.dec.InputOffset()
	fields := fieldsOf(t)
	seen := map[string]bool{}
	err := c.keys(func(key string) error {
		seen[key] = true
		if ft, ok := fields[key]; ok {
			return c.value(ft, t.Name()+"."+key)
		}
		for f := range fields {
			// encoding/json would take the key for this one.
			if strings.EqualFold(f, key) {
				return c.errorf("key %s: want %q", show(key), f)
			}
		}
		return c.skip()
	})
	if err != nil {
		return err
	}
	for _, key := range required[t.Name()] {
		if !seen[key] {
			err := c.errorf("key %q is missing", key).(*positioned)
			err.offset = start
			return err
		}
	}
	return nil
}

// keys calls value for each key of an open object, until its end.
func (c *checker) keys(value func(key string) error) error {
	seen := map[string]bool{}
	for c.dec.More() {
		tok, err := c.token()
		if err != nil {
			return err
		}
		key, ok := tok.(string)
		if !ok {
			return c.errorf("%s: want a key", show(tok))
		}
		c.path = append(c.path, "."+short(key))
		if seen[key] {
			return c.errorf("the key stands twice")
		}
		seen[key] = true
		if err := value(key); err != nil {
			return err
		}
		c.path = c.path[:len(c.path)-1]
	}
	_, err := c.token()
	return err
}

// skip reads one value of any shape: a key that a later program added.
func (c *checker) skip() error {
	depth := 0
	for {
		tok, err := c.token()
		if err != nil {
			return err
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// fieldsOf returns the types of a struct's JSON keys.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	m := make(map[string]reflect.Type, t.NumField())
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		m[name] = t.Field(i).Type
	}
	return m
}

// kindOf names a type for people.
func kindOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[gate.Value]():
		return `a number, "NaN", "+Inf" or "-Inf"`
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()), t.Kind() == reflect.String:
		return "a string"
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice:
		return "a list"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	}
	return "another type"
}

// show quotes a token, shortened.
func show(tok any) string {
	switch v := tok.(type) {
	case string:
		return fmt.Sprintf("%q", short(v))
	case json.Delim:
		return map[json.Delim]string{'{': "an object", '[': "a list"}[v]
	}
	return short(fmt.Sprint(tok))
}

// short cuts what an error quotes of the file.
func short(s string) string { return clean(s, 80) }
