package ledger

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/paritygate/paritygate/baseline"
	"github.com/paritygate/paritygate/baseline/lineage"
	"github.com/paritygate/paritygate/baseline/store"
	"github.com/paritygate/paritygate/gate"
	"github.com/paritygate/paritygate/gate/metric"
)

// hash is the commit, or with another word the tree, that a test calls by name.
func hash(name string) string {
	sum := sha1.Sum([]byte(name))
	return hex.EncodeToString(sum[:])
}

func tree(name string) string { return hash("tree of " + name) }

// day is a time of the tests.
func day(n int) time.Time { return time.Date(2026, 11, n, 12, 0, 0, 0, time.UTC) }

// run is one run of an engine with three checkpoints. Runs with the same f have
// the same numbers and bits.
type run struct {
	commit string // by name, "" for a checkout with changes
	f      float64
	day    int
	// What tells keys and machines apart; "" is the usual.
	prompts, precision, gpu, driver string
}

func (x run) result() *gate.Result {
	r := &gate.Result{Version: 1, Outcome: gate.Pass, Environment: gate.Environment{Arch: "amd64"}, Prompts: []gate.PromptInfo{{Name: "haiku", SHA256: strings.Repeat("a", 64)}}}
	if x.prompts != "" {
		r.Prompts[0].SHA256 = hash(x.prompts) + hash(x.prompts)[:24]
	}
	r.Engines.Reference = gate.EngineInfo{Name: "llama.cpp", Adapter: "llamacpp", Device: "CPU", Precision: "f32", WeightsSHA256: strings.Repeat("1", 64)}
	r.Engines.Candidate = gate.EngineInfo{Name: "worker", Adapter: "exec", Precision: or(x.precision, "f16"), WeightsSHA256: strings.Repeat("1", 64)}
	for i := range 3 {
		v := gate.Value(x.f * 1e-3 * float64(1+i))
		r.Checkpoints = append(r.Checkpoints, gate.Checkpoint{Prompt: "haiku", Name: fmt.Sprintf("layer_%d_output", i), Order: i, Rows: 2, Width: 8, Compared: 8,
			CandDType: "F32", Status: gate.Passed, Metrics: map[string]gate.Value{"rel_l2": v, "position_rms": v, "added": 3 * v}})
	}
	return r
}

func or(s, usual string) string {
	if s == "" {
		return usual
	}
	return s
}

func (x run) provenance() baseline.Provenance {
	p := baseline.Provenance{Date: day(x.day).Format(time.RFC3339), Outcome: "pass", GPU: or(x.gpu, "NVIDIA H100"), Driver: or(x.driver, "580.1"), Paritygate: "1.0.0"}
	if x.commit != "" {
		p.Commit, p.Tree = hash(x.commit), tree(x.commit)
	}
	return p
}

// imprint is of rows that are drawn from f.
func (x run) imprint(t testing.TB) *baseline.Imprint {
	t.Helper()
	im, g := baseline.NewImprint(), rand.New(rand.NewPCG(math.Float64bits(x.f), 1))
	for _, c := range x.result().Checkpoints {
		o := gate.Observed{Prompt: c.Prompt, Checkpoint: c.Name, Width: c.Width, Positions: []int{0, 1}, Rows: metric.Block{DType: metric.F32}}
		for range c.Rows * c.Width {
			o.Rows.Data = binary.LittleEndian.AppendUint32(o.Rows.Data, math.Float32bits(float32(g.NormFloat64())))
		}
		if err := im.Observe(o); err != nil {
			t.Fatal(err)
		}
	}
	return im
}

// document is the run as it is recorded.
func (x run) document(t testing.TB) *baseline.Document {
	t.Helper()
	d, err := baseline.Record(x.result(), x.imprint(t), x.provenance())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// line is the lineage of commits by name, nearest first. "NAME#12" merged pull
// request 12; "NAME=OTHER" has the files of another commit, of "?" it is not known.
func line(names ...string) *lineage.Lineage {
	l := &lineage.Lineage{}
	for i, n := range names {
		a := lineage.Ancestor{Distance: i}
		n, pull, merged := strings.Cut(n, "#")
		if merged {
			var k int
			fmt.Sscan(pull, &k)
			a.Pulls = []int{k}
		}
		n, files, copied := strings.Cut(n, "=")
		if !copied {
			files = n
		}
		if a.Commit = hash(n); files != "?" {
			a.Tree = tree(files)
		}
		l.Ancestors = append(l.Ancestors, a)
	}
	if len(names) > 0 {
		l.MergeBase = l.Ancestors[0].Commit
	}
	return l
}

// world is a store in a folder.
type world struct {
	testing.TB
	*Ledger
	dir string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	s, err := store.Open("dir:"+dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, &Ledger{s}, dir}
}

// accept updates the store with a run of the branch that stands on more commits.
func (w *world) accept(x run, standsOn ...string) *baseline.Document {
	w.Helper()
	d, _, err := w.Ledger.Accept(context.Background(), x.document(w), Question{Lineage: line(append([]string{x.commit}, standsOn...)...)}, false)
	if err != nil {
		w.Fatal(err)
	}
	return d
}

// approve approves a run on a day, for a pull request unless that is 0.
func (w *world) approve(x run, pull, on int) *baseline.Document {
	w.Helper()
	d := x.document(w)
	a, err := w.Ledger.Approve(context.Background(), d, nil, Approval{Digest: d.Numbers(), By: "ada", Reason: "new kernels", Pull: pull, At: day(on)})
	if err != nil {
		w.Fatal(err)
	}
	return a
}

func (w *world) view() store.View {
	w.Helper()
	v, err := w.Store.Snapshot(context.Background())
	if err != nil {
		w.Fatal(err)
	}
	return v
}

// paths are the files of the store.
func (w *world) paths() []string {
	w.Helper()
	list, err := w.view().List(context.Background(), "")
	if err != nil {
		w.Fatal(err)
	}
	return list
}

// place is where the document of a commit, or of an approval, lies.
func place(t testing.TB, x run) string { return commitPath(x.document(t).Key, hash(x.commit)) }

func approvedPlace(t testing.TB, x run, pull int) string {
	d := x.document(t)
	return approvedPath(d.Key, pull, d.Numbers())
}

// file is a path of the store on the disk.
func (w *world) file(path string) string { return filepath.Join(w.dir, filepath.FromSlash(path)) }

// damage changes a digit of a document's numbers.
func (w *world) damage(path string) {
	w.Helper()
	b, err := os.ReadFile(w.file(path))
	if err != nil {
		w.Fatal(err)
	}
	i := bytes.Index(b, []byte(`"rel_l2": {"value": 0.00`)) + len(`"rel_l2": {"value": 0.00`)
	if i < 30 || b[i] < '1' || b[i] > '9' {
		w.Fatalf("no number to change in\n%s", b)
	}
	b[i] = '1' + (b[i]-'0')%9
	if err := os.WriteFile(w.file(path), b, 0o644); err != nil {
		w.Fatal(err)
	}
}
