package gate

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/paritygate/paritygate/gate/trace"
)

func TestIntersect(t *testing.T) {
	for _, c := range []struct {
		name      string
		ref, cand []int
		skip      []int
		segments  []segment
		positions []int
	}{
		{"the same", []int{0, 1, 2}, []int{0, 1, 2}, nil, []segment{{0, 0, 3}}, []int{0, 1, 2}},
		{"a longer candidate", []int{0, 1}, []int{0, 1, 2, 3}, nil, []segment{{0, 0, 2}}, []int{0, 1}},
		{"a longer reference", []int{0, 1, 2, 3}, []int{0, 1}, nil, []segment{{0, 0, 2}}, []int{0, 1}},
		{"one begins later", []int{0, 1, 2, 3}, []int{2, 3, 4}, nil, []segment{{2, 0, 2}}, []int{2, 3}},
		{"a hole in the reference", []int{0, 1, 4, 5}, []int{0, 1, 2, 3, 4, 5}, nil, []segment{{0, 0, 2}, {2, 4, 2}}, []int{0, 1, 4, 5}},
		{"a hole in the candidate", []int{0, 1, 2, 3}, []int{0, 3}, nil, []segment{{0, 0, 1}, {3, 1, 1}}, []int{0, 3}},
		{"the same hole in both", []int{0, 5}, []int{0, 5}, nil, []segment{{0, 0, 2}}, []int{0, 5}},
		{"nothing shared", []int{0, 2, 4}, []int{1, 3, 5}, nil, nil, nil},
		{"nothing on one side", nil, []int{0}, nil, nil, nil},
		{"skip in the middle", []int{0, 1, 2}, []int{0, 1, 2}, []int{1}, []segment{{0, 0, 1}, {2, 2, 1}}, []int{0, 2}},
		{"skip at both ends", []int{0, 1, 2}, []int{0, 1, 2}, []int{0, 2}, []segment{{1, 1, 1}}, []int{1}},
		{"skip all", []int{7}, []int{7}, []int{7}, nil, nil},
		{"skip what is not there", []int{7}, []int{7}, []int{8}, []segment{{0, 0, 1}}, []int{7}},
	} {
		t.Run(c.name, func(t *testing.T) {
			skip := map[int]bool{}
			for _, p := range c.skip {
				skip[p] = true
			}
			segs, positions := intersect(c.ref, c.cand, skip)
			if !slices.Equal(segs, c.segments) || !slices.Equal(positions, c.positions) {
				t.Errorf("got %v, %v; want %v, %v", segs, positions, c.segments, c.positions)
			}
		})
	}
}

// Whatever the two lists are, the segments name exactly the shared positions.
func TestIntersectAgreesWithSets(t *testing.T) {
	g := seeded(1)
	for range 500 {
		pick := func() (out []int) {
			for p := range 40 {
				if g.IntN(3) > 0 {
					out = append(out, p)
				}
			}
			return out
		}
		ref, cand, skip := pick(), pick(), map[int]bool{g.IntN(40): true, g.IntN(40): true}
		segs, positions := intersect(ref, cand, skip)
		var want []int
		for _, p := range ref {
			if slices.Contains(cand, p) && !skip[p] {
				want = append(want, p)
			}
		}
		if !slices.Equal(positions, want) {
			t.Fatalf("positions %v, want %v", positions, want)
		}
		var walked []int
		for i, s := range segs {
			if s.n < 1 || i > 0 && segs[i-1].ref+segs[i-1].n == s.ref && segs[i-1].cand+segs[i-1].n == s.cand {
				t.Fatalf("segments %v: one is empty, or two could be one", segs)
			}
			for k := range s.n {
				if ref[s.ref+k] != cand[s.cand+k] {
					t.Fatalf("segments %v pair position %d with %d", segs, ref[s.ref+k], cand[s.cand+k])
				}
				walked = append(walked, ref[s.ref+k])
			}
		}
		if !slices.Equal(walked, want) {
			t.Fatalf("segments walk %v, want %v", walked, want)
		}
	}
}

