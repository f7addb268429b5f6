// Command oracle measures the oracle's forward pass beside torch's in float64
// on the same processors, and what it costs in memory.
//
//	go run ./testdata/bench/oracle -python PYTHON [-layers 24] [-runs 3]
//
// PYTHON has torch and transformers (testdata/engines/torch.sh prints it). The
// model is random, about 0.7 G parameters in F16 with the default of 24 layers.
// Figures are medians after one run to warm up; each ratio stands beside its goal.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/paritygate/paritygate/gate/oracle"
	"github.com/paritygate/paritygate/gate/oracle/gguf"
	"github.com/paritygate/paritygate/gate/oracle/gguf/ggufgen"
)

func main() {
	python := flag.String("python", "python3", "the Python that has torch and transformers")
	layers := flag.Int("layers", ggufgen.Large().Layers, "layers of the model; 24 is 0.7 G parameters")
	runs := flag.Int("runs", 3, "counted runs of each")
	flag.Parse()
	if err := measure(*python, *layers, *runs); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

func measure(python string, layers, runs int) error {
	dir, err := os.MkdirTemp("", "paritygate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c := ggufgen.Large()
	c.Layers = layers
	whole, parameters, err := model(filepath.Join(dir, "whole.gguf"), c)
	if err != nil {
		return err
	}
	defer whole.Close()
	c.Layers = layers / 2
	half, _, err := model(filepath.Join(dir, "half.gguf"), c)
	if err != nil {
		return err
	}
	defer half.Close()

	fmt.Printf("random llama of %.2f G parameters in F16, 64 tokens, %d processors\n\n", float64(parameters)/1e9, runtime.NumCPU())
	before := resident()
	f64, err := prefill(whole, "f64", 64, runs)
	if err != nil {
		return err
	}
	private := resident() - before
	f32, err := prefill(whole, "f32", 64, runs)
	if err != nil {
		return err
	}
	halfLayers, err := prefill(half, "f64", 64, runs)
	if err != nil {
		return err
	}
	halfTokens, err := prefill(whole, "f64", 32, runs)
	if err != nil {
		return err
	}
	c.Layers = layers
	torch, version, err := torchPrefill(python, c, runs)
	if err != nil {
		return err
	}
	fmt.Println("| what | measured | beside | ratio | goal | |\n|---|---|---|---|---|---|")
	line("float64 prefill over torch "+version, f64, torch, f64/torch, 0, 1.5)
	line("f32 emulation, times faster than float64", f32, f64, f64/f32, 1.5, 0)
	line("all layers over half of them", f64, halfLayers, f64/halfLayers, 1.5, 2.1)
	line("64 tokens over 32", f64, halfTokens, f64/halfTokens, 1.5, 2.1)
	layer := float64(c.Width*c.Width*2+2*c.Width*c.Width/c.Heads*c.KVHeads+3*c.Width*c.FeedForward) * 8 / 1e6
	fmt.Printf("\nmemory beyond the mapped file: %.0f MB; the largest layer in float64 is %.0f MB\n", float64(private)/1e6, layer)
	return nil
}

func line(what string, measured, beside, ratio, low, high float64) {
	verdict, goal := "PASS", ""
	switch {
	case low > 0 && high > 0:
		goal = fmt.Sprintf("%g–%g", low, high)
	case low > 0:
		goal = fmt.Sprintf("≥ %g", low)
	default:
		goal = fmt.Sprintf("≤ %g", high)
	}
	if low > 0 && ratio < low || high > 0 && ratio > high {
		verdict = "MISS"
	}
	fmt.Printf("| %s | %.3f s | %.3f s | %.2f × | %s | %s |\n", what, measured, beside, ratio, goal, verdict)
}

// model writes a random model and opens it.
func model(path string, c ggufgen.Config) (*oracle.Model, int64, error) {
	d, err := ggufgen.RandomModel("llama", c, 1)
	if err != nil {
		return nil, 0, err
	}
	if err := gguf.Write(path, d); err != nil {
		return nil, 0, err
	}
	m, err := oracle.Load(path)
	return m, ggufgen.Parameters(d), err
}

// prefill is the median seconds of a run.
func prefill(m *oracle.Model, profile string, tokens, runs int) (float64, error) {
	p, err := oracle.ProfileByName(profile)
	if err != nil {
		return 0, err
	}
	ids := make([]int32, tokens)
	for i := range ids {
		ids[i] = int32(i)
	}
	var times []float64
	for range runs + 1 {
		start := time.Now()
		if err := m.Run(context.Background(), ids, oracle.Options{Profile: p}, func(string, int, []float64) error { return nil }); err != nil {
			return 0, err
		}
		times = append(times, time.Since(start).Seconds())
	}
	times = times[1:]
	slices.Sort(times)
	return times[len(times)/2], nil
}

func torchPrefill(python string, c ggufgen.Config, runs int) (seconds float64, version string, err error) {
	args := []string{"testdata/bench/oracle/torch_peer.py"}
	for _, n := range []int{c.Layers, c.Width, c.Heads, c.KVHeads, c.FeedForward, c.Vocab, 64, runs} {
		args = append(args, fmt.Sprint(n))
	}
	cmd := exec.Command(python, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, "", fmt.Errorf("%s: %w", python, err)
	}
	if _, err := fmt.Sscan(strings.TrimSpace(string(out)), &seconds, &version); err != nil {
		return 0, "", fmt.Errorf("%s printed %q: %w", python, out, err)
	}
	return seconds, version, nil
}

// resident is the process's private memory in bytes, 0 where the system does not tell.
func resident() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for l := range strings.SplitSeq(string(b), "\n") {
		if rest, ok := strings.CutPrefix(l, "RssAnon:"); ok {
			var kb int64
			if _, err := fmt.Sscan(rest, &kb); err == nil {
				return kb << 10
			}
		}
	}
	return 0
}
