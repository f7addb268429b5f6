package gate

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// tinyEngine is what the test binary is when it is called as an engine: it
// writes a trace of states that follow from its tokens, well or badly.
const tinyEngine = "tiny-engine"

func init() {
	if len(os.Args) < 5 || os.Args[1] != tinyEngine {
		return
	}
	if err := playEngine(os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func playEngine(mode, path, list string) error {
	var tokens []int32
	for _, w := range strings.Split(list, ",") {
		n, err := strconv.Atoi(w)
		if err != nil {
			return err
		}
		tokens = append(tokens, int32(n))
	}
	meta := trace.Meta{Engine: "tiny", EngineVersion: "1.2", Device: "abacus", ComputeDType: "f32", Tokens: tokens}
	name, factor := "embedding", 1.0
	switch mode {
	case "crash":
		fmt.Fprintln(os.Stderr, "loading weights\nout of beads")
		os.Exit(7)
	case "crash-on-9":
		if tokens[0] == 9 {
			fmt.Fprintln(os.Stderr, "nine is too much")
			os.Exit(7)
		}
	case "nothing":
		return nil
	case "hang":
		time.Sleep(time.Minute)
	case "garbled":
		return os.WriteFile(path, []byte("not a trace"), 0o644)
	case "bos":
		meta.Tokens = append([]int32{256}, tokens...)
	case "silent":
		meta.Tokens = nil
	case "off":
		factor = 1.5
	case "named":
		name = "embd_tokens"
	}
	rows := matrix(max(len(tokens), len(meta.Tokens)), 8, func(i, j int) float64 {
		return factor * float64(j+1) * (1 + float64(tokens[i%len(tokens)]))
	})
	return writeTrace(path, meta, point{name: name, rows: rows}, point{name: "logits", rows: scaled(rows, 2)})
}

// tiny is an engine of the spec that runs the test binary as mode says.
func tiny(t testing.TB, mode string) spec.Engine {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	no := false
	return spec.Engine{Adapter: "exec", Command: []string{exe, tinyEngine, mode, "{{trace}}", "{{tokens}}"}, GPU: &no, Timeout: 20 * time.Second}
}

// recordedEngine hands out a trace that a made engine would write for tokens.
func recordedEngine(t testing.TB, meta trace.Meta, points ...point) spec.Engine {
	t.Helper()
	return spec.Engine{Adapter: "trace", Path: written(t, filepath.Join(t.TempDir(), "recorded.safetensors"), meta, points...)}
}

// running is a spec of two engines and prompts.
func running(t testing.TB, reference, candidate spec.Engine, prompts ...spec.Prompt) *spec.Spec {
	t.Helper()
	s := parsed(t, "")
	s.Engines.Reference, s.Engines.Candidate = reference, candidate
	s.Prompts = prompts
	return s
}

func promptOf(name string, ids ...int32) spec.Prompt { return spec.Prompt{Name: name, Tokens: ids} }
