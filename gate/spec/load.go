package spec

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

const (
	// MaxSpec bounds the bytes of a spec file.
	MaxSpec = 1 << 20
	// MaxPromptFile bounds the bytes of one prompt's file, maxPromptFiles of all.
	MaxPromptFile  = 16 << 20
	maxPromptFiles = 64 << 20
	// maxDepth bounds the nesting of a spec; the deepest valid one needs 7.
	maxDepth = 16
)

// Default is the spec that holds without a file: garbage above 1e10 is masked
// on the reference's side and fails the candidate, the preset is chosen from
// what the traces say of their precision, and nothing further is required.
func Default() *Spec {
	return &Spec{Version: 1, Garbage: Garbage{Above: 1e10, Reference: "mask", Candidate: "fail"}}
}

// Load reads and validates the spec at path and the prompt files it names.
// Mistakes in the spec come back as Errors, all of them, in file order; a file
// that cannot be read at all as an error that wraps the system's.
func Load(path string) (*Spec, error) { return LoadIn(path, filepath.Dir(path)) }

// LoadIn is Load for a file that lies elsewhere than it belongs, as a copy of the
// base branch's spec does: its relative paths start at dir.
func LoadIn(path, dir string) (*Spec, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the spec: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSpec+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the spec: %w", err)
	}
	return parse(data, path, dir, true)
}

// Parse validates a spec's bytes as Load does, without touching the file
// system: prompts that name a file keep an empty Text. path is named in errors
// and its folder is where relative paths start; it may be "".
func Parse(data []byte, path string) (*Spec, error) {
	return parse(data, path, filepath.Dir(path), false)
}

// ParseIn is Parse for relative paths that start at dir.
func ParseIn(data []byte, path, dir string) (*Spec, error) { return parse(data, path, dir, false) }

func parse(data []byte, path, dir string, readFiles bool) (*Spec, error) {
	d := &decoder{name: path, readFiles: readFiles}
	if path == "" {
		d.name = "spec"
	}
	d.dir = dir
	if abs, err := filepath.Abs(d.dir); err == nil {
		d.dir = abs
	}
	s := Default()
	s.Path = path
	sum := sha256.Sum256(data)
	s.Digest = hex.EncodeToString(sum[:])
	if root := d.document(data); root != nil {
		d.spec(root, s)
		s.Lines = keyLines(root)
	}
	if len(d.errs) > 0 {
		d.errs.sort()
		return nil, d.errs
	}
	return s, nil
}

// keyLines are the lines of the first three levels of keys, and of the prompts by
// their name.
func keyLines(root *yaml.Node) map[string]int {
	out := map[string]int{}
	var walk func(n *yaml.Node, under string, levels int)
	walk = func(n *yaml.Node, under string, levels int) {
		for _, e := range children(n) {
			key := under + e.key.Value
			out[key] = e.key.Line
			if levels > 1 {
				walk(e.value, key+".", levels-1)
			}
			if key == "prompts" {
				promptLines(e.value, out)
			}
		}
	}
	walk(root, "", 3)
	return out
}

func promptLines(list *yaml.Node, out map[string]int) {
	for _, p := range list.Content {
		for _, e := range children(p) {
			if e.key.Value == "name" {
				out["prompts."+e.value.Value] = p.Line
			}
		}
	}
}

