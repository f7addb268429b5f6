//go:build amd64 && !purego

package oracle

//go:generate go run -C asm . -out ../tiles_amd64.s -stubs ../tiles_amd64.go -pkg oracle

import "unsafe"

// hasAVX2 says that the processor and the system have AVX2, FMA and F16C, hasAVX512
// that they have AVX-512F, too.
var hasAVX2, hasAVX512 = func() (avx2, avx512 bool) {
	const fma, osxsave, avx, f16c = 1 << 12, 1 << 27, 1 << 28, 1 << 29
	const ymmState, zmmState = 0x06, 0xe6
	if last, _, _, _ := cpuid(0, 0); last < 7 {
		return false, false
	}
	_, _, c, _ := cpuid(1, 0)
	if need := uint32(fma | osxsave | avx | f16c); c&need != need || xgetbv()&ymmState != ymmState {
		return false, false
	}
	_, b, _, _ := cpuid(7, 0)
	return b&(1<<5) != 0, b&(1<<16) != 0 && xgetbv()&zmmState == zmmState
}()

// tileFunc is what the assembly offers; strides are in bytes.
type tileFunc[T float] func(k int, x, w *T, wStride int, c *T, stride int)

// bestKernel is the fastest kernel that this machine runs.
func bestKernel[T float]() *kernel[T] {
	all := kernels[T]()
	return all[len(all)-1]
}

// kernels are all that this machine runs, the fastest last.
func kernels[T float]() []*kernel[T] {
	var zero T
	single := unsafe.Sizeof(zero) == 4
	all := []*kernel[T]{portable[T]()}
	if hasAVX2 && single {
		all = append(all, native[T]("avx2", 8, 4, any([3]tileFunc[float32]{tile1xF32AVX2, tile2xF32AVX2, tile3xF32AVX2})))
	} else if hasAVX2 {
		all = append(all, native[T]("avx2", 4, 4, any([3]tileFunc[float64]{tile1xF64AVX2, tile2xF64AVX2, tile3xF64AVX2})))
	}
	if hasAVX2 && hasAVX512 && single {
		all = append(all, native[T]("avx512", 16, 8, any([3]tileFunc[float32]{tile1xF32AVX512, tile2xF32AVX512, tile3xF32AVX512})))
	} else if hasAVX2 && hasAVX512 {
		all = append(all, native[T]("avx512", 8, 8, any([3]tileFunc[float64]{tile1xF64AVX512, tile2xF64AVX512, tile3xF64AVX512})))
	}
	return all
}

// native wraps functions for one to three vectors, which are tileFunc[T].
func native[T float](name string, lanes, rows int, tiles any) *kernel[T] {
	f := tiles.([3]tileFunc[T])
	var zero T
	size := int(unsafe.Sizeof(zero))
	return &kernel[T]{name: name, lanes: lanes, vectors: 3, rows: rows, depth: 128,
		tile: func(v, k int, x, w []T, wStride int, c []T, stride int) {
			// The assembly reads and writes up to these.
			_, _, _ = x[k*v*lanes-1], w[(rows-1)*wStride+k-1], c[(rows-1)*stride+v*lanes-1]
			f[v-1](k, &x[0], &w[0], wStride*size, &c[0], stride*size)
		}}
}

// widen is gguf.Dequantize of halves; false when this machine has nothing faster.
func widen[T float](dst []T, src []byte) bool {
	if !hasAVX2 || len(dst)%8 != 0 || len(dst) == 0 {
		return false
	}
	_ = src[2*len(dst)-1]
	switch dst := any(dst).(type) {
	case []float32:
		widenF32(&dst[0], &src[0], len(dst))
	case []float64:
		widenF64(&dst[0], &src[0], len(dst))
	}
	return true
}
