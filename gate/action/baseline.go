package action

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/paritygate/paritygate/baseline"
	"github.com/paritygate/paritygate/baseline/ledger"
	"github.com/paritygate/paritygate/baseline/lineage"
	stores "github.com/paritygate/paritygate/baseline/store"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/report/github"
)

// files of the private folder that baselines need
const (
	baselineFile    = "baseline.json" // in out and in reports: the document that the run would become
	standingFile    = "standing.json"
	baselinesFolder = "baselines"
)

// Held is what the plan says of baselines.
type Held struct {
	// Store is the store as it is named, "" without one. The run step reads a copy
	// of what it needs: it has no token to ask for more.
	Store string `json:"store"`
	// Ratchet keeps the better of both values when the baseline is refreshed.
	Ratchet bool `json:"ratchet"`
	// StandingDigest is the SHA-256 of the file that says what the change stands on.
	StandingDigest string `json:"standing_sha256"`
}

// hold names the store of baselines, and copies what a run of this change may
// be held against to where the run step finds it.
func (s *Step) hold(ctx context.Context, p *Plan, ev *github.Event, client *github.Client, g *git, dir string) error {
	if err := p.nameStore(); err != nil || p.Held.Store == "" {
		return err
	}
	st := &ledger.Standing{Store: p.Held.Store, Pull: ev.PullRequest}
	if p.Checkout == ev.Head || p.Checkout != "" && p.Checkout == s.Getenv("GITHUB_SHA") {
		// What is measured of a pull request is mostly its merge with the base
		// branch: the files of that one are what a squash merge has, too.
		st.Head = ev.Head
		if out, err := g.run(ctx, 1000, "rev-parse", "--verify", p.Checkout+"^{tree}"); err == nil {
			st.Tree = strings.TrimSpace(string(out))
		}
	}
	folder := filepath.Join(dir, baselinesFolder)
	if err := s.standing(ctx, p, ev, client, st, folder); err != nil {
		st.Unreadable = oneLine(err.Error())
	}
	file := filepath.Join(dir, standingFile)
	if err := st.Write(file); err != nil {
		return err
	}
	data, err := readRegular(dir, standingFile, 64<<20)
	p.Held.StandingDigest = digest(data)
	return err
}

// standing fills in what the change stands on, and copies its baselines.
func (s *Step) standing(ctx context.Context, p *Plan, ev *github.Event, client *github.Client, st *ledger.Standing, folder string) error {
	kept, err := p.openStore(client)
	if err != nil {
		return err
	}
	if client == nil {
		st.Note = "what the change stands on is not known: there is no token to ask GitHub"
	} else {
		base := ""
		if slices.Contains(basedEvents, ev.Name) {
			base = ev.Base
		}
		if st.Lineage, err = lineage.Of(ctx, client, base, ev.Head); err != nil {
			st.Lineage, st.Note = nil, oneLine(err.Error())
		}
	}
	return ledger.Export(ctx, kept, st, folder)
}

// openStore opens the store itself: a folder of the runner, or a branch through
// GitHub's API.
func (p *Plan) openStore(client *github.Client) (stores.Store, error) {
	if client != nil {
		return stores.Open(p.Held.Store, stores.Options{API: client})
	}
	if strings.HasPrefix(p.Held.Store, "branch:") {
		return nil, fmt.Errorf("the store %s cannot be read: there is no token to ask GitHub", p.Held.Store)
	}
	return stores.Open(p.Held.Store, stores.Options{})
}

// nameStore takes the input, or else what the spec that judges names. A spec
// that cannot be read names none: running it says what is wrong.
func (p *Plan) nameStore() error {
	own, err := p.governing()
	if err == nil && own.Baseline != nil {
		p.Held.Ratchet = own.Baseline.Ratchet
		if p.Held.Store = own.Baseline.Store; own.Baseline.Dir != "" {
			p.Held.Store = "dir:" + own.Baseline.Dir
		}
	}
	if in := p.Inputs.Baseline; in != "" {
		p.Held.Store = in
		if folder, ok := strings.CutPrefix(in, "dir:"); ok && !filepath.IsAbs(folder) {
			p.Held.Store = "dir:" + filepath.Join(p.WorkDir, folder)
		}
	}
	if p.Held.Store == "" {
		return nil
	}
	if _, err := stores.Open(p.Held.Store, stores.Options{}); err != nil {
		return fmt.Errorf("input baseline: %w", err)
	}
	if strings.HasPrefix(p.Held.Store, "branch:") && strings.Contains(p.Held.Store, "@") {
		return fmt.Errorf("input baseline: %s: the Action reaches the branch through GitHub's API; leave @ and the remote out", p.Held.Store)
	}
	return nil
}

