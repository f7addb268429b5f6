// Command bench measures how fast paritygate compares, and prints every figure
// beside its goal. bench.sh runs it with what it needs.
//
// It makes synthetic pairs in a temporary folder, compares them through
// gate.Compare, and holds the time against that of cat on the same files, of
// the same metrics in NumPy, and of itself under other conditions. A missed
// goal is printed, and is no failure: a loaded machine misses them. A
// comparison that does not pass, or does not find what NumPy finds, is one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// bench is one run of the benchmark.
type bench struct {
	dir, program, python, scripts string
	quick                         bool
	runs                          int
	shape                         shape
	jsonlPositions                int
	peerCheckpoints, peerRows     int
	pythonVersion                 string
	started                       time.Time
	report                        report
}

func main() {
	var b bench
	flag.StringVar(&b.dir, "dir", "", "the folder for the synthetic traces, about 6 GB")
	flag.StringVar(&b.program, "program", "", "the built paritygate")
	flag.StringVar(&b.python, "python", "", "a Python that has NumPy")
	flag.StringVar(&b.scripts, "scripts", "testdata/bench", "the folder with numpy_peer.py")
	flag.BoolVar(&b.quick, "quick", false, "small traces and few runs: shows that the benchmark works, not how fast the program is")
	flag.Parse()
	if b.dir == "" || b.program == "" || b.python == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "bench: -dir, -program and -python are needed; bench.sh gives them")
		os.Exit(2)
	}
	b.size()
	if err := b.run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// size says how much is measured.
func (b *bench) size() {
	b.started = time.Now()
	b.report = report{out: os.Stdout, silent: b.quick}
	b.runs, b.jsonlPositions, b.peerCheckpoints, b.peerRows = 5, 64, 6, 32
	b.shape = shape{layers: 32, positions: 512, width: 4096, vocabulary: 128256}
	if b.quick {
		b.runs, b.jsonlPositions, b.peerCheckpoints, b.peerRows = 1, 8, 3, 8
		b.shape = shape{layers: 4, positions: 64, width: 4096, vocabulary: 32000}
	}
}

func (b *bench) run() error {
	parts := []struct {
		name string
		do   func() error
	}{
		{"safetensors", b.safetensors}, {"16-bit types", b.halves}, {"logits", b.logitsKernels},
		{"JSONL", b.jsonl}, {"time by size", b.linear}, {"memory", b.memory},
	}
	if !b.quick {
		parts = append(parts, struct {
			name string
			do   func() error
		}{"capture", b.capture})
	}
	for _, p := range parts {
		start := time.Now()
		fmt.Fprintf(os.Stderr, "bench: %s … ", p.name)
		if err := p.do(); err != nil {
			fmt.Fprintln(os.Stderr)
			return fmt.Errorf("%s: %w", p.name, err)
		}
		fmt.Fprintf(os.Stderr, "%.0f s\n", time.Since(start).Seconds())
	}
	b.summary()
	return nil
}

// summary prints the machine and the table.
func (b *bench) summary() {
	fmt.Printf("%s, %d processors; %s %s/%s; %s.\n", cpuModel(), runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, b.pythonVersion)
	fmt.Printf("Pair: %d checkpoints × %d positions × %d and logits %d × %s, f32, %s both. Medians of %d after a warm-up. %.0f s in all.\n\n",
		b.shape.layers+2, b.shape.positions, b.shape.width, b.shape.positions, count(b.shape.vocabulary), gigabytes(2*4*b.shape.values()), b.runs, time.Since(b.started).Seconds())
	b.report.print()
	if b.quick {
		fmt.Print("\nA quick run only shows that everything works: times this short say nothing.\n")
		return
	}
	fmt.Printf("\n%d goals missed.\n", b.report.missed)
}

// compare returns a work that compares a pair as the program does, on so many
// threads, and keeps the result.
func compare(p pair, threads int, portable bool, keep **gate.Result) func() error {
	return func() (err error) {
		runtime.GOMAXPROCS(threads)
		defer runtime.GOMAXPROCS(runtime.NumCPU())
		ref, err := trace.Open(p.ref, trace.Options{})
		if err != nil {
			return err
		}
		cand, err := trace.Open(p.cand, trace.Options{})
		if err != nil {
			return errors.Join(err, ref.Close())
		}
		r, err := gate.Compare(context.Background(), spec.Default(), []gate.Pair{{Prompt: "bench", Reference: ref, Candidate: cand}},
			gate.Options{Workers: threads, Portable: portable})
		if err = errors.Join(err, ref.Close(), cand.Close()); err != nil {
			return err
		}
		if r.Outcome != gate.Pass {
			return fmt.Errorf("the synthetic pair does not pass: %v, first divergence %+v", r.Outcome, r.FirstDivergence)
		}
		if keep != nil {
			*keep = r
		}
		return nil
	}
}

func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func gigabytes(n int64) string { return fmt.Sprintf("%.2f GB", float64(n)/1e9) }
