//go:build amd64 && !purego

package metric

//go:generate go run -C asm . -out ../avx2_amd64.s -stubs ../avx2_amd64.go -pkg metric
//go:generate go run -C asm . -avx512 -out ../avx512_amd64.s -stubs ../avx512_amd64.go -pkg metric

import (
	"encoding/binary"
	"unsafe"
)

// hasAVX2 says that the processor and the system have AVX2, FMA and F16C.
var hasAVX2 = func() bool {
	const fma, osxsave, avx, f16c = 1 << 12, 1 << 27, 1 << 28, 1 << 29
	const avx2, ymmState = 1 << 5, 6
	if last, _, _, _ := cpuid(0, 0); last < 7 {
		return false
	}
	_, _, c, _ := cpuid(1, 0)
	if need := uint32(fma | osxsave | avx | f16c); c&need != need || xgetbv()&ymmState != ymmState {
		return false
	}
	_, b, _, _ := cpuid(7, 0)
	return b&avx2 != 0
}()

// nativeBlocks and nativeRows are what the machine has, the fastest first.
func nativeBlocks() (all []*blockOps) {
	if hasAVX512 {
		all = append(all, &avx512Ops)
	}
	if hasAVX2 {
		all = append(all, &avx2Ops)
	}
	return all
}

func nativeRows() (all []*logitsOps) {
	if hasAVX512 {
		all = append(all, &avx512Logits)
	}
	if hasAVX2 {
		all = append(all, &avx2Logits)
	}
	return all
}

var avx2Ops = blockOps{
	name: "avx2", maxBits: maxBitsNative, sums: sumsNative, added: addedNative, counts: countsNative,
	ulp32: ulp32Native, ulp16: ulp16Native, ulpMixed: ulpMixedNative, channels: channelsNative, findAbs: findAbsNative, findRel: findRelNative,
	decode: decodeNative, add: addNative,
}

var avx2Logits = logitsOps{name: "avx2", decode: decodeNative, peaks: peaksNative, over: overGo, kl: klNative}

// The wrappers hold the lengths to what the assembly takes: slices are as long
// as the first, and what is not a multiple of eight is done in Go.

func maxBitsNative(a, b []float32) uint32 {
	b = b[:len(a)]
	n := len(a) &^ 7
	m := maxBitsGo(a[n:], b[n:])
	if n > 0 {
		m = max(m, maxBitsAVX2(&a[0], &b[0], n))
	}
	return m
}

func sumsNative(r, c []float32, o *blockSums) {
	c = c[:len(r)]
	o.addedSq, o.step2 = 0, 0
	sumsAVX2(&r[0], &c[0], len(r), &o.abs)
}

func addedNative(r, c, pr, pc []float32, o *blockSums) {
	c, pr, pc = c[:len(r)], pr[:len(r)], pc[:len(r)]
	addedAVX2(&r[0], &c[0], &pr[0], &pc[0], len(r), &o.abs)
}

func countsNative(r, c []float32, o *blockCounts) {
	c = c[:len(r)]
	countsAVX2(&r[0], &c[0], len(r), &o.maxAbs)
}

func ulp32Native(r, c []float32, h *UlpHistogram, w *ulpWork) {
	c = c[:len(r)]
	ulp32AVX2(&r[0], &c[0], len(r), &w.codes[0], &w.mask[0], &w.above[0])
	w.addTo(h, len(r))
}

func ulp16Native(r, c []uint16, h *UlpHistogram, w *ulpWork) {
	c = c[:len(r)]
	ulp16AVX2(&r[0], &c[0], len(r), &w.codes[0], &w.mask[0], &w.above[0])
	w.addTo(h, len(r))
}

func ulpMixedNative(r, c []float32, u ulpUnit, h *UlpHistogram, w *ulpWork) {
	c = c[:len(r)]
	scale, shift := u.grid()
	ulpMixedAVX2(&r[0], &c[0], len(r), &w.codes[0], &w.mask[0], &w.above[0], scale, uint64(shift))
	w.addTo(h, len(r))
}

func channelsNative(r, c *[groupRows][]float32, rows int, sums []float64, stride int, set bool) {
	n := len(r[0])
	_ = sums[(channelPlanes-1)*stride+n-1]
	for plane := range channelPlanes {
		if set {
			clear(sums[plane*stride:][:n])
		}
	}
	if rows == groupRows {
		channels4AVX2(&r[0], &c[0], n, &sums[0], 8*stride)
		return
	}
	for i := range rows {
		channels1AVX2(&r[i], &c[i], n, &sums[0], 8*stride)
	}
}

func findAbsNative(r, c []float32, v float32) int {
	if n := len(r) &^ 7; n > 0 {
		return findAbsAVX2(&r[0], &c[:len(r)][0], n, v)
	}
	return findAbsGo(r, c, v)
}

func findRelNative(r, c []float32, v float32) int {
	if n := len(r) &^ 7; n > 0 {
		return findRelAVX2(&r[0], &c[:len(r)][0], n, v)
	}
	return findRelGo(r, c, v)
}

func decodeNative(dst []float32, dtype DType, src []byte) {
	n := len(dst) &^ 7
	if dtype == F32 || n == 0 {
		decode32(dst, dtype, src)
		return
	}
	_ = src[2*len(dst)-1]
	p := (*uint16)(unsafe.Pointer(unsafe.SliceData(src)))
	if dtype == F16 {
		decodeF16AVX2(&dst[0], p, n)
	} else {
		decodeBF16AVX2(&dst[0], p, n)
	}
	for i := n; i < len(dst); i++ {
		h := binary.LittleEndian.Uint16(src[2*i:])
		if dst[i] = BFloat16ToFloat32(h); dtype == F16 {
			dst[i] = HalfToFloat32(h)
		}
	}
}

func addNative(dst, src []float64) {
	src = src[:len(dst)]
	n := len(dst) &^ 7
	if n > 0 {
		addAVX2(&dst[0], &src[0], n)
	}
	addGo(dst[n:], src[n:])
}

func peaksNative(dst, v []float32) uint32 {
	if len(dst) == 0 {
		return 0
	}
	half := len(dst) * peakLen / 2
	m := maxBitsNative(v[:half], v[half:2*half])
	peaksAVX2(&dst[0], &v[0], len(dst))
	return m
}

func klNative(r, c []float32, rTop, cTop float32, o *klSums) {
	var s [3]float64
	if len(r) > 0 {
		klAVX2(&r[0], &c[:len(r)][0], len(r), rTop, cTop, &s[0])
	}
	*o = klSums{w: s[0], g: s[1], e: s[1] - s[2], d: s[2]}
}
