package e2e

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/paritygate/paritygate/gate/action"
)

// shared is a folder that the runner's user can read, with everything that the
// workflows have in common. All of it is made by stock, once.
var shared string

func TestMain(m *testing.M) {
	code, err := func() (int, error) {
		var err error
		if shared, err = os.MkdirTemp("", "paritygate-e2e-"); err != nil {
			return 1, err
		}
		defer os.RemoveAll(shared)
		// The tests look into checkouts of the runner's user.
		for name, value := range map[string]string{"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"} {
			if err := os.Setenv(name, value); err != nil {
				return 1, err
			}
		}
		code := m.Run()
		if actionImage != "" {
			// Its other name stays, so that the next build is quick.
			_ = exec.Command("docker", "--host", builtWith, "rmi", actionImage).Run()
		}
		return code, nil
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// Files and folders of shared.
const (
	actFile      = "act"
	programFile  = "paritygate"      // of the image
	actionFolder = "action"          // the Action as a release has it
	uploadFolder = "upload-artifact" // what stands in for GitHub's
	socketFile   = "docker.sock"     // the daemon, for the runner's user
	modelFile    = "llama-f16.gguf"
	soundTrace   = "sound.safetensors"
	ropeTrace    = "rope.safetensors"
	specFile     = "demo.yaml"
	lookFile     = "look.sh" // the last step of workflows
)

// actionImage is the name by which the Action knows the image, and builtWith the
// daemon that has it.
var actionImage, builtWith string

var stocked struct {
	sync.Once
	err error
}

// stock fills shared.
func stock(t testing.TB) {
	t.Helper()
	buildImage(t)
	host, cache := dockerHost(t), cacheDir(t)
	stocked.Do(func() {
		stocked.err = errors.Join(os.Chmod(shared, 0o755), stockTools(cache), stockAction(), serveDocker(host, filepath.Join(shared, socketFile)))
		if stocked.err == nil {
			stocked.err = stockProgram(t)
		}
	})
	if stocked.err != nil {
		t.Fatalf("%v; run: bash testdata/docker/setup.sh", stocked.err)
	}
}

var actVersion = regexp.MustCompile(`(?m)^act=(v[0-9.]+)$`)

func stockTools(cache string) error {
	setup, err := os.ReadFile(filepath.Join(repository(), "testdata", "docker", "setup.sh"))
	if err != nil {
		return err
	}
	m := actVersion.FindSubmatch(setup)
	if m == nil {
		return errors.New("testdata/docker/setup.sh names no version of act")
	}
	if err := copyFile(filepath.Join(cache, "bin", "act-"+string(m[1])), filepath.Join(shared, actFile), 0o755); err != nil {
		return err
	}
	if err := copyFile(filepath.Join(repository(), "testdata", "act", "look.sh"), filepath.Join(shared, lookFile), 0o755); err != nil {
		return err
	}
	return os.CopyFS(filepath.Join(shared, uploadFolder), os.DirFS(filepath.Join(cache, "docker", "upload-artifact")))
}

// stockAction copies the Action: what it is made of, without the tests.
func stockAction() error {
	to := filepath.Join(shared, actionFolder)
	for _, name := range []string{"action.yml", ".github/action", "Dockerfile", ".dockerignore", "LICENSE", "go.mod", "go.sum", "main.go", "baseline", "gate", "report"} {
		err := filepath.WalkDir(filepath.Join(repository(), name), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(repository(), path)
			switch {
			case err != nil:
				return err
			case d.IsDir() && d.Name() == "testdata":
				return fs.SkipDir
			case d.IsDir():
				return os.MkdirAll(filepath.Join(to, rel), 0o755)
			case strings.HasSuffix(path, "_test.go"):
				return nil
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(to, rel)), 0o755); err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			return copyFile(path, filepath.Join(to, rel), info.Mode().Perm())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// stockProgram takes the program out of the image, gives the image the name by
// which the Action looks for it, and records the demonstration's traces.
func stockProgram(t testing.TB) error {
	t.Helper()
	var err error
	if actionImage, err = action.ImageTag(filepath.Join(shared, actionFolder)); err != nil {
		return err
	}
	builtWith = dockerHost(t)
	docker(t, "tag", image, actionImage)
	id := strings.TrimSpace(docker(t, "create", image))
	program := filepath.Join(shared, programFile)
	docker(t, "cp", id+":/usr/local/bin/paritygate", program)
	docker(t, "rm", id)
	for trace, bug := range map[string]string{soundTrace: "", ropeTrace: "rope"} {
		dir := filepath.Join(shared, "demo"+bug)
		args := []string{"demo", "--out", dir}
		if bug != "" {
			args = append(args, "--bug", bug)
		}
		// A bug is exit code 1.
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil && bug == "" {
			return fmt.Errorf("paritygate demo: %w\n%s", err, out)
		}
		if err := os.Rename(filepath.Join(dir, "candidate.safetensors"), filepath.Join(shared, trace)); err != nil {
			return err
		}
	}
	for _, name := range []string{modelFile, specFile} {
		if err := os.Rename(filepath.Join(shared, "demo", name), filepath.Join(shared, name)); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string, mode os.FileMode) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, mode)
}

// serveDocker lets the runner's user speak to the daemon, as a runner's user
// can who is in the group docker.
func serveDocker(host, socket string) error {
	network, address, ok := strings.Cut(host, "://")
	if !ok {
		return fmt.Errorf("DOCKER_HOST %s: want unix:// or tcp://", host)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the tests are over
			}
			go func() {
				defer c.Close()
				d, err := net.Dial(network, address)
				if err != nil {
					return
				}
				defer d.Close()
				go relay(d, c)
				relay(c, d)
			}()
		}
	}()
	return nil
}

// relay copies until from ends, and says so to to: docker closes one direction
// before the other.
func relay(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
