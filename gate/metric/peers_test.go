package metric

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// peerFile holds vectors that another project publishes in its tests.
type peerFile struct {
	Project, Source, Note string
	Cases                 []peerCase
}

type peerCase struct {
	Test                 string
	DType                string
	Reference, Candidate []peerValue
	Expect               map[string]peerValue
	Tolerance            float64
	Eps                  float64 // of their relative error
	Mantissa             int     // bits, for their ULP error
	Why                  string
}

// peerValue is a number, or "NaN", "+Inf" or "-Inf".
type peerValue float64

func (v *peerValue) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(strings.Trim(string(b), `"`), 64)
	*v = peerValue(f)
	return err
}

func floats(v []peerValue) []float64 {
	out := make([]float64, len(v))
	for i := range v {
		out[i] = float64(v[i])
	}
	return out
}

func TestPeersVectors(t *testing.T) {
	files, err := filepath.Glob("testdata/peers/*.json")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d files of vectors, %v", len(files), err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var f peerFile
		d := json.NewDecoder(strings.NewReader(string(b)))
		d.DisallowUnknownFields()
		if err := d.Decode(&f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if f.Source == "" || len(f.Cases) == 0 {
			t.Errorf("%s: no source or no cases", name)
		}
		for _, c := range f.Cases {
			t.Run(f.Project+"/"+c.Test, func(t *testing.T) { c.check(t) })
		}
	}
}

func (c *peerCase) check(t *testing.T) {
	dtype := map[string]DType{"F32": F32, "F16": F16, "BF16": BF16}[c.DType]
	if dtype == 0 || len(c.Expect) == 0 {
		t.Fatalf("dtype %q, %d expected figures", c.DType, len(c.Expect))
	}
	for name, cfg := range kernelConfigs() {
		cfg.Ref, cfg.Cand = KeepGarbage, KeepGarbage
		p := newPeerPair(t, cfg, Block{dtype, encode(dtype, floats(c.Reference))}, Block{dtype, encode(dtype, floats(c.Candidate))})
		for key, want := range c.Expect {
			got := p.figure(t, c, key)
			if math.Abs(got-float64(want)) <= 1e-12 || near(got, float64(want), c.Tolerance) {
				continue
			}
			t.Errorf("%s, %s: %v, want %v", name, key, got, want)
		}
	}
}

// peerPair is a pair measured whole, and element by element: what a peer
// defines otherwise is computed from those.
type peerPair struct {
	whole    *Measures
	elements []Stats
	ref      []float64
	logits   LogitsRow
}

func newPeerPair(t *testing.T, cfg Config, ref, cand Block) *peerPair {
	t.Helper()
	n := len(ref.values())
	p := &peerPair{ref: ref.values(), whole: measure(t, cfg, Tile{Rows: 1, Width: n, Ref: ref, Cand: cand})}
	var part Partial
	if err := NewKernel(cfg).Tile(Tile{Rows: n, Width: 1, Ref: ref, Cand: cand}, &part); err != nil {
		t.Fatal(err)
	}
	p.elements = part.Rows
	row, err := NewLogitsKernel(cfg).Row(ref, cand)
	if err != nil {
		t.Fatal(err)
	}
	p.logits = row
	return p
}

func (p *peerPair) figure(t *testing.T, c *peerCase, key string) float64 {
	t.Helper()
	if v, ok := p.whole.Metric(key); ok {
		return v
	}
	s := &p.whole.Stats
	relDiff := 1 - 2*s.SumCross/(s.SumRef2+s.SumCand2)
	name, quantile, _ := strings.Cut(key, "_quantile_")
	switch {
	case quantile != "":
		q, err := strconv.ParseFloat(quantile, 64)
		if err != nil {
			t.Fatal(err)
		}
		return Percentile(p.each(func(i int) float64 {
			if name == "rel" {
				return p.elements[i].LargestRel()
			}
			return p.elements[i].LargestAbs()
		}), q)
	case strings.HasPrefix(key, "close_"):
		return p.close(t, key)
	}
	plusEps := p.each(func(i int) float64 { return p.elements[i].MaxAbs / (math.Abs(p.ref[i]) + c.Eps) })
	switch key {
	case "l2":
		return math.Sqrt(s.SumSq)
	case "snr_db":
		return -10 * math.Log10(s.NMSE())
	case "rel_diff":
		return relDiff
	case "rel_diff_below":
		if relDiff > 0 {
			return math.Max(relDiff, float64(c.Expect[key]))
		}
	case "max_abs_at":
		return float64(s.MaxAbsAt)
	case "max_rel_at":
		return float64(s.MaxRelAt)
	case "max_rel_plus_eps":
		return Percentile(plusEps, 1)
	case "mean_rel_plus_eps":
		return mean(plusEps)
	case "mean_bench_ulp":
		return mean(p.each(func(i int) float64 {
			return p.elements[i].MaxAbs * math.Exp2(float64(c.Mantissa)-math.Floor(math.Log2(math.Abs(p.ref[i]))))
		}))
	case "kl":
		return p.logits.KL
	case "same_top":
		return one(p.logits.Agrees())
	}
	t.Fatalf("no figure %q", key)
	return 0
}

// close is torch.testing's: every |c−r| <= atol + rtol·|r|, from our |c−r|.
func (p *peerPair) close(t *testing.T, key string) float64 {
	t.Helper()
	_, tol, _ := strings.Cut(key, "_rtol")
	r, a, _ := strings.Cut(tol, "_atol")
	rtol, err1 := strconv.ParseFloat(r, 64)
	atol, err2 := strconv.ParseFloat(a, 64)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	for i := range p.elements {
		if !(p.elements[i].LargestAbs() <= atol+rtol*math.Abs(p.ref[i])) {
			return 0
		}
	}
	return 1
}

func (p *peerPair) each(f func(i int) float64) []float64 {
	out := make([]float64, len(p.elements))
	for i := range out {
		out[i] = f(i)
	}
	return out
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}
