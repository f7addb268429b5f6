package metric

import "math"

// logitsOps are the inner loops for rows of logits. All but peaks take finite
// values within maxFastBits.
type logitsOps struct {
	name   string
	decode func(dst []float32, dtype DType, src []byte)
	// peaks writes the largest value of each run of peakLen, as many as there are
	// whole runs, and returns the largest pattern without its sign in them. It
	// takes any values; above maxFastBits the peaks mean nothing.
	peaks func(dst, v []float32) uint32
	// over has a bit for each of peakLen values that is not below limit.
	over func(v []float32, limit float32) uint64
	// kl adds up klSums in float32 with float64 accumulators; the length is a
	// multiple of eight, and no c is above cTop + klSpread.
	kl func(r, c []float32, rTop, cTop float32, o *klSums)
}

const (
	peakLen       = 64
	fastLogitsMin = 1024
	klSpread      = 60
)

// logitsFor are the fastest loops that the configuration and the machine allow.
func logitsFor(cfg Config) *logitsOps {
	if !cfg.Portable {
		for _, o := range nativeRows() {
			if cfg.only == "" || cfg.only == o.name {
				return o
			}
		}
	}
	return &portableLogits
}

var portableLogits = logitsOps{name: "portable", decode: decode32, peaks: peaksGo, over: overGo, kl: klGo}

func peaksGo(dst, v []float32) uint32 {
	var m0, m1 uint32
	for i := range dst {
		run := (*[peakLen]float32)(v[i*peakLen:])
		// Patterns whose magnitude is inverted below zero order like the values.
		a, b := int32(math.MinInt32), int32(math.MinInt32)
		for j := 0; j < peakLen; j += 2 {
			x, y := int32(math.Float32bits(run[j])), int32(math.Float32bits(run[j+1]))
			m0, m1 = max(m0, uint32(x)&^signBit), max(m1, uint32(y)&^signBit)
			a, b = max(a, x^(x>>31&math.MaxInt32)), max(b, y^(y>>31&math.MaxInt32))
		}
		a = max(a, b)
		dst[i] = math.Float32frombits(uint32(a ^ (a >> 31 & math.MaxInt32)))
	}
	return max(m0, m1)
}

func klGo(r, c []float32, rTop, cTop float32, o *klSums) {
	shift := rTop - cTop
	var w, g, d float64
	for i := 0; i+8 <= len(r); i += 8 {
		// Few terms are added in float32.
		x, y := (*[8]float32)(r[i:]), (*[8]float32)(c[i:])
		var w8, g8, d8 float32
		for j := range 8 {
			di := x[j] - y[j] - shift
			// exp32, which is too large to be inlined
			e := x[j] - rTop
			if e < expLow {
				e = expLow
			}
			m := e*float32(math.Log2E) + expMagic
			n := m - expMagic
			f := e - n*ln2High
			f -= n * ln2Low
			p := f*(1./720) + 1./120
			p = p*f + 1./24
			p = p*f + 1./6
			p = p*f + 1./2
			p = p*f + 1
			p = p*f + 1
			wi := math.Float32frombits(math.Float32bits(p) + math.Float32bits(m)<<23)
			wd := wi * di
			w8 += wi
			d8 += wd
			if di > -1./32 && di < 1./32 { // the next term is below 3e-9 of these
				q := float32(-1./120)*di + 1./24
				q = q*di - 1./6
				q = q*di + 1./2
				g8 += wd * di * q
			} else if di > -0.5 && di < 0.5 {
				q := float32(1./40320)*di - 1./5040
				q = q*di + 1./720
				q = q*di - 1./120
				q = q*di + 1./24
				q = q*di - 1./6
				q = q*di + 1./2
				g8 += wd * di * q
			} else {
				g8 += wd + exp32(y[j]-cTop) - wi
			}
		}
		w += float64(w8)
		g += float64(g8)
		d += float64(d8)
	}
	*o = klSums{w: w, g: g, e: g - d, d: d}
}

const (
	expLow   = -86
	expMagic = 3 << 22 // adding 1.5·2²³ rounds to the nearest integer and leaves it in the low bits
	// ln 2 in two steps; the first has room for exact products.
	ln2High = 0.693359375
	ln2Low  = float32(math.Ln2 - 0.693359375)
)

// exp32 is exp(x) for x <= 60, to about two units in the last place; values
// below −86 count as −86.
func exp32(x float32) float32 {
	if x < expLow {
		x = expLow
	}
	m := x*float32(math.Log2E) + expMagic
	n := m - expMagic
	f := x - n*ln2High
	f -= n * ln2Low
	p := f*(1./720) + 1./120
	p = p*f + 1./24
	p = p*f + 1./6
	p = p*f + 1./2
	p = p*f + 1
	p = p*f + 1
	return math.Float32frombits(math.Float32bits(p) + math.Float32bits(m)<<23)
}

// narrow measures a row with the fast loops.
func (k *LogitsKernel) narrow(r, c []float32) LogitsRow {
	w := &k.row32
	w.ref = k.largest(0, w.ref, r, rankDepth)
	w.cand = k.largest(1, w.cand, c, topK)
	row := w.tops(r, c)
	row.KL = k.kl(r, c, row.RefTop, row.CandTop)
	return row
}

// largest is like the function of that name, of a row whose peaks are known.
func (k *LogitsKernel) largest(side int, dst []ranked[float32], v []float32, n int) []ranked[float32] {
	if s := &k.chosen[side]; len(s.peaks) >= n {
		return s.largest(dst, v, n, k.ops.over)
	}
	return largest(dst, v, n)
}

// peaks finds the peaks of both sides, and returns the largest pattern without
// its sign.
func (k *LogitsKernel) peaks(r, c []float32) uint32 {
	var m uint32
	for side, v := range [2][]float32{r, c} {
		s := &k.chosen[side]
		s.size(len(v))
		rest := v[len(s.peaks)*peakLen:]
		m = max(m, k.ops.peaks(s.peaks, v), maxBitsGo(rest, rest))
	}
	return m
}

// kl is klOf in float32 arithmetic, good to about 2e-6; where its errors could
// show, klOf itself.
func (k *LogitsKernel) kl(r, c []float32, top, candTop int) float64 {
	rTop, cTop := r[top], c[top]
	if c[candTop]-cTop > klSpread {
		return klOf(r, c, top, candTop)
	}
	whole := len(r) &^ 7
	s := &k.klSums
	k.ops.kl(r[:whole], c[:whole], rTop, cTop, s)
	shift := float64(rTop) - float64(cTop)
	for i := whole; i < len(r); i++ {
		rv, cv := float64(r[i]), float64(c[i])
		s.add(math.Exp(rv-float64(rTop)), rv-cv-shift, cv-float64(cTop))
	}
	kl := s.kl()
	// d is rounded by up to 2⁻²⁴ of the shift of the top logit, and Σp·g − m²/2
	// cancels where all but the top moved alike. Either shows here.
	second := s.g / s.w
	if second > 0 && (kl < 0.05*second || second < 0.0071*shift*shift*(1-1/s.w)) {
		return klOf(r, c, top, candTop)
	}
	return kl
}
