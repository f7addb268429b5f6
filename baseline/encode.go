package baseline

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Encode returns the document's bytes: the same for the same content, a
// measurement and a sketch a line, so that a diff shows what moved. It refuses
// what Parse would.
func (d *Document) Encode() ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	b := d.encode(d.Digest())
	if len(b) > MaxDocument {
		return nil, fmt.Errorf("the document has %d bytes, more than %d", len(b), MaxDocument)
	}
	return b, nil
}

// encode writes the document with that digest.
func (d *Document) encode(digest string) []byte {
	w := &writer{}
	w.line("{")
	w.line(`  "paritygate_baseline": %d,`, Version)
	w.line(`  "digest": %s,`, quoted(digest))
	w.line(`  "key": %s,`, indented(d.Key))
	w.line(`  "provenance": %s,`, indented(d.Provenance))
	w.line(`  "anchor": %s,`, indented(d.Anchor))
	w.list("  ", "history", len(d.History), func(i int) { w.text(plain(d.History[i])) })
	w.line(",")
	w.list("  ", "measurements", len(d.Measurements), func(i int) { w.measurement(&d.Measurements[i]) })
	w.line("")
	w.line("}")
	return w.Bytes()
}

// writer writes JSON where line breaks matter.
type writer struct{ bytes.Buffer }

func (w *writer) text(s []byte) { w.Write(s) }

func (w *writer) line(format string, args ...any) {
	fmt.Fprintf(w, format, args...)
	w.WriteByte('\n')
}

// list writes a list with an element a line, and no line break behind it.
func (w *writer) list(indent, name string, n int, element func(int)) {
	fmt.Fprintf(w, "%s%q: [", indent, name)
	for i := range n {
		if i > 0 {
			w.WriteByte(',')
		}
		w.WriteString("\n" + indent + "  ")
		element(i)
	}
	if n > 0 {
		w.WriteString("\n" + indent)
	}
	w.WriteByte(']')
}

func (w *writer) measurement(m *Measurement) {
	w.line(`{"prompt": %s, "checkpoint": %s, "rows": %d, "width": %d, "fingerprint": %s,`,
		quoted(m.Prompt), quoted(m.Checkpoint), m.Rows, m.Width, quoted(m.Mark.Fingerprint))
	w.WriteString(`     "metrics": {`)
	for i, name := range slices.Sorted(maps.Keys(m.Metrics)) {
		if i > 0 {
			w.WriteByte(',')
		}
		fmt.Fprintf(w, "\n      %s: %s", quoted(name), plain(m.Metrics[name]))
	}
	w.line("},")
	w.line(`     "positions": %s,`, plain(append([]int{}, m.Mark.Positions...)))
	w.list("     ", "sketches", len(m.Mark.Sketches), func(i int) { w.text(quoted(m.Mark.Sketches[i].String())) })
	w.WriteByte('}')
}

// plain is a value on one line, indented one over several.
func plain(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // types of this package alone
	}
	return b
}

func indented(v any) []byte {
	var b bytes.Buffer
	if err := json.Indent(&b, plain(v), "  ", "  "); err != nil {
		panic(err) // made by plain
	}
	return b.Bytes()
}

func quoted(s string) []byte { return plain(s) }

// sketchBytes is the size of a sketch: little-endian float32, the norm first.
const sketchBytes = 4 * (1 + Buckets)

// String is the sketch in base64, "" where there is none.
func (s *Sketch) String() string {
	if !s.Valid() {
		return ""
	}
	b := binary.LittleEndian.AppendUint32(nil, math.Float32bits(s.Norm2))
	for _, v := range s.Buckets {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return base64.StdEncoding.EncodeToString(b)
}

// parseSketch is the reverse.
func parseSketch(text string) (Sketch, error) {
	if text == "" {
		return noSketch, nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != sketchBytes {
		return noSketch, fmt.Errorf("a sketch is %d bytes in base64", sketchBytes)
	}
	float := func(i int) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])) }
	s := Sketch{Norm2: float(0)}
	sound := s.Norm2 >= 0 && !math.IsInf(float64(s.Norm2), 0)
	for i := range s.Buckets {
		s.Buckets[i] = float(i + 1)
		sound = sound && s.Buckets[i]-s.Buckets[i] == 0
	}
	if !sound {
		return noSketch, fmt.Errorf("a sketch holds a value that is not finite, or a negative norm")
	}
	return s, nil
}
