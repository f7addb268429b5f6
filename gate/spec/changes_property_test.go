package spec

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/metric"
)

// randomRules are rules with limits of random metrics for random classes of checkpoints.
func randomRules(g *rand.Rand) []Rule {
	globs := []string{"*", "layer_*", "layer_*_output", "layer_[0-3]_output", "layer_1?_output", "layer_7_output", "*_output", "embedding", "final_norm", "logits", "block.[a-f]?/*", `odd\*name`}
	var out []Rule
	for n := g.IntN(6); n >= 0; n-- {
		r := Rule{Checkpoint: globs[g.IntN(len(globs))], Source: "parity.yaml"}
		for range 1 + g.IntN(3) {
			l := randomLimit(g, r.Checkpoint)
			list := &r.Limits
			if g.IntN(4) == 0 {
				list = &r.Warn
			}
			if !slices.ContainsFunc(*list, func(o Limit) bool { return o.Metric == l.Metric }) {
				*list = append(*list, l)
			}
		}
		out = append(out, r)
	}
	return out
}

// randomLimit is a limit that some checkpoint of the glob can have.
func randomLimit(g *rand.Rand, glob string) Limit {
	for {
		info := metric.All()[g.IntN(len(metric.All()))]
		onLogits := Match(glob, Logits)
		if slices.Contains(oracleMetrics, info.Name) || info.Scope == metric.LogitsOnly && !onLogits || info.Scope != metric.LogitsOnly && info.Scope != metric.AnyCheckpoint && glob == Logits {
			continue
		}
		return Limit{Metric: info.Name, Value: 0.1 + 0.8*g.Float64(), Off: g.IntN(5) == 0, Line: 1 + g.IntN(90)}
	}
}

func randomSpec(g *rand.Rand) *Spec {
	s := Default()
	s.Tolerances.Rules = randomRules(g)
	if g.IntN(3) > 0 {
		s.Tolerances.Preset = PresetNames()[g.IntN(len(PresetNames()))]
	}
	for i := range g.IntN(4) {
		s.Prompts = append(s.Prompts, Prompt{Name: fmt.Sprint("p", i), Tokens: []int32{g.Int32N(9)}})
	}
	for _, c := range []string{"embedding", "layer_*", "logits"} {
		if g.IntN(2) == 0 {
			s.Require.Checkpoints = append(s.Require.Checkpoints, c)
		}
	}
	s.Require.MinPositions = g.IntN(3)
	s.Skip.Positions = append(s.Skip.Positions, g.IntN(4))
	s.Garbage.Candidate = []string{"mask", "fail", "keep"}[g.IntN(3)]
	return s
}

func clone(s *Spec) *Spec {
	c := *s
	c.Tolerances.Rules = slices.Clone(s.Tolerances.Rules)
	for i := range c.Tolerances.Rules {
		r := &c.Tolerances.Rules[i]
		r.Limits, r.Warn = slices.Clone(r.Limits), slices.Clone(r.Warn)
	}
	c.Require.Checkpoints = slices.Clone(s.Require.Checkpoints)
	c.Skip.Positions = slices.Clone(s.Skip.Positions)
	return &c
}

// The same spec, on other lines of another file, has no changes.
func TestSameSpecHasNoChanges(t *testing.T) {
	for seed := range uint64(500) {
		g := rand.New(rand.NewPCG(seed, 1))
		base := randomSpec(g)
		mine := clone(base)
		for i := range mine.Tolerances.Rules {
			r := &mine.Tolerances.Rules[i]
			r.Line, r.Column, r.Source = 7, 3, "other.yaml"
			for _, list := range [][]Limit{r.Limits, r.Warn} {
				for j := range list {
					list[j].Line += 5
				}
			}
		}
		if got := Changes(base, mine, chosen("bf16"), measuredNames); len(got) != 0 || !Same(base, mine) {
			t.Fatalf("seed %d: %v", seed, lines(got))
		}
	}
}

