// Command judge runs paritygate, without any spec, on the pairs that
// generate.py wrote, and prints its figures beside those of the other tools'
// default rules (peers.py) on the same pairs.
//
//	go run ./testdata/zoo/judge [-split test] [-check] [-misses] DIR
//
// caught: of the planted bugs whose effect exceeds the noise, those that fail.
// placed: those whose first divergence is the planted checkpoint. false alarms:
// sound engines that do not pass. With -check the exit status is 1 when the
// figures are below what the project promises.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/spec"
	"github.com/paritygate/paritygate/gate/trace"
)

// pair is one entry of pairs.json.
type pair struct {
	ID           string
	Arch         string
	Split        string
	Precision    string
	Kind         string
	Bug          string
	Planted      string
	Detail       string
	Magnitude    float64
	Reference    string
	ReferenceF32 string `json:"reference_f32"`
	Candidate    string
	AboveNoise   bool    `json:"above_noise"`
	RatioPlanted float64 `json:"ratio_planted"`
	RatioMax     float64 `json:"ratio_max"`
}

// answer is what a tool says of a pair: the first failing checkpoint, "" for none.
type answer struct{ first, diagnosis, detail string }

var precisions = []string{"f32", "f16", "bf16"}

func main() {
	split := flag.String("split", "test", "split to report: tune, test or all")
	check := flag.Bool("check", false, "exit 1 when the figures are below what the project promises")
	misses := flag.Bool("misses", false, "list what was missed, misplaced or a false alarm")
	oracle := flag.String("oracle", "", "judge with the float64 oracle, too: the `folder` of the models as ARCH-f16.gguf")
	kinds := flag.Bool("kinds", false, "count the diagnoses of each kind of bug")
	explain := flag.String("explain", "", "print what is said of the pairs whose id contains this")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	dir := flag.Arg(0)
	var pairs []pair
	read(filepath.Join(dir, "pairs.json"), &pairs)
	peers := map[string]map[string]*string{}
	read(filepath.Join(dir, "peers.json"), &peers)
	pairs = slices.DeleteFunc(pairs, func(p pair) bool { return *split != "all" && p.Split != *split })
	ours := judgeAll(dir, pairs, "", func(p pair) string { return p.Reference })
	oursF32 := judgeAll(dir, pairs, "", func(p pair) string { return p.ReferenceF32 })
	counts(pairs)
	fmt.Printf("\n| rule | %s | all |\n|---|%s\n", strings.Join(precisions, " | "), strings.Repeat("---|", len(precisions)+1))
	row("**paritygate**, no spec", pairs, ours)
	row("paritygate, float32 reference", pairs, oursF32)
	withOracle := ours
	if *oracle != "" {
		withOracle = judgeAll(dir, pairs, *oracle, func(p pair) string { return p.Reference })
		row("paritygate with the oracle", pairs, withOracle)
	}
	for _, tool := range sorted(peers) {
		row(tool, pairs, func() map[string]answer {
			out := map[string]answer{}
			for id, first := range peers[tool] {
				if first != nil {
					out[id] = answer{first: *first}
				}
			}
			return out
		}())
	}
	if *misses {
		list(pairs, withOracle)
	}
	for _, p := range pairs {
		if *explain != "" && strings.Contains(p.ID, *explain) {
			fmt.Printf("%s\n\tplanted %s, found %s: %s\n", p.ID, p.Planted, withOracle[p.ID].first, withOracle[p.ID].detail)
		}
	}
	if *kinds {
		diagnoses(pairs, withOracle)
	}
	kept := promised(pairs, without, ours, oursF32)
	if *oracle != "" {
		kept = promised(pairs, with, withOracle) && kept
	}
	if *check && !kept {
		os.Exit(1)
	}
}

