package engine_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/oracle"
)

var updateDocs = flag.Bool("update", false, "write the table of precision profiles in docs/engines.md")

// TestDocsProfiles holds docs/engines.md to the profiles and their fields;
// -update rewrites the table of profiles.
func TestDocsProfiles(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "engines.md")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const head, end = "| profile | is |\n|---|---|\n", "\nFields take a format"
	before, rest, ok := strings.Cut(string(b), head)
	table, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("no table of profiles in %s", file)
	}
	var want strings.Builder
	for _, p := range oracle.Profiles() {
		fmt.Fprintf(&want, "| `%s` | %s |\n", p.Name, p.Doc)
	}
	if *updateDocs {
		if err := os.WriteFile(file, []byte(before+head+want.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if table != want.String() {
		t.Errorf("%s has\n%s\nwant (-update writes it)\n%s", file, table, want.String())
	}
	fields := reflect.TypeFor[oracle.Profile]()
	for i := range fields.NumField() {
		name, _, _ := strings.Cut(fields.Field(i).Tag.Get("json"), ",")
		if name != "name" && name != "doc" && !strings.Contains(after, "| `"+name+"` | ") {
			t.Errorf("%s does not explain the field %s", file, name)
		}
	}
}
