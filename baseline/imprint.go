package baseline

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
	"slices"
	"sync"

	"github.com/paritygate/paritygate/gate"
)

// Imprint takes the fingerprint and the sketches of every checkpoint while the
// candidate's rows are compared: it is a gate.Observer. Its size does not depend
// on the number of rows.
type Imprint struct {
	mu sync.Mutex
	by map[place]*taking
}

// place is one checkpoint of one prompt.
type place struct{ prompt, checkpoint string }

// Mark is what an imprint keeps of one checkpoint of one prompt.
type Mark struct {
	// Fingerprint is the first 128 bits, in hex, of the SHA-256 of the rows'
	// dtype, width, number and positions, and of all their bits: equal when those
	// are, and else different but for a chance of 2⁻¹²⁸. A zero and a negative zero
	// differ, as do NaNs of different bits.
	Fingerprint string
	// Positions are those of the rows that have a sketch of their own, evenly
	// spaced, the first and the last among them.
	Positions []int
	// Sketches has one for each of Positions and, where there are more rows, one
	// of the sum of all others behind them. None is valid that holds garbage.
	Sketches []Sketch
}

// NewImprint returns an imprint that has seen nothing.
func NewImprint() *Imprint { return &Imprint{by: map[place]*taking{}} }

// taking is the mark of one checkpoint while its rows come.
type taking struct {
	hash hash.Hash
	seed uint64
	own  []int // indices of the rows that have a sketch of their own
	mark Mark
	rest rowSum
	next int // index of the row that comes next
	rows int
}

// Observe takes in some of the candidate's rows. Rows that come again from the
// first one on replace what was there.
func (im *Imprint) Observe(o gate.Observed) error {
	t, err := im.at(o)
	if err != nil {
		return err
	}
	t.hash.Write(o.Rows.Data) // never fails
	row := o.Width * o.Rows.DType.Size()
	for at := 0; at < len(o.Rows.Data); at += row {
		b := o.Rows
		b.Data = o.Rows.Data[at : at+row]
		var sum rowSum
		sum.add(b, mix(t.seed+uint64(o.Positions[t.next])*golden))
		t.take(&sum, o.Positions[t.next])
	}
	return nil
}

// at is the mark that the rows belong to.
func (im *Imprint) at(o gate.Observed) (*taking, error) {
	row := o.Width * o.Rows.DType.Size()
	if row <= 0 || len(o.Rows.Data)%row != 0 || o.First+len(o.Rows.Data)/row > len(o.Positions) {
		return nil, fmt.Errorf("%d bytes are no whole rows of %d elements at %d positions", len(o.Rows.Data), o.Width, len(o.Positions))
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	p := place{o.Prompt, o.Checkpoint}
	if o.First == 0 {
		im.by[p] = begin(o)
	}
	t := im.by[p]
	if t == nil || t.next != o.First || t.rows != len(o.Positions) {
		return nil, fmt.Errorf("row %d of %d is not the one that comes next", o.First, len(o.Positions))
	}
	return t, nil
}

// begin hashes what is known before the first row.
func begin(o gate.Observed) *taking {
	t := &taking{hash: sha256.New(), own: spaced(len(o.Positions)), rows: len(o.Positions)}
	seed := sha256.Sum256([]byte("paritygate sketch 1\x00" + o.Checkpoint))
	t.seed = binary.LittleEndian.Uint64(seed[:])
	head := []byte("paritygate fingerprint 1\x00")
	head = append(head, byte(o.Rows.DType))
	head = binary.LittleEndian.AppendUint64(head, uint64(o.Width))
	head = binary.LittleEndian.AppendUint64(head, uint64(len(o.Positions)))
	for _, p := range o.Positions {
		head = binary.LittleEndian.AppendUint64(head, uint64(p))
	}
	t.hash.Write(head)
	return t
}

// spaced are at most OwnSketches indices of n rows, evenly spaced from the first
// to the last.
func spaced(n int) []int {
	m := min(n, OwnSketches)
	out := make([]int, m)
	for i := range out {
		if m > 1 {
			out[i] = (i*(n-1) + (m-1)/2) / (m - 1)
		}
	}
	return out
}

// take adds the next row's projection.
func (t *taking) take(sum *rowSum, position int) {
	if k := len(t.mark.Positions); k < len(t.own) && t.own[k] == t.next {
		t.mark.Positions = append(t.mark.Positions, position)
		t.mark.Sketches = append(t.mark.Sketches, sum.sketch())
	} else {
		if !(sum.norm2 <= maxNorm2) {
			sum.norm2 = math.NaN() // and so is the sum from here on
		}
		t.rest.norm2 += sum.norm2
		for i, v := range sum.buckets {
			t.rest.buckets[i] += v
		}
	}
	t.next++
	if t.next < t.rows {
		return
	}
	if t.rows > len(t.own) {
		rest := noSketch
		if t.rest.norm2 == t.rest.norm2 {
			rest = t.rest.rounded()
		}
		t.mark.Sketches = append(t.mark.Sketches, rest)
	}
	t.mark.Fingerprint = hex.EncodeToString(t.hash.Sum(nil)[:16])
}

// Mark returns what was taken of a checkpoint, and whether all its rows came. A
// nil Imprint has nothing.
func (im *Imprint) Mark(prompt, checkpoint string) (Mark, bool) {
	if im == nil {
		return Mark{}, false
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	t := im.by[place{prompt, checkpoint}]
	if t == nil || t.next < t.rows {
		return Mark{}, false
	}
	return t.mark, true
}

// leastMoved is what is told where the bits differ by less than sketches resolve.
const leastMoved = 0x1p-23

// Moved estimates ‖now − then‖ / ‖then‖ over all rows that have a sketch in both:
//
//	√( Σ_p Σ_b (S_p,b − T_p,b)² / Σ_p ‖then_p‖² )
//
// See [Sketch] for how exact that is. It is 0 for equal fingerprints and for
// nothing else: distances below 2⁻²³, which sketches do not resolve, are told as
// that. It is NaN where no row has a sketch in both or where they were taken of
// other rows, and +Inf where all of then is zero.
func Moved(now, then Mark) float64 {
	if now.Fingerprint != "" && now.Fingerprint == then.Fingerprint {
		return 0
	}
	if !slices.Equal(now.Positions, then.Positions) || len(now.Sketches) != len(then.Sketches) {
		return math.NaN()
	}
	var d2, n2 float64
	seen := false
	for i := range now.Sketches {
		s, t := &now.Sketches[i], &then.Sketches[i]
		if !s.Valid() || !t.Valid() {
			continue
		}
		seen = true
		n2 += float64(t.Norm2)
		for b := range s.Buckets {
			d := float64(s.Buckets[b]) - float64(t.Buckets[b])
			d2 += float64(d * d)
		}
	}
	switch {
	case !seen:
		return math.NaN()
	case n2 == 0 && d2 > 0:
		return math.Inf(1)
	case n2 == 0:
		return leastMoved
	}
	return max(math.Sqrt(d2/n2), leastMoved)
}
