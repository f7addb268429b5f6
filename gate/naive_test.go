package gate

import (
	"math"
	"slices"
	"sort"

	"github.com/paritygate/paritygate/gate/trace"
)

// naive computes every metric of the registry from its definition, with plain
// loops over float64 values. It shares no code with the kernels.
type naive struct {
	ref, cand         [][]float64 // as stored
	refPrev, candPrev [][]float64 // of the residual checkpoint before, or nil
	refType, candType trace.DType
	logits            bool
}

func (n naive) metrics() map[string]float64 {
	var count, abs, sq, ref2, cand2, cross, maxAbs, maxRel, over1, over10, magnitude float64
	channels := map[int][2]float64{}
	var rowRel, distances []float64
	for i := range n.ref {
		var d2, r2 float64
		for j, r := range n.ref[i] {
			c := n.cand[i][j]
			d := math.Abs(c - r)
			count++
			abs += d
			d2 += d * d
			r2 += r * r
			cand2 += c * c
			cross += r * c
			maxAbs = max(maxAbs, d)
			rel := d / max(math.Abs(r), 1e-8)
			maxRel = max(maxRel, rel)
			if rel > 0.01 {
				over1++
			}
			if rel > 0.1 {
				over10++
			}
			if math.Abs(c) >= math.Abs(r)/10 && math.Abs(r) >= math.Abs(c)/10 {
				magnitude++
			}
			channels[j] = [2]float64{channels[j][0] + d*d, channels[j][1] + r*r}
			distances = append(distances, n.ulps(r, c))
		}
		sq, ref2 = sq+d2, ref2+r2
		rowRel = append(rowRel, math.Sqrt(d2/r2))
	}
	out := map[string]float64{
		"rel_l2": math.Sqrt(sq / ref2), "nmse": sq / ref2, "max_abs": maxAbs, "mean_abs": abs / count, "rmse": math.Sqrt(sq / count),
		"max_rel": maxRel, "over_1pct": over1 / count, "over_10pct": over10 / count, "cosine": cross / math.Sqrt(ref2*cand2),
		"magnitude": magnitude / count, "scale": math.Abs(cross/ref2 - 1), "worst_position": slices.Max(rowRel),
		"sign_flips": n.signFlips(math.Sqrt(ref2/count)) / count, "ulp_p99": upperEdge(distances),
	}
	var squares float64
	for _, r := range rowRel {
		squares += r * r
	}
	out["position_rms"] = math.Sqrt(squares / float64(len(rowRel)))
	if n.logits {
		n.addLogits(out)
		return out
	}
	for _, s := range channels {
		out["worst_channel"] = max(out["worst_channel"], math.Sqrt(s[0]/s[1]))
	}
	if n.refPrev != nil {
		out["added"] = n.added()
	}
	return out
}

func (n naive) added() float64 {
	var e2, s2 float64
	for i := range n.ref {
		for j := range n.ref[i] {
			step := n.ref[i][j] - n.refPrev[i][j]
			e := n.cand[i][j] - n.candPrev[i][j] - step
			e2, s2 = e2+e*e, s2+step*step
		}
	}
	return math.Sqrt(e2 / s2)
}

// signFlips counts opposite signs of values that are not tiny, seven bits of
// the mantissa deciding.
func (n naive) signFlips(rms float64) (flips float64) {
	cut := func(v float64) float64 {
		return float64(math.Float32frombits(math.Float32bits(float32(math.Abs(v))) &^ 0xffff))
	}
	for i := range n.ref {
		for j, r := range n.ref[i] {
			if r*n.cand[i][j] < 0 && cut(r) > cut(rms*1e-3) {
				flips++
			}
		}
	}
	return flips
}

