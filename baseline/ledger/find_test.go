package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/baseline/store"
)

// question is what Asker asks for a run.
func question(t testing.TB, x run, pull int, standsOn ...string) Question {
	d := x.document(t)
	q := Question{Key: d.Key, Numbers: d.Numbers(), Head: d.Provenance.Commit, Tree: d.Provenance.Tree, Pull: pull}
	if len(standsOn) > 0 {
		q.Lineage = line(standsOn...)
	}
	return q
}

func TestFind(t *testing.T) {
	head := run{commit: "head", f: 1.5, day: 20}
	a, b, c := run{commit: "a", f: 1, day: 1}, run{commit: "b", f: 1.1, day: 2}, run{commit: "c", f: 1.2, day: 3}
	feature := run{commit: "feature", f: 3, day: 4} // that is approved
	for _, tt := range []struct {
		name     string
		make     func(w *world)
		of       run
		pull     int
		standsOn []string
		want     func(t testing.TB) string // path, "" is none
		distance int
	}{
		{"an empty store", func(*world) {}, head, 0, []string{"b", "a"}, none, 0},
		{"the merge base's", func(w *world) { w.accept(a); w.accept(b, "a") }, head, 0, []string{"b", "a"}, at(b), 0},
		{"the nearest ancestor's", func(w *world) { w.accept(a); w.accept(b, "a") }, head, 0, []string{"d", "c", "b", "a"}, at(b), 2},
		{"the nearest, not the newest", func(w *world) { w.accept(run{commit: "a", f: 1, day: 9}); w.accept(b, "a") }, head, 0, []string{"b", "a"}, at(b), 0},
		{"the nearest of the lineage, not of the store", func(w *world) { w.accept(a); w.accept(c, "a") }, head, 0, []string{"b", "a"}, at(a), 1},
		{"none on the lineage", func(w *world) { w.accept(a) }, head, 0, []string{"c", "b"}, none, 0},
		{"no lineage", func(w *world) { w.accept(a) }, head, 0, nil, none, 0},

		{"approved: its pull request", func(w *world) { w.accept(a); w.approve(feature, 12, 5) }, head, 12, []string{"a"}, approved(feature, 12), -1},
		{"approved: another pull request", func(w *world) { w.accept(a); w.approve(feature, 12, 5) }, head, 13, []string{"a"}, at(a), 0},
		{"approved: its commit", func(w *world) { w.accept(a); w.approve(feature, 0, 5) }, run{commit: "feature", f: 2, day: 6}, 0, []string{"a"}, approved(feature, 0), -1},
		{"approved: its numbers", func(w *world) { w.accept(a); w.approve(feature, 12, 5) }, run{commit: "other", f: 3, day: 6}, 0, []string{"a"}, approved(feature, 12), -1},
		{"approved: without a lineage", func(w *world) { w.approve(feature, 12, 5) }, head, 12, nil, approved(feature, 12), -1},
		{"approved: the last of a pull request", func(w *world) {
			w.approve(feature, 12, 7)
			w.approve(run{commit: "feature", f: 2, day: 4}, 12, 8)
			w.approve(run{commit: "feature", f: 4, day: 4}, 12, 6)
		}, head, 12, []string{"a"}, approved(run{commit: "feature", f: 2, day: 4}, 12), -1},
		{"approved: the pull request before the numbers", func(w *world) { w.approve(feature, 12, 5); w.approve(head, 0, 6) }, head, 12, []string{"a"}, approved(feature, 12), -1},
		{"approved of no commit counts for no commit", func(w *world) { w.accept(a); w.approve(run{commit: "", f: 3, day: 4}, 0, 5) }, run{commit: "", f: 2, day: 6}, 0, []string{"a"}, at(a), 0},

		{"merged by number", func(w *world) { w.accept(a); w.approve(feature, 12, 5) }, head, 0, []string{"c", "b#12", "a"}, approved(feature, 12), 1},
		{"merged by another number", func(w *world) { w.accept(a); w.approve(feature, 12, 5) }, head, 0, []string{"c", "b#1", "a"}, at(a), 2},
		{"merged without a number, never 0", func(w *world) { w.accept(a); w.approve(feature, 0, 5) }, head, 0, []string{"b#0", "a"}, at(a), 1},
		{"merged with the same files", func(w *world) { w.accept(a); w.approve(feature, 0, 5) }, head, 0, []string{"b=feature", "a"}, approved(feature, 0), 0},
		{"merged as it is", func(w *world) { w.accept(a); w.approve(feature, 0, 5) }, head, 0, []string{"c", "feature", "a"}, approved(feature, 0), 1},
		{"merged as it is, its files unknown", func(w *world) { w.accept(a); w.approve(feature, 0, 5) }, head, 0, []string{"c=?", "feature=?", "a"}, approved(feature, 0), 1},
		{"files unknown of both", func(w *world) { w.accept(a); w.approve(run{f: 3, day: 4}, 0, 5) }, head, 0, []string{"c=?", "a"}, at(a), 1},
		{"merged by the commit itself", func(w *world) { w.accept(a); w.approve(feature, 12, 5) }, run{commit: "b", f: 2, day: 6}, 0, []string{"b#12", "a"}, approved(feature, 12), -1},
		{"approved on the branch", func(w *world) { w.accept(a); w.approve(feature, 0, 5) }, feature, 0, []string{"feature", "a"}, approved(feature, 0), -1},
		{"merged, and measured since", func(w *world) { w.accept(a); w.approve(feature, 12, 5); w.accept(run{commit: "b", f: 3, day: 6}, "a") }, head, 0, []string{"b#12", "a"}, at(b), 0},
		{"merged long ago", func(w *world) { w.accept(a); w.approve(feature, 12, 5); w.accept(c, "b#12", "a") }, head, 0, []string{"c", "b#12", "a"}, at(c), 0},

		// An approval ends where the branch takes it in.
		{"back to the approved numbers", func(w *world) {
			w.accept(a)
			w.approve(feature, 12, 5)
			w.accept(run{commit: "c", f: 1, day: 7}, "b#12", "a")
			w.accept(run{commit: "c", f: 1, day: 7}, "b#12", "a") // twice: it still follows
		}, run{commit: "other", f: 3, day: 8}, 0, []string{"c", "b#12", "a"}, at(c), 0},
		{"back, once it was merged", func(w *world) {
			w.accept(a)
			w.approve(feature, 12, 5)
			w.accept(run{commit: "b", f: 3, day: 6}, "a") // by its numbers
			w.accept(run{commit: "c", f: 1, day: 7}, "b", "a")
		}, run{commit: "other", f: 3, day: 8}, 0, []string{"c", "b", "a"}, at(c), 0},
		{"back to what was approved before another", func(w *world) {
			w.accept(a)
			w.approve(feature, 12, 5)
			w.approve(run{commit: "later", f: 2, day: 6}, 13, 6)
			w.accept(run{commit: "c", f: 2, day: 7}, "b#13", "a")
		}, run{commit: "other", f: 3, day: 8}, 0, []string{"c", "b", "a"}, at(c), 0},
		{"back to the approved files, on the branch", func(w *world) {
			w.accept(a)
			w.approve(feature, 12, 5)
			w.accept(run{commit: "c", f: 1, day: 7}, "b#12", "a")
		}, run{commit: "d", f: 2, day: 8}, 0, []string{"d=feature", "c", "b#12", "a"}, at(c), 1},
		{"back to the approved files, and merged", func(w *world) {
			w.accept(a)
			w.approve(feature, 12, 5)
			w.accept(run{commit: "c", f: 1, day: 7}, "b#12", "a")
		}, head, 0, []string{"e", "d=feature", "c", "b#12", "a"}, at(c), 2},
		{"a first baseline ends no approval", func(w *world) { w.approve(feature, 12, 5); w.accept(run{commit: "a", f: 1, day: 9}) },
			run{commit: "other", f: 3, day: 10}, 0, []string{"a"}, approved(feature, 12), -1},
		{"an earlier approval ends none", func(w *world) {
			w.approve(run{commit: "early", f: 2, day: 1}, 11, 2)
			w.accept(run{commit: "a", f: 2, day: 3})
			w.approve(feature, 12, 5)
		}, run{commit: "other", f: 3, day: 10}, 0, []string{"a"}, approved(feature, 12), -1},
		{"nor does a later one end a pull request's own", func(w *world) {
			w.approve(feature, 12, 5)
			w.approve(run{commit: "later", f: 2, day: 6}, 13, 6)
			w.accept(run{commit: "c", f: 2, day: 7}, "b#13", "a")
		}, head, 12, []string{"c"}, approved(feature, 12), -1},

		{"another key", func(w *world) { w.accept(run{commit: "a", f: 1, day: 1, precision: "bf16"}) }, head, 0, []string{"b", "a"}, at(run{commit: "a", f: 1, day: 1, precision: "bf16"}), 1},
		{"the own key before a nearer other", func(w *world) { w.accept(a); w.accept(run{commit: "b", f: 1, day: 1, precision: "bf16"}) }, head, 0, []string{"b", "a"}, at(a), 1},
		{"of other keys, one of the same engines", func(w *world) {
			w.accept(run{commit: "b", f: 1, day: 1, prompts: "sonnet"})
			w.accept(run{commit: "a", f: 1, day: 1, precision: "bf16"})
		}, head, 0, []string{"b", "a"}, at(run{commit: "a", f: 1, day: 1, precision: "bf16"}), 1},
		{"of other keys, the nearest", func(w *world) {
			w.accept(run{commit: "b", f: 1, day: 1, prompts: "sonnet"})
			w.accept(run{commit: "a", f: 1, day: 1, prompts: "ode"})
		}, head, 0, []string{"b", "a"}, at(run{commit: "b", f: 1, day: 1, prompts: "sonnet"}), 0},
		{"of other keys, that of the fewest differences", func(w *world) {
			w.accept(run{commit: "b", f: 1, day: 1, prompts: "sonnet", precision: "bf16"})
			w.accept(run{commit: "a", f: 1, day: 1, prompts: "ode"})
			w.accept(run{commit: "c", f: 1, day: 1, prompts: "sonnet", precision: "bf16"})
		}, head, 0, []string{"b", "a", "c"}, at(run{commit: "a", f: 1, day: 1, prompts: "ode"}), 1},
		{"an approval of another key", func(w *world) { w.approve(run{commit: "feature", f: 3, day: 4, precision: "bf16"}, 12, 5) }, head, 12, []string{"feature"}, none, 0},
		{"another driver is the same key", func(w *world) { w.accept(run{commit: "a", f: 1, day: 1, driver: "570"}) }, head, 0, []string{"a"}, at(a), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.make(w)
			f, err := Find(context.Background(), w.view(), question(t, tt.of, tt.pull, tt.standsOn...))
			if err != nil {
				t.Fatal(err)
			}
			got, distance := "", 0
			if f != nil {
				got, distance = f.Entry.Path, f.Distance
				if f.Document.Key.Digest()[:32] != f.Entry.Key {
					t.Errorf("the document is not that of %s", got)
				}
			}
			if want := tt.want(t); got != want || distance != tt.distance {
				t.Errorf("found %q, %d back; want %q, %d back; the store has\n%s", got, distance, want, tt.distance, strings.Join(w.paths(), "\n"))
			}
		})
	}
}

