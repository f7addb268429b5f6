package action

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/paritygate/paritygate/gate/engine"
	"github.com/paritygate/paritygate/gate/spec"
)

// stepVariables are what the run step itself needs besides what an engine may
// have: the plan, the runner's files and the way to Docker.
var stepVariables = []string{
	varDir, varPlanDigest, "RUNNER_TEMP", "GITHUB_ACTION_PATH",
	"GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STEP_SUMMARY", "GITHUB_STATE", "GITHUB_EVENT_PATH",
	"DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "DOCKER_API_VERSION", "DOCKER_BUILDKIT",
}

// leaveSecretsBehind starts this program again, in the same process, with an
// environment that holds no secret. A workflow may set a token for the whole
// job, and an engine on the host can look up /proc/PID/environ of its parent;
// no variable can be taken out of that one but by an exec.
func (s *Step) leaveSecretsBehind() error {
	if s.Environ != nil {
		return nil // a test's environment is none of the process's
	}
	caller := os.Environ()
	clean, err := cleanEnvironment(caller)
	if err != nil {
		return err
	}
	if len(clean) == len(caller) {
		return nil
	}
	exe, err := s.executable()
	if err != nil {
		return err
	}
	if err := syscall.Exec(exe, os.Args, clean); err != nil {
		return fmt.Errorf("cannot start again without the job's secrets: %w", err)
	}
	return nil
}

// cleanEnvironment keeps of caller what engines may have, what this step needs
// and what is not named like a secret, for the input env to name.
func cleanEnvironment(caller []string) ([]string, error) {
	allowed, err := engine.Environment(caller, spec.Engine{PassEnv: stepVariables}, nil)
	if err != nil {
		return nil, err
	}
	for _, kv := range caller {
		name, _, ok := strings.Cut(kv, "=")
		if _, has := lookup(allowed, name); ok && !has && variablePattern.MatchString(name) && !engine.SecretName(name) {
			allowed = append(allowed, kv)
		}
	}
	slices.Sort(allowed)
	return slices.Compact(allowed), nil
}
