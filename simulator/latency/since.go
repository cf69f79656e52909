package latency

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// ErrOrder says that a recorder is not an earlier state of another.
var ErrOrder = errors.New("histogram has fewer counts than its earlier state")

// Since returns what was recorded after earlier, a [Recorder.Clone] of r in an earlier state, was made; nil is the empty
// one. Counts and sum are exact. The least and the greatest value are so only where they are r's own and new;
// otherwise they are the edges of their buckets.
func (r *Recorder) Since(earlier *Recorder) (*Recorder, error) {
	if earlier == nil {
		return r.Clone(), nil
	}
	if err := checkGeometry(earlier.hist); err != nil {
		return nil, err
	}
	counts := r.hist.Export()
	for i, n := range earlier.hist.Export().Counts {
		if counts.Counts[i] -= n; counts.Counts[i] < 0 {
			return nil, fmt.Errorf("%w: bucket %d", ErrOrder, i)
		}
	}
	d := &Recorder{
		hist: hdrhistogram.Import(counts), min: math.MaxInt64,
		overflow: r.overflow - earlier.overflow, negative: r.negative - earlier.negative,
	}
	var borrow uint64
	d.sumLo, borrow = bits.Sub64(r.sumLo, earlier.sumLo, 0)
	d.sumHi, _ = bits.Sub64(r.sumHi, earlier.sumHi, borrow)
	if d.Count() == 0 {
		return d, nil
	}
	d.min, d.max = max(d.hist.Min(), r.min), min(d.hist.Max(), r.max)
	if r.min < earlier.min {
		d.min = r.min
	}
	if r.max > earlier.max {
		d.max = r.max
	}
	return d, nil
}
