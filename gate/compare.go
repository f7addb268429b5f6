package gate

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// Pair is one prompt's traces, open.
type Pair struct {
	Prompt               string
	Reference, Candidate *trace.Trace
}

// Options say how to compare; but for Baseline, they never change what is found.
type Options struct {
	// Workers is the number of goroutines that read and compare; 0 means one a CPU.
	Workers int
	// Portable forces the kernel that runs on any processor.
	Portable bool
	// Progress is told how many bytes of how many are compared. May be nil.
	Progress func(done, total int64)
	// Observer is shown the candidate's rows. May be nil.
	Observer Observer
	// Baseline is asked once everything is measured and before it is judged: how
	// the run stands beside an earlier one. May be nil: nobody asked for one.
	Baseline func(context.Context, *Result) *Baseline
	// Version is paritygate's own version, for the environment section.
	Version string
	// Flags are the command line's choices beside the spec, to reproduce the run.
	Flags []string
}

// Compare aligns, measures and judges pairs of traces. An error means that a
// trace could not be read (or ctx ended); everything else is in the Result.
func Compare(ctx context.Context, s *spec.Spec, pairs []Pair, o Options) (*Result, error) {
	r := newResult(o)
	if err := measurePairs(ctx, r, s, pairs, o); err != nil {
		return nil, err
	}
	if err := explain(ctx, r, s, pairs, o); err != nil {
		return nil, err
	}
	findBaseline(ctx, r, o)
	return r, judgeAndDiagnose(ctx, r, s, pairs)
}

// judgeAndDiagnose ends a comparison.
func judgeAndDiagnose(ctx context.Context, r *Result, s *spec.Spec, pairs []Pair) error {
	Judge(r, s)
	return diagnoseFailure(ctx, r, s, pairs)
}

// diagnoseFailure says what kind of mistake a failure under s looks like.
func diagnoseFailure(ctx context.Context, r *Result, s *spec.Spec, pairs []Pair) error {
	if r.Outcome != Fail {
		return nil
	}
	return diagnose(ctx, r, pairs, s)
}

// measurePairs fills in what is measured, and what the traces say of their engines.
func measurePairs(ctx context.Context, r *Result, s *spec.Spec, pairs []Pair, o Options) error {
	start := time.Now()
	m := newMeasurer(s, o)
	for i, p := range pairs {
		if i == 0 {
			r.Engines.Reference, r.Engines.Candidate = engineInfo(p.Reference), engineInfo(p.Candidate)
			if err := tellPrecision(&r.Engines.Reference, p.Reference); err != nil {
				return fmt.Errorf("prompt %s: reference: %w", p.Prompt, err)
			}
			if err := tellPrecision(&r.Engines.Candidate, p.Candidate); err != nil {
				return fmt.Errorf("prompt %s: candidate: %w", p.Prompt, err)
			}
		}
		if err := comparePair(ctx, r, m, s, p); err != nil {
			return err
		}
	}
	r.Timing.Compare = Value(time.Since(start).Seconds())
	r.Timing.Bytes = m.done.Load()
	return nil
}

// newResult is a result without measurements: incomplete.
func newResult(o Options) *Result {
	return &Result{Version: 1, ExitCode: Incomplete.ExitCode(), Reasons: []string{}, Prompts: []PromptInfo{}, Checkpoints: []Checkpoint{},
		Coverage: Coverage{Missing: []Missing{}}, Engines: EngineSet{Witnesses: []EngineInfo{}},
		Diagnosis: []Diagnosis{}, Spec: SpecInfo{Flags: append([]string{}, o.Flags...), Changes: []SpecChange{}}, Garbage: []Garbage{}, Findings: []Finding{}, Warnings: []string{}, Environment: environment(o)}
}

func newMeasurer(s *spec.Spec, o Options) *measurer {
	cfg := metric.Config{GarbageAbove: s.Garbage.Above, SkipElements: sortedSet(s.Skip.Elements), Portable: o.Portable}
	if s.Garbage.Reference == "keep" {
		cfg.Ref = metric.KeepGarbage
	}
	if s.Garbage.Candidate == "keep" {
		cfg.Cand = metric.KeepGarbage
	}
	return &measurer{cfg: cfg, workers: o.Workers, progress: o.Progress, observer: o.Observer}
}

func sortedSet(v []int) []int {
	v = slices.Clone(v)
	slices.Sort(v)
	return slices.Compact(v)
}

// engineInfo is what a trace says of its engine.
func engineInfo(t *trace.Trace) EngineInfo {
	m := t.Meta
	settings := map[string]string{}
	for _, key := range []string{"kv_type", "flash_attention", "decode"} {
		if v, ok := m.Extra[key]; ok {
			settings[key] = v
		}
	}
	return EngineInfo{Settings: settings, Name: m.Engine, Adapter: "trace", Version: m.EngineVersion, Model: m.Model, WeightsSHA256: m.WeightsSHA256,
		ComputeDType: m.ComputeDType, Device: m.Device, Trace: t.Path}
}

