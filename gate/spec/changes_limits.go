package spec

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/paritygate/paritygate/gate/metric"
)

// limits compares what holds for each checkpoint. Rules that both specs begin or
// end with are the same for every name and moved nothing.
func (d *differ) limits(presetBase, presetOwn string, checkpoints []string) {
	first, last := d.alike()
	base, own := d.base.Tolerances.Rules, d.own.Tolerances.Rules
	movedBase, movedOwn := base[first:len(base)-last], own[first:len(own)-last]
	if len(movedBase)+len(movedOwn) == 0 {
		return
	}
	moved := globsOf(movedOwn, movedBase)
	c := limitChanges{differ: d, seen: map[pair]bool{}, decided: map[side]bool{}}
	for _, name := range probes(checkpoints, moved, globsOf(movedOwn, movedBase, own, base)) {
		if slices.ContainsFunc(moved, func(g string) bool { return Match(g, name) }) {
			c.at(name, withOracle(d.base, name, d.base.decide(name, presetBase)), withOracle(d.own, name, d.own.decide(name, presetOwn)))
		}
	}
	c.undecided(first, movedBase, movedOwn)
}

// alike counts the rules that both specs begin with, and that both end with.
func (d *differ) alike() (first, last int) {
	base, own := d.base.Tolerances.Rules, d.own.Tolerances.Rules
	n := min(len(base), len(own))
	for first < n && sameRule(base[first], own[first]) {
		first++
	}
	for last < n-first && sameRule(base[len(base)-1-last], own[len(own)-1-last]) {
		last++
	}
	return first, last
}

func sameRule(a, b Rule) bool {
	same := func(x, y []Limit) bool {
		return slices.EqualFunc(x, y, func(p, q Limit) bool { p.Line, q.Line = 0, 0; return p == q })
	}
	return a.Checkpoint == b.Checkpoint && same(a.Limits, b.Limits) && same(a.Warn, b.Warn) && sameBaseline(a.Baseline, b.Baseline)
}

// globsOf are the globs of rules, each once, in order.
func globsOf(lists ...[]Rule) []string {
	seen := map[string]bool{}
	var out []string
	for _, rules := range lists {
		for _, r := range rules {
			if !seen[r.Checkpoint] {
				seen[r.Checkpoint] = true
				out = append(out, r.Checkpoint)
			}
		}
	}
	return out
}

// byOracle is the source of the limits that an oracle adds where no rule does.
const byOracle = "the oracle"

// withOracle adds the limits that hold beside an oracle where no rule speaks of
// their metric. Their values are the gate's.
func withOracle(s *Spec, checkpoint string, held map[slot]decision) map[slot]decision {
	for _, m := range oracleMetrics {
		if _, ruled := held[slot{m, levelFail}]; s.Oracle != nil && !ruled {
			held[slot{m, levelFail}] = decision{rule: -1, Applied: Applied{Metric: m, Level: levelFail, Value: math.NaN(), Source: byOracle, Rule: "*"}}
		}
	}
	return held
}

// limitChanges are the changes of limits, one for each pair of rules that decide.
type limitChanges struct {
	*differ
	seen    map[pair]bool
	decided map[side]bool
}

// side is a limit of one spec that decided somewhere.
type side struct {
	own  bool
	rule int
	slot
}

// pair is what decides in the base and in the own; −2 where nothing does.
type pair struct {
	slot
	base, own             int
	basePreset, ownPreset bool
}

// at compares what holds for one checkpoint.
func (c *limitChanges) at(name string, base, own map[slot]decision) {
	for _, info := range metric.All() {
		if !exists(info, name) {
			continue
		}
		for _, level := range []string{levelFail, levelWarn} {
			s := slot{info.Name, level}
			b, inBase := base[s]
			o, inOwn := own[s]
			p := pair{slot: s, base: -2, own: -2, basePreset: b.preset, ownPreset: o.preset}
			if inBase {
				p.base = b.rule
			}
			if inOwn {
				p.own = o.rule
			}
			if !b.preset && inBase {
				c.decided[side{false, b.rule, s}] = true
			}
			if !o.preset && inOwn {
				c.decided[side{true, o.rule, s}] = true
			}
			if !c.seen[p] {
				c.seen[p] = true
				c.compare(info, s, b, inBase, o, inOwn)
			}
		}
	}
}

// compare lists how one limit became another.
func (c *limitChanges) compare(info metric.Info, s slot, b decision, inBase bool, o decision, inOwn bool) {
	effect := c.effect(info, b, inBase && !b.off, o, inOwn && !o.off)
	if effect == "" {
		return
	}
	glob := o.Rule
	if !inOwn || inBase && literals(b.Rule) > literals(o.Rule) {
		glob = b.Rule
	}
	line := 0
	if inOwn {
		line = o.Line
	}
	from, to := "", ""
	if inBase {
		from = limitText(info, b)
	}
	if inOwn {
		to = limitText(info, o)
	}
	c.addAt(effect, limitName(glob, s), from, to, line, false)
}

// limitName is "layer_*_output: rel_l2", with warn before a limit that warns.
func limitName(glob string, s slot) string {
	if s.level == levelWarn {
		return glob + ": warn " + s.metric
	}
	return glob + ": " + s.metric
}

