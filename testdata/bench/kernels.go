package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"

	"github.com/paritygate/paritygate/gate/metric"
	"github.com/paritygate/paritygate/gate/trace"
)

// rowsAtOnce rows of logits are measured in one go, so that a time is long
// enough to be read off the clock.
const rowsAtOnce = 16

// logitsKernels holds KL, tops and rank correlation of one row against the
// fused pass over the same row, both in the cache.
func (b *bench) logitsKernels() error {
	runtime.GOMAXPROCS(1)
	n := b.shape.vocabulary
	rng := normal{from: *rand.NewPCG(3, 4)}
	r, c := make([]float32, n), make([]float32, n)
	for i := range r {
		r[i] = 3 * rng.next()
		c[i] = r[i] * (1 + 1e-3*rng.next())
	}
	ref := metric.Block{DType: metric.F32, Data: encode(r, trace.F32)}
	cand := metric.Block{DType: metric.F32, Data: encode(c, trace.F32)}
	tile := metric.Tile{Rows: 1, Width: n, Ref: ref, Cand: cand}
	cfg := metric.Config{NoChannels: true}
	fused, acc, partial, logits := metric.NewKernel(cfg), metric.NewAccumulator(n, cfg), new(metric.Partial), metric.NewLogitsKernel(cfg)
	t, err := medians(4*b.runs+1, func() error {
		for range rowsAtOnce {
			if err := fused.Tile(tile, partial); err != nil {
				return err
			}
			acc.Merge(partial)
		}
		return nil
	}, func() error {
		for range rowsAtOnce {
			if row, err := logits.Row(ref, cand); err != nil || math.IsNaN(row.KL) {
				return fmt.Errorf("logits: %v, %w", row, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.report.slower(fmt.Sprintf("KL, top 10 and rank correlation of a row of %s logits", count(n)), t[1]/rowsAtOnce,
		"fused pass over it", t[0]/rowsAtOnce, atMost(1.8))
	return nil
}

// scanner holds reading the numbers of a log against encoding/json on the
// same text.
func (b *bench) scanner(p pair) error {
	runtime.GOMAXPROCS(1)
	tr, err := trace.Open(p.ref, trace.Options{})
	if err != nil {
		return err
	}
	defer tr.Close()
	c := tr.Checkpoints[1]
	rows := min(len(c.Positions), 16)
	buf := make([]byte, rows*c.Stored*c.DType.Size())
	reader := c.NewReader()
	if err := reader.ReadRows(0, rows, buf); err != nil {
		return err
	}
	text := numbersOf(buf)
	values := make([]float32, 0, rows*c.Stored)
	t, err := medians(2*b.runs+1, func() error { return reader.ReadRows(0, rows, buf) },
		func() error {
			values = values[:0]
			return json.Unmarshal(text, &values)
		})
	if err != nil {
		return err
	}
	for i, v := range values {
		if bits := uint32(buf[4*i]) | uint32(buf[4*i+1])<<8 | uint32(buf[4*i+2])<<16 | uint32(buf[4*i+3])<<24; math.Float32bits(v) != bits {
			return fmt.Errorf("number %d: encoding/json reads %v, the scanner %v", i, v, math.Float32frombits(bits))
		}
	}
	b.report.faster(fmt.Sprintf("numbers of JSONL, %s values", count(len(values))), t[0], "encoding/json", t[1], atLeast(8))
	return nil
}

// numbersOf is little-endian float32 values as a JSON array in %.9g.
func numbersOf(b []byte) []byte {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(uint32(b[4*i]) | uint32(b[4*i+1])<<8 | uint32(b[4*i+2])<<16 | uint32(b[4*i+3])<<24)
	}
	return append(append([]byte{'['}, appendNumbers(nil, v)...), ']')
}
