// Command baseline measures what a baseline costs as the number of checkpoints
// grows: the document's bytes, and the time to hold a run against it and to update
// it, in a folder and on a branch of a local repository.
//
//	go run ./testdata/bench/baseline [-runs 5] [-most 10000]
//
// Runs are made up: 64 rows of 64 elements a checkpoint, five metrics. The document
// remembers as many accepted runs as one can. Times are medians; whether they are
// linear is said below the table: ten times the checkpoints may cost fifteen times.
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/paritygate/paritygate/baseline"
	"github.com/paritygate/paritygate/baseline/ledger"
	"github.com/paritygate/paritygate/baseline/lineage"
	"github.com/paritygate/paritygate/baseline/store"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/metric"
)

func main() {
	runs := flag.Int("runs", 5, "counted runs of each")
	most := flag.Int("most", 10_000, "the largest number of checkpoints")
	flag.Parse()
	if err := measure(max(*runs, 1), *most); err != nil {
		fmt.Fprintln(os.Stderr, "baseline:", err)
		os.Exit(1)
	}
}

// line is what was measured at one number of checkpoints.
type line struct {
	checkpoints               int
	first, full, packed       int // bytes
	compare, inFolder, branch time.Duration
}

func measure(runs, most int) error {
	fmt.Printf("%d rows of %d elements a checkpoint, %d processors; medians of %d\n\n", rows, width, runtime.NumCPU(), runs)
	fmt.Println("| checkpoints | bytes, first run | bytes, 30 runs | the same packed | a checkpoint | compare | update, folder | update, branch |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	var lines []line
	for n := 10; n <= most; n *= 10 {
		l, err := at(n, runs)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %s | %s | %s | %.0f | %s | %s | %s |\n", thousands(n), thousands(l.first), thousands(l.full), thousands(l.packed),
			float64(l.full)/float64(n), l.compare.Round(10*time.Microsecond), l.inFolder.Round(10*time.Microsecond), l.branch.Round(10*time.Microsecond))
		lines = append(lines, l)
	}
	return linear(lines)
}

// linear says how each column grew over the last step, which is the least blurred
// by what is there once.
func linear(lines []line) error {
	if len(lines) < 2 {
		return nil
	}
	a, b := lines[len(lines)-2], lines[len(lines)-1]
	fmt.Printf("\nfrom %s to %s checkpoints\n", thousands(a.checkpoints), thousands(b.checkpoints))
	missed := false
	for _, c := range []struct {
		what string
		by   float64
	}{
		{"bytes", float64(b.full) / float64(a.full)}, {"compare", float64(b.compare) / float64(a.compare)},
		{"update, folder", float64(b.inFolder) / float64(a.inFolder)}, {"update, branch", float64(b.branch) / float64(a.branch)},
	} {
		verdict := "PASS"
		if c.by > 15 {
			verdict, missed = "MISS", true
		}
		fmt.Printf("  %-15s %5.2f × (at most 15 ×)  %s\n", c.what, c.by, verdict)
	}
	if missed {
		return errors.New("not linear")
	}
	return nil
}

const rows, width = 64, 64

func commit(n int) string { return fmt.Sprintf("%040x", n) }

