// Package e2e tries the Action and the image from the outside: the image is
// built by the real Dockerfile and run as the Action runs it, and act runs the
// real action.yml against a GitHub that keeps state. testdata/docker/setup.sh
// installs what that takes; without it the tests fail, they do not step aside.
package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const (
	image   = "paritygate-test/paritygate:latest"
	version = "v0.0.0-test"
	// Images that setup.sh made or pulled.
	baseImage = "paritygate-test/debian:bookworm-slim"
	goImage   = "paritygate-test/golang:bookworm"
)

// repository is the root of this repository.
func repository() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}

// cacheDir is the folder that setup.sh fills.
func cacheDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("XDG_CACHE_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(home, ".cache")
	}
	return filepath.Join(dir, "paritygate")
}

// dockerHost is $DOCKER_HOST, or the daemon that setup.sh found or started.
func dockerHost(t testing.TB) string {
	t.Helper()
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		return host
	}
	b, err := os.ReadFile(filepath.Join(cacheDir(t), "docker", "host"))
	if err != nil {
		t.Fatalf("no Docker daemon is known (%v); run: bash testdata/docker/setup.sh", err)
	}
	return strings.TrimSpace(string(b))
}

// exitCode runs a command and returns its exit code and all that it said.
// That it cannot be started fails the test.
func exitCode(t testing.TB, cmd *exec.Cmd) (int, string) {
	t.Helper()
	var out bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &out
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", cmd, err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// docker runs the Docker client, which must succeed, and returns its output.
func docker(t testing.TB, args ...string) string {
	t.Helper()
	code, out := dockerExit(t, args...)
	if code != 0 {
		t.Fatalf("docker %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

func dockerExit(t testing.TB, args ...string) (int, string) {
	t.Helper()
	program, err := exec.LookPath("docker")
	if err != nil {
		t.Fatalf("%v; install docker.io, then run: bash testdata/docker/setup.sh", err)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+dockerHost(t))
	return exitCode(t, cmd)
}

var built struct {
	sync.Once
	err error
}

// buildImage builds the image by the real Dockerfile, once for all tests.
func buildImage(t testing.TB) {
	t.Helper()
	host := dockerHost(t)
	built.Do(func() {
		cmd := exec.Command("docker", "build", "--network", "host", "--tag", image, "--build-arg", "GO_IMAGE="+goImage,
			"--build-arg", "BASE="+baseImage, "--build-arg", "VERSION="+version, "--build-arg", "REVISION=0123abc", ".")
		cmd.Dir = repository()
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+host)
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatalf("docker build: %v", built.err)
	}
}

// user is who runs the engines: the tests' own user, or an ordinary one where
// the tests run as root, so that root's files are seen.
func user() (uid, gid int) {
	if os.Getuid() != 0 {
		return os.Getuid(), os.Getgid()
	}
	return 1001, 1001
}

// giveAway makes path and all below it the user's.
func giveAway(t testing.TB, path string) {
	t.Helper()
	uid, gid := user()
	err := filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, uid, gid)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wantOwned fails the test for everything below path that is not the user's,
// and returns how many files and folders it saw.
func wantOwned(t testing.TB, path string) int {
	t.Helper()
	uid, _ := user()
	seen := 0
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		seen++
		if owner := int(info.Sys().(*syscall.Stat_t).Uid); owner != uid {
			t.Errorf("%s belongs to user %d, not to the runner's user %d", p, owner, uid)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}
