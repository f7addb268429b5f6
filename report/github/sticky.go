package github

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf16"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/report"
)

// plainName is a name that a marker can hold as it is.
var plainName = regexp.MustCompile(`^[0-9A-Za-z_.][0-9A-Za-z_./:=]*([ -][0-9A-Za-z_./:=]+)*$`)

// marker is the comment's first line, by which the next run finds it. Names that
// an HTML comment cannot hold are hashed: two of them still tell apart.
func marker(name string) string { return "<!-- paritygate:" + markerName(name) + " -->" }

func markerName(name string) string {
	if len(name) > 60 || !plainName.MatchString(name) || strings.HasPrefix(name, "sha256=") {
		return fmt.Sprintf("sha256=%x", sha256.Sum256([]byte(name)))[:len("sha256=")+32]
	}
	return name
}

// sticky is what a comment's second line tells the next run.
type sticky struct {
	Head    string `json:"head"`    // commit that was judged
	Run     int64  `json:"run"`     // of the workflow
	Attempt int    `json:"attempt"` // of that run
	Outcome string `json:"outcome"` // as in results.json
	Worst   string `json:"worst"`   // checkpoint, "" in a pass: there it is the least far one
	First   string `json:"first"`   // divergence
	// Rest is a digest of what else a reader must be told of when it changes.
	Rest string `json:"rest"`
}

const (
	stickyOpen  = "<!-- paritygate-state "
	stickyClose = " -->"
)

// stickyOf is the state of a run's comment.
func stickyOf(ev *Event, r *gate.Result) sticky {
	s := sticky{Head: ev.Head, Outcome: r.Outcome.String(), First: report.First(r), Rest: restOf(r)}
	s.Run, s.Attempt = ev.measured()
	if r.Outcome != gate.Pass {
		s.Worst = report.Worst(r)
	}
	return s
}

var number = regexp.MustCompile(`[0-9]+([.,][0-9]+)*`)

// restOf is a digest of what the spec's changes and the baseline say, and of why
// nothing could be judged, without the figures: those differ from run to run.
func restOf(r *gate.Result) string {
	what := struct {
		Changes  []gate.SpecChange
		Approved bool
		JudgedBy bool
		Baseline gate.BaselineState
		Why      string
	}{Changes: r.Spec.Changes, Approved: r.Spec.Approved, JudgedBy: r.Spec.JudgedBy != ""}
	for i := range what.Changes {
		if i == 0 {
			what.Changes = append([]gate.SpecChange(nil), what.Changes...)
		}
		what.Changes[i].Line = 0 // a comment above the rule changes nothing
	}
	if r.Baseline != nil {
		what.Baseline = r.Baseline.State
	}
	if r.Outcome == gate.Incomplete {
		what.Why = number.ReplaceAllString(report.Headline(r), "0")
	}
	data, err := json.Marshal(what)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))[:16]
}

// line writes the state as an HTML comment in one line, in which only letters,
// digits and JSON's own signs stand: a name can neither end it nor mean anything.
func (s sticky) line() string {
	data, err := json.Marshal(s)
	if err != nil {
		return "" // strings and numbers always marshal
	}
	var b strings.Builder
	for _, r := range string(data) {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', strings.ContainsRune(`{}":,_./\ `, r):
			b.WriteRune(r)
		default:
			for _, u := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04x`, u)
			}
		}
	}
	return stickyOpen + b.String() + stickyClose
}

// parseSticky reads a comment that begins with the marker: ours is false for
// every other. A state that cannot be read is the zero state.
func parseSticky(body, marker string) (s sticky, ours bool) {
	first, rest, _ := strings.Cut(body, "\n")
	if strings.TrimRight(first, " \r") != marker {
		return s, false
	}
	second, _, _ := strings.Cut(rest, "\n")
	second = strings.TrimRight(second, " \r")
	text, ok := strings.CutPrefix(second, stickyOpen)
	if text, ok2 := strings.CutSuffix(text, stickyClose); ok && ok2 && json.Unmarshal([]byte(text), &s) == nil {
		return s, true
	}
	return sticky{}, true
}

// laterThan says whether s is of a later run of the same commit than o.
func (s sticky) laterThan(o sticky) bool {
	if s.Head != o.Head || s.Head == "" {
		return false
	}
	return s.Run > o.Run || s.Run == o.Run && s.Attempt > o.Attempt
}

// sameNews says whether a reader of s learns nothing new from o.
func (s sticky) sameNews(o sticky) bool {
	return s.Outcome == o.Outcome && s.Worst == o.Worst && s.First == o.First && s.Rest == o.Rest
}
