package gate

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/trace"
)

const (
	plantRows, plantWidth, plantLayers = 64, 48, 4
)

// pass is a made forward pass: a stream to which layers add, a norm and a head.
type pass struct {
	embedding [][]float64
	steps     [plantLayers][][]float64
	norm      func([][]float64) [][]float64
	head      func([][]float64) [][]float64
}

// soundPass is a forward pass in which rows differ in size, as real ones do.
func soundPass(seed uint64) *pass {
	g := seeded(seed)
	p := &pass{}
	sizes := make([]float64, plantRows)
	for i := range sizes {
		sizes[i] = math.Exp(0.6 * g.NormFloat64())
	}
	p.embedding = matrix(plantRows, plantWidth, func(i, _ int) float64 { return sizes[i] * g.NormFloat64() })
	for l := range p.steps {
		p.steps[l] = noisy(g, plantRows, plantWidth, 0.8)
	}
	p.norm = func(x [][]float64) [][]float64 { return scaled(x, 0.7) }
	weights := noisy(g, plantWidth, 2*plantWidth, 0.3)
	p.head = func(x [][]float64) [][]float64 {
		return matrix(len(x), 2*plantWidth, func(i, j int) (v float64) {
			for k := range x[i] {
				v += x[i][k] * weights[k][j]
			}
			return v
		})
	}
	return p
}

func scaled(a [][]float64, by float64) [][]float64 {
	return matrix(len(a), len(a[0]), func(i, j int) float64 { return a[i][j] * by })
}

// points are the pass's checkpoints.
func (p *pass) points() []point {
	x := p.embedding
	out := []point{{name: "embedding", rows: x}}
	for l, step := range p.steps {
		x = plus(x, step)
		out = append(out, point{name: fmt.Sprintf("layer_%d_output", l), rows: x})
	}
	x = p.norm(x)
	return append(out, point{name: "final_norm", rows: x}, point{name: "logits", rows: p.head(x)})
}

// rounded adds what another order of additions would: errors far below the limits.
func rounded(points []point) []point {
	g := seeded(99)
	for i, p := range points {
		points[i].rows = matrix(len(p.rows), len(p.rows[0]), func(a, b int) float64 { return p.rows[a][b] * (1 + 2e-8*g.NormFloat64()) })
	}
	return points
}

// errorsOf are rows in random directions whose size beside s's rows is rel.
func errorsOf(seed uint64, s [][]float64, rel func(row int) float64) [][]float64 {
	e := noisy(seeded(seed), len(s), len(s[0]), 1)
	return matrix(len(s), len(s[0]), func(i, j int) float64 { return e[i][j] / norm(e[i]) * norm(s[i]) * rel(i) })
}

// diagnosed compares a sound pass with one that change spoils.
func diagnosed(t *testing.T, change func(p *pass)) *Result {
	t.Helper()
	wrong := soundPass(7)
	change(wrong)
	r := compared(t, parsed(t, "garbage: {candidate: mask}\n"), Options{}, pairOf(t, soundPass(7).points(), rounded(wrong.points())))
	return r
}

func TestSoundPassIsNotDiagnosed(t *testing.T) {
	r := diagnosed(t, func(*pass) {})
	if r.Outcome != Pass || len(r.Diagnosis) != 0 || r.Spec.Preset != "f32" {
		t.Errorf("%v: %v, %+v", r.Outcome, r.Reasons, r.Diagnosis)
	}
}

