package gate

import (
	"context"
	"fmt"

	"github.com/paritygate/paritygate/gate/metric"
)

// Observer is shown the candidate's rows while they are compared, so that what
// else is to be known of them costs no second pass over the traces.
type Observer interface {
	// Observe gets some consecutive rows of one checkpoint. Every row that is
	// compared comes exactly once, those of a checkpoint in ascending position
	// and one call after the other; calls for different checkpoints may come at
	// the same time. An error ends the comparison.
	Observe(Observed) error
}

// Observed is some of the candidate's rows at one checkpoint of one prompt.
type Observed struct {
	Prompt, Checkpoint string
	// Positions are those of all rows of the checkpoint that are compared,
	// ascending; First is the index among them of the first row at hand. They
	// are shared: not to be changed.
	Positions []int
	First     int
	// Width is the number of elements that are compared of a row.
	Width int
	// Rows are whole rows, as they are stored. The bytes are valid during the call.
	Rows metric.Block
}

// observe shows the chunk at hand to who asked.
func (w *worker) observe(c *collector, ch chunk) error {
	o := w.m.observer
	if o == nil {
		return nil
	}
	a := c.out.aligned
	err := o.Observe(Observed{Prompt: w.m.prompt, Checkpoint: a.name, Positions: c.out.positions, First: ch.first,
		Width: a.elements, Rows: block(a.cand, w.now.cand)})
	if err != nil {
		return fmt.Errorf("%s: %w", a.name, err)
	}
	return nil
}

// unobserved are options for measurements beside the candidate's: nobody is
// shown their rows or told their progress.
func (o Options) unobserved() Options {
	o.Progress, o.Observer = nil, nil
	return o
}

// findBaseline asks, once everything is measured, what the run is held against.
func findBaseline(ctx context.Context, r *Result, o Options) {
	if o.Baseline != nil {
		r.Baseline = o.Baseline(ctx, r)
	}
}
