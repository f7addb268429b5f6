package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/paritygate/paritygate/baseline"
	"github.com/paritygate/paritygate/baseline/ledger"
	"github.com/paritygate/paritygate/baseline/lineage"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/spec"
)

// savedRun is a run of before, as the folder of its reports has it. The folder may
// come from a machine that nobody trusts: of the document beside results.json only
// fingerprints, sketches, and where it was measured count. All else is recorded
// anew from what results.json says was measured.
type savedRun struct {
	dir     string
	result  *gate.Result
	imprint *baseline.Imprint
	doc     *baseline.Document
}

// readRun reads a run of before. The two files must be of the same run, and the
// digest that its report shows must be of its numbers.
func readRun(dir string) (*savedRun, error) {
	run := &savedRun{dir: dir}
	path := filepath.Join(dir, "results.json")
	var err error
	if run.result, err = readResult(path); err != nil {
		return nil, err
	}
	path = filepath.Join(dir, baselineFile)
	saved, err := readDocument(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no %s: the run was held against no store (--baseline, or baseline in the spec), or measured too little", dir, baselineFile)
	}
	if err != nil {
		return nil, err
	}
	if saved.Measured().After(time.Now().Add(clocksDiffer)) {
		return nil, fmt.Errorf("%s: measured at %s, which is yet to come", path, saved.Provenance.Date)
	}
	if s, of := run.result.Source, saved.Provenance.Commit; s != nil && s.Head != "" && of != "" && s.Head != of {
		return nil, fmt.Errorf("%s: it is of commit %s, results.json of %s", path, short(of), short(s.Head))
	}
	run.imprint = saved.Imprint()
	p, of := baseline.ProvenanceOf(run.result), saved.Provenance
	p.Commit, p.Tree, p.Date, p.GPU, p.Driver = of.Commit, of.Tree, of.Date, of.GPU, of.Driver
	if run.doc, err = baseline.Record(run.result, run.imprint, p); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if numbers := run.doc.Numbers(); run.result.Baseline == nil || run.result.Baseline.Proposed != numbers || saved.Numbers() != numbers {
		return nil, fmt.Errorf("%s: it is of another run than results.json beside it", path)
	}
	return run, nil
}

// clocksDiffer is how far the clock of the machine that measured may be ahead.
const clocksDiffer = time.Hour

// readDocument reads a document from a file that is no link, device or pipe.
func readDocument(path string) (*baseline.Document, error) {
	st, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	return baseline.Read(f, path)
}

// judgedBy refuses a run that was measured under another spec: what that skipped
// or masked cannot be seen any more.
func (run *savedRun) judgedBy(s *spec.Spec) error {
	is := run.result.Spec
	switch {
	case is.Digest != s.Digest:
		return fmt.Errorf("%s was measured under another spec: its digest is %s, that of %s %s; run it again", run.dir, told(short(is.Digest)), s.Path, short(s.Digest))
	case is.JudgedBy != "":
		return fmt.Errorf("%s was measured under the spec of a base branch; run it again under %s alone", run.dir, s.Path)
	}
	return nil
}

func told(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// standOf finds what the commit of a run of before stands on, whatever is checked
// out now.
func (f *heldFlags) standOf(ctx context.Context, g *lineage.Git, run *savedRun) (*ledger.Standing, error) {
	of := run.doc.Provenance
	if of.Commit == "" {
		return &ledger.Standing{Note: "tracked files differed from the commit that was checked out when " + run.dir + " was measured"}, nil
	}
	if f.standing != "" {
		s, err := ledger.ReadStanding(f.standing)
		if err == nil && s.Head != of.Commit {
			err = fmt.Errorf("%s is of commit %s, %s of %s", f.standing, told(short(s.Head)), run.dir, short(of.Commit))
		}
		return s, err
	}
	s, err := ledger.StandingOf(ctx, g, f.baseOf(ctx, g), of.Commit)
	if s == nil && err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("%s was measured at commit %s, which is not known here: %w", run.dir, short(of.Commit), err)
	}
	if s != nil && s.Tree != of.Tree {
		return nil, fmt.Errorf("%s says that the files of commit %s are %s; they are %s", run.dir, short(of.Commit), told(short(of.Tree)), short(s.Tree))
	}
	return f.noted(ctx)(s, err)
}
