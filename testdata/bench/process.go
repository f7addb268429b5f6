package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// cat reads both files with the system's cat, which throws them away.
func cat(p pair) func() error {
	return func() error {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer null.Close()
		cmd := exec.Command("cat", p.ref, p.cand)
		cmd.Stdout, cmd.Stderr = null, os.Stderr
		return cmd.Run()
	}
}

// peer is what numpy_peer.py prints.
type peer struct {
	Seconds float64
	Python  string
	Numpy   string
	Metrics map[string]map[string]float64
}

func (p *peer) time() time.Duration { return time.Duration(p.Seconds * float64(time.Second)) }

// runPeer runs the comparison in NumPy on one thread, with further variables in
// its environment.
func (b *bench) runPeer(format string, p pair, env []string, args ...string) (*peer, error) {
	args = append([]string{filepath.Join(b.scripts, "numpy_peer.py"), format, p.ref, p.cand, "--runs", strconv.Itoa(b.runs)}, args...)
	cmd := exec.Command(b.python, args...)
	cmd.Env = append(os.Environ(), "OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1")
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("numpy_peer.py: %w", err)
	}
	var r peer
	if err := json.Unmarshal(out, &r); err != nil {
		return nil, fmt.Errorf("numpy_peer.py: %w", err)
	}
	return &r, nil
}

var hwm = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)

// peak runs the built program and returns the most memory it had resident
// (VmHWM) in bytes and its time. The kernel's own figure at the exit of a child
// (ru_maxrss) would include this process, so the program is watched while it runs.
func (b *bench) peak(args ...string) (int64, time.Duration, error) {
	cmd := exec.Command(b.program, args...)
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	done := make(chan error, 1)
	var took time.Duration
	go func() {
		err := cmd.Wait()
		took = time.Since(start)
		done <- err
	}()
	var most int64
	status := fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)
	for {
		if s, err := os.ReadFile(status); err == nil {
			if m := hwm.FindSubmatch(s); m != nil {
				kb, _ := strconv.ParseInt(string(m[1]), 10, 64) // digits
				most = max(most, kb<<10)
			}
		}
		select {
		case err := <-done:
			if err != nil {
				return 0, 0, fmt.Errorf("%s %s: %w\n%s", b.program, strings.Join(args, " "), err, text.Bytes())
			}
			if most == 0 {
				return 0, 0, errors.New("no VmHWM in " + status + ": memory is measured on Linux only")
			}
			return most, took, nil
		case <-time.After(min(time.Millisecond, 50*time.Microsecond+time.Since(start)/500)):
		}
	}
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// captureRatio matches a line of capture_bench.sh.
var captureRatio = regexp.MustCompile(`(?m)^(prefill|decode)\s+([\d.]+) ms\s+captured\s+([\d.]+) ms\s+ratio ([\d.]+)`)

// capture times llama.cpp with and without the probe's capture.
func (b *bench) capture() error {
	cmd := exec.Command("bash", filepath.Join(b.scripts, "../engines/capture_bench.sh"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("capture_bench.sh: %w\n%s", err, out)
	}
	found := captureRatio.FindAllSubmatch(out, -1)
	if len(found) != 2 {
		return fmt.Errorf("capture_bench.sh printed no ratios:\n%s", out)
	}
	what := map[string]string{"prefill": "capture, prefill of 128 tokens", "decode": "capture, one-token decode"}
	goals := map[string]goal{"prefill": atMost(1.05), "decode": atMost(1.2)}
	for _, m := range found {
		v, err := strconv.ParseFloat(string(m[4]), 64)
		if err != nil {
			return err
		}
		g := goals[string(m[1])]
		b.report.add(what[string(m[1])], string(m[3])+" ms", "llama.cpp without", string(m[2])+" ms", fmt.Sprintf("%.3f ×", v), g, g.holds(v))
	}
	return nil
}
