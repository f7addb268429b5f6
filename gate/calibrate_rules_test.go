package gate

import (
	"bytes"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/spec"
)

func TestRoundUp(t *testing.T) {
	tests := []struct{ v, want float64 }{
		{0, 0}, {1, 1}, {1.2, 1.2}, {1.21, 1.3}, {1.29999, 1.3}, {9.91, 10}, {99, 99}, {99.1, 100}, {1.2e-7, 1.2e-7}, {1.200000001e-7, 1.3e-7},
		{0.0995, 0.1}, {5e-324, 5e-324}, {math.Inf(1), math.Inf(1)},
	}
	for _, tt := range tests {
		if got := roundUp(tt.v); got != tt.want {
			t.Errorf("roundUp(%g) = %g, want %g", tt.v, got, tt.want)
		}
	}
	for i := range 2000 {
		v := math.Pow(10, float64(i%40)-30) * (1 + float64(i)*0.00449)
		if r := roundUp(v); r < v || r > v*1.1001 {
			t.Fatalf("roundUp(%g) = %g", v, r)
		}
	}
}

func TestBetween(t *testing.T) {
	tests := []struct{ noise, bug, want float64 }{
		{1e-4, 1e-2, 1e-3},
		{1e-3, 1.44e-3, 1.2e-3},
		{0, 1e-3, 5e-4},
		{1.001e-3, 1.003e-3, 1.002e-3},   // two digits would let the bug pass or fail the noise
		{1.0e-3, 1.000001e-3, 1e-3},      // inclusive: the noise itself is still within
		{1e-200, 1e200, 1},               // no overflow
		{2e-3, 2.0000000000000005e-3, 0}, // checked below
	}
	for _, tt := range tests {
		got := between(tt.noise, tt.bug, 2)
		if got < tt.noise || got >= tt.bug {
			t.Errorf("between(%g, %g) = %g", tt.noise, tt.bug, got)
		}
		if tt.want != 0 && math.Abs(got-tt.want) > 1e-9*tt.want {
			t.Errorf("between(%g, %g) = %g, want %g", tt.noise, tt.bug, got, tt.want)
		}
	}
}

func TestClassOf(t *testing.T) {
	tests := map[string]string{
		"embedding": "embedding", "layer_0_output": "layer_*_output", "layer_31_ffn_norm": "layer_*_ffn_norm", "final_norm": "final_norm",
		"logits": "logits", "layer_x_output": "layer_x_output", "odd[1]*": `odd\[1]\*`,
	}
	for name, want := range tests {
		if got := classOf(name); got != want {
			t.Errorf("classOf(%q) = %q, want %q", name, got, want)
		}
	}
}

// layers is rel_l2 of layers 0, 1, 2 …
func layers(variant string, values ...float64) []observation {
	var out []observation
	for i, v := range values {
		out = append(out, observation{variant, "p", "layer_" + string(rune('0'+i)) + "_output", "rel_l2", v})
	}
	return out
}

// limitOf is the limit of a rule on rel_l2, NaN without one.
func limitOf(l *limits, rule string) float64 {
	i := slices.IndexFunc(l.list, func(c CalibratedLimit) bool { return c.Rule == rule && c.Metric == "rel_l2" })
	if i < 0 {
		return math.NaN()
	}
	return float64(l.list[i].Limit)
}

func TestLimitsFromNoise(t *testing.T) {
	const all = "layer_*_output"
	tests := []struct {
		name          string
		seen          []observation
		margin, floor float64
		want          map[string]float64
	}{
		{"margin times the largest, rounded up", append(layers("a", 1e-6, 1.03e-6), layers("b", 1.01e-6, 9e-7)...), 2, 0, map[string]float64{all: 2.1e-6}},
		{"bit-identical", layers("a", 0, 0, 0, 0), 2, 0, map[string]float64{all: 0}},
		{"floor", layers("a", 0, 1e-8), 2, 1e-6, map[string]float64{all: 1e-6}},
		{"floor below", layers("a", 0, 1e-5), 2, 1e-6, map[string]float64{all: 2e-5}},
		{"a layer that stands out", layers("a", 1e-6, 1e-6, 4e-6, 1e-6), 2, 0, map[string]float64{all: 2e-6, "layer_2_output": 8e-6}},
		{"three times is not more than three times", layers("a", 1e-6, 1e-6, 3e-6, 1e-6), 2, 0, map[string]float64{all: 6e-6, "layer_2_output": math.NaN()}},
		{"two of four are no exceptions", layers("a", 1e-6, 9e-6, 9e-6, 1e-6), 1, 0, map[string]float64{all: 9e-6, "layer_1_output": math.NaN()}},
		{"two of eight are", layers("a", 1, 1, 1, 1, 1, 1, 9, 8), 1, 0, map[string]float64{all: 1, "layer_6_output": 9, "layer_7_output": 8}},
		{"two layers are a class", layers("a", 1e-6, 1e-3), 1, 0, map[string]float64{all: 1e-3}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, left := limitsFromNoise(tt.seen, tt.margin, tt.floor)
			if len(left) > 0 {
				t.Errorf("left out %v", left)
			}
			for rule, want := range tt.want {
				if got := limitOf(l, rule); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
					t.Errorf("%s: %g, want %g", rule, got, want)
				}
			}
			for _, o := range tt.seen {
				if c := l.holding(o.checkpoint, o.metric); c == nil || o.value > float64(c.Limit) {
					t.Errorf("%s at %g breaks its own limit %+v", o.checkpoint, o.value, c)
				}
			}
		})
	}
}