// document parses the bytes into the mapping at the root of their only
// document, or adds the reason why there is none.
func (d *decoder) document(data []byte) *yaml.Node {
	if len(data) > MaxSpec {
		d.errorAt(1, 1, 1, "the file is larger than 1 MiB, which no spec needs")
		return nil
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	d.lines = splitLines(string(data))
	if !d.plainText() {
		return nil
	}
	root, more, err := parseYAML(data)
	switch {
	case err != nil:
		d.notYAML(err)
		return nil
	case root == nil:
		d.errorAt(1, 1, 1, `the file is empty: a spec starts with "version: 1"`)
		return nil
	case more != nil:
		d.errorAt(more.Line, more.Column, 1, "a second document: a spec is one YAML document")
		return nil
	}
	if !d.safe(root, 0) {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		d.errorf(root, `a spec is a mapping that starts with "version: 1", not %s`, kindOf(root))
		return nil
	}
	return root
}

// parseYAML returns the root of the first document (nil when there is none)
// and the start of a second.
func parseYAML(data []byte) (root, more *yaml.Node, err error) {
	// The parser is not ours: should it panic on some input, that is an error
	// in the input as far as the user is concerned.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	if err := dec.Decode(&first); errors.Is(err, io.EOF) {
		return nil, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	if err := dec.Decode(&second); err == nil {
		more = &second
	} else if !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	if len(first.Content) == 0 || first.Content[0].Kind == yaml.ScalarNode && first.Content[0].Tag == "!!null" && first.Content[0].Value == "" {
		return nil, more, nil
	}
	return first.Content[0], more, nil
}

// plainText refuses what is no UTF-8 text, at its place: the parser would
// accept UTF-16 and gives no position for control characters.
func (d *decoder) plainText() bool {
	for i, line := range d.lines {
		column := 0
		for at, r := range line {
			column++
			if r == utf8.RuneError && !strings.HasPrefix(line[at:], "\ufffd") {
				d.errorAt(i+1, column, 1, "not UTF-8 text")
				return false
			}
			if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
				d.errorAt(i+1, column, 1, "control character U+%04X: write it as an escape in double quotes", r)
				return false
			}
		}
	}
	return true
}

// splitLines breaks text where YAML does.
func splitLines(s string) []string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(s)
	return strings.Split(s, "\n")
}

// notYAML adds the parser's own message. Its line is where the broken
// construct begins, or missing; the line after the longest valid beginning of
// the file is nearer to the mistake.
func (d *decoder) notYAML(err error) {
	const searchedLines, searchedBytes = 400, 32 << 10 // the search parses once a line
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if rest, ok := strings.CutPrefix(msg, "line "); ok {
		if _, scanErr := fmt.Sscanf(rest, "%d:", &line); scanErr == nil {
			_, msg, _ = strings.Cut(rest, ": ")
		}
	}
	line = min(max(line, 1), len(d.lines))
	if text := strings.Join(d.lines, "\n"); len(d.lines) <= searchedLines && len(text) <= searchedBytes {
		for k := len(d.lines) - 1; k >= 0; k-- {
			if _, _, err := parseYAML([]byte(strings.Join(d.lines[:k], "\n"))); err == nil {
				line = k + 1
				break
			}
		}
	}
	text := d.lines[line-1]
	blank := len(text) - len(strings.TrimLeft(text, " "))
	rest := utf8.RuneCountInString(strings.TrimSpace(text))
	d.errorAt(line, blank+1, rest, "not valid YAML: %s", msg)
}

// safe refuses what a spec has no use for and a reader would stumble over:
// anchors, aliases (and with them exponential documents), tags, deep nesting.
func (d *decoder) safe(n *yaml.Node, depth int) bool {
	switch {
	case depth > maxDepth:
		d.errorf(n, "nested more than %d levels deep", maxDepth)
		return false
	case n.Kind == yaml.AliasNode:
		d.errorf(n, "aliases (*%s) are not supported: write the value out", n.Value)
		return false
	case n.Anchor != "":
		d.errorf(n, "anchors (&%s) are not supported: write the value out", n.Anchor)
		return false
	case n.Style&yaml.TaggedStyle != 0:
		d.errorf(n, "tags (%s) are not supported", n.Tag)
		return false
	}
	for _, c := range n.Content {
		if !d.safe(c, depth+1) {
			return false
		}
	}
	return true
}

// promptFile reads a prompt's text.
func (d *decoder) promptFile(path string) (string, error) {
	// Before opening: opening a pipe would wait for its other end.
	if fi, err := os.Stat(path); err != nil {
		return "", bare(err)
	} else if !fi.Mode().IsRegular() {
		return "", errors.New("is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", bare(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxPromptFile+1))
	if err != nil {
		return "", bare(err)
	}
	d.promptBytes += len(data)
	switch {
	case len(data) > MaxPromptFile:
		return "", errors.New("is larger than 16 MiB")
	case d.promptBytes > maxPromptFiles:
		return "", errors.New("takes the prompt files over 64 MiB together")
	case len(data) == 0:
		return "", errors.New("is empty")
	case !utf8.Valid(data):
		return "", errors.New("is not UTF-8 text")
	case bytes.IndexByte(data, 0) >= 0:
		return "", errors.New("holds a zero byte")
	}
	return string(data), nil
}

// bare is a file error without the path, which the message already names.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