// ulps is the distance of two values on the grid of the coarser type, rounded up.
func (n naive) ulps(r, c float64) float64 {
	mantissa, lowest := 23, -126
	switch types := []trace.DType{n.refType, n.candType}; {
	case slices.Contains(types, trace.BF16):
		mantissa = 7
	case slices.Contains(types, trace.F16):
		mantissa, lowest = 10, -14
	case n.refType == trace.F64 && n.candType == trace.F64:
		a, b := int64(math.Float64bits(math.Abs(r))), int64(math.Float64bits(math.Abs(c)))
		if math.Signbit(r) {
			a = -a
		}
		if math.Signbit(c) {
			b = -b
		}
		return math.Abs(float64(a - b))
	default:
		r, c = float64(float32(r)), float64(float32(c)) // a float64 beside float32 values
	}
	at := func(v float64) float64 {
		sign := 1.0
		if v < 0 {
			sign, v = -1, -v
		}
		if v < math.Ldexp(1, lowest) {
			return sign * v / math.Ldexp(1, lowest-mantissa)
		}
		f, e := math.Frexp(v)
		return sign * math.Ldexp(float64(e-1-lowest)+2*f, mantissa)
	}
	return math.Ceil(math.Abs(at(r) - at(c)))
}

// upperEdge is the 99th percentile as the bins 0, 1, 2–3, 4–15 … know it.
func upperEdge(d []float64) float64 {
	sort.Float64s(d)
	v := d[int(math.Ceil(0.99*float64(len(d))))-1]
	for _, edge := range []float64{0, 1, 3, 15, 63, 255, 1<<10 - 1, 1<<12 - 1, 1<<14 - 1, 1<<16 - 1, 1<<20 - 1, 1<<24 - 1} {
		if v <= edge {
			return edge
		}
	}
	return math.Inf(1)
}

func (n naive) addLogits(out map[string]float64) {
	rows := float64(len(n.ref))
	var kls []float64
	for _, name := range []string{"top1_agreement", "topk_overlap", "rank_correlation", "kl.mean"} {
		out[name] = 0
	}
	for i := range n.ref {
		r, c := n.ref[i], n.cand[i]
		top, other := ordered(r), ordered(c)
		if top[0] == other[0] {
			out["top1_agreement"] += 1 / rows
		}
		for _, e := range top[:10] {
			if slices.Contains(other[:10], e) {
				out["topk_overlap"] += 1 / (10 * rows)
			}
		}
		depth := min(100, len(r))
		x, y := make([]float64, depth), make([]float64, depth)
		for k, e := range top[:depth] {
			x[k], y[k] = r[e], c[e]
		}
		out["rank_correlation"] += pearsonOf(ranks(x), ranks(y)) / rows
		p, q := softmax(r), softmax(c)
		kl := 0.0
		for e := range p {
			kl += p[e] * math.Log(p[e]/q[e])
		}
		kls = append(kls, kl)
		out["kl.mean"] += kl / rows
	}
	sort.Float64s(kls)
	out["kl.max"] = kls[len(kls)-1]
	at := 0.99 * (rows - 1)
	lo := int(at)
	out["kl.p99"] = kls[lo]
	if lo+1 < len(kls) {
		out["kl.p99"] += (at - float64(lo)) * (kls[lo+1] - kls[lo])
	}
}

// ordered are the elements, the largest value first, the lower element of equals.
func ordered(v []float64) []int {
	at := make([]int, len(v))
	for i := range at {
		at[i] = i
	}
	sort.SliceStable(at, func(a, b int) bool { return v[at[a]] > v[at[b]] })
	return at
}

// ranks counts for each value how many are smaller, and half of the equal ones.
func ranks(v []float64) []float64 {
	out := make([]float64, len(v))
	for i, a := range v {
		for j, b := range v {
			if b < a {
				out[i]++
			} else if a == b && i != j {
				out[i] += 0.5
			}
		}
	}
	return out
}

func pearsonOf(x, y []float64) float64 {
	n := float64(len(x))
	var sx, sy, xy, xx, yy float64
	for i := range x {
		sx, sy = sx+x[i], sy+y[i]
		xy, xx, yy = xy+x[i]*y[i], xx+x[i]*x[i], yy+y[i]*y[i]
	}
	return (xy - sx*sy/n) / math.Sqrt((xx-sx*sx/n)*(yy-sy*sy/n))
}

func softmax(v []float64) []float64 {
	top, sum := slices.Max(v), 0.0
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = math.Exp(x - top)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}
