package gate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// RunOptions say where and how engines run.
type RunOptions struct {
	Options
	// Dir keeps the traces; "" is a temporary folder that is removed.
	Dir string
	// CacheDir holds compiled probes; "" is the user's cache folder.
	CacheDir string
	// Getenv reads the caller's environment.
	Getenv func(string) string
	// Status is told in a few words what is going on now. May be nil.
	Status func(string)
	// Role is the role of an engine that Capture runs, which decides the
	// defaults of its keys; "" is candidate. Run knows the roles from the spec.
	Role engine.Role
	// Base, when not nil, is the spec of the branch that the change goes into. Where
	// it differs from the change's own, it says what is run and measured, and judges:
	// see spec.Under and JudgeBy.
	Base *spec.Spec
	// Approved says that somebody accepted how the own spec differs from Base: then
	// the own spec alone runs and judges.
	Approved bool
}

// Run runs the engines of s on every prompt, then compares and judges. An
// engine that fails makes the Result incomplete; an error means that nothing
// could be run at all (the spec does not hold together, ctx ended).
func Run(ctx context.Context, s *spec.Spec, o RunOptions) (*Result, error) {
	governing, err := Governing(s, o.Base, o.Approved)
	if err != nil {
		return nil, err
	}
	ses, err := newSession(governing, o)
	if err != nil {
		return nil, err
	}
	defer ses.end()
	ses.own = s
	for _, p := range governing.Prompts {
		if err := ses.prompt(ctx, p); err != nil {
			return nil, err
		}
	}
	return ses.conclude(ctx)
}

// participant is one engine of a session.
type participant struct {
	name    string // reference, candidate or the witness's name
	cfg     spec.Engine
	engine  engine.Engine
	options trace.Options
	info    EngineInfo
	elapsed time.Duration
}

// session is one run of a spec: its engines, and what they recorded so far.
type session struct {
	spec      *spec.Spec // that says what is run and measured
	own       *spec.Spec // the change's own, mostly the same
	o         RunOptions
	dir       string
	temporary bool

	reference, candidate *participant
	witnesses            []*participant

	pairs     []Pair
	witnessed map[string][]Pair
	warnings  []string
	open      []*trace.Trace
}

func newSession(s *spec.Spec, o RunOptions) (*session, error) {
	ses := &session{spec: s, o: o, dir: o.Dir, witnessed: map[string][]Pair{}}
	if len(s.Prompts) == 0 {
		return nil, fmt.Errorf("%s: a run needs prompts: add some, as prompts: [{name: hello, text: \"Hello\"}]", s.Path)
	}
	var err error
	if ses.reference, err = ses.join("reference", engine.Reference, s.Engines.Reference); err != nil {
		return nil, err
	}
	if ses.candidate, err = ses.join("candidate", engine.Candidate, s.Engines.Candidate); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Engines.Witnesses)) {
		w, err := ses.join(name, engine.Witness, s.Engines.Witnesses[name])
		if err != nil {
			return nil, err
		}
		ses.witnesses = append(ses.witnesses, w)
	}
	if ses.dir == "" {
		ses.temporary = true
		if ses.dir, err = os.MkdirTemp("", "paritygate-"); err != nil {
			return nil, err
		}
	}
	return ses, nil
}