func TestLimitsOfWhatIsNoNumber(t *testing.T) {
	seen := append(layers("a", 1e-6, math.NaN(), 1e-6), observation{"a", "p", "logits", "kl.mean", 1e-9}, observation{"a", "p", "logits", "rel_l2", math.Inf(1)})
	l, left := limitsFromNoise(seen, 2, 1e-3)
	if want := []place{{"layer_*_output", "rel_l2"}, {"logits", "rel_l2"}}; !slices.Equal(left, want) {
		t.Errorf("left out %v, want %v", left, want)
	}
	if c := l.holding("logits", "kl.mean"); len(l.list) != 1 || c == nil || float64(c.Limit) != 1e-6 {
		t.Errorf("limits %+v, want kl.mean at the floor's square alone", l.list)
	}
}

func TestTighten(t *testing.T) {
	const margin = 2
	sound := layers("a", 1e-4, 2e-4, 1.5e-4)
	tests := []struct {
		name  string
		floor float64
		bug   []observation
		fails bool
		want  float64 // the class's limit afterwards
	}{
		{"far above the limit", 0, layers("", 1e-4, 1e-2, 1e-2), true, 4e-4},
		{"at the limit passes it, so it is tightened", 0, layers("", 0, 4e-4, 0), true, 2.8e-4},
		{"between noise and limit", 0, layers("", 0, 3.2e-4, 0), true, 2.5e-4},
		{"at the noise", 0, layers("", 0, 2e-4, 0), false, 4e-4},
		{"below the noise", 0, layers("", 1e-5, 1e-5, 1e-5), false, 4e-4},
		{"no effect", 0, layers("", 0, 0, 0), false, 4e-4},
		{"a floor never lets it pass", 1e-1, layers("", 0, 2e-2, 0), true, 2e-3},
		{"no number fails any limit", 0, layers("", 0, math.NaN(), 0), true, 4e-4},
		{"infinite", 0, layers("", 0, math.Inf(1), 0), true, 4e-4},
		{"nothing measured", 0, nil, false, 4e-4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, _ := limitsFromNoise(sound, margin, tt.floor)
			best, fails := l.tighten("eps", tt.bug, margin)
			got := limitOf(l, "layer_*_output")
			want := tt.want
			if fails != tt.fails || got != want {
				t.Errorf("fails %v with the limit %g, want %v with %g (%+v)", fails, got, tt.fails, want, best)
			}
			caught := slices.ContainsFunc(tt.bug, func(o observation) bool { return !(o.value <= got) })
			if caught != tt.fails {
				t.Errorf("the limit %g catches the bug: %v, want %v", got, caught, tt.fails)
			}
			for _, o := range sound {
				if o.value > got {
					t.Errorf("the limit %g fails the noise %g", got, o.value)
				}
			}
		})
	}
}

// TestTightenForSeveral: a later bug tightens further, and what one tightened
// stays within the other.
func TestTightenForSeveral(t *testing.T) {
	l, _ := limitsFromNoise(layers("a", 1e-4, 1e-4), 100, 0)
	for _, b := range []struct {
		name string
		size float64
	}{{"large", 5e-3}, {"small", 2e-4}, {"large again", 5e-3}} {
		if _, fails := l.tighten(b.name, layers("", b.size, 0), 100); !fails {
			t.Errorf("%s passes", b.name)
		}
	}
	if c := l.list[0]; c.Bug != "small" || c.Limit >= 2e-4 || c.Limit < 1e-4 {
		t.Errorf("limit %+v", c)
	}
}

