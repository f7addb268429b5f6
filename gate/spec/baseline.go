package spec

import (
	"regexp"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
	"gopkg.in/yaml.v3"
)

// Baseline says where accepted runs are stored, and by how much this run may be
// worse than the one it is held against.
type Baseline struct {
	// Store is where baselines lie, as it is written: dir:PATH, branch:NAME or
	// branch:NAME@REMOTE.
	Store string `yaml:"store" json:"store"`
	// Required says that a run without a baseline it can be held against is incomplete.
	Required bool `yaml:"required" json:"required,omitempty"`
	// MaxIncrease is the share by which a measurement may exceed the baseline's.
	MaxIncrease float64 `yaml:"max_increase" json:"max_increase"`
	// Anchor is the share by which it may exceed the approved one's. Without it
	// MaxIncrease holds.
	Anchor *float64 `yaml:"anchor" json:"anchor,omitempty"`
	// Noise is how many standard deviations of repeated runs are allowed, where
	// they were measured.
	Noise float64 `yaml:"noise" json:"noise"`
	// Ratchet keeps the best value as the baseline: improvements are not given back.
	Ratchet bool `yaml:"ratchet" json:"ratchet,omitempty"`
	// Metrics are judged, out of BaselineMetrics; empty means BaselineJudged.
	Metrics []string `yaml:"metrics" json:"metrics,omitempty"`

	// Dir is the absolute folder of a dir: store, else "".
	Dir string `yaml:"-" json:"dir,omitempty"`
	// Line is where max_increase stands in the file, or else baseline itself;
	// AnchorLine where anchor does, or else Line. 0 without a file.
	Line       int `yaml:"-" json:"-"`
	AnchorLine int `yaml:"-" json:"-"`
}

// DefaultBaseline is what holds for a baseline that the command line names.
func DefaultBaseline() *Baseline { return &Baseline{MaxIncrease: 0.25, Noise: 3} }

// RuleBaseline is what a rule says of the baseline at its checkpoints.
type RuleBaseline struct {
	// Judged turns judging against the baseline off, or on again; nil leaves it.
	Judged *bool
	// MaxIncrease, Anchor and Noise replace the baseline's own, where they are
	// given. MaxIncrease holds against the anchor, too, unless Anchor is given.
	MaxIncrease, Anchor, Noise *float64
	// Line is where the first of them stands.
	Line int
}

// BaselineLimit is what holds against the baseline at one checkpoint.
type BaselineLimit struct {
	Judged                     bool
	MaxIncrease, Anchor, Noise float64
	Line, AnchorLine           int    // of the spec; 0 without one
	Source                     string // the spec's file, or "built in"
}

// BaselineMetrics are the metrics that a baseline stores.
func BaselineMetrics() []string {
	return []string{"rel_l2", "max_abs", "worst_channel", "position_rms", "added", "explained", "local",
		"top1_agreement", "topk_overlap", "kl.mean", "kl.max", "rank_correlation"}
}

// BaselineJudged are those that are held against a baseline unless the spec says
// which: sums over all elements, which one odd value does not move, and what
// the user sees of the logits.
func BaselineJudged() []string {
	return []string{"rel_l2", "position_rms", "added", "top1_agreement", "kl.mean"}
}

// BaselineFor is what holds against the baseline at a checkpoint: the spec's
// baseline, replaced by rules in file order.
func (s *Spec) BaselineFor(checkpoint string) BaselineLimit {
	b, source := s.Baseline, s.Path
	if b == nil {
		b, source = DefaultBaseline(), "built in"
	}
	out := BaselineLimit{Judged: true, MaxIncrease: b.MaxIncrease, Anchor: b.MaxIncrease, Noise: b.Noise, Line: b.Line, AnchorLine: b.AnchorLine, Source: source}
	if b.Anchor != nil {
		out.Anchor = *b.Anchor
	}
	for _, r := range s.Tolerances.Rules {
		o := r.Baseline
		if o == nil || !Match(r.Checkpoint, checkpoint) {
			continue
		}
		if o.Judged != nil {
			out.Judged = *o.Judged
		}
		if o.MaxIncrease != nil {
			out.MaxIncrease, out.Anchor, out.Line, out.AnchorLine = *o.MaxIncrease, *o.MaxIncrease, o.Line, o.Line
		}
		if o.Anchor != nil {
			out.Anchor, out.AnchorLine = *o.Anchor, o.Line
		}
		if o.Noise != nil {
			out.Noise, out.Line = *o.Noise, o.Line
		}
	}
	return out
}

