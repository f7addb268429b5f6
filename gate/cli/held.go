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

// add declares what a run is held against; it may be nothing.
func (f *heldFlags) add(cmd *cobra.Command) {
	f.addStanding(cmd)
	cmd.Flags().BoolVar(&f.none, "no-baseline", false, "hold the run against no baseline")
}

func (f *heldFlags) addStanding(cmd *cobra.Command) {
	f.addStore(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.base, "base", "", "the commit or `BRANCH` that the change is to be merged into (default origin's default branch)")
	flags.StringVar(&f.standing, "standing", "", "read what the change stands on from `FILE`, as the Action writes it, instead of asking git")
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
	// from is the run's provenance, so far as its result does not know it.
	from baseline.Provenance
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
	st, err := f.open(s, dir)
	if err != nil {
		return nil, err
	}
	g := &lineage.Git{Dir: dir}
	stands, err := f.stand(ctx, g)
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	from := baseline.Provenance{Commit: stands.Head, Tree: stands.Tree, Date: time.Now().UTC().Format(time.RFC3339)}
	from.GPU, from.Driver = ledger.Machine(ctx)
	return newHeld(stands.Copied(st), g, stands, from), nil
}

func newHeld(st store.Store, g *lineage.Git, stands *ledger.Standing, from baseline.Provenance) *held {
	h := &held{git: g, stands: stands, from: from}
	h.asker = &ledger.Asker{Ledger: &ledger.Ledger{Store: st}, Lineage: stands.Lineage, Tree: stands.Tree, Pull: stands.Pull, Provenance: h.provenance}
	h.watch(baseline.NewImprint())
	return h
}

// watch takes the imprint of the next run.
func (h *held) watch(im *baseline.Imprint) { h.imprint, h.asker.Imprint = im, im }

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
	return f.noted(ctx)(ledger.LocalStanding(ctx, g, f.baseOf(ctx, g)))
}

func (f *heldFlags) baseOf(ctx context.Context, g *lineage.Git) string {
	if f.base != "" {
		return f.base
	}
	return defaultBranch(ctx, g.Dir)
}

// noted turns an error of git into a note of the standing, unless what is not
// known was asked for.
func (f *heldFlags) noted(ctx context.Context) func(*ledger.Standing, error) (*ledger.Standing, error) {
	return func(s *ledger.Standing, err error) (*ledger.Standing, error) {
		switch {
		case err == nil:
			return s, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case f.base != "" && errors.Is(err, lineage.ErrUnknown):
			return nil, fmt.Errorf("--base %s: %w", f.base, err)
		case f.base != "":
			return nil, incomplete("--base %s: %w", f.base, err)
		}
		if s == nil {
			s = &ledger.Standing{}
		}
		if s.Note != "" {
			s.Note += "; "
		}
		s.Note += err.Error()
		return s, nil
	}
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
	p.Commit, p.Tree, p.Date, p.GPU, p.Driver = h.from.Commit, h.from.Tree, h.from.Date, h.from.GPU, h.from.Driver
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

// keep writes the document that the run would become beside its reports, and
// leaves none of an earlier run there.
func (h *held) keep(dir string, r *gate.Result) error {
	if h == nil || dir == "" {
		return nil
	}
	if r.Baseline == nil || r.Baseline.Proposed == "" {
		if err := os.Remove(filepath.Join(dir, baselineFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
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
