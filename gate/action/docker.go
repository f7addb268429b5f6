package action

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/paritygate/paritygate/gate/engine"
)

// docker is the client program.
type docker struct {
	env []string
	log *engineLog
}

// dockerVariables are what the client needs of the environment.
var dockerVariables = []string{"PATH", "HOME", "USER", "XDG_RUNTIME_DIR", "TMPDIR",
	"DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "DOCKER_API_VERSION", "DOCKER_BUILDKIT"}

const (
	quickTimeout  = time.Minute      // of a question to the daemon
	buildTimeout  = 60 * time.Minute // of the image
	removeTimeout = 10 * time.Second // of killing a container: a cancelled job has little time
)

func (s *Step) newDocker(log *engineLog) *docker {
	d := &docker{log: log}
	env := s.environ()
	for _, name := range dockerVariables {
		if v, ok := lookup(env, name); ok {
			d.env = append(d.env, name+"="+v)
		}
	}
	return d
}

// run shows what the client prints in the step's log.
func (d *docker) run(ctx context.Context, timeout time.Duration, args ...string) (*engine.ProcessResult, error) {
	p := engine.Process{Args: append([]string{"docker"}, args...), Env: d.env, Timeout: timeout, Grace: stopGrace, Stdout: d.log.stream(), Stderr: d.log.stream()}
	return p.Run(ctx)
}

// ask is a question whose answer is not shown.
func (d *docker) ask(ctx context.Context, args ...string) (*engine.ProcessResult, error) {
	return engine.Process{Args: append([]string{"docker"}, args...), Env: d.env, Timeout: quickTimeout}.Run(ctx)
}

// info is what the daemon says of its walls between users.
func (d *docker) info(ctx context.Context) (string, error) {
	r, err := d.ask(ctx, "info", "--format", "{{json .SecurityOptions}}")
	switch {
	case err != nil:
		return "", fmt.Errorf("docker cannot be started: %w; runtime: host needs none", err)
	case r.TimedOut:
		return "", fmt.Errorf("the Docker daemon does not answer within %s; runtime: host needs none", quickTimeout)
	case !r.OK():
		return "", fmt.Errorf("the Docker daemon cannot be reached: %s; runtime: host needs none", oneLine(r.Stderr.Last(3)))
	}
	return r.Stdout.String(), nil
}

// remove ends a container and leaves nothing of it. The step may have been
// cancelled: this has time of its own.
func (d *docker) remove(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	_, _ = engine.Process{Args: []string{"docker", "rm", "--force", name}, Env: d.env}.Run(ctx) // it may be gone already
}

// build returns the image of the Action's own Dockerfile and builds it when
// this version was not built on this machine before.
func (d *docker) build(ctx context.Context, source, version string) (string, error) {
	if source == "" {
		return "", errors.New("GITHUB_ACTION_PATH is not set, so there is no Dockerfile to build: give the input image one")
	}
	tag, err := ImageTag(source)
	if err != nil {
		return "", fmt.Errorf("the image of the Action cannot be built: %w", err)
	}
	if r, err := d.ask(ctx, "image", "inspect", "--format", "{{.Id}}", tag); err != nil || r.OK() {
		return tag, err
	}
	fmt.Fprintf(d.log.stream(), "paritygate: building %s\n", tag)
	r, err := d.run(ctx, buildTimeout, "build", "--tag", tag, "--build-arg", "VERSION="+version, source)
	switch {
	case err != nil:
		return "", err
	case r.TimedOut:
		return "", fmt.Errorf("building the image of the Action took more than %s", buildTimeout)
	case !r.OK():
		return "", fmt.Errorf("the image of the Action cannot be built (docker build: exit code %d): %s", r.ExitCode, clip(r.Stderr.Last(10), maxReason))
	}
	return tag, nil
}

// imageSources are what the image is made of: what .dockerignore lets through,
// and how it is made.
var imageSources = []string{"Dockerfile", ".dockerignore", "LICENSE", "go.mod", "go.sum", "main.go", "baseline", "gate", "report"}

// ImageTag names the image that the Action's source in folder makes: the same
// source has the same name, on every machine.
func ImageTag(folder string) (string, error) {
	h := sha256.New()
	for _, name := range imageSources {
		err := filepath.WalkDir(filepath.Join(folder, name), func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && name != "Dockerfile" {
				return nil
			}
			if err != nil {
				return err
			}
			return hashSource(h, folder, path, e)
		})
		if err != nil {
			return "", err
		}
	}
	return "paritygate-action:" + hex.EncodeToString(h.Sum(nil))[:24], nil
}

// hashSource adds one file of the image's source, with its name and length, so
// that no two trees look the same.
func hashSource(h io.Writer, folder, path string, e fs.DirEntry) error {
	if e.IsDir() {
		if e.Name() == "testdata" {
			return fs.SkipDir
		}
		return nil
	}
	if strings.HasSuffix(path, "_test.go") || !e.Type().IsRegular() {
		return nil
	}
	rel, err := filepath.Rel(folder, path)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "%d %s %d\n", len(rel), filepath.ToSlash(rel), len(data))
	h.Write(data) // a hash takes everything
	return nil
}
