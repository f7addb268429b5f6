package metric

import "math"

// Side is one of the two engines of a comparison.
type Side uint8

const (
	RefSide  Side = 0
	CandSide Side = 1
)

// relFloor is the smallest denominator of a relative error.
const relFloor = 1e-8

// Stats are the raw sums of a set of element pairs: one row, or many merged.
// Its zero value is the empty set.
//
// The sums are float64 sums over d = float64(c) − float64(r). MaxAbs, MaxRel
// and the counts Over1, Over10 and Magnitude are evaluated in float32 where
// both sides hold at most 32 bits (16-bit values are widened first; a pair
// whose float32 difference overflows is evaluated in float64), and in float64
// where a side is F64. Every kernel rounds alike, so these are equal to the bit.
type Stats struct {
	// N is the number of pairs in the sums: compared, finite on both sides.
	N int64

	SumAbs   float64 // Σ|c−r|
	SumSq    float64 // Σ(c−r)²
	SumRef2  float64 // Σr²
	SumCand2 float64 // Σc²
	SumCross float64 // Σrc

	// MaxAbs is the largest |c−r|, MaxAbsAt the element index of the first pair
	// that has it. A mismatch makes it +Inf, at the first mismatch.
	MaxAbs   float64
	MaxAbsAt int
	// MaxRel is the largest |c−r| / max(|r|, 1e-8), likewise.
	MaxRel   float64
	MaxRelAt int

	// Over1 and Over10 count the pairs whose |c−r| / max(|r|, 1e-8) is above 0.01,
	// and above 0.1: none exactly where MaxRel is not above.
	Over1, Over10 int64
	// Magnitude counts the pairs within one order of magnitude:
	// 10·|c| >= |r| and 10·|r| >= |c|, so two zeros agree.
	Magnitude int64

	// SumAddedSq is Σ((c_i−r_i)−(c_{i−1}−r_{i−1}))², SumStep2 Σ(r_i−r_{i−1})²,
	// over the pairs whose previous values are finite and not masked. HasAdded
	// says that there was one.
	SumAddedSq, SumStep2 float64
	HasAdded             bool

	// Mismatch counts kept pairs that cannot be subtracted: a NaN on either side,
	// or an infinity that the other side does not have. They are in no sum.
	Mismatch int64
	// MatchedInf counts pairs with the same infinity on both sides: they agree,
	// are in no sum and are no garbage.
	MatchedInf int64
	// Masked counts pairs left out as garbage of a masked side.
	Masked int64
	// Skipped counts pairs left out by Config.SkipElements.
	Skipped int64
	// Garbage counts garbage elements by side and kind, masked or kept.
	Garbage [2][garbageKinds]int64
}

// seen reports whether the maxima of s stand for anything.
func (s *Stats) seen() bool { return s.N+s.Mismatch > 0 }

// Merge adds o to s. Float sums depend on the order, so callers merge in a
// fixed one. Of equal maxima s's stays.
func (s *Stats) Merge(o *Stats) {
	if o.seen() {
		if !s.seen() || o.MaxAbs > s.MaxAbs {
			s.MaxAbs, s.MaxAbsAt = o.MaxAbs, o.MaxAbsAt
		}
		if !s.seen() || o.MaxRel > s.MaxRel {
			s.MaxRel, s.MaxRelAt = o.MaxRel, o.MaxRelAt
		}
	}
	s.N += o.N
	s.SumAbs += o.SumAbs
	s.SumSq += o.SumSq
	s.SumRef2 += o.SumRef2
	s.SumCand2 += o.SumCand2
	s.SumCross += o.SumCross
	s.Over1 += o.Over1
	s.Over10 += o.Over10
	s.Magnitude += o.Magnitude
	s.SumAddedSq += o.SumAddedSq
	s.SumStep2 += o.SumStep2
	s.HasAdded = s.HasAdded || o.HasAdded
	s.Mismatch += o.Mismatch
	s.MatchedInf += o.MatchedInf
	s.Masked += o.Masked
	s.Skipped += o.Skipped
	for side := range s.Garbage {
		for kind := range s.Garbage[side] {
			s.Garbage[side][kind] += o.Garbage[side][kind]
		}
	}
}

// ratio is num/den for sums of squares: 0/0 is 0, x/0 is +Inf.
func ratio(num, den float64) float64 {
	if den == 0 {
		if num == 0 {
			return 0
		}
		if num > 0 {
			return math.Inf(1)
		}
	}
	return num / den
}

// undefined reports whether every metric of s but the maxima is NaN: a pair
// that cannot be subtracted fails every tolerance, and so does comparing nothing.
func (s *Stats) undefined() bool { return s.Mismatch > 0 || s.N == 0 }

