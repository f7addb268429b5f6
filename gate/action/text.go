package action

import (
	"strings"
	"unicode"

	"github.com/paritygate/paritygate/gate/engine"
)

// oneLine makes s safe for a log and for a line of a file command: what ends a
// line becomes a space, what does not show an escape.
func oneLine(s string) string {
	return strings.TrimSpace(strings.ReplaceAll(engine.Sanitize(s), "\n", " "))
}

// clip shortens s to its last max bytes, at a line's beginning where there is one.
func clip(s string, max int) string {
	if len(s) <= max {
		return s
	}
	s = s[len(s)-max:]
	if i := strings.IndexByte(s, '\n'); i >= 0 && i < len(s)-1 {
		s = s[i+1:]
	}
	return "… " + strings.ToValidUTF8(s, "")
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar })
}

// orList joins words as "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
