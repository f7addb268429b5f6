package baseline

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/paritygate/paritygate/gate"
)

// Encode returns the document's bytes: the same for the same content, a
// measurement and a sketch a line, so that a diff shows what moved. It refuses
// what Parse would.
func (d *Document) Encode() ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	b, _ := d.encode()
	if len(b) > MaxDocument {
		return nil, fmt.Errorf("the document has %d bytes, more than %d", len(b), MaxDocument)
	}
	return b, nil
}

// encode writes the document and returns its digest, which is that of the bytes
// with an empty one in its place.
func (d *Document) encode() ([]byte, string) {
	w := &writer{}
	w.line("{")
	w.line(`  "paritygate_baseline": %d,`, Version)
	w.WriteString(`  "digest": "`)
	at := w.Len()
	w.line(`",`)
	w.line(`  "key": %s,`, indented(d.Key))
	w.line(`  "provenance": %s,`, indented(d.Provenance))
	w.line(`  "anchor": %s,`, indented(d.Anchor))
	w.list("  ", "history", len(d.History), func(i int) { w.Write(plain(d.History[i])) })
	w.line(",")
	w.list("  ", "measurements", len(d.Measurements), func(i int) { w.measurement(&d.Measurements[i]) })
	w.line("")
	w.line("}")
	sum := sha256.Sum256(w.Bytes())
	digest := hex.EncodeToString(sum[:])
	return slices.Insert(w.Bytes(), at, []byte(digest)...), digest
}

// writer writes JSON where line breaks matter.
type writer struct{ bytes.Buffer }

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
	var line []byte
	for i, name := range slices.Sorted(maps.Keys(m.Metrics)) {
		if i > 0 {
			w.WriteByte(',')
		}
		line = append(append(line[:0], "\n      "...), quoted(name)...)
		w.Write(m.Metrics[name].append(append(line, ": "...)))
	}
	w.line("},")
	w.line(`     "positions": %s,`, plain(append([]int{}, m.Mark.Positions...)))
	w.list("     ", "sketches", len(m.Mark.Sketches), func(i int) { w.Write(m.Mark.Sketches[i].append(w.AvailableBuffer())) })
	w.WriteByte('}')
}

// append writes a metric on one line.
func (v Metric) append(b []byte) []byte {
	b = appendValue(append(b, `{"value": `...), v.Value)
	b = appendValue(append(b, `, "spread": `...), v.Spread)
	b = strconv.AppendInt(append(b, `, "runs": `...), int64(v.Runs), 10)
	b = appendValue(append(b, `, "anchor": `...), v.Anchor)
	b = append(b, `, "history": [`...)
	for i, x := range v.History {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendValue(b, x)
	}
	return append(b, "]}"...)
}

// appendValue writes the shortest number that reads back as v, as gate.Value
// writes what is no number.
func appendValue(b []byte, v gate.Value) []byte {
	f := float64(v)
	if f-f == 0 {
		return strconv.AppendFloat(b, f, 'g', -1, 64)
	}
	return append(strconv.AppendFloat(append(b, '"'), f, 'g', -1, 64), '"')
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

// append writes the sketch in base64, or "" where there is none, in quotes.
func (s *Sketch) append(to []byte) []byte {
	if !s.Valid() {
		return append(to, `""`...)
	}
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, sketchBytes), math.Float32bits(s.Norm2))
	for _, v := range s.Buckets {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return append(base64.StdEncoding.AppendEncode(append(to, '"'), b), '"')
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
