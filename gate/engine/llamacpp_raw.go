package engine

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/paritygate/paritygate/gate/trace"
)

// Kinds of the records that probe/shim.c writes.
const (
	rawTokens = iota + 1
	rawOutputs
	rawTensorRecord
	rawPositions
	rawProblem
	rawLibrary
)

const (
	rawHead      = 40
	rawMaxName   = 8192
	rawMaxTokens = 1 << 24
)

// rawRun is an index of what the shim captured in one process; the values stay
// in the file.
type rawRun struct {
	path     string
	library  string // path of libllama
	ggml     string // ggml's version and commit
	problems []string
	evals    []*rawEval
}

// rawEval is one evaluated piece of a batch: a ubatch.
type rawEval struct {
	scheduler uint32
	tokens    []int32
	positions []int32 // nil when the library gave their tensor no name
	outputs   []int32 // indices of the tokens that have outputs; nil for all
	tensors   []rawTensor
}

// rawTensor are the rows of one checkpoint of a ubatch.
type rawTensor struct {
	name    string // canonical
	width   int64
	rows    int64
	element uint32
	at      int64 // of the first value in the file
}

// rawNames are llama.cpp's names beyond those that every trace may use.
var rawNames = regexp.MustCompile(`^(?:inpL|inp_scaled)$`)

var rawMoE = regexp.MustCompile(`^ffn_moe_out-0*(\d+)$`)

func rawName(name string) string {
	if rawNames.MatchString(name) {
		return "embedding"
	}
	if rawMoE.MatchString(name) {
		return rawMoE.ReplaceAllString(name, "layer_${1}_ffn_output")
	}
	return trace.Canonical(name)
}

// readRaw reads the index of a raw file. The program may have been killed while
// writing: a record that is cut off at the end is left out.
func readRaw(path string) (*rawRun, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	run := &rawRun{path: path}
	if err := run.index(f, fi.Size()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return run, nil
}

// rawRecord is one record's head.
type rawRecord struct {
	kind, scheduler, element uint32
	name                     string
	width, rows, bytes       int64
	at                       int64 // of the data
}

func (run *rawRun) index(f io.ReadSeeker, size int64) error {
	open := map[uint32]*rawEval{} // the ubatch that each scheduler computes
	r := bufio.NewReaderSize(f, 64<<10)
	for at := int64(0); at+rawHead <= size; {
		rec, err := readRawRecord(r, at, size)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("byte %d: %w", at, err)
		}
		var ids []int32
		if rec.kind == rawTokens || rec.kind == rawOutputs || rec.kind == rawPositions {
			if ids, err = readRawIDs(r, rec); err != nil {
				return fmt.Errorf("byte %d: %w", at, err)
			}
		} else if err := skipRaw(r, f, rec); err != nil {
			return err
		}
		run.add(open, rec, ids)
		at = rec.at + rec.bytes
	}
	return nil
}

// skipRaw passes a record's values.
func skipRaw(r *bufio.Reader, f io.Seeker, rec rawRecord) error {
	if rec.bytes <= int64(r.Buffered()) {
		_, err := r.Discard(int(rec.bytes))
		return err
	}
	if _, err := f.Seek(rec.at+rec.bytes, io.SeekStart); err != nil {
		return err
	}
	r.Reset(f.(io.Reader))
	return nil
}

// readRawRecord reads the head at offset at of a file of that size.
// io.ErrUnexpectedEOF: the record does not end within the file.
func readRawRecord(r io.Reader, at, size int64) (rawRecord, error) {
	var head [rawHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return rawRecord{}, err
	}
	le := binary.LittleEndian
	rec := rawRecord{kind: le.Uint32(head[0:]), scheduler: le.Uint32(head[4:]), element: le.Uint32(head[12:]),
		width: int64(le.Uint64(head[16:])), rows: int64(le.Uint64(head[24:])), bytes: int64(le.Uint64(head[32:]))}
	n := le.Uint32(head[8:])
	switch {
	case rec.kind < rawTokens || rec.kind > rawLibrary:
		return rec, fmt.Errorf("record of unknown kind %d", rec.kind)
	case n > rawMaxName:
		return rec, fmt.Errorf("a name of %d bytes", n)
	case rec.bytes < 0 || rec.width < 0 || rec.rows < 0 || rec.width > math.MaxInt32 || rec.rows > rawMaxTokens || rec.element > 16:
		return rec, fmt.Errorf("%d rows of %d in %d bytes", rec.rows, rec.width, rec.bytes)
	case rec.kind == rawTensorRecord && rec.rows*rec.width*int64(rec.element) != rec.bytes:
		return rec, fmt.Errorf("%d rows of %d values of %d bytes in %d bytes", rec.rows, rec.width, rec.element, rec.bytes)
	}
	rec.at = at + rawHead + int64(n)
	if rec.at > size || rec.bytes > size-rec.at {
		return rec, io.ErrUnexpectedEOF
	}
	name := make([]byte, n)
	if _, err := io.ReadFull(r, name); err != nil {
		return rec, err
	}
	rec.name = string(name)
	return rec, nil
}

