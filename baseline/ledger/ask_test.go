package ledger

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/paritygate/paritygate/baseline"
	"github.com/paritygate/paritygate/baseline/lineage"
	"github.com/paritygate/paritygate/baseline/store"
	"github.com/paritygate/paritygate/gate"
)

// ask holds a run against the ledger.
func ask(t testing.TB, l *Ledger, x run, pull int, on *lineage.Lineage) *gate.Baseline {
	t.Helper()
	a := &Asker{Ledger: l, Lineage: on, Tree: x.provenance().Tree, Pull: pull, Imprint: x.imprint(t), Provenance: func(*gate.Result) baseline.Provenance { return x.provenance() }}
	return a.Ask(context.Background(), x.result())
}

// limited is a lineage with a note.
func limited(l *lineage.Lineage, note string) *lineage.Lineage {
	l.Note = note
	return l
}

// TestAsk holds every state to the very sentence that says why.
func TestAsk(t *testing.T) {
	head := run{commit: "head", f: 1.5, day: 20}
	a, b := run{commit: "a", f: 1, day: 1}, run{commit: "b", f: 1.1, day: 2}
	feature := run{commit: "feature", f: 3, day: 4}
	both := func(w *world) { w.accept(a); w.accept(b, "a") }
	A, B, D := hash("a")[:12], hash("b")[:12], hash("d")[:12]
	for _, tt := range []struct {
		name     string
		make     func(w *world)
		of       run
		pull     int
		on       *lineage.Lineage
		state    gate.BaselineState
		commit   string
		distance int
		why      string // STORE is the store's name
	}{
		{"an empty store", func(*world) {}, head, 0, line("a"), gate.BaselineNone, "", -1,
			"STORE holds no baseline yet: paritygate baseline update makes the first on the branch"},
		{"an unknown lineage", both, head, 0, nil, gate.BaselineNone, "", -1, "it is not known what this change stands on"},
		{"nothing in common", both, head, 0, limited(line(), "main and x have no commit in common"), gate.BaselineNone, "", -1,
			"this change stands on no commit with a baseline; main and x have no commit in common"},
		{"one commit", both, head, 0, line("d"), gate.BaselineNone, "", -1, "the only commit that this change stands on, " + D + ", has none"},
		{"three commits", both, head, 0, line("d", "x", "y"), gate.BaselineNone, "", -1, "none of the 3 commits that this change stands on has one, from " + D + " on back"},
		{"not all commits", both, head, 0, limited(line("d", "x"), "only the newest 2 commits were looked at"), gate.BaselineNone, "", -1,
			"none of the 2 commits that this change stands on has one, from " + D + " on back; only the newest 2 commits were looked at"},
		{"other prompts", both, run{commit: "head", f: 1, day: 20, prompts: "sonnet"}, 0, line("b", "a"), gate.BaselineNone, "", -1,
			"no baseline is stored for what this run measured: the nearest, of " + B + ", is of another: prompts PROMPTS, here SONNET"},
		{"another precision", both, run{commit: "head", f: 1, day: 20, precision: "bf16"}, 0, line("b", "a"), gate.BaselineIncomparable, "b", 0,
			"it was measured under other conditions: the candidate's precision was f16 and is bf16"},
		{"another GPU", both, run{commit: "head", f: 1, day: 20, gpu: "NVIDIA A100"}, 0, line("d", "a"), gate.BaselineIncomparable, "a", 1,
			"it was measured under other conditions: the candidate's device was NVIDIA H100 and is NVIDIA A100"},
		{"another driver", both, run{commit: "head", f: 1, day: 20, driver: "590.2"}, 0, line("b", "a"), gate.BaselineIncomparable, "b", 0,
			"it was measured under other conditions: the driver was 580.1 and is 590.2"},
		{"damaged", func(w *world) { both(w); w.damage(place(w, b)) }, head, 0, line("b", "a"), gate.BaselineInvalid, "", -1, "PATH: damaged or changed by hand"},

		{"the merge base's", both, head, 0, line("b", "a"), gate.BaselineCompared, "b", 0, ""},
		{"one before", both, head, 0, line("d", "a"), gate.BaselineCompared, "a", 1, "one commit before " + D + ", which has none of its own"},
		{"two before", both, head, 0, line("d", "x", "a"), gate.BaselineCompared, "a", 2, "2 commits before " + D + ": those between have none"},
		{"approved", func(w *world) { both(w); w.approve(feature, 12, 5) }, head, 12, line("b", "a"), gate.BaselineCompared, "feature", -1, "approved for this change"},
		{"merged", func(w *world) { both(w); w.approve(feature, 12, 5) }, head, 0, line("d#12", "b"), gate.BaselineCompared, "feature", 0, "approved, and merged by " + D},
		{"merged before", func(w *world) { both(w); w.approve(feature, 12, 5) }, head, 0, line("d", "x#12", "b"), gate.BaselineCompared, "feature", 1,
			"approved, and merged one commit before " + D},
		{"merged long before", func(w *world) { both(w); w.approve(feature, 12, 5) }, head, 0, line("d", "x", "y=feature", "b"), gate.BaselineCompared, "feature", 2,
			"approved, and merged 2 commits before " + D},
		{"beside a damaged approval", func(w *world) { both(w); w.approve(feature, 12, 5); w.damage(approvedPlace(w, feature, 12)) }, head, 0, line("d", "a"), gate.BaselineCompared, "a", 1,
			"one commit before " + D + ", which has none of its own; an approval that might have counted is damaged: APPROVED: damaged or changed by hand"},
		{"nothing but a damaged approval", func(w *world) { w.approve(feature, 12, 5); w.damage(approvedPlace(w, feature, 12)) }, head, 0, line("a"), gate.BaselineNone, "", -1,
			"the only commit that this change stands on, " + A + ", has none; an approval that might have counted is damaged: APPROVED: damaged or changed by hand"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.make(w)
			got := ask(t, w.Ledger, tt.of, tt.pull, tt.on)
			why := strings.NewReplacer("STORE", w.Store.String(), "PROMPTS", a.document(t).Key.Prompts[:12], "SONNET", tt.of.document(t).Key.Prompts[:12],
				"PATH", place(t, b), "APPROVED", approvedPlace(t, feature, 12)).Replace(tt.why)
			// A damaged document says behind that which digest it has.
			if exact := !strings.HasSuffix(why, "damaged or changed by hand"); got.Why != why && exact || !strings.HasPrefix(got.Why, why) {
				t.Errorf("why: %q\nwant %q", got.Why, why)
			}
			commit := ""
			if tt.commit != "" {
				commit = hash(tt.commit)
			}
			if got.State != tt.state || got.Commit != commit || got.Distance != tt.distance || got.Store != w.Store.String() {
				t.Errorf("%s of %q, %d back, in %s; want %s of %q, %d back", got.State, got.Commit, got.Distance, got.Store, tt.state, commit, tt.distance)
			}
			d := tt.of.document(t)
			if got.Key != d.Key.Digest() || got.Proposed != d.Numbers() {
				t.Errorf("key %s, proposed %s", got.Key, got.Proposed)
			}
			compared := tt.state == gate.BaselineCompared
			if compared != (len(got.Deltas) > 0) || compared != (got.BitIdentical.Of == 3) || (got.Anchor != nil) != (commit != "") || (len(got.Differences) > 0) != (tt.state == gate.BaselineIncomparable) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// What is compared is this run with that document.
func TestAskCompares(t *testing.T) {
	w := newWorld(t)
	w.accept(run{commit: "a", f: 1, day: 1})
	w.accept(run{commit: "b", f: 1.1, day: 2}, "a")
	b := ask(t, w.Ledger, run{commit: "head", f: 1.65, day: 4}, 0, line("b", "a"))
	d := b.Deltas[0]
	if d.Base != 1.1e-3 || math.Abs(float64(d.Head)-1.65e-3) > 1e-12 || d.Anchor != 1e-3 || math.Abs(float64(d.Share)-0.5) > 1e-9 || !(d.Moved > 0.1) || len(d.History) != 2 {
		t.Errorf("%+v", d)
	}
	if b.AgeS != gate.Value((2*24*time.Hour).Seconds()) || b.BitIdentical.Same != 0 || b.Anchor.Commit != hash("a") {
		t.Errorf("age %v, %+v, anchor %+v", b.AgeS, b.BitIdentical, b.Anchor)
	}
	if b := ask(t, w.Ledger, run{commit: "head", f: 1.1, day: 4}, 0, line("b", "a")); b.BitIdentical.Same != 3 || b.Deltas[0].Moved != 0 {
		t.Errorf("the same bits: %+v, %+v", b.BitIdentical, b.Deltas[0])
	}
}

// A run whose candidate crashed does not claim to be of other prompts or engines.
func TestAskOfNothing(t *testing.T) {
	w := newWorld(t)
	w.accept(run{commit: "a", f: 1, day: 1})
	x := run{commit: "head", f: 1, day: 2}
	r := x.result()
	r.Prompts[0].SHA256, r.Engines.Candidate, r.Checkpoints = "", gate.EngineInfo{Adapter: "exec", Failure: "crashed"}, nil
	a := &Asker{Ledger: w.Ledger, Lineage: line("a"), Provenance: func(*gate.Result) baseline.Provenance { return x.provenance() }}
	if b := a.Ask(context.Background(), r); b.State != gate.BaselineNone || b.Why != "this run measured nothing that could be held against a baseline" || b.Proposed != "" {
		t.Errorf("%s, %q, proposed %q", b.State, b.Why, b.Proposed)
	}
}

// A store that does not answer is invalid, never without a baseline.
func TestAskUnreadable(t *testing.T) {
	w := newWorld(t)
	w.accept(run{commit: "a", f: 1, day: 1})
	head := run{commit: "head", f: 1, day: 2}
	file, err := store.Open("dir:"+filepath.Join(w.dir, filepath.FromSlash(place(t, run{commit: "a", f: 1}))), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		s    store.Store
		want string
	}{
		"a snapshot": {file, "baseline store " + file.String() + ": it is no folder"},
		"a document": {unreadable{w.Store}, "the network is gone"},
		"the list":   {unlisted{w.Store}, "no list"},
	} {
		b := ask(t, &Ledger{tt.s}, head, 0, line("a"))
		if b.State != gate.BaselineInvalid || b.Why != tt.want || b.Proposed == "" || b.Key == "" || b.Distance != -1 || b.Store != tt.s.String() {
			t.Errorf("%s: %+v", name, b)
		}
	}
}

type unlisted struct{ store.Store }

func (s unlisted) Snapshot(ctx context.Context) (store.View, error) {
	v, err := s.Store.Snapshot(ctx)
	return brokenView{v, errors.New("no list"), nil}, err
}
