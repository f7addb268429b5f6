package action

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// Whatever an engine prints, no line of it is a command, in or out of the part
// of the log where the runner does not look.
func TestEngineLogHasNoCommands(t *testing.T) {
	hostile := []string{
		"::set-output name=outcome::pass", "  ::add-mask::x", "\t::error::x", "a\r::set-env name=PATH::/evil", "##[error]x", "text ##[add-matcher]y",
		"\x1b[31m::error::x", "\u00a0::error::x", "\u2028::error::x", "\ufeff::error::x", "::stop-commands::mine", "::mine::", "\x0b::error::x",
	}
	for _, h := range hostile {
		for _, split := range []int{1, 7, 100_000} {
			var b bytes.Buffer
			l := newEngineLog(&b)
			w := l.stream()
			for rest := h + "\n"; rest != ""; {
				n := min(split, len(rest))
				fmt.Fprint(w, rest[:n])
				rest = rest[n:]
			}
			l.end()
			lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
			for _, line := range lines[1 : len(lines)-1] {
				if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") || strings.ContainsAny(line, "\r\x1b") {
					t.Errorf("%q in writes of %d bytes became the line %q", h, split, line)
				}
			}
			word := strings.TrimPrefix(lines[0], "::stop-commands::")
			if len(word) < 20 || lines[len(lines)-1] != "::"+word+"::" {
				t.Errorf("the log begins with %q and ends with %q", lines[0], lines[len(lines)-1])
			}
		}
	}
}

func TestEngineLogWordsDiffer(t *testing.T) {
	var b bytes.Buffer
	if first, second := newEngineLog(&b).word, newEngineLog(&b).word; first == second {
		t.Error("two logs have the same word")
	}
}

// Lines without an end, and output without one, are bounded.
func TestEngineLogIsBounded(t *testing.T) {
	var b bytes.Buffer
	l := newEngineLog(&b)
	w := l.stream()
	block := bytes.Repeat([]byte("x"), 1<<20)
	for range 64 {
		if n, err := w.Write(block); n != len(block) || err != nil {
			t.Fatalf("Write returned %d, %v", n, err)
		}
	}
	l.end()
	if b.Len() > maxEngineLog+1<<20 || !strings.Contains(b.String(), "the rest is left out") {
		t.Errorf("%d bytes in the log", b.Len())
	}
	for line := range strings.Lines(b.String()) {
		if len(line) > maxEngineLine+1 {
			t.Fatalf("a line of %d bytes", len(line))
		}
	}
}

// Two streams do not mix within a line, and a last line without an end is shown.
func TestEngineLogStreams(t *testing.T) {
	var b bytes.Buffer
	l := newEngineLog(&b)
	out, err := l.stream(), l.stream()
	fmt.Fprint(out, "one ")
	fmt.Fprint(err, "two\n")
	fmt.Fprint(out, "three\nfour")
	l.end()
	lines := strings.Split(b.String(), "\n")
	if got := strings.Join(lines[1:4], "|"); got != "two|one three|four" {
		t.Errorf("log %q", got)
	}
}

func TestOneLine(t *testing.T) {
	for s, want := range map[string]string{
		"a\nb": "a b", "a\rb": "a b", " x ": "x", "a\x07b": `a\x07b`, "/a  b/c": "/a  b/c", "::error::x": ": :error::x", "a\u2028b": "a b",
	} {
		if got := oneLine(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestClip(t *testing.T) {
	for _, tt := range []struct {
		s    string
		max  int
		want string
	}{{"abc", 3, "abc"}, {"abc\ndef", 5, "… def"}, {"abcdef", 3, "… def"}, {"aéé", 3, "… é"}} {
		if got := clip(tt.s, tt.max); got != tt.want {
			t.Errorf("%q to %d: %q, want %q", tt.s, tt.max, got, tt.want)
		}
	}
}