func readRawIDs(r io.Reader, rec rawRecord) ([]int32, error) {
	if rec.bytes%4 != 0 || rec.bytes > 4*rawMaxTokens {
		return nil, fmt.Errorf("%s of %d bytes", rec.name, rec.bytes)
	}
	ids := make([]int32, rec.bytes/4)
	return ids, binary.Read(r, binary.LittleEndian, ids)
}

// add puts a record into the ubatch that it belongs to.
func (run *rawRun) add(open map[uint32]*rawEval, rec rawRecord, ids []int32) {
	e := open[rec.scheduler]
	switch rec.kind {
	case rawLibrary:
		run.library, run.ggml, _ = strings.Cut(rec.name, "\n")
		run.ggml = strings.TrimSpace(run.ggml)
	case rawProblem:
		run.problems = append(run.problems, rec.name)
	case rawTokens:
		if e == nil || len(e.tensors) > 0 { // a graph that looks its tokens up twice does so before any result
			e = &rawEval{scheduler: rec.scheduler}
			open[rec.scheduler] = e
			run.evals = append(run.evals, e)
		}
		e.tokens = ids
	case rawPositions:
		if e != nil {
			e.positions = ids[:min(len(ids), len(e.tokens))]
		}
	case rawOutputs:
		if e != nil {
			e.outputs = ids
		}
	case rawTensorRecord:
		if e != nil { // an image's rows or the like come without tokens
			e.tensors = append(e.tensors, rawTensor{rawName(rec.name), rec.width, rec.rows, rec.element, rec.at})
		}
	}
}

// starts says that e may be the first piece of a prompt: its positions begin at
// 0, or are not known.
func (e *rawEval) starts() bool { return len(e.positions) == 0 || e.positions[0] == 0 }

// follows says that e's positions go on at position n of the same sequence.
func (e *rawEval) follows(n int) bool {
	return len(e.positions) == 0 || int(e.positions[0]) == n
}

// sequence collects, from the ubatch i on, the pieces of one prompt in the same
// scheduler whose positions follow one another, until they hold most tokens
// (0: as long as they do).
func (run *rawRun) sequence(i, most int) (evals []*rawEval, tokens []int32) {
	first := run.evals[i]
	for _, e := range run.evals[i:] {
		if e.scheduler != first.scheduler {
			continue
		}
		if len(evals) > 0 && !e.follows(len(tokens)) || most > 0 && len(tokens) >= most {
			break
		}
		evals, tokens = append(evals, e), append(tokens, e.tokens...)
	}
	return evals, tokens
}

// find returns the pieces that evaluated want from position 0 on; the last such
// run, since programs warm up first. Without want it is the longest.
func (run *rawRun) find(want []int32) (evals []*rawEval, tokens []int32) {
	for i, e := range run.evals {
		if !e.starts() {
			continue
		}
		s, t := run.sequence(i, len(want))
		switch {
		case len(want) == 0 && len(t) >= len(tokens):
			evals, tokens = s, t
		case len(want) > 0 && len(t) >= len(want) && equalIDs(t[:len(want)], want):
			evals, tokens = s, want
		}
	}
	return evals, tokens
}

func equalIDs(a, b []int32) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// describe lists what was evaluated, for the error that nothing fits.
func (run *rawRun) describe() string {
	const most = 4
	var parts []string
	for i, e := range run.evals {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(run.evals)-most))
			break
		}
		ids := e.tokens
		dots := ""
		if len(ids) > 8 {
			ids, dots = ids[:8], "…"
		}
		at := ""
		if len(e.positions) > 0 {
			at = " at position " + strconv.Itoa(int(e.positions[0]))
		}
		parts = append(parts, fmt.Sprintf("[%s%s]%s", joinTokens(ids), dots, at))
	}
	return strings.Join(parts, ", ")
}
