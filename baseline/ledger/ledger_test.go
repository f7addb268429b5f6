package ledger

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/baseline"
	"github.com/paritygate/paritygate/baseline/store"
	"github.com/paritygate/paritygate/gate"
)

// value is a metric of the first checkpoint.
func value(d *baseline.Document) baseline.Metric { return d.Measurements[0].Metrics["rel_l2"] }

func commits(d *baseline.Document) string {
	var out []string
	for _, a := range d.History {
		for _, name := range []string{"a", "b", "c", "d", "feature", "e"} {
			if a.Commit == hash(name) {
				out = append(out, name)
			}
		}
	}
	return strings.Join(out, " ")
}

// A chain of accepted runs has the first as its anchor, until somebody approves
// another.
func TestAcceptChain(t *testing.T) {
	w := newWorld(t)
	a := w.accept(run{commit: "a", f: 1, day: 1})
	b := w.accept(run{commit: "b", f: 1.1, day: 2}, "a")
	if a.Anchor.Commit != hash("a") || b.Anchor != a.Anchor || commits(b) != "a b" {
		t.Errorf("anchors %+v and %+v, history %s", a.Anchor, b.Anchor, commits(b))
	}
	if v := value(b); v.Value != 1.1e-3 || v.Anchor != 1e-3 || !slices.Equal(v.History, []gate.Value{1e-3, 1.1e-3}) {
		t.Errorf("%+v", v)
	}
	// c stands on a, and not on b.
	c := w.accept(run{commit: "c", f: 1.2, day: 3}, "a")
	if commits(c) != "a c" || value(c).Anchor != 1e-3 {
		t.Errorf("history %s, %+v", commits(c), value(c))
	}
	// Approved for pull request 12, which d merges: the anchor is what was approved.
	ap := w.approve(run{commit: "feature", f: 3, day: 4}, 12, 5)
	d := w.accept(run{commit: "d", f: 3.1, day: 6}, "c#12", "a")
	if commits(d) != "a c d" { // c has a document of its own: nearer than what it merged
		t.Errorf("history %s", commits(d))
	}
	e := w.accept(run{commit: "e", f: 3.1, day: 6}, "other#12", "c")
	if e.Anchor != ap.Anchor || value(e).Anchor != 3e-3 || commits(e) != "feature e" || e.Provenance.ApprovedBy != "" {
		t.Errorf("anchor %+v, %+v, history %s", e.Anchor, value(e), commits(e))
	}
}

// A commit that is measured again is once in the history, keeps its anchor, and
// its document is replaced.
func TestAcceptAgain(t *testing.T) {
	for _, before := range []int{0, 1} {
		w := newWorld(t)
		standsOn := []string{}
		want, values := "b", []gate.Value{1.2e-3}
		if before == 1 {
			w.accept(run{commit: "a", f: 1, day: 1})
			standsOn, want, values = []string{"a"}, "a b", []gate.Value{1e-3, 1.2e-3}
		}
		first := w.accept(run{commit: "b", f: 1.1, day: 2}, standsOn...)
		n := len(w.paths())
		again, previous, err := w.Accept(context.Background(), run{commit: "b", f: 1.2, day: 3}.document(t), Question{Lineage: line(append([]string{"b"}, standsOn...)...)}, false)
		if err != nil {
			t.Fatal(err)
		}
		if len(w.paths()) != n || commits(again) != want || !slices.Equal(value(again).History, values) || again.Anchor != first.Anchor || value(again).Anchor != value(first).Anchor {
			t.Errorf("%d files, history %s %v, anchor %+v", len(w.paths()), commits(again), value(again), again.Anchor)
		}
		if previous.Digest() != first.Digest() || len(value(previous).History) != len(value(first).History) {
			t.Error("previous is not the document that was there")
		}
		if again.History[len(again.History)-1].Date != day(3).Format("2006-01-02T15:04:05Z07:00") {
			t.Errorf("dated %+v", again.History)
		}
		stored, err := Read(context.Background(), w.view(), mustParse(t, place(t, run{commit: "b", f: 1})))
		if err != nil || stored.Digest() != again.Digest() {
			t.Errorf("stored is %v, %v", stored, err)
		}
	}
}

