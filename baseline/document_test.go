package baseline

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate"
)

// small is a document of two layers with an imprint.
func small(t testing.TB) *Document {
	t.Helper()
	r := passing(2, 1)
	return ok[*Document](t)(Record(r, imprinted(t, r, 1), here("c1")))
}

// TestRoundTrip: what is written is read back, and what is read is written again
// to the byte.
func TestRoundTrip(t *testing.T) {
	full := small(t)
	second := passing(2, 1.1)
	second.Checkpoints[0].Metrics["max_abs"] = gate.Value(math.Inf(1))
	second.Prompts[0].Name = full.Measurements[0].Prompt
	full = ok[*Document](t)(ok[*Document](t)(Record(second, imprinted(t, second, 2), here("c2"))).Follow(full, false))
	spread := full.Measurements[0].Metrics["rel_l2"]
	spread.Spread, spread.Runs = 1e-17, 5
	full.Measurements[0].Metrics["rel_l2"] = spread
	full.Measurements[1].Mark.Sketches[3] = noSketch
	full.Provenance.Reason = "a \"quoted\" <reason>\nover two lines, é and \u2028"
	for name, d := range map[string]*Document{"small": small(t), "full": full, "no imprint": ok[*Document](t)(Record(passing(3, 1), nil, Provenance{}))} {
		b := ok[[]byte](t)(d.Encode())
		back, err := Parse(b, name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if again := ok[[]byte](t)(back.Encode()); !bytes.Equal(again, b) {
			t.Errorf("%s: written again, it differs", name)
		}
		if back.Digest() != d.Digest() || back.Numbers() != d.Numbers() || back.Key != d.Key || back.Provenance != d.Provenance || back.Anchor != d.Anchor || !reflect.DeepEqual(back.History, d.History) {
			t.Errorf("%s: %+v, want %+v", name, back, d)
		}
		if fmt.Sprint(back.Measurements) != fmt.Sprint(d.Measurements) && name != "no imprint" {
			t.Errorf("%s: the measurements differ", name)
		}
		if r, err := Read(bytes.NewReader(b), name); err != nil || r.Digest() != d.Digest() {
			t.Errorf("%s: Read: %v", name, err)
		}
	}
}

// TestDocumentIsReadable: a measurement and a sketch a line, so that a diff shows
// what moved and nothing else.
func TestDocumentIsReadable(t *testing.T) {
	a := small(t)
	b := small(t)
	m := b.Measurements[1].Metrics["rel_l2"]
	m.Value = 0.5
	b.Measurements[1].Metrics["rel_l2"] = m
	x, y := strings.Split(string(ok[[]byte](t)(a.Encode())), "\n"), strings.Split(string(ok[[]byte](t)(b.Encode())), "\n")
	var differ []string
	for i := range x {
		if x[i] != y[i] {
			differ = append(differ, strings.TrimSpace(y[i]))
		}
	}
	if len(x) != len(y) || len(differ) != 2 || !strings.HasPrefix(differ[0], `"digest"`) || !strings.HasPrefix(differ[1], `"rel_l2": {"value": 0.5,`) {
		t.Errorf("%q", differ)
	}
	longest := 0
	for _, l := range x {
		longest = max(longest, len(l))
	}
	if longest > 250 {
		t.Errorf("a line of %d bytes", longest)
	}
}

// TestParseRefuses: whatever is wrong with a file is an error that says what and
// where, and never a document.
func TestParseRefuses(t *testing.T) {
	whole := string(ok[[]byte](t)(small(t).Encode()))
	sketch := strings.Trim(string(small(t).Measurements[0].Mark.Sketches[0].append(nil)), `"`)
	replace := func(old, to string) string {
		if !strings.Contains(whole, old) {
			t.Fatalf("%q is not in the document", old)
		}
		return strings.Replace(whole, old, to, 1)
	}
	// sealed gives the digest that a careful forger would write.
	sealed := func(change func(*Document)) string {
		d := small(t)
		change(d)
		b, _ := d.encode()
		return string(b)
	}
	for _, c := range []struct{ name, data, want string }{
		{"nothing", "", "b.json:1: the file is empty"},
		{"white space", " \n\n", "the file is empty"},
		{"text", "hello", "b.json:1: no JSON"},
		{"a list", "[1]", "it lacks the number"},
		{"a number", "17", "no JSON object"},
		{"another file", `{"version": 1, "outcome": "pass"}`, "no baseline of paritygate"},
		{"a later version", replace(`"paritygate_baseline": 1`, `"paritygate_baseline": 2`), "version 2 of the format: this paritygate reads version 1"},
		{"a later version with other fields", `{"paritygate_baseline": 3, "new": []}`, "version 3 of the format"},
		{"no version", replace(`"paritygate_baseline": 1`, `"paritygate_baseline": "1"`), "lacks the number"},
		{"cut off", whole[:len(whole)/2], "cut off"},
		{"without the last line", whole[:len(whole)-2], "cut off"},
		{"without the line break", whole[:len(whole)-1], "not as paritygate writes it"},
		{"twice", whole + whole, "more behind the end"},
		{"a byte behind", whole + "x", "more behind the end"},
		{"a value", replace(`"value": 0.001,`, `"value": 0.0009,`), "damaged or changed by hand: its digest says"},
		{"a commit", replace(`"c1"`, `"c2"`), "damaged or changed by hand"},
		{"who approved", replace(`"approved_by": ""`, `"approved_by": "ada"`), "damaged or changed by hand"},
		{"the digest", replace(`"digest": "`, `"digest": "0`), "damaged or changed by hand"},
		{"no digest", replace(`"digest": "`+small(t).Digest()+`"`, `"digest": ""`), `its digest says "", what it holds`},
		{"a sketch", replace(sketch, sketch[:9]+"A"+sketch[10:]), "damaged"},
		{"a key twice", replace(`"rows": 24,`, `"rows": 24, "rows": 24,`), `b.json:47: the key "rows" is there twice`},
		{"a metric twice", replace(`"max_abs": `, `"rel_l2": `), `the key "rel_l2" is there twice`},
		{"an unknown key", replace(`"rows": 24,`, `"rows": 24, "lines": 3,`), `b.json:47: unknown key "lines"`},
		{"another case", replace(`"rows": 24,`, `"Rows": 24,`), "b.json:47: not as paritygate writes it"},
		{"a wrong type", replace(`"rows": 24,`, `"rows": "24",`), "b.json:47: measurements.rows is string"},
		{"null", replace(`"measurements": [`, `"measurements": null, "x": [`), "unknown key"},
		{"line endings", strings.ReplaceAll(whole, "\n", "\r\n"), "b.json:1: not as paritygate writes it"},
		{"indented by a tool", replace(`      "max_abs"`, `        "max_abs"`), "not as paritygate writes it"},
		{"another number of the same value", replace(`"value": 0.001,`, `"value": 1e-3,`), "not as paritygate writes it"},
		{"no UTF-8", replace(`"c1"`, "\"\xff\""), "damaged"},
		{"deep", strings.Repeat("[", 100), "nested deeper"},
		{"deep in objects", strings.Repeat(`{"a":`, 100), "nested deeper"},
		{"comma", replace(`"rows": 24,`, `"rows": 24,,`), "b.json:47: no JSON"},
		// Sealed with a digest of its own: still no document.
		{"no measurement", sealed(func(d *Document) { d.Measurements = nil }), "0 measurements: a baseline has 1 to"},
		{"no history", sealed(func(d *Document) { d.History = nil }), "a history of 0 runs"},
		{"a long history", sealed(func(d *Document) { d.History = make([]Accepted, MaxHistory+1) }), "a history of 31 runs"},
		{"NaN", sealed(func(d *Document) { set(d, func(m *Metric) { m.Value = gate.Value(math.NaN()) }) }), "rel_l2 is not a number"},
		{"no anchor", sealed(func(d *Document) { set(d, func(m *Metric) { m.Anchor = gate.Value(math.NaN()) }) }), "rel_l2 is not a number"},
		{"a spread of one run", sealed(func(d *Document) { set(d, func(m *Metric) { m.Spread = 1 }) }), "the spread of rel_l2"},
		{"no spread of two runs", sealed(func(d *Document) { set(d, func(m *Metric) { m.Runs = 2 }) }), "the spread of rel_l2"},
		{"a negative spread", sealed(func(d *Document) { set(d, func(m *Metric) { m.Runs, m.Spread = 2, -1 }) }), "the spread of rel_l2"},
		{"an infinite spread", sealed(func(d *Document) { set(d, func(m *Metric) { m.Runs, m.Spread = 2, gate.Value(math.Inf(1)) }) }), "the spread of rel_l2"},
		{"no runs", sealed(func(d *Document) { set(d, func(m *Metric) { m.Runs = 0 }) }), "over 0 runs"},
		{"more values than runs", sealed(func(d *Document) { set(d, func(m *Metric) { m.History = make([]gate.Value, 2) }) }), "2 values in a history of 1"},
		{"no values", sealed(func(d *Document) { set(d, func(m *Metric) { m.History = nil }) }), "0 values in a history"},
		{"a NaN in the past", sealed(func(d *Document) { set(d, func(m *Metric) { m.History[0] = gate.Value(math.NaN()) }) }), "the history of rel_l2"},
		{"an unknown metric", sealed(func(d *Document) { d.Measurements[0].Metrics["psnr"] = d.Measurements[0].Metrics["rel_l2"] }), `measurement 1 (haiku/layer_0_output): unknown metric "psnr"`},
		{"the same place twice", sealed(func(d *Document) { d.Measurements[1].Checkpoint = d.Measurements[0].Checkpoint }), "measurement 2 (haiku/layer_0_output): it is there twice"},
		{"prompts out of order", sealed(func(d *Document) { d.Measurements[1].Prompt = "a" }), "prompts come in the order"},
		{"no rows", sealed(func(d *Document) { d.Measurements[0].Rows = 0 }), "rows and a width"},
		{"no width", sealed(func(d *Document) { d.Measurements[0].Width = -1 }), "rows and a width"},
		{"no name", sealed(func(d *Document) { d.Measurements[0].Checkpoint = "" }), "rows and a width"},
		{"a long name", sealed(func(d *Document) { d.Measurements[0].Checkpoint = strings.Repeat("x", maxText+1) }), "at most 4096 bytes"},
		{"a short fingerprint", sealed(func(d *Document) { d.Measurements[0].Mark.Fingerprint = "ab" }), "32 hex digits"},
		{"sketches of other rows", sealed(func(d *Document) { d.Measurements[0].Rows = 3 }), "16 positions and 17 sketches, where 3 rows have 3 and 3"},
		{"a sketch too few", sealed(func(d *Document) { m := &d.Measurements[0].Mark; m.Sketches = m.Sketches[1:] }), "16 sketches"},
		{"positions that fall", sealed(func(d *Document) { p := d.Measurements[0].Mark.Positions; p[3], p[4] = p[4], p[3] }), "positions ascend"},
		{"a position twice", sealed(func(d *Document) { p := d.Measurements[0].Mark.Positions; p[4] = p[3] }), "positions ascend"},
		{"a negative position", sealed(func(d *Document) { d.Measurements[0].Mark.Positions[0] = -1 }), "positions ascend"},
		{"an infinite sketch", sealed(func(d *Document) { d.Measurements[0].Mark.Sketches[2].Buckets[31] = float32(math.Inf(1)) }), "sketch 3: a sketch holds a value that is not finite"},
		{"a negative norm", sealed(func(d *Document) { d.Measurements[0].Mark.Sketches[0].Norm2 = -1 }), "sketch 1: "},
		{"a short sketch", replace(sketch, "AAAA"), "measurement 1 (haiku/layer_0_output), sketch 1: a sketch is 132 bytes in base64"},
		{"a date", sealed(func(d *Document) { d.Provenance.Date = "yesterday" }), `"yesterday" is no date`},
		{"a date of the history", sealed(func(d *Document) { d.History[0].Date = "1" }), "is no date"},
		{"an anchor's digest", sealed(func(d *Document) { d.Anchor.Digest = "x" }), "64 hex digits"},
		{"prompts", sealed(func(d *Document) { d.Key.Prompts = "x" }), "64 hex digits"},
		{"a long reason", sealed(func(d *Document) { d.Provenance.Reason = strings.Repeat("x", maxText+1) }), "provenance: a text has at most"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := Parse([]byte(c.data), "b.json")
			if d != nil || err == nil {
				t.Fatalf("accepted")
			}
			var e *Error
			if !errors.As(err, &e) || e.Name != "b.json" || len(err.Error()) > 300 {
				t.Errorf("%T %v", err, err)
			}
			has(t, err.Error(), c.want)
		})
	}
	if _, err := Parse(make([]byte, MaxDocument+1), "b.json"); err == nil || !strings.Contains(err.Error(), "no baseline needs") {
		t.Errorf("a huge file: %v", err)
	}
	if _, err := Read(brokenReader{}, "b.json"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a reader that fails: %v", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// set changes rel_l2 of the first measurement.
func set(d *Document, change func(*Metric)) {
	m := d.Measurements[0].Metrics["rel_l2"]
	m.History = append([]gate.Value{}, m.History...)
	change(&m)
	d.Measurements[0].Metrics["rel_l2"] = m
}

// TestEveryByteCounts: no byte of a document can be changed, left out or written
// twice unseen.
func TestEveryByteCounts(t *testing.T) {
	r := passing(1, 1)
	r.Checkpoints[0].Rows = 1
	b := ok[[]byte](t)(ok[*Document](t)(Record(r, imprinted(t, r, 1), here("c1"))).Encode())
	for i := range b {
		changed := bytes.Clone(b)
		changed[i] ^= 1 << (i % 7)
		if _, err := Parse(changed, "b"); err == nil {
			t.Fatalf("byte %d may be %q instead of %q", i, changed[i], b[i])
		}
		if i%5 > 0 {
			continue
		}
		if _, err := Parse(append(bytes.Clone(b[:i]), b[i+1:]...), "b"); err == nil {
			t.Fatalf("byte %d may be left out", i)
		}
		if _, err := Parse(append(bytes.Clone(b[:i+1]), b[i:]...), "b"); err == nil {
			t.Fatalf("byte %d may be there twice", i)
		}
		if _, err := Parse(b[:i], "b"); err == nil {
			t.Fatalf("it may end at byte %d", i)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	d := small(t)
	d.Measurements[0].Rows = 0
	if b, err := d.Encode(); err == nil || b != nil {
		t.Error("a document was written that could not be read")
	}
}

// TestDocumentNeverChanges: documents of this version are read as long as there
// is one, and written as they always were.
func TestDocumentNeverChanges(t *testing.T) {
	r := passing(1, 1)
	r.Checkpoints[0].Rows = 2
	d := ok[*Document](t)(Record(r, imprinted(t, r, 1), here("c1")))
	path := filepath.Join("testdata", "v1.json")
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := ok[[]byte](t)(d.Encode()); !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s", path, got)
	}
	if _, err := Parse(want, path); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	whole, err := small(f).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/3])
	f.Add([]byte(`{"paritygate_baseline": 1}`))
	f.Add([]byte(`{"paritygate_baseline": 2, "a": {"b": [1, null, "x"]}}`))
	f.Add([]byte(`[{"a":1,"a":2}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Parse(data, "fuzz")
		if err == nil {
			if again, e := d.Encode(); e != nil || !bytes.Equal(again, data) {
				t.Errorf("accepted, and written again it is another: %v", e)
			}
			return
		}
		var e *Error
		if d != nil || !errors.As(err, &e) || e.Msg == "" {
			t.Errorf("%T %v", err, err)
		}
	})
}
