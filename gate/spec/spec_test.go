package spec

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file, or rewrites the file under -update.
func golden(t *testing.T, file string, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("differs from %s (-want +got; -update rewrites it):\n%s", file, diff)
	}
}

// files are the YAML files of a folder of testdata.
func files(t *testing.T, folder string, atLeast int) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < atLeast {
		t.Fatalf("%d files in testdata/%s, want at least %d", len(found), folder, atLeast)
	}
	return found
}

// dump is a spec as JSON, with the folder it was read from written as
// DIR and the one above as PARENT.
func dump(t *testing.T, s *Spec, folder string) string {
	t.Helper()
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	abs, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(b), abs, "DIR")
	return strings.ReplaceAll(text, filepath.Dir(abs), "PARENT") + "\n"
}

func TestValid(t *testing.T) {
	for _, file := range files(t, "ok", 1) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s, err := Load(file)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", dump(t, s, filepath.Dir(file)))
		})
	}
}

func TestInvalid(t *testing.T) {
	for _, file := range files(t, "err", 60) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, err := Load(file)
			var all Errors
			if !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("got %v, want Errors", err)
			}
			want := 1
			if filepath.Base(file) == "many.yaml" {
				want = 7
			}
			if len(all) != want {
				t.Errorf("%d errors, want %d: one mistake, one error", len(all), want)
			}
			for _, e := range all {
				if e.Line < 1 || e.Column < 1 {
					t.Errorf("no place: %v", e)
				}
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".err", err.Error()+"\n")
		})
	}
}
