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

// found is the gate's exit code and why, as the report step told the runner.
// Where it told nothing, it was killed or did not believe what it read, and the
// gate is incomplete, whatever the run step said.
func (s *Step) found() (int, string) {
	if code, err := strconv.Atoi(s.Getenv(varReportCode)); err == nil && code >= exitPass && code <= exitIncomplete {
		why := oneLine(s.Getenv(varWhy))
		if why == "" {
			why = []string{"pass", "fail", "the spec or the command line is not valid", "incomplete"}[code]
		}
		return code, why
	}
	if s.Getenv(varPlanOutcome) == "failure" {
		return exitInvalid, "nothing was run: the plan step says why"
	}
	return exitIncomplete, "incomplete: the report step left no result; it was cancelled or killed, or says why"
}
