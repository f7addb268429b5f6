package trace

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math"
	"strconv"
)

// JSONLRow is one row of an orch JSONL log. Values may hold only the first
// elements of the row; Width is the whole row's, 0 for len(Values).
type JSONLRow struct {
	Checkpoint string
	Position   int
	DType      DType // 0 is F32
	Width      int
	Values     []float64
	// TokenID is the id of the token at Position, nil to leave it out.
	TokenID *int32
}

// WriteJSONL writes rows as orch JSONL with the shortest digits that read back
// as the same values of the row's dtype. Infinities are written as ±1e308 and
// NaN as null, so that every line is valid JSON. A first line holds the
// metadata where meta says anything but the engine, which is each row's team;
// meta.Positions is not written, since rows say theirs.
func WriteJSONL(w io.Writer, meta Meta, rows []JSONLRow) error {
	out := bufio.NewWriter(w)
	var line bytes.Buffer
	engine := meta.Engine
	meta.Positions = nil
	kv, err := meta.metadata()
	if err != nil {
		return err
	}
	if _, named := kv["engine"]; len(kv) > 2 || len(kv) == 2 && !named {
		line.WriteString(`{"metadata":{`)
		for i, k := range sortedKeys(kv) {
			if i > 0 {
				line.WriteByte(',')
			}
			writeString(&line, k)
			line.WriteByte(':')
			if k == keyTokens {
				line.WriteString(kv[k])
			} else {
				writeString(&line, kv[k])
			}
		}
		line.WriteString("}}\n")
	}
	for i := range rows {
		if err := rows[i].write(&line, engine); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
		if _, err := line.WriteTo(out); err != nil {
			return err
		}
	}
	if _, err := line.WriteTo(out); err != nil {
		return err
	}
	return out.Flush()
}

var jsonlNames = map[DType]string{F32: "f32", F16: "f16", BF16: "bf16", F64: "f64"}

// write appends the row's line to b.
func (r *JSONLRow) write(b *bytes.Buffer, engine string) error {
	dtype, width := r.DType, r.Width
	if dtype == 0 {
		dtype = F32
	}
	if width == 0 {
		width = len(r.Values)
	}
	switch {
	case r.Checkpoint == "" || r.Position < 0 || len(r.Values) == 0 || len(r.Values) > width:
		return fmt.Errorf("checkpoint %s, position %d, %d values of %d", quote(r.Checkpoint), r.Position, len(r.Values), width)
	case jsonlNames[dtype] == "":
		return fmt.Errorf("unknown dtype: want %s", validDTypes)
	}
	b.WriteString(`{"checkpoint":`)
	writeString(b, r.Checkpoint)
	if engine != "" {
		b.WriteString(`,"team":`)
		writeString(b, engine)
	}
	fmt.Fprintf(b, `,"token_idx":%d`, r.Position)
	if r.TokenID != nil {
		fmt.Fprintf(b, `,"token_id":%d`, *r.TokenID)
	}
	fmt.Fprintf(b, `,"dtype":"%s","shape":"[%d]","values":[`, jsonlNames[dtype], width)
	size := 32
	if dtype == F64 {
		size = 64
	}
	for i, v := range r.Values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(appendValue(b.AvailableBuffer(), v, size))
	}
	b.WriteString("]}\n")
	return nil
}

// appendValue appends the shortest spelling of v: plain digits where they are
// not longer than an exponent.
func appendValue(b []byte, v float64, size int) []byte {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return append(b, "null"...)
	case math.IsInf(v, 1):
		return append(b, "1e308"...)
	case math.IsInf(v, -1):
		return append(b, "-1e308"...)
	case a != 0 && (a < 1e-4 || a >= 1e7):
		return strconv.AppendFloat(b, v, 'e', -1, size)
	}
	return strconv.AppendFloat(b, v, 'f', -1, size)
}
