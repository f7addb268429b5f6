package trace

import (
	"math"
	"slices"
	"sort"
	"strings"
)

// OrchJSONL documents the format.

// jsonlRow says where the values of a row lie.
type jsonlRow struct {
	in       *input
	offset   int64 // of the text between the brackets
	length   int64
	line     int
	column   int // of offset
	count    int // values
	position int
}

// jsonlCheckpoint is the rows of one checkpoint over all files.
type jsonlCheckpoint struct {
	source string
	dtype  DType
	width  int
	rows   []jsonlRow
}

// jsonlLine is what one line says.
type jsonlLine struct {
	jsonlRow
	checkpoint string
	team       string
	dtype      DType
	width      int // −1 where shape is missing
	tokenID    int64
	keys       int // bit set of known keys that were read
	columns    [keyCount]int
	metadata   *metaSet
}

// The known keys of a line.
const (
	jsonCheckpoint = iota
	jsonTokenIdx
	jsonValues
	jsonTeam
	jsonSource
	jsonDType
	jsonShape
	jsonTokenID
	jsonMetadata
	keyCount
)

var jsonlKeys = [keyCount]string{"checkpoint", "token_idx", "values", "team", "source", "dtype", "shape", "token_id", "metadata"}

func (l *jsonlLine) has(key int) bool { return l.keys>>key&1 != 0 }

var jsonlDTypes = map[string]DType{
	"f32": F32, "f16": F16, "bf16": BF16, "f64": F64,
	"float32": F32, "float16": F16, "bfloat16": BF16, "float64": F64,
}

// indexJSONL reads a file once and takes its rows into the index.
func (b *builder) indexJSONL(in *input) error {
	s := newLineScanner(in, b.opt)
	for {
		l, err := s.next()
		if err != nil {
			return err
		}
		if l == nil {
			return nil
		}
		if l.metadata != nil {
			if err := b.trace.Meta.agree(&l.metadata.Meta); err != nil {
				return s.errorAt(1, "%v", err)
			}
			continue
		}
		if err := b.addRow(s, l); err != nil {
			return err
		}
	}
}

// addRow takes one line into the index.
func (b *builder) addRow(s *lineScanner, l *jsonlLine) error {
	for _, key := range []int{jsonCheckpoint, jsonTokenIdx, jsonValues} {
		if !l.has(key) {
			return s.errorAt(1, "row has no %q: a row has checkpoint, token_idx and values", jsonlKeys[key])
		}
	}
	width := l.width
	if width < 0 {
		width = l.count
	}
	if l.count > width {
		return s.errorAt(l.columns[jsonValues], "%d values in a row that is %d wide", l.count, width)
	}
	if width > b.opt.MaxWidth {
		return s.errorAt(l.columns[jsonShape], "row of %d elements, more than the bound of %d", width, b.opt.MaxWidth)
	}
	c := b.byName[l.checkpoint]
	if c == nil {
		if b.byName == nil {
			b.byName = map[string]*jsonlCheckpoint{}
		}
		c = &jsonlCheckpoint{source: l.checkpoint, dtype: l.dtype, width: width}
		b.byName[l.checkpoint] = c
		b.jsonl = append(b.jsonl, c)
	}
	switch {
	case width != c.width:
		return s.errorAt(l.columns[jsonShape], "row of checkpoint %s is %d wide, its first row (%s) %d", quote(c.source), width, c.rows[0].where(), c.width)
	case l.dtype != c.dtype:
		return s.errorAt(l.columns[jsonDType], "row of checkpoint %s is %s, its first row (%s) %s", quote(c.source), l.dtype, c.rows[0].where(), c.dtype)
	case len(c.rows) == b.opt.MaxRows:
		return s.errorAt(1, "checkpoint %s has more rows than the bound of %d", quote(c.source), b.opt.MaxRows)
	}
	c.rows = append(c.rows, l.jsonlRow)
	return b.addLineMeta(s, l)
}

// addLineMeta takes the engine and the token of a line.
func (b *builder) addLineMeta(s *lineScanner, l *jsonlLine) error {
	if l.team != "" && l.team != b.team {
		if b.team != "" {
			return s.errorAt(max(l.columns[jsonTeam], l.columns[jsonSource]), "row is of engine %s, earlier rows of %s: a trace is of one engine", quote(l.team), quote(b.team))
		}
		b.team = l.team
	}
	if !l.has(jsonTokenID) {
		return nil
	}
	if b.tokenID == nil {
		b.tokenID = map[int]int32{}
	}
	if old, ok := b.tokenID[l.position]; ok && int64(old) != l.tokenID {
		return s.errorAt(l.columns[jsonTokenID], "token_id at position %d is %d, an earlier row says %d", l.position, l.tokenID, old)
	}
	if tokens := b.trace.Meta.Tokens; tokens != nil && (l.position >= len(tokens) || int64(tokens[l.position]) != l.tokenID) {
		return s.errorAt(l.columns[jsonTokenID], "token_id %d at position %d contradicts the tokens of the metadata", l.tokenID, l.position)
	}
	b.tokenID[l.position] = int32(l.tokenID)
	return nil
}

