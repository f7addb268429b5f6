package spec

import (
	"bytes"
	_ "embed"
)

//go:embed template.yaml
var template []byte

// Template is a commented spec to start from.
func Template() []byte { return bytes.Clone(template) }
