// Package baseline keeps what an accepted run measured, and holds a run against it.
//
// A [Document] is what is stored of one run: for every checkpoint its metrics, a
// fingerprint of the candidate's bits and sketches of its rows, with where they
// come from and who approved them. [Record] makes one of a result and the
// [Imprint] that was taken while it was compared. [Propose] refuses results that
// should not become a baseline, and carries on what the document before knew:
// history, spread and the anchor, which only [Document.Approve] moves. [Compare]
// holds a run against a document; gate.Judge then judges what it found.
//
// Where documents lie is the business of package store.
package baseline

// Version is the version of the document's format that this package writes, and
// the only one it reads.
const Version = 1

const (
	// MaxDocument bounds the bytes of a document: a model of ten thousand
	// checkpoints has less.
	MaxDocument = 64 << 20
	// MaxHistory is how many accepted runs a document remembers, itself included.
	MaxHistory = 30
	// Buckets is the number of floats of a sketch.
	Buckets = 32
	// OwnSketches is how many rows of a checkpoint have a sketch of their own at
	// most; the others share one.
	OwnSketches = 16
)
