package spec

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	b, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("parity.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("parity.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON is a YAML document as an editor's validator sees it.
func asJSON(data []byte) (any, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	datesAreText(&doc)
	var v any
	if err := doc.Decode(&v); err != nil {
		return nil, err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(b))
}

// datesAreText undoes what yaml.v3 alone does: YAML 1.2 knows no dates.
func datesAreText(n *yaml.Node) {
	if n.Tag == "!!timestamp" {
		n.Tag = "!!str"
	}
	for _, c := range n.Content {
		datesAreText(c)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSchemaGolden(t *testing.T) {
	b, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("testdata", "schema.json"), string(b))
}

func TestSchemaAcceptsValid(t *testing.T) {
	s := compiled(t)
	for _, file := range append(files(t, "ok", 8), "template.yaml") {
		v, err := asJSON(read(t, file))
		if err == nil {
			err = s.Validate(v)
		}
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// onlyParser are the mistakes of testdata/err that no schema can express, or
// that are gone once YAML has become JSON.
var onlyParser = strings.Fields(`
	baseline-rule-missing baseline-store-home
	builtin-no-model oracle-missing oracle-missing-warn oracle-no-model
	engine-build-variable engine-command-blank engine-env-both engine-llamacpp-no-model engine-names-bare-dollar
	engine-names-group engine-names-group-name engine-names-regexp engine-names-unbalanced
	engine-one-trace engine-size-huge engine-size-zero engine-timeout-zero engine-ubatch
	engine-variable-no-model
	file-merge file-tag file-two-documents file-utf16 model-home
	prompt-duplicate prompt-file-empty prompt-file-folder prompt-file-missing prompt-file-not-utf8
	prompt-hex-token prompt-octal-token prompt-underscore-token prompt-zero-byte
	require-glob rule-glob rule-limit-hex rule-limit-octal rule-limit-tiny
	rule-scope-hidden rule-scope-logits rule-warn-useless transformers-no-model version-float
`)

func TestSchemaRefusesInvalid(t *testing.T) {
	s := compiled(t)
	var missed []string
	for _, file := range files(t, "err", 60) {
		v, err := asJSON(read(t, file))
		if err == nil && s.Validate(v) == nil {
			missed = append(missed, strings.TrimSuffix(filepath.Base(file), ".yaml"))
		}
	}
	slices.Sort(missed)
	if diff := cmp.Diff(slices.Sorted(slices.Values(onlyParser)), missed); diff != "" {
		t.Errorf("mistakes that only the parser finds (-listed +found):\n%s", diff)
	}
}

// TestSchemaKeys holds the keys of the schema and of the parser together.
func TestSchemaKeys(t *testing.T) {
	b, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	type object struct {
		Properties           map[string]any `json:"properties"`
		AdditionalProperties *bool          `json:"additionalProperties"`
	}
	var schema struct {
		object
		Defs map[string]object `json:"$defs"`
	}
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	schema.Defs["Spec"] = schema.object
	want := map[string][]string{
		"Rule": append(append([]string{"checkpoint", "warn"}, baselineKeys...), groupNames()...),
		"Warn": groupNames(),
	}
	for name, table := range tables() {
		for _, k := range table {
			want[name] = append(want[name], k.key)
		}
	}
	got := map[string][]string{}
	for name, def := range schema.Defs {
		if len(def.Properties) == 0 {
			continue
		}
		got[name] = slices.Sorted(maps.Keys(def.Properties))
		if def.AdditionalProperties == nil || *def.AdditionalProperties {
			t.Errorf("%s allows unknown keys", name)
		}
	}
	for _, keys := range want {
		slices.Sort(keys)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-parser +schema):\n%s", diff)
	}
	for _, v := range variants {
		for _, k := range v.keys() {
			if !slices.Contains(want["Engine"], k) {
				t.Errorf("%s takes %q, which is no key of an engine", v.title(), k)
			}
		}
	}
}

func TestEveryKeyIsDescribed(t *testing.T) {
	for name, table := range tables() {
		for _, k := range table {
			if !strings.HasSuffix(k.doc, ".") {
				t.Errorf("%s.%s: %q is no sentence", name, k.key, k.doc)
			}
		}
	}
}
