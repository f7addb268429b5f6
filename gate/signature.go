package gate

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"

	"github.com/paritygate/paritygate/gate/metric"
)

// signature is what the error of one checkpoint looks like, measured on a
// sample of its rows. The error e is what the checkpoint itself added: for a
// residual layer (c_i−c_{i−1}) − (r_i−r_{i−1}), held against s = r_i−r_{i−1};
// elsewhere c−r, held against r.
type signature struct {
	positions []int
	rel       []float64 // ‖e‖/‖s‖ by row
	median    float64   // of rel
	limit     float64   // what the limits allow all rows together
	exact     []bool    // rows whose error rounding explains
	last      bool      // the last compared position is the last row

	gain, gainShare       float64 // e ≈ gain·s, and the share of Σe² that this explains
	channel               int     // element with most of Σe²
	channelShare          float64
	oneDirection          float64 // rankOneShare of e
	nothingAdded          bool    // the candidate's layer added nothing
	normCorrelation       float64 // of a row's error with 1/mean square of the layer's input, both in logarithms
	normSteepness         float64 // and the slope
	shift                 int     // candidate row p equals reference row p+shift; 0 when none
	resembles             string  // another layer whose contribution the candidate's resembles more
	resemblance, ownMatch float64 // cosines with that layer's and with its own
}

// signatureOf measures the error of a sampled checkpoint. before is the sample
// of the residual checkpoint before, or nil. limit is the relative error that
// the applied limits allow a row.
func signatureOf(now, before *sample, limit float64) *signature {
	e, s := minus(now.cand, now.ref), now.ref
	if before != nil {
		e = minus(e, minus(before.cand, before.ref))
		s = minus(now.ref, before.ref)
	}
	g := &signature{positions: now.positions, last: now.last, limit: limit}
	for i := range e {
		g.rel = append(g.rel, ratioOf(norm(e[i]), norm(s[i])))
	}
	if len(g.rel) == 0 {
		return g
	}
	g.median = metric.Percentile(slices.Clone(g.rel), 0.5)
	within := exactWithin(limit, g.median, slices.Max(g.rel))
	for _, r := range g.rel {
		g.exact = append(g.exact, r <= within)
	}
	es, ss, ee := inner(e, s), inner(s, s), inner(e, e)
	g.gain, g.gainShare = ratioOf(es, ss), ratioOf(es*es, ss*ee)
	g.channel, g.channelShare = worstElement(e, ee)
	g.oneDirection = rankOneShare(e)
	if before != nil {
		g.nothingAdded = g.gainShare > 0.999 && math.Abs(g.gain+1) < 1e-3
		g.normCorrelation, g.normSteepness = normCorrelation(g.rel, before.ref)
	}
	g.shift = rowShift(now)
	return g
}

// exactWithin is the relative error up to which a row counts as right. A row may
// err a few times as much as the limit allows all rows together; but where the
// fault itself is hardly larger, only rows far below the others are right.
func exactWithin(limit, median, worst float64) float64 {
	return max(min(4*limit, 0.15*worst), 0.02*median)
}

func ratioOf(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// worstElement is the element with the largest share of Σe².
func worstElement(e [][]float64, total float64) (int, float64) {
	sums := make([]float64, len(e[0]))
	for _, row := range e {
		for j, v := range row {
			sums[j] += v * v
		}
	}
	at := 0
	for j, v := range sums {
		if v > sums[at] {
			at = j
		}
	}
	return at, ratioOf(sums[at], total)
}

// normCorrelation is how closely the rows' errors follow 1/mean(x²) of the
// layer's input x, as Pearson's correlation of the logarithms, and how steeply:
// an epsilon under a root matters in proportion to it, whatever the weights.
func normCorrelation(rel []float64, x [][]float64) (correlation, steepness float64) {
	var errors, inverse []float64
	for i := range rel {
		ms := dot(x[i], x[i]) / float64(len(x[i]))
		if ms > 0 && rel[i] > 0 {
			errors = append(errors, math.Log(rel[i]))
			inverse = append(inverse, -math.Log(ms))
		}
	}
	if len(errors) < 8 {
		return 0, 0
	}
	if correlation = stat.Correlation(inverse, errors, nil); math.IsNaN(correlation) {
		return 0, 0 // all alike
	}
	_, steepness = stat.LinearRegression(inverse, errors, nil, false)
	return correlation, steepness
}

// rowShift is k ≠ 0 when nearly every candidate row is the reference's row k
// positions on.
func rowShift(s *sample) int {
	for _, k := range []int{1, -1} {
		hits, tried := 0, 0
		for i := range s.cand {
			j := i + k
			if j < 0 || j >= len(s.ref) || s.positions[j] != s.positions[i]+k {
				continue
			}
			own, other := distance(s.cand[i], s.ref[i]), distance(s.cand[i], s.ref[j])
			if own == 0 {
				continue
			}
			tried++
			if other < 0.02*own {
				hits++
			}
		}
		if tried >= 3 && float64(hits) >= 0.9*float64(tried) {
			return k
		}
	}
	return 0
}

func distance(a, b []float64) float64 {
	var s float64
	for i := range a {
		s += sq(a[i] - b[i])
	}
	return math.Sqrt(s)
}

// rise is how much larger the error is in the last quarter of the rows than in
// the first few behind the first: about 1 for an error that does not depend on
// the position.
func (g *signature) rise() float64 {
	n := len(g.rel)
	if n < 12 {
		return 1
	}
	early, late := mean(g.rel[1:max(3, n/10)]), mean(g.rel[n-n/4:])
	if early == 0 && late > 0 {
		return math.Inf(1)
	}
	return ratioOf(late, early)
}

func mean(v []float64) float64 {
	var s float64
	for _, x := range v {
		s += x
	}
	return s / float64(len(v))
}

// gradual reports whether the error behind the first k rows begins small: what
// a cut leaves is wrong at once, what an angle leaves is wrong by and by.
func (g *signature) gradual(k int) bool {
	n := len(g.rel)
	if k >= n {
		return false
	}
	// One spiky row behind a long right start does not make a cut, either.
	late := mean(g.rel[max(k, n-n/4):])
	return mean(g.rel[k:min(n, k+3)]) < 0.4*late || g.exactRows() > k+(n-k)/5 && g.rise() > 4
}

// apart reports whether the rows of a class are clearly not of the other: the
// least of the wrong rows errs several times as much as the most of the right.
func (g *signature) apart() bool {
	right, wrong := 0.0, math.Inf(1)
	for i, ok := range g.exact {
		if ok {
			right = max(right, g.rel[i])
		} else {
			wrong = min(wrong, g.rel[i])
		}
	}
	return wrong > 3*right
}

// exactPrefix is how many first rows rounding explains; exactRows how many in all.
func (g *signature) exactPrefix() int {
	for i, ok := range g.exact {
		if !ok {
			return i
		}
	}
	return len(g.exact)
}

func (g *signature) exactRows() int {
	n := 0
	for _, ok := range g.exact {
		if ok {
			n++
		}
	}
	return n
}
