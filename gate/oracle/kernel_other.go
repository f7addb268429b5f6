package oracle

func bestKernel[T float]() *kernel[T] { return portable[T]() }
