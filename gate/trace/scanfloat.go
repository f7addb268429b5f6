package trace

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
)

// The number scanner of JSONL rows. Its results are those of strconv.ParseFloat
// to the bit; it is about ten times faster than encoding/json on the numbers
// that loggers print, because it
//   - finds a number's end by looking for the comma, eight bytes at a time, so
//     that the next number does not wait for the digits of this one;
//   - reads eight digits with three multiplications;
//   - divides in float64 and looks whether the result is so near to the middle
//     of two float32 that rounding twice could differ from rounding once. Only
//     then, and for unusual spellings, strconv decides.

const (
	// scanPad is how many bytes past the text a buffer must have: the fast path
	// loads eight bytes at a time.
	scanPad = 48
	// maxNumber bounds the bytes of one number with the space around it.
	maxNumber = 1024

	ones  = 0x0101010101010101
	highs = 0x8080808080808080
	zeros = '0' * ones
)

// pow10 are powers of ten; those above 10^22 are rounded to float64.
var pow10 = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
	1e20, 1e21, 1e22, 1e23, 1e24, 1e25, 1e26, 1e27, 1e28, 1e29, 1e30, 1e31, 1e32, 1e33, 1e34, 1e35, 1e36, 1e37, 1e38, 1e39,
	1e40, 1e41, 1e42, 1e43, 1e44, 1e45, 1e46, 1e47, 1e48, 1e49, 1e50, 1e51, 1e52, 1e53, 1e54, 1e55, 1e56, 1e57, 1e58, 1e59,
	1e60, 1e61, 1e62, 1e63,
}

const lastExactPow10 = 22

// upow10 are the powers of ten that scale a group of digits; the array has 32
// entries so that a masked index needs no bounds check.
var upow10 = [32]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16}

// scanF32 reads up to len(dst)/4 numbers of p[i:limit], each followed by a
// comma, into dst as little-endian float32. It stops when dst is full or when
// the next number begins at or after limit, and returns how many it read and
// where the next begins. p must be readable for scanPad bytes past limit, and
// numbers that begin before limit must end within p.
func scanF32(p []byte, i, limit int, dst []byte) (n, next int, f *fault) {
	for {
		k, next := scanPlain(p, i, limit, dst)
		n, i, dst = n+k, next, dst[4*k:]
		if len(dst) < 4 || i >= limit {
			return n, i, nil
		}
		value, end, ok := scanDecimal(p[i:])
		if end += i; !ok {
			slow, comma, f := slowNumber(p, i, 32)
			if f != nil {
				return n, i, f
			}
			value, end = float32(slow), comma
		}
		binary.LittleEndian.PutUint32(dst, math.Float32bits(value))
		n, i, dst = n+1, end+1, dst[4:]
	}
}

// scanPlain is the loop of scanF32 over the usual form: an optional sign, one
// digit, the point and up to 16 digits. It stops at the first number of another
// form, or whose rounding is in doubt.
func scanPlain(p []byte, i, limit int, dst []byte) (n, next int) {
	for 4*n+4 <= len(dst) && i < limit {
		q := p[i : i+24 : i+24]
		v := binary.LittleEndian.Uint64(q)
		end := 0 // of the token
		if m := commas(v); m != 0 {
			end = bits.TrailingZeros64(m) >> 3
		} else if m := commas(binary.LittleEndian.Uint64(q[8:])); m != 0 {
			end = 8 + bits.TrailingZeros64(m)>>3
		} else if m := commas(binary.LittleEndian.Uint64(q[16:])); m != 0 {
			end = 16 + bits.TrailingZeros64(m)>>3
		}
		neg := (uint64(byte(v)^'-') - 1) >> 63
		v >>= neg * 8 & 63
		digit := v&0xff - '0'
		frac := end - int(neg) - 2 // digits behind the point
		if digit > 9 || byte(v>>8) != '.' || uint(frac-1) >= 16 {
			break
		}
		j := i + int(neg) + 2
		q = p[j : j+16 : j+16]
		d0 := binary.LittleEndian.Uint64(q) ^ zeros
		var w uint64
		if frac < 8 {
			d0 <<= uint(64-8*frac) & 63
			if notDigits(d0) != 0 {
				break
			}
			w = digit*upow10[frac&31] + eight(d0)
		} else {
			d1 := (binary.LittleEndian.Uint64(q[8:]) ^ zeros) << (uint(16-frac) * 8)
			if notDigits(d0)|notDigits(d1) != 0 {
				break
			}
			w = (digit*1e8+eight(d0))*upow10[(frac-8)&31] + eight(d1)
		}
		f := float64(int64(w)) / pow10[frac&31]
		if low := math.Float64bits(f) & (1<<29 - 1); low-(1<<28-8) <= 16 {
			break
		}
		binary.LittleEndian.PutUint32(dst[4*n:4*n+4], math.Float32bits(float32(f))|uint32(neg<<31))
		n++
		i += end + 1
	}
	return n, i
}

