package metric

import (
	"math"
	"testing"
)

func TestUlpDistance(t *testing.T) {
	up := func(f float32, n int) float64 { return float64(math.Float32frombits(math.Float32bits(f) + uint32(n))) }
	for _, tc := range []struct {
		name string
		r, c float64
		u    ulpUnit
		want float64 // upper edge of the bin
	}{
		{"equal", 1, 1, ulpF32, 0},
		{"zeros of both signs", 0, math.Copysign(0, -1), ulpF32, 0},
		{"one step", 1, up(1, 1), ulpF32, 1},
		{"two steps over a power of two", 1, float64(math.Nextafter32(1, 0)), ulpF32, 1},
		{"three steps", 1, up(1, 3), ulpF32, 3},
		{"four", 1, up(1, 4), ulpF32, 15},
		{"2¹⁶", 1, up(1, 1<<16), ulpF32, 1<<20 - 1},
		{"smallest values of both signs", 1e-45, -1e-45, ulpF32, 3},
		{"ones of both signs", 1, -1, ulpF32, math.Inf(1)},
		{"half step", 1, 1 + 0x1p-10, ulpF16, 1},
		{"subnormal half step", 0x1p-24, 0x1p-23, ulpF16, 1},
		{"half between two steps", 1, 1 + 0x1p-12, ulpF16, 1},
		{"half, a step and a bit", 1, 1 + 0x1p-10 + 0x1p-12, ulpF16, 3},
		{"bfloat step", 1, 1 + 0x1p-7, ulpBF16, 1},
		{"float64 step", 1, 1 + 0x1p-52, ulpF64, 1},
		{"float64 far", 1, 2, ulpF64, math.Inf(1)},
		{"float64 against float32", 1 + 0x1p-40, 1 + 0x1p-23, ulpF32, 1},
	} {
		var h UlpHistogram
		h[ulpBin(tc.r, tc.c, tc.u)]++
		if got := h.Percentile(0.99); got != tc.want {
			t.Errorf("%s: up to %g, want %g", tc.name, got, tc.want)
		}
	}
}

func TestUlpPercentileRank(t *testing.T) {
	h := UlpHistogram{0: 98, 1: 1, 5: 1}
	if got := h.Percentile(0.99); got != 1 {
		t.Errorf("99th of 100 is %g, want 1", got)
	}
	if got := h.Percentile(1); got != 255 {
		t.Errorf("largest is %g, want 255", got)
	}
	if got := new(UlpHistogram).Percentile(0.5); !math.IsNaN(got) {
		t.Errorf("empty histogram gives %g", got)
	}
}

func TestPercentile(t *testing.T) {
	inf := math.Inf(1)
	for _, tc := range []struct {
		v    []float64
		p    float64
		want float64
	}{
		{[]float64{3, 1, 2, 4}, 0.5, 2.5},
		{[]float64{1, 2}, 0.99, 1.99},
		{[]float64{5}, 0.99, 5},
		{[]float64{1, inf}, 0.5, inf},
		{[]float64{inf, inf}, 0.5, inf},
		{[]float64{-inf, inf}, 0.5, math.NaN()},
		{[]float64{1, math.NaN(), 2}, 0, math.NaN()},
		{nil, 0.5, math.NaN()},
		{[]float64{1}, 1.5, math.NaN()},
	} {
		if got := Percentile(tc.v, tc.p); !near(got, tc.want, 1e-15) {
			t.Errorf("Percentile(%v, %g) = %g, want %g", tc.v, tc.p, got, tc.want)
		}
	}
}