func TestVariants(t *testing.T) {
	names := func(vs []variant) string {
		var out []string
		for _, v := range vs {
			if v.cfg.ProveCapture == nil || *v.cfg.ProveCapture {
				t.Errorf("%s proves capture once more", v.name)
			}
			if !strings.HasPrefix(v.name, "threads") { // as many as the machine has
				out = append(out, v.name)
			}
		}
		return strings.Join(out, ", ")
	}
	tests := []struct {
		cfg  spec.Engine
		want string
	}{
		{spec.Engine{Adapter: "llamacpp"}, "ubatch 1, ubatch 7, ubatch 32, decode, flash_attention on, flash_attention off, kv_type f32, kv_type f16"},
		{spec.Engine{Adapter: "llamacpp", Mode: "probe", FlashAttention: "auto", KVType: "f16", Batch: 16, UBatch: 7, Decode: true}, "ubatch 1, prefill"},
		{spec.Engine{Adapter: "llamacpp", Mode: "preload"}, ""},
		{spec.Engine{Adapter: "transformers"}, "decode"},
		{spec.Engine{Adapter: "transformers", Device: "cuda:1"}, "decode"},
		{spec.Engine{Adapter: "exec"}, ""},
		{spec.Engine{Adapter: "builtin"}, ""},
	}
	for _, tt := range tests {
		if got := names(variantsOf(tt.cfg)); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.cfg, got, tt.want)
		}
	}
	threads := func(cfg spec.Engine) (out []int) {
		for _, v := range variantsOf(cfg) {
			if strings.HasPrefix(v.name, "threads") {
				out = append(out, v.cfg.Threads)
			}
		}
		return out
	}
	if got := threads(spec.Engine{Adapter: "llamacpp"}); !slices.Contains(got, 1) || !slices.Contains(got, 2) || !slices.Contains(got, runtime.NumCPU()) {
		t.Errorf("threads %v", got)
	}
	if got := threads(spec.Engine{Adapter: "transformers", Threads: 2}); slices.Contains(got, 2) || !slices.Contains(got, 1) {
		t.Errorf("threads %v beside the engine's own 2", got)
	}
	if got := threads(spec.Engine{Adapter: "transformers", Device: "cuda"}); got != nil {
		t.Errorf("threads %v on a GPU", got)
	}
}

// TestCalibrationYAML: names that YAML or globs would read otherwise, and text
// that would end a comment, come back as what they are.
func TestCalibrationYAML(t *testing.T) {
	names := []string{"layer_*_output", literal("odd[1]* #x: \"q\""), literal("123"), literal("- a"), literal("Ünï"), literal("true")}
	c := &Calibration{Name: "candidate", Engine: EngineInfo{Name: "a\nversion: 2\r\ttolerances: {}", Model: "m\u2028n"}, Margin: 2, NoBugs: "why\nnot",
		Warnings: []string{"w\nrules: []"}}
	for i, n := range names {
		c.Limits = append(c.Limits, CalibratedLimit{Rule: n, Metric: "rel_l2", Limit: Value(float64(i) * 1.2345678e-9)},
			CalibratedLimit{Rule: n, Metric: "scale", Limit: 1e21, Noise: NoiseSeen{1, "x\ny", "p", "v"}})
	}
	c.Limits = append(c.Limits, CalibratedLimit{Rule: "logits", Metric: "kl.mean", Limit: 5e-324})
	s := parsed(t, strings.TrimPrefix(string(c.YAML()[strings.Index(string(c.YAML()), "version: 1\n"):]), "version: 1\n"))
	whole, err := spec.Parse(c.YAML(), "rules.yaml")
	if err != nil {
		t.Fatalf("%v\n%s", err, c.YAML())
	}
	if len(whole.Tolerances.Rules) != len(names)+1 || len(s.Tolerances.Rules) != len(names)+1 {
		t.Fatalf("%d rules, want %d\n%s", len(whole.Tolerances.Rules), len(names)+1, c.YAML())
	}
	for i, n := range names {
		r := whole.Tolerances.Rules[i]
		if r.Checkpoint != n || r.Limits[0].Value != float64(c.Limits[2*i].Limit) {
			t.Errorf("read back %+v, want %s", r, n)
		}
	}
	if !spec.Match(names[1], "odd[1]* #x: \"q\"") || spec.Match(names[1], "odd1 #x: \"q\"") {
		t.Errorf("%s is not the name itself", names[1])
	}
	if !bytes.Equal(c.YAML(), c.YAML()) || !bytes.Contains(c.Text(), []byte("No bug was tried: why not.")) {
		t.Errorf("text:\n%s", c.Text())
	}
}
