//go:build !amd64 || purego

package metric

// nativeBlocks is empty: there are no loops for this architecture but the portable ones.
func nativeBlocks() []*blockOps { return nil }

func nativeRows() []*logitsOps { return nil }