// NMSE is Σ(c−r)² / Σr². Both sides zero: 0; the reference alone: +Inf.
// NaN after a mismatch or when nothing was compared.
func (s *Stats) NMSE() float64 {
	if s.undefined() {
		return math.NaN()
	}
	return ratio(s.SumSq, s.SumRef2)
}

// RelL2 is √(Σ(c−r)² / Σr²), with NMSE's rules.
func (s *Stats) RelL2() float64 { return math.Sqrt(s.NMSE()) }

// MeanAbs is Σ|c−r| / N; NaN after a mismatch or when nothing was compared.
func (s *Stats) MeanAbs() float64 { return s.mean(s.SumAbs) }

// RMSE is √(Σ(c−r)² / N); NaN after a mismatch or when nothing was compared.
func (s *Stats) RMSE() float64 { return math.Sqrt(s.mean(s.SumSq)) }

// Over1Share is the share of pairs with a relative error above 1 %; NaN after
// a mismatch or when nothing was compared.
func (s *Stats) Over1Share() float64 { return s.mean(float64(s.Over1)) }

// Over10Share is the share of pairs with a relative error above 10 %; NaN
// after a mismatch or when nothing was compared.
func (s *Stats) Over10Share() float64 { return s.mean(float64(s.Over10)) }

// MagnitudeShare is the share of pairs within one order of magnitude; NaN
// after a mismatch or when nothing was compared.
func (s *Stats) MagnitudeShare() float64 { return s.mean(float64(s.Magnitude)) }

func (s *Stats) mean(sum float64) float64 {
	if s.undefined() {
		return math.NaN()
	}
	return sum / float64(s.N)
}

// Cosine is Σrc / √(Σr²·Σc²), within [−1, 1]. Both sides zero: 1; one side
// zero: 0. NaN after a mismatch or when nothing was compared.
func (s *Stats) Cosine() float64 {
	switch {
	case s.undefined():
		return math.NaN()
	case s.SumRef2 == 0 && s.SumCand2 == 0:
		return 1
	case s.SumRef2 == 0 || s.SumCand2 == 0:
		return 0
	case s.SumSq == 0:
		return 1
	}
	// Two roots, because the product of two sums can overflow or vanish.
	c := s.SumCross / math.Sqrt(s.SumRef2) / math.Sqrt(s.SumCand2)
	return max(-1, min(1, c))
}

// Added is √(Σ((c_i−c_{i−1})−(r_i−r_{i−1}))² / Σ(r_i−r_{i−1})²): what this
// layer added, apart from what it inherited. Nothing added on either side: 0;
// by the candidate alone: +Inf. NaN after a mismatch, and where no pair had
// previous values.
func (s *Stats) Added() float64 {
	if s.undefined() || !s.HasAdded {
		return math.NaN()
	}
	return math.Sqrt(ratio(s.SumAddedSq, s.SumStep2))
}

// Gain is Σrc / Σr²: the constant that maps the reference best onto the
// candidate. Both sides zero: 1; the reference alone: +Inf. NaN after a
// mismatch or when nothing was compared.
func (s *Stats) Gain() float64 {
	switch {
	case s.undefined():
		return math.NaN()
	case s.SumRef2 == 0 && s.SumCand2 == 0, s.SumSq == 0:
		return 1
	case s.SumRef2 == 0:
		return math.Inf(1)
	}
	return s.SumCross / s.SumRef2
}

// Scale is |Gain − 1|: how far a constant ratio is from one.
func (s *Stats) Scale() float64 { return math.Abs(s.Gain() - 1) }

// LargestAbs is MaxAbs: +Inf after a mismatch, NaN when nothing was compared.
func (s *Stats) LargestAbs() float64 { return s.largest(s.MaxAbs) }

// LargestRel is MaxRel: +Inf after a mismatch, NaN when nothing was compared.
func (s *Stats) LargestRel() float64 { return s.largest(s.MaxRel) }

func (s *Stats) largest(v float64) float64 {
	switch {
	case s.Mismatch > 0:
		return math.Inf(1)
	case s.N == 0:
		return math.NaN()
	}
	return v
}

// Metric returns the value of a metric of the registry that one Stats knows,
// by its name; false for the others.
func (s *Stats) Metric(name string) (float64, bool) {
	switch name {
	case "rel_l2":
		return s.RelL2(), true
	case "nmse":
		return s.NMSE(), true
	case "max_abs":
		return s.LargestAbs(), true
	case "mean_abs":
		return s.MeanAbs(), true
	case "rmse":
		return s.RMSE(), true
	case "max_rel":
		return s.LargestRel(), true
	case "over_1pct":
		return s.Over1Share(), true
	case "over_10pct":
		return s.Over10Share(), true
	case "cosine":
		return s.Cosine(), true
	case "magnitude":
		return s.MagnitudeShare(), true
	case "added":
		return s.Added(), true
	case "scale":
		return s.Scale(), true
	}
	return math.NaN(), false
}