func none(testing.TB) string { return "" }

func at(x run) func(testing.TB) string { return func(t testing.TB) string { return place(t, x) } }

func approved(x run, pull int) func(testing.TB) string {
	return func(t testing.TB) string { return approvedPlace(t, x, pull) }
}

// A damaged document that would have been it is an error, and never another in
// its place; one that would not have been it changes nothing.
func TestFindDamaged(t *testing.T) {
	head := run{commit: "head", f: 1.5, day: 20}
	a, b := run{commit: "a", f: 1, day: 1}, run{commit: "b", f: 1.1, day: 2}
	feature := run{commit: "feature", f: 3, day: 4}
	bf16 := run{commit: "b", f: 1, day: 1, precision: "bf16"}
	for _, tt := range []struct {
		name     string
		damaged  func(testing.TB) string
		of       run
		pull     int
		standsOn []string
		want     func(testing.TB) string // nil is an error
		told     bool
	}{
		{"the nearest", at(b), head, 0, []string{"b", "a"}, nil, false},
		{"one behind the nearest", at(a), head, 0, []string{"b", "a"}, at(b), false},
		{"one of another line", at(b), head, 0, []string{"a"}, at(a), false},
		{"one of another key", at(bf16), head, 0, []string{"b", "a"}, at(b), false},
		{"the approval of the pull request", approved(feature, 12), head, 12, []string{"b", "a"}, nil, false},
		{"the approval of the numbers", approved(feature, 12), run{commit: "other", f: 3, day: 1}, 0, []string{"b", "a"}, nil, false},
		{"the approval that was merged", approved(feature, 12), head, 0, []string{"d#12", "a"}, nil, false},
		{"the approval that was merged before", approved(feature, 12), head, 0, []string{"b", "d#12", "a"}, at(b), true},
		{"an approval of who knows which commit", approved(feature, 12), head, 0, []string{"b", "a"}, at(b), true},
		{"an approval of another pull request", approved(feature, 12), head, 13, []string{"b", "a"}, at(b), true},
		{"the nearest, beside an approval of the pull request", at(b), head, 14, []string{"b", "a"}, approved(run{commit: "feature", f: 4, day: 4}, 14), false},
		// Whether the branch took it in cannot be told any more.
		{"the nearest, beside an approval of the numbers", at(b), run{commit: "other", f: 4, day: 4}, 0, []string{"b", "a"}, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.accept(a)
			w.accept(b, "a")
			w.accept(bf16, "a")
			w.approve(feature, 12, 5)
			w.approve(run{commit: "feature", f: 4, day: 4}, 14, 5)
			bad := tt.damaged(t)
			w.damage(bad)
			q := question(t, tt.of, tt.pull, tt.standsOn...)
			var told []string
			q.Damaged = func(d *Damaged) { told = append(told, d.Path) }
			f, err := Find(context.Background(), w.view(), q)
			var damaged *Damaged
			switch {
			case tt.want == nil && (!errors.As(err, &damaged) || damaged.Path != bad || !strings.Contains(err.Error(), bad+": damaged or changed by hand") || f != nil):
				t.Errorf("found %+v, %v; want an error of %s", f, err, bad)
			case tt.want != nil && (err != nil || f == nil || f.Entry.Path != tt.want(t)):
				t.Errorf("found %+v, %v; want %s", f, err, tt.want(t))
			}
			if want := map[bool]string{true: "[" + bad + "]", false: "[]"}[tt.told]; fmt.Sprint(told) != want {
				t.Errorf("told of %v, want %s", told, want)
			}
		})
	}
}

