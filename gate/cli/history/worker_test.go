package history

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/paritygate/paritygate/gate/cli"
	"github.com/paritygate/paritygate/gate/engine/enginetest"
)

// The candidate is this test's own program, started by the repository's scripts
// as a worker is: it reads the settings of the commit, makes of the model what
// the commit's code would make of it, and runs llama.cpp. Settings that were run
// before are taken from a folder, as a compiler's cache would.
const (
	envWorker = "HISTORY_WORKER" // the worker's program
	envCache  = "HISTORY_CACHE"  // traces by settings
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "worker" {
		testing.Init()
		if err := worker(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	for name, value := range map[string]string{
		"GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_SYSTEM": os.DevNull,
		"GIT_AUTHOR_NAME": "Dev", "GIT_AUTHOR_EMAIL": "dev@example.com", "GIT_COMMITTER_NAME": "Dev", "GIT_COMMITTER_EMAIL": "dev@example.com",
	} {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// worker runs "build SETTINGS" or "run SETTINGS TOKENS TRACE".
func worker(args []string) error {
	s, err := readSettings(args[1])
	if err != nil {
		return err
	}
	switch {
	case args[0] == "build" && len(args) == 2:
		return nil // the settings are the source: they parse
	case args[0] == "run" && len(args) == 4:
		return s.run(args[2], args[3])
	}
	return fmt.Errorf("unknown arguments %q", args)
}

// settings are what a commit's code does.
type settings struct {
	flash, kv string
	ubatch    int
	norm      float64 // how rough the final norm is, see roughen
	bug       string  // "none", "heads" (layer 1 mixes its key heads up) or "crash"
}

// text is the settings' file; sorted is the order of its lines.
func (s settings) text(sorted bool) string {
	lines := []string{"kv_type=" + s.kv, "flash_attention=" + s.flash, fmt.Sprintf("ubatch=%d", s.ubatch),
		"norm=" + strconv.FormatFloat(s.norm, 'g', -1, 64), "bug=" + s.bug}
	if sorted {
		lines = []string{"# what is computed", lines[4], lines[3], "# how", lines[1], lines[0], lines[2]}
	}
	return strings.Join(lines, "\n") + "\n"
}

func readSettings(path string) (s settings, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "flash_attention":
			s.flash = value
		case "kv_type":
			s.kv = value
		case "ubatch":
			s.ubatch, err = strconv.Atoi(value)
		case "norm":
			s.norm, err = strconv.ParseFloat(value, 64)
		case "bug":
			s.bug = value
		default:
			if !strings.HasPrefix(line, "#") {
				err = fmt.Errorf("%s: unknown line %q", path, line)
			}
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// run writes the trace of the tokens.
func (s settings) run(tokens, to string) error {
	if s.bug == "crash" {
		fmt.Fprintln(os.Stderr, "GGML_ASSERT(nei0 == 1) failed")
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	sum := sha256.Sum256([]byte(s.text(false) + tokens))
	cached := filepath.Join(os.Getenv(envCache), fmt.Sprintf("%x.safetensors", sum[:8]))
	if _, err := os.Stat(cached); err != nil {
		model, err := s.model()
		if err != nil {
			return err
		}
		if err := capture(cached, tokens, model, "candidate", "--flash-attention", s.flash, "--kv-type", s.kv, "--ubatch", strconv.Itoa(s.ubatch)); err != nil {
			return err
		}
	}
	data, err := os.ReadFile(cached)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// model is the zoo's, or one that gives llama.cpp the mistakes of the settings.
func (s settings) model() (string, error) {
	sound := os.Getenv(envModel)
	if s.norm == 0 && s.bug == "none" {
		return sound, nil
	}
	g, err := enginetest.ReadGGUF(sound)
	if err != nil {
		return "", err
	}
	edits := []func(*enginetest.GGUF) error{roughen(s.norm)}
	if s.bug == "heads" {
		edits = append(edits, enginetest.RotateHeads("blk.1.attn_k.weight", 2))
	}
	for _, edit := range edits {
		if err := edit(g); err != nil {
			return "", err
		}
	}
	path := filepath.Join(os.Getenv(envCache), fmt.Sprintf("%s-%g.gguf", s.bug, s.norm))
	return path, g.Write(path)
}

// roughen makes every other weight of the final norm a share too large, and those
// between as much too small: final_norm is off by that share.
func roughen(share float64) func(*enginetest.GGUF) error {
	return func(g *enginetest.GGUF) error {
		const name = "output_norm.weight"
		t := g.Tensor(name)
		if t == nil || t.Type != enginetest.F32 {
			return fmt.Errorf("no %s in f32", name)
		}
		v, err := t.Floats()
		if err != nil {
			return err
		}
		for i, x := range v {
			sign := float64(1 - i%2*2)
			binary.LittleEndian.PutUint32(t.Data[4*i:], math.Float32bits(float32(float64(x)*(1+sign*share))))
		}
		return nil
	}
}

// capture runs llama.cpp on tokens, as paritygate does.
func capture(to, tokens, model, role string, more ...string) error {
	args := append([]string{"capture", "--adapter", "llamacpp", "--role", role, "--model", model, "--out", to, "--tokens", tokens,
		"--library", os.Getenv(envLibrary), "--headers", os.Getenv(envHeaders), "--gpu-layers", "0", "--threads", "1"}, more...)
	var said bytes.Buffer
	code := cli.Main(context.Background(), args, cli.Process{Stdin: &bytes.Buffer{}, Stdout: &said, Stderr: &said, Getenv: os.Getenv})
	if code != 0 {
		return fmt.Errorf("capture exits %d: %s", code, &said)
	}
	return nil
}

// Where llama.cpp and the model lie.
const (
	envModel   = "HISTORY_MODEL"
	envLibrary = "HISTORY_LIBRARY"
	envHeaders = "HISTORY_HEADERS"
)