func TestDiagnosis(t *testing.T) {
	flat := func(size float64) func(int) float64 { return func(int) float64 { return size } }
	later := func(from int, size float64) func(int) float64 {
		return func(i int) float64 {
			if i < from {
				return 0
			}
			return size
		}
	}
	step := func(layer int, rel func(int) float64) func(p *pass) {
		return func(p *pass) { p.steps[layer] = plus(p.steps[layer], errorsOf(5, p.steps[layer], rel)) }
	}
	shifted := func(a [][]float64, by int) [][]float64 {
		return matrix(len(a), len(a[0]), func(i, j int) float64 { return a[(i+by+len(a))%len(a)][j] })
	}
	for _, c := range []struct {
		name                        string
		change                      func(p *pass)
		kind, title, at, confidence string
		evidence                    string // %s in it matches any number
	}{
		{"rows of the next position", func(p *pass) { p.embedding = shifted(p.embedding, 1) },
			"shifted_positions", "rows belong to other positions", "embedding", High, "row p of the candidate is row p+1 of the reference"},
		{"rows of the position before", func(p *pass) { p.embedding = shifted(p.embedding, -1) },
			"shifted_positions", "rows belong to other positions", "embedding", High, "row p of the candidate is row p-1 of the reference"},
		{"a skipped layer", func(p *pass) { p.steps[2] = scaled(p.steps[2], 0) },
			"layer_skipped", "layer 2 does nothing", "layer_2_output", High, "its output is its input in the candidate, and is not in the reference"},
		{"two rows of a layer", step(1, func(i int) float64 { return map[int]float64{20: 0.5, 41: 0.3}[i] }),
			"positions", "some positions: a stale or unwritten row", "layer_1_output", Medium, "2 of 64 positions differ (20, 41); the others agree to rounding"},
		{"the last row alone", step(1, later(63, 0.5)),
			"positions", "some positions: a stale or unwritten row", "layer_1_output", Medium, "1 of 64 positions differ (63); the others agree to rounding"},
		{"three tokens' embeddings", func(p *pass) {
			p.embedding = plus(p.embedding, errorsOf(5, p.embedding, func(i int) float64 { return map[int]float64{0: 0.5, 9: 0.5, 50: 0.5}[i] }))
		}, "embedding", "embedding: rows of some tokens", "embedding", Medium, "3 of 64 positions differ (0, 9, 50); the others agree to rounding"},
		{"a scaled embedding", func(p *pass) { p.embedding = scaled(p.embedding, 1.0125) },
			"embedding", "embedding: a scale", "embedding", High, "the candidate is 1.0125 × the reference; that explains 100 % of the error"},
		{"a scaled layer", func(p *pass) { p.steps[3] = scaled(p.steps[3], 0.985) },
			"multiplier", "a multiplier in layer 3: a norm's weight or a scale", "layer_3_output", High, "what the layer adds is 0.985 × the reference's; that explains 100 % of the error"},
		{"a scaled final norm", func(p *pass) { p.norm = func(x [][]float64) [][]float64 { return scaled(x, 0.7*1.03) } },
			"multiplier", "a multiplier", "final_norm", High, "the candidate is 1.03 × the reference; that explains 100 % of the error"},
		{"scaled logits", func(p *pass) {
			head := p.head
			p.head = func(x [][]float64) [][]float64 { return scaled(head(x), 0.25) }
		},
			"multiplier", "a multiplier", "logits", High, "the candidate is 0.25 × the reference; that explains 100 % of the error"},
		{"a channel of a layer", func(p *pass) {
			g := seeded(3)
			p.steps[1] = copied(p.steps[1], func(b [][]float64) {
				for i := range b {
					b[i][17] += g.NormFloat64()
				}
			})
		}, "channel", "one channel: a weight row, or an element of a norm or bias", "layer_1_output", High, "channel 17 holds 100 % of the error"},
		{"a row of the output matrix", func(p *pass) {
			head, g := p.head, seeded(3)
			p.head = func(x [][]float64) [][]float64 {
				return copied(head(x), func(b [][]float64) {
					for i := range b {
						b[i][33] += g.NormFloat64()
					}
				})
			}
		}, "channel", "one row of the output matrix", "logits", High, "token 33 holds 100 % of the error"},
		{"a mask that shows later tokens", step(0, func(i int) float64 {
			if i == plantRows-1 {
				return 0
			}
			return 0.2
		}), "rope_or_mask", "attention mask: tokens see later ones", "layer_0_output", High, "the last position agrees and the others do not: only it has no later token to see"},
		// Rows 1 … 5 err by 3/64, the last sixteen by 55.5/64, in the mean.
		{"an angle of RoPE", step(0, func(i int) float64 { return float64(i) / 64 }),
			"rope_or_mask", "RoPE or attention mask", "layer_0_output", High, "position 0 agrees (%s) and the error rises with the position: 18.5 × as large in the last quarter (0.87) as at the start (0.047)"},
		{"scores that are off", step(2, later(1, 0.25)),
			"attention_scores", "attention scores: Q, K, head order, scale or RoPE", "layer_2_output", Medium,
			"position 0, which attends to itself alone, agrees (%s); the others differ (median 0.25), the late ones 1 × as much as the early ones"},
		{"a window", step(1, later(24, 0.4)),
			"window", "from one position on: window, batch boundary or KV cache", "layer_1_output", Medium, "positions 0–23 agree, from 24 on they differ"},
		{"an unwritten tail", func(p *pass) {
			norm := p.norm
			p.norm = func(x [][]float64) [][]float64 { y := norm(x); return plus(y, errorsOf(5, y, later(40, 0.4))) }
		}, "window", "from one position on: batch boundary or unwritten tail", "final_norm", Medium, "positions 0–39 agree, from 40 on they differ"},
		{"another layer's weights", func(p *pass) { p.steps[1] = scaled(p.steps[3], 1) },
			"layer_order", "layer 1 runs the weights of layer 3", "layer_1_output", Medium, "what it adds resembles what layer 3 adds in the reference (cosine 1.00) more than its own (%s)"},
		{"a norm's epsilon", func(p *pass) {
			p.steps[0] = matrix(plantRows, plantWidth, func(i, j int) float64 {
				ms := dot(p.embedding[i], p.embedding[i]) / plantWidth
				return p.steps[0][i][j] * (1 - 0.01/ms)
			})
		}, "norm_epsilon", "a norm's epsilon", "layer_0_output", Medium, "rows are off in proportion to mean(x²)^−1.00 of the layer's input (correlation 1.00): the smallest suffer most"},
		{"a weight column", func(p *pass) {
			g := seeded(3)
			v := noisy(g, 1, plantWidth, 0.1)[0]
			size := noisy(g, plantRows, 1, 1)
			p.steps[2] = plus(p.steps[2], matrix(plantRows, plantWidth, func(i, j int) float64 { return (2 + size[i][0]) * v[j] }))
		}, "channel", "one weight column inside the layer", "layer_2_output", Medium, "all rows are off along one vector, which holds 100 % of the error"},
		{"an embedding of other tokens", func(p *pass) { p.embedding = plus(p.embedding, errorsOf(5, p.embedding, flat(0.5))) },
			"embedding", "embedding: lookup or position rows", "embedding", High, "the rows that enter the first layer differ already (median 0.5)"},
		{"a wrong final norm", func(p *pass) {
			norm := p.norm
			p.norm = func(x [][]float64) [][]float64 { y := norm(x); return plus(y, errorsOf(5, y, flat(0.3))) }
		}, "final_norm", "the final norm: its weight or its epsilon", "final_norm", Medium, "every layer's output agrees"},
		{"a wrong head", func(p *pass) {
			head := p.head
			p.head = func(x [][]float64) [][]float64 { y := head(x); return plus(y, errorsOf(5, y, flat(0.3))) }
		}, "output_head", "the output matrix or what follows it", "logits", Medium, "everything before the logits agrees"},
		{"a layer, and no pattern", step(2, flat(0.12)),
			"layer", "layer 2", "layer_2_output", Medium, "its input agrees; what it adds is off by 0.12 (median over positions), and the error has no simpler pattern"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := diagnosed(t, c.change)
			if r.FirstDivergence == nil || r.FirstDivergence.Checkpoint != c.at {
				t.Fatalf("first divergence %+v, want %s", r.FirstDivergence, c.at)
			}
			i := slices.IndexFunc(r.Diagnosis, func(d Diagnosis) bool { return d.Kind == c.kind && d.Title == c.title })
			if i < 0 {
				t.Fatalf("got %+v", r.Diagnosis)
			}
			d := r.Diagnosis[i]
			like := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(c.evidence), "%s", `[-+.e0-9]+`) + "$")
			if d.Checkpoint != c.at || d.Confidence != c.confidence || !like.MatchString(d.Evidence) {
				t.Errorf("got  %s, %s, %q\nwant %s, %s, %q", d.Checkpoint, d.Confidence, d.Evidence, c.at, c.confidence, c.evidence)
			}
			for k, other := range r.Diagnosis {
				if k != i && other.Kind != "decreasing_drift" {
					t.Errorf("a second diagnosis: %+v", other)
				}
			}
		})
	}
}

