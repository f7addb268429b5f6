//go:build !amd64 || purego

package metric

// nativeOps is nil: there are no loops for this architecture but the portable ones.
func nativeOps() *blockOps { return nil }

func nativeLogits() *logitsOps { return nil }
