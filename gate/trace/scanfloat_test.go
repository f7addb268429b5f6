package trace

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// scanText scans comma-separated numbers as a row's reader does.
func scanText(text string, size int) ([]float64, *fault) {
	b := append([]byte(text+","), make([]byte, scanPad)...)
	limit := len(text) + 1
	var out []float64
	if size == 32 {
		dst := make([]byte, 4*(strings.Count(text, ",")+1))
		n, _, f := scanF32(b, 0, limit, dst)
		for i := range n {
			out = append(out, float64(math.Float32frombits(binary.LittleEndian.Uint32(dst[4*i:]))))
		}
		return out, f
	}
	for i := 0; i < limit; {
		v, end, f := slowNumber(b, i, 64)
		if f != nil {
			return out, f
		}
		out = append(out, v)
		i = end + 1
	}
	return out, nil
}

// checkScan holds the scanner against strconv on one JSON number.
func checkScan(t *testing.T, s string) {
	t.Helper()
	for _, size := range []int{32, 64} {
		want, err := strconv.ParseFloat(s, size)
		if wide, _ := strconv.ParseFloat(s, 64); math.Abs(wide) == 1e308 {
			want, err = math.Inf(int(wide/1e308)), nil
		}
		got, f := scanText(s, size)
		if err != nil {
			if f == nil {
				t.Errorf("%s in %d bits: got %v, want an error", s, size, got)
			}
			continue
		}
		if f != nil || len(got) != 1 || math.Float64bits(got[0]) != math.Float64bits(want) {
			t.Errorf("%s in %d bits: got %v %+v, want %v", s, size, got, f, want)
		}
	}
}

// TestScanHard scans numbers at which quick conversions round wrongly.
func TestScanHard(t *testing.T) {
	for _, s := range []string{
		"0", "-0", "0.0", "-0.0", "1", "-1", "10", "12345678", "123456789", "1234567890", "0.1", "-0.25", "7.658422",
		"-1009864046716911616.000000", "9007199254740993", "9007199254740992.0", "9007199254740993.0", "18446744073709551616.5",
		"16777217", "16777217.0", "16777216.9999999", "16777217.00000000000001", "16777219.0", "33554434.9999999999999",
		"1.00000005960464477539062", "1.000000059604644775390625", "1.0000000596046447753906250001", "1.0000000596046446",
		"1.0000000596046448", "0.00000000000000000000000000000000000001", "1.17549435e-38", "1.1754942e-38", "1.4e-45", "7.0e-46", "7.1e-46",
		"3.4028234663852886e38", "3.4028235677973366e+38", "3.4028235677973365e+38", "1e39", "-1e39", "1e308", "-1E308", "1.0e308", "1e400", "1e-400", "1e-99999999999999999999",
		"0.10000000149011612", "0.00010000000149011612", "12.345678901234567", "123456.78901234567", "1234567.8", "12345678.9", "0.99999999999999999999",
		"0.000000000000000000000001", "0.0000000000000000000000001", "1e22", "1e23", "8.5e22", "9.9999999999999999999999e22", "5e-324", "2.2250738585072014e-308",
		"1.7976931348623157e308", "1e0", "1e+0", "1.5E-3", "0e999999",
	} {
		checkScan(t, s)
	}
	// Decimals at and around the middle of neighbouring float32, to 60 digits.
	rng := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		f := math.Float32frombits(rng.Uint32() & 0x7fffffff)
		if f != f || f > 1e30 || f < 1e-12 {
			continue
		}
		next := math.Nextafter32(f, math.MaxFloat32)
		middle := (float64(f) + float64(next)) / 2
		for _, digits := range []int{6, 7, 8, 9, 12, 15, 16, 17, 18, 19, 21, 30, 60} {
			checkScan(t, strconv.FormatFloat(middle, 'e', digits, 64))
			checkScan(t, strconv.FormatFloat(middle, 'f', digits, 64))
		}
		for _, near := range []float64{math.Nextafter(middle, 0), math.Nextafter(middle, 1e300)} {
			checkScan(t, strconv.FormatFloat(near, 'g', 17, 64))
			checkScan(t, strconv.FormatFloat(near, 'f', -1, 64))
		}
	}
}

// TestScanSpellings scans every spelling that loggers use, in one row.
func TestScanSpellings(t *testing.T) {
	text := " null,NaN, nan ,-nan,inf,-inf,Infinity ,\t-Infinity,1e308,-1e+308,  1.5\r,-2.5 "
	nan, inf := math.NaN(), math.Inf(1)
	want := []float64{nan, nan, nan, nan, inf, -inf, inf, -inf, inf, -inf, 1.5, -2.5}
	for _, size := range []int{32, 64} {
		got, f := scanText(text, size)
		if f != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v %v, want %v", got, f, want)
		}
	}
}

func TestScanRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    `0: found ',', expected a number, null, nan or inf`,
		"1,,2":                                `2: found ',', expected a number, null, nan or inf`,
		"1,2,":                                `4: found ',', expected a number, null, nan or inf`,
		"1.":                                  `2: found ',', expected a digit`,
		".5":                                  `0: found '.', expected a number, null, nan or inf`,
		"+1.0":                                `0: found '+', expected a number, null, nan or inf`,
		"--1.0":                               `0: found '-', expected a number, null, nan or inf`,
		"01.5":                                `0: number with a leading zero`,
		"-01":                                 `1: number with a leading zero`,
		"1.5.5":                               `3: found '.', expected ',' or ']'`,
		"1.5x":                                `3: found 'x', expected ',' or ']'`,
		"1e":                                  `2: found ',', expected a digit`,
		"1.5e+":                               `5: found ',', expected a digit`,
		"1.25,2.5 3.5":                        `9: found '3', expected ',' or ']'`,
		"true":                                `0: found 't', expected a number, null, nan or inf`,
		`"1.5"`:                               `0: found '"', expected a number, null, nan or inf`,
		"nano":                                `3: found 'o', expected ',' or ']'`,
		"0x1p3":                               `1: found 'x', expected ',' or ']'`,
		"1_0":                                 `1: found '_', expected ',' or ']'`,
		"1." + strings.Repeat("0", 1100):      `0: number of more than 1024 bytes`,
		"1.5," + strings.Repeat(" ", 1100):    `1104: found ',', expected a number, null, nan or inf`,
		"1.5,2.5" + strings.Repeat(" ", 1100): `4: number of more than 1024 bytes`,
	} {
		for _, size := range []int{32, 64} {
			_, f := scanText(text, size)
			if f == nil || fmt.Sprintf("%d: %s", f.at, f.msg) != want {
				t.Errorf("%.20q: %+v, want %s", text, f, want)
			}
		}
	}
}

func FuzzScanFloat(f *testing.F) {
	for _, s := range []string{"1.5", "-0.1", "16777217.0", "1e-5", "0.10000000149011612", "1234567890", "1.000000059604644775390625", "00.5", "1e308", "nan"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > maxNumber || strings.ContainsAny(s, ", \t\r\n") {
			return
		}
		if !json.Valid([]byte(s)) || s[0]|0x20 >= 'a' || s[0] == '"' || s[0] == '[' {
			for _, w := range words {
				if s == w.text {
					return
				}
			}
			if got, fault := scanText(s, 32); fault == nil {
				t.Errorf("%q is no number: got %v", s, got)
			}
			return
		}
		checkScan(t, s)
	})
}

// numberStyles are the ways in which loggers print activations.
var numberStyles = []struct {
	name   string
	format func(b []byte, v float32) []byte
}{
	{"percent-f", func(b []byte, v float32) []byte { return strconv.AppendFloat(b, float64(v), 'f', 6, 64) }},
	{"percent-9g", func(b []byte, v float32) []byte { return fmt.Appendf(b, "%.9g", v) }},
	{"shortest", func(b []byte, v float32) []byte { return appendValue(b, float64(v), 32) }},
	{"python", func(b []byte, v float32) []byte { return appendValue(b, float64(v), 64) }},
}

// numbers is a row's text of n activations.
func numbers(n int, format func([]byte, float32) []byte) []byte {
	rng := rand.New(rand.NewPCG(7, 8))
	var b []byte
	for range n {
		b = append(format(b, float32(rng.NormFloat64()*3)), ',')
	}
	return b[:len(b)-1]
}

// BenchmarkScan holds the scanner against encoding/json on the same text.
func BenchmarkScan(b *testing.B) {
	const n = 8192
	for _, style := range numberStyles {
		text := numbers(n, style.format)
		b.Run(style.name+"/scanner", func(b *testing.B) {
			p := append(append(text[:len(text):len(text)], ','), make([]byte, scanPad)...)
			dst := make([]byte, 4*n)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if k, _, f := scanF32(p, 0, len(text)+1, dst); k != n || f != nil {
					b.Fatal(k, f)
				}
			}
		})
		b.Run(style.name+"/encoding-json", func(b *testing.B) {
			line := append(append([]byte("["), text...), ']')
			dst := make([]float32, 0, n)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if err := json.Unmarshal(line, &dst); err != nil || len(dst) != n {
					b.Fatal(err)
				}
			}
		})
	}
}