// comparePair measures one prompt and adds it to the result.
func comparePair(ctx context.Context, r *Result, m *measurer, s *spec.Spec, p Pair) error {
	info := promptInfo(p)
	r.Prompts = append(r.Prompts, info)
	al := align(p.Reference, p.Candidate, s.Skip.Positions)
	addCoverage(r, p, al, info.InputsDiffer != "")
	if info.InputsDiffer != "" {
		return nil
	}
	m.prompt = p.Prompt
	ms, err := m.measure(ctx, al.checkpoints)
	if err != nil {
		return fmt.Errorf("prompt %s: %w", p.Prompt, err)
	}
	addCheckpoints(r, p.Prompt, ms)
	return nil
}

// promptInfo names the prompt and says whether both engines got the same tokens.
func promptInfo(p Pair) PromptInfo {
	ref, cand := p.Reference.Meta.Tokens, p.Candidate.Meta.Tokens
	in := PromptInfo{Name: p.Prompt, Tokens: max(len(ref), len(cand))}
	tokens := ref
	if tokens == nil {
		tokens = cand
	}
	if tokens != nil {
		in.SHA256 = tokensHash(tokens)
	}
	if ref != nil && cand != nil {
		in.InputsDiffer = tokensDiffer(ref, cand)
	}
	return in
}

// tokensDiffer says in words how two token lists differ, "" when they do not.
func tokensDiffer(ref, cand []int32) string {
	n := min(len(ref), len(cand))
	for i := range n {
		if ref[i] == cand[i] {
			continue
		}
		why := fmt.Sprintf("token %d is %d in the reference and %d in the candidate", i, ref[i], cand[i])
		switch {
		case i == 0 && slices.Equal(ref[1:], cand):
			why += fmt.Sprintf(": the candidate lacks the first token (%d; a missing BOS looks like this)", ref[0])
		case i == 0 && slices.Equal(ref, cand[1:]):
			why += fmt.Sprintf(": the candidate has one more token in front (%d; a BOS added twice looks like this)", cand[0])
		}
		return why
	}
	if len(ref) != len(cand) {
		return fmt.Sprintf("%d tokens in the reference and %d in the candidate; the first %d are the same", len(ref), len(cand), n)
	}
	return ""
}

func tokensHash(tokens []int32) string {
	h := sha256.New()
	var b [4]byte
	for _, t := range tokens {
		binary.LittleEndian.PutUint32(b[:], uint32(t))
		h.Write(b[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// addCoverage counts what both sides have and lists what one of them lacks.
// nothing says that no row is compared, whatever both have.
func addCoverage(r *Result, p Pair, al *alignment, nothing bool) {
	miss := func(name, side, reason string) {
		r.Coverage.Missing = append(r.Coverage.Missing, Missing{Prompt: p.Prompt, Checkpoint: name, Side: side, Reason: reason})
	}
	for _, n := range al.refOnly {
		miss(n, "candidate", "the candidate did not record it")
	}
	for _, n := range al.candOnly {
		miss(n, "reference", "the reference did not record it")
	}
	for _, m := range al.mismatched {
		miss(m.name, "both", fmt.Sprintf("rows have %d elements in the reference and %d in the candidate", m.ref, m.cand))
	}
	cov := &r.Coverage
	first := len(r.Prompts) == 1
	cov.Checkpoints = largest(cov.Checkpoints, Count{len(al.checkpoints), len(p.Reference.Checkpoints), len(p.Candidate.Checkpoints)})
	for _, a := range al.checkpoints {
		if len(a.positions) == 0 {
			miss(a.name, "both", "no position is in both traces")
		}
		positions := Count{len(a.positions), len(a.ref.Positions), len(a.cand.Positions)}
		elements := Count{a.elements, a.ref.Width, a.cand.Width}
		if nothing {
			positions.Compared = 0
		}
		cov.Positions = leastCovered(cov.Positions, positions, first)
		cov.Elements = leastCovered(cov.Elements, elements, first)
	}
}

func largest(a, b Count) Count {
	return Count{max(a.Compared, b.Compared), max(a.Reference, b.Reference), max(a.Candidate, b.Candidate)}
}

// leastCovered keeps the count with the smaller compared share.
func leastCovered(a, b Count, first bool) Count {
	if a == (Count{}) && first {
		return b
	}
	share := func(c Count) float64 {
		return float64(c.Compared) / float64(max(c.Reference, c.Candidate, 1))
	}
	if share(b) < share(a) {
		return b
	}
	return a
}

// PromptName is the name of a prompt that has none: the trace's own, or the
// file's without its extension.
func PromptName(t *trace.Trace) string {
	if t.Meta.Prompt != "" && len(t.Meta.Prompt) <= 40 && !strings.ContainsAny(t.Meta.Prompt, "\n\r") {
		return t.Meta.Prompt
	}
	base := filepath.Base(t.Path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}
