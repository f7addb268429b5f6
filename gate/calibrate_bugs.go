package gate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/trace"
)

// TriedBug is a bug that was planted in the emulated engine, and what the rules
// make of it.
type TriedBug struct {
	Name string `json:"name"`
	Doc  string `json:"doc"` // what is wrong
	// Impossible says why the model cannot have it; the rest is then empty.
	Impossible string `json:"impossible"`
	// Fails: it breaks at least one limit. If not, it is below the noise everywhere.
	Fails bool `json:"fails"`
	// Where it stands out most from the noise.
	Checkpoint string `json:"checkpoint"`
	Prompt     string `json:"prompt"`
	Metric     string `json:"metric"`
	Effect     Value  `json:"effect"`
	Noise      Value  `json:"noise"` // of the rule that holds there
	Limit      Value  `json:"limit"`
	// Tightened: that limit was tightened for it.
	Tightened bool `json:"tightened"`
}

// emulation is the engine as the oracle emulates it, sound or with a bug.
type emulation struct {
	k             *calibrator
	path, dir     string // of the weights, of temporary traces
	profile, base oracle.Profile
	sound         map[string]*trace.Trace // by prompt
}

// tryBugs plants every bug in the emulated engine, and tightens limits that
// would let one pass although it stands out from the noise.
func (k *calibrator) tryBugs(ctx context.Context, l *limits) error {
	e, why, err := k.emulate()
	if err != nil {
		return err
	}
	if k.c.NoBugs = why; why != "" {
		return nil
	}
	if e.dir, err = os.MkdirTemp("", "paritygate-bugs-"); err != nil {
		return err
	}
	defer os.RemoveAll(e.dir)
	defer func() {
		for _, t := range e.sound {
			t.Close() // only read
		}
	}()
	for _, p := range k.ses.spec.Prompts {
		k.ses.status("emulating the %s on %s", k.o.Name, p.Name)
		t, err := e.run(ctx, p.Name, "", e.base)
		if err != nil && ctx.Err() == nil && k.ses.spec.Oracle == nil {
			// What was measured is worth its rules without bugs, too.
			k.c.NoBugs = fmt.Sprintf("the engine cannot be emulated on prompt %s: %v", p.Name, err)
			return nil
		}
		if err != nil {
			return err
		}
		e.sound[p.Name] = t
	}
	for _, b := range oracle.Bugs() {
		k.ses.status("trying the bug %s", b.Name)
		tried, err := e.try(ctx, l, b)
		if err != nil {
			return fmt.Errorf("bug %s: %w", b.Name, err)
		}
		k.c.Bugs = append(k.c.Bugs, tried)
	}
	// A limit that a later bug tightened stands in the earlier ones' lines, too.
	for i := range k.c.Bugs {
		if b := &k.c.Bugs[i]; b.Checkpoint != "" {
			b.Limit = l.holding(b.Checkpoint, b.Metric).Limit
		}
	}
	return nil
}

// emulate finds the weights and how the engine computes with them. why says that
// there is nothing to try bugs with; it is an error only where the spec's oracle
// must have them.
func (k *calibrator) emulate() (e *emulation, why string, err error) {
	if k.o.NoBugs {
		return nil, "none was asked for", nil
	}
	m, err := k.weights()
	if err != nil && k.ses.spec.Oracle != nil {
		return nil, "", fmt.Errorf("oracle: %w", err)
	}
	if err != nil {
		return nil, err.Error(), nil
	}
	defer m.Close() // only read
	for prompt, tokens := range k.tokens {
		if tokens == nil {
			return nil, fmt.Sprintf("nothing tells the tokens of prompt %s", prompt), nil
		}
	}
	e = &emulation{k: k, path: m.Path(), sound: map[string]*trace.Trace{}}
	if e.profile, err = k.profile(k.first, m); err != nil {
		return nil, "", err
	}
	e.base = e.profile
	if k.o.AgainstReference {
		if e.base, err = k.profile(k.reference, m); err != nil {
			return nil, "", err
		}
	}
	k.c.Profile = e.profile.Name
	return e, "", nil
}

