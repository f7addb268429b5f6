package action

import (
	"fmt"
	"slices"
	"strconv"
)

// Conclude is the last step: it prints one line why and exits as the gate
// found, as far as the input fail-on lets it.
func (s *Step) Conclude() (int, error) {
	code, why := s.found()
	on := getInput(s.Getenv, "fail-on")
	if on == "" {
		on = failOn[0]
	}
	if !slices.Contains(failOn, on) {
		return exitInvalid, fmt.Errorf("input fail-on: %q: want %s", on, orList(failOn))
	}
	exit := code
	if code == 1 && on == "never" || code == exitIncomplete && on != "incomplete" {
		exit = exitPass
	}
	switch {
	case exit != code:
		s.annotate("warning", "%s; fail-on: %s lets it pass", why, on)
	default:
		s.log("%s (exit code %d)", why, exit)
	}
	return exit, nil
}

// found is the gate's exit code and why, by what the steps before told the
// runner. What nobody told is incomplete.
func (s *Step) found() (int, string) {
	for _, v := range []string{varReportCode, varExitCode} {
		if code, err := strconv.Atoi(s.Getenv(v)); err == nil && code >= exitPass && code <= exitIncomplete {
			why := oneLine(s.Getenv(varWhy))
			if why == "" {
				why = []string{"pass", "fail", "the spec or the command line is not valid", "incomplete"}[code]
			}
			return code, why
		}
	}
	if s.Getenv(varPlanOutcome) == "failure" {
		return exitInvalid, "nothing was run: the plan step says why"
	}
	return exitIncomplete, "incomplete: no step left a result; it was cancelled or killed"
}