func mustParse(t testing.TB, path string) Entry {
	t.Helper()
	e, ok := parse(path)
	if !ok {
		t.Fatalf("%s is no path of a store", path)
	}
	return e
}

// A commit that was approved as it is and then measured is once in the history.
func TestAcceptApproved(t *testing.T) {
	w := newWorld(t)
	w.accept(run{commit: "a", f: 1, day: 1})
	w.approve(run{commit: "b", f: 3, day: 2}, 0, 3)
	if b := w.accept(run{commit: "b", f: 4, day: 4}, "a"); commits(b) != "b" || !slices.Equal(value(b).History, []gate.Value{4e-3}) || value(b).Anchor != 3e-3 || b.Anchor.ApprovedBy != "ada" {
		t.Errorf("history %s, %+v, anchor %+v", commits(b), value(b), b.Anchor)
	}
}

func TestAcceptRatchet(t *testing.T) {
	w := newWorld(t)
	w.accept(run{commit: "a", f: 1, day: 1})
	b, _, err := w.Accept(context.Background(), run{commit: "b", f: 1.2, day: 2}.document(t), Question{Lineage: line("b", "a")}, true)
	if err != nil || value(b).Value != 1e-3 || value(b).History[1] != 1.2e-3 {
		t.Errorf("%+v, %v", value(b), err)
	}
}

// What must not be written is not, and the store is as it was.
func TestAcceptRefuses(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.accept(run{commit: "a", f: 1, day: 1})
	w.accept(run{commit: "b", f: 1, day: 1}, "a")
	w.damage(place(t, run{commit: "b", f: 1}))
	before := w.paths()
	next := run{commit: "c", f: 1, day: 2}
	for _, tt := range []struct {
		name string
		of   run
		q    Question
		want string
	}{
		{"no commit", run{f: 1, day: 2}, Question{Lineage: line("c", "a")}, `commit "": a baseline belongs to a commit, by its full hash`},
		{"no lineage", next, Question{}, "it is not known what " + hash("c")[:12] + " stands on, so that its baseline would begin a new history, and a new anchor"},
		{"a damaged one to follow", next, Question{Lineage: line("c", "b", "a")}, place(t, run{commit: "b", f: 1}) + ": damaged or changed by hand"},
	} {
		kept, previous, err := w.Accept(ctx, tt.of.document(t), tt.q, false)
		if kept != nil || previous != nil || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if !slices.Equal(w.paths(), before) {
		t.Errorf("the store has\n%v", w.paths())
	}
	// Without a lineage the first of a key begins, whatever other keys there are.
	if _, _, err := w.Accept(ctx, run{commit: "c", f: 1, day: 2, precision: "bf16"}.document(t), Question{}, false); err != nil {
		t.Error(err)
	}
}

// Accept derives everything from the store as it is when it is written.
func TestAcceptRaces(t *testing.T) {
	w := newWorld(t)
	w.accept(run{commit: "a", f: 1, day: 1})
	raced := &Ledger{racing{w.Store, func() { w.accept(run{commit: "b", f: 1.1, day: 2}, "a") }}}
	c, previous, err := raced.Accept(context.Background(), run{commit: "c", f: 1.2, day: 3}.document(t), Question{Lineage: line("c", "b", "a")}, false)
	if err != nil || commits(c) != "a b c" || previous.Provenance.Commit != hash("b") {
		t.Errorf("%v: history %s", err, commits(c))
	}
}

// racing asks once more, after somebody else wrote.
type racing struct {
	store.Store
	other func()
}

func (s racing) Update(ctx context.Context, message string, change func(store.View) ([]store.Write, error)) (string, error) {
	v, err := s.Snapshot(ctx)
	if err != nil {
		return "", err
	}
	if _, err := change(v); err != nil {
		return "", err
	}
	s.other()
	return s.Store.Update(ctx, message, change)
}

func TestApprove(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	previous := w.accept(run{commit: "a", f: 1, day: 1})
	for i := range previous.Measurements {
		for name, v := range previous.Measurements[i].Metrics {
			v.Spread, v.Runs = 1e-5, 3
			previous.Measurements[i].Metrics[name] = v
		}
	}
	d := run{commit: "feature", f: 3, day: 4}.document(t)
	a, err := w.Ledger.Approve(ctx, d, previous, Approval{Digest: d.Numbers()[:16], By: "ada", Reason: "new kernels", Pull: 12, At: day(5)})
	if err != nil {
		t.Fatal(err)
	}
	if v := value(a); v.Anchor != 3e-3 || v.Spread != 1e-5 || v.Runs != 3 || commits(a) != "a feature" || a.Anchor.ApprovedBy != "ada" {
		t.Errorf("%+v, history %s, anchor %+v", v, commits(a), a.Anchor)
	}
	if got, want := w.paths(), []string{place(t, run{commit: "a", f: 1}), approvedPlace(t, run{commit: "feature", f: 3}, 12)}; !slices.Equal(got, want) {
		t.Errorf("the store has %v, want %v", got, want)
	}
	// Approved once more, the run is still once in the history.
	again, err := w.Ledger.Approve(ctx, d, a, Approval{Digest: d.Numbers()[:16], By: "bob", Reason: "again", Pull: 12, At: day(6)})
	if err != nil || commits(again) != "a feature" || again.Anchor.ApprovedBy != "bob" || value(again).Spread != 1e-5 {
		t.Errorf("%v: history %s, anchor %+v", err, commits(again), again.Anchor)
	}
	before := w.paths()
	for _, tt := range []struct {
		a    Approval
		want string
	}{
		{Approval{Digest: d.Numbers()[:15], By: "ada", Reason: "x"}, "does not name these numbers, which are " + d.Numbers()[:16]},
		{Approval{Digest: strings.Repeat("0", 16), By: "ada", Reason: "x"}, `the digest "0000000000000000" does not name these numbers`},
		{Approval{Digest: d.Numbers(), Reason: "x"}, "an approval says who approves and why"},
		{Approval{Digest: d.Numbers(), By: "ada"}, "an approval says who approves and why"},
		{Approval{Digest: d.Numbers(), By: "ada", Reason: "x", Pull: -1}, "-1 is no number of a pull request"},
		{Approval{Digest: d.Numbers(), By: "ada", Reason: "x", Pull: 1_000_000_000_000}, "1000000000000 is no number of a pull request"},
	} {
		tt.a.At = day(6)
		if err := tt.a.Check(d); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: check gives %v, want %q", tt.a, err, tt.want)
		}
		if got, err := w.Ledger.Approve(ctx, d, nil, tt.a); got != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.a, err, tt.want)
		}
	}
	if !slices.Equal(w.paths(), before) {
		t.Errorf("a refused approval wrote %v", w.paths())
	}
}

