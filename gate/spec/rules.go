package spec

import (
	"slices"
	"strings"

	"github.com/paritygate/paritygate/gate/metric"
	"gopkg.in/yaml.v3"
)

// group is a key of a rule: one metric, or one with several statistics.
type group struct {
	name  string
	infos []metric.Info // one for each statistic
	stats []string      // their names; nil for a plain metric
}

// groups are the registry's metrics by the word before the dot.
func groups() []group {
	var out []group
	for _, i := range metric.All() {
		name, stat, several := strings.Cut(i.Name, ".")
		if len(out) == 0 || out[len(out)-1].name != name {
			out = append(out, group{name: name})
		}
		g := &out[len(out)-1]
		g.infos = append(g.infos, i)
		if several {
			g.stats = append(g.stats, stat)
		}
	}
	return out
}

func groupNames() []string {
	var out []string
	for _, g := range groups() {
		out = append(out, g.name)
	}
	return out
}

func rulesKind() kind[Tolerances] {
	return kind[Tolerances]{read: func(d *decoder, n *yaml.Node, t *Tolerances) {
		for _, c := range d.items(n, "rules") {
			t.Rules = append(t.Rules, d.rule(c))
		}
	}}
}

// rule reads one rule: a checkpoint, limits by metric, and limits that warn.
func (d *decoder) rule(n *yaml.Node) Rule {
	r := Rule{Line: n.Line, Column: n.Column, Source: d.name}
	entries := d.entries(n, "a rule")
	if n.Kind != yaml.MappingNode {
		return r
	}
	var checkpoint *yaml.Node
	var found []placed
	before := len(d.errs)
	for _, e := range entries {
		switch {
		case isNull(e.value):
			d.errorf(e.key, "%s has no value", e.key.Value)
		case e.key.Value == "checkpoint":
			checkpoint = e.value
			r.Checkpoint, _ = d.glob(e.value, "a rule's checkpoint")
		case e.key.Value == "warn":
			r.Warn = d.warn(e, &found)
		case slices.Contains(baselineKeys, e.key.Value):
			d.ruleBaseline(e, &r)
		default:
			r.Limits = append(r.Limits, d.limits(e, append([]string{"checkpoint", "warn"}, baselineKeys...), &found)...)
		}
	}
	if !slices.ContainsFunc(entries, func(e entry) bool { return e.key.Value == "checkpoint" }) {
		d.errorf(n, `a rule lacks the key "checkpoint"`)
	}
	if len(r.Limits)+len(r.Warn) == 0 && r.Baseline == nil && len(d.errs) == before {
		d.errorf(n, "a rule without a limit checks nothing: add one, as in rel_l2: 1%%")
	}
	if checkpoint != nil && r.Checkpoint != "" {
		d.scopes(r.Checkpoint, found)
	}
	d.useless(r, found)
	return r
}

// placed is a limit with the node it was read from.
type placed struct {
	Limit
	info metric.Info
	key  *yaml.Node
	warn bool
}

func (d *decoder) warn(e entry, found *[]placed) []Limit {
	var out []Limit
	var mine []placed
	entries := d.entries(e.value, "warn")
	for _, c := range entries {
		if isNull(c.value) {
			d.errorf(c.key, "%s has no value", c.key.Value)
			continue
		}
		out = append(out, d.limits(c, nil, &mine)...)
	}
	if e.value.Kind == yaml.MappingNode && len(e.value.Content) == 0 {
		d.errorf(e.value, "warn is empty: add a limit, as in rel_l2: 0.5%%")
	}
	for _, p := range mine {
		p.warn = true
		*found = append(*found, p)
	}
	return out
}

