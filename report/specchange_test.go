package report

import (
	"io"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate"
)

func drawnMarkdown(t *testing.T, r *gate.Result, o MarkdownOptions) string {
	t.Helper()
	return string(render(t, r, func(w io.Writer, r *gate.Result) error { return Markdown(w, r, o) }))
}

// A loosened rule links to the change's own spec, the limit that judged to the base's.
func TestSpecLinks(t *testing.T) {
	o := MarkdownOptions{SpecURL: "https://github.com/acme/worker/blob/4f2a9c1/parity.yaml#L1", BaseSpecURL: "https://github.com/acme/worker/blob/9be1c0d/parity.yaml"}
	s := drawnMarkdown(t, loosened(), o)
	for _, want := range []string{
		"→ `10%` ([L24](https://github.com/acme/worker/blob/4f2a9c1/parity.yaml#L24))",
		"(base [L14](https://github.com/acme/worker/blob/9be1c0d/parity.yaml#L14))",
		"[`parity.yaml`](https://github.com/acme/worker/blob/4f2a9c1/parity.yaml), under the base branch's `b5b5b5b5b5b5`",
	} {
		if !strings.Contains(s, want) {
			t.Errorf("%q is not in\n%s", want, s)
		}
	}
	// By its own spec, a limit's line is the own spec's.
	r := loosened()
	for i := range r.Checkpoints {
		for j := range r.Checkpoints[i].Limits {
			r.Checkpoints[i].Limits[j].Source = "parity.yaml"
		}
	}
	if s := drawnMarkdown(t, r, o); !strings.Contains(s, " ([L14](https://github.com/acme/worker/blob/4f2a9c1/parity.yaml#L14))") || strings.Contains(s, "(base [") {
		t.Errorf("the own spec's limit does not link to it:\n%s", s)
	}
	if err := Markdown(io.Discard, loosened(), MarkdownOptions{BaseSpecURL: "javascript:alert(1)"}); err == nil {
		t.Error("an address that is none was taken")
	}
}

// The title says the worst that the change did, and whether it counts.
func TestSpecTitle(t *testing.T) {
	of := func(approved bool, effects ...string) gate.SpecInfo {
		s := gate.SpecInfo{Approved: approved, Digest: strings.Repeat("ab", 32)}
		for _, e := range effects {
			s.Changes = append(s.Changes, gate.SpecChange{Effect: e})
		}
		return s
	}
	for _, c := range []struct {
		spec  gate.SpecInfo
		title string
		asks  bool
	}{
		{of(false), "", false},
		{of(false, "tightened"), "The spec was tightened by this change", false},
		{of(false, "tightened", "changed"), "The spec was changed by this change and judged by the base branch's", true},
		{of(false, "changed", "loosened"), "The spec was loosened by this change and judged by the base branch's", true},
		{of(true, "changed", "loosened"), "The spec was loosened by this change, and that was approved", false},
		{of(true, "tightened"), "The spec was tightened by this change, and that was approved", false},
	} {
		if got := specTitle(c.spec); got != c.title {
			t.Errorf("%v: %q, want %q", c.spec.Changes, got, c.title)
		}
		if got := approval(plain, c.spec); (got != "") != c.asks || c.asks && !strings.Contains(got, "--approve-spec abababababab ") {
			t.Errorf("%v: %q", c.spec.Changes, got)
		}
	}
}

// Names of an attacker's choice act nowhere, and a long list is cut.
func TestHostileSpecChanges(t *testing.T) {
	r := loosened()
	r.Spec.Changes = nil
	for _, a := range attacks {
		r.Spec.Changes = append(r.Spec.Changes, gate.SpecChange{Effect: "loosened", What: a, From: a, To: strings.Repeat(a, 50), Line: 3})
	}
	for range 1000 {
		r.Spec.Changes = append(r.Spec.Changes, gate.SpecChange{Effect: "tightened", What: "x"})
	}
	s := drawnMarkdown(t, r, MarkdownOptions{})
	if !strings.Contains(s, "- "+count(len(attacks)-5)+" more\n") || !strings.Contains(s, "- "+count(len(attacks)+1000-100)+" more\n") {
		t.Errorf("the lists are not cut:\n%s", s)
	}
	checkStructure(t, s)
}
