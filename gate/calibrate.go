package gate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// CalibrateOptions say what to calibrate, and how.
type CalibrateOptions struct {
	RunOptions // Role is the engine's
	// Name is the engine's role or witness name in the spec, Engine what the spec
	// says of it.
	Name   string
	Engine spec.Engine
	// Runs is how often the engine runs unchanged, 2 or more.
	Runs int
	// Margin is how many times the noise a limit allows, 1 or more.
	Margin float64
	// Floor is the least limit (its square for kl.mean), 0 for none.
	Floor float64
	// AgainstReference compares every run with the spec's reference instead of
	// the engine's own first run.
	AgainstReference bool
	// NoBugs leaves out the bugs.
	NoBugs bool
}

// Calibration is what an engine's noise is, and the rules that follow from it.
type Calibration struct {
	Name    string     `json:"name"` // the engine's role or witness name
	Engine  EngineInfo `json:"engine"`
	Against string     `json:"against"` // "its own first run" or "the reference, NAME"
	Runs    int        `json:"runs"`
	Margin  Value      `json:"margin"`
	Floor   Value      `json:"floor"`
	// Prompts were run; Variants are the ways the engine ran, in order.
	Prompts  []PromptInfo        `json:"prompts"`
	Variants []CalibratedVariant `json:"variants"`
	Limits   []CalibratedLimit   `json:"limits"` // rule by rule, in forward order
	// Profile is what the engine was emulated as, "" without bugs.
	Profile string     `json:"profile"`
	Bugs    []TriedBug `json:"bugs"`
	// NoBugs says why no bug was tried, "" where some were.
	NoBugs   string   `json:"no_bugs"`
	Warnings []string `json:"warnings"`
}

// CalibratedVariant is one way the engine ran.
type CalibratedVariant struct {
	Name string `json:"name"` // "run again", "ubatch 7"
	// Runs is how often, on every prompt.
	Runs int `json:"runs"`
	// Identical: every value of every run has the same bits as what it was compared with.
	Identical bool `json:"identical"`
	// Largest is the largest rel_l2.
	Largest NoiseSeen `json:"largest"`
}

// EngineFailure says that an engine measured nothing that can be used.
type EngineFailure struct {
	Engine  string // role or witness name
	Variant string // "" for the engine as the spec has it
	Reason  string
	Output  string // the end of what it wrote to stderr, or ""
}

func (e *EngineFailure) Error() string {
	who := e.Engine
	if e.Variant != "" {
		who += ", " + e.Variant
	}
	return fmt.Sprintf("%s: %s", who, e.Reason)
}

// Calibrate runs an engine of s repeatedly and in every variant that its adapter
// has, on every prompt, and derives tolerance rules from how far the runs differ
// and from planted bugs. Errors are *EngineFailure where an engine is at fault.
func Calibrate(ctx context.Context, s *spec.Spec, o CalibrateOptions) (*Calibration, error) {
	if err := o.check(s); err != nil {
		return nil, err
	}
	k, err := newCalibrator(s, o)
	if err != nil {
		return nil, err
	}
	defer k.ses.end()
	for _, p := range s.Prompts {
		if err := k.prompt(ctx, p); err != nil {
			return nil, err
		}
	}
	return k.conclude(ctx)
}

func (o *CalibrateOptions) check(s *spec.Spec) error {
	switch {
	case len(s.Prompts) == 0:
		return fmt.Errorf("%s: a calibration needs prompts: add some, as prompts: [{name: hello, text: \"Hello\"}]", s.Path)
	case o.Engine.Adapter == "trace":
		return fmt.Errorf("%s: engines.%s: a recorded trace is the same every time; calibrate an engine that runs", s.Path, o.Name)
	case o.AgainstReference && o.Role == engine.Reference:
		return errors.New("the reference is compared with itself as it is: leave the reference out")
	case o.AgainstReference && s.Engines.Reference.Adapter == "":
		return fmt.Errorf("%s has no reference to compare with", s.Path)
	case o.Runs < 2:
		return fmt.Errorf("runs %d: want 2 or more, because one shows no noise", o.Runs)
	case !(o.Margin >= 1) || math.IsInf(o.Margin, 0):
		return fmt.Errorf("margin %g: want a number from 1 on", o.Margin)
	case !(o.Floor >= 0) || math.IsInf(o.Floor, 0):
		return fmt.Errorf("floor %g: want a number from 0 on", o.Floor)
	}
	return nil
}

