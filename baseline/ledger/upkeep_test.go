package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rewrite changes a file of the store.
func (w *world) rewrite(path string, change func([]byte) []byte) {
	w.Helper()
	b, err := os.ReadFile(w.file(path))
	if err != nil {
		b = nil
	}
	if err := os.MkdirAll(filepath.Dir(w.file(path)), 0o755); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(w.file(path), change(b), 0o644); err != nil {
		w.Fatal(err)
	}
}

func TestVerify(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	if right, damaged, err := w.Verify(ctx); right != 0 || damaged != nil || err != nil {
		t.Errorf("an empty store: %d, %v, %v", right, damaged, err)
	}
	at := map[string]string{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		w.accept(run{commit: name, f: 1, day: 1})
		at[name] = place(t, run{commit: name, f: 1})
	}
	w.approve(run{commit: "feature", f: 3, day: 4}, 12, 5)
	if right, damaged, err := w.Verify(ctx); right != 8 || damaged != nil || err != nil {
		t.Errorf("a sound store: %d, %v, %v", right, damaged, err)
	}
	whole, err := os.ReadFile(w.file(at["a"]))
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(at["a"])
	w.damage(at["a"])
	w.rewrite(at["b"], func(b []byte) []byte { return b[:len(b)/2] })
	w.rewrite(at["c"], func([]byte) []byte { return nil })
	w.rewrite(at["d"], func(b []byte) []byte { return bytes.Replace(b, []byte(`baseline": 1,`), []byte(`baseline": 2,`), 1) })
	w.rewrite(at["e"], func([]byte) []byte { return whole }) // of commit a
	w.rewrite(at["f"], func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) })
	w.rewrite(folder+"/notes.txt", func([]byte) []byte { return []byte("x") })
	w.rewrite(folder+"/approved/0-"+strings.Repeat("0", 32)+".json", func([]byte) []byte { return whole })
	want := map[string]string{
		at["a"]:               "damaged or changed by hand: its digest says",
		at["b"]:               "the file is cut off",
		at["c"]:               "line 1: the file is empty",
		at["d"]:               "version 2 of the format: this paritygate reads version 1",
		at["e"]:               "it holds the document of " + hash("a"),
		at["f"]:               "line 1: not as paritygate writes it",
		folder + "/notes.txt": "this is no baseline's place",
		folder + "/approved/0-" + strings.Repeat("0", 32) + ".json": "it holds the numbers ",
	}
	right, damaged, err := w.Verify(ctx)
	if right != 2 || err != nil || len(damaged) != len(want) {
		t.Errorf("%d are right, %v", right, err)
	}
	for _, d := range damaged {
		if !strings.Contains(d.Err.Error(), want[d.Path]) || want[d.Path] == "" || d.Error() != d.Path+": "+d.Err.Error() {
			t.Errorf("%s, want %q", d, want[d.Path])
		}
	}
	if !slices.IsSortedFunc(damaged, func(a, b *Damaged) int { return strings.Compare(a.Path, b.Path) }) {
		t.Error("not in the order of their paths")
	}
}

// A store that does not answer says nothing of its documents.
func TestVerifyUnreadable(t *testing.T) {
	w := newWorld(t)
	w.accept(run{commit: "a", f: 1, day: 1})
	l := &Ledger{unreadable{w.Store}}
	if right, damaged, err := l.Verify(context.Background()); err == nil || right != 0 || damaged != nil {
		t.Errorf("%d, %v, %v", right, damaged, err)
	}
}