// BaselineJudges says whether a metric is held against the baseline.
func (s *Spec) BaselineJudges(metric string) bool {
	if s.Baseline == nil || len(s.Baseline.Metrics) == 0 {
		return slices.Contains(BaselineJudged(), metric)
	}
	return slices.Contains(s.Baseline.Metrics, metric)
}

var baselineFields = []field[Baseline]{
	{"store", true, storeKind(), "Where accepted runs are stored: dir:PATH, branch:NAME or branch:NAME@REMOTE."},
	{"required", false, boolKind("baseline.required", func(b *Baseline, v bool) { b.Required = v }), "Whether a run without a baseline to hold it against is incomplete."},
	{"max_increase", false, increaseKind("baseline.max_increase", func(b *Baseline, v float64) { b.MaxIncrease = v }), "Share by which a measurement may exceed the baseline's."},
	{"anchor", false, increaseKind("baseline.anchor", func(b *Baseline, v float64) { b.Anchor = &v }), "Share by which a measurement may exceed the one that was approved last; left out, max_increase."},
	{"noise", false, numberKind("baseline.noise", func(b *Baseline, v float64) { b.Noise = v }), "Standard deviations of repeated runs that are allowed, where they were measured."},
	{"ratchet", false, boolKind("baseline.ratchet", func(b *Baseline, v bool) { b.Ratchet = v }), "Whether the best value stays the baseline, so that improvements are kept."},
	{"metrics", false, baselineMetricsKind(), "Metrics that are judged; left out, rel_l2, position_rms, added, top1_agreement and kl.mean."},
}

func baselineKind() kind[Spec] {
	return kind[Spec]{read: func(d *decoder, n *yaml.Node, s *Spec) {
		b := DefaultBaseline()
		got := mapping(d, n, "baseline", baselineFields, nil, b)
		b.Line = n.Line
		if e, ok := got["max_increase"]; ok {
			b.Line = e.key.Line
		}
		b.AnchorLine = b.Line
		if e, ok := got["anchor"]; ok {
			b.AnchorLine = e.key.Line
		}
		s.Baseline = b
	}}
}

// storePattern is a scheme and what it takes. No remote behind the @ is the local
// branch.
const storePattern = `^(dir:.+|branch:[A-Za-z0-9][A-Za-z0-9._/+-]*(@([A-Za-z0-9][A-Za-z0-9._/+-]*)?)?)$`

var (
	storeRE      = regexp.MustCompile(storePattern)
	notRef       = regexp.MustCompile(`\.\.|//|[/.](@|$)|\.lock(@|$)`)
	storeSchemes = []string{"dir:PATH", "branch:NAME", "branch:NAME@REMOTE"}
)

func storeKind() kind[Baseline] {
	return kind[Baseline]{schema: patternSchema(storePattern), read: func(d *decoder, n *yaml.Node, b *Baseline) {
		s, ok := d.text(n, "baseline.store")
		if !ok || !d.template(n, s, nil) {
			return
		}
		if !storeRE.MatchString(s) || strings.HasPrefix(s, "branch:") && notRef.MatchString(s) {
			d.errorf(n, "baseline.store is %s: not a place for baselines", quote(s)).Choices = storeSchemes
			return
		}
		b.Store = s
		if dir, ok := strings.CutPrefix(s, "dir:"); ok {
			b.Dir = d.resolve(n, dir)
		}
	}}
}

// increaseKind is a share that may exceed 100 %.
func increaseKind[T any](what string, set func(*T, float64)) kind[T] {
	return kind[T]{schema: increaseSchema, read: func(d *decoder, n *yaml.Node, into *T) {
		if v, ok := d.increase(n, what); ok {
			set(into, v)
		}
	}}
}