// weights opens the oracle's model, or else the engine's own, or else the spec's:
// an engine may read the same weights in a format of its own.
func (k *calibrator) weights() (*oracle.Model, error) {
	s, own := k.ses.spec, k.o.Engine.Model
	switch {
	case s.Oracle != nil:
		return oracle.Load(s.Oracle.Model)
	case own == "" && s.Model.Path == "":
		return nil, errors.New("the spec names no model to plant one in")
	case own == "":
		return loadNamed(s.Model.Path)
	}
	m, err := loadNamed(own)
	if err != nil && s.Model.Path != "" {
		if m, e := oracle.Load(s.Model.Path); e == nil {
			k.c.Warnings = append(k.c.Warnings, fmt.Sprintf("bugs were planted in %s, because the engine's own %v", filepath.Base(s.Model.Path), err))
			return m, nil
		}
	}
	return m, err
}

// loadNamed loads a model; the error names it by its base name, because it ends
// up in a file that others read.
func loadNamed(path string) (*oracle.Model, error) {
	m, err := oracle.Load(path)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be emulated: %s", filepath.Base(path), strings.ReplaceAll(err.Error(), path, filepath.Base(path)))
	}
	return m, nil
}

// profile is how a participant computes; float32 where nothing tells.
func (k *calibrator) profile(p *participant, m *oracle.Model) (oracle.Profile, error) {
	info := p.info
	if p == k.first {
		info = k.c.Engine
	}
	profile, from, err := profileFor(p.cfg, info, m)
	if err != nil || from != "" && profile.Name != "" {
		return profile, err
	}
	k.c.Warnings = append(k.c.Warnings, fmt.Sprintf("nothing tells how %s computes, so bugs were tried in float32", info.Name))
	return oracle.ProfileByName("f32")
}

// run computes one prompt, with a bug unless it is "".
func (e *emulation) run(ctx context.Context, prompt, bug string, p oracle.Profile) (*trace.Trace, error) {
	m, err := oracle.Load(e.path)
	if err != nil {
		return nil, err
	}
	defer m.Close() // only read
	name := "sound-" + fileName(prompt)
	if bug != "" {
		name = "bug"
		if err := oracle.Plant(m, bug); err != nil {
			return nil, err
		}
	}
	path := filepath.Join(e.dir, name+".safetensors")
	o := oracle.Options{Profile: p, Sublayers: e.k.o.Engine.Sublayers}
	if err := engine.WriteForward(ctx, m, e.k.tokens[prompt], o, trace.Meta{Prompt: prompt}, path); err != nil {
		return nil, err
	}
	return trace.Open(path, trace.Options{})
}

// try plants one bug on every prompt.
func (e *emulation) try(ctx context.Context, l *limits, b oracle.Bug) (TriedBug, error) {
	tried := TriedBug{Name: b.Name, Doc: b.Doc}
	if tried.Impossible = e.impossible(b.Name); tried.Impossible != "" {
		return tried, nil
	}
	var seen []observation
	for _, p := range e.k.ses.spec.Prompts {
		t, err := e.run(ctx, p.Name, b.Name, e.profile)
		if err != nil {
			return tried, err
		}
		r := newResult(e.k.o.Options)
		err = measurePairs(ctx, r, e.k.ses.spec, []Pair{{p.Name, e.sound[p.Name], t}}, e.k.o.Options)
		t.Close() // only read
		if err != nil {
			return tried, err
		}
		seen = append(seen, observe("", r)...)
	}
	best, fails := l.tighten(b.Name, seen, e.k.o.Margin)
	tried.Fails = fails
	if best.limit != nil {
		tried.Checkpoint, tried.Prompt, tried.Metric = best.checkpoint, best.prompt, best.metric
		tried.Effect, tried.Noise, tried.Limit = Value(best.value), best.limit.Noise.Value, best.limit.Limit
		tried.Tightened = best.limit.Bug == b.Name
	}
	return tried, nil
}

// impossible says why the model cannot have a bug, "" when it can.
func (e *emulation) impossible(bug string) string {
	m, err := oracle.Load(e.path)
	if err != nil {
		return err.Error()
	}
	defer m.Close() // only read
	if err := oracle.Plant(m, bug); err != nil {
		return strings.TrimPrefix(err.Error(), fmt.Sprintf("%s: bug %s: ", m.Path(), bug))
	}
	return ""
}