// brokenView cannot be read.
type brokenView struct {
	store.View
	list, read error
}

func (v brokenView) List(ctx context.Context, folder string) ([]string, error) {
	if v.list != nil {
		return nil, v.list
	}
	return v.View.List(ctx, folder)
}

func (v brokenView) Read(ctx context.Context, path string) ([]byte, error) {
	if v.read != nil {
		return nil, v.read
	}
	return v.View.Read(ctx, path)
}

// A store that cannot be read is neither damaged nor without a baseline.
func TestFindUnreadable(t *testing.T) {
	w := newWorld(t)
	w.accept(run{commit: "a", f: 1, day: 1})
	w.approve(run{commit: "feature", f: 3, day: 4}, 12, 5)
	gone := errors.New("the network is gone")
	head := run{commit: "head", f: 1.5, day: 20}
	for name, tt := range map[string]struct {
		view brokenView
		q    Question
	}{
		"list":        {brokenView{w.view(), gone, nil}, question(t, head, 0, "a")},
		"a document":  {brokenView{w.view(), nil, gone}, question(t, head, 0, "a")},
		"an approval": {brokenView{w.view(), nil, gone}, question(t, head, 12, "b")},
		"another key": {brokenView{w.view(), nil, gone}, question(t, run{commit: "head", f: 1, day: 1, precision: "bf16"}, 0, "a")},
	} {
		f, err := Find(context.Background(), tt.view, tt.q)
		var d *Damaged
		if f != nil || !errors.Is(err, gone) || errors.As(err, &d) {
			t.Errorf("%s: found %v, %v", name, f, err)
		}
	}
	// What was removed after it was listed is not there.
	if f, err := Find(context.Background(), brokenView{w.view(), nil, os.ErrNotExist}, question(t, head, 12, "a")); f != nil || err != nil {
		t.Errorf("removed: %v, %v", f, err)
	}
}

// unreadable is a store whose documents cannot be read.
type unreadable struct{ store.Store }

func (s unreadable) Snapshot(ctx context.Context) (store.View, error) {
	v, err := s.Store.Snapshot(ctx)
	return brokenView{v, nil, errors.New("the network is gone")}, err
}