// at measures one number of checkpoints.
func at(n, runs int) (l line, err error) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "paritygate-bench-")
	if err != nil {
		return l, err
	}
	defer os.RemoveAll(dir)
	if out, err := exec.Command("git", "init", "-q", dir).CombinedOutput(); err != nil {
		return l, fmt.Errorf("git init: %w: %s", err, out)
	}
	l.checkpoints = n
	im, err := imprint(n)
	if err != nil {
		return l, err
	}
	var doc *baseline.Document
	for i := range baseline.MaxHistory {
		if doc, err = baseline.Propose(result(n, i), im, provenance(1+i), doc, false); err != nil {
			return l, err
		}
		if i == 0 {
			if l.first, _, err = size(doc); err != nil {
				return l, err
			}
		}
	}
	if l.full, l.packed, err = size(doc); err != nil {
		return l, err
	}
	head := baseline.MaxHistory + 1
	on := &lineage.Lineage{MergeBase: commit(head - 1), Ancestors: []lineage.Ancestor{{Commit: commit(head - 1)}}}
	for _, s := range []struct {
		name string
		took *time.Duration
	}{{"dir:" + filepath.Join(dir, "store"), &l.inFolder}, {"branch:parity@", &l.branch}} {
		st, err := store.Open(s.name, store.Options{Repository: dir})
		if err != nil {
			return l, err
		}
		book := &ledger.Ledger{Store: st}
		if _, _, err := book.Accept(ctx, doc, ledger.Question{Lineage: &lineage.Lineage{}}, false); err != nil {
			return l, err
		}
		if l.compare == 0 {
			asker := &ledger.Asker{Ledger: book, Lineage: on, Imprint: im, Provenance: func(*gate.Result) baseline.Provenance { return provenance(head) }}
			r := result(n, head)
			l.compare, err = median(runs, func(int) error {
				if b := asker.Ask(ctx, r); b.State != gate.BaselineCompared || b.BitIdentical.Same != n {
					return fmt.Errorf("%s: %s", b.State, b.Why)
				}
				return nil
			})
			if err != nil {
				return l, err
			}
		}
		*s.took, err = median(runs, func(i int) error {
			next, err := baseline.Record(result(n, head+i), im, provenance(head+i))
			if err != nil {
				return err
			}
			_, previous, err := book.Accept(ctx, next, ledger.Question{Lineage: on}, false)
			if err == nil && previous == nil {
				err = errors.New("the update follows nothing")
			}
			return err
		})
		if err != nil {
			return l, err
		}
	}
	return l, nil
}

// result is a run of n checkpoints that passes; its figures vary with the run.
func result(n, run int) *gate.Result {
	r := &gate.Result{Version: 1, Outcome: gate.Pass, Environment: gate.Environment{Arch: "amd64"}, Prompts: []gate.PromptInfo{{Name: "haiku", SHA256: "00"}}}
	r.Engines.Reference = gate.EngineInfo{Name: "llama.cpp", Adapter: "llamacpp", Device: "CPU", Precision: "f32"}
	r.Engines.Candidate = gate.EngineInfo{Name: "worker", Adapter: "exec", Device: "NVIDIA H100", Precision: "f16"}
	g := rand.New(rand.NewPCG(uint64(run), 2))
	for i := range n {
		v := gate.Value(1e-3 * (1 + 0.01*g.Float64()))
		r.Checkpoints = append(r.Checkpoints, gate.Checkpoint{Prompt: "haiku", Name: fmt.Sprintf("layer_%d_output", i), Order: i, Rows: rows, Width: width, Compared: width,
			CandDType: "F32", Status: gate.Passed, Metrics: map[string]gate.Value{"rel_l2": v, "max_abs": 10 * v, "position_rms": v, "worst_channel": 2 * v, "added": 5 * v}})
	}
	return r
}

func imprint(n int) (*baseline.Imprint, error) {
	im, g := baseline.NewImprint(), rand.New(rand.NewPCG(1, 2))
	positions := make([]int, rows)
	for i := range positions {
		positions[i] = i
	}
	for _, c := range result(n, 0).Checkpoints {
		var data []byte
		for range rows * width {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(g.NormFloat64())))
		}
		if err := im.Observe(gate.Observed{Prompt: c.Prompt, Checkpoint: c.Name, Width: width, Positions: positions, Rows: metric.Block{DType: metric.F32, Data: data}}); err != nil {
			return nil, err
		}
	}
	return im, nil
}

func provenance(n int) baseline.Provenance {
	return baseline.Provenance{Commit: commit(n), Tree: commit(n), Date: time.Date(2026, 11, 1, 0, n, 0, 0, time.UTC).Format(time.RFC3339), Outcome: "pass", GPU: "NVIDIA H100", Driver: "580.1"}
}

// size is a document's bytes, as they are and as git packs them.
func size(d *baseline.Document) (whole, packed int, err error) {
	b, err := d.Encode()
	if err != nil {
		return 0, 0, err
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err = w.Write(b)
	err = errors.Join(err, w.Close())
	return len(b), out.Len(), err
}

// median runs f once to warm up and then so often; i counts all runs.
func median(runs int, f func(i int) error) (time.Duration, error) {
	var took []time.Duration
	for i := range runs + 1 {
		start := time.Now()
		if err := f(i); err != nil {
			return 0, err
		}
		if i > 0 {
			took = append(took, time.Since(start))
		}
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// thousands is a number with commas.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
