package spec

import (
	"slices"
	"testing"

	"github.com/paritygate/paritygate/gate/metric"
)

func TestBaselineFor(t *testing.T) {
	const head = "version: 1\nbaseline: {store: \"branch:b\", max_increase: 20%, noise: 2}\n"
	const anchored = "version: 1\nbaseline:\n  store: \"branch:b\"\n  anchor: 60%\n  max_increase: 20%\n"
	for _, c := range []struct {
		name, yaml, checkpoint string
		want                   BaselineLimit
	}{
		{"without one", "version: 1\n", "logits", BaselineLimit{Judged: true, MaxIncrease: 0.25, Anchor: 0.25, Noise: 3, Source: "built in"}},
		{"the anchor follows", head, "logits", BaselineLimit{Judged: true, MaxIncrease: 0.2, Anchor: 0.2, Noise: 2, Line: 2, AnchorLine: 2, Source: "p.yaml"}},
		{"its own anchor", anchored, "logits", BaselineLimit{Judged: true, MaxIncrease: 0.2, Anchor: 0.6, Noise: 3, Line: 5, AnchorLine: 4, Source: "p.yaml"}},
		{"a rule for others", head + "tolerances:\n  rules: [{checkpoint: embedding, max_increase: 1%}]\n", "logits",
			BaselineLimit{Judged: true, MaxIncrease: 0.2, Anchor: 0.2, Noise: 2, Line: 2, AnchorLine: 2, Source: "p.yaml"}},
		{"a rule takes the anchor along", anchored + "tolerances:\n  rules:\n    - {checkpoint: \"log*\", max_increase: 90%}\n", "logits",
			BaselineLimit{Judged: true, MaxIncrease: 0.9, Anchor: 0.9, Noise: 3, Line: 8, AnchorLine: 8, Source: "p.yaml"}},
		{"unless it names one", anchored + "tolerances:\n  rules:\n    - {checkpoint: logits, anchor: 70%, max_increase: 90%}\n", "logits",
			BaselineLimit{Judged: true, MaxIncrease: 0.9, Anchor: 0.7, Noise: 3, Line: 8, AnchorLine: 8, Source: "p.yaml"}},
		{"an anchor alone", head + "tolerances:\n  rules:\n    - {checkpoint: logits, anchor: 70%}\n", "logits",
			BaselineLimit{Judged: true, MaxIncrease: 0.2, Anchor: 0.7, Noise: 2, Line: 2, AnchorLine: 5, Source: "p.yaml"}},
		{"the later rule wins, key by key", head + "tolerances:\n  rules:\n    - {checkpoint: \"*\", noise: 9, baseline: off}\n    - {checkpoint: logits, noise: 0}\n", "logits",
			BaselineLimit{Judged: false, MaxIncrease: 0.2, Anchor: 0.2, Noise: 0, Line: 6, AnchorLine: 2, Source: "p.yaml"}},
		{"on again", head + "tolerances:\n  rules:\n    - {checkpoint: \"*\", baseline: off}\n    - {checkpoint: logits, baseline: on}\n", "logits",
			BaselineLimit{Judged: true, MaxIncrease: 0.2, Anchor: 0.2, Noise: 2, Line: 2, AnchorLine: 2, Source: "p.yaml"}},
	} {
		s, err := Parse([]byte(c.yaml), "p.yaml")
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := s.BaselineFor(c.checkpoint); got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

func TestBaselineJudges(t *testing.T) {
	s := Default()
	for _, m := range BaselineMetrics() {
		if _, ok := metric.Lookup(m); !ok {
			t.Errorf("%s is no metric", m)
		}
		if got := s.BaselineJudges(m); got != slices.Contains(BaselineJudged(), m) {
			t.Errorf("without a baseline, %s: %v", m, got)
		}
	}
	for _, m := range BaselineJudged() {
		if !slices.Contains(BaselineMetrics(), m) {
			t.Errorf("%s is judged and not stored", m)
		}
	}
	s.Baseline = &Baseline{Metrics: []string{"max_abs"}}
	if !s.BaselineJudges("max_abs") || s.BaselineJudges("rel_l2") {
		t.Error("the spec's own list is not what judges")
	}
}

// A branch's name goes to git, so that nothing in it may be an option, leave
// the namespace or be no ref.
func TestStores(t *testing.T) {
	for store, ok := range map[string]bool{
		"dir:x": true, "dir:/x y/z": true, "dir:": false, "branch:parity": true, "branch:ci/parity-baselines": true, "branch:a": true,
		"branch:": false, "branch:-f": false, "branch:a..b": false, "branch:a//b": false, "branch:a/": false, "branch:a.": false, "branch:a b": false,
		"branch:a@origin": true, "branch:a@": true, "branch:a@-x": false, "branch:@origin": false, "branch:a.lock": false, "branch:a.lock@": false, "branch:a/@b": false,
		"oci:ghcr.io/o/r": false, "file:x": false, "x": false,
	} {
		_, err := Parse([]byte("version: 1\nbaseline: {store: \""+store+"\"}\n"), "p.yaml")
		if (err == nil) != ok {
			t.Errorf("%q: %v", store, err)
		}
	}
}
