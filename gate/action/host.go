package action

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/spec"
)

// runCommand is what follows the program's name on either runtime.
func (p *Plan) runCommand(dir string) []string {
	args := []string{"run", filepath.FromSlash(p.Inputs.Spec), "--out", filepath.Join(dir, outFolder)}
	if p.BaseSpec != "" {
		args = append(args, "--judge-by", p.BaseSpec)
		if p.Approve != "" {
			args = append(args, "--approve-spec", p.Approve)
		}
	}
	return append(append(args, p.heldArgs(dir)...), p.Inputs.Args...)
}

// host runs the gate on the runner itself. Engines are then the runner's user:
// they get no secret, they leave no process behind and what they write to the
// runner's files is undone, but what that user may read, they may.
func (s *Step) host(ctx context.Context, p *Plan, dir string, log *engineLog) ended {
	exe, err := s.executable()
	if err != nil {
		return ended{reason: "this program does not find its own file: " + err.Error()}
	}
	env, err := hostEnvironment(s.environ(), p.Inputs.Env)
	if err != nil {
		return ended{reason: err.Error()}
	}
	var e ended
	if err := adoptOrphans(); err != nil {
		e.warnings = append(e.warnings, err.Error())
	}
	r, err := engine.Process{Args: append([]string{exe}, p.runCommand(dir)...), Dir: p.WorkDir, Env: env, Grace: stopGrace,
		Stdout: log.stream(), Stderr: log.stream()}.Run(ctx)
	if err != nil {
		e.reason = "the gate cannot be started: " + err.Error()
		return e
	}
	e.take(r)
	left, gone := killOrphans()
	if left = append(r.Leftover, left...); len(left) > 0 {
		e.warnings = append(e.warnings, "engines left processes running, which were killed: "+strings.Join(left, ", "))
	}
	if !gone {
		e.reason = "a process that an engine left behind does not die, and the next step holds the token: " + strings.Join(left, ", ")
	}
	return e
}

// take is how the process ended.
func (e *ended) take(r *engine.ProcessResult) {
	e.code = r.ExitCode
	e.stderr = r.Stderr.Last(20)
	if r.Signal != 0 {
		e.reason = fmt.Sprintf("the gate was ended by signal %d (%s)", int(r.Signal), r.Signal)
	}
	if r.Stuck {
		e.reason = "the gate does not end: it survived being killed, as a process does that waits inside a driver"
	}
	if r.Stopped != nil {
		e.reason = r.Stopped.Error()
	}
}

// hostEnvironment is what the gate gets of the job's environment on the host:
// the allow-list of engines, and what the input env names.
func hostEnvironment(caller, lines []string) ([]string, error) {
	env, err := engine.Environment(caller, spec.Engine{}, nil)
	if err != nil {
		return nil, err
	}
	return append(env, inputEnv(caller, lines)...), nil
}

// inputEnv are the variables of the input env as "NAME=value". A NAME alone
// that the job does not set is left out.
func inputEnv(caller, lines []string) []string {
	var env []string
	for _, line := range lines {
		if strings.Contains(line, "=") {
			env = append(env, line)
		} else if v, ok := lookup(caller, line); ok {
			env = append(env, line+"="+v)
		}
	}
	return env
}

func lookup(env []string, name string) (string, bool) {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], name+"="); ok {
			return v, true
		}
	}
	return "", false
}