// Without the checkpoint before, a layer's error is not taken for its own.
func TestDiagnosisWithoutInput(t *testing.T) {
	ref, wrong := soundPass(7), soundPass(7)
	wrong.steps[1] = plus(wrong.steps[1], errorsOf(5, wrong.steps[1], func(int) float64 { return 0.3 }))
	r := compared(t, parsed(t, ""), Options{}, pairOf(t, ref.points()[2:3], wrong.points()[2:3]))
	if r.Outcome != Fail || len(r.Diagnosis) != 0 {
		t.Errorf("%v: %+v; nothing can be said of layer 1 alone", r.Outcome, r.Diagnosis)
	}
}

// A diagnosis looks at the prompt of the first divergence, and garbage of one
// side keeps its rows out.
func TestDiagnosisOfPrompt(t *testing.T) {
	good, wrong := soundPass(7), soundPass(7)
	wrong.steps[1] = scaled(wrong.steps[1], 1.25)
	points := wrong.points()
	points[1].rows[3][5] = math.NaN() // layer 0, one value
	p, q := pairOf(t, good.points(), good.points()), pairOf(t, good.points(), points)
	q.Prompt = "q"
	r := compared(t, parsed(t, "garbage: {candidate: mask}\n"), Options{}, p, q)
	if d := r.FirstDivergence; d == nil || d.Prompt != "q" || d.Checkpoint != "layer_1_output" {
		t.Fatalf("first divergence %+v", d)
	}
	want := []string{"multiplier", "non_finite"}
	var got []string
	for _, d := range r.Diagnosis {
		if d.Kind != "decreasing_drift" {
			got = append(got, d.Kind)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("diagnosed %v, want %v: %+v", got, want, r.Diagnosis)
	}
	has(t, r.Diagnosis[0].Evidence, "1.25 ×")
}

func TestGarbageDiagnosis(t *testing.T) {
	g := func(engine, kind, policy string) Garbage {
		return Garbage{Engine: engine, Checkpoint: "logits", Kind: kind, Policy: policy, Count: 20, Positions: []int{3}, Elements: []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}
	}
	where := func(engine string) string {
		return "logits of the " + engine + ": 20 values in elements 0, 1, 2, 3, 4, 5, 6, 7, …, at positions 3"
	}
	for _, c := range []struct {
		in                          Garbage
		title, confidence, evidence string
	}{
		{g("candidate", "heap_pointer", "fail"), "heap pointers: the buffer was freed or never written", High, where("candidate") + "; each is a large low half followed by a zero or denormal high half"},
		{g("reference", "heap_pointer", "mask"), "reference: heap pointers: the buffer was freed or never written", High, where("reference") + "; each is a large low half followed by a zero or denormal high half"},
		{g("candidate", "non_finite", "mask"), "NaN or infinity", Medium, where("candidate")},
		{g("candidate", "huge", "keep"), "uninitialised memory or overflow", Medium, where("candidate")},
		{g("reference", "huge", "keep"), "reference: uninitialised memory or overflow", Medium, where("reference")},
		{g("reference", "huge", "mask"), "", "", ""},
	} {
		got := garbageDiagnosis(&Result{Garbage: []Garbage{c.in}})
		var want []Diagnosis
		if c.title != "" {
			want = []Diagnosis{{Kind: c.in.Kind, Title: c.title, Checkpoint: "logits", Confidence: c.confidence, Evidence: c.evidence}}
		}
		if !slices.Equal(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}

// Planted in a trace, heap pointers and NaN of the candidate come out at the top.
func TestDiagnosisOfPlantedGarbage(t *testing.T) {
	for kind, values := range map[string][2]float64{"heap_pointer": {5e7, 1e-42}, "non_finite": {math.NaN(), 1}, "huge": {-4e12, 1}} {
		wrong := soundPass(7).points()
		wrong[5].rows[11][2], wrong[5].rows[11][3] = values[0], values[1]
		r := compared(t, parsed(t, ""), Options{}, pairOf(t, soundPass(7).points(), wrong))
		if r.Outcome != Fail || r.FirstDivergence.Checkpoint != "final_norm" || r.FirstDivergence.Position != 11 || len(r.Diagnosis) == 0 || r.Diagnosis[0].Kind != kind {
			t.Errorf("%s: %v at %+v: %+v", kind, r.Outcome, r.FirstDivergence, r.Diagnosis)
			continue
		}
		if c := checkpointOf(t, r, "embedding"); c.Status != Passed || len(c.Findings) > 0 {
			t.Errorf("%s at the final norm is held against the embedding: %+v", kind, c.Findings)
		}
		has(t, r.Diagnosis[0].Evidence, "final_norm of the candidate", "elements 2", "at positions 11")
	}
}

// The most confident comes first, and a jump is named only where nothing more
// exact is known of the layer.
func TestDiagnosisOrder(t *testing.T) {
	r := resultOf()
	r.Trend = Trend{Direction: "decreasing", GrowthPerLayer: 0.5}
	r.Garbage = []Garbage{{Engine: "candidate", Checkpoint: "logits", Kind: "huge"}, {Engine: "candidate", Checkpoint: "layer_1_output", Kind: "heap_pointer"}}
	for at, want := range map[string][]string{
		"layer_0_output": {"heap_pointer", "multiplier", "huge", "decreasing_drift"},
		"nowhere":        {"heap_pointer", "huge", "decreasing_drift"},
	} {
		wrong := soundPass(7)
		wrong.embedding = plus(wrong.embedding)
		wrong.steps[0] = scaled(wrong.steps[0], 2)
		r.FirstDivergence = &Divergence{Prompt: "p", Checkpoint: at}
		if err := diagnose(context.Background(), r, []Pair{pairOf(t, soundPass(7).points(), wrong.points())}, parsed(t, "")); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range r.Diagnosis {
			got = append(got, d.Kind)
		}
		if !slices.Equal(got, want) {
			t.Errorf("at %s: %v, want %v", at, got, want)
		}
	}
	r.Garbage = nil
	if err := diagnose(context.Background(), r, nil, parsed(t, "")); err != nil || len(r.Diagnosis) != 1 {
		t.Fatalf("the trend alone: %+v, %v", r.Diagnosis, err)
	}
	has(t, r.Diagnosis[0].Evidence, "a factor of 0.5 a layer")
	// What a growing stream dilutes is no reason to doubt the log.
	r.Trend.Jump = &Jump{"layer_1_output", 40}
	if err := diagnose(context.Background(), r, nil, parsed(t, "")); err != nil || len(r.Diagnosis) != 1 || r.Diagnosis[0].Title != "one layer: layer 1" {
		t.Fatalf("the jump alone: %+v, %v", r.Diagnosis, err)
	}
	has(t, r.Diagnosis[0].Evidence, "grows there 40 ×")
}

// The sample of a long prompt stays small and keeps its start and its end.
func TestSampleOfLongPrompts(t *testing.T) {
	for _, total := range []int{1, 50, sampledRows, sampledRows + 1, 1000, 12345, 1_000_000} {
		n := 0
		for i := range total {
			if keep(i, total) {
				n++
			} else if i < sampledRows/2 || i == total-1 {
				t.Fatalf("row %d of %d is left out", i, total)
			}
		}
		if n > sampledRows+1 || n < min(total, sampledRows/2+2) {
			t.Errorf("%d of %d rows", n, total)
		}
	}
	rows := noisy(seeded(2), 400, 8, 1)
	at := make([]int, 400)
	for i := range at {
		at[i] = 5 + i + i/100 // three holes
	}
	tr := made(t, trace.Meta{Positions: at}, point{name: "embedding", rows: rows})
	s, err := newSample(align(tr, tr, []int{5}).checkpoints[0])
	if err != nil {
		t.Fatal(err)
	}
	if !s.last || s.positions[0] != 6 || s.positions[len(s.positions)-1] != at[399] || s.width != 8 {
		t.Errorf("sample %v, last %v", s.positions, s.last)
	}
	for i, p := range s.positions {
		if row := slices.Index(at, p); s.ref[i][7] != storedAs(trace.F32, rows[row][7]) || s.cand[i][7] != s.ref[i][7] {
			t.Fatalf("position %d has the values of another row", p)
		}
	}
}