// effect says how a limit became another; held and holds are false where there is
// none, or one that is off.
func (c *limitChanges) effect(info metric.Info, b decision, held bool, o decision, holds bool) string {
	byOracleOnly := func(d decision, has bool) bool { return has && d.Source == byOracle && d.rule < 0 }
	fromOracle, toOracle := byOracleOnly(b, held), byOracleOnly(o, holds)
	switch {
	case !held && !holds, fromOracle && toOracle, held && holds && b.preset && o.preset:
		return "" // of presets that differ it is said once
	case fromOracle && c.own.Oracle == nil || toOracle && c.base.Oracle == nil:
		return "" // said of the oracle
	case !holds:
		return Loosened
	case !held:
		return Tightened
	case fromOracle || toOracle || b.Unit != 0 || o.Unit != 0:
		return Changed
	case o.preset:
		// The gate widens a preset's limits, and forgives one that cannot be measured.
		if looser(info, b.Value, widest(info, o.Value)) {
			return Tightened
		}
		return Loosened
	case b.preset:
		if b.Value == o.Value || looser(info, b.Value, o.Value) {
			return Tightened
		}
		return Loosened
	case b.Value == o.Value:
		return ""
	case looser(info, o.Value, b.Value):
		return Loosened
	case looser(info, b.Value, o.Value):
		return Tightened
	}
	return Changed // NaN, which no file can hold
}

// looser says that a limit of a lets more pass than one of b.
func looser(info metric.Info, a, b float64) bool {
	if info.Direction == metric.HigherIsBetter {
		return a < b
	}
	return a > b
}

// widest is the widest that the gate may make a preset's limit.
func widest(info metric.Info, v float64) float64 { return v * PresetRoom(info.Name) }

// PresetRoom is by how much the gate may widen a preset's limit at most: √2 where
// both engines round alike, squared for squares, and 3 times that for what
// gathers over the positions of a short prompt.
func PresetRoom(name string) float64 {
	switch info, _ := metric.Lookup(name); {
	case info.Direction == metric.HigherIsBetter || info.Share:
		return 1
	case name == "kl.mean" || name == "nmse":
		return 2
	case name == "scale" || name == "worst_channel":
		return 3 * math.Sqrt2
	}
	return math.Sqrt2
}

// literals counts what a glob fixes: the more, the narrower it is.
func literals(glob string) int {
	n := 0
	for _, p := range parts(glob) {
		if !p.star && len(p.some) == 1 {
			n++
		}
	}
	return n
}

// limitText writes a limit as a spec does.
func limitText(info metric.Info, d decision) string {
	switch {
	case d.off:
		return "off"
	case d.Source == byOracle && d.rule < 0:
		return "as " + byOracle + " sets it"
	}
	s := plainNumber(d.Value)
	if info.Percent {
		s = strconv.FormatFloat(d.Value*100, 'g', 12, 64) + "%"
	}
	if d.Unit != 0 {
		s = plainNumber(d.Value) + " × rounding"
	}
	if d.preset {
		s += " (" + d.Source + ")"
	}
	return s
}

// plainNumber writes 1e10 and 0.001 as people do.
func plainNumber(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	return strings.NewReplacer("e+0", "e", "e+", "e", "e-0", "e-").Replace(s)
}

// undecided lists limits that only one spec has and that decided for no name that
// was tried: nobody knows what they are for.
func (c *limitChanges) undecided(first int, movedBase, movedOwn []Rule) {
	key := func(r Rule, level string, l Limit) string {
		return fmt.Sprintf("%q %s %s %v %v", r.Checkpoint, level, l.Metric, l.Value, l.Off)
	}
	count := func(rules []Rule) map[string]int {
		n := map[string]int{}
		eachLimit(rules, func(_ int, r Rule, level string, l Limit) { n[key(r, level, l)]++ })
		return n
	}
	only := func(own bool, rules []Rule, elsewhere map[string]int) {
		eachLimit(rules, func(i int, r Rule, level string, l Limit) {
			k, s := key(r, level, l), slot{l.Metric, level}
			if elsewhere[k]--; elsewhere[k] >= 0 || c.decided[side{own, first + i, s}] {
				return
			}
			info, _ := metric.Lookup(l.Metric)
			text := limitText(info, decision{off: l.Off, Applied: Applied{Value: l.Value, Unit: l.Unit}})
			if own {
				c.addAt(Changed, limitName(r.Checkpoint, s), "", text, l.Line, false)
			} else {
				c.addAt(Changed, limitName(r.Checkpoint, s), text, "", 0, false)
			}
		})
	}
	inBase, inOwn := count(movedBase), count(movedOwn)
	only(false, movedBase, inOwn)
	only(true, movedOwn, inBase)
}

// eachLimit visits the limits of rules.
func eachLimit(rules []Rule, visit func(i int, r Rule, level string, l Limit)) {
	for i, r := range rules {
		for _, l := range r.Limits {
			visit(i, r, levelFail, l)
		}
		for _, l := range r.Warn {
			visit(i, r, levelWarn, l)
		}
	}
}