// join makes one engine ready to run.
func (ses *session) join(name string, role engine.Role, cfg spec.Engine) (*participant, error) {
	where := fmt.Sprintf("%s: engines.%s", ses.spec.Path, name)
	if cfg.Adapter == "" {
		return nil, fmt.Errorf("%s: a run needs this engine", where)
	}
	e, err := newEngine(cfg, role, ses.o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	opt, err := engine.TraceOptions(cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	return &participant{name: name, cfg: cfg, engine: e, options: opt, info: EngineInfo{Name: e.Describe(), Adapter: cfg.Adapter, Settings: map[string]string{}}}, nil
}

func newEngine(cfg spec.Engine, role engine.Role, o RunOptions) (engine.Engine, error) {
	return engine.New(cfg, engine.Options{Role: role, CacheDir: o.CacheDir, Getenv: o.Getenv, Progress: o.Status})
}

func (ses *session) end() {
	for _, t := range ses.open {
		t.Close() // only read
	}
	if ses.temporary {
		_ = os.RemoveAll(ses.dir)
	}
}

func (ses *session) status(format string, args ...any) {
	if ses.o.Status != nil {
		ses.o.Status(fmt.Sprintf(format, args...))
	}
}

// prompt runs every engine on one prompt. The reference goes first: its tokens,
// with its own continuation where one is asked for, are what the others get.
func (ses *session) prompt(ctx context.Context, p spec.Prompt) error {
	in := engine.Input{Name: p.Name, Text: p.Text, Tokens: p.Tokens, Generate: p.Generate}
	ref, tokens, err := ses.record(ctx, ses.reference, in)
	if err != nil || ref == nil {
		return err
	}
	in.Tokens, in.Generate = tokens, 0
	if p.Generate > 0 && tokens == nil {
		ses.reference.fail(p.Name, errors.New("it does not tell which tokens it generated, so they cannot be forced on the others"))
		return nil
	}
	cand, _, err := ses.record(ctx, ses.candidate, in)
	if err != nil {
		return err
	}
	if cand != nil {
		ses.pairs = append(ses.pairs, Pair{p.Name, ref, cand})
	}
	for _, w := range ses.witnesses {
		t, _, err := ses.record(ctx, w, in)
		if err != nil {
			return err
		}
		if t != nil {
			ses.witnessed[w.name] = append(ses.witnessed[w.name], Pair{p.Name, ref, t})
		}
	}
	return nil
}

// record runs one engine and opens its trace. A nil trace without an error
// means that the engine failed, which is noted. The tokens are what the engine
// says it ran, or what it was given.
func (ses *session) record(ctx context.Context, p *participant, in engine.Input) (*trace.Trace, []int32, error) {
	in.Model = p.cfg.Model
	if in.Model == "" {
		in.Model = ses.spec.Model.Path
	}
	in.Dir = filepath.Join(ses.dir, fileName(in.Name), fileName(p.name))
	if err := freshDir(in.Dir); err != nil {
		return nil, nil, err
	}
	ses.status("running the %s on %s", p.name, in.Name)
	rec, err := p.engine.Run(ctx, in)
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	if err != nil {
		p.fail(in.Name, err)
		return nil, nil, nil
	}
	t, err := trace.Open(rec.TracePath, p.options)
	if err != nil {
		p.fail(in.Name, err)
		return nil, nil, nil
	}
	ses.open = append(ses.open, t)
	p.note(t, rec, ses)
	tokens := rec.Tokens
	if tokens == nil {
		tokens = t.Meta.Tokens
	}
	if tokens == nil {
		tokens = in.Tokens
	}
	return t, tokens, nil
}

// fail notes why the engine measured nothing on a prompt; the first reason stays.
func (p *participant) fail(prompt string, err error) {
	if p.info.Failure != "" {
		return
	}
	p.info.Failure = fmt.Sprintf("on prompt %s: %s", prompt, engine.Sanitize(err.Error()))
	var e *engine.Error
	if errors.As(err, &e) && e.Output != "" {
		p.info.Output = engine.Sanitize(e.Output)
	}
}

// note keeps what a recording says of its engine.
func (p *participant) note(t *trace.Trace, rec *engine.Recording, ses *session) {
	told := engineInfo(t)
	told.Adapter, told.Failure, told.Output = p.info.Adapter, p.info.Failure, p.info.Output
	if told.Name == "" {
		told.Name = p.engine.Describe()
	}
	for _, f := range []struct {
		from string
		to   *string
	}{{rec.Version, &told.Version}, {rec.Device, &told.Device}, {rec.ComputeDType, &told.ComputeDType}} {
		if *f.to == "" {
			*f.to = f.from
		}
	}
	if ses.temporary && p.cfg.Adapter != "trace" {
		told.Trace = ""
	}
	// One prompt on which capture disturbs is enough.
	if told.Capture = p.info.Capture; told.Capture != string(engine.CaptureDisturbs) {
		told.Capture = string(rec.Capture)
	}
	p.info = told
	p.elapsed += rec.Elapsed
	for _, w := range rec.Warnings {
		if w = p.name + ": " + w; !slices.Contains(ses.warnings, w) {
			ses.warnings = append(ses.warnings, w)
		}
	}
}

// conclude compares and judges what was recorded.
func (ses *session) conclude(ctx context.Context) (*Result, error) {
	ses.status("comparing")
	r := newResult(ses.o.Options)
	if err := measurePairs(ctx, r, ses.spec, ses.pairs, ses.o.Options); err != nil {
		return nil, err
	}
	for _, e := range []struct {
		to   *EngineInfo
		from *participant
	}{{&r.Engines.Reference, ses.reference}, {&r.Engines.Candidate, ses.candidate}} {
		precision, from := e.to.Precision, e.to.PrecisionFrom
		*e.to = e.from.info
		e.to.Precision, e.to.PrecisionFrom = precision, from
	}
	if ses.spec.Oracle != nil {
		ses.status("computing the oracle")
	}
	if err := explain(ctx, r, ses.spec, ses.pairs, ses.o.Options); err != nil {
		return nil, err
	}
	for _, w := range ses.witnesses {
		if err := addWitness(ctx, r, ses.spec, w.name, w.info, ses.witnessed[w.name], ses.o.Options); err != nil {
			return nil, err
		}
	}
	r.Warnings = append(r.Warnings, ses.warnings...)
	r.Timing.Reference = Value(ses.reference.elapsed.Seconds())
	r.Timing.Candidate = Value(ses.candidate.elapsed.Seconds())
	findBaseline(ctx, r, ses.o.Options)
	return r, diagnoseFailure(ctx, r, JudgeBy(r, ses.own, ses.o.Base, ses.o.Approved), ses.pairs)
}

// addWitness measures a witness against the reference, beside the candidate.
func addWitness(ctx context.Context, r *Result, s *spec.Spec, name string, info EngineInfo, pairs []Pair, o Options) error {
	o = o.unobserved()
	w := newResult(o)
	if err := measurePairs(ctx, w, s, pairs, o); err != nil {
		return fmt.Errorf("witness %s: %w", name, err)
	}
	info.Name, info.Precision, info.PrecisionFrom = name, w.Engines.Candidate.Precision, w.Engines.Candidate.PrecisionFrom
	r.Engines.Witnesses = append(r.Engines.Witnesses, info)
	for _, p := range w.Prompts {
		if p.InputsDiffer != "" {
			r.Warnings = append(r.Warnings, fmt.Sprintf("witness %s did not get the same input on prompt %s: %s", name, p.Name, p.InputsDiffer))
		}
	}
	for i := range r.Checkpoints {
		c := &r.Checkpoints[i]
		at := slices.IndexFunc(w.Checkpoints, func(o Checkpoint) bool { return o.Prompt == c.Prompt && o.Name == c.Name })
		if at >= 0 {
			if c.Witnesses == nil {
				c.Witnesses = map[string]map[string]Value{}
			}
			c.Witnesses[name] = w.Checkpoints[at].Metrics
		}
	}
	return nil
}

// freshDir makes an empty folder: what an earlier run left there is removed.
func freshDir(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.MkdirAll(dir, 0o755)
}

// fileName is a name that is safe as one path element. Names that a spec allows
// stay as they are, so that no two of them share a folder.
func fileName(name string) string {
	out := []rune(name)
	for i, c := range out {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' && i > 0) {
			out[i] = '_'
		}
	}
	if len(out) > 100 {
		out = out[:100]
	}
	return string(out)
}
