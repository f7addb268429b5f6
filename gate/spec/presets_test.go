package spec

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestPresetsDocumented: the tables of docs/metrics.md are the ones that judge.
func TestPresetsDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	lines := []string{
		fmt.Sprintf("| `embedding` | `rel_l2` %v u, `worst_position` %v u |", embeddingTimes, embeddingRow),
		fmt.Sprintf("| `layer_*_output` | `added` %v × floor, `scale` %v × floor, `worst_channel` %v × floor, `worst_position` %v × floor |", addedTimes, scaleTimes, channelTimes, positionTimes),
		fmt.Sprintf("| `final_norm` | `position_rms` %v × floor, `scale` %v × floor, `worst_channel` %v × floor, `worst_position` %v × floor |", normTimes, normScaleTimes, channelTimes, positionTimes),
		fmt.Sprintf("| `logits` | `position_rms` %v × floor, `scale` %v × floor, `worst_position` %v × floor, `top1_agreement` 100 %% |", logitsTimes, logitsScale, logitsPosition),
	}
	for _, p := range table {
		lines = append(lines, fmt.Sprintf("| `%s` | %.3g | %v | %v |", p.name, p.unit, p.ceiling, p.kl))
	}
	for _, l := range lines {
		if !strings.Contains(doc, l+"\n") {
			t.Errorf("docs/metrics.md lacks the line\n%s", l)
		}
	}
}

// TestPresetsWiden: every preset is at least as wide as the finer one before it.
func TestPresetsWiden(t *testing.T) {
	for i := 1; i < len(table); i++ {
		fine, coarse := Preset(table[i-1].name), Preset(table[i].name)
		for r := range fine {
			for l, f := range fine[r].Limits {
				c := coarse[r].Limits[l]
				if c.Metric != f.Metric || c.Value < f.Value || c.Unit < f.Unit {
					t.Errorf("%s: %s %v u %v, finer %v u %v", coarse[r].Source, c.Metric, c.Value, c.Unit, f.Value, f.Unit)
				}
			}
		}
	}
}
