package report

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/metric"
)

// significant is how many significant digits reports show.
const significant = 3

// amount writes a metric's value: a percentage where the registry says so,
// three significant digits, thousands separated, a non-zero never as zero, and
// a share below one never as 100 %.
func amount(name string, v gate.Value) string {
	info, _ := metric.Lookup(name)
	n := significant
	if (info.Share || info.Direction == metric.HigherIsBetter) && v < 1 {
		for one := amountTo(info, 1, n); n < 17 && amountTo(info, float64(v), n) == one; n++ {
		}
	}
	return amountTo(info, float64(v), n)
}

// apart writes two values of a metric with as many digits as it takes to tell
// them apart: "1.0001 %" is over "1 %".
func apart(name string, v, limit gate.Value) (string, string) {
	a, b := amount(name, v), amount(name, limit)
	if v == limit || a != b {
		return a, b
	}
	info, _ := metric.Lookup(name)
	for n := significant + 1; n <= 17 && a == b; n++ {
		a, b = amountTo(info, float64(v), n), amountTo(info, float64(limit), n)
	}
	return a, b
}

// Amount writes a metric's value as reports do, as "0.31 %".
func Amount(name string, v gate.Value) string { return amount(name, v) }

func amountTo(info metric.Info, v float64, n int) string {
	if info.Percent && !math.IsInf(v*100, 0) && !math.IsNaN(v) {
		return digits(v*100, n) + " %"
	}
	if info.Unit != "" {
		return digits(v, n) + " " + info.Unit
	}
	return digits(v, n)
}

// digits writes v with n significant digits at least, thousands separated.
func digits(v float64, n int) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "∞"
	case math.IsInf(v, -1):
		return "−∞"
	case v == 0:
		return "0"
	case v < 0:
		return "−" + digits(-v, n)
	case v < 1e-3 || v >= 1e9:
		s := strconv.FormatFloat(v, 'e', n-1, 64)
		mantissa, exponent, _ := strings.Cut(s, "e")
		e, _ := strconv.Atoi(exponent)
		return trimZeros(mantissa) + "e" + strconv.Itoa(e)
	}
	decimals := max(0, n-1-int(math.Floor(math.Log10(v))))
	whole, fraction, _ := strings.Cut(trimZeros(strconv.FormatFloat(v, 'f', decimals, 64)), ".")
	if fraction != "" {
		fraction = "." + fraction
	}
	return thousands(whole) + fraction
}

func trimZeros(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

// thousands puts commas into a string of digits.
func thousands(s string) string {
	var b strings.Builder
	for i, r := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// count writes a whole number.
func count[T int | int64](n T) string {
	if n < 0 {
		return "−" + thousands(strconv.FormatUint(-uint64(n), 10))
	}
	return thousands(strconv.FormatInt(int64(n), 10))
}

// plural writes "1 checkpoint" and "2 checkpoints".
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + one + "s"
}

// used writes how much of its limit a value takes: "62 %" within, "6.2 ×" over,
// "over" where no number says how far.
func used(l *gate.AppliedLimit) string {
	u := float64(l.Use)
	switch {
	case math.IsNaN(u) || math.IsInf(u, 0):
		if l.Within {
			return "–"
		}
		return "over"
	case u < 1 && l.Within:
		return digits(u*100, 2) + " %"
	}
	s := digits(u, 2)
	for n := 3; s == "1" && u != 1 && n < 17; n++ {
		s = digits(u, n)
	}
	return s + " ×"
}

// seconds writes a duration.
func seconds(v gate.Value) string {
	s := float64(v)
	switch {
	case s >= 60 && s < 1e9:
		return time.Duration(s * float64(time.Second)).Round(time.Second).String()
	case s > 0 && s < 1:
		return digits(s*1000, 2) + " ms"
	}
	return digits(s, 2) + " s"
}

// bytesOf writes a size.
func bytesOf(n int64) string {
	f := float64(n)
	for _, unit := range []string{"B", "kB", "MB"} {
		if f < 1000 {
			return digits(f, significant) + " " + unit
		}
		f /= 1000
	}
	return digits(f, significant) + " GB"
}

// ago writes an age in its largest unit.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < time.Hour:
		return plural(int(d/time.Minute), "minute")
	case d < 48*time.Hour:
		return plural(int(d/time.Hour), "hour")
	}
	return plural(int(d/(24*time.Hour)), "day")
}