func increaseSchema() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "number", Minimum: jsonNumber(0)}, patternSchema(percentPattern)()}}
}

func (d *decoder) increase(n *yaml.Node, what string) (float64, bool) {
	if n.Kind == yaml.ScalarNode && strings.HasSuffix(n.Value, "%") {
		return d.percentage(n, what)
	}
	return d.number(n, what)
}

func numberSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "number", Minimum: jsonNumber(0)}
}

func numberKind[T any](what string, set func(*T, float64)) kind[T] {
	return kind[T]{schema: numberSchema, read: func(d *decoder, n *yaml.Node, into *T) {
		if v, ok := d.number(n, what); ok {
			set(into, v)
		}
	}}
}

func baselineMetricsKind() kind[Baseline] {
	schema := func() *jsonschema.Schema {
		one, item := uint64(1), &jsonschema.Schema{Type: "string"}
		for _, m := range BaselineMetrics() {
			item.Enum = append(item.Enum, m)
		}
		return &jsonschema.Schema{Type: "array", Items: item, MinItems: &one, UniqueItems: true}
	}
	return kind[Baseline]{schema: schema, read: func(d *decoder, n *yaml.Node, b *Baseline) {
		if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
			d.errorf(n, "baseline.metrics is empty, so that nothing would be judged").Choices = BaselineMetrics()
		}
		for _, c := range d.items(n, "baseline.metrics") {
			switch {
			case c.Kind != yaml.ScalarNode || !slices.Contains(BaselineMetrics(), c.Value):
				d.choose(c, BaselineMetrics(), "baselines store no metric %s", shownNode(c))
			case slices.Contains(b.Metrics, c.Value):
				d.errorf(c, "%s is listed twice", c.Value)
			default:
				b.Metrics = append(b.Metrics, c.Value)
			}
		}
	}}
}

func shownNode(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode {
		return quote(n.Value)
	}
	return kindOf(n)
}

// baselineKeys are the keys of a rule that are about the baseline.
var baselineKeys = []string{"baseline", "max_increase", "anchor", "noise"}

// ruleBaseline reads one of baselineKeys.
func (d *decoder) ruleBaseline(e entry, r *Rule) {
	d.needBaseline = append(d.needBaseline, e.key)
	if r.Baseline == nil {
		r.Baseline = &RuleBaseline{Line: e.key.Line}
	}
	b := r.Baseline
	if e.key.Value == "baseline" {
		on := e.value.Value == "on"
		if e.value.Kind != yaml.ScalarNode || !on && e.value.Value != "off" {
			d.choose(e.value, []string{"on", "off"}, "baseline in a rule is on or off, not %s", kindOf(e.value))
			return
		}
		b.Judged = &on
		return
	}
	read := d.increase
	if e.key.Value == "noise" {
		read = d.number
	}
	v, ok := read(e.value, e.key.Value)
	if !ok {
		return
	}
	*map[string]**float64{"max_increase": &b.MaxIncrease, "anchor": &b.Anchor, "noise": &b.Noise}[e.key.Value] = &v
}

// baselineInSpec refuses rules on a baseline that the spec does not name.
func (d *decoder) baselineInSpec(got seen) {
	if _, written := got["baseline"]; written {
		return
	}
	for _, n := range d.needBaseline {
		d.errorf(n, `%s is about the baseline, which this spec does not name: add "baseline: {store: branch:parity-baselines}"`, n.Value)
	}
}

// baselineInRule are the schemas of baselineKeys.
func baselineInRule(rule *jsonschema.Schema) {
	for _, k := range []struct {
		key, doc string
		schema   *jsonschema.Schema
	}{
		{"baseline", "Whether these checkpoints are held against the baseline.", &jsonschema.Schema{Type: "string", Enum: []any{"on", "off"}}},
		{"max_increase", "Share by which a measurement here may exceed the baseline's, and the anchor's unless anchor is given.", increaseSchema()},
		{"anchor", "Share by which a measurement here may exceed the one that was approved last.", increaseSchema()},
		{"noise", "Standard deviations of repeated runs that are allowed here.", numberSchema()},
	} {
		k.schema.Description = k.doc
		rule.Properties.Set(k.key, k.schema)
	}
}
