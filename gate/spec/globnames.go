package spec

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Names that globs match, to find out what a change of rules means for
// checkpoints that this run did not measure.

// usualNames are names that engines give.
var usualNames = []string{"embedding", "layer_0_output", "layer_1_output", "layer_17_output", "layer_0_attn_norm", "layer_0_attn_output",
	"layer_1_ffn_input", "layer_1_ffn_norm", "layer_1_ffn_output", "final_norm", Logits}

const (
	// maxGlob is the longest glob, in bytes, that names are made for.
	maxGlob = 120
	// maxProbes bounds the names that are made for one pair of specs, maxTrials
	// these names times the rules that they are tried on.
	maxProbes = 4000
	maxTrials = 2_000_000
)

// part is one element of a glob: a star, or a set of which one character stands
// there.
type part struct {
	star bool
	// some are characters of the set, at least one.
	some []rune
	has  func(rune) bool
}

// fillers are the characters that stand for "any".
var fillers = []rune("0x1a_9AzZ.-/!~é")

// parts splits a glob; nil when it is too long or not valid.
func parts(glob string) []part {
	if len(glob) > maxGlob {
		return nil
	}
	var out []part
	for rest := glob; rest != ""; {
		p, n := nextPart(rest)
		if n == 0 {
			return nil
		}
		out, rest = append(out, p), rest[n:]
	}
	return out
}

// nextPart reads one element and says how many bytes it takes, 0 for none.
func nextPart(s string) (part, int) {
	r, n := utf8.DecodeRuneInString(s)
	switch r {
	case '*':
		return part{star: true, some: fillers, has: func(rune) bool { return true }}, n
	case '?':
		return part{some: fillers, has: func(rune) bool { return true }}, n
	case '[':
		return class(s)
	case '\\':
		var m int
		if r, m = utf8.DecodeRuneInString(s[n:]); m == 0 {
			return part{}, 0
		}
		n += m
	}
	return part{some: []rune{r}, has: func(c rune) bool { return c == r }}, n
}

// class reads [a-z]. Which characters it holds is asked of Match itself, so that
// both never differ.
func class(s string) (part, int) {
	end := 1
	for first := true; ; first = false {
		r, n := utf8.DecodeRuneInString(s[min(end, len(s)):])
		if n == 0 {
			return part{}, 0
		}
		end += n
		if r == '\\' {
			_, m := utf8.DecodeRuneInString(s[end:])
			end += m
		}
		if r == ']' && !first {
			break
		}
	}
	text := s[:end]
	p := part{has: func(c rune) bool { return Match(text, string(c)) }}
	for _, c := range slices.Concat(fillers, []rune(text)) {
		if p.has(c) {
			p.some = append(p.some, c)
		}
	}
	if p.some == nil {
		return part{}, 0
	}
	return p, end
}

// examples are names that the glob matches: its stars empty, a digit, a word.
func examples(glob string) []string {
	ps := parts(glob)
	if ps == nil {
		return nil
	}
	var out []string
	for _, fill := range []string{"", "0", "x1"} {
		var b strings.Builder
		for _, p := range ps {
			if p.star {
				b.WriteString(fill)
			} else {
				b.WriteRune(p.some[0])
			}
		}
		if name := b.String(); name != "" && Match(glob, name) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// common is a name that both globs match, "" where none was found.
func common(a, b string) string {
	x, y := parts(a), parts(b)
	if x == nil || y == nil {
		return ""
	}
	w := walk{x: x, y: y, seen: make([]bool, (len(x)+1)*(len(y)+1))}
	if name, ok := w.from(0, 0); ok && Match(a, name) && Match(b, name) {
		return name
	}
	return ""
}

// walk looks for a way through both globs at once.
type walk struct {
	x, y []part
	seen []bool
}

// from is a name for what is left of both, from elements i and j on.
func (w *walk) from(i, j int) (string, bool) {
	if i == len(w.x) && j == len(w.y) {
		return "", true
	}
	at := i*(len(w.y)+1) + j
	if w.seen[at] {
		return "", false
	}
	w.seen[at] = true
	// A character for two stars would bring nothing.
	if i < len(w.x) && j < len(w.y) && !(w.x[i].star && w.y[j].star) {
		if c, ok := both(w.x[i], w.y[j]); ok {
			nextI, nextJ := i+1, j+1
			if w.x[i].star {
				nextI = i
			} else if w.y[j].star {
				nextJ = j
			}
			if name, ok := w.from(nextI, nextJ); ok {
				return string(c) + name, true
			}
		}
	}
	if i < len(w.x) && w.x[i].star {
		if name, ok := w.from(i+1, j); ok {
			return name, true
		}
	}
	if j < len(w.y) && w.y[j].star {
		return w.from(i, j+1)
	}
	return "", false
}

// both is a character that both elements have.
func both(a, b part) (rune, bool) {
	for _, c := range a.some {
		if b.has(c) {
			return c, true
		}
	}
	for _, c := range b.some {
		if a.has(c) {
			return c, true
		}
	}
	return 0, false
}

// probes are names on which rules are tried: what was measured, usual names,
// examples of the globs that moved, and what each of those has in common with any.
func probes(measured, moved, all []string) []string {
	seen := map[string]bool{"": true}
	var out []string
	add := func(names ...string) {
		for _, n := range names {
			if !seen[n] {
				seen[n] = true
				out = append(out, n)
			}
		}
	}
	add(measured...)
	most := len(out) + min(maxProbes, maxTrials/(len(all)+1))
	add(usualNames...)
	for round := range 3 { // one of each before a second of any
		for _, g := range moved {
			if names := examples(g); len(out) < most && round < len(names) {
				add(names[round])
			}
		}
	}
	tried := 0
	for _, g := range moved {
		for _, h := range all {
			if tried++; len(out) < most && tried <= 4*maxProbes && g != h {
				add(common(g, h), common(strings.Replace(g, "*", "*x1*", 1), h))
			}
		}
	}
	return out
}