// calibrator is one calibration.
type calibrator struct {
	o         CalibrateOptions
	ses       *session
	first     *participant
	reference *participant // nil where it does not run
	variants  []*participant
	again     *participant
	outcomes  []outcome
	tokens    map[string][]int32 // by prompt, what the engine ran
	c         *Calibration
}

// outcome is one run of a variant on one prompt, compared.
type outcome struct {
	variant string
	result  *Result
}

// The names of the engine's own runs.
const (
	firstRun = "first run"
	runAgain = "run again"
)

func newCalibrator(s *spec.Spec, o CalibrateOptions) (*calibrator, error) {
	o.Progress = nil
	k := &calibrator{o: o, ses: &session{spec: s, o: o.RunOptions, witnessed: map[string][]Pair{}}, tokens: map[string][]int32{}}
	k.c = &Calibration{Name: o.Name, Runs: o.Runs, Margin: Value(o.Margin), Floor: Value(o.Floor), Against: "its own first run",
		Prompts: []PromptInfo{}, Variants: []CalibratedVariant{}, Limits: []CalibratedLimit{}, Bugs: []TriedBug{}, Warnings: []string{}}
	var err error
	join := func(name string, role engine.Role, cfg spec.Engine) *participant {
		if err != nil {
			return nil
		}
		var p *participant
		if p, err = k.ses.join(o.Name, role, cfg); err == nil {
			p.name = name
		}
		return p
	}
	k.first = join(firstRun, o.Role, o.Engine)
	repeat := o.Engine
	no := false
	repeat.ProveCapture = &no // proven, or not, by the first run
	k.again = join(runAgain, o.Role, repeat)
	for _, v := range variantsOf(o.Engine) {
		k.variants = append(k.variants, join(v.name, o.Role, v.cfg))
	}
	if err == nil && o.Role != engine.Reference && s.Engines.Reference.Adapter != "" && (o.AgainstReference || slices.ContainsFunc(s.Prompts, needsTokens)) {
		if k.reference, err = k.ses.join("reference", engine.Reference, s.Engines.Reference); err == nil && o.AgainstReference {
			k.c.Against = "the reference"
		}
	}
	if err != nil {
		return nil, err
	}
	k.ses.dir = o.Dir
	if o.Dir == "" {
		k.ses.temporary = true
		k.ses.dir, err = os.MkdirTemp("", "paritygate-")
	}
	return k, err
}

// needsTokens says that the reference decides what the prompt's tokens are.
func needsTokens(p spec.Prompt) bool { return len(p.Tokens) == 0 || p.Generate > 0 }

// prompt runs the engine in every variant on one prompt.
func (k *calibrator) prompt(ctx context.Context, p spec.Prompt) error {
	in := engine.Input{Name: p.Name, Text: p.Text, Tokens: p.Tokens, Generate: p.Generate}
	var base *trace.Trace
	if k.reference != nil && (k.o.AgainstReference || needsTokens(p)) {
		t, tokens, err := k.record(ctx, k.reference, in)
		if err != nil {
			return err
		}
		if p.Generate > 0 && tokens == nil {
			return &EngineFailure{Engine: "reference", Reason: "it does not tell which tokens it generated, so they cannot be forced on the " + k.o.Name}
		}
		in.Tokens, in.Generate = tokens, 0
		if k.o.AgainstReference {
			base = t
		}
	}
	own, tokens, err := k.record(ctx, k.first, in)
	if err != nil {
		return err
	}
	k.tokens[p.Name] = tokens
	if tokens != nil {
		in.Tokens, in.Generate = tokens, 0
	}
	if base == nil {
		base = own
	} else if err := k.compare(ctx, firstRun, p.Name, base, own); err != nil {
		return err
	}
	runs := make([]*participant, 0, k.o.Runs+len(k.variants))
	for range k.o.Runs - 1 {
		runs = append(runs, k.again)
	}
	for _, v := range append(runs, k.variants...) {
		t, _, err := k.record(ctx, v, in)
		if err != nil {
			return err
		}
		if err := k.compare(ctx, v.name, p.Name, base, t); err != nil {
			return err
		}
		if err := k.forget(t); err != nil {
			return err
		}
	}
	return nil
}

