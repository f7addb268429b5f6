package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/spec"
)

// models are descriptions of models by path: "" for a file that is not there.
type models map[string]string

// checkPrecision checks what only the oracle knows: precision profiles, and the
// models that it and builtin engines compute.
func checkPrecision(s *spec.Spec) (models, error) {
	models := models{}
	var mistakes []string
	check := func(role string, e spec.Engine) {
		at := fmt.Sprintf("%s:%d: %s: ", s.Path, e.Line, role)
		if _, err := engine.Profile(e.Precision); err != nil {
			mistakes = append(mistakes, at+err.Error())
		}
		if e.Adapter != "builtin" {
			return
		}
		if err := models.open(firstOf(e.Model, s.Model.Path)); err != nil {
			mistakes = append(mistakes, at+"model: "+err.Error())
		}
	}
	check("reference", s.Engines.Reference)
	check("candidate", s.Engines.Candidate)
	for _, name := range slices.Sorted(maps.Keys(s.Engines.Witnesses)) {
		check("witness "+name, s.Engines.Witnesses[name])
	}
	if s.Oracle != nil {
		if err := models.open(s.Oracle.Model); err != nil {
			mistakes = append(mistakes, s.Path+": oracle: model: "+err.Error())
		}
	}
	if len(mistakes) > 0 {
		return nil, &codeError{exitInvalid, fmt.Errorf("%s", strings.Join(mistakes, "\n"))}
	}
	return models, nil
}

// open reads a model's header, once.
func (m models) open(path string) error {
	if _, done := m[path]; done {
		return nil
	}
	d, err := engine.CheckBuiltin(path)
	m[path] = d
	return err
}

// describe is a model's path and, where it was opened, what it is.
func (m models) describe(path string) string {
	switch d, opened := m[path]; {
	case !opened:
		return shownPath(path)
	case d == "":
		return shownPath(path) + " (not there)"
	default:
		return shownPath(path) + ": " + printable(d)
	}
}

// precisionText is the profile, and the fields that differ: f16,kv=bf16.
func precisionText(p *spec.Precision) string {
	text := p.Profile
	for _, f := range slices.Sorted(maps.Keys(p.Fields)) {
		text += "," + f + "=" + p.Fields[f]
	}
	return text
}
