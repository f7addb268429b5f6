package history

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// bisect looks for the commits that moved what the table says, over main's history.
func (l *life) bisect() {
	half := stop / 2 // the first step beyond the middle of stop − 1, by the error's order of magnitude
	for _, tt := range []struct {
		good, bad string
		args      []string
		number    int
	}{
		{"v0.2", "v0.4", nil, fused + stop + 1},
		{"v0.1", "v0.3", []string{"--checkpoint", "final_norm"}, fused},
		{"v0.2", "v0.3", []string{"--checkpoint", "final_norm"}, fused + half},
	} {
		code, stdout, stderr := l.paritygate(append([]string{"bisect", tt.good, tt.bad, "--spec", l.spec()}, tt.args...)...)
		if want := l.by[tt.number] + " is the first commit"; code != 0 || !strings.HasPrefix(stdout, want) {
			l.t.Errorf("bisect %s %s %v: exit %d, want %q, which is pull request %d\n%s%s", tt.good, tt.bad, tt.args, code, want, tt.number, stdout, stderr)
		}
		l.t.Logf("bisect %s %s %s\n%s", tt.good, tt.bad, strings.Join(tt.args, " "), stdout)
	}
	if left, err := filepath.Glob(filepath.Join(l.dir, ".git", "worktrees", "*")); err != nil || len(left) > 0 {
		l.t.Errorf("worktrees left: %v %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(l.dir, ".git", "BISECT_LOG")); err == nil {
		l.t.Error("the checkout is left in a bisection")
	}
}

// documented checks that the documentation tells of every pull request what the
// table does, but for numbers that are the processor's; of the creep, how it ends.
func (l *life) documented() {
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "baseline.md"))
	if err != nil {
		l.t.Fatal(err)
	}
	for i, row := range l.rows {
		cell := strings.Split(row, "\t")
		if n := i + 1; n > fused && n < fused+stop {
			continue
		}
		if want := fmt.Sprintf("\n| %s | %s | %s | %s | %s |", cell[0], cell[1], cell[2], cell[3], cell[4]); !strings.Contains(string(data), want) {
			l.t.Errorf("docs/baseline.md has no row %q", want)
		}
	}
}
