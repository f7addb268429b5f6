package action

import (
	"bytes"
	"fmt"
	"path/filepath"
	"runtime"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
)

// maxResults bounds results.json; report.Read has the same bound.
const maxResults = 256 << 20

// incomplete is the result of a gate that measured nothing.
func (p *Plan) incomplete(reasons ...string) *gate.Result {
	return &gate.Result{
		Version: report.Version, Outcome: gate.Incomplete, ExitCode: gate.Incomplete.ExitCode(), Reasons: reasons,
		Spec:        gate.SpecInfo{Path: p.SpecPath},
		Environment: gate.Environment{Paritygate: p.Paritygate, OS: runtime.GOOS, Arch: runtime.GOARCH},
		Source:      &p.Source,
	}
}

// readResults reads the results.json that is below dir. It is not believed:
// only a regular file that report.Read takes is a result.
func readResults(dir, name string) (*gate.Result, error) {
	data, err := readRegular(dir, name, maxResults)
	if err != nil {
		return nil, err
	}
	return report.Read(bytes.NewReader(data))
}

// keepResults writes what the gate found where the report step reads it and
// returns its digest.
func keepResults(dir string, r *gate.Result) (string, error) {
	var b bytes.Buffer
	if err := report.JSON(&b, r); err != nil {
		return "", fmt.Errorf("results: %w", err)
	}
	if err := writeAside(filepath.Join(dir, resultsFile), b.Bytes(), 0o644); err != nil {
		return "", fmt.Errorf("results: %w", err)
	}
	return digest(b.Bytes()), nil
}
