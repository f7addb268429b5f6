package gate

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/paritygate/paritygate/gate/oracle"
)

// docs/oracle.md names every profile once, in their order, and the limits.
func TestOracleDocs(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "docs", "oracle.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	_, rest, ok := strings.Cut(text, "## Profiles\n")
	section, _, closed := strings.Cut(rest, "\n## ")
	if !ok || !closed {
		t.Fatal("no section Profiles")
	}
	var listed, want []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(section, -1) {
		listed = append(listed, m[1])
	}
	for _, p := range oracle.Profiles() {
		want = append(want, p.Name)
	}
	if !slices.Equal(listed, want) {
		t.Errorf("profiles %q, want %q", listed, want)
	}
	for _, who := range []struct {
		words string
		times times
	}{{"`precision`, or the adapter's settings", declared}, {"the engine's own words", guessed}} {
		row := fmt.Sprintf("| %s | %g × | %g × |", who.words, who.times.local, who.times.explained)
		if !strings.Contains(text, row) {
			t.Errorf("no row %q", row)
		}
	}
	for _, kind := range []string{"local_error", "unexplained_error", "reference_drifted", "oracle_differs"} {
		if !strings.Contains(text, "| `"+kind+"` |") {
			t.Errorf("kind %s is not explained", kind)
		}
	}
}
