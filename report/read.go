package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/paritygate/paritygate/gate"
)

// maxResult bounds what Read takes: about a hundred thousand checkpoints.
const maxResult = 256 << 20

// Read reads and validates a results.json.
//
// It refuses another version, a file over 256 MB, double keys, keys in another
// case, missing keys, words outside a field's fixed set, an exit code that does
// not belong to the outcome, and a pass with a failed, a required missing or no
// measured checkpoint. Unknown keys are skipped: a later program of the same version may have added them.
// Errors begin with the file's name, when r has one, line, column and byte
// offset: "results.json:12:5 (byte 345): checkpoints[3].status: …".
func Read(r io.Reader) (*gate.Result, error) { return readAtMost(r, maxResult) }

func readAtMost(r io.Reader, limit int64) (*gate.Result, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", nameOf(r), err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: larger than %d MB, no result is", nameOf(r), limit>>20)
	}
	res, err := parse(data)
	if err != nil {
		return nil, locate(nameOf(r), data, err)
	}
	return res, nil
}

// nameOf returns the name of an *os.File and the like.
func nameOf(r io.Reader) string {
	if f, ok := r.(interface{ Name() string }); ok {
		return f.Name()
	}
	return "results"
}

// locate adds file, line, column and byte offset to an error that has one.
func locate(name string, data []byte, err error) error {
	var p *positioned
	if !errors.As(err, &p) {
		return fmt.Errorf("%s: %w", name, err)
	}
	before := data[:min(p.offset, int64(len(data)))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Errorf("%s:%d:%d (byte %d): %w", name, line, column, p.offset, err)
}

func parse(data []byte) (*gate.Result, error) {
	if err := checkVersion(data); err != nil {
		return nil, err
	}
	if err := check(data); err != nil {
		return nil, err
	}
	res := new(gate.Result)
	if err := json.Unmarshal(data, res); err != nil {
		return nil, err
	}
	return res, consistent(res)
}

// checkVersion comes first: a file of another version is told so, not that its
// keys are wrong.
func checkVersion(data []byte) error {
	var v struct {
		Version *json.Number `json:"version"`
	}
	// Errors are left to check, which says where.
	if json.Unmarshal(data, &v) == nil && v.Version != nil && v.Version.String() != "1" {
		return fmt.Errorf("results version %s: this program reads version %d", short(v.Version.String()), Version)
	}
	return nil
}

// consistent refuses results that contradict themselves: a report drawn from
// one would have a headline that its table denies.
func consistent(r *gate.Result) error {
	if r.ExitCode != r.Outcome.ExitCode() {
		return fmt.Errorf("exit_code %d: outcome %s has %d", r.ExitCode, r.Outcome, r.Outcome.ExitCode())
	}
	if r.Outcome != gate.Pass {
		return nil
	}
	measured := 0
	for i, c := range r.Checkpoints {
		switch c.Status {
		case gate.Failed:
			return fmt.Errorf("outcome pass, but checkpoints[%d] (%s) failed", i, short(c.Name))
		case gate.Passed, gate.Warned:
			measured++
		}
	}
	if measured == 0 {
		return errors.New("outcome pass, but no checkpoint was measured")
	}
	for i, m := range r.Coverage.Missing {
		if m.Required {
			return fmt.Errorf("outcome pass, but coverage.missing[%d] (%s) is required", i, short(m.Checkpoint))
		}
	}
	return nil
}
