package report

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

const (
	// maxName and maxProse bound names and sentences in runes.
	maxName  = 80
	maxProse = 400
	// breaker is a zero-width space: it shows nothing and ends a word, so that no
	// mention, reference or address begins where it stands.
	breaker = "\u200b"
)

// clean makes untrusted text fit for one line of a terminal or a log: control
// characters, line breaks, bidi overrides and other invisible characters are
// written as escapes, the openings of runner commands ("::" first in a word,
// "##[" anywhere) are broken, and over limit runes the rest is cut as "…".
func clean(s string, limit int) string {
	var b strings.Builder
	n := 0
	prev := ' '
	for i, r := range s {
		if n == limit {
			b.WriteString("…")
			break
		}
		n++
		switch {
		case unicode.Is(unicode.Zs, r):
			r = ' '
			b.WriteRune(r)
		case !unicode.IsPrint(r):
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		case r == ':' && prev == ' ' && strings.HasPrefix(s[i:], "::"),
			r == '[' && strings.HasSuffix(s[:i], "##"):
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
		prev = r
	}
	return b.String()
}

// sentence is clean for prose: line breaks are spaces.
func sentence(s string) string { return sentenceOf(s, maxProse) }

func sentenceOf(s string, limit int) string {
	if len(s) > 16*maxProse {
		s = s[:16*maxProse]
	}
	return clean(strings.Join(strings.Fields(s), " "), limit)
}

var (
	// address finds what GitHub makes links of without any markup.
	address = regexp.MustCompile(`(?i)(://|\bwww\.|\bgh-[0-9]|\b(?:mailto|xmpp):)`)
	// listMark finds what would begin a list or underline a heading.
	listMark = regexp.MustCompile(`^([0-9]+[.)]|[-+=])( |[-+=]|$)`)
)

// escape makes untrusted prose fit for a paragraph, a list item or a table cell
// of GitHub's Markdown: it shows as it is written, and never becomes a link, an
// image, HTML, a mention, a reference to an issue, mathematics or a block.
func escape(s string) string { return escapeOf(s, maxProse) }

func escapeOf(s string, limit int) string {
	s = sentenceOf(s, limit)
	s = address.ReplaceAllStringFunc(s, func(m string) string {
		if at := strings.IndexAny(m, ":-."); at >= 0 {
			return m[:at+1] + breaker + m[at+1:]
		}
		return m
	})
	var b strings.Builder
	if listMark.MatchString(s) {
		b.WriteString(breaker)
	}
	for _, r := range s {
		switch r {
		case '@', '#', '$':
			// An escaped @ or $ still is one to the filters that run after Markdown.
			b.WriteString(breaker + `\` + string(r) + breaker)
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		case '&':
			b.WriteString("&amp;")
		case '\\', '`', '*', '_', '[', ']', '(', ')', '|', '~':
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// code writes an untrusted name as a code span, where Markdown has no meaning:
// its fence is longer than any run of backticks inside.
func code(name string) string {
	s := clean(name, maxName)
	if strings.TrimSpace(s) == "" {
		return "(no name)"
	}
	fence := "`"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") || strings.HasPrefix(s, " ") && strings.HasSuffix(s, " ") {
		s = " " + s + " "
	}
	return fence + s + fence
}

// cell is code inside a table, which splits its cells before it reads code
// spans and takes a backslash before a bar away.
func cell(name string) string {
	if strings.Contains(name, `\`) {
		// "\|" cannot be written in a cell's code span: the bar is shown broken.
		return strings.ReplaceAll(code(name), "|", "¦")
	}
	return strings.ReplaceAll(code(name), "|", `\|`)
}

// shellWord quotes an argument for a POSIX shell.
func shellWord(s string) string {
	s = clean(s, 300)
	if s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-./:=@%+,", r))
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
