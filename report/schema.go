package report

import (
	"bytes"
	_ "embed"
)

// schema is generated from gate's types and their comments by this package's
// tests (go test ./report -run TestSchema -update), which also keep it true.
//
//go:embed results.schema.json
var schema []byte

// Schema returns the JSON schema (draft 2020-12) of results.json. The error is
// always nil; it is there so that callers need not change should it be made at
// run time.
func Schema() ([]byte, error) { return bytes.Clone(schema), nil }
