// Package action is the GitHub Action's steps. They run one after the other and
// differ in what they may see:
//
//	plan      sees the token, runs nothing of the change: reads the event, the
//	          inputs and the base branch's spec
//	run       sees no token and runs the engines, in a container or on the host
//	report    sees the token, runs no engine and reads one file: results.json
//	conclude  sees neither and exits as the gate found
//
// What one step tells the next lies in a private folder of the runner's
// temporary one. Its digests travel through the runner itself, as outputs of
// steps, so that an engine that changes a file there is noticed.
package action

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sethvargo/go-githubactions"
)

// Exit codes of steps; those of the command line.
const (
	exitPass       = 0
	exitInvalid    = 2
	exitIncomplete = 3
)

// Step is one step of the Action and the process around it.
type Step struct {
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	// Environ is the whole environment, "NAME=value" each. Nil asks the operating system.
	Environ func() []string
	// Version is the program's.
	Version string
	// Executable is this program's file, which the run step starts or mounts.
	// "" asks the operating system.
	Executable string
}

// Variables that one step of action.yml hands to the next.
const (
	varDir           = "PARITYGATE_DIR"
	varPlanDigest    = "PARITYGATE_PLAN_SHA256"
	varResultsDigest = "PARITYGATE_RESULTS_SHA256"
	varExitCode      = "PARITYGATE_EXIT_CODE"        // of the run step, for the report step
	varReportCode    = "PARITYGATE_REPORT_EXIT_CODE" // of the report step
	varWhy           = "PARITYGATE_WHY"
	varPlanOutcome   = "PARITYGATE_PLAN_OUTCOME"
)

// log is one line for people in the step's log. What it shows may come from an
// engine, so it is made safe first.
func (s *Step) log(format string, args ...any) {
	fmt.Fprintf(s.Stdout, "paritygate: %s\n", oneLine(fmt.Sprintf(format, args...)))
}

// actions writes workflow commands.
func (s *Step) actions() *githubactions.Action {
	return githubactions.New(githubactions.WithWriter(s.Stdout), githubactions.WithGetenv(s.Getenv))
}

// annotate writes text as an annotation of the whole run, "error", "warning" or
// "notice". A log that cannot be written is no reason to stop.
func (s *Step) annotate(level, format string, args ...any) {
	defer func() { _ = recover() }() // githubactions has no errors, it panics
	s.actions().IssueCommand(&githubactions.Command{Name: level,
		Properties: githubactions.CommandProperties{"title": "paritygate"}, Message: oneLine(fmt.Sprintf(format, args...))})
}

// outputs appends to the file that GITHUB_OUTPUT names. Without one it does
// nothing. Values are single lines: no value can begin an output of its own.
func (s *Step) outputs(pairs ...string) error {
	file := s.Getenv("GITHUB_OUTPUT")
	if file == "" {
		return nil
	}
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		b.WriteString(pairs[i] + "=" + oneLine(pairs[i+1]) + "\n")
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("outputs of the step: %w", err)
	}
	_, err = f.WriteString(b.String())
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// environ is the environment of the process.
func (s *Step) environ() []string {
	if s.Environ != nil {
		return s.Environ()
	}
	return os.Environ()
}

// executable is the file of this program.
func (s *Step) executable() (string, error) {
	if s.Executable != "" {
		return s.Executable, nil
	}
	return os.Executable()
}
