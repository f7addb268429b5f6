package main

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/trace"
)

// safetensors measures the whole metric set on f32 against cat and NumPy.
func (b *bench) safetensors() error {
	p := pairIn(b.dir, "f32", "safetensors")
	if err := writeSafetensors(p, b.shape, trace.F32); err != nil {
		return err
	}
	var result *gate.Result
	t, err := medians(b.runs, cat(p), compare(p, 1, false, &result), compare(p, 2, false, nil), compare(p, 1, true, nil))
	if err != nil {
		return err
	}
	numpy, err := b.runPeer("safetensors", p, nil, "--checkpoints", strconv.Itoa(b.peerCheckpoints), "--rows", strconv.Itoa(b.peerRows))
	if err != nil {
		return err
	}
	if err := agree(result, numpy); err != nil {
		return err
	}
	b.pythonVersion = fmt.Sprintf("Python %s, NumPy %s", numpy.Python, numpy.Numpy)
	r := &b.report
	r.slower("f32 safetensors, one thread", t[1], "`cat` of both files", t[0], atMost(4))
	r.slower("f32 safetensors, two threads", t[2], "`cat` of both files", t[0], atMost(2.5))
	scaled := fmt.Sprintf("NumPy, row by row (%d checkpoints and %d logits rows, scaled)", b.peerCheckpoints, b.peerRows)
	r.faster("f32 safetensors, one thread", t[1], scaled, numpy.time(), atLeast(25))
	r.faster("f32 safetensors, two threads", t[2], scaled, numpy.time(), atLeast(45))
	r.faster("the portable kernel, one thread", t[3], scaled, numpy.time(), atLeast(5))
	return b.tunedPeer(p, t[1])
}

// tunedPeer says how fast NumPy gets when it is helped: blocks that stay in the
// cache, and an allocator that keeps its memory. The goals are of what one writes.
func (b *bench) tunedPeer(p pair, own time.Duration) error {
	numpy, err := b.runPeer("safetensors", p, []string{"MALLOC_TRIM_THRESHOLD_=1000000000", "MALLOC_MMAP_THRESHOLD_=1000000000"},
		"--block", "16", "--checkpoints", strconv.Itoa(b.peerCheckpoints), "--rows", strconv.Itoa(b.peerRows))
	if err != nil {
		return err
	}
	b.report.compare("f32 safetensors, one thread", own, "NumPy, 16 rows at a time, memory kept", numpy.time())
	return nil
}

// halves holds 16-bit pairs against the f32 pair of as many values.
func (b *bench) halves() error {
	pairs := []pair{pairIn(b.dir, "f32", "safetensors"), pairIn(b.dir, "f16", "safetensors"), pairIn(b.dir, "bf16", "safetensors")}
	dtypes := []trace.DType{trace.F32, trace.F16, trace.BF16}
	var works []func() error
	for i, p := range pairs {
		if i > 0 {
			defer remove(p)
			if err := writeSafetensors(p, b.shape, dtypes[i]); err != nil {
				return err
			}
		}
		works = append(works, compare(p, 1, false, nil))
	}
	t, err := medians(b.runs, works...)
	if err != nil {
		return err
	}
	b.report.slower("f16 safetensors, one thread, as many values", t[1], "f32", t[0], atMost(1.5))
	b.report.slower("bf16 safetensors, one thread, as many values", t[2], "f32", t[0], atMost(1.5))
	return nil
}

// jsonl measures logs against json.loads and NumPy.
func (b *bench) jsonl() error {
	s := b.shape
	s.positions = b.jsonlPositions
	p := pairIn(b.dir, "log", "jsonl")
	if err := writeJSONL(p, s); err != nil {
		return err
	}
	var result *gate.Result
	t, err := medians(b.runs, compare(p, 1, false, &result), compare(p, 2, false, nil))
	if err != nil {
		return err
	}
	python, err := b.runPeer("jsonl", p, nil)
	if err != nil {
		return err
	}
	if err := agree(result, python); err != nil {
		return err
	}
	what := fmt.Sprintf("JSONL of %d positions, %s", s.positions, gigabytes(p.bytes()))
	b.report.faster(what+", one thread", t[0], "`json.loads` + NumPy", python.time(), atLeast(7))
	b.report.faster(what+", two threads", t[1], "`json.loads` + NumPy", python.time(), atLeast(12))
	return b.scanner(p)
}

// linear holds the time of a pair against that of one with half the positions.
func (b *bench) linear() error {
	s := b.shape
	s.positions /= 2
	half, whole := pairIn(b.dir, "half", "safetensors"), pairIn(b.dir, "f32", "safetensors")
	defer remove(half)
	if err := writeSafetensors(half, s, trace.F32); err != nil {
		return err
	}
	t, err := medians(b.runs, compare(half, 1, false, nil), compare(whole, 1, false, nil))
	if err != nil {
		return err
	}
	g := goal{low: 1.9, high: 2.1, text: "1.9 … 2.1 ×"}
	b.report.slower(fmt.Sprintf("%d positions, one thread", b.shape.positions), t[1], fmt.Sprintf("%d positions", s.positions), t[0], g)
	return nil
}

// memoryAllowed is how much more than the Go runtime's floor a comparison may take.
const memoryAllowed = 32 << 20

// memory measures the built program at one and ten times the size. Of ten
// times the size only the first positions hold values.
func (b *bench) memory() error {
	floor, _, err := b.peak("version")
	if err != nil {
		return err
	}
	s := b.shape
	s.filled = s.positions / 16
	s.positions *= 10
	large := pairIn(b.dir, "tenfold", "safetensors")
	defer remove(large)
	if err := writeSafetensors(large, s, trace.F32); err != nil {
		return err
	}
	for _, c := range []struct {
		what string
		pair pair
	}{
		{"1 × f32 safetensors", pairIn(b.dir, "f32", "safetensors")},
		{"10 × positions (the last 99 % a hole in the file)", large},
		{"JSONL", pairIn(b.dir, "log", "jsonl")},
	} {
		most, took, err := b.peak("compare", c.pair.ref, c.pair.cand)
		if err != nil {
			return err
		}
		what := fmt.Sprintf("peak memory, %s, %s in %s", c.what, gigabytes(c.pair.bytes()), seconds(took))
		b.report.add(what, mib(most), "`paritygate version`", mib(floor), "+ "+mib(most-floor),
			goal{text: "≤ + 32 MiB"}, most-floor <= memoryAllowed)
	}
	return nil
}

func remove(p pair) {
	os.Remove(p.ref) // the folder is thrown away in the end
	os.Remove(p.cand)
}

// agree holds what paritygate found to what NumPy found in the same values, so
// that the two times are of the same work.
func agree(r *gate.Result, numpy *peer) error {
	compared := 0
	for _, c := range r.Checkpoints {
		for name, want := range numpy.Metrics[c.Name] {
			got, ok := c.Metrics[name]
			if !ok {
				return fmt.Errorf("%s has no %s, which NumPy has", c.Name, name)
			}
			if d := math.Abs(float64(got) - want); !(d <= 1e-5*math.Abs(want)+1e-12) {
				return fmt.Errorf("%s: %s is %g, and %g by NumPy", c.Name, name, float64(got), want)
			}
			compared++
		}
	}
	if compared < 30 {
		return errors.New("NumPy and paritygate have too few metrics in common")
	}
	return nil
}

// cpuModel is the processor's name.
func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return "unknown processor"
}
