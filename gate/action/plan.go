package action

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report/github"
)

// planVersion is the version of plan.json. All steps are of one program, so
// another version means that something else wrote the file.
const planVersion = 1

// Plan is what the plan step decided: all that the later steps go by. It holds
// no secret.
type Plan struct {
	Version    int    `json:"version"`
	Paritygate string `json:"paritygate"` // version of the program
	Inputs     Inputs `json:"inputs"`
	// Workspace and WorkDir are absolute paths; WorkDir lies in Workspace.
	Workspace string `json:"workspace"`
	WorkDir   string `json:"workdir"`
	// SpecPath is the spec's path in the repository, with slashes.
	SpecPath string `json:"spec_path"`
	// BaseSpec is the file with the base branch's spec, "" where the change's own judges.
	BaseSpec string `json:"base_spec"`
	// EventDigest is the SHA-256 of the event's copy.
	EventDigest string `json:"event_sha256"`
	// Approve is the digest of the change's own spec that was approved, or "".
	Approve string `json:"approve"`
	// Checkout is the commit that the workspace holds, "" where nobody can tell.
	Checkout string      `json:"checkout"`
	Source   gate.Source `json:"source"`
	// Held is what the run is held against.
	Held Held `json:"held"`
	// Approval is what mode approve is asked for, nil for nothing.
	Approval *github.Approval `json:"approval"`
	// Refused says why no engine may be run: the gate is incomplete. "" runs them.
	// In mode approve it says why nothing is approved.
	Refused string `json:"refused"`
	// Notes are what people should know though it decides nothing.
	Notes []string `json:"notes"`
}

// files of the private folder
const (
	planFile     = "plan.json"
	eventFile    = "event.json"
	baseSpecFile = "base-spec.yaml"
	resultsFile  = "results.json"
	outFolder    = "out"
	homeFolder   = "home"
	reportFolder = "reports"
)

const (
	maxPlan  = 4 << 20  // docker-args and env are all that can grow
	maxEvent = 32 << 20 // GitHub's payloads end at 25 MB
)

// write puts the plan into dir and returns its digest.
func (p *Plan) write(dir string) (string, error) {
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return "", err
	}
	if err := writeAside(filepath.Join(dir, planFile), append(data, '\n'), 0o600); err != nil {
		return "", err
	}
	return digest(append(data, '\n')), nil
}

// readPlan reads the plan that the plan step left in dir and holds it to the
// digest that the runner kept of it.
func readPlan(dir, want string) (*Plan, error) {
	if dir == "" || want == "" {
		return nil, errors.New(varDir + " and " + varPlanDigest + " are not set: this step follows the plan step of action.yml")
	}
	data, err := readRegular(dir, planFile, maxPlan)
	if err != nil {
		return nil, fmt.Errorf("the plan: %w", err)
	}
	if got := digest(data); got != want {
		return nil, fmt.Errorf("the plan in %s was changed since the plan step wrote it: its digest is %s, not %s", dir, got, want)
	}
	p := new(Plan)
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("the plan: %w", err)
	}
	if p.Version != planVersion {
		return nil, fmt.Errorf("the plan is of version %d, this program reads version %d", p.Version, planVersion)
	}
	return p, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// readRegular reads a file of dir. Nothing of the name may be a link, and the
// file must be a regular one of at most max bytes: an engine may have put
// something else there.
func readRegular(dir, name string, max int64) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	parts := strings.Split(filepath.Clean(name), string(filepath.Separator))
	for i := range parts {
		p := filepath.Join(parts[:i+1]...)
		info, err := root.Lstat(p)
		switch last := i == len(parts)-1; {
		case err != nil:
			return nil, err
		case last && !info.Mode().IsRegular():
			return nil, fmt.Errorf("%s is %s: want a regular file", p, kindOf(info.Mode()))
		case !last && !info.IsDir():
			return nil, fmt.Errorf("%s is %s: want a folder", p, kindOf(info.Mode()))
		}
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readFile(f, name, max)
}

// readFile reads an open file, again only when it is a regular one.
func readFile(f *os.File, name string, max int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is %s: want a regular file", name, kindOf(info.Mode()))
	}
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > max {
		return nil, fmt.Errorf("%s is larger than %d MB", name, max>>20)
	}
	return data, nil
}

func kindOf(m os.FileMode) string {
	switch {
	case m&os.ModeSymlink != 0:
		return "a link"
	case m.IsDir():
		return "a folder"
	case m&os.ModeNamedPipe != 0:
		return "a pipe"
	case m.IsRegular():
		return "a file"
	}
	return "no regular file"
}

// writeAside writes a file under another name and renames it: a reader never
// sees half of one, and what stands in its place, even a link, is replaced.
func writeAside(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
