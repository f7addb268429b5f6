package baseline

// Imprint is what was taken of the document's candidate, so that its result can be
// recorded, compared and judged again as it was. A checkpoint without a mark has
// none.
func (d *Document) Imprint() *Imprint {
	im := NewImprint()
	for i := range d.Measurements {
		if m := &d.Measurements[i]; m.Mark.Fingerprint != "" {
			im.by[place{m.Prompt, m.Checkpoint}] = &taking{mark: m.Mark, rows: m.Rows, next: m.Rows}
		}
	}
	return im
}
