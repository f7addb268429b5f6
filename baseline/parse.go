package baseline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Error says what is wrong with a stored document, and where.
type Error struct {
	Name string // of the file
	Line int    // from 1; 0 where it is not about a line
	Msg  string
}

func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", e.Name, e.Line, e.Msg)
	}
	return e.Name + ": " + e.Msg
}

// Read reads a document; see Parse. Errors of reading are returned as they are.
func Read(r io.Reader, name string) (*Document, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return Parse(data, name)
}

// Parse reads a document's bytes. They must be those that Encode gives of what
// they say, to the last: what is cut off, changed, written twice, of another
// version or beyond bounds comes back as an *Error that names the place.
func Parse(data []byte, name string) (*Document, error) {
	if len(data) > MaxDocument {
		return nil, &Error{name, 0, fmt.Sprintf("more than %d bytes, which no baseline needs", MaxDocument)}
	}
	d, err := decode(data)
	if err == nil {
		var again []byte
		if again, err = d.Encode(); err == nil && bytes.Equal(again, data) {
			return d, nil
		}
	}
	return nil, whatIsWrong(data, name, d, err)
}

// The document as encoding/json reads it.
type (
	wire struct {
		Version      int               `json:"paritygate_baseline"`
		Digest       string            `json:"digest"`
		Key          Key               `json:"key"`
		Provenance   Provenance        `json:"provenance"`
		Anchor       Anchor            `json:"anchor"`
		History      []Accepted        `json:"history"`
		Measurements []wireMeasurement `json:"measurements"`
	}
	wireMeasurement struct {
		Prompt      string            `json:"prompt"`
		Checkpoint  string            `json:"checkpoint"`
		Rows        int               `json:"rows"`
		Width       int               `json:"width"`
		Fingerprint string            `json:"fingerprint"`
		Metrics     map[string]Metric `json:"metrics"`
		Positions   []int             `json:"positions"`
		Sketches    []string          `json:"sketches"`
	}
)

// decode reads what can be read of a document.
func decode(data []byte) (*Document, error) {
	var w wire
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return nil, err
	}
	if w.Version != Version {
		return nil, fmt.Errorf("version %d of the format: this paritygate reads version %d", w.Version, Version)
	}
	d := &Document{Key: w.Key, Provenance: w.Provenance, Anchor: w.Anchor, History: w.History}
	d.Measurements = make([]Measurement, len(w.Measurements))
	for i, m := range w.Measurements {
		sketches := make([]Sketch, len(m.Sketches))
		for j, text := range m.Sketches {
			var err error
			if sketches[j], err = parseSketch(text); err != nil {
				return nil, fmt.Errorf("measurement %d (%s/%s), sketch %d: %w", i+1, short(m.Prompt), short(m.Checkpoint), j+1, err)
			}
		}
		d.Measurements[i] = Measurement{Prompt: m.Prompt, Checkpoint: m.Checkpoint, Rows: m.Rows, Width: m.Width, Metrics: m.Metrics,
			Mark: Mark{Fingerprint: m.Fingerprint, Positions: m.Positions, Sketches: sketches}}
	}
	return d, nil
}

// whatIsWrong finds the nearest reason why data was refused: d and err are what
// reading it gave.
func whatIsWrong(data []byte, name string, d *Document, err error) error {
	at := func(offset int64, msg string) error {
		offset = min(max(offset, 0), int64(len(data)))
		return &Error{name, 1 + bytes.Count(data[:offset], []byte("\n")), msg}
	}
	var head struct {
		Version *int `json:"paritygate_baseline"`
	}
	if offset, msg := scan(data); msg != "" {
		return at(offset, msg)
	}
	var kind *json.UnmarshalTypeError
	if e := json.Unmarshal(data, &head); e != nil || head.Version == nil {
		return &Error{name, 0, `no baseline of paritygate: it lacks the number "paritygate_baseline"`}
	}
	if *head.Version != Version {
		return &Error{name, 0, fmt.Sprintf("version %d of the format: this paritygate reads version %d", *head.Version, Version)}
	}
	switch {
	case errors.As(err, &kind):
		return at(kind.Offset, fmt.Sprintf("%s is %s, which does not belong there", told(kind.Field), kind.Value))
	case d == nil && err != nil:
		msg := strings.TrimPrefix(err.Error(), "json: ")
		if key, unknown := strings.CutPrefix(msg, "unknown field "); unknown {
			return at(int64(bytes.Index(data, []byte(key))), "unknown key "+key)
		}
		return &Error{name, 0, msg}
	}
	var said struct {
		Digest string `json:"digest"`
	}
	_ = json.Unmarshal(data, &said) // it was read before
	whole, own := d.encode()
	if said.Digest != own {
		return &Error{name, 0, fmt.Sprintf("damaged or changed by hand: its digest says %s, what it holds gives %s", quoted(short(said.Digest)), quoted(short(own)))}
	}
	if err != nil {
		return &Error{name, 0, err.Error()}
	}
	return &Error{name, firstDifference(data, whole), "not as paritygate writes it: was it edited, or were its line endings converted?"}
}

// firstDifference is the first line that differs.
func firstDifference(a, b []byte) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return 1 + bytes.Count(a[:n], []byte("\n"))
}

// short is the part of a digest that people compare.
func short(s string) string {
	if r := []rune(s); len(r) > 16 {
		return string(r[:16])
	}
	return s
}

// maxDepth is more than a document nests.
const maxDepth = 16

// scan walks the JSON and returns the offset and the reason of what is no single
// JSON object, or names one key twice.
func scan(data []byte) (int64, string) {
	if len(bytes.TrimSpace(data)) == 0 {
		return 0, "the file is empty"
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var open []map[string]bool // keys of the objects that are open; nil for a list
	var key []bool             // the next text is a key
	for {
		token, err := dec.Token()
		if err != nil {
			return syntax(err, dec.InputOffset(), len(data))
		}
		n := len(open) - 1
		switch t := token.(type) {
		case json.Delim:
			switch t {
			case '{', '[':
				if n >= 0 {
					key[n] = open[n] != nil
				}
				if len(open) == maxDepth {
					return dec.InputOffset(), "nested deeper than any baseline"
				}
				open, key = append(open, nil), append(key, false)
				if t == '{' {
					open[n+1], key[n+1] = map[string]bool{}, true
				}
			default:
				open, key = open[:n], key[:n]
			}
		default:
			if n < 0 {
				return dec.InputOffset(), "no JSON object"
			}
			if word, ok := token.(string); ok && key[n] {
				if open[n][word] {
					return dec.InputOffset(), fmt.Sprintf("the key %s is there twice", plain(short(word)))
				}
				open[n][word], key[n] = true, false
			} else {
				key[n] = open[n] != nil
			}
		}
		if len(open) == 0 {
			break
		}
	}
	end := dec.InputOffset()
	if rest := bytes.TrimSpace(data[end:]); len(rest) > 0 {
		return end, "more behind the end of the document"
	}
	return 0, ""
}

// syntax says in words where JSON ends to be JSON.
func syntax(err error, offset int64, size int) (int64, string) {
	var s *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return int64(size), "the file is cut off"
	case errors.As(err, &s):
		return s.Offset, "no JSON: " + s.Error()
	}
	return offset, "no JSON: " + err.Error()
}
