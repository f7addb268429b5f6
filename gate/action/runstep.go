package action

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/paritygate/paritygate/gate"
)

// ended is how the engines' side ended.
type ended struct {
	code     int      // exit code; −1 without one
	reason   string   // why there can be no result, "" when there should be one
	stderr   string   // its last lines, sanitised
	warnings []string // for people
}

// stopGrace is the time between SIGTERM and SIGKILL of the engines' side, which
// gives its engines 2 s. The runner kills a cancelled step after 10 s.
const stopGrace = 4 * time.Second

// maxReason bounds what of an engine's output a reason repeats, in bytes.
const maxReason = 2000

// Run is the second step: it runs the engines and writes results.json into the
// plan's folder, whatever happens: engines that crash, a Docker that is not
// there, a cancelled workflow. The step itself fails only when that file or the
// step's outputs cannot be written.
func (s *Step) Run(ctx context.Context) (int, error) {
	if err := s.leaveSecretsBehind(); err != nil {
		return exitIncomplete, err
	}
	protectMemory()
	dir := s.Getenv(varDir)
	p, err := readPlan(dir, s.Getenv(varPlanDigest))
	if err != nil {
		return exitIncomplete, err
	}
	r, code := s.measure(ctx, p, dir)
	r.Source = &p.Source
	r.Warnings = append(r.Warnings, p.Notes...)
	sum, err := keepResults(dir, r)
	if err != nil {
		return exitIncomplete, err
	}
	s.log("outcome %s%s", r.Outcome, firstReason(r))
	if err := s.outputs("exit-code", strconv.Itoa(code), "sha256", sum); err != nil {
		return exitIncomplete, err
	}
	return exitPass, nil
}

func firstReason(r *gate.Result) string {
	if len(r.Reasons) == 0 {
		return ""
	}
	return ": " + r.Reasons[0]
}

// measure returns what the engines' side found and its exit code.
func (s *Step) measure(ctx context.Context, p *Plan, dir string) (*gate.Result, int) {
	if p.Refused != "" {
		return p.incomplete(p.Refused), exitIncomplete
	}
	saved, err := saveCommandFiles(s.Getenv)
	if err != nil {
		return p.incomplete("the runner's files cannot be kept from engines: " + err.Error()), exitIncomplete
	}
	e := s.engines(ctx, p, dir)
	changed, err := saved.restore()
	if len(changed) > 0 {
		e.warnings = append(e.warnings, "an engine changed files of the runner, which were put back: "+strings.Join(changed, ", "))
	}
	if err != nil {
		e.reason = "files of the runner that an engine changed cannot be put back: " + err.Error()
	}
	r, code := p.judge(dir, e)
	for _, w := range e.warnings {
		s.annotate("warning", "%s", w)
	}
	r.Warnings = append(r.Warnings, e.warnings...)
	return r, code
}

// engines runs the engines' side and leaves no process of it behind.
func (s *Step) engines(ctx context.Context, p *Plan, dir string) ended {
	log := newEngineLog(s.Stdout)
	defer log.end()
	start := time.Now()
	var e ended
	if p.Inputs.Runtime == "host" {
		e = s.host(ctx, p, dir, log)
	} else {
		e = s.container(ctx, p, dir, log)
	}
	if ctx.Err() != nil {
		e.reason = "the workflow was cancelled"
	}
	fmt.Fprintf(log.stream(), "paritygate: runtime %s took %.1f s\n", p.Inputs.Runtime, time.Since(start).Seconds())
	return e
}

// judge reads the engines' side's results.json and holds it to how that side
// ended: what contradicts itself is no result.
func (p *Plan) judge(dir string, e ended) (*gate.Result, int) {
	if e.reason != "" {
		return p.incomplete(withOutput(e.reason, e.stderr)), exitIncomplete
	}
	r, err := readResults(dir, filepath.Join(outFolder, resultsFile))
	switch {
	case err != nil && e.code == exitInvalid:
		return p.incomplete(withOutput("the spec or the command line is not valid", e.stderr)), exitInvalid
	case err != nil:
		why := err.Error()
		if isNotExist(err) {
			why = "no results.json was written"
		}
		return p.incomplete(withOutput(fmt.Sprintf("the gate ended with exit code %d, and %s", e.code, why), e.stderr)), exitIncomplete
	case r.ExitCode != e.code:
		return p.incomplete(withOutput(fmt.Sprintf("the gate ended with exit code %d, and its results.json says %s (exit code %d)",
			e.code, r.Outcome, r.ExitCode), e.stderr)), exitIncomplete
	}
	return r, e.code
}

func withOutput(reason, output string) string {
	if output == "" {
		return reason
	}
	return reason + ": " + clip(output, maxReason)
}
