package gate

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// What rounding explains at a position far into a prompt, by hand: the angles of
// 4096 positions are off by 2^-12, over 64 rows a layer by √(1/32 + 1/512) of that.
func TestExplainedByAngles(t *testing.T) {
	const u, angle = 0x1p-22, 0x1p-12
	over := angle * math.Sqrt(17./512)
	c := &Checkpoint{Rows: 64, LastPosition: 4096, Growth: &Growth{Inherited: 3e-5, InheritedRMS: 4e-5, Stride: 8}}
	for name, want := range map[string]float64{
		"added":          math.Sqrt(u*u + over*over + 16*u*u + 9e-10),
		"position_rms":   math.Sqrt(u*u/4 + 16e-10),
		"worst_channel":  math.Sqrt(u*u + over*over/16),
		"scale":          math.Sqrt(u*u + over*over/16),
		"worst_position": math.Sqrt(u*u + angle*angle/64),
	} {
		if got, ok := explained(c, name, u, c.LastPosition); !ok || !near(got, want, 1e-12) {
			t.Errorf("%s: %v (%v), want %v", name, got, ok, want)
		}
		first := Checkpoint{Rows: 1, Growth: &Growth{Stride: 8}}
		if got, _ := explained(&first, name, u, 0); got > 5*u {
			t.Errorf("%s at position 0: %v: nothing turns there", name, got)
		}
	}
	for _, name := range []string{"added", "position_rms", "rel_l2"} {
		if got, ok := explained(&Checkpoint{Rows: 64}, name, u, 9); ok {
			t.Errorf("%s without a checkpoint before: %v", name, got)
		}
	}
}

// f16 and coarser presets hardly notice the angles; f32 lives by them.
func TestAnglesMatterToF32(t *testing.T) {
	for preset, least := range map[string]float64{"f32": 7, "f16": 1, "bf16": 1} {
		u := spec.Unit(preset)
		if got := rowUnit(u, 250) / u; got < least || got > 1.001*max(least, 1)*1.2 {
			t.Errorf("%s: a row at 250 may err by %v units, want about %v", preset, got, least)
		}
	}
	if few, many := angleOf(250, 1), angleOf(250, 250); !(few > 10*many/4 && many < 0x1p-24*250/8) {
		t.Errorf("one row %v, 250 rows %v", few, many)
	}
}

// Each row is held against the limit of its own position: an error that is
// fine at the end of a prompt fails at its beginning.
func TestWorstPositionByRow(t *testing.T) {
	const u = 0x1p-22
	limit := func(p int) float64 { return 30 * math.Sqrt2 * math.Sqrt(u*u+sq(float64(p)*0x1p-27/math.Sqrt2)) }
	for _, c := range []struct {
		name     string
		profile  []ProfilePoint
		at       int // that is judged
		position int // of the finding, −1 for none
	}{
		{"within", []ProfilePoint{{0, 5e-6, 0, 0}, {900, 1.5e-4, 0, 0}}, 900, -1},
		{"early", []ProfilePoint{{0, 9e-6, 0, 0}, {10, 2e-5, 0, 0}, {900, 1.5e-4, 0, 0}}, 10, 10},
		{"late", []ProfilePoint{{0, 1e-6, 0, 0}, {10, 2e-6, 0, 0}, {900, 1e-3, 0, 0}}, 900, 900},
		{"both", []ProfilePoint{{0, 1e-6, 0, 0}, {10, 2e-5, 0, 0}, {900, 5e-3, 0, 0}}, 900, 10},
		{"infinite", []ProfilePoint{{0, 1e-6, 0, 0}, {900, Value(math.Inf(1)), 0, 0}}, 900, 900},
	} {
		cp := measuredAt("layer_0_output", map[string]Value{"worst_position": c.profile[len(c.profile)-1].RelL2})
		cp.Profile, cp.Where.WorstPosition, cp.Rows, cp.LastPosition = c.profile, 900, 1000, 999
		r := resultOf(cp)
		Judge(r, parsed(t, ""))
		i := slices.IndexFunc(c.profile, func(p ProfilePoint) bool { return p.Position == c.at })
		l := r.Checkpoints[0].Limits[0]
		if l.Metric != "worst_position" || l.Explained != 30 || !near(float64(l.Limit), limit(c.at), 1e-8) || l.Value != c.profile[i].RelL2 {
			t.Errorf("%s: %+v, want position %d with the limit %v", c.name, l, c.at, limit(c.at))
		}
		at := -1
		if fs := r.Checkpoints[0].Findings; len(fs) > 0 {
			at = fs[0].Position
		}
		if at != c.position || l.Within != (at < 0) {
			t.Errorf("%s: %+v, position %d, want %d", c.name, l, at, c.position)
		}
	}
}

