package metric

import "math"

// klOf is KL(softmax(r)‖softmax(c)) in nats; top and candTop are the indices
// of the largest r and c. The values hold no NaN.
//
// With d = (r−c) − (r−c)[top], p = softmax(r) and m = Σp·expm1(−d) it is
// Σp·g + log1p(m) − m, where g = d + expm1(−d) >= 0. No term is larger than
// the result's own order, so that a divergence of 1e-13 has its digits; the
// textbook form loses them below 1e-8.
func klOf[T float32 | float64](r, c []T, top, candTop int) float64 {
	rTop, cTop := float64(r[top]), float64(c[top])
	switch {
	case math.IsInf(rTop, 0) || math.IsInf(float64(c[candTop]), 0):
		return math.NaN() // no softmax
	case math.IsInf(cTop, -1):
		return math.Inf(1)
	case float64(c[candTop])-cTop > 600:
		return klDirect(r, c, rTop, float64(c[candTop]))
	}
	var s klSums
	shift := rTop - cTop
	for i, x := range r {
		rv, cv := float64(x), float64(c[i])
		w := math.Exp(rv - rTop)
		if math.IsInf(cv, -1) {
			if w > 0 {
				return math.Inf(1)
			}
			continue
		}
		s.add(w, rv-cv-shift, cv-cTop)
	}
	return s.kl()
}

// klSums are Σw, Σw·g, Σw·expm1(−d) and Σw·d, where w = exp(r − r[top]).
type klSums struct {
	w, g, e, d float64
}

// add adds one element; c is its candidate logit less the candidate's at top.
func (s *klSums) add(w, d, c float64) {
	s.w += w
	if math.Abs(d) < 0.5 {
		e := math.Expm1(-d)
		s.g += w * gOf(d, e)
		s.e += w * e
		s.d += w * d
		return
	}
	// w·exp(−d) without the product of a tiny and a huge number.
	we := math.Exp(c) - w
	wd := 0.0
	if w > 0 {
		wd = w * d
	}
	s.g += wd + we
	s.e += we
	s.d += wd
}

// gOf is d + expm1(−d) without cancellation.
func gOf(d, e float64) float64 {
	if math.Abs(d) < 0.01 {
		return d * d * (1./2 - d*(1./6-d*(1./24-d*(1./120-d*(1./720-d/5040)))))
	}
	return d + e
}

// kl puts the sums together.
func (s *klSums) kl() float64 {
	m := s.e / s.w
	if m > 0.5 {
		return max(0, s.d/s.w+math.Log1p(m))
	}
	return max(0, s.g/s.w+log1pLess(m))
}

// log1pLess is log1p(m) − m without cancellation.
func log1pLess(m float64) float64 {
	if math.Abs(m) < 1e-3 {
		return m * m * (-1./2 + m*(1./3-m*(1./4-m*(1./5-m/6))))
	}
	return math.Log1p(m) - m
}

// klDirect is the textbook form, for rows so far apart that the other overflows.
func klDirect[T float32 | float64](r, c []T, rTop, cTop float64) float64 {
	var sr, sc, sd float64
	for i, x := range r {
		rv, cv := float64(x)-rTop, float64(c[i])-cTop
		w := math.Exp(rv)
		sr += w
		sc += math.Exp(cv)
		if w > 0 {
			if math.IsInf(cv, -1) {
				return math.Inf(1)
			}
			sd += w * (rv - cv)
		}
	}
	return max(0, sd/sr-math.Log(sr)+math.Log(sc))
}