// A document from elsewhere brings its numbers, fingerprints and sketches, and
// nothing that would judge or praise it.
func TestApproveForeign(t *testing.T) {
	w := newWorld(t)
	honest := run{commit: "feature", f: 3, day: 4}.document(t)
	forged := run{commit: "feature", f: 3, day: 4}.document(t)
	forged.History = []baseline.Accepted{{Commit: hash("a"), Date: day(1).Format("2006-01-02T15:04:05Z")}, forged.History[0]}
	forged.Anchor = baseline.Anchor{Commit: hash("a"), ApprovedBy: "nobody", Reason: "forged", Digest: strings.Repeat("1", 64)}
	forged.Provenance.ApprovedBy, forged.Provenance.Reason = "nobody", "forged"
	for i := range forged.Measurements {
		for name, v := range forged.Measurements[i].Metrics {
			forged.Measurements[i].Metrics[name] = baseline.Metric{Value: 100 * v.Value, Spread: 1, Runs: 99, Anchor: 100, History: []gate.Value{7, v.Value}}
		}
	}
	if forged.Numbers() != honest.Numbers() {
		t.Fatal("the digest is of more than the run's own numbers: then this test shows nothing")
	}
	of := Approval{Digest: honest.Numbers(), By: "ada", Reason: "new kernels", Pull: 12, At: day(5)}
	want, err := newWorld(t).Ledger.Approve(context.Background(), honest, nil, of)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.Ledger.Approve(context.Background(), forged, nil, of)
	if err != nil || got.Digest() != want.Digest() {
		t.Errorf("%v: a forged document became\n%+v\nwant\n%+v", err, got, want)
	}
	if v := value(got); v.Runs != 1 || !math.IsNaN(float64(v.Spread)) || v.Value != 3e-3 || len(v.History) != 1 {
		t.Errorf("%+v", v)
	}
	if value(forged).Runs != 99 {
		t.Error("the document that was approved has changed")
	}
}