// finishJSONL makes the checkpoints of the index.
func (b *builder) finishJSONL() error {
	m := &b.trace.Meta
	if m.Engine == "" {
		m.Engine = b.team
	}
	if err := b.tokensOfRows(); err != nil {
		return err
	}
	for _, j := range b.jsonl {
		sort.SliceStable(j.rows, func(i, k int) bool { return j.rows[i].position < j.rows[k].position })
		stored := j.rows[0].count
		positions := make([]int, len(j.rows))
		for i := range j.rows {
			r := &j.rows[i]
			stored = min(stored, r.count)
			positions[i] = r.position
			if i > 0 && j.rows[i-1].position == r.position {
				return &Error{Path: r.in.path, Offset: r.offset, Line: r.line, Msg: "checkpoint " + quote(j.source) + " holds position " +
					itoa(r.position) + " twice, here and in " + j.rows[i-1].where()}
			}
		}
		if slices.Equal(positions, b.count(len(positions))) {
			positions = b.count(len(positions))
		}
		b.trace.Checkpoints = append(b.trace.Checkpoints, &Checkpoint{
			Name: canonical(j.source, b.opt.Names), Source: j.source, DType: j.dtype,
			Width: j.width, Stored: stored, Positions: positions, path: j.rows[0].in.path,
			rows: func() RowReader { return &jsonlReader{c: j, stored: stored} },
		})
	}
	return nil
}

// tokensOfRows makes the prompt of the rows' token ids, when they name all up
// to the last.
func (b *builder) tokensOfRows() error {
	m := &b.trace.Meta
	for p, id := range b.tokenID {
		if m.Tokens != nil && (p >= len(m.Tokens) || m.Tokens[p] != id) {
			return fileError(b.trace.Path, "token_id of a row in an earlier shard contradicts the tokens of the metadata")
		}
	}
	if m.Tokens != nil {
		return nil
	}
	tokens := make([]int32, 0, len(b.tokenID))
	for p := range len(b.tokenID) {
		id, ok := b.tokenID[p]
		if !ok {
			return nil
		}
		tokens = append(tokens, id)
	}
	for _, j := range b.jsonl { // a row beyond them has a token that is not known
		for _, r := range j.rows {
			if r.position >= len(tokens) {
				return nil
			}
		}
	}
	m.Tokens = tokens
	return nil
}

func (r *jsonlRow) where() string { return r.in.path + ":" + itoa(r.line) }

// parseKey reads the value of a known key of a line, all but values.
func (l *jsonlLine) parseKey(c *cursor, key int) *fault {
	c.space()
	at := c.i
	switch key {
	case jsonCheckpoint:
		s, f := c.str("the checkpoint's name")
		if f == nil && len(s) == 0 {
			f = faultAt(at, "checkpoint has an empty name")
		}
		l.checkpoint = string(s)
		return f
	case jsonTeam, jsonSource:
		s, f := c.str("the engine's name")
		if key == jsonTeam || l.team == "" {
			l.team = string(s)
		}
		return f
	case jsonDType:
		s, f := c.str("the dtype")
		if f != nil {
			return f
		}
		if l.dtype = jsonlDTypes[strings.ToLower(string(s))]; l.dtype == 0 {
			return faultAt(at, "unknown dtype %s: want f32, f16, bf16 or f64", quote(s))
		}
		return nil
	case jsonTokenIdx:
		v, f := c.integer("token_idx, an integer")
		if f == nil && (v < 0 || v > math.MaxInt32) {
			f = faultAt(at, "token_idx %d is not between 0 and %d", v, math.MaxInt32)
		}
		l.position = int(v)
		return f
	case jsonTokenID:
		v, f := c.integer("token_id, an integer")
		if f == nil && (v < 0 || v > math.MaxInt32) {
			f = faultAt(at, "token_id %d is not between 0 and %d", v, math.MaxInt32)
		}
		l.tokenID = v
		return f
	case jsonShape:
		return l.parseShape(c)
	}
	l.metadata = &metaSet{}
	return parseMetadataLine(c, l.metadata)
}

// parseShape reads a shape: an array, or a string that holds one.
func (l *jsonlLine) parseShape(c *cursor) *fault {
	at := c.i
	var shape []int64
	var f *fault
	if c.peek() == '"' {
		var s []byte
		if s, f = c.str("the shape"); f != nil {
			return f
		}
		in := cursor{b: s, line: true}
		shape, f = in.integers("shape", math.MaxInt32)
		if f != nil || in.peek() != 0 {
			return faultAt(at, "shape %s is no array of integers such as \"[1,4096]\"", quote(s))
		}
	} else if shape, f = c.integers("shape", math.MaxInt32); f != nil {
		return f
	}
	if len(shape) == 0 {
		return faultAt(at, "shape is empty: want [width] or [1, width]")
	}
	for _, d := range shape[:len(shape)-1] {
		if d != 1 {
			return faultAt(at, "shape %v is of more than one row: want [width] or [1, width]", shape)
		}
	}
	l.width = int(shape[len(shape)-1])
	return nil
}

// parseMetadataLine reads the object of a metadata line. Values are strings;
// tokens may be an array.
func parseMetadataLine(c *cursor, m *metaSet) *fault {
	if f := c.expect('{', "the metadata object"); f != nil {
		return f
	}
	for first := true; ; first = false {
		more, f := c.more(first, '}')
		if f != nil || !more {
			return f
		}
		c.space()
		at := c.i
		k, f := c.str("a metadata key")
		if f == nil {
			f = c.expect(':', "':'")
		}
		if f != nil {
			return f
		}
		key := string(k)
		if strings.HasPrefix(key, keyPositions) {
			return faultAt(at, "metadata %s in JSONL: each row says its position", quote(key))
		}
		var value []byte
		c.space()
		if start := c.i; key == keyTokens && c.peek() == '[' {
			f = c.skip(0)
			value = c.b[start:c.i]
		} else {
			value, f = c.str("a string")
		}
		if f != nil {
			return f
		}
		if err := m.set(key, string(value)); err != nil {
			return faultAt(at, "%v", err)
		}
	}
}
