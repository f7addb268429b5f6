package report

import (
	"testing"

	"github.com/paritygate/paritygate/gate"
)

// TestAcceptBesideBaseline: what to do where the baseline's limit stands worst,
// beside a note of a check and with or without a broken limit of the spec's own.
func TestAcceptBesideBaseline(t *testing.T) {
	approve := "if the change is meant, hold later runs against these numbers: `paritygate baseline approve 9090909090909090 --from DIR --reason WHY` with the folder of this run's reports"
	for _, own := range []bool{false, true} {
		r := regressed()
		for i := range r.Checkpoints {
			c := &r.Checkpoints[i]
			c.Findings = append(c.Findings, gate.Finding{Rule: "flips", Level: gate.LevelWarn, Checkpoint: c.Name, Metric: "top1_agreement", Message: "2 flips within the noise"})
			if own && c.Name == "layer_5_output" {
				judge(c, "rel_l2", float64(c.Metrics["rel_l2"])/1.5, "fail", 14)
			}
		}
		want := approve + "."
		if own {
			want = approve + ". That moves the baseline alone: `rel_l2` of `layer_5_output` is over the limit of `parity.yaml:14` as well."
		}
		if got := newView(r).accept(markdown); got != want {
			t.Errorf("a limit of the spec broken: %v\n%s\nwant\n%s", own, got, want)
		}
	}
}

// TestWorsenedMost: what broke its limit comes first, by how far, and not by how
// far it moved.
func TestWorsenedMost(t *testing.T) {
	r := regressed()
	for i := range r.Baseline.Deltas {
		switch d := &r.Baseline.Deltas[i]; d.Checkpoint {
		case "layer_5_output":
			d.Allowed /= 2
		case "layer_2_output":
			d.Delta, d.Share = 1, 100 // within what is allowed all the same
		}
	}
	worst, best := newView(r).extremes()
	if worst == nil || worst.Checkpoint != "layer_5_output" || best == nil || best.Checkpoint != "layer_1_output" {
		t.Errorf("worsened most %+v, improved most %+v", worst, best)
	}
}