// Whichever limit is loosened, and however, it is listed; and so is what follows
// for each checkpoint, as LimitsFor says it.
func TestLoosenedLimitIsListed(t *testing.T) {
	loosenedOnes := 0
	for seed := range uint64(2000) {
		g := rand.New(rand.NewPCG(seed, 2))
		base := randomSpec(g)
		mine := clone(base)
		what := loosen(g, mine)
		if what == "" {
			continue
		}
		got := Changes(base, mine, chosen("bf16"), measuredNames)
		effects := map[string]bool{}
		for _, c := range got {
			effects[c.Effect] = true
		}
		switch decides := weaker(base, mine, "bf16"); {
		case decides && !effects[Loosened]:
			t.Fatalf("seed %d: %s: not listed as loosened: %v", seed, what, lines(got))
		case !effects[Loosened] && !effects[Changed] && !shadowed(base, mine):
			t.Fatalf("seed %d: %s: not listed: %v", seed, what, lines(got))
		case decides:
			loosenedOnes++
		}
		if Same(base, mine) {
			t.Fatalf("seed %d: %s: the specs count as the same", seed, what)
		}
	}
	if loosenedOnes < 1000 {
		t.Errorf("only %d specs were loosened", loosenedOnes)
	}
}

// loosen weakens one random limit of s and says how, "" where it has none.
func loosen(g *rand.Rand, s *Spec) string {
	if len(s.Tolerances.Rules) == 0 {
		return ""
	}
	i := g.IntN(len(s.Tolerances.Rules))
	r := &s.Tolerances.Rules[i]
	list := &r.Limits
	if len(*list) == 0 || len(r.Warn) > 0 && g.IntN(2) == 0 {
		list = &r.Warn
	}
	j := g.IntN(len(*list))
	l := &(*list)[j]
	if l.Off {
		return ""
	}
	what := fmt.Sprintf("rule %d, %s: %s %v", i, r.Checkpoint, l.Metric, l.Value)
	info, _ := metric.Lookup(l.Metric)
	switch g.IntN(3) {
	case 0:
		l.Off, l.Value = true, 0
		return what + " off"
	case 1:
		if info.Direction == metric.HigherIsBetter {
			l.Value *= 0.9
		} else {
			l.Value *= 1.1
		}
		return what + " wider"
	}
	// Another rule, later, says otherwise.
	wide := Limit{Metric: l.Metric, Off: true, Line: 99}
	late := Rule{Checkpoint: r.Checkpoint, Source: "parity.yaml", Limits: []Limit{wide}}
	if list == &r.Warn {
		late.Limits, late.Warn = nil, late.Limits
	}
	s.Tolerances.Rules = append(s.Tolerances.Rules, late)
	return what + " off in a later rule"
}

// weaker asks LimitsFor alone whether some checkpoint is held to less: a limit
// that is gone or, where both stand in the file, wider.
func weaker(base, mine *Spec, traces string) bool {
	for _, name := range slices.Concat(measuredNames, []string{"layer_10_output", "layer_7_output", "block.c1/x", "odd*name", "x_output"}) {
		now := map[string]Applied{}
		for _, a := range mine.LimitsFor(name, chosen(traces)(mine)) {
			now[a.Metric+a.Level] = a
		}
		for _, b := range base.LimitsFor(name, chosen(traces)(base)) {
			o, ok := now[b.Metric+b.Level]
			info, _ := metric.Lookup(b.Metric)
			if !ok || b.Unit == 0 && o.Unit == 0 && b.Line > 0 && o.Line > 0 && looser(info, o.Value, b.Value) {
				return true
			}
		}
	}
	return false
}

// shadowed says that every limit that both hold is the same: what was loosened
// never counted, because other rules decide.
func shadowed(base, mine *Spec) bool {
	for _, name := range probes(measuredNames, globsOf(mine.Tolerances.Rules), globsOf(base.Tolerances.Rules, mine.Tolerances.Rules)) {
		if !slices.EqualFunc(base.LimitsFor(name, chosen("bf16")(base)), mine.LimitsFor(name, chosen("bf16")(mine)), func(a, b Applied) bool {
			return a.Metric == b.Metric && a.Level == b.Level && a.Value == b.Value && a.Unit == b.Unit
		}) {
			return false
		}
	}
	return true
}