func read(path string, into any) {
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func judgeAll(dir string, pairs []pair, models string, reference func(pair) string) map[string]answer {
	out := map[string]answer{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := make(chan pair)
	for range runtime.NumCPU() {
		wg.Go(func() {
			for p := range next {
				s := spec.Default()
				if models != "" {
					s.Oracle = &spec.Oracle{Model: filepath.Join(models, p.Arch+"-f16.gguf")}
					s.Engines.Candidate.Precision = &spec.Precision{Profile: p.Precision}
				}
				a := judge(s, filepath.Join(dir, reference(p)), filepath.Join(dir, p.Candidate))
				mu.Lock()
				out[p.ID] = a
				mu.Unlock()
			}
		})
	}
	for _, p := range pairs {
		next <- p
	}
	close(next)
	wg.Wait()
	return out
}

func judge(s *spec.Spec, ref, cand string) answer {
	r, err := compare(s, ref, cand)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	var a answer
	if len(r.Diagnosis) > 0 {
		a.diagnosis, a.detail = r.Diagnosis[0].Kind, r.Diagnosis[0].Title+": "+r.Diagnosis[0].Evidence
	}
	switch {
	case r.Outcome == gate.Pass:
	case r.FirstDivergence != nil:
		a.first = r.FirstDivergence.Checkpoint
		if a.detail == "" {
			a.detail = strings.Join(r.Reasons, "; ")
		}
	default:
		a.first = r.Outcome.String()
	}
	return a
}

func compare(s *spec.Spec, ref, cand string) (*gate.Result, error) {
	r, err := trace.Open(ref, trace.Options{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	c, err := trace.Open(cand, trace.Options{})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return gate.Compare(context.Background(), s, []gate.Pair{{Prompt: "zoo", Reference: r, Candidate: c}}, gate.Options{Workers: 1})
}

// score counts one tool's answers on the pairs of one precision ("" for all).
type score struct{ bugs, caught, placed, twins, alarms int }

func scoreOf(pairs []pair, precision string, answers map[string]answer) score {
	var s score
	for _, p := range pairs {
		if precision != "" && p.Precision != precision {
			continue
		}
		first := answers[p.ID].first
		switch {
		case p.Kind == "twin":
			s.twins++
			if first != "" {
				s.alarms++
			}
		case p.AboveNoise:
			s.bugs++
			if first != "" {
				s.caught++
			}
			if first == p.Planted {
				s.placed++
			}
		}
	}
	return s
}

func (s score) share(n int) float64 { return 100 * float64(n) / float64(max(s.bugs, 1)) }

func row(name string, pairs []pair, answers map[string]answer) {
	fmt.Printf("| %s |", name)
	for _, p := range append(slices.Clone(precisions), "") {
		s := scoreOf(pairs, p, answers)
		fmt.Printf(" %.1f / %.1f / %d |", s.share(s.caught), s.share(s.placed), s.alarms)
	}
	fmt.Println()
}

func counts(pairs []pair) {
	for _, p := range precisions {
		s, below := scoreOf(pairs, p, nil), 0
		for _, q := range pairs {
			if q.Precision == p && q.Kind == "bug" && !q.AboveNoise {
				below++
			}
		}
		fmt.Printf("%s: %d bugs above the rounding noise, %d below it, %d sound engines\n", p, s.bugs, below, s.twins)
	}
}

func sorted(m map[string]map[string]*string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

func list(pairs []pair, answers map[string]answer) {
	for _, p := range pairs {
		a := answers[p.ID]
		if (p.Kind == "twin") != (a.first != "") && (p.Kind == "twin" || !p.AboveNoise || a.first == p.Planted) {
			continue
		}
		if p.Kind == "bug" && !p.AboveNoise || p.Kind == "twin" && a.first == "" {
			continue
		}
		fmt.Printf("%-60s planted %-16s found %-16s effect/noise %.2f there, %.2f at most  %s\n", p.ID, p.Planted, a.first, p.RatioPlanted, p.RatioMax, a.detail)
	}
}

func diagnoses(pairs []pair, answers map[string]answer) {
	by := map[string]map[string]int{}
	for _, p := range pairs {
		if p.Kind != "bug" || !p.AboveNoise {
			continue
		}
		if by[p.Bug] == nil {
			by[p.Bug] = map[string]int{}
		}
		by[p.Bug][answers[p.ID].diagnosis]++
	}
	var bugs []string
	for b := range by {
		bugs = append(bugs, b)
	}
	sort.Strings(bugs)
	for _, b := range bugs {
		fmt.Printf("%-26s %v\n", b, by[b])
	}
}

// least is what the project promises of one precision, in %.
type least struct{ caught, placed float64 }

var (
	without = map[string]least{"f32": {99, 0}, "f16": {85, 0}, "bf16": {85, 0}}
	with    = map[string]least{"f32": {99, 95}, "f16": {99, 95}, "bf16": {99, 95}}
)

// promised reports whether the figures are what the project promises, and
// prints those that are not.
func promised(pairs []pair, promise map[string]least, answers ...map[string]answer) bool {
	ok := true
	for _, a := range answers {
		for _, p := range precisions {
			s, l := scoreOf(pairs, p, a), promise[p]
			if s.bugs == 0 || s.share(s.caught) < l.caught || s.share(s.placed) < l.placed || s.alarms > 0 {
				fmt.Printf("%s: %.1f %% caught (at least %.0f), %.1f %% placed (at least %.0f), %d false alarms (none)\n", p, s.share(s.caught), l.caught, s.share(s.placed), l.placed, s.alarms)
				ok = false
			}
		}
	}
	return ok
}