// commas has the high bit set in the lowest byte of v that is a comma; bytes
// above it are not to be trusted.
func commas(v uint64) uint64 {
	x := v ^ ','*ones
	return (x - ones) &^ x & highs
}

// notDigits has high bits set where x, bytes with '0' taken off by xor, holds
// anything but digits. The lowest set one is exact.
func notDigits(x uint64) uint64 { return (x + 0x7676767676767676 | x) & highs }

// eight is the value of eight digits, the first in the lowest byte.
func eight(x uint64) uint64 {
	x = x*10 + x>>8
	return (x&0x000000ff000000ff*0x000f424000000064 + x>>16&0x000000ff000000ff*0x0000271000000001) >> 32 & 0xffffffff
}

// scanDecimal reads one number of the form D.D with an optional sign, up to 7
// digits before the point and 24 in all. It says false for every other form,
// and where the rounding is in doubt. end is the index of its comma.
func scanDecimal(p []byte) (value float32, end int, ok bool) {
	q := p[:scanPad]
	for m := uint64(0); end < 32; end += 8 {
		if m = commas(binary.LittleEndian.Uint64(q[end:])); m != 0 {
			end += bits.TrailingZeros64(m) >> 3
			break
		}
	}
	neg := 0
	if q[0] == '-' {
		neg = 1
	}
	q = q[neg:][:32]
	v := binary.LittleEndian.Uint64(q)
	x := v ^ '.'*ones
	dot := bits.TrailingZeros64((x-ones)&^x&highs) >> 3
	nd := end - neg - 1 // digits
	if uint(dot-1) >= 7 || dot >= nd || nd > 24 || dot > 1 && q[0] == '0' {
		return 0, 0, false // a leading zero is no JSON
	}
	// The first eight digits with the point squeezed out, then those behind
	// them; groups that are not full are shifted to the right end.
	below := uint64(1)<<(8*uint(dot)&63) - 1
	d0 := (v&below | binary.LittleEndian.Uint64(q[1:])&^below) ^ zeros
	d1 := binary.LittleEndian.Uint64(q[9:]) ^ zeros
	d2 := (binary.LittleEndian.Uint64(q[17:]) ^ zeros) << (uint(24-nd) * 8)
	d1 <<= uint(max(16-nd, 0)) * 8
	d0 <<= uint(max(8-nd, 0)) * 8
	top := eight(d0)
	if notDigits(d0)|notDigits(d1)|notDigits(d2) != 0 || nd > 18 && top >= 100 {
		return 0, 0, false
	}
	w := top*upow10[max(nd-8, 0)&31] + eight(d1)*upow10[max(nd-16, 0)&31] + eight(d2)
	value, ok = round32(float64(int64(w)) / pow10[(nd-dot)&31])
	if neg != 0 {
		value = -value
	}
	return value, end, ok
}