func TestCollect(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	var places []string
	standsOn := []string{}
	for i, name := range []string{"a", "b", "c", "d", "e"} {
		w.accept(run{commit: name, f: 1, day: 10 + i}, standsOn...)
		places = append(places, place(t, run{commit: name, f: 1}))
		standsOn = append([]string{name}, standsOn...)
	}
	w.accept(run{commit: "a", f: 1, day: 1, precision: "bf16"}) // a key of few
	old, edge, late := run{commit: "feature", f: 2, day: 2}, run{commit: "feature", f: 3, day: 2}, run{commit: "feature", f: 4, day: 2}
	w.approve(old, 1, 12)                                 // before d was measured, on day 13
	w.approve(run{commit: "feature", f: 5, day: 2}, 4, 9) // before a
	w.approve(edge, 2, 13)
	w.approve(late, 0, 20)
	all := w.paths()
	surplus := append(slices.Clone(places[:3]), approvedPlace(t, old, 1), approvedPlace(t, run{commit: "feature", f: 5}, 4))
	slices.Sort(surplus)
	for _, tt := range []struct {
		keep int
		dry  bool
		want []string
	}{
		{5, false, nil},
		{100, false, nil},
		{2, true, surplus},
		{2, false, surplus},
		{2, false, nil},
	} {
		removed, err := w.Collect(ctx, tt.keep, tt.dry)
		if err != nil || !slices.Equal(removed, tt.want) {
			t.Errorf("keep %d, dry %v: removed %v, %v; want %v", tt.keep, tt.dry, removed, err, tt.want)
		}
		if !tt.dry {
			all = slices.DeleteFunc(all, func(p string) bool { return slices.Contains(tt.want, p) })
		}
		if got := w.paths(); !slices.Equal(got, all) {
			t.Errorf("keep %d, dry %v: the store has %v, want %v", tt.keep, tt.dry, got, all)
		}
	}
	// Nothing is removed where not all could be read.
	if removed, err := (&Ledger{unreadable{w.Store}}).Collect(ctx, 1, true); err == nil || removed != nil {
		t.Errorf("of a store that cannot be read: %v, %v", removed, err)
	}
	// What is damaged stays.
	w.damage(places[4])
	removed, err := w.Collect(ctx, 1, false)
	if err != nil || len(removed) != 0 {
		t.Errorf("removed %v, %v", removed, err)
	}
}

// A dry run makes nothing, not even the folder of the store.
func TestCollectNothing(t *testing.T) {
	w := newWorld(t)
	if removed, err := w.Collect(context.Background(), 1, true); len(removed) != 0 || err != nil {
		t.Errorf("%v, %v", removed, err)
	}
	if _, err := os.Stat(w.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the store was made: %v", err)
	}
}

func TestNewest(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	a := w.accept(run{commit: "a", f: 1, day: 9})
	w.accept(run{commit: "b", f: 1, day: 3}, "a")
	w.approve(run{commit: "feature", f: 3, day: 20}, 12, 21) // newer, and no commit of the branch
	only := w.approve(run{commit: "feature", f: 3, day: 20, precision: "bf16"}, 12, 21)
	newest, entries, err := Newest(ctx, w.view(), "")
	if err != nil || len(newest) != 2 || len(entries) != 4 {
		t.Fatalf("%d keys, %d entries, %v", len(newest), len(entries), err)
	}
	if d := newest[keyFolder(a.Key)]; d.Provenance.Commit != hash("a") {
		t.Errorf("the newest is of %s", d.Provenance.Commit)
	}
	if d := newest[keyFolder(only.Key)]; d.Digest() != only.Digest() {
		t.Errorf("a key that was only approved: %v", d)
	}
	if newest, entries, err := Newest(ctx, w.view(), keyFolder(a.Key)[:8]); err != nil || len(newest) != 1 || len(entries) != 3 {
		t.Errorf("by prefix: %d keys, %d entries, %v", len(newest), len(entries), err)
	}
	w.damage(place(t, run{commit: "a", f: 1}))
	newest, _, err = Newest(ctx, w.view(), "")
	if err != nil || newest[keyFolder(a.Key)].Provenance.Commit != hash("b") {
		t.Errorf("beside a damaged one: %v, %v", newest, err)
	}
	if _, _, err := Newest(ctx, brokenView{w.view(), nil, fmt.Errorf("gone")}, ""); err == nil {
		t.Error("a store that cannot be read has a newest")
	}
}
