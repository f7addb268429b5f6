package engine

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestEnds holds the ring against the plain thing: all bytes, cut afterwards.
func TestEnds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		half := 1 + rnd.IntN(9)
		e := newEnds(int64(2 * half))
		var all []byte
		for range rnd.IntN(6) {
			p := make([]byte, rnd.IntN(3*half))
			for i := range p {
				p[i] = byte('a' + (len(all)+i)%26)
			}
			all = append(all, p...)
			if n, err := e.Write(p); n != len(p) || err != nil {
				t.Fatalf("Write = %d, %v", n, err)
			}
		}
		head := all[:min(half, len(all))]
		rest := all[len(head):]
		tail := rest[max(0, len(rest)-half):]
		o := e.output()
		if string(o.Head) != string(head) || string(o.Tail) != string(tail) || o.Dropped != int64(len(rest)-len(tail)) || o.Len() != int64(len(all)) {
			t.Fatalf("half %d of %q: got %q, %d, %q", half, all, o.Head, o.Dropped, o.Tail)
		}
	}
}

func TestOutputLast(t *testing.T) {
	o := Output{Head: []byte("a\nb\r\nc\x1b[0m\n\n")}
	for n, want := range map[int]string{1: "c", 2: "b\nc", 3: "a\nb\nc", 9: "a\nb\nc"} {
		if got := o.Last(n); got != want {
			t.Errorf("Last(%d) = %q, want %q", n, got, want)
		}
	}
	if got := (Output{Head: []byte("a"), Tail: []byte("z"), Dropped: 5}).Last(2); got != "… 5 bytes left out …\nz" {
		t.Errorf("Last names what is left out: %q", got)
	}
}

var sanitizeCases = []struct{ in, want string }{
	{"plain\ttext, ä 日本\n", "plain\ttext, ä 日本\n"},
	{"\x1b[1;31mred\x1b[0m", "red"},
	{"\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "alink"},
	{"\x1b]0;never ended\nnext", "\nnext"},
	{"\x1b[12", ""},
	{"\x1b(B\x1b=\x1bMa", "a"},
	{"a\x1b", "a"},
	{"a\x1b\nb", "a\nb"},
	{"10%\r20%\r\nend", "10%\n20%\nend"},
	{"bell\x07 back\x08 nul\x00 del\x7f", `bell\x07 back\x08 nul\x00 del\x7f`},
	{"c1 \u009b31m", `c1 \u009b31m`},
	{"bidi \u202e evil \u2066", `bidi \u202e evil \u2066`},
	{"zero\u200bwidth\ufeff \U000e0041", `zero\u200bwidth\ufeff \U000e0041`},
	{"line\u2028sep\u2029", "line\nsep\n"},
	{"bad \xff\xfe utf8", "bad \ufffd\ufffd utf8"},
	{"::set-output name=a::b", ": :set-output name=a::b"},
	{"ok\n  \u00a0::error file=x::y\na::b", "ok\n  \u00a0: :error file=x::y\na::b"},
	{"\x1b[0m::warning::x", ": :warning::x"},
	{"a\r::stop-commands::t", "a\n: :stop-commands::t"},
	{":\x1b[m:error::x", ": :error::x"},
	{"::::", ": :::"},
	{"text ##[error]x ###[group]y", "text ## [error]x ### [group]y"},
	{"##\x1b[m[error]", "## [error]"},
}

func TestSanitize(t *testing.T) {
	for _, c := range sanitizeCases {
		if got := Sanitize(c.in); got != c.want {
			t.Errorf("Sanitize(%q)\n got %q\nwant %q", c.in, got, c.want)
		}
	}
}

func FuzzSanitize(f *testing.F) {
	for _, c := range sanitizeCases {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Sanitize(s)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\x1b\r\x00\x07\u0085\u2028\u202e\u009b") || strings.Contains(got, "##[") {
			t.Errorf("Sanitize(%q) = %q", s, got)
		}
		for _, l := range strings.Split(got, "\n") {
			if strings.HasPrefix(strings.TrimSpace(l), "::") {
				t.Errorf("Sanitize(%q) leaves the command %q", s, l)
			}
		}
		if again := Sanitize(got); again != got {
			t.Errorf("Sanitize(%q) = %q, and again %q", s, got, again)
		}
	})
}
