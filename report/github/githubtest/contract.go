package githubtest

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// GitHub's own description of its API, cut to what the program uses:
// testdata/README.md says how it is made.
//
//go:embed testdata/openapi.json
var description []byte

// An operation is one that the description has.
type operation struct {
	id      string // as "issues/create-comment"
	pattern *regexp.Regexp
	names   []string // of the path's parameters
	route   *routers.Route
}

// A contract holds requests and responses to the description.
type contract struct {
	doc        *openapi3.T
	operations []*operation // the most specific path first
}

// loadContract reads the description, once a process.
var loadContract = sync.OnceValues(func() (*contract, error) {
	doc, err := openapi3.NewLoader().LoadFromData(description)
	if err != nil {
		return nil, fmt.Errorf("githubtest: GitHub's description: %w", err)
	}
	if err := doc.Validate(context.Background(), openapi3.DisableExamplesValidation(), openapi3.DisableSchemaDefaultsValidation()); err != nil {
		return nil, fmt.Errorf("githubtest: GitHub's description: %w", err)
	}
	c := &contract{doc: doc}
	for path, item := range doc.Paths.Map() {
		pattern, names := pathPattern(path)
		for method, op := range item.Operations() {
			loosenErrors(op)
			route := &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: op}
			c.operations = append(c.operations, &operation{op.OperationID, pattern, names, route})
		}
	}
	slices.SortFunc(c.operations, func(a, b *operation) int {
		x, y := a.route.Path, b.route.Path
		// More segments first: a ref may hold slashes, so commits/{ref} would
		// take commits/{ref}/status.
		if d := strings.Count(y, "/") - strings.Count(x, "/"); d != 0 {
			return d
		}
		return strings.Compare(a.id, b.id)
	})
	return c, nil
})

// loosenErrors lets an error be of several forms at once. The description says
// exactly one, with forms of which each holds what the other does.
func loosenErrors(op *openapi3.Operation) {
	for status, r := range op.Responses.Map() {
		for _, content := range r.Value.Content {
			if s := content.Schema.Value; status >= "400" && s != nil && len(s.OneOf) > 0 {
				s.AnyOf, s.OneOf = s.OneOf, nil
			}
		}
	}
}

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

// pathPattern is the expression that an operation's path matches. A ref, a path
// and a comparison may hold slashes, which OpenAPI has no way to say.
func pathPattern(path string) (*regexp.Regexp, []string) {
	var names []string
	expr := pathParameter.ReplaceAllStringFunc(path, func(p string) string {
		name := p[1 : len(p)-1]
		names = append(names, name)
		switch name {
		case "ref", "basehead":
			return "(.+)"
		case "path":
			return "(.*)" // nothing is the root
		}
		return "([^/]+)"
	})
	return regexp.MustCompile("^" + expr + "$"), names
}

// find is the operation of a method and an escaped path, with the values of the
// path's parameters.
func (c *contract) find(method, path string) (*operation, map[string]string) {
	for _, op := range c.operations {
		m := op.pattern.FindStringSubmatch(path)
		if m == nil || op.route.Method != method {
			continue
		}
		values := map[string]string{}
		for i, name := range op.names {
			v, err := url.PathUnescape(m[i+1])
			if err != nil {
				return nil, nil
			}
			values[name] = v
		}
		return op, values
	}
	return nil, nil
}

var filterOptions = &openapi3filter.Options{
	SkipSettingDefaults: true,
	AuthenticationFunc:  openapi3filter.NoopAuthenticationFunc,
}

func (op *operation) input(r *http.Request, values map[string]string, body []byte) *openapi3filter.RequestValidationInput {
	r = r.Clone(r.Context())
	if b := bytes.TrimSpace(body); op.id == "issues/add-labels" && bytes.HasPrefix(b, []byte("[")) {
		// The description's prose allows the names alone, its schema forgot them.
		body = slices.Concat([]byte(`{"labels":`), b, []byte("}"))
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if v, ok := values["path"]; ok && v == "" {
		values = map[string]string{"owner": values["owner"], "repo": values["repo"], "path": "/"} // the root has no name
	}
	return &openapi3filter.RequestValidationInput{Request: r, PathParams: values, Route: op.route, Options: filterOptions}
}

// checkRequest says how a request breaks the description.
func (op *operation) checkRequest(in *openapi3filter.RequestValidationInput) error {
	for name := range in.Request.URL.Query() {
		// GitHub passes over an unknown parameter, and so would hide a misspelt one.
		if op.route.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
			return fmt.Errorf("%s has no query parameter %q", op.id, name)
		}
	}
	return openapi3filter.ValidateRequest(in.Request.Context(), in)
}

// checkResponse says how a response breaks the description. A status that the
// description does not list for the operation must be an error, in the form of
// GitHub's errors: 401 and 5xx are listed nowhere.
func (c *contract) checkResponse(op *operation, in *openapi3filter.RequestValidationInput, status int, header http.Header, body []byte) error {
	if op.route.Operation.Responses.Status(status) == nil {
		if status < 400 {
			return fmt.Errorf("%s has no status %d", op.id, status)
		}
		return c.checkError(body)
	}
	if status == http.StatusNoContent && len(body) > 0 {
		return errors.New("204 with a body")
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: status, Header: header, Options: filterOptions}
	out.SetBodyBytes(body)
	if err := openapi3filter.ValidateResponse(in.Request.Context(), out); err != nil {
		return err
	}
	if status >= 400 {
		return c.checkError(body)
	}
	return nil
}

// checkError holds a body to what all of GitHub's errors have.
func (c *contract) checkError(body []byte) error {
	var v map[string]any
	if err := json.Unmarshal(body, &v); err != nil {
		return fmt.Errorf("an error that is no JSON object: %w", err)
	}
	if m, _ := v["message"].(string); m == "" {
		return errors.New("an error without a message")
	}
	return c.doc.Components.Schemas["basic-error"].Value.VisitJSON(withoutErrors(v))
}

// withoutErrors drops what a validation error has besides a basic one.
func withoutErrors(v map[string]any) map[string]any {
	delete(v, "errors")
	return v
}