func named(names ...string) *trace.Trace {
	t := &trace.Trace{}
	for _, n := range names {
		t.Checkpoints = append(t.Checkpoints, &trace.Checkpoint{Name: n, DType: trace.F32, Width: 4, Stored: 4, Positions: []int{0}})
	}
	return t
}

func TestForwardOrder(t *testing.T) {
	for _, c := range []struct {
		name            string
		ref, cand, want []string
	}{
		{"any order of the files", []string{"logits", "layer_10_output", "layer_2_output", "final_norm", "embedding"}, []string{"layer_2_output"},
			[]string{"embedding", "layer_2_output", "layer_10_output", "final_norm", "logits"}},
		{"parts of a layer", []string{"layer_0_output", "layer_0_ffn_output", "layer_0_attn_output"}, nil,
			[]string{"layer_0_attn_output", "layer_0_ffn_output", "layer_0_output"}},
		{"unknown names stand behind the known one before them", []string{"embedding", "rope_cache", "layer_0_output", "router", "router_2", "logits"}, []string{"logits"},
			[]string{"embedding", "rope_cache", "layer_0_output", "router", "router_2", "logits"}},
		{"unknown names of the candidate, too", []string{"embedding", "layer_0_output", "logits"}, []string{"layer_0_output", "router", "logits"},
			[]string{"embedding", "layer_0_output", "router", "logits"}},
		{"the reference's place wins", []string{"embedding", "router", "layer_0_output"}, []string{"embedding", "layer_0_output", "router"},
			[]string{"embedding", "router", "layer_0_output"}},
		{"equal places go by name", []string{"layer_0_output", "b"}, []string{"layer_0_output", "a"}, []string{"layer_0_output", "a", "b"}},
		{"each known name counts anew", []string{"embedding", "x", "layer_0_output", "b"}, []string{"layer_0_output", "c"}, []string{"embedding", "x", "layer_0_output", "b", "c"}},
		{"no name is known", []string{"y", "x"}, []string{"x", "z"}, []string{"y", "x", "z"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := forwardOrder(named(c.ref...), named(c.cand...)); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestAlignSorts(t *testing.T) {
	ref, cand := named("embedding", "layer_0_output", "logits", "only_ref"), named("embedding", "layer_0_output", "logits", "only_cand")
	cand.Lookup("layer_0_output").Width = 8
	cand.Lookup("logits").Positions = []int{9}
	al := align(ref, cand, nil)
	var names []string
	for _, a := range al.checkpoints {
		names = append(names, fmt.Sprint(a.name, a.positions))
	}
	if want := []string{"embedding[0]", "logits[]"}; !slices.Equal(names, want) {
		t.Errorf("aligned %v, want %v", names, want)
	}
	if !slices.Equal(al.refOnly, []string{"only_ref"}) || !slices.Equal(al.candOnly, []string{"only_cand"}) {
		t.Errorf("one side only: %v and %v", al.refOnly, al.candOnly)
	}
	if want := []shapeMismatch{{"layer_0_output", 4, 8}}; !slices.Equal(al.mismatched, want) {
		t.Errorf("mismatched %v, want %v", al.mismatched, want)
	}
	// A partial side bounds what is compared, whichever side it is.
	for _, side := range []*trace.Trace{ref, cand} {
		side.Lookup("embedding").Stored = 3
		if a := align(ref, cand, nil).checkpoints[0]; a.elements != 3 || !a.partial() {
			t.Errorf("%d elements compared, want 3 of 4", a.elements)
		}
		side.Lookup("embedding").Stored = 4
	}
	if a := align(ref, cand, nil).checkpoints[0]; a.partial() {
		t.Error("whole rows taken for partial ones")
	}
}

// A layer is held against its input only where both can be walked in step.
func TestResidualLinks(t *testing.T) {
	first, second := "layer_0_output", "layer_1_output"
	for _, c := range []struct {
		name   string
		change func(ref, cand *trace.Trace)
		linked bool
	}{
		{"alike", func(_, _ *trace.Trace) {}, true},
		{"other type on both sides, layer by layer", func(ref, cand *trace.Trace) {
			for _, n := range []string{first, second} {
				ref.Lookup(n).DType = trace.F16
			}
		}, true},
		{"the reference's type changes", func(ref, _ *trace.Trace) { ref.Lookup(first).DType = trace.F16 }, false},
		{"the candidate's type changes", func(_, cand *trace.Trace) { cand.Lookup(second).DType = trace.BF16 }, false},
		{"the width changes", func(ref, cand *trace.Trace) {
			for _, s := range []*trace.Trace{ref, cand} {
				s.Lookup(second).Width, s.Lookup(second).Stored = 8, 8
			}
		}, false},
		{"partial rows", func(_, cand *trace.Trace) { cand.Lookup(first).Stored, cand.Lookup(second).Stored = 2, 2 }, false},
		{"other positions", func(ref, cand *trace.Trace) {
			ref.Lookup(first).Positions, cand.Lookup(first).Positions = []int{1}, []int{1}
		}, false},
		{"the same rows of other positions", func(ref, cand *trace.Trace) {
			for _, s := range []*trace.Trace{ref, cand} {
				s.Lookup(first).Positions, s.Lookup(second).Positions = []int{0, 1}, []int{0, 2}
			}
		}, false},
		{"the same positions in other rows", func(ref, _ *trace.Trace) { ref.Lookup(first).Positions = []int{-1, 0} }, false},
		{"more rows", func(ref, cand *trace.Trace) {
			ref.Lookup(second).Positions, cand.Lookup(second).Positions = []int{0, 1}, []int{0, 1}
		}, false},
		{"the layer between is not known", func(ref, _ *trace.Trace) { ref.Lookup(first).Name = "elsewhere" }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ref, cand := named("embedding", first, second), named("embedding", first, second)
			c.change(ref, cand)
			al := align(ref, cand, nil)
			last := al.checkpoints[len(al.checkpoints)-1]
			if last.name != second {
				t.Fatalf("last is %s", last.name)
			}
			if got := last.previous != nil; got != c.linked {
				t.Errorf("linked is %v, want %v", got, c.linked)
			}
			if c.linked && last.previous.name != first {
				t.Errorf("linked to %s", last.previous.name)
			}
		})
	}
	al := align(named("embedding", first, "final_norm", "logits"), named("embedding", first, "final_norm", "logits"), nil)
	for i, want := range []string{"", "embedding", "", ""} {
		got := ""
		if p := al.checkpoints[i].previous; p != nil {
			got = p.name
		}
		if got != want {
			t.Errorf("%s starts from %q, want %q", al.checkpoints[i].name, got, want)
		}
	}
}

// Shards of one side are joined along positions and meet the other side's rows,
// none of which begins at 0.
func TestAlignShards(t *testing.T) {
	rows := matrix(6, 4, func(i, j int) float64 { return float64(10*i + j) })
	ref := made(t, trace.Meta{Positions: []int{10, 11, 12, 13, 14, 15}}, point{name: "embedding", rows: rows})
	dir := filepath.Join(t.TempDir(), "shards")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	written(t, filepath.Join(dir, "a.safetensors"), trace.Meta{Positions: []int{13, 14}}, point{name: "embedding", rows: [][]float64{rows[3], rows[4]}})
	written(t, filepath.Join(dir, "b.safetensors"), trace.Meta{Positions: []int{9, 11, 12}}, point{name: "embedding", rows: [][]float64{rows[5], rows[1], copied(rows, func(b [][]float64) { b[2][3] = 24 })[2]}})
	cand := opened(t, dir)
	s := parsed(t, "skip: {positions: [13]}\n")
	r := compared(t, s, Options{}, Pair{"p", ref, cand})
	c := checkpointOf(t, r, "embedding")
	if c.Rows != 3 || c.Metrics["max_abs"] != 1 || c.Where.MaxAbsPosition != 12 || c.Where.MaxAbsElement != 3 {
		t.Errorf("%d rows, max_abs %v at %+v; want 3 rows, 1 at position 12, element 3", c.Rows, c.Metrics["max_abs"], c.Where)
	}
	if want := (Count{3, 6, 5}); !reflect.DeepEqual(r.Coverage.Positions, want) {
		t.Errorf("coverage of positions %+v, want %+v", r.Coverage.Positions, want)
	}
}
