package gate

import (
	"context"

	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// Pair is one prompt's traces, open.
type Pair struct {
	Prompt               string
	Reference, Candidate *trace.Trace
}

// Options say how to compare; they never change what is found.
type Options struct {
	// Workers is the number of goroutines that read and compare; 0 means one a CPU.
	Workers int
	// Portable forces the kernel that runs on any processor.
	Portable bool
	// Progress is told how many bytes of how many are compared. May be nil.
	Progress func(done, total int64)
	// Version is paritygate's own version, for the environment section.
	Version string
}

// Compare aligns, measures and judges pairs of traces. An error means that a
// trace could not be read (or ctx ended); everything else is in the Result.
func Compare(ctx context.Context, s *spec.Spec, pairs []Pair, o Options) (*Result, error) {
	return &Result{}, ctx.Err()
}

// Judge judges r's measurements again under s, in place: limits, findings,
// statuses, reasons and outcome are replaced; measurements stay.
func Judge(r *Result, s *spec.Spec) {}
