package cli

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/spec"
)

// judgeBy are the flags for a change that brings a spec of its own.
type judgeBy struct {
	base, approval string
}

func (j *judgeBy) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&j.base, "judge-by", "", "the base branch's spec `FILE`: where the spec differs from it, that judges, as if it lay in the spec's place")
	flags.StringVar(&j.approval, "approve-spec", "", "accept how the spec differs from --judge-by: 12 hex digits or more of its SHA-256, or true, as `DIGEST`")
	if err := cmd.MarkFlagFilename("judge-by", "yaml", "yml"); err != nil {
		panic(err)
	}
}

// twoSpecs is what --judge-by and --approve-spec come to for a spec.
type twoSpecs struct {
	base     *spec.Spec // nil without one
	approved bool
	broken   error // why an approved spec has no base to be compared with
}

// load reads the base's spec, and holds the approval against own. Where both are
// the same there is nothing to approve. An approved spec needs no base that is
// valid: otherwise a broken one could never be mended.
func (j *judgeBy) load(own *spec.Spec) (twoSpecs, error) {
	if j.base == "" {
		if j.approval != "" {
			return twoSpecs{}, usagef("--approve-spec accepts how the spec differs from the base branch's: name that with --judge-by")
		}
		return twoSpecs{}, nil
	}
	base, err := spec.LoadIn(j.base, filepath.Dir(own.Path))
	if err == nil && spec.Same(base, own) {
		return twoSpecs{base: base}, nil
	}
	approved, wrong := own.ApprovedBy(j.approval)
	switch {
	case wrong != nil:
		return twoSpecs{}, fmt.Errorf("--approve-spec: %w", wrong)
	case err == nil:
		return twoSpecs{base: base, approved: approved}, nil
	case approved:
		return twoSpecs{broken: err}, nil
	}
	return twoSpecs{}, fmt.Errorf("the base branch's spec, which judges, is not valid in the folder of %s (--approve-spec %s would do without it):\n%w", own.Path, short(own.Digest), err)
}

// short is as much of a digest as approves.
func short(digest string) string { return digest[:min(12, len(digest))] }

// note says in the result that an approved spec had no base to be compared with.
func (t twoSpecs) note(r *gate.Result) {
	if t.broken != nil {
		r.Spec.Approved = true
		r.Spec.Changes = []gate.SpecChange{{Effect: spec.Changed, What: "the whole spec", From: "not valid"}}
	}
}

// selectPrompts leaves only the named prompts in own and in the base; the one that
// says what runs must have them.
func (t *twoSpecs) selectPrompts(own *spec.Spec, names []string) error {
	if t.base == nil {
		return selectPrompts(own, names)
	}
	first, second := t.base, own
	if t.approved {
		first, second = own, t.base
	}
	if err := selectPrompts(first, names); err != nil {
		return err
	}
	if len(names) > 0 {
		second.Prompts = slices.DeleteFunc(slices.Clone(second.Prompts), func(p spec.Prompt) bool { return !slices.Contains(names, p.Name) })
	}
	return nil
}
