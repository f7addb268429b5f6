package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/baseline"
	"github.com/paritygate/paritygate/baseline/ledger"
	"github.com/paritygate/paritygate/baseline/lineage"
	"github.com/paritygate/paritygate/baseline/store"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/spec"
)

// baselineFile is the document that a run would become, beside its reports.
const baselineFile = "baseline.json"

// heldFlags say what a run is held against.
type heldFlags struct {
	store    string
	base     string
	standing string
	none     bool
}

func (f *heldFlags) add(cmd *cobra.Command) {
	f.addStore(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.base, "base", "", "the commit or branch that the change is to be merged into (default origin's default branch)")
	flags.StringVar(&f.standing, "standing", "", "read what the change stands on from `FILE`, as the Action writes it, instead of asking git")
	flags.BoolVar(&f.none, "no-baseline", false, "hold the run against no baseline")
}

func (f *heldFlags) addStore(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.store, "baseline", "", "the `STORE` of baselines: dir:PATH, branch:NAME or branch:NAME@REMOTE (default the spec's)")
}

// held is what a run is held against while it is measured.
type held struct {
	asker   *ledger.Asker
	imprint *baseline.Imprint
	stands  *ledger.Standing
	git     *lineage.Git
	now     time.Time
	gpu     string
	driver  string
}

// governing is the spec that names the store: the base branch's, unless the
// change's own was approved.
func (t twoSpecs) governing(own *spec.Spec) *spec.Spec {
	if t.base == nil || t.approved {
		return own
	}
	return t.base
}

// hold prepares to hold a run against a baseline of the store that s names; nil
// where nobody asks for one. dir is a folder of the candidate's repository.
func (f *heldFlags) hold(ctx context.Context, s *spec.Spec, dir string) (*held, error) {
	if f.none || f.store == "" && s.Baseline == nil {
		return nil, nil
	}
	h := &held{imprint: baseline.NewImprint(), git: &lineage.Git{Dir: dir}, now: time.Now()}
	st, err := f.open(s, dir)
	if err != nil {
		return nil, err
	}
	if h.stands, err = f.stand(ctx, h.git); err != nil {
		return nil, err
	}
	h.gpu, h.driver = ledger.Machine(ctx)
	h.asker = &ledger.Asker{Ledger: &ledger.Ledger{Store: st}, Lineage: h.stands.Lineage, Tree: h.stands.Tree, Pull: h.stands.Pull,
		Imprint: h.imprint, Provenance: h.provenance}
	return h, nil
}

func folderOf(path string) string {
	if path == "" {
		return ""
	}
	return filepath.Dir(path)
}

// open opens the store of the command line, or else of the spec.
func (f *heldFlags) open(s *spec.Spec, dir string) (store.Store, error) {
	name := f.store
	if name == "" {
		if s == nil || s.Baseline == nil {
			return nil, usagef("no store: give --baseline, or write baseline: {store: …} into the spec")
		}
		if name = s.Baseline.Store; s.Baseline.Dir != "" {
			name = "dir:" + s.Baseline.Dir
		}
	}
	return store.Open(name, store.Options{Repository: dir})
}

// stand finds what the change stands on. Without git there is a run all the
// same, and the report says what is not known.
func (f *heldFlags) stand(ctx context.Context, g *lineage.Git) (*ledger.Standing, error) {
	if f.standing != "" {
		return ledger.ReadStanding(f.standing)
	}
	base := f.base
	if base == "" {
		base = defaultBranch(ctx, g.Dir)
	}
	s, err := ledger.LocalStanding(ctx, g, base)
	switch {
	case err != nil && f.base != "":
		return nil, fmt.Errorf("--base %s: %w", f.base, err)
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return &ledger.Standing{Note: err.Error()}, nil
	}
	return s, nil
}

// defaultBranch is origin's, "" where it is not known.
func defaultBranch(ctx context.Context, dir string) string {
	cmd := exec.CommandContext(ctx, "git", "symbolic-ref", "--quiet", "refs/remotes/origin/HEAD")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// provenance is where a run's numbers come from.
func (h *held) provenance(r *gate.Result) baseline.Provenance {
	p := baseline.ProvenanceOf(r)
	p.Commit, p.Tree = h.stands.Head, h.stands.Tree
	p.GPU, p.Driver = h.gpu, h.driver
	p.Date = h.now.UTC().Format(time.RFC3339)
	return p
}

// options ask for the rows and for the baseline.
func (h *held) options(o *gate.Options) {
	if h != nil {
		o.Observer, o.Baseline = h.imprint, h.asker.Ask
	}
}

// end notes what is not known of the repository, and cleans up.
func (h *held) end(r *gate.Result) error {
	if h == nil {
		return nil
	}
	if r != nil && h.stands.Note != "" {
		r.Warnings = append(r.Warnings, "baseline: "+h.stands.Note)
	}
	return h.git.Close()
}

// keep writes the document that the run would become beside its reports.
func (h *held) keep(dir string, r *gate.Result) error {
	if h == nil || dir == "" || r.Baseline == nil || r.Baseline.Proposed == "" {
		return nil
	}
	doc, err := baseline.Record(r, h.imprint, h.provenance(r))
	if err != nil {
		return err
	}
	data, err := doc.Encode()
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, baselineFile), data)
}

// writeFile writes aside and renames.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = bytes.NewReader(data).WriteTo(f)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