// round32 rounds f, a value computed in float64 within 4 units in the last
// place of the exact one, to float32; false where the exact value could lie on
// the other side of the middle of two float32, or where float32 is denormal.
func round32(f float64) (float32, bool) {
	low := math.Float64bits(f) & (1<<29 - 1)
	if low-(1<<28-8) <= 16 || f < 0x1p-126 && f != 0 || f > math.MaxFloat32 {
		return 0, false
	}
	return float32(f), true
}

// words are the spellings of values that are no number.
var words = []struct {
	text  string
	value float64
}{
	{"null", math.NaN()}, {"NaN", math.NaN()}, {"nan", math.NaN()}, {"-nan", math.NaN()},
	{"inf", math.Inf(1)}, {"-inf", math.Inf(-1)}, {"Infinity", math.Inf(1)}, {"-Infinity", math.Inf(-1)},
}

// loggedInfinity is what loggers that must write valid JSON put for infinity.
const loggedInfinity = 1e308

// slowNumber reads one value of any spelling at p[i:] and the space around it,
// rounded to float32 (size 32) or float64 (size 64), up to its comma, whose
// index it returns. ±1e308 is ±infinity; other numbers beyond the range of the
// size are errors.
func slowNumber(p []byte, i, size int) (value float64, end int, f *fault) {
	c := cursor{b: p, i: i, line: true}
	c.space()
	start := c.i
	word := c.word()
	if word < 0 {
		if _, f = c.number("a number, null, nan or inf"); f != nil {
			return 0, i, f
		}
	}
	text := p[start:c.i]
	c.space()
	if c.i-i > maxNumber {
		return 0, i, faultAt(start, "number of more than %d bytes", maxNumber)
	}
	if c.i >= len(p) || p[c.i] != ',' {
		return 0, i, c.unexpected("',' or ']'")
	}
	if word >= 0 {
		return words[word].value, c.i, nil
	}
	if value, ok := decimalValue(text, size); ok {
		return value, c.i, nil
	}
	value, err := strconv.ParseFloat(string(text), size)
	if err != nil {
		wide, _ := strconv.ParseFloat(string(text), 64)
		if math.Abs(wide) != loggedInfinity {
			return 0, i, faultAt(start, "%s is beyond the range of F%d", quote(text), size)
		}
		value = wide
	}
	if math.Abs(value) == loggedInfinity {
		value = math.Inf(int(value / loggedInfinity))
	}
	return value, c.i, nil
}

// word steps over one of words and returns its index, −1 for none.
func (c *cursor) word() int {
	for i, w := range words {
		n := c.i + len(w.text)
		if n <= len(c.b) && string(c.b[c.i:n]) == w.text {
			c.i = n
			return i
		}
	}
	return -1
}

// decimalValue computes the value of a JSON number of up to 18 significant
// digits where float64 arithmetic is known to round as strconv does.
func decimalValue(text []byte, size int) (float64, bool) {
	neg := text[0] == '-'
	if neg {
		text = text[1:]
	}
	var w uint64
	digits, exp, i := 0, 0, 0
	point := false
	for ; i < len(text) && text[i]|0x20 != 'e'; i++ {
		if text[i] == '.' {
			point = true
			continue
		}
		w = w*10 + uint64(text[i]-'0')
		if w != 0 {
			digits++
		}
		if point {
			exp--
		}
	}
	if digits > 18 {
		return 0, false
	}
	if i < len(text) {
		e, err := strconv.Atoi(string(text[i+1:]))
		if err != nil || e < -1000 || e > 1000 {
			return 0, false
		}
		exp += e
	}
	f := float64(int64(w))
	switch {
	case w == 0:
	case size == 64 && (w > 1<<53 || exp < -lastExactPow10 || exp > lastExactPow10):
		return 0, false
	case exp < 0 && -exp < len(pow10):
		f /= pow10[-exp]
	case exp >= 0 && exp < len(pow10):
		f *= pow10[exp]
	default:
		return 0, false
	}
	if size == 32 {
		r, ok := round32(f)
		if !ok {
			return 0, false
		}
		f = float64(r)
	}
	if neg {
		f = -f
	}
	return f, true
}
