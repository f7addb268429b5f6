package gate

import (
	"context"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/spec"
)

// RunOptions say where and how engines run.
type RunOptions struct {
	Options
	// Dir keeps the traces; "" is a temporary folder that is removed.
	Dir string
	// CacheDir holds compiled probes; "" is the user's cache folder.
	CacheDir string
	// Getenv reads the caller's environment.
	Getenv func(string) string
	// Status is told in a few words what is going on now. May be nil.
	Status func(string)
}

// Run runs the engines of s on every prompt, then compares and judges. An
// engine that fails makes the Result incomplete; an error means that nothing
// could be run at all (the spec does not hold together, ctx ended).
func Run(ctx context.Context, s *spec.Spec, o RunOptions) (*Result, error) {
	return &Result{}, ctx.Err()
}

// Capture runs one engine alone on one input and writes its trace, with
// canonical checkpoint names, to the file out (safetensors).
func Capture(ctx context.Context, cfg spec.Engine, in engine.Input, out string, o RunOptions) (*engine.Recording, error) {
	return nil, ctx.Err()
}
