package gate

import (
	"fmt"
	"strings"

	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/spec"
)

// PositionRow is what was measured of one checkpoint at one position.
type PositionRow struct {
	Position      int   `json:"position"`
	MaxAbs        Value `json:"max_abs"`         // max |c−r|
	MaxAbsElement int   `json:"max_abs_element"` // where, −1 when nothing was compared
	MeanAbs       Value `json:"mean_abs"`        // mean |c−r|
	RelL2         Value `json:"rel_l2"`          // √(Σ(c−r)²/Σr²)
	Compared      int64 `json:"compared"`        // elements
	LeftOut       int64 `json:"left_out"`        // garbage or skipped
}

// Positions measures one checkpoint position by position. Skip and garbage
// of s apply. Errors: a checkpoint that not both traces have, and reading.
func Positions(s *spec.Spec, p Pair, checkpoint string) ([]PositionRow, error) {
	al := align(p.Reference, p.Candidate, s.Skip.Positions)
	var names []string
	for _, a := range al.checkpoints {
		if a.name == checkpoint {
			return positionRows(newMeasurer(s, Options{}).cfg, a)
		}
		names = append(names, a.name)
	}
	return nil, fmt.Errorf("checkpoint %q is not in both traces; these are: %s", checkpoint, strings.Join(names, ", "))
}

func positionRows(cfg metric.Config, a *aligned) ([]PositionRow, error) {
	cfg.NoChannels = true
	k := metric.NewKernel(cfg)
	rd := readers{a.ref.NewReader(), a.cand.NewReader()}
	var partial metric.Partial
	var now sides
	var err error
	out := make([]PositionRow, 0, len(a.positions))
	for _, ch := range split(a.segments, 1) {
		if now.ref, err = readRows(rd.ref, a.ref, a.elements, ch.ref, 1, now.ref); err != nil {
			return nil, readError("reference", a, err)
		}
		if now.cand, err = readRows(rd.cand, a.cand, a.elements, ch.cand, 1, now.cand); err != nil {
			return nil, readError("candidate", a, err)
		}
		t := metric.Tile{Rows: 1, Width: a.elements, Ref: block(a.ref, now.ref), Cand: block(a.cand, now.cand)}
		if err := k.Tile(t, &partial); err != nil {
			return nil, fmt.Errorf("%s: %w", a.name, err)
		}
		st := &partial.Rows[0]
		row := PositionRow{Position: a.positions[ch.first], MaxAbs: Value(round9(st.LargestAbs())), MaxAbsElement: st.MaxAbsAt,
			MeanAbs: Value(round9(st.MeanAbs())), RelL2: Value(round9(st.RelL2())), Compared: st.N, LeftOut: st.Masked + st.Skipped}
		if st.N == 0 && st.Mismatch == 0 {
			row.MaxAbsElement = -1
		}
		out = append(out, row)
	}
	return out, nil
}