// governing is the spec that judges: the base branch's, unless there is none or
// the change's own was approved.
func (p *Plan) governing() (*spec.Spec, error) {
	dir, name := p.Workspace, filepath.Join(p.Inputs.WorkingDirectory, filepath.FromSlash(p.Inputs.Spec))
	if p.BaseSpec != "" && p.Approve == "" {
		dir, name = filepath.Split(p.BaseSpec)
	}
	data, err := readRegular(dir, name, maxSpec)
	if err != nil {
		return nil, err
	}
	return spec.ParseIn(data, p.SpecPath, filepath.Dir(filepath.Join(p.WorkDir, filepath.FromSlash(p.Inputs.Spec))))
}

// heldArgs are the arguments of paritygate run.
func (p *Plan) heldArgs(dir string) []string {
	if p.Held.Store == "" {
		return nil
	}
	return []string{"--baseline", "dir:" + filepath.Join(dir, baselinesFolder), "--standing", filepath.Join(dir, standingFile)}
}

// document is what the run would become as a baseline, as the engines' side
// wrote it.
func (p *Plan) document(dir string, r *gate.Result) (*baseline.Document, []byte, error) {
	return readDocument(dir, filepath.Join(outFolder, baselineFile), r, p.Source.Head)
}

// readDocument reads a document of elsewhere. It is believed only so far as it
// belongs to the result, and to the commit head.
func readDocument(root, name string, r *gate.Result, head string) (*baseline.Document, []byte, error) {
	if r.Baseline == nil || r.Baseline.Proposed == "" {
		return nil, nil, errors.New("the run was held against no store, or measured too little")
	}
	data, err := readRegular(root, name, baseline.MaxDocument)
	if err != nil {
		return nil, nil, err
	}
	doc, err := baseline.Parse(data, baselineFile)
	switch {
	case err != nil:
		return nil, nil, err
	case doc.Numbers() != r.Baseline.Proposed:
		return nil, nil, errors.New(baselineFile + " is of another run than results.json")
	case doc.Provenance.Commit != "" && doc.Provenance.Commit != head:
		return nil, nil, fmt.Errorf("%s is of commit %.12s, not of %.12s", baselineFile, doc.Provenance.Commit, head)
	}
	return doc, data, nil
}

// keepDocument puts the document beside the reports, for whoever approves it.
func (p *Plan) keepDocument(dir, folder string, r *gate.Result) error {
	if p.Held.Store == "" || r.Baseline == nil || r.Baseline.Proposed == "" {
		return nil
	}
	_, data, err := p.document(dir, r)
	if err != nil {
		return err
	}
	return writeAside(filepath.Join(folder, baselineFile), data, 0o644)
}

// acceptable says whether a run may become a baseline: one that passes, or that
// lacks nothing but a first baseline.
func acceptable(r *gate.Result) bool {
	if r.Outcome == gate.Pass {
		return true
	}
	lacks := false
	for _, f := range r.Findings {
		switch {
		case gate.LacksBaseline(r, f):
			lacks = true
		case f.Level != gate.LevelWarn:
			return false
		}
	}
	return lacks && r.Outcome == gate.Incomplete
}

// refreshBaseline keeps a passing run as the baseline of its commit.
func (s *Step) refreshBaseline(ctx context.Context, p *Plan, dir string, r *gate.Result, client *github.Client) (string, error) {
	doc, _, err := p.document(dir, r)
	if err != nil {
		return "", err
	}
	data, err := readRegular(dir, standingFile, 64<<20)
	if err == nil && digest(data) != p.Held.StandingDigest {
		err = errors.New(standingFile + " was changed since the plan step wrote it")
	}
	if err != nil {
		return "", err
	}
	stands, err := ledger.ReadStanding(filepath.Join(dir, standingFile))
	if err != nil {
		return "", err
	}
	if doc.Provenance.Commit == "" {
		return "", fmt.Errorf("a baseline belongs to a commit, and the workspace held %.12s, not %.12s", p.Checkout, p.Source.Head)
	}
	st, err := p.openStore(client)
	if err != nil {
		return "", err
	}
	kept, previous, err := (&ledger.Ledger{Store: st}).Accept(ctx, ledger.Alone(doc), ledger.Question{Pull: stands.Pull, Lineage: stands.Lineage}, p.Held.Ratchet)
	if err != nil {
		return "", err
	}
	after := "it is the first of its key"
	if previous != nil {
		after = fmt.Sprintf("it follows that of %.12s", previous.Provenance.Commit)
	}
	return fmt.Sprintf("kept the baseline of %.12s in %s (%d checkpoints); %s", kept.Provenance.Commit, st, len(kept.Measurements), after), nil
}
