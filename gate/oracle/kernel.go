package oracle

// kernel is the inner loop of products with weights, for one machine. Positions
// lie side by side in vectors of lanes, so that weights are used as they lie in
// the file, row by row.
type kernel[T float] struct {
	name string
	// lanes is how many positions a vector holds, vectors how many of them a
	// panel has at most, rows how many rows of weights a tile takes.
	lanes, vectors, rows int
	// depth is how many terms are summed before they are added to the total.
	depth int
	// tile adds to c, rows × stride elements of which each row's first v·lanes are
	// a panel's, the sums over k terms of x's panel, k × v·lanes, times w's rows,
	// which are wStride elements apart. k > 0.
	tile func(v, k int, x, w []T, wStride int, c []T, stride int)
}

// portable is the kernel in plain Go.
func portable[T float]() *kernel[T] {
	return &kernel[T]{name: "portable", lanes: 4, vectors: 1, rows: 2, depth: 128, tile: tileGo[T]}
}

func tileGo[T float](_, k int, x, w []T, wStride int, c []T, stride int) {
	var a0, a1, a2, a3, b0, b1, b2, b3 T
	w0, w1, x := w[:k], w[wStride:wStride+k], x[:4*k]
	for i, p := range w0 {
		q, v := w1[i], x[4*i:4*i+4:4*i+4]
		a0 += p * v[0]
		a1 += p * v[1]
		a2 += p * v[2]
		a3 += p * v[3]
		b0 += q * v[0]
		b1 += q * v[1]
		b2 += q * v[2]
		b3 += q * v[3]
	}
	r0, r1 := c[:4], c[stride:stride+4]
	r0[0] += a0
	r0[1] += a1
	r0[2] += a2
	r0[3] += a3
	r1[0] += b0
	r1[1] += b1
	r1[2] += b2
	r1[3] += b3
}