// record runs an engine; that it fails is an error here.
func (k *calibrator) record(ctx context.Context, p *participant, in engine.Input) (*trace.Trace, []int32, error) {
	t, tokens, err := k.ses.record(ctx, p, in)
	if err != nil {
		return nil, nil, err
	}
	if t == nil {
		return nil, nil, k.failure(p.name, p.info.Failure, p.info.Output)
	}
	return t, tokens, nil
}

func (k *calibrator) failure(run, reason, output string) error {
	if k.reference != nil && run == k.reference.name {
		return &EngineFailure{Engine: run, Reason: reason, Output: output}
	}
	if run == firstRun {
		run = ""
	}
	return &EngineFailure{Engine: k.o.Name, Variant: run, Reason: reason, Output: output}
}

// forget removes a trace that was compared: variants are many.
func (k *calibrator) forget(t *trace.Trace) error {
	k.ses.open = slices.DeleteFunc(k.ses.open, func(o *trace.Trace) bool { return o == t })
	t.Close() // only read
	if !k.ses.temporary {
		return nil
	}
	rel, err := filepath.Rel(k.ses.dir, t.Path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return nil // the engine left it elsewhere: not ours to remove
	}
	return os.RemoveAll(t.Path)
}

// compare measures a run against what it is compared with. Two runs of one
// engine must record the same rows, or their noise is not known.
func (k *calibrator) compare(ctx context.Context, run, prompt string, base, t *trace.Trace) error {
	r := newResult(k.o.Options)
	if err := measurePairs(ctx, r, k.ses.spec, []Pair{{prompt, base, t}}, k.o.Options); err != nil {
		return err
	}
	fail := func(format string, args ...any) error {
		return k.failure(run, fmt.Sprintf("on prompt %s: ", prompt)+fmt.Sprintf(format, args...), "")
	}
	if why := r.Prompts[0].InputsDiffer; why != "" {
		return fail("not the same input as %s: %s", k.c.Against, why)
	}
	if len(r.Checkpoints) == 0 {
		return fail("no checkpoint can be compared with %s", k.c.Against)
	}
	cov := r.Coverage
	if !k.o.AgainstReference && (len(cov.Missing) > 0 || cov.Positions.Reference != cov.Positions.Candidate) {
		if len(cov.Missing) > 0 {
			return fail("it did not record the same as %s: %s: %s", k.c.Against, cov.Missing[0].Checkpoint, cov.Missing[0].Reason)
		}
		return fail("it recorded %d positions where the first run recorded %d", cov.Positions.Candidate, cov.Positions.Reference)
	}
	if name, n := oneSided(r); n > 0 {
		return fail("%s has NaN or infinity on one side only, in %s", name, plural(int(n), "place"))
	}
	k.outcomes = append(k.outcomes, outcome{run, r})
	return nil
}

// oneSided is the first checkpoint with a NaN or an infinity that the other side
// does not have, masked or not, and in how many places.
func oneSided(r *Result) (checkpoint string, places int64) {
	for _, c := range r.Checkpoints {
		if c.NonFinite > 0 {
			return c.Name, c.NonFinite
		}
		for _, g := range r.Garbage {
			if g.Kind == "non_finite" && g.Checkpoint == c.Name {
				return c.Name, g.Count
			}
		}
	}
	return "", 0
}