// limits reads the value of one metric's key: one limit, or one for each of
// its statistics. other are keys that would be valid beside metrics.
func (d *decoder) limits(e entry, other []string, found *[]placed) []Limit {
	i := slices.IndexFunc(groups(), func(g group) bool { return g.name == e.key.Value })
	if i < 0 {
		d.unknownMetric(e.key, other)
		return nil
	}
	g := groups()[i]
	if g.stats == nil {
		return d.limit(e, g.infos[0], found)
	}
	if e.value.Kind != yaml.MappingNode {
		d.errorf(e.value, "%s has several statistics: write %s: {%s: %s}", g.name, g.name, g.stats[0], shown(e.value)).Choices = g.stats
		return nil
	}
	var out []Limit
	for _, c := range d.entries(e.value, g.name) {
		j := slices.Index(g.stats, c.key.Value)
		switch {
		case j < 0:
			d.choose(c.key, g.stats, "unknown statistic %s of %s", quote(c.key.Value), g.name)
		case isNull(c.value):
			d.errorf(c.key, "%s has no value", c.key.Value)
		default:
			out = append(out, d.limit(c, g.infos[j], found)...)
		}
	}
	if len(e.value.Content) == 0 {
		d.errorf(e.value, "%s is empty", g.name).Choices = g.stats
	}
	return out
}

func shown(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && numberRE.MatchString(n.Value) {
		return n.Value
	}
	return "1e-3"
}

func (d *decoder) unknownMetric(n *yaml.Node, other []string) {
	if i, ok := metric.Lookup(n.Value); ok { // a dotted name
		name, stat, _ := strings.Cut(i.Name, ".")
		d.errorf(n, "%s is written %s: {%s: …}", i.Name, name, stat)
		return
	}
	d.choose(n, append(slices.Clone(other), groupNames()...), "unknown metric %s", quote(n.Value))
}

func (d *decoder) limit(e entry, info metric.Info, found *[]placed) []Limit {
	l := Limit{Metric: info.Name, Line: e.key.Line}
	if slices.Contains(oracleMetrics, info.Name) {
		d.needOracle = append(d.needOracle, e.key)
	}
	if e.value.Kind == yaml.ScalarNode && e.value.Value == "off" {
		l.Off = true
	} else {
		v, ok := d.limitValue(e.value, info)
		if !ok {
			return nil
		}
		l.Value = v
	}
	*found = append(*found, placed{Limit: l, info: info, key: e.key})
	return []Limit{l}
}

// limitValue reads a number, or a percentage where the metric allows one.
func (d *decoder) limitValue(n *yaml.Node, info metric.Info) (float64, bool) {
	what := "the limit of " + info.Name
	var v float64
	if p, ok := percent(n.Value); ok && n.Kind == yaml.ScalarNode {
		if !info.Percent {
			d.errorf(n, "%s is a plain number, not a percentage", what)
			return 0, false
		}
		v = p
	} else if n.Kind == yaml.ScalarNode && strings.HasSuffix(n.Value, "%") {
		return d.percentage(n, what)
	} else if v, ok = d.number(n, what); !ok {
		return 0, false
	}
	switch {
	case v > 1 && info.Share:
		d.errorf(n, "%s is %s: a share is at most 100%% (1)", what, n.Value)
	case v > 1 && info.Direction == metric.HigherIsBetter:
		d.errorf(n, "%s is %s: it never exceeds 1, so nothing could pass", what, n.Value)
	default:
		return v, true
	}
	return 0, false
}

// scopes refuses limits that no checkpoint of the rule can ever be held to: a
// gate that silently checks nothing is worse than none.
func (d *decoder) scopes(glob string, found []placed) {
	for _, p := range found {
		switch {
		case p.info.Scope == metric.LogitsOnly && !Match(glob, Logits):
			d.errorf(p.key, "%s is measured for logits only, which %s does not match", p.Metric, quote(glob))
		case (p.info.Scope == metric.HiddenOnly || p.info.Scope == metric.ResidualOnly) && glob == Logits:
			d.errorf(p.key, "%s is not measured for logits", p.Metric)
		}
	}
}

// useless refuses a warning that could never come before the failure.
func (d *decoder) useless(r Rule, found []placed) {
	for _, w := range found {
		if !w.warn || w.Off {
			continue
		}
		for _, f := range r.Limits {
			if f.Metric != w.Metric || f.Off || !w.info.Within(f.Value, w.Value) {
				continue
			}
			d.errorf(w.key, "this warning never comes: %s fails at the same value or before (line %d)", w.Metric, f.Line)
		}
	}
}