// The worst row of all is judged even where it is no point of the profile: it may
// err up to 2 % more than one that is.
func TestWorstPositionOffTheProfile(t *testing.T) {
	c := measuredAt("layer_0_output", nil)
	c.Profile = []ProfilePoint{{2, 1e-5, 0, 0}}
	if at, v := nearestRow(&c, 1.01e-5, 1); at != 6 || v != 1.01e-5 {
		t.Errorf("position %d, %v", at, v)
	}
	c.Profile, c.Where.WorstPosition = nil, -1
	if at, v := nearestRow(&c, Value(math.NaN()), 1); at != -1 || !math.IsNaN(float64(v)) {
		t.Errorf("without rows: position %d, %v", at, v)
	}
}

// What few rows do to a preset's limits on figures that gather over them.
func TestFewRows(t *testing.T) {
	factors := func(rows int) map[string]float64 {
		out := map[string]float64{}
		c := &Checkpoint{Rows: rows, Compared: 81}
		for _, m := range []string{"worst_channel", "scale", "added", "position_rms", "worst_position", "rel_l2", "kl.mean"} {
			if a, ok := fewRows(spec.Applied{Metric: m, Value: 2, Unit: 5}, c); ok {
				out[m] = a.Value / 2
				if a.Unit != 5 {
					t.Errorf("%s over %d rows: unit %v", m, rows, a.Unit)
				}
			}
		}
		return out
	}
	for rows, want := range map[int]map[string]float64{
		1: {"scale": 3, "added": 3, "position_rms": 3, "worst_position": 1, "rel_l2": 1, "kl.mean": 1},
		4: {"worst_channel": 3 * math.Sqrt(3), "scale": math.Sqrt(3), "added": 1.5, "position_rms": 1.5, "worst_position": 1, "rel_l2": 1, "kl.mean": 1},
		32: {"worst_channel": math.Sqrt(1.25) * math.Pow(81, 1./32), "scale": math.Sqrt(1.25), "added": 1, "position_rms": 1,
			"worst_position": 1, "rel_l2": 1, "kl.mean": 1},
	} {
		if got := factors(rows); !maps.EqualFunc(got, want, func(a, b float64) bool { return near(a, b, 1e-12) }) {
			t.Errorf("%d rows: %v\nwant %v", rows, got, want)
		}
	}
}

// Of one row, a preset says nothing of channels; a rule of the spec does.
func TestOneRow(t *testing.T) {
	cp := measuredAt("layer_0_output", map[string]Value{"worst_channel": 0.5})
	cp.Rows = 1
	for yaml, want := range map[string]int{
		"tolerances: {preset: f16}\n": 0,
		`tolerances: {preset: f16, rules: [{checkpoint: "layer_*", worst_channel: 1%}]}` + "\n": 1,
	} {
		r := resultOf(cp)
		Judge(r, parsed(t, yaml))
		if got := len(r.Checkpoints[0].Limits); got != want {
			t.Errorf("%s%+v", yaml, r.Checkpoints[0].Limits)
		}
	}
}

// The last position compared is what the angles are reckoned by.
func TestLastPosition(t *testing.T) {
	rows := noisy(seeded(4), 4, 8, 1)
	meta := trace.Meta{Positions: []int{3, 4, 5, 9}}
	p := Pair{"p", made(t, meta, point{name: "embedding", rows: rows}), made(t, meta, point{name: "embedding", rows: rows})}
	for yaml, want := range map[string]int{"": 9, "skip: {positions: [9]}\n": 5} {
		if c := checkpointOf(t, compared(t, parsed(t, yaml), Options{}, p), "embedding"); c.LastPosition != want {
			t.Errorf("%q: last position %d, want %d", yaml, c.LastPosition, want)
		}
	}
}
