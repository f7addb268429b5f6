//go:build amd64 && !purego

package metric

func nativeOps() *blockOps { return nil }

func nativeLogits() *logitsOps { return nil }
