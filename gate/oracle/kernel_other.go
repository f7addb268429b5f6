//go:build !amd64 || purego

package oracle

func bestKernel[T float]() *kernel[T] { return portable[T]() }

func kernels[T float]() []*kernel[T] { return []*kernel[T]{portable[T]()} }

func widen[T float](_ []T, _ []byte) bool { return false }
