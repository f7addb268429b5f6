// Package metric holds the numbers: what is measured between two rows of one
// checkpoint, in one fused pass, and the metrics of logits rows.
//
// It knows neither traces nor specs. Throughout, r is the reference and c the
// candidate, and sums run over every element that takes part in the comparison.
package metric

// Direction says which way a metric gets worse.
type Direction int

const (
	// LowerIsBetter metrics are limited from above: value <= limit.
	LowerIsBetter Direction = iota
	// HigherIsBetter metrics are limited from below: value >= limit.
	HigherIsBetter
)

// Scope says for which checkpoints a metric exists.
type Scope int

const (
	// AnyCheckpoint metrics exist for every compared checkpoint.
	AnyCheckpoint Scope = iota
	// HiddenOnly metrics exist for hidden states, not for logits.
	HiddenOnly
	// ResidualOnly metrics need the previous residual checkpoint on both sides.
	ResidualOnly
	// LogitsOnly metrics need whole logits rows.
	LogitsOnly
)

// Info describes one metric of the registry.
type Info struct {
	// Name is the key in a spec and in results.json. A metric with several
	// statistics has one Info each, named "kl.mean", "kl.p99", "kl.max".
	Name string
	// Direction says whether a limit is an upper or a lower bound.
	Direction Direction
	Scope     Scope
	// Share is true for values between 0 and 1 that are written as a percentage.
	Share bool
	// Percent is true where a spec may write the limit as a percentage, and
	// reports print one: shares and relative errors.
	Percent bool
	// Unit is printed behind a value, as in "20 × rounding"; "" for none.
	Unit string
	// Doc is one line with the formula.
	Doc string
}

// Within reports whether value keeps to limit, inclusively. NaN never does.
func (i Info) Within(value, limit float64) bool {
	if i.Direction == HigherIsBetter {
		return value >= limit
	}
	return value <= limit
}

// registry lists every metric once, in the order reports print them.
var registry = []Info{
	{Name: "rel_l2", Percent: true, Doc: "√(Σ(c−r)² / Σr²)"},
	{Name: "nmse", Doc: "Σ(c−r)² / Σr², the square of rel_l2"},
	{Name: "max_abs", Doc: "max |c−r|"},
	{Name: "mean_abs", Doc: "mean |c−r|"},
	{Name: "rmse", Doc: "√(mean (c−r)²)"},
	{Name: "max_rel", Percent: true, Doc: "max |c−r| / max(|r|, 1e-8)"},
	{Name: "over_1pct", Share: true, Percent: true, Doc: "share of elements whose relative error exceeds 1 %"},
	{Name: "over_10pct", Share: true, Percent: true, Doc: "share of elements whose relative error exceeds 10 %"},
	{Name: "cosine", Direction: HigherIsBetter, Doc: "Σrc / √(Σr²·Σc²)"},
	{Name: "sign_flips", Share: true, Percent: true, Doc: "share of elements whose signs differ where |r| exceeds the checkpoint's RMS × 1e-3"},
	{Name: "magnitude", Direction: HigherIsBetter, Share: true, Percent: true, Doc: "share of elements within one order of magnitude"},
	{Name: "worst_channel", Scope: HiddenOnly, Percent: true, Doc: "largest rel_l2 of one channel over the positions"},
	{Name: "worst_position", Percent: true, Doc: "largest rel_l2 of one position's row"},
	{Name: "position_rms", Percent: true, Doc: "√(mean over positions of the row's rel_l2²): every position weighs the same"},
	{Name: "ulp_p99", Doc: "99th percentile of the distance in units in the last place of the trace's own dtype"},
	{Name: "added", Scope: ResidualOnly, Percent: true, Doc: "‖(c_i−c_{i−1}) − (r_i−r_{i−1})‖ / ‖r_i−r_{i−1}‖: what this layer added"},
	{Name: "explained", Unit: "× rounding", Doc: "‖c−o‖ / ‖e−o‖: the candidate's error against the oracle o in units of what its precision costs there (e emulates it)"},
	{Name: "local", Unit: "× rounding", Doc: "the error that this layer alone makes of the candidate's own input, in units of what its precision costs"},
	{Name: "scale", Percent: true, Doc: "|Σrc / Σr² − 1|: how far a constant ratio is from one"},
	{Name: "top1_agreement", Scope: LogitsOnly, Direction: HigherIsBetter, Share: true, Percent: true, Doc: "share of positions whose largest logit is the same token"},
	{Name: "topk_overlap", Scope: LogitsOnly, Direction: HigherIsBetter, Share: true, Percent: true, Doc: "mean share of the reference's ten largest logits among the candidate's"},
	{Name: "kl.mean", Scope: LogitsOnly, Doc: "KL(reference‖candidate) in nats, mean over positions"},
	{Name: "kl.p99", Scope: LogitsOnly, Doc: "KL(reference‖candidate) in nats, 99th percentile over positions"},
	{Name: "kl.max", Scope: LogitsOnly, Doc: "KL(reference‖candidate) in nats, largest over positions"},
	{Name: "rank_correlation", Scope: LogitsOnly, Direction: HigherIsBetter, Doc: "mean Spearman correlation over the reference's 100 largest logits"},
}

// All returns every metric in the order reports print them.
func All() []Info { return append([]Info(nil), registry...) }

// Lookup returns the metric of that name.
func Lookup(name string) (Info, bool) {
	for _, i := range registry {
		if i.Name == name {
			return i, true
		}
	}
	return Info{}, false
}
