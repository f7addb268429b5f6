package ggufgen

import (
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"sync"

	"github.com/paritygate/paritygate/gate/oracle/gguf"
)

// random is a tensor of values around mean with the given standard deviation.
func random(seed uint64, name string, t gguf.Type, mean, deviation float64, shape ...int) gguf.TensorData {
	h := fnv.New64a()
	h.Write([]byte(name))
	stream := h.Sum64()
	fillRow := func(row int, dst []float32) {
		fill(rand.NewPCG(seed+uint64(row)*0x9e3779b97f4a7c15, stream), mean, deviation, dst)
	}
	return gguf.TensorData{Name: name, Type: t, Shape: shape, Rows: func(first, n int, dst []float32) error {
		inParallel(n, func(i int) { fillRow(first+i, dst[i*shape[0]:(i+1)*shape[0]]) })
		return nil
	}}
}

// fill draws from the sum of four uniform variables: nearly normal, within 3.5
// standard deviations, and several times cheaper than a normal variable, which
// counts at 10^9 of them.
func fill(r *rand.PCG, mean, deviation float64, dst []float32) {
	const centre, spread = 4 * 65535.0 / 2, 37837.227 // of the sum of four 16-bit numbers
	scale := deviation / spread
	for i := range dst {
		u := r.Uint64()
		sum := u&0xffff + u>>16&0xffff + u>>32&0xffff + u>>48
		dst[i] = float32(mean + float64((float64(sum)-centre)*scale)) // float64(…): no fused rounding, the same file everywhere
	}
}

// inParallel calls do for 0…n−1, on all cores where there is enough to do.
func inParallel(n int, do func(int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 {
		for i := range n {
			do(i)
		}
		return
	}
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := n * w / workers; i < n*(w+1)/workers; i++ {
				do(i)
			}
		})
	}
	wait.Wait()
}