// Names that are made from globs match them.
func TestNamesOfGlobs(t *testing.T) {
	for _, glob := range []string{"*", "layer_*_output", "layer_1?_output", "[a-f]x*", "[^a-z]*", `a\*b`, `[\]x]`, "é?", "a/b/*", "**x**", "[x-z][^x-z]?"} {
		names := examples(glob)
		if len(names) == 0 {
			t.Errorf("%s has no example", glob)
		}
		for _, n := range names {
			if !Match(glob, n) {
				t.Errorf("%s does not match its example %q", glob, n)
			}
		}
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"layer_*_output", "layer_1?_output", true}, {"layer_*", "*_output", true}, {"*a*", "*b*", true}, {"block_*", "*.weight", true},
		{"layer_[0-4]_output", "layer_[4-9]_output", true}, {"layer_[0-3]_output", "layer_[4-9]_output", false}, {"logits", "l*", true}, {"logits", "final*", false},
		{"?", "??", false}, {"a*c", "ab*", true}, {"a*c", "*d", false}, {"[^a]", "a", false}, {"x*y*z", "*y", false}, {"x*y*z", "*y*", true},
		{strings.Repeat("a", maxGlob+1), "a*", false},
	} {
		for _, swap := range []bool{false, true} {
			a, b := c.a, c.b
			if swap {
				a, b = b, a
			}
			if got := common(a, b); (got != "") != c.want || got != "" && !(Match(a, got) && Match(b, got)) {
				t.Errorf("common(%s, %s) = %q, want one: %v", a, b, got, c.want)
			}
		}
	}
}

// Rules by the thousand are compared in reasonable time.
func TestManyRules(t *testing.T) {
	many := func(limit float64) *Spec {
		s := Default()
		for i := range 1000 {
			s.Tolerances.Rules = append(s.Tolerances.Rules, Rule{Checkpoint: fmt.Sprintf("*_%d_*", i), Limits: []Limit{{Metric: "rel_l2", Value: limit, Line: i}}})
		}
		return s
	}
	got := Changes(many(0.1), many(0.2), chosen("f16"), measuredNames)
	if len(got) < 1000 {
		t.Errorf("%d changes of 1000 limits", len(got))
	}
}

func FuzzChanges(f *testing.F) {
	whole, err := os.ReadFile("testdata/ok/whole.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{string(whole), string(Template())} {
		f.Add(s, s, "layer_0_output")
		f.Add(s, "version: 1\n", "x")
		f.Add("version: 1\n", s, "logits")
	}
	f.Add("version: 1\ntolerances: {rules: [{checkpoint: \"[a-\\\\]]*\", rel_l2: 1%}]}\n", "version: 1\ntolerances: {rules: [{checkpoint: \"*\", rel_l2: off}]}\n", "a")
	f.Fuzz(func(t *testing.T, a, b, name string) {
		base, errA := Parse([]byte(a), "base.yaml")
		mine, errB := Parse([]byte(b), "parity.yaml")
		if errA != nil || errB != nil {
			return
		}
		list := Changes(base, mine, chosen("f16"), []string{name})
		if Same(base, mine) && len(list) > 0 {
			t.Errorf("the same, but %v", lines(list))
		}
		for _, c := range list {
			if c.What == "" || grave(c.Effect) < 0 || c.From == c.To && !strings.Contains(c.From, "…") && !strings.Contains(c.What, ": ") {
				t.Errorf("change %+v", c)
			}
		}
		if again := Changes(base, base, chosen("f16"), []string{name}); len(again) > 0 || !Same(base, base) {
			t.Errorf("a spec differs from itself: %v", lines(again))
		}
		under := Under(base, mine)
		if !Same(base, under) {
			t.Errorf("under the base, it differs from it: %v", lines(Changes(base, under, chosen("f16"), nil)))
		}
		Beside(base, mine)
	})
}