func TestParse(t *testing.T) {
	key, commit, numbers := strings.Repeat("k", 32), strings.Repeat("c", 40), strings.Repeat("e", 32)
	key = strings.ReplaceAll(key, "k", "f")
	for path, want := range map[string]*Entry{
		"v1/" + key + "/" + commit + ".json":                                                  {Key: key, Commit: commit},
		"v1/" + key + "/" + commit + strings.Repeat("c", 24) + ".json":                        {Key: key, Commit: commit + strings.Repeat("c", 24)},
		"v1/" + key + "/approved/0-" + numbers + ".json":                                      {Key: key, Numbers: numbers},
		"v1/" + key + "/approved/12-" + numbers + ".json":                                     {Key: key, Numbers: numbers, Pull: 12},
		"v1/" + key + "/" + commit + "c.json":                                                 nil,
		"v1/" + key + "/" + strings.ToUpper(commit) + ".json":                                 nil,
		"v1/" + key + "/" + commit + ".json.bak":                                              nil,
		"v1/" + key[1:] + "/" + commit + ".json":                                              nil,
		"v2/" + key + "/" + commit + ".json":                                                  nil,
		"v1/" + key + "/approved/" + numbers + ".json":                                        nil,
		"v1/" + key + "/approved/-1-" + numbers + ".json":                                     nil,
		"v1/" + key + "/approved/9999999999999-" + numbers + ".json":                          nil,
		"v1/" + key + "/approved/12-" + numbers[1:] + ".json":                                 nil,
		"x/v1/" + key + "/" + commit + ".json":                                                nil,
		"v1/" + key + "/" + commit + ".json/" + commit + ".json":                              nil,
		"v1/" + key + "/approved/12-" + numbers + ".json\nv1/" + key + "/" + commit + ".json": nil,
	} {
		got, ok := parse(path)
		if ok != (want != nil) {
			t.Errorf("%q is a place: %v", path, ok)
		} else if ok {
			want.Path = path
			if got != *want {
				t.Errorf("%q: %+v, want %+v", path, got, *want)
			}
		}
	}
}

func TestReadPlace(t *testing.T) {
	w := newWorld(t)
	w.approve(run{commit: "feature", f: 2, day: 1}, 12, 1)
	a := w.accept(run{commit: "a", f: 1, day: 1}, "b#12") // its anchor is approved, and it is not
	own := place(t, run{commit: "a", f: 1})
	data, err := w.view().Read(context.Background(), own)
	if err != nil {
		t.Fatal(err)
	}
	other := run{commit: "a", f: 1, precision: "bf16"}.document(t)
	for _, tt := range []struct{ to, want string }{
		{commitPath(a.Key, hash("b")), "it holds the document of " + hash("a")},
		{commitPath(other.Key, hash("a")), "it holds a document of the key " + keyFolder(a.Key)},
		{approvedPath(a.Key, 0, strings.Repeat("0", 64)), "it holds the numbers " + a.Numbers()[:32]},
		{approvedPath(a.Key, 3, a.Numbers()), "it holds a document that nobody approved"},
	} {
		if _, err := w.Store.Update(context.Background(), "m", func(store.View) ([]store.Write, error) {
			return []store.Write{{Path: tt.to, Data: data}}, nil
		}); err != nil {
			t.Fatal(err)
		}
		_, err := Read(context.Background(), w.view(), mustParse(t, tt.to))
		var d *Damaged
		if !errors.As(err, &d) || d.Path != tt.to || d.Err.Error() != tt.want {
			t.Errorf("%s: %v, want %q", tt.to, err, tt.want)
		}
	}
}
