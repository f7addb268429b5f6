package gate

import (
	"math"

	"github.com/paritygate/paritygate/gate/spec"
)

// explained is how large a metric may be by rounding alone, for one engine of
// unit roundoff u against an exact one, where the last position is p; A is
// angleOf(p, rows):
//
//	added                 √(u² + A² + (u/2 · ‖r_i‖/‖r_i−r_{i−1}‖)² + inherited²)
//	position_rms          √((u/2)² + inherited²)
//	worst_channel, scale  √(u² + (A/4)²)
//	worst_position        rowUnit(u, p), of a row at p
//
// The layer's own arithmetic errs by about u of what it adds; adding it to the
// stream rounds the whole stream; and an input that is off by a share gives an
// output that is off by about that share.
func explained(c *Checkpoint, name string, u float64, p int) (float64, bool) {
	angle, g := angleOf(p, c.Rows), c.Growth
	switch {
	case name == "worst_position":
		return rowUnit(u, p), true
	case name == "worst_channel" || name == "scale":
		return math.Hypot(u, angle/4), true
	case name == "added" && g != nil && g.Stride != 0:
		return math.Sqrt(u*u + sq(angle) + sq(u/2*float64(g.Stride)) + sq(float64(g.Inherited))), true
	case name == "position_rms" && g != nil:
		return math.Sqrt(sq(u/2) + sq(float64(g.InheritedRMS))), true
	}
	return 0, false
}

func sq(x float64) float64 { return x * x }

// angleUnit is by how much an angle of a rotary embedding is off, for each
// position. Whatever else an engine computes in, the angle is the product of
// position and frequency in f32, and engines make the frequencies in different
// ways. Beside the unit of f16 that is nothing up to ten thousand positions;
// beside that of f32 it is most of the error from a hundred on.
const angleUnit = 0x1p-24

// rowUnit is what rounding costs a row at position p.
//
// What the angles' error becomes, here and in angleOf, is measured: llama.cpp,
// transformers and two emulated engines against float64, five trained models with
// rotary embeddings, eight texts, 50 to 1,000 tokens. No limit was used by more
// than 69 % at any length.
func rowUnit(u float64, p int) float64 {
	return math.Hypot(u, float64(max(p, 0))*angleUnit/8)
}

// angleOf is what the angles cost a layer, relative to what it adds, over n rows
// that end at position p. Where attention is about to turn from one token to
// another, a row errs many times as much as the others, so that a few rows hold
// most of the error: of few rows, any may be such a one.
func angleOf(p, n int) float64 {
	return float64(max(p, 0)) * angleUnit * math.Sqrt(2/float64(max(n, 1))+1./512)
}

// nearestRow is the row that takes most of what its position allows, and its
// error: the worst row of all, or one of those that diverge more than every
// earlier one. Any other has an earlier row before it that errs as much and is
// allowed less.
func nearestRow(c *Checkpoint, worst Value, u float64) (int, Value) {
	at, most := c.Where.WorstPosition, worst
	for _, p := range c.Profile {
		if float64(p.RelL2)/rowUnit(u, p.Position) > float64(most)/rowUnit(u, at) {
			at, most = p.Position, p.RelL2
		}
	}
	return at, most
}

// fewRows is a preset's limit on a figure that gathers over the rows, where there
// are few of them: it is as uncertain as any average of few. false: then it says
// nothing. Some channel is nearly zero in every row: where n normal numbers make
// a channel, the least of width channels has width^(−1/n) of the typical size,
// and of one row it is any element that happens to be small.
func fewRows(a spec.Applied, c *Checkpoint) (spec.Applied, bool) {
	n := float64(max(c.Rows, 1))
	switch a.Metric {
	case "worst_channel":
		a.Value *= math.Sqrt(1+8/n) * math.Pow(float64(max(c.Compared, 1)), 1/n)
		return a, n > 1
	case "scale":
		a.Value *= math.Sqrt(1 + 8/n)
	case "added", "position_rms":
		a.Value *= max(1, 3/math.Sqrt(n))
	}
	return a, true
}
